//! The one pass: words by one automaton, candidates by the gates, then each pattern only there.
//!
//! Time is linear in the text: a pattern sees a bounded window at each of its keywords, or disjoint
//! windows and candidates, and the `regex-automata` engines are linear in what they see.
//!
//! What a match is worth is decided here too: entropy, placeholder look, validator, context words.

use std::ops::Range;

use regex_automata::{Anchored, PatternID, PatternSet};

use crate::{
    detector::{Detector, Detectors, Gate, Gated, Near, Start, WordSet},
    gates::{self, boundary},
    moment, needs,
    validate::{self, Verdict},
};

mod hinted;
pub(crate) use hinted::hinted;

/// Matches that score less are dropped.
pub(crate) const LEAST_SCORE: f32 = 0.4;

/// From so many patterns on, it pays to ask first which of all of its gate match in a candidate.
const WORTH_A_SET: usize = 4;

/// A match in a view.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) detector: u16,
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
    pub(crate) validated: bool,
    pub(crate) evidence: Vec<&'static str>,
}

/// A context word that was seen.
#[derive(Clone, Copy)]
struct Seen {
    start: u32,
    end: u32,
    word: u16,
}

/// Where a detector's keyword was seen, and so its pattern is worth running.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    detector: u16,
    start: u32,
    end: u32,
}

/// Finds all matches in a text; in `skip` (sorted, disjoint) only keywords are looked for.
pub(crate) fn scan(detectors: &Detectors, text: &str, skip: &[Range<usize>]) -> Vec<Match> {
    // Where patterns are worth running is known before all context words are, so places are collected first.
    let (seen, mut places) = words(detectors, text);
    places.sort_unstable();
    let mut pass = Pass {
        detectors,
        text,
        trimmed: trimmed(text),
        seen,
        matches: Vec::new(),
    };
    for own in places.chunk_by(|a, b| a.detector == b.detector) {
        pass.at_places(own);
    }
    pass.at_candidates(skip);
    pass.matches
}

/// The context words of a text by their place, and the places of keywords.
fn words(detectors: &Detectors, text: &str) -> (Vec<Seen>, Vec<Place>) {
    let mut seen = Vec::new();
    let mut places = Vec::new();
    detectors.words.find(text, |word, start, end| {
        let used = &detectors.uses[usize::from(word)];
        let place = |detector: u16| Place {
            detector,
            start: start as u32,
            end: end as u32,
        };
        places.extend(used.starts.iter().copied().map(place));
        if used.as_word && is_word(text, start..end) {
            seen.push(Seen {
                start: start as u32,
                end: end as u32,
                word,
            });
            places.extend(used.starts_whole.iter().copied().map(place));
        }
    });
    seen.sort_unstable_by_key(|seen| seen.start);
    (seen, places)
}

/// Whether a hit of a context word is a word: `card` in `cardNumber` and `CARD_NO`, not in `discard`.
fn is_word(text: &str, span: Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let first = bytes[span.start];
    if !first.is_ascii_alphabetic() {
        return true;
    }
    let before = span.start.checked_sub(1).map_or(b' ', |at| bytes[at]);
    let begins = !before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && first.is_ascii_uppercase());
    let last = bytes[span.end - 1];
    let after = bytes.get(span.end).copied().unwrap_or(b' ');
    let ends = !last.is_ascii_alphabetic()
        || !after.is_ascii_alphabetic()
        || (last.is_ascii_lowercase() && after.is_ascii_uppercase())
        || (after == b's' && !bytes.get(span.end + 1).is_some_and(u8::is_ascii_alphabetic));
    begins && ends
}

/// The range of the text without the blanks and quotes around it.
fn trimmed(text: &str) -> Range<usize> {
    let blank = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '.' | ',' | ';');
    let start = text.len() - text.trim_start_matches(blank).len();
    let end = text.trim_end_matches(blank).len();
    start.min(end)..end
}

struct Pass<'t> {
    detectors: &'t Detectors,
    text: &'t str,
    trimmed: Range<usize>,
    seen: Vec<Seen>,
    matches: Vec<Match>,
}

