//! The store in PostgreSQL: records come in by binary COPY.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgPool, Row as _, TypeInfo, ValueRef,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use uuid::Uuid;

use super::{
    ADD_WRITER, Engine, MOVE_WRITER, READ_WRITER, Row, StoreError, Value, columns, expect_at, link, number,
};
use crate::{
    record::{EntryHash, WriterId},
    spool::{Link, reader::Spooled},
};

/// A writer ships over one connection; searching and verifying take a few more.
const CONNECTIONS: u32 = 4;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(super) struct Postgres(PgPool);

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

impl Postgres {
    pub(super) async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = options(url).ok_or(StoreError::Database(sqlx::Error::Configuration(
            "invalid URL".into(),
        )))?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT)
            .idle_timeout(Duration::from_secs(300))
            .connect_with(options)
            .await?;
        Ok(Self(pool))
    }
}

impl Engine for Postgres {
    async fn migrate(&self, migrator: &Migrator) -> Result<(), StoreError> {
        // The migrator holds an advisory lock on its connection. It lets go of it on success only, so the
        // connection is not given back to the pool: closing it lets go in any case.
        let mut connection = self.0.acquire().await?.detach();
        let result = migrator.run_direct(None, &mut connection, false).await;
        let _ = connection.close().await;
        Ok(result?)
    }

    async fn rows(&self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Value::Null => query.bind(None::<String>),
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Uuid(id) => query.bind(id),
            };
        }
        query.fetch_all(&self.0).await?.iter().map(read).collect()
    }

    async fn register(&self, writer: WriterId, name: &str, at: u64) -> Result<Link, StoreError> {
        sqlx::query(ADD_WRITER)
            .bind(writer.as_uuid())
            .bind(name)
            .bind(EntryHash::GENESIS.to_string())
            .bind(number(at).int())
            .execute(&self.0)
            .await?;
        let row = sqlx::query(READ_WRITER)
            .bind(writer.as_uuid())
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
        let mut transaction = self.0.begin().await?;
        // The spool lets go of what was committed here, so the commit must be on disk, whatever the server's default.
        sqlx::query("SET LOCAL synchronous_commit = on")
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query("SELECT sequence, hash FROM audit_writer WHERE writer = $1 FOR UPDATE")
            .bind(writer.as_uuid())
            .fetch_one(&mut *transaction)
            .await?;
        expect_at(writer, behind, link(&read(&row)?)?)?;
        let data = copy_data(records)?;
        let statement = format!(
            "COPY audit_record ({}) FROM STDIN WITH (FORMAT binary)",
            columns::list()
        );
        let mut copy = transaction.copy_in_raw(&statement).await?;
        match copy.send(data).await {
            Ok(_) => copy.finish().await?,
            Err(e) => {
                let _ = copy.abort("sending failed").await;
                return Err(e.into());
            }
        };
        sqlx::query(MOVE_WRITER)
            .bind(writer.as_uuid())
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

/// PostgreSQL's binary COPY form: <https://www.postgresql.org/docs/15/sql-copy.html>.
fn copy_data(records: &[Spooled]) -> Result<Vec<u8>, StoreError> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for record in records {
        let row = columns::row(record).map_err(|_| StoreError::Garbled("the spool"))?;
        out.extend_from_slice(&i16::try_from(row.len()).unwrap_or(i16::MAX).to_be_bytes());
        for value in row {
            match value {
                Value::Null => out.extend_from_slice(&(-1i32).to_be_bytes()),
                Value::Int(number) => field(&mut out, &number.to_be_bytes()),
                Value::Text(text) => field(&mut out, text.as_bytes()),
                Value::Uuid(id) => field(&mut out, id.as_bytes()),
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
                "UUID" => Value::Uuid(row.try_get::<Uuid, _>(index)?),
                _ => Value::Text(row.try_get::<String, _>(index)?),
            })
        })
        .collect()
}
