//! What TLS rests on, kept fresh while Cordon runs: the authority's files, revocation lists, further roots, the CA
//! for callers' certificates, and a certificate of the company's own on our ports.
//!
//! A file that changed is taken up once it has stood still for a second, since a rotation writes several, and once
//! it is on record. Connections that are open to callers stay, unless their own certificate is refused now; those to
//! upstreams that wait for use are closed when trust changes, so that none outlives the list that revoked its
//! certificate.
//!
//! On failure: what was in force stays in force, and the log, `cordon_reloads_total` and a record say so.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use cordon_audit::{Event, Trust, TrustPart, TrustReloaded};
use cordon_domain::{Clock, SystemClock};
use cordon_intercept::{
    Authority, GatewayTls, Interceptor, OwnTls, Revocation, RevocationError, Rotation, gateway_tls_from_pem,
    upstream_tls, write_bundle,
};
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

/// What others' certificates are judged by, and what of our own is not the authority's, as a configuration has it.
pub struct Verification {
    /// TLS towards upstreams.
    pub upstreams: ClientConfig,
    /// What callers' certificates are judged by, where they are asked for one.
    pub callers: Option<OwnTls>,
    /// The company's own certificate on our ports.
    pub own: Option<GatewayTls>,
}

impl Verification {
    /// Reads it; any error is an error of the whole.
    pub fn read(config: &Config) -> Result<Self> {
        let text = |path: &PathBuf| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let roots = config.extra_roots().map_err(|(path, error)| {
            anyhow::anyhow!("intercept.extra_roots: {}: {}", path.display(), error.kind())
        })?;
        let revocation = config.revocation().context("intercept.crls")?;
        let own = match (&config.gateway.certificate, &config.gateway.key) {
            (Some(certificate), Some(key)) => {
                let own =
                    gateway_tls_from_pem(&text(certificate)?, &text(key)?).context("gateway.certificate")?;
                Some(GatewayTls::Configured(Arc::new(own)))
            }
            _ => None,
        };
        Ok(Self {
            upstreams: upstream_tls(&roots, &revocation)?,
            callers: asking_callers(config, &revocation)?,
            own,
        })
    }
}

/// What callers' certificates are judged by, where the configuration names a CA for them.
pub fn asking_callers(config: &Config, revocation: &Revocation) -> Result<Option<OwnTls>> {
    let Some(path) = &config.identity.client_ca else {
        return Ok(None);
    };
    let context = || format!("identity.client_ca: {}", path.display());
    let ca = fs::read_to_string(path).with_context(context)?;
    OwnTls::asking(&ca, revocation).map(Some).with_context(context)
}

/// What TLS rests on, for the record.
pub fn described(authority: &Authority, config: &Config) -> Trust {
    let hashed = |der: &[u8]| hex::encode(Sha256::digest(der));
    let files = files_of(config).unwrap_or_default();
    let mut digest = Sha256::new();
    for file in &files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update(Sha256::digest(fs::read(file).unwrap_or_default()));
    }
    Trust {
        certificates: authority
            .certificates()
            .into_iter()
            .map(|(which, der)| (which.to_owned(), hashed(&der)))
            .collect::<BTreeMap<_, _>>(),
        files: files.len() as u64,
        files_hash: (!files.is_empty()).then(|| hex::encode(digest.finalize())),
    }
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
    let mut others = Watch::new(other_files(config));
    let mut in_force = described(&authority, config);
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
            let loaded = load_authority(config.clone()).await;
            let next = loaded.as_ref().ok().map(|loaded| described(loaded, config));
            if !users.record(TrustPart::Authority, next.as_ref(), &in_force).await {
                certificates.put_back();
                continue;
            }
            match loaded {
                Ok(loaded) => {
                    authority = loaded;
                    users.take_up(&authority);
                    done(&users, "the certificate authority was reloaded");
                }
                Err(reason) => refused(&users, &reason),
            }
            in_force = next.unwrap_or(in_force);
        }
        if others.changed(other_files(config)) {
            let read = config.clone();
            let loaded = tokio::task::spawn_blocking(move || Verification::read(&read)).await;
            let loaded = loaded.map_err(anyhow::Error::from).flatten();
            let next = loaded.as_ref().ok().map(|_| described(&authority, config));
            if !users
                .record(TrustPart::Verification, next.as_ref(), &in_force)
                .await
            {
                others.put_back();
                continue;
            }
            match loaded {
                Ok(loaded) => {
                    users.judge_by(loaded);
                    done(&users, "roots, revocation lists and certificates were reloaded");
                }
                Err(reason) => refused(&users, &reason),
            }
            in_force = next.unwrap_or(in_force);
        }
    }
}

impl Users {
    /// Puts on record what comes into force, or that nothing does, before it is so.
    async fn record(&self, part: TrustPart, next: Option<&Trust>, in_force: &Trust) -> bool {
        let reloaded = TrustReloaded {
            part,
            accepted: next.is_some(),
            trust: next.unwrap_or(in_force).clone(),
        };
        let recorded = self.gate.recorder.event(Event::TrustReloaded(reloaded)).await;
        if recorded.is_err() {
            error!("a change of what TLS rests on cannot be recorded; it does not come into force");
        }
        recorded.is_ok()
    }

    fn judge_by(&self, loaded: Verification) {
        if let Some(callers) = loaded.callers {
            let cut = self.interceptor.replace_own_tls(callers);
            if cut > 0 {
                warn!(
                    cut,
                    "connections of callers were cut: their certificates are not good any more"
                );
            }
        }
        if let Some(own) = loaded.own {
            self.interceptor.replace_gateway_tls(own);
        }
        self.interceptor.trust(&loaded.upstreams);
        self.gate.upstreams.trust(&Arc::new(loaded.upstreams));
    }

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

    /// Has the change be taken up at the next look.
    fn put_back(&mut self) {
        self.in_force = [0; 32];
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

/// The files that are read besides the authority's.
fn files_of(config: &Config) -> Result<Vec<PathBuf>, RevocationError> {
    let single = [
        &config.identity.client_ca,
        &config.gateway.certificate,
        &config.gateway.key,
    ];
    let mut files: Vec<PathBuf> = single.into_iter().flatten().cloned().collect();
    files.extend(config.intercept.extra_roots.iter().cloned());
    files.extend(Revocation::files(&config.intercept.crls)?);
    Ok(files)
}

/// A digest of what tells that these changed: lists can be large, so their bytes are not read for it.
fn other_files(config: &Config) -> [u8; 32] {
    let mut digest = Sha256::new();
    let files = files_of(config).unwrap_or_else(|error| {
        digest.update(error.to_string());
        Vec::new()
    });
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
        watch.put_back();
        assert!(
            watch.changed(c) && !watch.changed(c),
            "it could not be recorded before"
        );
    }
}
