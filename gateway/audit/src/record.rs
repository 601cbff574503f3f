//! What a record says: the entries, their typed fields, and the bytes that are hashed.
//!
//! Every exchange has exactly one final state. One that got as far as a decision has an
//! [`Intent`] and a [`Seal`]; one that was turned away before that (nobody recognised, names that
//! disagree, an upgrade that is not inspected) has a single [`Refused`]; a tunnel has
//! [`TunnelOpened`] and [`TunnelClosed`]. The spool refuses a second final state.
//!
//! No field holds what a person wrote: there are names, counts, sizes and keyed commitments.
//! Strings that a caller can choose (host, path, model, method) lose control characters and are cut
//! to a fixed length before they are recorded, so no caller can make a record that a
//! store rejects or that grows without bound. Numbers are integers below 2^53, which every JSON reader
//! keeps exact.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use cordon_domain::{Action, Actor, Dialect, Door, EntityType, ExchangeId, Source, UpstreamKind};
use serde::{Deserialize, Serialize};

use crate::payload::KeptPayload;

mod entry;
pub use entry::{
    ENTRY_VERSION, Entry, EntryError, EntryHash, InvalidHash, MAX_ENTRY_BYTES, NamedKey, WriterId,
};

mod tree_name;
pub use tree_name::{InvalidTreeName, TreeName};

mod spool;
pub use spool::{Heartbeat, SpoolTampered, Tampering};

mod oversight;
pub use oversight::{
    EraseRefused, Erased, HoldPlaced, HoldReleased, HoldScope, Operator, RevealApproved, RevealRequested,
    Revealed, Sealed, Searched,
};

mod pruning;
pub use pruning::{CheckpointsThinned, KeysPruned, Pruned, PrunedRun, ThinnedTree};

mod exports;
pub use exports::{ExportStarted, Exported};

mod canonical;
pub(crate) use canonical::canonical;

mod bounds;

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// A decision, written before anything goes upstream.
    Intent(Intent),
    /// How an exchange ended, written before its last byte goes downstream.
    Seal(Seal),
    /// Turned away before a decision.
    Refused(Refused),
    /// A tunnel, written before its first byte passes.
    TunnelOpened(TunnelOpened),
    /// The end of a tunnel.
    TunnelClosed(TunnelClosed),
    /// Something was passed on that nobody understood, because policy says so.
    Uninspected(Uninspected),
    /// Another policy took effect, or failed to.
    PolicyReloaded(PolicyReloaded),
    /// What TLS rests on changed, or was not let.
    TrustReloaded(TrustReloaded),
    /// The gateway started.
    Started(Started),
    /// The gateway stopped in good order.
    Stopped(Stopped),
    /// The gateway is there.
    Heartbeat(Heartbeat),
    /// Somebody touched the spool's files.
    SpoolTampered(SpoolTampered),
    /// Records had their time, and their partition is about to be dropped.
    Pruned(Pruned),
    /// Subjects' keys that nothing needs any more are about to be removed.
    KeysPruned(KeysPruned),
    /// Checkpoints that others cover are about to be removed.
    CheckpointsThinned(CheckpointsThinned),
    /// The audit was searched.
    Searched(Searched),
    /// A subject's keys are shredded.
    Erased(Erased),
    /// An erasure was asked for and not done.
    EraseRefused(EraseRefused),
    /// Something is not to be erased or pruned.
    HoldPlaced(HoldPlaced),
    /// A hold ends.
    HoldReleased(HoldReleased),
    /// Somebody asks to see something that is sealed.
    RevealRequested(RevealRequested),
    /// An approver agrees that it be revealed.
    RevealApproved(RevealApproved),
    /// Something that was sealed is shown.
    Revealed(Revealed),
    /// Records are about to be exported.
    ExportStarted(ExportStarted),
    /// Records were exported.
    Exported(Exported),
}

