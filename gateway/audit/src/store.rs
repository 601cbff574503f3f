//! Where records rest: PostgreSQL, or one SQLite file as the embedded default.
//!
//! Both keep the same tables (`migrations/`): the records, for each writer how far its chain has come, and the trees that the
//! records are leaves of. A batch and the writer's new position are one transaction, so a batch is either there once or not at all,
//! whatever happens to the connection.
//!
//! Everything above the two engines is written once against [`Engine`]: statements number their
//! parameters `$1`, which both understand, and values are the few kinds of [`Value`]. What looks at many records does so in a
//! [`Snapshot`], which sees the store as it was at one moment however long it takes; what puts records into trees holds the [`Lease`].
//!
//! On failure: [`StoreError`]; it names no value of any record.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::{
    SqlSafeStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use uuid::Uuid;

use crate::{
    record::{EntryHash, WriterId},
    spool::{Link, reader::Spooled},
};

mod attached;
pub(crate) mod columns;
mod lease;
pub(crate) use lease::{Lease, Purpose};
mod postgres;
mod snapshot;
pub(crate) use snapshot::Snapshot;
mod sqlite;

/// Which store to use.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `postgres://user:password@host/database`
    Postgres(String),
    /// A path, also written `sqlite:PATH`.
    Sqlite(PathBuf),
}

impl StoreUrl {
    /// Whether both are one database, by whichever role and with whichever settings.
    #[must_use]
    pub fn is_same_database(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Postgres(one), Self::Postgres(two)) => postgres::place(one) == postgres::place(two),
            (Self::Sqlite(one), Self::Sqlite(two)) => {
                let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                real(one) == real(two)
            }
            _ => false,
        }
    }

    /// The SQLite file of a state directory: `audit.db` in it.
    #[must_use]
    pub fn embedded(dir: &Path) -> Self {
        Self::Sqlite(dir.join("audit.db"))
    }
}

/// Text that names no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a store: write postgres://USER@HOST/DATABASE or a path for an SQLite file")]
pub struct InvalidStoreUrl;

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres::options(text)
                .map(|_| Self::Postgres(text.to_owned()))
                .ok_or(InvalidStoreUrl);
        }
        let path = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"))
            .unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return Err(InvalidStoreUrl);
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for StoreUrl {
    /// Without password, and without parameters, which can hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => {
                let url = url.split(['?', '#']).next().unwrap_or_default();
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                match rest.rsplit_once('@') {
                    Some((login, place)) => {
                        let user = login.split(':').next().unwrap_or_default();
                        write!(f, "{scheme}://{user}@{place}")
                    }
                    None => write!(f, "{scheme}://{rest}"),
                }
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// The store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or answered with an error.
    #[error("audit store: {0}")]
    Database(#[from] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("audit store: migration: {0}")]
    Migrate(#[from] MigrateError),
    /// The role may not read it.
    #[error(
        "the role may not read the audit's tables; `SELECT audit_grant(ROLE, 'reader')` by their owner lets it"
    )]
    NotReadable,
    /// The role may not note how far deliveries are.
    #[error(
        "the role may not note how far deliveries are; `SELECT audit_grant(ROLE, 'sequencer')` by the tables' owner lets it"
    )]
    NotDeliverable,
    /// There is no store in that place.
    #[error("there is no audit store at {0}")]
    NotThere(String),
    /// The writer's chain does not stand where it was left.
    #[error("audit store: the chain of writer {writer} stands at record {found}, not at {expected}")]
    Moved {
        /// The writer.
        writer: WriterId,
        /// Where it was left.
        expected: u64,
        /// Where it stands.
        found: u64,
    },
    /// A row holds something that no version of Cordon wrote.
    #[error("audit store: a row of {0} does not read")]
    Garbled(&'static str),
    /// It took too long.
    #[error("audit store: no answer within {0} s")]
    TimedOut(u64),
}

impl StoreError {
    /// The same, of what deliveries do: a right that the role has not is told by what gives it.
    pub(crate) fn of_delivering(self) -> Self {
        match self {
            Self::Database(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some("42501") => {
                Self::NotDeliverable
            }
            other => other,
        }
    }
}

/// A value of a row or a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Uuid(Uuid),
    Bytes(Vec<u8>),
}

