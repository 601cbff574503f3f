//! Cordon's own certificate authority: an offline root, two name-constrained intermediates, and
//! the leaves minted under them.
//!
//! The root signs intermediates and nothing else; no run-time path reads its key, so after
//! [`Authority::init`] the key file is moved off the machine and comes back for
//! [`Authority::rotate`] only. The *interception* intermediate may vouch for the listed hosts and
//! their subdomains and for no IP address; the *gateway* intermediate may vouch for the gateway's
//! own names and addresses. Whoever steals both intermediate keys can still not impersonate the
//! company's bank. The decision is recorded in `docs/decisions/0001-name-constrained-intermediate.md`.
//!
//! Limits: [`Authority::MAX_LEAVES`] leaves are kept, each for [`LEAF_LIFE`]; an intermediate lives
//! two years.
//!
//! On failure: loading fails before any listener opens, naming the file or the host; minting fails
//! the handshake that asked.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use cordon_domain::Clock;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::{RootCertStore, client::WebPkiServerVerifier, client::danger::ServerCertVerifier};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{names::normal_host, page::PAGES_HOST, reach::Network};

mod fault;
pub use fault::AuthorityError;

mod files;
pub use files::Files;
pub(crate) use files::replace as replace_file;

mod rotation;
pub use rotation::{Described, Rotation, RotationState};

mod mint;
use mint::{Intermediate, Kind};

#[cfg(feature = "pkcs11")]
mod token;
#[cfg(feature = "pkcs11")]
pub use token::TokenError;

mod leaves;
pub use leaves::Leaf;
use leaves::Leaves;

/// How long a leaf is valid, its backdating included.
pub(crate) const LEAF_LIFE: Duration = Duration::hours(24);
/// How far certificates are backdated, for callers whose clock is slow.
pub(crate) const BACKDATED: Duration = Duration::hours(1);
/// How long an intermediate is valid.
const INTERMEDIATE_LIFE: Duration = Duration::days(730);
/// How long the root is valid.
const ROOT_LIFE: Duration = Duration::days(3650);
/// From here on an intermediate is reported as due for rotation.
const ROTATE_AHEAD: Duration = Duration::days(60);
/// From here on a root is: every caller's machine has to be given the next one first.
const ROTATE_ROOT_AHEAD: Duration = Duration::days(180);

/// A hardware token that holds the intermediates' keys.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// The PKCS#11 module, a shared library of the token's maker.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of our keys in it.
    pub label: String,
    /// The user's PIN.
    pub pin: Zeroizing<String>,
}

impl fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSettings")
            .field("module", &self.module)
            .field("token", &self.token)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What an authority may vouch for, and where its intermediates' keys are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Hosts to intercept; their subdomains are implied.
    pub hosts: Vec<String>,
    /// Further names and IP addresses that the gateway is reached by. `localhost`, `127.0.0.0/8`,
    /// `::1` and `cordon.internal` always belong to it.
    pub gateway_names: Vec<String>,
    /// The token with the intermediates' keys; files when absent.
    pub token: Option<TokenSettings>,
}

impl From<&[String]> for Scope {
    fn from(hosts: &[String]) -> Self {
        Self {
            hosts: hosts.to_vec(),
            ..Self::default()
        }
    }
}

impl From<&Vec<String>> for Scope {
    fn from(hosts: &Vec<String>) -> Self {
        hosts.as_slice().into()
    }
}

impl From<&Scope> for Scope {
    fn from(scope: &Scope) -> Self {
        scope.clone()
    }
}

/// The loaded authority: mints leaves, never needs the root key.
pub struct Authority {
    /// Every root that callers are to trust, the next one too while a rotation is under way.
    trusted_pem: String,
    /// The root that leaves are minted under.
    root: CertificateDer<'static>,
    root_not_after: OffsetDateTime,
    interception: Intermediate,
    gateway: Intermediate,
    gateway_names: Vec<String>,
    leaves: Leaves,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("hosts", &self.interception.permitted.names)
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The most leaves kept at a time. Subdomains of a listed host are the caller's to choose, so
    /// the cache must not grow with them.
    pub const MAX_LEAVES: usize = 1024;

