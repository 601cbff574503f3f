//! Cuts a body's fields to their limits before it is recorded.
//!
//! A caller chooses host, path, method and model. Unbounded they would let one request fill the spool; a NUL in
//! one would make PostgreSQL reject the batch that holds it, and with it all later shipping.

use std::collections::{BTreeMap, BTreeSet};

use cordon_domain::{Actor, EntityType, Identity, Source};

use super::{
    Asked, Body, EraseRefused, Erased, ExportStarted, Exported, Heartbeat, HoldPlaced, HoldReleased, Intent,
    KeysPruned, Operator, PolicyReloaded, Refused, RevealApproved, RevealRequested, Revealed, Seal, Sealed,
    Searched, SpoolTampered, Started, Stopped, Trust, TrustReloaded, TunnelClosed, TunnelOpened, Uninspected,
};
use crate::payload::KeptPayload;

/// Names of ours and of the directory: users, groups, rules, upstreams, keys, codes.
const NAME_BYTES: usize = 128;
/// DNS names end at 253 bytes.
const HOST_BYTES: usize = 255;
const PATH_BYTES: usize = 256;
const MODEL_BYTES: usize = 128;
const METHOD_BYTES: usize = 32;
const GROUPS: usize = 64;
const ENTITY_TYPES: usize = 256;
/// More than a policy can hold.
const QUESTIONS: usize = 64;
const SOURCES: usize = 32;
const FILTERS: usize = 32;
const APPROVERS: usize = 16;
const TENANTS: usize = Erased::TENANTS;
/// What people write of why they do something.
const REASON_BYTES: usize = 1024;
/// A name of 255 bytes, and 76 in base64.
const SIGNATURE_BYTES: usize = 512;
/// Their names have 40 bytes at most.
const SETS: usize = 256;
const FILE_BYTES: usize = 512;
/// The largest integer that every JSON reader keeps exact.
const MAX_INTEGER: u64 = (1 << 53) - 1;

