//! WebSocket: handshake, frames, compression and limits of one leg (RFC 6455, RFC 7692, RFC 8441).
//!
//! There are two legs, caller to us and us to the upstream, and each is a [`Socket`] of its own: frames are
//! taken apart on the one and made anew on the other, and compression is negotiated on each by us. What the
//! messages say is for the server to read. Pings are answered here and not passed on; the reason in a close
//! frame is a text that nobody inspected, so only its code is told.
//!
//! Limits ([`SocketLimits`]): bytes and frames of a message, how much larger than its compressed form it may
//! be, silence, and time that the other end may refuse to take bytes. One message is held at a time.
//!
//! On failure: a [`SocketFault`] with the close code that RFC 6455 gives it; nothing of the message is handed on.

mod deflate;

mod handshake;
pub use handshake::{HandshakeError, SocketHandshake};
pub(crate) use handshake::{Wish, answer, is_extended};

mod reader;

mod socket;
pub use socket::{Next, Socket, SocketReader, SocketWriter};

mod writer;

use std::{fmt, time::Duration};

use bytes::Bytes;

/// Frames and messages as the fuzz target and the tests of other rooms read them, without a connection.
pub use reader::Reader as FrameReader;

/// The bounds of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Bytes of a message, all its frames together, before and after decompression.
    pub message: usize,
    /// How many times larger than its compressed form a message may be, past the first 64 KiB.
    pub ratio: usize,
    /// Time without a byte from the other end, which is pinged at half of it.
    pub idle: Duration,
    /// Time that the other end may take no bytes while some wait for it.
    pub stall: Duration,
}

/// Which end of the connection we are. It decides who masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We accepted it: what comes in is masked, what goes out is not.
    Server,
    /// We opened it: the other way round.
    Client,
}

/// One thing that the other end sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Received {
    /// A text, which is UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A ping, to be answered with the same bytes.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The other end closes, with that code.
    Close(Option<u16>),
}

/// Messages hold employees' text, so only their lengths are shown.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Ping(bytes) => write!(f, "Ping({} bytes)", bytes.len()),
            Self::Pong => f.write_str("Pong"),
            Self::Close(code) => write!(f, "Close({code:?})"),
        }
    }
}

/// Why a leg cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketFault {
    /// Frames that RFC 6455 does not permit.
    #[error("the frames are against the protocol: {0}")]
    Protocol(&'static str),
    /// A text that is not UTF-8.
    #[error("a text message is not UTF-8")]
    NotUtf8,
    /// A message is over a limit.
    #[error("a message is over a limit")]
    TooLarge,
    /// A compressed message is not what RFC 7692 says.
    #[error("a compressed message cannot be read")]
    Deflate,
    /// Nothing came for too long.
    #[error("the other end was silent for too long")]
    Idle,
    /// The connection broke, or the other end takes no bytes.
    #[error("the connection broke off")]
    Broken,
    /// The drain at shutdown is over.
    #[error("the connection was cut at shutdown")]
    Cut,
}

impl SocketFault {
    /// The code to close with.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 | Self::Deflate => 1007,
            Self::TooLarge => 1009,
            Self::Idle | Self::Broken => 1011,
            Self::Cut => 1001,
        }
    }
}

/// What was agreed on for one leg. Each of our own messages is compressed by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Messages may be compressed.
    pub(crate) deflate: bool,
    /// The other end's compressor goes on from message to message.
    pub(crate) keeps_window: bool,
}
