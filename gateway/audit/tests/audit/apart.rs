//! Subjects' keys in a database apart from the records: durable before what needs them, erased and pruned there, and missed when somebody
//! takes them; and an erasure and a key that comes in at the same time, wherever keys are.

use std::{sync::Arc, time::Duration};

use cordon_audit::{
    AuditConfig, Body, Erased, Evidence, FileKeys, Operator, Outcome, Part, Recorder, Recording, Retention,
    Seal, Store, StoreUrl, SubjectKey, TreeName, Verified,
    kept::{self, KeptKey, Keys},
    oversight,
};
use cordon_domain::{Clock, ExchangeId, SystemClock};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::{
    databases::{Kind, Place, finish, intent_by, open},
    keys::{request, sealing},
};

/// Where records are, and where keys.
const APART: [(Kind, Kind); 3] = [
    (Kind::Postgres, Kind::Postgres),
    (Kind::Postgres, Kind::Sqlite),
    (Kind::Sqlite, Kind::Sqlite),
];

fn now() -> u64 {
    u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000_000).unwrap()
}

/// Records and keys in two places.
struct Two {
    records: Place,
    keys: Place,
}

impl Two {
    async fn new((records, keys): (Kind, Kind)) -> Self {
        Self {
            records: Place::new(records).await,
            keys: Place::new(keys).await,
        }
    }

    fn tenant_keys(&self) -> FileKeys {
        FileKeys::new(&self.records.dir.path().join("keys"))
    }

    fn config(&self, spool: &str, keys: Option<StoreUrl>) -> AuditConfig {
        AuditConfig {
            keys,
            sealing: Some(sealing(Arc::new(self.tenant_keys()))),
            ..self.records.sequenced(spool)
        }
    }

    async fn verify(&self) -> Result<Verified, String> {
        let (store, keys) = (self.records.store().await, self.open_keys().await);
        let evidence = Evidence {
            keys: Some(&keys),
            ..Evidence::default()
        };
        let verified = cordon_audit::verify(&store, &evidence).await;
        store.close().await;
        keys.close().await;
        verified.map_err(|error| error.to_string())
    }

    async fn open_keys(&self) -> Store {
        Store::open_keys(&self.keys.url()).await.unwrap()
    }
}

async fn count(place: &Place, of: &str) -> i64 {
    let sql = format!("SELECT 'rows', COUNT(*), '' FROM {of}");
    place.bodies_of(&sql).await[0].1
}

async fn keep(recorder: &Recorder, user: &str) -> ExchangeId {
    let exchange = ExchangeId::new();
    let recording = Recording::of(Body::Intent(intent_by(user, exchange)))
        .keep(request(b"the text"))
        .and(Body::Seal(Seal::new(exchange, Outcome::Completed, 200)));
    recorder.record(recording).await.unwrap();
    exchange
}

async fn record_erasure(recorder: &Recorder, subject: &str, until: u64) {
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
}

