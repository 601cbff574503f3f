//! Verification of proofs, as RFC 9162 describes it in sections 2.1.3.2 and 2.1.4.2.

use super::{Hash, MAX_SIZE, TreeError, empty_root, node_hash};

/// Checks that the leaf of this hash is number `index` of the tree with this root.
///
/// # Errors
/// When the path does not show it.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: Hash,
) -> Result<(), TreeError> {
    if size > MAX_SIZE {
        return Err(TreeError::TooLarge(size));
    }
    if index >= size {
        return Err(TreeError::NoSuchLeaf { index, size });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return Err(TreeError::PathLength(path.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            // Where the right edge has no sibling, the node goes up alone.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TreeError::PathLength(path.len()));
    }
    if hash != root {
        return Err(TreeError::WrongRoot);
    }
    Ok(())
}

/// Checks that the tree with `root` begins with all the leaves of the one with `old_root`, in the same order.
///
/// # Errors
/// When the path does not show it.
pub fn verify_consistency(
    old_size: u64,
    old_root: Hash,
    size: u64,
    root: Hash,
    path: &[Hash],
) -> Result<(), TreeError> {
    if size > MAX_SIZE {
        return Err(TreeError::TooLarge(size));
    }
    if old_size > size {
        return Err(TreeError::Shrunk { old: old_size, size });
    }
    if old_size == 0 || old_size == size {
        if !path.is_empty() {
            return Err(TreeError::PathLength(path.len()));
        }
        let expected = if old_size == 0 { empty_root() } else { root };
        if old_root != expected {
            return Err(TreeError::WrongOldRoot);
        }
        // With no leaves there is one root only.
        if size == 0 && root != expected {
            return Err(TreeError::WrongRoot);
        }
        return Ok(());
    }
    // The older tree's root begins the path where the path does not tell it.
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(TreeError::PathLength(0))?;
        (*first, rest)
    };
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(TreeError::PathLength(path.len()));
        }
        if node & 1 == 1 || node == last {
            old = node_hash(*sibling, old);
            new = node_hash(*sibling, new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(new, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TreeError::PathLength(path.len()));
    }
    if old != old_root {
        return Err(TreeError::WrongOldRoot);
    }
    if new != root {
        return Err(TreeError::WrongRoot);
    }
    Ok(())
}
