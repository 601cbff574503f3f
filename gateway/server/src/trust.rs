//! What TLS rests on, kept fresh while Cordon runs: the authority's files, revocation lists, further roots.
//!
//! A file that changed is taken up once it has stood still for a second, since a rotation writes several.
//! Connections that are open to callers stay; those to upstreams that wait for use are closed when trust
//! changes, so that none outlives the list that revoked its certificate.
//!
//! On failure: what was in force stays in force, and the log and `cordon_reloads_total` say so.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use cordon_domain::{Clock, SystemClock};
use cordon_intercept::{Authority, Interceptor, Revocation, Rotation, upstream_tls, write_bundle};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    accept::Doorway, config::Config, gate::Gate, installation::Installation, serve, site::AdminSite,
};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the log says that a certificate of ours ends soon.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);

/// TLS towards upstreams as a configuration has it.
pub fn towards_upstreams(config: &Config) -> Result<ClientConfig> {
    let roots = config.extra_roots().map_err(|(path, error)| {
        anyhow::anyhow!("intercept.extra_roots: {}: {}", path.display(), error.kind())
    })?;
    let revocation = config.revocation().context("intercept.crls")?;
    Ok(upstream_tls(&roots, &revocation)?)
}

/// Everybody who uses what is kept fresh.
pub struct Users {
    /// Upstreams, configuration and counters.
    pub gate: Arc<Gate>,
    /// The listeners.
    pub interceptor: Arc<Interceptor<Doorway>>,
    /// The admin listener.
    pub site: Arc<AdminSite>,
    /// The authority at start.
    pub authority: Arc<Authority>,
}

/// Takes up changes until `stop`.
pub async fn keep_fresh(users: Users, stop: CancellationToken) {
    let config = &users.gate.config;
    let ca = Installation::of(config).ca();
    let mut authority = users.authority.clone();
    let mut certificates = Watch::new(own_files(&ca));
    let mut lists = Watch::new(trusted_files(config));
    let mut remind = Instant::now();
    loop {
        let now = SystemClock.now();
        for (which, end) in authority.ends() {
            users.gate.metrics.ca_expires(which, (end - now).whole_seconds());
        }
        if remind <= Instant::now() {
            remind += REMIND_EVERY;
            for (which, end) in authority.due() {
                warn!(
                    certificate = which,
                    ends = %end.date(),
                    "a certificate of the authority ends soon; `cordon ca status` tells what to do"
                );
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if certificates.changed(own_files(&ca)) {
            match load_authority(config.clone()).await {
                Ok(loaded) => {
                    authority = loaded;
                    users.take_up(&authority);
                    done(&users, "the certificate authority was reloaded");
                }
                Err(reason) => refused(&users, &reason),
            }
        }
        if lists.changed(trusted_files(config)) {
            let config = config.clone();
            let loaded = tokio::task::spawn_blocking(move || towards_upstreams(&config)).await;
            match loaded.map_err(anyhow::Error::from).flatten() {
                Ok(tls) => {
                    users.interceptor.trust(&tls);
                    users.gate.upstreams.trust(&Arc::new(tls));
                    done(&users, "roots and revocation lists for upstreams were reloaded");
                }
                Err(reason) => refused(&users, &reason),
            }
        }
    }
}

impl Users {
    fn take_up(&self, authority: &Arc<Authority>) {
        let pem = authority.root_pem();
        if let Err(error) = write_bundle(&Installation::of(&self.gate.config).bundle(), pem) {
            error!(%error, "the bundle of roots for callers could not be written");
        }
        let mut pages = self.site.pages.load().as_ref().clone();
        pem.clone_into(&mut pages.ca_pem);
        self.interceptor.replace_pages(pages.clone());
        self.site.pages.store(Arc::new(pages));
        self.interceptor.replace_authority(authority.clone());
    }
}

async fn load_authority(config: Config) -> Result<Arc<Authority>> {
    let loaded = tokio::task::spawn_blocking(move || {
        let ca = Installation::of(&config).ca();
        Authority::load(&ca, serve::scope(&config), Arc::new(SystemClock))
    });
    Ok(Arc::new(loaded.await??))
}

fn done(users: &Users, what: &str) {
    users.gate.metrics.reload("done");
    info!("{what}");
}

fn refused(users: &Users, reason: &anyhow::Error) {
    users.gate.metrics.reload("refused");
    error!(
        reason = format!("{reason:#}"),
        "what changed is invalid; what was trusted before stays in force"
    );
}

/// Files whose changes are taken up.
struct Watch {
    in_force: [u8; 32],
    seen: [u8; 32],
}

impl Watch {
    fn new(now: [u8; 32]) -> Self {
        Self {
            in_force: now,
            seen: now,
        }
    }

    /// Whether they differ from what was taken up last, and have stood still since the look before.
    fn changed(&mut self, now: [u8; 32]) -> bool {
        let still = std::mem::replace(&mut self.seen, now) == now;
        let changed = still && now != self.in_force;
        if changed {
            // An invalid one is told of once, not every second.
            self.in_force = now;
        }
        changed
    }
}

/// A digest of the authority's files, which are small.
fn own_files(ca: &std::path::Path) -> [u8; 32] {
    let mut digest = Sha256::new();
    for file in Rotation::of(ca).watched() {
        digest.update(fs::read(&file).unwrap_or_default());
        digest.update([0]);
    }
    digest.finalize().into()
}

/// A digest of what tells that lists and roots changed: lists can be large, so their bytes are not read for it.
fn trusted_files(config: &Config) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut files: Vec<PathBuf> = config.intercept.extra_roots.clone();
    match Revocation::files(&config.intercept.crls) {
        Ok(lists) => files.extend(lists),
        Err(error) => digest.update(error.to_string()),
    }
    for file in files {
        digest.update(file.as_os_str().as_encoded_bytes());
        if let Ok(about) = fs::metadata(&file) {
            let written = about
                .modified()
                .ok()
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                .unwrap_or_default();
            digest.update(about.len().to_le_bytes());
            digest.update(written.as_nanos().to_le_bytes());
            #[cfg(unix)]
            digest.update(std::os::unix::fs::MetadataExt::ino(&about).to_le_bytes());
        }
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_up_once_and_only_when_it_stands_still() {
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        let mut watch = Watch::new(a);
        assert!(!watch.changed(a));
        assert!(!watch.changed(b), "it may still be written to");
        assert!(!watch.changed(c));
        assert!(watch.changed(c));
        assert!(!watch.changed(c));
        assert!(!watch.changed(b) && !watch.changed(c), "it came and went");
    }
}
