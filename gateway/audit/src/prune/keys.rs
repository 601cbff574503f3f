//! Removes keys of subjects that nothing needs any more.
//!
//! A key seals for an hour, so a record that names it is of that hour. Once the oldest day of which any record is left lies behind it, nothing that is kept opens
//! under it, and no record names it. A key within the scope of a hold stays, and so does one of the last [`MARGIN`], as a gateway whose
//! store was away may still bring records of that time.
//!
//! On failure: [`PruneError`]; what was removed until then is on record, the rest is tried again the next time.

use cordon_domain::ExchangeId;
use uuid::Uuid;

use super::{DAY, PruneError, tell};
use crate::{
    kept::Keys,
    oversight,
    record::{Body, HoldPlaced, KeysPruned},
    recorder::Recorder,
    store::{Statement, Store, StoreError, Value, number},
    subject::LIFE,
};

/// How long a key stays at least, in milliseconds.
const MARGIN: u64 = 7 * DAY;
/// How much later than its key's time a record may be, by waiting and by clocks that were set.
const SLACK: u64 = LIFE;
/// Keys that are looked at, or removed, at once.
const PAGE: usize = 1000;

/// Says how many were removed.
pub(super) async fn prune(
    store: &Store,
    keys: &Keys,
    recorder: &Recorder,
    now: u64,
) -> Result<u64, PruneError> {
    let oldest = store.first_day().await?.map_or(now, |day| day * DAY);
    let before = oldest
        .min(now.saturating_sub(MARGIN))
        .saturating_sub(LIFE + SLACK);
    let found = each(store, keys, before, false).await?;
    if found == 0 {
        return Ok(0);
    }
    // What cannot be done is not told of as done: rights are looked at whether there are rows to remove or not.
    for place in keys.places() {
        let tried = Statement {
            sql: "DELETE FROM audit_key WHERE 1 = 0",
            values: Vec::new(),
        };
        place.change(vec![tried]).await?;
    }
    tell(recorder, Body::KeysPruned(KeysPruned { before, keys: found })).await?;
    each(store, keys, before, true).await
}

/// Goes through the keys that may go, and removes them where that is asked for. Says how many they are.
async fn each(store: &Store, keys: &Keys, before: u64, remove: bool) -> Result<u64, PruneError> {
    // One may have been placed since the last time.
    let holds = oversight::holds(store).await?;
    let mut found = 0;
    for place in keys.places() {
        found += each_of(place, &holds, before, remove).await?;
    }
    Ok(found)
}

async fn each_of(place: &Store, holds: &[HoldPlaced], before: u64, remove: bool) -> Result<u64, StoreError> {
    let mut found = 0;
    let mut behind = (0, Uuid::nil());
    loop {
        let sql = format!(
            "SELECT created_at, id, subject FROM audit_key WHERE created_at < $1 AND (created_at, id) > ($2, $3) \
             ORDER BY created_at, id LIMIT {PAGE}"
        );
        let values = vec![number(before), number(behind.0), Value::Uuid(behind.1)];
        let rows = place.rows(sql, values).await?;
        let mut removed = Vec::new();
        for row in &rows {
            let read = || Some((row.first()?.sequence()?, row.get(1)?.uuid()?, row.get(2)?.text()?));
            let (made, id, subject) = read().ok_or(StoreError::Garbled("audit_key"))?;
            behind = (made, id);
            if !holds.iter().any(|hold| covers(hold, subject, made)) {
                found += 1;
                removed.push(Statement {
                    sql: "DELETE FROM audit_key WHERE id = $1",
                    values: vec![Value::Uuid(id)],
                });
            }
        }
        if remove && !removed.is_empty() {
            place.change(removed).await?;
        }
        if rows.len() < PAGE {
            return Ok(found);
        }
    }
}

/// Whether a key of a subject may be what a hold is for: it seals from when it was made, for an hour.
fn covers(hold: &HoldPlaced, subject: &str, made: u64) -> bool {
    let scope = &hold.scope;
    let is_within = |since: u64, until: u64| made < until && made + LIFE + SLACK >= since;
    scope.subject.as_ref().is_none_or(|held| held == subject)
        && is_within(scope.since.unwrap_or(0), scope.until.unwrap_or(u64::MAX))
        // Later records of a long exchange are held themselves, and with their days the keys of that time.
        && scope.exchange.is_none_or(|exchange| {
            let begun = began(exchange);
            is_within(begun, begun.saturating_add(DAY))
        })
}

/// When an exchange began, by its id (UUIDv7), in milliseconds since 1970.
fn began(exchange: ExchangeId) -> u64 {
    let (high, _) = exchange.as_uuid().as_u64_pair();
    high >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{HoldScope, Operator};

    fn hold(scope: HoldScope) -> HoldPlaced {
        HoldPlaced {
            hold: Uuid::nil(),
            operator: Operator {
                user: "ann".into(),
                claimed: None,
            },
            reason: "case 12".into(),
            scope,
        }
    }

    #[test]
    fn a_hold_covers_the_keys_of_its_scope() {
        let of = |subject: &str| HoldScope {
            subject: Some(subject.to_owned()),
            ..HoldScope::default()
        };
        assert!(covers(&hold(of("p-1")), "p-1", 5));
        assert!(!covers(&hold(of("p-1")), "p-2", 5));
        let since = HoldScope {
            since: Some(10 * DAY),
            until: Some(11 * DAY),
            ..HoldScope::default()
        };
        assert!(covers(&hold(since.clone()), "p-2", 10 * DAY - LIFE));
        assert!(!covers(&hold(since.clone()), "p-2", 9 * DAY));
        assert!(!covers(&hold(since), "p-2", 11 * DAY));
        let exchange = HoldScope {
            exchange: Some(ExchangeId::from(Uuid::from_u128((10 * u128::from(DAY)) << 80))),
            ..HoldScope::default()
        };
        assert!(covers(&hold(exchange.clone()), "p-2", 10 * DAY - LIFE));
        assert!(!covers(&hold(exchange), "p-2", 9 * DAY));
    }
}
