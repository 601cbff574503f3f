//! Makes the proof that an exchange's records are in the audit.
//!
//! All is read in one [`Snapshot`]. Of each tree that holds one of the records the last checkpoint is taken that a witness cosigned, or else the
//! last one that there is.
//!
//! On failure: [`ProveError`]. A proof that was made of a store that lies does not verify.

use std::collections::{BTreeMap, btree_map};

use cordon_domain::ExchangeId;

use crate::{
    extent::Extent,
    note::{Checkpoint, Note, Signature},
    proof::{Proof, ProofCheckpoint, ProofRecord},
    record::{Entry, TreeName},
    store::{Look, Snapshot, Store, StoreError, Value, number},
    stored::{blocks, leaves_between, of},
    tree::{BLOCK, Hash, Plan, Subtree, TreeError, complete_root},
};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The store holds no record of the exchange.
    #[error("the store holds no record of exchange {0}")]
    Unknown(ExchangeId),
    /// No checkpoint covers one of its records yet.
    #[error("no checkpoint covers exchange {0} yet; one is signed every few seconds while a gateway runs")]
    NotYet(ExchangeId),
    /// The store did not answer, or what it holds does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store says of a tree cannot be.
    #[error("audit store: {0}")]
    Tree(#[from] TreeError),
}

/// A record and where it lies.
struct Place {
    record: String,
    tree: TreeName,
    index: u64,
}

/// The proof of all records of an exchange. `older` are checkpoints that somebody kept: the proof shows for each tree that it continues the
/// largest of them.
///
/// # Errors
/// When there are none, or no checkpoint covers them yet.
pub async fn prove(store: &Store, exchange: ExchangeId, older: &[Note]) -> Result<Proof, ProveError> {
    let mut snapshot = store.snapshot().await?;
    let proof = within(&mut snapshot, exchange, older).await;
    snapshot.close().await;
    proof
}

async fn within(snapshot: &mut Snapshot, exchange: ExchangeId, older: &[Note]) -> Result<Proof, ProveError> {
    let mut places: BTreeMap<TreeName, Vec<Place>> = BTreeMap::new();
    let sql = "SELECT body FROM audit_record WHERE exchange = $1 ORDER BY writer, sequence";
    for row in snapshot.look(sql, vec![Value::Uuid(exchange.as_uuid())]).await? {
        let place = place(snapshot, &row).await?.ok_or(ProveError::NotYet(exchange))?;
        places.entry(place.tree.clone()).or_default().push(place);
    }
    if places.is_empty() {
        return Err(ProveError::Unknown(exchange));
    }
    let mut proof = Proof {
        exchange,
        records: Vec::new(),
        checkpoints: Vec::new(),
    };
    for (tree, mut places) in places {
        places.sort_by_key(|place| place.index);
        let last = places.last().map_or(0, |place| place.index);
        let (note, checkpoint) = checkpoint(snapshot, &tree, last)
            .await?
            .ok_or(ProveError::NotYet(exchange))?;
        let blocks = blocks(snapshot, &tree).await?;
        for place in places {
            let plan = Plan::inclusion(place.index, checkpoint.size)?;
            proof.records.push(ProofRecord {
                record: place.record,
                origin: checkpoint.origin.clone(),
                index: place.index,
                path: path(snapshot, &tree, &blocks, &plan).await?,
            });
        }
        let kept = older
            .iter()
            .filter_map(|note| Some((note, Checkpoint::parse(note.text()).ok()?)))
            .filter(|(_, kept)| kept.origin == checkpoint.origin && kept.size <= checkpoint.size)
            .max_by_key(|(_, kept)| kept.size);
        let older = match kept {
            Some((note, kept)) => {
                let plan = Plan::consistency(kept.size, checkpoint.size)?;
                Some((note.clone(), path(snapshot, &tree, &blocks, &plan).await?))
            }
            None => None,
        };
        proof.checkpoints.push(ProofCheckpoint { note, older });
    }
    Ok(proof)
}