#[tokio::test]
async fn who_has_the_records_has_no_key_and_everything_works_as_beside_them() {
    for kinds in APART {
        let two = Two::new(kinds).await;
        let (recorder, shipping) = open(two.config("a", Some(two.keys.url()))).await;
        let exchange = keep(&recorder, "ann.canary").await;
        keep(&recorder, "bob.canary").await;
        finish(shipping).await;
        assert_eq!(count(&two.records, "audit_key").await, 0, "{kinds:?}");
        assert_eq!(count(&two.keys, "audit_key").await, 2, "{kinds:?}");
        let verified = two.verify().await.unwrap();
        assert_eq!((verified.sealed, verified.erased), (2, 0), "{kinds:?}");

        // What is sealed opens with a key from there.
        let store = two.records.store().await;
        let keys = Keys::new(&store, Some(two.open_keys().await));
        let entry = oversight::records_of(&store, exchange).await.unwrap().remove(0);
        let sealed = kept::payloads(&store, &entry).await.unwrap().remove(0);
        assert_eq!(sealed.part, Part::Request);
        let Some(KeptKey::Wrapped(wrapped)) = keys.key(sealed.key).await.unwrap() else {
            panic!("the key came in");
        };
        let key = SubjectKey::unwrap(&two.tenant_keys(), &wrapped).await.unwrap();
        let text = cordon_audit::payload::open(&entry, &sealed, &key).unwrap();
        assert_eq!(text.as_slice(), b"the text");

        // Whoever forgets to say where the keys are is told that they are gone.
        let without = cordon_audit::verify(&store, &Evidence::default()).await;
        let said = without.unwrap_err().to_string();
        assert!(said.contains("its key was taken"), "{kinds:?} {said}");

        // Erased there; and by one who kept a copy, brought back there.
        two.keys
            .execute("CREATE TABLE kept_key AS SELECT * FROM audit_key")
            .await;
        let (recorder, shipping) = open(two.config("b", Some(two.keys.url()))).await;
        let until = now();
        record_erasure(&recorder, &wrapped.subject, until).await;
        let (verified, erased) =
            tokio::join!(two.verify(), keys.erase(&["default"], &wrapped.subject, until));
        verified.unwrap();
        assert_eq!(erased.unwrap(), 1);
        let verified = two.verify().await.unwrap();
        assert_eq!((verified.sealed, verified.erased), (1, 1), "{kinds:?}");
        two.keys
            .execute("DELETE FROM audit_key; INSERT INTO audit_key SELECT * FROM kept_key")
            .await;
        let said = two.verify().await.unwrap_err();
        assert!(
            said.contains("was not carried out, or was undone"),
            "{kinds:?} {said}"
        );
        keys.erase(&["default"], &wrapped.subject, until).await.unwrap();
        two.keys
            .execute("DELETE FROM audit_key WHERE wrapped IS NOT NULL")
            .await;
        let said = two.verify().await.unwrap_err();
        assert!(said.contains("its key was taken"), "{kinds:?} {said}");

        // Pruned there when nothing is left that they could open.
        let retention = Retention::from([("standard".to_owned(), 400)]);
        let owner = Store::create(&two.records.url()).await.unwrap();
        let later = now() + 800 * 86_400_000;
        let pruned = cordon_audit::prune(&owner, keys.apart(), &recorder, &retention, later).await;
        assert_eq!(pruned.unwrap().keys, 1, "{kinds:?}");
        assert_eq!(count(&two.keys, "audit_key").await, 0, "{kinds:?}");
        finish(shipping).await;
        two.verify().await.unwrap();
        for store in [owner, store] {
            store.close().await;
        }
    }
}

/// Records wait for it as for the store, and nothing is lost; those that bring no key need not wait.
#[tokio::test]
async fn while_the_keys_database_is_away_what_needs_it_waits() {
    for kinds in APART {
        let two = Two::new(kinds).await;
        let away = match kinds.1 {
            Kind::Postgres => "postgres://postgres@127.0.0.1:1/none".parse().unwrap(),
            Kind::Sqlite => two.keys.url(),
        };
        if kinds.1 == Kind::Sqlite {
            // It is there, and somebody holds it for longer than a batch waits for it.
            Store::create_keys(&two.keys.url()).await.unwrap().close().await;
            let path = two.keys.dir.path().join("audit.db");
            let mut other = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
                .await
                .unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE")
                .execute(&mut other)
                .await
                .unwrap();
            let (recorder, shipping) = open(two.config("a", Some(away))).await;
            keep(&recorder, "ann.canary").await;
            assert!(!recorder.in_store(Duration::from_secs(1)).await);
            assert_eq!(count(&two.records, "audit_record").await, 0, "{kinds:?}");
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
            other.close().await.unwrap();
            finish(shipping).await;
        } else {
            let (recorder, shipping) = open(two.config("a", Some(away))).await;
            recorder.event(crate::mutations::reloaded()).await.unwrap();
            assert!(
                recorder.in_store(Duration::from_secs(20)).await,
                "it brings no key"
            );
            keep(&recorder, "ann.canary").await;
            assert!(!recorder.in_store(Duration::from_secs(1)).await);
            assert_eq!(count(&two.records, "audit_payload").await, 0, "{kinds:?}");
            assert_eq!(shipping.shutdown(Duration::ZERO).await, 2, "{kinds:?}");
            let (_, shipping) = open(two.config("a", Some(two.keys.url()))).await;
            finish(shipping).await;
        }
        assert_eq!(count(&two.keys, "audit_key").await, 1, "{kinds:?}");
        let verified = two.verify().await.unwrap();
        assert_eq!(verified.sealed, 1, "{kinds:?}");
    }
}

