//! TLS taken up inside a CONNECT to a listed host, or in place of one by the transparent door, and the requests in it.
//!
//! Three names must agree: the CONNECT host, the handshake's SNI, and each request's Host or
//! `:authority`, port included. Where the SNI is absent or another, the handshake is still completed
//! so that the caller can be told: every request on it is answered 421 and none is an exchange. An
//! absent SNI counts as disagreement, since it agrees with nothing.
//!
//! On failure: bytes that are not TLS, a failed or a late handshake close the connection, and the
//! server is told.

use std::{net::SocketAddr, sync::Arc};

use cordon_domain::Door;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use rustls::server::Acceptor;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    exchange::{AnswerBody, Arrival, Exchanges, Reason, TurnedAway},
    hello::TLS_HANDSHAKE,
    line::Taken,
    listen::{Interceptor, Lease},
    names::{Target, normal_host},
    page::PAGES_HOST,
    proxy::agree,
    serving::{Answering, Speaks, exchange, serve_connection, turned_away},
    watched::Pulse,
    websocket::is_extended,
};

/// Where a name inside TLS points when it gives no port.
const HTTPS: u16 = 443;

/// An intercepted connection.
pub(crate) struct Intercepted<S: Exchanges> {
    pub(crate) shared: Arc<Interceptor<S>>,
    pub(crate) door: Door,
    pub(crate) peer: SocketAddr,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) lease: Lease,
    pub(crate) target: Target,
    /// `None` for the pages, and for callers of the transparent door who were not asked yet.
    pub(crate) caller: Option<S::Caller>,
}

/// Takes up TLS and serves what is inside.
pub(crate) async fn run<S: Exchanges>(connection: Intercepted<S>, io: Taken) {
    let connection = Arc::new(connection);
    let deadline = Instant::now() + connection.shared.limits.handshake;
    let shaken = tokio::select! {
        shaken = timeout_at(deadline, shake(&connection, io)) => shaken,
        // Nothing was promised yet, so a drain need not wait for a handshake.
        () = connection.lease.shutdown.cancelled() => return,
    };
    let (stream, disagreement) = match shaken {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(Some(reason))) => return drop(connection.turned_away(reason).await),
        Ok(Err(None)) => return,
        Err(_) => return drop(connection.turned_away(Reason::HandshakeTimeout).await),
    };
    connection.pulse.restart();
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let speaks = if http2 { Speaks::Http2 } else { Speaks::Http1 };
    let served = Arc::clone(&connection);
    let answer = move |request| -> Answering {
        let connection = Arc::clone(&served);
        Box::pin(async move {
            let mut answer = connection.answer(request, disagreement, http2).await;
            // The origin's other ways (HTTP/3) lead past us; those that a caller remembers are to be forgotten.
            answer
                .headers_mut()
                .insert(header::ALT_SVC, HeaderValue::from_static("clear"));
            answer
        })
    };
    let (pulse, limits) = (
        Arc::clone(&connection.pulse),
        Arc::clone(&connection.shared.limits),
    );
    let ended = serve_connection(stream, speaks, pulse, limits, connection.lease.clone(), answer).await;
    if let Some(reason) = ended {
        drop(connection.turned_away(reason).await);
    }
}

/// The TLS handshake. `Err(None)` is a caller that left without a word.
async fn shake<S: Exchanges>(
    connection: &Intercepted<S>,
    mut io: Taken,
) -> Result<(TlsStream<Taken>, Option<Reason>), Option<Reason>> {
    match io.peek().await {
        Ok(Some(TLS_HANDSHAKE)) => {}
        Ok(Some(_)) => return Err(Some(Reason::NotTls)),
        Ok(None) | Err(_) => return Err(None),
    }
    let failed = Some(Reason::HandshakeFailed);
    let start = LazyConfigAcceptor::new(Acceptor::default(), io)
        .await
        .map_err(|_| failed)?;
    let named = start.client_hello().server_name().and_then(normal_host);
    let host = &connection.target.host;
    let disagreement = match &named {
        None => Some(Reason::SniMissing),
        Some(name) if name == host => None,
        Some(_) => Some(Reason::SniDisagrees),
    };
    let authority = connection.shared.authority.load_full();
    // The caller verifies the name it sent, so only that name lets it read the 421.
    let shown = named.filter(|name| authority.permits(name));
    let leaf = authority.leaf(shown.as_ref().unwrap_or(host)).map_err(|error| {
        tracing::error!(%error, "no certificate for an intercepted host");
        failed
    })?;
    // As the origin does: some programs behave otherwise over HTTP/2, and would not meet it there.
    let config = match connection.shared.exchanges.origin_http2(host) {
        Some(false) => leaf.http1_config(),
        Some(true) | None => leaf.config(),
    };
    let stream = start.into_stream(config).await.map_err(|_| failed)?;
    Ok((stream, disagreement))
}

impl<S: Exchanges> Intercepted<S> {
    async fn answer(
        &self,
        request: Request<Incoming>,
        disagreement: Option<Reason>,
        http2: bool,
    ) -> Response<AnswerBody> {
        if let Some(reason) = disagreement {
            return self.turned_away(reason).await;
        }
        if request.method() == Method::CONNECT && !is_extended(&request) {
            return self.turned_away(Reason::NoProxyHere).await;
        }
        if let Err(reason) = agree(&request, &self.target, HTTPS) {
            return self.turned_away(reason).await;
        }
        if self.target.host == PAGES_HOST {
            return self
                .shared
                .pages
                .load()
                .answer(request.method(), request.uri().path());
        }
        let arrival = Arrival {
            door: self.door,
            peer: self.peer,
            host: Some(self.target.host.clone()),
            port: Some(self.target.port),
            caller: self.caller.clone(),
            certificate: None,
            http2,
            tls: true,
        };
        exchange(&self.shared, arrival, request).await
    }

    async fn turned_away(&self, reason: Reason) -> Response<AnswerBody> {
        let event = TurnedAway {
            door: self.door,
            peer: self.peer,
            host: Some(self.target.host.clone()),
            caller: self.caller.clone(),
            reason,
        };
        turned_away(&self.shared, event).await
    }
}
