//! A connection under watch: how long it has been idle, whether a header is dribbling in, whether
//! the caller takes what is sent to it; and bytes put back in front of a stream.
//!
//! [`Pulse`] is the shared note that reads, exchanges and the serving loop keep; [`Watched`] is the
//! stream that writes it and fails a write nobody takes.

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
    time::{Instant, Sleep, sleep},
};

use crate::{exchange::AnswerBody, limits::ListenerLimits};

/// What a connection without an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The rest of a header that has begun to come.
    Header,
    /// Anything at all.
    Exchange,
}

/// What a connection is doing.
#[derive(Debug)]
pub(crate) struct Pulse {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Exchanges in flight.
    active: usize,
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
                reading: true,
                since: Instant::now(),
            }),
        })
    }

    /// The connection begins anew, as after a TLS handshake.
    pub(crate) fn restart(&self) {
        self.with(|state| {
            state.reading = true;
            state.since = Instant::now();
        });
    }

    fn read_some(&self) {
        self.with(|state| {
            if state.active == 0 && !state.reading {
                state.reading = true;
                state.since = Instant::now();
            }
        });
    }

    /// An exchange began; it ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.with(|state| {
            state.active += 1;
            state.reading = false;
        });
        Busy(Arc::clone(self))
    }

    /// What the connection waits for, and until when; `None` while an exchange is in flight. On
    /// HTTP/2 bytes without an exchange are housekeeping, so only rest counts there.
    pub(crate) fn waits(&self, limits: &ListenerLimits, http2: bool) -> Option<(Wait, Instant)> {
        self.with(|state| match (state.active, state.reading && !http2) {
            (0, true) => Some((Wait::Header, state.since + limits.header_read)),
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

/// An answer's body that keeps its exchange in flight until it was sent or dropped.
pub(crate) struct InFlight {
    pub(crate) body: AnswerBody,
    pub(crate) _busy: Busy,
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
