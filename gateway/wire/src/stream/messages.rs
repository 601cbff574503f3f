//! `anthropic-messages`: every string of a `content_block_delta` is a piece of its block's channel.
//!
//! `content_block_stop` ends the block's channels. Signatures are never touched: they are what lets
//! the provider accept the thinking block again in the next turn.

use super::{
    Facts, Scope, Step,
    read::{index, is_protocol, other_member, others, others_but, piece},
};
use crate::json::{Kind, Value};

pub(super) fn read(root: Value<'_>, event: &str, facts: &mut Facts, steps: &mut Vec<Step>) {
    let named = root.get("type").and_then(|kind| kind.text());
    let prefix = || format!("block:{}:", index(root.get("index"), 0));
    match named.as_deref().unwrap_or(event) {
        "message_start" => {
            if let Some(message) = root.get("message") {
                facts.note_model(message.get("model"));
                usage(message.get("usage"), facts);
            }
            others(root, steps);
        }
        "content_block_start" => {
            let prefix = prefix();
            steps.push(Step::End(Scope::Under(prefix.clone())));
            for (key, value) in root.members() {
                if key.is_text("content_block") && value.kind() == Kind::Object {
                    // The first words of the block's text; the deltas continue them.
                    block_members(value, &["text", "thinking"], &prefix, steps);
                } else {
                    other_member(key, value, steps);
                }
            }
        }
        "content_block_delta" => {
            let prefix = prefix();
            for (key, value) in root.members() {
                if key.is_text("delta") && value.kind() == Kind::Object {
                    delta(value, &prefix, steps);
                } else {
                    other_member(key, value, steps);
                }
            }
        }
        "content_block_stop" => {
            steps.push(Step::End(Scope::Under(prefix())));
            others(root, steps);
        }
        "message_delta" => {
            steps.push(Step::End(Scope::All));
            usage(root.get("usage"), facts);
            others(root, steps);
        }
        "message_stop" => {
            facts.complete = true;
            steps.push(Step::End(Scope::All));
            others(root, steps);
        }
        "error" => {
            facts.complete = true;
            facts.failed = true;
            steps.push(Step::End(Scope::All));
            others(root, steps);
        }
        _ => others(root, steps),
    }
}

fn delta(object: Value<'_>, prefix: &str, steps: &mut Vec<Step>) {
    for (key, value) in object.members() {
        let Some(name) = key.text() else { continue };
        if value.kind() == Kind::String && !is_protocol(&name) {
            piece(value, format!("{prefix}{name}"), name == "partial_json", steps);
        } else {
            other_member(key, value, steps);
        }
    }
}

fn block_members(block: Value<'_>, pieces: &[&str], prefix: &str, steps: &mut Vec<Step>) {
    // Ciphertext: nothing in it can be rewritten.
    let redacted = block
        .get("type")
        .is_some_and(|kind| kind.is_text("redacted_thinking"));
    for name in pieces {
        if let Some(value) = block.get(name) {
            piece(value, format!("{prefix}{name}"), false, steps);
        }
    }
    let data: &[&str] = if redacted { &["data"] } else { &[] };
    let except: Vec<&str> = pieces.iter().chain(data).copied().collect();
    others_but(block, &except, steps);
}

/// Input counts what was read from and written to the cache too: all of it was sent.
fn usage(usage: Option<Value<'_>>, facts: &mut Facts) {
    let Some(usage) = usage else { return };
    let count = |name: &str| usage.get(name).and_then(|n| n.as_u64());
    if let Some(input) = count("input_tokens") {
        let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"]
            .iter()
            .filter_map(|name| count(name))
            .fold(0, u64::saturating_add);
        facts.input = Some(input.saturating_add(cached));
    }
    facts.output = count("output_tokens").or(facts.output);
}
