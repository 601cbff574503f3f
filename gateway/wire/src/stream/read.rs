//! What an event asks to be done, in its own order, and what it tells about the reply.

use std::{collections::BTreeSet, ops::Range};

use super::Channel;
use crate::{
    Usage,
    json::{Kind, OffsetMap, Value},
    reply::counts,
};

/// One thing to do about an event.
pub(super) enum Step {
    /// A piece of a channel's text.
    Piece {
        text: Located,
        channel: Channel,
        arguments: bool,
    },
    /// A text that is all there.
    Whole { text: Located, arguments: bool },
    /// Channels end here.
    End(Scope),
}

/// A string's decoded text and where its content lies in the event's data.
pub(super) struct Located {
    pub(super) text: String,
    pub(super) span: Range<usize>,
    pub(super) map: OffsetMap,
}

impl Located {
    fn of(value: Value<'_>) -> Option<Self> {
        let (text, map) = value.decoded()?;
        Some(Self {
            text: text.into_owned(),
            span: value.content_span(),
            map,
        })
    }
}

/// Which channels an event ends.
pub(super) enum Scope {
    All,
    One(Channel),
    /// Those whose name starts so; a prefix ends in `:`, so that item 1 does not end item 10.
    Under(String),
}

impl Scope {
    pub(super) fn covers(&self, channel: &Channel) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == channel,
            Self::Under(prefix) => channel.0.starts_with(prefix),
        }
    }
}

/// What a stream has told about its reply.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) model: Option<String>,
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) complete: bool,
    pub(super) failed: bool,
    /// Answers that have begun and not ended, by their number.
    going: BTreeSet<u64>,
    /// An answer has ended.
    ended: bool,
    /// Of patches: where the last one went, and whether it was appended there.
    pub(super) patched: Option<(String, bool)>,
    /// Of the Responses dialect.
    pub(super) response: Option<String>,
    pub(super) sequence: Option<u64>,
}

impl Facts {
    /// The longest model name or id that is remembered.
    const MAX_NAME: usize = 256;
    /// Answers that are told apart; a stream with more of them needs a closing event.
    const MAX_GOING: usize = 1024;

    pub(super) fn usage(&self) -> Option<Usage> {
        (self.input.is_some() || self.output.is_some()).then(|| Usage {
            input: self.input.unwrap_or(0),
            output: self.output.unwrap_or(0),
        })
    }

    /// An answer goes on, or has ended.
    pub(super) fn answer(&mut self, number: u64, ended: bool) {
        if ended {
            self.ended = true;
            self.going.remove(&number);
        } else if self.going.len() < Self::MAX_GOING {
            self.going.insert(number);
        }
    }

    /// Whether every answer has ended, so that the stream may close.
    pub(super) fn is_settled(&self) -> bool {
        self.ended && self.going.is_empty()
    }

    /// The upstream reports an error; nothing that counts follows.
    pub(super) fn fail(&mut self, steps: &mut Vec<Step>) {
        self.complete = true;
        self.failed = true;
        steps.push(Step::End(Scope::All));
    }

    /// What an event tells of LLM tokens.
    pub(super) fn note_counts(&mut self, object: Value<'_>) {
        let (input, output) = counts(object);
        self.input = input.or(self.input);
        self.output = output.or(self.output);
    }

    pub(super) fn note_model(&mut self, model: Option<Value<'_>>) {
        if let Some(name) = short_text(model, Self::MAX_NAME) {
            self.model = Some(name);
        }
    }

    pub(super) fn note_response(&mut self, id: Option<Value<'_>>) {
        if let Some(id) = short_text(id, Self::MAX_NAME) {
            self.response = Some(id);
        }
    }
}

fn short_text(value: Option<Value<'_>>, max: usize) -> Option<String> {
    let text = value?.text()?;
    (!text.is_empty() && text.len() <= max).then(|| text.into_owned())
}

