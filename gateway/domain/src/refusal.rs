use crate::{Action, ExchangeId};

/// Whose fault a refusal is, which picks the error type that a dialect shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The policy forbids it.
    Policy,
    /// The request is malformed, too deep, or of a shape nobody inspects.
    Shape,
    /// The caller is not known.
    Identity,
    /// A limit was passed (413).
    Limit,
    /// A body encoding or type that is not inspected (415).
    Encoding,
    /// SNI, CONNECT host and Host disagree (421).
    Misdirected,
    /// The path is not served here (404).
    NotFound,
    /// A protocol that is not inspected was asked for (426).
    Upgrade,
    /// The upstream or the engine failed or is not there (502, 503).
    Upstream,
    /// The exchange cannot be recorded, or something failed inside (500, 503).
    Internal,
}

/// The answer given instead of a reply. A dialect turns it into its own error object.
///
/// The message is made by us from rule names, entity types and counts; it never quotes the
/// request, the upstream, or another error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Whose fault it is.
    pub fault: Fault,
    /// A stable machine-readable code: `cordon_policy_block`, `cordon_body_too_large`, ...
    pub code: &'static str,
    /// What was found and what to do, for a person to read.
    pub message: String,
    /// The action for `x-cordon-decision`.
    pub action: Action,
    /// The exchange it belongs to.
    pub exchange: ExchangeId,
    /// Seconds for `retry-after`, when trying again makes sense.
    pub retry_after: Option<u32>,
}
