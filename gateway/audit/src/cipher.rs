//! AES-256-GCM with what a ciphertext belongs to bound into it.
//!
//! A sealed text is `nonce (12 bytes) | ciphertext | tag (16 bytes)`. Nonces are random, which a key of ours never outlives: a record's key seals
//! two texts, a subject's some thousands, a tenant's as many keys as it has subjects and hours.
//!
//! On failure: [`NotOpened`] says no more than that, as a wrong key, a wrong place and an altered byte cannot be told apart.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;
/// Bytes that sealing adds.
pub(crate) const ADDED_BYTES: usize = NONCE_BYTES + 16;

/// The system gives no random bytes, or the text is beyond all limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be sealed: the system gives no random bytes")]
pub struct NotSealed;

/// A sealed text does not open: another key, another place, or altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not open: it was sealed under another key or for another place, or was altered")]
pub struct NotOpened;

/// A key that seals.
pub(crate) struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// A fresh one.
    pub(crate) fn fresh() -> Result<Self, NotSealed> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut()).map_err(|_| NotSealed)?;
        Ok(Self(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a text for the place that `bound` names.
    pub(crate) fn seal(&self, bound: &[u8], text: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let mut sealed = Zeroizing::new(text.to_vec());
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(bound), &mut *sealed)
            .map_err(|_| NotSealed)?;
        Ok([nonce.as_ref(), sealed.as_slice()].concat())
    }

    /// Opens what was sealed for that place.
    pub(crate) fn open(&self, bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(NotOpened)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened = self
            .cipher()
            .open_in_place(Nonce::from(nonce), Aad::from(bound), &mut text)
            .map_err(|_| NotOpened)?
            .len();
        text.truncate(opened);
        Ok(text)
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).expect("the key has the length of AES-256")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// What a ciphertext belongs to, as bytes: no part can be taken for the end of another.
pub(crate) fn bound(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_key_in_its_place_unaltered() {
        let (key, other) = (SecretKey::fresh().unwrap(), SecretKey::fresh().unwrap());
        let place = bound("a", &[b"b", b"c"]);
        let sealed = key.seal(&place, b"text").unwrap();
        assert_eq!(sealed.len(), 4 + ADDED_BYTES);
        assert_ne!(sealed, key.seal(&place, b"text").unwrap());
        assert_eq!(key.open(&place, &sealed).unwrap().as_slice(), b"text");
        assert_eq!(other.open(&place, &sealed), Err(NotOpened));
        assert_eq!(key.open(&bound("a", &[b"bc", b""]), &sealed), Err(NotOpened));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(&place, &altered), Err(NotOpened), "byte {at}");
            assert_eq!(key.open(&place, &sealed[..at]), Err(NotOpened), "cut at {at}");
        }
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }
}
