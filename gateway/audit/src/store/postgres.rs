//! The store in PostgreSQL: records come in by binary COPY, into a partition for each retention class and day.
//!
//! The role that ships needs to insert, and to call the functions of the migration that make partitions and move positions; nothing else.

use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Row as _, TypeInfo, ValueRef,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
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
    record::{TreeName, WriterId},
    spool::Link,
    spool::reader::Spooled,
};

/// A writer ships over one connection; searching and verifying take a few more.
const CONNECTIONS: u32 = 4;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The version of the tables that this program knows.
const VERSION: i64 = 4;
/// The same, of a database of keys alone.
const KEYS_VERSION: i64 = 1;
const TAKE_KEY: &str = "SELECT audit_take_key($1, $2, $3, $4, $5, $6)";
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
/// Days that partitions are made ahead, so that midnight waits for none.
const AHEAD: u64 = 3;

/// A class and a day, counted from 1970-01-01.
type Partition = (String, u64);

#[derive(Clone, Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    options: PgConnectOptions,
    holds: Holds,
    /// Partitions that are known to be there.
    prepared: Arc<Mutex<BTreeSet<Partition>>>,
}

/// The URL's options; none if it is not one.
pub(super) fn options(url: &str) -> Option<PgConnectOptions> {
    // The source error may quote a part of the URL, and a password may be that part.
    let options = PgConnectOptions::from_str(url).ok()?;
    Some(
        options
            .application_name("cordon-audit")
            .disable_statement_logging(),
    )
}

/// Which database a URL leads to, and which schema of it.
pub(super) fn place(url: &str) -> Option<(String, u16, Option<String>, Option<String>)> {
    let options = PgConnectOptions::from_str(url).ok()?;
    let database = options.get_database().map(str::to_owned);
    let settings = options.get_options().map(str::to_owned);
    Some((
        options.get_host().to_owned(),
        options.get_port(),
        database,
        settings,
    ))
}

impl Postgres {
    pub(super) async fn connect(url: &str, holds: Holds) -> Result<Self, StoreError> {
        let options = options(url).ok_or(StoreError::Database(sqlx::Error::Configuration(
            "invalid URL".into(),
        )))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .idle_timeout(Duration::from_secs(300))
            .connect_with(options.clone())
            .await?;
        Ok(Self {
            pool,
            options,
            holds,
            prepared: Arc::default(),
        })
    }

    /// Makes the partitions that records go into, and those of the days to come.
    async fn prepare(&self, records: &[Spooled]) -> Result<(), StoreError> {
        let wanted: BTreeSet<Partition> = records
            .iter()
            .map(|record| (record.entry.class().to_owned(), record.entry.at / DAY))
            .collect();
        for (class, day) in wanted {
            // Behind the last that was made, the next ones are made some days before they are needed.
            let known = [day, day + AHEAD - 1].into_iter().all(|day| {
                let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
                prepared.contains(&(class.clone(), day))
            });
            if known {
                continue;
            }
            sqlx::query("SELECT audit_prepare($1, $2, $3)")
                .bind(&class)
                .bind(number(day).int())
                .bind(number(day + AHEAD).int())
                .execute(&self.pool)
                .await?;
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.extend((day..=day + AHEAD).map(|day| (class.clone(), day)));
        }
        Ok(())
    }

    async fn try_append(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        self.prepare(batch.records).await?;
        let mut transaction = self.pool.begin().await?;
        // The spool lets go of what was committed here, so the commit must be on disk, whatever the server's default.
        sqlx::query("SET LOCAL synchronous_commit = on")
            .execute(&mut *transaction)
            .await?;
        // First, so that of two that ship for one writer the second waits here, and then sees that it came too late.
        let row = sqlx::query("SELECT sequence, hash FROM audit_advance($1, $2, $3, $4, $5, $6, $7)")
            .bind(batch.writer.as_uuid())
            .bind(number(batch.behind.sequence).int())
            .bind(batch.behind.hash.to_string())
            .bind(number(batch.to.sequence).int())
            .bind(batch.to.hash.to_string())
            .bind(number(batch.at).int())
            .bind(batch.note)
            .fetch_one(&mut *transaction)
            .await?;
        expect_at(batch, link(&read(&row)?)?)?;
        let statement = format!(
            "COPY audit_record ({}) FROM STDIN WITH (FORMAT binary)",
            columns::list()
        );
        let mut copy = transaction.copy_in_raw(&statement).await?;
        match copy.send(copy_data(batch.records)?).await {
            Ok(_) => copy.finish().await?,
            Err(e) => {
                let _ = copy.abort("sending failed").await;
                return Err(e.into());
            }
        };
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

    pub(super) async fn takes_records(&self) -> Result<bool, StoreError> {
        let takes = sqlx::query_scalar::<_, bool>(
            "SELECT has_table_privilege('audit_record', 'INSERT') AND has_function_privilege('audit_register(uuid, text, bigint)', 'EXECUTE')",
        );
        Ok(takes.fetch_one(&self.pool).await?)
    }

    pub(super) async fn change(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        transact(&mut connection, statements).await
    }
}

impl Engine for Postgres {
    async fn migrate(&self, migrator: &Migrator) -> Result<(), StoreError> {
        // Roles that ship may not look at the list of migrations, and need not where there is nothing to do. Later versions have only added so
        // far: a gateway of before goes on beside one that has brought the tables up to date.
        let (sql, known) = match self.holds {
            Holds::Records => ("SELECT audit_version()", VERSION),
            Holds::Keys => ("SELECT audit_keys_version()", KEYS_VERSION),
        };
        let version = sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.pool).await;
        if version.is_ok_and(|version| version >= known) {
            return Ok(());
        }
        // The migrator holds an advisory lock on its connection. It lets go of it on success only, so the
        // connection is not given back to the pool: closing it lets go in any case.
        let mut connection = self.pool.acquire().await?.detach();
        let result = migrator.run_direct(None, &mut connection, false).await;
        let _ = connection.close().await;
        Ok(result?)
    }

