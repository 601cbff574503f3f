//! The forward proxy's door: CONNECT, absolute-form requests, and the pages on `cordon.internal`.
//!
//! The port speaks HTTP/1.1, and a second one the same over TLS. A CONNECT takes its connection over: [`intercepted`](crate::intercepted)
//! takes up TLS, [`tunnel`](crate::tunnel) passes bytes. A request in origin form (a browser that
//! opened the proxy's own address) is shown the pages too.
//!
//! On failure: a refusal that the server renders; a CONNECT is answered 200 only when its tunnel's
//! other end is connected, or when interception can take up the host's name.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use cordon_domain::Door;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, header, uri::Scheme};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    certificate::Certified,
    exchange::{AnswerBody, Arrival, ConnectAnswer, ConnectAsk, Exchanges, Reason, TurnedAway, empty_body},
    forward, gateway,
    intercepted::{self, Intercepted},
    line::{Line, Taken},
    listen::{Interceptor, Lease},
    names::Target,
    page::PAGES_HOST,
    serving::{Answering, Speaks, exchange, failed, fits, serve_connection, stranger, turned_away},
    tunnel,
    watched::{Prefixed, Pulse, Watched},
};

/// A connection that came in by the proxy's port.
pub(crate) async fn accepted<S: Exchanges>(shared: Arc<Interceptor<S>>, tcp: TcpStream, lease: Lease) {
    // A peer that is gone already has no address.
    let Ok(peer) = tcp.peer_addr() else { return };
    serve(shared, Line::Bare(tcp), peer, None, lease).await;
}

/// A connection that came in by the proxy's port for TLS.
pub(crate) async fn accepted_over_tls<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    tcp: TcpStream,
    lease: Lease,
) {
    let Ok(peer) = tcp.peer_addr() else { return };
    let shaken = tokio::select! {
        shaken = timeout(shared.limits.handshake, gateway::handshake(&shared, tcp, true, lease.clone())) => shaken,
        // Nothing was promised yet, so a drain need not wait for a handshake.
        () = lease.shutdown.cancelled() => return,
    };
    let reason = match shaken {
        Ok(Ok((stream, lease))) => {
            let certificate = Certified::of(stream.get_ref().1);
            return serve(shared, Line::Tls(Box::new(stream)), peer, certificate, lease).await;
        }
        Ok(Err(reason)) => reason,
        Err(_) => Reason::HandshakeTimeout,
    };
    stranger(&shared, Door::Proxy, peer, reason).await;
}

async fn serve<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    line: Line,
    peer: SocketAddr,
    certificate: Option<Arc<Certified>>,
    lease: Lease,
) {
    let limits = Arc::clone(&shared.limits);
    let pulse = Pulse::new();
    let io = Watched::new(line, Arc::clone(&pulse), limits.write_stall);
    let door = Arc::new(ProxyDoor {
        shared,
        peer,
        certificate,
        pulse: Arc::clone(&pulse),
        lease: lease.clone(),
    });
    let served = Arc::clone(&door);
    let answer = move |request: Request<Incoming>| -> Answering {
        let door = Arc::clone(&served);
        Box::pin(async move {
            if let Err(reason) = fits(&door.shared.limits, &request) {
                stranger(&door.shared, Door::Proxy, door.peer, reason).await
            } else if request.method() == Method::CONNECT {
                door.connect(request).await
            } else {
                door.forward(request).await
            }
        })
    };
    if let Some(reason) = serve_connection(io, Speaks::Http1, pulse, limits, lease, answer).await {
        stranger(&door.shared, Door::Proxy, peer, reason).await;
    }
}

struct ProxyDoor<S> {
    shared: Arc<Interceptor<S>>,
    peer: SocketAddr,
    certificate: Option<Arc<Certified>>,
    pulse: Arc<Pulse>,
    lease: Lease,
}

impl<S: Exchanges> ProxyDoor<S> {
    async fn connect(&self, mut request: Request<Incoming>) -> Response<AnswerBody> {
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let Some(target) = authority.and_then(|authority| Target::parse(authority, None).ok()) else {
            return stranger(&self.shared, Door::Proxy, self.peer, Reason::BadTarget).await;
        };
        // The pages must be reachable by those who cannot log in yet.
        if target.host == PAGES_HOST {
            return self.intercept(target, None, hyper::upgrade::on(&mut request), HeaderMap::new());
        }
        match self.ask(&request, &target).await {
            Err(_) => failed(),
            Ok(ConnectAnswer::Refuse(answer)) => answer,
            Ok(ConnectAnswer::Intercept(caller, headers)) => {
                if !self.shared.authority.load().permits(&target.host) {
                    let event = TurnedAway {
                        door: Door::Proxy,
                        peer: self.peer,
                        host: Some(target.host),
                        caller,
                        reason: Reason::HostNotCertified,
                    };
                    return turned_away(&self.shared, event).await;
                }
                self.intercept(target, caller, hyper::upgrade::on(&mut request), headers)
            }
            Ok(ConnectAnswer::Tunnel(who, record, headers)) => {
                let taken = hyper::upgrade::on(&mut request);
                match tunnel::open(&self.shared, &target, None).await {
                    Ok(open) => {
                        let shared = Arc::clone(&self.shared);
                        let (lease, peer) = (self.lease.clone(), self.peer);
                        self.lease.tracker.spawn(async move {
                            let caller = take_over(taken).await;
                            tunnel::run(
                                shared,
                                lease,
                                (Door::Proxy, peer, who),
                                target,
                                caller,
                                open,
                                record,
                            )
                            .await;
                        });
                        granted(headers)
                    }
                    Err(reason) => {
                        let answer = self.no_way(target, who, reason).await;
                        record.closed(0, 0).await;
                        answer
                    }
                }
            }
        }
    }

