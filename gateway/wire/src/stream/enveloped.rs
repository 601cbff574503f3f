//! Envelopes of gRPC and Connect as frames: each message is decoded by itself, and its texts are pieces.
//!
//! A placeholder can come in pieces, a few letters a message: texts at the same place of successive messages
//! are one channel. A message that cannot be decoded goes on as it came, so nothing is put back in it. One that is
//! compressed goes on as it came, too, but uncompressed where something is put back in it.
//!
//! On failure: as its sibling framings.

use std::collections::HashSet;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit};

use super::{
    Channel,
    frame::{Frame, Unframed},
    read::{Located, Scope, Step},
};
use crate::{
    Container, Endpoint, EnvelopeCutter, Limits, Operation, envelopes,
    json::{Document, OffsetMap},
    request,
};

/// One envelope.
pub(super) struct Enveloped {
    raw: Bytes,
    document: Option<Document>,
    ends: bool,
}

impl Enveloped {
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What to do about its texts. The place of a text is the number of its segment.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.ends {
            steps.push(Step::End(Scope::All));
        }
        let segments = self.document.as_ref().map_or(&[][..], Document::segments);
        let mut seen = HashSet::new();
        for (number, segment) in segments.iter().enumerate() {
            let text = Located {
                text: segment.text.as_str().to_owned(),
                span: number..number + 1,
                map: OffsetMap::default(),
            };
            let place = segment.place.as_str();
            // The items of a repeated field have one place, but are texts of their own.
            let first = seen.insert(place);
            steps.push(if self.ends || !first || place.len() > Channel::MAX_BYTES {
                Step::Whole {
                    text,
                    arguments: false,
                }
            } else {
                Step::Piece {
                    text,
                    channel: Channel(place.to_owned()),
                    arguments: false,
                }
            });
        }
        steps
    }

    /// Writes the envelope with spans of its segments replaced, each by the segment's number.
    pub(super) fn write(&self, edits: Vec<Edit>, out: &mut Vec<u8>) {
        let edited = self.document.as_ref().filter(|_| !edits.is_empty());
        match edited.and_then(|document| document.splice(&edits).ok()) {
            Some(edited) => out.extend_from_slice(&edited),
            None => out.extend_from_slice(&self.raw),
        }
    }
}

pub(super) struct Parser {
    container: Container,
    limits: Limits,
    cutter: EnvelopeCutter,
    unpack: Option<Unpack>,
}

/// Undoes the compression of one message; `None` where that cannot be done.
pub type Unpack = Box<dyn Fn(Bytes) -> Option<Bytes> + Send>;

impl Parser {
    pub(super) fn new(container: Container, max_message: usize) -> Self {
        let limits = Limits {
            max_body: max_message,
            max_text: max_message,
            ..Limits::default()
        };
        Self {
            container,
            limits,
            cutter: EnvelopeCutter::new(max_message),
            unpack: None,
        }
    }

    /// Undoes compression by that, and not as gzip.
    pub(super) fn unpack(&mut self, unpack: Unpack) {
        self.unpack = Some(unpack);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        self.cutter.push(bytes);
        let mut frames = Vec::new();
        while let Some(raw) = self.cutter.cut().map_err(|_| Unframed::TooLarge)? {
            frames.push(self.frame(raw));
        }
        Ok(frames)
    }

    fn frame(&self, raw: Bytes) -> Frame {
        let endpoint = Endpoint::new(Dialect::Unknown, Operation::Generate);
        let unpacked = self
            .unpack
            .as_ref()
            .and_then(|unpack| envelopes::unpacked(&raw, unpack));
        let plain = unpacked.unwrap_or_else(|| raw.clone());
        let document = request::reply_in(self.container, endpoint, plain, &self.limits).ok();
        Frame::Enveloped(Enveloped {
            ends: raw.first().is_some_and(|flags| envelopes::ends(*flags)),
            raw,
            document,
        })
    }

    /// Whether the stream ended within an envelope.
    pub(super) fn is_cut(&self) -> bool {
        self.cutter.is_cut()
    }
}
