//! Described dialects: what the file names as pieces is one text in pieces, all else is whole.
//!
//! A text's stand-in can lie across two events only where a piece is named. Any other string is rewritten
//! event by event, which is right where an event repeats all of the text so far.

use super::{
    Step,
    read::{others, piece},
};
use crate::{
    Shape,
    json::{Kind, Value},
};

pub(super) fn read(root: Value<'_>, shape: &Shape, steps: &mut Vec<Step>) {
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
