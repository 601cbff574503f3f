//! The columns that repeat a part of the body, so that searching needs no JSON functions of any database.

use uuid::Uuid;

use crate::record::{Body, Entry, entity_words};

/// The form of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Int,
    Uuid,
    Text,
    Bytes,
}

/// All columns of `audit_record`, in the order of [`Facts::cells`].
pub(crate) const COLUMNS: [(&str, Form); 18] = [
    ("writer", Form::Uuid),
    ("sequence", Form::Int),
    ("at", Form::Int),
    ("exchange", Form::Uuid),
    ("kind", Form::Text),
    ("actor", Form::Text),
    ("door", Form::Text),
    ("dialect", Form::Text),
    ("host", Form::Text),
    ("model", Form::Text),
    ("action", Form::Text),
    ("rule", Form::Text),
    ("upstream", Form::Text),
    ("outcome", Form::Text),
    ("entities", Form::Text),
    ("tenant", Form::Text),
    ("class", Form::Text),
    ("body", Form::Text),
];

/// The place of the body among them.
pub(crate) const BODY: usize = COLUMNS.len() - 1;
/// The place of the sequence.
pub(crate) const SEQUENCE: usize = 1;

/// The list for a statement.
pub(crate) fn list() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

/// A value of a column, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    Null,
    Int(i64),
    Uuid(Uuid),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Cell<'a> {
    pub(crate) fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn sequence(self) -> Option<u64> {
        self.int().and_then(|number| u64::try_from(number).ok())
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What the columns say of an entry.
#[derive(Default)]
pub(crate) struct Facts<'a> {
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
    /// The columns of an entry but its body, in their order.
    pub(crate) fn cells(&'a self, entry: &'a Entry) -> [Cell<'a>; BODY] {
        let text = |text: Option<&'a str>| text.map_or(Cell::Null, Cell::Text);
        let number = |number: u64| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
        [
            Cell::Uuid(entry.writer.as_uuid()),
            number(entry.sequence),
            number(entry.at),
            entry
                .body
                .exchange()
                .map_or(Cell::Null, |exchange| Cell::Uuid(exchange.as_uuid())),
            Cell::Text(entry.body.kind()),
            text(self.actor),
            text(self.door),
            text(self.dialect),
            text(self.host),
            text(self.model),
            text(self.action),
            text(self.rule),
            text(self.upstream),
            text(self.outcome),
            text(self.entities.as_deref()),
            text(entry.tenant.as_deref()),
            Cell::Text(entry.class()),
        ]
    }

    pub(crate) fn of(body: &'a Body) -> Self {
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
            | Body::SpoolTampered(_)
            | Body::Pruned(_)
            | Body::KeysPruned(_)
            | Body::CheckpointsThinned(_)
            | Body::Searched(_)
            | Body::Erased(_)
            | Body::EraseRefused(_)
            | Body::HoldPlaced(_)
            | Body::HoldReleased(_)
            | Body::RevealRequested(_)
            | Body::RevealApproved(_)
            | Body::Revealed(_)
            | Body::ExportStarted(_)
            | Body::Exported(_) => Self::default(),
        }
    }
}
