//! Puts records into their trees, and signs the trees' heads.
//!
//! One process at a time holds the store's [`Lease`]. It reads, for each writer, the records behind those that are in trees, checks that they
//! continue the writer's chain up to its signed position, appends each as a leaf to the tree of its tenant and retention class, and signs a checkpoint of every
//! tree that grew. Leaves and the sums for dashboards are one transaction, the checkpoints over them the next. Replicas that do not hold the lease try again
//! every few seconds, so when one dies another goes on.
//!
//! A signature cannot be taken back, so before anything is signed the trees that are resumed must have the roots that were signed before: those of the last checkpoint in the
//! store, and those that this machine remembers in a file of its own. A store that was set back to an earlier state is therefore not signed again.
//!
//! Limits: [`PAGE`] records a transaction, one checkpoint a tree every [`Sequencing::every`].
//!
//! On failure: logged once until it changes, counted, tried again. A writer whose position is not signed by the key, or whose records do not lead to it, is left out, and the
//! log says so; `verify` names the record.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use cordon_domain::Clock;
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep},
};

use crate::{
    disk::replace_file,
    extent::Extent,
    note::{Checkpoint, Note, NoteError, SigningKey, VerifyingKey},
    record::{Entry, EntryHash, TreeName, WriterId},
    spool::{Link, Shared},
    store::{Lease, Look, Purpose, Row, Statement, Store, StoreError, StoreUrl, Value, number},
    stored::{MOST_LEAVES, blocks, leaves_between, names, of, root_at},
    tree::{BLOCK, Frontier, Hash, leaf_hash},
};

mod sums;
use sums::Sums;

/// Records of one writer that are read, and put into trees, in one transaction. They may all be of one tree.
const PAGE: u64 = MOST_LEAVES;
/// How long to wait before the lease is tried for again.
const LEASE_AGAIN: Duration = Duration::from_secs(2);
/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_secs(2);
/// How often new records are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How long a writer whose records cannot be vouched for is left alone.
const AGAIN: Duration = Duration::from_secs(30);
/// How far a writer's clock may be set back before its records are looked for in all partitions.
const CLOCK_SLACK: u64 = 3_600_000;

/// How trees are signed.
#[derive(Clone, Debug)]
pub struct Sequencing {
    /// The key of checkpoints. Its name is what origins begin with.
    pub key: Arc<SigningKey>,
    /// How long a tree may grow before a checkpoint is signed.
    pub every: Duration,
    /// File in which this machine remembers what was signed.
    pub memory: PathBuf,
    /// Where checkpoints are told as they are signed.
    pub published: broadcast::Sender<Published>,
}

/// A checkpoint that was signed.
#[derive(Clone, Debug)]
pub struct Published {
    /// The tree.
    pub tree: TreeName,
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: Note,
}

pub(crate) struct Sequencer {
    pub(crate) sequencing: Sequencing,
    pub(crate) url: StoreUrl,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Turns true when nothing is shipped any more: what is there is put into trees, and that is all.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why records are not put into trees.
#[derive(Debug, thiserror::Error)]
enum SequenceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("tree {0} in the store is not the one that was signed: was the store set back or altered?")]
    NotAsSigned(TreeName),
    #[error("tree {0} in the store does not read")]
    Garbled(TreeName),
    #[error("a checkpoint cannot be signed: {0}")]
    Note(#[from] NoteError),
    #[error("what was signed cannot be remembered: {0}")]
    Memory(#[from] io::Error),
}

/// What was signed, by tree, as this machine remembers it.
type Memory = BTreeMap<String, String>;

fn read_memory(file: &Path) -> io::Result<Memory> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::new()),
        Err(error) => Err(error),
    }
}

/// The newest checkpoint of each tree that this machine remembers having signed by `key`, as notes: evidence that lies outside of the store.
///
/// # Errors
/// The file is there and does not read.
pub fn remembered(file: &Path, key: &VerifyingKey) -> io::Result<Vec<String>> {
    let ours = |note: &String| Note::parse(note.as_bytes()).is_ok_and(|note| note.vouched_by(key).is_ok());
    Ok(read_memory(file)?.into_values().filter(ours).collect())
}

