use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// What was found: `EMAIL`, `SECRET.AWS_ACCESS_KEY`, `CONFIDENTIAL.FAB_PROCESS`.
///
/// Upper-case words of `A-Z 0-9 _` joined by `.`, at most 64 bytes; the part before the first dot is
/// the family that rules can speak of.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntityType(Arc<str>);

impl EntityType {
    /// The longest name.
    pub const MAX_BYTES: usize = 64;

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot: `SECRET` of `SECRET.JWT`.
    #[must_use]
    pub fn family(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// Whether this is `other` or lies under it: `SECRET.JWT` is within `SECRET` and `SECRET.JWT`.
    #[must_use]
    pub fn is_within(&self, other: &str) -> bool {
        self.0
            .strip_prefix(other)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A name that is not an entity type's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no entity type: write upper-case words of A-Z, 0-9 and _ joined by dots, 64 bytes at most")]
pub struct InvalidEntityType(String);

impl FromStr for EntityType {
    type Err = InvalidEntityType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_uppercase())
                && w.bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if name.len() <= Self::MAX_BYTES && name.split('.').all(word) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidEntityType(name.chars().take(Self::MAX_BYTES).collect()))
        }
    }
}

impl TryFrom<String> for EntityType {
    type Error = InvalidEntityType;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<EntityType> for String {
    fn from(entity: EntityType) -> Self {
        entity.0.as_ref().to_owned()
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_and_refuses_others() {
        for good in ["EMAIL", "SECRET.AWS_ACCESS_KEY", "CONFIDENTIAL.FAB2"] {
            assert_eq!(good.parse::<EntityType>().unwrap().as_str(), good);
        }
        for bad in ["", "email", "SECRET.", ".JWT", "A B", "2X", "É"] {
            assert!(bad.parse::<EntityType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn family_covers_its_members_only() {
        let jwt: EntityType = "SECRET.JWT".parse().unwrap();
        assert_eq!(jwt.family(), "SECRET");
        assert!(jwt.is_within("SECRET") && jwt.is_within("SECRET.JWT"));
        assert!(!jwt.is_within("SEC") && !jwt.is_within("SECRET.JW"));
    }
}
