//! Trees as the store holds them: their names, the hashes of their blocks and leaves, and the roots that they had.
//!
//! What is read here is the store's word. Whoever relies on it compares a root with a signed one.

use std::ops::Range;

use crate::{
    extent::Extent,
    record::TreeName,
    store::{Look, StoreError, Value, number},
    tree::{BLOCK, Frontier, Hash},
};

/// The most leaves of one run.
pub(crate) const MOST_LEAVES: u64 = 2000;

/// A tree's two names as parameters.
pub(crate) fn of(tree: &TreeName) -> Vec<Value> {
    vec![
        Value::Text(tree.tenant().to_owned()),
        Value::Text(tree.class().to_owned()),
    ]
}

/// The names of all trees of a table, from one to the next by key: there are few trees and many rows.
pub(crate) async fn names(store: &mut impl Look, table: &'static str) -> Result<Vec<TreeName>, StoreError> {
    let mut found = Vec::new();
    let mut sql = format!("SELECT tenant, class FROM {table} ORDER BY tenant, class LIMIT 1");
    let mut values = Vec::new();
    while let Some(row) = store.look(&sql, values).await?.first() {
        let name = || TreeName::new(row.first()?.text()?, row.get(1)?.text()?).ok();
        let name = name().ok_or(StoreError::Garbled(table))?;
        values = of(&name);
        found.push(name);
        sql = format!(
            "SELECT tenant, class FROM {table} WHERE (tenant, class) > ($1, $2) ORDER BY tenant, class LIMIT 1"
        );
    }
    Ok(found)
}

/// The hashes of a tree's complete blocks.
pub(crate) async fn blocks(store: &mut impl Look, tree: &TreeName) -> Result<Vec<Hash>, StoreError> {
    let sql = "SELECT block, hash FROM audit_block WHERE tenant = $1 AND class = $2 ORDER BY block";
    let rows = store.look(sql, of(tree)).await?;
    let read = |(expected, row): (u64, &Vec<Value>)| {
        let [block, hash] = row.as_slice() else {
            return None;
        };
        let in_place = block.sequence() == Some(expected);
        in_place.then(|| Hash::try_from(hash.bytes()?).ok()).flatten()
    };
    (0..)
        .zip(&rows)
        .map(read)
        .collect::<Option<_>>()
        .ok_or(StoreError::Garbled("audit_block"))
}

/// The hashes of a range of a tree's leaves, as many of them as there are.
pub(crate) async fn leaves_between(
    store: &mut impl Look,
    tree: &TreeName,
    range: Range<u64>,
) -> Result<Vec<Hash>, StoreError> {
    let sql = format!(
        "SELECT {} FROM audit_extent WHERE tenant = $1 AND class = $2 AND first_index > $3 AND first_index < $4 ORDER BY first_index",
        Extent::COLUMNS
    );
    let mut values = of(tree);
    // A run that begins earlier than this has no leaf so late.
    let begins_behind =
        i64::try_from(range.start).unwrap_or(i64::MAX) - i64::try_from(MOST_LEAVES).unwrap_or(i64::MAX);
    values.extend([Value::Int(begins_behind), number(range.end)]);
    let rows = store.look(&sql, values).await?;
    let mut found = Vec::new();
    for row in &rows {
        let extent = Extent::read(row).ok_or(StoreError::Garbled("audit_extent"))?;
        for (index, (_, hash)) in (extent.first_index..).zip(extent.leaves()) {
            if !range.contains(&index) {
                continue;
            }
            if index != range.start + found.len() as u64 {
                return Err(StoreError::Garbled("audit_extent"));
            }
            found.push(hash);
        }
    }
    Ok(found)
}

/// The root that a tree had when it was of this size.
pub(crate) async fn root_at(
    store: &mut impl Look,
    tree: &TreeName,
    blocks: &[Hash],
    size: u64,
) -> Result<Hash, StoreError> {
    let whole = usize::try_from(size / BLOCK).unwrap_or(usize::MAX);
    let blocks = blocks.get(..whole).ok_or(StoreError::Garbled("audit_block"))?;
    let leaves = leaves_between(store, tree, size / BLOCK * BLOCK..size).await?;
    Ok(Frontier::resume(blocks.iter().copied(), leaves).root())
}
