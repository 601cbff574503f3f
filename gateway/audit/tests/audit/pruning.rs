//! Records that had their time: gone as a whole, told of, and told from those that somebody took.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cordon_audit::{
    AuditConfig, Body, Evidence, FileKeys, HoldPlaced, HoldReleased, HoldScope, Operator, Outcome, Pruning,
    Query, Recorder, Recording, Retention, Seal, Store, TreeHead, TreeName, Verified, note::Note,
};
use cordon_domain::ExchangeId;
use uuid::Uuid;

use crate::{
    databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, signing_key, verify_by},
    keys::sealing,
};

const DAY: u64 = 86_400_000;

async fn exchange_in(recorder: &Recorder, tenant: &str, class: &str, user: &str) -> ExchangeId {
    let id = ExchangeId::new();
    let recording = Recording::of(Body::Intent(intent_by(user, id))).and(Body::Seal(Seal::new(
        id,
        Outcome::Completed,
        200,
    )));
    let tree = TreeName::new(tenant, class).unwrap();
    recorder.record(recording.in_tree(tree)).await.unwrap();
    id
}

async fn verify(place: &Place) -> Result<Verified, String> {
    let key = signing_key();
    let evidence = Evidence {
        key: Some(key.verifying()),
        ..Evidence::default()
    };
    verify_by(place, &evidence).await
}

/// Three days from now, so that what was just recorded is older than a day.
fn later() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() + 3 * DAY
}

async fn prune(place: &Place, recorder: &Recorder) -> Pruning {
    prune_at(place, recorder, later()).await
}

fn operator() -> Operator {
    Operator {
        user: "auditor".to_owned(),
        claimed: None,
    }
}

#[tokio::test]
async fn what_had_its_time_is_gone_and_the_rest_verifies() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        let mut gone = Vec::new();
        for _ in 0..5 {
            exchange(&recorder, "j.kim").await;
            gone.push(exchange_in(&recorder, "default", "short", "j.kim").await);
            gone.push(exchange_in(&recorder, "emea", "short", "s.lee").await);
        }
        finish(shipping).await;
        let (recorder, shipping) = open(place.sequenced("b")).await;
        let pruned = prune(&place, &recorder).await;
        assert_eq!(
            (pruned.records, pruned.days, pruned.kept.len()),
            (20, 1, 0),
            "{kind:?}"
        );
        let again = prune(&place, &recorder).await;
        assert_eq!(again.records, 0);
        finish(shipping).await;

        let verified = verify(&place).await.unwrap();
        assert_eq!((verified.pruned, verified.behind), (20, 0), "{kind:?}");
        assert!(
            verified
                .to_string()
                .contains("20 more had their time and were pruned")
        );
        let store = place.store().await;
        for exchange in gone {
            let query = Query {
                exchange: Some(exchange),
                ..Query::default()
            };
            assert_eq!(cordon_audit::search(&store, &query).await.unwrap(), []);
        }
        store.close().await;

        // What somebody took is not what was pruned, whatever class they say that it had.
        let taken = "DELETE FROM audit_record WHERE kind = 'seal' AND class = 'standard'";
        place.execute(taken).await;
        let said = verify(&place).await.unwrap_err();
        assert!(said.contains("is missing"), "{kind:?} {said}");
    }
}

#[tokio::test]
async fn a_record_of_pruning_that_is_taken_away_leaves_records_missing() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        exchange_in(&recorder, "default", "short", "j.kim").await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        let (recorder, shipping) = open(place.sequenced("b")).await;
        assert_eq!(prune(&place, &recorder).await.records, 2);
        finish(shipping).await;
        verify(&place).await.unwrap();
        place
            .execute("DELETE FROM audit_record WHERE kind = 'pruned'")
            .await;
        let said = verify(&place).await.unwrap_err();
        assert!(said.contains("missing"), "{kind:?} {said}");
    }
}

#[tokio::test]
async fn a_hold_keeps_a_day_until_it_is_released() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        exchange_in(&recorder, "default", "short", "j.kim").await;
        let hold = Uuid::now_v7();
        let placed = Body::HoldPlaced(HoldPlaced {
            hold,
            operator: operator(),
            reason: "case 12".to_owned(),
            scope: HoldScope {
                subject: Some("j.kim".to_owned()),
                ..HoldScope::default()
            },
        });
        let governance = |body: Body| Recording::of(body).in_tree(TreeName::governance());
        recorder.record(governance(placed)).await.unwrap();
        finish(shipping).await;
        let (recorder, shipping) = open(place.sequenced("b")).await;
        let pruned = prune(&place, &recorder).await;
        assert_eq!((pruned.records, pruned.kept.len()), (0, 1), "{kind:?}");
        assert!(
            pruned.kept[0].contains(&format!("hold {hold} stands")),
            "{pruned:?}"
        );
        let released = Body::HoldReleased(HoldReleased {
            hold,
            operator: operator(),
            reason: "closed".to_owned(),
        });
        recorder.record(governance(released)).await.unwrap();
        finish(shipping).await;
        let (recorder, shipping) = open(place.sequenced("b")).await;
        assert_eq!(prune(&place, &recorder).await.records, 2, "{kind:?}");
        finish(shipping).await;
        verify(&place).await.unwrap();
    }
}

