//! What a refused caller is told: which rule, how much of what, and what to do. Never what was found.

use std::{collections::BTreeMap, fmt::Write as _};

use cordon_domain::{Action, Decision, Finding};

/// The header by which a caller acknowledges `coach` rules: their ids, joined by commas.
pub const ACKNOWLEDGE_HEADER: &str = "x-cordon-acknowledge";

/// The family of what the policy's questions find.
const QUESTIONS: &str = "QUESTION";

/// The most entity types that a message lists.
const MAX_LISTED: usize = 8;

/// The message of a refusal for a decision that blocks or coaches.
///
/// It is made of rule ids, entity types, counts and the policy's own advice; the exchange id is
/// added by whoever answers. Only findings that the refusal is about are counted.
#[must_use]
pub fn refusal_message(decision: &Decision, findings: &[Finding]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rules: Vec<&str> = vec![&decision.rule];
    let mut judged_by_a_model = false;
    for verdict in &decision.verdicts {
        if verdict.action != decision.action {
            continue;
        }
        if let Some(finding) = findings.get(verdict.finding) {
            *counts.entry(finding.entity.as_str()).or_default() += 1;
            judged_by_a_model |= finding.entity.family() == QUESTIONS;
        }
        if !rules.contains(&verdict.rule.as_ref()) {
            rules.push(&verdict.rule);
        }
    }
    let verb = match decision.action {
        Action::Coach => "stopped",
        _ => "blocked",
    };
    let mut message = format!("Cordon {verb} this request under the rule `{}`.", decision.rule);
    if !counts.is_empty() {
        let listed: Vec<String> = counts
            .iter()
            .take(MAX_LISTED)
            .map(|(entity, count)| format!("{entity} ({count})"))
            .collect();
        let _ = write!(message, " Found: {}", listed.join(", "));
        if counts.len() > MAX_LISTED {
            let _ = write!(message, " and {} more types", counts.len() - MAX_LISTED);
        }
        message.push('.');
    }
    if judged_by_a_model {
        message.push_str(" The on-prem model judged that, and it can be wrong.");
    }
    if let Some(advice) = &decision.advice {
        let _ = write!(message, " {advice}");
        if !advice.ends_with(['.', '!', '?']) {
            message.push('.');
        }
    }
    if decision.action == Action::Coach {
        let _ = write!(
            message,
            " If you have read this and mean to send it, send it again with the header `{ACKNOWLEDGE_HEADER}: {}`.",
            rules.join(",")
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_domain::Verdict;

    fn finding(entity: &str) -> Finding {
        Finding {
            segment: 0,
            span: 0..1,
            entity: entity.parse().unwrap(),
            detector: "d".into(),
            score: 1.0,
            evidence: vec![],
            source: None,
        }
    }

    fn decision(action: Action, verdicts: &[(Action, &str)]) -> Decision {
        Decision {
            action,
            rule: "first".into(),
            verdicts: verdicts
                .iter()
                .enumerate()
                .map(|(finding, (action, rule))| Verdict {
                    finding,
                    action: *action,
                    rule: (*rule).into(),
                })
                .collect(),
            advice: Some("Take the key out".into()),
            upstream: "openai".into(),
        }
    }

    #[test]
    fn names_rule_types_counts_and_advice() {
        let findings = ["SECRET.JWT", "EMAIL", "SECRET.JWT"].map(finding);
        let asked = [finding("QUESTION.RESULTS")];
        assert_eq!(
            refusal_message(&decision(Action::Block, &[(Action::Block, "first")]), &asked),
            "Cordon blocked this request under the rule `first`. Found: QUESTION.RESULTS (1). The on-prem model judged that, and it can be wrong. Take the key out."
        );
        let block = decision(
            Action::Block,
            &[
                (Action::Block, "first"),
                (Action::Redact, "pii"),
                (Action::Block, "first"),
            ],
        );
        assert_eq!(
            refusal_message(&block, &findings),
            "Cordon blocked this request under the rule `first`. Found: SECRET.JWT (2). Take the key out."
        );
    }

    #[test]
    fn a_coach_says_how_to_acknowledge_every_rule_at_once() {
        let findings = ["EMAIL", "PHONE"].map(finding);
        let coach = decision(
            Action::Coach,
            &[(Action::Coach, "first"), (Action::Coach, "other")],
        );
        let message = refusal_message(&coach, &findings);
        assert!(
            message.ends_with("with the header `x-cordon-acknowledge: first,other`."),
            "{message}"
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let findings: Vec<Finding> = (0..20).map(|n| finding(&format!("T{n}"))).collect();
        let verdicts: Vec<_> = (0..20).map(|_| (Action::Block, "first")).collect();
        let message = refusal_message(&decision(Action::Block, &verdicts), &findings);
        assert!(message.contains("and 12 more types."), "{message}");
    }
}
