//! An exchange as one row of a table: what a person sorts, sums and filters by.
//!
//! Lists become words between blanks. What has no column (questions, sources, claims) is in the records themselves.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use cordon_domain::{Actor, EntityType, Identity};

use crate::{record::Body, search::Row};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// Milliseconds since 1970.
    Time,
}

/// A value of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cell<'r> {
    #[default]
    Absent,
    Text(Cow<'r, str>),
    Number(u64),
    Flag(bool),
    Time(u64),
}

impl<'r> From<&'r str> for Cell<'r> {
    fn from(text: &'r str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl<'r, T: Into<Cell<'r>>> From<Option<T>> for Cell<'r> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// The columns, in the order of [`cells`].
pub(super) const COLUMNS: [(&str, Kind); 44] = [
    ("exchange", Kind::Text),
    ("at", Kind::Time),
    ("kind", Kind::Text),
    ("writer", Kind::Text),
    ("sequence", Kind::Number),
    ("tenant", Kind::Text),
    ("class", Kind::Text),
    ("actor", Kind::Text),
    ("groups", Kind::Text),
    ("identity", Kind::Text),
    ("peer", Kind::Text),
    ("door", Kind::Text),
    ("dialect", Kind::Text),
    ("method", Kind::Text),
    ("host", Kind::Text),
    ("port", Kind::Number),
    ("path", Kind::Text),
    ("action", Kind::Text),
    ("rule", Kind::Text),
    ("policy_hash", Kind::Text),
    ("entities", Kind::Text),
    ("upstream", Kind::Text),
    ("upstream_kind", Kind::Text),
    ("model", Kind::Text),
    ("stream", Kind::Flag),
    ("request_bytes", Kind::Number),
    ("request_commitment", Kind::Text),
    ("connection", Kind::Text),
    ("closed_at", Kind::Time),
    ("closing_writer", Kind::Text),
    ("closing_sequence", Kind::Number),
    ("outcome", Kind::Text),
    ("status", Kind::Number),
    ("code", Kind::Text),
    ("reply_model", Kind::Text),
    ("reply_entities", Kind::Text),
    ("input_tokens", Kind::Number),
    ("output_tokens", Kind::Number),
    ("latency_ms", Kind::Number),
    ("first_byte_ms", Kind::Number),
    ("request_bytes_passed", Kind::Number),
    ("reply_bytes", Kind::Number),
    ("reply_commitment", Kind::Text),
    ("duration_ms", Kind::Number),
];

/// A row's values, in the order of [`COLUMNS`].
pub(super) fn cells(row: &Row) -> Vec<Cell<'_>> {
    let mut told = Told::default();
    let tree = row.opening.tree();
    told.set("exchange", row.exchange.to_string());
    told.set("at", Cell::Time(row.at));
    told.set("kind", row.opening.body.kind());
    told.set("writer", row.opening.writer.to_string());
    told.set("sequence", row.opening.sequence);
    told.set("tenant", tree.tenant().to_owned());
    told.set("class", tree.class().to_owned());
    opening(&mut told, &row.opening.body);
    if let Some(entry) = &row.closing {
        told.set("closed_at", Cell::Time(entry.at));
        told.set("closing_writer", entry.writer.to_string());
        told.set("closing_sequence", entry.sequence);
        closing(&mut told, &entry.body);
    }
    let mut told = told.0;
    COLUMNS
        .iter()
        .map(|(name, _)| told.remove(name).unwrap_or_default())
        .collect()
}

#[derive(Default)]
struct Told<'r>(BTreeMap<&'static str, Cell<'r>>);

impl<'r> Told<'r> {
    fn set(&mut self, column: &'static str, value: impl Into<Cell<'r>>) {
        self.0.insert(column, value.into());
    }

    fn actor(&mut self, actor: &'r Actor) {
        self.set("actor", actor.user.as_str());
        let groups: Vec<&str> = actor.groups.iter().map(String::as_str).collect();
        self.set("groups", groups.join(" "));
        self.set("identity", identity(&actor.identity));
    }
}