    async fn rows(&self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        rows(&self.pool, sql, values).await
    }

    async fn register(&self, writer: WriterId, name: &str, at: u64) -> Result<Link, StoreError> {
        let row = sqlx::query("SELECT sequence, hash FROM audit_register($1, $2, $3)")
            .bind(writer.as_uuid())
            .bind(name)
            .bind(number(at).int())
            .fetch_one(&self.pool)
            .await?;
        link(&read(&row)?)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        let appended = self.try_append(batch).await;
        if appended.is_err() {
            // A partition may have been dropped that a late record needs.
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.clear();
        }
        appended
    }

    async fn take_keys(&self, records: &[Spooled]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        // The payloads that need them come next, so they must be on disk, whatever the server's default.
        sqlx::query("SET LOCAL synchronous_commit = on")
            .execute(&mut *transaction)
            .await?;
        for values in attached::keys(records) {
            let take = bind(sqlx::query(TAKE_KEY), values);
            take.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut connection = self.options.connect().await?;
        // The lock keeps partitions from being dropped under it, of which a snapshot alone would not know.
        let tables = match self.holds {
            Holds::Records => "audit_record, audit_payload, audit_value",
            Holds::Keys => "audit_key, audit_erasure",
        };
        sqlx::raw_sql(AssertSqlSafe(format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             LOCK TABLE {tables} IN ACCESS SHARE MODE; SELECT 1"
        )))
        .execute(&mut connection)
        .await?;
        Ok(Snapshot::Postgres(connection))
    }

    async fn days(&self, class: &str, before: u64) -> Result<Vec<u64>, StoreError> {
        // Partitions are named by their day; whatever else has such a name is none of ours.
        let days = sqlx::query_scalar::<_, i64>(
            "SELECT CAST(to_date(substr(leaf.relname, length($1) + 2), 'YYYYMMDD') - date '1970-01-01' AS bigint) \
             FROM pg_inherits i JOIN pg_class leaf ON leaf.oid = i.inhrelid \
             WHERE i.inhparent = to_regclass(quote_ident($1)) AND leaf.relname ~ '_[0-9]{8}$' ORDER BY 1",
        )
        .bind(format!("audit_record_{class}"))
        .fetch_all(&self.pool)
        .await?;
        let days = days.into_iter().filter_map(|day| u64::try_from(day).ok());
        Ok(days.filter(|day| *day < before).collect())
    }

    async fn first_day(&self) -> Result<Option<u64>, StoreError> {
        let first = sqlx::query_scalar::<_, Option<i64>>(
            "SELECT CAST(MIN(to_date(right(leaf.relname, 8), 'YYYYMMDD') - date '1970-01-01') AS bigint) \
             FROM pg_inherits day JOIN pg_class leaf ON leaf.oid = day.inhrelid \
             JOIN pg_class list ON list.oid = day.inhparent JOIN pg_inherits class ON class.inhrelid = list.oid \
             WHERE class.inhparent = CAST('audit_record' AS regclass) AND leaf.relname ~ '_[0-9]{8}$' AND list.relname <> $1",
        )
        .bind(format!("audit_record_{}", TreeName::governance().class()))
        .fetch_one(&self.pool)
        .await?;
        Ok(first.and_then(|day| u64::try_from(day).ok()))
    }

