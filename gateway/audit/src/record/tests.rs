use uuid::Uuid;

use super::{samples::*, *};

#[test]
fn canonical_bytes_are_sorted_stable_and_read_back() {
    let exchange = ExchangeId::from(Uuid::from_u128(1));
    let first = entry(1, EntryHash::GENESIS, Body::Intent(intent(exchange)));
    let bytes = first.canonical_bytes();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with(r#"{"at":1700000000001,"body":{"action":"redact","actor":{"groups":["#));
    assert!(text.ends_with(r#","sequence":1,"v":1,"writer":"00000000-0000-0000-0000-000000000007"}"#));
    assert_eq!(Entry::parse(&bytes).unwrap(), first);
    assert_eq!(Entry::parse(&bytes).unwrap().canonical_bytes(), bytes);
    // The form is a contract with every stored record: a change here needs a new version.
    assert_eq!(
        EntryHash::of(&bytes).to_string(),
        "895495bde232ec9c07adb4507e4bd8ea432df64a3e4f87a87fdb9716d6eb9f7e"
    );
}

#[test]
fn a_tree_has_one_spelling_in_an_entry() {
    let body = Body::Seal(seal(ExchangeId::from(Uuid::from_u128(1))));
    let plain = entry(1, EntryHash::GENESIS, body);
    assert_eq!(plain.tree(), TreeName::default());
    let tree = TreeName::new("emea", "ten-years").unwrap();
    let [tenant, class] = tree.spelled();
    let named = Entry {
        tenant,
        class,
        ..plain
    };
    let text = String::from_utf8(named.canonical_bytes()).unwrap();
    assert!(text.contains(r#""class":"ten-years""#) && text.contains(r#""tenant":"emea""#));
    assert_eq!(Entry::parse(text.as_bytes()).unwrap(), named);
    assert_eq!(named.tree(), tree);
    for other in ["default", "", "a/b", "EMEA"] {
        let text = text.replace(r#""tenant":"emea""#, &format!(r#""tenant":"{other}""#));
        assert!(Entry::parse(text.as_bytes()).is_err(), "{other}");
    }
    let spelled_out = text.replace("ten-years", "standard");
    assert!(Entry::parse(spelled_out.as_bytes()).is_err());
    let null = text.replace(r#""tenant":"emea""#, r#""tenant":null"#);
    assert!(Entry::parse(null.as_bytes()).is_err());
}

#[test]
fn what_a_model_was_asked_reads_back_and_leaves_other_records_as_they_were() {
    let exchange = ExchangeId::from(Uuid::from_u128(1));
    let plain = entry(1, EntryHash::GENESIS, Body::Intent(intent(exchange)));
    let plain = String::from_utf8(plain.canonical_bytes()).unwrap();
    assert!(!plain.contains("questions") && !plain.contains("claims"));
    let asked = Intent {
        questions: vec![samples::asked()],
        claims: Some(Box::new(Claims {
            user: Some("5f1c".to_owned()),
            conversation: None,
        })),
        ..intent(exchange)
    };
    let entry = entry(1, EntryHash::GENESIS, Body::Intent(asked));
    let bytes = entry.canonical_bytes();
    assert_eq!(Entry::parse(&bytes).unwrap(), entry);
    assert!(std::str::from_utf8(&bytes).unwrap().contains(r#""answer":"yes""#));
    assert!(
        std::str::from_utf8(&bytes)
            .unwrap()
            .contains(r#""claims":{"user":"5f1c"}"#)
    );
}

#[test]
fn every_kind_reads_back_and_names_itself() {
    let exchange = ExchangeId::new();
    let peer = ([10, 0, 0, 1], 1).into();
    let bodies = [
        Body::Seal(seal(exchange)),
        Body::Refused(Refused {
            exchange,
            connection: None,
            actor: Actor::unidentified(),
            peer,
            door: Door::Proxy,
            dialect: Dialect::Unknown,
            method: "GET".into(),
            host: Some("api.openai.com".into()),
            path: "/".into(),
            status: 407,
            code: "cordon_identity".into(),
        }),
        Body::TunnelOpened(TunnelOpened {
            exchange,
            actor: Actor::anonymous_loopback(),
            peer,
            door: Door::Transparent,
            host: "example.com".into(),
            port: 443,
        }),
        Body::TunnelClosed(TunnelClosed {
            exchange,
            bytes_up: 1,
            bytes_down: 2,
            duration_ms: 3,
        }),
        Body::Uninspected(Uninspected {
            exchange,
            actor: actor("a"),
            door: Door::Proxy,
            host: None,
            method: "PUT".into(),
            path: "/x".into(),
            reason: "unknown_path".into(),
        }),
        Body::PolicyReloaded(PolicyReloaded {
            policy_hash: "c".repeat(64),
            accepted: false,
            sets: BTreeMap::from([("board".into(), 3)]),
        }),
        Body::TrustReloaded(TrustReloaded {
            part: TrustPart::Authority,
            accepted: true,
            trust: Trust {
                certificates: BTreeMap::from([("root".into(), "d".repeat(64))]),
                files: 2,
                files_hash: Some("e".repeat(64)),
            },
        }),
        Body::Started(Started {
            version: "0.1.0".into(),
            policy_hash: "c".repeat(64),
            fail_open: false,
            trust: Trust::default(),
        }),
        Body::Stopped(Stopped {
            reason: "signal".into(),
        }),
        Body::Heartbeat(Heartbeat {
            interval_seconds: 60,
            depth: 3,
            refused: 0,
            write_failures: 1,
        }),
        Body::SpoolTampered(SpoolTampered {
            what: Tampering::SegmentReplaced,
            segment: Some(7),
            first_sequence: Some(2),
            last_sequence: None,
            restored: true,
        }),
    ];
    for body in bodies {
        let kind = body.kind();
        let bytes = entry(3, EntryHash::GENESIS, body.clone()).canonical_bytes();
        assert_eq!(Entry::parse(&bytes).unwrap().body, body, "{kind}");
        assert!(
            std::str::from_utf8(&bytes)
                .unwrap()
                .contains(&format!(r#""kind":"{kind}""#))
        );
    }
}

#[test]
fn a_hash_has_one_spelling() {
    let hash = EntryHash::of(b"x").to_string();
    assert!(hash.parse::<EntryHash>().is_ok());
    assert!(hash.to_uppercase().parse::<EntryHash>().is_err());
    assert!("ab".parse::<EntryHash>().is_err());
}

#[test]
fn entity_words_hold_whole_names() {
    assert_eq!(
        entity_words(&intent(ExchangeId::new()).entities).as_deref(),
        Some(" EMAIL SECRET.JWT ")
    );
    assert_eq!(entity_words(&BTreeMap::new()), None);
}
