//! Keys that sign notes, and those that verify them, in the text forms that other programs of C2SP take.
//!
//! A verifying key is `name+id+base64(algorithm || key)`, a signing key `PRIVATE+KEY+name+id+base64(algorithm || seed)`. The id is the
//! first four bytes of a hash over the rest, and no secret: it only tells keys of one name apart.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{NoteError, Signature, Vouched};
use crate::{record::TreeName, secret_file};

const PRIVATE: &str = "PRIVATE+KEY+";
const MAX_NAME_BYTES: usize = 255;

/// What a key's signature is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 over the text: a log's own signature.
    Ed25519,
    /// Ed25519 over the text and the time of signing: a witness's cosignature.
    Cosignature,
}

impl Algorithm {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }

    fn of(byte: u8) -> Result<Self, KeyError> {
        match byte {
            1 => Ok(Self::Ed25519),
            4 => Ok(Self::Cosignature),
            other => Err(KeyError::UnknownAlgorithm(other)),
        }
    }

    /// What is signed for a text.
    fn message(self, text: &str, at: u64) -> Vec<u8> {
        match self {
            Self::Ed25519 => text.into(),
            Self::Cosignature => format!("cosignature/v1\ntime {at}\n{text}").into_bytes(),
        }
    }
}

/// What tells keys of one name apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 4]);

impl KeyId {
    fn of(name: &str, encoded_key: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [name.as_bytes(), b"\n", encoded_key] {
            context.update(part);
        }
        let hash = context.finish();
        let mut id = [0; 4];
        id.copy_from_slice(&hash.as_ref()[..4]);
        Self(id)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 4]> for KeyId {
    fn from(id: [u8; 4]) -> Self {
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key that says whether a signature is its owner's.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: KeyId,
    algorithm: Algorithm,
    key: [u8; 32],
}

impl VerifyingKey {
    fn new(name: &str, algorithm: Algorithm, key: [u8; 32]) -> Self {
        let id = KeyId::of(name, &encoded(algorithm, &key));
        Self {
            name: name.to_owned(),
            id,
            algorithm,
            key,
        }
    }

    /// Its name, which stands before its signatures.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures are made over.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The origin of one of a log's trees: the key's name, then those of the tree.
    #[must_use]
    pub fn origin(&self, tree: &TreeName) -> String {
        format!("{}/{tree}", self.name)
    }

    /// Whether a tree is one of the log whose key this is. A key signs for all trees of its log, and for no others.
    #[must_use]
    pub fn vouches_for(&self, origin: &str) -> bool {
        let rest = origin.strip_prefix(self.name.as_str());
        rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    }

    /// What tells whether two names are of one key.
    pub(crate) fn key_bytes(&self) -> [u8; 32] {
        self.key
    }

    /// Whether a line claims to be by this key.
    #[must_use]
    pub fn names(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.id == signature.id
    }

    /// Whether a signature that names this key is by it.
    pub(super) fn verify(&self, text: &str, signature: &Signature) -> Result<Vouched, NoteError> {
        let wrong = || NoteError::WrongSignature(self.name.clone());
        let (at, bytes) = match self.algorithm {
            Algorithm::Ed25519 => (None, signature.bytes.as_slice()),
            Algorithm::Cosignature => {
                let (at, bytes) = signature.bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
                let at = u64::from_be_bytes(*at);
                // The form's own limit; a reader with signed integers would see another time.
                if at > i64::MAX as u64 {
                    return Err(wrong());
                }
                (Some(at), bytes)
            }
        };
        let message = self.algorithm.message(text, at.unwrap_or_default());
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(&message, bytes)
            .map_err(|_| wrong())?;
        Ok(Vouched { at })
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts = split(text)?;
        let found = Self::new(parts.name, parts.algorithm, *parts.bytes);
        if found.id.to_string() != parts.id {
            return Err(KeyError::WrongId);
        }
        Ok(found)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode(encoded(self.algorithm, &self.key));
        write!(f, "{}+{}+{key}", self.name, self.id)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// A key from its text.
    ///
    /// # Errors
    /// When the text is no signing key.
    pub fn decode(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PRIVATE).ok_or(KeyError::NotAKey)?;
        let parts = split(rest)?;
        let key = Self::from_seed(parts.name, parts.algorithm, &parts.bytes)?;
        if key.verifying.id.to_string() != parts.id {
            return Err(KeyError::WrongId);
        }
        Ok(key)
    }

    /// The key that follows from a secret which is kept already.
    ///
    /// # Errors
    /// When no key can have that name.
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::NotAKey)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(Self {
            verifying: VerifyingKey::new(name, algorithm, public),
            pair,
        })
    }