impl Value {
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn sequence(&self) -> Option<u64> {
        self.int().and_then(|number| u64::try_from(number).ok())
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// SQLite keeps UUIDs as text.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(id) => Some(*id),
            // Spelled in another way it is not found by what looks for it.
            Self::Text(text) => text.parse().ok().filter(|id: &Uuid| id.to_string() == *text),
            _ => None,
        }
    }
}

impl From<WriterId> for Value {
    fn from(writer: WriterId) -> Self {
        Self::Uuid(writer.as_uuid())
    }
}

impl From<columns::Cell<'_>> for Value {
    fn from(cell: columns::Cell<'_>) -> Self {
        match cell {
            columns::Cell::Null => Self::Null,
            columns::Cell::Int(number) => Self::Int(number),
            columns::Cell::Uuid(id) => Self::Uuid(id),
            columns::Cell::Text(text) => Self::Text(text.to_owned()),
            columns::Cell::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

/// A sequence or a time; both stay far below 2^63.
pub(crate) fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) type Row = Vec<Value>;

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) values: Vec<Value>,
}

/// Records on their way into the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) writer: WriterId,
    /// Where the writer's chain stands in the store.
    pub(crate) behind: Link,
    pub(crate) records: &'a [Spooled],
    /// Where it stands with these.
    pub(crate) to: Link,
    /// The time, in milliseconds since 1970.
    pub(crate) at: u64,
    /// `to` as a signed note.
    pub(crate) note: Option<&'a str>,
    /// Whether subjects' keys are kept in another database, which has those of the batch already.
    pub(crate) keys_apart: bool,
}

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Records with all that lies beside them.
    Records,
    /// Subjects' keys alone, apart from the records.
    Keys,
}

