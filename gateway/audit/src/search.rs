//! Who sent what, where, under which rule: one row an exchange, newest first.
//!
//! A row joins the record that opened an exchange (intent, refusal, tunnel) with the one that closed it. Pages are
//! fetched by key, never by offset, so the hundredth page costs what the first does and a store that grows
//! meanwhile moves nothing between pages.
//!
//! The record that closed an exchange is looked for within eight days of the one that opened it, so that few partitions are read; an
//! exchange that took longer shows as under way.
//!
//! Searching reads the store only: what is still in a spool is not found yet.
//!
//! On failure: [`StoreError`].

use std::{fmt, str::FromStr};

use cordon_domain::{Action, ExchangeId};
use serde::{Deserialize, Serialize};

use crate::{
    record::{Entry, Outcome},
    store::{Look, Snapshot, Store, StoreError, Value, number},
};

/// The largest page.
const MOST: u32 = 1000;
/// How long after its first record an exchange's last one is looked for, in milliseconds.
const LONGEST: u64 = 8 * 86_400_000;

/// What to look for. All that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The actor, as one of these stands in the record: a reference, or what callers without credentials are called. Everybody when empty.
    pub actors: Vec<String>,
    /// At or after, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Before, in milliseconds since 1970.
    pub until: Option<u64>,
    /// What was decided.
    pub decision: Option<Action>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// An entity type found in request or reply; a family covers its members.
    pub entity: Option<String>,
    /// The intercepted or tunnelled host.
    pub host: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The model asked for or answering.
    pub model: Option<String>,
    /// One exchange.
    pub exchange: Option<ExchangeId>,
    /// Of [`events`]: heartbeats too. Otherwise they would be most of what is there.
    pub heartbeats: bool,
    /// Of [`events`]: searches too, of which this may be one.
    pub searches: bool,
    /// Rows wanted; 100 when 0, 1000 at most.
    pub limit: u32,
    /// Go on behind this row, for the next page.
    pub after: Option<Position>,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The exchange.
    pub exchange: ExchangeId,
    /// When it was recorded first, in milliseconds since 1970.
    pub at: u64,
    /// The record that opened it: intent, refusal, or tunnel.
    pub opening: Entry,
    /// The record that closed it; none for a refusal, and while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Entry>,
}

impl Row {
    /// Where the next page starts, if this row is the last of its page.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            exchange: self.exchange,
        }
    }
}

/// A place in the order of rows, which is that of the exchanges' ids and so of the time at which they began. It is written as the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Position {
    exchange: ExchangeId,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exchange.fmt(f)
    }
}

/// Text that is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a page position")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let exchange = text.parse().map_err(|_| InvalidPosition)?;
        Ok(Self { exchange })
    }
}

