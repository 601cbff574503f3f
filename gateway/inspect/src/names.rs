//! Names of people by lists and build: a known given name with what follows it, or an unknown one
//! before a known surname. Names that a phrase announces (`Dear`, `Name:`, titles, Korean, Chinese and
//! Japanese forms) are patterns in `policies/detectors/person.yaml`.
//!
//! It reads one line at a time and knows no grammar: a simple means. Ambiguous given names (`Mark`,
//! `Grace`) count only with a surname, and nothing counts within identifiers, paths and addresses.
//!
//! Limits: [`MAX_BYTES`] of a text. Linear.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
    sync::LazyLock,
};

use unicode_normalization::{
    UnicodeNormalization,
    char::{decompose_canonical, is_combining_mark},
};

mod lists;

use lists::{NOBODY, NOT_SURNAMES, OPENINGS, PLACE_OR_COMPANY};

/// Text behind this is not read for names by lists.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// A name.
pub(crate) struct Name {
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
    pub(crate) evidence: &'static str,
}

static GIVEN: LazyLock<Set> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/given.txt")));
static GIVEN_TOO: LazyLock<Set> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/given-too.txt")));
static SURNAMES: LazyLock<Set> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/surnames.txt")));

/// The lists are the program's own, so nobody can choose names that collide.
type Set = HashSet<&'static str, BuildHasherDefault<Quick>>;

/// A hash for words: eight bytes at a time.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        for chunk in bytes.chunks(8) {
            let value = chunk
                .iter()
                .fold(chunk.len() as u64, |value, byte| value << 8 | u64::from(*byte));
            self.0 = (self.0 ^ value).wrapping_mul(FACTOR).rotate_left(29);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

fn set(words: &[&'static str]) -> Set {
    words.iter().copied().collect()
}

fn words(list: &'static str) -> Set {
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .collect()
}

/// What stands between given name and surname in lower case.
const PARTICLES: &[&str] = &[
    "van", "von", "der", "den", "de", "del", "della", "di", "da", "dos", "la", "le", "el", "al", "bin",
    "ibn", "zu", "ter", "y",
];

/// Finds names in a text, in order and disjoint.
pub(crate) fn names(text: &str) -> Vec<Name> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut found: Vec<Name> = Vec::new();
    let mut words = Words { text, at: 0 };
    let mut buffer = String::new();
    while let Some(word) = words.next() {
        let Some(name) = name_at(text, word.clone(), &mut buffer) else {
            continue;
        };
        words.at = words.at.max(name.span.end);
        found.push(name);
    }
    found
}

/// Whether a word is in one of the lists.
pub(crate) fn is_listed_name(word: &str) -> bool {
    let mut buffer = String::new();
    [&GIVEN, &GIVEN_TOO, &SURNAMES]
        .into_iter()
        .any(|list| lookup(word, &mut buffer, list))
}

/// Whether a word is worth looking up: it is perhaps listed as a given name, or a surname may follow it. Most words
/// are neither, and are left behind for the price of a look at their beginning.
fn is_promising(listed: &Listed, text: &str, word: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let first = bytes[word.start];
    let of = &text[word.clone()];
    // In lower case both words must be listed, and the first one as a given name.
    if first.is_ascii_lowercase() {
        return listed.beginnings.may_hold(listed.beginning(of)) && listed.words.may_hold(Bits::of(of));
    }
    if first.is_ascii_uppercase() {
        return surname_may_follow(bytes, word.end) || listed.words.may_hold(Bits::of(of));
    }
    of.starts_with(char::is_uppercase) || listed.begins(of)
}

/// Whether what stands behind a word may go on with it as a name: a capital, or what is between names.
fn surname_may_follow(bytes: &[u8], at: usize) -> bool {
    if bytes.get(at) != Some(&b' ') {
        return false;
    }
    let rest = &bytes[at + 1..];
    match rest.first() {
        Some(b'A'..=b'Z' | 0x80..) => true,
        Some(b'b' | b'd' | b'e' | b'i' | b'l' | b't' | b'v' | b'y' | b'z') => {
            let end = rest.iter().take(6).take_while(|b| b.is_ascii_lowercase()).count();
            PARTICLES.iter().any(|known| known.as_bytes() == &rest[..end])
        }
        _ => false,
    }
}

/// The given names as bits: what is not set is none of them.
static LISTED: LazyLock<Listed> = LazyLock::new(|| {
    let mut listed = Listed {
        beginnings: Bits(vec![0; BITS / 64]),
        words: Bits(vec![0; BITS / 64]),
        other_scripts: GIVEN.iter().any(|name| name.starts_with(|c| c >= '\u{370}')),
        plain: (0..0x180).map(plain_letter).collect(),
    };
    for word in GIVEN.iter() {
        let beginning = listed.beginning(word);
        listed.beginnings.set(beginning);
        listed.words.set(Bits::of(word));
    }
    listed
});
/// So many that few words are looked up for nothing.
const BITS: usize = 1 << 16;

