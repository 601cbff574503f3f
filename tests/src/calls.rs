//! Services of gRPC and its kin that keep what they got, and calls of them: by the `grpcio` package, and down to the
//! byte where a test needs it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, client::conn, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Places,
    caller::Caller,
    cordon::Cordon,
    program::{Program, Ran},
    tls::TestAuthority,
};

/// How long the service may take to start, and what it got to be written down.
const PATIENCE: Duration = Duration::from_secs(30);

const SCRIPT: &str = "grpc_notes.py";

/// A running service; it stops when dropped.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    authority: TestAuthority,
    folder: TempDir,
    _child: Child,
}

impl Service {
    /// A service behind TLS under that name.
    pub async fn start(name: &str) -> Self {
        let authority = TestAuthority::new();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (certificate, key) = authority.pems(&[name]);
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        std::fs::write(path("certificate"), certificate).expect("the folder takes files");
        std::fs::write(path("key"), key).expect("the folder takes files");
        let mut child = Command::new(Places::python())
            .args([PathBuf::from("-B"), Places::client_script(SCRIPT), "serve".into()])
            .args([path("certificate"), path("key"), path("log")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python can be run");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(PATIENCE, lines.next_line()).await;
        let port = first.ok().and_then(Result::ok).flatten();
        let port = port.and_then(|port| port.parse().ok());
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port.expect("the service says its port"))),
            authority,
            folder,
            _child: child,
        }
    }

    /// Its CA certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// What it got so far, as written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The texts that it got so far.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let lines: Vec<Value> = self
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let texts = lines.iter().filter_map(|line| line["got"]["text"].as_str());
        texts.map(str::to_owned).collect()
    }

    /// Waits until it has written down a word, for half a minute at most.
    pub async fn wrote(&self, word: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.log().contains(word) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the service wrote no {word:?}: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Calls a method of the service at `host` through the proxy, by the variables that the package reads. Gives the lines
/// that were printed.
pub async fn call(cordon: &Cordon, key: &str, host: &str, method: &str, texts: &[&str]) -> Vec<Value> {
    let target = format!("{host}:443");
    let arguments = [&["call", &target, method], texts].concat();
    let bundle = cordon.bundle().display().to_string();
    let ran: Ran = Program::python(SCRIPT, &arguments)
        .with("https_proxy", &format!("http://cordon:{key}@{}", cordon.proxy()))
        .with("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", &bundle)
        .run()
        .await;
    assert_eq!(ran.code, 0, "{ran:?}\n{}", cordon.log());
    let lines = ran.stdout.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|_| panic!("{ran:?}"))
}

#[derive(Default)]
struct Kept {
    got: Mutex<Vec<u8>>,
    whole: AtomicUsize,
}