impl Sequencer {
    pub(crate) async fn run(mut self) {
        let mut said = None;
        loop {
            match self.session(&mut said).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    self.shared.counters.sequence_failures.fetch_add(1, Relaxed);
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::error!(error = %text, "audit records are not being put into trees");
                        said = Some(text);
                    }
                    if *self.stop.borrow() {
                        return;
                    }
                }
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    /// Sequences until told to stop, which it says, or until something fails or another process has the lease.
    async fn session(&mut self, said: &mut Option<String>) -> Result<bool, SequenceError> {
        let store = Store::open(&self.url).await?;
        let mut lease = loop {
            if let Some(lease) = store.lease(Purpose::Sequencing).await? {
                break lease;
            }
            // Who has it puts into trees what this one has shipped.
            if *self.stop.borrow() {
                store.close().await;
                return Ok(true);
            }
            tokio::select! {
                () = sleep(LEASE_AGAIN) => {}
                _ = self.stop.changed() => {}
            }
        };
        let outcome = self.hold(&mut lease, said).await;
        lease.release().await;
        store.close().await;
        outcome.map(|()| true)
    }

    async fn hold(&mut self, lease: &mut Lease, said: &mut Option<String>) -> Result<(), SequenceError> {
        let mut trees = Trees::resume(lease, &self.sequencing).await?;
        loop {
            // Read first: what was shipped before it turned true is then seen.
            let stopping = *self.stop.borrow();
            trees.forgive();
            self.round(lease, &mut trees).await?;
            if trees.is_due(self.sequencing.every, stopping) {
                self.sign(lease, &mut trees).await?;
            }
            if said.take().is_some() {
                tracing::info!("audit records are being put into trees again");
            }
            if stopping {
                return Ok(());
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    /// Puts the records that are new into trees.
    async fn round(&self, lease: &mut Lease, trees: &mut Trees) -> Result<(), SequenceError> {
        let sql = "SELECT writer, sequence, hash, note FROM audit_writer";
        for row in lease.look(sql, Vec::new()).await? {
            let (writer, head, note) = position(&row).ok_or(StoreError::Garbled("audit_writer"))?;
            let after = trees.after(lease, writer).await?;
            if after.link.sequence >= head.sequence || trees.refused.contains_key(&writer) {
                continue;
            }
            // What becomes a leaf is signed for good, so it must be what a gateway recorded: the position is signed by the same key, and the
            // records up to it have its hash. Whoever has the store alone can make neither.
            if !is_signed(note, head, writer, &self.sequencing.key) {
                self.refuse(trees, writer, head.sequence, "the end of its chain is not signed");
                continue;
            }
            match self.vouched(lease, after, writer, head).await? {
                Ok(hashes) => self.append(lease, trees, after, writer, &hashes).await?,
                Err(sequence) => {
                    self.refuse(trees, writer, sequence, "a record does not continue its chain");
                }
            }
        }
        Ok(())
    }

    /// Leaves a writer's records out until this process starts anew, and says so.
    fn refuse(&self, trees: &mut Trees, writer: WriterId, sequence: u64, why: &'static str) {
        self.shared.counters.sequence_failures.fetch_add(1, Relaxed);
        tracing::error!(%writer, sequence, why, "audit records of a writer are not put into trees; `cordon audit verify` says more");
        trees.refused.insert(writer, Instant::now());
    }

    /// The hashes of a writer's records up to its position, or the sequence of the first that does not continue its chain.
    async fn vouched(
        &self,
        lease: &mut Lease,
        after: After,
        writer: WriterId,
        head: Link,
    ) -> Result<Result<Vec<EntryHash>, u64>, StoreError> {
        let mut hashes = Vec::new();
        let (mut link, mut is_known) = (after.link, after.is_known);
        while link.sequence < head.sequence {
            let to = head.sequence.min(link.sequence + PAGE);
            for row in records(lease, writer, link.sequence, to, after.at).await? {
                let read = || {
                    let body = row.first()?.text()?;
                    let entry = Entry::parse(body.as_bytes()).ok()?;
                    let follows = entry.writer == writer
                        && entry.sequence == link.sequence + 1
                        && (entry.previous_hash == link.hash || !is_known);
                    follows.then(|| EntryHash::of(body.as_bytes()))
                };
                let Some(hash) = read() else {
                    return Ok(Err(link.sequence + 1));
                };
                link = Link {
                    sequence: link.sequence + 1,
                    hash,
                };
                is_known = true;
                hashes.push(hash);
            }
            if link.sequence < to {
                return Ok(Err(link.sequence + 1));
            }
        }
        Ok(if link.hash == head.hash {
            Ok(hashes)
        } else {
            Err(head.sequence)
        })
    }

    /// Makes the records behind `after`, which have these hashes, leaves of their trees.
    async fn append(
        &self,
        lease: &mut Lease,
        trees: &mut Trees,
        after: After,
        writer: WriterId,
        hashes: &[EntryHash],
    ) -> Result<(), SequenceError> {
        let mut from = after.link.sequence;
        for hashes in hashes.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
            let to = from + hashes.len() as u64;
            let rows = records(lease, writer, from, to, after.at).await?;
            let mut leaves = Vec::with_capacity(rows.len());
            for (row, hash) in rows.iter().zip(hashes) {
                let body = row.first().and_then(Value::text).unwrap_or_default();
                let entry = Entry::parse(body.as_bytes()).ok();
                // They were read before, and may have been changed in between.
                let entry = entry.filter(|_| EntryHash::of(body.as_bytes()) == *hash);
                let entry = entry.ok_or(StoreError::Garbled("audit_record"))?;
                let link = Link {
                    sequence: entry.sequence,
                    hash: *hash,
                };
                leaves.push(Leaf {
                    link,
                    hash: leaf_hash(body.as_bytes()),
                    entry,
                });
            }
            if leaves.len() != hashes.len() {
                return Err(StoreError::Garbled("audit_record").into());
            }
            self.append_page(lease, trees, writer, leaves).await?;
            from = to;
        }
        Ok(())
    }

    /// Makes records leaves of their trees, in one transaction.
    async fn append_page(
        &self,
        lease: &mut Lease,
        trees: &mut Trees,
        writer: WriterId,
        leaves: Vec<Leaf>,
    ) -> Result<(), SequenceError> {
        let Some(last) = leaves.last() else { return Ok(()) };
        let after = After {
            link: last.link,
            at: last.entry.at,
            is_known: true,
        };
        for exchange in trees.sums.unknown(&leaves) {
            let sql = "SELECT body FROM audit_record WHERE exchange = $1 AND kind IN ('intent', 'tunnel_opened') LIMIT 1";
            let rows = lease.look(sql, vec![Value::Uuid(exchange.as_uuid())]).await?;
            let body = rows.first().and_then(|row| row.first()).and_then(Value::text);
            if let Some(opening) = body.and_then(|body| Entry::parse(body.as_bytes()).ok()) {
                trees.sums.open(&opening);
            }
        }
        let mut extents: BTreeMap<TreeName, Extent> = BTreeMap::new();
        let mut statements = Vec::new();
        for leaf in &leaves {
            let name = leaf.entry.tree();
            let tree = trees.by_name.entry(name.clone()).or_default();
            let extent = extents.entry(name.clone()).or_insert_with(|| Extent {
                tree: name.clone(),
                first_index: tree.frontier.size(),
                writer,
                sequences: Vec::new(),
                hashes: Vec::new(),
            });
            extent.sequences.push(leaf.link.sequence);
            extent.hashes.push(leaf.hash);
            if let Some(block) = tree.frontier.append(leaf.hash) {
                statements.push(insert_block(&name, tree.frontier.blocks() - 1, block));
            }
            trees.sums.count(&leaf.entry);
        }
        statements.extend(extents.values().map(Extent::insert));
        statements.extend(trees.sums.take());
        lease.transact(statements).await?;
        trees.writers.insert(writer, after);
        self.shared
            .counters
            .sequenced
            .fetch_add(leaves.len() as u64, Relaxed);
        Ok(())
    }

    /// Signs a checkpoint of every tree that grew.
    async fn sign(&self, lease: &mut Lease, trees: &mut Trees) -> Result<(), SequenceError> {
        let at = u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let key = &self.sequencing.key;
        let mut signed = Vec::new();
        let mut statements = Vec::new();
        for (name, tree) in &trees.by_name {
            if tree.frontier.size() == tree.signed {
                continue;
            }
            let origin = key.verifying().origin(name);
            let checkpoint = Checkpoint::new(origin, tree.frontier.size(), tree.frontier.root());
            let mut note = Note::new(checkpoint.text())?;
            let signature = key.sign(note.text(), at / 1000);
            note.push(signature)?;
            statements.push(Statement {
                sql: "INSERT INTO audit_checkpoint (tenant, class, size, at, note) VALUES ($1, $2, $3, $4, $5)",
                values: vec![
                    Value::Text(name.tenant().to_owned()),
                    Value::Text(name.class().to_owned()),
                    number(checkpoint.size),
                    number(at),
                    Value::Text(note.to_string()),
                ],
            });
            signed.push(Published {
                tree: name.clone(),
                checkpoint,
                note,
            });
        }
        trees.signed_at = Some(Instant::now());
        if signed.is_empty() {
            return Ok(());
        }
        lease.transact(statements).await?;
        for published in &signed {
            if let Some(tree) = trees.by_name.get_mut(&published.tree) {
                tree.signed = published.checkpoint.size;
            }
            let (origin, note) = (published.checkpoint.origin.clone(), published.note.to_string());
            trees.memory.insert(origin, note);
        }
        let bytes = serde_json::to_vec(&trees.memory).expect("names and notes are plain text");
        let path = self.sequencing.memory.clone();
        tokio::task::spawn_blocking(move || replace_file(&path, &bytes))
            .await
            .map_err(|_| io::Error::other("the task that writes it failed"))??;
        self.shared
            .counters
            .checkpoints
            .fetch_add(signed.len() as u64, Relaxed);
        for published in signed {
            // Nobody has to listen.
            let _ = self.sequencing.published.send(published);
        }
        Ok(())
    }
}

/// A record on its way into a tree.
struct Leaf {
    link: Link,
    hash: Hash,
    entry: Entry,
}

/// The last of a writer's records that is in a tree.
#[derive(Clone, Copy)]
struct After {
    link: Link,
    at: u64,
    /// Whether its hash is known; it is not where the record was pruned.
    is_known: bool,
}

#[derive(Default)]
struct Tree {
    frontier: Frontier,
    /// The size of its last checkpoint.
    signed: u64,
}

/// All trees of a store, as far as they have come.
struct Trees {
    by_name: BTreeMap<TreeName, Tree>,
    writers: HashMap<WriterId, After>,
    /// Writers whose records are left out, and since when.
    refused: HashMap<WriterId, Instant>,
    sums: Sums,
    memory: Memory,
    signed_at: Option<Instant>,
}

impl Trees {
    /// Takes the trees up where they were left, if they are as they were signed.
    async fn resume(lease: &mut Lease, sequencing: &Sequencing) -> Result<Self, SequenceError> {
        let memory = read_memory(&sequencing.memory)?;
        let key = sequencing.key.verifying();
        let signed = |note: &str| {
            let note = Note::parse(note.as_bytes()).ok()?;
            note.vouched_by(key).ok()?;
            Checkpoint::parse(note.text()).ok()
        };
        let mut by_name = BTreeMap::new();
        for name in names(lease, "audit_extent").await? {
            let blocks = blocks(lease, &name).await?;
            let behind = blocks.len() as u64 * BLOCK;
            let leaves = leaves_between(lease, &name, behind..u64::MAX).await?;
            let mut tree = Tree {
                frontier: Frontier::resume(blocks.iter().copied(), leaves),
                signed: 0,
            };
            if tree.frontier.blocks() != blocks.len() as u64 {
                return Err(SequenceError::Garbled(name));
            }
            let sql = "SELECT note FROM audit_checkpoint WHERE tenant = $1 AND class = $2 ORDER BY size DESC LIMIT 1";
            let rows = lease.look(sql, of(&name)).await?;
            let last = rows.first().and_then(|row| row.first()).and_then(Value::text);
            let remembered = memory.get(&key.origin(&name)).map(String::as_str);
            for note in [last, remembered].into_iter().flatten() {
                let not_as_signed = || SequenceError::NotAsSigned(name.clone());
                let checkpoint = signed(note).ok_or_else(not_as_signed)?;
                if checkpoint.size > tree.frontier.size()
                    || root_at(lease, &name, &blocks, checkpoint.size).await? != checkpoint.root
                {
                    return Err(not_as_signed());
                }
                tree.signed = tree.signed.max(checkpoint.size);
            }
            by_name.insert(name, tree);
        }
        let trees = Self {
            by_name,
            writers: HashMap::new(),
            refused: HashMap::new(),
            sums: Sums::default(),
            memory,
            signed_at: None,
        };
        // A tree that was signed and is not there at all.
        for note in trees.memory.values() {
            let tree = signed(note).and_then(|checkpoint| {
                let (tenant, class) = checkpoint
                    .origin
                    .strip_prefix(key.name())?
                    .strip_prefix('/')?
                    .split_once('/')?;
                TreeName::new(tenant, class).ok()
            });
            if let Some(tree) = tree
                && !trees.by_name.contains_key(&tree)
            {
                return Err(SequenceError::NotAsSigned(tree));
            }
        }
        Ok(trees)
    }

    /// The last of a writer's records that is in a tree.
    async fn after(&mut self, lease: &mut Lease, writer: WriterId) -> Result<After, StoreError> {
        if let Some(after) = self.writers.get(&writer) {
            return Ok(*after);
        }
        let sql =
            "SELECT last_sequence FROM audit_extent WHERE writer = $1 ORDER BY last_sequence DESC LIMIT 1";
        let rows = lease.look(sql, vec![writer.into()]).await?;
        let last = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Value::sequence)
            .unwrap_or(0);
        let mut after = After {
            link: Link::START,
            at: 0,
            is_known: true,
        };
        if last > 0 {
            let sql = "SELECT at, body FROM audit_record WHERE writer = $1 AND sequence = $2";
            let rows = lease.look(sql, vec![writer.into(), number(last)]).await?;
            let read = rows.first().and_then(|row| {
                let [at, body] = row.as_slice() else { return None };
                Some((at.sequence()?, EntryHash::of(body.text()?.as_bytes())))
            });
            let (at, hash) = read.unwrap_or((0, EntryHash::GENESIS));
            after = After {
                link: Link { sequence: last, hash },
                at,
                is_known: read.is_some(),
            };
        }
        self.writers.insert(writer, after);
        Ok(after)
    }

    /// Lets writers that were left out for a while try again: a position that was not signed may be by now.
    fn forgive(&mut self) {
        self.refused.retain(|_, since| since.elapsed() < AGAIN);
    }

    /// Whether checkpoints are to be signed now.
    fn is_due(&self, every: Duration, stopping: bool) -> bool {
        stopping || self.signed_at.is_none_or(|at| at.elapsed() >= every)
    }
}

fn insert_block(tree: &TreeName, block: u64, hash: Hash) -> Statement {
    let mut values = of(tree);
    values.extend([number(block), Value::Bytes(hash.as_bytes().to_vec())]);
    Statement {
        sql: "INSERT INTO audit_block (tenant, class, block, hash) VALUES ($1, $2, $3, $4)",
        values,
    }
}

/// Records of a writer behind `from` up to `to`, as many as there are. They are looked for from shortly before `at` on first, as that reads few
/// partitions.
async fn records(
    lease: &mut Lease,
    writer: WriterId,
    from: u64,
    to: u64,
    at: u64,
) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT body FROM audit_record WHERE writer = $1 AND sequence > $2 AND sequence <= $3 AND at >= $4 ORDER BY sequence";
    let mut since = at.saturating_sub(CLOCK_SLACK);
    loop {
        let values = vec![writer.into(), number(from), number(to), number(since)];
        let rows = lease.look(sql, values).await?;
        if since == 0 || rows.len() as u64 == to - from {
            return Ok(rows);
        }
        since = 0;
    }
}

/// Whether a position is signed by the key that signs checkpoints.
fn is_signed(note: Option<&str>, head: Link, writer: WriterId, key: &SigningKey) -> bool {
    let key = key.verifying();
    let read = || {
        let note = Note::parse(note?.as_bytes()).ok()?;
        note.vouched_by(key).ok()?;
        Checkpoint::parse(note.text()).ok()
    };
    read().is_some_and(|signed| signed == head.signable(key.name(), writer))
}

/// A row `writer, sequence, hash, note` of `audit_writer`.
fn position(row: &[Value]) -> Option<(WriterId, Link, Option<&str>)> {
    let [writer, sequence, hash, note] = row else {
        return None;
    };
    let link = Link {
        sequence: sequence.sequence()?,
        hash: hash.text()?.parse().ok()?,
    };
    Some((writer.uuid()?.into(), link, note.text()))
}