struct Listed {
    /// The first three letters of each name, without accents.
    beginnings: Bits,
    words: Bits,
    /// Some name begins with a letter that is not Latin.
    other_scripts: bool,
    /// The letter that a character of European languages is without its accent, in lower case; 0 where that is
    /// none of a to z.
    plain: Vec<u8>,
}

impl Listed {
    /// The end of a word in small ASCII letters that begins as no given name does: what most words are.
    fn passed_by(&self, bytes: &[u8], start: usize) -> Option<usize> {
        let [a, b, c] = *bytes.get(start..start + 3)?.first_chunk()?;
        if !(a.is_ascii_lowercase() && b.is_ascii_alphabetic() && c.is_ascii_alphabetic())
            || self.beginnings.may_hold(Some(bit_of([a, b, c])))
        {
            return None;
        }
        let end = letters_end(bytes, start + 3);
        // What goes on behind these is part of the word.
        (!matches!(bytes.get(end), Some(b'\'' | b'-' | 0x80..))).then_some(end)
    }

    fn begins(&self, word: &str) -> bool {
        // Letters from Greek on, and of the scripts of East Asia, are none of the Latin ones in any form.
        if word.starts_with(|c| matches!(c, '\u{370}'..='\u{1DFF}' | '\u{3040}'..='\u{D7FF}')) {
            return self.other_scripts;
        }
        self.beginnings.may_hold(self.beginning(word))
    }

    /// The bit of the first three letters; words with letters of other scripts, or loose accents, have none.
    fn beginning(&self, word: &str) -> Option<usize> {
        let mut letters = [0; 3];
        if let [a, b, c, ..] = word.as_bytes()
            && (a | b | c).is_ascii()
        {
            return Some(bit_of([*a, *b, *c]));
        }
        for (slot, c) in letters.iter_mut().zip(word.chars()) {
            let plain = if c.is_ascii() {
                c as u8 | 0x20
            } else {
                *self.plain.get(c as usize).filter(|plain| **plain > 0)?
            };
            *slot = plain;
        }
        // What may follow the third letter is an accent of it, and is no letter of its own.
        Some(bit_of(letters))
    }
}

fn bit_of(letters: [u8; 3]) -> usize {
    letters
        .iter()
        .fold(0, |bit, letter| bit * 32 + usize::from(letter % 32))
}

fn plain_letter(code: u32) -> u8 {
    let mut plain = 0;
    if let Some(c) = char::from_u32(code) {
        let mut first = None;
        decompose_canonical(c, |part| {
            first.get_or_insert(part);
        });
        if let Some(letter) = first.filter(char::is_ascii_alphabetic) {
            plain = letter.to_ascii_lowercase() as u8;
        }
    }
    plain
}

struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, bit: Option<usize>) {
        if let Some(bit) = bit {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn may_hold(&self, bit: Option<usize>) -> bool {
        bit.is_none_or(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// The bit of a word by its first letters in lower case, up to the hyphen of a double name: by their number, and the
    /// first and last eight. Letters with accents can be written in more than one way, so such words have none.
    fn of(word: &str) -> Option<usize> {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        const SMALL: u64 = 0x2020_2020_2020_2020;
        let bytes = word.as_bytes();
        let (letters, rest) = bytes.split_at(letters_end(bytes, 0));
        if !rest.is_ascii() {
            return None;
        }
        let (first, last) = if let (Some(first), Some(last)) =
            (letters.first_chunk::<8>(), letters.last_chunk::<8>())
        {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (letters.first_chunk::<4>(), letters.last_chunk::<4>()) {
            (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)),
            )
        } else {
            let all = letters.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            (all, 0)
        };
        let mixed =
            (first | SMALL).wrapping_mul(FACTOR).rotate_left(29) ^ (last | SMALL) ^ letters.len() as u64;
        Some((mixed.wrapping_mul(FACTOR) >> 40) as usize % BITS)
    }
}

/// Words that may begin a name: letters, with apostrophes and hyphens inside, not inside an identifier.
struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let listed = &*LISTED;
        loop {
            while self.at < bytes.len() && !(bytes[self.at].is_ascii_alphabetic() || bytes[self.at] >= 0x80) {
                self.at += 1;
            }
            if self.at >= bytes.len() {
                return None;
            }
            let start = self.at;
            if let Some(end) = listed.passed_by(bytes, start) {
                self.at = end;
                continue;
            }
            let end = word_end(self.text, start);
            self.at = end.max(start + 1);
            while !self.text.is_char_boundary(self.at) {
                self.at += 1;
            }
            if !is_promising(listed, self.text, &(start..end)) {
                continue;
            }
            let before = start.checked_sub(1).map_or(b' ', |at| bytes[at]);
            let after = bytes.get(end).copied().unwrap_or(b' ');
            let inside = matches!(
                before,
                b'_' | b'/' | b'\\' | b'@' | b'#' | b'$' | b'.' | b'-' | b'0'..=b'9'
            ) || matches!(after, b'_' | b'/' | b'\\' | b'@' | b'(' | b'=' | b'0'..=b'9')
                || (after == b'.' && bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric))
                || (before == b':' && start >= 2 && bytes[start - 2] == b':')
                || (after == b':' && bytes.get(end + 1) == Some(&b':'));
            if !inside && (2..=40).contains(&(end - start)) && self.text.is_char_boundary(start) {
                return Some(start..end);
            }
        }
    }
}

