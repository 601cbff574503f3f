//! What had its time and is removed: records, keys of subjects, checkpoints.

use serde::{Deserialize, Serialize};

use super::WriterId;

/// Records that had their time. Their leaves stay in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Whose records they were.
    pub tenant: String,
    /// Their retention class.
    pub class: String,
    /// All of them are from before this time, in milliseconds since 1970.
    pub before: u64,
    /// Which they were.
    pub runs: Vec<PrunedRun>,
}

/// Records of one writer that were pruned: those of the tree from one sequence to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedRun {
    /// The writer.
    pub writer: WriterId,
    /// The sequence of the first.
    pub first: u64,
    /// The sequence of the last.
    pub last: u64,
    /// How many of these were in the tree.
    pub records: u64,
}

/// Keys of subjects under which nothing is kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysPruned {
    /// All of them were made before this time, in milliseconds since 1970, which is before the oldest record that is kept.
    pub before: u64,
    /// How many they were.
    pub keys: u64,
}

/// Checkpoints that later ones cover, of trees that go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointsThinned {
    /// The trees.
    pub trees: Vec<ThinnedTree>,
}

/// What was removed of a tree's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThinnedTree {
    /// Whose records it has.
    pub tenant: String,
    /// Their retention class.
    pub class: String,
    /// The largest size of which the checkpoint was removed.
    pub size: u64,
    /// How many were removed.
    pub checkpoints: u64,
}
