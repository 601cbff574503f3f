//! A database superuser at work, at random: each change of a store is found, and the store verifies again once it is undone.
//!
//! The superuser has everything that lies in the database, knows how all of it is computed, and kept a copy of what it was earlier. What they do not have is the
//! key that checkpoints and positions are signed by. Verifying has that key and nothing else: no spool directory, and no
//! checkpoint that was kept elsewhere, unless a kind of change says that it shows by these alone.
//!
//! `CORDON_CAMPAIGN=10000` makes it ten thousand rounds on SQLite and a thousand on PostgreSQL; otherwise it is a short slice. `CORDON_SEED` repeats one that failed.

use std::{
    collections::BTreeMap,
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use cordon_audit::{
    AuditConfig, Body, Entry, Erased, Event, Evidence, FileKeys, Operator, Outcome, Part, PolicyReloaded,
    Recorder, Recording, Seal, Store, TreeName, Verified, kept::Keys, payload::Payload,
};
use cordon_domain::{Clock, ExchangeId, SystemClock};

use crate::{
    databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, signing_key},
    keys::{request, sealing},
    killing::rounds,
};

mod kinds;
use kinds::{Mutation, Shows, mutate};
mod forgery;
use forgery::Forgery;

/// Tables that a mutation may change.
const TABLES: [&str; 8] = [
    "record",
    "writer",
    "extent",
    "block",
    "checkpoint",
    "payload",
    "key",
    "erasure",
];

#[tokio::test]
async fn every_mutation_of_the_store_is_found() {
    let seed = env::var("CORDON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    for kind in BOTH {
        let ground = Ground::new(kind).await;
        let untouched = ground.verify(Vec::new()).await.unwrap();
        assert!(ground.verify(ground.published.clone()).await.is_ok());
        let mut random = Random(seed);
        let mut done: BTreeMap<&str, usize> = BTreeMap::new();
        let begun = Instant::now();
        let rounds = rounds(
            60,
            match kind {
                Kind::Sqlite => 1,
                Kind::Postgres => 10,
            },
        );
        let mut round = 0;
        while round < rounds {
            let mutation = mutate(&ground, &mut random);
            let context = format!(
                "{kind:?} CORDON_SEED={seed} round {round}: {}\n{:.2000}",
                mutation.kind, mutation.sql
            );
            ground.execute(&mutation.sql).await;
            // A byte may have been overwritten by itself: that is nobody's to find.
            if !ground.is_changed(mutation.tables).await {
                continue;
            }
            round += 1;
            check(&ground, &mutation, &untouched, &context).await;
            let undo: String = mutation.tables.iter().map(|table| ground.undo(table)).collect();
            ground.execute(&undo).await;
            let again = ground.verify(Vec::new()).await;
            assert_eq!(again.as_ref(), Ok(&untouched), "not undone: {context}");
            *done.entry(mutation.kind).or_default() += 1;
        }
        ground.store.close().await;
        println!(
            "{kind:?}: {rounds} mutations found of {rounds} in {:.0?}: {done:?}",
            begun.elapsed()
        );
    }
}

/// That the mutation shows in the way that it must.
async fn check(ground: &Ground, mutation: &Mutation, untouched: &Verified, context: &str) {
    let found = ground.verify(Vec::new()).await;
    match &mutation.shows {
        Shows::Somewhere => {
            found.expect_err(context);
        }
        Shows::At(writer, sequence) => {
            let said = found.expect_err(context);
            let place = format!("record {writer}:{sequence} ");
            assert!(said.starts_with(&place), "{said}\n{context}");
        }
        Shows::InWords(words) => {
            let said = found.expect(context);
            assert_ne!(said, *untouched, "{context}");
            assert!(said.to_string().contains(words), "{said}\n{context}");
        }
        Shows::Elsewhere => {
            ground.verify(ground.published.clone()).await.expect_err(context);
        }
    }
}

/// A store with two writers, three trees, complete blocks, sealed texts, and keys of which one is erased; a copy of it, and one of how it was earlier.
pub(crate) struct Ground {
    place: Place,
    store: Store,
    /// Every record, in the order of writer and sequence.
    records: Vec<Entry>,
    /// Everything else that can be computed without a key.
    forgery: Forgery,
    /// Whose key was erased after the early copy was made.
    gone: String,
    /// Where each writer's chain stood when the early copy was made.
    early: BTreeMap<String, u64>,
    /// All checkpoints, as somebody else keeps them.
    published: Vec<String>,
}

impl Ground {
    async fn new(kind: Kind) -> Self {
        let place = Place::new(kind).await;
        let files = FileKeys::new(&place.dir.path().join("keys"));
        let sealing = sealing(Arc::new(files));
        let gone = sealing.pseudonyms.reference("x.gone");
        let mut early = BTreeMap::new();
        for (copy, exchanges) in [("early", 40), ("kept", 120)] {
            for spool in ["a", "b"] {
                let (recorder, shipping) = open(AuditConfig {
                    sealing: Some(sealing.clone()),
                    ..place.sequenced(spool)
                })
                .await;
                for user in ["j.kim", "s.lee", "x.gone"] {
                    exchange_kept(&recorder, user).await;
                }
                if copy == "kept" && spool == "a" {
                    erase(&place, &recorder, &gone).await;
                }
                let under_way = (0..exchanges).map(|_| exchange(&recorder, "j.kim"));
                futures_util::future::join_all(under_way).await;
                for _ in 0..5 {
                    exchange_of_emea(&recorder).await;
                }
                recorder.event(reloaded()).await.unwrap();
                finish(shipping).await;
            }
            for table in TABLES {
                let sql = format!("CREATE TABLE {copy}_{table} AS SELECT * FROM audit_{table}");
                place.execute(&sql).await;
            }
            if copy == "early" {
                let positions = "SELECT CAST(writer AS text), sequence, hash FROM audit_writer";
                early = place
                    .bodies_of(positions)
                    .await
                    .into_iter()
                    .map(|(writer, sequence, _)| (writer, u64::try_from(sequence).unwrap()))
                    .collect();
            }
        }
        let records: Vec<_> = place.bodies().await.into_iter().map(read).collect();
        let forgery = Forgery::of(&place, &records).await;
        let notes = "SELECT note, size, '' FROM audit_checkpoint ORDER BY tenant, class, size";
        let published = place.bodies_of(notes).await.into_iter();
        Self {
            store: place.store().await,
            records,
            forgery,
            gone,
            early,
            published: published.map(|(note, ..)| note).collect(),
            place,
        }
    }

