//! `ollama`: the content and the thoughts of a message, and the response to a prompt, in pieces.
//!
//! `done` ends the stream; tool calls come whole.

use super::{
    Facts, Scope, Step,
    read::{other_member, piece, pieces},
};
use crate::json::{Kind, Value};

const TEXTS: &[&str] = &["response", "thinking"];

pub(super) fn read(root: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    facts.note_model(root.get("model"));
    facts.note_counts(root);
    if root.get("error").is_some() {
        facts.fail(steps);
    }
    for (key, value) in root.members() {
        if key.is_text("message") && value.kind() == Kind::Object {
            pieces(value, &["content", "thinking"], "message:", false, steps);
        } else if let Some(name) = TEXTS
            .iter()
            .find(|name| key.is_text(name) && value.kind() == Kind::String)
        {
            piece(value, (*name).to_owned(), false, steps);
        } else {
            other_member(key, value, steps);
        }
    }
    if root.get("done").and_then(|done| done.as_bool()) == Some(true) {
        facts.complete = true;
        steps.push(Step::End(Scope::All));
    }
}
