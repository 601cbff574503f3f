//! Inspect: findings over every text of the request, body first, then headers, path and query.
//!
//! It leaves what a finding means to decide. Large requests, and all where a token classifier reads for names
//! or there are fingerprints, are inspected off the asynchronous threads. What was counted goes into the record and the metrics as entity types and numbers.
//!
//! On failure: the exchange is refused (or passed, where the policy file spells `fail_open`, and then
//! recorded as uninspected). Where names could not be looked for in time the policy's `names.late` says.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cordon_domain::{EntityType, Finding, Role, Segment, Splice};
use cordon_inspect::Recalled;
use cordon_policy::{Late, SpliceHead};
use cordon_wire::RequestBody;

use super::{
    audit::Draft,
    decode::{Content, Decoded},
};
use crate::{
    gate::Gate,
    metrics::Stage,
    offload::{GaveUp, Work, offload},
    refusal::Cause,
    rules::Rules,
};

/// What was found.
pub struct Found {
    /// Findings; they index the body's segments, then the head's.
    pub findings: Vec<Finding>,
    /// The role of each of those segments.
    pub roles: Vec<Role>,
    /// Ids of the policy's questions to the on-prem model that have no answer.
    pub unanswered: Vec<Arc<str>>,
    /// Why the model answered yes, in the policy's words, by what the yes finds.
    pub reasons: Vec<(EntityType, Arc<str>)>,
    /// Inspection failed and the policy says that the request passes all the same.
    pub failed_open: bool,
}

/// The inspect stage.
pub async fn inspect(
    gate: &Gate,
    rules: &Arc<Rules>,
    decoded: &Decoded,
    draft: &mut Draft,
) -> Result<Found, Cause> {
    let started = Instant::now();
    let head: Vec<Segment> = decoded.head.segments().to_vec();
    let body = match &decoded.content {
        Content::Known(body) => Some(body.clone()),
        Content::Unknown(_) | Content::Handshake(_) => None,
    };
    // What a file says is a segment by now, or the file is listed as unread; anything else is a defect.
    if body
        .iter()
        .any(|body| body.attachments().any(|file| file.bytes().is_some()))
    {
        return Err(Cause::Inspection);
    }
    let roles: Vec<Role> = body
        .iter()
        .flat_map(|body| body.segments())
        .chain(&head)
        .map(|segment| segment.role)
        .collect();
    // To know a text again it is read once, which takes a while for a very long one.
    let bytes = texts_of(body.as_deref()).iter().map(|text| text.text.len()).sum();
    let recall = {
        let (rules, actor, body) = (rules.clone(), draft.actor.clone(), body.clone());
        move || {
            let recall = |texts: &[Segment], names| rules.inspector.recall(&actor.user, texts, names);
            (
                recall(texts_of(body.as_deref()), true),
                recall(&head, false),
                head,
            )
        }
    };
    let recalled = offload(Work::Read(bytes), recall).await;
    let late = rules.policy.late();
    let deadline = Duration::from_millis(gate.config.ner.deadline_ms);
    let until = (late != Late::Wait).then(|| started + deadline);
    let run = |(of_body, of_head, head): (Recalled, Recalled, Vec<Segment>)| {
        let work = work_of(rules, &[&of_body, &of_head], true);
        let rules = rules.clone();
        let run = move || {
            let segments = texts_of(body.as_deref());
            let (mut findings, missed) = rules.inspector.inspect_recalled(segments, of_body, until);
            let (in_head, _) = rules.inspector.inspect_recalled(&head, of_head, None);
            findings.extend(in_head.into_iter().map(|finding| Finding {
                segment: finding.segment + segments.len(),
                ..finding
            }));
            (findings, missed)
        };
        offload(work, run)
    };
    // A panic of a detector must refuse this exchange, not end the process.
    let outcome = match recalled {
        Ok(recalled) => run(recalled).await,
        Err(gave_up) => Err(gave_up),
    };
    draft.took(Stage::Inspect, started);
    match outcome {
        Ok((_, Some(missed))) if late != Late::StructuredOnly => Err(Cause::NamesMissed(missed)),
        Ok((findings, missed)) => {
            if missed.is_some() {
                draft.uninspected("names_missed");
            }
            draft.findings(&findings);
            draft.conceal_model = says(draft.model.as_deref(), &findings, decoded);
            Ok(Found {
                findings,
                roles,
                unanswered: Vec::new(),
                reasons: Vec::new(),
                failed_open: false,
            })
        }
        Err(GaveUp) if rules.policy.fail_open() => Ok(Found {
            findings: Vec::new(),
            roles,
            unanswered: Vec::new(),
            reasons: Vec::new(),
            failed_open: true,
        }),
        Err(GaveUp) => Err(Cause::Inspection),
    }
}

fn texts_of(body: Option<&RequestBody>) -> &[Segment] {
    body.map_or(&[], |body| body.segments())
}

/// The work that is left of an inspection. The token classifier lets its callers wait, and fingerprints may wait for the disk.
pub(super) fn work_of(rules: &Rules, recalled: &[&Recalled], names: bool) -> Work {
    let waits = (names && rules.inspector.ner().is_some()) || rules.inspector.fingerprints().is_some();
    match recalled.iter().map(|recalled| recalled.unknown_bytes()).sum() {
        0 => Work::Inspect(0),
        _ if waits => Work::Waits,
        bytes => Work::Inspect(bytes),
    }
}

/// Whether the name of the language model holds anything that was found, there or elsewhere in the request: the
/// name can stand in the body, in a form or in the path.
fn says(model: Option<&str>, findings: &[Finding], decoded: &Decoded) -> bool {
    let Some(model) = model else { return false };
    let body = match &decoded.content {
        Content::Known(body) => body.segments(),
        Content::Unknown(_) | Content::Handshake(_) => &[],
    };
    findings.iter().any(|finding| {
        let segment = match finding.segment.checked_sub(body.len()) {
            None => body.get(finding.segment),
            Some(index) => decoded.head.segments().get(index),
        };
        // What cannot be looked at counts as said.
        let found = segment.and_then(|segment| segment.text.get(finding.span.clone()));
        found.is_none_or(|found| model.contains(found) || found.contains(model))
    })
}
