//! Computes each tree's root anew from its leaves, and compares it with every checkpoint of it. The hashes of blocks, which proofs are
//! made from, are compared on the way.
//!
//! Checkpoints that were given away (published to a folder, cosigned by a witness) count as much as those in the store: a store
//! that was rewritten together with its checkpoints, by whoever has the key, still differs from them.
//!
//! Leaves, blocks and checkpoints are read side by side, a page of each at a time, so that memory stays the same however many there
//! are. Only the checkpoints that are given as evidence are held as a whole.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Broken, Evidence, Fault, VerifyError};
use crate::{
    extent::Extent,
    note::{Checkpoint, Note, VerifyingKey},
    record::{TreeName, WriterId},
    spool::Link,
    store::{Look, Row, Snapshot, StoreError, Value},
    stored::{names, of},
    tree::{BLOCK, Frontier, Hash},
};

/// Runs of leaves that are read at once; each has some thousand leaves at most.
const EXTENTS: usize = 16;
/// Blocks, or checkpoints, that are read at once.
const PAGE: usize = 1000;

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

/// What the trees came to.
pub(super) struct Compared {
    pub(super) trees: Vec<TreeHead>,
    /// How many leaves lie behind the last checkpoint of their tree.
    pub(super) behind: u64,
}

/// Compares all trees. `thinned` says up to which size checkpoints of a tree were removed, `heads` are where the writers' chains stand, and `walked` how many leaves each writer's records were found to be.
pub(super) async fn compare(
    snapshot: &mut Snapshot,
    evidence: &Evidence<'_>,
    thinned: &HashMap<TreeName, u64>,
    heads: &BTreeMap<WriterId, Link>,
    walked: &HashMap<WriterId, u64>,
) -> Result<Compared, VerifyError> {
    let mut elsewhere = elsewhere(evidence)?;
    let mut compared = Compared {
        trees: Vec::new(),
        behind: 0,
    };
    let mut gone = None;
    let mut leaves: HashMap<WriterId, u64> = HashMap::new();
    for tree in names(snapshot, "audit_extent").await? {
        let kept = elsewhere.remove(&tree).unwrap_or_default();
        let mut walk = Walk::new(tree, kept, evidence.key, heads);
        walk.thinned = thinned.get(&walk.tree).copied().unwrap_or(0);
        walk.run(snapshot, &mut leaves).await?;
        compared.behind += walk.frontier.size() - walk.agreed.0;
        gone = gone.or(walk.gone.map(|size| (walk.tree.clone(), size)));
        compared.trees.push(TreeHead {
            tree: walk.tree,
            size: walk.agreed.0,
            root: walk.agreed.1,
            checkpoints: walk.compared,
            from_elsewhere: walk.from_elsewhere,
        });
    }
    // A tree that is signed for and of which nothing is left.
    for tree in names(snapshot, "audit_checkpoint").await? {
        elsewhere.entry(tree).or_default();
    }
    for (tree, kept) in elsewhere {
        if compared.trees.iter().any(|walked| walked.tree == tree) {
            continue;
        }
        Walk::new(tree, kept, evidence.key, heads).end(snapshot).await?;
    }
    for tree in names(snapshot, "audit_block").await? {
        if !compared.trees.iter().any(|walked| walked.tree == tree) {
            let fault = TreeFault::Block(0);
            return Err(VerifyError::Tree { tree, fault });
        }
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
    Ok(compared)
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

/// Checkpoints that were kept elsewhere, by tree and rising size. One that nobody of ours signed is no evidence.
fn elsewhere(evidence: &Evidence<'_>) -> Result<BTreeMap<TreeName, VecDeque<(u64, Hash)>>, VerifyError> {
    let mut found: BTreeMap<TreeName, Vec<(u64, Hash)>> = BTreeMap::new();
    let Some(key) = evidence.key else {
        return Ok(BTreeMap::new());
    };
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
        let (checkpoint, tree) = read().ok_or(VerifyError::NotOurs)?;
        // A tree without leaves has one root, whoever signed it.
        if checkpoint.size > 0 {
            let known = found.entry(tree).or_default();
            known.push((checkpoint.size, checkpoint.root));
        }
    }
    let by_size = |(tree, mut known): (TreeName, Vec<(u64, Hash)>)| {
        known.sort_unstable();
        (tree, known.into())
    };
    Ok(found.into_iter().map(by_size).collect())
}

/// A page of a table's rows for one tree, by a rising number.
struct Pages {
    select: &'static str,
    count: &'static str,
    /// The number of the last row that was read.
    behind: i64,
    read: u64,
    is_done: bool,
}

impl Pages {
    fn new(select: &'static str, count: &'static str) -> Self {
        Self {
            select,
            count,
            behind: i64::MIN,
            read: 0,
            is_done: false,
        }
    }

    /// The next rows; `number` is the place of the number in each.
    async fn next(
        &mut self,
        snapshot: &mut Snapshot,
        tree: &TreeName,
        number: usize,
        page: usize,
        table: &'static str,
    ) -> Result<Vec<Row>, StoreError> {
        let mut values = of(tree);
        values.push(Value::Int(self.behind));
        let rows = snapshot.look(self.select, values).await?;
        self.read += rows.len() as u64;
        if let Some(last) = rows.last() {
            let last = last.get(number).and_then(Value::int);
            self.behind = last.ok_or(StoreError::Garbled(table))?;
        }
        if rows.len() < page {
            self.is_done = true;
            // Two of one number, which the table's key forbids as long as it has one, may lie on both sides of a page's end.
            let counted = snapshot.look(self.count, of(tree)).await?;
            let counted = counted.first().and_then(|row| row.first()?.sequence());
            if counted != Some(self.read) {
                return Err(StoreError::Garbled(table));
            }
        }
        Ok(rows)
    }
}

/// A tree that is being walked.
struct Walk<'w> {
    tree: TreeName,
    key: Option<&'w VerifyingKey>,
    heads: &'w BTreeMap<WriterId, Link>,
    frontier: Frontier,
    /// What the store has signed, read and not yet compared.
    signed: VecDeque<(u64, Hash)>,
    more_signed: Pages,
    /// The largest that was signed and read.
    largest: u64,
    /// What was kept elsewhere, and not yet compared.
    elsewhere: VecDeque<(u64, Hash)>,
    /// What the store says of the blocks that are not complete yet; none for one that is not in its place or does not read.
    blocks: VecDeque<Option<Hash>>,
    more_blocks: Pages,
    /// Blocks that were read.
    blocks_read: u64,
    compared: u64,
    from_elsewhere: u64,
    agreed: (u64, Hash),
    /// Behind the last checkpoint that agreed: the first record, to be named if the next does not.
    first_since: Option<(WriterId, u64)>,
    /// Up to this size checkpoints were removed on record.
    thinned: u64,
    /// The first checkpoint that was kept elsewhere and that the store does not have.
    gone: Option<u64>,
}

