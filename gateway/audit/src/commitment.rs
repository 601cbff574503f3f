//! Keyed commitments to payloads, so that a record can prove what a body was without holding it.
//!
//! A commitment is HMAC-SHA256 of the body under a key of this installation. The key lives in a file of its own,
//! apart from the store: who reads the store alone can neither guess short bodies against the
//! commitments nor make one; who holds the key and a body can show that the body is the one recorded. Equal bodies
//! have equal commitments, so a reader of the store can see *that* the same bytes were sent twice. Salts
//! of each record's own, which hide that too, come with the sealing of payloads.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::secret_file;

/// The installation's key for commitments.
#[derive(Clone)]
pub struct CommitmentKey(hmac::Key);

impl CommitmentKey {
    /// A key from bytes that the caller keeps elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::of(&Zeroizing::new(bytes))
    }

    fn of(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()))
    }

    /// The key in `path` (64 hex digits); a fresh one is made and kept there, readable by its
    /// owner only, when the file does not exist.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, CommitmentKeyError> {
        let text = secret_file::load_or_create(path, || {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(bytes.as_mut()).map_err(|e| io::Error::other(e.to_string()))?;
            Ok(Zeroizing::new(format!("{}\n", hex::encode(bytes.as_ref()))))
        })
        .map_err(|source| CommitmentKeyError::Io {
            path: path.into(),
            source,
        })?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_end(), bytes.as_mut())
            .map_err(|_| CommitmentKeyError::NotAKey { path: path.into() })?;
        Ok(Self::of(&bytes))
    }
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitmentKey(..)")
    }
}

/// The key's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CommitmentKeyError {
    /// Reading or writing failed.
    #[error("commitment key {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("commitment key {path}: not 64 hex digits", path = path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// The commitment to a body, as 64 hex digits.
#[must_use]
pub fn commit(key: &CommitmentKey, bytes: &[u8]) -> String {
    let mut commitment = Commitment::new(key);
    commitment.update(bytes);
    commitment.written()
}

/// What stands in records for an id that is not to be kept as it is, as 32 hex digits: the same for the same id of a kind
/// under the same key, and nothing that the id could be told from without it.
#[must_use]
pub fn pseudonym(key: &CommitmentKey, kind: &str, id: &str) -> String {
    let mut mac = hmac::Context::with_key(&key.0);
    for part in ["cordon pseudonym v1", kind, id] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    hex::encode(&mac.sign().as_ref()[..16])
}

/// A commitment to a body that goes by in pieces; however it is cut, it comes out as [`commit`] of the whole.
#[derive(Clone)]
pub struct Commitment(hmac::Context);

impl Commitment {
    /// The commitment to no bytes yet.
    #[must_use]
    pub fn new(key: &CommitmentKey) -> Self {
        let mut mac = hmac::Context::with_key(&key.0);
        mac.update(b"cordon payload v1\0");
        Self(mac)
    }

    /// Takes the next piece in.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The commitment to all pieces so far, as 64 hex digits.
    #[must_use]
    pub fn written(&self) -> String {
        hex::encode(self.0.clone().sign())
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commitment(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commitment.key");
        let first = CommitmentKey::load_or_create(&path).unwrap();
        let second = CommitmentKey::load_or_create(&path).unwrap();
        assert_eq!(commit(&first, b"body"), commit(&second, b"body"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(format!("{first:?}"), "CommitmentKey(..)");
    }

    #[test]
    fn commitments_depend_on_key_and_body() {
        let (a, b) = (
            CommitmentKey::from_bytes([1; 32]),
            CommitmentKey::from_bytes([2; 32]),
        );
        assert_ne!(commit(&a, b"body"), commit(&b, b"body"));
        assert_ne!(commit(&a, b"body"), commit(&a, b"body2"));
        assert_eq!(commit(&a, b"").len(), 64);
        let mut pieces = Commitment::new(&a);
        pieces.update(b"bo");
        pieces.update(b"dy");
        assert_eq!(pieces.written(), commit(&a, b"body"));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        fs::write(&path, "hello").unwrap();
        assert!(matches!(
            CommitmentKey::load_or_create(&path),
            Err(CommitmentKeyError::NotAKey { .. })
        ));
    }
}