impl Body {
    /// The same body with every field within its limit.
    pub(crate) fn bounded(mut self) -> Self {
        match &mut self {
            Self::Intent(Intent {
                exchange: _,
                connection: _,
                actor,
                peer: _,
                door: _,
                dialect: _,
                method,
                host,
                path,
                action: _,
                rule,
                policy_hash,
                entities,
                questions,
                sources,
                upstream,
                upstream_kind: _,
                model,
                stream: _,
                request_bytes,
                request_commitment,
                claims,
                payload,
            }) => {
                bound_actor(actor);
                bound_request(method, host.as_mut(), path);
                bound(rule, NAME_BYTES);
                bound(policy_hash, NAME_BYTES);
                bound_entities(entities);
                questions.truncate(QUESTIONS);
                questions.iter_mut().for_each(bound_asked);
                bound_sources(sources);
                bound_opt(upstream.as_mut(), NAME_BYTES);
                bound_opt(model.as_mut(), MODEL_BYTES);
                bound_number(request_bytes);
                bound_opt(request_commitment.as_mut(), NAME_BYTES);
                if let Some(claims) = claims {
                    bound_opt(claims.user.as_mut(), NAME_BYTES);
                    bound_opt(claims.conversation.as_mut(), NAME_BYTES);
                }
                bound_payload(payload.as_deref_mut());
            }
            Self::Seal(Seal {
                exchange: _,
                outcome: _,
                status: _,
                code,
                model,
                input_tokens,
                output_tokens,
                latency_ms,
                first_byte_ms,
                reply_bytes,
                reply_commitment,
                reply_entities,
                payload,
            }) => {
                bound_opt(code.as_mut(), NAME_BYTES);
                bound_opt(model.as_mut(), MODEL_BYTES);
                for number in [input_tokens, output_tokens, first_byte_ms].into_iter().flatten() {
                    bound_number(number);
                }
                bound_number(latency_ms);
                bound_number(reply_bytes);
                bound_opt(reply_commitment.as_mut(), NAME_BYTES);
                bound_entities(reply_entities);
                bound_payload(payload.as_deref_mut());
            }
            Self::Refused(Refused {
                exchange: _,
                connection: _,
                actor,
                peer: _,
                door: _,
                dialect: _,
                method,
                host,
                path,
                status: _,
                code,
            }) => {
                bound_actor(actor);
                bound_request(method, host.as_mut(), path);
                bound(code, NAME_BYTES);
            }
            Self::TunnelOpened(TunnelOpened {
                exchange: _,
                actor,
                peer: _,
                door: _,
                host,
                port: _,
            }) => {
                bound_actor(actor);
                bound(host, HOST_BYTES);
            }
            Self::TunnelClosed(TunnelClosed {
                exchange: _,
                bytes_up,
                bytes_down,
                duration_ms,
            }) => {
                bound_number(bytes_up);
                bound_number(bytes_down);
                bound_number(duration_ms);
            }
            Self::Uninspected(Uninspected {
                exchange: _,
                actor,
                door: _,
                host,
                method,
                path,
                reason,
            }) => {
                bound_actor(actor);
                bound_request(method, host.as_mut(), path);
                bound(reason, NAME_BYTES);
            }
            Self::PolicyReloaded(PolicyReloaded {
                policy_hash,
                accepted: _,
                sets,
            }) => {
                bound(policy_hash, NAME_BYTES);
                while sets.len() > SETS {
                    sets.pop_last();
                }
                sets.values_mut().for_each(bound_number);
            }
            Self::TrustReloaded(TrustReloaded {
                part: _,
                accepted: _,
                trust,
            }) => bound_trust(trust),
            Self::Started(Started {
                version,
                policy_hash,
                fail_open: _,
                trust,
            }) => {
                bound(version, NAME_BYTES);
                bound(policy_hash, NAME_BYTES);
                bound_trust(trust);
            }
            Self::Stopped(Stopped { reason }) => bound(reason, NAME_BYTES),
            Self::Heartbeat(Heartbeat {
                interval_seconds,
                depth,
                refused,
                write_failures,
            }) => {
                for number in [interval_seconds, depth, refused, write_failures] {
                    bound_number(number);
                }
            }
            Self::SpoolTampered(SpoolTampered {
                what: _,
                segment,
                first_sequence,
                last_sequence,
                restored: _,
            }) => {
                for number in [segment, first_sequence, last_sequence].into_iter().flatten() {
                    bound_number(number);
                }
            }
            // Names of trees are checked where they are made, and lists are cut to a number that fits.
            Self::Pruned(_) | Self::CheckpointsThinned(_) => {}
            Self::KeysPruned(KeysPruned { before, keys }) => {
                bound_number(before);
                bound_number(keys);
            }
            Self::Searched(Searched {
                operator,
                filter,
                value_of: _,
            }) => {
                bound_operator(operator);
                while filter.len() > FILTERS {
                    filter.pop_last();
                }
                filter.values_mut().for_each(|value| bound(value, NAME_BYTES));
            }
            Self::ExportStarted(ExportStarted {
                export: _,
                operator,
                filter,
                format,
            }) => {
                bound_operator(operator);
                while filter.len() > FILTERS {
                    filter.pop_last();
                }
                filter.values_mut().for_each(|value| bound(value, NAME_BYTES));
                bound(format, NAME_BYTES);
            }
            Self::Exported(Exported {
                export: _,
                operator,
                format,
                records,
                sha256,
            }) => {
                bound_operator(operator);
                bound(format, NAME_BYTES);
                bound_number(records);
                bound(sha256, NAME_BYTES);
            }
            Self::Erased(Erased {
                operator,
                subject,
                tenants,
                ahead,
                reason,
                until,
            }) => {
                bound_operator(operator);
                for tenants in [tenants, ahead] {
                    tenants.truncate(TENANTS);
                    tenants.iter_mut().for_each(|tenant| bound(tenant, NAME_BYTES));
                }
                bound(subject, NAME_BYTES);
                bound(reason, REASON_BYTES);
                bound_number(until);
            }
            Self::EraseRefused(EraseRefused {
                operator,
                tenant,
                subject,
                reason,
                hold: _,
            }) => {
                bound_operator(operator);
                if let Some(tenant) = tenant {
                    bound(tenant, NAME_BYTES);
                }
                bound(subject, NAME_BYTES);
                bound(reason, REASON_BYTES);
            }
            Self::HoldPlaced(HoldPlaced {
                hold: _,
                operator,
                reason,
                scope,
            }) => {
                bound_operator(operator);
                bound(reason, REASON_BYTES);
                bound_opt(scope.subject.as_mut(), NAME_BYTES);
                for number in [&mut scope.since, &mut scope.until].into_iter().flatten() {
                    bound_number(number);
                }
            }
            Self::HoldReleased(HoldReleased {
                hold: _,
                operator,
                reason,
            }) => {
                bound_operator(operator);
                bound(reason, REASON_BYTES);
            }
            Self::RevealRequested(RevealRequested {
                reveal: _,
                operator,
                reason,
                of,
                expires_at,
            }) => {
                bound_operator(operator);
                bound(reason, REASON_BYTES);
                if let Sealed::Name { tenant, subject } = of {
                    bound(tenant, NAME_BYTES);
                    bound(subject, NAME_BYTES);
                }
                bound_number(expires_at);
            }
            Self::RevealApproved(RevealApproved {
                reveal: _,
                operator,
                signature,
            }) => {
                bound_operator(operator);
                bound(signature, SIGNATURE_BYTES);
            }
            Self::Revealed(Revealed {
                reveal: _,
                operator,
                approvers,
            }) => {
                bound_operator(operator);
                approvers.truncate(APPROVERS);
                approvers.iter_mut().for_each(|name| bound(name, NAME_BYTES));
            }
        }
        self
    }
}

