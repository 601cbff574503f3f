//! The text of a checkpoint, as <https://c2sp.org/tlog-checkpoint> has it: which tree, how many leaves, and their root.

use std::fmt::Write as _;

use crate::tree::{Hash, MAX_SIZE};

const MAX_ORIGIN_BYTES: usize = 512;

/// The head of a tree, which a note's signatures vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The tree's name, which no other tree of anybody has.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Further lines of the log's, which are signed with the rest and mean nothing here.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without further lines.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// When it is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError);
        };
        let number: u64 = size.parse().map_err(|_| CheckpointError)?;
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: number,
            root: Hash::from_base64(root).map_err(|_| CheckpointError)?,
            extensions: lines.map(str::to_owned).collect(),
        };
        let empty = origin.is_empty() || checkpoint.extensions.iter().any(String::is_empty);
        // A size has one spelling: without a sign or leading zeros.
        if empty || origin.len() > MAX_ORIGIN_BYTES || number > MAX_SIZE || number.to_string() != size {
            return Err(CheckpointError);
        }
        Ok(checkpoint)
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64());
        for line in &self.extensions {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// A text that is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint")]
pub struct CheckpointError;
