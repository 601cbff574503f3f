use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::EntityType;

/// One sensitive thing found in a segment.
///
/// It holds no text: the span points into the segment, and the evidence says which pattern,
/// validator or context word spoke, so a finding may be logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Index of the segment within its body.
    pub segment: usize,
    /// Byte range in the segment's decoded text, on character boundaries, never empty.
    pub span: Range<usize>,
    /// What it is.
    pub entity: EntityType,
    /// The detector's id, as in its file under `policies/detectors/`.
    pub detector: Arc<str>,
    /// 0.0 to 1.0; rules usually ask for a least score.
    pub score: f32,
    /// Why, in words that quote nothing of the text: `luhn valid`, `context word near`.
    pub evidence: Vec<&'static str>,
    /// Of a fingerprint, what it was recognised as.
    pub source: Option<Arc<Source>>,
}

/// The company's own text or table that was recognised. For the auditor, not for the caller: names of files can
/// tell as much as their content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// The set of fingerprints.
    pub set: String,
    /// The file or table in it.
    pub file: String,
    /// How much of the file, or of the row's columns, was found: 1 to 100.
    pub percent: u8,
}
