//! A caller's WebSocket through one of Cordon's doors, by a library that is not Cordon's.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
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

/// A WebSocket by the byte, for what no decent library would send.
pub struct RawSocket {
    stream: TlsStream<TcpStream>,
    heard: Vec<u8>,
}

impl RawSocket {
    /// Asks for one at a path of a host, and expects to get it.
    pub async fn open(caller: &Caller, host: &str, path: &str) -> Result<Self> {
        let mut stream = caller.open(host, &["http/1.1"]).await?;
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in caller.credentials() {
            request += &format!("{name}: {value}\r\n");
        }
        request += "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        ensure!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let heard = Vec::new();
        Ok(Self { stream, heard })
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next frame: its first byte, and its payload. `None` when the connection ends.
    pub async fn hear(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((head, length)) = head_of(&self.heard)
                && self.heard.len() >= head + length
            {
                let payload = self.heard[head..head + length].to_vec();
                let first = self.heard[0];
                self.heard.drain(..head + length);
                return Ok(Some((first, payload)));
            }
            let read = self.stream.read_buf(&mut self.heard);
            match tokio::time::timeout(PATIENCE, read).await? {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }
}

/// Lengths of a frame's head and payload, once its head is there (RFC 6455, section 5.2). A server masks nothing.
fn head_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let wide = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte))
    };
    match bytes.get(1)? {
        126 => Some((4, wide(bytes.get(2..4)?))),
        127 => Some((10, wide(bytes.get(2..10)?))),
        short => Some((2, usize::from(*short))),
    }
}

/// A caller's frame with that first byte, masked as it must be.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("below 126")),
        length @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("below 65536").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