    /// Makes a new authority in `dir` (created when missing) and writes its [`Files`], keys with
    /// mode 0600. Afterwards the root key belongs off the machine.
    ///
    /// # Errors
    /// When `dir` holds an authority already, the host list is empty or wrong, or a file cannot be written.
    pub fn init(dir: &Path, scope: impl Into<Scope>, clock: &dyn Clock) -> Result<Files, AuthorityError> {
        let scope = Normal::of(&scope.into())?;
        let files = Files::of(dir);
        if let Some(there) = files.occupied() {
            return Err(AuthorityError::AlreadyThere(there));
        }
        files::make_dir(dir)?;
        let (issuer, root_pem, root_key) = mint::root(clock.now(), ROOT_LIFE)?;
        files::write_secret(&files.root_key, &root_key)?;
        scope.write_intermediates(&files, &issuer, clock.now())?;
        files::write_public(&files.root, &root_pem)?;
        Ok(files)
    }

    /// Makes new intermediates for a changed list of hosts, under the same root, from the root key
    /// at `root_key`. Callers keep trusting; a running server loads the new ones on reload.
    ///
    /// Certificates under the old intermediate stay valid until it expires: callers look up no
    /// revocation for a private authority. Shrinking the list is therefore a statement of intent, and
    /// the old intermediate's key must be destroyed with it, which overwriting its file does here.
    ///
    /// # Errors
    /// When the root or its key cannot be read or do not belong together, or the list is wrong.
    pub fn rotate(
        dir: &Path,
        root_key: &Path,
        scope: impl Into<Scope>,
        clock: &dyn Clock,
    ) -> Result<Files, AuthorityError> {
        let scope = Normal::of(&scope.into())?;
        let key = files::read_secret(root_key)?;
        let rotation = Rotation::of(dir);
        let issuer_in = |dir: &Path| {
            let files = Files::of(dir);
            let root_pem = files::read(&files.root)?;
            let issuer = mint::root_issuer(&files.root, &root_pem, root_key, &key)?;
            Ok::<_, AuthorityError>((files, issuer))
        };
        // During a rotation there are two; the key says which is meant.
        let minting = rotation.minting();
        let (files, issuer) = match issuer_in(&minting) {
            Err(AuthorityError::KeyMismatch(path)) => {
                let other = if minting == dir {
                    rotation.next()
                } else {
                    dir.to_owned()
                };
                issuer_in(&other).map_err(|_| AuthorityError::KeyMismatch(path))?
            }
            found => found?,
        };
        scope.write_intermediates(&files, &issuer, clock.now())?;
        Ok(files)
    }

    /// Loads the authority in `dir` and proves, with the verifier that callers use, that it can
    /// vouch for every host and gateway name of `scope`. The root key is not read. While a
    /// [`Rotation`] is under way, it decides which of the two mints.
    ///
    /// # Errors
    /// When a file is missing or wrong or a key is not its owner's alone, an intermediate is unconstrained or
    /// expired, or a name is not permitted; the error names the file or the host.
    pub fn load(dir: &Path, scope: impl Into<Scope>, clock: Arc<dyn Clock>) -> Result<Self, AuthorityError> {
        let trusted_pem = files::read(&Files::of(dir).root)?;
        Self::load_from(&Rotation::of(dir).minting(), trusted_pem, &scope.into(), clock)
    }

    fn load_from(
        dir: &Path,
        trusted_pem: String,
        scope: &Scope,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthorityError> {
        let scope = Normal::of(scope)?;
        let files = Files::of(dir);
        let (root, root_not_after) = mint::first_certificate(&files.root, &files::read(&files.root)?)?;
        let now = clock.now();
        if root_not_after <= now {
            return Err(AuthorityError::Expired {
                path: files.root,
                expired: root_not_after,
            });
        }
        let load =
            |certificate: &Path, key: &Path| Intermediate::load(certificate, key, scope.token.as_ref(), now);
        let authority = Self {
            interception: load(&files.intermediate, &files.intermediate_key)?,
            gateway: load(&files.gateway, &files.gateway_key)?,
            gateway_names: scope.gateway_names.clone(),
            trusted_pem,
            root,
            root_not_after,
            leaves: Leaves::new(Self::MAX_LEAVES),
            clock,
        };
        authority.prove(&files.root, &scope)?;
        Ok(authority)
    }

    /// The root certificates that callers trust: the one that mints, and during a rotation the other, too.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.trusted_pem
    }

