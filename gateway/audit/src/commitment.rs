//! Keyed commitments to bodies, so that a record can prove what a body was without holding it; and what else is made with that key.
//!
//! A commitment is HMAC-SHA256 of the body under a key of its own for each exchange and part, which is derived from a key of this
//! installation. That key lives in a file of its own, apart from the store: who reads the store alone can neither guess short bodies against
//! the commitments, nor make one, nor see that the same body was sent twice; who holds the key and a body can show that the body is the one
//! recorded.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use cordon_domain::ExchangeId;
use serde::{Deserialize, Serialize};
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

    /// HMAC-SHA256 over a label and parts, none of which can be taken for the end of another.
    pub(crate) fn digest(&self, label: &str, parts: &[&[u8]]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.0);
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.sign()
    }

    /// A key for another purpose, which tells nothing of this one.
    pub(crate) fn derive(&self, label: &str) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            self.digest(label, &[]).as_ref(),
        ))
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

/// A part of an exchange that a record speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the caller sent.
    Request,
    /// What the caller was answered.
    Reply,
}

impl Part {
    /// The name in records and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// A digest of bytes under the key, as 64 hex digits: the same for the same bytes. It is for names that must come out the same each
/// time, such as a cache's; what records hold of bodies is a [`Commitment`].
#[must_use]
pub fn keyed_digest(key: &CommitmentKey, bytes: &[u8]) -> String {
    hex::encode(key.digest("cordon digest v1", &[bytes]))
}

/// What stands in records for an id that is not to be kept as it is, as 32 hex digits: the same for the same id of a kind
/// under the same key, and nothing that the id could be told from without it.
#[must_use]
pub fn pseudonym(key: &CommitmentKey, kind: &str, id: &str) -> String {
    let tag = key.digest("cordon pseudonym v1", &[kind.as_bytes(), id.as_bytes()]);
    hex::encode(&tag.as_ref()[..16])
}

/// A commitment to a part of an exchange, which goes by in pieces; how it is cut changes nothing.
#[derive(Clone)]
pub struct Commitment(hmac::Context);

impl Commitment {
    /// The commitment to no bytes yet.
    #[must_use]
    pub fn new(key: &CommitmentKey, exchange: ExchangeId, part: Part) -> Self {
        let own = key.digest(
            "cordon commitment v2",
            &[exchange.as_uuid().as_bytes(), part.name().as_bytes()],
        );
        Self(hmac::Context::with_key(&hmac::Key::new(
            hmac::HMAC_SHA256,
            own.as_ref(),
        )))
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
        assert_eq!(keyed_digest(&first, b"body"), keyed_digest(&second, b"body"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(format!("{first:?}"), "CommitmentKey(..)");
    }

    #[test]
    fn commitments_depend_on_key_exchange_part_and_body() {
        let (a, b) = (
            CommitmentKey::from_bytes([1; 32]),
            CommitmentKey::from_bytes([2; 32]),
        );
        let (first, second) = (ExchangeId::new(), ExchangeId::new());
        let commit = |key, exchange, part, body: &[u8]| {
            let mut commitment = Commitment::new(key, exchange, part);
            commitment.update(body);
            commitment.written()
        };
        let one = commit(&a, first, Part::Request, b"body");
        assert_eq!(one.len(), 64);
        for other in [
            commit(&b, first, Part::Request, b"body"),
            commit(&a, second, Part::Request, b"body"),
            commit(&a, first, Part::Reply, b"body"),
            commit(&a, first, Part::Request, b"body2"),
            keyed_digest(&a, b"body"),
        ] {
            assert_ne!(one, other);
        }
        let mut pieces = Commitment::new(&a, first, Part::Request);
        pieces.update(b"bo");
        pieces.update(b"dy");
        assert_eq!(pieces.written(), one);
    }

    #[test]
    fn pseudonyms_are_those_of_records_made_before() {
        let key = CommitmentKey::from_bytes([7; 32]);
        assert_eq!(
            pseudonym(&key, "claim", "j.kim"),
            "9f6f1daf480c05b63d0d0ecdfc074e61"
        );
        assert_ne!(
            pseudonym(&key, "claim", "j.kim"),
            pseudonym(&key, "conversation", "j.kim")
        );
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