impl TryFrom<String> for Position {
    type Error = InvalidPosition;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

/// One page of rows.
///
/// # Errors
/// When the store does not answer, or holds a body that does not read; [`verify`](crate::verify()) then says more.
pub async fn search(store: &Store, query: &Query) -> Result<Vec<Row>, StoreError> {
    let (sql, values) = statement(query, None, None);
    rows(&store.rows(sql, values).await?)
}

/// One page of rows as a snapshot has them, of one tenant and one retention class alone where these are given.
pub(crate) async fn page(
    snapshot: &mut Snapshot,
    query: &Query,
    tenant: Option<&str>,
    class: Option<&str>,
) -> Result<Vec<Row>, StoreError> {
    let (sql, values) = statement(query, tenant, class);
    rows(&snapshot.look(&sql, values).await?)
}

fn rows(rows: &[Vec<Value>]) -> Result<Vec<Row>, StoreError> {
    rows.iter()
        .map(|row| read(row).ok_or(StoreError::Garbled("audit_record")))
        .collect()
}

/// The statement for the bodies of all records of a page's exchanges, in its order.
pub(crate) fn records_of(page: &[Row]) -> (String, Vec<Value>) {
    let times = || page.iter().map(|row| row.at);
    let since = times().min().unwrap_or(0).saturating_sub(60_000);
    let until = times().max().unwrap_or(0).saturating_add(LONGEST);
    let mut values = vec![number(since), number(until)];
    let numbers: Vec<String> = page
        .iter()
        .map(|row| {
            values.push(Value::Uuid(row.exchange.as_uuid()));
            format!("${}", values.len())
        })
        .collect();
    let sql = format!(
        "SELECT body FROM audit_record WHERE at >= $1 AND at < $2 AND exchange IN ({}) ORDER BY exchange DESC, at, writer, sequence",
        numbers.join(", ")
    );
    (sql, values)
}

/// What happened to the gateways themselves, newest first: starts, stops, what was reloaded, who touched the spool. Of the query the
/// times, the heartbeats, the searches and the limit count.
///
/// # Errors
/// As of [`search`].
pub async fn events(store: &Store, query: &Query) -> Result<Vec<Entry>, StoreError> {
    let (since, until) = (query.since.unwrap_or(0), query.until.unwrap_or(u64::MAX));
    let limit = limit(query);
    let mut kinds = String::new();
    for (kind, wanted) in [("heartbeat", query.heartbeats), ("searched", query.searches)] {
        if !wanted {
            kinds.push_str(&format!("AND kind <> '{kind}' "));
        }
    }
    let sql = format!(
        "SELECT body FROM audit_record WHERE exchange IS NULL AND at >= $1 AND at < $2 {kinds}\
         ORDER BY at DESC, writer DESC, sequence DESC LIMIT {limit}"
    );
    let rows = store.rows(sql, vec![number(since), number(until)]).await?;
    let read = |row: &Vec<Value>| match row.as_slice() {
        [Value::Text(body)] => Entry::parse(body.as_bytes()).ok(),
        _ => None,
    };
    rows.iter()
        .map(|row| read(row).ok_or(StoreError::Garbled("audit_record")))
        .collect()
}

fn limit(query: &Query) -> u32 {
    if query.limit == 0 {
        100
    } else {
        query.limit.min(MOST)
    }
}

fn statement(query: &Query, tenant: Option<&str>, class: Option<&str>) -> (String, Vec<Value>) {
    // SQLite would take `s.class = r.class` for a reason to look for each row's closing record by class and time, among all of some days, rather
    // than by its exchange.
    let mut sql = format!(
        "SELECT r.exchange, r.at, r.body, s.body FROM audit_record r \
         LEFT JOIN audit_record s ON s.exchange = r.exchange AND s.kind IN ('seal', 'tunnel_closed') \
         AND s.class || '' = r.class AND s.at >= r.at - 60000 AND s.at < r.at + {LONGEST} \
         WHERE r.exchange IS NOT NULL AND r.kind IN ('intent', 'refused', 'tunnel_opened')",
    );
    let mut values = Vec::new();
    // Each condition is fixed text around the number of its parameter; what was asked for is only ever a value.
    let mut also = |before: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {before}${}", values.len()));
    };
    let equal = [
        ("r.rule = ", &query.rule),
        ("r.host = ", &query.host),
        ("r.upstream = ", &query.upstream),
    ];
    for (column, wanted) in equal {
        if let Some(wanted) = wanted {
            also(column, Value::Text(wanted.clone()));
        }
    }
    if let Some(tenant) = tenant {
        also("COALESCE(r.tenant, 'default') = ", Value::Text(tenant.to_owned()));
    }
    if let Some(class) = class {
        also("r.class = ", Value::Text(class.to_owned()));
    }
    if let Some(since) = query.since {
        also("r.at >= ", number(since));
    }
    if let Some(until) = query.until {
        also("r.at < ", number(until));
    }
    if let Some(action) = query.decision {
        also("r.action = ", Value::Text(action.name().into()));
    }
    if let Some(outcome) = query.outcome {
        also(
            "COALESCE(s.outcome, r.outcome) = ",
            Value::Text(outcome.name().into()),
        );
    }
    if let Some(model) = &query.model {
        // One parameter used twice.
        values.push(Value::Text(model.clone()));
        let n = values.len();
        sql.push_str(&format!(" AND (r.model = ${n} OR s.model = ${n})"));
    }
    if let Some(entity) = &query.entity {
        let pattern = |end: &str| Value::Text(format!("% {}{end}%", like(entity)));
        let mut open = " AND (";
        for column in ["r.entities", "s.entities"] {
            for end in [" ", "."] {
                values.push(pattern(end));
                sql.push_str(&format!("{open}{column} LIKE ${} ESCAPE '!'", values.len()));
                open = " OR ";
            }
        }
        sql.push(')');
    }
    if !query.actors.is_empty() {
        let numbers: Vec<String> = query
            .actors
            .iter()
            .map(|actor| {
                values.push(Value::Text(actor.clone()));
                format!("${}", values.len())
            })
            .collect();
        sql.push_str(&format!(" AND r.actor IN ({})", numbers.join(", ")));
    }
    if let Some(exchange) = query.exchange {
        values.push(Value::Uuid(exchange.as_uuid()));
        sql.push_str(&format!(" AND r.exchange = ${}", values.len()));
    }
    if let Some(Position { exchange }) = query.after {
        values.push(Value::Uuid(exchange.as_uuid()));
        sql.push_str(&format!(" AND r.exchange < ${}", values.len()));
    }
    let limit = limit(query);
    sql.push_str(&format!(" ORDER BY r.exchange DESC LIMIT {limit}"));
    (sql, values)
}

/// Text that LIKE takes literally.
fn like(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out
}

fn read(row: &[Value]) -> Option<Row> {
    let [exchange, at, opening, closing] = row else {
        return None;
    };
    let closing = match closing {
        Value::Null => None,
        value => Some(Entry::parse(value.text()?.as_bytes()).ok()?),
    };
    Some(Row {
        exchange: exchange.uuid()?.into(),
        at: at.sequence()?,
        opening: Entry::parse(opening.text()?.as_bytes()).ok()?,
        closing,
    })
}