    /// What the server says to a way to a host; an error where it panicked.
    async fn ask(
        &self,
        request: &Request<Incoming>,
        target: &Target,
    ) -> std::thread::Result<ConnectAnswer<S::Caller>> {
        let ask = ConnectAsk {
            method: request.method().clone(),
            host: target.host.clone(),
            port: target.port,
            door: Door::Proxy,
            headers: request.headers().clone(),
            certificate: self.certificate.clone(),
            peer: self.peer,
        };
        Box::pin(AssertUnwindSafe(self.shared.exchanges.connect(ask)).catch_unwind()).await
    }

    /// Tells that a host may not or cannot be reached.
    async fn no_way(&self, target: Target, who: S::Caller, reason: Reason) -> Response<AnswerBody> {
        let event = TurnedAway {
            door: Door::Proxy,
            peer: self.peer,
            host: Some(target.host),
            caller: Some(who),
            reason,
        };
        turned_away(&self.shared, event).await
    }

    fn intercept(
        &self,
        target: Target,
        caller: Option<S::Caller>,
        taken: OnUpgrade,
        headers: HeaderMap,
    ) -> Response<AnswerBody> {
        let connection = Intercepted {
            shared: Arc::clone(&self.shared),
            door: Door::Proxy,
            peer: self.peer,
            pulse: Arc::clone(&self.pulse),
            lease: self.lease.clone(),
            target,
            caller,
        };
        self.lease.tracker.spawn(async move {
            if let Some(io) = take_over(taken).await {
                intercepted::run(connection, io).await;
            }
        });
        granted(headers)
    }

    /// A request that is not CONNECT.
    async fn forward(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let uri = request.uri();
        let Some(authority) = uri.authority() else {
            return self.shared.pages.load().answer(request.method(), uri.path());
        };
        let target = match (
            uri.scheme() == Some(&Scheme::HTTP),
            Target::parse(authority.as_str(), Some(80)),
        ) {
            (true, Ok(target)) => target,
            _ => return stranger(&self.shared, Door::Proxy, self.peer, Reason::BadTarget).await,
        };
        if target.host == PAGES_HOST {
            return self.shared.pages.load().answer(request.method(), uri.path());
        }
        if let Err(reason) = agree(&request, &target, 80) {
            let event = TurnedAway {
                door: Door::Proxy,
                peer: self.peer,
                host: Some(target.host),
                caller: None,
                reason,
            };
            return turned_away(&self.shared, event).await;
        }
        match self.ask(&request, &target).await {
            Err(_) => failed(),
            Ok(ConnectAnswer::Refuse(answer)) => answer,
            Ok(ConnectAnswer::Intercept(caller, headers)) => {
                let arrival = Arrival {
                    door: Door::Proxy,
                    peer: self.peer,
                    host: Some(target.host),
                    port: Some(target.port),
                    caller,
                    certificate: self.certificate.clone(),
                    http2: false,
                    tls: false,
                };
                let mut answer = exchange(&self.shared, arrival, request).await;
                answer.headers_mut().extend(headers);
                answer
            }
            Ok(ConnectAnswer::Tunnel(who, record, headers)) => {
                match tunnel::open(&self.shared, &target, None).await {
                    Ok(open) => match forward::pass(self.lease.clone(), open, request, record).await {
                        Ok(mut answer) => {
                            answer.headers_mut().extend(headers);
                            answer
                        }
                        Err(reason) => self.no_way(target, who, reason).await,
                    },
                    Err(reason) => {
                        let answer = self.no_way(target, who, reason).await;
                        record.closed(0, 0).await;
                        answer
                    }
                }
            }
        }
    }
}

/// The answer to a CONNECT that is granted.
fn granted(headers: HeaderMap) -> Response<AnswerBody> {
    let mut answer = Response::new(empty_body());
    *answer.headers_mut() = headers;
    answer
}

/// Whether every name on a request is `target`: the request target's authority (`:authority`) and
/// Host. A name without a port means `default_port`.
pub(crate) fn agree<B>(request: &Request<B>, target: &Target, default_port: u16) -> Result<(), Reason> {
    let same = |name: &str| Target::parse(name, Some(default_port)).is_ok_and(|named| named == *target);
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Reason::BadHost),
        (Some(host), None) => Some(host.to_str().map_err(|_| Reason::BadHost)?),
        (None, _) => None,
    };
    match (authority, host) {
        (None, None) => Err(Reason::BadHost),
        // RFC 9112 3.2: a request of HTTP/1.1 without Host is malformed even in absolute form.
        (Some(_), None) if request.version() == http::Version::HTTP_11 => Err(Reason::BadHost),
        (authority, host) if authority.is_none_or(same) && host.is_none_or(same) => Ok(()),
        _ => Err(Reason::HostDisagrees),
    }
}

/// The bare stream under an upgraded connection; `None` when the caller left before it was one.
async fn take_over(taken: OnUpgrade) -> Option<Taken> {
    let upgraded = taken.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Watched<Line>>>().ok()?;
    Some(Prefixed::new(parts.read_buf, parts.io.into_inner()))
}