impl Body {
    /// The name of the kind, as in the body and in the store's `kind` column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Intent(_) => "intent",
            Self::Seal(_) => "seal",
            Self::Refused(_) => "refused",
            Self::TunnelOpened(_) => "tunnel_opened",
            Self::TunnelClosed(_) => "tunnel_closed",
            Self::Uninspected(_) => "uninspected",
            Self::PolicyReloaded(_) => "policy_reloaded",
            Self::TrustReloaded(_) => "trust_reloaded",
            Self::Started(_) => "started",
            Self::Stopped(_) => "stopped",
            Self::Heartbeat(_) => "heartbeat",
            Self::SpoolTampered(_) => "spool_tampered",
            Self::Pruned(_) => "pruned",
            Self::KeysPruned(_) => "keys_pruned",
            Self::CheckpointsThinned(_) => "checkpoints_thinned",
            Self::Searched(_) => "searched",
            Self::Erased(_) => "erased",
            Self::EraseRefused(_) => "erase_refused",
            Self::HoldPlaced(_) => "hold_placed",
            Self::HoldReleased(_) => "hold_released",
            Self::RevealRequested(_) => "reveal_requested",
            Self::RevealApproved(_) => "reveal_approved",
            Self::Revealed(_) => "revealed",
            Self::ExportStarted(_) => "export_started",
            Self::Exported(_) => "exported",
        }
    }

    /// The exchange that it speaks of, if of one.
    #[must_use]
    pub fn exchange(&self) -> Option<ExchangeId> {
        match self {
            Self::Intent(it) => Some(it.exchange),
            Self::Seal(it) => Some(it.exchange),
            Self::Refused(it) => Some(it.exchange),
            Self::TunnelOpened(it) => Some(it.exchange),
            Self::TunnelClosed(it) => Some(it.exchange),
            Self::Uninspected(it) => Some(it.exchange),
            Self::PolicyReloaded(_)
            | Self::TrustReloaded(_)
            | Self::Started(_)
            | Self::Stopped(_)
            | Self::Heartbeat(_)
            | Self::SpoolTampered(_)
            | Self::Pruned(_)
            | Self::KeysPruned(_)
            | Self::CheckpointsThinned(_)
            | Self::Searched(_)
            | Self::Erased(_)
            | Self::EraseRefused(_)
            | Self::HoldPlaced(_)
            | Self::HoldReleased(_)
            | Self::RevealRequested(_)
            | Self::RevealApproved(_)
            | Self::Revealed(_)
            | Self::ExportStarted(_)
            | Self::Exported(_) => None,
        }
    }

    /// The exchange that it opens: a final state must follow.
    #[must_use]
    pub fn opens(&self) -> Option<ExchangeId> {
        match self {
            Self::Intent(it) => Some(it.exchange),
            Self::TunnelOpened(it) => Some(it.exchange),
            _ => None,
        }
    }

    /// The exchange of which it is the only record.
    #[must_use]
    pub fn stands_alone(&self) -> Option<ExchangeId> {
        match self {
            Self::Refused(it) => Some(it.exchange),
            _ => None,
        }
    }

    /// The exchange that it closes, which must have been opened.
    #[must_use]
    pub fn closes(&self) -> Option<ExchangeId> {
        match self {
            Self::Seal(it) => Some(it.exchange),
            Self::TunnelClosed(it) => Some(it.exchange),
            _ => None,
        }
    }
}

/// A decision about an exchange, durable before the first byte goes upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Of a message over a WebSocket: the exchange that opened the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ExchangeId>,
    /// Who asked.
    pub actor: Actor,
    /// The address that the request came from.
    pub peer: SocketAddr,
    /// The listener it came in by.
    pub door: Door,
    /// The wire format.
    pub dialect: Dialect,
    /// HTTP method.
    pub method: String,
    /// The intercepted host; none at the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The endpoint's path; a query is cut off, as it can carry text and keys.
    pub path: String,
    /// What was decided.
    pub action: Action,
    /// The rule that decided.
    pub rule: String,
    /// SHA-256 of the policy's source, in hex.
    pub policy_hash: String,
    /// What was found in the request: entity type and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entities: BTreeMap<EntityType, u64>,
    /// What the on-prem model was asked about the request, by the policy's questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Asked>,
    /// Of the company's own texts and records that were recognised: which, and how much of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// Who is to answer; none when it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Where that upstream stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_kind: Option<UpstreamKind>,
    /// The model that the caller asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    /// Size of the request's body as it came, after decoding its content encoding.
    pub request_bytes: u64,
    /// Keyed commitment to that body: a [`Commitment`](crate::Commitment).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_commitment: Option<String>,
    /// What a web application's page says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Box<Claims>>,
    /// The request, where it is kept sealed beside this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<KeptPayload>>,
}

