//! The folder of state: where each file lies, and the installation key.
//!
//! One 32-byte key stands behind API key hashes, placeholders and payload commitments; each use
//! derives its own key from it by HMAC-SHA256 with a label (NIST SP 800-108 in its simplest form).
//! Replicas that share the file give the same value the same placeholder.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use cordon_audit::CommitmentKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::Config;

/// The state folder of one installation.
#[derive(Clone, Debug)]
pub struct Installation {
    dir: PathBuf,
    keys: PathBuf,
    installation_key: PathBuf,
    fingerprints: PathBuf,
}

/// The state folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// A file or folder could not be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The installation key is not 64 hex digits.
    #[error(
        "{0} does not hold 64 hex digits; it is the installation key, made by `cordon up` or `cordon ca init`"
    )]
    MalformedKey(PathBuf),
    /// There is no installation key.
    #[error(
        "there is no installation key at {0}: `cordon ca init` makes one, and all replicas must have the same"
    )]
    NoKey(PathBuf),
    /// The folder is somebody else's.
    #[error(
        "{0} holds other files and other users may enter it; name an empty folder, or one that only its owner may enter"
    )]
    Shared(PathBuf),
    /// The operating system gave no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
}

/// The secret behind an installation's hashes, placeholders and commitments.
pub struct InstallationKey(Zeroizing<[u8; 32]>);

impl InstallationKey {
    /// The key for one purpose, named by its label.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("HMAC takes a key of any length");
        mac.update(label.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl InstallationKey {
    /// The key of commitments, references and the blind index.
    pub fn commitments(&self) -> CommitmentKey {
        CommitmentKey::from_bytes(self.derive("payload-commitments"))
    }
}

impl Installation {
    /// The installation that a configuration names. Touches nothing.
    pub fn of(config: &Config) -> Self {
        Self {
            dir: config.dir.clone(),
            keys: config
                .identity
                .keys
                .clone()
                .unwrap_or_else(|| config.dir.join("keys.json")),
            installation_key: config
                .identity
                .installation_key
                .clone()
                .unwrap_or_else(|| config.dir.join("installation.key")),
            fingerprints: config
                .fingerprints
                .clone()
                .unwrap_or_else(|| config.dir.join("fingerprints")),
        }
    }

    /// Makes the folder, for its owner only. One that is there keeps its permissions, unless it is empty or
    /// an installation already: nobody's `/tmp` becomes private because it was named by mistake.
    pub fn create(&self) -> Result<(), InstallationError> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let unusable = |source| io_error(&self.dir, source);
        if !self.dir.exists() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            return builder.create(&self.dir).map_err(unusable);
        }
        let mode = fs::metadata(&self.dir).map_err(unusable)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let empty = fs::read_dir(&self.dir).map_err(unusable)?.next().is_none();
        if !empty && !self.ca().exists() && !self.spool().exists() {
            return Err(InstallationError::Shared(self.dir.clone()));
        }
        match fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700)) {
            // A volume that somebody else owns, as Kubernetes mounts them: who may enter is set there.
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other.map_err(unusable),
        }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authority's certificates and keys.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca")
    }

    /// System roots and our root in one file, for callers that take a bundle.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("ca/bundle.pem")
    }

    /// The root certificate.
    pub fn root(&self) -> PathBuf {
        self.dir.join("ca/root.pem")
    }

    /// The spool of records.
    pub fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// What this machine remembers of the checkpoints that it signed.
    pub fn signed(&self) -> PathBuf {
        self.dir.join("signed-checkpoints.json")
    }

    /// The SQLite store.
    pub fn sqlite(&self) -> PathBuf {
        self.dir.join("audit.db")
    }

    /// Tenants' keys, where they are files.
    pub fn tenant_keys(&self) -> PathBuf {
        self.dir.join("tenant-keys")
    }

    /// Model weights.
    pub fn models(&self) -> PathBuf {
        self.dir.join("models")
    }

    /// Fingerprints of the company's own texts and records.
    pub fn fingerprints(&self) -> &Path {
        &self.fingerprints
    }

    /// API keys, hashed.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// The API key that `cordon up` made, in plain, for its owner only.
    pub fn own_api_key(&self) -> PathBuf {
        self.dir.join("api-key")
    }

    /// Makes the installation key, unless there is one, and reads it.
    pub fn make_key(&self) -> Result<InstallationKey, InstallationError> {
        let path = &self.installation_key;
        if !path.exists() {
            let mut fresh = Zeroizing::new([0_u8; 32]);
            getrandom::fill(fresh.as_mut_slice()).map_err(InstallationError::Randomness)?;
            match write_private(path, &Zeroizing::new(hex::encode(fresh.as_slice()))) {
                // Another replica on the same folder was faster: its key stands.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(|source| io_error(path, source))?,
            }
        }
        self.key()
    }

    /// The installation key. A server never makes one: with a fresh key, every API key would be unknown and
    /// the same value would get another placeholder than on the other replicas.
    pub fn key(&self) -> Result<InstallationKey, InstallationError> {
        let path = &self.installation_key;
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => InstallationError::NoKey(path.clone()),
            _ => io_error(path, source),
        })?;
        let text = Zeroizing::new(text);
        let mut key = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut_slice())
            .map_err(|_| InstallationError::MalformedKey(path.clone()))?;
        Ok(InstallationKey(key))
    }
}

fn io_error(path: &Path, source: io::Error) -> InstallationError {
    InstallationError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Writes a new file that only its owner can read; an existing one is an error.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces a file whole, readable by its owner only, so that no reader sees half of it.
pub fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let _ = fs::remove_file(&fresh);
    write_private(&fresh, text)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_derives_by_label() {
        let dir = tempfile::tempdir().unwrap();
        let installation = Installation::of(&Config {
            dir: dir.path().join("state"),
            ..Config::default()
        });
        installation.create().unwrap();
        assert!(matches!(installation.key(), Err(InstallationError::NoKey(_))));
        let first = installation.make_key().unwrap();
        let again = installation.key().unwrap();
        assert_eq!(first.derive("a"), again.derive("a"));
        assert_ne!(first.derive("a"), first.derive("b"));
    }

    #[test]
    fn only_a_folder_of_our_own_becomes_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = || fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777;
        let open = || fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let installation = Installation::of(&Config {
            dir: dir.path().to_owned(),
            ..Config::default()
        });
        open();
        installation.create().unwrap();
        assert_eq!(mode(), 0o700, "an empty folder is made ours");
        open();
        fs::write(dir.path().join("somebody's"), "").unwrap();
        assert!(matches!(installation.create(), Err(InstallationError::Shared(_))));
        assert_eq!(mode(), 0o755);
        fs::create_dir(installation.ca()).unwrap();
        installation.create().unwrap();
        assert_eq!(mode(), 0o700, "an installation stays private");
    }

    #[test]
    fn a_damaged_key_is_named_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let installation = Installation::of(&Config {
            dir: dir.path().to_owned(),
            ..Config::default()
        });
        fs::write(dir.path().join("installation.key"), "short").unwrap();
        assert!(matches!(
            installation.key(),
            Err(InstallationError::MalformedKey(_))
        ));
    }
}
