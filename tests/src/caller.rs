//! HTTP through Cordon's doors, down to the byte where a test needs it.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{cordon::Cordon, events, replies::Talk, tls::trusting};

/// The key that callers of the forward proxy hold for the provider itself.
pub const PROVIDER_KEY: &str = "sk-dummy-provider-key";

/// The way a caller comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Base URL set to Cordon.
    Gateway,
    /// Provider addressed, through the forward proxy.
    Proxy,
}

/// Somebody who calls through Cordon.
#[derive(Clone)]
pub struct Caller {
    door: Door,
    address: SocketAddr,
    trusted: String,
    key: Option<String>,
}

impl Caller {
    /// One who comes in by a door with an API key of Cordon's.
    #[must_use]
    pub fn new(cordon: &Cordon, door: Door, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..Self::without_key(cordon, door)
        }
    }

    /// One who does not say who they are.
    #[must_use]
    pub fn without_key(cordon: &Cordon, door: Door) -> Self {
        let address = match door {
            Door::Gateway => cordon.gateway(),
            Door::Proxy => cordon.proxy(),
        };
        Self {
            door,
            address,
            trusted: cordon.ca_pem(),
            key: None,
        }
    }

    /// The door they use.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door
    }

    /// Opens a connection, up to and with TLS. `host` is who is addressed through the proxy.
    pub async fn open(&self, host: &str, protocols: &[&str]) -> Result<TlsStream<TcpStream>> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .context("Cordon does not accept")?;
        stream.set_nodelay(true)?;
        let name = match self.door {
            Door::Gateway => "localhost",
            Door::Proxy => {
                self.connect(&mut stream, host).await?;
                host
            }
        };
        let name = ServerName::try_from(name.to_owned())?;
        let connector = TlsConnector::from(trusting(&self.trusted, protocols));
        connector
            .connect(name, stream)
            .await
            .context("the TLS handshake with Cordon failed")
    }

    async fn connect(&self, stream: &mut TcpStream, host: &str) -> Result<()> {
        let answer = self.ask_connect(stream, &format!("{host}:443")).await?;
        ensure!(
            answer.starts_with("HTTP/1.1 200"),
            "CONNECT was answered {answer:?}"
        );
        Ok(())
    }

    /// Sends a CONNECT and returns the head of what comes back.
    pub async fn ask_connect(&self, stream: &mut TcpStream, target: &str) -> Result<String> {
        let credentials = self.key.as_ref().map_or_else(String::new, |key| {
            format!(
                "Proxy-Authorization: Basic {}\r\n",
                STANDARD.encode(format!("cordon:{key}"))
            )
        });
        stream
            .write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n").as_bytes())
            .await?;
        let mut head = Vec::new();
        // By the byte: what follows the head is the tunnel's.
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < 16_384, "the answer to CONNECT has no end");
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => bail!("the connection closed within the answer to CONNECT"),
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// A connection that takes one request after the other.
    pub async fn line(&self, host: &str, http2: bool) -> Result<Line> {
        let protocols: &[&str] = if http2 { &["h2"] } else { &["http/1.1"] };
        let stream = TokioIo::new(self.open(host, protocols).await?);
        let sender = if http2 {
            let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Ok(Line {
            sender,
            host: host.to_owned(),
            credentials: self.credentials(),
        })
    }

    /// The headers that say who calls: Cordon's key at the gateway, the provider's through the proxy.
    #[must_use]
    pub fn credentials(&self) -> Vec<(&'static str, String)> {
        let key = match self.door {
            Door::Gateway => match &self.key {
                Some(key) => key.clone(),
                None => return Vec::new(),
            },
            Door::Proxy => PROVIDER_KEY.to_owned(),
        };
        vec![("authorization", format!("Bearer {key}"))]
    }

    /// Posts a JSON body to a path of that host on a connection of its own, over HTTP/1.1. The gateway is its own host.
    ///
    /// # Panics
    /// When Cordon does not answer.
    pub async fn post_to(&self, host: &str, target: &str, body: &Value) -> Reply {
        let host = if self.door == Door::Gateway {
            "localhost"
        } else {
            host
        };
        let mut line = self.line(host, false).await.expect("Cordon takes connections");
        let answer = line
            .begin("POST", target, body.to_string().into_bytes(), &[])
            .await
            .expect("Cordon answers");
        Reply::read(answer).await.expect("the answer can be read")
    }

    /// Posts a JSON body in a dialect on a connection of its own, over HTTP/1.1.
    pub async fn post(&self, talk: Talk, body: &Value) -> Result<Reply> {
        self.post_bytes(talk, body.to_string().into_bytes(), &[]).await
    }

    /// Posts any bytes, with further headers.
    pub async fn post_bytes(&self, talk: Talk, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<Reply> {
        self.line(talk.host(), false)
            .await?
            .post(talk, body, headers)
            .await
    }

    /// Writes raw bytes (HTTP/1.1) and reads until the answer's end or the connection's.
    pub async fn raw(&self, host: &str, bytes: &[u8], then_close: bool) -> Result<Vec<u8>> {
        let mut stream = self.open(host, &["http/1.1"]).await?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        if then_close {
            stream.shutdown().await?;
        }
        let mut answer = Vec::new();
        // A connection that is torn down ends the answer as well as one that is closed.
        let _ = stream.read_to_end(&mut answer).await;
        Ok(answer)
    }
}

enum Sender {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

/// An open connection.
pub struct Line {
    sender: Sender,
    host: String,
    credentials: Vec<(&'static str, String)>,
}

impl Line {
    /// Posts a body in a dialect and reads the whole answer.
    pub async fn post(&mut self, talk: Talk, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<Reply> {
        Reply::read(self.begin("POST", talk.path(), body, headers).await?).await
    }

    /// Sends any request and reads the whole answer.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Reply> {
        Reply::read(self.begin(method, target, Vec::new(), headers).await?).await
    }

    /// Sends a request and returns when the answer's head is there.
    pub async fn begin(
        &mut self,
        method: &str,
        target: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<http::Response<Incoming>> {
        let uri = match self.sender {
            Sender::Http1(_) => target.to_owned(),
            Sender::Http2(_) => format!("https://{}{target}", self.host),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self.sender, Sender::Http1(_)) {
            request = request.header(header::HOST, &self.host);
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let credentials = self
            .credentials
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        for (name, value) in credentials.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
}

impl Reply {
    /// Reads an answer to its end, proper or not.
    pub async fn read(answer: http::Response<Incoming>) -> Result<Self> {
        let (head, mut incoming) = answer.into_parts();
        let (mut body, mut complete) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Err(_) => {
                    complete = false;
                    break;
                }
            }
        }
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body,
            complete,
        })
    }

    /// A header as text; empty when absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The exchange's id.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.header("x-cordon-exchange")
    }

    /// What was decided.
    #[must_use]
    pub fn decision(&self) -> &str {
        self.header("x-cordon-decision")
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What it says in a dialect.
    #[must_use]
    pub fn said(&self, talk: Talk) -> events::Said {
        events::read(talk, &self.body)
    }

    /// Asserts that this is an error in a dialect's own shape, and returns its message.
    #[must_use]
    pub fn refusal(&self, talk: Talk) -> String {
        let body = self.json();
        let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(!message.is_empty(), "no error object in {:?}", self.text());
        assert!(body["error"]["type"].is_string(), "{body}");
        assert_eq!(
            body["type"] == "error",
            talk == Talk::Messages,
            "not the error shape of {talk:?}: {body}"
        );
        message
    }
}
