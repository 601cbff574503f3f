//! What a streamed reply is cut into, and how its pieces are put back.
//!
//! There are five framings: server-sent events, lines of JSON, one JSON array that grows, the envelopes of gRPC
//! and Connect, and Amazon's event stream, whose messages are binary and carry checksums. Each gives [`Frame`]s: bytes as they came,
//! the JSON within, and the way from a place in that JSON back to the bytes. All bytes of a stream are in its frames,
//! in order.
//!
//! Limits: bytes of one frame. On failure: [`Unframed`], after which the parser must not be used.

use std::ops::Range;

use super::{Unpack, array, enveloped, lines, message};
use crate::{Container, Endpoint, request::MediaType, sse};
use cordon_domain::Dialect;

/// How a streamed reply is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON text on each line.
    Lines,
    /// One JSON array, an item a piece.
    Array,
    /// Amazon's binary event stream.
    Messages,
    /// Messages of protobuf in the envelopes of gRPC and Connect.
    ProtobufEnvelopes,
    /// JSON texts in such envelopes.
    JsonEnvelopes,
}

impl Framing {
    /// How the reply of an endpoint is framed by what its head says it is; `None` when it is no stream.
    #[must_use]
    pub fn of(endpoint: Endpoint, content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        if is("text/event-stream") {
            Some(Self::Events)
        } else if is("application/vnd.amazon.eventstream") {
            Some(Self::Messages)
        } else if is("application/x-ndjson") || is("application/ndjson") || is("application/stream+json") {
            Some(Self::Lines)
        } else if is("application/json")
            && endpoint.dialect == Dialect::Gemini
            && endpoint.streamed == Some(true)
        {
            Some(Self::Array)
        } else if endpoint.dialect == Dialect::Unknown || endpoint.shape.is_some() {
            match MediaType::read(Some(content_type)).ok()?.container()? {
                Container::ProtobufEnvelopes => Some(Self::ProtobufEnvelopes),
                Container::JsonEnvelopes => Some(Self::JsonEnvelopes),
                _ => None,
            }
        } else {
            None
        }
    }
}

/// Why a stream cannot be cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unframed {
    TooLarge,
    /// A checksum or a length is wrong.
    Malformed,
}

/// One piece of a stream.
pub(super) enum Frame {
    Event(sse::Event),
    Bare(Bare),
    Message(message::Message),
    Enveloped(enveloped::Enveloped),
}

/// A piece whose JSON stands in its bytes as it is.
pub(super) struct Bare {
    pub(super) raw: Vec<u8>,
    /// Where the JSON lies.
    pub(super) data: Option<Range<usize>>,
    /// Nothing of it is missing.
    pub(super) ended: bool,
    /// With it the stream is over.
    pub(super) closes: bool,
}

impl Frame {
    pub(super) fn raw(&self) -> &[u8] {
        match self {
            Self::Event(event) => event.raw(),
            Self::Bare(bare) => &bare.raw,
            Self::Message(message) => message.raw(),
            Self::Enveloped(envelope) => envelope.raw(),
        }
    }