fn bound_trust(trust: &mut Trust) {
    let Trust {
        certificates,
        files,
        files_hash,
    } = trust;
    while certificates.len() > SETS {
        certificates.pop_last();
    }
    certificates.values_mut().for_each(|hash| bound(hash, NAME_BYTES));
    bound_number(files);
    bound_opt(files_hash.as_mut(), NAME_BYTES);
}

fn bound_operator(operator: &mut Operator) {
    bound(&mut operator.user, NAME_BYTES);
    bound_opt(operator.claimed.as_mut(), NAME_BYTES);
}

fn bound_actor(actor: &mut Actor) {
    bound(&mut actor.user, NAME_BYTES);
    let needs_work = |g: &String| g.len() > NAME_BYTES || g.chars().any(char::is_control);
    if actor.groups.len() > GROUPS || actor.groups.iter().any(needs_work) {
        let groups = std::mem::take(&mut actor.groups);
        actor.groups = groups
            .into_iter()
            .take(GROUPS)
            .map(|mut group| {
                bound(&mut group, NAME_BYTES);
                group
            })
            .collect::<BTreeSet<_>>();
    }
    if let Identity::ApiKey { key: name }
    | Identity::Certificate { serial: name }
    | Identity::Kerberos { principal: name }
    | Identity::Network { network: name } = &mut actor.identity
    {
        bound(name, NAME_BYTES);
    }
}

fn bound_payload(payload: Option<&mut KeptPayload>) {
    if let Some(kept) = payload {
        bound_number(&mut kept.bytes);
        bound(&mut kept.commitment, NAME_BYTES);
    }
}

fn bound_asked(asked: &mut Asked) {
    let Asked {
        question,
        answer: _,
        upstream,
        texts,
        cached,
        tokens,
        milliseconds,
        reason,
        failure,
    } = asked;
    bound(question, NAME_BYTES);
    bound(upstream, NAME_BYTES);
    for number in [texts, cached, tokens, milliseconds] {
        bound_number(number);
    }
    bound_opt(reason.as_mut(), NAME_BYTES);
    bound_opt(failure.as_mut(), NAME_BYTES);
}

