//! Entries of each kind, for tests.

//! Entries for tests.
use std::collections::BTreeSet;

use cordon_domain::Identity;
use uuid::Uuid;

use super::*;

pub(crate) fn actor(user: &str) -> Actor {
    Actor {
        user: user.into(),
        groups: BTreeSet::from(["engineering".to_owned()]),
        identity: Identity::ApiKey { key: "k1".into() },
    }
}

pub(crate) fn intent(exchange: ExchangeId) -> Intent {
    Intent {
        exchange,
        connection: None,
        actor: actor("j.kim"),
        peer: ([127, 0, 0, 1], 50123).into(),
        door: Door::Gateway,
        dialect: Dialect::OpenaiChat,
        method: "POST".into(),
        host: None,
        path: "/v1/chat/completions".into(),
        action: Action::Redact,
        rule: "pii".into(),
        policy_hash: "a".repeat(64),
        entities: BTreeMap::from([("EMAIL".parse().unwrap(), 2), ("SECRET.JWT".parse().unwrap(), 1)]),
        questions: Vec::new(),
        sources: Vec::new(),
        upstream: Some("engine".into()),
        upstream_kind: Some(UpstreamKind::Engine),
        model: Some("smollm2".into()),
        stream: true,
        request_bytes: 2048,
        request_commitment: Some("b".repeat(64)),
        claims: None,
        payload: None,
    }
}

pub(crate) fn asked() -> Asked {
    Asked {
        question: "results".into(),
        answer: Answer::Yes,
        upstream: "engine".into(),
        texts: 3,
        cached: 1,
        tokens: 900,
        milliseconds: 1200,
        reason: Some("a figure".into()),
        failure: Some("late".into()),
    }
}

pub(crate) fn seal(exchange: ExchangeId) -> Seal {
    Seal {
        input_tokens: Some(12),
        output_tokens: Some(34),
        latency_ms: 120,
        reply_bytes: 512,
        ..Seal::new(exchange, Outcome::Completed, 200)
    }
}

pub(crate) fn entry(sequence: u64, previous_hash: EntryHash, body: Body) -> Entry {
    Entry {
        v: ENTRY_VERSION,
        writer: WriterId::from(Uuid::from_u128(7)),
        sequence,
        previous_hash,
        at: 1_700_000_000_000 + sequence,
        tenant: None,
        class: None,
        key: None,
        body,
    }
}
