//! The columns that repeat a part of the body, so that searching needs no JSON functions of any database.

use cordon_domain::ExchangeId;

use super::{Row, Value, number};
use crate::{
    record::{Body, Entry, entity_words},
    spool::reader::Spooled,
};

/// All columns of `audit_record`, in the order of [`row`].
pub(crate) const COLUMNS: [&str; 16] = [
    "writer", "sequence", "kind", "at", "exchange", "actor", "door", "dialect", "host", "model", "action",
    "rule", "upstream", "outcome", "entities", "body",
];

/// The place of the body among them.
pub(crate) const BODY: usize = 15;

/// The list for a statement.
pub(crate) fn list() -> String {
    COLUMNS.join(", ")
}

/// The row of a record.
pub(crate) fn row(record: &Spooled) -> Result<Row, std::string::FromUtf8Error> {
    let mut row = row_of(&record.entry);
    row.push(Value::Text(String::from_utf8(record.bytes.clone())?));
    Ok(row)
}

/// The row of an entry, without its body.
pub(crate) fn row_of(entry: &Entry) -> Row {
    let facts = Facts::of(&entry.body);
    let text = |text: Option<&str>| text.map_or(Value::Null, |text| Value::Text(text.to_owned()));
    vec![
        entry.writer.into(),
        number(entry.sequence),
        text(Some(entry.body.kind())),
        number(entry.at),
        entry.body.exchange().map_or(Value::Null, |exchange: ExchangeId| {
            Value::Uuid(exchange.as_uuid())
        }),
        text(facts.actor),
        text(facts.door),
        text(facts.dialect),
        text(facts.host),
        text(facts.model),
        text(facts.action),
        text(facts.rule),
        text(facts.upstream),
        text(facts.outcome),
        text(facts.entities.as_deref()),
    ]
}

#[derive(Default)]
struct Facts<'a> {
    actor: Option<&'a str>,
    door: Option<&'a str>,
    dialect: Option<&'a str>,
    host: Option<&'a str>,
    model: Option<&'a str>,
    action: Option<&'a str>,
    rule: Option<&'a str>,
    upstream: Option<&'a str>,
    outcome: Option<&'a str>,
    entities: Option<String>,
}

impl<'a> Facts<'a> {
    fn of(body: &'a Body) -> Self {
        match body {
            Body::Intent(it) => Self {
                actor: Some(&it.actor.user),
                door: Some(it.door.name()),
                dialect: Some(it.dialect.name()),
                host: it.host.as_deref(),
                model: it.model.as_deref(),
                action: Some(it.action.name()),
                rule: Some(&it.rule),
                upstream: it.upstream.as_deref(),
                outcome: None,
                entities: entity_words(&it.entities),
            },
            Body::Seal(it) => Self {
                model: it.model.as_deref(),
                outcome: Some(it.outcome.name()),
                entities: entity_words(&it.reply_entities),
                ..Self::default()
            },
            Body::Refused(it) => Self {
                actor: Some(&it.actor.user),
                door: Some(it.door.name()),
                dialect: Some(it.dialect.name()),
                host: it.host.as_deref(),
                outcome: Some("refused"),
                ..Self::default()
            },
            Body::TunnelOpened(it) => Self {
                actor: Some(&it.actor.user),
                door: Some(it.door.name()),
                host: Some(&it.host),
                ..Self::default()
            },
            Body::TunnelClosed(_) => Self {
                outcome: Some("completed"),
                ..Self::default()
            },
            Body::Uninspected(it) => Self {
                actor: Some(&it.actor.user),
                door: Some(it.door.name()),
                host: it.host.as_deref(),
                ..Self::default()
            },
            Body::PolicyReloaded(_)
            | Body::TrustReloaded(_)
            | Body::Started(_)
            | Body::Stopped(_)
            | Body::Heartbeat(_)
            | Body::SpoolTampered(_) => Self::default(),
        }
    }
}
