//! Upstreams: the engine, clusters and clouds, and the only way to them.
//!
//! A body goes out by [`UpstreamClient::send`] alone, which takes a [`Cleared`]: what did not pass
//! inspect, decide and transform does not compile. One part of inspection is itself a language model's:
//! questions about a text go to an [`OnPrem`], of which there is none for a cloud. Certificates are always
//! verified, against the system's roots and the configured ones. Replies are asked for unencoded, so that they
//! can be inspected as they stream.
//!
//! On failure: an [`UpstreamError`] by cause, never with a word of the upstream's own.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cordon_domain::{Dialect, UpstreamKind};
use cordon_policy::Cleared;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::{TcpStream, UnixStream};

use crate::{config, supervise::EngineAddress};

/// How long the engine may take to say that it is well.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// An upstream could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: refused, unknown name, or a certificate that does not verify.
    #[error("the upstream cannot be reached, or its certificate does not verify")]
    Unreachable,
    /// It did not begin a reply in time.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The connection broke before a reply began.
    #[error("the upstream closed the connection before it answered")]
    Broken,
    /// What was to be sent is no valid request (a header or path that HTTP does not permit).
    #[error("the request cannot be written as HTTP")]
    Unsendable,
}

/// One upstream, ready to be asked.
pub struct Upstream {
    /// As the configuration names it.
    pub name: Arc<str>,
    /// Where it stands.
    pub kind: UpstreamKind,
    /// Dialects it speaks.
    pub dialects: Vec<Dialect>,
    /// Model name to ask for instead of the caller's.
    pub model: Option<Arc<str>>,
    /// Whose key is sent.
    pub credentials: Credentials,
    /// The connection pool.
    pub client: UpstreamClient,
}

/// Whose key an upstream gets.
#[derive(Clone)]
pub enum Credentials {
    /// The caller's own, from an exchange through the forward proxy.
    Passthrough,
    /// Ours.
    Own(HeaderValue),
    /// None: the engine.
    None,
}

/// Every upstream that the configuration names.
pub struct Upstreams {
    named: BTreeMap<Arc<str>, Arc<Upstream>>,
    hosts: Vec<(String, Arc<str>)>,
}

