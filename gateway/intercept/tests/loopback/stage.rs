//! The stand-in server's side, started listeners, and callers that speak to them.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use cordon_domain::SystemClock;
use cordon_intercept::{
    AnswerBody, Arrival, Authority, ConnectAnswer, ConnectAsk, Entrance, Exchanges, Interceptor,
    ListenerLimits, Next, Pages, Reason, Received, Scope, Socket, SocketAnswer, SocketLimits, TunnelRecord,
    TunnelRules, TurnedAway, empty_body, full_body, read_body, serve,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

pub(crate) const HOST: &str = "api.openai.com";

/// What the stand-in notes.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) turned_away: Mutex<Vec<Reason>>,
    pub(crate) arrivals: Mutex<Vec<Arrival<&'static str>>>,
    /// `/slow` says that it began, and waits to be let go.
    pub(crate) began: Notify,
    pub(crate) go: Notify,
    /// The body of `/endless` was dropped.
    pub(crate) dropped: Notify,
}

/// Lives in an answer's body.
struct SaysWhenDropped(Arc<Notes>);

impl Drop for SaysWhenDropped {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

pub(crate) struct Fake {
    notes: Arc<Notes>,
    closed: mpsc::UnboundedSender<(u64, u64)>,
}

struct Record(mpsc::UnboundedSender<(u64, u64)>);

impl TunnelRecord for Record {
    fn closed(self: Box<Self>, up: u64, down: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.send((up, down)).unwrap();
        Box::pin(async {})
    }
}

/// What a login ends with.
fn last_word() -> HeaderMap {
    HeaderMap::from_iter([(
        header::PROXY_AUTHENTICATE,
        HeaderValue::from_static("Negotiate AAAA"),
    )])
}

impl Exchanges for Fake {
    type Caller = &'static str;

    async fn connect(&self, ask: ConnectAsk) -> ConnectAnswer<&'static str> {
        match ask.host.as_str() {
            HOST | "unlisted.example" => ConnectAnswer::Intercept(Some("ann"), last_word()),
            "refused.example" => {
                let mut answer = Response::new(full_body("log in"));
                *answer.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
                ConnectAnswer::Refuse(answer)
            }
            "panic.example" => panic!("a stand-in's fault"),
            _ => ConnectAnswer::Tunnel("ann", Box::new(Record(self.closed.clone())), last_word()),
        }
    }

    async fn exchange(
        &self,
        arrival: Arrival<&'static str>,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        self.notes.arrivals.lock().unwrap().push(arrival);
        match request.uri().path() {
            "/panic" => panic!("a stand-in's fault"),
            "/slow" => {
                self.notes.began.notify_one();
                self.notes.go.notified().await;
                Response::new(full_body("slow but whole"))
            }
            "/echo" => match read_body(request.into_body(), 1 << 20, Duration::from_secs(5)).await {
                Ok(body) => Response::new(full_body(body)),
                Err(error) => {
                    let mut answer = Response::new(empty_body());
                    *answer.status_mut() = error.status();
                    answer
                }
            },
            "/endless" => {
                let sent = SaysWhenDropped(Arc::clone(&self.notes));
                let pieces = futures_util::stream::repeat_with(move || {
                    let _still_sending = &sent;
                    Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))
                });
                Response::new(StreamBody::new(pieces).boxed())
            }
            "/socket" => {
                let mut answer = Response::new(empty_body());
                *answer.status_mut() = match request.headers().get("upgrade") {
                    Some(_) => StatusCode::UPGRADE_REQUIRED,
                    None => StatusCode::OK,
                };
                answer
            }
            _ => Response::new(full_body("answered")),
        }
    }

    async fn websocket(&self, arrival: Arrival<&'static str>, request: Request<()>) -> SocketAnswer {
        self.notes.arrivals.lock().unwrap().push(arrival);
        match request.uri().path() {
            "/panic" => panic!("a stand-in's fault"),
            "/echo" => {}
            _ => {
                let mut answer = Response::new(full_body("no sockets here"));
                *answer.status_mut() = StatusCode::FORBIDDEN;
                return SocketAnswer::Refuse(answer);
            }
        }
        let notes = Arc::clone(&self.notes);
        SocketAnswer::Open {
            headers: HeaderMap::new(),
            limits: socket_limits(),
            serve: Box::new(move |socket| {
                Box::pin(async move {
                    if let Some(socket) = socket {
                        echo(socket).await;
                    }
                    notes.dropped.notify_one();
                })
            }),
        }
    }

    async fn turned_away(&self, event: TurnedAway<&'static str>) -> Response<AnswerBody> {
        self.notes.turned_away.lock().unwrap().push(event.reason);
        event.plain_answer()
    }
}

pub(crate) fn socket_limits() -> SocketLimits {
    SocketLimits {
        message: 1 << 20,
        ratio: 1000,
        idle: Duration::from_secs(30),
        stall: Duration::from_secs(10),
    }
}

