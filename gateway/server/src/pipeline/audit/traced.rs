//! What an exchange's trace is told on the way, and at the end.
//!
//! It ends where the exchange's record does, and says no more. Where policy has records keep next to nothing (`none`), the trace
//! begins anew, as part of nobody's, without actor, model, counts and findings.

use std::{sync::Arc, time::Instant};

use cordon_audit::Outcome;
use cordon_domain::{Action, AuditLevel, Refusal};
use http::{HeaderName, HeaderValue};

use super::Draft;
use crate::{gate::Gate, metrics::Stage, refusal::Cause, traces::Told, upstream::Upstream};

impl Draft {
    /// Notes that a stage is over.
    pub fn took(&mut self, stage: Stage, started: Instant) {
        let took = started.elapsed();
        self.metrics.stage(stage, took);
        if let Some(trace) = &mut self.trace {
            trace.stage(stage, took);
        }
    }

    /// Notes that an upstream is asked now.
    pub fn asks(&mut self, gate: &Gate, upstream: &Arc<Upstream>) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        let host = self.host.as_deref();
        // The host as it is listed: what a caller puts before it is the caller's.
        trace.asks(
            upstream,
            host.and_then(|host| gate.upstreams.listed_host(host, upstream)),
        );
    }

    /// Notes the status that the upstream answered with.
    pub fn answered(&mut self, status: u16) {
        if let Some(trace) = &mut self.trace {
            trace.answered(status);
        }
    }

    /// What an upstream in the building is told of the trace.
    pub fn trace_header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.trace.as_ref().map(|trace| trace.header())
    }

    /// Leaves nothing that would lead from the trace to whose it is, where records do not.
    pub(super) fn untraceable(&mut self) {
        if self.level == AuditLevel::None
            && let Some(trace) = &mut self.trace
        {
            trace.detach();
        }
    }

    /// Notes that nothing more comes from the upstream.
    pub(super) fn answer_ended(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.answer_ended();
        }
    }

    /// The trace of an exchange that was sealed ends.
    pub(super) fn trace_sealed(&mut self, outcome: Outcome, durable: bool) {
        let error = match outcome {
            _ if !durable => Some(Cause::Audit.refusal(self.exchange).code.to_owned()),
            // Who leaves has not failed.
            Outcome::Completed | Outcome::ClientLeft => None,
            Outcome::UpstreamFailed if self.status >= 400 => Some(self.status.to_string()),
            Outcome::UpstreamFailed | Outcome::Refused | Outcome::Internal | Outcome::Unknown => {
                Some(outcome.name().to_owned())
            }
        };
        self.trace_ended(self.action(), outcome, error);
    }

    /// The trace of an exchange that was refused ends.
    pub(super) fn trace_refused(&mut self, refusal: &Refusal, outcome: Outcome) {
        self.status = refusal.status;
        self.trace_ended(refusal.action, outcome, Some(refusal.code.to_owned()));
    }

    fn trace_ended(&mut self, action: Action, outcome: Outcome, error: Option<String>) {
        let Some(trace) = self.trace.take().filter(|trace| trace.is_sent()) else {
            return;
        };
        let keeps = self.level != AuditLevel::None;
        let named = keeps && !self.conceal_model;
        let decided = self.decided.as_ref();
        let went = decided.filter(|_| self.intended);
        trace.end(Told {
            exchange: self.exchange,
            connection: self.connection.filter(|_| keeps),
            actor: keeps.then(|| self.actor.clone()),
            level: self.level.name(),
            door: self.door,
            dialect: self.dialect,
            operation: self.operation,
            method: self.method.clone(),
            action,
            rule: decided.map(|decided| decided.rule.clone()),
            upstream: went.map(|decided| (decided.upstream.clone(), decided.kind)),
            model: self.model.clone().filter(|_| named),
            answered_model: self.answered_model.clone().filter(|_| named),
            stream: self.stream,
            usage: self.usage.filter(|_| keeps),
            entities: if keeps {
                self.entities.clone()
            } else {
                Default::default()
            },
            reply_entities: if keeps {
                self.reply_entities.clone()
            } else {
                Default::default()
            },
            status: self.status,
            outcome: outcome.name(),
            error,
            first_byte: self.first_byte.filter(|_| keeps),
        });
    }
}
