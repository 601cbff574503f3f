//! A fresh database for each test, and the entries that tests record.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use cordon_audit::{
    AuditConfig, Evidence, Intent, Outcome, Recorder, Seal, Sequencing, Shipping, SpoolConfig, Store,
    StoreUrl, Verified,
    note::{Algorithm, SigningKey},
};
use cordon_domain::{Action, Actor, Dialect, Door, ExchangeId, Identity, SystemClock, UpstreamKind};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// A directory for spools, and an empty database.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) dir: TempDir,
    schema: String,
}

fn postgres_url() -> String {
    std::env::var("DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/test".into())
}

/// Host and port of the test server.
pub(crate) fn postgres_address() -> String {
    let url = postgres_url();
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split(['/', '?']).next().unwrap();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:5432")
    }
}

impl Place {
    pub(crate) async fn new(kind: Kind) -> Self {
        let place = Self {
            kind,
            dir: tempfile::tempdir().unwrap(),
            schema: format!("audit_{}", Uuid::now_v7().simple()),
        };
        if kind == Kind::Postgres {
            let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
            let sql = format!("CREATE SCHEMA {}", place.schema);
            sqlx::query(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        place
    }

    pub(crate) fn url(&self) -> StoreUrl {
        match self.kind {
            Kind::Sqlite => StoreUrl::embedded(self.dir.path()),
            Kind::Postgres => self.in_schema(&postgres_url()),
        }
    }

    /// The same database, reached by another address.
    pub(crate) fn url_by(&self, address: &str) -> StoreUrl {
        self.in_schema(&postgres_url().replacen(&postgres_address(), address, 1))
    }

    /// The database as another process is told of it.
    pub(crate) fn url_text(&self) -> String {
        match self.kind {
            Kind::Sqlite => format!("sqlite:{}", self.dir.path().join("audit.db").display()),
            Kind::Postgres => self.in_schema_text(&postgres_url()),
        }
    }

    /// The same database, as another role.
    pub(crate) fn url_as(&self, role: &str) -> StoreUrl {
        let url = postgres_url();
        let (scheme, rest) = url.split_once("://").unwrap();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        self.in_schema(&format!("{scheme}://{role}@{place}"))
    }

    fn in_schema(&self, url: &str) -> StoreUrl {
        self.in_schema_text(url).parse().unwrap()
    }

    fn in_schema_text(&self, url: &str) -> String {
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}options[search_path]={}", self.schema)
    }

    pub(crate) fn spool(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self, spool: &str) -> AuditConfig {
        self.config_by(spool, self.url())
    }

    pub(crate) fn config_by(&self, spool: &str, url: StoreUrl) -> AuditConfig {
        AuditConfig {
            spool: SpoolConfig {
                segment_bytes: 64 << 10,
                ..SpoolConfig::new(self.spool(spool))
            },
            linger: Duration::from_millis(1),
            ..AuditConfig::new(self.spool(spool), url, spool)
        }
    }

    pub(crate) async fn open(&self, spool: &str) -> (Recorder, Shipping) {
        open(self.config(spool)).await
    }

    /// The configuration of one that also puts records into trees.
    pub(crate) fn sequenced(&self, spool: &str) -> AuditConfig {
        AuditConfig {
            sequencing: Some(Sequencing {
                key: signing_key(),
                every: Duration::from_millis(50),
                memory: self.dir.path().join("signed"),
                published: tokio::sync::broadcast::Sender::new(64),
            }),
            ..self.config(spool)
        }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::open(&self.url()).await.unwrap()
    }

    /// Runs a statement as the database's owner.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let path = self.dir.path().join("audit.db");
                let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
                    .await
                    .unwrap();
                let done = sqlx::raw_sql(sql)
                    .execute(&mut connection)
                    .await
                    .unwrap()
                    .rows_affected();
                connection.close().await.unwrap();
                done
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
                let path = AssertSqlSafe(format!("SET search_path = {}", self.schema));
                sqlx::raw_sql(path).execute(&mut connection).await.unwrap();
                sqlx::raw_sql(sql)
                    .execute(&mut connection)
                    .await
                    .unwrap()
                    .rows_affected()
            }
        }
    }

    /// Runs a statement in PostgreSQL, and gives what it is refused with.
    pub(crate) async fn try_execute(&self, sql: &str) -> Result<(), String> {
        let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
        let path = AssertSqlSafe(format!("SET search_path = {}", self.schema));
        sqlx::raw_sql(path).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Bodies of all records of one writer, in order.
    pub(crate) async fn bodies(&self) -> Vec<(String, i64, String)> {
        self.bodies_of(
            "SELECT CAST(writer AS text), sequence, body FROM audit_record ORDER BY writer, sequence",
        )
        .await
    }

    /// Rows of a text, a number and a text.
    pub(crate) async fn bodies_of(&self, sql: &str) -> Vec<(String, i64, String)> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Sqlite => {
                let path = self.dir.path().join("audit.db");
                let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
                    .await
                    .unwrap();
                sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
                let path = AssertSqlSafe(format!("SET search_path = {}", self.schema));
                sqlx::raw_sql(path).execute(&mut connection).await.unwrap();
                sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kind != Kind::Postgres {
            return;
        }
        let sql = AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema));
        // The test's runtime cannot be waited on from here.
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&postgres_url()).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            });
        });
        let _ = dropped.join();
    }
}