impl Upstreams {
    /// Builds the clients. `tls` is used for every `https` upstream.
    pub fn new(
        configured: &BTreeMap<String, config::Upstream>,
        intercepted: &[String],
        engine: Upstream,
        tls: &rustls::ClientConfig,
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
                "passthrough" => Credentials::Passthrough,
                key => {
                    let mut value = HeaderValue::from_str(key).map_err(|_| UpstreamError::Unsendable)?;
                    value.set_sensitive(true);
                    Credentials::Own(value)
                }
            };
            let name: Arc<str> = name.as_str().into();
            hosts.extend(entry.hosts.iter().map(|host| (host.clone(), name.clone())));
            named.insert(
                name.clone(),
                Arc::new(Upstream {
                    name,
                    kind: entry.kind,
                    dialects: entry.dialects.clone(),
                    model: entry.model.as_deref().map(Arc::from),
                    credentials,
                    client: UpstreamClient::over_tls(&base, entry.url.is_none(), entry.address, tls, limits)?,
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
                    dialects: vec![
                        Dialect::OpenaiChat,
                        Dialect::OpenaiResponses,
                        Dialect::AnthropicMessages,
                    ],
                    model: None,
                    credentials: Credentials::Passthrough,
                    client: UpstreamClient::over_tls(&format!("https://{host}"), true, None, tls, limits)?,
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
        let exact = self
            .hosts
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(host));
        exact
            .or_else(|| {
                self.hosts
                    .iter()
                    .find(|(known, _)| config::host_within(host, known))
            })
            .and_then(|(_, name)| self.named.get(name))
    }

    /// The cloud that a gateway caller means by a dialect: the first by name with a key of ours.
    pub fn by_dialect(&self, dialect: Dialect) -> Option<&Arc<Upstream>> {
        self.named.values().find(|upstream| {
            upstream.kind == UpstreamKind::Cloud
                && matches!(upstream.credentials, Credentials::Own(_))
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

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.named.values()
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
            .body(Full::new(body))
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
        let response = client.dispatch(request).await?;
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
    /// Nothing: another path, of our own, and no headers but ours.
    Path(&'static str),
}

/// A pool of connections to one upstream.
#[derive(Clone)]
pub struct UpstreamClient {
    base: String,
    /// No URL is configured: the base is the first of its hosts.
    by_host: bool,
    pool: Pool,
    reply_limit: Duration,
}

#[derive(Clone)]
enum Pool {
    Tcp(Client<HttpsConnector<Dial>, Full<Bytes>>),
    Unix(Client<DialUnix, Full<Bytes>>),
}

impl UpstreamClient {
    fn over_tls(
        base: &str,
        by_host: bool,
        address: Option<SocketAddr>,
        tls: &rustls::ClientConfig,
        limits: &config::Limits,
    ) -> Result<Self, UpstreamError> {
        base.parse::<Uri>().map_err(|_| UpstreamError::Unsendable)?;
        let dial = Dial {
            address,
            limit: Duration::from_secs(limits.connect_seconds),
        };
        let mut tls = tls.clone();
        // The connector offers h2 and http/1.1 by itself, and insists on doing so.
        tls.alpn_protocols.clear();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(dial);
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            by_host,
            pool: Pool::Tcp(pooled().build(connector)),
            reply_limit: Duration::from_secs(limits.reply_seconds),
        })
    }

    /// The engine's client, by socket or URL.
    pub fn of_engine(
        address: &EngineAddress,
        tls: &rustls::ClientConfig,
        limits: &config::Limits,
    ) -> Result<Self, UpstreamError> {
        match address {
            EngineAddress::Url(url) => Self::over_tls(url, false, None, tls, limits),
            EngineAddress::Socket(path) => Ok(Self {
                base: "http://engine".to_owned(),
                by_host: false,
                pool: Pool::Unix(pooled().build(DialUnix {
                    path: Arc::new(path.clone()),
                })),
                reply_limit: Duration::from_secs(limits.reply_seconds),
            }),
        }
    }

    /// Sends a cleared request; returns when the reply's head is there.
    ///
    /// `addressed` is the host and port that the caller of the proxy named: an upstream that is known by
    /// its hosts is asked at that very one, never at another of them.
    /// `extra` are headers of our own making: credentials, and the exchange id for the engine.
    pub async fn send(
        &self,
        method: &Method,
        cleared: Cleared,
        target: Target,
        addressed: Option<&str>,
        extra: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, UpstreamError> {
        let (body, head) = cleared.into_parts();
        let (path, sent) = match target {
            Target::AsCleared => (head.path_and_query, head.headers),
            Target::ClearedPath => (head.path_and_query, Vec::new()),
            Target::Path(path) => (path.to_owned(), Vec::new()),
        };
        let base = match addressed {
            Some(authority) if self.by_host => format!("https://{authority}"),
            _ => self.base.clone(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .body(Full::new(body))
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
        self.dispatch(request).await
    }

    async fn dispatch(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, UpstreamError> {
        let answer = async {
            match &self.pool {
                Pool::Tcp(client) => client.request(request).await,
                Pool::Unix(client) => client.request(request).await,
            }
        };
        match tokio::time::timeout(self.reply_limit, answer).await {
            Err(_) => Err(UpstreamError::TimedOut),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(UpstreamError::Unreachable),
            Ok(Err(_)) => Err(UpstreamError::Broken),
        }
    }

    /// Whether the engine's `/health` says 200. It sends no text.
    pub async fn healthy(&self) -> Result<bool, UpstreamError> {
        let request = Request::get(format!("{}/health", self.base))
            .body(Full::default())
            .map_err(|_| UpstreamError::Unsendable)?;
        let answer = async {
            match &self.pool {
                Pool::Tcp(client) => client.request(request).await,
                Pool::Unix(client) => client.request(request).await,
            }
        };
        match tokio::time::timeout(HEALTH_LIMIT, answer).await {
            Ok(Ok(response)) => Ok(response.status().is_success()),
            Ok(Err(_)) => Err(UpstreamError::Unreachable),
            Err(_) => Err(UpstreamError::TimedOut),
        }
    }
}

fn pooled() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60));
    builder
}

/// Dials TCP, to a fixed address where one is configured.
#[derive(Clone)]
struct Dial {
    address: Option<SocketAddr>,
    limit: Duration,
}

type Dialling<S> = Pin<Box<dyn Future<Output = io::Result<TokioIo<S>>> + Send>>;

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Dialling<TcpStream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { address, limit } = self.clone();
        Box::pin(async move {
            let dial = async {
                match address {
                    Some(address) => TcpStream::connect(address).await,
                    None => {
                        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                        let port =
                            uri.port_u16()
                                .unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
                        TcpStream::connect((host, port)).await
                    }
                }
            };
            let stream = tokio::time::timeout(limit, dial)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

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
