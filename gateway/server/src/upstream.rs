//! Upstreams: the engine, clusters and clouds, and the only way to them.
//!
//! A body goes out by [`UpstreamClient::send`] alone, which takes a [`Cleared`]: what did not pass
//! inspect, decide and transform does not compile. One part of inspection is itself a language model's:
//! questions about a text go to an [`OnPrem`], of which there is none for a cloud. Certificates are always
//! verified, against the system's roots and the configured ones; how connections are made is [`connect`]'s. Replies
//! are asked for unencoded, so that they can be inspected as they stream.
//!
//! On failure: an [`UpstreamError`] by cause, never with a word of the upstream's own.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    error::Error as _,
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use cordon_domain::{Dialect, UpstreamKind};
use cordon_intercept::{CertificateFault, SocketHandshake, SocketLimits};
use cordon_policy::Cleared;
use cordon_wire::{Endpoint, Operation};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use time::OffsetDateTime;
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;

use crate::{config, supervise::EngineAddress};

mod connect;
mod feed;
mod signing;
mod socket;
pub use connect::{Connect, Reach, Spoken, WayOut};
pub use feed::{Feed, FeedSender, Sent};
pub use signing::{Signer, keep_fresh as keep_credentials_fresh, region};
pub use socket::{SocketReply, UpstreamSocket, UpstreamWriter};

/// How much of a reply is read from a connection ahead of whoever takes it.
const READ_AHEAD: usize = 64 << 10;
/// How long the engine may take to say that it is well.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// An upstream could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: refused, or nobody answers.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// Its name has no address.
    #[error("the upstream's name does not resolve")]
    Unresolved,
    /// Its name leads to an address inside, where no cloud is.
    #[error("the upstream's name leads to an address that is not of the public internet")]
    Reserved,
    /// The company's own proxy does not let us through.
    #[error("the company's own proxy cannot be reached or refused the connection")]
    Parent,
    /// Its certificate does not verify.
    #[error("the upstream's certificate {}", .0.what())]
    Certificate(CertificateFault),
    /// There was no TLS to be had, for another reason than its certificate.
    #[error("the TLS handshake with the upstream failed")]
    Handshake,
    /// It did not begin a reply in time.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The connection broke before a reply began.
    #[error("the upstream closed the connection before it answered")]
    Broken,
    /// What was to be sent is no valid request (a header or path that HTTP does not permit).
    #[error("the request cannot be written as HTTP")]
    Unsendable,
    /// Requests to it are signed as a whole, and this is a call, which is said message by message.
    #[error("a call cannot be signed before all of it was said")]
    Unsignable,
}

/// One upstream, ready to be asked.
pub struct Upstream {
    /// As the configuration names it.
    pub name: Arc<str>,
    /// Where it stands.
    pub kind: UpstreamKind,
    /// Dialects it speaks; none for an intercepted host that nobody configured, which speaks what it is known for.
    pub dialects: Vec<Dialect>,
    /// Model name to ask for instead of the caller's.
    pub model: Option<Arc<str>>,
    /// Names that may be asked for beside that one.
    pub also: Arc<[Arc<str>]>,
    /// Whether its `openai-chat` takes `reasoning_effort`.
    pub takes_effort: bool,
    /// Whose key is sent.
    pub credentials: Credentials,
    /// The connection pool.
    pub client: UpstreamClient,
}

impl Upstream {
    /// Whether a request needs no translation. What a caller addressed to the upstream's own host was read in a dialect
    /// of that host's: only an answer of the model is translated, where the configuration lists other dialects.
    pub fn speaks(&self, endpoint: Endpoint, addressed: bool) -> bool {
        self.dialects.contains(&endpoint.dialect)
            || endpoint.dialect == Dialect::Models
            || (addressed && (self.dialects.is_empty() || endpoint.operation != Operation::Generate))
    }
}

/// Whose key an upstream gets.
#[derive(Clone)]
pub enum Credentials {
    /// The caller's own, from an exchange through the forward proxy.
    Passthrough,
    /// Ours.
    Own(HeaderValue),
    /// Ours, by which each request is signed as it is written.
    Signed,
    /// None: the engine.
    None,
}

