//! One link of a writer's chain: what stands around a body, and the bytes that are hashed.
//!
//! On failure: [`EntryError`] and [`InvalidHash`], which quote nothing of what they were given.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, TreeName, canonical, tree_name};

/// The largest canonical form of one entry. Bounded fields keep entries far below it; one that
/// reaches it all the same is refused.
pub const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// The version of the entry's form, part of what is hashed.
pub const ENTRY_VERSION: u64 = 1;

/// The random id of one spool directory, and so of one chain of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(Uuid);

impl WriterId {
    /// A fresh id.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default id would suggest a fixed value"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for WriterId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for WriterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of an entry's canonical bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// What the first entry of a chain holds as its predecessor.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of canonical bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hex digits, for people to compare.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// Text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash in hex")]
pub struct InvalidHash;

impl TryFrom<String> for EntryHash {
    type Error = InvalidHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for EntryHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One spelling only: a hash that can be written two ways would let a record be rewritten.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidHash);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidHash)?;
        Ok(Self(bytes))
    }
}

impl From<EntryHash> for String {
    fn from(hash: EntryHash) -> Self {
        hex::encode(hash.0)
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({})", self.short())
    }
}

/// One link of a writer's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Form of the entry, [`ENTRY_VERSION`].
    pub v: u64,
    /// The chain it belongs to.
    pub writer: WriterId,
    /// Its place in the chain, from 1, without gaps.
    pub sequence: u64,
    /// The hash of the entry before it; [`EntryHash::GENESIS`] for the first.
    pub previous_hash: EntryHash,
    /// When it was written: milliseconds since 1970-01-01 UTC, by this machine's clock.
    pub at: u64,
    /// Whose it is; none for the default. [`Entry::tree`] gives both names in full.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "tree_name::spelled_tenant"
    )]
    pub tenant: Option<String>,
    /// How long it is kept; none for the default.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "tree_name::spelled_class"
    )]
    pub class: Option<String>,
    /// The key that what is kept beside it opens under, or that came in beside it. Records of before there was this field name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<NamedKey>>,
    /// What happened.
    pub body: Body,
}

/// A subject's key as a record vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedKey {
    /// Its id.
    pub id: Uuid,
    /// The tenant whose key wraps it. An event within an exchange of another tenant may bring it in.
    pub tenant: String,
    /// Whose it is: a reference.
    pub subject: String,
    /// When it was made, in milliseconds since 1970.
    pub made: u64,
    /// SHA-256 of it as it travels: wrapped, with the name that is sealed under it. Both are random to who has no key, so nothing of
    /// either can be tried against it.
    pub sha256: EntryHash,
}

impl Entry {
    /// The tree that it is a leaf of.
    #[must_use]
    pub fn tree(&self) -> TreeName {
        TreeName::from_spelled(self.tenant.as_deref(), self.class.as_deref())
    }

    /// The name of its retention class.
    pub(crate) fn class(&self) -> &str {
        tree_name::class_of(self.class.as_deref())
    }

    /// The bytes that are hashed, spooled and stored: JSON with sorted keys and no white space.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// An entry from its canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not an entry.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        // The source error would quote the bytes; an entry holds no request text, yet errors
        // reach logs and a record does not belong there.
        serde_json::from_slice(bytes).map_err(|e| EntryError { column: e.column() })
    }
}

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit entry (byte {column})")]
pub struct EntryError {
    /// Where reading stopped.
    pub column: usize,
}
