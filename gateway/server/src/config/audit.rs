//! The audit's configuration: `audit` of the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cordon_audit::{StoreUrl, TreeName, note::VerifyingKey, payload::MAX_PAYLOAD_BYTES};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Delivery, Publication, Timestamps, WitnessedBy, doors::Pkcs11, setting::Setting};

/// How long records are kept, who vouches for them, and what of an exchange they hold.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Companies or departments whose records are kept apart, each in trees and under keys of its own. Whoever belongs to none is of the
    /// tenant `default`.
    pub tenants: BTreeMap<String, Tenant>,
    /// Days that records are kept, by retention class. `standard` is what routes get that name no class; it is kept for 400 days where it is not
    /// given here.
    pub retention: BTreeMap<String, u32>,
    /// Where records are sent to, if by another role of the database than `store` names: one that may only insert. The SQL function `audit_grant` gives a
    /// role what it needs.
    pub writer: Option<Setting>,
    /// The role that owns the tables: it makes them, and drops partitions whose records had their time. That of `store` when absent.
    pub owner: Option<Setting>,
    /// File of the Ed25519 key that checkpoints are signed by (`PRIVATE+KEY+...`). All replicas need the same; when absent, it follows from the installation key.
    pub signing_key: Option<PathBuf>,
    /// A checkpoint of every tree that grew is signed every so many seconds.
    #[schemars(range(min = 1, max = 5))]
    pub checkpoint_seconds: u64,
    /// Witnesses that are asked to cosign every checkpoint.
    pub witnesses: Vec<WitnessedBy>,
    /// Where every checkpoint is published.
    pub publish: Vec<Publication>,
    /// An authority that stamps checkpoints with the time (RFC 3161).
    pub timestamps: Option<Timestamps>,
    /// Where every record is delivered to outside, as it comes.
    pub deliver: Vec<Delivery>,
    /// Where a record has to be before anything that depends on it goes on: in the spool on this machine (`local`), or in PostgreSQL as well
    /// (`local+postgres`). With the second, requests are refused while PostgreSQL is away.
    pub durability: Durability,
    /// With `local+postgres`: seconds that PostgreSQL may take for a record before what depends on it is refused.
    #[schemars(range(min = 1, max = 300))]
    pub store_wait_seconds: u64,
    /// A heartbeat is recorded every so many seconds, so that a silence in the audit shows.
    #[schemars(range(min = 1, max = 86400))]
    pub heartbeat_seconds: u64,
    /// How much of a caller's address stands in records: all of it (`full`), its network (`network`: the first 24 bits of IPv4, the first 48 of IPv6),
    /// or nothing (`none`).
    pub addresses: Addresses,
    /// Bytes of a request, and of a reply, that are kept where a route's level says `redacted` or `full`. What is longer is cut, and the record says so.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub payload_bytes: usize,
    /// Where the tenants' keys are, under which names of actors and what is kept of exchanges are sealed.
    pub keys: TenantKeyPlace,
    /// Public keys of those who may approve that something sealed is shown, each the line that `cordon audit approver create` printed.
    pub approvers: Vec<String>,
}

/// Where the tenants' keys are: in files, unless a token or a Vault is named.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantKeyPlace {
    /// The folder of the files `tenant-NAME.key`; `DIR/tenant-keys` when absent. All replicas need the same files.
    pub dir: Option<PathBuf>,
    /// A hardware token that holds the keys, as `key_label-NAME`.
    pub pkcs11: Option<Pkcs11>,
    /// A HashiCorp Vault whose transit engine holds them.
    pub vault: Option<Vault>,
    /// A database apart from `store` for what the tenants' keys wrap, the keys of each person: a postgres:// URL or the path of an SQLite file. Whoever
    /// administers the records then never holds a wrapped key. Beside the records when absent.
    pub store: Option<Setting>,
}

impl TenantKeyPlace {
    /// Reads what is in files and variables. What cannot be read is told by its key.
    pub(super) fn resolve(&mut self, base: &Path) -> Result<(), (&'static str, String)> {
        if let Some(token) = &mut self.pkcs11 {
            let resolved = token.pin.resolve(base);
            resolved.map_err(|message| ("pkcs11", format!("`pin`: {message}")))?;
        }
        if let Some(vault) = &mut self.vault {
            let resolved = vault.token.resolve(base);
            resolved.map_err(|message| ("vault", format!("`token`: {message}")))?;
        }
        if let Some(store) = &mut self.store {
            store
                .resolve(base)
                .map_err(|message| ("keys", format!("`audit.keys.store`: {message}")))?;
            store.anchor(base);
        }
        Ok(())
    }
}

/// The transit engine of a HashiCorp Vault.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// `https://HOST:PORT`.
    pub url: String,
    /// A token that may update `MOUNT/encrypt/KEY-*` and `MOUNT/decrypt/KEY-*`, as `${file:PATH}` or `${env:NAME}`. A file is read
    /// each time, so that an agent may renew it.
    pub token: Setting,
    /// Where the engine is mounted.
    #[serde(default = "mount")]
    pub mount: String,
    /// What the names of the keys begin with.
    #[serde(default = "key")]
    pub key: String,
    /// The namespace, with Vault Enterprise.
    #[serde(default)]
    pub namespace: Option<String>,
}

fn mount() -> String {
    "transit".to_owned()
}

fn key() -> String {
    "cordon".to_owned()
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            url: "https://127.0.0.1:8200".to_owned(),
            token: "".into(),
            mount: mount(),
            key: key(),
            namespace: None,
        }
    }
}

