//! An `openai-chat` reply as a completion. There are no tools in this dialect, so none were offered.

use serde_json::{Value, json};

use crate::translate::reply::{Head, Reply, Stop, Tokens};

pub(crate) fn from_chat(reply: &Reply, asked_model: &str) -> Value {
    let mut answer = completion(&reply.head, asked_model);
    answer["choices"] = json!([choice(&reply.words(), Some(&reply.stop))]);
    answer["usage"] = usage(reply.usage);
    answer
}

/// A completion, or a chunk of one, without its choices.
pub(super) fn completion(head: &Head, asked_model: &str) -> Value {
    json!({
        "id": format!("cmpl-{}", head.id),
        "object": "text_completion",
        "created": head.created,
        "model": asked_model,
        "choices": [],
    })
}

pub(super) fn choice(text: &str, stop: Option<&Stop>) -> Value {
    let reason = stop.map(|stop| match stop {
        Stop::Length => "length",
        Stop::Filtered => "content_filter",
        Stop::End | Stop::Tools | Stop::Sequence(_) | Stop::Refused => "stop",
    });
    json!({"text": text, "index": 0, "logprobs": null, "finish_reason": reason})
}

pub(super) fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input.saturating_add(tokens.output),
    })
}
