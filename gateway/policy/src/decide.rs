//! The decision: facts and findings in, one [`Decision`] out.
//!
//! First the routes pick the upstream. Then each finding meets the rules in order, and the first that
//! matches gives its verdict; rules without `entities` are asked once about the exchange. The
//! strictest action of all stands. A `reroute` that stands sends the exchange to the engine, and
//! everything is decided again for it, once.
//!
//! Two kinds of rule let go of what they match and leave it to the rules behind them: a `reroute`
//! rule where the engine answers already, and a `coach` rule that the caller acknowledged (what no
//! later rule speaks of is then an `alert`). So an acknowledgement never opens more than the rule
//! that it names.
//!
//! Questions to the on-prem model are asked before, where they could change the decision
//! ([`Policy::questions_for`]). One that has no answer counts as a verdict over the exchange with the
//! action that the question names for it, wherever the question would be asked.
//!
//! Cost: a condition that does not look at the finding is asked at most once; one that does, once for
//! each distinct (type, score, detector, role).
//!
//! On failure: a condition that cannot be evaluated, a role that is not known, an upstream that is
//! not there and more findings than the limit each block the exchange, under the name of the rule or
//! route at fault.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use cordon_domain::{Action, AuditLevel, Decision, Finding, Role, UpstreamKind, Verdict};

use crate::{
    Facts, Policy, Question, Upstream,
    condition::{Condition, ConditionFailed, Counts, Scope, Seen},
    policy::{Destination, Rule, Subject},
};

/// The rule name of decisions that no rule gave.
pub const DEFAULT_RULE: &str = "default";

/// The rule name of an exchange that was blocked for having more findings than the policy's limit.
pub const TOO_MANY_FINDINGS_RULE: &str = "too-many-findings";

/// How much of an exchange its records keep, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep<'p> {
    /// How much.
    pub level: AuditLevel,
    /// The retention class; none is the default one.
    pub class: Option<&'p str>,
}

