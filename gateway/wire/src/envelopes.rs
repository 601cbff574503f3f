//! The envelopes of gRPC and of Connect's streams: a byte of flags, four of length, a message.
//!
//! A message that is compressed with gzip is decompressed where it lies, and its flag cleared, so that its
//! texts have a place in the body; an edited body goes on like that, which either protocol allows of any
//! message. What ends a stream (Connect's JSON, the trailers of gRPC-Web) is read, too.
//!
//! Limits: bytes after decompression, and how many times those before. On failure: a [`DecodeError`].

use std::{io::Read as _, ops::Range};

use bytes::{Bytes, BytesMut};

use crate::{
    Limits,
    json::{LengthWriting, Position, Spot, Value, Walk},
    protobuf,
    request::DecodeError,
};

/// Flags and length.
pub(crate) const HEAD: usize = 5;
const COMPRESSED: u8 = 0x01;
/// Connect: the end of a stream, in JSON.
const END: u8 = 0x02;
/// gRPC-Web: trailers, as headers of HTTP/1 are written.
const TRAILERS: u8 = 0x80;

/// What the messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Messages {
    Protobuf,
    Json,
}

/// The length of the message that a head tells.
pub(crate) fn length(head: [u8; HEAD]) -> usize {
    let [_, length @ ..] = head;
    u32::from_be_bytes(length) as usize
}

/// Whether such an envelope is the last of its stream.
pub(crate) fn ends(flags: u8) -> bool {
    flags & (END | TRAILERS) != 0
}

/// The envelope that ends a stream of Connect.
pub(crate) fn end(message: &[u8]) -> Vec<u8> {
    // What is written here is a message of ours, far below 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[END][..], &length.to_be_bytes(), message].concat()
}

/// The envelope of gRPC-Web that tells how a call ended: trailers as headers of HTTP/1 are written.
pub(crate) fn trailers(fields: &[(&'static str, String)]) -> Vec<u8> {
    let written: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = u32::try_from(written.len()).unwrap_or(u32::MAX);
    [&[TRAILERS][..], &length.to_be_bytes(), written.as_bytes()].concat()
}

/// Cuts a stream into envelopes, whatever pieces it comes in.
pub struct EnvelopeCutter {
    buffer: BytesMut,
    limit: usize,
}

impl EnvelopeCutter {
    /// For messages of so many bytes at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole envelope, its head with it.
    ///
    /// # Errors
    /// When its head tells a length over the limit: nothing of it is waited for.
    pub fn cut(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(&head) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        let length = length(head);
        if length > self.limit {
            return Err(DecodeError::BodyTooLarge { limit: self.limit });
        }
        let whole = HEAD + length;
        Ok((self.buffer.len() >= whole).then(|| self.buffer.split_to(whole).freeze()))
    }

    /// Whether an envelope has begun that is not whole.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of it so far.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }
}

/// The envelopes of a body: the flags, and where the message lies.
fn split(body: &[u8]) -> Result<Vec<(u8, Range<usize>)>, DecodeError> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let head: Option<[u8; HEAD]> = body[at..].first_chunk().copied();
        let message = head.and_then(|head| {
            let end = (at + HEAD).checked_add(length(head))?;
            (end <= body.len()).then_some((head[0], at + HEAD..end))
        });
        let Some((flags, message)) = message else {
            return malformed("whole envelopes of five bytes and a message");
        };
        if flags & !(COMPRESSED | END | TRAILERS) != 0 {
            return malformed("envelopes with flags of gRPC or Connect");
        }
        at = message.end;
        found.push((flags, message));
    }
    Ok(found)
}

fn malformed<T>(what: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Malformed { what })
}

/// One envelope with its message uncompressed by `unpack`; `None` where it is not compressed, or cannot be read.
pub(crate) fn unpacked(envelope: &Bytes, unpack: &impl Fn(Bytes) -> Option<Bytes>) -> Option<Bytes> {
    let flags = *envelope.first()?;
    if flags & COMPRESSED == 0 || envelope.len() < HEAD {
        return None;
    }
    let message = unpack(envelope.slice(HEAD..))?;
    let length = u32::try_from(message.len()).ok()?;
    let head = [&[flags & !COMPRESSED][..], &length.to_be_bytes()].concat();
    Some([&head[..], &message[..]].concat().into())
}

/// A body with each message as it is written uncompressed.
pub(crate) fn uncompressed(body: &Bytes, limits: &Limits) -> Result<Bytes, DecodeError> {
    let envelopes = split(body)?;
    if envelopes.iter().all(|(flags, _)| flags & COMPRESSED == 0) {
        return Ok(body.clone());
    }
    let too_large = DecodeError::BodyTooLarge {
        limit: limits.max_body,
    };
    let mut out = Vec::with_capacity(body.len());
    for (flags, message) in envelopes {
        let head = out.len();
        out.extend_from_slice(&[flags & !COMPRESSED, 0, 0, 0, 0]);
        // gRPC allows a message of nothing to be called compressed.
        if flags & COMPRESSED == 0 || message.is_empty() {
            out.extend_from_slice(&body[message]);
        } else {
            let most = limits.max_body.saturating_sub(out.len());
            let left = most.min(limits.max_unpacked(message.len()));
            let mut unzipped =
                flate2::read::MultiGzDecoder::new(&body[message.clone()]).take(left as u64 + 1);
            if unzipped.read_to_end(&mut out).is_err() {
                return malformed("messages that are compressed with gzip or not at all");
            }
            if out.len() - head - HEAD > left {
                return Err(DecodeError::BodyTooLarge { limit: left });
            }
        }
        if out.len() > limits.max_body {
            return Err(too_large);
        }
        let Ok(length) = u32::try_from(out.len() - head - HEAD) else {
            return Err(too_large);
        };
        out[head + 1..head + HEAD].copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.into())
}

/// The texts of an uncompressed body.
pub(crate) fn read<P: Position>(
    walk: &mut Walk<'_>,
    body: &[u8],
    messages: Messages,
    root: P,
    line: &impl Fn(Value<'_>) -> Result<P, DecodeError>,
) -> Result<(), DecodeError> {
    for (flags, message) in split(body)? {
        walk.spend(1)?;
        if message.is_empty() {
            continue;
        }
        let start = message.start;
        let source = &body[message.clone()];
        let length = walk.length(start - HEAD + 1..start, message, None, LengthWriting::Four);
        // The places of all messages are alike, as their shapes are.
        let mut place = String::new();
        if flags & TRAILERS != 0 {
            "trailers".clone_into(&mut place);
            walk.piece(root, &mut place, text(source)?.to_owned(), Spot::plain(start))?;
        } else if flags & END != 0 || messages == Messages::Json {
            walk.json(text(source)?, line, &mut place, start)?;
        } else {
            protobuf::read(walk, source, start, Some(length), root, &mut place)?;
        }
    }
    Ok(())
}

fn text(source: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(source).map_err(|_| DecodeError::Malformed {
        what: "text in UTF-8",
    })
}
