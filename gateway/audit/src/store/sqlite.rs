//! The store in one SQLite file, the default where no database is configured.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Row as _, SqliteConnection, SqlitePool, TypeInfo, ValueRef,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    Batch, Engine, Holds, Lease, Purpose, Row, Snapshot, Statement, StoreError, Value,
    attached::{self, Attached},
    columns::{self, Cell, Facts, Form},
    expect_at, link, number,
    snapshot::Taker,
};
use crate::{
    record::{EntryHash, TreeName, WriterId},
    spool::Link,
    spool::reader::Spooled,
};

const READ_WRITER: &str = "SELECT sequence, hash FROM audit_writer WHERE writer = $1";
const ADD_WRITER: &str = "INSERT INTO audit_writer (writer, name, sequence, hash, moved_at) \
                          VALUES ($1, $2, 0, $3, $4) ON CONFLICT (writer) DO NOTHING";
const MOVE_WRITER: &str =
    "UPDATE audit_writer SET sequence = $2, hash = $3, moved_at = $4, note = $5 WHERE writer = $1";

/// A key of a subject that was erased since it was made is taken in without what it could open.
const TAKE_KEY: &str = "INSERT INTO audit_key (id, tenant, subject, created_at, wrapped, name, erased_at) \
     SELECT $1, $2, $3, $4, CASE WHEN e.at IS NULL THEN $5 END, CASE WHEN e.at IS NULL THEN $6 END, e.at \
     FROM (SELECT 1) LEFT JOIN audit_erasure e ON e.tenant = $2 AND e.subject = $3 AND e.at >= $4 \
     WHERE true ON CONFLICT (id) DO NOTHING";

const CONNECTIONS: u32 = 4;
/// How long one writer waits for another, e.g. for a migration.
const BUSY: Duration = Duration::from_secs(10);
/// Rows of one INSERT, the most first; 18 values each stay below SQLite's limit of parameters. There are so few sizes
/// that each is prepared once for a connection: preparing costs more than inserting.
const ROWS: [usize; 4] = [256, 64, 16, 1];

#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    pool: SqlitePool,
    options: SqliteConnectOptions,
    holds: Holds,
}

impl Sqlite {
    pub(super) async fn open(path: &Path, holds: Holds, create: bool) -> Result<Self, StoreError> {
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
            .connect_with(options.clone())
            .await?;
        Ok(Self { pool, options, holds })
    }
}

impl Sqlite {
    pub(super) async fn change(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        transact(&self.pool, statements).await
    }
}

impl Engine for Sqlite {
    async fn migrate(&self, migrator: &Migrator) -> Result<(), StoreError> {
        Ok(migrator.run(&self.pool).await?)
    }

    async fn rows(&self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        rows(&self.pool, sql, values).await
    }