impl Audit {
    /// What cannot be, each by its key.
    pub(super) fn faults(&self, store: &str) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.durability == Durability::LocalAndPostgres && store == "sqlite" {
            faults.push((
                "durability",
                "`audit.durability: local+postgres` needs a postgres:// URL as `store`".to_owned(),
            ));
        }
        for (key, seconds, most) in [
            ("store_wait_seconds", self.store_wait_seconds, 300),
            ("heartbeat_seconds", self.heartbeat_seconds, 86_400),
            ("checkpoint_seconds", self.checkpoint_seconds, 5),
        ] {
            if !(1..=most).contains(&seconds) {
                faults.push((key, format!("`audit.{key}` must be 1 to {most}")));
            }
        }
        for key in &self.approvers {
            if key.parse::<VerifyingKey>().is_err() {
                faults.push((
                    "approvers",
                    format!(
                        "`{key}` is no public key: write the line that `cordon audit approver create` printed"
                    ),
                ));
            }
        }
        if !(1..=MAX_PAYLOAD_BYTES).contains(&self.payload_bytes) {
            faults.push((
                "payload_bytes",
                format!("`audit.payload_bytes` must be 1 to {MAX_PAYLOAD_BYTES}"),
            ));
        }
        if self.keys.pkcs11.is_some() && self.keys.vault.is_some() {
            faults.push((
                "vault",
                "`audit.keys` names one of `pkcs11` and `vault`".to_owned(),
            ));
        }
        if let Some(vault) = &self.keys.vault
            && !(vault.url.starts_with("https://") || is_loopback(&vault.url))
        {
            faults.push((
                "vault",
                "`audit.keys.vault.url` must be an https:// URL, as keys go to it".to_owned(),
            ));
        }
        if let Some(keys) = &self.keys.store {
            let parsed = keys.value().parse::<StoreUrl>();
            let others = [
                Some(store),
                self.writer.as_ref().map(Setting::value),
                self.owner.as_ref().map(Setting::value),
            ];
            let is_one_of_theirs = parsed.as_ref().is_ok_and(|keys| {
                let others = others
                    .into_iter()
                    .flatten()
                    .filter_map(|url| url.parse::<StoreUrl>().ok());
                others.into_iter().any(|other| keys.is_same_database(&other))
            });
            if parsed.is_err() {
                let what = "`audit.keys.store` is a postgres:// URL or the path of an SQLite file";
                faults.push(("keys", what.to_owned()));
            } else if is_one_of_theirs {
                let what = "`audit.keys.store` is another database than `store`, or the keys are not apart from the records";
                faults.push(("keys", what.to_owned()));
            }
        }
        let names = self.tenants.keys().map(|tenant| (tenant.as_str(), "standard"));
        let classes = self.retention.keys().map(|class| ("default", class.as_str()));
        for (tenant, class) in names.chain(classes) {
            if TreeName::new(tenant, class).is_err() {
                let what = "tenants and retention classes are named by 1 to 32 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first";
                faults.push(("audit", what.to_owned()));
            }
        }
        if self.retention.contains_key(TreeName::governance().class()) {
            let what = "`governance` is the class of what happened to the audit itself, and is kept for good";
            faults.push(("retention", what.to_owned()));
        }
        if self.retention.values().any(|days| *days == 0) {
            faults.push(("retention", "records are kept for a day at least".to_owned()));
        }
        let faulty = self.witnesses.iter().filter_map(WitnessedBy::fault);
        faults.extend(faulty.map(|message| ("witnesses", message)));
        let faulty = self.timestamps.iter().filter_map(Timestamps::fault);
        faults.extend(faulty.map(|message| ("timestamps", message)));
        let mut names = BTreeSet::new();
        for delivery in &self.deliver {
            faults.extend(delivery.fault().map(|message| ("deliver", message)));
            if !names.insert(&delivery.name) {
                let what = format!("`deliver` names `{}` twice", delivery.name);
                faults.push(("deliver", what));
            }
        }
        let roles = [("writer", &self.writer), ("owner", &self.owner)];
        for (key, url) in roles
            .into_iter()
            .filter_map(|(key, url)| Some((key, url.as_ref()?)))
        {
            if !matches!(url.value().parse(), Ok(StoreUrl::Postgres(_))) {
                faults.push((key, format!("`audit.{key}` must be a postgres:// URL")));
            }
        }
        faults
    }
}

/// Whether a URL is plain HTTP on this very machine, as of a Vault agent.
pub(super) fn is_loopback(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    uri.is_some_and(|uri| {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        uri.scheme_str() == Some("http")
            && host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// Where a record has to be before anything that depends on it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Durability {
    /// In the spool on this machine.
    #[default]
    #[serde(rename = "local")]
    Local,
    /// In PostgreSQL too.
    #[serde(rename = "local+postgres")]
    LocalAndPostgres,
}

/// How much of a caller's address stands in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// All of it, and the port.
    Full,
    /// Its network.
    #[default]
    Network,
    /// Nothing.
    None,
}

/// A company or a department whose records are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Groups whose members belong to it. Who is in groups of several tenants belongs to the first by name.
    pub groups: BTreeSet<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            tenants: BTreeMap::new(),
            retention: BTreeMap::from([("standard".to_owned(), 400)]),
            writer: None,
            owner: None,
            signing_key: None,
            witnesses: Vec::new(),
            publish: Vec::new(),
            timestamps: None,
            deliver: Vec::new(),
            checkpoint_seconds: 2,
            durability: Durability::Local,
            store_wait_seconds: 5,
            heartbeat_seconds: 60,
            addresses: Addresses::Network,
            payload_bytes: 1 << 20,
            keys: TenantKeyPlace::default(),
            approvers: Vec::new(),
        }
    }
}
