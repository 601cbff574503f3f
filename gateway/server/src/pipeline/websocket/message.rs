//! One message of the caller's on the path of a request: decode, inspect, decide, transform.
//!
//! It is an exchange with its own id, record and decision, by the rules of its moment: a key that was revoked
//! since the handshake lets nothing more in. It leaves sending to [`session`](super::session) and
//! [`answer`](super::answer).
//!
//! Sound is not inspected. It is passed where the policy says `unknown: pass`, and recorded.
//!
//! On failure: a [`Cause`], which becomes the dialect's error message; nothing of the message goes on.

use std::sync::Arc;

use bytes::Bytes;
use cordon_domain::Decision;
use cordon_policy::{Cleared, Originals, Unknown};
use cordon_wire::{ClientMessage, Earlier, Endpoint, Wants, decode_message};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        audit::Draft,
        clear,
        decode::{self, Decoded, wire_limits},
        identify,
    },
    Opening,
};
use crate::{
    metrics::Stage,
    offload::{Work, offload},
    refusal::Cause,
    rules::Rules,
};

/// A message that may go on.
pub(super) struct Passed {
    pub(super) rules: Arc<Rules>,
    pub(super) decision: Decision,
    pub(super) decoded: Decoded,
    pub(super) cleared: Cleared,
    pub(super) originals: Originals,
    pub(super) wants: Wants,
    /// Whether words are wanted.
    pub(super) generate: bool,
    /// The response of the upstream's that it goes on from.
    pub(super) previous: bool,
    /// The message as it was inspected.
    pub(super) asked: Bytes,
}

/// Takes a message through inspection and decision.
pub(super) async fn pass(
    opening: &Opening,
    endpoint: Endpoint,
    message: ClientMessage,
    asked: Bytes,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Passed, Cause> {
    let gate = &opening.gate;
    let rules = gate.rules.load_full();
    draft.place = Some(gate.place().ok_or(Cause::Busy)?);
    draft.actor = draft.time(Stage::Identify, || {
        identify::identify(&rules, &opening.arrival, &opening.accepted)
    })?;
    draft.take_share(gate)?;
    draft.endpoint(Some(endpoint));
    draft.model = message.body.model().map(str::to_owned);
    draft.stream = message.wants == Wants::Answer;
    draft.request(gate, &asked);
    if message.sound {
        if rules.policy.unknown() != Unknown::Pass {
            return Err(Cause::Sound);
        }
        draft.uninspected("sound");
    }
    let ClientMessage {
        body,
        wants,
        generate,
        previous,
        ..
    } = message;
    let decoded = decode::message(gate, &opening.arrival, &opening.accepted, body, left, draft).await?;
    draft.conversation(gate, &decoded);
    let (decision, cleared, originals) = clear(gate, &rules, &decoded, left, draft).await?;
    Ok(Passed {
        rules,
        decision,
        decoded,
        cleared,
        originals,
        wants,
        generate,
        previous: previous.is_some(),
        asked,
    })
}

/// Reads a message; one that goes on from a response of a connection without an upstream is joined with it.
pub(super) async fn read(
    opening: &Opening,
    endpoint: Endpoint,
    bytes: Bytes,
    earlier: Option<&Earlier>,
) -> Result<(ClientMessage, Bytes), Cause> {
    let message = parse(opening, endpoint, bytes.clone()).await?;
    match (&message.previous, earlier) {
        (Some(previous), Some(earlier)) if message.wants == Wants::Answer => {
            let joined = earlier.join(&bytes, previous).ok_or(Cause::PreviousUnknown)?;
            Ok((parse(opening, endpoint, joined.clone()).await?, joined))
        }
        _ => Ok((message, bytes)),
    }
}

async fn parse(opening: &Opening, endpoint: Endpoint, bytes: Bytes) -> Result<ClientMessage, Cause> {
    let limits = wire_limits(&opening.gate.config.limits);
    let work = Work::Read(bytes.len());
    let read = move || decode_message(endpoint, bytes, &limits);
    Ok(offload(work, read).await.map_err(|_| Cause::Internal)??)
}