    async fn register(&self, writer: WriterId, name: &str, at: u64) -> Result<Link, StoreError> {
        sqlx::query(ADD_WRITER)
            .bind(writer.to_string())
            .bind(name)
            .bind(EntryHash::GENESIS.to_string())
            .bind(number(at).int())
            .execute(&self.pool)
            .await?;
        let row = sqlx::query(READ_WRITER)
            .bind(writer.to_string())
            .fetch_one(&self.pool)
            .await?;
        link(&read(&row)?)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        // Taking the write lock at once; a read that turns into a write could be refused half-way.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(READ_WRITER)
            .bind(batch.writer.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        let found = link(&read(&row)?)?;
        if found == batch.behind {
            sqlx::query(MOVE_WRITER)
                .bind(batch.writer.to_string())
                .bind(number(batch.to.sequence).int())
                .bind(batch.to.hash.to_string())
                .bind(number(batch.at).int())
                .bind(batch.note)
                .execute(&mut *transaction)
                .await?;
        }
        expect_at(batch, if found == batch.behind { batch.to } else { found })?;
        let mut rest = batch.records;
        for rows in ROWS {
            let statement: Arc<str> = insert(rows).into();
            while let Some((chunk, behind)) = rest.split_at_checked(rows) {
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statement)));
                for record in chunk {
                    let body =
                        std::str::from_utf8(&record.bytes).map_err(|_| StoreError::Garbled("the spool"))?;
                    let facts = Facts::of(&record.entry.body);
                    for cell in facts.cells(&record.entry).into_iter().chain([Cell::Text(body)]) {
                        query = match cell {
                            Cell::Null => query.bind(None::<String>),
                            Cell::Int(number) => query.bind(number),
                            Cell::Text(text) => query.bind(text.to_owned()),
                            Cell::Uuid(id) => query.bind(id.to_string()),
                            Cell::Bytes(bytes) => query.bind(bytes.to_vec()),
                        };
                    }
                }
                query.execute(&mut *transaction).await?;
                rest = behind;
            }
        }
        let mut attached = Attached::beside(batch.records);
        for (sql, values) in attached.inserts() {
            let insert = bind(sqlx::query(AssertSqlSafe(sql)), values);
            insert.execute(&mut *transaction).await?;
        }
        let keys = if batch.keys_apart {
            Vec::new()
        } else {
            attached.keys
        };
        for values in keys {
            let take = bind(sqlx::query(TAKE_KEY), values);
            take.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn take_keys(&self, records: &[Spooled]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for values in attached::keys(records) {
            let take = bind(sqlx::query(TAKE_KEY), values);
            take.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.options.connect().await?;
        // A transaction begins to see with its first read, and from then on nothing newer.
        sqlx::query("BEGIN DEFERRED").execute(&mut connection).await?;
        let first = match self.holds {
            Holds::Records => "SELECT writer FROM audit_writer LIMIT 1",
            Holds::Keys => "SELECT id FROM audit_key LIMIT 1",
        };
        sqlx::query(first).fetch_optional(&mut connection).await?;
        Ok(Snapshot::Sqlite(connection))
    }

    async fn days(&self, class: &str, before: u64) -> Result<Vec<u64>, StoreError> {
        let days = sqlx::query_scalar::<_, i64>(
            "SELECT DISTINCT at / 86400000 FROM audit_record WHERE class = $1 AND at < $2 * 86400000 ORDER BY 1",
        )
        .bind(class.to_owned())
        .bind(number(before).int())
        .fetch_all(&self.pool)
        .await?;
        Ok(days
            .into_iter()
            .filter_map(|day| u64::try_from(day).ok())
            .collect())
    }

    async fn first_day(&self) -> Result<Option<u64>, StoreError> {
        let first = sqlx::query_scalar::<_, Option<i64>>(
            "SELECT MIN(at) / 86400000 FROM audit_record WHERE class <> $1",
        )
        .bind(TreeName::governance().class().to_owned())
        .fetch_one(&self.pool)
        .await?;
        Ok(first.and_then(|day| u64::try_from(day).ok()))
    }

    async fn drop_day(&self, class: &str, day: u64, records: u64) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let count = sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM audit_record WHERE class = $1 AND at >= $2 * 86400000 AND at < ($2 + 1) * 86400000",
        )
        .bind(class.to_owned())
        .bind(number(day).int())
        .fetch_one(&mut *transaction)
        .await?;
        if u64::try_from(count) != Ok(records) {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM audit_record WHERE class = $1 AND at >= $2 * 86400000 AND at < ($2 + 1) * 86400000",
            "DELETE FROM audit_payload WHERE class = $1 AND at >= $2 * 86400000 AND at < ($2 + 1) * 86400000",
            "DELETE FROM audit_value WHERE class = $1 AND at >= $2 * 86400000 AND at < ($2 + 1) * 86400000",
        ] {
            sqlx::query(sql)
                .bind(class.to_owned())
                .bind(number(day).int())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn lease(&self, _: Purpose) -> Result<Option<Lease>, StoreError> {
        // The file is one machine's, and its keys refuse a second leaf of the same index.
        Ok(Some(Lease::Sqlite(self.pool.clone())))
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        transact(&self.pool, statements).await
    }

    async fn close(&self) {
        self.pool.close().await;
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

pub(super) async fn rows<'c>(
    by: impl sqlx::SqliteExecutor<'c>,
    sql: String,
    values: Vec<Value>,
) -> Result<Vec<Row>, StoreError> {
    let query = bind(sqlx::query(AssertSqlSafe(sql)), values);
    query.fetch_all(by).await?.iter().map(read).collect()
}

pub(super) async fn transact(pool: &SqlitePool, statements: Vec<Statement>) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for Statement { sql, values } in statements {
        bind(sqlx::query(sql), values).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind(mut query: Query<'_>, values: Vec<Value>) -> Query<'_> {
    for value in values {
        query = match value {
            Value::Null => query.bind(None::<String>),
            Value::Int(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Uuid(id) => query.bind(id.to_string()),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}

/// Gives the rows of a SELECT to `take`, without keeping them.
pub(super) async fn scan(
    connection: &mut SqliteConnection,
    sql: &str,
    forms: &[Form],
    take: Taker<'_>,
) -> Result<(), StoreError> {
    let mut stream = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch(connection);
    while let Some(row) = stream.try_next().await? {
        let mut cells = [Cell::Null; columns::COLUMNS.len()];
        for (index, (form, cell)) in forms.iter().zip(&mut cells).enumerate() {
            let raw = row.try_get_raw(index)?;
            if raw.is_null() {
                continue;
            }
            // Whatever else a column was made to hold is no value of its form: it does not match, and is reported.
            *cell = match (raw.type_info().name(), form) {
                ("INTEGER", Form::Int) => Cell::Int(row.try_get(index)?),
                ("TEXT", Form::Text) => Cell::Text(row.try_get(index)?),
                ("TEXT", Form::Uuid) => {
                    let text: &str = row.try_get(index)?;
                    let id = text.parse::<Uuid>().ok();
                    id.filter(|id| id.to_string() == text)
                        .map_or(Cell::Text(text), Cell::Uuid)
                }
                ("BLOB", Form::Bytes) => Cell::Bytes(row.try_get(index)?),
                _ => Cell::Text("(another type)"),
            };
        }
        if take(&cells[..forms.len()]).is_break() {
            break;
        }
    }
    Ok(())
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
                "BLOB" => Value::Bytes(row.try_get::<Vec<u8>, _>(index)?),
                // Whatever else a column was made to hold: compared as text it does not match, and is reported.
                "TEXT" => Value::Text(row.try_get::<String, _>(index)?),
                other => Value::Text(format!("({other})")),
            })
        })
        .collect()
}
