//! All words of all detectors, found in one pass over a text by one automaton (Aho-Corasick).
//!
//! The automaton knows the first [`HEAD`] bytes of each word, and what follows is compared where they were seen: of whole
//! words its table would be four times as large, and prose seldom begins as a word does and goes on otherwise.
//!
//! The automaton spends its time waiting for its table, which the nearest cache does not hold, and each byte's
//! step needs the one before it. So the text is cut into [`LANES`] that are read side by side: while one waits
//! the others go on, which is some three times as fast. Each lane reads on behind its end for the words that
//! began in it.
//!
//! ASCII case does not matter; other scripts are compared byte by byte. Words may overlap.

use std::{array, collections::BTreeMap, ops::Range};

use aho_corasick::{
    Anchored, BuildError, MatchKind, PatternID,
    automaton::{Automaton, StateID},
    dfa::DFA,
};

/// How many parts of a text are read side by side; with more there are too few registers.
const LANES: usize = 6;
/// Shorter texts are read in one lane.
const LEAST_BYTES: usize = 64 * LANES;

/// How much of a word the automaton knows, in bytes.
const HEAD: usize = 5;

/// A dictionary, numbered in the order that it was given.
pub(crate) struct Words {
    /// Of the heads, each of them once.
    automaton: DFA,
    start: StateID,
    /// The words of each head: their place in `words`.
    headed: Vec<Range<usize>>,
    words: Vec<Word>,
    /// What follows the heads, one behind the other.
    tails: Vec<u8>,
}

/// A word by what follows its head.
struct Word {
    number: u16,
    tail: Range<u32>,
}

impl Words {
    /// Of words in lower case.
    ///
    /// # Errors
    /// When they are too many for one automaton.
    pub(crate) fn new(words: &[String]) -> Result<Self, BuildError> {
        let mut by_head: BTreeMap<&[u8], Vec<(u16, &[u8])>> = BTreeMap::new();
        for (number, word) in (0u16..).zip(words) {
            let (head, tail) = word.as_bytes().split_at(word.len().min(HEAD));
            by_head.entry(head).or_default().push((number, tail));
        }
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(by_head.keys())?;
        let start = automaton
            .start_state(Anchored::No)
            .expect("it is built for searches that are not anchored");
        let mut built = Self {
            automaton,
            start,
            headed: Vec::with_capacity(by_head.len()),
            words: Vec::with_capacity(words.len()),
            tails: Vec::new(),
        };
        for headed in by_head.into_values() {
            let first = built.words.len();
            for (number, tail) in headed {
                let from = built.tails.len() as u32;
                built.tails.extend_from_slice(tail);
                built.words.push(Word {
                    number,
                    tail: from..built.tails.len() as u32,
                });
            }
            built.headed.push(first..built.words.len());
        }
        Ok(built)
    }

    /// Calls `found` with the number, the start and the end of each word in the text, in no order.
    pub(crate) fn find(&self, text: &str, mut found: impl FnMut(u16, usize, usize)) {
        let text = text.as_bytes();
        let lane = if text.len() < LEAST_BYTES {
            0
        } else {
            text.len() / LANES
        };
        let lanes: [&[u8]; LANES] = array::from_fn(|n| &text[n * lane..(n + 1) * lane]);
        let mut states = [self.start; LANES];
        for at in 0..lane {
            let mut special = false;
            for (state, lane) in states.iter_mut().zip(&lanes) {
                *state = self.automaton.next_state(Anchored::No, *state, lane[at]);
                special |= self.automaton.is_special(*state);
            }
            if special {
                for (n, state) in states.iter().enumerate() {
                    self.matches(*state, text, n * lane + at + 1, usize::MAX, &mut found);
                }
            }
        }
        for (n, mut state) in states.into_iter().enumerate() {
            let border = (n + 1) * lane;
            // The last lane goes on to the end of the text, the others as far as heads from before their border.
            let (end, start_before) = if n + 1 == LANES {
                (text.len(), usize::MAX)
            } else if lane == 0 {
                continue;
            } else {
                ((border + HEAD).min(text.len()), border)
            };
            for (at, byte) in text[border..end].iter().enumerate() {
                state = self.automaton.next_state(Anchored::No, state, *byte);
                if self.automaton.is_special(state) {
                    self.matches(state, text, border + at + 1, start_before, &mut found);
                }
            }
        }
    }

    #[inline(never)]
    fn matches(
        &self,
        state: StateID,
        text: &[u8],
        end: usize,
        start_before: usize,
        found: &mut impl FnMut(u16, usize, usize),
    ) {
        if !self.automaton.is_match(state) {
            return;
        }
        for nth in 0..self.automaton.match_len(state) {
            let head: PatternID = self.automaton.match_pattern(state, nth);
            let start = end - self.automaton.pattern_len(head);
            if start >= start_before {
                continue;
            }
            for word in &self.words[self.headed[head.as_usize()].clone()] {
                let tail = &self.tails[word.tail.start as usize..word.tail.end as usize];
                let follows = text.get(end..end + tail.len());
                if follows.is_some_and(|follows| follows.eq_ignore_ascii_case(tail)) {
                    found(word.number, start, end + tail.len());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(words: &[String], text: &str) -> Vec<(u16, usize, usize)> {
        let mut all = Vec::new();
        Words::new(words)
            .unwrap()
            .find(text, |number, start, end| all.push((number, start, end)));
        all.sort_unstable();
        all
    }

    #[test]
    fn words_overlap_and_end_texts() {
        let words = ["password", "pass", "word", "sw", ".", "비밀번호"].map(str::to_owned);
        assert_eq!(
            all(&words, "PassWord. 비밀번호"),
            [(0, 0, 8), (1, 0, 4), (2, 4, 8), (3, 3, 5), (4, 8, 9), (5, 10, 22)]
        );
        assert!(all(&words, "").is_empty());
        assert!(all(&[], "x").is_empty());
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            words in prop::collection::hash_set("[ab.é]{1,12}", 1..12),
            text in "[abAB.é ]{0,900}",
        ) {
            let words: Vec<String> = words.into_iter().collect();
            let lower = text.to_ascii_lowercase();
            let mut plain = Vec::new();
            for (number, word) in (0u16..).zip(&words) {
                plain.extend(
                    (0..lower.len())
                        .filter(|at| lower.as_bytes()[*at..].starts_with(word.as_bytes()))
                        .map(|at| (number, at, at + word.len())),
                );
            }
            plain.sort_unstable();
            prop_assert_eq!(all(&words, &text), plain);
        }
    }
}
