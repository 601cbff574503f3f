//! HTTP on one connection: hyper's state machines, our limits around them, and the drain.
//!
//! Every request gets an answer: a panic while answering becomes a 500, and a connection that is
//! told to drain finishes what it began.
//!
//! Limits: header time, idle time, header size and count, length of the target, requests, streams,
//! their resets and control frames (in [`ControlFrames`]), write stall (in [`Watched`](crate::watched::Watched)).
//!
//! After a chunked request of HTTP/1 the connection is closed: hyper reads one that has a length as well by
//! its chunks alone and does not tell, and whoever stands before us may have read it by its length (RFC
//! 9112, 6.1).
//!
//! On failure: the connection is closed; what the peer did wrong on the wire is hyper's to answer
//! (400, 431) and is not recorded, since no request came of it.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use cordon_domain::Door;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};

use crate::{
    control::ControlFrames,
    exchange::{AnswerBody, Arrival, Exchanges, Reason, SocketAnswer, TurnedAway, empty_body, plain},
    limits::ListenerLimits,
    listen::{Interceptor, Lease},
    names::Target,
    watched::{Busy, Enough, InFlight, Pulse, Wait},
    websocket::{Socket, Wish, answer},
};

/// hyper's least read buffer; below it its builder panics.
const LEAST_HEADER_BYTES: usize = 8192;
/// hyper's own limit of header fields.
const HEADERS_ON_STACK: usize = 100;
/// The note of what a connection waits for is looked at no more often than this.
const LEAST_GLANCE: Duration = Duration::from_millis(10);
/// How long an idle connection that was told to close may take to do so.
const CLOSING: Duration = Duration::from_secs(5);

/// One request's answer in the making.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>;

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1, where a CONNECT or a WebSocket may take the connection over.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Serves one connection to its end. `answer` is called for each request. What comes back is why the
/// connection was cut, where its caller abused it.
pub(crate) fn serve_connection<IO, F>(
    io: IO,
    speaks: Speaks,
    pulse: Arc<Pulse>,
    limits: Arc<ListenerLimits>,
    lease: Lease,
    answer: F,
) -> Pin<Box<dyn Future<Output = Option<Reason>> + Send>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Answering + Send + Sync + 'static,
{
    let (noted, bounds) = (Arc::clone(&pulse), Arc::clone(&limits));
    let held = lease.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let busy = Arc::new(noted.begin(&bounds));
        let unanswered = noted.unanswered(&bounds);
        let chunked = request.version() <= Version::HTTP_11
            && request.headers().contains_key(header::TRANSFER_ENCODING);
        if request.headers().contains_key(header::UPGRADE) || request.method() == Method::CONNECT {
            let (busy, lease) = (Arc::clone(&busy), held.clone());
            request.extensions_mut().insert(Held { _busy: busy, lease });
        }
        let answering = AssertUnwindSafe(answer(request)).catch_unwind();
        async move {
            let mut answer = answering.await.unwrap_or_else(|_| failed());
            unanswered.answered();
            if chunked && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(answer.map(|body| InFlight { body, _busy: busy }))
        }
    });
    let header_bytes = limits.max_header_bytes.max(LEAST_HEADER_BYTES);
    let http1 = || {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // hyper's own header timer runs through idle time too; the pulse tells them apart.
            .header_read_timeout(None)
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes.max(64 * 1024));
        // hyper keeps its own number of headers on the stack; any other is allocated for each request.
        if limits.max_headers != HEADERS_ON_STACK {
            builder.max_headers(limits.max_headers);
        }
        builder
    };
    match speaks {
        Speaks::Http1 => {
            let connection = http1()
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            let finish =
                |connection: Pin<&mut http1::UpgradeableConnection<_, _>>| connection.graceful_shutdown();
            Box::pin(drive(connection, finish, false, pulse, limits, lease))
        }
        Speaks::Http2 => {
            let io = ControlFrames::new(io, Arc::clone(&pulse), limits.max_control_frames);
            let connection = http2::Builder::new(Tracked(lease.clone()))
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits.max_streams)
                .max_pending_accept_reset_streams(limits.max_pending_resets)
                .max_local_error_reset_streams(limits.max_stream_errors)
                .enable_connect_protocol()
                .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
                .keep_alive_interval(limits.ping)
                .keep_alive_timeout(limits.ping)
                .serve_connection(TokioIo::new(io), service);
            let finish = |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
            Box::pin(drive(connection, finish, true, pulse, limits, lease))
        }
    }
}

