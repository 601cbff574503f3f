//! Gemini's stream: replies one after another, each with what is new, as events or as items of an array. A
//! call comes as a whole; the last reply says why and at what cost the answer ends.

use serde_json::{Value, json};

use super::reply::{call, chunk, error, finish};
use crate::translate::{
    Asked, TranslateError,
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{self, Piece, Whole, data},
};

pub(crate) struct Writer {
    asked: Asked,
    model: String,
    head: Option<Head>,
    calls: Whole,
    /// Whether the array is open.
    open: bool,
}

impl Writer {
    pub(crate) fn new(asked: Asked, model: &str) -> Self {
        Self {
            asked,
            model: model.to_owned(),
            head: None,
            calls: Whole::default(),
            open: false,
        }
    }

    fn chunk(&self, part: Value) -> Value {
        let unnamed = Head::unnamed();
        let head = self.head.as_ref().unwrap_or(&unnamed);
        chunk(vec![part], &head.id, &self.model)
    }

    fn item(&mut self, item: &Value, out: &mut Vec<u8>) {
        if self.asked.as_events() {
            data(item.to_string(), out);
            return;
        }
        out.extend_from_slice(if self.open { b",\r\n" } else { b"[" });
        self.open = true;
        out.extend_from_slice(item.to_string().as_bytes());
    }

    fn part(&mut self, part: Value, out: &mut Vec<u8>) {
        let item = self.asked.wrapped(self.chunk(part));
        self.item(&item, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.asked.as_events() {
            out.extend_from_slice(b"]");
        }
    }
}

impl stream::Writer for Writer {
    fn start(&mut self, head: &Head, _: &mut Vec<u8>) {
        self.head.get_or_insert_with(|| head.clone());
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            Piece::Thinking => {}
            Piece::Text(text) | Piece::Refusal(text) => {
                if let Some(before) = self.calls.take() {
                    self.part(call(&before), out);
                }
                self.part(json!({"text": text}), out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                let head = self.head.as_ref();
                if let Some(before) = self.calls.piece(head, index, id, name, &arguments)? {
                    self.part(call(&before), out);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        let part = match self.calls.take() {
            Some(last) => call(&last),
            None => json!({"text": ""}),
        };
        let mut last = self.chunk(part);
        finish(&mut last, stop, tokens);
        let last = self.asked.wrapped(last);
        self.item(&last, out);
        self.close(out);
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        self.item(&error(failed), out);
        self.close(out);
    }

    /// Google's own programs take nothing but data.
    fn comment(&mut self, _: &[u8], _: &mut Vec<u8>) {}
}
