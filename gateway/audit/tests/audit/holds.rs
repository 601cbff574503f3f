//! Holds on a time: whatever lasted into it is held, also when no record of its actor is within.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use cordon_audit::{
    Body, HoldPlaced, HoldReleased, HoldScope, Operator, Outcome, Recording, Seal, TreeName, oversight,
};
use cordon_domain::{Clock, ExchangeId, SystemClock};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::databases::{BOTH, Place, finish, intent_by};

/// A clock that is set by hand, in seconds.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.load(Ordering::Relaxed)).unwrap()
    }
}

/// Subjects, when an exchange of theirs opened and ended, and whether a hold from 200 to 300 seconds stands against erasing them.
const EXCHANGES: [(&str, i64, Option<i64>, bool); 7] = [
    ("before", 100, Some(150), false),
    ("into", 100, Some(250), true),
    ("across", 100, Some(400), true),
    ("under-way", 100, None, true),
    ("within", 220, Some(240), true),
    ("out-of", 250, Some(400), true),
    ("after", 300, Some(350), false),
];

#[tokio::test]
async fn a_hold_on_a_time_stands_for_whatever_lasted_into_it() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        // Some days ago, so that all of it lies in the past.
        let begin = SystemClock.now().unix_timestamp() - 5 * 86_400;
        let clock = Arc::new(Hand(AtomicI64::new(begin)));
        let (recorder, shipping) = cordon_audit::open(place.config("a"), clock.clone())
            .await
            .unwrap();
        let mut events = Vec::new();
        for (subject, opened, ended, _) in EXCHANGES {
            let id = ExchangeId::new();
            events.push((opened, Body::Intent(intent_by(subject, id))));
            events.extend(ended.map(|at| (at, Body::Seal(Seal::new(id, Outcome::Completed, 200)))));
        }
        events.sort_by_key(|(at, _)| *at);
        for (at, body) in events {
            clock.0.store(begin + at, Ordering::Relaxed);
            recorder.record(Recording::of(body)).await.unwrap();
        }
        let operator = Operator {
            user: "auditor".to_owned(),
            claimed: None,
        };
        let milliseconds = |at: i64| u64::try_from((begin + at) * 1000).unwrap();
        let governance = |body: Body| Recording::of(body).in_tree(TreeName::governance());
        let hold = |until: Option<i64>| HoldPlaced {
            hold: Uuid::now_v7(),
            operator: operator.clone(),
            reason: "case 12".to_owned(),
            scope: HoldScope {
                since: Some(milliseconds(200)),
                until: until.map(milliseconds),
                ..HoldScope::default()
            },
        };
        let ends = hold(Some(300));
        recorder
            .record(governance(Body::HoldPlaced(ends.clone())))
            .await
            .unwrap();
        assert!(
            recorder.in_store(std::time::Duration::from_secs(20)).await,
            "{kind:?}"
        );
        let store = place.store().await;
        for (subject, .., held) in EXCHANGES {
            let found = oversight::hold_on(&store, subject).await.unwrap();
            assert_eq!(found.is_some(), held, "{kind:?} {subject}");
        }
        let released = HoldReleased {
            hold: ends.hold,
            operator: operator.clone(),
            reason: "closed".to_owned(),
        };
        let lasting = governance(Body::HoldPlaced(hold(None)));
        recorder
            .record(lasting.and(Body::HoldReleased(released)))
            .await
            .unwrap();
        finish(shipping).await;
        for (subject, .., held) in EXCHANGES {
            let found = oversight::hold_on(&store, subject).await.unwrap();
            assert_eq!(found.is_some(), held || subject == "after", "{kind:?} {subject}");
        }
        store.close().await;
    }
}