pub(crate) async fn open(config: AuditConfig) -> (Recorder, Shipping) {
    cordon_audit::open(config, Arc::new(SystemClock)).await.unwrap()
}

pub(crate) fn intent_by(user: &str, exchange: ExchangeId) -> Intent {
    Intent {
        exchange,
        connection: None,
        actor: Actor {
            user: user.into(),
            groups: BTreeSet::from(["engineering".to_owned()]),
            identity: Identity::ApiKey { key: "k1".into() },
        },
        peer: ([127, 0, 0, 1], 50123).into(),
        door: Door::Gateway,
        dialect: Dialect::OpenaiChat,
        method: "POST".into(),
        host: None,
        path: "/v1/chat/completions".into(),
        action: Action::Redact,
        rule: "pii".into(),
        policy_hash: "a".repeat(64),
        entities: BTreeMap::from([("EMAIL".parse().unwrap(), 2), ("SECRET.JWT".parse().unwrap(), 1)]),
        sources: Vec::new(),
        upstream: Some("engine".into()),
        upstream_kind: Some(UpstreamKind::Engine),
        model: Some("smollm2".into()),
        stream: true,
        questions: Vec::new(),
        request_bytes: 2048,
        request_commitment: Some("b".repeat(64)),
        claims: None,
        payload: None,
    }
}

/// One completed exchange.
pub(crate) async fn exchange(recorder: &Recorder, user: &str) -> ExchangeId {
    let id = ExchangeId::new();
    recorder.intent(intent_by(user, id)).await.unwrap();
    recorder
        .seal(Seal::new(id, Outcome::Completed, 200))
        .await
        .unwrap();
    id
}

/// Shuts down with everything shipped.
pub(crate) async fn finish(shipping: Shipping) {
    assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0);
}

pub(crate) async fn verify(place: &Place, spool: Option<&Path>) -> Result<Verified, String> {
    verify_by(
        place,
        &Evidence {
            spool,
            ..Evidence::default()
        },
    )
    .await
}

pub(crate) async fn verify_by(place: &Place, evidence: &Evidence<'_>) -> Result<Verified, String> {
    let store = place.store().await;
    let result = cordon_audit::verify(&store, evidence)
        .await
        .map_err(|e| e.to_string());
    store.close().await;
    result
}

/// The key that tests sign checkpoints by.
pub(crate) fn signing_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed("cordon/test", Algorithm::Ed25519, &[7; 32]).unwrap())
}
