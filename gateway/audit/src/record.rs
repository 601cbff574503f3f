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

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr};

use aws_lc_rs::digest;
use cordon_domain::{Action, Actor, Dialect, Door, EntityType, ExchangeId, Source, UpstreamKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod canonical;
pub(crate) use canonical::canonical;

mod bounds;

/// The largest canonical form of one entry. Bounded fields keep entries far below it; one that
/// reaches it all the same is refused.
pub const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// The version of the entry's form, part of what is hashed.
pub const ENTRY_VERSION: u64 = 1;

/// The random id of one spool directory, and so of one chain of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(Uuid);

impl WriterId {
    /// A fresh id.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default id would suggest a fixed value"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for WriterId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for WriterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of an entry's canonical bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// What the first entry of a chain holds as its predecessor.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of canonical bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }

    /// The first eight hex digits, for people to compare.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// Text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash in hex")]
pub struct InvalidHash;

impl TryFrom<String> for EntryHash {
    type Error = InvalidHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for EntryHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One spelling only: a hash that can be written two ways would let a record be rewritten.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidHash);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidHash)?;
        Ok(Self(bytes))
    }
}

impl From<EntryHash> for String {
    fn from(hash: EntryHash) -> Self {
        hex::encode(hash.0)
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({})", self.short())
    }
}

/// One link of a writer's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Form of the entry, [`ENTRY_VERSION`].
    pub v: u64,
    /// The chain it belongs to.
    pub writer: WriterId,
    /// Its place in the chain, from 1, without gaps.
    pub sequence: u64,
    /// The hash of the entry before it; [`EntryHash::GENESIS`] for the first.
    pub previous_hash: EntryHash,
    /// When it was written: milliseconds since 1970-01-01 UTC, by this machine's clock.
    pub at: u64,
    /// What happened.
    pub body: Body,
}

impl Entry {
    /// The bytes that are hashed, spooled and stored: JSON with sorted keys and no white space.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        canonical(self)
    }

    /// An entry from its canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not an entry.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        // The source error would quote the bytes; an entry holds no request text, yet errors
        // reach logs and a record does not belong there.
        serde_json::from_slice(bytes).map_err(|e| EntryError { column: e.column() })
    }
}

/// Bytes that are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit entry (byte {column})")]
pub struct EntryError {
    /// Where reading stopped.
    pub column: usize,
}

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
            Self::PolicyReloaded(_) | Self::TrustReloaded(_) | Self::Started(_) | Self::Stopped(_) => None,
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
    /// Keyed commitment to that body, by [`commit`](crate::commit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_commitment: Option<String>,
    /// What a web application's page says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Box<Claims>>,
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
    /// Keyed commitment to the reply's body, by [`commit`](crate::commit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_commitment: Option<String>,
    /// What was found in the reply: entity type and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reply_entities: BTreeMap<EntityType, u64>,
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
