//! Connections to upstreams: dialled, and taken under TLS with the certificate verified.
//!
//! A name is resolved once, for each connection; its address is judged and then dialled. A cloud lies on the
//! public internet: where its name leads inside the building instead, there is no connection, unless the
//! configuration says so. Which protocol a host chose is remembered, so that callers are offered no other.
//!
//! Limits: `limits.connect_seconds` for the connection and again for its handshake; 1024 hosts remembered.
//!
//! On failure: an [`UpstreamError`] by cause.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use cordon_intercept::{CertificateFault, DialError, Outbound, Stream, is_reserved};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::warn;

use super::UpstreamError;

/// Subdomains of a listed host are the callers' to choose, so what is remembered must be bounded.
const HOSTS_REMEMBERED: usize = 1024;

/// What connections to upstreams have in common.
#[derive(Clone)]
pub struct WayOut {
    /// Trust, and what is offered.
    pub tls: Arc<ClientConfig>,
    /// Straight, or through the company's proxy. Clouds alone go this way.
    pub outbound: Outbound,
    /// What hosts were found to speak.
    pub spoken: Arc<Spoken>,
    /// Time to connect, and again for the handshake.
    pub limit: Duration,
}

/// Where connections of one upstream may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To this address, whatever DNS says.
    Address(SocketAddr),
    /// To the public internet.
    Public,
    /// Anywhere, through the company's proxy where there is one.
    Anywhere,
    /// Anywhere, and straight: it stands in the building.
    Building,
}

/// Whether a host chose HTTP/2 or HTTP/1.1 when it was offered both.
pub struct Spoken(Mutex<HashMap<String, bool>>);

impl Spoken {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether that host speaks HTTP/2; nothing before the first connection to it.
    pub fn http2(&self, host: &str) -> Option<bool> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .copied()
    }

    fn note(&self, host: &str, http2: bool) {
        // One insertion or removal at a time leaves the map whole, whatever panics.
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS_REMEMBERED && !hosts.contains_key(host) {
            // Which is forgotten matters little: it is learned again at its next connection.
            let any = hosts.keys().next().cloned();
            any.and_then(|any| hosts.remove(&any));
        }
        hosts.insert(host.to_ascii_lowercase(), http2);
    }
}

/// Connects to one upstream.
#[derive(Clone)]
pub struct Connect {
    /// What it shares with others.
    pub way: WayOut,
    /// Where it may lead.
    pub reach: Reach,
    /// HTTP/2 is not offered: a WebSocket is asked for by an upgrade, which it does not have.
    pub only_http1: bool,
}

impl Connect {
    pub(super) async fn connect(self, uri: Uri) -> Result<TokioIo<Line>, UpstreamError> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let limit = self.way.limit;
        let stream = match self.reach {
            Reach::Address(address) => Outbound::dial_address(address, limit).await,
            Reach::Public => {
                let public = |address| !is_reserved(address);
                self.way.outbound.dial(host, port, limit, public).await
            }
            Reach::Anywhere => self.way.outbound.dial(host, port, limit, |_| true).await,
            Reach::Building => Outbound::default().dial(host, port, limit, |_| true).await,
        };
        let stream = stream.inspect_err(|error| {
            // The engine's own watch tells when that is not there, once.
            if self.reach != Reach::Building {
                warn!(host, %error, "no connection to an upstream");
            }
        })?;
        if !secure {
            return Ok(TokioIo::new(Line::Plain(stream)));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| UpstreamError::Unsendable)?;
        let mut tls = self.way.tls.clone();
        if self.only_http1 {
            Arc::make_mut(&mut tls).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let handshake = TlsConnector::from(tls).connect(name, stream);
        let tls = tokio::time::timeout(limit, handshake)
            .await
            .map_err(|_| UpstreamError::Handshake)?
            .map_err(|error| {
                let cause = match CertificateFault::of(&error) {
                    Some(fault) => UpstreamError::Certificate(fault),
                    None => UpstreamError::Handshake,
                };
                warn!(host, error = %cause, "no TLS with an upstream");
                cause
            })?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        if !self.only_http1 {
            self.way.spoken.note(host, http2);
        }
        Ok(TokioIo::new(Line::Tls {
            stream: Box::new(tls),
            http2,
        }))
    }
}

impl From<DialError> for UpstreamError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unresolved => Self::Unresolved,
            DialError::Reserved => Self::Reserved,
            DialError::Unreachable | DialError::TimedOut => Self::Unreachable,
            DialError::ParentUnreachable | DialError::ParentRefused(_) => Self::Parent,
        }
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<Line>, UpstreamError>> + Send>>;

impl tower::Service<Uri> for Connect {
    type Response = TokioIo<Line>;
    type Error = UpstreamError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to an upstream.
pub enum Line {
    /// Without TLS, to a cluster or an engine in the building.
    Plain(Stream),
    /// Under TLS, verified.
    Tls {
        /// The connection.
        stream: Box<TlsStream<Stream>>,
        /// What was agreed on.
        http2: bool,
    },
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls { http2: true, .. } => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls { stream, .. } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_stands() {
        let spoken = Spoken::new();
        assert_eq!(spoken.http2("a.example"), None);
        spoken.note("A.example", true);
        assert_eq!(spoken.http2("a.example"), Some(true));
        spoken.note("a.example", false);
        assert_eq!(spoken.http2("a.example"), Some(false));
        for number in 0..2 * HOSTS_REMEMBERED {
            spoken.note(&format!("{number}.example"), true);
        }
        assert_eq!(spoken.0.lock().unwrap().len(), HOSTS_REMEMBERED);
        assert_eq!(
            spoken.http2(&format!("{}.example", 2 * HOSTS_REMEMBERED - 1)),
            Some(true)
        );
    }
}
