//! Computes each tree's root anew from its leaves, and compares it with every checkpoint of it. The hashes of blocks, which proofs are
//! made from, are compared on the way.
//!
//! Checkpoints that were given away (published to a folder, cosigned by a witness) count as much as those in the store: a store
//! that was rewritten together with its checkpoints, by whoever has the key, still differs from them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use super::{Broken, Evidence, Fault, VerifyError};
use crate::{
    extent::Extent,
    note::{Checkpoint, Note},
    record::{TreeName, WriterId},
    spool::Link,
    store::{
        Snapshot, StoreError, Value,
        columns::{Cell, Form},
    },
    tree::{Frontier, Hash},
};

/// The latest checkpoint of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// The tree.
    pub tree: TreeName,
    /// How many leaves the checkpoint is over; none where there is none.
    pub size: u64,
    /// The root there.
    pub root: Hash,
    /// Checkpoints that were compared, those from elsewhere included.
    pub checkpoints: u64,
    /// Of them, those from elsewhere.
    pub from_elsewhere: u64,
}

/// What is signed of a tree: roots by size, and whether the checkpoint is from elsewhere.
type Roots = Vec<(u64, Hash, bool)>;

/// What the store says of each tree's blocks, in their order; none for one that is not in its place or does not read.
type Blocks = BTreeMap<TreeName, Vec<Option<Hash>>>;

/// What the trees came to.
pub(super) struct Compared {
    pub(super) trees: Vec<TreeHead>,
    /// How many leaves lie behind the last checkpoint of their tree.
    pub(super) behind: u64,
}

/// A row of `audit_extent`, in the order that its tree has.
const FORMS: [Form; 8] = [
    Form::Text,
    Form::Text,
    Form::Int,
    Form::Uuid,
    Form::Int,
    Form::Int,
    Form::Bytes,
    Form::Bytes,
];

/// Compares all trees. `heads` are where the writers' chains stand, and `walked` how many leaves each writer's records were found to be.
pub(super) async fn compare(
    snapshot: &mut Snapshot,
    evidence: &Evidence<'_>,
    heads: &BTreeMap<WriterId, Link>,
    walked: &HashMap<WriterId, u64>,
) -> Result<Compared, VerifyError> {
    let mut roots = roots(snapshot, evidence).await?;
    let mut gone = None;
    for (checkpoint, tree) in elsewhere(evidence)? {
        let known = roots.entry(tree.clone()).or_default();
        // It was in the store before it was anywhere else.
        let is_here = known.iter().any(|(size, root, from_elsewhere)| {
            !from_elsewhere && (*size, *root) == (checkpoint.size, checkpoint.root)
        });
        if !is_here {
            gone = gone.or(Some((tree, checkpoint.size)));
        }
        known.push((checkpoint.size, checkpoint.root, true));
    }
    let mut blocks = blocks(snapshot).await?;
    let mut found = Vec::new();
    let mut behind = 0;
    let mut leaves: HashMap<WriterId, u64> = HashMap::new();
    let mut trees = TreeWalk {
        roots: &mut roots,
        blocks: &mut blocks,
        heads,
        leaves: &mut leaves,
        behind: &mut behind,
        found: &mut found,
        current: None,
    };
    let sql = format!(
        "SELECT {} FROM audit_extent ORDER BY tenant, class, first_index",
        Extent::COLUMNS
    );
    let mut outcome = Ok(());
    let mut take = |cells: &[Cell<'_>]| {
        outcome = trees.take(cells);
        if outcome.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    snapshot.scan(&sql, &FORMS, &mut take).await?;
    outcome?;
    trees.end()?;
    // A tree that is signed for and of which nothing is left.
    if let Some((tree, signed)) = roots
        .iter()
        .find(|(_, signed)| signed.iter().any(|(size, ..)| *size > 0))
    {
        let size = signed.iter().map(|(size, ..)| *size).max().unwrap_or(0);
        return Err(VerifyError::Tree {
            tree: tree.clone(),
            fault: TreeFault::Shorter { has: 0, signed: size },
        });
    }
    if let Some(tree) = blocks.into_keys().next() {
        let fault = TreeFault::Block(0);
        return Err(VerifyError::Tree { tree, fault });
    }
    // Each leaf that a tree holds for a writer was met at its record.
    for (writer, count) in leaves {
        let met = walked.get(&writer).copied().unwrap_or(0);
        if met != count {
            let sequence = heads.get(&writer).map_or(1, |head| head.sequence);
            return Err(Broken {
                writer,
                sequence,
                fault: Fault::LeavesBeside,
            }
            .into());
        }
    }
    // All that is there agrees with it, so it is the checkpoint itself that is missing.
    if let Some((tree, size)) = gone {
        let fault = TreeFault::CheckpointGone(size);
        return Err(VerifyError::Tree { tree, fault });
    }
    Ok(Compared { trees: found, behind })
}

/// What is wrong with a tree as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// Leaves are not there that were signed for.
    #[error("has {has} leaves where {signed} were signed for")]
    Shorter {
        /// Leaves that are there.
        has: u64,
        /// Leaves of the checkpoint.
        signed: u64,
    },
    /// A checkpoint's signature is not by the key.
    #[error("has a checkpoint of {0} leaves that is not signed by the audit's key")]
    Unsigned(u64),
    /// A checkpoint does not read.
    #[error("has a checkpoint that does not read")]
    Unreadable,
    /// A run of leaves does not begin where the one before it ends.
    #[error("has no leaf {0}")]
    Gap(u64),
    /// A run of leaves does not read.
    #[error("has leaves that do not read, from {0} on")]
    Garbled(u64),
    /// What proofs are made from is not what the leaves give.
    #[error("holds another hash for its block {0} than the leaves give, or holds it without its leaves")]
    Block(u64),
    /// A checkpoint that was kept elsewhere is not in the store any more.
    #[error("has lost its checkpoint of {0} leaves, which was kept elsewhere")]
    CheckpointGone(u64),
}

