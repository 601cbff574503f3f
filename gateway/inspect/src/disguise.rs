//! Disguises: values written backwards, in rot13, or with letters that look like their digits.
//!
//! Any text can be read so, and by chance some of it says something; so a disguise is undone only where a
//! cheap look speaks for a value of a strong format (see [`Detector::strong`](crate::detector::Detector)), and
//! only findings of strong detectors count in what comes out ([`Trust::Strong`](crate::decode::Trust)):
//! - a long word that ends in the reversed prefix of a credential, begins with the rot13 of one, or is an IBAN
//!   from its end;
//! - an address whose host stands in front of its `@`;
//! - a number of the length of a payment card or IBAN whose checksum holds backwards, or once `O`, `l`, `S`
//!   and the like are taken for the digits they look like.
//!
//! What text separated or spelled out says is for [`crate::decode`]; text behind an override of the writing
//! direction is shown by [`crate::normalise`].
//!
//! Limits: words of [`MAX_WORD`] bytes. Time is linear: each look is bounded.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, MatchKind, StartKind};

use crate::{
    decode::{Says, Stretch},
    validate::{self, Validator, Verdict},
};

/// The shortest word that is tried for a credential.
const LEAST_WORD: usize = 16;
/// The longest word that is tried.
const MAX_WORD: usize = 4096;
/// The longest number with its separators.
const MAX_NUMBER: usize = 48;
/// The fewest digits of a card or an IBAN.
const LEAST_DIGITS: usize = 13;

/// What disguised words begin or end with.
pub(crate) struct Disguises {
    /// Prefixes from their end, as words that are read from their end begin.
    backwards: AhoCorasick,
    rotated: AhoCorasick,
    card: Validator,
    iban: Validator,
}