/// What a WebSocket takes over from its connection: it goes on for as long as that does not end.
#[derive(Clone)]
struct Held {
    _busy: Arc<Busy>,
    lease: Lease,
}

/// Polls a connection to its end, minding idle time, slow headers, the drain and the cut.
/// `finish` asks the connection to end with the exchanges it has.
async fn drive<C: Future>(
    connection: C,
    finish: impl Fn(Pin<&mut C>),
    http2: bool,
    pulse: Arc<Pulse>,
    limits: Arc<ListenerLimits>,
    lease: Lease,
) -> Option<Reason> {
    let mut connection = pin!(connection);
    let mut draining = false;
    let mut closing: Option<Instant> = None;
    // What the connection waits for changes while it is polled, so the note is looked at now and then.
    let glance = (limits.header_read.min(limits.idle) / 4).max(LEAST_GLANCE);
    loop {
        let now = Instant::now();
        let due = closing.or(pulse.waits(&limits, http2).map(|(_, until)| until));
        let wake = due.map_or(now + glance, |due| due.min(now + glance));
        tokio::select! {
            biased;
            // An error here is the peer's: it left, spoke no HTTP, or is read no further. hyper has answered what it could.
            _ = connection.as_mut() => return pulse.is_abused().then_some(Reason::ConnectionAbused),
            () = lease.cut.cancelled() => return None,
            enough = pulse.enough() => match enough {
                Enough::Abused => return Some(Reason::ConnectionAbused),
                Enough::Served if closing.is_none() => {
                    finish(connection.as_mut());
                    closing = Some(Instant::now() + CLOSING);
                }
                Enough::Served => {}
            },
            () = lease.shutdown.cancelled(), if !draining => {
                draining = true;
                finish(connection.as_mut());
            }
            () = sleep_until(wake) => {}
        }
        let now = Instant::now();
        match (closing, pulse.waits(&limits, http2)) {
            // Told to close, and still here without an exchange.
            (Some(until), Some(_)) if until <= now => return None,
            // An exchange slipped in before the close was seen; it is the last one.
            (Some(until), None) if until <= now => closing = Some(now + CLOSING),
            // Nothing is in flight that could be finished in good order.
            (None, Some((Wait::Header, until))) if until <= now => return None,
            (None, Some((Wait::Exchange, until))) if until <= now => {
                finish(connection.as_mut());
                closing = Some(now + CLOSING);
            }
            _ => {}
        }
    }
}

