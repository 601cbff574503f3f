//! The audit as the configuration has it: where records go, by which roles, and what checkpoints are signed by.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use cordon_audit::{
    Addresses, AuditConfig, Durability, FileKeys, Pseudonyms, Published, Recorder, Sealing, Sequencing,
    Shipping, Store, StoreUrl, Subjects, TenantKeys,
    note::{Algorithm, SigningKey},
};
use cordon_domain::Clock;
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use crate::{
    config::{self, Config},
    installation::{Installation, InstallationKey},
    trust::Verification,
    vault::Vault,
};

/// Checkpoints that may wait for whoever passes them on; older ones are of no interest then.
const PUBLISHED: usize = 64;

/// Opens spool and store. Checkpoints are told as they are signed.
pub async fn open(
    config: &Config,
    installation: &Installation,
    key: &InstallationKey,
    verification: &Verification,
    clock: Arc<dyn Clock>,
) -> Result<(Recorder, Shipping, broadcast::Receiver<Published>)> {
    let mut audit = AuditConfig::new(
        installation.spool(),
        store_url(config, installation)?,
        host_name(),
    );
    let role = |url: &Option<config::Setting>| url.as_ref().map(|url| url.value().parse()).transpose();
    audit.writer = role(&config.audit.writer).context("audit.writer")?;
    audit.owner = role(&config.audit.owner).context("audit.owner")?;
    audit.keys = keys_url(config)?;
    audit.spool.max_bytes = config.limits.spool_bytes;
    audit.heartbeat = Duration::from_secs(config.audit.heartbeat_seconds);
    audit.durability = match config.audit.durability {
        config::Durability::Local => Durability::Local,
        config::Durability::LocalAndPostgres => Durability::LocalAndStore {
            wait: Duration::from_secs(config.audit.store_wait_seconds),
        },
    };
    let (published, signed) = broadcast::channel(PUBLISHED);
    audit.sequencing = Some(Sequencing {
        key: Arc::new(checkpoint_key(config, key)?),
        every: Duration::from_secs(config.audit.checkpoint_seconds),
        memory: installation.signed(),
        published,
    });
    audit.retention.clone_from(&config.audit.retention);
    let tenant_keys = tenant_keys(config, installation, &verification.upstreams);
    audit.sealing = Some(Sealing {
        pseudonyms: Pseudonyms::new(key.commitments()).beside(match config.audit.addresses {
            config::Addresses::Full => Addresses::Full,
            config::Addresses::Network => Addresses::Network,
            config::Addresses::None => Addresses::None,
        }),
        subjects: Subjects::new(tenant_keys, clock.clone()),
    });
    let (recorder, shipping) = cordon_audit::open(audit, clock).await?;
    Ok((recorder, shipping, signed))
}

/// Where the tenants' keys are.
pub fn tenant_keys(
    config: &Config,
    installation: &Installation,
    tls: &rustls::ClientConfig,
) -> Arc<dyn TenantKeys> {
    let place = &config.audit.keys;
    if let Some(vault) = &place.vault {
        return Arc::new(Vault::new(vault.clone(), tls));
    }
    #[cfg(feature = "pkcs11")]
    if let Some(token) = &place.pkcs11 {
        return Arc::new(cordon_audit::TokenKeys::new(cordon_audit::KeyToken {
            module: token.module.clone(),
            token: token.token.clone(),
            label: token.key_label.clone(),
            pin: Zeroizing::new(token.pin.value().to_owned()),
        }));
    }
    let dir = place.dir.clone().unwrap_or_else(|| installation.tenant_keys());
    Arc::new(FileKeys::new(&dir))
}

/// What checkpoints are signed by: the key of the configuration's file, or else one that follows from the installation key, so that
/// all replicas have the same. It is in no database.
pub fn checkpoint_key(config: &Config, key: &InstallationKey) -> Result<SigningKey> {
    if let Some(path) = &config.audit.signing_key {
        let read = || format!("audit.signing_key {}", path.display());
        let text = Zeroizing::new(std::fs::read_to_string(path).with_context(read)?);
        return SigningKey::decode(text.trim_end()).with_context(read);
    }
    let name = format!("cordon/{}", hex::encode(&key.derive("checkpoint-name")[..4]));
    let seed = Zeroizing::new(key.derive("checkpoint-key"));
    Ok(SigningKey::from_seed(&name, Algorithm::Ed25519, &seed)?)
}

/// This machine's name, for people who read which writer a record is from.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "cordon".to_owned(),
        name => name.to_owned(),
    }
}

/// The store that a configuration names.
pub fn store_url(config: &Config, installation: &Installation) -> Result<StoreUrl> {
    Ok(match config.store.value() {
        "sqlite" => StoreUrl::Sqlite(installation.sqlite()),
        url => url.parse()?,
    })
}

/// The database that subjects' keys are in, where they are kept apart from the records.
pub fn keys_url(config: &Config) -> Result<Option<StoreUrl>> {
    let url = config.audit.keys.store.as_ref().map(|url| url.value().parse());
    url.transpose().context("audit.keys.store")
}

/// That database, open. One that is an SQLite file is made where it is not there yet.
pub async fn keys_apart(config: &Config) -> Result<Option<Store>> {
    let Some(url) = keys_url(config)? else {
        return Ok(None);
    };
    let opened = match &url {
        StoreUrl::Sqlite(_) => Store::create_keys(&url).await,
        StoreUrl::Postgres(_) => Store::open_keys(&url).await,
    };
    opened
        .map(Some)
        .with_context(|| format!("`audit.keys.store` {url} cannot be read"))
}
