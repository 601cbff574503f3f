//! The blind index: who sent this customer number, and where, without the number being anywhere.
//!
//! What stands in the store for a value is HMAC-SHA256 of its entity type and its normal form, cut to 16 bytes, under a key that is
//! derived from the installation's. Without the key nothing can be tried out against the index; with it, and only through Cordon,
//! one value can be looked for at a time.
//!
//! Whoever may look values up could try a whole domain if it were small. So a value is not indexed
//! - if its type is one of few values, or of values that are public or no identifiers: dates, ages, genders, countries, places, names,
//!   codes of banks and papers, passwords, hosts and paths, source code, texts ([`OF_SMALL_DOMAINS`]);
//! - if it has fewer than seven letters or digits, whatever its type: that leaves ten million values at least, which at
//!   twenty look-ups an hour takes half a century.
//!
//! Normal forms: e-mail addresses and hexadecimal wallets in lower case, credentials and other wallets as they are, all else as capital letters and digits
//! (telephone numbers without the zeros of an international prefix), so that blanks, dots and dashes between do not matter; each after NFKC.

use std::fmt;

use cordon_domain::EntityType;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::commitment::CommitmentKey;

/// Letters and digits that a value needs.
const LEAST: usize = 7;
/// Longer ones are texts.
const MOST_BYTES: usize = 512;

/// Entity types, and families of them, that are never indexed.
const OF_SMALL_DOMAINS: &[&str] = &[
    "ABA_ROUTING_NUMBER",
    "ADDRESS",
    "AGE",
    "AU_BSB",
    "CARD_EXPIRY",
    "CARD_VERIFICATION",
    "CA_TRANSIT_NUMBER",
    "CITY",
    "CONFIDENTIAL",
    "COUNTRY",
    "CUSIP",
    "DATE",
    "DATE_OF_BIRTH",
    "GENDER",
    "GEO_COORDINATES",
    "INTERNAL",
    "IN_IFSC",
    "IP_ADDRESS",
    "ISIN",
    "LEI",
    "LOCATION",
    "NATIONALITY",
    "ORGANIZATION",
    "PERSON",
    "POSTAL_CODE",
    "SECRET.BASIC_AUTH",
    "SECRET.PASSWORD",
    "SEDOL",
    "SOURCE_CODE",
    "SWIFT_CODE",
    "TIME",
    "UK_SORT_CODE",
    "URL",
];

/// What stands in the index for a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlindValue([u8; 16]);

impl BlindValue {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// As the store's columns hold it: its bits have no meaning of a UUID's.
    #[must_use]
    pub fn as_uuid(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for BlindValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindValue(..)")
    }
}

/// Why a value is not in the index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIndexed {
    /// Its type has too few values, or values that identify nobody.
    #[error(
        "values of {0} are not indexed: there are too few of them, or they are known to everybody, so that all could be tried"
    )]
    Type(EntityType),
    /// It is short enough to be tried out, or too long to be one value.
    #[error("a value is indexed if it has from {LEAST} letters or digits to {MOST_BYTES} bytes")]
    Length,
}

/// The key of the index.
#[derive(Clone, Debug)]
pub struct BlindKey(CommitmentKey);

impl BlindKey {
    /// The index's key of an installation.
    #[must_use]
    pub fn of(key: &CommitmentKey) -> Self {
        Self(key.derive("cordon blind index key v1"))
    }

    /// What stands in the index for a value of an entity type.
    ///
    /// # Errors
    /// When such a value is not indexed.
    pub fn value(&self, entity: &EntityType, value: &str) -> Result<BlindValue, NotIndexed> {
        if OF_SMALL_DOMAINS.iter().any(|small| entity.is_within(small)) {
            return Err(NotIndexed::Type(entity.clone()));
        }
        if value.len() > MOST_BYTES {
            return Err(NotIndexed::Length);
        }
        let normal = normal(entity, value);
        if normal.chars().filter(|c| c.is_alphanumeric()).count() < LEAST {
            return Err(NotIndexed::Length);
        }
        let tag = self.0.digest(
            "cordon blind index v1",
            &[entity.as_str().as_bytes(), normal.as_bytes()],
        );
        let mut bytes = [0; BlindValue::BYTES];
        bytes.copy_from_slice(&tag.as_ref()[..BlindValue::BYTES]);
        Ok(BlindValue(bytes))
    }
}