/// Where the ASCII letters end that begin at a place. Eight bytes are looked at together, as where a word ends cannot be
/// foretold and a wrong guess at each costs more than the look.
fn letters_end(bytes: &[u8], start: usize) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let each = |byte: u8| u64::from(byte) * 0x0101_0101_0101_0101;
    let mut at = start;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let eight = u64::from_le_bytes(*eight);
        let small = eight & !HIGH | each(0x20);
        // The additions carry into the highest bit of each byte from `a` on, and from behind `z` on.
        let letters = (small + each(0x80 - b'a')) & !(small + each(0x7F - b'z')) & !eight & HIGH;
        if letters != HIGH {
            return at + (letters ^ HIGH).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count()
}

fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut end = letters_end(bytes, start);
    if !matches!(bytes.get(end), Some(b'\'' | b'-' | 0x80..)) {
        return end;
    }
    end = start;
    let mut chars = text[start..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let joins =
            matches!(c, '\'' | '-') && at > 0 && chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
        if !c.is_alphabetic() && !joins {
            break;
        }
        end = start + at + c.len_utf8();
    }
    // `Anna's` is Anna.
    let word = &text[start..end];
    word.strip_suffix("'s").map_or(end, |bare| start + bare.len())
}

fn name_at(text: &str, word: Range<usize>, buffer: &mut String) -> Option<Name> {
    let first = &text[word.clone()];
    let upper = first.starts_with(char::is_uppercase);
    let known = lookup(first, buffer, &GIVEN);
    let ambiguous = !known && lookup(first, buffer, &GIVEN_TOO);
    if !upper {
        // All in lower case, as people chat: both words must be known.
        let next = next_word(text, word.end)?;
        let both = known
            && text[next.clone()].starts_with(char::is_lowercase)
            && lookup(&text[next.clone()], buffer, &SURNAMES);
        return both.then_some(Name {
            span: word.start..next.end,
            score: 0.6,
            evidence: "given name and surname listed",
        });
    }
    if first.len() > 3 && first.chars().all(char::is_uppercase) && !known {
        return None;
    }
    let mut end = word.end;
    let mut surnames = 0;
    let mut listed = false;
    let mut at = word.end;
    while surnames < 3 {
        let Some(next) = next_word(text, at) else { break };
        let part = &text[next.clone()];
        let initial = part.chars().count() == 1 && part.starts_with(char::is_uppercase);
        if PARTICLES.contains(&part) || (initial && surnames == 0) {
            at = next.end + usize::from(initial && text.as_bytes().get(next.end) == Some(&b'.'));
            continue;
        }
        let capital = part.starts_with(char::is_uppercase) && part.chars().count() >= 2;
        if !capital || is_listed(part, &NOT_SURNAMES, buffer) || is_inside(text, &next) {
            break;
        }
        if is_listed(part, &PLACE_OR_COMPANY, buffer) {
            return None;
        }
        // Titles in capitals shout; names do not, unless both parts do.
        let shouts = part.len() > 3 && part.chars().all(char::is_uppercase);
        if shouts && !first.chars().all(char::is_uppercase) && !lookup(part, buffer, &SURNAMES) {
            break;
        }
        listed |= lookup(part, buffer, &SURNAMES) || (surnames == 0 && known && lookup(part, buffer, &GIVEN));
        surnames += 1;
        end = next.end;
        at = next.end;
    }
    if surnames > 0
        && (known || (ambiguous && listed) || (listed && surnames == 1 && !is_opening(first, buffer)))
    {
        let score = match (known || ambiguous, listed) {
            (true, true) => 0.9,
            (true, false) => 0.8,
            _ => 0.6,
        };
        return Some(Name {
            span: word.start..end,
            score,
            evidence: "given name or surname listed",
        });
    }
    (known && surnames == 0 && !follows_place_word(text, word.start)).then(|| Name {
        span: word.clone(),
        score: 0.55,
        evidence: "given name listed",
    })
}

