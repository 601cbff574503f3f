//! A database of a test's own in the PostgreSQL that `DATABASE_URL` names, with roles of its own, by `psql`.

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

static MADE: AtomicUsize = AtomicUsize::new(0);

/// An empty database. It is gone with its roles when this is dropped.
pub struct Database {
    server: String,
    name: String,
    roles: Vec<String>,
}

impl Database {
    /// Makes one, and roles that may log in with their own name as password. The first of them owns it; otherwise the server's own user does.
    ///
    /// # Panics
    /// When there is no PostgreSQL.
    #[must_use]
    pub fn with_roles(roles: &[&str]) -> Self {
        let server =
            std::env::var("DATABASE_URL").expect("run it by scripts/with-postgres, which sets DATABASE_URL");
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("cordon_{}_{number}", std::process::id());
        let roles: Vec<String> = roles.iter().map(|role| format!("{name}_{role}")).collect();
        for role in &roles {
            psql(&server, &format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'"));
        }
        let owner = roles
            .first()
            .map(|role| format!(" OWNER {role}"))
            .unwrap_or_default();
        psql(&server, &format!("CREATE DATABASE {name}{owner}"));
        Self { server, name, roles }
    }

    /// Makes one.
    #[must_use]
    pub fn new() -> Self {
        Self::with_roles(&[])
    }

    /// Its URL, as the server's own user.
    #[must_use]
    pub fn url(&self) -> String {
        let (base, _) = self
            .server
            .rsplit_once('/')
            .expect("a database URL names a database");
        format!("{base}/{}", self.name)
    }

    /// Its URL as one of its roles.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        let (role, url) = (self.role(role), self.url());
        let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{role}:{role}@{place}")
    }

    /// Host and port of the server.
    #[must_use]
    pub fn address(&self) -> String {
        let url = self.url();
        let rest = url.split_once("://").expect("a URL has a scheme").1;
        let authority = rest.split('/').next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        if place.contains(':') {
            place.to_owned()
        } else {
            format!("{place}:5432")
        }
    }

    /// The name of one of its roles.
    #[must_use]
    pub fn role(&self, role: &str) -> String {
        format!("{}_{role}", self.name)
    }

    /// What a statement answers, by the server's own user.
    #[must_use]
    pub fn ask(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)];
        statements.extend(
            self.roles
                .iter()
                .map(|role| format!("DROP ROLE IF EXISTS {role}")),
        );
        for sql in statements {
            // One that stays behind is in nobody's way.
            let _ = Command::new("psql").args([&self.server, "-qc", &sql]).output();
        }
    }
}

fn psql(url: &str, sql: &str) -> String {
    let ran = Command::new("psql")
        .args([url, "-v", "ON_ERROR_STOP=1", "-Atqc", sql])
        .output()
        .expect("psql can be run");
    assert!(
        ran.status.success(),
        "{sql}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}
