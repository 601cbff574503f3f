//! Removes checkpoints that later ones cover.
//!
//! A tree that grows gets a checkpoint every few seconds. All of the last week stay, then the last of each hour for ninety days, then the last of each day; and of
//! each of these the last that a witness cosigned, or an authority stamped, by each of them. So the newest of every tree stays, and the newest that most can
//! be said of. What others said of those that go, goes too. Proofs are made from leaves and blocks, which stay, so any two
//! trees of the past can still be shown to continue each other.
//!
//! Limits: [`MOST`] of a tree at once; the rest the next time.
//!
//! On failure: [`PruneError`]; what was removed until then is on record.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{DAY, PruneError, tell};
use crate::{
    record::{Body, CheckpointsThinned, ThinnedTree, TreeName},
    recorder::Recorder,
    store::{Lease, Look, Statement, StoreError, Value, number},
    stored::{names, of},
};

/// Days of which all stay, and days behind these of which the last of each hour does.
const WHOLE: u64 = 7;
const HOURLY: u64 = 90;
const HOUR: u64 = DAY / 24;
const MOST: usize = 100_000;
/// Checkpoints that are looked at, or removed, at once.
const PAGE: usize = 1000;
/// Trees that one record tells of.
const TREES: usize = 200;

/// Says how many were removed.
pub(super) async fn thin(lease: &mut Lease, recorder: &Recorder, now: u64) -> Result<u64, PruneError> {
    let today = now / DAY;
    let mut thinned: Vec<(TreeName, Vec<u64>)> = Vec::new();
    for tree in names(lease, "audit_checkpoint").await? {
        let removable = removable(lease, &tree, today).await?;
        if !removable.is_empty() {
            thinned.push((tree, removable));
        }
    }
    let mut removed = 0;
    for trees in thinned.chunks(TREES) {
        let told = |(tree, sizes): &(TreeName, Vec<u64>)| ThinnedTree {
            tenant: tree.tenant().to_owned(),
            class: tree.class().to_owned(),
            size: sizes.iter().copied().max().unwrap_or(0),
            checkpoints: sizes.len() as u64,
        };
        let body = Body::CheckpointsThinned(CheckpointsThinned {
            trees: trees.iter().map(told).collect(),
        });
        tell(recorder, body).await?;
        for (tree, sizes) in trees {
            for sizes in sizes.chunks(PAGE) {
                remove(lease, tree, sizes).await?;
            }
            removed += sizes.len() as u64;
        }
    }
    Ok(removed)
}

async fn remove(lease: &mut Lease, tree: &TreeName, sizes: &[u64]) -> Result<(), StoreError> {
    let statements = sizes.iter().flat_map(|size| {
        [
            "DELETE FROM audit_cosignature WHERE tenant = $1 AND class = $2 AND size = $3",
            "DELETE FROM audit_checkpoint WHERE tenant = $1 AND class = $2 AND size = $3",
        ]
        .map(|sql| {
            let mut values = of(tree);
            values.push(number(*size));
            Statement { sql, values }
        })
    });
    lease.transact(statements.collect()).await
}

/// The sizes of a tree's checkpoints that may go.
async fn removable(lease: &mut Lease, tree: &TreeName, today: u64) -> Result<Vec<u64>, StoreError> {
    let mut thinning = Thinning::new(today);
    let mut behind = Value::Int(-1);
    while thinning.removable.len() < MOST {
        let sql = format!(
            "SELECT size, at FROM audit_checkpoint WHERE tenant = $1 AND class = $2 AND size > $3 AND at < $4 ORDER BY size LIMIT {PAGE}"
        );
        let mut values = of(tree);
        values.extend([behind.clone(), number(thinning.whole_from)]);
        let rows = lease.look(&sql, values).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            break;
        };
        let mut vouched = vouched(lease, tree, &first[0], &last[0]).await?;
        for row in &rows {
            let read = || Some((row.first()?.sequence()?, row.get(1)?.sequence()?));
            let (size, at) = read().ok_or(StoreError::Garbled("audit_checkpoint"))?;
            thinning.take(size, at, vouched.remove(&size).unwrap_or_default());
        }
        behind = last[0].clone();
        if rows.len() < PAGE {
            break;
        }
    }
    Ok(thinning.removable)
}

