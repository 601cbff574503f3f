//! What every match of a pattern must hold, read off the pattern: a cheap look that spares most searches.
//!
//! A pattern for a key of forty characters cannot match in a sentence, and one for a nine-digit number cannot
//! where there are eight digits. Both can be seen in a window some ten times faster than the pattern can be
//! run over it. The look may only ever say no where the pattern surely would; when in doubt it says yes.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Shorter runs are in every text, so that looking for them would only cost.
const LEAST_RUN: usize = 8;

/// What a window must hold for a pattern to match in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// So many ASCII digits.
    digits: usize,
    /// So many [`is_solid`] bytes in a row; 0 where the pattern asks for fewer than [`LEAST_RUN`].
    run: usize,
    /// The match begins at the border of a word.
    pub(crate) word_start: bool,
}

impl Needs {
    pub(crate) fn of(pattern: &Hir) -> Self {
        let shape = Shape::of(pattern);
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
            word_start: word_start.iter().any(|look| looks.contains(*look)),
        }
    }

    /// Whether the pattern could match in bytes with so many digits, and at most so many solid bytes in a row.
    pub(crate) fn allow_in(self, digits: usize, longest_run: usize) -> bool {
        self.digits <= digits && self.run <= longest_run
    }

    /// Whether the pattern could match in these bytes.
    pub(crate) fn allow(self, bytes: &[u8]) -> bool {
        (self.run == 0 || has_run(bytes, self.run))
            && (self.digits == 0 || bytes.iter().filter(|byte| byte.is_ascii_digit()).count() >= self.digits)
    }
}

/// What keys, hashes and encoded data are made of.
pub(crate) fn is_solid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=')
}

/// Whether so many solid bytes follow each other. Looks from the far end of where a run would be, so that in
/// ordinary text most bytes are never read.
pub(crate) fn has_run(bytes: &[u8], least: usize) -> bool {
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

    fn of(pattern: &Hir) -> Self {
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
            HirKind::Repetition(repetition) => Self::of(&repetition.sub).times(repetition.min as usize),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => parts
                .iter()
                .fold(Self::NOTHING, |shape, part| shape.then(Self::of(part))),
            HirKind::Alternation(choices) => choices
                .iter()
                .map(Self::of)
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
    fn runs_are_found() {
        assert!(has_run(b"a bcdef g", 5) && !has_run(b"a bcdef g", 6) && !has_run(b"abc", 4));
    }

    proptest! {
        #[test]
        fn a_match_is_never_refused(
            pattern in "(\\[0-9\\](\\{[1-9]\\})?|[a-c](\\?|\\*|\\{2,5\\})?|\\(\\?:[a-z]{1,9}\\|[0-9]{1,3} x\\)(\\{2\\})?| ){1,6}",
            text in "[a-c0-2 x]{0,60}",
        ) {
            let regex = regex_automata::meta::Regex::new(&pattern).unwrap();
            if let Some(found) = regex.find(&text) {
                prop_assert!(needs(&pattern).allow(&text.as_bytes()[found.range()]), "{pattern}");
            }
        }
    }
}
