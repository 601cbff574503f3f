//! One walk over the bytes of a view that finds where the patterns without keywords are worth running.
//!
//! A candidate is a range; whether anything is in it is for the patterns and validators to say.
//! The walk is linear, and candidates of one kind do not overlap, so their number is bounded by the text.

use std::ops::Range;

use crate::detector::Gate;

/// How far ahead of its first digit a candidate starts, for the `+`, `(` or country letters before it.
const LEAD: usize = 3;
/// How far behind its last digit a candidate ends, for an extension.
const TAIL: usize = 8;
/// Digits that a candidate of the digit gate must have: the shortest thing looked for has seven.
const LEAST_DIGITS: usize = 7;
/// The longest address behind its house number.
const HOUSE_REACH: usize = 140;
/// The longest word of the code gate.
const CODE_BYTES: usize = 40;
/// The longest group and word before the first digit of a candidate.
const BACK: usize = 64;
/// The longest IBAN with a space between all its characters.
const IBAN_REACH: usize = 68;

/// A stretch of bytes that a gate let through.
pub(crate) struct Candidate {
    pub(crate) gate: Gate,
    pub(crate) span: Range<usize>,
    /// How many digits it holds.
    pub(crate) digits: usize,
}

const DIGIT: u8 = 1;
const LETTER: u8 = 2;
const HEX: u8 = 4;
/// Stands between the groups of a number.
const SEPARATOR: u8 = 8;
/// Stands between the groups of an address.
const JOINT: u8 = 16;

static CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        table[b] = match c {
            b'0'..=b'9' => DIGIT | HEX,
            b'a'..=b'f' | b'A'..=b'F' => LETTER | HEX,
            b'g'..=b'z' | b'G'..=b'Z' => LETTER,
            b' ' | b'(' | b')' | b'/' | b'_' => SEPARATOR,
            b'-' | b'.' => SEPARATOR | JOINT,
            b':' | b'%' => JOINT,
            _ => 0,
        };
        b += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

/// Calls `found` for each candidate, in the order of their starts within each gate.
pub(crate) fn walk(text: &str, mut found: impl FnMut(Candidate)) {
    let bytes = text.as_bytes();
    let mut digits_to = 0;
    let mut groups_to = 0;
    let mut at = 0;
    let mut near_to = 0;
    while at < bytes.len() {
        if at >= near_to {
            // Every candidate holds a digit or two colons, which most stretches of a text do not.
            let Some(sign) = next_sign(bytes, at) else { break };
            near_to = sign + 1;
            at = at.max(first_of(bytes, at, sign));
        }
        let kind = class(bytes[at]);
        if kind & (DIGIT | LETTER) == 0 {
            // IPv6 addresses may begin with their colons.
            if bytes[at] == b':' && at >= groups_to && bytes.get(at + 1) == Some(&b':') {
                groups_to = groups(text, at, &mut found);
            }
            at += 1;
            continue;
        }
        // A word: letters and digits.
        let start = at;
        let mut digits = 0;
        let mut all_hex = true;
        let mut first_digit = None;
        while at < bytes.len() && class(bytes[at]) & (DIGIT | LETTER) != 0 {
            let kind = class(bytes[at]);
            if kind & DIGIT != 0 {
                digits += 1;
                first_digit.get_or_insert(at);
            }
            all_hex &= kind & HEX != 0;
            at += 1;
        }
        let word = start..at;
        if digits >= 3 && digits < word.len() && word.len() <= CODE_BYTES {
            found(Candidate {
                gate: Gate::Code,
                span: with_neighbours(text, word.clone()),
                digits,
            });
        }
        if bytes[start..at].len() >= 2
            && class(bytes[start]) == class(bytes[start]) & (LETTER | HEX)
            && bytes[start].is_ascii_alphabetic()
            && bytes[start + 1].is_ascii_alphabetic()
            && bytes[start + 2..]
                .iter()
                .filter(|b| **b != b' ')
                .take(2)
                .all(u8::is_ascii_digit)
            && (at - start == 2 || bytes[start + 2].is_ascii_digit())
        {
            let end = boundary(text, (start + IBAN_REACH).min(text.len()));
            found(Candidate {
                gate: Gate::Iban,
                span: start..end,
                digits: 0,
            });
        }
        if all_hex && word.len() <= 4 && start >= groups_to {
            let next = bytes.get(at).copied().unwrap_or_default();
            if next == b':' || (next == b'-' && word.len() == 2) || (next == b'.' && digits == word.len()) {
                groups_to = groups(text, start, &mut found);
            }
        }
        // A house number: short, and a capitalised word behind it.
        if digits > 0
            && word.len() <= 7
            && first_digit == Some(start)
            && bytes.get(at) == Some(&b' ')
            && bytes
                .get(at + 1)
                .is_some_and(|b| b.is_ascii_uppercase() || *b >= 0x80)
        {
            let end = boundary(text, (at + HOUSE_REACH).min(text.len()));
            found(Candidate {
                gate: Gate::House,
                span: boundary(text, start.saturating_sub(1))..end,
                digits,
            });
        }
        if let Some(first) = first_digit
            && first >= digits_to
            && (first == start || first - start <= LEAD)
        {
            digits_to = number(text, first, &mut found);
        }
    }
}