/// What a web application's page says of itself, as [`pseudonyms`](crate::pseudonym). These are hints of the request's own: nobody
/// has verified them, and the user is not the actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The conversation that it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

/// One question that the on-prem model was asked about an exchange's texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The question's id in the policy.
    pub question: String,
    /// What came of it.
    pub answer: Answer,
    /// The upstream that was asked.
    pub upstream: String,
    /// Texts, and parts of long ones, that it was asked about.
    pub texts: u64,
    /// How many of them had been answered before.
    pub cached: u64,
    /// LLM tokens that the model read and wrote for it.
    pub tokens: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Why yes: one of the reasons that the policy lists, never the model's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why a text has no answer, as a machine-readable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a language model answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes, to one text at least.
    Yes,
    /// No, to every text.
    No,
    /// No yes, and not every text has an answer.
    Unanswered,
}

impl Answer {
    /// The name in records and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unanswered => "unanswered",
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was ready for the caller.
    Completed,
    /// Policy refused the request or the reply.
    Refused,
    /// The upstream could not be reached, answered with an error, or died mid-answer.
    UpstreamFailed,
    /// The caller left before the answer ended.
    ClientLeft,
    /// Something failed inside Cordon.
    Internal,
    /// Nobody saw the end: the process died, or the seal could not be written.
    Unknown,
}

impl Outcome {
    /// The name in records, metrics and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::ClientLeft => "client_left",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The final state of an exchange, durable before its last byte goes downstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The exchange.
    pub exchange: ExchangeId,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status given to the caller; 0 when none was given.
    pub status: u16,
    /// Why it was refused or failed, by a stable code; nothing of one that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The model that the upstream says answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// LLM tokens read, as the upstream reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// LLM tokens written, as the upstream reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// From the request's arrival to the seal, in milliseconds.
    pub latency_ms: u64,
    /// From the request's arrival to the first byte downstream, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// Size of the reply's body sent downstream.
    pub reply_bytes: u64,
    /// Keyed commitment to the reply's body: a [`Commitment`](crate::Commitment).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_commitment: Option<String>,
    /// What was found in the reply: entity type and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reply_entities: BTreeMap<EntityType, u64>,
    /// The reply, where it is kept sealed beside this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<KeptPayload>>,
}

impl Seal {
    /// A seal with nothing measured yet.
    #[must_use]
    pub fn new(exchange: ExchangeId, outcome: Outcome, status: u16) -> Self {
        Self {
            exchange,
            outcome,
            status,
            code: None,
            model: None,
            input_tokens: None,
            output_tokens: None,
            latency_ms: 0,
            first_byte_ms: None,
            reply_bytes: 0,
            reply_commitment: None,
            reply_entities: BTreeMap::new(),
            payload: None,
        }
    }
}

/// Something to record that is neither intent nor seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exchange was turned away before a decision; this is its one, final record.
    Refused(Refused),
    /// A tunnel is about to be opened.
    TunnelOpened(TunnelOpened),
    /// A tunnel ended.
    TunnelClosed(TunnelClosed),
    /// An exchange is passed on although nobody understood it. Its intent and seal are written too.
    Uninspected(Uninspected),
    /// Another policy took effect, or failed to.
    PolicyReloaded(PolicyReloaded),
    /// What TLS rests on changed, or was not let.
    TrustReloaded(TrustReloaded),
    /// The gateway started.
    Started(Started),
    /// The gateway stopped in good order.
    Stopped(Stopped),
    /// Records had their time, and their partition is about to be dropped.
    Pruned(Pruned),
}

impl From<Event> for Body {
    fn from(event: Event) -> Self {
        match event {
            Event::Refused(it) => Self::Refused(it),
            Event::TunnelOpened(it) => Self::TunnelOpened(it),
            Event::TunnelClosed(it) => Self::TunnelClosed(it),
            Event::Uninspected(it) => Self::Uninspected(it),
            Event::PolicyReloaded(it) => Self::PolicyReloaded(it),
            Event::TrustReloaded(it) => Self::TrustReloaded(it),
            Event::Started(it) => Self::Started(it),
            Event::Stopped(it) => Self::Stopped(it),
            Event::Pruned(it) => Self::Pruned(it),
        }
    }
}

