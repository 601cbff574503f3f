//! Where exported records lie: which part of each writer's chain, and which leaves of which trees.
//!
//! Only the first and last of each writer and tree are kept while exporting. A writer's records are leaves in the order of their sequence, so these two
//! are also its first and last leaf, and need to be looked up alone.
//!
//! On failure: [`StoreError`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    extent::Extent,
    record::{Entry, TreeName, WriterId},
    store::{Look, StoreError, Value, number},
    stored::of,
};

/// Records of one writer in one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterReach {
    /// The writer.
    pub writer: WriterId,
    /// The tree's tenant.
    pub tenant: String,
    /// The tree's retention class.
    pub class: String,
    /// How many.
    pub records: u64,
    /// The sequence of the first.
    pub first_sequence: u64,
    /// The sequence of the last.
    pub last_sequence: u64,
}

/// Leaves of one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeReach {
    /// The tree's tenant.
    pub tenant: String,
    /// Its retention class.
    pub class: String,
    /// How many records are of it.
    pub records: u64,
    /// The index of the first; none where it is no leaf yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_index: Option<u64>,
    /// The index of the last; none where one of them is no leaf yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_index: Option<u64>,
    /// The tree's last checkpoint as a signed note, with its size and root; none where nothing was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

#[derive(Clone, Copy)]
struct Run {
    records: u64,
    first: u64,
    last: u64,
}

/// What was exported so far.
#[derive(Default)]
pub(super) struct Tally {
    runs: BTreeMap<(TreeName, WriterId), Run>,
}

impl Tally {
    pub(super) fn add(&mut self, entry: &Entry) {
        let run = self.runs.entry((entry.tree(), entry.writer)).or_insert(Run {
            records: 0,
            first: entry.sequence,
            last: entry.sequence,
        });
        run.records += 1;
        run.first = run.first.min(entry.sequence);
        run.last = run.last.max(entry.sequence);
    }

    pub(super) fn records(&self) -> u64 {
        self.runs.values().map(|run| run.records).sum()
    }

    /// Looks up which leaves they are.
    pub(super) async fn locate(
        self,
        store: &mut impl Look,
    ) -> Result<(Vec<WriterReach>, Vec<TreeReach>), StoreError> {
        let mut writers = Vec::new();
        let mut trees: Vec<TreeReach> = Vec::new();
        for ((tree, writer), run) in self.runs {
            writers.push(WriterReach {
                writer,
                tenant: tree.tenant().to_owned(),
                class: tree.class().to_owned(),
                records: run.records,
                first_sequence: run.first,
                last_sequence: run.last,
            });
            let first_index = index(store, &tree, writer, run.first).await?;
            let last_index = index(store, &tree, writer, run.last).await?;
            match trees.last_mut() {
                Some(reach) if reach.tenant == tree.tenant() && reach.class == tree.class() => {
                    reach.records += run.records;
                    reach.first_index = [reach.first_index, first_index].into_iter().flatten().min();
                    // One that is no leaf yet will be behind all that are.
                    reach.last_index = reach.last_index.zip(last_index).map(|(a, b)| a.max(b));
                }
                _ => trees.push(TreeReach {
                    tenant: tree.tenant().to_owned(),
                    class: tree.class().to_owned(),
                    records: run.records,
                    first_index,
                    last_index,
                    checkpoint: checkpoint(store, &tree).await?,
                }),
            }
        }
        Ok((writers, trees))
    }
}

async fn index(
    store: &mut impl Look,
    tree: &TreeName,
    writer: WriterId,
    sequence: u64,
) -> Result<Option<u64>, StoreError> {
    let sql = format!(
        "SELECT {} FROM audit_extent WHERE tenant = $1 AND class = $2 AND writer = $3 AND last_sequence >= $4 AND first_sequence <= $4 \
         ORDER BY last_sequence LIMIT 1",
        Extent::COLUMNS
    );
    let mut values = of(tree);
    values.extend([writer.into(), number(sequence)]);
    let rows = store.look(&sql, values).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let extent = Extent::read(row).ok_or(StoreError::Garbled("audit_extent"))?;
    Ok(extent.index_of(sequence))
}

async fn checkpoint(store: &mut impl Look, tree: &TreeName) -> Result<Option<String>, StoreError> {
    let sql = "SELECT note FROM audit_checkpoint WHERE tenant = $1 AND class = $2 ORDER BY size DESC LIMIT 1";
    let rows = store.look(sql, of(tree)).await?;
    let text = rows.first().and_then(|row| row.first()).and_then(Value::text);
    Ok(text.map(str::to_owned))
}
