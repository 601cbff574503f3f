//! All words of all detectors, found in one pass over a text by one automaton (Aho-Corasick).
//!
//! The automaton spends its time waiting for its table, which the nearest cache does not hold, and each byte's
//! step needs the one before it. So the text is cut into [`LANES`] that are read side by side: while one waits
//! the others go on, which is some three times as fast. Each lane reads on behind its end for the words that
//! began in it.
//!
//! ASCII case does not matter; other scripts are compared byte by byte. Words may overlap.

use std::array;

use aho_corasick::{
    Anchored, BuildError, MatchKind, PatternID,
    automaton::{Automaton, StateID},
    dfa::DFA,
};

/// How many parts of a text are read side by side; with more there are too few registers.
const LANES: usize = 6;
/// Shorter texts are read in one lane.
const LEAST_BYTES: usize = 64 * LANES;

/// A dictionary, numbered in the order that it was given.
pub(crate) struct Words {
    automaton: DFA,
    start: StateID,
    /// Bytes of the longest word.
    longest: usize,
}

impl Words {
    /// Of words in lower case.
    ///
    /// # Errors
    /// When they are too many for one automaton.
    pub(crate) fn new(words: &[String]) -> Result<Self, BuildError> {
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(words)?;
        let start = automaton
            .start_state(Anchored::No)
            .expect("it is built for searches that are not anchored");
        Ok(Self {
            automaton,
            start,
            longest: words.iter().map(String::len).max().unwrap_or(0),
        })
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
                    self.matches(*state, n * lane + at + 1, usize::MAX, &mut found);
                }
            }
        }
        for (n, mut state) in states.into_iter().enumerate() {
            let border = (n + 1) * lane;
            // The last lane goes on to the end of the text, the others as far as words from before their border.
            let (end, start_before) = if n + 1 == LANES {
                (text.len(), usize::MAX)
            } else if lane == 0 {
                continue;
            } else {
                ((border + self.longest).min(text.len()), border)
            };
            for (at, byte) in text[border..end].iter().enumerate() {
                state = self.automaton.next_state(Anchored::No, state, *byte);
                if self.automaton.is_special(state) {
                    self.matches(state, border + at + 1, start_before, &mut found);
                }
            }
        }
    }

    #[inline(never)]
    fn matches(
        &self,
        state: StateID,
        end: usize,
        start_before: usize,
        found: &mut impl FnMut(u16, usize, usize),
    ) {
        if !self.automaton.is_match(state) {
            return;
        }
        for nth in 0..self.automaton.match_len(state) {
            let word: PatternID = self.automaton.match_pattern(state, nth);
            let start = end - self.automaton.pattern_len(word);
            if start < start_before {
                found(word.as_u32() as u16, start, end);
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
