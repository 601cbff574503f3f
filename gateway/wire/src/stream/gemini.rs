//! `gemini`: the text of a candidate's parts is a piece of its channel, its thoughts of another.
//!
//! Each chunk is a whole reply of what is new. `finishReason` ends a candidate; a prompt that is blocked has none.
//! Gemini CLI's chunks hold the reply in `response`.

use super::{
    Facts, Scope, Step,
    read::{index, other_member, others_but, piece},
};
use crate::json::{Kind, Value};

pub(super) fn read(root: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    if root.get("error").is_some() {
        facts.fail(steps);
    }
    facts.note_counts(root);
    match root.get("response").filter(|reply| reply.kind() == Kind::Object) {
        Some(inner) => {
            reply(inner, facts, steps);
            others_but(root, &["response"], steps);
        }
        None => reply(root, facts, steps),
    }
}

fn reply(root: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    facts.note_model(root.get("modelVersion"));
    let blocked = root
        .get("promptFeedback")
        .is_some_and(|feedback| feedback.get("blockReason").is_some());
    if blocked {
        facts.answer(0, true);
    }
    for (key, value) in root.members() {
        if key.is_text("candidates") && value.kind() == Kind::Array {
            for (position, one) in (0..).zip(value.items()) {
                candidate(one, position, facts, steps);
            }
        } else {
            other_member(key, value, steps);
        }
    }
}

fn candidate(candidate: Value<'_>, position: u64, facts: &mut Facts, steps: &mut Vec<Step>) {
    let number = index(candidate.get("index"), position);
    let prefix = format!("candidate:{number}:");
    let mut ended = false;
    for (key, value) in candidate.members() {
        if key.is_text("content") && value.kind() == Kind::Object {
            for (key, value) in value.members() {
                if key.is_text("parts") && value.kind() == Kind::Array {
                    value.items().for_each(|one| part(one, &prefix, steps));
                } else {
                    other_member(key, value, steps);
                }
            }
        } else {
            ended |= key.is_text("finishReason") && value.kind() == Kind::String;
            other_member(key, value, steps);
        }
    }
    facts.answer(number, ended);
    if ended {
        steps.push(Step::End(Scope::Under(prefix)));
    }
}

fn part(part: Value<'_>, prefix: &str, steps: &mut Vec<Step>) {
    let is_thought = part.get("thought").and_then(|thought| thought.as_bool()) == Some(true);
    let run = if is_thought { "thought" } else { "text" };
    for (key, value) in part.members() {
        if key.is_text("text") && value.kind() == Kind::String {
            piece(value, format!("{prefix}{run}"), false, steps);
        } else {
            other_member(key, value, steps);
        }
    }
}
