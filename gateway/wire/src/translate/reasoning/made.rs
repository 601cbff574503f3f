//! Takes reasoning that we made out of a request whose dialect stays: edits in the bytes, by the scanner's spans.

use std::ops::Range;

use bytes::Bytes;
use cordon_domain::Dialect;

use super::Name;
use crate::{
    TranslateError,
    json::{self, Bounds, Kind, Value},
};

/// The request without the reasoning that carries a mark of ours; each other byte stays. A message that held nothing else
/// goes with it, since providers refuse empty ones.
///
/// # Errors
/// When the body is no JSON object.
pub fn without_made(dialect: Dialect, body: &Bytes) -> Result<Bytes, TranslateError> {
    // Nearly every request is told by this one look.
    let marked = || memchr::memmem::find(body, Name::MARKS_BEGIN.as_bytes()).is_some();
    let Some(form) = Form::of(dialect).filter(|_| marked()) else {
        return Ok(body.clone());
    };
    // Its limits were kept when the request was decoded.
    let bounds = Bounds {
        depth: usize::MAX,
        values: usize::MAX,
        duplicates: false,
    };
    let tree = json::scan(body, &bounds).map_err(|_| TranslateError::NotAnObject)?;
    let root = tree.root();
    if root.kind() != Kind::Object {
        return Err(TranslateError::NotAnObject);
    }
    let mut cuts = Vec::new();
    for place in form.places {
        let held = place.iter().try_fold(root, |at, step| at.get(step));
        if let Some(turns) = held.filter(|turns| turns.kind() == Kind::Array) {
            form.cut(turns, &mut cuts);
        }
    }
    cuts.sort_by_key(|cut: &Range<usize>| cut.start);
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for cut in cuts {
        out.extend_from_slice(&body[from..cut.start]);
        from = cut.end;
    }
    out.extend_from_slice(&body[from..]);
    Ok(out.into())
}

/// Where a dialect has its turns, the parts of a turn, and the mark of a part.
struct Form {
    places: &'static [&'static [&'static str]],
    /// The member of a turn that lists its parts; none where the turns are the parts.
    parts: Option<&'static str>,
    marks: &'static [&'static [&'static str]],
    /// Whose turns hold reasoning.
    role: &'static str,
    /// What a part of reasoning is told by beside its mark: a member and its value, `true` for a flag.
    kind: Option<(&'static str, &'static str)>,
}

impl Form {
    fn of(dialect: Dialect) -> Option<Self> {
        Some(match dialect {
            Dialect::AnthropicMessages => Self {
                places: &[&["messages"]],
                parts: Some("content"),
                marks: &[&["signature"]],
                role: "assistant",
                kind: Some(("type", "thinking")),
            },
            Dialect::OpenaiResponses => Self {
                // Bare, or in a message over a WebSocket.
                places: &[&["input"], &["response", "input"]],
                parts: None,
                marks: &[&["encrypted_content"]],
                role: "",
                kind: Some(("type", "reasoning")),
            },
            Dialect::Gemini => Self {
                places: &[
                    &["contents"],
                    &["request", "contents"],
                    &["generateContentRequest", "contents"],
                ],
                parts: Some("parts"),
                marks: &[&["thoughtSignature"], &["thought_signature"]],
                role: "model",
                kind: Some(("thought", "true")),
            },
            Dialect::BedrockConverse => Self {
                places: &[&["messages"], &["input", "converse", "messages"]],
                parts: Some("content"),
                marks: &[&["reasoningContent", "reasoningText", "signature"]],
                role: "assistant",
                kind: None,
            },
            _ => return None,
        })
    }

    /// Whether it is reasoning that we made. The mark alone would not do: whoever put it on something else could have
    /// that taken out after it was inspected.
    fn is_made(&self, part: Value<'_>) -> bool {
        let is_kind = self.kind.is_none_or(|(name, value)| {
            part.get(name)
                .is_some_and(|held| held.is_text(value) || (value == "true" && held.as_bool() == Some(true)))
        });
        is_kind
            && self.marks.iter().any(|mark| {
                let held = mark.iter().try_fold(part, |at, step| at.get(step));
                held.is_some_and(|held| Name::ALL.into_iter().any(|name| held.is_text(name.mark())))
            })
    }

    fn cut(&self, turns: Value<'_>, cuts: &mut Vec<Range<usize>>) {
        let Some(parts) = self.parts else {
            without(turns, |item| self.is_made(item), cuts);
            return;
        };
        let emptied = |turn: Value<'_>| {
            list_of(turn, parts).is_some_and(|parts| {
                parts.items().next().is_some() && parts.items().all(|part| self.is_made(part))
            })
        };
        let is_models = |turn: Value<'_>| turn.get("role").is_some_and(|role| role.is_text(self.role));
        without(turns, |turn| is_models(turn) && emptied(turn), cuts);
        for turn in turns.items().filter(|turn| is_models(*turn) && !emptied(*turn)) {
            if let Some(parts) = list_of(turn, parts) {
                without(parts, |part| self.is_made(part), cuts);
            }
        }
    }
}

fn list_of<'t>(turn: Value<'t>, name: &str) -> Option<Value<'t>> {
    turn.get(name).filter(|parts| parts.kind() == Kind::Array)
}

/// The spans to cut so that a list is without those items, each with one comma beside it.
fn without(list: Value<'_>, goes: impl Fn(Value<'_>) -> bool, cuts: &mut Vec<Range<usize>>) {
    let items: Vec<(Range<usize>, bool)> = list.items().map(|item| (item.span(), goes(item))).collect();
    // Up to the first that stays a cut takes the comma behind it, from there on the one before.
    let mut kept_until = None;
    for (at, (span, goes)) in items.iter().enumerate() {
        if !goes {
            kept_until = Some(span.end);
        } else if let Some(end) = kept_until {
            cuts.push(end..span.end);
            kept_until = Some(span.end);
        } else {
            let end = items.get(at + 1).map_or(span.end, |(next, _)| next.start);
            cuts.push(span.start..end);
        }
    }
}