    async fn drop_day(&self, class: &str, day: u64, records: u64) -> Result<bool, StoreError> {
        // A table is waited for only shortly: whoever comes behind this in the queue for it waits too.
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SET LOCAL lock_timeout = '2s'")
            .execute(&mut *transaction)
            .await?;
        for table in ["audit_record", "audit_payload", "audit_value"] {
            let name = sqlx::query_scalar::<_, Option<String>>(
                "SELECT CAST(to_regclass(quote_ident($1 || '_' || $2 || to_char(date '1970-01-01' + CAST($3 AS int), '\"_\"YYYYMMDD'))) AS text)",
            )
            .bind(table)
            .bind(class)
            .bind(number(day).int())
            .fetch_one(&mut *transaction)
            .await?;
            let Some(name) = name else { continue };
            // Locked first, so that what is counted is what is dropped.
            sqlx::raw_sql(AssertSqlSafe(format!(
                "LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"
            )))
            .execute(&mut *transaction)
            .await?;
            if table == "audit_record" {
                let count = format!("SELECT COUNT(*) FROM {name}");
                let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(count))
                    .fetch_one(&mut *transaction)
                    .await?;
                if u64::try_from(count) != Ok(records) {
                    return Ok(false);
                }
            }
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}")))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.clear();
        Ok(true)
    }

    async fn lease(&self, purpose: Purpose) -> Result<Option<Lease>, StoreError> {
        let mut connection = self.options.connect().await?;
        // A machine that is gone gives the lock back within a minute, and not when TCP itself gives up.
        sqlx::raw_sql(
            "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3",
        )
        .execute(&mut connection)
        .await?;
        let held = sqlx::query_scalar::<_, bool>(
            "SELECT pg_try_advisory_lock(hashtext($1), hashtext(current_schema()))",
        )
        .bind(purpose.name())
        .fetch_one(&mut connection)
        .await?;
        Ok(held.then_some(Lease::Postgres(connection)))
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        transact(&mut *self.pool.acquire().await?, statements).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

pub(super) async fn rows(
    by: impl sqlx::PgExecutor<'_>,
    sql: String,
    values: Vec<Value>,
) -> Result<Vec<Row>, StoreError> {
    let query = bind(sqlx::query(AssertSqlSafe(sql)), values);
    query.fetch_all(by).await?.iter().map(read).collect()
}

pub(super) async fn transact(
    connection: &mut PgConnection,
    statements: Vec<Statement>,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SET LOCAL synchronous_commit = on")
        .execute(&mut *transaction)
        .await?;
    for Statement { sql, values } in statements {
        bind(sqlx::query(sql), values).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind(mut query: Query<'_>, values: Vec<Value>) -> Query<'_> {
    for value in values {
        query = match value {
            Value::Null => query.bind(None::<String>),
            Value::Int(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Uuid(id) => query.bind(id),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}

/// What a binary COPY starts with: <https://www.postgresql.org/docs/15/sql-copy.html>.
const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

fn copy_data(records: &[Spooled]) -> Result<Vec<u8>, StoreError> {
    let mut out = COPY_HEAD.to_vec();
    for record in records {
        let body = std::str::from_utf8(&record.bytes).map_err(|_| StoreError::Garbled("the spool"))?;
        let facts = Facts::of(&record.entry.body);
        let count = i16::try_from(columns::COLUMNS.len()).expect("there are few columns");
        out.extend_from_slice(&count.to_be_bytes());
        for cell in facts.cells(&record.entry).into_iter().chain([Cell::Text(body)]) {
            match cell {
                Cell::Null => out.extend_from_slice(&(-1i32).to_be_bytes()),
                Cell::Int(number) => field(&mut out, &number.to_be_bytes()),
                Cell::Text(text) => field(&mut out, text.as_bytes()),
                Cell::Uuid(id) => field(&mut out, id.as_bytes()),
                Cell::Bytes(bytes) => field(&mut out, bytes),
            }
        }
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
    Ok(out)
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("fields of a record are far smaller than 2 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Gives the rows of a SELECT to `take`, as binary COPY sends them: without a text form, and without keeping them. If `take` ends it
/// early, the connection is of no further use.
pub(super) async fn scan(
    connection: &mut PgConnection,
    sql: &str,
    forms: &[Form],
    take: Taker<'_>,
) -> Result<(), StoreError> {
    let statement = format!("COPY ({sql}) TO STDOUT WITH (FORMAT binary)");
    let mut stream = connection.copy_out_raw(&statement).await?;
    let mut kept: Vec<u8> = Vec::new();
    let mut begun = false;
    while let Some(piece) = stream.try_next().await? {
        // The server sends a row in a message of its own, so that usually nothing is left over.
        let mut part: &[u8] = &piece;
        if !kept.is_empty() {
            kept.extend_from_slice(&piece);
            part = &kept;
        }
        let garbled = || StoreError::Garbled("a copy");
        if !begun {
            let Some(behind) = part.get(COPY_HEAD.len()..) else {
                kept = part.to_vec();
                continue;
            };
            if !part.starts_with(COPY_HEAD) {
                return Err(garbled());
            }
            (part, begun) = (behind, true);
        }
        loop {
            let mut cells = [Cell::Null; columns::COLUMNS.len()];
            match tuple(part, forms, &mut cells).map_err(|()| garbled())? {
                Tuple::Row(behind) => {
                    part = behind;
                    if take(&cells[..forms.len()]).is_break() {
                        return Ok(());
                    }
                }
                Tuple::Cut => break,
                Tuple::End => {
                    // The server has more to say before it takes another statement.
                    while stream.try_next().await?.is_some() {}
                    return Ok(());
                }
            }
        }
        kept = part.to_vec();
    }
    Err(StoreError::Garbled("a copy"))
}

enum Tuple<'p> {
    /// A row was read; what lies behind it.
    Row(&'p [u8]),
    /// The rest of it is still to come.
    Cut,
    /// There is none any more.
    End,
}

/// Reads one row of a binary COPY.
fn tuple<'p>(mut part: &'p [u8], forms: &[Form], cells: &mut [Cell<'p>]) -> Result<Tuple<'p>, ()> {
    let mut next = |bytes: usize| {
        let (taken, rest) = part.split_at_checked(bytes)?;
        part = rest;
        Some(taken)
    };
    let Some(count) = next(2) else {
        return Ok(Tuple::Cut);
    };
    match i16::from_be_bytes([count[0], count[1]]) {
        -1 => return Ok(Tuple::End),
        count if usize::try_from(count) == Ok(forms.len()) => {}
        _ => return Err(()),
    }
    for (form, cell) in forms.iter().zip(cells) {
        let Some(length) = next(4) else {
            return Ok(Tuple::Cut);
        };
        let length = i32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        if length == -1 {
            *cell = Cell::Null;
            continue;
        }
        let Some(bytes) = next(usize::try_from(length).map_err(|_| ())?) else {
            return Ok(Tuple::Cut);
        };
        *cell = match form {
            Form::Int => Cell::Int(i64::from_be_bytes(bytes.try_into().map_err(|_| ())?)),
            Form::Uuid => Cell::Uuid(Uuid::from_slice(bytes).map_err(|_| ())?),
            Form::Text => Cell::Text(std::str::from_utf8(bytes).map_err(|_| ())?),
            Form::Bytes => Cell::Bytes(bytes),
        };
    }
    Ok(Tuple::Row(part))
}

fn read(row: &PgRow) -> Result<Row, StoreError> {
    (0..row.len())
        .map(|index| {
            let raw = row.try_get_raw(index)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INT8" => Value::Int(row.try_get::<i64, _>(index)?),
                "INT4" => Value::Int(row.try_get::<i32, _>(index)?.into()),
                "UUID" => Value::Uuid(row.try_get::<Uuid, _>(index)?),
                "BYTEA" => Value::Bytes(row.try_get::<Vec<u8>, _>(index)?),
                _ => Value::Text(row.try_get::<String, _>(index)?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_wherever_the_stream_is_cut() {
        let id = Uuid::from_u128(7);
        let mut bytes = 4i16.to_be_bytes().to_vec();
        field(&mut bytes, id.as_bytes());
        field(&mut bytes, &9i64.to_be_bytes());
        bytes.extend_from_slice(&(-1i32).to_be_bytes());
        field(&mut bytes, b"\xff\x00");
        let forms = [Form::Uuid, Form::Int, Form::Text, Form::Bytes];
        for cut in 0..bytes.len() {
            let mut cells = [Cell::Null; 4];
            assert!(matches!(tuple(&bytes[..cut], &forms, &mut cells), Ok(Tuple::Cut)));
        }
        let mut cells = [Cell::Null; 4];
        assert!(matches!(tuple(&bytes, &forms, &mut cells), Ok(Tuple::Row(&[]))));
        assert_eq!(
            cells,
            [Cell::Uuid(id), Cell::Int(9), Cell::Null, Cell::Bytes(b"\xff\x00")]
        );
        let mut cells = [Cell::Null; 4];
        let text = [Form::Uuid, Form::Int, Form::Text, Form::Text];
        assert!(tuple(&bytes, &text, &mut cells).is_err());
        assert!(tuple(&bytes, &forms[..3], &mut cells[..3]).is_err());
    }
}