#[tokio::test]
async fn what_lasts_into_a_holds_time_stays() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        let id = ExchangeId::new();
        let short = || TreeName::new("default", "short").unwrap();
        let intent = Recording::of(Body::Intent(intent_by("j.kim", id)));
        recorder.record(intent.in_tree(short())).await.unwrap();
        let placed = HoldPlaced {
            hold: Uuid::now_v7(),
            operator: operator(),
            reason: "case 12".to_owned(),
            scope: HoldScope {
                since: Some(later() - 2 * DAY),
                ..HoldScope::default()
            },
        };
        let governance = |body: Body| Recording::of(body).in_tree(TreeName::governance());
        recorder
            .record(governance(Body::HoldPlaced(placed)))
            .await
            .unwrap();
        assert!(recorder.in_store(Duration::from_secs(20)).await);
        let pruned = prune(&place, &recorder).await;
        assert_eq!(
            (pruned.records, pruned.kept.len()),
            (0, 1),
            "{kind:?}: it is under way"
        );
        assert!(pruned.kept[0].contains("stands"), "{pruned:?}");
        // It ends before the hold's time begins.
        let seal = Recording::of(Body::Seal(Seal::new(id, Outcome::Completed, 200)));
        recorder.record(seal.in_tree(short())).await.unwrap();
        finish(shipping).await;
        let (recorder, shipping) = open(place.sequenced("b")).await;
        assert_eq!(prune(&place, &recorder).await.records, 2, "{kind:?}");
        finish(shipping).await;
    }
}

async fn prune_at(place: &Place, recorder: &Recorder, now: u64) -> Pruning {
    let store = Store::create(&place.url()).await.unwrap();
    let retention = Retention::from([("short".to_owned(), 1), ("standard".to_owned(), 400)]);
    let pruned = cordon_audit::prune(&store, None, recorder, &retention, now)
        .await
        .unwrap();
    store.close().await;
    pruned
}

async fn count(place: &Place, of: &str) -> i64 {
    place
        .bodies_of(&format!("SELECT 'rows', COUNT(*), '' FROM {of}"))
        .await[0]
        .1
}

/// A key goes when nothing that is kept needs it, and not before; nor while a hold covers it.
#[tokio::test]
async fn keys_go_with_the_last_record_that_could_need_them() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let with_keys = |spool: &str| AuditConfig {
            sealing: Some(sealing(Arc::new(FileKeys::new(&place.dir.path().join("keys"))))),
            ..place.sequenced(spool)
        };
        let (recorder, shipping) = open(with_keys("a")).await;
        for (class, user) in [("short", "j.kim"), ("short", "s.lee"), ("standard", "s.lee")] {
            exchange_in(&recorder, "default", class, user).await;
        }
        finish(shipping).await;
        assert_eq!(count(&place, "audit_key").await, 2, "{kind:?}");
        let (recorder, shipping) = open(place.sequenced("b")).await;
        // Records of `standard` are left, which may be sealed under either.
        let month = later() + 27 * DAY;
        let pruned = prune_at(&place, &recorder, month).await;
        assert_eq!((pruned.records, pruned.keys), (4, 0), "{kind:?}");
        let hold = HoldPlaced {
            hold: Uuid::now_v7(),
            operator: operator(),
            reason: "case 12".to_owned(),
            scope: HoldScope {
                subject: Some(
                    sealing(Arc::new(FileKeys::new(place.dir.path())))
                        .pseudonyms
                        .reference("j.kim"),
                ),
                ..HoldScope::default()
            },
        };
        let governance = |body: Body| Recording::of(body).in_tree(TreeName::governance());
        recorder
            .record(governance(Body::HoldPlaced(hold.clone())))
            .await
            .unwrap();
        assert!(recorder.in_store(Duration::from_secs(20)).await);
        let years = later() + 800 * DAY;
        let pruned = prune_at(&place, &recorder, years).await;
        assert_eq!((pruned.records, pruned.keys), (2, 1), "{kind:?}: one is held");
        let released = HoldReleased {
            hold: hold.hold,
            operator: operator(),
            reason: "closed".to_owned(),
        };
        recorder
            .record(governance(Body::HoldReleased(released)))
            .await
            .unwrap();
        assert!(recorder.in_store(Duration::from_secs(20)).await);
        assert_eq!(prune_at(&place, &recorder, years).await.keys, 1, "{kind:?}");
        assert_eq!(count(&place, "audit_key").await, 0, "{kind:?}");
        finish(shipping).await;
        verify(&place).await.unwrap();
        let told = "audit_record WHERE kind = 'keys_pruned'";
        assert_eq!(count(&place, told).await, 2, "{kind:?}");
    }
}

