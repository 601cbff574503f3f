//! The transparent door: connections to elsewhere that the network sends here, from callers who know nothing of
//! a proxy.
//!
//! Where a connection was to lead is what the kernel remembers of it (`SO_ORIGINAL_DST` behind a REDIRECT or
//! DNAT rule, the socket's own address behind TPROXY). Which host that is, the connection says itself: by the
//! server name of its ClientHello, or by the Host of a plain request. A listed host is intercepted as after a
//! CONNECT to that name, and its upstream is dialled by name; any other is a tunnel to the address that the
//! caller dialled. What names no host is turned away, or passed on to that address where
//! [`TunnelRules::nameless`](crate::TunnelRules) says so.
//!
//! Limits: time for the first flight (that of a handshake), and all those of tunnels.
//!
//! On failure: the connection is closed and the server is told; a connection that was not redirected leads
//! nowhere.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use cordon_domain::Door;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;
use socket2::SockRef;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    exchange::{AnswerBody, Arrival, ConnectAnswer, ConnectAsk, Exchanges, Reason, TurnedAway},
    forward,
    hello::{Greeting, Hello, MOST, Seen},
    intercepted::{self, Intercepted},
    line::{Line, Taken},
    listen::{Interceptor, Lease},
    names::{Target, normal_host},
    page::PAGES_HOST,
    proxy::agree,
    serving::{Answering, Speaks, exchange, failed, fits, serve_connection, stranger, turned_away},
    tunnel,
    watched::{Prefixed, Pulse, Watched},
};

/// A connection that came in by the transparent port, which listens at `listening`.
pub(crate) async fn accepted<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    tcp: TcpStream,
    listening: Option<SocketAddr>,
    lease: Lease,
) {
    // A peer that is gone already has no address.
    let Ok(peer) = tcp.peer_addr() else { return };
    let Some(destination) = destination(&tcp, listening) else {
        stranger(&shared, Door::Transparent, peer, Reason::NoDestination).await;
        return;
    };
    let limits = Arc::clone(&shared.limits);
    let deadline = Instant::now() + limits.handshake;
    let pulse = Pulse::new();
    let mut io = Watched::new(Line::Bare(tcp), Arc::clone(&pulse), limits.write_stall);
    let read = tokio::select! {
        read = timeout_at(deadline, first_flight(&mut io)) => read,
        () = lease.shutdown.cancelled() => return,
    };
    // One that opens a connection and says nothing is no event of ours.
    let Ok(Some((held, seen))) = read else { return };
    let way = Way {
        shared,
        peer,
        destination,
        pulse,
        lease,
    };
    let first = held.first().copied().unwrap_or_default();
    let io = Prefixed::new(held, io);
    match seen {
        Seen::Read(greeting) => way.named(greeting, io).await,
        Seen::NotTls if first.is_ascii_alphabetic() => way.plain_http(io).await,
        Seen::NotTls => way.nameless(io).await,
        Seen::Unfinished | Seen::Unreadable => way.turn_away(None, Reason::TunnelUnreadable).await,
    }
}

