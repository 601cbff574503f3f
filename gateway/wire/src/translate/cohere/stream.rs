//! Cohere's events, in their order: `message-start`, for each text `content-start`, deltas and `content-end`, for each
//! call `tool-call-start`, deltas and `tool-call-end`, then `message-end`. Texts and calls are numbered apart.

use serde_json::{Value, json};

use super::reply::{call, stop as stop_reason, usage};
use crate::translate::{
    reply::{Head, Stop, Tokens, UpstreamError},
    stream::{Block, Blocks, Run, emit},
};

#[derive(Default)]
pub(crate) struct Events {
    texts: u64,
    calls: u64,
}

fn event(name: &str, index: u64, message: &Value, out: &mut Vec<u8>) {
    let data = json!({"type": name, "index": index, "delta": {"message": message}});
    emit(name, &data, out);
}

impl Blocks for Events {
    fn start(&mut self, head: &Head, out: &mut Vec<u8>) {
        let message =
            json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
        let data = json!({"type": "message-start", "id": head.id, "delta": {"message": message}});
        emit("message-start", &data, out);
    }

    fn open(&mut self, _: u64, block: Block<'_>, out: &mut Vec<u8>) {
        match block {
            Block::Reasoning => {
                let content = json!({"content": {"type": "thinking", "thinking": ""}});
                event("content-start", self.texts, &content, out);
            }
            Block::Text => {
                let content = json!({"content": {"type": "text", "text": ""}});
                event("content-start", self.texts, &content, out);
            }
            Block::Call { id, name } => {
                event(
                    "tool-call-start",
                    self.calls,
                    &json!({"tool_calls": call(id, name, "")}),
                    out,
                );
            }
        }
    }

    fn reasoning(&mut self, _: u64, text: &str, out: &mut Vec<u8>) {
        let content = json!({"content": {"thinking": text}});
        event("content-delta", self.texts, &content, out);
    }

    fn text(&mut self, _: u64, text: &str, out: &mut Vec<u8>) {
        event(
            "content-delta",
            self.texts,
            &json!({"content": {"text": text}}),
            out,
        );
    }

    fn arguments(&mut self, _: u64, source: &str, out: &mut Vec<u8>) {
        event(
            "tool-call-delta",
            self.calls,
            &json!({"tool_calls": {"function": {"arguments": source}}}),
            out,
        );
    }

    fn close(&mut self, _: u64, run: Run, out: &mut Vec<u8>) {
        let (name, count) = match run {
            Run::Reasoning(_) | Run::Text => ("content-end", &mut self.texts),
            Run::Call(_) => ("tool-call-end", &mut self.calls),
        };
        emit(name, &json!({"type": name, "index": *count}), out);
        *count += 1;
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        let delta = json!({"finish_reason": stop_reason(stop), "usage": usage(tokens)});
        emit(
            "message-end",
            &json!({"type": "message-end", "delta": delta}),
            out,
        );
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        let delta = json!({"finish_reason": "ERROR", "error": failed.message});
        emit(
            "message-end",
            &json!({"type": "message-end", "delta": delta}),
            out,
        );
    }
}