/// An exchange turned away before a decision: 401, 407, 404, 413, 415, 421, 426, a refused CONNECT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Of a message over a WebSocket: the exchange that opened the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ExchangeId>,
    /// Who asked, as far as anyone was recognised.
    pub actor: Actor,
    /// The address that the request came from.
    pub peer: SocketAddr,
    /// The listener it came in by.
    pub door: Door,
    /// The wire format.
    pub dialect: Dialect,
    /// HTTP method.
    pub method: String,
    /// The host that was asked for, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, without a query.
    pub path: String,
    /// HTTP status given.
    pub status: u16,
    /// The refusal's machine-readable code.
    pub code: String,
}

/// A tunnel, before its first byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelOpened {
    /// The id given to the CONNECT.
    pub exchange: ExchangeId,
    /// Who asked.
    pub actor: Actor,
    /// The address that the CONNECT came from.
    pub peer: SocketAddr,
    /// The listener it came in by; the proxy where it is not told.
    #[serde(default = "by_proxy", skip_serializing_if = "is_by_proxy")]
    pub door: Door,
    /// Where it leads.
    pub host: String,
    /// Where it leads.
    pub port: u16,
}

fn by_proxy() -> Door {
    Door::Proxy
}

// The signature is serde's.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
fn is_by_proxy(door: &Door) -> bool {
    *door == Door::Proxy
}

/// The end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelClosed {
    /// The id given to the CONNECT.
    pub exchange: ExchangeId,
    /// Bytes from the caller.
    pub bytes_up: u64,
    /// Bytes to the caller.
    pub bytes_down: u64,
    /// How long it was open, in milliseconds.
    pub duration_ms: u64,
}

/// An exchange that policy lets pass without inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninspected {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who asked.
    pub actor: Actor,
    /// The listener it came in by.
    pub door: Door,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// HTTP method.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// Why nobody inspected it, as a machine-readable code.
    pub reason: String,
}

/// A policy was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReloaded {
    /// SHA-256 of the source that was read, in hex.
    pub policy_hash: String,
    /// Whether it took effect; otherwise the one before it runs on.
    pub accepted: bool,
    /// The sets of fingerprints in force, and how many files or rows each has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, u64>,
}

/// What TLS rests on was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustReloaded {
    /// What changed.
    pub part: TrustPart,
    /// Whether it took effect; otherwise what was there before stays in force.
    pub accepted: bool,
    /// What is in force.
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub trust: Trust,
}

/// A part of what TLS rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustPart {
    /// Our own authority: a rotation, or a step of one.
    Authority,
    /// Roots and revocation lists that others' certificates are judged by.
    Verification,
}

/// What TLS rests on at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// SHA-256 of our authority's certificates in hex: `root`, `interception` and `gateway` are those that mint,
    /// `also_trusted` is the other root during a rotation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, String>,
    /// Files of roots and revocation lists, and certificates that are ours to show.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub files: u64,
    /// SHA-256 over these files, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_hash: Option<String>,
}

impl Trust {
    /// Whether it tells nothing, as records of before it was told.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The gateway started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The gateway's version.
    pub version: String,
    /// SHA-256 of the policy's source, in hex.
    pub policy_hash: String,
    /// Whether the policy says `fail_open`.
    pub fail_open: bool,
    /// What TLS rests on.
    #[serde(default, skip_serializing_if = "Trust::is_empty")]
    pub trust: Trust,
}

/// The gateway stopped in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Why: `signal`, `requested`.
    pub reason: String,
}

/// The entity types of a record as one text for the store's `entities` column:
/// names between blanks, with a blank at both ends, so that one name can be looked for whole.
pub(crate) fn entity_words(entities: &BTreeMap<EntityType, u64>) -> Option<String> {
    if entities.is_empty() {
        return None;
    }
    let mut words = String::from(" ");
    for entity in entities.keys() {
        words.push_str(entity.as_str());
        words.push(' ');
    }
    Some(words)
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