/// Where a record lies; none where it is in no tree yet.
async fn place(snapshot: &mut Snapshot, row: &[Value]) -> Result<Option<Place>, StoreError> {
    let garbled = StoreError::Garbled("audit_record");
    let Some(record) = row.first().and_then(Value::text) else {
        return Err(garbled);
    };
    let Ok(entry) = Entry::parse(record.as_bytes()) else {
        return Err(garbled);
    };
    let tree = entry.tree();
    let sql = format!(
        "SELECT {} FROM audit_extent WHERE tenant = $1 AND class = $2 AND writer = $3 AND last_sequence >= $4 AND first_sequence <= $4 \
         ORDER BY last_sequence LIMIT 1",
        Extent::COLUMNS
    );
    let mut values = of(&tree);
    values.extend([entry.writer.into(), number(entry.sequence)]);
    let rows = snapshot.look(&sql, values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let extent = Extent::read(row).ok_or(StoreError::Garbled("audit_extent"))?;
    Ok(extent.index_of(entry.sequence).map(|index| Place {
        record: record.to_owned(),
        tree,
        index,
    }))
}

/// The checkpoint over leaf `last` that most can be said of, with the signatures that it got.
async fn checkpoint(
    snapshot: &mut Snapshot,
    tree: &TreeName,
    last: u64,
) -> Result<Option<(Note, Checkpoint)>, StoreError> {
    let of_tree = |more: Value| {
        let mut values = of(tree);
        values.push(more);
        values
    };
    let sql = "SELECT size FROM audit_cosignature WHERE tenant = $1 AND class = $2 AND size > $3 AND kind = 'cosignature' \
               ORDER BY size DESC LIMIT 1";
    let rows = snapshot.look(sql, of_tree(number(last))).await?;
    let cosigned = rows.first().and_then(|row| row.first()).and_then(Value::sequence);
    let (sql, size) = match cosigned {
        Some(size) => (
            "SELECT note FROM audit_checkpoint WHERE tenant = $1 AND class = $2 AND size = $3",
            size,
        ),
        None => (
            "SELECT note FROM audit_checkpoint WHERE tenant = $1 AND class = $2 AND size > $3 ORDER BY size DESC LIMIT 1",
            last,
        ),
    };
    let rows = snapshot.look(sql, of_tree(number(size))).await?;
    let Some(text) = rows.first().and_then(|row| row.first()).and_then(Value::text) else {
        return Ok(None);
    };
    let garbled = || StoreError::Garbled("audit_checkpoint");
    let mut note = Note::parse(text.as_bytes()).map_err(|_| garbled())?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|_| garbled())?;
    let sql = "SELECT line FROM audit_cosignature WHERE tenant = $1 AND class = $2 AND size = $3 AND kind = 'cosignature'";
    for row in snapshot.look(sql, of_tree(number(checkpoint.size))).await? {
        let lines = row.first().and_then(Value::text).unwrap_or_default();
        for signature in Signature::parse_lines(lines).unwrap_or_default() {
            // More than a note may have are not needed.
            let _ = note.push(signature);
        }
    }
    Ok(Some((note, checkpoint)))
}

/// A proof's path, from the hashes that the store holds.
async fn path(
    snapshot: &mut Snapshot,
    tree: &TreeName,
    blocks: &[Hash],
    plan: &Plan,
) -> Result<Vec<Hash>, StoreError> {
    let mut hashes: BTreeMap<Subtree, Hash> = BTreeMap::new();
    // The leaves that are needed lie in few blocks, so each of those is read once.
    let mut leaves: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    let garbled = || StoreError::Garbled("audit_extent");
    for subtree in plan.subtrees() {
        let hash = match subtree.blocks() {
            Some(range) => {
                let from = usize::try_from(range.start).map_err(|_| garbled())?;
                let to = usize::try_from(range.end).map_err(|_| garbled())?;
                blocks.get(from..to).and_then(complete_root)
            }
            None => {
                let range = subtree.leaves();
                let block = range.start / BLOCK;
                let of_block = match leaves.entry(block) {
                    btree_map::Entry::Occupied(read) => read.into_mut(),
                    btree_map::Entry::Vacant(place) => {
                        let range = block * BLOCK..(block + 1) * BLOCK;
                        place.insert(leaves_between(snapshot, tree, range).await?)
                    }
                };
                let from = usize::try_from(range.start % BLOCK).map_err(|_| garbled())?;
                let count = usize::try_from(range.end - range.start).map_err(|_| garbled())?;
                of_block.get(from..from + count).and_then(complete_root)
            }
        };
        hashes.insert(subtree, hash.ok_or_else(garbled)?);
    }
    plan.path(|subtree| hashes.get(&subtree).copied().ok_or_else(garbled))
}
