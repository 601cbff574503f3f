//! Words that are text in base64, base32, hexadecimal or binary digits.
//!
//! Only runs of [`LEAST`] bytes of those alphabets are looked at, and finding them looks at few bytes: the
//! search tests the byte a run's length ahead first. Whether a run is an encoding shows in its first six bytes
//! mostly, so that names and hashes cost little.

use std::{io::Read, ops::Range};

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::{Budget, MAX_STRETCH, Stretch, hex_value, is_text};

/// The shortest run that is tried.
const LEAST: usize = 12;
/// The shortest word of base32 or binary digits.
const LEAST_SPARSE: usize = 16;
/// The shortest line of a wrapped word.
const LEAST_LINE: usize = 16;

/// What each attempt to unpack takes from the budget at least.
const LEAST_UNPACKED: usize = 256;

/// The bytes of all alphabets.
static WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0usize;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'_' | b'-');
        b += 1;
    }
    table
};

fn is_word(byte: u8) -> bool {
    WORD[usize::from(byte)]
}

fn run_end(bytes: &[u8], start: usize) -> usize {
    start
        + bytes[start..]
            .iter()
            .position(|b| !is_word(*b))
            .unwrap_or(bytes.len() - start)
}

/// Finds the encoded words that begin in a range of the text; the long words that are none are handed on.
pub(super) fn find(
    text: &str,
    range: Range<usize>,
    skip: &[Range<usize>],
    budget: &mut Budget,
    found: &mut Vec<Stretch>,
    mut other: impl FnMut(&str, Range<usize>),
) {
    let bytes = text.as_bytes();
    let mut at = range.start;
    if at > 0 && is_word(bytes[at - 1]) {
        at = run_end(bytes, at);
    }
    // Lines up to here were tried together, and said nothing.
    let mut wrapped_to = 0;
    let mut skips = skip.iter().peekable();
    while at < range.end && at + LEAST <= bytes.len() {
        // The last byte of the window that is in no word rules out all runs up to it.
        if let Some(gap) = bytes[at..at + LEAST].iter().rposition(|b| !is_word(*b)) {
            at += gap + 1;
            continue;
        }
        let run = at..run_end(bytes, at + LEAST);
        while skips.next_if(|range| range.end <= run.start).is_some() {}
        let data = skips.peek().is_some_and(|range| range.start < run.end);
        // Data of a known format is skipped, but what gzip packed may be text.
        if data && !text[run.clone()].starts_with("H4sI") {
            at = run.end;
            continue;
        }
        let lines = if run.start >= wrapped_to {
            wrapped(text, run.clone(), budget, &mut wrapped_to)
        } else {
            None
        };
        match lines.or_else(|| whole(text, run.clone(), budget)) {
            Some(stretch) => {
                at = stretch.source.end;
                found.push(stretch);
            }
            None => {
                let before = found.len();
                parts(text, run.clone(), budget, found);
                if found.len() == before {
                    other(text, run.clone());
                }
                at = run.end;
            }
        }
    }
}

/// The run as one word, with its padding.
fn whole(text: &str, run: Range<usize>, budget: &mut Budget) -> Option<Stretch> {
    let says = word(text, run.clone(), budget)?;
    let padding = text.as_bytes()[run.end..]
        .iter()
        .take(6)
        .take_while(|b| **b == b'=')
        .count();
    Some(Stretch::text(run.start..run.end + padding, says))
}

/// The words of a run that `/`, `-`, `_` and `+` part, as in a path.
fn parts(text: &str, run: Range<usize>, budget: &mut Budget, found: &mut Vec<Stretch>) {
    let mut start = run.start;
    for part in text[run.clone()].split(['/', '-', '_', '+']) {
        let span = start..start + part.len();
        start = span.end + 1;
        if part.len() >= LEAST && part.len() < run.len() {
            found.extend(whole(text, span, budget));
        }
    }
}

/// A word over several lines of one length, the last one shorter.
fn wrapped(text: &str, first: Range<usize>, budget: &mut Budget, tried: &mut usize) -> Option<Stretch> {
    let bytes = text.as_bytes();
    let line = first.len();
    if line < LEAST_LINE || !line.is_multiple_of(4) || !plausible(&base64_start(&bytes[first.clone()])?) {
        return None;
    }
    let mut joined = text[first.clone()].to_owned();
    let mut end = first.end;
    while joined.len() < MAX_STRETCH {
        // Lines may be indented, or quoted as in mails.
        let gap: usize = bytes[end..]
            .iter()
            .take(24)
            .take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t' | b'>'))
            .count();
        if !bytes[end..end + gap].contains(&b'\n') {
            break;
        }
        let start = end + gap;
        let next = run_end(bytes, start);
        if next == start || next - start > line {
            break;
        }
        joined.push_str(&text[start..next]);
        end = next;
        if next - start < line {
            break;
        }
    }
    if end == first.end {
        return None;
    }
    *tried = end;
    let says = written_or_packed(base64_bytes(&joined, MAX_STRETCH)?, budget)?;
    let padding = bytes[end..].iter().take(2).take_while(|b| **b == b'=').count();
    Some(Stretch::text(first.start..end + padding, says))
}

