//! The key without which an index tells nothing.

use std::{fmt, hash::Hasher};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::{
    sip::SipHasher24,
    sip128::{Hasher128, SipHasher24 as SipHasher24x128},
};

use super::gram::Channel;

/// What separates the uses of the key.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Letters = 0,
    Code = 1,
    Cell = 2,
    Pair = 3,
    Prefix = 4,
    Row = 5,
}

impl From<Channel> for Use {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Letters => Self::Letters,
            Channel::Code => Self::Code,
        }
    }
}

/// The secret of an installation's fingerprints.
///
/// What an index holds of a text are SipHash-2-4 values under this key, 48 bits of each: without the key nobody can try candidates against them. Names of files are sealed with AES-256-GCM.
pub struct FingerprintKey {
    hashes: [u8; 16],
    digests: [u8; 16],
    seal: LessSafeKey,
}

impl FingerprintKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        let derive = |label: &str| -> [u8; 32] {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
            mac.update(label.as_bytes());
            mac.finalize().into_bytes().into()
        };
        let half = |bytes: [u8; 32]| -> [u8; 16] { std::array::from_fn(|at| bytes[at]) };
        Self {
            hashes: half(derive("hashes")),
            digests: half(derive("digests")),
            seal: LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, &derive("names")).expect("the key has the cipher's length"),
            ),
        }
    }

    /// The keyed hash of an unkeyed one.
    pub(super) fn hash(&self, of: Use, hash: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.hashes);
        hasher.write_u8(of as u8);
        hasher.write_u64(hash);
        hasher.finish()
    }

    /// The keyed hash of bytes.
    pub(super) fn hash_bytes(&self, of: Use, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.hashes);
        hasher.write_u8(of as u8);
        hasher.write(bytes);
        hasher.finish()
    }

    /// A keyed digest of contents, to tell whether a file changed.
    pub(super) fn digest(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24x128::new_with_key(&self.digests);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Seals bytes; `about` is authenticated with them.
    pub(super) fn seal(&self, about: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).expect("the operating system gives random bytes");
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut bytes)
            .expect("the text is shorter than the cipher's limit");
        let mut sealed = nonce.to_vec();
        sealed.append(&mut bytes);
        sealed
    }

    /// Opens what [`seal`](Self::seal) gave; nothing under another key, or when it was altered.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .seal
            .open_in_place(nonce, Aad::from(about), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(plain);
        Some(bytes)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_opens_nothing() {
        let (one, other) = (
            FingerprintKey::from_bytes(&[1; 32]),
            FingerprintKey::from_bytes(&[2; 32]),
        );
        let sealed = one.seal(b"a", b"etch.c".to_vec());
        assert_eq!(one.open(b"a", &sealed).unwrap(), b"etch.c");
        assert!(one.open(b"b", &sealed).is_none());
        assert!(other.open(b"a", &sealed).is_none());
        assert!(one.open(b"a", &sealed[..5]).is_none());
        assert_ne!(one.hash(Use::Code, 7), other.hash(Use::Code, 7));
        assert_ne!(one.hash(Use::Code, 7), one.hash(Use::Letters, 7));
        assert_ne!(one.digest(&[b"a", b"b"]), one.digest(&[b"ab", b""]));
    }
}