/// Members that name things of the protocol's own, or that are opaque and lose their meaning when
/// edited (signatures, ciphertext, images). None of them holds words for a person to read.
const PROTOCOL: &[&str] = &[
    "b64_json",
    "call_id",
    "encrypted_content",
    "encrypted_index",
    "encrypted_stdout",
    "finish_reason",
    "id",
    "item_id",
    "model",
    "obfuscation",
    "object",
    "partial_image_b64",
    "redactedContent",
    "role",
    "service_tier",
    "signature",
    "status",
    "stop_reason",
    "system_fingerprint",
    "thoughtSignature",
    "toolUseId",
    "tool_use_id",
    "type",
];

/// Members whose content is the caller's or a tool's own: every string and key under them counts.
const FREE: &[&str] = &[
    "args",
    "arguments",
    "input",
    "inputSchema",
    "input_schema",
    "metadata",
    "parameters",
    "schema",
    "structuredContent",
];

pub(super) fn is_protocol(key: &str) -> bool {
    PROTOCOL.contains(&key)
}

/// Every text under `value` is rewritten whole.
pub(super) fn others(value: Value<'_>, steps: &mut Vec<Step>) {
    walk(value, "", false, steps);
}

/// The same for one member of an object.
pub(super) fn other_member(key: Value<'_>, value: Value<'_>, steps: &mut Vec<Step>) {
    if let Some(key) = key.text() {
        walk(value, &key, false, steps);
    }
}

/// Every member of `object` but those named.
pub(super) fn others_but(object: Value<'_>, except: &[&str], steps: &mut Vec<Step>) {
    for (key, value) in object.members() {
        if !except.iter().any(|name| key.is_text(name)) {
            other_member(key, value, steps);
        }
    }
}

/// Recursion is as deep as the scan allowed, which the editor bounds.
fn walk(value: Value<'_>, key: &str, free: bool, steps: &mut Vec<Step>) {
    match value.kind() {
        Kind::String => {
            if (free || !is_protocol(key))
                && let Some(text) = Located::of(value)
                && !text.text.is_empty()
            {
                steps.push(Step::Whole {
                    text,
                    arguments: !free && key == "arguments",
                });
            }
        }
        Kind::Array => {
            for item in value.items() {
                walk(item, key, free, steps);
            }
        }
        Kind::Object => {
            let free = free || FREE.contains(&key);
            for (name, member) in value.members() {
                if free && let Some(text) = Located::of(name) {
                    steps.push(Step::Whole {
                        text,
                        arguments: false,
                    });
                }
                if let Some(name) = name.text() {
                    walk(member, &name, free, steps);
                }
            }
        }
        _ => {}
    }
}

/// A string that is a piece of a channel; a channel name that is too long makes it a text of its own.
pub(super) fn piece(value: Value<'_>, channel: String, arguments: bool, steps: &mut Vec<Step>) {
    let Some(text) = Located::of(value) else { return };
    if text.text.is_empty() {
        return;
    }
    steps.push(if channel.len() <= Channel::MAX_BYTES {
        Step::Piece {
            text,
            channel: Channel(channel),
            arguments,
        }
    } else {
        Step::Whole { text, arguments }
    });
}

/// An index as the dialects count: small whole numbers. Anything else is taken for `default`.
pub(super) fn index(value: Option<Value<'_>>, default: u64) -> u64 {
    value.and_then(|value| value.as_u64()).unwrap_or(default)
}

/// The members of an object whose strings are pieces, each of a channel of its name; all others whole.
pub(super) fn pieces(
    object: Value<'_>,
    names: &[&str],
    prefix: &str,
    arguments: bool,
    steps: &mut Vec<Step>,
) {
    for (key, value) in object.members() {
        match names.iter().find(|name| key.is_text(name)) {
            Some(name) if value.kind() == Kind::String => {
                piece(value, format!("{prefix}{name}"), arguments, steps);
            }
            _ => other_member(key, value, steps),
        }
    }
}