/// What of a request's head the protocol's own machine lets through and we do not.
pub(crate) fn fits<B>(limits: &ListenerLimits, request: &Request<B>) -> Result<(), Reason> {
    let (uri, headers) = (request.uri(), request.headers());
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let length = authority.map_or(0, str::len) + uri.path().len() + uri.query().map_or(0, str::len);
    if length > limits.max_uri_bytes {
        return Err(Reason::TargetTooLong);
    }
    // HTTP/2 bounds their bytes only.
    if headers.len() > limits.max_headers {
        return Err(Reason::TooManyHeaders);
    }
    // hyper looks at the last coding only; what is under it would go unread.
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next().map(|coding| coding.as_bytes().trim_ascii());
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) || codings.next().is_some() {
        return Err(Reason::TransferCoding);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(Reason::BadHost),
        // RFC 9112, 3.2.
        (None, _) if request.version() == Version::HTTP_11 => Err(Reason::BadHost),
        // RFC 9113, 8.3.1: the two must not differ.
        (Some(host), None) if request.version() == Version::HTTP_2 => {
            let default_port = uri.port_u16().or(Some(443));
            let named = |name: &str| Target::parse(name, default_port).ok();
            match (authority.map(named), host.to_str().ok().map(named)) {
                (Some(authority), host) if Some(&authority) != host.as_ref() => Err(Reason::HostDisagrees),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Hands a request to the server, and answers for it when it panics.
pub(crate) async fn exchange<S: Exchanges>(
    shared: &Interceptor<S>,
    arrival: Arrival<S::Caller>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (door, peer) = (arrival.door, arrival.peer);
    let (host, caller) = (arrival.host.clone(), arrival.caller.clone());
    if let Err(reason) = fits(&shared.limits, &request) {
        let event = TurnedAway {
            door,
            peer,
            host,
            caller,
            reason,
        };
        return turned_away(shared, event).await;
    }
    let mut request = request;
    let held = request.extensions_mut().remove::<Held>();
    let asked = held.and_then(|held| Some((Wish::of(&request)?, held)));
    let answering = async {
        match asked {
            Some((wish, held)) => websocket(shared, arrival, request, wish, held).await,
            None => match shared.exchanges.exchange(arrival, request).await {
                // Without an upgrade to go with it, the caller would wait for a protocol nobody speaks.
                answer if answer.status() == StatusCode::SWITCHING_PROTOCOLS => failed(),
                answer => answer,
            },
        }
    };
    match Box::pin(AssertUnwindSafe(answering).catch_unwind()).await {
        Ok(answer) => answer,
        Err(_) => {
            let reason = Reason::Failed;
            turned_away(
                shared,
                TurnedAway {
                    door,
                    peer,
                    host,
                    caller,
                    reason,
                },
            )
            .await
        }
    }
}

/// Asks the server for a WebSocket, and lets it speak there once the caller has its answer.
async fn websocket<S: Exchanges>(
    shared: &Interceptor<S>,
    arrival: Arrival<S::Caller>,
    mut request: Request<Incoming>,
    wish: Wish,
    held: Held,
) -> Response<AnswerBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let answered = shared
        .exchanges
        .websocket(arrival, Request::from_parts(parts, ()))
        .await;
    match answered {
        SocketAnswer::Refuse(answer) => answer,
        SocketAnswer::Open {
            headers,
            limits,
            serve,
        } => {
            let agreed = wish.agreed();
            let Lease { shutdown, cut, .. } = held.lease.clone();
            // It minds the drain and the cut itself, since its end has to be recorded.
            held.lease.tracker.clone().spawn(async move {
                let upgraded = upgrade.await.ok();
                serve(upgraded.map(|io| Socket::from_caller(io, agreed, limits, shutdown, cut))).await;
                drop(held);
            });
            answer(&wish, headers, empty_body())
        }
    }
}

/// Tells the server that something was turned away, and gives its answer back.
pub(crate) async fn turned_away<S: Exchanges>(
    shared: &Interceptor<S>,
    event: TurnedAway<S::Caller>,
) -> Response<AnswerBody> {
    tracing::debug!(
        door = event.door.name(),
        reason = event.reason.code(),
        "turned away"
    );
    let answering = AssertUnwindSafe(shared.exchanges.turned_away(event)).catch_unwind();
    Box::pin(answering).await.unwrap_or_else(|_| failed())
}

/// [`turned_away`] for a connection on which nothing was identified yet.
pub(crate) async fn stranger<S: Exchanges>(
    shared: &Interceptor<S>,
    door: Door,
    peer: std::net::SocketAddr,
    reason: Reason,
) -> Response<AnswerBody> {
    let event = TurnedAway {
        door,
        peer,
        host: None,
        caller: None,
        reason,
    };
    turned_away(shared, event).await
}

pub(crate) fn failed() -> Response<AnswerBody> {
    tracing::error!("answering a request panicked; it was refused");
    plain(StatusCode::INTERNAL_SERVER_ERROR, Reason::Failed.message())
}

/// Spawns the exchanges of an HTTP/2 connection so that the drain waits for them and the cut ends them.
#[derive(Clone)]
struct Tracked(Lease);

impl<T> Executor<T> for Tracked
where
    T: Future + Send + 'static,
    T::Output: Send,
{
    fn execute(&self, task: T) {
        let cut = self.0.cut.clone();
        self.0.tracker.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }
}
