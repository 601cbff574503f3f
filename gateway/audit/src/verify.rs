//! Whether the store still holds what was recorded: nothing altered, missing, reordered, doubled or added.
//!
//! All is read in one [`Snapshot`], so a live store can be verified while it grows.
//!
//! - [`chains`]: each writer's records are walked in the order of their sequence, up to where the writer's chain stands. For each record: its body
//!   reads; body and columns say the same (searches use the columns, so an altered column is a lie even if the body is
//!   whole); its sequence follows; the record behind it holds its hash; and it is the leaf that its tree holds for it.
//! - [`trees`]: each tree's root is computed anew from its leaves and compared with every signed checkpoint, those in the store and those that were published or
//!   cosigned elsewhere.
//!
//! - [`payloads`]: what is kept sealed is what records name, byte for byte, and whatever cannot be opened any more was erased.
//!
//! A chain alone is the store's own word: someone who can write the store can shorten it, or rewrite it with new hashes. Checkpoints are signed by a key that the store
//! does not hold, so up to the last checkpoint that does not help them; what lies behind it, in a tree or not, is vouched for by the signed position of
//! the chain. What is left is to set a store back to a state in which it once was, or to take its last checkpoints away: that shows with a
//! checkpoint that was kept elsewhere. Where the spool directory is at hand, its `cursor` file is one more witness, for its own writer.
//!
//! Records that had their time are pruned with their partition. Their leaves stay, and a record of the pruning says which they were;
//! one that is missing without that is missing. So with checkpoints that were thinned, where one that was kept elsewhere is given as evidence.
//!
//! Memory is the same however large the store is: all is read in windows. What is held as a whole is the checkpoints that are given as
//! evidence, the exchanges that are open, and what is on record as erased or removed.
//!
//! On failure: [`Broken`] is the answer "no"; [`StoreError`] means that there was no answer.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use cordon_domain::ExchangeId;

use crate::{
    note::{Checkpoint, Note, VerifyingKey},
    record::{Body, Entry, EntryHash, TreeName, WriterId},
    spool::{Link, recover::read_cursor},
    store::{Look, Snapshot, Store, StoreError, Value},
    tree::Hash,
};

mod chains;
use chains::{Chain, Pruned};
mod faults;
pub use faults::{Broken, Fault, VerifyError};
mod payloads;
use payloads::Payloads;
mod trees;
pub use trees::{TreeFault, TreeHead};

/// What the store is compared with.
#[derive(Clone, Debug, Default)]
pub struct Evidence<'e> {
    /// The directory of a spool that ships to it; it may be in use.
    pub spool: Option<&'e Path>,
    /// The key that checkpoints are signed by. Without it the trees are compared with what the store says of them.
    pub key: Option<&'e VerifyingKey>,
    /// Checkpoints that were kept elsewhere, as notes.
    pub checkpoints: Vec<String>,
    /// The database that subjects' keys are in, where they are kept apart from the records.
    pub keys: Option<&'e Store>,
}

/// The store holds what was recorded, as far as the evidence can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records are there.
    pub records: u64,
    /// How many more had their time and were pruned; their leaves are there.
    pub pruned: u64,
    /// Of the records, those that no checkpoint covers yet.
    pub behind: u64,
    /// Sealed parts of exchanges that are kept, with their keys.
    pub sealed: u64,
    /// Sealed parts whose keys were erased, as records of the erasures say.
    pub erased: u64,
    /// Where each writer's chain stands.
    pub chains: Vec<ChainHead>,
    /// Each tree with its last checkpoint.
    pub trees: Vec<TreeHead>,
    /// Exchanges that have no final state yet.
    pub unsealed: u64,
    /// The oldest of them, and when it was opened (milliseconds since 1970).
    pub oldest_unsealed: Option<(ExchangeId, u64)>,
    /// Whether a spool directory bore witness to the end of its chain.
    pub witnessed: bool,
    /// Whether the signatures were checked.
    pub signed: bool,
}

