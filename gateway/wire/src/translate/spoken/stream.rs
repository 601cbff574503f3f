//! A streamed reply of another dialect as `openai-chat` streams it.
//!
//! Limits: bytes of one event. A stream that closes before its end gets no `[DONE]`.

use serde_json::Value;

use super::{Spoken, gemini, messages, reply::Chunks};
use crate::{
    Limits, sse,
    translate::{TranslateError, reply::UpstreamError},
};

/// Reads the events of a dialect.
pub(super) trait Reader: Send {
    /// The next event. Gives whether the reply is whole.
    fn event(
        &mut self,
        event: &Value,
        chunks: &mut Chunks,
        out: &mut Vec<u8>,
    ) -> Result<bool, TranslateError>;
    /// The upstream has closed as it should, which in some dialects is what ends a reply.
    fn closed(&mut self, _: &mut Chunks, _: &mut Vec<u8>) {}
}

/// Translates the upstream's bytes.
pub(in crate::translate) struct ToChat {
    parser: sse::Parser,
    limit: usize,
    reader: Box<dyn Reader>,
    chunks: Chunks,
    ended: bool,
}

impl ToChat {
    /// `None` for an upstream that speaks `openai-chat` itself.
    pub(in crate::translate) fn new(spoken: Spoken, created: u64) -> Option<Self> {
        let limit = Limits::default().max_body;
        let reader: Box<dyn Reader> = match spoken {
            Spoken::Chat => return None,
            Spoken::Messages => Box::new(messages::Events::default()),
            Spoken::Gemini => Box::new(gemini::Items::default()),
        };
        Some(Self {
            parser: sse::Parser::new(limit),
            limit,
            reader,
            chunks: Chunks::new(created),
            ended: false,
        })
    }

    pub(in crate::translate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TranslateError> {
        let events = self
            .parser
            .push(bytes)
            .map_err(|_| TranslateError::ReplyTooLarge { limit: self.limit })?;
        let mut out = Vec::with_capacity(bytes.len());
        for event in events {
            self.take(&event, &mut out)?;
        }
        Ok(out)
    }

    pub(in crate::translate) fn close(&mut self) -> Result<Vec<u8>, TranslateError> {
        let mut out = Vec::new();
        if let Some(event) = self.parser.finish() {
            // Half an event says nothing; a whole one may lack the blank line behind it.
            let whole = event
                .data()
                .is_some_and(|data| serde_json::from_slice::<Value>(data).is_ok());
            if whole {
                self.take(&event, &mut out)?;
            }
        }
        if !self.ended {
            self.reader.closed(&mut self.chunks, &mut out);
        }
        Ok(out)
    }

    fn take(&mut self, event: &sse::Event, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let Some(data) = event.data().filter(|_| !self.ended) else {
            return Ok(());
        };
        let event: Value = serde_json::from_slice(data)
            .map_err(|_| TranslateError::Reply("an event of its stream is not JSON"))?;
        if let Some(error) = UpstreamError::of(&event) {
            self.chunks.fail(&error, out);
            self.ended = true;
        } else {
            self.ended = self.reader.event(&event, &mut self.chunks, out)?;
        }
        Ok(())
    }
}