fn word(text: &str, span: Range<usize>, budget: &mut Budget) -> Option<String> {
    let word = &text[span.clone()];
    if word.len() > MAX_STRETCH {
        return None;
    }
    let digits = word.strip_prefix("0x").unwrap_or(word).as_bytes();
    if digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit) {
        if digits.len() >= 48
            && digits.len().is_multiple_of(8)
            && digits.iter().all(|b| matches!(b, b'0' | b'1'))
        {
            let octets = digits
                .chunks(8)
                .map(|bits| bits.iter().fold(0, |octet, bit| octet << 1 | (bit - b'0')))
                .collect();
            return written(octets);
        }
        // Hashes are the most common words of this kind, and their first bytes tell them mostly.
        let first: Vec<u8> = digits.chunks(2).take(6).filter_map(hex_octet).collect();
        if plausible(&first) {
            let octets = digits.chunks(2).filter_map(hex_octet).collect();
            if let Some(says) = written_or_packed(octets, budget) {
                return Some(says);
            }
        }
    }
    let start = base64_start(word.as_bytes())?;
    if plausible(&start)
        && let Some(says) =
            base64_bytes(word, MAX_STRETCH).and_then(|octets| written_or_packed(octets, budget))
    {
        return Some(says);
    }
    if word.len() >= LEAST_SPARSE
        && let Some(says) = base32_bytes(word).and_then(written)
    {
        return Some(says);
    }
    // Sign-on messages are deflated without a head that would tell it.
    let before = text.floor_char_boundary(span.start.saturating_sub(16));
    if text[before..span.start].contains("SAML") && word.len() >= LEAST_SPARSE {
        let octets = base64_bytes(word, MAX_STRETCH)?;
        return unpacked(DeflateDecoder::new(octets.as_slice()), budget);
    }
    None
}

fn hex_octet(pair: &[u8]) -> Option<u8> {
    hex_value(pair).and_then(|value| u8::try_from(value).ok())
}

fn base64_start(word: &[u8]) -> Option<Vec<u8>> {
    let first = std::str::from_utf8(&word[..word.len().min(8)]).ok()?;
    base64_bytes(first, 8)
}

/// Whether the first bytes may be those of text, or of packed text.
fn plausible(first: &[u8]) -> bool {
    match first {
        [0x1F, 0x8B, 8, ..] | [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..] => true,
        [a, 0, b, 0, ..] | [0, a, 0, b, ..] if *a != 0 && *b != 0 => true,
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        octets => octets
            .iter()
            .all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..)),
    }
}

/// What bytes say, as text or as text that was packed.
fn written_or_packed(octets: Vec<u8>, budget: &mut Budget) -> Option<String> {
    match octets.as_slice() {
        [0x1F, 0x8B, 8, ..] => unpacked(GzDecoder::new(octets.as_slice()), budget),
        [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..] => {
            unpacked(ZlibDecoder::new(octets.as_slice()), budget).or_else(|| written(octets))
        }
        _ => written(octets),
    }
}

/// Text in UTF-8 or UTF-16.
pub(super) fn written(octets: Vec<u8>) -> Option<String> {
    let wide = |little: bool| {
        let units = octets.chunks_exact(2).map(|pair| {
            let pair = [pair[0], pair[1]];
            if little {
                u16::from_le_bytes(pair)
            } else {
                u16::from_be_bytes(pair)
            }
        });
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .ok()
            .map(|says| says.trim_start_matches('\u{FEFF}').to_owned())
    };
    let says = match octets.as_slice() {
        [0xFF, 0xFE, ..] | [_, 0, _, 0, ..] => wide(true),
        [0xFE, 0xFF, ..] | [0, _, 0, _, ..] => wide(false),
        _ => String::from_utf8(octets).ok(),
    };
    says.filter(|says| is_text(says))
}

/// As much of the packed text as the budget has room for.
fn unpacked(packed: impl Read, budget: &mut Budget) -> Option<String> {
    // Even one that is none costs the building of its tables.
    budget.unpacked = budget.unpacked.checked_sub(LEAST_UNPACKED)?;
    let mut octets = Vec::new();
    let whole = packed.take(budget.unpacked as u64).read_to_end(&mut octets);
    budget.unpacked -= octets.len().min(budget.unpacked);
    // A stream that ends early says what it said until then.
    if whole.is_err() && octets.len() < LEAST {
        return None;
    }
    let valid = std::str::from_utf8(&octets).map_or_else(|error| error.valid_up_to(), str::len);
    octets.truncate(valid);
    written(octets)
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

/// Decodes base32 in letters of one case.
pub(super) fn base32_bytes(word: &str) -> Option<Vec<u8>> {
    let word = word.as_bytes();
    let lower = word.iter().any(u8::is_ascii_lowercase);
    if matches!(word.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let mut out = Vec::with_capacity(word.len() * 5 / 8);
    let mut bits = 0u64;
    let mut count = 0;
    for byte in word {
        let value = match byte {
            b'A'..=b'Z' if !lower => byte - b'A',
            b'a'..=b'z' if lower => byte - b'a',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}