/// The end of one writer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The writer.
    pub writer: WriterId,
    /// The last sequence.
    pub sequence: u64,
    /// The hash of that record.
    pub hash: EntryHash,
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.writer, self.sequence, self.hash.short())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ok {} records, checkpoint", self.records)?;
        if self.chains.is_empty() {
            f.write_str(" none")?;
        }
        for chain in &self.chains {
            write!(f, " {chain}")?;
        }
        for tree in self.trees.iter().filter(|tree| tree.checkpoints > 0) {
            let root = &tree.root.to_string()[..8];
            write!(f, "\ntree {} {} leaves, root {root}", tree.tree, tree.size)?;
            write!(f, ", {} checkpoints agree", tree.checkpoints)?;
            if tree.from_elsewhere > 0 {
                write!(f, ", {} of them kept elsewhere", tree.from_elsewhere)?;
            }
        }
        if self.pruned > 0 {
            write!(f, "\nnote: {} more had their time and were pruned", self.pruned)?;
        }
        for tree in self.trees.iter().filter(|tree| tree.checkpoints == 0) {
            let tree = &tree.tree;
            write!(
                f,
                "\nnote: tree {tree} has no checkpoint: none was signed yet, or all were removed"
            )?;
        }
        if self.sealed + self.erased > 0 {
            write!(f, "\nsealed texts: {} kept, {} erased", self.sealed, self.erased)?;
        }
        if self.behind > 0 {
            write!(f, "\nnote: {} are behind the last checkpoint", self.behind)?;
        }
        if let Some((exchange, at)) = self.oldest_unsealed {
            let n = self.unsealed;
            write!(
                f,
                "\nnote: {n} without a final state, the oldest {exchange} of {}",
                written(at)
            )?;
        }
        match (self.signed, self.witnessed) {
            (true, _) => Ok(()),
            (false, true) => f.write_str(
                "\nnote: no key at hand, so only this machine's chain is vouched for by more than the store's own word",
            ),
            (false, false) => f.write_str(
                "\nnote: neither key nor spool directory at hand, so the ends of the chains are the store's own word",
            ),
        }
    }
}

fn written(at: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).ok();
    time.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("{at} ms"))
}

/// Walks all chains and trees of a store.
///
/// # Errors
/// [`VerifyError::Broken`] with the first record that is wrong, [`VerifyError::Tree`] where none can be named; the others when
/// there is no telling.
pub async fn verify(store: &Store, evidence: &Evidence<'_>) -> Result<Verified, VerifyError> {
    // Read before the store: what was shipped by then must be there.
    let witness = evidence.spool.map(read_cursor).transpose()?.flatten();
    let mut snapshot = store.snapshot().await?;
    let found = within(store, &mut snapshot, evidence, witness).await;
    snapshot.close().await;
    found
}

async fn within(
    store: &Store,
    snapshot: &mut Snapshot,
    evidence: &Evidence<'_>,
    witness: Option<crate::spool::CursorFile>,
) -> Result<Verified, VerifyError> {
    let writers = writers(snapshot).await?;
    let removed = removed(snapshot).await?;
    let mut found = Verified {
        records: 0,
        pruned: 0,
        behind: 0,
        sealed: 0,
        erased: 0,
        chains: Vec::new(),
        trees: Vec::new(),
        unsealed: 0,
        oldest_unsealed: None,
        witnessed: witness.is_some(),
        signed: evidence.key.is_some(),
    };
    if let Some(witness) = witness
        && witness.shipped.sequence > 0
        && !writers.contains_key(&witness.writer)
    {
        let fault = Fault::Truncated(witness.shipped.sequence);
        return Err(Broken {
            writer: witness.writer,
            sequence: 1,
            fault,
        }
        .into());
    }
    let mut leaves = HashMap::new();
    // Behind the first look at the records: the key of whatever these say is there by then.
    let mut payloads = Payloads::new(snapshot, store, evidence.keys).await?;
    for (writer, position) in &writers {
        let (writer, head) = (*writer, position.link);
        let chain = Chain {
            writer,
            head,
            witness: witness.filter(|w| w.writer == writer).map(|w| w.shipped),
            pruned: &removed.records,
        };
        let walked = chain.walk(snapshot, &mut payloads).await?;
        // What trees hold is signed with them; the position vouches for what they do not hold yet.
        if let Some(key) = evidence.key
            && head.sequence > 0
            && !position.is_signed(key, writer, walked.behind > 0)
        {
            return Err(Broken {
                writer,
                sequence: head.sequence,
                fault: Fault::Unsigned,
            }
            .into());
        }
        leaves.insert(writer, walked.leaves);
        found.records += walked.records;
        found.pruned += walked.pruned;
        found.behind += walked.behind;
        found.chains.push(ChainHead {
            writer,
            sequence: head.sequence,
            hash: head.hash,
        });
        found.unsealed += walked.open.len() as u64;
        let oldest = walked
            .open
            .into_iter()
            .min_by_key(|(exchange, at)| (*at, *exchange));
        found.oldest_unsealed = [found.oldest_unsealed, oldest]
            .into_iter()
            .flatten()
            .min_by_key(|(exchange, at)| (*at, *exchange));
    }
    let heads = writers
        .iter()
        .map(|(writer, position)| (*writer, position.link))
        .collect();
    let sealed = payloads.finish(snapshot).await?;
    (found.sealed, found.erased) = (sealed.kept, sealed.erased);
    let compared = trees::compare(snapshot, evidence, &removed.checkpoints, &heads, &leaves).await?;
    found.trees = compared.trees;
    found.behind += compared.behind;
    // Checkpoints vouch for the records that are there, and not for that there were no more. A tree that does not agree says more, so this comes last.
    let without =
        |(_, position): &(WriterId, Position)| position.note.is_none() && position.link.sequence > 0;
    if evidence.key.is_some()
        && let Some((writer, position)) = writers.into_iter().find(without)
    {
        return Err(Broken {
            writer,
            sequence: position.link.sequence,
            fault: Fault::Unsigned,
        }
        .into());
    }
    Ok(found)
}