/// The form in which all spellings of a value are the same.
fn normal(entity: &EntityType, value: &str) -> Zeroizing<String> {
    let whole: Zeroizing<String> = Zeroizing::new(value.nfkc().collect());
    let trimmed = whole.trim();
    let name = entity.as_str();
    Zeroizing::new(match name {
        "EMAIL" => trimmed.to_lowercase(),
        "CRYPTO_WALLET" if trimmed.starts_with("0x") || trimmed.starts_with("0X") => trimmed.to_lowercase(),
        "CRYPTO_WALLET" => trimmed.to_owned(),
        "PHONE" => {
            let digits: String = trimmed.chars().filter(char::is_ascii_digit).collect();
            digits.strip_prefix("00").unwrap_or(&digits).to_owned()
        }
        _ if entity.is_within("SECRET") => trimmed.to_owned(),
        _ => trimmed
            .chars()
            .flat_map(char::to_uppercase)
            // Behind it, as a capital may come with a mark of its own.
            .filter(|c| c.is_alphanumeric())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> BlindKey {
        BlindKey::of(&CommitmentKey::from_bytes([3; 32]))
    }

    fn of(entity: &str, value: &str) -> Result<BlindValue, NotIndexed> {
        key().value(&entity.parse().unwrap(), value)
    }

    #[test]
    fn spellings_of_a_value_are_one_and_values_are_many() {
        for (entity, one, other) in [
            ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
            ("IBAN", "de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
            ("EMAIL", "J.Kim@Example.com ", "j.kim@example.com"),
            ("PHONE", "+49 (30) 901820-1", "0049 30 9018201"),
            ("CUSTOMER.NUMBER", "K-1234567", "k 1234567"),
            ("CREDIT_CARD", "\u{ff14}111111111111111", "4111111111111111"),
        ] {
            assert_eq!(of(entity, one).unwrap(), of(entity, other).unwrap(), "{entity}");
        }
        let card = of("CREDIT_CARD", "4111111111111111").unwrap();
        assert_ne!(card, of("CREDIT_CARD", "4111111111111112").unwrap());
        assert_ne!(card, of("CUSTOMER.NUMBER", "4111111111111111").unwrap());
        let elsewhere = BlindKey::of(&CommitmentKey::from_bytes([4; 32]));
        assert_ne!(
            Ok(card),
            elsewhere.value(&"CREDIT_CARD".parse().unwrap(), "4111111111111111")
        );
        assert_ne!(
            of("SECRET.GITHUB_TOKEN", "ghp_abcdefg").unwrap(),
            of("SECRET.GITHUB_TOKEN", "ghp_ABCDEFG").unwrap()
        );
        assert_eq!(format!("{card:?}"), "BlindValue(..)");
    }

    #[test]
    fn values_of_small_domains_are_refused() {
        for entity in [
            "DATE_OF_BIRTH",
            "PERSON",
            "CONFIDENTIAL.PLANS",
            "SOURCE_CODE",
            "SECRET.PASSWORD",
        ] {
            assert!(
                matches!(of(entity, "a long enough value"), Err(NotIndexed::Type(_))),
                "{entity}"
            );
        }
        assert!(of("SECRET.PASSWORD_HASH", "$2b$12$abcdefgh").is_ok());
        for short in ["", "123456", "1-2-3-4-5-6"] {
            assert_eq!(of("CUSTOMER.NUMBER", short), Err(NotIndexed::Length), "{short}");
        }
        assert_eq!(of("CUSTOMER.NUMBER", &"1".repeat(513)), Err(NotIndexed::Length));
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(value in "\\PC{0,40}", which in 0..5usize) {
            let entity = ["EMAIL", "PHONE", "IBAN", "CRYPTO_WALLET", "SECRET.JWT"][which].parse().unwrap();
            let once = normal(&entity, &value);
            // A telephone number may show another prefix where one was taken off.
            if which != 1 {
                let twice = normal(&entity, &once);
                prop_assert_eq!(once.as_str(), twice.as_str());
            }
        }
    }
}