    /// Each certificate of the authority with its end.
    #[must_use]
    pub fn ends(&self) -> [(&'static str, OffsetDateTime); 3] {
        [
            ("root", self.root_not_after),
            ("interception", self.interception.not_after),
            ("gateway", self.gateway.not_after),
        ]
    }

    /// The certificates that mint, and under `also_trusted` the other root that callers trust during a rotation.
    #[must_use]
    pub fn certificates(&self) -> Vec<(&'static str, CertificateDer<'static>)> {
        let mut all = vec![
            ("root", self.root.clone()),
            ("interception", self.interception.certificate().clone()),
            ("gateway", self.gateway.certificate().clone()),
        ];
        let trusted = CertificateDer::pem_slice_iter(self.trusted_pem.as_bytes());
        let others = trusted.filter_map(Result::ok).filter(|other| *other != self.root);
        all.extend(others.map(|other| ("also_trusted", other)));
        all
    }

    /// Those of its certificates that are to be replaced soon.
    #[must_use]
    pub fn due(&self) -> Vec<(&'static str, OffsetDateTime)> {
        let now = self.clock.now();
        self.ends()
            .into_iter()
            .filter(|(which, end)| *end - now < Described::ahead(which))
            .collect()
    }

    /// When the first of the intermediates expires.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        self.interception.not_after.min(self.gateway.not_after)
    }

    /// Whether the interception intermediate may vouch for that host. Takes any spelling.
    #[must_use]
    pub fn permits(&self, host: &str) -> bool {
        normal_host(host).is_some_and(|host| self.interception.permitted.name(&host))
    }

    /// The hosts that the interception intermediate lists; subdomains of each are implied.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.interception.permitted.names
    }

    /// The leaf for one host, minted at most once however many ask at a time, and again after half
    /// its life. `cordon.internal` and the gateway's names come from the gateway intermediate.
    ///
    /// # Errors
    /// When neither intermediate may vouch for the name, or minting fails.
    pub fn leaf(&self, name: &str) -> Result<Arc<Leaf>, AuthorityError> {
        let not_permitted = || AuthorityError::HostNotPermitted {
            host: name.to_owned(),
        };
        let host = normal_host(name).ok_or_else(not_permitted)?;
        let issuer = [&self.interception, &self.gateway]
            .into_iter()
            .find(|issuer| issuer.permitted.name(&host))
            .ok_or_else(not_permitted)?;
        self.leaves
            .take(&host, self.clock.now(), |now| issuer.mint(&host, &[&host], now))
    }

    /// The one leaf that the gateway listener shows, for all its names and addresses.
    ///
    /// # Errors
    /// When minting fails.
    pub fn gateway_leaf(&self) -> Result<Arc<Leaf>, AuthorityError> {
        // A star is no host name, so it cannot be the cache key of any.
        self.leaves.take("*gateway", self.clock.now(), |now| {
            let names: Vec<&str> = self.gateway_names.iter().map(String::as_str).collect();
            self.gateway.mint("localhost", &names, now)
        })
    }

    /// The leaf that the gateway listener shows to a caller who named a server, or named none.
    ///
    /// Whoever names one of the gateway's DNS names gets a leaf with that name alone. Some callers
    /// (Bun, and Claude Code with it) cannot check name constraints on IP addresses and refuse any
    /// leaf that holds one under an issuer with such constraints; a leaf without addresses suits them.
    ///
    /// # Errors
    /// When minting fails.
    pub fn gateway_leaf_for(&self, named: Option<&str>) -> Result<Arc<Leaf>, AuthorityError> {
        let host = named.and_then(normal_host);
        match host.filter(|host| host.parse::<IpAddr>().is_err() && self.gateway_names.contains(host)) {
            Some(host) => self.leaves.take(&format!("*{host}"), self.clock.now(), |now| {
                self.gateway.mint(&host, &[&host], now)
            }),
            None => self.gateway_leaf(),
        }
    }

    /// How many leaves were minted since loading.
    #[must_use]
    pub fn minted(&self) -> u64 {
        self.leaves.minted()
    }

    /// Mints for every configured name and verifies as a caller would. What a caller would refuse
    /// is found here, before a listener opens.
    fn prove(&self, root: &Path, scope: &Normal) -> Result<(), AuthorityError> {
        for host in &scope.hosts {
            if !self.interception.permitted.name(host) {
                return Err(AuthorityError::HostNotPermitted { host: host.clone() });
            }
        }
        let format = || AuthorityError::Format {
            path: root.to_owned(),
            expected: "root certificate",
        };
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).map_err(|_| format())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|_| format())?;
        let seconds = u64::try_from(self.clock.now().unix_timestamp()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let verify = |leaf: &Leaf, host: &str| {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| AuthorityError::BadName(host.to_owned()))?;
            verifier
                .verify_server_cert(leaf.certificate(), leaf.intermediates(), &name, &[], now)
                .map_err(|source| AuthorityError::Unproven {
                    host: host.to_owned(),
                    source,
                })
        };
        for host in &scope.hosts {
            verify(&*self.leaf(host)?, host)?;
        }
        for name in &scope.gateway_names {
            let permitted = match name.parse::<IpAddr>() {
                Ok(address) => self.gateway.permitted.address(address),
                Err(_) => self.gateway.permitted.name(name),
            };
            if !permitted {
                return Err(AuthorityError::HostNotPermitted { host: name.clone() });
            }
        }
        let gateway = self.gateway_leaf()?;
        for name in &scope.gateway_names {
            verify(&gateway, name)?;
        }
        Ok(())
    }
}

