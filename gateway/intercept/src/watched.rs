//! A connection under watch: how long it has been idle, whether a header is dribbling in, whether
//! the caller takes what is sent to it; and bytes put back in front of a stream.
//!
//! [`Pulse`] is the shared note that reads, exchanges and the serving loop keep, with how many requests
//! there were and how many were given up; [`Watched`] is the stream that writes it and fails a write
//! nobody takes.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep},
};

use crate::{exchange::AnswerBody, limits::ListenerLimits};

/// Requests past a connection's last that a caller may still send before it is cut: those that were on
/// their way when it was told.
const ON_THEIR_WAY: u64 = 256;
/// How long requests that were given up are remembered.
const MINUTE: Duration = Duration::from_secs(60);

/// What a connection without an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A header, or the rest of one that has begun to come.
    Header,
    /// Anything at all.
    Exchange,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enough {
    /// It has had all the requests that it gets.
    Served,
    /// Its caller goes on past that, gives up one request after the other, or asks for nothing without end.
    Abused,
}

/// What a connection is doing.
#[derive(Debug)]
pub(crate) struct Pulse {
    state: Mutex<State>,
    enough: Notify,
}

#[derive(Debug)]
struct State {
    /// Exchanges in flight.
    active: usize,
    /// Whether a byte of the header that is awaited has come.
    begun: bool,
    /// Requests so far.
    requests: u64,
    /// Requests that were given up in the minute that began then.
    given_up: (Instant, u32),
    enough: Option<Enough>,
    /// Whether bytes came in since the last exchange ended, which then must be a header.
    reading: bool,
    /// When the present state of rest or reading began.
    since: Instant,
}

impl Pulse {
    /// A connection that was just accepted and owes us a header.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                active: 0,
                begun: false,
                requests: 0,
                given_up: (Instant::now(), 0),
                enough: None,
                reading: true,
                since: Instant::now(),
            }),
            enough: Notify::new(),
        })
    }

    /// The connection begins anew, as after a TLS handshake; the CONNECT before it is no request of its own.
    pub(crate) fn restart(&self) {
        self.with(|state| {
            state.requests = 0;
            state.reading = true;
            state.begun = false;
            state.since = Instant::now();
        });
    }

    fn read_some(&self) {
        self.with(|state| {
            if state.active == 0 && !(state.reading && state.begun) {
                state.reading = true;
                state.begun = true;
                state.since = Instant::now();
            }
        });
    }

    /// An exchange began; it ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, limits: &ListenerLimits) -> Busy {
        let enough = self.with(|state| {
            state.active += 1;
            state.reading = false;
            state.requests += 1;
            if state.requests > limits.max_requests.saturating_add(ON_THEIR_WAY) {
                state.enough = Some(Enough::Abused);
            } else if state.requests >= limits.max_requests {
                state.enough = state.enough.or(Some(Enough::Served));
            }
            state.enough.is_some()
        });
        if enough {
            self.enough.notify_one();
        }
        Busy(Arc::clone(self))
    }

    /// A request that is a given-up one unless the guard is told that it was answered.
    pub(crate) fn unanswered(self: &Arc<Self>, limits: &ListenerLimits) -> Unanswered {
        Unanswered {
            pulse: Arc::clone(self),
            most: limits.max_given_up,
            answered: false,
        }
    }

    fn given_up(&self, most: u32) {
        let abused = self.with(|state| {
            let now = Instant::now();
            if now.duration_since(state.given_up.0) > MINUTE {
                state.given_up = (now, 0);
            }
            state.given_up.1 = state.given_up.1.saturating_add(1);
            state.given_up.1 > most
        });
        if abused {
            self.abused();
        }
    }

    /// The connection is to be cut.
    pub(crate) fn abused(&self) {
        self.with(|state| state.enough = Some(Enough::Abused));
        self.enough.notify_one();
    }

    /// Whether it is to be cut.
    pub(crate) fn is_abused(&self) -> bool {
        self.with(|state| state.enough == Some(Enough::Abused))
    }

    /// Returns once the connection is to end, and why.
    pub(crate) async fn enough(&self) -> Enough {
        loop {
            self.enough.notified().await;
            if let Some(enough) = self.with(|state| state.enough) {
                return enough;
            }
        }
    }

    /// What the connection waits for, and until when; `None` while an exchange is in flight. On
    /// HTTP/2 bytes without an exchange are housekeeping, so only rest counts there.
    pub(crate) fn waits(&self, limits: &ListenerLimits, http2: bool) -> Option<(Wait, Instant)> {
        self.with(|state| match (state.active, state.reading && !http2) {
            (0, true) if state.begun => Some((Wait::Header, state.since + limits.header_read)),
            (0, true) => Some((Wait::Header, state.since + limits.first_byte)),
            (0, false) => Some((Wait::Exchange, state.since + limits.idle)),
            _ => None,
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Each change is whole in itself, so a poisoned lock holds a sound state.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An exchange in flight.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Pulse>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.active = state.active.saturating_sub(1);
            state.reading = false;
            state.since = Instant::now();
        });
    }
}

/// A request that has no answer yet.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pulse: Arc<Pulse>,
    most: u32,
    answered: bool,
}

impl Unanswered {
    /// It has one now.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.answered {
            self.pulse.given_up(self.most);
        }
    }
}

/// An answer's body that keeps its exchange in flight until it was sent or dropped.
pub(crate) struct InFlight {
    pub(crate) body: AnswerBody,
    pub(crate) _busy: Arc<Busy>,
}

impl Body for InFlight {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reads are noted and whose writes must be taken in time.
pub(crate) struct Watched<IO> {
    io: IO,
    pulse: Arc<Pulse>,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<IO> Watched<IO> {
    pub(crate) fn new(io: IO, pulse: Arc<Pulse>, stall: Duration) -> Self {
        Self {
            io,
            pulse,
            stall,
            stalled: None,
        }
    }

    /// Gives the bare stream up.
    pub(crate) fn into_inner(self) -> IO {
        self.io
    }

    fn judge<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stall = self.stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > before {
            self.pulse.read_some();
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A stream with bytes put back in front of it.
#[derive(Debug)]
pub(crate) struct Prefixed<IO> {
    prefix: Bytes,
    io: IO,
}

impl<IO> Prefixed<IO> {
    pub(crate) fn new(prefix: Bytes, io: IO) -> Self {
        Self { prefix, io }
    }

    /// The bytes in front, which are then no longer there.
    pub(crate) fn take_prefix(&mut self) -> Bytes {
        std::mem::take(&mut self.prefix)
    }

    pub(crate) fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO: AsyncRead + Unpin> Prefixed<IO> {
    /// The next byte, which stays; `None` at the end of the stream.
    pub(crate) async fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.prefix.is_empty() {
            let mut first = [0u8; 1];
            if tokio::io::AsyncReadExt::read(&mut self.io, &mut first).await? == 0 {
                return Ok(None);
            }
            self.prefix = Bytes::copy_from_slice(&first);
        }
        Ok(self.prefix.first().copied())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefixed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Prefixed<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
