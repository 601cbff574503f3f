//! An `openai-chat` reply as Gemini's.

use serde_json::{Value, json};

use crate::translate::reply::{Call, Reply, Stop, Tokens, UpstreamError};

pub(crate) fn from_chat(reply: Reply, asked_model: &str) -> Value {
    let words = reply.words();
    let mut parts = Vec::new();
    if !words.is_empty() || reply.calls.is_empty() {
        parts.push(json!({"text": words}));
    }
    parts.extend(reply.calls.iter().map(call));
    let mut answer = chunk(parts, &reply.head.id, asked_model);
    finish(&mut answer, &reply.stop, reply.usage);
    answer
}

/// A reply, or a piece of one, with these parts.
pub(super) fn chunk(parts: Vec<Value>, id: &str, asked_model: &str) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
        "modelVersion": asked_model,
        "responseId": id,
    })
}

/// Says why and at what cost a reply ends.
pub(super) fn finish(answer: &mut Value, stop: &Stop, tokens: Tokens) {
    answer["candidates"][0]["finishReason"] = match stop {
        // Where the model declines in words of its own, the words are the answer.
        Stop::End | Stop::Tools | Stop::Sequence(_) | Stop::Refused => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Filtered => "SAFETY",
    }
    .into();
    let mut usage = json!({
        "promptTokenCount": tokens.input,
        "candidatesTokenCount": tokens.output.saturating_sub(tokens.reasoning),
        "totalTokenCount": tokens.input.saturating_add(tokens.output),
    });
    if tokens.cached > 0 {
        usage["cachedContentTokenCount"] = tokens.cached.into();
    }
    if tokens.reasoning > 0 {
        usage["thoughtsTokenCount"] = tokens.reasoning.into();
    }
    answer["usageMetadata"] = usage;
}

pub(super) fn call(call: &Call) -> Value {
    json!({"functionCall": {"id": call.id, "name": call.name, "args": call.input()}})
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    let (code, status) = match (error.kind.as_str(), error.code.as_deref()) {
        // The engine's own limits are the request's to keep.
        (_, Some("context_length_exceeded"))
        | ("invalid_request_error" | "BadRequestError" | "exceed_context_size_error", _) => {
            (400, "INVALID_ARGUMENT")
        }
        ("not_found_error" | "NotFoundError", _) => (404, "NOT_FOUND"),
        ("rate_limit_error", _) => (429, "RESOURCE_EXHAUSTED"),
        ("overloaded_error" | "unavailable_error", _) => (503, "UNAVAILABLE"),
        _ => (500, "INTERNAL"),
    };
    json!({"error": {"code": code, "message": error.message, "status": status}})
}
