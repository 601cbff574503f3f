//! `bedrock-converse`: the strings of a `contentBlockDelta` are pieces of its block's channels.
//!
//! Which event it is stands in the message's header. `metadata` is the last one.

use super::{
    Facts, Scope, Step,
    read::{index, other_member, others_but, pieces},
};
use crate::json::{Kind, Value};

/// Random letters that hide how long a text is.
const PADDING: &str = "p";

pub(super) fn read(root: Value<'_>, name: &str, facts: &mut Facts, steps: &mut Vec<Step>) {
    let prefix = format!("block:{}:", index(root.get("contentBlockIndex"), 0));
    match name {
        "contentBlockDelta" => {
            for (key, value) in root.members() {
                if key.is_text("delta") && value.kind() == Kind::Object {
                    delta(value, &prefix, steps);
                } else if !key.is_text(PADDING) {
                    other_member(key, value, steps);
                }
            }
            return;
        }
        "contentBlockStart" | "contentBlockStop" => steps.push(Step::End(Scope::Under(prefix))),
        "messageStart" => facts.answer(0, false),
        "messageStop" => {
            facts.answer(0, true);
            steps.push(Step::End(Scope::All));
        }
        "metadata" => {
            facts.complete = true;
            steps.push(Step::End(Scope::All));
        }
        _ => {}
    }
    facts.note_counts(root);
    others_but(root, &[PADDING], steps);
}

fn delta(delta: Value<'_>, prefix: &str, steps: &mut Vec<Step>) {
    for (key, value) in delta.members() {
        if key.is_text("text") && value.kind() == Kind::String {
            super::read::piece(value, format!("{prefix}text"), false, steps);
        } else if key.is_text("toolUse") && value.kind() == Kind::Object {
            pieces(value, &["input"], prefix, true, steps);
        } else if key.is_text("reasoningContent") && value.kind() == Kind::Object {
            pieces(value, &["text"], &format!("{prefix}reasoning."), false, steps);
        } else {
            other_member(key, value, steps);
        }
    }
}