impl Disguises {
    /// For credentials with these prefixes.
    ///
    /// # Errors
    /// When the prefixes are too many for an automaton.
    pub(crate) fn new(prefixes: &[String]) -> Result<Self, String> {
        let build = |words: Vec<String>| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostFirst)
                .start_kind(StartKind::Anchored)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(words)
                .map_err(|error| error.to_string())
        };
        let validator = |name: &str| validate::by_name(name).ok_or_else(|| format!("no validator `{name}`"));
        Ok(Self {
            backwards: build(prefixes.to_vec())?,
            rotated: build(prefixes.iter().map(|prefix| rot13(prefix)).collect())?,
            card: validator("card")?,
            iban: validator("iban")?,
        })
    }

    /// A long word that is no encoding.
    pub(crate) fn word(&self, text: &str, word: Range<usize>, found: &mut Vec<Stretch>) {
        let bytes = text.as_bytes();
        let (start, end) = (word.start, word.end);
        if word.len() < LEAST_WORD || word.len() > MAX_WORD {
            return;
        }
        // The last bytes from the end are enough to tell a prefix.
        let mut tail = [0; 32];
        let length = word.len().min(tail.len());
        for (slot, byte) in tail.iter_mut().zip(bytes[word.clone()].iter().rev()) {
            *slot = *byte;
        }
        let tail = &tail[..length];
        let iban = tail[0].is_ascii_uppercase()
            && tail[1].is_ascii_uppercase()
            && tail[2].is_ascii_digit()
            && tail[3].is_ascii_digit()
            && self.iban.judge(&reversed(&text[word.clone()])) == Verdict::Right;
        if iban || self.backwards.is_match(Input::new(tail).anchored(Anchored::Yes)) {
            // A key may have dots in it, which are in no encoded word.
            let from = start
                - bytes[..start]
                    .iter()
                    .rev()
                    .take(MAX_WORD)
                    .take_while(|b| is_key(**b))
                    .count();
            let to = end
                + bytes[end..]
                    .iter()
                    .take(MAX_WORD)
                    .take_while(|b| is_key(**b))
                    .count();
            found.push(Stretch {
                source: from..to,
                says: Says::Backwards,
            });
        } else if self
            .rotated
            .is_match(Input::new(&bytes[word.clone()]).anchored(Anchored::Yes))
        {
            let to = end
                + bytes[end..]
                    .iter()
                    .take(MAX_WORD)
                    .take_while(|b| is_key(**b))
                    .count();
            found.push(Stretch::text(start..to, rot13(&text[start..to])));
        }
    }

    /// The disguised address or number at an `@`, or at the first digit of a row. Places come in order; up to
    /// `done` all was looked at.
    pub(crate) fn place(&self, text: &str, at: usize, done: &mut usize, found: &mut Vec<Stretch>) {
        if text.as_bytes()[at] == b'@' {
            found.extend(address(text, at));
        } else if at >= *done {
            let (stretch, end) = self.number(text, at, *done);
            found.extend(stretch);
            *done = end;
        }
    }

    /// The number around the first digit of its row; and where it ends.
    fn number(&self, text: &str, first: usize, least: usize) -> (Option<Stretch>, usize) {
        let bytes = text.as_bytes();
        // Two letters of a country, or letters that look like digits, may stand before it.
        let capitals = bytes[..first]
            .iter()
            .rev()
            .take(3)
            .take_while(|b| b.is_ascii_uppercase())
            .count();
        let country = capitals == 2 && !(first > 2 && bytes[first - 3].is_ascii_alphanumeric());
        let mut start = first;
        if country {
            start -= 2;
        } else {
            while start > least && first - start < 3 && look(bytes[start - 1]).is_some() {
                start -= 1;
            }
            if start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
                // A longer word, of which the number is no part.
                return (None, run(bytes, first));
            }
        }
        let body = if country { start + 2 } else { start };
        // Groups of digits, or of letters that look like some, with one separator between.
        let mut end = body;
        let mut digits = 0;
        let mut letters = 0;
        let mut tail = 0;
        let mut at = body;
        while at < bytes.len() && at - body < MAX_NUMBER {
            let bare = run(bytes, at).min(at + MAX_NUMBER);
            let capitals = bytes[bare..]
                .iter()
                .take(3)
                .take_while(|b| b.is_ascii_uppercase())
                .count();
            if bare > at && capitals == 2 && !bytes.get(bare + 2).is_some_and(u8::is_ascii_alphanumeric) {
                // An IBAN from its end has its country there.
                digits += bare - at;
                end = bare + 2;
                tail = 2;
                break;
            }
            let group = bytes[at..]
                .iter()
                .take(MAX_NUMBER)
                .take_while(|b| look(**b).is_some())
                .count();
            let whole = !bytes.get(at + group).is_some_and(u8::is_ascii_alphanumeric);
            let own = bytes[at..at + group]
                .iter()
                .filter(|b| b.is_ascii_digit())
                .count();
            let round = bytes[at..at + group]
                .iter()
                .all(|b| matches!(b, b'O' | b'o' | b'I' | b'l' | b'|' | b'0'..=b'9'));
            if group == 0 || !whole || (own == 0 && (group < 2 || !round)) {
                break;
            }
            digits += own;
            letters += group - own;
            end = at + group;
            let separator = matches!(bytes.get(end), Some(b' ' | b'-' | b'.'));
            at = if separator { end + 1 } else { break };
        }
        // Where a row of bare digits ends is where to look on; within it nothing else begins.
        let on = end.max(run(bytes, first));
        if digits + letters < LEAST_DIGITS || end - body > MAX_NUMBER {
            return (None, on);
        }
        if letters > 0 {
            if digits * 2 < letters + digits {
                return (None, on);
            }
            let says: String = text[body..end]
                .bytes()
                .map(|byte| char::from(look(byte).unwrap_or(byte)))
                .collect();
            let says = format!("{}{says}", &text[start..body]);
            let right = if country { self.iban } else { self.card }.judge(&says) == Verdict::Right;
            return (right.then(|| Stretch::text(start..end, says)), on);
        }
        if country {
            return (None, on);
        }
        let says = reversed(&text[start..end]);
        let validator = if tail == 2 { self.iban } else { self.card };
        let right = validator.judge(&says) == Verdict::Right;
        let backwards = right.then_some(Stretch {
            source: start..end,
            says: Says::Backwards,
        });
        (backwards, on)
    }
}

/// The end of a row of digits.
fn run(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count()
}

/// What a key may hold beside the alphabet of base64.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'/')
}

