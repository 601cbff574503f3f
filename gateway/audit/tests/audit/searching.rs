//! One row an exchange, found by each filter, page by page.

use cordon_audit::{
    Body, Event, Outcome, Position, Query, Refused, Row, Seal, Store, StoreError, StoreUrl, TunnelClosed,
    TunnelOpened,
};
use cordon_domain::{Action, Actor, Dialect, Door, ExchangeId};

use crate::databases::{BOTH, Place, exchange, finish, intent_by};

async fn ids(store: &Store, query: Query) -> Vec<ExchangeId> {
    cordon_audit::search(store, &query)
        .await
        .unwrap()
        .iter()
        .map(|row| row.exchange)
        .collect()
}

#[tokio::test]
async fn each_filter_finds_what_it_names() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        let plain = exchange(&recorder, "j.kim").await;

        let refused = ExchangeId::new();
        let mut intent = intent_by("s.lee", refused);
        (intent.action, intent.rule, intent.upstream, intent.model) =
            (Action::Block, "secrets".into(), None, Some("gpt-9".into()));
        intent.entities = [("SECRET.AWS_ACCESS_KEY".parse().unwrap(), 1)].into();
        intent.host = Some("api.openai.com".into());
        recorder
            .sealed_intent(intent, Seal::new(refused, Outcome::Refused, 400))
            .await
            .unwrap();

        let in_reply = ExchangeId::new();
        let mut intent = intent_by("s.lee", in_reply);
        intent.entities.clear();
        recorder.intent(intent).await.unwrap();
        let mut seal = Seal::new(in_reply, Outcome::UpstreamFailed, 502);
        seal.reply_entities = [("SECRETX".parse().unwrap(), 1)].into();
        recorder.seal(seal).await.unwrap();

        let tunnel = ExchangeId::new();
        let peer = ([10, 0, 0, 1], 9).into();
        let opened = TunnelOpened {
            exchange: tunnel,
            actor: Actor::anonymous_loopback(),
            peer,
            door: cordon_domain::Door::Proxy,
            host: "example.com".into(),
            port: 443,
        };
        recorder.event(Event::TunnelOpened(opened)).await.unwrap();
        let closed = TunnelClosed {
            exchange: tunnel,
            bytes_up: 1,
            bytes_down: 2,
            duration_ms: 3,
        };
        recorder.event(Event::TunnelClosed(closed)).await.unwrap();

        let unknown = ExchangeId::new();
        let turned_away = Refused {
            exchange: unknown,
            connection: None,
            actor: Actor::unidentified(),
            peer,
            door: Door::Proxy,
            dialect: Dialect::Unknown,
            method: "CONNECT".into(),
            host: Some("api.openai.com".into()),
            path: String::new(),
            status: 407,
            code: "cordon_identity".into(),
        };
        recorder.event(Event::Refused(turned_away)).await.unwrap();
        let under_way = ExchangeId::new();
        recorder.intent(intent_by("late", under_way)).await.unwrap();
        finish(shipping).await;

        let store = place.store().await;
        let all = ids(&store, Query::default()).await;
        let mut expected = vec![plain, refused, in_reply, tunnel, unknown, under_way];
        expected.sort();
        let mut sorted = all.clone();
        sorted.sort();
        assert_eq!(sorted, expected);

        let some = |text: &str| Some(text.to_owned());
        let q = Query::default;
        for (query, mut expected) in [
            (
                Query {
                    actors: vec!["s.lee".into()],
                    ..q()
                },
                vec![refused, in_reply],
            ),
            (
                Query {
                    actors: vec!["' OR 1=1 --".into()],
                    ..q()
                },
                vec![],
            ),
            (
                Query {
                    decision: Some(Action::Block),
                    ..q()
                },
                vec![refused],
            ),
            (
                Query {
                    rule: some("secrets"),
                    ..q()
                },
                vec![refused],
            ),
            (
                Query {
                    outcome: Some(Outcome::Refused),
                    ..q()
                },
                vec![refused, unknown],
            ),
            (
                Query {
                    outcome: Some(Outcome::Completed),
                    ..q()
                },
                vec![plain, tunnel],
            ),
            (
                Query {
                    host: some("api.openai.com"),
                    ..q()
                },
                vec![refused, unknown],
            ),
            (
                Query {
                    model: some("gpt-9"),
                    ..q()
                },
                vec![refused],
            ),
            (
                Query {
                    upstream: some("engine"),
                    actors: vec!["j.kim".into()],
                    ..q()
                },
                vec![plain],
            ),
            // A family covers its members, and no name that only begins like it.
            (
                Query {
                    entity: some("SECRET"),
                    ..q()
                },
                vec![plain, refused, under_way],
            ),
            (
                Query {
                    entity: some("SECRET.AWS_ACCESS_KEY"),
                    ..q()
                },
                vec![refused],
            ),
            (
                Query {
                    entity: some("SECRET.AWS%ACCESS_KEY"),
                    ..q()
                },
                vec![],
            ),
            (
                Query {
                    entity: some("SECRETX"),
                    ..q()
                },
                vec![in_reply],
            ),
            (
                Query {
                    exchange: Some(tunnel),
                    ..q()
                },
                vec![tunnel],
            ),
            (
                Query {
                    until: Some(0),
                    ..q()
                },
                vec![],
            ),
            (
                Query {
                    since: Some(u64::MAX),
                    ..q()
                },
                vec![],
            ),
        ] {
            let mut found = ids(&store, query.clone()).await;
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{kind:?} {query:?}");
        }

        let row = &cordon_audit::search(
            &store,
            &Query {
                exchange: Some(plain),
                ..q()
            },
        )
        .await
        .unwrap()[0];
        assert!(matches!(&row.opening.body, Body::Intent(intent) if intent.actor.user == "j.kim"));
        assert!(matches!(&row.closing.as_ref().unwrap().body, Body::Seal(seal) if seal.status == 200));
        let open = &cordon_audit::search(
            &store,
            &Query {
                exchange: Some(under_way),
                ..q()
            },
        )
        .await
        .unwrap()[0];
        assert_eq!(open.closing, None);
        store.close().await;
    }
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        for _ in 0..23 {
            exchange(&recorder, "j.kim").await;
        }
        finish(shipping).await;
        let store = place.store().await;
        let whole = ids(&store, Query::default()).await;
        assert_eq!(whole.len(), 23);
        let mut paged = Vec::new();
        let mut after: Option<Position> = None;
        loop {
            let query = Query {
                limit: 5,
                after,
                ..Query::default()
            };
            let page = cordon_audit::search(&store, &query).await.unwrap();
            paged.extend(page.iter().map(|row| row.exchange));
            match page.last().map(Row::position) {
                // The written form is what a command line hands on.
                Some(position) => after = Some(position.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(paged, whole);
        store.close().await;
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open(&StoreUrl::embedded(dir.path())).await;
    assert!(matches!(missing, Err(StoreError::NotThere(_))));
    std::fs::write(dir.path().join("audit.db"), b"").unwrap();
    let empty = Store::open(&StoreUrl::embedded(dir.path())).await;
    assert!(matches!(empty, Err(StoreError::NotThere(_))));
    for text in ["", "1", "x.y", "-1.00000000-0000-0000-0000-000000000000"] {
        assert!(text.parse::<Position>().is_err());
    }
}