/// Where the connection was to lead, as the kernel remembers it.
fn destination(tcp: &TcpStream, listening: Option<SocketAddr>) -> Option<SocketAddr> {
    let here = canonical(tcp.local_addr().ok()?);
    let socket = SockRef::from(tcp);
    let told = if here.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    // Without a rule that rewrote it there is nothing to remember, and under TPROXY nothing was rewritten.
    let there = told
        .ok()
        .and_then(|address| address.as_socket())
        .map_or(here, canonical);
    let our_own = there == here && listening.is_none_or(|listening| listening.port() == here.port());
    (!our_own).then_some(there)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads until it is clear what the caller speaks. `None` when it ended before.
async fn first_flight(io: &mut Watched<Line>) -> Option<(Bytes, Seen)> {
    let (mut held, mut hello, mut fresh) = (Vec::new(), Hello::default(), 0);
    loop {
        if io.read_buf(&mut held).await.ok()? == 0 {
            return None;
        }
        match hello.read(held.get(fresh..).unwrap_or_default()) {
            Seen::Unfinished if held.len() <= 2 * MOST => fresh = held.len(),
            seen => return Some((held.into(), seen)),
        }
    }
}

/// One connection and where it leads.
struct Way<S> {
    shared: Arc<Interceptor<S>>,
    peer: SocketAddr,
    destination: SocketAddr,
    pulse: Arc<Pulse>,
    lease: Lease,
}

impl<S: Exchanges> Way<S> {
    /// TLS that names its server, or does not.
    async fn named(self, greeting: Greeting, io: Taken) {
        let rules = self.shared.tunnels.load();
        if rules.hides(&greeting, None) && !rules.hidden_names {
            return self
                .turn_away(greeting.name.as_deref().and_then(normal_host), Reason::NameHidden)
                .await;
        }
        drop(rules);
        match greeting.name {
            None => self.nameless(io).await,
            Some(name) => match normal_host(&name) {
                None => self.turn_away(None, Reason::BadTarget).await,
                Some(host) => self.pass(host, io).await,
            },
        }
    }

    /// What names no server: turned away, or a tunnel to the address.
    async fn nameless(self, io: Taken) {
        if !self.shared.tunnels.load().nameless {
            return self.turn_away(None, Reason::NameMissing).await;
        }
        let host = self.destination.ip().to_string();
        self.pass(host, io).await;
    }

    /// Intercepts or tunnels, as the server says.
    async fn pass(self, host: String, io: Taken) {
        let port = self.destination.port();
        let target = Target { host, port };
        match self.ask(Method::CONNECT, &target, HeaderMap::new()).await {
            // Refused on record; there is no way to tell such a caller.
            Err(_) | Ok(ConnectAnswer::Refuse(_)) => {}
            Ok(ConnectAnswer::Intercept(caller, _)) => {
                if !self.shared.authority.load().permits(&target.host) && target.host != PAGES_HOST {
                    return self.turn_away(Some(target.host), Reason::HostNotCertified).await;
                }
                self.pulse.restart();
                let connection = Intercepted {
                    shared: self.shared,
                    door: Door::Transparent,
                    peer: self.peer,
                    pulse: self.pulse,
                    lease: self.lease,
                    target,
                    caller,
                };
                intercepted::run(connection, io).await;
            }
            Ok(ConnectAnswer::Tunnel(who, record, _)) => {
                match tunnel::open(&self.shared, &target, Some(self.destination)).await {
                    Ok(open) => {
                        let who = (Door::Transparent, self.peer, who);
                        tunnel::run(self.shared, self.lease, who, target, Some(io), open, record).await;
                    }
                    Err(reason) => {
                        drop(
                            turned_away(&self.shared, self.event(Some(target.host), Some(who), reason)).await,
                        );
                        record.closed(0, 0).await;
                    }
                }
            }
        }
    }

    /// Plain HTTP: each request goes its way by its Host.
    async fn plain_http(self, io: Taken) {
        let (pulse, lease) = (Arc::clone(&self.pulse), self.lease.clone());
        let (shared, peer) = (Arc::clone(&self.shared), self.peer);
        let limits = Arc::clone(&shared.limits);
        let way = Arc::new(self);
        let answer = move |request| -> Answering {
            let way = Arc::clone(&way);
            Box::pin(async move { way.forward(request).await })
        };
        if let Some(reason) = serve_connection(io, Speaks::Http1, pulse, limits, lease, answer).await {
            stranger(&shared, Door::Transparent, peer, reason).await;
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let refused = async |host, reason| turned_away(&self.shared, self.event(host, None, reason)).await;
        if let Err(reason) = fits(&self.shared.limits, &request) {
            return refused(None, reason).await;
        }
        if request.method() == Method::CONNECT {
            return refused(None, Reason::NoProxyHere).await;
        }
        let port = self.destination.port();
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let target = match host.map(|host| Target::parse(host, Some(port))) {
            Some(Ok(target)) => target,
            Some(Err(_)) => return refused(None, Reason::BadHost).await,
            None => return refused(None, Reason::NameMissing).await,
        };
        if target.host == PAGES_HOST {
            return self
                .shared
                .pages
                .load()
                .answer(request.method(), request.uri().path());
        }
        if target.port != port {
            return refused(Some(target.host), Reason::HostDisagrees).await;
        }
        if let Err(reason) = agree(&request, &target, port) {
            return refused(Some(target.host), reason).await;
        }
        match self
            .ask(request.method().clone(), &target, request.headers().clone())
            .await
        {
            Err(_) => failed(),
            Ok(ConnectAnswer::Refuse(answer)) => answer,
            Ok(ConnectAnswer::Intercept(caller, _)) => {
                let arrival = Arrival {
                    door: Door::Transparent,
                    peer: self.peer,
                    host: Some(target.host),
                    port: Some(target.port),
                    caller,
                    certificate: None,
                    http2: false,
                    tls: false,
                };
                exchange(&self.shared, arrival, request).await
            }
            Ok(ConnectAnswer::Tunnel(who, record, _)) => {
                let opened = tunnel::open(&self.shared, &target, Some(self.destination)).await;
                let reason = match opened {
                    Ok(open) => match forward::pass(self.lease.clone(), open, request, record).await {
                        Ok(answer) => return answer,
                        Err(reason) => reason,
                    },
                    Err(reason) => {
                        record.closed(0, 0).await;
                        reason
                    }
                };
                turned_away(&self.shared, self.event(Some(target.host), Some(who), reason)).await
            }
        }
    }

    /// What the server says to a way to a host; an error where it panicked.
    async fn ask(
        &self,
        method: Method,
        target: &Target,
        headers: HeaderMap,
    ) -> std::thread::Result<ConnectAnswer<S::Caller>> {
        let ask = ConnectAsk {
            method,
            host: target.host.clone(),
            port: target.port,
            door: Door::Transparent,
            headers,
            certificate: None,
            peer: self.peer,
        };
        Box::pin(AssertUnwindSafe(self.shared.exchanges.connect(ask)).catch_unwind()).await
    }

    fn event(
        &self,
        host: Option<String>,
        caller: Option<S::Caller>,
        reason: Reason,
    ) -> TurnedAway<S::Caller> {
        TurnedAway {
            door: Door::Transparent,
            peer: self.peer,
            host,
            caller,
            reason,
        }
    }

    async fn turn_away(&self, host: Option<String>, reason: Reason) {
        // There is no way to tell such a caller.
        drop(turned_away(&self.shared, self.event(host, None, reason)).await);
    }
}