/// Every upstream that the configuration names.
pub struct Upstreams {
    named: BTreeMap<Arc<str>, Arc<Upstream>>,
    hosts: Vec<(String, Arc<str>)>,
}

impl Upstreams {
    /// Builds the clients, which go out by `way`.
    pub fn new(
        configured: &BTreeMap<String, config::Upstream>,
        intercepted: &[String],
        engine: Upstream,
        way: &WayOut,
        limits: &config::Limits,
    ) -> Result<Self, UpstreamError> {
        let mut named = BTreeMap::new();
        let mut hosts: Vec<(String, Arc<str>)> = Vec::new();
        for (name, entry) in configured {
            let base = match (&entry.url, entry.hosts.first()) {
                (Some(url), _) => url.clone(),
                (None, Some(host)) => format!("https://{host}"),
                (None, None) => return Err(UpstreamError::Unsendable),
            };
            let credentials = match entry.credentials.value() {
                _ if entry.aws.is_some() => Credentials::Signed,
                "passthrough" => Credentials::Passthrough,
                key => {
                    let mut value = HeaderValue::from_str(key).map_err(|_| UpstreamError::Unsendable)?;
                    value.set_sensitive(true);
                    Credentials::Own(value)
                }
            };
            let mut client = UpstreamClient::over_tls(&base, entry.url.is_none(), reach(entry), way, limits)?;
            if let Some(aws) = &entry.aws {
                client.signer = Some(Arc::new(Signer::new(aws)?));
            }
            let name: Arc<str> = name.as_str().into();
            hosts.extend(entry.hosts.iter().map(|host| (host.clone(), name.clone())));
            named.insert(
                name.clone(),
                Arc::new(Upstream {
                    name,
                    kind: entry.kind,
                    dialects: entry.dialects.clone(),
                    model: entry.model.as_deref().map(Arc::from),
                    also: Arc::default(),
                    takes_effort: entry.reasoning_effort,
                    credentials,
                    client,
                }),
            );
        }
        // An intercepted host that nobody configured is a cloud of its own name, so that policy and
        // records can speak of it.
        for host in intercepted {
            if hosts.iter().any(|(known, _)| known.eq_ignore_ascii_case(host)) {
                continue;
            }
            let name: Arc<str> = host.as_str().into();
            hosts.push((host.clone(), name.clone()));
            named.insert(
                name.clone(),
                Arc::new(Upstream {
                    name,
                    kind: UpstreamKind::Cloud,
                    dialects: Vec::new(),
                    model: None,
                    also: Arc::default(),
                    takes_effort: false,
                    credentials: Credentials::Passthrough,
                    client: UpstreamClient::over_tls(
                        &format!("https://{host}"),
                        true,
                        Reach::Public,
                        way,
                        limits,
                    )?,
                }),
            );
        }
        named.insert(engine.name.clone(), Arc::new(engine));
        Ok(Self { named, hosts })
    }

    /// An upstream by its name.
    pub fn named(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.named.get(name)
    }

    /// The upstream that a caller addressed by host.
    pub fn by_host(&self, host: &str) -> Option<&Arc<Upstream>> {
        self.listed(host).and_then(|(_, name)| self.named.get(name))
    }

    /// The listed host that a host is, or lies under, if it is of that upstream.
    pub fn listed_host(&self, host: &str, of: &Upstream) -> Option<&str> {
        let (listed, name) = self.listed(host)?;
        (*name == of.name).then_some(listed)
    }

    fn listed(&self, host: &str) -> Option<&(String, Arc<str>)> {
        let exact = self
            .hosts
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(host));
        exact.or_else(|| {
            self.hosts
                .iter()
                .find(|(known, _)| config::host_within(host, known))
        })
    }

    /// The cloud that a gateway caller means by a dialect: the first by name with a key of ours.
    pub fn by_dialect(&self, dialect: Dialect) -> Option<&Arc<Upstream>> {
        self.named.values().find(|upstream| {
            upstream.kind == UpstreamKind::Cloud
                && matches!(upstream.credentials, Credentials::Own(_) | Credentials::Signed)
                && upstream.dialects.contains(&dialect)
        })
    }

    /// An upstream in the building, by its name; none of a cloud.
    pub fn on_prem(&self, name: &str) -> Option<OnPrem> {
        self.named
            .get(name)
            .filter(|upstream| upstream.kind != UpstreamKind::Cloud)
            .map(|upstream| OnPrem(upstream.clone()))
    }

    /// From now on every new connection is verified by this; no old one is used again.
    pub fn trust(&self, tls: &Arc<rustls::ClientConfig>) {
        for upstream in self.named.values() {
            upstream.client.trust(tls);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.named.values()
    }
}