fn bound_request(method: &mut String, host: Option<&mut String>, path: &mut String) {
    bound(method, METHOD_BYTES);
    bound_opt(host, HOST_BYTES);
    if let Some(end) = path.find(['?', '#']) {
        path.truncate(end);
    }
    bound(path, PATH_BYTES);
}

fn bound_entities(entities: &mut BTreeMap<EntityType, u64>) {
    while entities.len() > ENTITY_TYPES {
        entities.pop_last();
    }
    entities.values_mut().for_each(bound_number);
}

/// Those of which most was found are kept.
fn bound_sources(sources: &mut Vec<Source>) {
    sources.sort_by_key(|source| std::cmp::Reverse(source.percent));
    sources.truncate(SOURCES);
    for source in sources {
        bound(&mut source.set, NAME_BYTES);
        bound(&mut source.file, FILE_BYTES);
    }
}

fn bound_number(number: &mut u64) {
    *number = (*number).min(MAX_INTEGER);
}

fn bound_opt(text: Option<&mut String>, bytes: usize) {
    if let Some(text) = text {
        bound(text, bytes);
    }
}

/// Replaces control characters and cuts the text; what was cut shows as `…` at its end.
fn bound(text: &mut String, bytes: usize) {
    const CUT: char = '…';
    if text.chars().any(char::is_control) {
        // No control character is longer than two bytes and U+FFFD has three: look at a bounded part.
        let part: String = text.chars().take(bytes + 1).collect();
        *text = part
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
    }
    if text.len() > bytes {
        let mut end = bytes - CUT.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(CUT);
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::ExchangeId;
    use proptest::prelude::*;

    use super::{
        super::{Claims, Entry, EntryHash, MAX_ENTRY_BYTES, samples},
        *,
    };

    proptest! {
        #[test]
        fn any_text_ends_up_short_and_clean(mut text in "(\\PC|[\\x00-\\x1f\u{80}-\u{9f}]|é|😀){0,400}", bytes in 4usize..300) {
            bound(&mut text, bytes);
            prop_assert!(text.len() <= bytes);
            prop_assert!(!text.chars().any(char::is_control));
            let once = text.clone();
            bound(&mut text, bytes);
            prop_assert_eq!(once, text);
        }
    }

    #[test]
    fn the_largest_intent_fits_an_entry() {
        let long = "\"".repeat(10_000);
        let mut intent = samples::intent(ExchangeId::new());
        intent.actor.groups = (0..1000).map(|n| format!("{n}{long}")).collect();
        intent.entities = (0..1000)
            .map(|n| (format!("{}{n}", "A".repeat(60)).parse().unwrap(), u64::MAX))
            .collect();
        intent.questions = vec![
            Asked {
                question: long.clone(),
                upstream: long.clone(),
                texts: u64::MAX,
                reason: Some(long.clone()),
                failure: Some(long.clone()),
                ..samples::asked()
            };
            1000
        ];
        for text in [
            &mut intent.method,
            &mut intent.path,
            &mut intent.rule,
            &mut intent.policy_hash,
        ] {
            text.clone_from(&long);
        }
        for text in [
            &mut intent.host,
            &mut intent.model,
            &mut intent.upstream,
            &mut intent.request_commitment,
        ] {
            *text = Some(long.clone());
        }
        intent.claims = Some(Box::new(Claims {
            user: Some(long.clone()),
            conversation: Some(long.clone()),
        }));
        let body = Body::Intent(intent).bounded();
        let entry: Entry = samples::entry(1, EntryHash::GENESIS, body);
        assert!(entry.canonical_bytes().len() < MAX_ENTRY_BYTES);
    }

    #[test]
    fn a_query_is_never_recorded() {
        let mut intent = samples::intent(ExchangeId::new());
        intent.path = "/v1/messages?key=sk-secret".into();
        let Body::Intent(intent) = Body::Intent(intent).bounded() else {
            unreachable!()
        };
        assert_eq!(intent.path, "/v1/messages");
    }
}
