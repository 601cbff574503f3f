//! What every match of a pattern must hold, read off the pattern: a cheap look that spares most searches.
//!
//! A pattern for a key of forty characters cannot match in a sentence, and one for a nine-digit number cannot
//! where there are eight digits. Both can be seen in a window some ten times faster than the pattern can be
//! run over it. The look may only ever say no where the pattern surely would; when in doubt it says yes.

use memchr::memmem::Finder;
use regex_syntax::hir::{Class, Hir, HirKind, Look, literal::Extractor};

/// Shorter runs are in every text, so that looking for them would only cost.
const LEAST_RUN: usize = 8;
/// Shorter words are in every text, too.
const LEAST_LITERAL: usize = 4;

/// What a window must hold for a pattern to match in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// So many ASCII digits.
    digits: usize,
    /// So many [`is_solid`] bytes in a row; 0 where the pattern asks for fewer than [`LEAST_RUN`].
    run: usize,
    /// The same where dots are solid as well; 0 where that tells nothing more.
    dotted: usize,
    /// One of these signs.
    signs: Option<Signs>,
    /// These bytes, which do not begin the match: what begins it is mostly known to be there.
    literal: Option<Finder<'static>>,
    /// The match begins at the border of a word.
    pub(crate) word_start: bool,
}

impl Needs {
    pub(crate) fn of(pattern: &Hir) -> Self {
        let shape = Shape::of(pattern, is_solid);
        let dotted = Shape::of(pattern, is_solid_or_dot).best;
        let looks = pattern.properties().look_set_prefix();
        let word_start = [
            Look::WordAscii,
            Look::WordUnicode,
            Look::WordStartAscii,
            Look::WordStartUnicode,
        ];
        Self {
            digits: shape.digits,
            run: if shape.best >= LEAST_RUN { shape.best } else { 0 },
            dotted: if dotted >= LEAST_RUN && dotted > shape.best {
                dotted
            } else {
                0
            },
            signs: Signs::of(pattern),
            literal: longest_literal(pattern, true)
                .filter(|literal| literal.len() >= LEAST_LITERAL)
                .map(|literal| Finder::new(literal).into_owned()),
            word_start: word_start.iter().any(|look| looks.contains(*look)),
        }
    }

    /// Whether the pattern could match in bytes with so many digits, and at most so many solid bytes in a row.
    pub(crate) fn allow_in(&self, digits: usize, longest_run: usize) -> bool {
        self.digits <= digits && self.run <= longest_run
    }

    /// Whether the pattern could match in these bytes.
    pub(crate) fn allow(&self, bytes: &[u8]) -> bool {
        self.signs.as_ref().is_none_or(|signs| signs.any_in(bytes))
            && self
                .literal
                .as_ref()
                .is_none_or(|literal| literal.find(bytes).is_some())
            && (self.run == 0 || has_run(bytes, self.run, is_solid))
            && (self.dotted == 0 || has_run(bytes, self.dotted, is_solid_or_dot))
            && (self.digits == 0 || bytes.iter().filter(|byte| byte.is_ascii_digit()).count() >= self.digits)
    }
}

/// What keys, hashes and encoded data are made of.
pub(crate) fn is_solid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=')
}

fn is_solid_or_dot(byte: u8) -> bool {
    is_solid(byte) || byte == b'.'
}

/// Whether so many solid bytes follow each other. Looks from the far end of where a run would be, so that in
/// ordinary text most bytes are never read.
fn has_run(bytes: &[u8], least: usize, is_solid: impl Fn(u8) -> bool) -> bool {
    let mut start = 0;
    while let Some(window) = bytes.get(start..start + least) {
        match window.iter().rposition(|byte| !is_solid(*byte)) {
            None => return true,
            Some(gap) => start += gap + 1,
        }
    }
    false
}

/// How many digits there are, and how many solid bytes in a row at most.
pub(crate) fn digits_and_run(bytes: &[u8]) -> (usize, usize) {
    let (mut digits, mut run, mut longest) = (0, 0, 0);
    for byte in bytes {
        digits += usize::from(byte.is_ascii_digit());
        run = if is_solid(*byte) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    (digits, longest)
}

/// Up to three signs, of which every match holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signs {
    bytes: [u8; 3],
    /// How many there are; the rest repeats the first.
    count: usize,
    /// How often texts hold them, roughly.
    frequency: usize,
}

