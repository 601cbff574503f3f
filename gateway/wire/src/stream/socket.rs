//! The messages of a WebSocket, edited as the events of a stream are.
//!
//! One editor serves a whole connection, on which one answer follows another. Limits and failures are the
//! editor's.

use bytes::Bytes;

use super::{
    Rewrite, StreamEditor, StreamError,
    frame::{Bare, Frame},
    read::{Facts, Scope},
};

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
        let message = Bare {
            data: Some(0..bytes.len()),
            raw: bytes.into(),
            ended: true,
            closes: false,
        };
        self.queue(Frame::Bare(message), rewrite)?;
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
