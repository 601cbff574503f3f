//! Gemini's stream: replies one after another, each with what is new, as events or as items of an array. A
//! call comes as a whole; the last reply says why and at what cost the answer ends.

use serde_json::{Value, json};

use super::reply::{call, chunk, error, finish, thought};
use crate::translate::{
    Asked,
    reasoning::Reasoning,
    reply::{Call, Head, Stop, Tokens, UpstreamError},
    stream::{Wholes, data},
};

pub(crate) struct Items {
    asked: Asked,
    model: String,
    /// Whether the array is open.
    open: bool,
}

impl Items {
    pub(crate) fn new(asked: Asked, model: &str) -> Self {
        Self {
            asked,
            model: model.to_owned(),
            open: false,
        }
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

    fn part(&mut self, head: &Head, part: Value, out: &mut Vec<u8>) {
        let item = self.asked.wrapped(chunk(vec![part], &head.id, &self.model));
        self.item(&item, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.asked.as_events() {
            out.extend_from_slice(b"]");
        }
    }
}

impl Wholes for Items {
    fn reasoning(&mut self, head: &Head, piece: &Reasoning, out: &mut Vec<u8>) {
        self.part(head, thought(piece), out);
    }

    fn text(&mut self, head: &Head, text: &str, out: &mut Vec<u8>) {
        self.part(head, json!({"text": text}), out);
    }

    fn call(&mut self, head: &Head, whole: &Call, out: &mut Vec<u8>) {
        self.part(head, call(whole), out);
    }

    fn end(&mut self, head: &Head, last: Option<&Call>, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        let part = last.map_or_else(|| json!({"text": ""}), call);
        let mut last = chunk(vec![part], &head.id, &self.model);
        finish(&mut last, stop, tokens);
        let last = self.asked.wrapped(last);
        self.item(&last, out);
        self.close(out);
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        self.item(&error(failed), out);
        self.close(out);
    }
}
