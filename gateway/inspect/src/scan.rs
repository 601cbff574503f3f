//! The one pass: words by Aho-Corasick, candidates by the gates, then each pattern only there.
//!
//! Time is linear in the text: a pattern sees a bounded window at each of its keywords, or disjoint
//! windows and candidates, and the `regex-automata` engines are linear in what they see.
//!
//! What a match is worth is decided here too: entropy, placeholder look, validator, context words.

use std::ops::Range;

use regex_automata::{Anchored, Input, util::captures::Captures};

use crate::{
    detector::{Detector, Detectors, Near, Start, WordSet},
    gates::{self, boundary},
    validate::{self, Verdict},
};

/// Matches that score less are dropped.
pub(crate) const LEAST_SCORE: f32 = 0.4;

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

/// Finds all matches in a text; in `skip` (sorted, disjoint) only keywords are looked for.
pub(crate) fn scan(detectors: &Detectors, text: &str, skip: &[Range<usize>]) -> Vec<Match> {
    let mut pass = Pass {
        detectors,
        text,
        trimmed: trimmed(text),
        seen: Vec::new(),
        matches: Vec::new(),
        done: vec![0; detectors.all.len()],
        captures: detectors.all.iter().map(|_| None).collect(),
    };
    // Which detectors a keyword starts is known before all context words are, so starts are collected first.
    let mut at_keyword: Vec<(u32, u16)> = Vec::new();
    let mut around: Vec<Option<Range<usize>>> = vec![None; detectors.all.len()];
    let mut windows: Vec<(u16, Range<usize>)> = Vec::new();
    for hit in detectors.words.find_overlapping_iter(text) {
        let word = hit.pattern().as_u32() as u16;
        let (start, end) = (hit.start(), hit.end());
        if detectors.context[usize::from(word)] && is_word(text, start..end) {
            pass.seen.push(Seen {
                start: start as u32,
                end: end as u32,
                word,
            });
        }
        for &index in &detectors.starts[usize::from(word)] {
            let detector = &detectors.all[usize::from(index)];
            match detector.start {
                Start::AtKeyword => at_keyword.push((start as u32, index)),
                _ => {
                    let from = boundary(text, start.saturating_sub(detector.before));
                    let to = boundary(text, (end + detector.after).min(text.len()));
                    match &mut around[usize::from(index)] {
                        Some(window) if from <= window.end => window.end = window.end.max(to),
                        slot => windows.extend(slot.replace(from..to).map(|window| (index, window))),
                    }
                }
            }
        }
    }
    pass.seen.sort_unstable_by_key(|seen| seen.start);
    for (start, index) in at_keyword {
        let start = start as usize;
        let detector = &detectors.all[usize::from(index)];
        if start >= pass.done[usize::from(index)] {
            let to = boundary(text, (start + detector.after).min(text.len()));
            pass.search(index, start..to, Anchored::Yes);
        }
    }
    let rest = around.into_iter().enumerate();
    windows.extend(rest.filter_map(|(index, window)| window.map(|window| (index as u16, window))));
    for (index, window) in windows {
        pass.search(index, window, Anchored::No);
    }
    let mut skips = skip.iter().peekable();
    gates::walk(text, |candidate| {
        use crate::detector::Gate;
        while skips.next_if(|range| range.end <= candidate.span.start).is_some() {}
        if skips
            .peek()
            .is_some_and(|range| range.start <= candidate.span.start)
        {
            return;
        }
        let list = match candidate.gate {
            Gate::Digits => &detectors.digits,
            Gate::Iban => &detectors.iban,
            Gate::Groups => &detectors.groups,
            Gate::Code => &detectors.code,
            Gate::House => &detectors.house,
        };
        for &index in list {
            if let Start::Gate(_, least) = detectors.all[usize::from(index)].start
                && candidate.digits >= least
            {
                pass.search(index, candidate.span.clone(), Anchored::No);
            }
        }
    });
    pass.matches
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
    /// For each detector, where its last match ends.
    done: Vec<usize>,
    captures: Vec<Option<Captures>>,
}

impl Pass<'_> {
    fn search(&mut self, index: u16, window: Range<usize>, anchored: Anchored) {
        let slot = usize::from(index);
        let detectors = self.detectors;
        let detector = &detectors.all[slot];
        let mut from = window.start.max(self.done[slot].min(window.end));
        if anchored == Anchored::Yes {
            from = window.start;
        }
        let pattern = detector.pattern.compiled();
        let mut captures = self.captures[slot]
            .take()
            .unwrap_or_else(|| pattern.regex.create_captures());
        while from < window.end {
            let input = Input::new(self.text).span(from..window.end).anchored(anchored);
            pattern.regex.search_captures(&input, &mut captures);
            let Some(whole) = captures.get_match() else { break };
            let value = captures.get_group(pattern.group).unwrap_or_else(|| whole.span());
            let value = value.start..value.end;
            let judged = if value.is_empty() {
                None
            } else {
                self.judge(detector, index, value.clone())
            };
            match judged {
                Some(found) => {
                    self.done[slot] = value.end;
                    self.matches.push(found);
                    from = value.end.max(whole.start() + 1);
                }
                // A refused match is left behind up to the end of its first word, so that a long run of
                // look-alikes stays linear.
                None => from = after_word(self.text, whole.start()),
            }
            from = self.text.ceil_char_boundary(from);
            if anchored == Anchored::Yes {
                break;
            }
        }
        self.captures[slot] = Some(captures);
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