/// Where an upstream may be. A cloud is outside, unless the configuration gives its address or says otherwise.
fn reach(entry: &config::Upstream) -> Reach {
    if let Some(address) = entry.address {
        return Reach::Address(address);
    }
    let url: Option<Uri> = entry.url.as_deref().and_then(|url| url.parse().ok());
    let literal = url
        .as_ref()
        .and_then(Uri::host)
        .is_some_and(|host| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok());
    match entry.kind {
        UpstreamKind::Cloud if entry.allow_private || literal => Reach::Anywhere,
        UpstreamKind::Cloud => Reach::Public,
        UpstreamKind::Cluster | UpstreamKind::Engine => Reach::Building,
    }
}

/// The longest reply to a question.
const ANSWER_BYTES: usize = 1 << 20;

/// An upstream in the building, as a part of inspection: it may be asked about a text that is not cleared.
/// [`Upstreams::on_prem`] alone makes one, and never of a cloud.
pub struct OnPrem(Arc<Upstream>);

impl OnPrem {
    /// As the configuration names it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it stands.
    pub fn kind(&self) -> UpstreamKind {
        self.0.kind
    }

    /// The language model that is asked for.
    pub fn model(&self) -> &str {
        self.0.model.as_deref().unwrap_or("default")
    }

    /// Puts a request of our own making in `openai-chat`; gives status and body of the reply.
    pub async fn ask(
        &self,
        body: Bytes,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Result<(StatusCode, Bytes), UpstreamError> {
        let client = &self.0.client;
        let mut request = Request::post(format!("{}/v1/chat/completions", client.base))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Sent::new(body, None))
            .map_err(|_| UpstreamError::Unsendable)?;
        let headers = request.headers_mut();
        for (name, value) in extra {
            headers.insert(name, value.clone());
        }
        if let Credentials::Own(key) = &self.0.credentials {
            let mut bearer = HeaderValue::from_bytes(&[b"Bearer ", key.as_bytes()].concat())
                .map_err(|_| UpstreamError::Unsendable)?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        let response = client.dispatch(request, client.reply_limit).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(|_| UpstreamError::Broken)?;
        Ok((status, body.to_bytes()))
    }
}

/// What of a cleared request's head is sent.
pub enum Target {
    /// All of it: headers, path and query.
    AsCleared,
    /// Path and query, and no headers but ours.
    ClearedPath,
    /// All but path and query, in whose place these stand.
    Renamed(String),
    /// Nothing: another path and query, of our own, and no headers but ours.
    Path(Cow<'static, str>),
}

/// A pool of connections to one upstream.
#[derive(Clone)]
pub struct UpstreamClient {
    base: String,
    /// No URL is configured: the base is the first of its hosts.
    by_host: bool,
    pool: Pool,
    /// Amazon's requests are signed.
    signer: Option<Arc<Signer>>,
    reply_limit: Duration,
    /// The same for a call, whose reply may begin when the caller has said all.
    call_limit: Duration,
}

#[derive(Clone)]
enum Pool {
    /// Exchanged whole when trust changes: what was verified by older lists is not used again.
    Tcp(Arc<ArcSwap<Tcp>>),
    Unix(Box<Client<DialUnix, Sent>>),
}

struct Tcp {
    client: Client<Connect, Sent>,
    connect: Connect,
}

impl Tcp {
    fn new(connect: Connect) -> Self {
        Self {
            client: pooled().build(connect.clone()),
            connect,
        }
    }
}

impl UpstreamClient {
    fn over_tls(
        base: &str,
        by_host: bool,
        reach: Reach,
        way: &WayOut,
        limits: &config::Limits,
    ) -> Result<Self, UpstreamError> {
        base.parse::<Uri>().map_err(|_| UpstreamError::Unsendable)?;
        let connect = Connect {
            way: way.clone(),
            reach,
            only_http1: false,
        };
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            by_host,
            pool: Pool::Tcp(Arc::new(ArcSwap::from_pointee(Tcp::new(connect)))),
            signer: None,
            reply_limit: Duration::from_secs(limits.reply_seconds),
            call_limit: Duration::from_secs(limits.stream_seconds),
        })
    }

