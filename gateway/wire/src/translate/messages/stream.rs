//! The events of a streamed Anthropic message, in their order: `message_start`, for each block
//! `content_block_start`, deltas, `content_block_stop`, then `message_delta` and `message_stop`.

use serde_json::{Value, json};

use super::reply::{message, stop as stop_reason, usage};
use crate::translate::{
    TranslateError,
    reply::{Head, Stop, Tokens},
    stream::{INTERLEAVED, NAMELESS, Piece, emit, head},
};

pub(crate) struct Writer {
    model: String,
    head: Option<Head>,
    /// Index of the next block, which is how many there were.
    next: u64,
    open: Option<Block>,
    /// The highest tool call so far.
    call: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Call(u64),
}

impl Writer {
    pub(crate) fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            head: None,
            next: 0,
            open: None,
            call: None,
        }
    }

    /// The first chunk starts the message.
    pub(crate) fn start(&mut self, chunk: &Value, out: &mut Vec<u8>) {
        if self.head.is_none() {
            self.begin(head(chunk), out);
        }
    }

    fn begin(&mut self, head: Head, out: &mut Vec<u8>) {
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
        self.head = Some(head);
    }

    pub(crate) fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            Piece::Thinking => emit("ping", &json!({"type": "ping"}), out),
            Piece::Text(text) | Piece::Refusal(text) => {
                self.open(Block::Text, || json!({"type": "text", "text": ""}), out);
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                if self.open != Some(Block::Call(index)) {
                    if self.call.is_some_and(|last| index <= last) {
                        // An empty delta behind a call's end says nothing.
                        return if arguments.is_empty() {
                            Ok(())
                        } else {
                            Err(INTERLEAVED)
                        };
                    }
                    if name.is_empty() {
                        return Err(NAMELESS);
                    }
                    let given = self.head.as_ref().filter(|_| id.is_empty());
                    let id = given.map_or(id, |head| head.call_id(index));
                    self.call = Some(index);
                    let block = || json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                    self.open(Block::Call(index), block, out);
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

    pub(crate) fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        self.start(&Value::Null, out);
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

    fn open(&mut self, block: Block, start: impl FnOnce() -> Value, out: &mut Vec<u8>) {
        if self.open == Some(block) {
            return;
        }
        self.close(out);
        let start = json!({"type": "content_block_start", "index": self.next, "content_block": start()});
        emit("content_block_start", &start, out);
        self.next += 1;
        self.open = Some(block);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            let stop = json!({"type": "content_block_stop", "index": self.next - 1});
            emit("content_block_stop", &stop, out);
        }
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let index = self.next.saturating_sub(1);
        emit(
            "content_block_delta",
            &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            out,
        );
    }
}
