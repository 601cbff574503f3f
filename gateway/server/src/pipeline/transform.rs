//! Transform: the decision carried out on the original bytes; what comes out is cleared.
//!
//! The policy room does the work and is the only maker of [`Cleared`]. It leaves where the request
//! goes to route.
//!
//! On failure: a refusal; nothing is cleared.

use std::time::Instant;

use bytes::Bytes;
use cordon_domain::{Decision, Splice as _};
use cordon_policy::{Cleared, Originals, SpliceHead, Unknown, transform as clear};

use super::{
    audit::Draft,
    decode::{Content, Decoded, Unread},
    inspect::Found,
};
use crate::{gate::Gate, metrics::Stage, refusal::Cause, rules::Rules};

/// The transform stage.
pub fn transform(
    gate: &Gate,
    rules: &Rules,
    decision: &Decision,
    found: &Found,
    decoded: &Decoded,
    draft: &mut Draft,
) -> Result<(Cleared, Originals), Cause> {
    let started = Instant::now();
    let key = &gate.placeholder_key;
    let cleared = match &decoded.content {
        content if found.failed_open => {
            draft.uninspected("inspection_failed");
            let body = match content {
                Content::Known(body) => body.splice(&[]).map_err(|_| Cause::Internal)?,
                Content::Unknown(body) if rules.policy.unknown() == Unknown::Pass => body.clone(),
                Content::Unknown(_) => return Err(Cause::Unknown { intercepted: true }),
                Content::Handshake(_) => Bytes::new(),
            };
            let head = decoded.head.splice(&[]).map_err(|_| Cause::Internal)?;
            let cleared = Cleared::failed_open(&rules.policy, body, head).ok_or(Cause::Inspection)?;
            (cleared, Originals::default())
        }
        Content::Known(body) => clear(decision, &found.findings, body.as_ref(), &decoded.head, key)?,
        Content::Handshake(endpoint) => {
            if endpoint.is_none() {
                draft.uninspected("unknown_frames");
            }
            let empty = Unread(Bytes::new());
            clear(decision, &found.findings, &empty, &decoded.head, key)?
        }
        Content::Unknown(bytes) => {
            draft.uninspected("unknown_shape");
            // The head is inspected and edited all the same; the body is what the policy lets pass.
            let empty = Unread(Bytes::new());
            let (head, originals) = clear(decision, &found.findings, &empty, &decoded.head, key)?;
            let (_, head) = head.into_parts();
            let cleared = Cleared::passed_uninspected(&rules.policy, bytes.clone(), head)
                .ok_or(Cause::Unknown { intercepted: true })?;
            (cleared, originals)
        }
    };
    draft.leaves(cleared.0.body());
    draft.took(Stage::Transform, started);
    Ok(cleared)
}
