//! The right to put records into trees, to prune them, or to deliver them to a destination, of which there is one each for a store.
//!
//! In PostgreSQL it is a lock of a connection's own, which the server gives back when the connection ends, however it ends. Whatever
//! is written goes over that connection, so that who has lost the right cannot write by it any more; the tables' keys
//! would refuse a second leaf of the same index all the same.

use std::{borrow::Cow, time::Duration};

use sqlx::{Connection, PgConnection, SqlitePool};
use tokio::time::timeout;

use super::{Look, Row, Statement, StoreError, Value, postgres, sqlite};

/// How long one statement, or one transaction, may take.
const ANSWER: Duration = Duration::from_secs(60);

/// What one process at a time may do to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Put records into trees.
    Sequencing,
    /// Remove records that had their time.
    Pruning,
    /// Deliver records to the destination of that name.
    Delivering(String),
}

impl Purpose {
    /// What the lock is named by.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Sequencing => "cordon audit sequencer".into(),
            Self::Pruning => "cordon audit pruner".into(),
            Self::Delivering(destination) => format!("cordon audit delivery to {destination}").into(),
        }
    }
}

/// The right to do what one process at a time may do.
pub(crate) enum Lease {
    Postgres(PgConnection),
    Sqlite(SqlitePool),
}

impl Lease {
    /// Does all of the statements or none, durably.
    pub(crate) async fn transact(&mut self, statements: Vec<Statement>) -> Result<(), StoreError> {
        within(async {
            match self {
                Self::Postgres(connection) => postgres::transact(connection, statements).await,
                Self::Sqlite(pool) => sqlite::transact(pool, statements).await,
            }
        })
        .await
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
        within(async {
            match self {
                Self::Postgres(connection) => postgres::rows(&mut *connection, sql.to_owned(), values).await,
                Self::Sqlite(pool) => sqlite::rows(&*pool, sql.to_owned(), values).await,
            }
        })
        .await
    }
}

/// A connection that does not answer is given up, and with it the right, so that another process can have it.
async fn within<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(ANSWER, call)
        .await
        .unwrap_or(Err(StoreError::TimedOut(ANSWER.as_secs())))
}
