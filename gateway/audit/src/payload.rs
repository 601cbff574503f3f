//! Parts of an exchange, sealed for whoever may reveal them, and what the record says of them.
//!
//! A part is compressed (zstd) behind 32 random bytes, its salt, and sealed with AES-256-GCM under a key of its own, which is sealed under the subject's
//! key. Both are bound to tenant, writer, exchange, part, level and subject's key, so that neither opens anywhere else. The
//! record holds HMAC-SHA256 of the text under the salt: that binds the text to the record, and so to its sequence, and tells nothing once the
//! salt is gone with the keys. So erasing leaves every proof valid, and nothing to try a guess against. The record also holds SHA-256 of the
//! sealed bytes, by which [`verify`](crate::verify()) tells, without a key, whether they are still the ones that were sealed.
//!
//! Sealed: `version (1 byte) | record's key, sealed | salt and compressed text, sealed`.
//!
//! Limits: [`MAX_PAYLOAD_BYTES`] of text a part.
//!
//! On failure: [`PayloadError`], which quotes nothing.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use bytes::Bytes;
use cordon_domain::{AuditLevel, ExchangeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    attachment::SealedPart,
    cipher::{ADDED_BYTES, NotOpened, NotSealed, SecretKey, bound},
    commitment::Part,
    record::{Body, Entry, EntryHash, WriterId},
    subject::SubjectKey,
};

/// The most of a part that is sealed.
pub const MAX_PAYLOAD_BYTES: usize = 4 << 20;
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const WRAPPED_BYTES: usize = 32 + ADDED_BYTES;
/// zstd's own default: a few milliseconds a megabyte.
const EFFORT: i32 = 3;

/// A part of an exchange on its way into the record.
#[derive(Clone)]
pub struct Payload {
    /// Which part.
    pub part: Part,
    /// In which state.
    pub level: AuditLevel,
    /// Its bytes, or as many from its beginning as are kept.
    pub text: Bytes,
    /// How many there were.
    pub bytes: u64,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("part", &self.part)
            .field("level", &self.level)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What a record says of a part that is kept sealed beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPayload {
    /// Which part.
    pub part: Part,
    /// In which state.
    pub level: AuditLevel,
    /// How many bytes there were.
    pub bytes: u64,
    /// Whether only the beginning is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// HMAC-SHA256 of what is kept, in hex, under a salt that is sealed with it.
    pub commitment: String,
    /// SHA-256 of the sealed bytes, so that it shows without a key when others stand in their place. Records of before there was this
    /// field say nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<EntryHash>,
}

/// A payload cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The record has no such part.
    #[error("the record says nothing of such a payload")]
    NotRecorded,
    /// It is of a form that no version of Cordon wrote.
    #[error("the sealed payload is of an unknown form")]
    Form,
    /// It does not open.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// It opens, and is not what the record says.
    #[error("the payload is not the one that the record commits to")]
    NotCommitted,
}

/// What a payload belongs to.
struct Place<'a> {
    tenant: &'a str,
    writer: WriterId,
    exchange: ExchangeId,
    part: Part,
    level: AuditLevel,
    key: &'a SubjectKey,
}

impl Place<'_> {
    fn bound(&self, label: &str) -> Vec<u8> {
        let (writer, exchange, key) = (self.writer.as_uuid(), self.exchange.as_uuid(), self.key.id());
        bound(
            label,
            &[
                self.tenant.as_bytes(),
                writer.as_bytes(),
                exchange.as_bytes(),
                self.part.name().as_bytes(),
                self.level.name().as_bytes(),
                key.as_bytes(),
            ],
        )
    }

    fn of_record_key(&self) -> Vec<u8> {
        self.bound("cordon record key v1")
    }

    fn of_text(&self) -> Vec<u8> {
        self.bound("cordon payload v1")
    }
}

