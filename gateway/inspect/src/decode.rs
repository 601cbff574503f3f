//! The decoded view of a text: what its encoded stretches say, in their surroundings.
//!
//! Decoded are base64 and base64url, hexadecimal, percent-encoding, HTML character references, `\u`, `\x`
//! and `\u{}` escapes, text with a space between all its characters, and `name [at] host [dot] com`.
//! The view holds each stretch decoded, with [`SURROUNDINGS`] bytes on either side, since patterns and
//! context words need them; windows are parted by line breaks. A finding in it is one in the source
//! span that produced it.
//!
//! Limits: one level deep; [`MAX_DECODED`] bytes of decoded text a segment; a base64 stretch that is
//! longer than [`MAX_STRETCH`] is data, not text, and is left alone.

use std::ops::Range;

use crate::view::{View, ViewWriter};

/// Bytes of plain text that a decoded stretch is shown with.
const SURROUNDINGS: usize = 64;
/// The most decoded text of one segment.
pub(crate) const MAX_DECODED: usize = 4 << 20;
/// The longest encoded word that is tried.
pub(crate) const MAX_STRETCH: usize = 64 << 10;

/// A stretch of the source, and what it says.
struct Stretch {
    source: Range<usize>,
    says: String,
}

/// The decoded view, if anything in the text is encoded.
#[must_use]
pub fn decoded(text: &str, skip: &[Range<usize>]) -> Option<View<'static>> {
    let stretches = stretches(text, skip);
    if stretches.is_empty() {
        return None;
    }
    let mut writer = ViewWriter::with_capacity(stretches.len() * 2 * SURROUNDINGS);
    let mut copied_to = 0;
    for (index, stretch) in stretches.iter().enumerate() {
        let before = text
            .floor_char_boundary(stretch.source.start.saturating_sub(SURROUNDINGS))
            .max(copied_to);
        if before > copied_to && !writer.text().is_empty() {
            writer.put("\n", before..before);
        }
        writer.copy(&text[before..stretch.source.start], before);
        writer.put(&stretch.says, stretch.source.clone());
        let next = stretches
            .get(index + 1)
            .map_or(text.len(), |next| next.source.start);
        let after = text
            .floor_char_boundary((stretch.source.end + SURROUNDINGS).min(text.len()))
            .min(next);
        writer.copy(&text[stretch.source.end..after], stretch.source.end);
        copied_to = after;
    }
    Some(writer.finish())
}

/// All encoded stretches, in order and disjoint.
fn stretches(text: &str, skip: &[Range<usize>]) -> Vec<Stretch> {
    let bytes = text.as_bytes();
    let mut found: Vec<Stretch> = Vec::new();
    let mut budget = MAX_DECODED;
    let mut skips = skip.iter().peekable();
    let mut at = 0;
    while at < bytes.len() {
        while skips.next_if(|range| range.end <= at).is_some() {}
        if let Some(range) = skips.peek().filter(|range| range.start <= at) {
            at = range.end;
            continue;
        }
        let stretch = match bytes[at] {
            b'\\' => escape(text, at),
            b'%' => percent(text, at),
            b'&' => reference(text, at),
            b'[' | b'(' | b' ' => spelled_mark(text, at).or_else(|| spaced(text, at + 1)),
            b if b.is_ascii_alphanumeric() || b == b'+' || b == b'/' => {
                if at == 0 || !bytes[at - 1].is_ascii_alphanumeric() {
                    let end = word_end(bytes, at);
                    let stretch = word(text, at..end).or_else(|| spaced(text, at));
                    if stretch.is_none() {
                        at = end.max(at + 1);
                        continue;
                    }
                    stretch
                } else {
                    None
                }
            }
            _ => None,
        };
        match stretch {
            Some(stretch) if stretch.says.len() <= budget => {
                budget -= stretch.says.len();
                at = stretch.source.end;
                found.push(stretch);
            }
            _ => at += 1,
        }
    }
    found
}

fn hex_value(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0u32, |value, byte| {
        char::from(*byte)
            .to_digit(16)
            .map(|digit| value.wrapping_mul(16).wrapping_add(digit))
    })
}

fn one(source: Range<usize>, c: char) -> Option<Stretch> {
    (c != '\0').then(|| Stretch {
        source,
        says: c.to_string(),
    })
}

