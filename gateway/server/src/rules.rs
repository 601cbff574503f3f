//! What a reload replaces: policy, detectors and API keys, read and checked together.
//!
//! On failure: the old rules stay in force, and the log says why.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use cordon_audit::{Event, PolicyReloaded};
use cordon_inspect::Inspector;
use cordon_policy::Policy;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{config::Config, gate::Gate, installation::Installation, keys::Keys};

/// How often files are looked at. A change of a mounted Kubernetes ConfigMap swaps links, which
/// change notices of the file system miss; reading a few small files does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Policy, detectors and API keys of one moment.
pub struct Rules {
    /// The policy in force.
    pub policy: Policy,
    /// The detectors.
    pub inspector: Inspector,
    /// Who may come in.
    pub keys: Keys,
}

impl Rules {
    /// Reads everything; any error is an error of the whole.
    pub fn load(config: &Config) -> Result<Self> {
        let (policy, inspector) = Self::check(config)?;
        let installation = Installation::of(config);
        let keys = Keys::load(installation.keys(), installation.key()?.derive("api-keys"))?;
        Ok(Self {
            policy,
            inspector,
            keys,
        })
    }

    /// Reads policy and detectors, and whether they fit each other and the configuration. It writes
    /// nothing.
    pub fn check(config: &Config) -> Result<(Policy, Inspector)> {
        let policy = load_policy(config)?;
        let inspector = load_inspector(config)?;
        let mut unknown = policy.check_entities(&inspector.entity_types());
        let known = |name: &str| {
            name == "engine"
                || config.upstreams.contains_key(name)
                || config.intercept.hosts.iter().any(|host| host == name)
        };
        for upstream in policy.upstream_names() {
            if !known(&upstream.name) {
                unknown.push(upstream.absent.clone());
            }
        }
        if !unknown.is_empty() {
            bail!("{}", lines(&unknown));
        }
        Ok((policy, inspector))
    }
}

/// The policy that a configuration names, or the embedded default.
pub fn load_policy(config: &Config) -> Result<Policy> {
    let parsed = match &config.policy {
        Some(path) => {
            let source = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the policy {}", path.display()))?;
            Policy::parse(&path.display().to_string(), &source)
        }
        None => {
            let (name, source) = Policy::embedded_default();
            Policy::parse(name, source)
        }
    };
    parsed.map_err(|faults| anyhow::anyhow!("{}", lines(&faults)))
}

/// The embedded detectors and those that a configuration adds.
pub fn load_inspector(config: &Config) -> Result<Inspector> {
    let mut sources = Vec::new();
    for path in detector_files(&config.detectors)? {
        let source = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the detectors {}", path.display()))?;
        sources.push((path.display().to_string(), source));
    }
    Inspector::load(&sources).map_err(|faults| anyhow::anyhow!("{}", lines(&faults)))
}

fn detector_files(configured: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in configured {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml" || extension == "yml")
            })
            .collect();
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn lines<T: ToString>(faults: &[T]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reloads the rules when their files change or `hangup` fires, until `stop`.
pub async fn keep_fresh(gate: Arc<Gate>, config_file: Option<PathBuf>, stop: CancellationToken) {
    let mut seen = fingerprint(&gate.config, config_file.as_deref());
    let mut hangups = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(fault) => {
            error!(error = %fault, "SIGHUP cannot be watched; reloads will not happen");
            return;
        }
    };
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangups.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = fingerprint(&gate.config, config_file.as_deref());
        if now == seen && !asked {
            continue;
        }
        // What could not be recorded is tried again: a revoked key must not stay live for it.
        if reload(&gate, config_file.as_deref()).await {
            seen = now;
        }
    }
}

/// Reads the rules again. Whether that is settled, for better or worse, and need not be tried again.
async fn reload(gate: &Arc<Gate>, config_file: Option<&Path>) -> bool {
    if gate.draining.load(Ordering::Relaxed) {
        return true;
    }
    let mut config = gate.config.clone();
    if let Some(file) = config_file {
        match Config::load(file) {
            Ok(fresh) => {
                // Addresses, upstreams and the engine belong to the process; the paths of rules may move.
                config.policy = fresh.policy;
                config.detectors = fresh.detectors;
                config.identity = fresh.identity;
            }
            Err(faults) => {
                gate.metrics.reload("refused");
                error!(reason = %lines(&faults), "the changed configuration is invalid; the old one stays in force");
                return true;
            }
        }
    }
    let loaded = tokio::task::spawn_blocking(move || Rules::load(&config)).await;
    match loaded {
        Ok(Ok(rules)) => {
            let policy = rules.policy.hash().to_owned();
            let reloaded = PolicyReloaded {
                policy_hash: policy.clone(),
                accepted: true,
            };
            if let Err(fault) = gate.recorder.event(Event::PolicyReloaded(reloaded)).await {
                // Rules that cannot be recorded must not come into force unseen.
                gate.metrics.reload("refused");
                error!(error = %fault, "the reload cannot be recorded; the old rules stay in force");
                return false;
            }
            gate.rules.store(Arc::new(rules));
            gate.metrics.reload("done");
            info!(policy, "policy, detectors and keys were reloaded");
        }
        Ok(Err(fault)) => {
            gate.metrics.reload("refused");
            error!(reason = %format!("{fault:#}"), "the changed rules are invalid; the old ones stay in force");
        }
        Err(_) => {
            gate.metrics.reload("refused");
            error!("reading the changed rules failed inside; the old ones stay in force");
        }
    }
    true
}

/// A digest over every file that rules come from.
fn fingerprint(config: &Config, config_file: Option<&Path>) -> [u8; 32] {
    let installation = Installation::of(config);
    let mut files: Vec<PathBuf> = config_file.map(Path::to_owned).into_iter().collect();
    files.extend(config.policy.clone());
    files.extend(detector_files(&config.detectors).unwrap_or_default());
    files.push(installation.keys().to_owned());
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(std::fs::read(&file).unwrap_or_default());
        digest.update([0]);
    }
    digest.finalize().into()
}
