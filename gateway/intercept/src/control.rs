//! Frames of HTTP/2 that ask for nothing, counted as they pass.
//!
//! SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM and frames that nobody knows are a few bytes to the caller and work to us,
//! some of it for each open stream. hyper bounds what it keeps because of them, not how many come. The heads of frames are
//! read here and nothing else of them; whether they are in order is hyper's to say.
//!
//! Limits: control frames in a minute, and two more for each frame of DATA that the caller was sent, since it has to open its
//! windows for that: HAProxy's does so behind each, for the stream and for the connection.
//!
//! On failure: the connection is told to end as one that was abused.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::watched::Pulse;

/// What the caller begins with (RFC 9113, 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;
const MINUTE: Duration = Duration::from_secs(60);
/// Windows that a caller may open behind each frame of DATA.
const FOR_EACH_DATA: u64 = 2;
const DATA: u8 = 0x0;

/// A caller's HTTP/2, its control frames counted, and the frames of DATA that it gets.
pub(crate) struct ControlFrames<IO> {
    io: IO,
    pulse: Arc<Pulse>,
    heads: Heads,
    most: u64,
    /// When the present minute began, with the frames and those of DATA that were sent in it.
    since: Instant,
    frames: u64,
    sent: u64,
    /// The heads of what is sent.
    sent_heads: Heads,
    /// Nothing more is read.
    over: bool,
}

impl<IO> ControlFrames<IO> {
    pub(crate) fn new(io: IO, pulse: Arc<Pulse>, most: u32) -> Self {
        Self {
            io,
            pulse,
            heads: Heads::default(),
            most: most.into(),
            since: Instant::now(),
            frames: 0,
            sent: 0,
            sent_heads: Heads {
                pass: 0,
                ..Heads::default()
            },
            over: false,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        // DATA, HEADERS and CONTINUATION belong to requests, which have bounds of their own.
        let is_control = |kind| !matches!(kind, DATA | 0x1 | 0x9);
        match self.heads.count(bytes, is_control) {
            0 => {}
            frames => self.count(frames, Instant::now()),
        }
    }

    fn count(&mut self, frames: u64, now: Instant) {
        if now.duration_since(self.since) > MINUTE {
            (self.since, self.frames, self.sent) = (now, 0, 0);
        }
        self.frames += frames;
        if self.frames > self.most.saturating_add(self.sent * FOR_EACH_DATA) {
            self.over = true;
            self.pulse.abused();
        }
    }

    fn wrote<'b>(&mut self, polled: &Poll<io::Result<usize>>, bufs: impl IntoIterator<Item = &'b [u8]>) {
        let Poll::Ready(Ok(mut count)) = *polled else {
            return;
        };
        for buf in bufs {
            let written = &buf[..count.min(buf.len())];
            self.sent += self.sent_heads.count(written, |kind| kind == DATA);
            count -= written.len();
        }
    }
}

/// The heads of frames in bytes that come in any pieces.
struct Heads {
    /// Bytes of the preface or of a payload that are yet to pass.
    pass: usize,
    head: [u8; HEAD],
    filled: usize,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            pass: PREFACE,
            head: [0; HEAD],
            filled: 0,
        }
    }
}

impl Heads {
    /// How many frames of those kinds begin in these bytes.
    fn count(&mut self, mut bytes: &[u8], counts: impl Fn(u8) -> bool) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.pass > 0 {
                let passed = self.pass.min(bytes.len());
                self.pass -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD {
                self.filled = 0;
                let [a, b, c, kind, ..] = self.head;
                self.pass = u32::from_be_bytes([0, a, b, c]) as usize;
                count += u64::from(counts(kind));
            }
        }
        count
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ControlFrames<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Some(bytes) = buf.filled().get(before..) {
            self.read(bytes);
        }
        if self.over {
            // hyper reads on for megabytes before it lets go of the thread, and so before the note is seen.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ControlFrames<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(&polled, [buf]);
        polled
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
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(&polled, bufs.iter().map(|buf| &**buf));
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::watched::Enough;

    const PING: u8 = 0x6;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        // A payload that would read as heads of further pings.
        [&[a, b, c, kind, 0, 0, 0, 0, 0][..], &vec![PING; length]].concat()
    }

    fn connection(kinds: &[(u8, usize)]) -> Vec<u8> {
        let frames = kinds.iter().flat_map(|(kind, length)| frame(*kind, *length));
        [0x50; PREFACE].into_iter().chain(frames).collect()
    }

    proptest! {
        #[test]
        fn control_frames_are_counted_in_whatever_pieces_they_come(
            kinds in proptest::collection::vec((0u8..20, 0usize..70), 0..20),
            step in 1usize..40,
        ) {
            let bytes = connection(&kinds);
            let mut heads = Heads::default();
            let counted: u64 = bytes.chunks(step).map(|piece| heads.count(piece, |kind| ![0, 1, 9].contains(&kind))).sum();
            let control = kinds.iter().filter(|(kind, _)| ![0, 1, 9].contains(kind));
            prop_assert_eq!(counted, control.count() as u64);
        }
    }

    #[tokio::test]
    async fn a_connection_of_control_frames_is_abuse_and_one_that_was_sent_much_may_have_more() {
        let (mut caller, ours) = duplex(1 << 20);
        let pulse = Pulse::new();
        let mut counted = ControlFrames::new(ours, Arc::clone(&pulse), 10);
        let bytes = [connection(&[(PING, 8); 10]), frame(0x0, 500)].concat();
        caller.write_all(&bytes).await.unwrap();
        let mut read = vec![0; bytes.len()];
        counted.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes, "they pass unchanged");
        assert_eq!(pulse.enough().now_or_never(), None);
        caller.write_all(&frame(PING, 8)).await.unwrap();
        let read = counted.read_exact(&mut [0; 17]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(pulse.is_abused());
        assert_eq!(pulse.enough().now_or_never(), Some(Enough::Abused));
    }

    #[tokio::test]
    async fn whoever_was_sent_much_may_say_more_and_each_minute_begins_anew() {
        let (mut caller, ours) = duplex(1 << 20);
        let pulse = Pulse::new();
        let mut counted = ControlFrames::new(ours, Arc::clone(&pulse), 10);
        let told = || pulse.enough().now_or_never();
        // Small pieces of a stream, written in any way, and frames that open no window.
        let sent = [
            frame(DATA, 200).repeat(6),
            frame(0x1, 90),
            frame(DATA, 30).repeat(4),
        ]
        .concat();
        let (first, rest) = sent.split_at(700);
        counted.write_all(first).await.unwrap();
        let (second, third) = rest.split_at(5);
        let both = [io::IoSlice::new(second), io::IoSlice::new(third)];
        assert_eq!(counted.write_vectored(&both).await.unwrap(), rest.len());
        caller.read_exact(&mut vec![0; sent.len()]).await.unwrap();
        let now = Instant::now();
        counted.count(30, now);
        assert_eq!(told(), None);
        counted.count(10, now + MINUTE + Duration::from_secs(1));
        assert_eq!(told(), None);
        counted.count(1, now + MINUTE + Duration::from_secs(2));
        assert_eq!(told(), Some(Enough::Abused));
    }
}