impl Signs {
    fn one(byte: u8) -> Option<Self> {
        let frequency = match byte {
            // They are nearly everywhere.
            b' ' | b'\n' | b'\t' | b'\r' => return None,
            _ if byte.is_ascii_alphanumeric() => return None,
            b'.' | b',' | b'-' => 4,
            _ => 1,
        };
        Some(Self {
            bytes: [byte; 3],
            count: 1,
            frequency,
        })
    }

    fn or(mut self, other: Self) -> Option<Self> {
        for byte in &other.bytes[..other.count] {
            if self.bytes[..self.count].contains(byte) {
                continue;
            }
            *self.bytes.get_mut(self.count)? = *byte;
            self.count += 1;
            self.frequency += Self::one(*byte)?.frequency;
        }
        Some(self)
    }

    fn of(pattern: &Hir) -> Option<Self> {
        let rarest = |signs: &Self| signs.frequency;
        match pattern.kind() {
            HirKind::Empty | HirKind::Look(_) => None,
            HirKind::Literal(literal) => {
                let all = literal.0.iter().filter_map(|byte| Self::one(*byte));
                all.min_by_key(rarest)
            }
            HirKind::Class(Class::Unicode(class)) => {
                let mut all: Option<Self> = None;
                for range in class.ranges() {
                    // Of a character that is not ASCII, the first byte speaks for it.
                    let (start, end) = (first_byte(range.start()), first_byte(range.end()));
                    for byte in start..=end {
                        let one = Self::one(byte)?;
                        all = Some(match all {
                            Some(all) => all.or(one)?,
                            None => one,
                        });
                    }
                }
                all
            }
            HirKind::Class(Class::Bytes(_)) => None,
            HirKind::Repetition(repetition) if repetition.min > 0 => Self::of(&repetition.sub),
            HirKind::Repetition(_) => None,
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => parts.iter().filter_map(Self::of).min_by_key(rarest),
            HirKind::Alternation(choices) => {
                let mut choices = choices.iter().map(Self::of);
                let first = choices.next()??;
                choices.try_fold(first, |all, one| all.or(one?))
            }
        }
    }

    fn any_in(self, bytes: &[u8]) -> bool {
        let [a, b, c] = self.bytes;
        match self.count {
            1 => memchr::memchr(a, bytes),
            2 => memchr::memchr2(a, b, bytes),
            _ => memchr::memchr3(a, b, c, bytes),
        }
        .is_some()
    }
}

fn first_byte(c: char) -> u8 {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes);
    bytes[0]
}

/// The longest literal that every match holds, but for one that begins the match.
fn longest_literal(pattern: &Hir, begins: bool) -> Option<&[u8]> {
    match pattern.kind() {
        HirKind::Literal(literal) if !begins => Some(&literal.0),
        HirKind::Capture(capture) => longest_literal(&capture.sub, begins),
        HirKind::Repetition(repetition) if repetition.min > 0 => longest_literal(&repetition.sub, begins),
        HirKind::Concat(parts) => {
            let mut begins = begins;
            let mut longest: Option<&[u8]> = None;
            for part in parts {
                let literal = longest_literal(part, begins);
                if literal.map_or(0, <[u8]>::len) > longest.map_or(0, <[u8]>::len) {
                    longest = literal;
                }
                begins &= matches!(part.kind(), HirKind::Look(_) | HirKind::Empty);
            }
            longest
        }
        _ => None,
    }
}

/// How matches of a pattern begin: their first three bytes in small letters, as bits. Where a keyword is a single
/// sign, as brackets are, patterns begin at many places in code and match at few.
#[derive(Debug)]
pub(crate) struct Beginnings(Box<[u64; BEGINNINGS / 64]>);

/// So many that few places pass for nothing.
const BEGINNINGS: usize = 1 << 12;

