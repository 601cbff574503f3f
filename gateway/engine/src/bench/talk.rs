//! A streamed chat over HTTP, and when its parts came.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(300);

/// An answer that has come.
pub(super) struct Talk {
    pub(super) asked: Instant,
    /// When each piece of text came; there is at least one.
    pub(super) pieces: Vec<Instant>,
    /// Tokens read, and those of them that needed no decoding.
    pub(super) prompt: u64,
    pub(super) cached: u64,
    /// Tokens answered.
    pub(super) answer: u64,
    pub(super) text: String,
}

impl Talk {
    /// Until the first piece.
    pub(super) fn first(&self) -> Duration {
        self.pieces[0] - self.asked
    }

    /// The longest silence between two pieces.
    pub(super) fn longest_silence(&self) -> Duration {
        let silences = self.pieces.windows(2).map(|pair| pair[1] - pair[0]);
        silences.max().unwrap_or_default()
    }
}

/// Asks for a streamed answer and reads it to its end.
pub(super) async fn chat(
    address: SocketAddr,
    headers: &[(&str, &str)],
    body: &Value,
) -> anyhow::Result<Talk> {
    let asked = Instant::now();
    let response = send(address, "POST", "/v1/chat/completions", headers, body.to_string()).await?;
    let status = response.status();
    let mut talk = Talk {
        asked,
        pieces: Vec::new(),
        prompt: 0,
        cached: 0,
        answer: 0,
        text: String::new(),
    };
    let mut unread = Vec::new();
    let mut body = response.into_body();
    while let Some(frame) = timeout(PATIENCE, body.frame())
        .await
        .context("the answer stands still")?
    {
        if let Ok(data) = frame?.into_data() {
            unread.extend_from_slice(&data);
        }
        if status != StatusCode::OK {
            continue;
        }
        while let Some(end) = unread.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = unread.drain(..end + 2).collect();
            talk.take(&event)?;
        }
    }
    ensure!(
        status == StatusCode::OK,
        "{status}: {}",
        String::from_utf8_lossy(&unread)
    );
    ensure!(!talk.pieces.is_empty(), "an answer without text");
    Ok(talk)
}

impl Talk {
    fn take(&mut self, event: &[u8]) -> anyhow::Result<()> {
        let text = std::str::from_utf8(event)?.trim_end();
        let Some(data) = text.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
            return Ok(());
        };
        let event: Value = serde_json::from_str(data)?;
        if let Some(error) = event.get("error") {
            bail!("the answer broke off: {error}");
        }
        let piece = event["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default();
        if !piece.is_empty() {
            self.pieces.push(Instant::now());
            self.text.push_str(piece);
        }
        if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
            self.prompt = usage["prompt_tokens"].as_u64().unwrap_or(0);
            self.cached = usage["prompt_tokens_details"]["cached_tokens"]
                .as_u64()
                .unwrap_or(0);
            self.answer = usage["completion_tokens"].as_u64().unwrap_or(0);
        }
        Ok(())
    }
}

/// The status of a GET.
pub(super) async fn status(address: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    Ok(send(address, "GET", path, &[], String::new()).await?.status())
}

async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> anyhow::Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    Ok(timeout(PATIENCE, sender.send_request(request))
        .await
        .context("no answer")??)
}