impl Pass<'_> {
    /// Runs a detector at, or around, the places of its keywords.
    fn at_places(&mut self, places: &[Place]) {
        let index = places[0].detector;
        let detector = &self.detectors.all[usize::from(index)];
        let text = self.text;
        let window = |place: &Place, before: usize| {
            let to = (place.end as usize + detector.after).min(text.len());
            boundary(text, (place.start as usize).saturating_sub(before))..boundary(text, to)
        };
        let mut done = 0;
        if matches!(detector.start, Start::AtKeyword) {
            for place in places {
                let window = window(place, 0);
                if window.start >= done {
                    self.search(index, window, Anchored::Yes, &mut done);
                }
            }
            return;
        }
        let mut windows = places.iter().map(|place| window(place, detector.before));
        let mut open = windows.next().unwrap_or_default();
        for window in windows {
            if window.start <= open.end {
                open.end = open.end.max(window.end);
            } else {
                self.search(index, open, Anchored::No, &mut done);
                open = window;
            }
        }
        self.search(index, open, Anchored::No, &mut done);
    }

    /// Runs the detectors that have a gate at its candidates.
    fn at_candidates(&mut self, skip: &[Range<usize>]) {
        let detectors = self.detectors;
        let mut done = detectors
            .gates
            .each_ref()
            .map(|gated| vec![0; gated.detectors.len()]);
        let mut set = PatternSet::new(0);
        let mut slots = Vec::new();
        let mut skips = skip.iter().peekable();
        gates::walk(self.text, |candidate| {
            while skips.next_if(|range| range.end <= candidate.span.start).is_some() {}
            if skips
                .peek()
                .is_some_and(|range| range.start <= candidate.span.start)
            {
                return;
            }
            let gate = Gate::NAMES.iter().position(|(_, gate)| *gate == candidate.gate);
            let Some(gate) = gate else { return };
            let Gated {
                detectors: own,
                patterns,
            } = &detectors.gates[gate];
            let span = candidate.span;
            // Many patterns are tried here, so what they ask of the bytes is counted once.
            let (digits, run) = needs::digits_and_run(&self.text.as_bytes()[span.clone()]);
            let possible = |slot: &usize| {
                let detector = &detectors.all[usize::from(own[*slot])];
                matches!(detector.start, Start::Gate(_, least) if candidate.digits >= least)
                    && detector.pattern.compiled().needs.allow_in(digits, run)
                    && self.is_worth(detector, &span)
            };
            slots.clear();
            slots.extend((0..own.len()).filter(possible));
            if slots.len() >= WORTH_A_SET {
                let all = own
                    .iter()
                    .map(|index| &detectors.all[usize::from(*index)].pattern);
                patterns.matching(all, self.text, span.clone(), &mut set);
                slots.retain(|slot| set.contains(PatternID::must(*slot)));
            }
            // An IBAN can only begin where its candidate does; others may begin further on.
            let anchored = if candidate.gate == Gate::Iban {
                Anchored::Yes
            } else {
                Anchored::No
            };
            for slot in &slots {
                self.search(own[*slot], span.clone(), anchored, &mut done[gate][*slot]);
            }
        });
    }

    /// Finds what a detector finds in a window from `done` on, which is moved behind the last find.
    fn search(&mut self, index: u16, window: Range<usize>, anchored: Anchored, done: &mut usize) {
        let detector = &self.detectors.all[usize::from(index)];
        let mut from = window.start.max((*done).min(window.end));
        let pattern = detector.pattern.compiled();
        if anchored == Anchored::Yes
            && (pattern.needs.word_start && !starts_word(self.text, from)
                || !pattern.may_begin(&self.text.as_bytes()[from..window.end]))
        {
            return;
        }
        if !self.is_possible(detector, &(from..window.end)) {
            return;
        }
        while from < window.end {
            let Some((start, value)) = pattern.find(self.text, from..window.end, anchored) else {
                break;
            };
            let judged = if value.is_empty() {
                None
            } else {
                self.judge(detector, index, value.clone())
            };
            match judged {
                Some(found) => {
                    *done = value.end;
                    self.matches.push(found);
                    from = value.end.max(start + 1);
                }
                // A refused match is left behind up to the end of its first word, so that a long run of
                // look-alikes stays linear.
                None => from = after_word(self.text, start),
            }
            from = self.text.ceil_char_boundary(from);
            if anchored == Anchored::Yes {
                break;
            }
        }
    }

    /// Whether a match in a window could be there and score enough, as far as a cheap look can tell.
    fn is_possible(&self, detector: &Detector, window: &Range<usize>) -> bool {
        self.is_worth(detector, window)
            && detector
                .pattern
                .compiled()
                .needs
                .allow(&self.text.as_bytes()[window.clone()])
    }

    /// Whether a match in a window could score enough.
    fn is_worth(&self, detector: &Detector, window: &Range<usize>) -> bool {
        detector.score >= LEAST_SCORE
            || detector
                .near
                .as_ref()
                .is_some_and(|near| self.word_near(&near.words, window, near.before, near.after))
            || (detector.alone.is_some()
                && window.start <= self.trimmed.start
                && window.end >= self.trimmed.end)
    }

    fn judge(&self, detector: &Detector, index: u16, span: Range<usize>) -> Option<Match> {
        let value = &self.text[span.clone()];
        let mut evidence = Vec::new();
        if detector.real && validate::is_stand_in(value) {
            return None;
        }
        if detector.entropy > 0.0 {
            if validate::entropy(value) < detector.entropy {
                return None;
            }
            evidence.push("entropy high");
        }
        let verdict = detector
            .validator
            .as_ref()
            .map_or(Verdict::Unknown, |validator| validator.judge(value));
        match verdict {
            Verdict::Wrong => return None,
            Verdict::Right => evidence.push("checksum or structure valid"),
            Verdict::Unknown => {}
        }
        if !detector.unless_near.is_empty() && self.word_near(&detector.unless_near, &span, 40, 10) {
            return None;
        }
        if self.is_moment(detector, &span) {
            return None;
        }
        let mut score = detector.score;
        if let Some(Near {
            words,
            boost,
            before,
            after,
        }) = &detector.near
            && self.word_near(words, &span, *before, *after)
        {
            score += boost;
            evidence.push("context word near");
        }
        if let Some(alone) = detector.alone
            && span.start <= self.trimmed.start
            && span.end >= self.trimmed.end
        {
            score = score.max(alone);
            evidence.push("alone in its segment");
        }
        (score >= LEAST_SCORE).then(|| Match {
            detector: index,
            span,
            score: score.min(1.0),
            validated: verdict == Verdict::Right,
            evidence,
        })
    }

    /// Whether what a detector of numbers found is a Unix time by its label, which holds no word for the number. A
    /// pattern that begins at its keyword has its label in itself.
    fn is_moment(&self, detector: &Detector, span: &Range<usize>) -> bool {
        if matches!(detector.start, Start::AtKeyword) || !moment::is_unix_time(&self.text[span.clone()]) {
            return false;
        }
        let Some(label) = moment::label_before(self.text, span.start) else {
            return false;
        };
        !detector
            .near
            .as_ref()
            .is_some_and(|near| self.word_near(&near.words, span, span.start - label.start, 0))
    }

    /// Whether a word of the set lies within so many bytes of the span.
    fn word_near(&self, words: &WordSet, span: &Range<usize>, before: usize, after: usize) -> bool {
        let low = span.start.saturating_sub(before) as u32;
        let high = (span.end + after) as u32;
        let from = self.seen.partition_point(|seen| seen.start < low);
        self.seen[from..]
            .iter()
            .take_while(|seen| seen.start < high)
            .any(|seen| words.contains(seen.word) && seen.end <= high)
    }
}

/// Whether no letter, digit or underscore stands before a place.
fn starts_word(text: &str, at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| {
        let byte = text.as_bytes()[before];
        !(byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn after_word(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    if bytes[start].is_ascii_alphanumeric() {
        while at < bytes.len() && bytes[at].is_ascii_alphanumeric() {
            at += 1;
        }
    }
    at
}