impl<'w> Walk<'w> {
    fn new(
        tree: TreeName,
        elsewhere: VecDeque<(u64, Hash)>,
        key: Option<&'w VerifyingKey>,
        heads: &'w BTreeMap<WriterId, Link>,
    ) -> Self {
        let frontier = Frontier::new();
        Self {
            tree,
            key,
            heads,
            agreed: (0, frontier.root()),
            frontier,
            signed: VecDeque::new(),
            more_signed: Pages::new(
                "SELECT size, note FROM audit_checkpoint WHERE tenant = $1 AND class = $2 AND size > $3 ORDER BY size LIMIT 1000",
                "SELECT COUNT(*) FROM audit_checkpoint WHERE tenant = $1 AND class = $2",
            ),
            largest: 0,
            elsewhere,
            blocks: VecDeque::new(),
            more_blocks: Pages::new(
                "SELECT block, hash FROM audit_block WHERE tenant = $1 AND class = $2 AND block > $3 ORDER BY block LIMIT 1000",
                "SELECT COUNT(*) FROM audit_block WHERE tenant = $1 AND class = $2",
            ),
            blocks_read: 0,
            compared: 0,
            from_elsewhere: 0,
            first_since: None,
            thinned: 0,
            gone: None,
        }
    }

    fn wrong(&self, fault: TreeFault) -> VerifyError {
        VerifyError::Tree {
            tree: self.tree.clone(),
            fault,
        }
    }

    /// Walks all of the tree's leaves.
    async fn run(
        &mut self,
        snapshot: &mut Snapshot,
        leaves: &mut HashMap<WriterId, u64>,
    ) -> Result<(), VerifyError> {
        let mut extents = Pages::new(
            "SELECT tenant, class, first_index, writer, first_sequence, last_sequence, offsets, hashes \
             FROM audit_extent WHERE tenant = $1 AND class = $2 AND first_index > $3 ORDER BY first_index LIMIT 16",
            "SELECT COUNT(*) FROM audit_extent WHERE tenant = $1 AND class = $2",
        );
        while !extents.is_done {
            for row in extents
                .next(snapshot, &self.tree, 2, EXTENTS, "audit_extent")
                .await?
            {
                let size = self.frontier.size();
                let extent = Extent::read(&row).ok_or_else(|| self.wrong(TreeFault::Garbled(size)))?;
                if extent.first_index != size {
                    return Err(self.wrong(TreeFault::Gap(size)));
                }
                let end = size + extent.len();
                self.read_signed(snapshot, end).await?;
                self.read_blocks(snapshot, end / BLOCK).await?;
                *leaves.entry(extent.writer).or_default() += extent.len();
                self.take(&extent)?;
            }
        }
        self.end(snapshot).await
    }

