//! Removes records that had their time, a day of a retention class at once; behind them, keys that nothing needs any more ([`keys`]) and
//! checkpoints that others cover ([`checkpoints`]).
//!
//! In PostgreSQL a day of a class is a partition, which is dropped; nothing is deleted row by row. Before that, a record says which records
//! they were, in a tree that is kept for good. Their leaves stay in their trees, so every proof and every checkpoint holds on, and
//! [`verify`](crate::verify()) can tell what was pruned from what is missing.
//!
//! A day stays as long as one of its records is in no tree yet, or within the scope of a hold. The class `governance` is never pruned.
//!
//! On failure: [`PruneError`]; a day is gone as a whole or there as a whole, and is tried again the next time.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Duration,
};

use cordon_domain::Clock;
use tokio::time::sleep;

use crate::{
    kept::Keys,
    oversight,
    record::{Body, HoldPlaced, Pruned, PrunedRun, TreeName, WriterId},
    recorder::{Recorder, Recording},
    spool::AuditUnavailable,
    store::{
        Lease, Look, Purpose, Snapshot, Store, StoreError, StoreUrl, Value,
        columns::{Cell, Form},
        number,
    },
};

mod checkpoints;
mod keys;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
/// When it is first looked whether something had its time, and how often from then on.
const FIRST: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(3600);
/// How long the store may take for the record of a pruning.
const IN_STORE: Duration = Duration::from_secs(60);
/// Runs that one record of a pruning tells.
const RUNS: usize = 500;

/// Days that records are kept, by retention class.
pub type Retention = BTreeMap<String, u32>;