    /// The JSON within, if there is any.
    pub(super) fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Event(event) => event.data(),
            Self::Bare(bare) => bare.data.clone().map(|data| &bare.raw[data]),
            Self::Message(message) => Some(message.data()),
            Self::Enveloped(_) => None,
        }
    }

    /// What the framing itself calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Event(event) => event.name(),
            Self::Bare(_) | Self::Enveloped(_) => "",
            Self::Message(message) => message.name(),
        }
    }

    /// Whether the stream broke off within it.
    pub(super) fn ended(&self) -> bool {
        match self {
            Self::Event(event) => event.ended(),
            Self::Bare(bare) => bare.ended,
            Self::Message(_) | Self::Enveloped(_) => true,
        }
    }

    /// Whether the framing says that nothing follows.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Self::Bare(bare) if bare.closes)
    }

    /// Whether the framing says that it tells of an error.
    pub(super) fn is_fault(&self) -> bool {
        matches!(self, Self::Message(message) if message.is_fault())
    }

    /// From a span of the data to what [`Frame::write`] takes; `None` where it cannot be edited.
    pub(super) fn place(&self, start: usize, end: usize) -> Option<Range<usize>> {
        match self {
            // A JSON string holds no raw line feed, so it always lies within one `data:` line.
            Self::Event(event) => event.raw_range(start, end),
            Self::Bare(bare) => {
                let from = bare.data.as_ref()?.start;
                Some(from + start..from + end)
            }
            // Of an envelope, the number of a segment.
            Self::Message(_) | Self::Enveloped(_) => Some(start..end),
        }
    }

    /// Writes the frame out with places of it replaced; they are in order and apart.
    pub(super) fn write(&self, edits: &[(Range<usize>, String)], out: &mut Vec<u8>) {
        match self {
            _ if edits.is_empty() => out.extend_from_slice(self.raw()),
            Self::Event(_) | Self::Bare(_) => splice(self.raw(), edits, out),
            Self::Message(message) => message.write(edits, out),
            // It is edited by its segments.
            Self::Enveloped(envelope) => envelope.write(Vec::new(), out),
        }
    }
}

/// Bytes with places of them replaced, in order.
pub(super) fn splice(bytes: &[u8], edits: &[(Range<usize>, String)], out: &mut Vec<u8>) {
    let mut from = 0;
    for (place, text) in edits {
        out.extend_from_slice(&bytes[from..place.start]);
        out.extend_from_slice(text.as_bytes());
        from = place.end;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// Cuts a stream into frames.
pub(super) enum Parser {
    Events(sse::Parser),
    Lines(lines::Parser),
    Array(array::Parser),
    Messages(message::Parser),
    Envelopes(enveloped::Parser),
}

impl Parser {
    pub(super) fn new(framing: Framing, max_frame: usize) -> Self {
        match framing {
            Framing::Events => Self::Events(sse::Parser::new(max_frame)),
            Framing::Lines => Self::Lines(lines::Parser::new(max_frame)),
            Framing::Array => Self::Array(array::Parser::new(max_frame)),
            Framing::Messages => Self::Messages(message::Parser::new(max_frame)),
            Framing::ProtobufEnvelopes => {
                Self::Envelopes(enveloped::Parser::new(Container::ProtobufEnvelopes, max_frame))
            }
            Framing::JsonEnvelopes => {
                Self::Envelopes(enveloped::Parser::new(Container::JsonEnvelopes, max_frame))
            }
        }
    }

    /// How the compression of messages in envelopes is undone, other than as gzip.
    pub(super) fn unpack(&mut self, unpack: Unpack) {
        if let Self::Envelopes(parser) = self {
            parser.unpack(unpack);
        }
    }

    /// The frames that `bytes` completed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        match self {
            Self::Events(parser) => {
                let events = parser.push(bytes).map_err(|_| Unframed::TooLarge)?;
                Ok(events.into_iter().map(Frame::Event).collect())
            }
            Self::Lines(parser) => parser.push(bytes),
            Self::Array(parser) => parser.push(bytes),
            Self::Messages(parser) => parser.push(bytes),
            Self::Envelopes(parser) => parser.push(bytes),
        }
    }

    /// What was left when the stream ended; of binary messages nothing that could be passed on.
    pub(super) fn finish(&mut self) -> Option<Frame> {
        match self {
            Self::Events(parser) => parser.finish().map(Frame::Event),
            Self::Lines(parser) => parser.finish(),
            Self::Array(parser) => parser.finish(),
            Self::Messages(_) | Self::Envelopes(_) => None,
        }
    }

    /// Whether the stream ended within a binary message.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Messages(parser) => parser.is_cut(),
            Self::Envelopes(parser) => parser.is_cut(),
            _ => false,
        }
    }

    /// Whether an array has been opened whose end is still to come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Array(parser) if parser.is_open())
    }

    /// Whether such an array was begun in a whole frame, and whether it holds an item.
    pub(super) fn array(&self) -> (bool, bool) {
        match self {
            Self::Array(parser) => (parser.is_begun(), parser.has_items()),
            _ => (false, false),
        }
    }
}