/// The signed roots of every tree, by size. The store's own must be signed by the key, where it is at hand.
async fn roots(
    snapshot: &mut Snapshot,
    evidence: &Evidence<'_>,
) -> Result<BTreeMap<TreeName, Roots>, VerifyError> {
    let mut roots: BTreeMap<TreeName, Roots> = BTreeMap::new();
    let sql = "SELECT tenant, class, size, note FROM audit_checkpoint ORDER BY tenant, class, size";
    let forms = [Form::Text, Form::Text, Form::Int, Form::Text];
    let mut outcome = Ok(());
    let mut take = |cells: &[Cell<'_>]| {
        outcome = (|| {
            let tree = cells[0]
                .text()
                .zip(cells[1].text())
                .and_then(|(tenant, class)| TreeName::new(tenant, class).ok())
                .ok_or(StoreError::Garbled("audit_checkpoint"))?;
            let wrong = |fault| VerifyError::Tree {
                tree: tree.clone(),
                fault,
            };
            let note = cells[3].text().and_then(|text| Note::parse(text.as_bytes()).ok());
            let note = note.ok_or_else(|| wrong(TreeFault::Unreadable))?;
            let checkpoint = Checkpoint::parse(note.text()).map_err(|_| wrong(TreeFault::Unreadable))?;
            if let Some(key) = evidence.key {
                let origin = key.origin(&tree);
                let signed = note.vouched_by(key).is_ok() && checkpoint.origin == origin;
                if !signed || cells[2].sequence() != Some(checkpoint.size) {
                    return Err(wrong(TreeFault::Unsigned(checkpoint.size)));
                }
            }
            let known = roots.entry(tree).or_default();
            known.push((checkpoint.size, checkpoint.root, false));
            Ok(())
        })();
        if outcome.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    snapshot.scan(sql, &forms, &mut take).await?;
    outcome?;
    Ok(roots)
}

/// The hashes of all blocks, 32 bytes for 256 leaves.
async fn blocks(snapshot: &mut Snapshot) -> Result<Blocks, VerifyError> {
    let mut blocks = Blocks::new();
    let sql = "SELECT tenant, class, block, hash FROM audit_block ORDER BY tenant, class, block";
    let forms = [Form::Text, Form::Text, Form::Int, Form::Bytes];
    let mut outcome = Ok(());
    let mut take = |cells: &[Cell<'_>]| {
        let names = cells[0].text().zip(cells[1].text());
        let Some(tree) = names.and_then(|(tenant, class)| TreeName::new(tenant, class).ok()) else {
            outcome = Err(StoreError::Garbled("audit_block"));
            return ControlFlow::Break(());
        };
        let known = blocks.entry(tree).or_default();
        let in_place = cells[2].sequence() == Some(known.len() as u64);
        let hash = match cells[3] {
            Cell::Bytes(bytes) if in_place => Hash::try_from(bytes).ok(),
            _ => None,
        };
        known.push(hash);
        ControlFlow::Continue(())
    };
    snapshot.scan(sql, &forms, &mut take).await?;
    outcome?;
    Ok(blocks)
}

/// Checkpoints that were kept elsewhere, each with its tree. One that nobody of ours signed is no evidence.
fn elsewhere(evidence: &Evidence<'_>) -> Result<Vec<(Checkpoint, TreeName)>, VerifyError> {
    let Some(key) = evidence.key else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for text in &evidence.checkpoints {
        let read = || {
            let note = Note::parse(text.as_bytes()).ok()?;
            note.vouched_by(key).ok()?;
            let checkpoint = Checkpoint::parse(note.text()).ok()?;
            let (tenant, class) = checkpoint
                .origin
                .strip_prefix(key.name())?
                .strip_prefix('/')?
                .split_once('/')?;
            let tree = TreeName::new(tenant, class).ok()?;
            Some((checkpoint, tree))
        };
        found.push(read().ok_or(VerifyError::NotOurs)?);
    }
    Ok(found)
}

struct TreeWalk<'w> {
    roots: &'w mut BTreeMap<TreeName, Roots>,
    blocks: &'w mut Blocks,
    heads: &'w BTreeMap<WriterId, Link>,
    leaves: &'w mut HashMap<WriterId, u64>,
    behind: &'w mut u64,
    found: &'w mut Vec<TreeHead>,
    current: Option<Current>,
}

