//! The events of a streamed Anthropic message, in their order: `message_start`, for each block
//! `content_block_start`, deltas, `content_block_stop`, then `message_delta` and `message_stop`.

use serde_json::{Value, json};

use super::reply::{error, message, stop as stop_reason, thinking, usage};
use crate::translate::{
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{Block, Blocks, Run, emit},
};

pub(crate) struct Events {
    model: String,
}

impl Events {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
        }
    }
}

fn delta(at: u64, delta: &Value, out: &mut Vec<u8>) {
    let delta = json!({"type": "content_block_delta", "index": at, "delta": delta});
    emit("content_block_delta", &delta, out);
}

impl Blocks for Events {
    fn start(&mut self, head: &Head, out: &mut Vec<u8>) {
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
    }

    fn open(&mut self, at: u64, block: Block<'_>, out: &mut Vec<u8>) {
        let block = match block {
            Block::Reasoning => thinking("", ""),
            Block::Text => json!({"type": "text", "text": ""}),
            Block::Call { id, name } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        };
        let start = json!({"type": "content_block_start", "index": at, "content_block": block});
        emit("content_block_start", &start, out);
    }

    fn reasoning(&mut self, at: u64, text: &str, out: &mut Vec<u8>) {
        delta(at, &json!({"type": "thinking_delta", "thinking": text}), out);
    }

    fn text(&mut self, at: u64, text: &str, out: &mut Vec<u8>) {
        delta(at, &json!({"type": "text_delta", "text": text}), out);
    }

    fn arguments(&mut self, at: u64, source: &str, out: &mut Vec<u8>) {
        delta(
            at,
            &json!({"type": "input_json_delta", "partial_json": source}),
            out,
        );
    }

    fn close(&mut self, at: u64, run: Run, out: &mut Vec<u8>) {
        // As the provider has it: the signature of a thought is its last piece.
        if let Run::Reasoning(name) = run {
            let signature = json!({"type": "signature_delta", "signature": name.mark()});
            delta(at, &signature, out);
        }
        let stop = json!({"type": "content_block_stop", "index": at});
        emit("content_block_stop", &stop, out);
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
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
