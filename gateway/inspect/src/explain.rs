//! Why a text gives what it gives: every match before overlaps are settled, what its score is made of, and
//! to which other match it gave way.
//!
//! It is for people at a command line and takes its time: each match is held against each other one.
//!
//! Limits: [`MAX_EXPLAINED`] matches, the strongest first.

use std::{ops::Range, sync::Arc};

use cordon_domain::{EntityType, Role};

use crate::{
    Inspector,
    ner::{Mention, Missed, Unspoken},
    overlap, validate,
};

/// The most matches that are explained.
pub const MAX_EXPLAINED: usize = 2000;

/// One match and what became of it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The detector's id.
    pub detector: String,
    /// What it found.
    pub entity: EntityType,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// Its score.
    pub score: f32,
    /// What the score is made of and what else was asked, in order.
    pub parts: Vec<Part>,
    /// What of it is left among the findings: its span when it won, parts or nothing when it gave way.
    pub kept: Vec<Range<usize>>,
    /// The detector of the match that it gave way to, and why.
    pub overruled: Option<(String, &'static str)>,
}

/// A part of a match's score, or a test that it passed.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was asked.
    pub what: String,
    /// What it gave: a score that is added, or for entropy the bits a character.
    pub value: Option<f32>,
}

impl Inspector {
    /// Explains what is found in a text, the strongest match first, without the token classifier.
    #[must_use]
    pub fn explain(&self, text: &str) -> Vec<Explained> {
        self.explained(text, &mut |_, _| Arc::default())
    }

    /// The same with what its token classifier finds, if it has one.
    ///
    /// # Errors
    /// When the classifier could not answer.
    pub fn explain_fully(&self, text: &str) -> Result<Vec<Explained>, Missed> {
        let mut missed = None;
        let all = self.explained(text, &mut |text, unspoken| {
            let Some(ner) = self.ner() else {
                return Arc::default();
            };
            ner.mentions(text, unspoken, None).unwrap_or_else(|why| {
                missed = Some(why);
                Arc::default()
            })
        });
        missed.map_or(Ok(all), Err)
    }

    fn explained(
        &self,
        text: &str,
        mentions: &mut dyn FnMut(&str, Unspoken<'_>) -> Arc<[Mention]>,
    ) -> Vec<Explained> {
        let mut claims = overlap::joined(self.claims(text, Role::User, 0, Vec::new(), mentions));
        overlap::strongest_first(&mut claims);
        let findings = overlap::resolve(text, claims.clone());
        let mut all = Vec::new();
        for (index, claim) in claims.iter().enumerate().take(MAX_EXPLAINED) {
            let own = &claim.finding;
            let overlaps = |span: &Range<usize>| span.start < own.span.end && own.span.start < span.end;
            let winner = claims[..index].iter().find(|other| overlaps(&other.finding.span));
            let kept = findings
                .iter()
                .filter(|left| left.detector == own.detector && left.entity == own.entity)
                .filter(|left| own.span.start <= left.span.start && left.span.end <= own.span.end)
                .map(|left| left.span.clone())
                .collect();
            all.push(Explained {
                detector: own.detector.to_string(),
                entity: own.entity.clone(),
                span: own.span.clone(),
                score: own.score,
                parts: self.parts(text, claim),
                kept,
                overruled: winner.map(|winner| {
                    (
                        winner.finding.detector.to_string(),
                        overlap::reason(winner, claim),
                    )
                }),
            });
        }
        all
    }

    fn parts(&self, text: &str, claim: &overlap::Claim) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut part = |what: String, value: Option<f32>| parts.push(Part { what, value });
        let info = self.detectors().find(|info| info.id == claim.finding.detector);
        let details = info
            .filter(|info| !info.file.is_empty())
            .map(|info| &info.details);
        if let Some(details) = details {
            part("base".to_owned(), Some(details.score));
        }
        for evidence in &claim.finding.evidence {
            match (*evidence, details) {
                ("context word near", Some(details)) => part((*evidence).to_owned(), Some(details.boost)),
                ("alone in its segment", Some(details)) => {
                    part(format!("{evidence}, at least"), details.alone)
                }
                ("entropy high", Some(details)) => part(
                    format!("entropy, at least {:.1} asked", details.entropy),
                    Some(validate::entropy(&text[claim.finding.span.clone()])),
                ),
                ("checksum or structure valid", Some(details)) => part(
                    format!("validator {} agrees", details.validator.as_deref().unwrap_or("")),
                    None,
                ),
                _ => part((*evidence).to_owned(), None),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_taken_apart() {
        let yaml = "detectors:\n  - id: own-part\n    entity: PART\n    pattern: 'ZQX-[0-9]{4}'\n    keywords: [zqx-]\n    score: 0.5\n\
                    \x20   near: {words: [widget], boost: 0.3}\n    examples: ['⟦ZQX-1234⟧']\n    counter_examples: ['ZQX']\n\
                    \x20 - id: own-whole\n    entity: WHOLE\n    pattern: 'ZQX-[0-9]{4}/[0-9]{4}'\n    keywords: [zqx-]\n    score: 0.9\n\
                    \x20   examples: ['⟦ZQX-1234/5678⟧']\n    counter_examples: ['ZQX']\n";
        let inspector = Inspector::load(&[("own.yaml".to_owned(), yaml.to_owned())]).unwrap();
        let text = "widget ZQX-1234/5678";
        let all = inspector.explain(text);
        let of = |id: &str| all.iter().find(|one| one.detector == id).unwrap();
        let (part, whole) = (of("own-part"), of("own-whole"));
        assert_eq!(part.parts[0].value, Some(0.5));
        assert_eq!(
            (part.parts[1].what.as_str(), part.parts[1].value),
            ("context word near", Some(0.3))
        );
        assert!((part.score - 0.8).abs() < 1e-6);
        assert!(part.kept.is_empty());
        assert_eq!(part.overruled, Some(("own-whole".to_owned(), "it is longer")));
        assert_eq!(
            (whole.kept.as_slice(), &whole.overruled),
            (&[whole.span.clone()][..], &None)
        );
        // It tells of the same findings that inspecting gives.
        let kept = all.iter().map(|one| one.kept.len()).sum::<usize>();
        assert_eq!(kept, inspector.inspect(text).len());
    }
}
