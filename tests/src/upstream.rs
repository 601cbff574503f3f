//! A provider that keeps every byte it got and answers what a test tells it to.
//!
//! It listens on loopback, behind TLS under the provider's names (HTTP/1.1 and HTTP/2) or plainly,
//! in the place of an engine. What it got is kept twice: as the bytes of each connection after TLS,
//! and as requests; [`Upstream::knows`] looks for a text in all of it, also where JSON, a percent
//! sign or base64 hides it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tungstenite::{Message, protocol::Role};

use crate::{replies, tls::TestAuthority};

/// The hosts whose place an upstream behind TLS takes.
pub const PROVIDERS: [&str; 36] = [
    "api.openai.com",
    "eu.api.openai.com",
    "api.anthropic.com",
    "chatgpt.com",
    "files.oaiusercontent.com",
    "claude.ai",
    "gemini.google.com",
    "grok.com",
    "chat.deepseek.com",
    "www.perplexity.ai",
    "chat.mistral.ai",
    "m365.cloud.microsoft",
    "copilot.microsoft.com",
    "generativelanguage.googleapis.com",
    "cloudcode-pa.googleapis.com",
    "us-central1-aiplatform.googleapis.com",
    "bedrock-runtime.us-east-1.amazonaws.com",
    "ours.openai.azure.com",
    "ours.services.ai.azure.com",
    "api.mistral.ai",
    "codestral.mistral.ai",
    "api.groq.com",
    "api.deepseek.com",
    "api.x.ai",
    "api.perplexity.ai",
    "openrouter.ai",
    "api.together.xyz",
    "router.huggingface.co",
    "api.fireworks.ai",
    "api.cohere.com",
    "ollama.com",
    "api.githubcopilot.com",
    "api.business.githubcopilot.com",
    "copilot-proxy.githubusercontent.com",
    "mcp.notes.example",
    "localhost",
];

/// One request as it arrived.
#[derive(Clone)]
pub struct Seen {
    /// Which connection it came by, from 0.
    pub connection: usize,
    /// Its HTTP version.
    pub version: Version,
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body as sent.
    pub body: Bytes,
}

impl Seen {
    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Whether a stream was asked for.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.json()["stream"] == Value::Bool(true)
    }

    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }

    /// The placeholders in the body, each once, in order.
    #[must_use]
    pub fn placeholders(&self) -> Vec<String> {
        placeholders(&String::from_utf8_lossy(&self.body))
    }
}

/// The placeholders (`[TYPE_XXXX]`) in a text, each once, in order.
#[must_use]
pub fn placeholders(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (start, _) in text.match_indices('[') {
        let Some(length) = text[start..].find(']') else {
            break;
        };
        let inside = text[start + 1..start + length].trim_start_matches('[');
        let Some((kind, id)) = inside.rsplit_once('_') else {
            continue;
        };
        let name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if id.len() >= 4 && !kind.is_empty() && inside.bytes().all(name) {
            let whole = format!("[{inside}]");
            if !found.contains(&whole) {
                found.push(whole);
            }
        }
    }
    found
}

/// A part of an answer's body.
#[derive(Clone)]
pub enum Piece {
    /// Bytes, sent as one frame or chunk.
    Bytes(Bytes),
    /// Nothing more until the test says so.
    Wait(Arc<Notify>),
    /// The connection (HTTP/1.1) or stream (HTTP/2) is torn down.
    Cut,
}

/// What an upstream answers.
#[derive(Clone)]
pub struct Answer {
    /// Status code; 0 closes the connection without an answer.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body, piece by piece.
    pub pieces: Vec<Piece>,
}

