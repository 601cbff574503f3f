//! A tree that grows by a leaf at a time, held as the few hashes that its right edge depends on.

use std::fmt;

use super::{BLOCK, BLOCK_HEIGHT, Hash, empty_root, node_hash};

/// A growing tree. It holds the hash of one complete subtree for each bit of its size.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Complete subtrees from left to right, so from the highest to the lowest.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree from the hashes of its complete blocks, and those of the leaves behind them.
    #[must_use]
    pub fn resume(blocks: impl IntoIterator<Item = Hash>, leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::new();
        for block in blocks {
            tree.push(BLOCK_HEIGHT, block);
        }
        for leaf in leaves {
            tree.append(leaf);
        }
        tree
    }

    /// Appends a leaf by its hash. When it is the last of a block, that block's hash comes back, to be kept.
    pub fn append(&mut self, leaf: Hash) -> Option<Hash> {
        self.push(0, leaf)
    }

    /// Appends a complete subtree at a place where one of its height can begin.
    fn push(&mut self, height: u8, hash: Hash) -> Option<Hash> {
        let (mut hash, mut at) = (hash, height);
        let mut block = None;
        // Two equal neighbours make one of twice the size, like a carry in binary addition.
        while self.size >> at & 1 == 1 {
            let left = self
                .subtrees
                .pop()
                .expect("each bit of the size stands for a subtree");
            hash = node_hash(left, hash);
            at += 1;
            if at == BLOCK_HEIGHT {
                block = Some(hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1 << height;
        block
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many blocks are complete.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size / BLOCK
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut right_to_left = self.subtrees.iter().rev().copied();
        match right_to_left.next() {
            None => empty_root(),
            Some(last) => right_to_left.fold(last, |right, left| node_hash(left, right)),
        }
    }
}

impl fmt::Debug for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frontier({} leaves, {:?})", self.size, self.root())
    }
}
