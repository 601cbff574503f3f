//! What is kept of an exchange's texts, where the policy's `records` say so, and what the blind index learns of it.
//!
//! At level `redacted` that is the request as it left, with placeholders in it, and the reply as the upstream gave it, before originals were put back.
//! A request that is refused left nothing. At level `full` it is the request as it came and the reply as it went down. At every level but `none`
//! the values that were found in the request go into the blind index, as far as values of their type are indexed.
//!
//! Limits: `audit.payload_bytes` a part, and [`VALUES`] values. The beginning is kept, and the record says how much there was.
//!
//! On failure: the recorder's; a payload that cannot be sealed refuses the exchange.

use std::{collections::BTreeSet, fmt};

use bytes::{Bytes, BytesMut};
use cordon_audit::{Attachment, BlindKey, BlindValue, Body, Intent, Part, Recording, Seal, payload::Payload};
use cordon_domain::{Actor, AuditLevel, EntityType, Finding, Identity, Segment, Splice as _};
use cordon_policy::SpliceHead as _;

use super::Draft;
use crate::pipeline::decode::{Content, Decoded};

const VALUES: usize = 1024;

/// The beginning of a text, and how long it was.
#[derive(Clone, Default)]
struct Beginning {
    kept: BytesMut,
    bytes: u64,
}

impl Beginning {
    fn take(&mut self, piece: &[u8], most: usize) {
        self.bytes += piece.len() as u64;
        let room = most.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// What is kept of an exchange so far.
#[derive(Clone, Default)]
pub(super) struct Keeping {
    most: usize,
    came: Option<Bytes>,
    left: Option<Bytes>,
    reply: Beginning,
    values: BTreeSet<(EntityType, BlindValue)>,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping")
            .field("reply_bytes", &self.reply.bytes)
            .field("values", &self.values.len())
            .finish_non_exhaustive()
    }
}

impl Keeping {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// The request as it came. Which level holds is not known yet.
    pub(super) fn came(&mut self, body: &Bytes) {
        self.came = Some(body.clone());
    }

    /// A piece of the reply as it goes down.
    pub(super) fn goes_down(&mut self, piece: &[u8], level: AuditLevel) {
        if level == AuditLevel::Full {
            self.reply.take(piece, self.most);
        }
    }

    fn payload(&self, part: Part, level: AuditLevel, text: Bytes, bytes: u64) -> Payload {
        Payload {
            part,
            level,
            text: text.slice(..text.len().min(self.most)),
            bytes,
        }
    }
}

impl Draft {
    /// Notes the request as it leaves.
    pub fn leaves(&mut self, body: &Bytes) {
        if self.level == AuditLevel::Redacted {
            self.keeping.left = Some(body.clone());
        }
    }

    /// Notes a piece of the reply as the upstream gives it.
    pub fn reply_came(&mut self, piece: &[u8]) {
        if self.level == AuditLevel::Redacted {
            self.keeping.reply.take(piece, self.keeping.most);
        }
    }

    /// Notes the values that were found, for the blind index.
    pub fn found_values(&mut self, key: &BlindKey, decoded: &Decoded, findings: &[Finding]) {
        if self.level == AuditLevel::None {
            return;
        }
        let of_body: &[Segment] = match &decoded.content {
            Content::Known(body) => body.segments(),
            Content::Unknown(_) | Content::Handshake(_) => &[],
        };
        let of_head = decoded.head.segments();
        for finding in findings {
            if self.keeping.values.len() >= VALUES {
                return;
            }
            let segment = of_body
                .get(finding.segment)
                .or_else(|| of_head.get(finding.segment.checked_sub(of_body.len())?));
            let text = segment.and_then(|segment| segment.text.as_str().get(finding.span.clone()));
            if let Some(value) = text.and_then(|text| key.value(&finding.entity, text).ok()) {
                self.keeping.values.insert((finding.entity.clone(), value));
            }
        }
    }

    /// The record of the decision with what is kept beside it.
    pub(super) fn recording(&mut self, mut intent: Intent) -> Recording {
        // It is held no longer than until it is recorded, whatever the level.
        let (came, left) = (self.keeping.came.take(), self.keeping.left.take());
        let kept = match self.level {
            AuditLevel::None => {
                bare(&mut intent);
                return Recording::of(Body::Intent(intent)).in_tree(self.tree.clone());
            }
            AuditLevel::Metadata => None,
            AuditLevel::Redacted => left,
            AuditLevel::Full => came,
        };
        let mut recording = Recording::of(Body::Intent(intent))
            .in_tree(self.tree.clone())
            .of_actor(self.actor.clone());
        if let Some(text) = kept.filter(|text| !text.is_empty()) {
            let bytes = text.len() as u64;
            recording = recording.keep(self.keeping.payload(Part::Request, self.level, text, bytes));
        }
        let values = std::mem::take(&mut self.keeping.values);
        if !values.is_empty() {
            let values = values.into_iter().collect();
            recording = recording.attach(Attachment::Values(values).encode());
        }
        recording
    }

    /// The record of the end with what is kept beside it.
    pub(super) fn last_recording(&mut self, seal: Seal) -> Recording {
        if self.level == AuditLevel::None {
            let Seal {
                exchange,
                outcome,
                status,
                code,
                ..
            } = seal;
            let bare = Seal {
                code,
                ..Seal::new(exchange, outcome, status)
            };
            // No actor beside it: their key and sealed name would tell whose exchange it was.
            return Recording::of(Body::Seal(bare)).in_tree(self.tree.clone());
        }
        let recording = Recording::of(Body::Seal(seal))
            .in_tree(self.tree.clone())
            .of_actor(self.actor.clone());
        let Beginning { kept, bytes } = std::mem::take(&mut self.keeping.reply);
        if bytes == 0 {
            return recording;
        }
        recording.keep(
            self.keeping
                .payload(Part::Reply, self.level, kept.freeze(), bytes),
        )
    }

    /// Who acted, as the records of such exchanges say it.
    pub(super) fn recorded_actor(&self) -> Actor {
        match self.level {
            AuditLevel::None => nobody(),
            _ => self.actor.as_ref().clone(),
        }
    }
}

fn nobody() -> Actor {
    Actor {
        user: "unrecorded".to_owned(),
        identity: Identity::Unidentified,
        ..Actor::unidentified()
    }
}

/// Leaves of a record that there was an exchange, and under which rule of which policy.
fn bare(intent: &mut Intent) {
    let Intent {
        exchange: _,
        connection: _,
        actor,
        peer,
        door: _,
        dialect: _,
        method: _,
        host,
        path,
        action: _,
        rule: _,
        policy_hash: _,
        entities,
        questions,
        sources,
        upstream: _,
        upstream_kind: _,
        model,
        stream: _,
        request_bytes,
        request_commitment,
        claims,
        payload: _,
    } = intent;
    *actor = nobody();
    *peer = ([0, 0, 0, 0], 0).into();
    (*host, *model, *request_commitment, *claims) = (None, None, None, None);
    path.clear();
    entities.clear();
    questions.clear();
    sources.clear();
    *request_bytes = 0;
}