impl Policy {
    /// Decides an exchange. Verdicts come in the order of the findings.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, findings: &[Finding]) -> Decision {
        if findings.len() > self.max_findings {
            return blocked(
                TOO_MANY_FINDINGS_RULE.into(),
                "The request holds more sensitive data than Cordon takes in one piece. Send less of it at a time.",
                findings.len(),
                &destination_hint(facts),
            );
        }
        let counts = Counts::of(findings);
        let chosen = match self.route(facts, &counts) {
            Ok(upstream) => upstream,
            Err(dead_end) => {
                return blocked(
                    dead_end.rule,
                    dead_end.advice,
                    findings.len(),
                    &destination_hint(facts),
                );
            }
        };
        let first = self.judge(facts, findings, &counts, chosen);
        if first.action != Action::Reroute {
            return first.into_decision(&chosen.name);
        }
        let Some(engine) = facts.engine() else {
            return blocked(
                first.rule,
                "This request may only be answered on-prem, and no on-prem engine is configured. Ask your administrator.",
                findings.len(),
                &chosen.name,
            );
        };
        let mut second = self.judge(facts, findings, &counts, engine);
        if second.action < Action::Reroute {
            second.action = Action::Reroute;
            second.rule = first.rule;
            second.advice = first.advice;
        }
        second.into_decision(&engine.name)
    }

    /// How much of an exchange its records keep, and for how long. A condition that cannot be evaluated is passed over.
    #[must_use]
    pub fn keep(&self, facts: &Facts<'_>, findings: &[Finding]) -> Keep<'_> {
        let counts = Counts::of(findings);
        let seen = Seen {
            facts,
            counts: &counts,
            upstream: None,
            finding: None,
        };
        let holds = |when: &Condition| matches!(when.holds(&seen), Ok(true));
        self.records
            .iter()
            .find(|record| record.when.as_ref().is_none_or(holds))
            .map_or_else(Keep::default, |record| Keep {
                level: record.level,
                class: record.class.as_ref().map(|class| class.name.as_str()),
            })
    }

    /// The questions whose answers could change the decision as it stands: those that the policy wants asked
    /// where the present upstream would answer. None where the exchange is refused whatever they say.
    ///
    /// An answer is a finding, and may lead to another upstream, where others are wanted: ask again until
    /// nothing new is.
    #[must_use]
    pub fn questions_for(&self, facts: &Facts<'_>, findings: &[Finding]) -> Vec<&Question> {
        if self.questions.is_empty() || findings.len() > self.max_findings {
            return Vec::new();
        }
        let counts = Counts::of(findings);
        let Ok(mut upstream) = self.route(facts, &counts) else {
            return Vec::new();
        };
        let mut judged = self.judge(facts, findings, &counts, upstream);
        if judged.action == Action::Reroute {
            let Some(engine) = facts.engine() else {
                return Vec::new();
            };
            upstream = engine;
            judged = self.judge(facts, findings, &counts, upstream);
        }
        if judged.action >= Action::Coach {
            return Vec::new();
        }
        let seen = Seen {
            facts,
            counts: &counts,
            upstream: Some(upstream),
            finding: None,
        };
        self.questions
            .iter()
            .filter(|question| question.is_wanted(&seen))
            .collect()
    }

    /// The upstream that the first matching route leads to; the engine when none matches.
    fn route<'a>(&self, facts: &Facts<'a>, counts: &Counts<'_>) -> Result<&'a Upstream, DeadEnd> {
        let upstreams: &'a [Upstream] = facts.upstreams;
        let engine = || upstreams.iter().find(|u| u.kind == UpstreamKind::Engine);
        let seen = Seen {
            facts,
            counts,
            upstream: None,
            finding: None,
        };
        for route in &self.routes {
            let dead_end = |advice| DeadEnd {
                rule: Arc::clone(&route.id),
                advice,
            };
            match route.when.as_ref().map(|when| when.holds(&seen)) {
                None | Some(Ok(true)) => {}
                Some(Ok(false)) => continue,
                Some(Err(ConditionFailed)) => return Err(dead_end(CONDITION_FAILED)),
            }
            return match &route.to {
                Destination::Engine => engine().ok_or_else(|| dead_end(NO_ENGINE)),
                Destination::Named(name) => upstreams
                    .iter()
                    .find(|u| u.name == *name)
                    .ok_or_else(|| dead_end(NO_UPSTREAM)),
                Destination::Requested => match facts.requested {
                    Some(requested) => Ok(requested),
                    None => continue,
                },
            };
        }
        engine().ok_or(DeadEnd {
            rule: DEFAULT_RULE.into(),
            advice: NO_ENGINE,
        })
    }

    /// Applies the rules as though `upstream` answered.
    fn judge(
        &self,
        facts: &Facts<'_>,
        findings: &[Finding],
        counts: &Counts<'_>,
        upstream: &Upstream,
    ) -> Judgement {
        let pass = Pass {
            seen: Seen {
                facts,
                counts,
                upstream: Some(upstream),
                finding: None,
            },
            rules: &self.rules,
            settled: self.rules.iter().map(|_| OnceCell::new()).collect(),
        };
        let default: Arc<str> = DEFAULT_RULE.into();
        let mut strictest = pass.exchange_verdict();
        let mut known: HashMap<Alike<'_>, Outcome> = HashMap::new();
        let mut verdicts = Vec::with_capacity(findings.len());
        for (index, finding) in findings.iter().enumerate() {
            let role = facts.roles.get(finding.segment).copied();
            let alike = Alike {
                entity: finding.entity.as_str(),
                detector: &finding.detector,
                score: finding.score.to_bits(),
                role,
            };
            let outcome = *known
                .entry(alike)
                .or_insert_with(|| pass.finding_verdict(finding, role));
            if outcome.is_stricter_than(strictest) {
                strictest = outcome;
            }
            verdicts.push(Verdict {
                finding: index,
                action: outcome.action,
                rule: outcome
                    .rule
                    .map_or_else(|| Arc::clone(&default), |at| Arc::clone(&self.rules[at].id)),
            });
        }
        if let Some(question) = self.unanswered(&pass)
            && question.unanswered() > strictest.action
        {
            return Judgement {
                action: question.unanswered(),
                rule: Arc::clone(question.id()),
                advice: Some(NOT_ANSWERED.into()),
                verdicts,
            };
        }
        let rule = strictest.rule.map(|at| &self.rules[at]);
        Judgement {
            action: strictest.action,
            rule: rule.map_or(default, |rule| Arc::clone(&rule.id)),
            advice: if strictest.failed {
                Some(CONDITION_FAILED.into())
            } else {
                rule.and_then(|rule| rule.advice.clone())
            },
            verdicts,
        }
    }

    /// Of the questions that have no answer and are wanted here, the one that says the strictest; of those
    /// equally strict the first.
    fn unanswered(&self, pass: &Pass<'_>) -> Option<&Question> {
        let unanswered = pass.seen.facts.unanswered;
        self.questions
            .iter()
            .filter(|question| unanswered.contains(question.id()))
            // The engine answers already, so there is nowhere to send it.
            .filter(|question| question.unanswered() != Action::Reroute || !pass.engine_answers())
            .filter(|question| question.is_wanted(&pass.seen))
            .rev()
            .max_by_key(|question| question.unanswered())
    }
}

const NOT_ANSWERED: &str = "The company's policy has the on-prem model asked about such a request, and there was no answer. Try again later, with less text if it is long.";
const CONDITION_FAILED: &str =
    "A rule of the company's policy could not be evaluated, so nothing was sent. Ask your administrator.";
const NO_ENGINE: &str = "The company's policy sends this request to the on-prem engine, and none is configured. Ask your administrator.";
const NO_UPSTREAM: &str =
    "The company's policy sends this request to an upstream that is not configured. Ask your administrator.";

/// A route that leads nowhere.
struct DeadEnd {
    rule: Arc<str>,
    advice: &'static str,
}

