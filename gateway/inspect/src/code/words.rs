//! Looks words up: which languages have them, and whether sentences have them, too.

use std::sync::LazyLock;

use super::languages::{EVERYDAY, LANGUAGES};

/// A power of two, several times the number of words.
const SLOTS: usize = 1 << 14;
/// Longer words are nobody's.
pub(super) const LONGEST: usize = 28;

/// What is known about a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// A bit for each language that has it, by its place in `LANGUAGES`; none for a word of sentences only.
    pub(super) languages: u64,
    pub(super) everyday: bool,
}

/// Open addressing on a hash of the bytes; a look costs one pass over the word.
struct Table {
    slots: Box<[(u32, Word)]>,
    words: Vec<Box<[u8]>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// What is known about these bytes as a word.
pub(super) fn look(word: &[u8]) -> Option<Word> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    TABLE.look(word)
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            slots: vec![(0, Word::default()); SLOTS].into_boxed_slice(),
            words: Vec::new(),
        };
        for (place, language) in LANGUAGES.iter().enumerate() {
            for word in language.words.split_ascii_whitespace() {
                table.put(word, 1 << place);
                if language.any_case {
                    table.put(&word.to_ascii_uppercase(), 1 << place);
                    if language.evidence.ends_with("SQL") {
                        // Nobody writes `Sum` or `Select`.
                        continue;
                    }
                    let mut capital = word.to_owned();
                    let first = capital.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
                    capital[first..=first].make_ascii_uppercase();
                    table.put(&capital, 1 << place);
                }
            }
        }
        for word in EVERYDAY.split_ascii_whitespace() {
            let mut capital = word.to_owned();
            if word.is_ascii() {
                capital[..1].make_ascii_uppercase();
            }
            for form in [word.to_owned(), word.to_uppercase(), capital] {
                let slot = table.slot(form.as_bytes());
                // Only words of languages are kept: any other word is a plain one anyway.
                if table.slots[slot].0 > 0 {
                    table.slots[slot].1.everyday = true;
                }
            }
        }
        table
    }

    fn put(&mut self, word: &str, language: u64) {
        let slot = self.slot(word.as_bytes());
        if self.slots[slot].0 == 0 {
            self.words.push(word.as_bytes().into());
            self.slots[slot].0 = u32::try_from(self.words.len()).unwrap_or(0);
        }
        self.slots[slot].1.languages |= language;
    }

    /// The slot that holds the word, or the empty one where it would go.
    fn slot(&self, word: &[u8]) -> usize {
        let mut at = hash(word) & (SLOTS - 1);
        loop {
            let number = self.slots[at].0 as usize;
            if number == 0 || *self.words[number - 1] == *word {
                return at;
            }
            at = (at + 1) & (SLOTS - 1);
        }
    }

    fn look(&self, word: &[u8]) -> Option<Word> {
        let (number, found) = self.slots[self.slot(word)];
        (number > 0).then_some(found)
    }
}

fn hash(word: &[u8]) -> usize {
    let mut hash = word.len() as u64;
    for byte in word {
        hash = (hash ^ u64::from(*byte))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }
    (hash ^ (hash >> 32)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_with_their_languages() {
        let elif = look(b"elif").unwrap();
        assert!(!elif.everyday);
        assert!(elif.languages.count_ones() >= 2, "Python and shell");
        assert!(look(b"while").unwrap().everyday);
        assert!(look(b"ENDIF").is_some() && look(b"Endif").is_some());
        assert_eq!(look(b"committee"), None);
        assert_eq!(look(&[b'a'; 200]), None);
    }

    #[test]
    fn the_table_is_far_from_full() {
        assert!(TABLE.words.len() * 4 < SLOTS, "{}", TABLE.words.len());
    }
}
