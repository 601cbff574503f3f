//! An `openai-chat` reply as Bedrock's `converse` has it.

use serde_json::{Value, json};

use crate::translate::reply::{Blame, Reply, Stop, Tokens, UpstreamError};

pub(crate) fn from_chat(reply: &Reply) -> Value {
    let words = reply.words();
    let mut content = Vec::new();
    if !reply.reasoning.is_empty() {
        let thought = json!({"text": reply.reasoning.text, "signature": reply.reasoning.name.mark()});
        content.push(json!({"reasoningContent": {"reasoningText": thought}}));
    }
    if !words.is_empty() || reply.calls.is_empty() {
        content.push(json!({"text": words}));
    }
    for call in &reply.calls {
        content.push(json!({
            "toolUse": {"toolUseId": call.id, "name": call.name, "input": call.input()},
        }));
    }
    json!({
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop(&reply.stop),
        "usage": usage(reply.usage),
        "metrics": metrics(),
    })
}

/// The member has to be there. How long the model took is not measured here.
pub(super) fn metrics() -> Value {
    json!({"latencyMs": 0})
}

pub(super) fn stop(stop: &Stop) -> &'static str {
    match stop {
        // Where the model declines in words of its own, the words are the answer.
        Stop::End | Stop::Refused => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Filtered => "content_filtered",
        Stop::Sequence(_) => "stop_sequence",
    }
}

/// Amazon counts cached input apart.
pub(super) fn usage(tokens: Tokens) -> Value {
    let mut usage = json!({
        "inputTokens": tokens.input.saturating_sub(tokens.cached),
        "outputTokens": tokens.output,
        "totalTokens": tokens.input.saturating_add(tokens.output),
    });
    if tokens.cached > 0 {
        usage["cacheReadInputTokens"] = tokens.cached.min(tokens.input).into();
    }
    usage
}

/// The name of an exception, as streams have it.
pub(super) fn exception(error: &UpstreamError) -> &'static str {
    match error.blame() {
        Blame::Request | Blame::Missing => "validationException",
        Blame::Rate => "throttlingException",
        Blame::Overload => "serviceUnavailableException",
        Blame::Upstream => "modelStreamErrorException",
    }
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    json!({"message": error.message})
}
