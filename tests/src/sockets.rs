//! A caller's WebSocket through one of Cordon's doors, by a library that is not Cordon's.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::{
    Message,
    client::IntoClientRequest,
    handshake::client::Response,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::caller::Caller;

/// How long a message may be awaited.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<TlsStream<TcpStream>>,
    /// The answer to the handshake.
    pub answer: Response,
}

/// Why there is none: the status and the body of the answer.
#[derive(Debug)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The body, as JSON where it is such.
    pub body: Value,
}

impl Socket {
    /// Asks for one at a path of a host.
    pub async fn open(caller: &Caller, host: &str, path: &str) -> Result<std::result::Result<Self, Refused>> {
        Self::open_with(caller, host, path, &[]).await
    }

    /// The same with further headers.
    pub async fn open_with(
        caller: &Caller,
        host: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<std::result::Result<Self, Refused>> {
        let stream = caller.open(host, &["http/1.1"]).await?;
        let mut request = format!("wss://{host}{path}").into_client_request()?;
        let credentials = caller.credentials();
        for (name, value) in credentials
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(headers.iter().copied())
        {
            request.headers_mut().insert(name, value.parse()?);
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, answer)) => Ok(Ok(Self { stream, answer })),
            Err(tungstenite::Error::Http(answer)) => Ok(Err(Refused {
                status: answer.status().as_u16(),
                body: serde_json::from_slice(answer.body().as_deref().unwrap_or_default())
                    .unwrap_or(Value::Null),
            })),
            Err(other) => Err(other).context("the handshake failed"),
        }
    }

    /// Sends a JSON text.
    pub async fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.stream.send(Message::text(message.to_string())).await?)
    }

    /// Sends a text in fragments of `size` bytes.
    pub async fn say_in_pieces(&mut self, message: &Value, size: usize) -> Result<()> {
        let bytes = message.to_string().into_bytes();
        let pieces: Vec<&[u8]> = bytes.chunks(size.max(1)).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let kind = if index == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), index + 1 == pieces.len());
            self.stream.send(Message::Frame(frame)).await?;
        }
        Ok(())
    }

    /// Sends any message.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// The next message that is JSON.
    pub async fn hear(&mut self) -> Result<Value> {
        match tokio::time::timeout(PATIENCE, self.next()).await?? {
            Message::Text(text) => Ok(serde_json::from_str(&text)?),
            other => bail!("not a text: {other:?}"),
        }
    }

    /// The next frames of SignalR, which may come several in a message.
    pub async fn hear_frames(&mut self, count: usize) -> Result<Vec<Value>> {
        let mut heard = Vec::new();
        while heard.len() < count {
            match tokio::time::timeout(PATIENCE, self.next()).await?? {
                Message::Text(text) => {
                    for frame in text.split('\u{1e}').filter(|frame| !frame.is_empty()) {
                        heard.push(serde_json::from_str(frame)?);
                    }
                }
                other => bail!("not a text: {other:?}"),
            }
        }
        Ok(heard)
    }

    /// The messages up to and with the first of a type.
    pub async fn hear_until(&mut self, kind: &str) -> Result<Vec<Value>> {
        let mut heard = Vec::new();
        loop {
            let message = self.hear().await.with_context(|| format!("after {heard:?}"))?;
            let last = message["type"] == kind;
            heard.push(message);
            if last {
                return Ok(heard);
            }
        }
    }

    /// The code that the connection is closed with; `None` where it just ends.
    pub async fn closed(&mut self) -> Option<u16> {
        let closing = async {
            loop {
                match self.next().await {
                    Ok(Message::Close(frame)) => return frame.map(|frame| u16::from(frame.code)),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, closing).await.unwrap_or(None)
    }

    async fn next(&mut self) -> Result<Message> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(message) => return Ok(message?),
                None => bail!("the connection ended"),
            }
        }
    }
}