/// A tree that is being walked.
struct Current {
    tree: TreeName,
    frontier: Frontier,
    /// What is signed and not yet compared, the largest first.
    signed: Roots,
    checkpoints: u64,
    from_elsewhere: u64,
    agreed: (u64, Hash),
    /// Behind the last checkpoint that agreed: the first record, to be named if the next does not.
    first_since: Option<(WriterId, u64)>,
    /// What the store says of the blocks that are not complete yet.
    blocks: std::vec::IntoIter<Option<Hash>>,
}

impl TreeWalk<'_> {
    fn take(&mut self, cells: &[Cell<'_>]) -> Result<(), VerifyError> {
        let row: Vec<Value> = cells.iter().map(|cell| Value::from(*cell)).collect();
        let extent = Extent::read(&row);
        let named = match &extent {
            Some(extent) => Some(extent.tree.clone()),
            None => cells[0]
                .text()
                .zip(cells[1].text())
                .and_then(|(tenant, class)| TreeName::new(tenant, class).ok()),
        };
        let tree = named.ok_or(StoreError::Garbled("audit_extent"))?;
        if self.current.as_ref().is_none_or(|current| current.tree != tree) {
            self.end()?;
            let mut signed = self.roots.remove(&tree).unwrap_or_default();
            signed.sort_by_key(|(size, ..)| std::cmp::Reverse(*size));
            let blocks = self.blocks.remove(&tree).unwrap_or_default().into_iter();
            self.current = Some(Current {
                blocks,
                agreed: (0, Frontier::new().root()),
                tree,
                frontier: Frontier::new(),
                signed,
                checkpoints: 0,
                from_elsewhere: 0,
                first_since: None,
            });
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let size = current.frontier.size();
        let wrong = |fault| VerifyError::Tree {
            tree: current.tree.clone(),
            fault,
        };
        let extent = extent.ok_or_else(|| wrong(TreeFault::Garbled(size)))?;
        if extent.first_index != size {
            return Err(wrong(TreeFault::Gap(size)));
        }
        let head = self.heads.get(&extent.writer).map_or(0, |head| head.sequence);
        *self.leaves.entry(extent.writer).or_default() += extent.len();
        for (sequence, hash) in extent.leaves() {
            let broken = |fault| Broken {
                writer: extent.writer,
                sequence,
                fault,
            };
            if sequence == 0 || sequence > head {
                return Err(broken(Fault::Truncated(sequence)).into());
            }
            current.first_since.get_or_insert((extent.writer, sequence));
            if let Some(block) = current.frontier.append(hash)
                && current.blocks.next() != Some(Some(block))
            {
                let fault = TreeFault::Block(current.frontier.blocks() - 1);
                return Err(VerifyError::Tree {
                    tree: current.tree.clone(),
                    fault,
                });
            }
            current.compare()?;
        }
        Ok(())
    }

    /// The tree that was walked is at its end.
    fn end(&mut self) -> Result<(), VerifyError> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        if let Some((signed, ..)) = current.signed.first() {
            return Err(VerifyError::Tree {
                tree: current.tree,
                fault: TreeFault::Shorter {
                    has: current.frontier.size(),
                    signed: *signed,
                },
            });
        }
        if !current.blocks.as_slice().is_empty() {
            return Err(VerifyError::Tree {
                tree: current.tree,
                fault: TreeFault::Block(current.frontier.blocks()),
            });
        }
        *self.behind += current.frontier.size() - current.agreed.0;
        self.found.push(TreeHead {
            tree: current.tree,
            size: current.agreed.0,
            root: current.agreed.1,
            checkpoints: current.checkpoints,
            from_elsewhere: current.from_elsewhere,
        });
        Ok(())
    }
}

impl Current {
    /// Compares the root with what is signed for this size.
    fn compare(&mut self) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        while let Some((signed, root, from_elsewhere)) = self.signed.last().copied()
            && signed <= size
        {
            self.signed.pop();
            if signed == 0 {
                continue;
            }
            let here = self.frontier.root();
            if root != here {
                let (writer, sequence) = self.first_since.unwrap_or((WriterId::new(), 0));
                let fault = Fault::Forked {
                    tree: self.tree.clone(),
                    from: self.agreed.0,
                    to: size,
                };
                return Err(Broken {
                    writer,
                    sequence,
                    fault,
                }
                .into());
            }
            self.checkpoints += 1;
            self.from_elsewhere += u64::from(from_elsewhere);
            self.agreed = (size, here);
        }
        if self.agreed.0 == size {
            self.first_since = None;
        }
        Ok(())
    }
}
