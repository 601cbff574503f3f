//! An `openai-chat` reply as Ollama's.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::translate::{
    Asked,
    reply::{Call, Head, Reply, Stop, Tokens, UpstreamError},
};

pub(crate) fn from_chat(reply: &Reply, asked: Asked, asked_model: &str) -> Value {
    let calls: Vec<Value> = reply.calls.iter().map(call).collect();
    let mut answer = line(asked, asked_model, &reply.head, &reply.words(), calls);
    if !reply.reasoning.is_empty() {
        think(&mut answer, asked, &reply.reasoning.text);
    }
    finish(&mut answer, &reply.stop, reply.usage);
    answer
}

/// A reply, or a line of one.
pub(super) fn line(asked: Asked, asked_model: &str, head: &Head, words: &str, calls: Vec<Value>) -> Value {
    let mut line = json!({"model": asked_model, "created_at": moment(head.created), "done": false});
    if asked.is_prompt() {
        line["response"] = words.into();
        return line;
    }
    line["message"] = json!({"role": "assistant", "content": words});
    if !calls.is_empty() {
        line["message"]["tool_calls"] = calls.into();
    }
    line
}

/// Adds what the model thinks.
pub(super) fn think(line: &mut Value, asked: Asked, thought: &str) {
    let holder = if asked.is_prompt() {
        line
    } else {
        &mut line["message"]
    };
    holder["thinking"] = thought.into();
}

/// Says why and at what cost a reply ends. Durations are the engine's to know, and are left out.
pub(super) fn finish(answer: &mut Value, stop: &Stop, tokens: Tokens) {
    answer["done"] = true.into();
    answer["done_reason"] = match stop {
        Stop::Length => "length",
        Stop::End | Stop::Tools | Stop::Sequence(_) | Stop::Refused | Stop::Filtered => "stop",
    }
    .into();
    answer["prompt_eval_count"] = tokens.input.into();
    answer["eval_count"] = tokens.output.into();
}

pub(super) fn call(call: &Call) -> Value {
    json!({"id": call.id, "function": {"name": call.name, "arguments": call.input()}})
}

pub(crate) fn error(error: &UpstreamError) -> Value {
    json!({"error": error.message})
}

/// Seconds since 1970 as RFC 3339 has them.
fn moment(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&Rfc3339)
        .unwrap_or_default()
}
