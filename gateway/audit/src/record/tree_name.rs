//! Which tree an entry becomes a leaf of: one for each tenant and retention class.
//!
//! Limits: a name has 1 to 32 bytes of `a-z`, `0-9`, `.`, `_` and `-`, and begins with a letter or a digit, so that it can stand in a path,
//! a URL and an origin line as it is. It does not end in `_` and eight digits, as a partition's name does. The defaults are written as absence, so each tree has one spelling.
//!
//! On failure: [`InvalidTreeName`], which does not repeat the text.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};

const MAX_BYTES: usize = 32;
const DEFAULT_TENANT: &str = "default";
const DEFAULT_CLASS: &str = "standard";
const GOVERNANCE: &str = "governance";

/// A tenant and a retention class.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeName {
    /// None is the default; the same of the class.
    tenant: Option<Arc<str>>,
    class: Option<Arc<str>>,
}

/// Text that cannot name a tenant or a retention class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant or retention class has 1 to 32 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first"
)]
pub struct InvalidTreeName;

impl TreeName {
    /// The tree of a tenant and a retention class.
    ///
    /// # Errors
    /// When one of the names is not valid.
    pub fn new(tenant: &str, class: &str) -> Result<Self, InvalidTreeName> {
        if !(is_valid(tenant) && is_valid(class)) {
            return Err(InvalidTreeName);
        }
        Ok(Self {
            tenant: (tenant != DEFAULT_TENANT).then(|| tenant.into()),
            class: (class != DEFAULT_CLASS).then(|| class.into()),
        })
    }

    /// The tree of what happened to the gateway and to the audit itself: starts, reloads, searches, erasures, what was pruned. It is never
    /// pruned, as it says why other records are not there.
    #[must_use]
    pub fn governance() -> Self {
        Self {
            tenant: None,
            class: Some(GOVERNANCE.into()),
        }
    }

    /// The tenant's name.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }

    /// The retention class's name.
    #[must_use]
    pub fn class(&self) -> &str {
        self.class.as_deref().unwrap_or(DEFAULT_CLASS)
    }

    /// The two names as an entry holds them: none where it is the default.
    pub(crate) fn spelled(&self) -> [Option<String>; 2] {
        [&self.tenant, &self.class].map(|name| name.as_deref().map(str::to_owned))
    }

    /// The tree of names that were [`spelled`](Self::spelled).
    pub(crate) fn from_spelled(tenant: Option<&str>, class: Option<&str>) -> Self {
        Self {
            tenant: tenant.map(Into::into),
            class: class.map(Into::into),
        }
    }
}

/// The class of one that is spelled.
pub(super) fn class_of(spelled: Option<&str>) -> &str {
    spelled.unwrap_or(DEFAULT_CLASS)
}

fn is_valid(name: &str) -> bool {
    // A class that ends like a day would have the name of another class's partition.
    let ends_like_a_day = name
        .rsplit_once('_')
        .is_some_and(|(_, day)| day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit()));
    !ends_like_a_day
        && (1..=MAX_BYTES).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// A tenant in an entry. A default that is spelled out is refused: an entry has one form.
pub(crate) fn spelled_tenant<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    spelled(from, DEFAULT_TENANT)
}

/// A retention class in an entry, with the same rule.
pub(crate) fn spelled_class<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    spelled(from, DEFAULT_CLASS)
}

fn spelled<'de, D: Deserializer<'de>>(from: D, default: &str) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    if is_valid(&name) && name != default {
        Ok(Some(name))
    } else {
        Err(de::Error::custom(InvalidTreeName))
    }
}

impl fmt::Display for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant(), self.class())
    }
}

impl fmt::Debug for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_defaults_are_absence() {
        assert_eq!(TreeName::default().to_string(), "default/standard");
        assert_eq!(TreeName::new("default", "standard"), Ok(TreeName::default()));
        assert_eq!(TreeName::default().spelled(), [None, None]);
        let tree = TreeName::new("emea.sales_1", "6-months").unwrap();
        assert_eq!((tree.tenant(), tree.class()), ("emea.sales_1", "6-months"));
        let [tenant, class] = tree.spelled();
        assert_eq!(TreeName::from_spelled(tenant.as_deref(), class.as_deref()), tree);
        let long = "a".repeat(33);
        for bad in [
            "",
            "standard_20270101",
            "A",
            "a/b",
            "..",
            ".a",
            "-a",
            "ä",
            "a b",
            "a\0",
            long.as_str(),
        ] {
            assert_eq!(TreeName::new(bad, "standard"), Err(InvalidTreeName), "{bad:?}");
            assert_eq!(TreeName::new("default", bad), Err(InvalidTreeName), "{bad:?}");
        }
        assert!(TreeName::new(&long[1..], "standard").is_ok());
    }
}
