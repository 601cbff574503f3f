//! The messages of a WebSocket, edited as the events of a stream are.
//!
//! One editor serves a whole connection, on which one answer follows another. Limits and failures are the
//! editor's.

use bytes::Bytes;

use crate::{Container, request::FRAME_END};

use super::{
    Channel, Rewrite, StreamEditor, StreamError,
    frame::{Bare, Frame},
    read::{Facts, Scope},
};

/// A message, or a part of one, whose JSON is `length` bytes long. Parts may go on as messages of their own: they say
/// themselves where each ends.
fn bare(raw: &[u8], length: usize) -> Frame {
    Frame::Bare(Bare {
        data: Some(0..length),
        raw: raw.to_vec(),
        ended: true,
        closes: false,
    })
}

/// A message that is one text. Each stands for itself.
fn rewritten(message: &Bytes, rewrite: &mut dyn Rewrite) -> Bytes {
    let Ok(text) = std::str::from_utf8(message) else {
        return message.clone();
    };
    let channel = Channel("text".to_owned());
    let mut new = rewrite.push(&channel, text, false);
    new.push_str(&rewrite.finish(&channel));
    new.into()
}

impl StreamEditor {
    /// Takes one message of the upstream's and gives the messages that may go on. Not to be mixed with
    /// [`StreamEditor::push`].
    ///
    /// # Errors
    /// When a message passes a limit; the editor must not be used any further.
    pub fn message(&mut self, bytes: Bytes, rewrite: &mut dyn Rewrite) -> Result<Vec<Bytes>, StreamError> {
        if bytes.len() > self.max_bytes {
            return Err(StreamError::EventTooLarge {
                limit: self.max_bytes,
            });
        }
        match self.shape.and_then(|shape| shape.container) {
            Some(Container::Text) => return Ok(vec![rewritten(&bytes, rewrite)]),
            Some(Container::Frames) => {
                for frame in bytes.split_inclusive(|byte| *byte == FRAME_END) {
                    self.queue(
                        bare(frame, frame.len() - usize::from(frame.ends_with(&[FRAME_END]))),
                        rewrite,
                    )?;
                }
            }
            Some(Container::Lines) => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.queue(bare(line, line.len()), rewrite)?;
                }
            }
            _ => self.queue(bare(&bytes, bytes.len()), rewrite)?,
        }
        let messages = self.messages();
        self.bounded()?;
        Ok(messages)
    }

    /// The upstream has closed: gives the messages that were still held.
    pub fn last_messages(&mut self, rewrite: &mut dyn Rewrite) -> Vec<Bytes> {
        self.end(&Scope::All, rewrite);
        self.messages()
    }

    /// Forgets what was told of the answer that is complete, for the next one. What is held stays.
    pub fn begin_anew(&mut self) {
        self.facts = Facts::default();
    }

    fn messages(&mut self) -> Vec<Bytes> {
        let mut messages = Vec::new();
        while let Some(pending) = self.released() {
            let mut message = Vec::new();
            pending.write(&mut message);
            messages.push(message.into());
        }
        messages
    }
}
