//! The Merkle tree over records, as RFC 6962 and RFC 9162 define it: hashes, roots, proofs and their verification.
//!
//! A leaf is the canonical bytes of one entry. Nothing here reads a store: a [`Frontier`] grows a tree from its leaves' hashes, a
//! [`Plan`] says which complete subtrees a proof needs and makes it from their hashes, and [`verify_inclusion`] and
//! [`verify_consistency`] need nothing but the proof.
//!
//! Limits: [`MAX_SIZE`] leaves, so [`MAX_PATH`] hashes in a proof.
//!
//! On failure: [`TreeError`]; verification never panics, whatever it is given.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};

mod frontier;
pub use frontier::Frontier;

mod plan;
pub use plan::{Plan, Subtree};

mod check;
pub use check::{verify_consistency, verify_inclusion};

/// Leaves of a block. Hashes of complete blocks are kept beside the leaves, so that a root or a proof reads few leaves.
pub const BLOCK: u64 = 1 << BLOCK_HEIGHT;
const BLOCK_HEIGHT: u8 = 8;

/// The largest tree: sizes stay integers that every JSON reader keeps exact.
pub const MAX_SIZE: u64 = (1 << 53) - 1;

/// The most hashes that a proof can have in a tree of [`MAX_SIZE`] leaves.
pub const MAX_PATH: usize = 54;

/// A hash of the tree: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// A hash from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A hash from 44 characters of base64, as checkpoints and proofs write it. There is one spelling only.
    ///
    /// # Errors
    /// When the text is none.
    pub fn from_base64(text: &str) -> Result<Self, TreeError> {
        let mut bytes = [0; 32];
        // The decoder takes only padded text without stray bits, which leaves one spelling for each hash.
        match STANDARD.decode_slice(text, &mut bytes) {
            Ok(32) if text.len() == 44 => Ok(Self(bytes)),
            _ => Err(TreeError::NotAHash),
        }
    }

    /// The hash as 44 characters of base64.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = TreeError;

    fn try_from(bytes: &[u8]) -> Result<Self, TreeError> {
        bytes.try_into().map(Self).map_err(|_| TreeError::NotAHash)
    }
}

/// As 64 lower-case hex digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", hex::encode(&self.0[..4]))
    }
}

/// The hash of a leaf. Its prefix differs from that of [`node_hash`], so no leaf can pass for a part of the tree.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// The hash of two neighbouring subtrees.
#[must_use]
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// The hash of a complete subtree from the hashes of the equally high ones that it consists of, whose number is a
/// power of two; `None` for any other number.
#[must_use]
pub fn complete_root(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks_exact(2)
            .map(|pair| node_hash(pair[0], pair[1]))
            .collect();
    }
    level.first().copied()
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Hash(hash)
}

/// The largest power of two below `leaves`, at which RFC 6962 splits a tree of two leaves or more.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// Why there is no proof, or why one proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// No hash.
    #[error("not a SHA-256 hash")]
    NotAHash,
    /// The tree has no such leaf.
    #[error("leaf {index} is not in a tree of {size}")]
    NoSuchLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree cannot shrink.
    #[error("a tree of {size} cannot come after one of {old}")]
    Shrunk {
        /// The older size.
        old: u64,
        /// The newer size.
        size: u64,
    },
    /// Larger than [`MAX_SIZE`].
    #[error("no tree is as large as {0}")]
    TooLarge(u64),
    /// The path has another length than a proof for these sizes.
    #[error("the path has {0} hashes, which is not the number that this proof takes")]
    PathLength(usize),
    /// The path leads to another root than that of the tree.
    #[error("the path does not lead to the root")]
    WrongRoot,
    /// The path does not lead to the root of the older tree.
    #[error("the path does not lead to the older root")]
    WrongOldRoot,
}

#[cfg(test)]
mod tests;