/// `\u0041`, `\uD83D\uDE00`, `\u{41}`, `\x41`.
fn escape(text: &str, at: usize) -> Option<Stretch> {
    let bytes = &text.as_bytes()[at..];
    match bytes.get(1)? {
        b'x' => one(
            at..at + 4,
            char::from(
                u8::try_from(hex_value(bytes.get(2..4)?)?)
                    .ok()
                    .filter(u8::is_ascii)?,
            ),
        ),
        b'u' if bytes.get(2) == Some(&b'{') => {
            let close = bytes.iter().take(10).position(|b| *b == b'}')?;
            one(
                at..at + close + 1,
                char::from_u32(hex_value(bytes.get(3..close)?)?)?,
            )
        }
        b'u' | b'U' => {
            let first = hex_value(bytes.get(2..6)?)?;
            if !(0xD800..0xDC00).contains(&first) {
                return one(at..at + 6, char::from_u32(first)?);
            }
            if bytes.get(6..8)? != b"\\u" {
                return None;
            }
            let second = hex_value(bytes.get(8..12)?)?;
            let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
            one(
                at..at + 12,
                char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)?,
            )
        }
        _ => None,
    }
}

/// `%41`, and runs of them that are UTF-8 together.
fn percent(text: &str, at: usize) -> Option<Stretch> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut end = at;
    while bytes.get(end) == Some(&b'%') && decoded.len() < 4 {
        decoded.push(u8::try_from(hex_value(bytes.get(end + 1..end + 3)?)?).ok()?);
        end += 3;
        if let Ok(says) = std::str::from_utf8(&decoded) {
            return one(at..end, says.chars().next()?);
        }
    }
    None
}

/// `&#65;`, `&#x41;`, and the named ones that stand in values.
fn reference(text: &str, at: usize) -> Option<Stretch> {
    let bytes = &text.as_bytes()[at..];
    let close = bytes.iter().take(12).position(|b| *b == b';')?;
    let name = text.get(at + 1..at + close)?;
    let c = match name {
        "amp" => '&',
        "commat" => '@',
        "period" => '.',
        "hyphen" | "dash" => '-',
        "plus" => '+',
        "colon" => ':',
        "sol" => '/',
        "equals" => '=',
        "lowbar" => '_',
        "nbsp" | "Tab" => ' ',
        "quot" => '"',
        "apos" => '\'',
        "shy" | "ZeroWidthSpace" | "zwnj" | "zwj" => {
            return Some(Stretch {
                source: at..at + close + 1,
                says: String::new(),
            });
        }
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => hex_value(hex.as_bytes()),
                None => number.parse().ok(),
            };
            char::from_u32(code?)?
        }
    };
    one(at..at + close + 1, c)
}

/// ` [at] `, `(dot)` and the like, as people write addresses for other people.
fn spelled_mark(text: &str, at: usize) -> Option<Stretch> {
    let rest = &text.as_bytes()[at..];
    let open = usize::from(rest.first() == Some(&b' '));
    if !matches!(rest.get(open), Some(b'[' | b'(')) {
        return None;
    }
    let word = rest.get(open + 1..)?;
    let (c, length) = if word.get(..2)?.eq_ignore_ascii_case(b"at") {
        ('@', 2)
    } else if word.get(..3)?.eq_ignore_ascii_case(b"dot") {
        ('.', 3)
    } else {
        return None;
    };
    let close = open + 1 + length;
    if !matches!(rest.get(close), Some(b']' | b')')) {
        return None;
    }
    let end = close + 1 + usize::from(rest.get(close + 1) == Some(&b' '));
    one(at..at + end, c)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-')
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    start
        + bytes[start..]
            .iter()
            .position(|b| !is_word_byte(*b))
            .unwrap_or(bytes.len() - start)
}

/// A word that is base64 or hexadecimal for text.
fn word(text: &str, span: Range<usize>) -> Option<Stretch> {
    if span.len() < 12 || span.len() > MAX_STRETCH {
        return None;
    }
    let word = &text[span.clone()];
    let padding = text.as_bytes()[span.end..]
        .iter()
        .take(2)
        .take_while(|b| **b == b'=')
        .count();
    let decoded = if word.len().is_multiple_of(2) && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        word.as_bytes()
            .chunks_exact(2)
            .map(|pair| hex_value(pair).map(|value| value as u8))
            .collect()
    } else {
        base64_bytes(word, MAX_STRETCH)
    }?;
    let says = String::from_utf8(decoded).ok().filter(|says| is_text(says))?;
    Some(Stretch {
        source: span.start..span.end + padding,
        says,
    })
}