/// Seals a part of an exchange for the record of a writer.
pub(crate) fn seal(
    payload: &Payload,
    writer: WriterId,
    exchange: ExchangeId,
    key: &SubjectKey,
) -> Result<(KeptPayload, SealedPart), NotSealed> {
    let text = &payload.text[..payload.text.len().min(MAX_PAYLOAD_BYTES)];
    let mut salt = Zeroizing::new([0; SALT_BYTES]);
    getrandom::fill(salt.as_mut()).map_err(|_| NotSealed)?;
    let compressed = Zeroizing::new(zstd::bulk::compress(text, EFFORT).map_err(|_| NotSealed)?);
    let salted = Zeroizing::new([salt.as_slice(), &compressed].concat());
    let place = Place {
        tenant: key.tenant(),
        writer,
        exchange,
        part: payload.part,
        level: payload.level,
        key,
    };
    let record_key = SecretKey::fresh()?;
    let mut sealed = vec![VERSION];
    sealed.extend(key.secret().seal(&place.of_record_key(), record_key.bytes())?);
    sealed.extend(record_key.seal(&place.of_text(), &salted)?);
    let kept = KeptPayload {
        part: payload.part,
        level: payload.level,
        bytes: payload.bytes,
        cut: (text.len() as u64) < payload.bytes,
        commitment: hex::encode(commitment(salt.as_slice(), text)),
        sealed: Some(EntryHash::of(&sealed)),
    };
    let sealed = SealedPart {
        key: key.id(),
        part: payload.part,
        sealed,
    };
    Ok((kept, sealed))
}

/// What was sealed beside a record, if it is what the record commits to.
///
/// # Errors
/// When it is not, does not open, or belongs elsewhere.
pub fn open(
    entry: &Entry,
    sealed: &SealedPart,
    key: &SubjectKey,
) -> Result<Zeroizing<Vec<u8>>, PayloadError> {
    let kept = match &entry.body {
        Body::Intent(intent) => &intent.payload,
        Body::Seal(seal) => &seal.payload,
        _ => return Err(PayloadError::NotRecorded),
    };
    let kept = kept.as_deref().filter(|kept| kept.part == sealed.part);
    let (Some(kept), Some(exchange)) = (kept, entry.body.exchange()) else {
        return Err(PayloadError::NotRecorded);
    };
    let tree = entry.tree();
    let place = Place {
        tenant: tree.tenant(),
        writer: entry.writer,
        exchange,
        part: kept.part,
        level: kept.level,
        key,
    };
    let (version, rest) = sealed.sealed.split_first().ok_or(PayloadError::Form)?;
    if *version != VERSION {
        return Err(PayloadError::Form);
    }
    let (wrapped, rest) = rest.split_at_checked(WRAPPED_BYTES).ok_or(PayloadError::Form)?;
    let record_key = key.secret().open(&place.of_record_key(), wrapped)?;
    let record_key = SecretKey::from_slice(&record_key).ok_or(PayloadError::Form)?;
    let salted = record_key.open(&place.of_text(), rest)?;
    let (salt, compressed) = salted.split_at_checked(SALT_BYTES).ok_or(PayloadError::Form)?;
    let text = zstd::bulk::decompress(compressed, MAX_PAYLOAD_BYTES).map_err(|_| PayloadError::Form)?;
    let text = Zeroizing::new(text);
    let committed = hex::encode(commitment(salt, &text));
    // Both are known to whoever may call this; comparing takes as long all the same.
    constant_time::verify_slices_are_equal(committed.as_bytes(), kept.commitment.as_bytes())
        .map_err(|_| PayloadError::NotCommitted)?;
    Ok(text)
}