/// `San Diego`, `Port David`: what stands before a given name can make it a place.
fn follows_place_word(text: &str, start: usize) -> bool {
    const BEFORE: &[&str] = &[
        "San", "Santa", "St.", "Saint", "Los", "Port", "Fort", "New", "North", "South", "East", "West",
        "Lake", "Mount", "Villa", "El",
    ];
    text[..start]
        .strip_suffix(' ')
        .is_some_and(|before| BEFORE.iter().any(|word| before.ends_with(word)))
}

/// Whether what a phrase announces as a name starts with a word that starts sentences instead.
pub(crate) fn is_no_name(value: &str) -> bool {
    let mut buffer = String::new();
    let first = value.split([' ', '-']).next().unwrap_or(value);
    is_opening(first, &mut buffer) || is_listed(first, &NOBODY, &mut buffer)
}

/// The next word, one space further on the same line.
fn next_word(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let start = at + rest.strip_prefix(' ').map(|_| 1)?;
    let end = word_end(text, start);
    (end > start).then_some(start..end)
}

fn is_inside(text: &str, word: &Range<usize>) -> bool {
    let after = text.as_bytes().get(word.end).copied().unwrap_or(b' ');
    matches!(after, b'_' | b'/' | b'@' | b'(' | b'=' | b'0'..=b'9')
}

/// Words that begin sentences and headings before a surname that is also a word: `The Hill`, `New York`.
fn is_opening(word: &str, buffer: &mut String) -> bool {
    is_listed(word, &OPENINGS, buffer) || is_listed(word, &NOT_SURNAMES, buffer)
}

fn lowered<'b>(word: &str, buffer: &'b mut String) -> &'b str {
    buffer.clear();
    if word.is_ascii() {
        buffer.push_str(word);
        buffer.make_ascii_lowercase();
        return buffer;
    }
    buffer.extend(word.chars().flat_map(char::to_lowercase));
    buffer
}

fn is_listed(word: &str, list: &Set, buffer: &mut String) -> bool {
    list.contains(lowered(word, buffer))
}

/// Whether a word is in a set, as it is or without its accents; double names by their first part.
fn lookup(word: &str, buffer: &mut String, set: &Set) -> bool {
    if set.contains(lowered(word, buffer)) {
        return true;
    }
    if word.is_ascii() {
        return word
            .split_once('-')
            .is_some_and(|(first, _)| first.len() > 2 && set.contains(lowered(first, buffer)));
    }
    buffer.clear();
    buffer.extend(
        word.nfd()
            .filter(|c| !is_combining_mark(*c))
            .flat_map(char::to_lowercase),
    );
    set.contains(buffer.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        names(text).into_iter().map(|name| &text[name.span]).collect()
    }

    #[test]
    fn letters_end_where_another_byte_is() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = *b"abcXYZmnopqrstuvwxAZ";
                bytes[at] = byte;
                let end = if byte.is_ascii_alphabetic() { 20 } else { at };
                assert_eq!(letters_end(&bytes, 0), end, "{byte} at {at}");
            }
        }
        assert_eq!(letters_end(b"ab", 2), 2);
    }

    #[test]
    fn a_word_has_one_bit_in_any_case() {
        for word in ["jo", "anna", "Dominik", "Maximilian", "Anna-Maria", "O'Neill"] {
            assert_eq!(Bits::of(word), Bits::of(&word.to_uppercase()), "{word}");
        }
        assert_eq!(Bits::of("Anna-Maria"), Bits::of("anna"));
        assert_eq!(Bits::of("Zo\u{eb}"), None);
    }

    #[test]
    fn names_are_found_as_people_write_them() {
        assert_eq!(
            found("Ask Martina Kowalska-Braun or José van der Berg."),
            ["Martina Kowalska-Braun", "José van der Berg"]
        );
        assert_eq!(found("wrote John F. Miller's team"), ["John F. Miller"]);
        assert_eq!(found("Hi Sandra, thanks"), ["Sandra"]);
        assert_eq!(found("talked to monica lopez today"), ["monica lopez"]);
        assert_eq!(
            found("Grace Walker and Zashil Sharma met"),
            ["Grace Walker", "Zashil Sharma"]
        );
    }

    #[test]
    fn words_places_and_identifiers_are_no_names() {
        for text in [
            "Mark the page",
            "Martin Luther King Street",
            "San Diego",
            "thomas.py",
            "David::new()",
            "The Hill",
            "GRACE period",
            "richard_test",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }
}
