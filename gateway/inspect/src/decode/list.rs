//! Bytes written as a list of numbers: `6a 6f 68 6e`, `0x6a, 0x6f`, `106 111 104`, `01101010 01101111`.
//!
//! A list has one separator throughout and at least [`LEAST`] characters to say, all of them printable; it
//! ends at the first number that is none, so that rows of other numbers cost little.

use super::{Stretch, hex_value, word};

/// The fewest bytes that a list holds.
const LEAST: usize = 6;
/// The fewest that decimal numbers hold, which are more often what they seem.
const LEAST_DECIMAL: usize = 8;
/// The most.
const MOST: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `0x6a`
    Prefixed,
    /// `01101010`
    Binary,
    /// `6a6f`, as `xxd` prints
    Pairs,
    /// `6a`
    Hex,
    /// `106`
    Decimal,
    /// `152`
    Octal,
}

/// A list that begins with the digit at a place, and where to look on: a long list that says nothing is not
/// read again from its second number.
pub(super) fn at(text: &str, at: usize) -> (Option<Stretch>, usize) {
    let bytes = text.as_bytes();
    let start = if at >= 2 && bytes[at - 1] == b'+' && matches!(bytes[at - 2], b'U' | b'u') {
        // `U+0034 U+0031`
        at - 2
    } else {
        at
    };
    let mut end = at;
    let mut says = String::new();
    // Most numbers are followed by something else than a separator and a number.
    let first = bytes[at..]
        .iter()
        .take(9)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let second = separator(bytes, at + first).and_then(|separator| bytes.get(at + first + separator.len()));
    if !second.is_some_and(u8::is_ascii_alphanumeric) {
        return (None, end);
    }
    for kind in [
        Kind::Prefixed,
        Kind::Binary,
        Kind::Pairs,
        Kind::Hex,
        Kind::Decimal,
        Kind::Octal,
    ] {
        // Numbers may be of several kinds at once; then all readings are given.
        if let Some((reading, to)) = read(bytes, start, kind) {
            end = end.max(to);
            let Some(reading) = reading else { continue };
            if !says.is_empty() {
                says.push('\n');
            }
            says.push_str(&reading);
        }
    }
    let found = (!says.is_empty()).then(|| Stretch::text(start..end, says));
    (found, end)
}

fn read(bytes: &[u8], start: usize, kind: Kind) -> Option<(Option<String>, usize)> {
    let mut octets = Vec::new();
    let mut end = number(bytes, start, kind, &mut octets)?;
    let separator = separator(bytes, end)?;
    while octets.len() < MOST
        && bytes[end..].starts_with(separator)
        && let Some(next) = number(bytes, end + separator.len(), kind, &mut octets)
    {
        end = next;
    }
    let least = if matches!(kind, Kind::Decimal | Kind::Octal) {
        LEAST_DECIMAL
    } else {
        LEAST
    };
    if octets.len() < least {
        return None;
    }
    Some((word::written(octets), end))
}

fn separator(bytes: &[u8], end: usize) -> Option<&[u8]> {
    let first = bytes.get(end)?;
    let wide = matches!(first, b',' | b';' | b':') && bytes.get(end + 1) == Some(&b' ');
    matches!(
        first,
        b' ' | b',' | b';' | b':' | b'-' | b'|' | b'/' | b'.' | b'\n' | b'\t'
    )
    .then(|| &bytes[end..end + 1 + usize::from(wide)])
}

/// Reads one number of the kind; gives where it ends.
fn number(bytes: &[u8], start: usize, kind: Kind, octets: &mut Vec<u8>) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let prefix = match rest {
        [b'0', b'x' | b'X', ..] | [b'U' | b'u', b'+', ..] if kind == Kind::Prefixed => 2,
        _ if kind == Kind::Prefixed => return None,
        _ => 0,
    };
    let digits = &rest[prefix..];
    let length = digits
        .iter()
        .take(9)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let digits = &digits[..length];
    let radix = |radix: u32| {
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, radix).ok())
    };
    let value = match (kind, length) {
        (Kind::Prefixed, 2 | 4) | (Kind::Hex, 2) => hex_value(digits)?,
        (Kind::Binary, 8) => radix(2)?,
        (Kind::Decimal, 1..=3) => radix(10)?,
        (Kind::Octal, 3) => radix(8)?,
        (Kind::Pairs, 4 | 8) => {
            for pair in digits.chunks(2) {
                octets.push(printable(hex_value(pair)?)?);
            }
            return Some(start + prefix + length);
        }
        _ => return None,
    };
    octets.push(printable(value)?);
    Some(start + prefix + length)
}

fn printable(value: u32) -> Option<u8> {
    let octet = u8::try_from(value).ok()?;
    (matches!(octet, b'\t' | b'\n' | b'\r') || (octet >= 0x20 && octet != 0x7F)).then_some(octet)
}
