//! Decide: one decision over the exchange, by the policy of the moment.
//!
//! It gathers the facts and leaves the judging to the policy room. A decision to block or to coach
//! ends the path here.
//!
//! On failure: a refusal that names the rule, the entity types and counts, and what to do.

use std::{sync::Arc, time::Instant};

use cordon_domain::{Action, Decision};
use cordon_policy::Facts;

use super::{audit::Draft, decode::Decoded, inspect::Found};
use crate::{gate::Gate, metrics::Stage, refusal::Cause, rules::Rules, upstream::Upstream};

/// The decide stage.
pub fn decide(
    gate: &Gate,
    rules: &Rules,
    decoded: &Decoded,
    found: &Found,
    draft: &mut Draft,
) -> Result<Decision, Cause> {
    let started = Instant::now();
    let requested = requested(gate, decoded).map(|upstream| cordon_policy::Upstream {
        name: upstream.name.clone(),
        kind: upstream.kind,
    });
    let facts = Facts {
        actor: &draft.actor,
        dialect: draft.dialect,
        door: draft.door,
        host: decoded.host.as_deref(),
        method: decoded.method.as_str(),
        path: &decoded.path,
        model: draft.model.as_deref(),
        requested: requested.as_ref(),
        upstreams: &gate.policy_upstreams,
        roles: &found.roles,
        acknowledged: decoded.acknowledged.as_deref(),
    };
    let decision = rules.policy.decide(&facts, &found.findings);
    draft.decided(gate, rules, &decision);
    gate.metrics.stage(Stage::Decide, started.elapsed());
    match decision.action {
        Action::Block | Action::Coach => {
            let message = cordon_policy::refusal_message(&decision, &found.findings);
            Err(Cause::Policy { decision, message })
        }
        Action::Allow | Action::Alert | Action::Redact | Action::Reroute => Ok(decision),
    }
}

/// The upstream that the caller addressed: by host at the proxy, by dialect at the gateway.
fn requested<'a>(gate: &'a Gate, decoded: &Decoded) -> Option<&'a Arc<Upstream>> {
    match &decoded.host {
        Some(host) => gate.upstreams.by_host(host),
        None => gate.upstreams.by_dialect(decoded.content.endpoint()?.dialect),
    }
}