/// A server of any such protocol that says each piece of a request back at once, and keeps all of it; it stops when
/// dropped.
pub struct Mirror {
    /// Where it listens.
    pub address: SocketAddr,
    authority: TestAuthority,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

impl Mirror {
    /// A server behind TLS under that name.
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let authority = TestAuthority::new();
        let acceptor = TlsAcceptor::from(authority.server(&[name], true));
        let kept = Arc::<Kept>::default();
        let keeping = kept.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, kept) = (acceptor.clone(), keeping.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| mirrored(request, kept.clone()));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            authority,
            kept,
            task,
        }
    }

    /// Its CA certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Every byte of every request's body, in base64 undone where it came so.
    #[must_use]
    pub fn got(&self) -> Vec<u8> {
        self.kept
            .got
            .lock()
            .expect("nothing panics with the lock")
            .clone()
    }

    /// How many requests came to their proper end.
    #[must_use]
    pub fn whole(&self) -> usize {
        self.kept.whole.load(Ordering::SeqCst)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn mirrored(
    request: Request<Incoming>,
    kept: Arc<Kept>,
) -> Result<Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, hyper::Error>>>>, hyper::Error> {
    let kind = request.headers()[header::CONTENT_TYPE].clone();
    let text = kind.as_bytes().ends_with(b"-text");
    let body = request.into_body();
    let pieces = futures_util::stream::unfold(body, move |mut body| {
        let kept = kept.clone();
        async move {
            let Some(frame) = body.frame().await else {
                kept.whole.fetch_add(1, Ordering::SeqCst);
                return None;
            };
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                let bytes = if text {
                    STANDARD.decode(data).unwrap_or_default()
                } else {
                    data.to_vec()
                };
                kept.got
                    .lock()
                    .expect("nothing panics with the lock")
                    .extend(bytes);
            }
            Some((frame, body))
        }
    });
    let mut response = Response::new(StreamBody::new(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A call that is said piece by piece.
pub struct Spoken {
    said: Option<mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>>,
    reply: Incoming,
    /// What was heard and not taken yet.
    heard: Vec<u8>,
    text: bool,
    /// The headers of the reply.
    pub headers: HeaderMap,
    /// Its trailers, once it is over.
    pub trailers: HeaderMap,
}

impl Spoken {
    /// Begins a call over HTTP/2 with its first piece.
    pub async fn begin(caller: &Caller, host: &str, path: &str, kind: &str, first: &[u8]) -> Result<Self> {
        let stream = TokioIo::new(caller.open(host, &["h2"]).await?);
        let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        let (said, pieces) = mpsc::channel(8);
        let mut request = Request::post(format!("https://{host}{path}")).header(header::CONTENT_TYPE, kind);
        for (name, value) in caller.credentials() {
            request = request.header(name, value);
        }
        let text = kind.ends_with("-text");
        say(&said, text, first).await?;
        let request = request.body(StreamBody::new(stream_of(pieces)))?;
        let response = timeout(PATIENCE, sender.send_request(request)).await??;
        let (head, reply) = response.into_parts();
        Ok(Self {
            said: Some(said),
            reply,
            heard: Vec::new(),
            text,
            headers: head.headers,
            trailers: HeaderMap::new(),
        })
    }

    /// Says a further piece.
    pub async fn say(&mut self, piece: &[u8]) -> Result<()> {
        let said = self.said.as_ref().context("the call was ended")?;
        say(said, self.text, piece).await
    }

    /// Says that nothing follows.
    pub fn end(&mut self) {
        self.said = None;
    }

    /// The next envelope: its flags and its message. `None` at the end.
    pub async fn hear(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some([flags, length @ ..]) = self.heard.first_chunk::<5>().copied() {
                let end = 5 + u32::from_be_bytes(length) as usize;
                if self.heard.len() >= end {
                    let message = self.heard[5..end].to_vec();
                    self.heard.drain(..end);
                    return Ok(Some((flags, message)));
                }
            }
            let Some(frame) = timeout(PATIENCE, self.reply.frame()).await? else {
                return Ok(None);
            };
            match frame?.into_data() {
                Ok(data) if self.text => self.heard.extend(STANDARD.decode(data)?),
                Ok(data) => self.heard.extend(data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
    }
}

fn stream_of<T>(mut pieces: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures_util::stream::poll_fn(move |context| pieces.poll_recv(context))
}

async fn say(
    said: &mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>,
    text: bool,
    piece: &[u8],
) -> Result<()> {
    let written = if text {
        STANDARD.encode(piece).into()
    } else {
        Bytes::copy_from_slice(piece)
    };
    Ok(said.send(Ok(Frame::data(written))).await?)
}

/// A message of protobuf whose field 1 is a message whose field 2 is a text, in its envelope.
#[must_use]
pub fn enveloped(text: &str) -> Vec<u8> {
    let length = |length: usize| u8::try_from(length).expect("a text of some hundred letters at most");
    assert!(text.len() < 120, "lengths of one byte");
    let inner = [&[0x12, length(text.len())], text.as_bytes()].concat();
    let message = [&[0x0a, length(inner.len())], inner.as_slice()].concat();
    [&[0, 0, 0, 0, length(message.len())], message.as_slice()].concat()
}