/// Says every message back, until the caller closes or breaks the protocol.
async fn echo(socket: Socket) {
    let draining = socket.draining();
    let (mut reader, mut writer) = socket.split();
    loop {
        let next = tokio::select! {
            () = draining.cancelled() => { let _ = writer.close(Some(1001)).await; return; }
            next = reader.next() => next,
        };
        let sent = match next {
            Ok(Next::Received(Received::Text(text))) => writer.text(&text).await,
            Ok(Next::Received(Received::Binary(bytes))) => writer.binary(&bytes).await,
            Ok(Next::Received(Received::Ping(payload))) => writer.pong(&payload).await,
            Ok(Next::Received(Received::Pong)) => Ok(()),
            Ok(Next::Silent) => writer.ping().await,
            Ok(Next::Received(Received::Close(code))) => {
                let _ = writer.close(code).await;
                return;
            }
            Ok(Next::Ended) => return,
            Err(fault) => {
                let _ = writer.close(Some(fault.close_code())).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Both listeners over one authority.
pub(crate) struct Stage {
    pub(crate) proxy: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) notes: Arc<Notes>,
    pub(crate) closed: mpsc::UnboundedReceiver<(u64, u64)>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    root: CertificateDer<'static>,
    _dir: tempfile::TempDir,
}

/// Tunnels in these tests end on loopback.
pub(crate) fn loopback_rules() -> TunnelRules {
    TunnelRules {
        permitted_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..TunnelRules::default()
    }
}

impl Stage {
    pub(crate) async fn usual() -> Self {
        Self::with(ListenerLimits::default(), loopback_rules(), false).await
    }

    pub(crate) async fn with(limits: ListenerLimits, rules: TunnelRules, plain: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scope = Scope {
            hosts: vec![HOST.into(), "api.anthropic.com".into()],
            ..Scope::default()
        };
        Authority::init(dir.path(), &scope, &SystemClock).unwrap();
        let authority = Authority::load(dir.path(), &scope, Arc::new(SystemClock)).unwrap();
        let root = CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap();
        let pages = Pages {
            ca_pem: authority.root_pem().to_owned(),
            hosts: scope.hosts.clone(),
            ..Pages::default()
        };
        let notes = Arc::<Notes>::default();
        let (closed_in, closed) = mpsc::unbounded_channel();
        let fake = Fake {
            notes: Arc::clone(&notes),
            closed: closed_in,
        };
        let shared = Interceptor::new(fake, Arc::new(authority), pages)
            .with_limits(limits)
            .with_tunnels(rules)
            .with_plain_on_loopback(plain);
        let shared = Arc::new(shared);
        let shutdown = CancellationToken::new();
        let (proxy, gateway) = (bound().await, bound().await);
        let addresses = (proxy.local_addr().unwrap(), gateway.local_addr().unwrap());
        let proxy = serve(proxy, Entrance::Proxy, Arc::clone(&shared), shutdown.clone());
        let gateway = serve(gateway, Entrance::Gateway, shared, shutdown.clone());
        Self {
            proxy: addresses.0,
            gateway: addresses.1,
            notes,
            closed,
            shutdown,
            serving: tokio::spawn(async move {
                tokio::join!(proxy, gateway);
            }),
            root,
            _dir: dir,
        }
    }

    /// TLS that trusts nothing but the stage's root.
    pub(crate) fn trusting(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A CONNECT that must succeed.
    pub(crate) async fn connect(&self, target: &str) -> TcpStream {
        let (stream, head) = self.try_connect(target).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        // The pages are open to those who cannot log in.
        let known = !target.starts_with("cordon.internal");
        let told = head.contains("proxy-authenticate: Negotiate AAAA\r\n");
        assert_eq!(told, known, "{head}");
        stream
    }

    pub(crate) async fn try_connect(&self, target: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = head_of(&mut stream).await;
        (stream, head)
    }

    /// CONNECT to `HOST`, then TLS naming `sni`.
    pub(crate) async fn tls(&self, sni: &str, config: ClientConfig) -> TlsStream<TcpStream> {
        let stream = self.connect(&format!("{HOST}:443")).await;
        shake(stream, sni, config).await.unwrap()
    }

    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.notes.turned_away.lock().unwrap().clone()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival<&'static str>> {
        self.notes.arrivals.lock().unwrap().clone()
    }
}

pub(crate) async fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) async fn shake(
    stream: TcpStream,
    sni: &str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Reads up to the end of a response's header.
pub(crate) async fn head_of<IO: tokio::io::AsyncRead + Unpin>(stream: &mut IO) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) type Body = Full<Bytes>;

pub(crate) async fn http1_over<IO>(io: IO) -> http1::SendRequest<Body>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub(crate) async fn http2_over<IO>(io: IO) -> http2::SendRequest<Body>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A request for HTTP/1 in origin form.
pub(crate) fn get(path: &str, host: &str) -> Request<Body> {
    Request::get(path)
        .header("host", host)
        .body(Body::default())
        .unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
