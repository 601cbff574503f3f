//! What is inside of the sealed bytes that travel beside an entry, for the store that puts each where it belongs.
//!
//! An attachment is `version (1 byte) | kind (1 byte) | fields`; a field of variable length has its length before it as four bytes, big-endian,
//! as all numbers are. It holds nothing readable but ids, names of entity types, and the pseudonymous reference of a subject.
//!
//! Limits: those of the spool for the whole; 4,096 values, 64 KiB a wrapped key or a sealed name.
//!
//! On failure: [`InvalidAttachment`] for bytes that are not exactly one attachment; no bytes make it panic.

use std::fmt;

use cordon_domain::EntityType;
use uuid::Uuid;

use crate::{
    blind::BlindValue,
    commitment::Part,
    record::{EntryHash, NamedKey, TreeName},
};

const VERSION: u8 = 1;
const PAYLOAD: u8 = 1;
const SUBJECT_KEY: u8 = 2;
const VALUES: u8 = 3;
const MAX_VALUES: usize = 4096;
const MAX_KEY_BYTES: usize = 64 << 10;
const MAX_NAME_BYTES: usize = 128;

/// What travels beside an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A part of the exchange, sealed.
    Payload(SealedPart),
    /// The key that payloads of a subject open under, wrapped by the tenant's key.
    SubjectKey(WrappedKey),
    /// What was found in the exchange, for the blind index.
    Values(Vec<(EntityType, BlindValue)>),
}

/// A part of an exchange, sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPart {
    /// The subject's key that it opens under.
    pub key: Uuid,
    /// Which part it is.
    pub part: Part,
    /// What [`open`](crate::payload::open) opens.
    pub sealed: Vec<u8>,
}

/// A subject's key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Its id.
    pub id: Uuid,
    /// Whose key wraps it.
    pub tenant: String,
    /// Whose it is: a pseudonymous reference.
    pub subject: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// The key, wrapped by the tenant's.
    pub wrapped: Vec<u8>,
    /// The subject's name, sealed under the key.
    pub name: Vec<u8>,
}

impl WrappedKey {
    /// What records say of it.
    #[must_use]
    pub fn named(&self) -> NamedKey {
        NamedKey {
            id: self.id,
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            made: self.created_at,
            sha256: EntryHash::of(&Attachment::SubjectKey(self.clone()).encode()),
        }
    }
}

impl fmt::Debug for SealedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPart")
            .field("key", &self.key)
            .field("part", &self.part)
            .field("sealed_bytes", &self.sealed.len())
            .finish()
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Bytes that are no attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an attachment of an audit entry")]
pub struct InvalidAttachment;

impl Attachment {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        match self {
            Self::Payload(SealedPart { key, part, sealed }) => {
                bytes.push(PAYLOAD);
                bytes.extend_from_slice(key.as_bytes());
                bytes.push(match part {
                    Part::Request => 0,
                    Part::Reply => 1,
                });
                field(&mut bytes, sealed);
            }
            Self::SubjectKey(WrappedKey {
                id,
                tenant,
                subject,
                created_at,
                wrapped,
                name,
            }) => {
                bytes.push(SUBJECT_KEY);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&created_at.to_be_bytes());
                for part in [tenant.as_bytes(), subject.as_bytes(), wrapped, name] {
                    field(&mut bytes, part);
                }
            }
            Self::Values(values) => {
                bytes.push(VALUES);
                let values = &values[..values.len().min(MAX_VALUES)];
                bytes.extend_from_slice(&length(values.len()));
                for (entity, value) in values {
                    field(&mut bytes, entity.as_str().as_bytes());
                    bytes.extend_from_slice(value.bytes());
                }
            }
        }
        bytes
    }

    /// Whether bytes are of a subject's key, as far as their beginning tells.
    pub(crate) fn is_key(bytes: &[u8]) -> bool {
        bytes.starts_with(&[VERSION, SUBJECT_KEY])
    }

    /// The attachment that bytes are.
    ///
    /// # Errors
    /// When they are none, or more than one.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAttachment> {
        let mut rest = Rest(bytes);
        if rest.byte()? != VERSION {
            return Err(InvalidAttachment);
        }
        let attachment = match rest.byte()? {
            PAYLOAD => Self::Payload(SealedPart {
                key: rest.uuid()?,
                part: match rest.byte()? {
                    0 => Part::Request,
                    1 => Part::Reply,
                    _ => return Err(InvalidAttachment),
                },
                sealed: rest.field(usize::MAX)?.to_vec(),
            }),
            SUBJECT_KEY => {
                let id = rest.uuid()?;
                let created_at = u64::from_be_bytes(rest.array()?);
                let tenant = rest.text(MAX_NAME_BYTES)?;
                TreeName::new(&tenant, "standard").map_err(|_| InvalidAttachment)?;
                Self::SubjectKey(WrappedKey {
                    id,
                    tenant,
                    subject: rest.text(MAX_NAME_BYTES)?,
                    created_at,
                    wrapped: rest.field(MAX_KEY_BYTES)?.to_vec(),
                    name: rest.field(MAX_KEY_BYTES)?.to_vec(),
                })
            }
            VALUES => {
                let count = usize::try_from(u32::from_be_bytes(rest.array()?)).unwrap_or(usize::MAX);
                if count > MAX_VALUES {
                    return Err(InvalidAttachment);
                }
                let value = |_| {
                    let entity = rest.text(EntityType::MAX_BYTES)?;
                    let entity = entity.parse().map_err(|_| InvalidAttachment)?;
                    Ok((entity, BlindValue::from_bytes(rest.array()?)))
                };
                Self::Values((0..count).map(value).collect::<Result<_, _>>()?)
            }
            _ => return Err(InvalidAttachment),
        };
        if rest.0.is_empty() {
            Ok(attachment)
        } else {
            Err(InvalidAttachment)
        }
    }
}

