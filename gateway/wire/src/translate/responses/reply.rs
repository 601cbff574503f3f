//! An `openai-chat` reply as a Responses object, and the parts of one that the stream needs too.

use serde_json::{Value, json};

use super::FREE_TEXT;
use crate::translate::{
    reasoning::Name,
    reply::{Head, Reply, Stop, Tokens},
};

pub(crate) fn from_chat(reply: Reply, asked_model: &str) -> Value {
    let status = Status::of(&reply.stop);
    let id = &reply.head.id;
    let mut output: Vec<Value> = Vec::new();
    if !reply.reasoning.is_empty() {
        let id = reasoning_id(id, output.len());
        output.push(reasoning(
            &id,
            &[summary(&reply.reasoning.text)],
            Some(reply.reasoning.name),
        ));
    }
    for (run, text) in [(Run::Text, &reply.text), (Run::Refusal, &reply.refusal)] {
        if !text.is_empty() {
            output.push(message(
                &message_id(id, output.len()),
                &[part(run, text)],
                status.of_item(),
            ));
        }
    }
    for made in &reply.calls {
        let id = call_item_id(&made.name, id, output.len());
        output.push(call(&id, &made.id, &made.name, &made.arguments, "completed"));
    }
    response(&reply.head, asked_model, &status, output, Some(reply.usage))
}

/// A run of text within a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Text,
    Refusal,
}

/// How a response stands.
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete(&'static str),
    Failed { code: String, message: String },
}

impl Status {
    pub(super) fn of(stop: &Stop) -> Self {
        match stop {
            Stop::End | Stop::Tools | Stop::Refused | Stop::Sequence(_) => Self::Completed,
            Stop::Length => Self::Incomplete("max_output_tokens"),
            Stop::Filtered => Self::Incomplete("content_filter"),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed { .. } => "failed",
        }
    }

    /// Of an item that was still being written when the response came to stand so.
    pub(super) fn of_item(&self) -> &'static str {
        if matches!(self, Self::Completed) {
            "completed"
        } else {
            "incomplete"
        }
    }
}

pub(super) fn response(
    head: &Head,
    model: &str,
    status: &Status,
    output: Vec<Value>,
    usage: Option<Tokens>,
) -> Value {
    let error = match status {
        Status::Failed { code, message } => json!({"code": code, "message": message}),
        _ => Value::Null,
    };
    let incomplete = match status {
        Status::Incomplete(reason) => json!({"reason": reason}),
        _ => Value::Null,
    };
    json!({
        "id": format!("resp_{}", head.id),
        "object": "response",
        "created_at": head.created,
        "status": status.name(),
        "background": false,
        "error": error,
        "incomplete_details": incomplete,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": null,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "truncation": "disabled",
        "usage": usage.map(tokens),
        "user": null,
    })
}

fn tokens(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input.saturating_add(tokens.output),
    })
}

/// Id of a message item. The provider takes an item back only under the prefix of its kind.
pub(super) fn message_id(reply: &str, index: usize) -> String {
    format!("msg_{reply}_{index}")
}

/// Id of an item that holds what the model thinks.
pub(super) fn reasoning_id(reply: &str, index: usize) -> String {
    format!("rs_{reply}_{index}")
}

/// What the model thinks, once that is whole with the name that the upstream has for it.
pub(super) fn reasoning(id: &str, summary: &[Value], name: Option<Name>) -> Value {
    json!({
        "id": id, "type": "reasoning", "summary": summary, "encrypted_content": name.map(Name::mark),
    })
}

pub(super) fn summary(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

/// Id of an item that holds a tool call.
pub(super) fn call_item_id(name: &str, reply: &str, index: usize) -> String {
    let prefix = if name.starts_with(FREE_TEXT) { "ctc" } else { "fc" };
    format!("{prefix}_{reply}_{index}")
}

pub(super) fn part(run: Run, text: &str) -> Value {
    match run {
        Run::Text => json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}),
        Run::Refusal => json!({"type": "refusal", "refusal": text}),
    }
}

pub(super) fn message(id: &str, content: &[Value], status: &str) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

/// A tool call; one of a free-text tool gets its own name and its bare input back.
pub(super) fn call(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
    match name.strip_prefix(FREE_TEXT) {
        None => json!({
            "id": id, "type": "function_call", "status": status,
            "call_id": call_id, "name": name, "arguments": json_source(arguments),
        }),
        Some(name) => json!({
            "id": id, "type": "custom_tool_call", "status": status,
            "call_id": call_id, "name": name, "input": free_text(arguments),
        }),
    }
}

/// Arguments that a caller can read as JSON even where the model gave none.
fn json_source(arguments: &str) -> &str {
    if arguments.is_empty() { "{}" } else { arguments }
}

/// The input of a free-text tool; arguments of another shape are taken as they are.
pub(super) fn free_text(arguments: &str) -> String {
    serde_json::from_str::<Value>(arguments)
        .ok()
        .and_then(|arguments| Some(arguments.get("input")?.as_str()?.to_owned()))
        .unwrap_or_else(|| arguments.to_owned())
}
