//! The events of a streamed Anthropic message, in their order: `message_start`, for each block
//! `content_block_start`, deltas, `content_block_stop`, then `message_delta` and `message_stop`.

use serde_json::{Value, json};

use super::reply::{error, message, stop as stop_reason, usage};
use crate::translate::{
    TranslateError,
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{self, Piece, Run, Runs, emit},
};

pub(crate) struct Writer {
    model: String,
    head: Option<Head>,
    runs: Runs,
}

impl Writer {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            head: None,
            runs: Runs::default(),
        }
    }

    fn open(&mut self, run: Run, block: &Value, out: &mut Vec<u8>) {
        self.close(out);
        self.runs.begin(run);
        let start =
            json!({"type": "content_block_start", "index": self.runs.index(), "content_block": block});
        emit("content_block_start", &start, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.runs.close().is_some() {
            let stop = json!({"type": "content_block_stop", "index": self.runs.index()});
            emit("content_block_stop", &stop, out);
        }
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let delta = json!({"type": "content_block_delta", "index": self.runs.index(), "delta": delta});
        emit("content_block_delta", &delta, out);
    }
}

impl stream::Writer for Writer {
    fn start(&mut self, head: &Head, out: &mut Vec<u8>) {
        if self.head.is_some() {
            return;
        }
        let message = message(
            &head.id,
            &self.model,
            Vec::new(),
            Value::Null,
            Value::Null,
            usage(Tokens::default()),
        );
        emit(
            "message_start",
            &json!({"type": "message_start", "message": message}),
            out,
        );
        self.head = Some(head.clone());
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            Piece::Thinking => emit("ping", &json!({"type": "ping"}), out),
            Piece::Text(text) | Piece::Refusal(text) => {
                if self.runs.open() != Some(Run::Text) {
                    self.open(Run::Text, &json!({"type": "text", "text": ""}), out);
                }
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                match self.runs.begins(index, &name, &arguments)? {
                    None => return Ok(()),
                    Some(true) => {
                        let given = self.head.as_ref().filter(|_| id.is_empty());
                        let id = given.map_or(id, |head| head.call_id(index));
                        let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                        self.open(Run::Call(index), &block, out);
                    }
                    Some(false) => {}
                }
                if !arguments.is_empty() {
                    self.delta(
                        &json!({"type": "input_json_delta", "partial_json": arguments}),
                        out,
                    );
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        self.start(&Head::unnamed(), out);
        self.close(out);
        let (reason, sequence) = stop_reason(stop);
        let delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage(tokens),
        });
        emit("message_delta", &delta, out);
        emit("message_stop", &json!({"type": "message_stop"}), out);
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        emit("error", &error(failed), out);
    }
}
