//! Connections out of the house: a name is resolved once, the addresses are judged, and one of those is dialled.
//!
//! Nothing asks the name's server a second time between the judging and the dialling, so a name that resolves
//! to the printer the second time (DNS rebinding) gains nothing. Where the company's own proxy is the only way
//! out, connections go through it ([`ParentProxy`]); names are resolved there, so of them only addresses and
//! `localhost` are judged here.
//!
//! Limits: a time for each connection, of which every address gets its share.
//!
//! On failure: a [`DialError`]; nothing was sent.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::watched::Prefixed;

mod parent;
pub use parent::{InvalidParent, ParentProxy};

/// The least time for one of several addresses.
const LEAST_TRY: Duration = Duration::from_secs(1);

/// How connections leave: straight, or through the company's own proxy.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    parent: Option<Arc<ParentProxy>>,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the host's name does not resolve")]
    Unresolved,
    /// All of its addresses are reserved ones that may not be reached.
    #[error("the host's address is not one of the public internet")]
    Reserved,
    /// No address answered.
    #[error("the host refused the connection or cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("the host did not take the connection in time")]
    TimedOut,
    /// The company's proxy cannot be reached, or its certificate does not verify.
    #[error("the company's own proxy cannot be reached, or its certificate does not verify")]
    ParentUnreachable,
    /// The company's proxy refused; the status is its own.
    #[error("the company's own proxy refused the connection with HTTP status {0}")]
    ParentRefused(u16),
}

impl Outbound {
    /// Through the company's proxy, where that does not say otherwise.
    #[must_use]
    pub fn through(parent: Option<ParentProxy>) -> Self {
        Self {
            parent: parent.map(Arc::new),
        }
    }

    /// From now on the company's proxy is verified by this, where it speaks TLS.
    pub fn trust(&self, tls: &ClientConfig) {
        if let Some(parent) = &self.parent {
            parent.trust(tls);
        }
    }

    /// Connects to a host, within `limit`. `permits` says of an address whether it may be reached.
    ///
    /// # Errors
    /// When there is no way to it, or none that is permitted.
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
        permits: impl Fn(IpAddr) -> bool,
    ) -> Result<Stream, DialError> {
        let parent = self.parent.as_deref().filter(|parent| !parent.spares(host));
        let dialling = async {
            match parent {
                Some(parent) => {
                    let literal = match host.parse() {
                        Ok(address) => Some(address),
                        Err(_) if is_localhost(host) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                        Err(_) => None,
                    };
                    if literal.is_some_and(|address| !permits(address)) {
                        return Err(DialError::Reserved);
                    }
                    parent.connect(host, port).await
                }
                None => straight(host, port, limit, permits).await.map(Stream::from),
            }
        };
        timeout(limit, dialling).await.map_err(|_| DialError::TimedOut)?
    }

    /// Connects to a configured address, whatever it is.
    ///
    /// # Errors
    /// When it does not answer within `limit`.
    pub async fn dial_address(address: SocketAddr, limit: Duration) -> Result<Stream, DialError> {
        match timeout(limit, TcpStream::connect(address)).await {
            Err(_) => Err(DialError::TimedOut),
            Ok(Err(_)) => Err(DialError::Unreachable),
            Ok(Ok(tcp)) => Ok(Stream::from(tcp)),
        }
    }
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// Resolves, judges, and dials what was judged.
async fn straight(
    host: &str,
    port: u16,
    limit: Duration,
    permits: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, DialError> {
    let resolved: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => lookup_host((host, port))
            .await
            .map_err(|_| DialError::Unresolved)?
            .collect(),
    };
    if resolved.is_empty() {
        return Err(DialError::Unresolved);
    }
    let permitted: Vec<SocketAddr> = resolved
        .into_iter()
        .filter(|address| permits(address.ip()))
        .collect();
    let Some(count) = u32::try_from(permitted.len()).ok().filter(|count| *count > 0) else {
        return Err(DialError::Reserved);
    };
    // An address that swallows what is sent to it must not use up the time of those after it.
    let share = (limit / count).max(LEAST_TRY);
    for address in permitted {
        if let Ok(Ok(tcp)) = timeout(share, TcpStream::connect(address)).await {
            return Ok(tcp);
        }
    }
    Err(DialError::Unreachable)
}

/// A connection out of the house, before any TLS of its own.
#[derive(Debug)]
pub struct Stream(Way);

#[derive(Debug)]
enum Way {
    Straight(TcpStream),
    Proxied(Prefixed<TcpStream>),
    ProxiedTls(Box<Prefixed<TlsStream<TcpStream>>>),
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        // Without it a keystroke waits for the one before; a failure costs only that.
        let _ = tcp.set_nodelay(true);
        Self(Way::Straight(tcp))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Straight(io) => Pin::new(io).poll_read(cx, buf),
            Way::Proxied(io) => Pin::new(io).poll_read(cx, buf),
            Way::ProxiedTls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Way::Straight(io) => Pin::new(io).poll_write(cx, buf),
            Way::Proxied(io) => Pin::new(io).poll_write(cx, buf),
            Way::ProxiedTls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Way::Straight(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Way::Proxied(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Way::ProxiedTls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Way::Straight(io) => io.is_write_vectored(),
            Way::Proxied(io) => io.is_write_vectored(),
            Way::ProxiedTls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Straight(io) => Pin::new(io).poll_flush(cx),
            Way::Proxied(io) => Pin::new(io).poll_flush(cx),
            Way::ProxiedTls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Way::Straight(io) => Pin::new(io).poll_shutdown(cx),
            Way::Proxied(io) => Pin::new(io).poll_shutdown(cx),
            Way::ProxiedTls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::reach::is_reserved;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn only_addresses_that_were_judged_are_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dial = |host: &'static str, open: bool| async move {
            Outbound::default()
                .dial(host, port, LIMIT, |address| open || !is_reserved(address))
                .await
                .map(|_| ())
        };
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(dial(host, false).await, Err(DialError::Reserved), "{host}");
            assert_eq!(dial(host, true).await, Ok(()), "{host}");
        }
        assert_eq!(dial("169.254.169.254", false).await, Err(DialError::Reserved));
        assert_eq!(
            dial("no-such-name.invalid", true).await,
            Err(DialError::Unresolved)
        );
        drop(listener);
        assert_eq!(dial("127.0.0.1", true).await, Err(DialError::Unreachable));
    }
}
