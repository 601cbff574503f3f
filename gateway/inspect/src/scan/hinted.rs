//! Numbers that a token classifier takes for somebody's, and that patterns left out for lack of a word for them.
//!
//! The classifier's labels for numbers are noisy: on ids of all kinds, and in code. By themselves they say nothing;
//! together with a context word that is too far off otherwise, or a way to reach somebody right before the
//! number, they stand for the word that is missing. A checksum does not help here: of the detectors
//! with one digit of it, one or another fits any number.

use std::ops::Range;

use cordon_domain::EntityType;
use regex_automata::Anchored;

use super::{LEAST_SCORE, Match, Pass, boundary, trimmed, words};
use crate::{
    detector::{Detectors, Start},
    validate::{self, Verdict},
};

/// How much further than usual a context word may be.
const FURTHER: usize = 3;
/// What is read around a number.
const BEFORE: usize = 160;
const AFTER: usize = 60;
/// What may belong to a number and the classifier did not label: a sign before it, a letter behind it.
const EDGE: usize = 4;

/// What detectors find at a number that is labelled; `reached` tells whether a person's address of mail, or the
/// person, stands right before it.
pub(crate) fn hinted(detectors: &Detectors, text: &str, number: &Range<usize>, reached: bool) -> Vec<Match> {
    let low = boundary(text, number.start.saturating_sub(BEFORE));
    let high = text.ceil_char_boundary((number.end + AFTER).min(text.len()));
    let around = &text[low..high];
    let place = number.start - low..number.end - low;
    let (seen, _) = words(detectors, around);
    let pass = Pass {
        detectors,
        text: around,
        trimmed: trimmed(around),
        seen,
        matches: Vec::new(),
    };
    let window = boundary(around, place.start.saturating_sub(EDGE))
        ..around.ceil_char_boundary((place.end + EDGE).min(around.len()));
    let mut found = Vec::new();
    for (index, detector) in (0u16..).zip(&detectors.all) {
        let Some(near) = &detector.near else { continue };
        if !matches!(detector.start, Start::Gate(..)) || detector.score >= LEAST_SCORE {
            continue;
        }
        let evidence = if reached && is_phone(&detector.info.entity) {
            "beside a way to reach somebody"
        } else if pass.word_near(&near.words, &place, near.before * FURTHER, near.after * FURTHER) {
            "context word further off"
        } else {
            continue;
        };
        let Some((_, value)) = detector
            .pattern
            .compiled()
            .find(around, window.clone(), Anchored::No)
        else {
            continue;
        };
        let common = value
            .end
            .min(place.end)
            .saturating_sub(value.start.max(place.start));
        if common * 2 < place.len()
            || pass.word_near(&detector.unless_near, &value, 40, 10)
            || pass.is_moment(detector, &value)
            || (detector.real && validate::is_stand_in(&around[value.clone()]))
        {
            continue;
        }
        let verdict = detector.validator.as_ref().map_or(Verdict::Unknown, |validator| {
            validator.judge(&around[value.clone()])
        });
        if verdict == Verdict::Wrong || detector.score + near.boost < LEAST_SCORE {
            continue;
        }
        found.push(Match {
            detector: index,
            span: value.start + low..value.end + low,
            score: (detector.score + near.boost).min(1.0),
            validated: verdict == Verdict::Right && !is_phone(&detector.info.entity),
            evidence: vec!["token classifier", evidence],
        });
    }
    found
}

fn is_phone(entity: &EntityType) -> bool {
    entity.as_str() == "PHONE"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detector, inspector::EMBEDDED};

    #[test]
    fn a_number_beside_a_way_to_reach_somebody_is_a_telephone() {
        let detectors = detector::compile(EMBEDDED, &[]).expect("the embedded files compile");
        let text = "Camillo Fischetti (vincenza63@mail.example, 07362683290) chiede un rimborso";
        let number = text.find("0736").unwrap();
        let number = number..number + 11;
        let found = hinted(&detectors, text, &number, true);
        assert!(
            found.iter().any(|found| found.span == number
                && is_phone(&detectors.all[usize::from(found.detector)].info.entity)),
            "{found:?}"
        );
        assert!(hinted(&detectors, text, &number, false).is_empty());
    }
}