/// What the two databases do each in their own way.
pub(crate) trait Engine: Send + Sync {
    /// Brings the tables up to date; of several processes one does it.
    fn migrate(&self, migrator: &Migrator) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The rows of a SELECT.
    fn rows(
        &self,
        sql: String,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Makes sure that the writer has a row, and says where its chain stands.
    fn register(
        &self,
        writer: WriterId,
        name: &str,
        at: u64,
    ) -> impl Future<Output = Result<Link, StoreError>> + Send;

    /// Adds records behind those that are there and moves the writer's position, durably, in one transaction.
    fn append(&self, batch: Batch<'_>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes subjects' keys in, durably; those that are there already stay as they are.
    fn take_keys(&self, records: &[Spooled]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The store as it is at this moment.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Days before `before`, counted from 1970-01-01, of which a class has records or room for them.
    fn days(&self, class: &str, before: u64) -> impl Future<Output = Result<Vec<u64>, StoreError>> + Send;

    /// The first day, counted from 1970-01-01, of which a class that is pruned has records or room for them.
    fn first_day(&self) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Removes all that a class has of a day: records, and what lies beside them. Where it has not that many records, it stays, and
    /// the answer is no.
    fn drop_day(
        &self,
        class: &str,
        day: u64,
        records: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The right to do what one process at a time may do; none while another has it.
    fn lease(&self, purpose: Purpose) -> impl Future<Output = Result<Option<Lease>, StoreError>> + Send;

    /// Does all of the statements or none, durably.
    fn transact(&self, statements: Vec<Statement>) -> impl Future<Output = Result<(), StoreError>> + Send;

    fn close(&self) -> impl Future<Output = ()> + Send;
}

impl Look for Store {
    async fn look(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.rows(sql.to_owned(), values).await
    }
}

/// A connection of one's own to look by.
pub(crate) trait Look: Send {
    /// The rows of a SELECT, all at once.
    fn look(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;
}

/// An open store.
#[derive(Clone, Debug)]
pub struct Store(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Postgres(postgres::Postgres),
    Sqlite(sqlite::Sqlite),
}

macro_rules! each {
    ($store:expr, $engine:ident => $call:expr) => {
        match &$store.0 {
            Kind::Postgres($engine) => $call,
            Kind::Sqlite($engine) => $call,
        }
    };
}

impl Store {
    /// Opens a store that is there, for reading; several processes may do so at once.
    ///
    /// # Errors
    /// When it cannot be reached, or holds no audit tables.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::open_holding(url, Holds::Records, "SELECT writer FROM audit_writer LIMIT 1").await
    }

    /// Opens a database of subjects' keys that is there, for reading and erasing.
    ///
    /// # Errors
    /// When it cannot be reached, or holds no keys' tables.
    pub async fn open_keys(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::open_holding(url, Holds::Keys, "SELECT id FROM audit_key LIMIT 1").await
    }

    async fn open_holding(url: &StoreUrl, holds: Holds, probe: &str) -> Result<Self, StoreError> {
        let store = Self::connect(url, holds, false).await?;
        match store.rows(probe.to_owned(), Vec::new()).await {
            Ok(_) => Ok(store),
            // Refused by PostgreSQL as a right that the role has not.
            Err(StoreError::Database(sqlx::Error::Database(refused)))
                if refused.code().as_deref() == Some("42501") =>
            {
                Err(StoreError::NotReadable)
            }
            Err(StoreError::Database(sqlx::Error::Database(_))) => Err(StoreError::NotThere(url.to_string())),
            Err(e) => Err(e),
        }
    }

    /// Opens a store that is there, by a role that may add records and need not be able to read any.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open_for_writing(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::connect(url, Holds::Records, false).await
    }

    /// Opens a store, making what is missing of it.
    ///
    /// # Errors
    /// When it cannot be reached, made, or brought up to date.
    pub async fn create(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::create_holding(url, Holds::Records).await
    }

    /// Opens a database of subjects' keys, making what is missing of it.
    ///
    /// # Errors
    /// When it cannot be reached, made, or brought up to date.
    pub async fn create_keys(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::create_holding(url, Holds::Keys).await
    }

    async fn create_holding(url: &StoreUrl, holds: Holds) -> Result<Self, StoreError> {
        let store = Self::connect(url, holds, true).await?;
        let migrator = Migrator::with_migrations(migrations(url, holds));
        each!(store, engine => engine.migrate(&migrator).await)?;
        Ok(store)
    }

    async fn connect(url: &StoreUrl, holds: Holds, create: bool) -> Result<Self, StoreError> {
        Ok(Self(match url {
            StoreUrl::Postgres(text) => Kind::Postgres(postgres::Postgres::connect(text, holds).await?),
            StoreUrl::Sqlite(path) => Kind::Sqlite(sqlite::Sqlite::open(path, holds, create).await?),
        }))
    }

    /// Whether records can be added by this role.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn takes_records(&self) -> Result<bool, StoreError> {
        match &self.0 {
            Kind::Postgres(postgres) => postgres.takes_records().await,
            // Who may not write the file is told so when it is opened.
            Kind::Sqlite(_) => Ok(true),
        }
    }

    pub(crate) async fn rows(&self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        each!(self, engine => engine.rows(sql, values).await)
    }

    pub(crate) async fn register(&self, writer: WriterId, name: &str, at: u64) -> Result<Link, StoreError> {
        each!(self, engine => engine.register(writer, name, at).await)
    }

    pub(crate) async fn append(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        each!(self, engine => engine.append(batch).await)
    }

    pub(crate) async fn take_keys(&self, records: &[Spooled]) -> Result<(), StoreError> {
        each!(self, engine => engine.take_keys(records).await)
    }

    /// Does all of the statements or none, durably.
    pub(crate) async fn change(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        match &self.0 {
            Kind::Postgres(postgres) => postgres.change(statements).await,
            Kind::Sqlite(sqlite) => sqlite.change(statements).await,
        }
    }

    pub(crate) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        each!(self, engine => engine.snapshot().await)
    }

    pub(crate) async fn days(&self, class: &str, before: u64) -> Result<Vec<u64>, StoreError> {
        each!(self, engine => engine.days(class, before).await)
    }

    pub(crate) async fn first_day(&self) -> Result<Option<u64>, StoreError> {
        each!(self, engine => engine.first_day().await)
    }

    pub(crate) async fn drop_day(&self, class: &str, day: u64, records: u64) -> Result<bool, StoreError> {
        each!(self, engine => engine.drop_day(class, day, records).await)
    }

    pub(crate) async fn lease(&self, purpose: Purpose) -> Result<Option<Lease>, StoreError> {
        each!(self, engine => engine.lease(purpose).await)
    }

    pub(crate) async fn transact(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        each!(self, engine => engine.transact(statements).await)
    }

    /// Closes its connections.
    pub async fn close(&self) {
        each!(self, engine => engine.close().await);
    }
}

/// A file of statements, with what it is about.
type File = (&'static str, &'static str);

const OF_POSTGRES: &[File] = &[
    (
        "audit records",
        include_str!("../../../migrations/postgres/0001_audit_records.sql"),
    ),
    (
        "trees and classes",
        include_str!("../../../migrations/postgres/0002_trees_and_partitions.sql"),
    ),
    (
        "growth",
        include_str!("../../../migrations/postgres/0003_growth.sql"),
    ),
    (
        "delivery",
        include_str!("../../../migrations/postgres/0004_delivery.sql"),
    ),
];
const OF_SQLITE: &[File] = &[
    (
        "audit records",
        include_str!("../../../migrations/sqlite/0001_audit_records.sql"),
    ),
    (
        "trees and classes",
        include_str!("../../../migrations/sqlite/0002_trees_and_classes.sql"),
    ),
    (
        "growth",
        include_str!("../../../migrations/sqlite/0003_growth.sql"),
    ),
    (
        "delivery",
        include_str!("../../../migrations/sqlite/0004_delivery.sql"),
    ),
];
const KEYS_OF_POSTGRES: &[File] = &[(
    "keys",
    include_str!("../../../migrations/postgres/keys/0001_keys.sql"),
)];
const KEYS_OF_SQLITE: &[File] = &[(
    "keys",
    include_str!("../../../migrations/sqlite/keys/0001_keys.sql"),
)];

/// The statements that bring a database's tables up to date, each once.
fn migrations(url: &StoreUrl, holds: Holds) -> Vec<Migration> {
    let files = match (url, holds) {
        (StoreUrl::Postgres(_), Holds::Records) => OF_POSTGRES,
        (StoreUrl::Sqlite(_), Holds::Records) => OF_SQLITE,
        (StoreUrl::Postgres(_), Holds::Keys) => KEYS_OF_POSTGRES,
        (StoreUrl::Sqlite(_), Holds::Keys) => KEYS_OF_SQLITE,
    };
    let migration = |(number, (name, file)): (i64, &File)| {
        Migration::new(
            number,
            (*name).into(),
            MigrationType::Simple,
            file.into_sql_str(),
            false,
        )
    };
    (1..).zip(files).map(migration).collect()
}

/// A position out of the columns `sequence, hash`.
fn link(row: &[Value]) -> Result<Link, StoreError> {
    let read = || {
        let sequence = row.first()?.sequence()?;
        let hash: EntryHash = row.get(1)?.text()?.parse().ok()?;
        Some(Link { sequence, hash })
    };
    read().ok_or(StoreError::Garbled("audit_writer"))
}

/// That the writer's position, which was to move on, now stands where it was to.
fn expect_at(batch: Batch<'_>, found: Link) -> Result<(), StoreError> {
    if found == batch.to {
        Ok(())
    } else {
        Err(StoreError::Moved {
            writer: batch.writer,
            expected: batch.behind.sequence,
            found: found.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_parse_and_show_no_password() {
        let url: StoreUrl = "postgres://cordon:hunter2@db.internal:5432/audit?sslpassword=x"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "postgres://cordon@db.internal:5432/audit");
        assert!(!format!("{url:?}").contains("hunter2"));
        for path in [
            "state/audit.db",
            "sqlite:state/audit.db",
            "sqlite://state/audit.db",
        ] {
            assert_eq!(
                path.parse::<StoreUrl>().unwrap(),
                StoreUrl::Sqlite("state/audit.db".into())
            );
        }
        for bad in ["", "mysql://x", "postgres://[", "sqlite:"] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }
}
