//! A store as it was at one moment, for whoever looks at much of it while it grows.

use std::ops::ControlFlow;

use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{
    Look, Row, StoreError, Value,
    columns::{Cell, Form},
    postgres, sqlite,
};

/// What a scan's rows are given to; it may end the scan.
pub(crate) type Taker<'t> = &'t mut (dyn FnMut(&[Cell<'_>]) -> ControlFlow<()> + Send);

/// A store as it was at one moment. It holds a connection of its own.
pub(crate) enum Snapshot {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Snapshot {
    /// Gives the rows of a SELECT to `take` one by one, in the order that it names, and keeps none. `sql` has no parameters and
    /// no text that comes from anywhere but us.
    pub(crate) async fn scan(
        &mut self,
        sql: &str,
        forms: &[Form],
        take: Taker<'_>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => postgres::scan(connection, sql, forms, take).await,
            Self::Sqlite(connection) => sqlite::scan(connection, sql, forms, take).await,
        }
    }

    pub(crate) async fn close(self) {
        // Nothing was written, so it does not matter how the connection ends.
        let _ = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
    }
}

impl Look for Snapshot {
    async fn look(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(connection) => postgres::rows(&mut *connection, sql.to_owned(), values).await,
            Self::Sqlite(connection) => sqlite::rows(&mut *connection, sql.to_owned(), values).await,
        }
    }
}
