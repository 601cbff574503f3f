use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a rule does about an exchange or a finding, mildest first: the order decides which of
/// several actions stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing; the exchange goes on.
    Allow,
    /// It goes on, and the record says that somebody should look.
    Alert,
    /// Each finding is replaced by a placeholder.
    Redact,
    /// It is answered by the engine instead of the upstream that was asked for.
    Reroute,
    /// It is refused with advice; the caller may send it again with an acknowledgement.
    Coach,
    /// It is refused.
    Block,
}

impl Action {
    /// The name used in policy files, headers, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Alert => "alert",
            Self::Redact => "redact",
            Self::Reroute => "reroute",
            Self::Coach => "coach",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was decided about one finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Index into the exchange's findings.
    pub finding: usize,
    /// The action of the first rule that matched it.
    pub action: Action,
    /// That rule's id.
    pub rule: Arc<str>,
}

/// The one decision over an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The strictest action of all that apply.
    pub action: Action,
    /// The rule that gave it; `default` when none matched.
    pub rule: Arc<str>,
    /// One verdict a finding, in the order of the findings.
    pub verdicts: Vec<Verdict>,
    /// The rule's advice to the caller, in the security team's words, where it has any.
    pub advice: Option<Arc<str>>,
    /// Name of the upstream that is to answer, as the configuration spells it.
    pub upstream: Arc<str>,
}