/// Why a day was not pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// That it is pruned could not be recorded, so it was not.
    #[error("nothing was pruned, as that could not be recorded: {0}")]
    Audit(#[from] AuditUnavailable),
    /// That it is pruned is recorded, and not yet in the store.
    #[error("nothing was pruned, as the record of it did not reach the store in time")]
    NotInStore,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruning {
    /// Records that are gone.
    pub records: u64,
    /// Days of a class that are gone.
    pub days: u64,
    /// Subjects' keys that are gone, as nothing is kept under them any more.
    pub keys: u64,
    /// Checkpoints that are gone, as later ones cover them.
    pub checkpoints: u64,
    /// Days that had their time and stay, with why.
    pub kept: Vec<String>,
}

/// Prunes what had its time at `now` (milliseconds since 1970). `store` must be open by the role that owns its tables; `keys` is the database that
/// subjects' keys are in, where they are kept apart.
///
/// # Errors
/// With the first day that could not be pruned; those before it are gone.
pub async fn prune(
    store: &Store,
    keys: Option<&Store>,
    recorder: &Recorder,
    retention: &Retention,
    now: u64,
) -> Result<Pruning, PruneError> {
    let mut done = Pruning::default();
    // Of several gateways one prunes at a time: a second one would go by what it read before the first was done.
    let Some(mut lease) = store.lease(Purpose::Pruning).await? else {
        done.kept.push("all: another process is pruning".to_owned());
        return Ok(done);
    };
    let keys = Keys::new(store, keys.cloned());
    let outcome = within(store, &keys, &mut lease, recorder, retention, now, &mut done).await;
    lease.release().await;
    outcome.map(|()| done)
}

async fn within(
    store: &Store,
    keys: &Keys,
    lease: &mut Lease,
    recorder: &Recorder,
    retention: &Retention,
    now: u64,
    done: &mut Pruning,
) -> Result<(), PruneError> {
    for (class, days) in retention {
        let Ok(tree) = TreeName::new(TreeName::default().tenant(), class) else {
            continue;
        };
        if tree.class() == TreeName::governance().class() {
            continue;
        }
        let before = (now / DAY).saturating_sub(u64::from(*days));
        for day in store.days(class, before).await? {
            match day_of(store, recorder, class, day).await? {
                Gone::Records(records) => {
                    done.records += records;
                    // A partition that was made ahead and never used is no day of anybody's.
                    done.days += u64::from(records > 0);
                }
                Gone::Nothing(why) => done.kept.push(format!("{class} of {}: {why}", written(day))),
            }
        }
    }
    done.checkpoints = checkpoints::thin(lease, recorder, now).await?;
    done.keys = keys::prune(store, keys, recorder, now).await?;
    Ok(())
}

/// Puts on record what is about to be removed, and waits until that is in the store, so that nobody who verifies it finds something missing that
/// nothing speaks of yet.
async fn tell(recorder: &Recorder, body: Body) -> Result<(), PruneError> {
    recorder
        .record(Recording::of(body).in_tree(TreeName::governance()))
        .await?;
    if recorder.in_store(IN_STORE).await {
        Ok(())
    } else {
        Err(PruneError::NotInStore)
    }
}

/// What became of a day.
enum Gone {
    /// It is gone, with so many records.
    Records(u64),
    /// It stays, and why.
    Nothing(String),
}

async fn day_of(store: &Store, recorder: &Recorder, class: &str, day: u64) -> Result<Gone, PruneError> {
    let range = day * DAY..(day + 1) * DAY;
    let trees = match seen(store, class, &range).await? {
        Found::Stays(why) => return Ok(Gone::Nothing(why)),
        Found::Goes(trees) => trees,
    };
    let mut records = 0;
    for (tenant, runs) in &trees {
        for runs in runs.chunks(RUNS) {
            records += runs.iter().map(|run| run.records).sum::<u64>();
            let pruned = Pruned {
                tenant: tenant.clone(),
                class: class.to_owned(),
                before: range.end,
                runs: runs.to_vec(),
            };
            let recording = Recording::of(Body::Pruned(pruned));
            recorder.record(recording.in_tree(TreeName::governance())).await?;
        }
    }
    // In the store, so that nobody who verifies it finds records missing that nothing speaks of yet.
    if !recorder.in_store(IN_STORE).await {
        return Err(PruneError::NotInStore);
    }
    // A hold may have been placed since.
    if let Found::Stays(why) = seen(store, class, &range).await? {
        return Ok(Gone::Nothing(why));
    }
    if !store.drop_day(class, day, records).await? {
        return Ok(Gone::Nothing("records came in meanwhile".to_owned()));
    }
    Ok(Gone::Records(records))
}

async fn seen(store: &Store, class: &str, range: &Range<u64>) -> Result<Found, StoreError> {
    let mut snapshot = store.snapshot().await?;
    let found = look(store, &mut snapshot, class, range).await;
    snapshot.close().await;
    found
}

/// Prunes every hour, from some minutes after the start on. What fails is said, and tried again the next hour.
pub(crate) async fn prune_hourly(
    recorder: Recorder,
    owner: StoreUrl,
    keys: Option<StoreUrl>,
    retention: Retention,
    clock: Arc<dyn Clock>,
) {
    sleep(FIRST).await;
    loop {
        let now = u64::try_from(clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let pruning = async {
            let store = Store::create(&owner).await?;
            let apart = match &keys {
                // One who only brings keys in may not look at any: another prunes them.
                Some(url) => Store::open_keys(url)
                    .await
                    .inspect_err(
                        |error| tracing::info!(%error, "keys in their own database are not pruned from here"),
                    )
                    .ok(),
                None => None,
            };
            let pruned = prune(&store, apart.as_ref(), &recorder, &retention, now).await;
            store.close().await;
            if let Some(apart) = apart {
                apart.close().await;
            }
            pruned
        };
        match pruning.await {
            Ok(Pruning {
                records,
                days,
                keys,
                checkpoints,
                kept,
            }) => {
                for why in kept {
                    tracing::info!(%why, "audit records that had their time are kept");
                }
                if days > 0 {
                    tracing::info!(records, days, "audit records had their time and were pruned");
                }
                if keys + checkpoints > 0 {
                    tracing::info!(
                        keys,
                        checkpoints,
                        "keys that nothing needs and checkpoints that others cover were pruned"
                    );
                }
            }
            Err(error) => tracing::error!(%error, "audit records that had their time are not being pruned"),
        }
        sleep(AGAIN).await;
    }
}

/// What is to become of a day.
enum Found {
    /// It stays, and why.
    Stays(String),
    /// Its records, by tenant.
    Goes(BTreeMap<String, Vec<PrunedRun>>),
}

async fn look(
    store: &Store,
    snapshot: &mut Snapshot,
    class: &str,
    range: &Range<u64>,
) -> Result<Found, StoreError> {
    for hold in oversight::holds(store).await? {
        if is_held(snapshot, &hold, class, range).await? {
            return Ok(Found::Stays(format!("hold {} stands", hold.hold)));
        }
    }
    let runs = runs(snapshot, class, range).await?;
    let mut treed: HashMap<WriterId, u64> = HashMap::new();
    for run in runs.values().flatten() {
        if let hash_map::Entry::Vacant(place) = treed.entry(run.writer) {
            let sql = "SELECT last_sequence FROM audit_extent WHERE writer = $1 ORDER BY last_sequence DESC LIMIT 1";
            let rows = snapshot.look(sql, vec![run.writer.into()]).await?;
            let last = rows.first().and_then(|row| row.first()).and_then(Value::sequence);
            place.insert(last.unwrap_or(0));
        }
        if treed.get(&run.writer).is_none_or(|last| *last < run.last) {
            return Ok(Found::Stays(format!(
                "record {}:{} is in no tree yet",
                run.writer, run.last
            )));
        }
    }
    Ok(Found::Goes(runs))
}

/// Whether a record of that day is within a hold's scope, or opens what lasted into it.
async fn is_held(
    snapshot: &mut Snapshot,
    hold: &HoldPlaced,
    class: &str,
    range: &Range<u64>,
) -> Result<bool, StoreError> {
    let since = hold.scope.since.unwrap_or(0);
    let until = hold.scope.until.unwrap_or(u64::MAX).min(range.end);
    if range.start >= until {
        return Ok(false);
    }
    // One that opened before the hold's time has to have ended before as well, or else some of it may be within.
    let mut sql = String::from(
        "SELECT 1 FROM audit_record o WHERE o.class = $1 AND o.at >= $2 AND o.at < $3 AND (o.at >= $4 OR (o.kind IN ('intent', 'tunnel_opened') \
         AND NOT EXISTS (SELECT 1 FROM audit_record c WHERE c.exchange = o.exchange AND c.kind IN ('seal', 'tunnel_closed') \
         AND c.at >= o.at AND c.at < $4)))",
    );
    let mut values = vec![
        Value::Text(class.to_owned()),
        number(range.start),
        number(until),
        number(since),
    ];
    if let Some(subject) = &hold.scope.subject {
        values.push(Value::Text(subject.clone()));
        // Records of an exchange's end name nobody, and may be of another day than its beginning.
        let n = values.len();
        sql.push_str(&format!(
            " AND (o.actor = ${n} OR o.exchange IN (SELECT exchange FROM audit_record WHERE actor = ${n}))"
        ));
    }
    if let Some(exchange) = hold.scope.exchange {
        values.push(Value::Uuid(exchange.as_uuid()));
        sql.push_str(&format!(" AND o.exchange = ${}", values.len()));
    }
    sql.push_str(" LIMIT 1");
    Ok(!snapshot.look(&sql, values).await?.is_empty())
}

/// The records of a day, by tenant, in runs: between the first and the last of a run there is no record of the same tree and writer that is of another day.
async fn runs(
    snapshot: &mut Snapshot,
    class: &str,
    range: &Range<u64>,
) -> Result<BTreeMap<String, Vec<PrunedRun>>, StoreError> {
    let mut runs: BTreeMap<String, Vec<PrunedRun>> = BTreeMap::new();
    // A writer's records of one day lie together, unless its clock was set. So all of the class between the first and the last is
    // looked at, and whatever is of another day ends a run.
    let sql = format!(
        "SELECT r.tenant, r.writer, r.sequence, r.at FROM audit_record r JOIN \
         (SELECT writer, MIN(sequence) AS first, MAX(sequence) AS last FROM audit_record \
          WHERE class = '{class}' AND at >= {} AND at < {} GROUP BY writer) d \
         ON r.writer = d.writer AND r.sequence >= d.first AND r.sequence <= d.last \
         WHERE r.class = '{class}' ORDER BY r.tenant, r.writer, r.sequence",
        range.start, range.end
    );
    let forms = [Form::Text, Form::Uuid, Form::Int, Form::Int];
    let mut open: Option<(String, PrunedRun)> = None;
    let mut garbled = false;
    let default = TreeName::default();
    let mut take = |cells: &[Cell<'_>]| {
        let tenant = match cells[0] {
            Cell::Null => default.tenant(),
            Cell::Text(tenant) => tenant,
            _ => "",
        };
        let (Cell::Uuid(writer), Some(sequence), Some(at)) =
            (cells[1], cells[2].sequence(), cells[3].sequence())
        else {
            garbled = true;
            return ControlFlow::Break(());
        };
        let writer = WriterId::from(writer);
        let goes_on = open
            .as_ref()
            .is_some_and(|(of, run)| of == tenant && run.writer == writer);
        let here = range.contains(&at);
        if !(goes_on && here)
            && let Some((of, run)) = open.take()
        {
            runs.entry(of).or_default().push(run);
        }
        if here {
            let (_, run) = open.get_or_insert_with(|| {
                let run = PrunedRun {
                    writer,
                    first: sequence,
                    last: sequence,
                    records: 0,
                };
                (tenant.to_owned(), run)
            });
            run.last = sequence;
            run.records += 1;
        }
        ControlFlow::Continue(())
    };
    snapshot.scan(&sql, &forms, &mut take).await?;
    if garbled {
        return Err(StoreError::Garbled("audit_record"));
    }
    if let Some((of, run)) = open {
        runs.entry(of).or_default().push(run);
    }
    Ok(runs)
}

/// A day for people.
fn written(day: u64) -> String {
    i64::try_from(day * DAY / 1000)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map_or_else(|| format!("day {day}"), |time| time.date().to_string())
}
