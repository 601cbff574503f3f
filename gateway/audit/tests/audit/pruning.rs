//! Records that had their time: gone as a whole, told of, and told from those that somebody took.

use std::time::{SystemTime, UNIX_EPOCH};

use cordon_audit::{
    Body, Evidence, HoldPlaced, HoldReleased, HoldScope, Operator, Outcome, Pruning, Query, Recorder,
    Recording, Retention, Seal, Store, TreeName, Verified,
};
use cordon_domain::ExchangeId;
use uuid::Uuid;

use crate::databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, signing_key, verify_by};

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
    let store = Store::create(&place.url()).await.unwrap();
    let retention = Retention::from([("short".to_owned(), 1), ("standard".to_owned(), 400)]);
    let pruned = cordon_audit::prune(&store, recorder, &retention, later())
        .await
        .unwrap();
    store.close().await;
    pruned
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