/// The digit that a character is or looks like.
fn look(byte: u8) -> Option<u8> {
    Some(match byte {
        b'0'..=b'9' => byte,
        b'O' | b'o' | b'Q' | b'D' => b'0',
        b'I' | b'i' | b'l' | b'|' | b'!' => b'1',
        b'Z' | b'z' => b'2',
        b'E' | b'e' => b'3',
        b'A' | b'a' => b'4',
        b'S' | b's' | b'$' => b'5',
        b'G' | b'b' => b'6',
        b'T' | b't' => b'7',
        b'B' => b'8',
        b'g' | b'q' => b'9',
        _ => return None,
    })
}

fn rot13(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
            'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
            c => c,
        })
        .collect()
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// `moc.elpmaxe@nhoj`: a host before the sign, with an ending that is one only backwards, and none behind it.
fn address(text: &str, sign: usize) -> Option<Stretch> {
    const ENDINGS: &[&str] = &[
        "moc", "gro", "ten", "ude", "vog", "oi", "ofni", "zib", "oc", "ku", "ed", "rf", "se", "ti", "ue",
        "ln", "hc", "ta", "lp", "tp", "rk", "pj", "nc", "ac", "ua", "rb", "su", "ved", "ppa", "ia",
        "elpmaxe", "tset",
    ];
    let bytes = text.as_bytes();
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    let start = sign
        - bytes[..sign]
            .iter()
            .rev()
            .take(128)
            .take_while(|b| part(b))
            .count();
    let end = sign + 1 + bytes[sign + 1..].iter().take(64).take_while(|b| part(b)).count();
    let host = &text[start..sign];
    let (ending, rest) = host.split_once('.')?;
    let name = text[sign + 1..end].trim_end_matches('.');
    // `a.b@c.com` is an address as it stands.
    let forwards = name
        .rsplit_once('.')
        .is_some_and(|(_, last)| last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic()));
    let known = ENDINGS.contains(&ending.to_ascii_lowercase().as_str());
    (known && !rest.is_empty() && !name.is_empty() && (!forwards || ending.len() == 3)).then(|| Stretch {
        source: start..sign + 1 + name.len(),
        says: Says::Backwards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<String> {
        let prefixes = ["AKIA".to_owned(), "ghp_".to_owned()];
        let disguises = Disguises::new(&prefixes).unwrap();
        let mut found = Vec::new();
        let mut done = 0;
        for (at, _) in text.match_indices(|c: char| c == '@' || c.is_ascii_digit()) {
            disguises.place(text, at, &mut done, &mut found);
        }
        let word = text.split(' ').next().unwrap();
        disguises.word(text, 0..word.len(), &mut found);
        found
            .into_iter()
            .map(|stretch| match stretch.says {
                Says::Backwards => reversed(&text[stretch.source]),
                Says::Text(says) => says,
                Says::Char(c) => c.to_string(),
                Says::Nothing => String::new(),
            })
            .collect()
    }

    #[test]
    fn undoes_what_has_a_strong_format() {
        assert_eq!(seen("to moc.elpmaxe@nhoj now"), ["john@example.com"]);
        assert_eq!(seen("no 1111 1111 1111 1114 ok"), ["4111 1111 1111 1111"]);
        assert_eq!(seen("no 4l1l llll 1111 11I1 ok"), ["4111 1111 1111 1111"]);
        assert_eq!(
            seen("DE89 37O4 OO44 O532 O13O OO is it"),
            ["DE89 3704 0044 0532 0130 00"]
        );
        assert_eq!(
            seen("00 0310 2350 4400 4073 98ED is it"),
            ["DE89 3704 0044 0532 0130 00"]
        );
        let key = "AKIA4Q7XW2LM9ZT5KD3R";
        assert_eq!(seen(&reversed(key)), [key]);
        assert_eq!(seen(&rot13(key)), [key]);
    }

    #[test]
    fn leaves_other_text_alone() {
        for text in [
            "a.b@c.com",
            "moc.elpmaxe@",
            "4111 1111 1111 1111",
            "4 eggs, 12 oils and 1000 aisles in 2024 at 16 degrees",
            "1234567890123456789012345678901234567890",
            "internationalization",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(seen(text).is_empty(), "{text}: {:?}", seen(text));
        }
    }
}
