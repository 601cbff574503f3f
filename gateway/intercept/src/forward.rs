//! Plain HTTP to a host that is not intercepted: one absolute-form request, passed unread.
//!
//! It is to `http:` what a tunnel is to `https:`: bytes of the body pass as they are, are counted, and are
//! recorded as a tunnel. Headers that belong to a connection stay behind (RFC 9110, 7.6.1), among them the
//! caller's credentials for us. An upgrade is not passed on: what comes after it would be no HTTP.
//!
//! Limits: those of tunnels: places, time to connect, ports, reserved addresses, idle time.
//!
//! On failure: before the reply's head, a refusal; after it, the reply breaks off. The record is closed
//! with the bytes counted in every case.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use crate::{
    exchange::{AnswerBody, Reason, TunnelRecord},
    hop::{strip_reply, strip_request},
    listen::Lease,
    tunnel::{Meter, Open},
};

/// Sends the request on and returns the reply, which streams.
pub(crate) async fn pass(
    lease: Lease,
    open: Open,
    request: Request<Incoming>,
    record: Box<dyn TunnelRecord>,
) -> Result<Response<AnswerBody>, Reason> {
    let meter = Arc::new(Meter::new());
    let Open {
        upstream,
        rules,
        slot,
    } = open;
    let passing = Passing {
        meter: Arc::clone(&meter),
        record: Some(record),
        tracker: lease.tracker.clone(),
        _slot: slot,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(upstream))
        .await
        .map_err(|_| Reason::TunnelUnreachable)?;
    let idle = Arc::clone(&meter);
    lease.tracker.spawn(async move {
        tokio::select! {
            // Its errors are seen by whoever reads the reply.
            _ = connection => {}
            () = idle.rested(rules.idle) => {}
            () = lease.cut.cancelled() => {}
        }
    });
    let request = in_origin_form(request)?.map(|body| Counted {
        body,
        count: {
            let meter = Arc::clone(&meter);
            move |bytes| meter.add_up(bytes)
        },
        _held: (),
    });
    let mut response = sender
        .send_request(request)
        .await
        .map_err(|_| Reason::TunnelUnreachable)?;
    strip_reply(response.headers_mut());
    Ok(response.map(|body| {
        let counted = Counted {
            body,
            count: move |bytes| meter.add_down(bytes),
            // Dropping the sender would tell the connection to end.
            _held: (passing, sender),
        };
        counted.map_err(io::Error::other).boxed()
    }))
}

/// What a server of its own expects: path and query in the request line, the host in its header.
fn in_origin_form(request: Request<Incoming>) -> Result<Request<Incoming>, Reason> {
    let (mut parts, body) = request.into_parts();
    strip_request(&mut parts.headers);
    if !parts.headers.contains_key(header::HOST) {
        // HTTP/1.0 may leave it out; the target names the host then.
        let authority = parts.uri.authority().ok_or(Reason::BadTarget)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::BadTarget)?;
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = parts
        .uri
        .path_and_query()
        .map_or(Uri::from_static("/"), |path: &PathAndQuery| {
            Uri::from(path.clone())
        });
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// What a reply under way holds. Its end closes the record.
struct Passing {
    meter: Arc<Meter>,
    record: Option<Box<dyn TunnelRecord>>,
    tracker: TaskTracker,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.tracker
                .spawn(record.closed(self.meter.up(), self.meter.down()));
        }
    }
}

/// A body whose bytes are counted.
struct Counted<F, H> {
    body: Incoming,
    count: F,
    _held: H,
}

// Nothing in it is pinned by its place: the body is pinned anew at each poll.
impl<F, H> Unpin for Counted<F, H> {}

impl<F: Fn(usize), H> Body for Counted<F, H> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref()
        {
            (self.count)(bytes.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
