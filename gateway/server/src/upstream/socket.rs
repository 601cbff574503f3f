//! WebSockets to upstreams: our own handshake over HTTP/1.1, and a leg whose messages are cleared.
//!
//! What goes out by [`UpstreamWriter`] is a [`Cleared`], as with requests. Its head was sent with the handshake,
//! so only the body counts. Control frames hold no text of the caller's.
//!
//! On failure: an [`UpstreamError`] before the connection is open, a [`SocketFault`] afterwards.

use std::time::Duration;

use bytes::Bytes;
use cordon_intercept::{
    HandshakeError, Socket, SocketFault, SocketHandshake, SocketLimits, SocketReader, SocketWriter,
};
use cordon_policy::Cleared;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};

use tokio_util::task::TaskTracker;

use super::{UpstreamError, connect::Connect};

/// What an upstream says to a handshake.
pub enum SocketReply {
    /// The connection, and the headers of the answer.
    Open(Box<UpstreamSocket>, HeaderMap),
    /// Something else, which is a reply.
    Refused(Response<Incoming>),
}

/// An open WebSocket to an upstream.
pub struct UpstreamSocket {
    /// What it says.
    pub reader: SocketReader,
    /// What is said to it.
    pub writer: UpstreamWriter,
}

/// The way to an upstream over an open WebSocket.
pub struct UpstreamWriter(SocketWriter);

impl UpstreamWriter {
    /// Sends a cleared text.
    pub async fn text(&mut self, cleared: Cleared) -> Result<(), SocketFault> {
        self.0.text(cleared.body()).await
    }

    /// Sends cleared bytes.
    pub async fn binary(&mut self, cleared: Cleared) -> Result<(), SocketFault> {
        self.0.binary(cleared.body()).await
    }

    /// Asks whether the upstream is still there.
    pub async fn ping(&mut self) -> Result<(), SocketFault> {
        self.0.ping().await
    }

    /// Answers the upstream's own ping.
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), SocketFault> {
        self.0.pong(payload).await
    }

    /// Says that no more will come.
    pub async fn close(&mut self, code: Option<u16>) -> Result<(), SocketFault> {
        self.0.close(code).await
    }
}

/// What is asked of an upstream.
pub(super) struct Asked<'a> {
    pub(super) request: Request<Full<Bytes>>,
    pub(super) handshake: &'a SocketHandshake,
    pub(super) protocols: &'a [HeaderValue],
}

pub(super) async fn open(
    connect: Connect,
    asked: Asked<'_>,
    patience: Duration,
    limits: SocketLimits,
    tasks: &TaskTracker,
) -> Result<SocketReply, UpstreamError> {
    let Asked {
        mut request,
        handshake,
        protocols,
    } = asked;
    let uri = std::mem::take(request.uri_mut());
    let authority = uri.authority().ok_or(UpstreamError::Unsendable)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| UpstreamError::Unsendable)?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = uri
        .path_and_query()
        .map_or(Uri::from_static("/"), |path| Uri::from(path.clone()));
    let line = connect.connect(uri).await?;
    let answering = async {
        let (mut sender, connection) = http1::handshake(line).await.map_err(|_| UpstreamError::Broken)?;
        // It ends with the answer, or becomes the WebSocket; its errors are seen by whoever reads. The drain waits for
        // it, since an answer that is a refusal is read through it.
        tasks.spawn(connection.with_upgrades());
        sender
            .send_request(request)
            .await
            .map_err(|_| UpstreamError::Broken)
    };
    let mut response = tokio::time::timeout(patience, answering)
        .await
        .map_err(|_| UpstreamError::TimedOut)??;
    match handshake.agreed(&response, protocols) {
        Err(HandshakeError::Refused) => Ok(SocketReply::Refused(response)),
        Err(HandshakeError::Malformed) => Err(UpstreamError::Broken),
        Ok(agreed) => {
            let headers = std::mem::take(response.headers_mut());
            let upgraded = tokio::time::timeout(patience, hyper::upgrade::on(response))
                .await
                .map_err(|_| UpstreamError::TimedOut)?
                .map_err(|_| UpstreamError::Broken)?;
            let (reader, writer) = Socket::to_upstream(upgraded, agreed, limits).split();
            let writer = UpstreamWriter(writer);
            Ok(SocketReply::Open(
                Box::new(UpstreamSocket { reader, writer }),
                headers,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cordon_intercept::{Outbound, Revocation, upstream_tls};
    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::upstream::{Spoken, WayOut, connect::Reach};

    #[tokio::test]
    async fn a_drain_waits_until_a_refusal_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = WayOut {
            tls: Arc::new(upstream_tls(&[], &Revocation::default()).unwrap()),
            outbound: Outbound::default(),
            spoken: Arc::new(Spoken::new()),
            limit: Duration::from_secs(10),
        };
        let connect = Connect {
            way,
            reach: Reach::Address(address),
            only_http1: true,
        };
        let handshake = SocketHandshake::new();
        let asked = Asked {
            request: Request::get(format!("http://{address}/socket"))
                .body(Full::new(Bytes::new()))
                .unwrap(),
            handshake: &handshake,
            protocols: &[],
        };
        let limits = SocketLimits {
            message: 1 << 16,
            ratio: 20,
            idle: Duration::from_secs(10),
            stall: Duration::from_secs(10),
        };
        let tasks = TaskTracker::new();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let begun = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno";
            stream.write_all(begun).await.unwrap();
            stream
        };
        let opening = open(connect, asked, Duration::from_secs(10), limits, &tasks);
        let (reply, mut stream) = tokio::join!(opening, answering);
        let Ok(SocketReply::Refused(response)) = reply else {
            panic!("a 403 is a refusal");
        };
        tasks.close();
        let drained = tasks.wait();
        tokio::pin!(drained);
        assert!(
            futures_util::poll!(drained.as_mut()).is_pending(),
            "half of the refusal is yet to come"
        );
        stream.write_all(b"w.").await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"now.");
        drop(stream);
        tokio::time::timeout(Duration::from_secs(10), drained)
            .await
            .expect("it waits for no more than that");
    }
}
