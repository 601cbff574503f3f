use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of an exchange its records keep. Each level keeps what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditLevel {
    /// That there was an exchange.
    None,
    /// Who, where, under which rule, and how many of which entity types.
    #[default]
    Metadata,
    /// Also the texts, sealed, with what policy took out of them taken out.
    Redacted,
    /// The texts as they came and went, sealed.
    Full,
}

impl AuditLevel {
    /// The name in policies and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for AuditLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
