//! Described dialects: what the file names as pieces is one text in pieces, all else is whole.
//!
//! A text's stand-in can lie across two events only where a piece is named. Any other string is rewritten
//! event by event, which is right where an event repeats all of the text so far.
//!
//! What is held of the pieces goes out with the event that the file says ends an answer.
//!
//! An event can be a patch, which says where its text goes, or hold several: what is appended to one place is one
//! text. An event that does not say where goes on from the last one.

use super::{
    Facts, Scope, Step,
    read::{other_member, others, piece},
};
use crate::{
    Shape,
    json::{Kind, Value},
    shape::Patches,
};

pub(super) fn read(root: Value<'_>, shape: &Shape, facts: &mut Facts, steps: &mut Vec<Step>) {
    if let Some(names) = &shape.patches
        && root.get(&names.text).is_some()
    {
        let place = Place::of(root, names, None).or_else(|| {
            let (path, appends) = facts.patched.clone()?;
            Some(Place { path, appends })
        });
        facts.patched = place.as_ref().map(|place| (place.path.clone(), place.appends));
        patch(root, names, &place.unwrap_or_default(), steps);
        return;
    }
    let mut all = Vec::new();
    others(root, &mut all);
    let pieces: Vec<(Value<'_>, &String)> = shape
        .pieces
        .iter()
        .filter_map(|pointer| Some((at(root, pointer)?, pointer)))
        .filter(|(value, _)| value.kind() == Kind::String)
        .collect();
    for (value, pointer) in &pieces {
        piece(*value, (*pointer).clone(), false, steps);
    }
    let is_piece = |step: &Step| match step {
        Step::Whole { text, .. } => pieces.iter().any(|(value, _)| value.content_span() == text.span),
        _ => false,
    };
    steps.extend(all.into_iter().filter(|step| !is_piece(step)));
    let ends = |(pointer, wanted): (&String, &Vec<String>)| {
        let is_one = |value: Value<'_>| wanted.iter().any(|one| value.is_text(one) || value.raw() == one);
        at(root, pointer).is_some_and(is_one)
    };
    if shape.ends.iter().any(ends) {
        steps.push(Step::End(Scope::All));
    }
}

/// Operations after which a place holds the text that they carry and nothing else: those of RFC 6902, and DeepSeek's.
const SETS: [&str; 3] = ["add", "replace", "set"];

/// Where the text of a patch goes.
struct Place {
    path: String,
    /// It goes behind what is there.
    appends: bool,
}

impl Default for Place {
    /// A stream that has not said where anything goes carries one text.
    fn default() -> Self {
        Self {
            path: String::new(),
            appends: true,
        }
    }
}

impl Place {
    /// What a patch says of itself, if it does; its path goes on from that of the one around it.
    fn of(patch: Value<'_>, names: &Patches, around: Option<&Self>) -> Option<Self> {
        let said = |name: &str| patch.get(name).and_then(|value| value.text());
        let (path, operation) = (said(&names.path), said(&names.operation));
        if path.is_none() && operation.is_none() {
            return None;
        }
        let mut whole = around.map(|around| around.path.clone()).unwrap_or_default();
        for step in path
            .iter()
            .flat_map(|path| path.split('/'))
            .filter(|step| !step.is_empty())
        {
            whole.push('/');
            whole.push_str(step);
        }
        Some(Self {
            path: whole,
            appends: operation
                .is_none_or(|operation| !SETS.iter().any(|sets| operation.eq_ignore_ascii_case(sets))),
        })
    }
}

/// One patch, and those within it. Recursion is as deep as the scan allowed, which the editor bounds.
fn patch(object: Value<'_>, names: &Patches, place: &Place, steps: &mut Vec<Step>) {
    for (key, value) in object.members() {
        let is_text = key.is_text(&names.text);
        if is_text && value.kind() == Kind::String && place.appends {
            piece(value, format!("patch:{}", place.path), false, steps);
        } else if is_text && value.kind() == Kind::Array {
            for item in value.items() {
                match Place::of(item, names, Some(place)) {
                    Some(within) => patch(item, names, &within, steps),
                    None => others(item, steps),
                }
            }
        } else {
            other_member(key, value, steps);
        }
    }
}

/// The value that a pointer leads to.
fn at<'t>(root: Value<'t>, pointer: &str) -> Option<Value<'t>> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(root, |value, step| match value.kind() {
            Kind::Array => value.items().nth(step.parse().ok()?),
            _ => value.get(step),
        })
}
