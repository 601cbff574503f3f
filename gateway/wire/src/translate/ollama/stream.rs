//! Ollama's stream: one JSON object a line. A call comes as a whole; the last line says why and at what cost
//! the answer ends.

use serde_json::Value;

use super::reply::{call, error, finish, line, think};
use crate::translate::{
    Asked,
    reasoning::Reasoning,
    reply::{Call, Head, Stop, Tokens, UpstreamError},
    stream::Wholes,
};

pub(crate) struct Lines {
    asked: Asked,
    model: String,
}

impl Lines {
    pub(crate) fn new(asked: Asked, model: &str) -> Self {
        Self {
            asked,
            model: model.to_owned(),
        }
    }

    fn line(&self, head: &Head, words: &str, calls: Vec<Value>) -> Value {
        line(self.asked, &self.model, head, words, calls)
    }
}

fn write(line: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

impl Wholes for Lines {
    fn reasoning(&mut self, head: &Head, piece: &Reasoning, out: &mut Vec<u8>) {
        let mut line = self.line(head, "", Vec::new());
        think(&mut line, self.asked, &piece.text);
        write(&line, out);
    }

    fn text(&mut self, head: &Head, text: &str, out: &mut Vec<u8>) {
        write(&self.line(head, text, Vec::new()), out);
    }

    fn call(&mut self, head: &Head, whole: &Call, out: &mut Vec<u8>) {
        write(&self.line(head, "", vec![call(whole)]), out);
    }

    fn end(&mut self, head: &Head, last: Option<&Call>, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        if let Some(last) = last {
            self.call(head, last, out);
        }
        let mut last = self.line(head, "", Vec::new());
        finish(&mut last, stop, tokens);
        write(&last, out);
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        write(&error(failed), out);
    }
}
