//! One leg over its connection: reading with an idle limit and pings, writing with a stall limit.
//!
//! Reading can be given up at any await point and taken up again; nothing is lost by it. Pings are answered by
//! whoever reads, since that half has no way to write: see [`Received::Ping`].
//!
//! On failure: [`SocketFault`]; the leg is closed by dropping both halves.

use std::collections::VecDeque;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Agreed, Received, Side, SocketFault, SocketLimits, reader::Reader, writer::Writer};

/// How much the buffer grows by at least, before more is read into it.
const READ_BYTES: usize = 8 * 1024;

/// A connection on which frames are spoken.
pub struct Socket {
    io: TokioIo<Upgraded>,
    side: Side,
    agreed: Agreed,
    limits: SocketLimits,
    ends: Ends,
}

/// What ends a leg from our side.
#[derive(Clone, Default)]
struct Ends {
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Socket {
    /// A connection to an upstream that has switched protocols.
    #[must_use]
    pub fn to_upstream(upgraded: Upgraded, agreed: Agreed, limits: SocketLimits) -> Self {
        Self {
            io: TokioIo::new(upgraded),
            side: Side::Client,
            agreed,
            limits,
            ends: Ends::default(),
        }
    }

    pub(crate) fn from_caller(
        upgraded: Upgraded,
        agreed: Agreed,
        limits: SocketLimits,
        draining: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        Self {
            io: TokioIo::new(upgraded),
            side: Side::Server,
            agreed,
            limits,
            ends: Ends { draining, cut },
        }
    }

    /// Tells when the listener drains; then no more should be begun on this connection.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.ends.draining.clone()
    }

    /// Its two halves.
    #[must_use]
    pub fn split(self) -> (SocketReader, SocketWriter) {
        let (read, write) = tokio::io::split(self.io);
        let reader = SocketReader {
            io: read,
            reader: Reader::new(self.side, self.agreed, self.limits),
            limits: self.limits,
            heard: Instant::now(),
            pinged: false,
            ends: self.ends.clone(),
            ahead: VecDeque::new(),
            fault: None,
        };
        let writer = SocketWriter {
            io: write,
            writer: Writer::new(self.side, self.agreed),
            limits: self.limits,
            ends: self.ends,
        };
        (reader, writer)
    }
}

/// The half that reads.
pub struct SocketReader {
    io: ReadHalf<TokioIo<Upgraded>>,
    reader: Reader,
    limits: SocketLimits,
    heard: Instant,
    pinged: bool,
    ends: Ends,
    /// What was read while it was watched whether the other end leaves.
    ahead: VecDeque<Received>,
    /// What was wrong with it.
    fault: Option<SocketFault>,
}

/// Messages that are read ahead at most; then the other end is held back, and cannot be seen to leave.
const MOST_AHEAD: usize = 16;

/// What reading came to.
#[derive(Debug)]
pub enum Next {
    /// Something was sent.
    Received(Received),
    /// The other end was silent for half of the idle time: it is to be pinged.
    Silent,
    /// The connection ended without a close frame.
    Ended,
}

impl SocketReader {
    /// The next thing that the other end sends.
    ///
    /// # Errors
    /// When it breaks the protocol or a limit, is silent for too long, or the connection breaks.
    pub async fn next(&mut self) -> Result<Next, SocketFault> {
        if let Some(received) = self.ahead.pop_front() {
            return Ok(Next::Received(received));
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        loop {
            if let Some(received) = self.reader.take()? {
                return Ok(Next::Received(received));
            }
            let patience = if self.pinged {
                self.limits.idle
            } else {
                self.limits.idle / 2
            };
            let buffer = self.reader.buffer();
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.ends.cut.cancelled() => return Err(SocketFault::Cut),
                read = timeout_at(self.heard + patience, self.io.read_buf(buffer)) => read,
            };
            match read {
                Ok(Ok(0)) => return Ok(Next::Ended),
                Ok(Ok(_)) => {
                    self.heard = Instant::now();
                    self.pinged = false;
                }
                Ok(Err(_)) => return Err(SocketFault::Broken),
                Err(_) if self.pinged => return Err(SocketFault::Idle),
                Err(_) => {
                    self.pinged = true;
                    return Ok(Next::Silent);
                }
            }
        }
    }
}