/// Keys that came in before they were kept apart stay where they are, and are found there.
#[tokio::test]
async fn what_was_beside_the_records_before_goes_on() {
    let two = Two::new((Kind::Sqlite, Kind::Sqlite)).await;
    let (recorder, shipping) = open(two.config("a", None)).await;
    keep(&recorder, "ann.canary").await;
    finish(shipping).await;
    let (recorder, shipping) = open(two.config("a", Some(two.keys.url()))).await;
    keep(&recorder, "ann.canary").await;
    assert_eq!(count(&two.records, "audit_key").await, 1);
    let store = two.records.store().await;
    let keys = Keys::new(&store, Some(two.open_keys().await));
    assert!(recorder.in_store(Duration::from_secs(20)).await);
    assert_eq!(two.verify().await.unwrap().sealed, 2);
    let reference = sealing(Arc::new(two.tenant_keys()))
        .pseudonyms
        .reference("ann.canary");
    let until = now();
    record_erasure(&recorder, &reference, until).await;
    assert_eq!(keys.erase(&["default"], &reference, until).await.unwrap(), 2);
    finish(shipping).await;
    assert_eq!(two.verify().await.unwrap().erased, 2);
}

/// Waits until somebody in the place's schema waits for a lock.
async fn until_somebody_waits(place: &Place, table: &str) {
    let waiting = format!("pg_locks WHERE NOT granted AND relation = CAST('{table}' AS regclass)");
    tokio::time::timeout(Duration::from_secs(20), async {
        while count(place, &waiting).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("somebody waits");
}

const KEY: &str = "'00000000-0000-0000-0000-000000000001', 'default', 'p-1', 5, '\\x01', '\\x02'";

/// Whichever of the two comes first, the other waits for it, and no key is left.
#[tokio::test]
async fn an_erasure_and_a_key_that_comes_in_wait_for_each_other() {
    for apart in [false, true] {
        for key_first in [false, true] {
            let place = Place::new(Kind::Postgres).await;
            let (beside, keys) = if apart {
                let records = Place::new(Kind::Postgres).await;
                let store = Store::create(&records.url()).await.unwrap();
                let keys = Store::create_keys(&place.url()).await.unwrap();
                (Some(records), Keys::new(&store, Some(keys)))
            } else {
                let store = Store::create(&place.url()).await.unwrap();
                (None, Keys::new(&store, None))
            };
            let mut first = PgConnection::connect(&place.url_text()).await.unwrap();
            let mut begun = first.begin().await.unwrap();
            let take = AssertSqlSafe(format!("SELECT audit_take_key({KEY})"));
            if key_first {
                sqlx::raw_sql(take).execute(&mut *begun).await.unwrap();
                let erasing = tokio::spawn(async move { keys.erase(&["default"], "p-1", 9).await });
                until_somebody_waits(&place, "audit_erasure").await;
                begun.commit().await.unwrap();
                erasing.await.unwrap().unwrap();
            } else {
                sqlx::raw_sql("INSERT INTO audit_erasure VALUES ('default', 'p-1', 9)")
                    .execute(&mut *begun)
                    .await
                    .unwrap();
                let url = place.url_text();
                let taking = tokio::spawn(async move {
                    let mut second = PgConnection::connect(&url).await.unwrap();
                    sqlx::raw_sql(take).execute(&mut second).await
                });
                until_somebody_waits(&place, "audit_erasure").await;
                begun.commit().await.unwrap();
                taking.await.unwrap().unwrap();
            }
            let shredded = "audit_key WHERE wrapped IS NULL AND name IS NULL AND erased_at = 9";
            assert_eq!(count(&place, shredded).await, 1, "{apart} {key_first}");
            assert_eq!(count(&place, "audit_key").await, 1);
            drop(beside);
        }
    }
}

/// The same in SQLite, where one writes at a time.
#[tokio::test]
async fn a_key_waits_for_an_erasure_in_a_file() {
    for apart in [false, true] {
        let two = Two::new((Kind::Sqlite, Kind::Sqlite)).await;
        let keys = apart.then(|| two.keys.url());
        let (recorder, shipping) = open(two.config("a", keys)).await;
        let place = if apart { &two.keys } else { &two.records };
        let path = place.dir.path().join("audit.db");
        let mut other = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
            .await
            .unwrap();
        let reference = sealing(Arc::new(two.tenant_keys()))
            .pseudonyms
            .reference("ann.canary");
        let tombstone = format!(
            "BEGIN IMMEDIATE; INSERT INTO audit_erasure VALUES ('default', '{reference}', {})",
            now() + 60_000
        );
        sqlx::raw_sql(AssertSqlSafe(tombstone))
            .execute(&mut other)
            .await
            .unwrap();
        keep(&recorder, "ann.canary").await;
        assert!(!recorder.in_store(Duration::from_millis(300)).await);
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        finish(shipping).await;
        assert_eq!(
            count(place, "audit_key WHERE wrapped IS NULL").await,
            1,
            "{apart}"
        );
    }
}
