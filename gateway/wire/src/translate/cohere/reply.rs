//! An `openai-chat` reply as Cohere's.

use serde_json::{Value, json};

use crate::translate::reply::{Reply, Stop, Tokens, UpstreamError};

pub(crate) fn from_chat(reply: &Reply) -> Value {
    let words = reply.words();
    let mut message = json!({"role": "assistant"});
    let mut content = Vec::new();
    if !reply.reasoning.is_empty() {
        content.push(json!({"type": "thinking", "thinking": reply.reasoning.text}));
    }
    if !words.is_empty() || reply.calls.is_empty() {
        content.push(json!({"type": "text", "text": words}));
    }
    if !content.is_empty() {
        message["content"] = content.into();
    }
    if !reply.calls.is_empty() {
        let calls = reply.calls.iter().map(|called| {
            // A call without arguments still has to be JSON.
            let arguments = Some(called.arguments.as_str()).filter(|source| !source.trim().is_empty());
            call(&called.id, &called.name, arguments.unwrap_or("{}"))
        });
        message["tool_calls"] = calls.collect();
    }
    json!({
        "id": reply.head.id,
        "finish_reason": stop(&reply.stop),
        "message": message,
        "usage": usage(reply.usage),
    })
}

pub(super) fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

pub(super) fn stop(stop: &Stop) -> &'static str {
    match stop {
        // Where the model declines in words of its own, the words are the answer.
        Stop::End | Stop::Refused => "COMPLETE",
        Stop::Length => "MAX_TOKENS",
        Stop::Tools => "TOOL_CALL",
        Stop::Sequence(_) => "STOP_SEQUENCE",
        // The dialect has no reason of its own for it, and the answer is no whole one.
        Stop::Filtered => "ERROR",
    }
}

pub(super) fn usage(tokens: Tokens) -> Value {
    let counts = json!({"input_tokens": tokens.input, "output_tokens": tokens.output});
    let mut usage = json!({"billed_units": counts, "tokens": counts});
    if tokens.cached > 0 {
        usage["cached_tokens"] = tokens.cached.into();
    }
    usage
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    json!({"message": error.message})
}