impl Beginnings {
    /// None where a match may be shorter, or may begin in too many ways.
    pub(crate) fn of(pattern: &Hir) -> Option<Self> {
        let mut extractor = Extractor::new();
        extractor
            .limit_literal_len(3)
            .limit_class(16)
            .limit_repeat(4)
            .limit_total(4_000);
        let ways = extractor.extract(pattern);
        let mut bits = Box::new([0; BEGINNINGS / 64]);
        for way in ways.literals()? {
            let bit = Self::bit(way.as_bytes())?;
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Some(Self(bits))
    }

    /// Whether a match could begin with these bytes.
    pub(crate) fn allow(&self, bytes: &[u8]) -> bool {
        Self::bit(bytes).is_some_and(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }

    fn bit(bytes: &[u8]) -> Option<usize> {
        let three: [u8; 3] = *bytes.first_chunk()?;
        let packed = three.iter().fold(0u32, |packed, byte| {
            packed << 8 | u32::from(byte.to_ascii_lowercase())
        });
        Some((packed.wrapping_mul(0x9E37_79B1) >> 20) as usize % BEGINNINGS)
    }
}

/// The least of everything that a match can hold.
#[derive(Clone, Copy, Default)]
struct Shape {
    digits: usize,
    /// Solid bytes in a row at its beginning, at its end, and anywhere.
    head: usize,
    tail: usize,
    best: usize,
    /// It is of solid bytes alone, so `head`, `tail` and `best` are its length.
    whole: bool,
}

impl Shape {
    const NOTHING: Self = Self {
        digits: 0,
        head: 0,
        tail: 0,
        best: 0,
        whole: true,
    };

    fn of(pattern: &Hir, is_solid: fn(u8) -> bool) -> Self {
        match pattern.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::NOTHING,
            HirKind::Literal(literal) => literal.0.iter().fold(Self::NOTHING, |shape, byte| {
                shape.then(Self::one(is_solid(*byte), byte.is_ascii_digit()))
            }),
            HirKind::Class(class) => {
                let all = |wanted: fn(u8) -> bool| match class {
                    // Case folding brings in two signs that no normalised view holds (U+017F and U+212A).
                    Class::Unicode(class) => class.ranges().iter().all(|range| {
                        (range.start() == range.end() && matches!(range.start(), '\u{17F}' | '\u{212A}'))
                            || (range.end().is_ascii()
                                && (range.start() as u8..=range.end() as u8).all(wanted))
                    }),
                    Class::Bytes(class) => class
                        .ranges()
                        .iter()
                        .all(|range| (range.start()..=range.end()).all(wanted)),
                };
                Self::one(all(is_solid), all(|byte| byte.is_ascii_digit()))
            }
            HirKind::Repetition(repetition) => {
                Self::of(&repetition.sub, is_solid).times(repetition.min as usize)
            }
            HirKind::Capture(capture) => Self::of(&capture.sub, is_solid),
            HirKind::Concat(parts) => parts
                .iter()
                .fold(Self::NOTHING, |shape, part| shape.then(Self::of(part, is_solid))),
            HirKind::Alternation(choices) => choices
                .iter()
                .map(|choice| Self::of(choice, is_solid))
                .reduce(|a, b| Self {
                    digits: a.digits.min(b.digits),
                    head: a.head.min(b.head),
                    tail: a.tail.min(b.tail),
                    best: a.best.min(b.best),
                    whole: a.whole && b.whole,
                })
                .unwrap_or_default(),
        }
    }

    fn one(solid: bool, digit: bool) -> Self {
        let run = usize::from(solid);
        Self {
            digits: usize::from(digit),
            head: run,
            tail: run,
            best: run,
            whole: solid,
        }
    }

    fn then(self, next: Self) -> Self {
        Self {
            digits: self.digits + next.digits,
            head: if self.whole {
                self.head + next.head
            } else {
                self.head
            },
            tail: if next.whole {
                self.tail + next.tail
            } else {
                next.tail
            },
            best: self.best.max(next.best).max(self.tail + next.head),
            whole: self.whole && next.whole,
        }
    }

    fn times(self, least: usize) -> Self {
        let run = |one: usize| one.saturating_mul(least);
        match least {
            0 => Self {
                whole: self.whole,
                ..Self::default()
            },
            _ if self.whole => Self {
                digits: run(self.digits),
                head: run(self.head),
                tail: run(self.tail),
                best: run(self.best),
                whole: true,
            },
            _ => Self {
                digits: run(self.digits),
                best: if least > 1 {
                    self.best.max(self.tail + self.head)
                } else {
                    self.best
                },
                ..self
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs(pattern: &str) -> Needs {
        Needs::of(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn are_read_off_the_pattern() {
        let of = |pattern| {
            let Needs {
                digits,
                run,
                word_start,
                ..
            } = needs(pattern);
            (digits, run, word_start)
        };
        assert_eq!(of(r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"), (9, 11, true));
        assert_eq!(of(r"[0-9]{3}[ .]?[0-9]{4}"), (7, 0, false));
        assert_eq!(of("(?i)ask_[a-z0-9]{20,}"), (0, 24, false));
        assert_eq!(of("key.{0,9}[0-9a-f]{32}"), (0, 32, false));
        assert_eq!(of("(?:a{9}|[0-9]{12} )x"), (0, 9, false));
        assert_eq!(of(r"(?:[a-z]{4}\.){3}"), (0, 0, false));
        assert_eq!(of("(?:a{5} b{6}){2}"), (0, 11, false));
    }

    #[test]
    fn signs_and_words_are_read_off_the_pattern() {
        let signs = |pattern| {
            needs(pattern)
                .signs
                .map(|signs| signs.bytes[..signs.count].to_vec())
        };
        assert_eq!(signs("(?i)firm ?(?:[:\u{ff1a}] ?| =)x"), Some(b":\xEF=".to_vec()));
        assert_eq!(signs("a, b@c"), Some(b"@".to_vec()));
        assert_eq!(signs("a[:=]?b"), None);
        assert_eq!(signs("(?:a:|b)c"), None);
        assert!(needs("[A-Z]+[ ]is[ ]an?").allow(b"it is a") && !needs("[A-Z]+[ ]is[ ]an?").allow(b"is it"));
        assert_eq!(needs("[0-9a-f]{4}[.][0-9a-f]{4}").dotted, 9);
    }

    #[test]
    fn beginnings_are_read_off_the_pattern() {
        let of = |pattern| Beginnings::of(&regex_syntax::parse(pattern).unwrap());
        let brackets = of(r"(?i)\b(?:label: |[\[(](?:company )?(?:internal|secret))").unwrap();
        for bytes in ["label", "(INT", "[comp", "(sec"] {
            assert!(brackets.allow(bytes.as_bytes()), "{bytes}");
        }
        for bytes in ["(left", "()", "(0, ", "la"] {
            assert!(!brackets.allow(bytes.as_bytes()), "{bytes}");
        }
        assert!(of("ab|abcd").is_none() && of(r"\p{L}+ abc").is_none() && of("a?b?c?").is_none());
    }

    #[test]
    fn runs_are_found() {
        let has_run = |bytes, least| has_run(bytes, least, is_solid);
        assert!(has_run(b"a bcdef g", 5) && !has_run(b"a bcdef g", 6) && !has_run(b"abc", 4));
    }

    proptest! {
        #[test]
        fn a_match_is_never_refused(
            pattern in "(\\[0-9\\](\\{[1-9]\\})?|[a-c:](\\?|\\*|\\{2,5\\})?|\\(\\?:[a-z]{1,9}\\|[0-9]{1,3} x\\)(\\{2\\})?|\\[:=\\]|\\(x:\\|=\\)|\\[\\.\\]|abcab| ){1,6}",
            text in "([a-c0-2 x:=.]|abcab){0,60}",
        ) {
            let regex = regex_automata::meta::Regex::new(&pattern).unwrap();
            if let Some(found) = regex.find(&text) {
                prop_assert!(needs(&pattern).allow(&text.as_bytes()[found.range()]), "{pattern}");
                if let Some(beginnings) = Beginnings::of(&regex_syntax::parse(&pattern).unwrap()) {
                    prop_assert!(beginnings.allow(&text.as_bytes()[found.range()]), "{pattern}");
                }
            }
        }
    }
}
