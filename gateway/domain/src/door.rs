use std::fmt;

use serde::{Deserialize, Serialize};

/// The listener that an exchange came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The reverse gateway: the caller set Cordon as its base URL.
    Gateway,
    /// The forward proxy: the caller addressed a provider, through us.
    Proxy,
    /// The network sent the caller's connection to us, which knows nothing of it.
    Transparent,
}

impl Door {
    /// The name used in policy files, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Proxy => "proxy",
            Self::Transparent => "transparent",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
