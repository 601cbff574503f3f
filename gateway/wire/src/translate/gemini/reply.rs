//! An `openai-chat` reply as Gemini's.

use serde_json::{Value, json};

use crate::translate::{
    reasoning::Reasoning,
    reply::{Blame, Call, Reply, Stop, Tokens, UpstreamError},
};

pub(crate) fn from_chat(reply: Reply, asked_model: &str) -> Value {
    let words = reply.words();
    let mut parts = Vec::new();
    if !reply.reasoning.is_empty() {
        parts.push(thought(&reply.reasoning));
    }
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

pub(super) fn thought(thought: &Reasoning) -> Value {
    json!({"text": thought.text, "thought": true, "thoughtSignature": thought.name.mark()})
}

pub(super) fn call(call: &Call) -> Value {
    json!({"functionCall": {"id": call.id, "name": call.name, "args": call.input()}})
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    let (code, status) = match error.blame() {
        Blame::Request => (400, "INVALID_ARGUMENT"),
        Blame::Missing => (404, "NOT_FOUND"),
        Blame::Rate => (429, "RESOURCE_EXHAUSTED"),
        Blame::Overload => (503, "UNAVAILABLE"),
        Blame::Upstream => (500, "INTERNAL"),
    };
    json!({"error": {"code": code, "message": error.message, "status": status}})
}