impl Answer {
    /// An answer of one piece.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            pieces: vec![Piece::Bytes(body.into())],
        }
    }

    /// The connection closes without an answer.
    #[must_use]
    pub fn hang_up() -> Self {
        Self {
            status: 0,
            headers: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// The same body in pieces of `size` bytes.
    #[must_use]
    pub fn in_pieces_of(mut self, size: usize) -> Self {
        let body = self.body();
        self.pieces = (0..body.len())
            .step_by(size.max(1))
            .map(|start| Piece::Bytes(body.slice(start..body.len().min(start + size.max(1)))))
            .collect();
        self
    }

    /// The same body up to a share of its bytes, in thousandths; `then` stands in place of the rest.
    #[must_use]
    pub fn after(mut self, thousandths: usize, then: Vec<Piece>) -> Self {
        let body = self.body();
        self.pieces = vec![Piece::Bytes(
            body.slice(..body.len() * thousandths.min(1000) / 1000),
        )];
        self.pieces.extend(then);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn body(&self) -> Bytes {
        let mut whole = Vec::new();
        for piece in &self.pieces {
            if let Piece::Bytes(bytes) = piece {
                whole.extend_from_slice(bytes);
            }
        }
        whole.into()
    }
}

type Behaviour = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;
/// What is said on a WebSocket in answer to a message; `None` closes it.
type Speech = Arc<dyn Fn(&str) -> Vec<Option<String>> + Send + Sync>;

struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// One a connection: its bytes after TLS.
    wires: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    behaviour: Mutex<Behaviour>,
    speech: Mutex<Option<Speech>>,
    arrived: Notify,
    connections: AtomicUsize,
}

/// A running provider; it stops when dropped.
pub struct Upstream {
    address: SocketAddr,
    authority: Option<TestAuthority>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// A provider behind TLS, speaking HTTP/2 and HTTP/1.1 under the names [`PROVIDERS`].
    pub async fn behind_tls() -> Self {
        Self::start(Some(true)).await
    }

    /// A provider behind TLS that speaks HTTP/1.1 only.
    pub async fn behind_tls_http1() -> Self {
        Self::start(Some(false)).await
    }

    /// A stand-in for an engine: plain HTTP, `GET /health` is answered 200.
    pub async fn in_place_of_engine() -> Self {
        Self::start(None).await
    }

    async fn start(tls: Option<bool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            wires: Mutex::default(),
            behaviour: Mutex::new(Arc::new(replies::echo)),
            speech: Mutex::new(None),
            arrived: Notify::new(),
            connections: AtomicUsize::new(0),
        });
        let authority = tls.map(|_| TestAuthority::new());
        let acceptor = authority
            .as_ref()
            .map(|authority| TlsAcceptor::from(authority.server(&PROVIDERS, tls == Some(true))));
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&accepting)));
            }
        });
        Self {
            address,
            authority,
            shared,
            task,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, as one would call it without Cordon.
    #[must_use]
    pub fn url(&self) -> String {
        match self.authority {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// Its CA certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.as_ref().map_or("", TestAuthority::pem)
    }

    /// From now on it answers by `behaviour`.
    pub fn answer(&self, behaviour: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.behaviour) = Arc::new(behaviour);
    }

    /// From now on it takes WebSockets, and answers each message by `speech`; `None` in it closes the connection.
    /// Messages are kept as requests whose method is `MESSAGE`.
    pub fn speak(&self, speech: impl Fn(&str) -> Vec<Option<String>> + Send + Sync + 'static) {
        *lock(&self.shared.speech) = Some(Arc::new(speech));
    }

    /// The messages so far, as JSON.
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        let messages = self.seen().into_iter().filter(|seen| seen.method == "MESSAGE");
        messages.map(|seen| seen.json()).collect()
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The requests so far that ask for an answer: POST to one of the dialects' paths.
    #[must_use]
    pub fn asked(&self) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.method == "POST" && replies::Talk::by_path(seen.path()).is_some())
            .collect()
    }

    /// Forgets all requests and bytes.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
        for wire in lock(&self.shared.wires).iter() {
            lock(wire).clear();
        }
    }

    /// Waits until so many requests have arrived in all, for half a minute at most.
    pub async fn arrived(&self, count: usize) {
        let enough = async {
            loop {
                // Registered before the look, so that no arrival falls between the two.
                let next = self.shared.arrived.notified();
                if self.seen().len() >= count {
                    return;
                }
                next.await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(30), enough).await;
        assert!(
            outcome.is_ok(),
            "{} of {count} requests arrived at the upstream",
            self.seen().len()
        );
    }

    /// Whether a text arrived in any form: in the bytes of any connection, in a request's head or
    /// body, in a JSON string of it, percent-encoded or in base64.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        let forms = forms_of(text);
        let within = |bytes: &[u8]| forms.iter().any(|form| contains(bytes, form));
        let wires: Vec<_> = lock(&self.shared.wires).clone();
        wires.iter().any(|wire| within(&lock(wire)))
            || self.seen().iter().any(|seen| {
                within(seen.target.as_bytes())
                    || within(&seen.body)
                    || seen.headers.iter().any(|(_, value)| within(value))
                    || any_string(&seen.json(), &mut |string| within(string.as_bytes()))
            })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let wire = Arc::new(Mutex::new(Vec::new()));
    lock(&shared.wires).push(Arc::clone(&wire));
    let _ = stream.set_nodelay(true);
    match acceptor {
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                converse(KeptStream { stream, wire }, connection, shared).await;
            }
        }
        None => converse(KeptStream { stream, wire }, connection, shared).await,
    }
}

async fn converse<S>(stream: KeptStream<S>, connection: usize, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { respond(request, connection, shared).await }
    });
    // A connection that a test tears down ends in an error; that is the point of it.
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

