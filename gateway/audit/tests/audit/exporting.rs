//! Each format read back by another reader, and a manifest that says where its records lie.

use std::{collections::BTreeMap, fs::File};

use cordon_audit::{
    Body, Entry, Event, Outcome, Query, Refused, Seal, TunnelClosed, TunnelOpened,
    export::{Contents, ExportError, Format, Selection, export},
    note::{Checkpoint, Note},
};
use cordon_domain::{Action, Actor, Dialect, Door, ExchangeId};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use serde_json::Value;

use crate::databases::{BOTH, Place, exchange, finish, intent_by, open, signing_key};

const FORMATS: [Format; 4] = [Format::Jsonl, Format::Csv, Format::Parquet, Format::Ocsf];

async fn exported(place: &Place, selection: &Selection, format: Format) -> (Vec<u8>, Contents) {
    let store = place.store().await;
    let mut bytes = Vec::new();
    let contents = export(&store, selection, format, &mut bytes).await.unwrap();
    store.close().await;
    assert_eq!(contents.bytes, bytes.len() as u64);
    (bytes, contents)
}

/// One of each kind of exchange, the first of them with hosts and paths that a spreadsheet would run. All are leaves of trees.
async fn fill(place: &Place) -> ExchangeId {
    let (recorder, shipping) = open(place.sequenced("a")).await;
    let hostile = ExchangeId::new();
    let mut intent = intent_by("s.lee", hostile);
    (intent.action, intent.rule, intent.upstream) = (Action::Block, "secrets".into(), None);
    (intent.host, intent.path) = (Some("=cmd|' /C calc'!A0".into()), "@SUM(1+1)*cmd".into());
    recorder
        .sealed_intent(intent, Seal::new(hostile, Outcome::Refused, 400))
        .await
        .unwrap();
    exchange(&recorder, "j.kim").await;
    let tunnel = ExchangeId::new();
    let peer = ([10, 0, 0, 1], 9).into();
    let opened = TunnelOpened {
        exchange: tunnel,
        actor: Actor::anonymous_loopback(),
        peer,
        door: Door::Proxy,
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
    let turned_away = Refused {
        exchange: ExchangeId::new(),
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
    let stopped = cordon_audit::Stopped {
        reason: "signal".into(),
    };
    recorder.event(Event::Stopped(stopped)).await.unwrap();
    finish(shipping).await;
    hostile
}

#[tokio::test]
async fn lines_are_the_records_as_they_are_stored() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        fill(&place).await;
        let (bytes, contents) = exported(&place, &Selection::default(), Format::Jsonl).await;
        let text = String::from_utf8(bytes).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let stored = place.bodies().await;
        let mut expected: Vec<&str> = stored.iter().map(|(.., body)| body.as_str()).collect();
        // What happened to the gateway is no exchange.
        expected.retain(|body| Entry::parse(body.as_bytes()).unwrap().body.exchange().is_some());
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!((contents.rows, contents.records), (7, 7));
        assert_eq!(contents.writers.len(), 1);
        let [tree] = contents.trees.as_slice() else {
            panic!("{:?}", contents.trees);
        };
        assert_eq!(
            (tree.tenant.as_str(), tree.class.as_str()),
            ("default", "standard")
        );
        assert_eq!((tree.first_index, tree.last_index), (Some(0), Some(6)));
        let note = Note::parse(tree.checkpoint.as_ref().unwrap().as_bytes()).unwrap();
        note.vouched_by(signing_key().verifying()).unwrap();
        assert_eq!(Checkpoint::parse(note.text()).unwrap().size, 7);

        let events = Selection {
            events: true,
            ..Selection::default()
        };
        let (bytes, contents) = exported(&place, &events, Format::Jsonl).await;
        let entry = Entry::parse(bytes.trim_ascii_end()).unwrap();
        assert!(matches!(entry.body, Body::Stopped(_)));
        assert_eq!(contents.trees[0].class, "governance");
        let refused = export(&place.store().await, &events, Format::Csv, Vec::new()).await;
        assert!(matches!(refused, Err(ExportError::NotOfEvents)));
    }
}

