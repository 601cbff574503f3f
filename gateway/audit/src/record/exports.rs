//! Exports of the audit: that one begins is on record before anything is read for it, and what it holds before its file is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Operator;

/// Records are about to be exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStarted {
    /// The export's id.
    pub export: Uuid,
    /// By whom.
    pub operator: Operator,
    /// What was asked for; users by their references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// The file's format.
    pub format: String,
}

/// Records were exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The export's id.
    pub export: Uuid,
    /// By whom.
    pub operator: Operator,
    /// The file's format.
    pub format: String,
    /// How many records it holds.
    pub records: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}