fn opening<'r>(told: &mut Told<'r>, body: &'r Body) {
    match body {
        Body::Intent(it) => {
            told.actor(&it.actor);
            told.set("peer", it.peer.to_string());
            told.set("door", it.door.name());
            told.set("dialect", it.dialect.name());
            told.set("method", it.method.as_str());
            told.set("host", it.host.as_deref());
            told.set("path", it.path.as_str());
            told.set("action", it.action.name());
            told.set("rule", it.rule.as_str());
            told.set("policy_hash", it.policy_hash.as_str());
            told.set("entities", counted(&it.entities));
            told.set("upstream", it.upstream.as_deref());
            told.set("upstream_kind", it.upstream_kind.map(|kind| kind.name()));
            told.set("model", it.model.as_deref());
            told.set("stream", Cell::Flag(it.stream));
            told.set("request_bytes", it.request_bytes);
            told.set("request_commitment", it.request_commitment.as_deref());
            told.set("connection", it.connection.map(|id| id.to_string()));
        }
        Body::Refused(it) => {
            told.actor(&it.actor);
            told.set("peer", it.peer.to_string());
            told.set("door", it.door.name());
            told.set("dialect", it.dialect.name());
            told.set("method", it.method.as_str());
            told.set("host", it.host.as_deref());
            told.set("path", it.path.as_str());
            told.set("outcome", "refused");
            told.set("status", u64::from(it.status));
            told.set("code", it.code.as_str());
            told.set("connection", it.connection.map(|id| id.to_string()));
        }
        Body::TunnelOpened(it) => {
            told.actor(&it.actor);
            told.set("peer", it.peer.to_string());
            told.set("door", it.door.name());
            told.set("host", it.host.as_str());
            told.set("port", u64::from(it.port));
        }
        // No other kind opens an exchange.
        _ => {}
    }
}

fn closing<'r>(told: &mut Told<'r>, body: &'r Body) {
    match body {
        Body::Seal(it) => {
            told.set("outcome", it.outcome.name());
            told.set("status", u64::from(it.status));
            told.set("code", it.code.as_deref());
            told.set("reply_model", it.model.as_deref());
            told.set("reply_entities", counted(&it.reply_entities));
            told.set("input_tokens", it.input_tokens);
            told.set("output_tokens", it.output_tokens);
            told.set("latency_ms", it.latency_ms);
            told.set("first_byte_ms", it.first_byte_ms);
            told.set("reply_bytes", it.reply_bytes);
            told.set("reply_commitment", it.reply_commitment.as_deref());
        }
        Body::TunnelClosed(it) => {
            told.set("outcome", "completed");
            told.set("request_bytes_passed", it.bytes_up);
            told.set("reply_bytes", it.bytes_down);
            told.set("duration_ms", it.duration_ms);
        }
        // No other kind closes one.
        _ => {}
    }
}

/// How an actor was recognised, with the public id of what was shown.
fn identity(identity: &Identity) -> String {
    match identity {
        Identity::ApiKey { key } => format!("api_key {key}"),
        Identity::Certificate { serial } => format!("certificate {serial}"),
        Identity::Kerberos { principal } => format!("kerberos {principal}"),
        Identity::Network { network } => format!("network {network}"),
        Identity::AnonymousLoopback => "anonymous_loopback".to_owned(),
        Identity::Unidentified => "unidentified".to_owned(),
    }
}

/// `EMAIL=2 SECRET.JWT=1`; nothing where nothing was found.
fn counted(entities: &BTreeMap<EntityType, u64>) -> Option<String> {
    let mut words = String::new();
    for (entity, count) in entities {
        let gap = if words.is_empty() { "" } else { " " };
        let _ = write!(words, "{gap}{entity}={count}");
    }
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use cordon_domain::ExchangeId;

    use super::*;
    use crate::record::{
        EntryHash,
        samples::{entry, intent, seal},
    };

    #[test]
    fn every_value_has_a_column_of_its_kind() {
        let exchange = ExchangeId::new();
        let row = Row {
            exchange,
            at: 7,
            opening: entry(1, EntryHash::GENESIS, Body::Intent(intent(exchange))),
            closing: Some(entry(2, EntryHash::GENESIS, Body::Seal(seal(exchange)))),
        };
        let cells = cells(&row);
        let mut told = 0;
        for ((name, kind), cell) in COLUMNS.iter().zip(&cells) {
            let fits = match cell {
                Cell::Absent => continue,
                Cell::Text(_) => Kind::Text,
                Cell::Number(_) => Kind::Number,
                Cell::Flag(_) => Kind::Flag,
                Cell::Time(_) => Kind::Time,
            };
            assert_eq!(fits, *kind, "{name}");
            told += 1;
        }
        assert_eq!(told, 34, "no value was set under a name that is no column's");
        assert_eq!(cells[20], Cell::from("EMAIL=2 SECRET.JWT=1"));
    }
}