    async fn verify(&self, checkpoints: Vec<String>) -> Result<Verified, String> {
        let key = signing_key();
        let evidence = Evidence {
            spool: None,
            key: Some(key.verifying()),
            checkpoints,
            keys: None,
        };
        let verified = cordon_audit::verify(&self.store, &evidence).await;
        verified.map_err(|error| {
            assert!(error.is_answer(), "{error}");
            error.to_string()
        })
    }

    /// All of it in one transaction that waits for no disk.
    async fn execute(&self, sql: &str) {
        let sql = match self.place.kind {
            Kind::Sqlite => format!("PRAGMA synchronous = OFF; BEGIN; {sql}; COMMIT;"),
            Kind::Postgres => format!("SET synchronous_commit = off; BEGIN; {sql}; COMMIT;"),
        };
        self.place.execute(&sql).await;
    }

    /// Whether any of the tables is not as it was.
    async fn is_changed(&self, tables: &[&str]) -> bool {
        for table in tables {
            for (one, other) in [("audit", "kept"), ("kept", "audit")] {
                let sql = format!(
                    "SELECT 'rows', COUNT(*), '' FROM (SELECT * FROM {one}_{table} {} SELECT * FROM {other}_{table}) AS changed",
                    self.except()
                );
                if self.place.bodies_of(&sql).await[0].1 > 0 {
                    return true;
                }
            }
            let counts = format!(
                "SELECT 'rows', (SELECT COUNT(*) FROM audit_{table}) - (SELECT COUNT(*) FROM kept_{table}), ''"
            );
            if self.place.bodies_of(&counts).await[0].1 != 0 {
                return true;
            }
        }
        false
    }

    fn except(&self) -> &'static str {
        match self.place.kind {
            Kind::Sqlite => "EXCEPT",
            Kind::Postgres => "EXCEPT ALL",
        }
    }

    /// What makes a table as it was. Of many records only those are written that differ.
    fn undo(&self, table: &str) -> String {
        let except = self.except();
        let all = "SELECT * FROM";
        match table {
            "record" => format!(
                "DELETE FROM audit_record WHERE (writer, sequence) IN \
                 (SELECT writer, sequence FROM ({all} audit_record {except} {all} kept_record) AS changed); \
                 INSERT INTO audit_record {all} kept_record {except} {all} audit_record;"
            ),
            _ => restoring(table, "kept"),
        }
    }
}

/// Puts a copy of a table in its place.
fn restoring(table: &str, copy: &str) -> String {
    format!("DELETE FROM audit_{table}; INSERT INTO audit_{table} SELECT * FROM {copy}_{table};")
}

fn read((_, _, body): (String, i64, String)) -> Entry {
    Entry::parse(body.as_bytes()).unwrap()
}

async fn exchange_of_emea(recorder: &Recorder) {
    let id = ExchangeId::new();
    let recording = Recording::of(Body::Intent(intent_by("s.lee", id))).and(Body::Seal(Seal::new(
        id,
        Outcome::Completed,
        200,
    )));
    let tree = TreeName::new("emea", "long").unwrap();
    recorder.record(recording.in_tree(tree)).await.unwrap();
}

/// An exchange whose texts are kept.
async fn exchange_kept(recorder: &Recorder, user: &str) {
    let id = ExchangeId::new();
    let asked = intent_by(user, id);
    let actor = Arc::new(asked.actor.clone());
    let reply = Payload {
        part: Part::Reply,
        ..request(b"what was answered")
    };
    let recording = Recording::of(Body::Intent(asked))
        .keep(request(b"what was asked"))
        .and(Body::Seal(Seal::new(id, Outcome::Completed, 200)))
        .keep(reply);
    recorder.record(recording.of_actor(actor)).await.unwrap();
}

/// Erases a subject as `cordon audit erase` does.
async fn erase(place: &Place, recorder: &Recorder, subject: &str) {
    let until = u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000_000).unwrap();
    let erased = Body::Erased(Erased {
        operator: Operator {
            user: "auditor".to_owned(),
            claimed: None,
        },
        tenants: vec!["default".to_owned()],
        ahead: Vec::new(),
        subject: subject.to_owned(),
        reason: "they asked".to_owned(),
        until,
    });
    let recording = Recording::of(erased).in_tree(TreeName::governance());
    recorder.record(recording).await.unwrap();
    assert!(recorder.in_store(Duration::from_secs(20)).await);
    let store = place.store().await;
    assert_eq!(
        Keys::new(&store, None)
            .erase(&["default"], subject, until)
            .await
            .unwrap(),
        1
    );
    store.close().await;
}

pub(crate) fn reloaded() -> Event {
    Event::PolicyReloaded(PolicyReloaded {
        policy_hash: "c".repeat(64),
        accepted: true,
        sets: BTreeMap::new(),
    })
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    fn uuid(&mut self) -> String {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Uuid::from_u128(bits).to_string()
    }
}
