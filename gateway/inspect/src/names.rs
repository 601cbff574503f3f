//! Names of people by lists and build: a known given name with what follows it, or an unknown one
//! before a known surname. Names that a phrase announces (`Dear`, `Name:`, titles, Korean, Chinese and
//! Japanese forms) are patterns in `policies/detectors/person.yaml`.
//!
//! It reads one line at a time and knows no grammar: a simple means. Ambiguous given names (`Mark`,
//! `Grace`) count only with a surname, and nothing counts within identifiers, paths and addresses.
//!
//! Limits: [`MAX_BYTES`] of a text. Linear.

use std::{collections::HashSet, ops::Range, sync::LazyLock};

/// Text behind this is not read for names by lists.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// A name.
pub(crate) struct Name {
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
    pub(crate) evidence: &'static str,
}

static GIVEN: LazyLock<HashSet<&str>> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/given.txt")));
static GIVEN_TOO: LazyLock<HashSet<&str>> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/given-too.txt")));
static SURNAMES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| words(include_str!("../../../policies/detectors/names/surnames.txt")));

fn words(list: &'static str) -> HashSet<&'static str> {
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

/// Capitalised words that follow a name and are no surname, or make the whole something else.
const NOT_SURNAMES: &[&str] = &[
    "and",
    "or",
    "the",
    "is",
    "was",
    "in",
    "on",
    "at",
    "of",
    "to",
    "for",
    "from",
    "with",
    "has",
    "have",
    "will",
    "can",
    "i",
    "you",
    "he",
    "she",
    "we",
    "they",
    "it",
    "a",
    "an",
    "my",
    "your",
    "his",
    "her",
    "our",
    "this",
    "that",
    "these",
    "what",
    "when",
    "where",
    "who",
    "how",
    "why",
    "please",
    "hi",
    "hello",
    "dear",
    "mr",
    "mrs",
    "ms",
    "dr",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "september",
    "october",
    "november",
    "december",
    "no",
    "yes",
    "if",
    "und",
    "der",
    "die",
    "das",
    "et",
    "est",
    "il",
    "le",
    "la",
    "les",
    "y",
    "con",
    "para",
    "por",
    "e",
    "per",
    "sie",
    "ich",
    "api",
    "sql",
    "json",
    "email",
    "phone",
    "address",
    "tel",
    "dob",
    "ssn",
    "id",
    "user",
    "agent",
    "regards",
    "thanks",
    "best",
    "note",
    "subject",
    "re",
];

/// A word behind a name that makes it a place or a company.
const PLACE_OR_COMPANY: &[&str] = &[
    "street",
    "st",
    "road",
    "rd",
    "avenue",
    "ave",
    "lane",
    "drive",
    "boulevard",
    "blvd",
    "court",
    "square",
    "park",
    "hill",
    "hills",
    "bridge",
    "river",
    "lake",
    "mount",
    "island",
    "islands",
    "beach",
    "county",
    "city",
    "university",
    "college",
    "school",
    "hospital",
    "airport",
    "station",
    "inc",
    "ltd",
    "llc",
    "gmbh",
    "corp",
    "corporation",
    "company",
    "group",
    "foundation",
    "institute",
    "theorem",
    "algorithm",
    "license",
    "licence",
    "process",
    "distribution",
    "transform",
    "method",
    "test",
    "equation",
    "law",
    "prize",
    "award",
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

/// Whether a word is worth looking up: it is perhaps listed, or a surname may follow it. Most words are neither,
/// and are left behind for the price of a look at their beginning.
fn is_promising(listed: &Listed, text: &str, word: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let first = bytes[word.start];
    if first.is_ascii_lowercase() {
        return listed.beginnings.may_hold(beginning(&bytes[word.clone()]))
            && listed.words.may_hold(Bits::of(&text[word.clone()]));
    }
    let surname_may_follow = first.is_ascii_uppercase()
        && bytes.get(word.end) == Some(&b' ')
        && bytes
            .get(word.end + 1)
            .is_some_and(|next| next.is_ascii_alphabetic() || !next.is_ascii());
    surname_may_follow || listed.words.may_hold(Bits::of(&text[word.clone()]))
}

/// All lists as bits: what is not set is in none of them.
static LISTED: LazyLock<Listed> = LazyLock::new(|| {
    let mut listed = Listed {
        beginnings: Bits(vec![0; BITS / 64]),
        words: Bits(vec![0; BITS / 64]),
    };
    for word in GIVEN.iter().chain(&*GIVEN_TOO).chain(&*SURNAMES) {
        listed.beginnings.set(beginning(word.as_bytes()));
        listed.words.set(Bits::of(word));
    }
    listed
});
/// So many that one word in twenty is looked up for nothing.
const BITS: usize = 1 << 16;

struct Listed {
    /// The first three letters of each name.
    beginnings: Bits,
    words: Bits,
}

/// The bit of the first three letters; words with letters that can be written in more than one way have none.
fn beginning(word: &[u8]) -> Option<usize> {
    let mut letters = [0; 3];
    for (slot, byte) in letters.iter_mut().zip(word) {
        if !byte.is_ascii() {
            return None;
        }
        *slot = usize::from(byte | 0x20) % 32;
    }
    let [a, b, c] = letters;
    Some((a * 32 + b) * 32 + c)
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

    /// The bit of a word by its first letters in lower case (FNV-1a), up to the hyphen of a double name. Letters
    /// with accents can be written in more than one way, so such words have none.
    fn of(word: &str) -> Option<usize> {
        let mut hash: u32 = 0x811C_9DC5;
        let mut first = true;
        for byte in word.bytes() {
            if !byte.is_ascii() {
                return None;
            }
            first &= byte.is_ascii_alphabetic();
            if first {
                hash = (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
            }
        }
        Some((hash ^ (hash >> 15)) as usize % BITS)
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

fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let letters = bytes[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic());
    let mut end = start + letters.count();
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
        if !capital || is_listed(part, NOT_SURNAMES, buffer) || is_inside(text, &next) {
            break;
        }
        if is_listed(part, PLACE_OR_COMPANY, buffer) {
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
    const NOBODY: &[&str] = &[
        "nobody",
        "somebody",
        "someone",
        "anyone",
        "everybody",
        "everyone",
        "who",
        "whoever",
        "there",
        "sir",
        "team",
        "support",
    ];
    let mut buffer = String::new();
    let first = value.split([' ', '-']).next().unwrap_or(value);
    is_opening(first, &mut buffer) || is_listed(first, NOBODY, &mut buffer)
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
    const OPENINGS: &[&str] = &[
        "new",
        "old",
        "big",
        "red",
        "blue",
        "black",
        "white",
        "green",
        "north",
        "south",
        "east",
        "west",
        "upper",
        "lower",
        "great",
        "san",
        "santa",
        "saint",
        "los",
        "las",
        "el",
        "la",
        "port",
        "fort",
        "lake",
        "mount",
        "royal",
        "united",
        "general",
        "first",
        "last",
        "one",
        "two",
        "all",
        "any",
        "some",
        "each",
        "every",
        "no",
        "not",
        "but",
        "so",
        "then",
        "there",
        "here",
        "now",
        "today",
        "use",
        "see",
        "add",
        "make",
        "get",
        "set",
        "run",
        "let",
        "also",
        "only",
        "just",
        "more",
        "most",
        "such",
        "than",
        "as",
        "by",
        "into",
        "over",
        "under",
        "draft",
        "write",
        "send",
        "ask",
        "tell",
        "call",
        "contact",
        "meet",
        "bitte",
        "herr",
        "frau",
        "monsieur",
        "madame",
        "senor",
        "senora",
        "signor",
        "signora",
        "mister",
        "miss",
        "sir",
        "lord",
        "lady",
        "president",
        "minister",
        "professor",
        "doctor",
        "customer",
        "client",
        "patient",
        "applicant",
        "manager",
        "director",
        "employee",
        "open",
        "data",
        "time",
        "test",
        "case",
        "type",
        "value",
        "table",
        "list",
        "hash",
        "root",
        "main",
        "base",
        "block",
        "page",
        "user",
        "public",
        "private",
        "apache",
        "mozilla",
        "google",
        "microsoft",
        "amazon",
        "visual",
        "internet",
        "world",
        "high",
        "low",
        "long",
        "short",
        "full",
        "free",
        "hot",
        "cold",
        "dark",
        "light",
        "silicon",
        "central",
    ];
    is_listed(word, OPENINGS, buffer) || is_listed(word, NOT_SURNAMES, buffer)
}

fn lowered<'b>(word: &str, buffer: &'b mut String) -> &'b str {
    buffer.clear();
    buffer.extend(word.chars().flat_map(char::to_lowercase));
    buffer
}

fn is_listed(word: &str, list: &[&str], buffer: &mut String) -> bool {
    let word = lowered(word, buffer);
    list.contains(&word)
}

/// Whether a word is in a set, as it is or without its accents; double names by their first part.
fn lookup(word: &str, buffer: &mut String, set: &HashSet<&str>) -> bool {
    if set.contains(lowered(word, buffer)) {
        return true;
    }
    if word.is_ascii() {
        return word
            .split_once('-')
            .is_some_and(|(first, _)| first.len() > 2 && set.contains(lowered(first, buffer)));
    }
    use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
    let plain: String = word
        .nfd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    set.contains(plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        names(text).into_iter().map(|name| &text[name.span]).collect()
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