    /// The engine's client, by socket or URL.
    pub fn of_engine(
        address: &EngineAddress,
        way: &WayOut,
        limits: &config::Limits,
    ) -> Result<Self, UpstreamError> {
        match address {
            EngineAddress::Url(url) => Self::over_tls(url, false, Reach::Building, way, limits),
            EngineAddress::Socket(path) => Ok(Self {
                base: "http://engine".to_owned(),
                by_host: false,
                pool: Pool::Unix(Box::new(pooled().build(DialUnix {
                    path: Arc::new(path.clone()),
                }))),
                signer: None,
                reply_limit: Duration::from_secs(limits.reply_seconds),
                call_limit: Duration::from_secs(limits.stream_seconds),
            }),
        }
    }

    /// Whether the host behind it chose HTTP/2 when it was offered both; nothing before the first connection.
    pub fn speaks_http2(&self, host: &str) -> Option<bool> {
        match &self.pool {
            Pool::Tcp(tcp) => {
                let base: Option<Uri> = self.base.parse().ok();
                let named = base.as_ref().and_then(Uri::host).filter(|_| !self.by_host);
                tcp.load().connect.way.spoken.http2(named.unwrap_or(host))
            }
            Pool::Unix(_) => None,
        }
    }

    fn trust(&self, tls: &Arc<rustls::ClientConfig>) {
        if let Pool::Tcp(tcp) = &self.pool {
            let mut connect = tcp.load().connect.clone();
            connect.way.tls = tls.clone();
            tcp.store(Arc::new(Tcp::new(connect)));
        }
    }

    /// Host and port that it is reached at; none of a socket on this machine.
    pub fn server(&self) -> Option<(String, u16)> {
        let Pool::Tcp(_) = &self.pool else {
            return None;
        };
        let base: Uri = self.base.parse().ok()?;
        let port = match base.scheme_str() {
            Some("http") => 80,
            _ => 443,
        };
        Some((base.host()?.to_owned(), base.port_u16().unwrap_or(port)))
    }

    /// The host that it stands for.
    pub fn host(&self) -> &str {
        let authority = self
            .base
            .split_once("://")
            .map_or(self.base.as_str(), |(_, rest)| rest);
        authority.split(['/', ':']).next().unwrap_or(authority)
    }

    /// Sends a cleared request; returns when the reply's head is there.
    ///
    /// `addressed` is the host and port that the caller of the proxy named: an upstream that is known by
    /// its hosts is asked at that very one, never at another of them.
    /// `extra` are headers of our own making: credentials, and the exchange id for the engine. `feed` is what a call
    /// says behind the body.
    pub async fn send(
        &self,
        method: &Method,
        cleared: Cleared,
        target: Target,
        addressed: Option<&str>,
        extra: &[(HeaderName, HeaderValue)],
        feed: Option<Feed>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let limit = match &feed {
            // A signature covers the whole body.
            Some(_) if self.signer.is_some() => return Err(UpstreamError::Unsignable),
            Some(_) => self.call_limit,
            None => self.reply_limit,
        };
        let request = self
            .written(method, cleared, target, addressed, extra)?
            .map(|body| Sent::new(body, feed));
        self.dispatch(request, limit).await
    }

