use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of one exchange: a UUIDv7 (RFC 9562) of our own making, so ids sort by time.
///
/// It is sent to the caller as `x-cordon-exchange`, and is never taken from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExchangeId(Uuid);

impl ExchangeId {
    /// A fresh id from the current time and the operating system's randomness.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default id would suggest a fixed value"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID, for stores that have a column type for it.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ExchangeId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl std::str::FromStr for ExchangeId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
