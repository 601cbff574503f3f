//! The messages of `converse-stream`, in their order: `messageStart`, for each block its deltas and
//! `contentBlockStop`, then `messageStop` and `metadata`. Only a call is announced by `contentBlockStart`.

use serde_json::{Value, json};

use super::reply::{error, exception, metrics, stop as stop_reason, usage};
use crate::{
    event_stream,
    translate::{
        reply::{Head, Stop, Tokens, UpstreamError},
        stream::{Block, Blocks, Run},
    },
};

pub(crate) struct Events;

fn event(name: &str, payload: &Value, out: &mut Vec<u8>) {
    event_stream::event(name, payload.to_string().as_bytes(), out);
}

fn delta(at: u64, delta: &Value, out: &mut Vec<u8>) {
    event(
        "contentBlockDelta",
        &json!({"contentBlockIndex": at, "delta": delta}),
        out,
    );
}

impl Blocks for Events {
    fn start(&mut self, _: &Head, out: &mut Vec<u8>) {
        event("messageStart", &json!({"role": "assistant"}), out);
    }

    fn open(&mut self, at: u64, block: Block<'_>, out: &mut Vec<u8>) {
        if let Block::Call { id, name } = block {
            let start = json!({"toolUse": {"toolUseId": id, "name": name}});
            event(
                "contentBlockStart",
                &json!({"contentBlockIndex": at, "start": start}),
                out,
            );
        }
    }

    fn reasoning(&mut self, at: u64, text: &str, out: &mut Vec<u8>) {
        delta(at, &json!({"reasoningContent": {"text": text}}), out);
    }

    fn text(&mut self, at: u64, text: &str, out: &mut Vec<u8>) {
        delta(at, &json!({"text": text}), out);
    }

    fn arguments(&mut self, at: u64, source: &str, out: &mut Vec<u8>) {
        delta(at, &json!({"toolUse": {"input": source}}), out);
    }

    fn close(&mut self, at: u64, run: Run, out: &mut Vec<u8>) {
        if let Run::Reasoning(name) = run {
            delta(at, &json!({"reasoningContent": {"signature": name.mark()}}), out);
        }
        event("contentBlockStop", &json!({"contentBlockIndex": at}), out);
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        event("messageStop", &json!({"stopReason": stop_reason(stop)}), out);
        event(
            "metadata",
            &json!({"usage": usage(tokens), "metrics": metrics()}),
            out,
        );
    }

    fn fail(&mut self, failed: &UpstreamError, out: &mut Vec<u8>) {
        event_stream::exception(exception(failed), error(failed).to_string().as_bytes(), out);
    }

    /// Binary messages have no comments.
    fn comment(&mut self, _: &[u8], _: &mut Vec<u8>) {}
}
