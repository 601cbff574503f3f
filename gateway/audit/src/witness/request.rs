//! What a log sends to a witness: the size that the witness knows, the proof from there, and the new checkpoint.

use std::fmt;

use super::MAX_REQUEST_BYTES;
use crate::{
    note::Note,
    tree::{Hash, MAX_PATH},
};

/// The body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the last checkpoint that the witness cosigned.
    pub old: u64,
    /// The consistency proof from there.
    pub path: Vec<Hash>,
    /// The new checkpoint.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads a body.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_REQUEST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(body).ok()?;
        // The first empty line ends the proof; those behind it are the note's.
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let size = lines.next()?.strip_prefix("old ")?;
        let old: u64 = size.parse().ok()?;
        if old.to_string() != size {
            return None;
        }
        let mut path = Vec::new();
        for line in lines {
            if path.len() >= MAX_PATH {
                return None;
            }
            path.push(Hash::from_base64(line).ok()?);
        }
        let note = Note::parse(note.as_bytes()).ok()?;
        Some(Self { old, path, note })
    }
}

/// The body.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.path {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.note)
    }
}
