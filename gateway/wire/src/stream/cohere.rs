//! `cohere`: typed events of the second version, and the lines of the first.
//!
//! `message-end` (or `stream-end`) is the last that says anything; some servers send `[DONE]` behind it.

use super::{
    Facts, Scope, Step,
    read::{index, other_member, others, others_but, piece, pieces},
};
use crate::json::{Kind, Value};

pub(super) fn read(root: Value<'_>, event: &str, facts: &mut Facts, steps: &mut Vec<Step>) {
    let named = root
        .get("type")
        .or_else(|| root.get("event_type"))
        .and_then(|kind| kind.text());
    let number = index(root.get("index"), 0);
    match named.as_deref().unwrap_or(event) {
        "message-start" | "stream-start" => {
            facts.answer(0, false);
            others(root, steps);
        }
        "content-start" | "content-delta" => {
            let prefix = format!("content:{number}:");
            down(
                root,
                &["delta", "message", "content"],
                steps,
                &mut |content, steps| {
                    pieces(content, &["text", "thinking"], &prefix, false, steps);
                },
            );
        }
        "content-end" => ended(root, format!("content:{number}:"), steps),
        "tool-plan-delta" => down(root, &["delta", "message"], steps, &mut |message, steps| {
            pieces(message, &["tool_plan"], "plan:", false, steps);
        }),
        "tool-call-start" | "tool-call-delta" => {
            let prefix = format!("call:{number}:");
            down(
                root,
                &["delta", "message", "tool_calls", "function"],
                steps,
                &mut |function, steps| pieces(function, &["arguments"], &prefix, true, steps),
            );
        }
        "tool-call-end" => ended(root, format!("call:{number}:"), steps),
        "message-end" => {
            let delta = root.get("delta").unwrap_or(root);
            end(delta, facts, steps);
            others(root, steps);
        }
        "text-generation" => pieces(root, &["text"], "text:", false, steps),
        "tool-calls-chunk" => {
            for (key, value) in root.members() {
                if key.is_text("tool_call_delta") && value.kind() == Kind::Object {
                    call_chunk(value, steps);
                } else if key.is_text("text") && value.kind() == Kind::String {
                    piece(value, "plan:text".to_owned(), false, steps);
                } else {
                    other_member(key, value, steps);
                }
            }
        }
        "stream-end" => {
            let reply = root.get("response").unwrap_or(root);
            end(reply, facts, steps);
            if root.get("finish_reason").is_some_and(is_error) {
                facts.failed = true;
            }
            others(root, steps);
        }
        _ => others(root, steps),
    }
}

fn end(told: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    facts.answer(0, true);
    facts.note_counts(told);
    facts.failed |= told.get("finish_reason").is_some_and(is_error);
    steps.push(Step::End(Scope::All));
}

fn is_error(reason: Value<'_>) -> bool {
    reason.text().is_some_and(|reason| reason.starts_with("ERROR"))
}

fn ended(root: Value<'_>, prefix: String, steps: &mut Vec<Step>) {
    steps.push(Step::End(Scope::Under(prefix)));
    others(root, steps);
}

fn call_chunk(call: Value<'_>, steps: &mut Vec<Step>) {
    let prefix = format!("call:{}:", index(call.get("index"), 0));
    if let Some(parameters) = call
        .get("parameters")
        .filter(|value| value.kind() == Kind::String)
    {
        piece(parameters, format!("{prefix}parameters"), true, steps);
        others_but(call, &["parameters"], steps);
    } else {
        pieces(call, &["text"], &prefix, false, steps);
    }
}

/// Goes down through members of those names; what lies beside the way is whole.
fn down(
    object: Value<'_>,
    names: &[&str],
    steps: &mut Vec<Step>,
    found: &mut dyn FnMut(Value<'_>, &mut Vec<Step>),
) {
    let Some((name, further)) = names.split_first() else {
        found(object, steps);
        return;
    };
    for (key, value) in object.members() {
        if key.is_text(name) && value.kind() == Kind::Object {
            down(value, further, steps, found);
        } else {
            other_member(key, value, steps);
        }
    }
}