impl SocketReader {
    /// Returns once the other end closes, or its connection ends or breaks, while somebody is busy with what it said
    /// before. What it says meanwhile is kept for [`SocketReader::next`], [`MOST_AHEAD`] messages of it. It can be given up.
    pub async fn left(&mut self) {
        loop {
            if self.ahead.iter().any(|ahead| matches!(ahead, Received::Close(_))) {
                return;
            }
            if self.fault.is_some() || self.ahead.len() >= MOST_AHEAD {
                return std::future::pending().await;
            }
            match self.next_read().await {
                Ok(Some(received)) => self.ahead.push_back(received),
                Ok(None) | Err(SocketFault::Broken | SocketFault::Cut) => return,
                // It is there, and is told what is wrong when its turn comes.
                Err(fault) => self.fault = Some(fault),
            }
        }
    }

    /// The next thing, however long it takes; `None` at the end of the connection.
    async fn next_read(&mut self) -> Result<Option<Received>, SocketFault> {
        loop {
            if let Some(received) = self.reader.take()? {
                return Ok(Some(received));
            }
            let buffer = self.reader.buffer();
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = self.ends.cut.cancelled() => return Err(SocketFault::Cut),
                read = self.io.read_buf(buffer) => read.map_err(|_| SocketFault::Broken)?,
            };
            if read == 0 {
                return Ok(None);
            }
            self.heard = Instant::now();
            self.pinged = false;
        }
    }
}

/// The half that writes.
pub struct SocketWriter {
    io: WriteHalf<TokioIo<Upgraded>>,
    writer: Writer,
    limits: SocketLimits,
    ends: Ends,
}

impl SocketWriter {
    /// Sends a text, which must be UTF-8.
    ///
    /// # Errors
    /// When the other end takes nothing, or the connection broke.
    pub async fn text(&mut self, text: &[u8]) -> Result<(), SocketFault> {
        let frame = self.writer.text(text)?;
        self.send(&frame).await
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other end takes nothing, or the connection broke.
    pub async fn binary(&mut self, bytes: &[u8]) -> Result<(), SocketFault> {
        let frame = self.writer.binary(bytes)?;
        self.send(&frame).await
    }

    /// Asks whether the other end is still there.
    ///
    /// # Errors
    /// When the other end takes nothing, or the connection broke.
    pub async fn ping(&mut self) -> Result<(), SocketFault> {
        let frame = self.writer.ping()?;
        self.send(&frame).await
    }

    /// Answers a ping.
    ///
    /// # Errors
    /// When the other end takes nothing, or the connection broke.
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), SocketFault> {
        let frame = self.writer.pong(payload)?;
        self.send(&frame).await
    }

    /// Says that no more will come, and closes our half of the connection.
    ///
    /// # Errors
    /// When the other end takes nothing, or the connection broke.
    pub async fn close(&mut self, code: Option<u16>) -> Result<(), SocketFault> {
        let frame = self.writer.close(code)?;
        self.send(&frame).await?;
        let shut = timeout(self.limits.stall, self.io.shutdown()).await;
        shut.map_err(|_| SocketFault::Broken)?
            .map_err(|_| SocketFault::Broken)
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), SocketFault> {
        let sending = async {
            self.io.write_all(frame).await?;
            self.io.flush().await
        };
        tokio::select! {
            biased;
            () = self.ends.cut.cancelled() => Err(SocketFault::Cut),
            sent = timeout(self.limits.stall, sending) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(SocketFault::Broken),
            },
        }
    }
}