/// The next digit, or colon behind which a colon stands.
fn next_sign(bytes: &[u8], from: usize) -> Option<usize> {
    let is_sign = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
    // The look at a whole chunk has no branches in it, so the compiler makes it a few wide instructions.
    let mut at = from;
    for chunk in bytes[from..].chunks(32) {
        if chunk.iter().fold(false, |any, byte| any | is_sign(byte)) {
            let sign = (at..at + chunk.len())
                .find(|at| bytes[*at].is_ascii_digit() || (bytes[*at] == b':' && is_joined(bytes, *at)));
            if sign.is_some() {
                return sign;
            }
        }
        at += chunk.len();
    }
    None
}

/// Whether a colon may be part of an address: another colon or a hexadecimal group is next to it.
fn is_joined(bytes: &[u8], colon: usize) -> bool {
    bytes
        .get(colon + 1)
        .is_some_and(|next| *next == b':' || class(*next) & HEX != 0)
}

/// Where a candidate that holds the sign may begin, at most [`BACK`] bytes before it.
fn first_of(bytes: &[u8], from: usize, sign: usize) -> usize {
    let low = from.max(sign.saturating_sub(BACK));
    let parts = bytes[low..sign]
        .iter()
        .rposition(|byte| class(*byte) & (DIGIT | LETTER | JOINT) == 0);
    let first = parts.map_or(low, |before| low + before + 1);
    // An IBAN may have a space behind its two letters of a country.
    match bytes[low..first] {
        [.., a, b, b' '] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => first - 3,
        _ => first,
    }
}

/// A number with its separators, from its first digit; returns where it ends.
fn number(text: &str, first: usize, found: &mut impl FnMut(Candidate)) -> usize {
    let bytes = text.as_bytes();
    let mut digits = 0;
    let mut end = first;
    let mut gap = 0;
    for (at, byte) in bytes.iter().enumerate().skip(first) {
        let kind = class(*byte);
        if kind & DIGIT != 0 {
            digits += 1;
            gap = 0;
            end = at + 1;
        } else if kind & SEPARATOR != 0 && gap < 3 {
            gap += 1;
        } else {
            break;
        }
    }
    if digits >= LEAST_DIGITS {
        let span =
            boundary(text, first.saturating_sub(LEAD))..text.ceil_char_boundary((end + TAIL).min(text.len()));
        found(Candidate {
            gate: Gate::Digits,
            span,
            digits,
        });
    }
    end
}

/// Groups joined by colons or dashes, from their first byte; returns where they end.
fn groups(text: &str, first: usize, found: &mut impl FnMut(Candidate)) -> usize {
    let bytes = text.as_bytes();
    let mut end = first;
    let mut joints = 0;
    while end < bytes.len() && class(bytes[end]) & (HEX | JOINT) != 0 {
        joints += usize::from(matches!(bytes[end], b':' | b'-' | b'.'));
        end += 1;
        // The zone of a link-local address is a name.
        if bytes[end - 1] == b'%' {
            end += bytes[end..]
                .iter()
                .take(16)
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
        }
    }
    if joints >= 2 {
        found(Candidate {
            gate: Gate::Groups,
            // Two characters before: of a stroke, it matters what stands before that.
            span: with_neighbours(text, first.saturating_sub(1)..end),
            digits: 0,
        });
    }
    end
}

/// The range and one character on either side, which patterns ask about.
fn with_neighbours(text: &str, span: Range<usize>) -> Range<usize> {
    boundary(text, span.start.saturating_sub(1))..text.ceil_char_boundary((span.end + 1).min(text.len()))
}

/// The character boundary at or before `at`.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str, gate: Gate) -> Vec<&str> {
        let mut all = Vec::new();
        walk(text, |candidate| {
            if candidate.gate == gate {
                all.push(candidate.span);
            }
        });
        all.into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn finds_numbers_codes_and_groups() {
        assert_eq!(
            seen("call +1 (202) 555-0147 now", Gate::Digits),
            ["l +1 (202) 555-0147 now"]
        );
        assert_eq!(seen("is DE89 3704", Gate::Iban), ["DE89 3704"]);
        assert_eq!(seen("at fe80::1%eth0", Gate::Groups), ["t fe80::1%eth0"]);
        assert_eq!(
            seen("mac 00:1a:2b:3c:4d:5e.", Gate::Groups),
            ["c 00:1a:2b:3c:4d:5e."]
        );
        assert_eq!(seen("id RSSMRA85T10A562S", Gate::Code), [" RSSMRA85T10A562S"]);
    }

    #[test]
    fn is_linear_on_one_kind_of_byte() {
        for byte in ["1", ":", "-", "a", " ", "1 ", "a1", "::"] {
            let text = byte.repeat((1 << 20) / byte.len());
            let mut bytes = 0;
            walk(&text, |candidate| bytes += candidate.span.len());
            assert!(bytes <= 40 * text.len());
        }
    }
}
