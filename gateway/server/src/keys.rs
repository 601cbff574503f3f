//! API keys: made, listed, revoked, and recognised.
//!
//! A key reads `cordon_ID_SECRET`: eight characters of public id, then 32 random bytes, in base32
//! without look-alikes. The file holds an HMAC-SHA256 of the secret under a key of the installation,
//! so that neither the file nor a backup of it lets anyone in. Comparison takes constant time.
//!
//! On failure: a key that is malformed, unknown or revoked is one and the same [`UnknownKey`].

use std::{collections::BTreeSet, fs, io, path::Path};

use cordon_domain::{Actor, Identity};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::installation::replace_private;

/// How every Cordon API key begins, so that secret scanners can know one.
pub const PREFIX: &str = "cordon_";
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARACTERS: usize = 8;

/// One key as the file holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Public id.
    pub id: String,
    /// Whom it stands for.
    pub user: String,
    /// Groups of that user.
    pub groups: BTreeSet<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it was revoked, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// HMAC-SHA256 of the secret, hex.
    hash: String,
}

/// No usable key: unknown, malformed or revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such API key")]
pub struct UnknownKey;

/// The key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or written.
    #[error("cannot use the key file {0}: {1}")]
    Io(String, io::Error),
    /// It is not of its form.
    #[error("the key file {0} is damaged at line {1}, column {2}")]
    Malformed(String, usize, usize),
    /// No key has that id.
    #[error("no key has the id `{0}`; `cordon key list` shows all")]
    NoSuchId(String),
    /// The operating system gave no randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
}

/// All keys of an installation.
#[derive(Clone, Default)]
pub struct Keys {
    entries: Vec<KeyEntry>,
    pepper: [u8; 32],
}

impl Keys {
    /// Reads the file; a missing one holds no keys.
    pub fn load(path: &Path, pepper: [u8; 32]) -> Result<Self, KeyFileError> {
        let name = || path.display().to_string();
        let entries = match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| KeyFileError::Malformed(name(), error.line(), error.column()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(KeyFileError::Io(name(), error)),
        };
        Ok(Self { entries, pepper })
    }

    /// Every key, revoked ones too.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// Makes a key and saves the file. The key itself is returned once and kept nowhere.
    pub fn create(
        &mut self,
        path: &Path,
        user: &str,
        groups: BTreeSet<String>,
        now: OffsetDateTime,
    ) -> Result<(KeyEntry, String), KeyFileError> {
        let mut random = [0_u8; ID_CHARACTERS + 52];
        getrandom::fill(&mut random).map_err(KeyFileError::Randomness)?;
        let letters: String = random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
            .collect();
        let (id, secret) = letters.split_at(ID_CHARACTERS);
        let entry = KeyEntry {
            id: id.to_owned(),
            user: user.to_owned(),
            groups,
            created: rfc3339(now),
            revoked: None,
            hash: hex::encode(self.hash(id, secret).finalize().into_bytes()),
        };
        let _alone = self.reread_alone(path)?;
        self.entries.push(entry.clone());
        self.save(path)?;
        Ok((entry, format!("{PREFIX}{id}_{secret}")))
    }

