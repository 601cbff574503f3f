//! Placeholders: what stands for a value while it is away, `[EMAIL_K7QX]`.
//!
//! The name is the last part of the entity type (of confidential sets the family alone, since a
//! set's name can be a secret itself); the suffix is Crockford base32 of HMAC-SHA256 over the entity
//! type and the value. So one value has one placeholder in every turn and on every replica that holds
//! the key, without any state, and nobody without the key can test a guess against it.
//!
//! The value is taken exactly as it was written: two spellings are two values, because what comes
//! back must be the spelling that was sent.
//!
//! Limit: a suffix starts with [`SHORTEST`] characters and grows only where it would be ambiguous
//! (see `transform`), up to the whole HMAC.

use std::fmt;

use cordon_domain::EntityType;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Characters of a suffix, unless that would be ambiguous.
pub(crate) const SHORTEST: usize = 4;

/// Characters of the longest suffix: 256 bits in base32.
pub(crate) const LONGEST: usize = 52;

/// Entity types of this family are named by it alone.
const UNNAMED_FAMILY: &str = "CONFIDENTIAL";

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The secret that placeholders are derived with; the same on every replica.
pub struct PlaceholderKey(Zeroizing<[u8; 32]>);

/// A placeholder key that is not 32 bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a placeholder key has 32 bytes, this one has {0}")]
pub struct InvalidPlaceholderKey(usize);

impl PlaceholderKey {
    /// A key from 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The suffix of a value at its full length; a placeholder takes as much of it as it needs.
    pub(crate) fn suffix(&self, entity: &EntityType, value: &str) -> Suffix {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length, so 32 bytes fit");
        mac.update(b"cordon placeholder 1\0");
        mac.update(entity.as_str().as_bytes());
        // Entity types hold no NUL, so type and value cannot run into each other.
        mac.update(b"\0");
        mac.update(value.as_bytes());
        Suffix(base32(&mac.finalize().into_bytes().into()))
    }
}

impl TryFrom<&[u8]> for PlaceholderKey {
    type Error = InvalidPlaceholderKey;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes
            .try_into()
            .map(Self::new)
            .map_err(|_| InvalidPlaceholderKey(bytes.len()))
    }
}

impl fmt::Debug for PlaceholderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaceholderKey")
    }
}

/// The whole HMAC of a value, in base32.
pub(crate) struct Suffix([u8; LONGEST]);

impl Suffix {
    /// The placeholder with that many characters of suffix.
    pub(crate) fn placeholder(&self, entity: &EntityType, characters: usize) -> String {
        let word = word(entity);
        let suffix = &self.0[..characters.min(LONGEST)];
        let mut placeholder = String::with_capacity(word.len() + suffix.len() + 3);
        placeholder.push('[');
        placeholder.push_str(word);
        placeholder.push('_');
        placeholder.extend(suffix.iter().map(|&byte| char::from(byte)));
        placeholder.push(']');
        placeholder
    }
}

/// What a placeholder calls an entity type.
fn word(entity: &EntityType) -> &str {
    if entity.family() == UNNAMED_FAMILY {
        return UNNAMED_FAMILY;
    }
    entity
        .as_str()
        .rsplit('.')
        .next()
        .unwrap_or_else(|| entity.as_str())
}

fn base32(bytes: &[u8; 32]) -> [u8; LONGEST] {
    let mut written = [ALPHABET[0]; LONGEST];
    for (at, character) in written.iter_mut().enumerate() {
        let mut five = 0_usize;
        for bit in at * 5..at * 5 + 5 {
            let set = bytes
                .get(bit / 8)
                .is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1);
            five = five << 1 | usize::from(set);
        }
        *character = ALPHABET[five];
    }
    written
}

/// Every text in `text` that reads like a placeholder, in plain form: also those whose brackets or
/// underscores stand behind a backslash, as Markdown writes them, since a reply may echo them either
/// way. Cost: linear.
pub(crate) fn look_alikes(text: &str) -> impl Iterator<Item = String> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'[', bytes).filter_map(move |open| {
        if !bytes.get(open + 1).is_some_and(u8::is_ascii_uppercase) {
            return None;
        }
        let mut plain = String::from("[");
        for &byte in bytes[open + 1..].iter() {
            match byte {
                b'A'..=b'Z' | b'0'..=b'9' | b'_' => plain.push(char::from(byte)),
                b'\\' => {}
                b']' => {
                    plain.push(']');
                    return Some(plain);
                }
                _ => return None,
            }
            if plain.len() > EntityType::MAX_BYTES + LONGEST + 3 {
                return None;
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PlaceholderKey {
        PlaceholderKey::new([7; 32])
    }

    fn made(entity: &str, value: &str) -> String {
        let entity = entity.parse().unwrap();
        key().suffix(&entity, value).placeholder(&entity, SHORTEST)
    }

    #[test]
    fn the_derivation_is_fixed() {
        // Replicas of different versions must agree, so these may never change.
        assert_eq!(made("EMAIL", "jane@example.com"), "[EMAIL_1HE2]");
        assert_eq!(
            made("SECRET.AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
            "[AWS_ACCESS_KEY_0YNZ]"
        );
    }

    #[test]
    fn value_entity_and_key_all_matter() {
        let email: EntityType = "EMAIL".parse().unwrap();
        let other = PlaceholderKey::new([8; 32]);
        assert_ne!(made("EMAIL", "a@x.io"), made("EMAIL", "b@x.io"));
        assert_ne!(made("EMAIL", "a@x.io")[6..], made("PHONE", "a@x.io")[6..]);
        assert_ne!(
            made("EMAIL", "a@x.io"),
            other.suffix(&email, "a@x.io").placeholder(&email, SHORTEST)
        );
    }

    #[test]
    fn a_confidential_set_is_not_named() {
        assert!(made("CONFIDENTIAL.PROJECT_FALCON", "x").starts_with("[CONFIDENTIAL_"));
    }

    #[test]
    fn base32_matches_known_values() {
        let mut bytes = [0; 32];
        bytes[..5].copy_from_slice(b"hello");
        assert_eq!(&base32(&bytes)[..8], b"D1JPRV3F");
        assert_eq!(base32(&[0xff; 32])[51], b'G');
    }

    #[test]
    fn keys_have_32_bytes_and_do_not_print() {
        assert!(PlaceholderKey::try_from([1_u8; 31].as_slice()).is_err());
        let key = PlaceholderKey::try_from([1_u8; 32].as_slice()).unwrap();
        assert_eq!(format!("{key:?}"), "PlaceholderKey");
    }

    #[test]
    fn look_alikes_are_seen_through_markdown() {
        let found: Vec<String> =
            look_alikes(r"a [EMAIL_K7QX] [[X_1]] \[PHONE\_ABCD\] [no] [UNCLOSED [Y_2] [").collect();
        assert_eq!(found, ["[EMAIL_K7QX]", "[X_1]", "[PHONE_ABCD]", "[Y_2]"]);
    }
}
