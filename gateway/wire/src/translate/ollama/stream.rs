//! Ollama's stream: one JSON object a line. A call comes as a whole; the last line says why and at what cost
//! the answer ends.

use serde_json::Value;

use super::reply::{call, error, finish, line};
use crate::translate::{
    Asked, TranslateError,
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{self, Piece, Whole},
};

pub(crate) struct Writer {
    asked: Asked,
    model: String,
    head: Option<Head>,
    calls: Whole,
}

impl Writer {
    pub(crate) fn new(asked: Asked, model: &str) -> Self {
        Self {
            asked,
            model: model.to_owned(),
            head: None,
            calls: Whole::default(),
        }
    }

    fn line(&self, words: &str, calls: Vec<Value>) -> Value {
        let unnamed = Head::unnamed();
        let head = self.head.as_ref().unwrap_or(&unnamed);
        line(self.asked, &self.model, head, words, calls)
    }
}

fn write(line: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
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
                    write(&self.line("", vec![call(&before)]), out);
                }
                write(&self.line(&text, Vec::new()), out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                let head = self.head.as_ref();
                if let Some(before) = self.calls.piece(head, index, id, name, &arguments)? {
                    write(&self.line("", vec![call(&before)]), out);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        if let Some(last) = self.calls.take() {
            write(&self.line("", vec![call(&last)]), out);
        }
        let mut last = self.line("", Vec::new());
        finish(&mut last, stop, tokens);
        write(&last, out);
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        write(&error(failed), out);
    }

    /// Lines have no comments.
    fn comment(&mut self, _: &[u8], _: &mut Vec<u8>) {}
}
