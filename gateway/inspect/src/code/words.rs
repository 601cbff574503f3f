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
    /// The hash of a slot's word, zero where it is empty, and the word's number.
    slots: Box<[(u32, u32)]>,
    words: Vec<(Box<[u8]>, Word)>,
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
            slots: vec![(0, 0); SLOTS].into_boxed_slice(),
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
                let (hash, number) = table.slots[slot];
                if hash > 0 {
                    table.words[number as usize].1.everyday = true;
                }
            }
        }
        table
    }

    fn put(&mut self, word: &str, language: u64) {
        let slot = self.slot(word.as_bytes());
        if self.slots[slot].0 == 0 {
            let number = u32::try_from(self.words.len()).expect("there are some thousands of words");
            self.slots[slot] = (hash(word.as_bytes()), number);
            self.words.push((word.as_bytes().into(), Word::default()));
        }
        self.words[self.slots[slot].1 as usize].1.languages |= language;
    }

    /// The slot that holds the word, or the empty one where it would go.
    fn slot(&self, word: &[u8]) -> usize {
        let hash = hash(word);
        let mut at = (hash >> 1) as usize & (SLOTS - 1);
        loop {
            let (other, number) = self.slots[at];
            if other == 0 || (other == hash && *self.words[number as usize].0 == *word) {
                return at;
            }
            at = (at + 1) & (SLOTS - 1);
        }
    }

    fn look(&self, word: &[u8]) -> Option<Word> {
        let (hash, number) = self.slots[self.slot(word)];
        (hash > 0).then(|| self.words[number as usize].1)
    }
}

/// Never zero.
fn hash(word: &[u8]) -> u32 {
    let mut hash = word.len() as u64;
    let mut chunks = word.chunks_exact(8);
    for chunk in &mut chunks {
        let bytes: [u8; 8] = chunk.try_into().expect("a chunk has eight bytes");
        hash = (hash ^ u64::from_le_bytes(bytes))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    let mut rest = 0;
    for byte in chunks.remainder() {
        rest = rest << 8 | u64::from(*byte);
    }
    hash = (hash ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) as u32 | 1
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
        assert!(TABLE.words.len() * 3 < SLOTS, "{}", TABLE.words.len());
    }
}
