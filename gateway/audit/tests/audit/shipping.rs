//! From recorder to store: everything arrives once, whatever the store does meanwhile.

use std::{fs, time::Duration};

use cordon_audit::{AuditUnavailable, Outcome, Seal};
use cordon_domain::ExchangeId;

use crate::{
    databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, verify},
    relay::Relay,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_share_syncs_and_all_arrive() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let recorder = recorder.clone();
                tokio::spawn(async move { exchange(&recorder, "j.kim").await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let metrics = recorder.metrics();
        assert_eq!(metrics.recorded, 2000);
        assert!(metrics.syncs < 1000, "{} syncs for 2000 entries", metrics.syncs);
        assert!(recorder.healthy());
        finish(shipping).await;
        assert_eq!(recorder.depth(), 0);
        assert_eq!(
            recorder.intent(intent_by("x", ExchangeId::new())).await,
            Err(AuditUnavailable::Closed)
        );
        let verified = verify(&place, Some(&place.spool("a"))).await.unwrap();
        assert_eq!((verified.records, verified.unsealed), (2000, 0));
        // Only the newest segment is left of the spool.
        let left = fs::read_dir(place.spool("a")).unwrap();
        let left = left
            .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "seg"))
            .count();
        assert_eq!(left, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_and_goes_gets_everything_once() {
    let place = Place::new(Kind::Postgres).await;
    let relay = Relay::to(crate::databases::postgres_address()).await;
    let (recorder, shipping) = open(place.config_by("a", place.url_by(&relay.address()))).await;
    for round in 0..8 {
        // Cut while a batch may be on its way, so that some answers to COMMIT are lost.
        for _ in 0..20 + round * 7 {
            exchange(&recorder, "j.kim").await;
        }
        relay.cut();
        for _ in 0..20 {
            exchange(&recorder, "j.kim").await;
        }
        assert!(recorder.healthy(), "the spool does not need the store");
        relay.mend();
    }
    let expected = 2 * (0..8u64).map(|round| 40 + round * 7).sum::<u64>();
    assert_eq!(recorder.metrics().recorded, expected);
    finish(shipping).await;
    assert_eq!(
        verify(&place, Some(&place.spool("a"))).await.unwrap().records,
        expected
    );
    assert_eq!(place.bodies().await.len() as u64, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_delays_neither_start_nor_end() {
    let place = Place::new(Kind::Postgres).await;
    let relay = Relay::to(crate::databases::postgres_address()).await;
    relay.cut();
    let url = place.url_by(&relay.address());
    let mut recorded = 0;
    for _ in 0..2 {
        let (recorder, shipping) = open(place.config_by("a", url.clone())).await;
        for _ in 0..50 {
            exchange(&recorder, "j.kim").await;
        }
        recorded += 100;
        assert_eq!(recorder.depth(), recorded);
        assert_eq!(shipping.shutdown(Duration::ZERO).await, recorded);
    }
    relay.mend();
    let (_, shipping) = open(place.config_by("a", url)).await;
    finish(shipping).await;
    assert_eq!(
        verify(&place, Some(&place.spool("a"))).await.unwrap().records,
        recorded
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_a_database_and_no_lock() {
    let place = Place::new(Kind::Postgres).await;
    let ((a, ship_a), (b, ship_b)) = tokio::join!(place.open("a"), place.open("b"));
    for _ in 0..100 {
        tokio::join!(exchange(&a, "j.kim"), exchange(&b, "s.lee"));
    }
    tokio::join!(finish(ship_a), finish(ship_b));
    for spool in ["a", "b"] {
        let verified = verify(&place, Some(&place.spool(spool))).await.unwrap();
        assert_eq!((verified.records, verified.chains.len()), (400, 2));
        assert!(verified.to_string().starts_with("ok 400 records, checkpoint "));
    }
}

#[tokio::test]
async fn verifying_a_live_store_raises_no_alarm() {
    let place = Place::new(Kind::Sqlite).await;
    let (recorder, shipping) = place.open("a").await;
    for _ in 0..20 {
        for _ in 0..10 {
            exchange(&recorder, "j.kim").await;
        }
        verify(&place, Some(&place.spool("a"))).await.unwrap();
    }
    finish(shipping).await;
}

#[tokio::test]
async fn what_was_left_open_is_unknown_in_the_store() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        let id = ExchangeId::new();
        recorder.intent(intent_by("j.kim", id)).await.unwrap();
        finish(shipping).await;
        assert_eq!(verify(&place, None).await.unwrap().unsealed, 1);
        let (recorder, shipping) = place.open("a").await;
        let late = recorder.seal(Seal::new(id, Outcome::Completed, 200)).await;
        assert_eq!(late, Err(AuditUnavailable::NotOpen));
        finish(shipping).await;
        assert_eq!(verify(&place, None).await.unwrap().unsealed, 0);
        assert!(place.bodies().await[1].2.contains(r#""outcome":"unknown""#));
    }
}

#[tokio::test]
async fn a_spool_set_back_or_a_store_exchanged_ships_nothing() {
    let place = Place::new(Kind::Sqlite).await;
    let (recorder, shipping) = place.open("a").await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    let copy = place.spool("copy");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(place.spool("a")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let (recorder, shipping) = place.open("a").await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    // The copy goes on with records of its own under the same numbers: a fork.
    let (recorder, shipping) = place.open("copy").await;
    exchange(&recorder, "mallory").await;
    assert_eq!(shipping.shutdown(Duration::from_millis(300)).await, 2);
    assert!(recorder.metrics().ship_failures > 0);
    assert_eq!(verify(&place, Some(&place.spool("a"))).await.unwrap().records, 4);
    assert!(
        place
            .bodies()
            .await
            .iter()
            .all(|(_, _, body)| !body.contains("mallory"))
    );
    // A fresh database behind a spool that has shipped already.
    for file in fs::read_dir(place.dir.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            // Files that SQLite keeps beside its own go with the last connection, which may be just now.
            let _ = fs::remove_file(path);
        }
    }
    let (recorder, shipping) = place.open("a").await;
    for _ in 0..3 {
        exchange(&recorder, "j.kim").await;
    }
    assert!(shipping.shutdown(Duration::from_millis(300)).await > 0);
    assert!(recorder.metrics().ship_failures > 0);
}

#[tokio::test]
async fn text_that_a_caller_chose_cannot_stop_shipping() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        let mut intent = intent_by("a\0b", ExchangeId::new());
        intent.model = Some("\0\u{7f}\r\n'; DROP TABLE audit_record; --".repeat(100));
        intent.host = Some("\u{202e}\0".into());
        intent.path = format!("/{}?q=secret", "x\0".repeat(10_000));
        let seal = Seal::new(intent.exchange, Outcome::Refused, 400);
        recorder.sealed_intent(intent, seal).await.unwrap();
        finish(shipping).await;
        assert_eq!(verify(&place, Some(&place.spool("a"))).await.unwrap().records, 2);
        assert!(!place.bodies().await[0].2.contains("secret"));
    }
}

#[tokio::test]
async fn a_full_spool_empties_when_the_store_is_back() {
    let place = Place::new(Kind::Postgres).await;
    let relay = Relay::to(crate::databases::postgres_address()).await;
    relay.cut();
    let mut config = place.config_by("a", place.url_by(&relay.address()));
    (config.spool.max_bytes, config.spool.reserve_bytes) = (256 << 10, 16 << 10);
    let (recorder, shipping) = open(config).await;
    let mut open = Vec::new();
    loop {
        let id = ExchangeId::new();
        match recorder.intent(intent_by("j.kim", id)).await {
            Ok(()) => open.push(id),
            Err(why) => break assert_eq!(why, AuditUnavailable::Full),
        }
    }
    assert!(!recorder.healthy());
    recorder
        .seal(Seal::new(open[0], Outcome::Completed, 200))
        .await
        .unwrap();
    relay.mend();
    while !recorder.healthy() {
        tokio::task::yield_now().await;
    }
    for id in &open[1..] {
        recorder
            .seal(Seal::new(*id, Outcome::Completed, 200))
            .await
            .unwrap();
    }
    finish(shipping).await;
    assert_eq!(
        verify(&place, Some(&place.spool("a"))).await.unwrap().records,
        2 * open.len() as u64
    );
}