    /// Revokes a key and saves the file.
    pub fn revoke(&mut self, path: &Path, id: &str, now: OffsetDateTime) -> Result<(), KeyFileError> {
        let _alone = self.reread_alone(path)?;
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.id == id)
            .ok_or_else(|| KeyFileError::NoSuchId(id.to_owned()))?;
        entry.revoked.get_or_insert_with(|| rfc3339(now));
        self.save(path)
    }

    /// The actor behind a key.
    pub fn recognise(&self, key: &str) -> Result<Actor, UnknownKey> {
        let (id, secret) = key
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(UnknownKey)?;
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.id == id)
            .ok_or(UnknownKey)?;
        let expected = hex::decode(&entry.hash).map_err(|_| UnknownKey)?;
        // `verify_slice` compares in constant time.
        self.hash(id, secret)
            .verify_slice(&expected)
            .map_err(|_| UnknownKey)?;
        if entry.revoked.is_some() {
            return Err(UnknownKey);
        }
        Ok(actor(entry))
    }

    /// The actor behind a key that was recognised before, as it stands now.
    pub fn live(&self, id: &str) -> Result<Actor, UnknownKey> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.id == id && entry.revoked.is_none());
        entry.map(actor).ok_or(UnknownKey)
    }

    fn hash(&self, id: &str, secret: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper).expect("HMAC takes a key of any length");
        // The id is part of what is hashed, so that hashes cannot be moved between entries.
        mac.update(id.as_bytes());
        mac.update(b"_");
        mac.update(secret.as_bytes());
        mac
    }

    /// Takes the lock beside the file and reads the file again under it, so that of two commands at once
    /// neither undoes what the other wrote: a revocation would be lost that way.
    fn reread_alone(&mut self, path: &Path) -> Result<fs::File, KeyFileError> {
        let lock_path = path.with_extension("lock");
        let failed = |error| KeyFileError::Io(lock_path.display().to_string(), error);
        let lock = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed)?;
        lock.lock().map_err(failed)?;
        self.entries = Self::load(path, self.pepper)?.entries;
        Ok(lock)
    }

    fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let mut text = serde_json::to_string_pretty(&self.entries).expect("key entries are plain JSON");
        text.push('\n');
        replace_private(path, &text).map_err(|error| KeyFileError::Io(path.display().to_string(), error))
    }
}

fn actor(entry: &KeyEntry) -> Actor {
    Actor {
        user: entry.user.clone(),
        groups: entry.groups.clone(),
        identity: Identity::ApiKey {
            key: entry.id.clone(),
        },
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339)
        .expect("the present lies within RFC 3339's years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lets_its_owner_in_until_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut keys = Keys::load(&path, [7; 32]).unwrap();
        let (entry, key) = keys
            .create(&path, "j.kim", BTreeSet::from(["fab".to_owned()]), now)
            .unwrap();

        let read = Keys::load(&path, [7; 32]).unwrap();
        let actor = read.recognise(&key).unwrap();
        assert_eq!(
            (actor.user.as_str(), actor.groups.contains("fab")),
            ("j.kim", true)
        );
        assert!(
            !fs::read_to_string(&path)
                .unwrap()
                .contains(key.rsplit('_').next().unwrap())
        );

        assert_eq!(
            Keys::load(&path, [8; 32]).unwrap().recognise(&key),
            Err(UnknownKey)
        );
        assert_eq!(read.live(&entry.id).unwrap(), actor);
        keys.revoke(&path, &entry.id, now).unwrap();
        assert_eq!(
            Keys::load(&path, [7; 32]).unwrap().live(&entry.id),
            Err(UnknownKey)
        );
        assert_eq!(
            Keys::load(&path, [7; 32]).unwrap().recognise(&key),
            Err(UnknownKey)
        );
    }

    #[test]
    fn two_commands_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut one = Keys::load(&path, [7; 32]).unwrap();
        let mut other = one.clone();
        let (first, _) = one.create(&path, "a", BTreeSet::new(), now).unwrap();
        other.create(&path, "b", BTreeSet::new(), now).unwrap();
        one.revoke(&path, &first.id, now).unwrap();
        other.create(&path, "c", BTreeSet::new(), now).unwrap();
        let kept = Keys::load(&path, [7; 32]).unwrap();
        let kept: Vec<_> = kept
            .entries()
            .iter()
            .map(|entry| (entry.user.as_str(), entry.revoked.is_some()))
            .collect();
        assert_eq!(kept, [("a", true), ("b", false), ("c", false)]);
    }

    #[test]
    fn malformed_keys_are_unknown() {
        for key in ["", "cordon_", "cordon_x_y", "sk-abc", "cordon_é_é"] {
            assert_eq!(Keys::default().recognise(key), Err(UnknownKey), "{key}");
        }
    }
}
