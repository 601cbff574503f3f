//! The right to put records into trees, of which there is one for a store.
//!
//! In PostgreSQL it is a lock of a connection's own, which the server gives back when the connection ends, however it ends. Whatever
//! is written goes over that connection, so that who has lost the right cannot write by it any more; the tables' keys
//! would refuse a second leaf of the same index all the same.

use sqlx::{Connection, PgConnection, SqlitePool};

use super::{Look, Row, Statement, StoreError, Value, postgres, sqlite};

/// The right to put records into trees.
pub(crate) enum Lease {
    Postgres(PgConnection),
    Sqlite(SqlitePool),
}

impl Lease {
    /// Does all of the statements or none, durably.
    pub(crate) async fn transact(&mut self, statements: Vec<Statement>) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => postgres::transact(connection, statements).await,
            Self::Sqlite(pool) => sqlite::transact(pool, statements).await,
        }
    }

    /// Gives the right back.
    pub(crate) async fn release(self) {
        if let Self::Postgres(connection) = self {
            // Closing gives it back; so does a connection that breaks.
            let _ = connection.close().await;
        }
    }
}

impl Look for Lease {
    async fn look(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(connection) => postgres::rows(&mut *connection, sql.to_owned(), values).await,
            Self::Sqlite(pool) => sqlite::rows(&*pool, sql.to_owned(), values).await,
        }
    }
}