async fn respond(
    mut request: Request<Incoming>,
    connection: usize,
    shared: Arc<Shared>,
) -> Result<Response<AnswerBody>, io::Error> {
    let upgrade = request
        .headers()
        .contains_key(header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let mut headers: Vec<(String, Vec<u8>)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    if let Some(authority) = head.uri.authority() {
        headers.insert(
            0,
            (
                header::HOST.as_str().to_owned(),
                authority.as_str().as_bytes().to_vec(),
            ),
        );
    }
    // A body that breaks off is what the test made of it; what came is kept.
    let mut body = body;
    let mut whole = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            whole.extend_from_slice(data);
        }
    }
    let seen = Seen {
        connection,
        version: head.version,
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        headers,
        body: whole.into(),
    };
    if seen.method == "GET" && seen.path() == "/health" {
        return Ok(response(Answer::new(
            200,
            "application/json",
            r#"{"status":"ok"}"#,
        )));
    }
    let speech = lock(&shared.speech).clone();
    if let (Some(upgrade), Some(speech)) = (upgrade, speech) {
        let key = seen.header("sec-websocket-key").unwrap_or_default();
        let answer = Answer {
            status: 101,
            headers: vec![
                ("connection", "Upgrade".to_owned()),
                ("upgrade", "websocket".to_owned()),
                (
                    "sec-websocket-accept",
                    tungstenite::handshake::derive_accept_key(key),
                ),
                ("x-turn-state", "kept".to_owned()),
            ],
            pieces: Vec::new(),
        };
        lock(&shared.seen).push(seen.clone());
        shared.arrived.notify_waiters();
        tokio::spawn(converse_in_messages(upgrade, seen, speech, shared));
        return Ok(response(answer));
    }
    let behaviour = Arc::clone(&lock(&shared.behaviour));
    let answer = behaviour(&seen);
    lock(&shared.seen).push(seen);
    shared.arrived.notify_waiters();
    if answer.status == 0 {
        return Err(io::Error::other("hung up, as told"));
    }
    Ok(response(answer))
}

/// Keeps the messages of a WebSocket and says what it was told to.
async fn converse_in_messages(upgrade: OnUpgrade, opened: Seen, speech: Speech, shared: Arc<Shared>) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        let body = message.into_data();
        let said = speech(&String::from_utf8_lossy(&body));
        lock(&shared.seen).push(Seen {
            method: "MESSAGE".to_owned(),
            body,
            ..opened.clone()
        });
        shared.arrived.notify_waiters();
        for one in said {
            let sent = match one {
                Some(text) => socket.send(Message::text(text)).await,
                None => socket.close(None).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

/// How long a provider that is told to die stays silent first.
const BEFORE_CUT: Duration = Duration::from_millis(200);

fn response(answer: Answer) -> Response<AnswerBody> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let pieces = futures_util::stream::unfold(answer.pieces.into_iter(), |mut pieces| async move {
        loop {
            match pieces.next()? {
                Piece::Bytes(bytes) => {
                    // Each piece is handed over by itself, not with the next in one write.
                    tokio::task::yield_now().await;
                    return Some((Ok(Frame::data(bytes)), pieces));
                }
                Piece::Wait(until) => until.notified().await,
                Piece::Cut => {
                    // A reset overtakes what waits to be written, and a provider that dies has
                    // been silent for a moment: what it said before is on its way by then.
                    tokio::time::sleep(BEFORE_CUT).await;
                    return Some((Err(io::Error::other("cut, as told")), pieces));
                }
            }
        }
    });
    let body = StreamBody::new(pieces).boxed_unsync();
    response.body(body).expect("headers of a test's answer are valid")
}

/// A stream whose incoming bytes are kept.
struct KeptStream<S> {
    stream: S,
    wire: Arc<Mutex<Vec<u8>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for KeptStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        lock(&self.wire).extend_from_slice(&buffer.filled()[before..]);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for KeptStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A test that panicked with the lock held has failed already; the others may go on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn forms_of(text: &str) -> Vec<Vec<u8>> {
    let quoted = Value::from(text).to_string();
    let percent: String = text
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let mut forms = vec![
        text.into(),
        quoted[1..quoted.len() - 1].into(),
        percent.into_bytes(),
        STANDARD.encode(text).into_bytes(),
    ];
    forms.dedup();
    forms
}

/// Whether any string or key in a JSON value satisfies a test.
fn any_string(value: &Value, satisfies: &mut impl FnMut(&str) -> bool) -> bool {
    match value {
        Value::String(text) => satisfies(text),
        Value::Array(items) => items.iter().any(|item| any_string(item, satisfies)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| satisfies(name) || any_string(member, satisfies)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_other_brackets() {
        let text = r#"a [EMAIL_K7QX] b [x] c [[CREDIT_CARD_0ABC9]] [EMAIL_K7QX] [Email_abcd] [A_B] [PERSON_"#;
        assert_eq!(placeholders(text), ["[EMAIL_K7QX]", "[CREDIT_CARD_0ABC9]"]);
    }
}