fn commitment(salt: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{EntryHash, samples};

    fn key() -> SubjectKey {
        SubjectKey::fresh("default", "p-1").unwrap()
    }

    fn payload(text: &[u8], level: AuditLevel) -> Payload {
        Payload {
            part: Part::Request,
            level,
            text: Bytes::copy_from_slice(text),
            bytes: text.len() as u64,
        }
    }

    /// An intent with a payload beside it.
    fn sealed(text: &[u8], key: &SubjectKey) -> (Entry, SealedPart) {
        let exchange = ExchangeId::new();
        let mut intent = samples::intent(exchange);
        let mut entry = samples::entry(1, EntryHash::GENESIS, Body::Intent(intent.clone()));
        let (kept, sealed) = seal(&payload(text, AuditLevel::Full), entry.writer, exchange, key).unwrap();
        intent.payload = Some(Box::new(kept));
        entry.body = Body::Intent(intent);
        (entry, sealed)
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_beside_its_record(text in prop::collection::vec(any::<u8>(), 0..5000)) {
            let key = key();
            let (entry, sealed) = sealed(&text, &key);
            let opened = open(&entry, &sealed, &key).unwrap();
            prop_assert_eq!(opened.as_slice(), text.as_slice());
        }
    }

    #[test]
    fn it_opens_under_no_other_key_beside_no_other_record_and_not_altered() {
        let key = key();
        let (entry, one) = sealed(b"the same text", &key);
        let (other_entry, two) = sealed(b"the same text", &key);
        let not_opened = Err(PayloadError::NotOpened(NotOpened));
        assert_eq!(open(&entry, &two, &key), not_opened, "swapped between exchanges");
        assert_eq!(open(&other_entry, &one, &key), not_opened);
        let stranger = SubjectKey::fresh("default", "p-1").unwrap();
        assert_eq!(
            open(&entry, &one, &stranger),
            not_opened,
            "another key of the subject"
        );
        for (tenant, writer) in [(Some("emea"), entry.writer), (None, WriterId::new())] {
            let moved = Entry {
                tenant: tenant.map(str::to_owned),
                writer,
                ..entry.clone()
            };
            assert_eq!(open(&moved, &one, &key), not_opened);
        }
        for at in 0..one.sealed.len() {
            let mut altered = one.clone();
            altered.sealed[at] ^= 1;
            assert!(open(&entry, &altered, &key).is_err(), "byte {at}");
            altered.sealed.truncate(at);
            assert!(open(&entry, &altered, &key).is_err(), "cut at {at}");
        }
        let reply = SealedPart {
            part: Part::Reply,
            ..one.clone()
        };
        assert_eq!(open(&entry, &reply, &key), Err(PayloadError::NotRecorded));
        assert!(!format!("{one:?}").contains("the same"));
    }

    #[test]
    fn what_another_record_of_the_exchange_commits_to_is_refused() {
        let key = key();
        let (mut entry, first) = sealed(b"said at first", &key);
        let exchange = entry.body.exchange().unwrap();
        let (kept, _) = seal(
            &payload(b"said later", AuditLevel::Full),
            entry.writer,
            exchange,
            &key,
        )
        .unwrap();
        if let Body::Intent(intent) = &mut entry.body {
            intent.payload = Some(Box::new(kept));
        }
        assert_eq!(open(&entry, &first, &key), Err(PayloadError::NotCommitted));
    }

    #[test]
    fn equal_texts_do_not_show() {
        let key = key();
        let exchange = ExchangeId::new();
        let once = || {
            seal(
                &payload(b"text", AuditLevel::Redacted),
                WriterId::from(uuid::Uuid::nil()),
                exchange,
                &key,
            )
            .unwrap()
        };
        let ((one, a), (two, b)) = (once(), once());
        assert_ne!(one.commitment, two.commitment);
        assert_ne!(a.sealed, b.sealed);
        let cut = Payload {
            bytes: 9,
            ..payload(b"text", AuditLevel::Full)
        };
        let (cut, _) = seal(&cut, WriterId::new(), exchange, &key).unwrap();
        assert!(cut.cut && !one.cut && cut.bytes == 9);
    }
}
