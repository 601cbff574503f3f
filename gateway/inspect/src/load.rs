//! Reads detector files: YAML in, checked [`Spec`]s out, mistakes with file, line and column.
//!
//! The form of a file is described in `policies/detectors/README.md`. Compiling patterns into the one
//! pass is for [`crate::detector`]; this file only takes the YAML apart.
//!
//! On failure: every mistake of every file is reported at once, and nothing is loaded.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

/// The largest detector file that is read.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A mistake in a detector file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DetectorError {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line, from 1; 0 when the mistake has no place of its own.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong, and where it can be said, what would be right.
    pub message: String,
}

impl fmt::Display for DetectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// What a detector file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectorFile {
    /// Named parts of patterns: `{{NAME}}` in a pattern stands for them.
    #[serde(default)]
    pub(crate) define: BTreeMap<String, Spanned<String>>,
    pub(crate) detectors: Vec<Spec>,
}

/// One detector as its file spells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) id: Spanned<String>,
    pub(crate) entity: Spanned<String>,
    pub(crate) pattern: Spanned<String>,
    #[serde(default)]
    pub(crate) keywords: Vec<Spanned<String>>,
    /// Keywords count only where they stand as whole words, as context words do.
    #[serde(default)]
    pub(crate) whole_words: bool,
    #[serde(default)]
    pub(crate) gate: Option<Spanned<String>>,
    /// Least number of digits that the gate's candidate holds.
    #[serde(default)]
    pub(crate) digits: Option<Spanned<usize>>,
    #[serde(default)]
    pub(crate) before: usize,
    #[serde(default = "default_after")]
    pub(crate) after: usize,
    pub(crate) score: Spanned<f32>,
    /// Score when nothing but the value is in the segment.
    #[serde(default)]
    pub(crate) alone: Option<Spanned<f32>>,
    #[serde(default)]
    pub(crate) near: Option<NearSpec>,
    /// Words that speak against it.
    #[serde(default)]
    pub(crate) unless_near: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) validator: Option<Spanned<String>>,
    /// Least Shannon entropy of the value, in bits a character.
    #[serde(default)]
    pub(crate) entropy: f32,
    /// Refuse values that stand for a value: `<your-key>`, `${VAR}`, `xxxx`.
    #[serde(default)]
    pub(crate) real: bool,
    pub(crate) examples: Vec<Spanned<String>>,
    pub(crate) counter_examples: Vec<Spanned<String>>,
}

fn default_after() -> usize {
    200
}

/// Context words and what they are worth.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NearSpec {
    pub(crate) words: Vec<Spanned<String>>,
    /// Added to the score when one of the words is near.
    pub(crate) boost: f32,
    #[serde(default = "default_near_before")]
    pub(crate) before: usize,
    #[serde(default = "default_near_after")]
    pub(crate) after: usize,
}

fn default_near_before() -> usize {
    60
}

fn default_near_after() -> usize {
    20
}

/// Takes a file apart.
///
/// # Errors
/// When it is too large, no YAML, or not of the form.
pub(crate) fn read(file: &str, yaml: &str) -> Result<DetectorFile, DetectorError> {
    if yaml.len() > MAX_FILE_BYTES {
        return Err(DetectorError {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: format!("the file is larger than {MAX_FILE_BYTES} bytes"),
        });
    }
    serde_saphyr::from_str(yaml).map_err(|error| {
        let error = error.without_snippet();
        error_at(
            file,
            error.location().unwrap_or(Location::UNKNOWN),
            error.to_string(),
        )
    })
}

/// An error at a place of a file.
pub(crate) fn error_at(file: &str, place: Location, message: impl Into<String>) -> DetectorError {
    DetectorError {
        file: file.to_owned(),
        line: place.line(),
        column: place.column(),
        message: message.into(),
    }
}

/// Marks the part of an example that must be found.
const OPEN: char = '⟦';
const CLOSE: char = '⟧';
/// Stands for nothing: it breaks up tokens that scanners of source repositories would take for live ones.
const NOTHING: char = '¦';

/// An example without its marks, and the byte ranges that they enclosed.
pub(crate) fn unmark(example: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::with_capacity(example.len());
    let mut spans = Vec::new();
    let mut open = None;
    for c in example.chars() {
        match c {
            OPEN => open = Some(text.len()),
            CLOSE => spans.extend(open.take().map(|start| start..text.len())),
            NOTHING => {}
            c => text.push(c),
        }
    }
    (text, spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_a_place() {
        let error = read("own.yaml", "detectors:\n  - id: a\n    entitty: A\n")
            .err()
            .unwrap();
        assert_eq!((error.file.as_str(), error.line), ("own.yaml", 3));
        assert!(error.to_string().starts_with("own.yaml:3:"), "{error}");
    }

    #[test]
    fn marks_are_taken_out() {
        assert_eq!(
            unmark("a ⟦b¦c⟧ d"),
            ("a bc d".to_owned(), vec![std::ops::Range { start: 2, end: 4 }])
        );
    }
}
