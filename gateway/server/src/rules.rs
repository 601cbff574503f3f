//! What a reload replaces: policy, detectors, fingerprints and API keys, read and checked together.
//!
//! On failure: the old rules stay in force, and the log says why.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use cordon_audit::{Event, PolicyReloaded, TreeName};
use cordon_inspect::{
    Inspector, Ner, NerFiles,
    fingerprint::{self, FingerprintKey, Fingerprints},
};
use cordon_intercept::Network;
use cordon_policy::Policy;
use cordon_wire::{Catalogue, DialectFile};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::{self, Config},
    gate::Gate,
    installation::{Installation, InstallationKey},
    keys::Keys,
    negotiate::Principals,
    supervise,
};

/// How often files are looked at. A change of a mounted Kubernetes ConfigMap swaps links, which
/// change notices of the file system miss; reading a few small files does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Policy, detectors, fingerprints and API keys of one moment.
pub struct Rules {
    /// The policy in force.
    pub policy: Policy,
    /// The detectors.
    pub inspector: Inspector,
    /// Every endpoint that is known.
    pub catalogue: Catalogue,
    /// Who may come in.
    pub keys: Keys,
    /// Whether callers on loopback may come in without a key.
    pub anonymous_loopback: bool,
    /// Groups of those who show a certificate.
    pub certificate_groups: BTreeSet<String>,
    /// Whom a Kerberos ticket stands for, where callers may show one.
    pub principals: Option<Principals>,
    /// Networks whose callers may come in without a key.
    pub networks: Vec<KnownNetwork>,
}

/// A network whose callers may come in without a key, and whom they are taken for.
pub struct KnownNetwork {
    /// The addresses.
    pub network: Network,
    /// As it was written.
    pub written: String,
    /// The user; each address by itself when absent.
    pub user: Option<String>,
    /// The groups.
    pub groups: BTreeSet<String>,
}

impl Rules {
    /// Reads everything; any error is an error of the whole. The token classifier is loaded once a process
    /// and handed on.
    pub fn load(config: &Config, ner: Option<Arc<Ner>>) -> Result<Self> {
        let (policy, inspector) = Self::check(config, ner)?;
        let catalogue = load_catalogue(config)?;
        let installation = Installation::of(config);
        let keys = Keys::load(installation.keys(), installation.key()?.derive("api-keys"))?;
        Ok(Self {
            policy,
            inspector,
            catalogue,
            keys,
            anonymous_loopback: config.identity.anonymous_loopback,
            certificate_groups: config.identity.certificate_groups.clone(),
            principals: config.identity.kerberos.as_ref().map(Principals::new),
            networks: known_networks(config)?,
        })
    }

    /// Reads policy and detectors, and whether they fit each other and the configuration. It writes
    /// nothing.
    pub fn check(config: &Config, ner: Option<Arc<Ner>>) -> Result<(Policy, Inspector)> {
        let policy = load_policy(config)?;
        if policy.names_needed() && ner.is_none() {
            bail!(
                "the policy {} says `names.needed`, and there is no token classifier: `make setup` installs one, `ner.dir` names another",
                policy.file()
            );
        }
        let inspector = load_inspector(config, true)?.with_ner(ner);
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
        for class in policy.retention_classes() {
            if class.name != TreeName::default().class() && !config.audit.retention.contains_key(&class.name)
            {
                unknown.push(class.absent.clone());
            }
        }
        if !policy.questions().is_empty()
            && let Err(reason) = somebody_to_ask(config)
        {
            unknown.extend(policy.questions().iter().map(|question| {
                let mut nobody = question.nobody_to_ask().clone();
                nobody.message = format!("{}: {reason}", nobody.message);
                nobody
            }));
        }
        if !unknown.is_empty() {
            bail!("{}", lines(&unknown));
        }
        Ok((policy, inspector))
    }
}

fn known_networks(config: &Config) -> Result<Vec<KnownNetwork>> {
    let known = config.identity.networks.iter().map(|entry| {
        Ok(KnownNetwork {
            network: entry.network.parse().context("identity.networks")?,
            written: entry.network.clone(),
            user: entry.user.clone(),
            groups: entry.groups.clone(),
        })
    });
    known.collect()
}

