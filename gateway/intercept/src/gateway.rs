//! The reverse gateway's door: TLS with HTTP/1.1 or HTTP/2, and plain HTTP/1.1 from loopback where
//! the configuration allows it.
//!
//! One byte tells them apart: a TLS record begins with 22, an HTTP request with a letter. Plain HTTP
//! that is not allowed gets a 400 that says so, for the person who typed `http://`.
//!
//! On failure: handshakes that fail are told to the server and the connection is closed.

use std::{io, net::SocketAddr, sync::Arc};

use cordon_domain::Door;
use http::{HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    certificate::Certified,
    exchange::{Arrival, Exchanges, Reason},
    hello::TLS_HANDSHAKE,
    line::{Line, Taken},
    listen::{GatewayTls, Interceptor, Lease},
    serving::{Answering, Speaks, exchange, serve_connection, stranger},
    watched::{Prefixed, Pulse, Watched},
    websocket::is_extended,
};

/// A connection that came in by the gateway's port.
pub(crate) async fn accepted<S: Exchanges>(shared: Arc<Interceptor<S>>, tcp: TcpStream, lease: Lease) {
    // A peer that is gone already has no address.
    let Ok(peer) = tcp.peer_addr() else { return };
    let limits = Arc::clone(&shared.limits);
    let deadline = Instant::now() + limits.handshake;
    let pulse = Pulse::new();
    let watched = Watched::new(Line::Bare(tcp), Arc::clone(&pulse), limits.write_stall);
    let mut io = Prefixed::new(bytes::Bytes::new(), watched);
    let first = tokio::select! {
        first = timeout_at(deadline, io.peek()) => first,
        () = lease.shutdown.cancelled() => return,
    };
    match first {
        Ok(Ok(Some(TLS_HANDSHAKE))) => {}
        Ok(Ok(Some(byte))) if byte.is_ascii_alphabetic() => {
            return plain_http(shared, io, pulse, peer, lease).await;
        }
        Ok(Ok(Some(_))) => {
            stranger(&shared, Door::Gateway, peer, Reason::NotTls).await;
            return;
        }
        // Opened and closed, or never spoke: a health check or a port scan, no event of ours.
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    }
    let reason = match timeout_at(deadline, handshake(&shared, io, false, lease)).await {
        Ok(Ok((stream, lease))) => {
            pulse.restart();
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let speaks = if http2 { Speaks::Http2 } else { Speaks::Http1 };
            let certificate = Certified::of(stream.get_ref().1);
            let answer = answers(Arc::clone(&shared), peer, certificate, true, http2);
            match serve_connection(stream, speaks, pulse, limits, lease, answer).await {
                Some(reason) => reason,
                None => return,
            }
        }
        Ok(Err(reason)) => reason,
        Err(_) => Reason::HandshakeTimeout,
    };
    stranger(&shared, Door::Gateway, peer, reason).await;
}

/// Takes TLS up on a port of our own, with the leaf that suits the name which the caller gave. `http1` offers
/// HTTP/1.1 alone. The lease that comes back ends with the certificate that the caller showed.
pub(crate) async fn handshake<S, IO>(
    shared: &Interceptor<S>,
    io: IO,
    http1: bool,
    lease: Lease,
) -> Result<(TlsStream<IO>, Lease), Reason>
where
    S: Exchanges,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), io)
        .await
        .map_err(|_| Reason::HandshakeFailed)?;
    let config = match &**shared.gateway_tls.load() {
        GatewayTls::Configured(config) => Arc::clone(config),
        GatewayTls::Minted => {
            let authority = shared.authority.load_full();
            let leaf = authority
                .gateway_leaf_for(start.client_hello().server_name())
                .map_err(|error| {
                    tracing::error!(%error, "the gateway has no certificate to show");
                    Reason::HandshakeFailed
                })?;
            leaf.config()
        }
    };
    let asked = shared.certificates.now();
    let config = asked.config(config, http1).map_err(|error| {
        tracing::error!(%error, "TLS cannot be taken up");
        Reason::HandshakeFailed
    })?;
    let stream = start.into_stream(config).await.map_err(|error| failure(&error))?;
    let Some(shown) = stream.get_ref().1.peer_certificates() else {
        return Ok((stream, lease));
    };
    let lease = lease.until_cut();
    let watching = shared.certificates.watch(&asked, shown, lease.cut.clone());
    let lease = lease.watching(watching.ok_or(Reason::CertificateRefused)?);
    Ok((stream, lease))
}

/// Why a handshake failed: the caller's certificate, or anything else.
fn failure(error: &io::Error) -> Reason {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_)) => {
            Reason::CertificateRefused
        }
        _ => Reason::HandshakeFailed,
    }
}

/// Plain HTTP: served where it is allowed, else each request is told what to do.
async fn plain_http<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    io: Taken,
    pulse: Arc<Pulse>,
    peer: SocketAddr,
    lease: Lease,
) {
    let limits = Arc::clone(&shared.limits);
    if shared.plain_on_loopback && peer.ip().to_canonical().is_loopback() {
        let answer = answers(Arc::clone(&shared), peer, None, false, false);
        if let Some(reason) = serve_connection(io, Speaks::Http1, pulse, limits, lease, answer).await {
            stranger(&shared, Door::Gateway, peer, reason).await;
        }
        return;
    }
    let answer = move |_request| -> Answering {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let mut answer = stranger(&shared, Door::Gateway, peer, Reason::PlainHttp).await;
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        })
    };
    // Whoever abuses this gets no more by it than the 400s, each of them on record.
    let _ = serve_connection(io, Speaks::Http1, pulse, limits, lease, answer).await;
}

fn answers<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    peer: SocketAddr,
    certificate: Option<Arc<Certified>>,
    tls: bool,
    http2: bool,
) -> impl Fn(Request<Incoming>) -> Answering + Send + Sync + 'static {
    move |request| {
        let (shared, certificate) = (Arc::clone(&shared), certificate.clone());
        Box::pin(async move {
            if request.method() == Method::CONNECT && !is_extended(&request) {
                return stranger(&shared, Door::Gateway, peer, Reason::NoProxyHere).await;
            }
            let arrival = Arrival {
                door: Door::Gateway,
                peer,
                host: None,
                port: None,
                caller: None,
                certificate,
                http2,
                tls,
            };
            exchange(&shared, arrival, request).await
        })
    }
}
