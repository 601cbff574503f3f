//! Messages of Amazon's event stream as frames.
//!
//! A message that is edited gets new lengths and checksums; its headers stay. The payload of `invoke`'s chunks
//! is an object whose `bytes` is JSON in base64, which is then what is read and edited.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::frame::{Frame, Unframed, splice};
use crate::{
    event_stream::{self, EventStreamError},
    json::{Bounds, scan},
};

/// One message.
pub(super) struct Message {
    whole: event_stream::Message,
    inner: Option<Inner>,
}

/// JSON in base64 within the payload.
struct Inner {
    json: Vec<u8>,
    /// Where the base64 lies in the payload.
    at: Range<usize>,
}

impl Message {
    fn new(whole: event_stream::Message) -> Self {
        let inner = inner(whole.payload());
        Self { whole, inner }
    }

    pub(super) fn raw(&self) -> &[u8] {
        self.whole.raw()
    }

    pub(super) fn data(&self) -> &[u8] {
        match &self.inner {
            Some(inner) => &inner.json,
            None => self.whole.payload(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.whole.name()
    }

    pub(super) fn is_fault(&self) -> bool {
        self.whole.is_error()
    }

    /// Writes the message with places of its data replaced.
    pub(super) fn write(&self, edits: &[(Range<usize>, String)], out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(self.whole.payload().len() + 64);
        splice(self.data(), edits, &mut payload);
        if let Some(inner) = &self.inner {
            let encoded = [(inner.at.clone(), STANDARD.encode(&payload))];
            payload.clear();
            splice(self.whole.payload(), &encoded, &mut payload);
        }
        self.whole.with_payload(&payload, out);
    }
}

fn inner(payload: &[u8]) -> Option<Inner> {
    // Such a payload is flat and has few members.
    let bounds = Bounds {
        depth: 4,
        values: 64,
        duplicates: false,
    };
    let tree = scan(payload, &bounds).ok()?;
    let held = tree.root().get("bytes")?;
    let json = STANDARD.decode(held.text()?.as_bytes()).ok()?;
    Some(Inner {
        json,
        at: held.content_span(),
    })
}

pub(super) struct Parser(event_stream::Parser);

impl Parser {
    pub(super) fn new(max_message: usize) -> Self {
        Self(event_stream::Parser::new(max_message))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Unframed> {
        let messages = self.0.push(bytes).map_err(|error| match error {
            EventStreamError::TooLarge => Unframed::TooLarge,
            EventStreamError::Checksum | EventStreamError::Lengths | EventStreamError::Headers => {
                Unframed::Malformed
            }
        })?;
        Ok(messages
            .into_iter()
            .map(|message| Frame::Message(Message::new(message)))
            .collect())
    }

    /// Whether the stream ended within a message. What there is of it is worth nothing.
    pub(super) fn is_cut(&self) -> bool {
        !self.0.is_empty()
    }
}
