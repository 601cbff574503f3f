//! Percent-encoding: what a query and a form are written in, with the way back to the bytes.

use crate::json::OffsetMap;

/// The text of a form's name or value; none where its bytes are not UTF-8.
pub(crate) fn form_text(raw: &str) -> Option<(String, OffsetMap)> {
    let unit = |bytes: &[u8]| unit(bytes, true);
    let utf8 = {
        let (mut bytes, mut rest) = (Vec::with_capacity(raw.len()), raw.as_bytes());
        while let Some(&first) = rest.first() {
            let (byte, length) = unit(rest).unwrap_or((first, 1));
            bytes.push(byte);
            rest = &rest[length..];
        }
        std::str::from_utf8(&bytes).is_ok()
    };
    utf8.then(|| decode(raw.as_bytes(), unit))
}

/// Bytes to text, with the way back. `unit` resolves what the bytes start with to one byte and the
/// length it was written in, when that is anything but the byte itself.
pub(crate) fn decode(raw: &[u8], unit: impl Fn(&[u8]) -> Option<(u8, usize)>) -> (String, OffsetMap) {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut ends = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let (byte, length) = unit(&raw[at..]).unwrap_or((raw[at], 1));
        at += length;
        bytes.push(byte);
        ends.push(at);
    }
    let mut map = OffsetMap::default();
    let mut drift = 0;
    let text = match String::from_utf8(bytes) {
        Ok(text) => {
            for (decoded, &end) in (1..).zip(&ends) {
                if end - decoded != drift {
                    drift = end - decoded;
                    map.push(decoded, end);
                }
            }
            text
        }
        Err(error) => {
            let mut text = String::with_capacity(raw.len() + raw.len() / 2);
            for (&byte, &end) in error.as_bytes().iter().zip(&ends) {
                text.push(char::from(byte));
                map.push(text.len(), end);
            }
            text
        }
    };
    (text, map)
}

/// The byte that percent-encoded text starts with, and the length that it is written in; in a form a plus
/// sign is a space.
pub(crate) fn unit(bytes: &[u8], form: bool) -> Option<(u8, usize)> {
    match bytes {
        [b'+', ..] if form => Some((b' ', 1)),
        [b'%', high, low, ..] => {
            let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
            Some((digit(high)? << 4 | digit(low)?, 3))
        }
        _ => None,
    }
}

/// A text as a query and a form carry it.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(u32::from(nibble), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    out
}