/// A scope whose names are in normal form, sorted, each once, with what always belongs to it.
struct Normal {
    hosts: Vec<String>,
    gateway_names: Vec<String>,
    token: Option<TokenSettings>,
}

impl Normal {
    fn of(scope: &Scope) -> Result<Self, AuthorityError> {
        let normal = |name: &String| normal_host(name).ok_or_else(|| AuthorityError::BadName(name.clone()));
        let mut hosts = scope.hosts.iter().map(normal).collect::<Result<Vec<_>, _>>()?;
        // A bare word like `com` would permit every name under it; an address cannot be constrained to.
        if let Some(wide) = hosts
            .iter()
            .find(|host| !host.contains('.') || host.parse::<IpAddr>().is_ok())
        {
            return Err(AuthorityError::BadName(wide.clone()));
        }
        if hosts.is_empty() {
            return Err(AuthorityError::NoHosts);
        }
        hosts.sort();
        hosts.dedup();
        let mut gateway_names: Vec<String> = ["localhost", PAGES_HOST, "127.0.0.1", "::1"]
            .map(Into::into)
            .into();
        for name in &scope.gateway_names {
            let name = normal(name)?;
            if !gateway_names.contains(&name) {
                gateway_names.push(name);
            }
        }
        Ok(Self {
            hosts,
            gateway_names,
            token: scope.token.clone(),
        })
    }

    fn write_intermediates(
        &self,
        files: &Files,
        root: &mint::RootIssuer,
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        let write = |kind, names: &[String], networks: &[Network], pem: &Path, key: &Path| {
            let own = mint::intermediate_key(kind, self.token.as_ref(), now)?;
            let made = mint::intermediate(kind, root, &own, names, networks, now, INTERMEDIATE_LIFE)?;
            match own.pem() {
                Some(secret) => files::write_secret(key, &secret)?,
                // One that is in a token is in no file.
                None => files::remove(key)?,
            }
            files::write_public(pem, &made)
        };
        write(
            Kind::Interception,
            &self.hosts,
            &[],
            &files.intermediate,
            &files.intermediate_key,
        )?;

        let (addresses, names): (Vec<_>, Vec<_>) = self
            .gateway_names
            .iter()
            .partition(|name| name.parse::<IpAddr>().is_ok());
        let names: Vec<String> = names.into_iter().cloned().collect();
        let mut networks: Vec<Network> = addresses
            .into_iter()
            .filter_map(|address| address.parse().ok())
            .map(Network::single)
            .collect();
        networks.push(Network::V4_LOOPBACK);
        write(
            Kind::Gateway,
            &names,
            &networks,
            &files.gateway,
            &files.gateway_key,
        )
    }
}

#[cfg(test)]
mod tests;