/// Who vouches for which of a tree's checkpoints between two sizes.
async fn vouched(
    lease: &mut Lease,
    tree: &TreeName,
    first: &Value,
    last: &Value,
) -> Result<HashMap<u64, BTreeSet<String>>, StoreError> {
    let sql = "SELECT size, kind, signer FROM audit_cosignature WHERE tenant = $1 AND class = $2 AND size >= $3 AND size <= $4";
    let mut values = of(tree);
    values.extend([first.clone(), last.clone()]);
    let mut vouched: HashMap<u64, BTreeSet<String>> = HashMap::new();
    for row in lease.look(sql, values).await? {
        let read = || Some((row.first()?.sequence()?, row.get(1)?.text()?, row.get(2)?.text()?));
        let (size, kind, signer) = read().ok_or(StoreError::Garbled("audit_cosignature"))?;
        vouched
            .entry(size)
            .or_default()
            .insert(format!("{kind} {signer}"));
    }
    Ok(vouched)
}

/// Goes through a tree's checkpoints by rising size.
struct Thinning {
    /// From this time on all stay; from the other on the last of each hour.
    whole_from: u64,
    hourly_from: u64,
    /// The stretch of time that is being gone through, and of which the last stay.
    stretch: Option<(bool, u64)>,
    last: Option<u64>,
    /// The last that each who vouches vouches for.
    vouched: BTreeMap<String, u64>,
    removable: Vec<u64>,
}

impl Thinning {
    fn new(today: u64) -> Self {
        Self {
            whole_from: today.saturating_sub(WHOLE) * DAY,
            hourly_from: today.saturating_sub(WHOLE + HOURLY) * DAY,
            stretch: None,
            last: None,
            vouched: BTreeMap::new(),
            removable: Vec::new(),
        }
    }

    fn take(&mut self, size: u64, at: u64, vouched_by: BTreeSet<String>) {
        let is_hourly = at >= self.hourly_from;
        let stretch = (is_hourly, at / if is_hourly { HOUR } else { DAY });
        if self.stretch != Some(stretch) {
            self.stretch = Some(stretch);
            self.last = None;
            self.vouched.clear();
        }
        let mut followed: BTreeSet<u64> = self.last.replace(size).into_iter().collect();
        for who in vouched_by {
            followed.extend(self.vouched.insert(who, size));
        }
        let stays = |size: &u64| self.vouched.values().any(|stays| stays == size);
        followed.retain(|size| !stays(size));
        self.removable.extend(followed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thinned(today: u64, checkpoints: &[(u64, u64, &[&str])]) -> Vec<u64> {
        let mut thinning = Thinning::new(today);
        for (size, at, by) in checkpoints {
            thinning.take(*size, *at, by.iter().map(|by| (*by).to_owned()).collect());
        }
        thinning.removable.sort_unstable();
        thinning.removable
    }

    #[test]
    fn the_last_of_each_hour_stays_and_later_the_last_of_each_day() {
        let day = 900 * DAY;
        let two_hours = [
            (1, day, &[][..]),
            (2, day + 1, &[]),
            (3, day + HOUR - 1, &[]),
            (4, day + HOUR, &[]),
        ];
        assert_eq!(thinned(910, &two_hours), [1, 2]);
        assert_eq!(thinned(1000, &two_hours), [1, 2, 3]);
        // What was thinned once is not thinned again until its days are no more kept by the hour.
        let again = thinned(910, &[(3, day + HOUR - 1, &[]), (4, day + HOUR, &[])]);
        assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn the_last_that_each_vouches_for_stays() {
        let day = 900 * DAY;
        let checkpoints = [
            (1, day, &["a"][..]),
            (2, day + 1, &["a", "b"]),
            (3, day + 2, &[]),
            (4, day + 3, &["a"]),
            (5, day + 4, &[]),
            (6, day + 5, &[]),
        ];
        // 2 is the last that b vouches for, 4 that a does, 6 the last of all.
        assert_eq!(thinned(910, &checkpoints), [1, 3, 5]);
    }
}