#[tokio::test]
async fn tables_read_back_and_run_nothing() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let hostile = fill(&place).await.to_string();
        let (bytes, contents) = exported(&place, &Selection::default(), Format::Csv).await;
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let titles = reader.headers().unwrap().clone();
        let rows: Vec<BTreeMap<String, String>> = reader
            .records()
            .map(|record| {
                let record = record.unwrap();
                assert!(!record.iter().any(|cell| cell.starts_with(['=', '+', '-', '@'])));
                let named = |(title, cell): (&str, &str)| (title.to_owned(), cell.to_owned());
                titles.iter().zip(record.iter()).map(named).collect()
            })
            .collect();
        assert_eq!((contents.rows, contents.records), (4, 7));
        assert_eq!(rows.len(), 4);
        let row = rows.iter().find(|row| row["exchange"] == hostile).unwrap();
        assert_eq!(row["host"], "'=cmd|' /C calc'!A0");
        assert_eq!(row["path"], "'@SUM(1+1)*cmd");
        assert_eq!(
            (row["outcome"].as_str(), row["status"].as_str()),
            ("refused", "400")
        );
        assert_eq!(row["entities"], "EMAIL=2 SECRET.JWT=1");

        let (bytes, contents) = exported(&place, &Selection::default(), Format::Parquet).await;
        assert_eq!((contents.rows, contents.records), (4, 7));
        let path = place.dir.path().join("table.parquet");
        std::fs::write(&path, bytes).unwrap();
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let mut found = 0;
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let place = |name: &str| {
                row.get_column_iter()
                    .position(|(title, _)| title == name)
                    .unwrap()
            };
            if *row.get_string(place("exchange")).unwrap() == hostile {
                assert_eq!(row.get_string(place("host")).unwrap(), "=cmd|' /C calc'!A0");
                assert_eq!(row.get_long(place("status")).unwrap(), 400);
                assert!(row.get_bool(place("stream")).unwrap());
            }
            found += 1;
        }
        assert_eq!(found, 4);
    }
}

/// What the schema requires of class API Activity in version 1.8.0, and of the objects that stand in it.
const REQUIRED: [&str; 12] = [
    "/activity_id",
    "/category_uid",
    "/class_uid",
    "/type_uid",
    "/severity_id",
    "/time",
    "/metadata/version",
    "/metadata/product/name",
    "/actor/user/uid",
    "/api/operation",
    "/api/request/uid",
    "/src_endpoint/ip",
];

#[tokio::test]
async fn events_of_ocsf_have_what_the_schema_requires() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        fill(&place).await;
        let (bytes, contents) = exported(&place, &Selection::default(), Format::Ocsf).await;
        assert_eq!((contents.rows, contents.records), (4, 7));
        let text = String::from_utf8(bytes).unwrap();
        let mut seen = BTreeMap::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            for pointer in REQUIRED {
                assert!(event.pointer(pointer).is_some(), "{pointer} in {event}");
            }
            let number = |name: &str| event[name].as_u64().unwrap();
            assert_eq!(number("type_uid"), 600_300 + number("activity_id"));
            assert!([1, 2].contains(&number("action_id")));
            seen.insert(
                event["metadata"]["event_code"].as_str().unwrap().to_owned()
                    + event["disposition"].as_str().unwrap(),
                (number("status_id"), event.clone()),
            );
        }
        let kinds: Vec<&str> = seen.keys().map(String::as_str).collect();
        assert_eq!(
            kinds,
            [
                "intentBlocked",
                "intentredact",
                "refusedUnauthorized",
                "tunnel_openedAllowed"
            ]
        );
        assert_eq!(seen["intentBlocked"].0, 2);
        let (status, redacted) = &seen["intentredact"];
        assert_eq!(*status, 1);
        assert_eq!(redacted["ai_model"]["name"], "smollm2");
        assert_eq!(redacted["ai_model"]["ai_provider"], "engine");
        assert_eq!(redacted["unmapped"]["opening"]["entities"]["EMAIL"], 2);
        assert!(redacted["unmapped"]["opening"].get("peer").is_none());
    }
}

#[tokio::test]
async fn pages_and_trees_leave_nothing_out() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        let mut made = tokio::task::JoinSet::new();
        for caller in 0..30 {
            let recorder = recorder.clone();
            made.spawn(async move {
                for _ in 0..70 {
                    exchange(&recorder, if caller == 0 { "s.lee" } else { "j.kim" }).await;
                }
            });
        }
        made.join_all().await;
        finish(shipping).await;
        for format in FORMATS {
            let (_, contents) = exported(&place, &Selection::default(), format).await;
            assert_eq!(contents.records, 4200, "{format}");
            assert_eq!(
                contents.rows,
                if format == Format::Jsonl { 4200 } else { 2100 },
                "{format}"
            );
            // Nobody put them into a tree here.
            assert_eq!(
                (contents.trees[0].first_index, contents.trees[0].last_index),
                (None, None)
            );
            let of = |tenant: Option<&str>, class: Option<&str>, actor: &str| Selection {
                query: Query {
                    actors: vec![actor.to_owned()],
                    ..Query::default()
                },
                tenant: tenant.map(str::to_owned),
                class: class.map(str::to_owned),
                events: false,
            };
            for (selection, records) in [
                (of(None, None, "s.lee"), 140),
                (of(Some("default"), Some("standard"), "s.lee"), 140),
                (of(Some("emea"), None, "s.lee"), 0),
                (of(None, Some("long"), "s.lee"), 0),
            ] {
                let (_, contents) = exported(&place, &selection, format).await;
                assert_eq!(contents.records, records, "{format} {selection:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_that_does_not_read_ends_it() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        fill(&place).await;
        place
            .execute("UPDATE audit_record SET body = '{}' WHERE kind = 'seal'")
            .await;
        let store = place.store().await;
        for format in FORMATS {
            let outcome = export(&store, &Selection::default(), format, Vec::new()).await;
            assert!(matches!(outcome, Err(ExportError::Store(_))), "{format}");
        }
    }
}
