//! The chunks of a streamed completion, then one with the usage alone and `[DONE]`. Who did not ask for the
//! usage is spared it by the editor behind.

use serde_json::{Value, json};

use super::reply::{choice, completion, usage};
use crate::translate::{
    TranslateError,
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{self, Piece, data, openai_error},
};

pub(crate) struct Writer {
    model: String,
    head: Head,
    started: bool,
}

impl Writer {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            head: Head::unnamed(),
            started: false,
        }
    }

    fn chunk(&self, choices: Value, out: &mut Vec<u8>) {
        let mut chunk = completion(&self.head, &self.model);
        chunk["choices"] = choices;
        data(chunk.to_string(), out);
    }
}

impl stream::Writer for Writer {
    fn start(&mut self, head: &Head, _: &mut Vec<u8>) {
        if !self.started {
            self.head = head.clone();
            self.started = true;
        }
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            // The dialect has no place for it; a comment keeps the connection awake.
            Piece::Reasoning(_) => out.extend_from_slice(b": thinking\n\n"),
            Piece::Text(text) | Piece::Refusal(text) => self.chunk(json!([choice(&text, None)]), out),
            // None were offered, so there is nobody to call.
            Piece::Call { .. } => {}
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        self.chunk(json!([choice("", Some(stop))]), out);
        let mut last = completion(&self.head, &self.model);
        last["usage"] = usage(tokens);
        data(last.to_string(), out);
        data("[DONE]", out);
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        data(openai_error(error).to_string(), out);
    }
}
