//! `anthropic-messages`: every string of a `content_block_delta` is a piece of its block's channel.
//!
//! `content_block_stop` ends the block's channels. Signatures are never touched: they are what lets
//! the provider accept the thinking block again in the next turn.

use super::{
    Facts, Scope, Step,
    read::{index, is_protocol, other_member, others, others_but, piece, pieces},
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
        // What came before messages: a completion, in pieces.
        "completion" => {
            facts.note_model(root.get("model"));
            pieces(root, &["completion"], "completion:", false, steps);
            let ended = root
                .get("stop_reason")
                .is_some_and(|reason| reason.kind() == Kind::String);
            facts.answer(0, ended);
            if ended {
                steps.push(Step::End(Scope::All));
            }
        }
        "error" => {
            facts.fail(steps);
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

fn usage(usage: Option<Value<'_>>, facts: &mut Facts) {
    if let Some(usage) = usage {
        facts.note_counts(usage);
    }
}
