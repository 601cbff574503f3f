//! An `openai-chat` reply as an Anthropic message.

use serde_json::{Value, json};

use crate::translate::reply::{Blame, Reply, Stop, Tokens, UpstreamError};

pub(crate) fn from_chat(reply: Reply, asked_model: &str) -> Value {
    let mut content = Vec::new();
    if !reply.reasoning.is_empty() {
        content.push(thinking(&reply.reasoning.text, reply.reasoning.name.mark()));
    }
    for text in [&reply.text, &reply.refusal] {
        if !text.is_empty() {
            content.push(json!({"type": "text", "text": text}));
        }
    }
    for call in &reply.calls {
        content.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input()}));
    }
    let (stop_reason, stop_sequence) = stop(&reply.stop);
    message(
        &reply.head.id,
        asked_model,
        content,
        stop_reason.into(),
        stop_sequence,
        usage(reply.usage),
    )
}

/// A block of what the model thinks.
pub(super) fn thinking(text: &str, signature: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": signature})
}

pub(super) fn message(
    id: &str,
    model: &str,
    content: Vec<Value>,
    stop_reason: Value,
    stop_sequence: Value,
    usage: Value,
) -> Value {
    json!({
        "id": format!("msg_{id}"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": usage,
    })
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    let kind = match error.blame() {
        Blame::Request => "invalid_request_error",
        Blame::Missing => "not_found_error",
        Blame::Rate => "rate_limit_error",
        Blame::Overload => "overloaded_error",
        Blame::Upstream => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": error.message}})
}

/// The stop reason and the stop sequence.
pub(super) fn stop(stop: &Stop) -> (&'static str, Value) {
    match stop {
        Stop::End => ("end_turn", Value::Null),
        Stop::Length => ("max_tokens", Value::Null),
        Stop::Tools => ("tool_use", Value::Null),
        Stop::Refused | Stop::Filtered => ("refusal", Value::Null),
        Stop::Sequence(sequence) => ("stop_sequence", sequence.as_str().into()),
    }
}

/// Anthropic counts cached input apart.
pub(super) fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input.saturating_sub(tokens.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached.min(tokens.input),
        "output_tokens": tokens.output,
    })
}
