//! `bedrock-invoke`: chunks of whichever provider's own form.
//!
//! Anthropic's and OpenAI's forms are read as those dialects are, Nova's as `converse` is, and of the others the text
//! that they are known by. Bedrock puts its own counts into the last chunk.

use super::{
    Facts, Scope, Step, chat, converse, messages,
    read::{index, other_member, pieces},
};
use crate::json::{Kind, Value};

const COUNTS: &str = "amazon-bedrock-invocationMetrics";

/// Llama's, Titan's, Cohere's and the older Claude's.
const TEXTS: &[&str] = &["generation", "outputText", "text", "completion"];

/// Nova's, each an object of its own.
const NOVA: &[&str] = &[
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
];

pub(super) fn read(root: Value<'_>, facts: &mut Facts, steps: &mut Vec<Step>) {
    let nova = |key: Value<'_>| NOVA.iter().copied().find(|name| key.is_text(name));
    if root.get("type").is_some() {
        messages::read(root, "", facts, steps);
    } else if root.get("choices").is_some() {
        chat::read(root, facts, steps);
    } else {
        pieces_of(root, nova, facts, steps);
    }
    if root.get(COUNTS).is_some() {
        facts.complete = true;
        facts.note_counts(root);
        steps.push(Step::End(Scope::All));
    }
}

fn pieces_of(
    root: Value<'_>,
    nova: impl Fn(Value<'_>) -> Option<&'static str>,
    facts: &mut Facts,
    steps: &mut Vec<Step>,
) {
    for (key, value) in root.members() {
        if let Some(name) = nova(key).filter(|_| value.kind() == Kind::Object) {
            converse::read(value, name, facts, steps);
        } else if let Some(name) = TEXTS
            .iter()
            .find(|name| key.is_text(name) && value.kind() == Kind::String)
        {
            super::read::piece(value, (*name).to_owned(), false, steps);
        } else if key.is_text("outputs") && value.kind() == Kind::Array {
            // Mistral's.
            for (position, output) in (0..).zip(value.items()) {
                let prefix = format!("output:{}:", index(output.get("index"), position));
                pieces(output, &["text"], &prefix, false, steps);
            }
        } else {
            other_member(key, value, steps);
        }
    }
}
