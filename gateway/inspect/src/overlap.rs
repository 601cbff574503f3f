//! One stretch of text, one finding.
//!
//! Values (a card, a key, a name) compete: the validated beats the unvalidated, secrets beat the rest, then
//! the longer, then the better score. A loser that reaches beyond its winner keeps what is beyond,
//! so that resolving an overlap never uncovers a byte. Regions (source code, a classified document)
//! give way to the values inside them and keep the rest, so that each part is redacted as what it is.

use std::{cmp::Reverse, ops::Range};

use cordon_domain::Finding;

/// A finding with what its rank depends on.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) finding: Finding,
    pub(crate) validated: bool,
    /// It marks a region rather than a value.
    pub(crate) region: bool,
}

impl Claim {
    /// Greater claims first.
    fn rank(&self) -> (bool, bool, bool, bool, usize, u32) {
        let secret = self.finding.entity.family() == "SECRET";
        let generic = self.finding.entity.as_str().ends_with("GENERIC");
        // A machine's name inside a log or a program is the narrower thing to know.
        let narrow = self.finding.entity.family() == "INTERNAL";
        let score = (self.finding.score.clamp(0.0, 1.0) * 1000.0) as u32;
        (
            !self.region,
            self.validated || (secret && !generic) || narrow,
            secret,
            self.finding.source.is_some(),
            self.finding.span.len(),
            score,
        )
    }
}

/// Makes one claim of those of one entity type that overlap and are neither validated nor regions: two
/// finders that see the same name differently would otherwise leave a piece of it over.
pub(crate) fn joined(mut claims: Vec<Claim>) -> Vec<Claim> {
    claims.sort_by_key(|claim| claim.finding.span.start);
    let mut kept: Vec<Claim> = Vec::with_capacity(claims.len());
    // For each entity type, its last claim that may grow.
    let mut last: std::collections::HashMap<cordon_domain::EntityType, usize> =
        std::collections::HashMap::new();
    for claim in claims {
        let entity = &claim.finding.entity;
        let joins = !claim.validated && !claim.region && matches!(entity.as_str(), "PERSON" | "ADDRESS");
        if joins
            && let Some(before) = last.get(entity).map(|at| &mut kept[*at].finding)
            && claim.finding.span.start < before.span.end
        {
            before.span.end = before.span.end.max(claim.finding.span.end);
            before.score = before.score.max(claim.finding.score);
            continue;
        }
        if joins {
            last.insert(entity.clone(), kept.len());
        }
        kept.push(claim);
    }
    kept
}

/// Settles all overlaps of one text; the answer is sorted and disjoint.
pub(crate) fn resolve(text: &str, mut claims: Vec<Claim>) -> Vec<Finding> {
    strongest_first(&mut claims);
    let mut settled = Settled::default();
    let mut findings: Vec<Finding> = Vec::new();
    for claim in claims {
        let free = settled.free(claim.finding.span.clone());
        let whole = free.len() == 1 && free[0] == claim.finding.span;
        for part in free {
            let part = if whole { part } else { trim(text, part) };
            // What is left of a value is worth keeping when it could tell something by itself.
            let tells = || {
                let mut letters = text[part.clone()].chars().filter(|c| c.is_alphanumeric());
                letters.nth(2).is_some()
            };
            if part.is_empty() || !(whole || tells()) {
                continue;
            }
            settled.take(part.clone());
            findings.push(Finding {
                span: part,
                ..claim.finding.clone()
            });
        }
    }
    findings.sort_by_key(|finding| finding.span.start);
    findings
}

/// Puts claims in the order in which they are settled.
pub(crate) fn strongest_first(claims: &mut [Claim]) {
    // A rank looks at names of types, so each is made once.
    claims.sort_by_cached_key(|claim| (Reverse(claim.rank()), claim.finding.span.start));
}

/// Why one claim goes before another that overlaps it.
pub(crate) fn reason(winner: &Claim, loser: &Claim) -> &'static str {
    let (one, other) = (winner.rank(), loser.rank());
    if one.0 != other.0 {
        "it is a value within a region"
    } else if one.1 != other.1 {
        "it is validated, or a credential of a known form"
    } else if one.2 != other.2 {
        "it is a secret"
    } else if one.3 != other.3 {
        "it is of the company's own records"
    } else if one.4 != other.4 {
        "it is longer"
    } else if one.5 != other.5 {
        "its score is higher"
    } else {
        "it comes first"
    }
}

fn trim(text: &str, span: Range<usize>) -> Range<usize> {
    let part = &text[span.clone()];
    let start = span.start + (part.len() - part.trim_start().len());
    let end = span.start + part.trim_end().len();
    start.min(end)..end
}

/// The stretches already given away, sorted and disjoint.
#[derive(Default)]
struct Settled(std::collections::BTreeMap<usize, usize>);

impl Settled {
    fn free(&self, span: Range<usize>) -> Vec<Range<usize>> {
        let mut free = Vec::new();
        let mut at = span.start;
        if let Some((_, end)) = self.0.range(..=span.start).next_back() {
            at = at.max(*end);
        }
        for (start, end) in self.0.range(span.start..span.end) {
            if *start > at {
                free.push(at..*start);
            }
            at = at.max(*end);
        }
        if at < span.end {
            free.push(at..span.end);
        }
        free
    }

    fn take(&mut self, span: Range<usize>) {
        self.0.insert(span.start, span.end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(entity: &str, span: Range<usize>, validated: bool, region: bool) -> Claim {
        Claim {
            finding: Finding {
                segment: 0,
                span,
                entity: entity.parse().unwrap(),
                detector: "d".into(),
                score: 0.5,
                evidence: vec![],
                source: None,
            },
            validated,
            region,
        }
    }

    fn told(text: &str, claims: Vec<Claim>) -> Vec<(String, Range<usize>)> {
        resolve(text, claims)
            .into_iter()
            .map(|f| (f.entity.to_string(), f.span))
            .collect()
    }

    #[test]
    fn the_better_claim_wins() {
        let text = "0123456789";
        assert_eq!(
            told(
                text,
                vec![
                    claim("PHONE", 0..10, false, false),
                    claim("CREDIT_CARD", 0..10, true, false)
                ]
            ),
            [("CREDIT_CARD".to_owned(), 0..10)]
        );
        assert_eq!(
            told(
                text,
                vec![
                    claim("EMAIL", 2..8, false, false),
                    claim("SECRET.DATABASE_URL", 0..10, false, false)
                ]
            ),
            [("SECRET.DATABASE_URL".to_owned(), 0..10)]
        );
    }

    #[test]
    fn regions_keep_what_values_leave() {
        assert_eq!(
            told(
                "let key = SECRET;",
                vec![
                    claim("SOURCE_CODE", 0..17, false, true),
                    claim("SECRET.JWT", 10..16, false, false)
                ]
            ),
            [
                ("SOURCE_CODE".to_owned(), 0..9),
                ("SECRET.JWT".to_owned(), 10..16)
            ]
        );
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_values_stay_covered(spans in prop::collection::vec((0usize..40, 1usize..12, any::<bool>()), 0..12)) {
            let text = "x".repeat(64);
            let claims = spans.iter().map(|(at, len, right)| claim("A", *at..at + len, *right, false)).collect();
            let findings = resolve(&text, claims);
            for pair in findings.windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start);
            }
            for (at, len, _) in spans {
                let open = (at..at + len).filter(|byte| !findings.iter().any(|f| f.span.contains(byte))).count();
                prop_assert!(open < 3 * len);
            }
        }
    }
}