/// Verifying and proving go on as before; what was thinned on record is told from what somebody took.
#[tokio::test]
async fn checkpoints_are_thinned_and_all_of_it_verifies() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let mut exchanges = Vec::new();
        for _ in 0..6 {
            let (recorder, shipping) = open(place.sequenced("a")).await;
            exchanges.push(exchange(&recorder, "j.kim").await);
            finish(shipping).await;
        }
        let published: Vec<String> = place
            .bodies_of("SELECT note, size, '' FROM audit_checkpoint ORDER BY tenant, class, size")
            .await
            .into_iter()
            .map(|(note, ..)| note)
            .collect();
        assert!(published.len() >= 6, "{kind:?}");
        // One that was cosigned stays, whoever may still look at it.
        place
            .execute(
                "INSERT INTO audit_cosignature SELECT tenant, class, size, 'stamp', 'tsa', at, 'x' FROM audit_checkpoint \
                 ORDER BY size LIMIT 1",
            )
            .await;
        let key = signing_key();
        let elsewhere = |checkpoints: Vec<String>| Evidence {
            key: Some(key.verifying()),
            checkpoints,
            ..Evidence::default()
        };
        let before = verify(&place).await.unwrap();
        let (recorder, shipping) = open(place.sequenced("b")).await;
        let pruned = prune_at(&place, &recorder, later() + 200 * DAY).await;
        finish(shipping).await;
        assert!(pruned.checkpoints >= 4, "{kind:?} {pruned:?}");
        let after = verify(&place).await.unwrap();
        let size = |verified: &Verified| {
            let tree = |tree: &&TreeHead| tree.tree == TreeName::default();
            verified.trees.iter().find(tree).map(|tree| tree.size)
        };
        assert_eq!(size(&before), size(&after), "{kind:?}");
        assert!(count(&place, "audit_cosignature").await == 1, "{kind:?}");
        verify_by(&place, &elsewhere(published.clone())).await.unwrap();
        let store = place.store().await;
        for exchange in &exchanges {
            let older = Note::parse(published[0].as_bytes()).unwrap();
            let proof = cordon_audit::prove(&store, *exchange, &[older]).await.unwrap();
            assert_eq!(proof.records.len(), 2);
        }
        store.close().await;
        // The newest of a tree is not what thinning takes.
        place
            .execute(
                "DELETE FROM audit_checkpoint WHERE class = 'standard' AND size = (SELECT MAX(size) FROM audit_checkpoint WHERE class = 'standard')",
            )
            .await;
        let said = verify_by(&place, &elsewhere(published.clone()))
            .await
            .unwrap_err();
        assert!(said.contains("has lost its checkpoint"), "{kind:?} {said}");
        // Nor does it go without its record.
        place
            .execute("DELETE FROM audit_record WHERE kind = 'checkpoints_thinned'")
            .await;
        assert!(verify(&place).await.unwrap_err().contains("missing"), "{kind:?}");
    }
}

/// What is in no tree yet could not be told from what somebody took.
#[tokio::test]
async fn what_is_in_no_tree_yet_stays() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.config("a")).await;
        exchange_in(&recorder, "default", "short", "j.kim").await;
        finish(shipping).await;
        let (recorder, shipping) = open(place.config("b")).await;
        let pruned = prune(&place, &recorder).await;
        assert_eq!(pruned.records, 0);
        assert!(pruned.kept[0].contains("in no tree yet"), "{pruned:?}");
        finish(shipping).await;
    }
}

/// The role that ships inserts, and can do nothing else: neither read a record, nor change or remove one.
#[tokio::test]
async fn the_role_that_ships_can_only_insert() {
    let place = Place::new(Kind::Postgres).await;
    let store = Store::create(&place.url()).await.unwrap();
    store.close().await;
    let role = format!("cordon_writer_{}", Uuid::now_v7().simple());
    place
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; SELECT audit_grant('{role}', 'writer')"
        ))
        .await;
    let mut config = place.sequenced("a");
    config.writer = Some(place.url_as(&role));
    let (recorder, shipping) = open(config).await;
    exchange(&recorder, "j.kim").await;
    exchange_in(&recorder, "emea", "long", "s.lee").await;
    finish(shipping).await;
    assert_eq!(verify(&place).await.unwrap().records, 4);
    for forbidden in [
        "SELECT body FROM audit_record",
        "UPDATE audit_record SET actor = 'x'",
        "DELETE FROM audit_record",
        "TRUNCATE audit_record",
        "DROP TABLE audit_record",
        "UPDATE audit_writer SET sequence = 0",
        "SELECT wrapped FROM audit_key",
        "INSERT INTO audit_checkpoint VALUES ('default', 'standard', 1, 1, 'x')",
        "INSERT INTO audit_extent VALUES ('default', 'standard', 99, '00000000-0000-0000-0000-000000000001', 1, 1, '', '')",
    ] {
        let said = place
            .try_execute(&format!("SET ROLE {role}; {forbidden}"))
            .await
            .unwrap_err();
        assert!(
            said.contains("permission denied") || said.contains("must be owner"),
            "{forbidden}: {said}"
        );
    }
    place
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
