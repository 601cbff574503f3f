//! The store in one SQLite file, the default where no database is configured.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Row as _, SqlitePool, TypeInfo, ValueRef,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};

use super::{
    ADD_WRITER, Engine, MOVE_WRITER, READ_WRITER, Row, StoreError, Value, columns, expect_at, link, number,
};
use crate::{
    record::{EntryHash, WriterId},
    spool::{Link, reader::Spooled},
};

const CONNECTIONS: u32 = 4;
/// How long one writer waits for another, e.g. for a migration.
const BUSY: Duration = Duration::from_secs(10);
/// Rows of one INSERT, the most first; 16 values each stay below SQLite's limit of parameters. There are so few sizes
/// that each is prepared once for a connection: preparing costs more than inserting.
const ROWS: [usize; 4] = [256, 64, 16, 1];

#[derive(Clone, Debug)]
pub(super) struct Sqlite(SqlitePool);

impl Sqlite {
    pub(super) async fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        if !create && !path.exists() {
            return Err(StoreError::NotThere(path.display().to_string()));
        }
        if create {
            make_file(path).map_err(sqlx::Error::Io)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // The spool lets go of what was committed here, so each commit is synced.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await?;
        Ok(Self(pool))
    }
}

impl Engine for Sqlite {
    async fn migrate(&self, migrator: &Migrator) -> Result<(), StoreError> {
        Ok(migrator.run(&self.0).await?)
    }

    async fn rows(&self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Value::Null => query.bind(None::<String>),
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Uuid(id) => query.bind(id.to_string()),
            };
        }
        query.fetch_all(&self.0).await?.iter().map(read).collect()
    }

    async fn register(&self, writer: WriterId, name: &str, at: u64) -> Result<Link, StoreError> {
        sqlx::query(ADD_WRITER)
            .bind(writer.to_string())
            .bind(name)
            .bind(EntryHash::GENESIS.to_string())
            .bind(number(at).int())
            .execute(&self.0)
            .await?;
        let row = sqlx::query(READ_WRITER)
            .bind(writer.to_string())
            .fetch_one(&self.0)
            .await?;
        link(&read(&row)?)
    }

    async fn append(
        &self,
        writer: WriterId,
        behind: Link,
        records: &[Spooled],
        to: Link,
        at: u64,
    ) -> Result<(), StoreError> {
        // Taking the write lock at once; a read that turns into a write could be refused half-way.
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(READ_WRITER)
            .bind(writer.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        expect_at(writer, behind, link(&read(&row)?)?)?;
        let mut rest = records;
        for rows in ROWS {
            let statement: Arc<str> = insert(rows).into();
            while let Some((chunk, behind)) = rest.split_at_checked(rows) {
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statement)));
                for record in chunk {
                    for value in columns::row(record).map_err(|_| StoreError::Garbled("the spool"))? {
                        query = match value {
                            Value::Null => query.bind(None::<String>),
                            Value::Int(number) => query.bind(number),
                            Value::Text(text) => query.bind(text),
                            Value::Uuid(id) => query.bind(id.to_string()),
                        };
                    }
                }
                query.execute(&mut *transaction).await?;
                rest = behind;
            }
        }
        sqlx::query(MOVE_WRITER)
            .bind(writer.to_string())
            .bind(number(to.sequence).int())
            .bind(to.hash.to_string())
            .bind(number(at).int())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// An empty file for its owner only; SQLite gives the files beside it the same permissions.
fn make_file(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

fn insert(rows: usize) -> String {
    let marks = ["?"; columns::COLUMNS.len()].join(", ");
    let rows = vec![format!("({marks})"); rows].join(", ");
    format!("INSERT INTO audit_record ({}) VALUES {rows}", columns::list())
}

fn read(row: &SqliteRow) -> Result<Row, StoreError> {
    (0..row.len())
        .map(|index| {
            let raw = row.try_get_raw(index)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INTEGER" => Value::Int(row.try_get::<i64, _>(index)?),
                // Whatever else a column was made to hold: compared as text it does not match, and is reported.
                "TEXT" => Value::Text(row.try_get::<String, _>(index)?),
                other => Value::Text(format!("({other})")),
            })
        })
        .collect()
}