    /// The key in the file `path`, whatever its name is.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|source| KeyError::Io {
            path: path.into(),
            source,
        })?;
        Self::decode(text.trim_end())
    }

    /// The key in the file `path`. A fresh one of this name is made and kept there, readable by its owner only, when the file does
    /// not exist.
    ///
    /// # Errors
    /// When the file can be neither read nor made, holds something else, or a key of another name or algorithm.
    pub fn load_or_create(path: &Path, name: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::NotAName);
        }
        let text = secret_file::load_or_create(path, || {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(seed.as_mut()).map_err(|e| io::Error::other(e.to_string()))?;
            let key = Self::from_seed(name, algorithm, &seed).map_err(io::Error::other)?;
            let secret = Zeroizing::new(STANDARD.encode(encoded(algorithm, &seed)));
            Ok(Zeroizing::new(format!(
                "{PRIVATE}{name}+{}+{}\n",
                key.verifying.id, *secret
            )))
        })
        .map_err(|source| KeyError::Io {
            path: path.into(),
            source,
        })?;
        let key = Self::decode(text.trim_end())?;
        if key.verifying.name != name || key.verifying.algorithm != algorithm {
            return Err(KeyError::OtherKey {
                path: path.into(),
                found: key.verifying.name,
            });
        }
        Ok(key)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Signs a note's text. `at` is the time in seconds since 1970; a cosignature states it, and others do not.
    #[must_use]
    pub fn sign(&self, text: &str, at: u64) -> Signature {
        let algorithm = self.verifying.algorithm;
        let signature = self.pair.sign(&algorithm.message(text, at));
        let mut bytes = match algorithm {
            Algorithm::Ed25519 => Vec::new(),
            Algorithm::Cosignature => at.to_be_bytes().to_vec(),
        };
        bytes.extend_from_slice(signature.as_ref());
        Signature {
            name: self.verifying.name.clone(),
            id: self.verifying.id,
            bytes,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying.name)
    }
}

/// Whether a text can be a key's name: no blanks, no plus sign, and nothing that cannot stand in a note.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn encoded(algorithm: Algorithm, key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([&[algorithm.byte()], key.as_slice()].concat())
}

/// The parts of `name+id+base64(algorithm || 32 bytes)`.
struct Parts<'t> {
    name: &'t str,
    id: &'t str,
    algorithm: Algorithm,
    bytes: Zeroizing<[u8; 32]>,
}

fn split(text: &str) -> Result<Parts<'_>, KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::NotAKey);
    };
    let decoded = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::NotAKey)?);
    let (algorithm, bytes) = decoded.split_first().ok_or(KeyError::NotAKey)?;
    let algorithm = Algorithm::of(*algorithm)?;
    if !is_name(name) {
        return Err(KeyError::NotAKey);
    }
    let bytes = Zeroizing::new(bytes.try_into().map_err(|_| KeyError::NotAKey)?);
    Ok(Parts {
        name,
        id,
        algorithm,
        bytes,
    })
}

/// Why a key cannot be used. No part of a key goes into it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("not a key for signed notes")]
    NotAKey,
    /// A name that no key can have.
    #[error("a key's name has no blanks, no plus signs, and 255 bytes at most")]
    NotAName,
    /// The id does not belong to name and key: one of them was mistyped.
    #[error("the key's id does not belong to it")]
    WrongId,
    /// Nobody here knows how to verify it.
    #[error("algorithm {0} of the key is not known")]
    UnknownAlgorithm(u8),
    /// The file holds a key, and another one than was asked for.
    #[error("key {path}: holds the key {found}, which is for something else", path = path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The name of the key in it.
        found: String,
    },
    /// Reading or writing failed.
    #[error("key {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}