/// Whether decoded bytes are what somebody wrote, and not what chance gives.
fn is_text(says: &str) -> bool {
    let plain = says
        .chars()
        .filter(|c| matches!(c, ' '..='~' | '\n' | '\t' | '\r') || c.is_alphabetic())
        .count();
    let all = says.chars().count();
    let ascii = says.bytes().filter(u8::is_ascii).count();
    all >= 6 && plain == all && (ascii == says.len() || ascii * 3 >= says.len() && all >= 12)
}

/// Decodes base64 of either alphabet, with or without padding; `None` when it is none, or too long.
pub(crate) fn base64_bytes(word: &str, limit: usize) -> Option<Vec<u8>> {
    let word = word.trim_end_matches('=').as_bytes();
    if word.len() > limit || word.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(word.len() * 3 / 4);
    for chunk in word.chunks(4) {
        let mut bits = 0u32;
        for byte in chunk {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

/// `4 1 1 1   1 1 1 1`: single characters with one space between them; more spaces stand for one.
fn spaced(text: &str, start: usize) -> Option<Stretch> {
    const LEAST: usize = 8;
    let bytes = text.as_bytes();
    let single = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_graphic);
    if start > 0 && bytes.get(start - 1).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut says = String::new();
    let mut at = start;
    let mut end = start;
    while single(at) && says.len() < 256 {
        says.push(char::from(bytes[at]));
        end = at + 1;
        if bytes.get(at + 1) != Some(&b' ') {
            // A longer word behind the last character means that the character is part of it.
            if single(at + 1) && !matches!(bytes[at + 1], b'"' | b'\'' | b'.' | b',' | b'<') {
                says.pop();
                end = says.len().checked_sub(1).map_or(start, |_| at.saturating_sub(1));
            }
            break;
        }
        at += 2;
        if bytes.get(at) == Some(&b' ') && bytes.get(at + 1) == Some(&b' ') && single(at + 2) {
            says.push(' ');
            at += 2;
        } else if bytes.get(at) == Some(&b' ') {
            break;
        }
    }
    while text.as_bytes().get(end.wrapping_sub(1)) == Some(&b' ') && end > start {
        end -= 1;
    }
    let said = says.trim_end();
    (said.len() >= LEAST && said.bytes().any(|b| b.is_ascii_alphanumeric())).then(|| Stretch {
        source: start..end,
        says: said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn says(text: &str) -> String {
        decoded(text, &[]).map_or_else(String::new, |view| view.text().to_owned())
    }

    #[test]
    fn reads_encoded_text_in_its_surroundings() {
        assert_eq!(says("key aGVsbG8gd29ybGQh end"), "key hello world! end");
        assert_eq!(says("x 68656c6c6f20776f726c64 y"), "x hello world y");
        assert_eq!(says("a%40b.com"), "a@b.com");
        assert_eq!(says("&#49;&#x32;3"), "123");
        assert_eq!(says(r"\u0031\x32\u{33}"), "123");
        assert_eq!(says("joe [at] example (dot) org"), "joe@example.org");
        assert_eq!(says("no: 4 1 1 1   1 1 1 1 ok"), "no: 4111 1111 ok");
    }

    #[test]
    fn leaves_other_text_alone() {
        for text in [
            "plain words",
            "administration",
            "d41d8cd98f00b204e9800998ecf8427e",
            "a & b; 50% off",
            "I a m",
        ] {
            assert!(decoded(text, &[]).is_none(), "{text}: {}", says(text));
        }
    }

    proptest! {
        #[test]
        fn base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            const CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let mut word = String::new();
            for chunk in bytes.chunks(3) {
                let mut bits = 0u32;
                for place in 0..3 {
                    bits = bits << 8 | u32::from(*chunk.get(place).unwrap_or(&0));
                }
                for place in 0..=chunk.len() {
                    word.push(char::from(CHARS[(bits >> (18 - 6 * place) & 63) as usize]));
                }
            }
            prop_assert_eq!(base64_bytes(&word, 1000), Some(bytes));
        }

        #[test]
        fn spans_lie_on_boundaries(text in "(\\PC{0,3}|[%&\\\\ux#;\\[\\]a-f0-9 ]{0,9}|(?:[0-9a-f] ){0,10}|é){0,8}") {
            if let Some(view) = decoded(&text, &[]) {
                for (at, c) in view.text().char_indices() {
                    let span = view.source_span(at..at + c.len_utf8());
                    prop_assert!(text.get(span).is_some());
                }
            }
        }
    }
}