/// One application of all rules.
struct Pass<'a> {
    seen: Seen<'a>,
    rules: &'a [Rule],
    /// Answers of the conditions that do not look at a finding, once asked.
    settled: Vec<OnceCell<Result<bool, ConditionFailed>>>,
}

/// What the rules gave for one finding or for the exchange.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    action: Action,
    /// Index of the rule; none for the default.
    rule: Option<usize>,
    /// Whether it is a block because the rule could not be evaluated.
    failed: bool,
}

impl Outcome {
    const NONE: Self = Self {
        action: Action::Allow,
        rule: None,
        failed: false,
    };

    /// Of two equally strict the earlier rule stands, so that the order of findings cannot matter.
    fn is_stricter_than(self, other: Self) -> bool {
        self.action > other.action
            || (self.action == other.action
                && match (self.rule, other.rule) {
                    (Some(own), Some(others)) => own < others,
                    (Some(_), None) => true,
                    (None, _) => false,
                })
    }
}

/// Findings that no rule can tell apart.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'a> {
    entity: &'a str,
    detector: &'a str,
    score: u32,
    role: Option<Role>,
}

impl Pass<'_> {
    fn exchange_verdict(&self) -> Outcome {
        self.first_match(|_, rule| Ok(matches!(rule.subject, Subject::Exchange)), None)
    }

    fn finding_verdict(&self, finding: &Finding, role: Option<Role>) -> Outcome {
        self.first_match(
            |_, rule| {
                // A score that is no number passes every threshold: the finding is then treated as certain.
                if !rule.covers(&finding.entity) || finding.score < rule.min_score {
                    return Ok(false);
                }
                match (&rule.roles, role) {
                    (None, _) => Ok(true),
                    (Some(roles), Some(role)) => Ok(roles.contains(&role)),
                    (Some(_), None) => Err(ConditionFailed),
                }
            },
            Some(finding),
        )
    }

    /// The first rule that `speaks` and whose condition holds.
    fn first_match(
        &self,
        speaks: impl Fn(usize, &Rule) -> Result<bool, ConditionFailed>,
        finding: Option<&Finding>,
    ) -> Outcome {
        let mut acknowledged = None;
        for (at, rule) in self.rules.iter().enumerate() {
            let held = match speaks(at, rule) {
                Ok(true) => self.condition_holds(at, rule.when.as_ref(), finding),
                other => other,
            };
            match held {
                Ok(false) => {}
                Err(ConditionFailed) => {
                    return Outcome {
                        action: Action::Block,
                        rule: Some(at),
                        failed: true,
                    };
                }
                Ok(true) if rule.action == Action::Reroute && self.engine_answers() => {}
                Ok(true) if rule.action == Action::Coach && self.seen.facts.acknowledges(&rule.id) => {
                    acknowledged.get_or_insert(at);
                }
                Ok(true) => {
                    return Outcome {
                        action: rule.action,
                        rule: Some(at),
                        failed: false,
                    };
                }
            }
        }
        acknowledged.map_or(Outcome::NONE, |at| Outcome {
            action: Action::Alert,
            rule: Some(at),
            failed: false,
        })
    }

    fn engine_answers(&self) -> bool {
        self.seen
            .upstream
            .is_some_and(|upstream| upstream.kind == UpstreamKind::Engine)
    }

    fn condition_holds(
        &self,
        at: usize,
        when: Option<&Condition>,
        finding: Option<&Finding>,
    ) -> Result<bool, ConditionFailed> {
        let Some(when) = when else {
            return Ok(true);
        };
        if when.scope() == Scope::Finding {
            return when.holds(&Seen { finding, ..self.seen });
        }
        *self.settled[at].get_or_init(|| when.holds(&self.seen))
    }
}

/// A decision that lacks its upstream.
struct Judgement {
    action: Action,
    rule: Arc<str>,
    advice: Option<Arc<str>>,
    verdicts: Vec<Verdict>,
}

impl Judgement {
    fn into_decision(self, upstream: &Arc<str>) -> Decision {
        Decision {
            action: self.action,
            rule: self.rule,
            verdicts: self.verdicts,
            advice: self.advice,
            upstream: Arc::clone(upstream),
        }
    }
}

/// The upstream that a record names when the exchange never got one.
fn destination_hint(facts: &Facts<'_>) -> Arc<str> {
    facts
        .requested
        .or_else(|| facts.engine())
        .map_or_else(|| "".into(), |upstream| Arc::clone(&upstream.name))
}

/// A block of everything under one rule name.
fn blocked(rule: Arc<str>, advice: &str, findings: usize, upstream: &Arc<str>) -> Decision {
    Decision {
        action: Action::Block,
        verdicts: (0..findings)
            .map(|finding| Verdict {
                finding,
                action: Action::Block,
                rule: Arc::clone(&rule),
            })
            .collect(),
        rule,
        advice: Some(advice.into()),
        upstream: Arc::clone(upstream),
    }
}

#[cfg(test)]
mod tests;