    /// A cleared request as HTTP.
    fn written(
        &self,
        method: &Method,
        cleared: Cleared,
        target: Target,
        addressed: Option<&str>,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Result<Request<Bytes>, UpstreamError> {
        let (body, head) = cleared.into_parts();
        let (path, sent) = match target {
            Target::AsCleared => (head.path_and_query, head.headers),
            Target::ClearedPath => (head.path_and_query, Vec::new()),
            Target::Renamed(path) => (path, head.headers),
            Target::Path(path) => (path.into_owned(), Vec::new()),
        };
        let base = match addressed {
            Some(authority) if self.by_host => format!("https://{authority}"),
            _ => self.base.clone(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .body(body)
            .map_err(|_| UpstreamError::Unsendable)?;
        let headers = request.headers_mut();
        for (name, value) in &sent {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| UpstreamError::Unsendable)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| UpstreamError::Unsendable)?;
            headers.append(name, value);
        }
        for (name, value) in extra {
            headers.insert(name, value.clone());
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(signer) = &self.signer {
            signer.sign(&mut request, OffsetDateTime::now_utc())?;
        }
        Ok(request)
    }

    /// Asks for a WebSocket with a cleared head, by a connection of its own that is verified and judged as any
    /// other. `protocols` are the sub-protocols that the caller asks for.
    pub async fn open_socket(
        &self,
        cleared: Cleared,
        addressed: Option<&str>,
        extra: &[(HeaderName, HeaderValue)],
        protocols: &[HeaderValue],
        limits: SocketLimits,
        tasks: &TaskTracker,
    ) -> Result<SocketReply, UpstreamError> {
        let Pool::Tcp(tcp) = &self.pool else {
            return Err(UpstreamError::Unsendable);
        };
        let connect = Connect {
            only_http1: true,
            ..tcp.load().connect.clone()
        };
        let handshake = SocketHandshake::new();
        let mut request = self
            .written(&Method::GET, cleared, Target::AsCleared, addressed, extra)?
            .map(Full::new);
        request.headers_mut().extend(handshake.headers());
        let asked = socket::Asked {
            request,
            handshake: &handshake,
            protocols,
        };
        socket::open(connect, asked, self.reply_limit, limits, tasks).await
    }

    async fn dispatch(
        &self,
        request: Request<Sent>,
        limit: Duration,
    ) -> Result<Response<Incoming>, UpstreamError> {
        match tokio::time::timeout(limit, self.request(request)).await {
            Err(_) => Err(UpstreamError::TimedOut),
            Ok(answer) => answer,
        }
    }

    async fn request(&self, request: Request<Sent>) -> Result<Response<Incoming>, UpstreamError> {
        let answer = match &self.pool {
            Pool::Tcp(tcp) => {
                let client = tcp.load().client.clone();
                client.request(request).await
            }
            Pool::Unix(client) => client.request(request).await,
        };
        answer.map_err(|error| {
            let ours = error
                .source()
                .and_then(|source| source.downcast_ref::<UpstreamError>());
            match ours {
                Some(cause) => *cause,
                None if error.is_connect() => UpstreamError::Unreachable,
                None => UpstreamError::Broken,
            }
        })
    }

    /// Whether the engine's `/health` says 200. It sends no text.
    pub async fn healthy(&self) -> Result<bool, UpstreamError> {
        let request = Request::get(format!("{}/health", self.base))
            .body(Sent::Over)
            .map_err(|_| UpstreamError::Unsendable)?;
        match tokio::time::timeout(HEALTH_LIMIT, self.request(request)).await {
            Ok(answer) => Ok(answer?.status().is_success()),
            Err(_) => Err(UpstreamError::TimedOut),
        }
    }
}

fn pooled() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        // A stream needs no more, and a whole reply is read as it comes.
        .http1_max_buf_size(READ_AHEAD)
        .pool_idle_timeout(Duration::from_secs(60));
    builder
}

type Dialling<S> = Pin<Box<dyn Future<Output = io::Result<TokioIo<S>>> + Send>>;

/// Dials the engine's Unix socket, whatever the URI.
#[derive(Clone)]
struct DialUnix {
    path: Arc<PathBuf>,
}

impl tower::Service<Uri> for DialUnix {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Dialling<UnixStream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.path.clone();
        Box::pin(async move { Ok(TokioIo::new(UnixStream::connect(&*path).await?)) })
    }
}
