//! Decide: one decision over the exchange, by the policy of the moment.
//!
//! It gathers the facts and leaves the judging to the policy room. A decision to block or to coach
//! ends the path here.
//!
//! On failure: a refusal that names the rule, the entity types and counts, and what to do.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use cordon_domain::{Action, Decision, EntityType, UpstreamKind};
use cordon_policy::{Facts, Files, UnreadFiles};

use super::{audit::Draft, decode::Decoded, inspect::Found};
use crate::{
    files::Fault,
    gate::Gate,
    metrics::Stage,
    refusal::{Cause, FileRefused},
    rules::Rules,
    upstream::Upstream,
};

/// The decide stage.
pub fn decide(
    gate: &Gate,
    rules: &Rules,
    decoded: &Decoded,
    found: &Found,
    draft: &mut Draft,
) -> Result<Decision, Cause> {
    let started = Instant::now();
    let requested = requested(gate, decoded);
    let facts = facts(gate, decoded, found, requested.as_ref(), draft);
    let decision = rules.policy.decide(&facts, &found.findings);
    let keep = rules.policy.keep(&facts, &found.findings);
    draft.keep(gate, keep);
    draft.found_values(&gate.blind_key, decoded, &found.findings);
    draft.decided(gate, rules, &decision);
    draft.took(Stage::Decide, started);
    match decision.action {
        // Only a question that has no answer refuses under its own name.
        Action::Block if rules.policy.question(&decision.rule).is_some() => Err(Cause::Unanswered(decision)),
        Action::Block | Action::Coach => {
            let mut message = cordon_policy::refusal_message(&decision, &found.findings);
            for reason in reasons(&decision, found) {
                let _ = write!(message, " The model's reason: {reason}.");
            }
            Err(Cause::Policy { decision, message })
        }
        Action::Allow | Action::Alert | Action::Redact | Action::Reroute => {
            let kind = gate
                .upstreams
                .named(&decision.upstream)
                .map(|upstream| upstream.kind);
            unread(rules, decoded, kind, draft)?;
            if !found.unanswered.is_empty() && kind != Some(UpstreamKind::Engine) {
                draft.uninspected("question_unanswered");
            }
            Ok(decision)
        }
    }
}

/// What becomes of a request with files that were not read. The engine gets none, as it reads text alone, and
/// the translation for it says so.
fn unread(
    rules: &Rules,
    decoded: &Decoded,
    kind: Option<UpstreamKind>,
    draft: &mut Draft,
) -> Result<(), Cause> {
    let Some((nth, why)) = decoded.files.unread.first() else {
        return Ok(());
    };
    match rules.policy.unread_files() {
        _ if kind == Some(UpstreamKind::Engine) => Ok(()),
        UnreadFiles::Record => {
            draft.uninspected("attachment");
            Ok(())
        }
        UnreadFiles::Block => Err(Cause::File(FileRefused {
            nth: *nth,
            fault: Fault::Unread(why.clone()),
        })),
    }
}

/// What the policy is told of an exchange.
pub(super) fn facts<'a>(
    gate: &'a Gate,
    decoded: &'a Decoded,
    found: &'a Found,
    requested: Option<&'a cordon_policy::Upstream>,
    draft: &'a Draft,
) -> Facts<'a> {
    Facts {
        actor: &draft.actor,
        dialect: draft.dialect,
        door: draft.door,
        host: decoded.host.as_deref(),
        method: decoded.method.as_str(),
        path: &decoded.path,
        model: draft.model.as_deref(),
        requested,
        upstreams: &gate.policy_upstreams,
        roles: &found.roles,
        unanswered: &found.unanswered,
        files: Files {
            count: decoded.files.count,
            unread: decoded.files.unread.len(),
            kinds: &decoded.files.kinds,
        },
        acknowledged: decoded.acknowledged.as_deref(),
    }
}

/// The upstream that the caller addressed: by host at the proxy, by dialect at the gateway.
pub(super) fn requested(gate: &Gate, decoded: &Decoded) -> Option<cordon_policy::Upstream> {
    let upstream: &Arc<Upstream> = match &decoded.host {
        Some(host) => gate.upstreams.by_host(host),
        None => gate.upstreams.by_dialect(decoded.content.endpoint()?.dialect),
    }?;
    Some(cordon_policy::Upstream {
        name: upstream.name.clone(),
        kind: upstream.kind,
    })
}

/// Why the on-prem model answered yes to what the refusal is about.
fn reasons<'a>(decision: &'a Decision, found: &'a Found) -> impl Iterator<Item = &'a Arc<str>> {
    let refused = |entity: &EntityType| {
        decision.verdicts.iter().any(|verdict| {
            verdict.action == decision.action
                && found
                    .findings
                    .get(verdict.finding)
                    .is_some_and(|finding| finding.entity == *entity)
        })
    };
    found
        .reasons
        .iter()
        .filter(move |(entity, _)| refused(entity))
        .map(|(_, reason)| reason)
}