/// Whether there is an on-prem model that can be asked the policy's questions. One that runs elsewhere is
/// taken at the configuration's word.
fn somebody_to_ask(config: &Config) -> Result<(), String> {
    if config.questions.upstream != "engine" || config.engine.url.is_some() {
        return Ok(());
    }
    supervise::find_binary(config.engine.binary.as_deref())?;
    supervise::find_model(config.engine.model.as_deref(), &Installation::of(config).models())?;
    Ok(())
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

/// The token classifier that a configuration names, or the one beside the program. None where it is turned
/// off or not installed; an error where it is there and cannot be used.
pub fn load_ner(config: &Config) -> Result<Option<Arc<Ner>>> {
    let Some(files) = ner_files(&config.ner) else {
        return Ok(None);
    };
    let half = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let ner = Ner::load(&files, config.ner.threads.unwrap_or(half))
        .context("the token classifier (`ner`) cannot be used")?;
    Ok(Some(Arc::new(ner)))
}

/// Whether there is a token classifier that [`load_ner`] would load.
#[must_use]
pub fn has_ner(config: &Config) -> bool {
    ner_files(&config.ner).is_some()
}

fn ner_files(config: &config::Ner) -> Option<NerFiles> {
    if !config.enabled {
        return None;
    }
    let beside = || {
        let exe = std::env::current_exe().ok()?;
        Some(exe.parent()?.join("names")).filter(|folder| folder.is_dir())
    };
    let mut files = NerFiles::in_folder(&config.dir.clone().or_else(beside)?);
    if let Some(runtime) = &config.runtime {
        files.runtime.clone_from(runtime);
    }
    files.meanings.clone_from(&config.labels);
    Some(files)
}

/// The embedded detectors and those that a configuration adds, and of an installation its fingerprints.
pub fn load_inspector(config: &Config, installed: bool) -> Result<Inspector> {
    let mut sources = Vec::new();
    for path in yaml_files(&config.detectors)? {
        let source = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the detectors {}", path.display()))?;
        sources.push((path.display().to_string(), source));
    }
    let inspector = Inspector::load(&sources).map_err(|faults| anyhow::anyhow!("{}", lines(&faults)))?;
    let fingerprints = if installed {
        load_fingerprints(config)?
    } else {
        None
    };
    Ok(inspector.with_fingerprints(fingerprints))
}

/// The fingerprints of an installation; none where none were made.
pub fn load_fingerprints(config: &Config) -> Result<Option<Arc<Fingerprints>>> {
    let installation = Installation::of(config);
    let folder = installation.fingerprints();
    if config.fingerprints.is_some() && !folder.is_dir() {
        // A volume that is not mounted must not mean that nothing is recognised.
        bail!(
            "`fingerprints`: there is no folder {}; make it, or mount it",
            folder.display()
        );
    }
    if fingerprint::set_names(folder)?.is_empty() {
        return Ok(None);
    }
    let key = fingerprint_key(&installation.key()?);
    Ok(Fingerprints::open(folder, Arc::new(key))?.map(Arc::new))
}

/// The key of an installation's fingerprints.
pub fn fingerprint_key(key: &InstallationKey) -> FingerprintKey {
    FingerprintKey::from_bytes(&key.derive("fingerprints"))
}

/// The dialects that Cordon brings along, and those that a configuration describes.
pub fn load_catalogue(config: &Config) -> Result<Catalogue> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    let mut read = |name: &str, source: &str| match DialectFile::parse(name, source) {
        Ok(file) => files.push(file),
        Err(wrong) => faults.extend(wrong),
    };
    for (name, source) in DialectFile::EMBEDDED {
        read(name, source);
    }
    for path in yaml_files(&config.dialects)? {
        let source = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the dialects {}", path.display()))?;
        read(&path.display().to_string(), &source);
    }
    if !faults.is_empty() {
        bail!("{}", lines(&faults));
    }
    Ok(Catalogue::new(files))
}

