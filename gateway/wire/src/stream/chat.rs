//! `openai-chat` and `openai-completions`: every string under `choices[i].delta` is a piece of a channel, and so is
//! `choices[i].text`.
//!
//! That covers `content`, `refusal`, tool-call arguments, and the names that servers have made up
//! for reasoning (`reasoning_content`, `reasoning`, `reasoning_details[].text`) without listing them.
//! `finish_reason` ends the choice's channels.

use super::{
    Channel, Facts, Scope, Step,
    read::{index, is_protocol, other_member, piece},
};
use crate::json::{Kind, Value};

pub(super) fn read(root: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    facts.note_model(root.get("model"));
    facts.note_counts(root);
    if root.get("error").is_some_and(|error| error.kind() != Kind::Null) {
        facts.fail(steps);
    }
    for (key, value) in root.members() {
        if key.is_text("choices") && value.kind() == Kind::Array {
            for (position, one) in (0..).zip(value.items()) {
                choice(one, position, facts, steps);
            }
        } else {
            other_member(key, value, steps);
        }
    }
}

/// Whether this is the chunk that `stream_options.include_usage` adds: usage, and no choice.
pub(super) fn is_usage_alone(root: Value<'_>) -> bool {
    root.get("usage")
        .is_some_and(|usage| usage.kind() == Kind::Object)
        && root
            .get("choices")
            .is_some_and(|choices| choices.kind() == Kind::Array && choices.items().next().is_none())
}

fn choice(choice: Value<'_>, position: u64, facts: &mut Facts, steps: &mut Vec<Step>) {
    let number = index(choice.get("index"), position);
    let prefix = format!("choice:{number}:");
    let mut ended = false;
    for (key, value) in choice.members() {
        if key.is_text("delta") && value.kind() == Kind::Object {
            delta(value, &prefix, steps);
        } else if key.is_text("text") && value.kind() == Kind::String {
            piece(value, format!("{prefix}text"), false, steps);
        } else {
            ended |= key.is_text("finish_reason") && value.kind() == Kind::String;
            other_member(key, value, steps);
        }
    }
    facts.answer(number, ended);
    if ended {
        steps.push(Step::End(Scope::Under(prefix)));
    }
}

/// The members of a delta: their strings are pieces, named by the way to them.
fn delta(object: Value<'_>, path: &str, steps: &mut Vec<Step>) {
    for (key, value) in object.members() {
        let Some(name) = key.text() else { continue };
        if is_protocol(&name) {
            continue;
        }
        // Ciphertext and sound; and a tool's name, which comes at once.
        let opaque = name == "data" && value.kind() == Kind::String;
        if opaque {
            continue;
        }
        if name == "name" || path.len() + name.len() >= Channel::MAX_BYTES {
            other_member(key, value, steps);
            continue;
        }
        below(value, &format!("{path}{name}"), name == "arguments", steps);
    }
}

fn below(value: Value<'_>, path: &str, arguments: bool, steps: &mut Vec<Step>) {
    match value.kind() {
        Kind::String => piece(value, path.to_owned(), arguments, steps),
        Kind::Object => delta(value, &format!("{path}."), steps),
        Kind::Array => {
            for (position, item) in (0..).zip(value.items()) {
                // Tool calls say which one they continue; other lists go by position.
                let at = index(item.get("index"), position);
                below(item, &format!("{path}.{at}"), arguments, steps);
            }
        }
        _ => {}
    }
}