fn length(length: usize) -> [u8; 4] {
    // Nothing near it passes the spool's limits.
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn field(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend_from_slice(&length(content.len()));
    bytes.extend_from_slice(content);
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], InvalidAttachment> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(InvalidAttachment)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidAttachment> {
        self.take(N)?.try_into().map_err(|_| InvalidAttachment)
    }

    fn byte(&mut self) -> Result<u8, InvalidAttachment> {
        self.array().map(|[byte]| byte)
    }

    fn uuid(&mut self) -> Result<Uuid, InvalidAttachment> {
        self.array().map(Uuid::from_bytes)
    }

    fn field(&mut self, most: usize) -> Result<&'a [u8], InvalidAttachment> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| InvalidAttachment)?;
        if length > most {
            return Err(InvalidAttachment);
        }
        self.take(length)
    }

    fn text(&mut self, most: usize) -> Result<String, InvalidAttachment> {
        let text = std::str::from_utf8(self.field(most)?).map_err(|_| InvalidAttachment)?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> Vec<Attachment> {
        vec![
            Attachment::Payload(SealedPart {
                key: Uuid::from_u128(7),
                part: Part::Reply,
                sealed: vec![1, 2, 3],
            }),
            Attachment::SubjectKey(WrappedKey {
                id: Uuid::from_u128(8),
                tenant: "default".into(),
                subject: "p-00".into(),
                created_at: 1_700_000_000_000,
                wrapped: vec![9; 60],
                name: vec![4; 40],
            }),
            Attachment::Values(vec![
                ("EMAIL".parse().unwrap(), BlindValue::from_bytes([5; 16])),
                ("SECRET.JWT".parse().unwrap(), BlindValue::from_bytes([6; 16])),
            ]),
        ]
    }

    #[test]
    fn attachments_read_back_whole_or_not_at_all() {
        for attachment in samples() {
            let bytes = attachment.encode();
            assert_eq!(Attachment::parse(&bytes), Ok(attachment.clone()));
            for end in 0..bytes.len() {
                assert_eq!(
                    Attachment::parse(&bytes[..end]),
                    Err(InvalidAttachment),
                    "cut at {end}"
                );
            }
            assert_eq!(
                Attachment::parse(&[bytes, vec![0]].concat()),
                Err(InvalidAttachment)
            );
            assert!(!format!("{attachment:?}").contains("p-00"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_reads_is_written_the_same(
            which in 0..4usize, at in any::<prop::sample::Index>(), with in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = samples().get(which).map_or(noise, Attachment::encode);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
            if let Ok(attachment) = Attachment::parse(&bytes) {
                prop_assert_eq!(attachment.encode(), bytes);
            }
        }
    }
}