    fn take(&mut self, extent: &Extent) -> Result<(), VerifyError> {
        let head = self.heads.get(&extent.writer).map_or(0, |head| head.sequence);
        for (sequence, hash) in extent.leaves() {
            if sequence == 0 || sequence > head {
                return Err(Broken {
                    writer: extent.writer,
                    sequence,
                    fault: Fault::Truncated(sequence),
                }
                .into());
            }
            self.first_since.get_or_insert((extent.writer, sequence));
            if let Some(block) = self.frontier.append(hash)
                && self.blocks.pop_front() != Some(Some(block))
            {
                return Err(self.wrong(TreeFault::Block(self.frontier.blocks() - 1)));
            }
            self.compare()?;
        }
        Ok(())
    }

    /// Reads what is signed for trees of up to `size` leaves.
    async fn read_signed(&mut self, snapshot: &mut Snapshot, size: u64) -> Result<(), VerifyError> {
        while !self.more_signed.is_done && self.largest <= size {
            let rows = self
                .more_signed
                .next(snapshot, &self.tree, 0, PAGE, "audit_checkpoint")
                .await?;
            for row in rows {
                let (size, root) = self.checkpoint(&row)?;
                self.largest = self.largest.max(size);
                if size > 0 {
                    self.signed.push_back((size, root));
                }
            }
        }
        Ok(())
    }

    /// What a checkpoint of the store signs. It must be signed by the key, where that is at hand.
    fn checkpoint(&self, row: &[Value]) -> Result<(u64, Hash), VerifyError> {
        let text = row.get(1).and_then(Value::text);
        let note = text.and_then(|text| Note::parse(text.as_bytes()).ok());
        let note = note.ok_or_else(|| self.wrong(TreeFault::Unreadable))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|_| self.wrong(TreeFault::Unreadable))?;
        let in_place = row.first().and_then(Value::sequence) == Some(checkpoint.size);
        match self.key {
            Some(key) => {
                let ours = note.vouched_by(key).is_ok() && checkpoint.origin == key.origin(&self.tree);
                if !ours || !in_place {
                    return Err(self.wrong(TreeFault::Unsigned(checkpoint.size)));
                }
            }
            None if !in_place => return Err(self.wrong(TreeFault::Unreadable)),
            None => {}
        }
        Ok((checkpoint.size, checkpoint.root))
    }

    /// Reads what the store says of the tree's first `blocks` blocks.
    async fn read_blocks(&mut self, snapshot: &mut Snapshot, blocks: u64) -> Result<(), VerifyError> {
        while !self.more_blocks.is_done && self.blocks_read < blocks {
            let rows = self
                .more_blocks
                .next(snapshot, &self.tree, 0, PAGE, "audit_block")
                .await?;
            for row in rows {
                let in_place = row.first().and_then(Value::sequence) == Some(self.blocks_read);
                let hash = row.get(1).and_then(Value::bytes).filter(|_| in_place);
                self.blocks
                    .push_back(hash.and_then(|bytes| Hash::try_from(bytes).ok()));
                self.blocks_read += 1;
            }
        }
        Ok(())
    }

    /// Compares the root with what is signed for this size.
    fn compare(&mut self) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        let is_due = |next: &mut (u64, Hash)| next.0 <= size;
        if self.signed.front().is_none_or(|next| next.0 > size)
            && self.elsewhere.front().is_none_or(|next| next.0 > size)
        {
            return Ok(());
        }
        let here = self.frontier.root();
        let mut is_here = false;
        while let Some((_, root)) = self.signed.pop_front_if(is_due) {
            is_here = true;
            self.agree(here, root)?;
        }
        while let Some((_, root)) = self.elsewhere.pop_front_if(is_due) {
            self.agree(here, root)?;
            self.from_elsewhere += 1;
            // It was in the store before it was anywhere else.
            if !is_here && size > self.thinned {
                self.gone.get_or_insert(size);
            }
        }
        self.first_since = None;
        Ok(())
    }

    /// That the root at this size is the one that was signed.
    fn agree(&mut self, here: Hash, signed: Hash) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        if signed != here {
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
        self.compared += 1;
        self.agreed = (size, here);
        Ok(())
    }

    /// That nothing is signed for that is not there, and no block either.
    async fn end(&mut self, snapshot: &mut Snapshot) -> Result<(), VerifyError> {
        self.read_signed(snapshot, u64::MAX).await?;
        let is_left = !self.signed.is_empty() || !self.elsewhere.is_empty();
        if is_left {
            let elsewhere = self.elsewhere.back().map_or(0, |(size, _)| *size);
            return Err(self.wrong(TreeFault::Shorter {
                has: self.frontier.size(),
                signed: self.largest.max(elsewhere),
            }));
        }
        let blocks = self.frontier.blocks();
        self.read_blocks(snapshot, blocks + 1).await?;
        if !self.blocks.is_empty() {
            return Err(self.wrong(TreeFault::Block(blocks)));
        }
        Ok(())
    }
}