/// Files, and the `*.yaml` of folders in their order.
pub fn yaml_files(configured: &[PathBuf]) -> Result<Vec<PathBuf>> {
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
    let mut hangups = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(fault) => {
            error!(error = %fault, "SIGHUP cannot be watched; reloads will not happen");
            return;
        }
    };
    // The configuration whose rules are in force, and the file as it was read last.
    let mut current = gate.config.clone();
    let mut written = config_file.as_deref().and_then(|file| Config::load(file).ok());
    let mut seen = digest(&current, config_file.as_deref());
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangups.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = digest(&current, config_file.as_deref());
        if (now == seen && !asked) || gate.draining.load(Ordering::Relaxed) {
            continue;
        }
        let mut next = current.clone();
        let read = config_file.as_deref().map(Config::load).transpose();
        let loaded = match read {
            Err(faults) => Err(lines(&faults)),
            Ok(fresh) => {
                if let Some(fresh) = &fresh {
                    next.take_up(fresh);
                }
                load(&gate, next.clone()).await.map(|rules| (rules, fresh))
            }
        };
        let settled = match loaded {
            Ok((rules, fresh)) => {
                if let (Some(fresh), Some(written)) = (&fresh, &written) {
                    let keys = fresh.fixed_keys_unlike(written);
                    if !keys.is_empty() {
                        warn!(
                            keys = keys.join(", "),
                            "these keys of the configuration changed; they take a restart"
                        );
                    }
                }
                let settled = install(&gate, rules).await;
                if settled {
                    current = next;
                    written = fresh.or(written);
                }
                settled
            }
            Err(reason) => refused(&gate, &reason).await,
        };
        // What could not be recorded is tried again: a revoked key must not stay live for it.
        if settled {
            seen = now;
        }
    }
}

/// Reads the rules that a configuration names.
async fn load(gate: &Gate, config: Config) -> Result<Rules, String> {
    let ner = gate.rules.load().inspector.ner().cloned();
    match tokio::task::spawn_blocking(move || Rules::load(&config, ner)).await {
        Ok(loaded) => loaded.map_err(|fault| format!("{fault:#}")),
        Err(_) => Err("reading them failed inside".to_owned()),
    }
}

/// Puts rules in force, once that is on record. Whether it is settled and need not be tried again.
async fn install(gate: &Gate, rules: Rules) -> bool {
    let policy = rules.policy.hash().to_owned();
    if !record(gate, &rules, true).await {
        // Rules that cannot be recorded must not come into force unseen.
        gate.metrics.reload("refused");
        error!("the reload cannot be recorded; the old rules stay in force");
        return false;
    }
    gate.rules.store(Arc::new(rules));
    gate.metrics.reload("done");
    info!(policy, "policy, detectors, fingerprints and keys were reloaded");
    true
}

/// Leaves the old rules in force, and says so in the log and on record.
async fn refused(gate: &Gate, reason: &str) -> bool {
    gate.metrics.reload("refused");
    error!(%reason, "what changed is invalid; the old rules stay in force");
    let rules = gate.rules.load_full();
    record(gate, &rules, false).await
}

/// Puts on record which rules are in force, so that no set of fingerprints is taken away unseen.
async fn record(gate: &Gate, rules: &Rules, accepted: bool) -> bool {
    let sets = rules
        .inspector
        .fingerprints()
        .map_or_else(Vec::new, |sets| sets.summaries());
    let reloaded = PolicyReloaded {
        policy_hash: rules.policy.hash().to_owned(),
        accepted,
        sets: sets
            .into_iter()
            .map(|set| (set.name, set.entries as u64))
            .collect(),
    };
    gate.recorder.event(Event::PolicyReloaded(reloaded)).await.is_ok()
}

/// A digest over every file that rules come from.
fn digest(config: &Config, config_file: Option<&Path>) -> [u8; 32] {
    let installation = Installation::of(config);
    let mut files: Vec<PathBuf> = config_file.map(Path::to_owned).into_iter().collect();
    files.extend(config.policy.clone());
    files.extend(yaml_files(&config.detectors).unwrap_or_default());
    files.extend(yaml_files(&config.dialects).unwrap_or_default());
    files.push(installation.keys().to_owned());
    let sets = fingerprint::set_names(installation.fingerprints()).unwrap_or_default();
    files.extend(
        sets.iter()
            .map(|set| installation.fingerprints().join(set).join("set.yaml")),
    );
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(std::fs::read(&file).unwrap_or_default());
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_folder_of_fingerprints_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            dir: dir.path().to_owned(),
            ..Config::default()
        };
        assert!(load_fingerprints(&config).unwrap().is_none());
        config.fingerprints = Some(dir.path().join("mounted"));
        let told = load_fingerprints(&config).err().unwrap().to_string();
        assert!(told.starts_with("`fingerprints`: there is no folder"), "{told}");
        std::fs::create_dir(dir.path().join("mounted")).unwrap();
        assert!(load_fingerprints(&config).unwrap().is_none());
    }
}
