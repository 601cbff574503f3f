//! What is durable when a caller goes on, who closes what nobody closes, and that silence shows.

use std::time::Duration;

use cordon_audit::{AuditConfig, AuditUnavailable, Body, Durability, Entry, Outcome, Query, Seal};
use cordon_domain::ExchangeId;
use tokio::time::{sleep, timeout};

use crate::{
    databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, verify},
    relay::Relay,
};

async fn bodies(place: &Place) -> Vec<Body> {
    let bodies = place.bodies().await;
    let parse = |(_, _, body): &(String, i64, String)| Entry::parse(body.as_bytes()).unwrap().body;
    bodies.iter().map(parse).collect()
}

fn outcomes(bodies: &[Body], exchange: ExchangeId) -> Vec<Outcome> {
    let seals = bodies.iter().filter_map(|body| match body {
        Body::Seal(seal) if seal.exchange == exchange => Some(seal.outcome),
        _ => None,
    });
    seals.collect()
}

/// Until a condition holds, which it has to within a minute.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let held = timeout(Duration::from_secs(60), async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    held.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_store_as_well_a_record_is_there_before_its_caller_goes_on() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let config = AuditConfig {
            durability: Durability::LocalAndStore {
                wait: Duration::from_secs(30),
            },
            ..place.config("a")
        };
        let (recorder, shipping) = open(config).await;
        for count in 1..=5 {
            let id = exchange(&recorder, "j.kim").await;
            let bodies = bodies(&place).await;
            assert_eq!(bodies.len(), 2 * count);
            assert_eq!(outcomes(&bodies, id), [Outcome::Completed]);
        }
        finish(shipping).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_store_as_well_its_absence_refuses_and_closes_what_was_opened() {
    let place = Place::new(Kind::Postgres).await;
    let relay = Relay::to(crate::databases::postgres_address()).await;
    let config = AuditConfig {
        durability: Durability::LocalAndStore {
            wait: Duration::from_secs(2),
        },
        ..place.config_by("a", place.url_by(&relay.address()))
    };
    let (recorder, shipping) = open(config).await;
    let (under_way, refused) = (ExchangeId::new(), ExchangeId::new());
    recorder.intent(intent_by("j.kim", under_way)).await.unwrap();
    relay.cut();
    assert_eq!(
        recorder.intent(intent_by("j.kim", refused)).await,
        Err(AuditUnavailable::StoreAway)
    );
    let seal = Seal::new(under_way, Outcome::Completed, 200);
    assert_eq!(recorder.seal(seal).await, Err(AuditUnavailable::StoreAway));
    relay.mend();
    until(|| async { outcomes(&bodies(&place).await, refused) == [Outcome::Internal] }).await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    // What it says was durable here, and so it is what happened.
    assert_eq!(outcomes(&bodies(&place).await, under_way), [Outcome::Completed]);
    let verified = verify(&place, Some(&place.spool("a"))).await.unwrap();
    assert_eq!((verified.records, verified.unsealed), (6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_at_any_moment_leaves_nothing_open() {
    let place = Place::new(Kind::Sqlite).await;
    let (recorder, shipping) = place.open("a").await;
    let ids: Vec<_> = (0..200).map(|_| ExchangeId::new()).collect();
    for (index, id) in ids.iter().enumerate() {
        let intent = recorder.intent(intent_by("j.kim", *id));
        // Some before it was written, some after, some in between.
        let _ = timeout(Duration::from_micros(20 * index as u64), async {
            intent.await.unwrap();
            // Told, and gone before anything else.
            std::future::pending::<()>().await;
        })
        .await;
    }
    // Those that were told are the caller's own to seal; it is as if its process had died.
    let opened: Vec<_> = {
        until(|| async { recorder.depth() == 0 }).await;
        let bodies = bodies(&place).await;
        ids.iter()
            .filter(|id| bodies.iter().any(|body| body.opens() == Some(**id)))
            .copied()
            .collect()
    };
    for id in &opened {
        // Whoever was closed says so; the others take their seal.
        let sealed = recorder.seal(Seal::new(*id, Outcome::Completed, 200)).await;
        assert!(
            matches!(sealed, Ok(()) | Err(AuditUnavailable::NotOpen)),
            "{sealed:?}"
        );
    }
    finish(shipping).await;
    let bodies = bodies(&place).await;
    for id in opened {
        assert_eq!(outcomes(&bodies, id).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_recorded_and_found_when_asked_for() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let config = AuditConfig {
            heartbeat: Duration::from_secs(1),
            ..place.config("a")
        };
        let (recorder, shipping) = open(config).await;
        until(|| async { recorder.metrics().recorded >= 2 }).await;
        finish(shipping).await;
        let store = place.store().await;
        let mut query = Query::default();
        assert_eq!(cordon_audit::events(&store, &query).await.unwrap(), []);
        query.heartbeats = true;
        let found = cordon_audit::events(&store, &query).await.unwrap();
        assert!(found.len() >= 2);
        for entry in found {
            assert!(
                matches!(&entry.body, Body::Heartbeat(beat) if beat.interval_seconds == 1 && beat.refused == 0),
                "{entry:?}"
            );
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_segments_are_emptied_and_used_again() {
    let place = Place::new(Kind::Sqlite).await;
    let (recorder, shipping) = place.open("a").await;
    let mut largest = 0;
    for _ in 0..40 {
        for _ in 0..20 {
            exchange(&recorder, "j.kim").await;
        }
        largest = largest.max(recorder.metrics().spool_bytes);
        until(|| async { recorder.depth() == 0 }).await;
    }
    finish(shipping).await;
    let mut spares = 0;
    for file in std::fs::read_dir(place.spool("a")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "spare") {
            spares += 1;
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len(), 64 << 10);
            assert!(
                bytes.iter().all(|b| *b == 0),
                "what was shipped is still in a spare"
            );
        }
    }
    assert!((1..=4).contains(&spares), "{spares}");
    assert!(largest <= 10 * (64 << 10), "{largest}");
    // The next start takes them for nothing else.
    let (recorder, shipping) = place.open("a").await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    let verified = verify(&place, Some(&place.spool("a"))).await.unwrap();
    assert_eq!(verified.records, 2 * 801);
}
