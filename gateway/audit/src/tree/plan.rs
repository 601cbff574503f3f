//! Which hashes a proof takes, and the proof made from them.
//!
//! Each hash of a path covers a range of leaves that falls into complete subtrees. A plan names those, so that whoever keeps the
//! hashes can fetch them at once (in a database: of blocks, where the subtree is as large as one, and of leaves where not), and
//! then puts the path together. A plan for the largest tree names fewer than 110 subtrees, as all but one of the ranges are complete subtrees themselves.

use std::ops::Range;

use super::{BLOCK, BLOCK_HEIGHT, Hash, MAX_SIZE, TreeError, node_hash, split};

/// A complete subtree: the leaves from `index << height` on, `1 << height` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// Its height; a leaf has 0.
    pub height: u8,
    /// How many subtrees of its height lie before it.
    pub index: u64,
}

impl Subtree {
    /// Its leaves.
    #[must_use]
    pub fn leaves(self) -> Range<u64> {
        self.index << self.height..(self.index + 1) << self.height
    }

    /// The two subtrees that it consists of; none of a leaf.
    #[must_use]
    pub fn halves(self) -> Option<[Self; 2]> {
        let height = self.height.checked_sub(1)?;
        Some([0, 1].map(|half| Self {
            height,
            index: self.index * 2 + half,
        }))
    }

    /// The blocks that it consists of; none where it is smaller than one.
    #[must_use]
    pub fn blocks(self) -> Option<Range<u64>> {
        let leaves = self.leaves();
        (self.height >= BLOCK_HEIGHT).then_some(leaves.start / BLOCK..leaves.end / BLOCK)
    }
}

/// What a proof takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For each hash of the path, the subtrees that it covers from left to right.
    path: Vec<Vec<Subtree>>,
}

impl Plan {
    /// For the proof that a leaf is in a tree.
    ///
    /// # Errors
    /// When it is not.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, TreeError> {
        within_limit(size)?;
        if index >= size {
            return Err(TreeError::NoSuchLeaf { index, size });
        }
        let mut path = Vec::new();
        let (mut from, mut to) = (0, size);
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                path.push(subtrees(middle..to));
                to = middle;
            } else {
                path.push(subtrees(from..middle));
                from = middle;
            }
        }
        // RFC 6962 lists a path from the leaf to the root.
        path.reverse();
        Ok(Self { path })
    }

    /// For the proof that a tree of `size` leaves begins with all those of a tree of `old` leaves.
    ///
    /// # Errors
    /// When it is smaller than that.
    pub fn consistency(old: u64, size: u64) -> Result<Self, TreeError> {
        within_limit(size)?;
        if old > size {
            return Err(TreeError::Shrunk { old, size });
        }
        let mut path = Vec::new();
        let (mut from, mut to) = (0, size);
        // Nothing is to be shown about an empty tree or the same one.
        while old > 0 && old < to {
            let middle = from + split(to - from);
            if old <= middle {
                path.push(subtrees(middle..to));
                to = middle;
            } else {
                path.push(subtrees(from..middle));
                from = middle;
            }
        }
        // What is left is the part that both trees share. Where it is the whole older tree, its root is known.
        if old > 0 && from > 0 {
            path.push(subtrees(from..to));
        }
        path.reverse();
        Ok(Self { path })
    }

    /// The subtrees whose hashes are needed.
    pub fn subtrees(&self) -> impl Iterator<Item = Subtree> + '_ {
        self.path.iter().flatten().copied()
    }

    /// The path, from the hashes of the subtrees.
    ///
    /// # Errors
    /// The one that `hash_of` gave.
    pub fn path<E>(&self, mut hash_of: impl FnMut(Subtree) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
        let mut path = Vec::with_capacity(self.path.len());
        for covered in &self.path {
            let mut hash = None;
            for subtree in covered.iter().rev() {
                let left = hash_of(*subtree)?;
                hash = Some(hash.map_or(left, |right| node_hash(left, right)));
            }
            path.extend(hash);
        }
        Ok(path)
    }
}

fn within_limit(size: u64) -> Result<(), TreeError> {
    if size > MAX_SIZE {
        return Err(TreeError::TooLarge(size));
    }
    Ok(())
}

/// The complete subtrees of a range of leaves, from left to right, so from the highest to the lowest. Each range that a
/// tree splits into begins where its largest one can.
fn subtrees(range: Range<u64>) -> Vec<Subtree> {
    let mut from = range.start;
    let mut found = Vec::new();
    while from < range.end {
        let height = (range.end - from).ilog2();
        found.push(Subtree {
            height: height as u8,
            index: from >> height,
        });
        from += 1 << height;
    }
    found
}