/// Where the store says that a writer's chain stands.
struct Position {
    link: Link,
    note: Option<String>,
}

impl Position {
    /// Whether the key has signed it. One without a signature is told of here only where it is `needed`: where trees hold all, they are compared first.
    fn is_signed(&self, key: &VerifyingKey, writer: WriterId, needed: bool) -> bool {
        let Some(note) = &self.note else { return !needed };
        let read = || {
            let note = Note::parse(note.as_bytes()).ok()?;
            note.vouched_by(key).ok()?;
            Checkpoint::parse(note.text()).ok()
        };
        read().is_some_and(|signed| signed == self.link.signable(key.name(), writer))
    }
}

impl Link {
    /// The position as it is signed: a chain's last hash in place of a root.
    pub(crate) fn signable(self, key_name: &str, writer: WriterId) -> Checkpoint {
        let origin = format!("{key_name}/writer/{writer}");
        Checkpoint::new(origin, self.sequence, Hash::from_bytes(*self.hash.as_bytes()))
    }
}

/// What is on record as removed: records, and checkpoints up to a size of their tree.
#[derive(Default)]
struct Removed {
    records: Pruned,
    checkpoints: HashMap<TreeName, u64>,
}

/// What had its time and was removed.
async fn removed(snapshot: &mut Snapshot) -> Result<Removed, VerifyError> {
    let sql = "SELECT body FROM audit_record WHERE kind IN ('pruned', 'checkpoints_thinned') AND class = 'governance'";
    let mut removed = Removed::default();
    for row in snapshot.look(sql, Vec::new()).await? {
        // One that does not read is found, and told of, where its chain is walked.
        let body = row.first().and_then(Value::text).unwrap_or_default();
        let Ok(entry) = Entry::parse(body.as_bytes()) else {
            continue;
        };
        match entry.body {
            Body::Pruned(it) => {
                let Ok(tree) = TreeName::new(&it.tenant, &it.class) else {
                    continue;
                };
                for run in it.runs {
                    let ranges = removed.records.entry((run.writer, tree.clone())).or_default();
                    ranges.push(run.first..=run.last);
                }
            }
            Body::CheckpointsThinned(it) => {
                for thinned in it.trees {
                    let Ok(tree) = TreeName::new(&thinned.tenant, &thinned.class) else {
                        continue;
                    };
                    let size = removed.checkpoints.entry(tree).or_default();
                    *size = thinned.size.max(*size);
                }
            }
            _ => {}
        }
    }
    Ok(removed)
}

/// Every writer of which the store holds a record or a position, with that position.
async fn writers(snapshot: &mut Snapshot) -> Result<BTreeMap<WriterId, Position>, VerifyError> {
    let mut heads = BTreeMap::new();
    let sql = "SELECT writer, sequence, hash, note FROM audit_writer";
    for row in snapshot.look(sql, Vec::new()).await? {
        let head = || {
            let [writer, sequence, hash, note] = row.as_slice() else {
                return None;
            };
            let link = Link {
                sequence: sequence.sequence()?,
                hash: hash.text()?.parse().ok()?,
            };
            let note = note.text().map(str::to_owned);
            Some((WriterId::from(writer.uuid()?), Position { link, note }))
        };
        let (writer, position) = head().ok_or(StoreError::Garbled("audit_writer"))?;
        heads.insert(writer, position);
    }
    // From writer to writer by key: a store holds few writers and many records.
    for table in ["audit_record", "audit_payload"] {
        let mut sql =
            format!("SELECT writer, sequence FROM {table} ORDER BY writer DESC, sequence DESC LIMIT 1");
        let mut values = Vec::new();
        while let Some(row) = snapshot.look(&sql, values).await?.first() {
            let last = || Some((row.first()?.uuid()?, row.get(1)?.int()?));
            let (id, sequence) = last().ok_or(StoreError::Garbled(table))?;
            let writer = WriterId::from(id);
            if !heads.contains_key(&writer) {
                return Err(Broken {
                    writer,
                    sequence: u64::try_from(sequence).unwrap_or(0),
                    fault: Fault::NoWriter,
                }
                .into());
            }
            sql = format!(
                "SELECT writer, sequence FROM {table} WHERE writer < $1 ORDER BY writer DESC, sequence DESC LIMIT 1"
            );
            values = vec![Value::Uuid(id)];
        }
    }
    Ok(heads)
}
