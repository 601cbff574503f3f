//! Plain text out of bytes: UTF-8, UTF-16 and UTF-32, and Windows-1252 (with it Latin-1) for the rest.
//!
//! A byte order mark decides; without one, valid UTF-8 is that, and text whose every other byte is zero is
//! UTF-16. Other encodings from before Unicode (Shift JIS, GBK, EUC-KR) are not told apart and come out as
//! Windows-1252, in which ASCII stays readable.
//!
//! On failure: `None` for bytes that no encoding makes text of.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// So many bytes at the start tell UTF-16 without a mark.
const LOOKED_AT: usize = 4096;

/// The text that these bytes are, or `None` when they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    // The mark of UTF-32 starts as that of UTF-16 does.
    match bytes {
        [0xFF, 0xFE, 0, 0, rest @ ..] if rest.len() % 4 == 0 => return utf_32(rest, u32::from_le_bytes),
        [0, 0, 0xFE, 0xFF, rest @ ..] if rest.len() % 4 == 0 => return utf_32(rest, u32::from_be_bytes),
        _ => {}
    }
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        let text = encoding.decode_without_bom_handling(&bytes[mark..]).0;
        return is_text(&text).then(|| text.into_owned());
    }
    // First, as ASCII in UTF-16 is valid UTF-8 with zeros in between.
    if let Some(encoding) = unmarked_utf_16(bytes) {
        let text = encoding.decode_without_bom_handling(bytes).0;
        return is_text(&text).then(|| text.into_owned());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return is_text(text).then(|| text.to_owned());
    }
    let text = if is_mostly_utf_8(bytes) {
        String::from_utf8_lossy(bytes)
    } else {
        WINDOWS_1252.decode_without_bom_handling(bytes).0
    };
    is_text(&text).then(|| text.into_owned())
}

fn utf_32(bytes: &[u8], of: fn([u8; 4]) -> u32) -> Option<String> {
    let text: String = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|unit| char::from_u32(of(*unit)).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    is_text(&text).then_some(text)
}

fn unmarked_utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    if bytes.len() < 4 || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let pairs = bytes[..bytes.len().min(LOOKED_AT)].as_chunks::<2>().0;
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    // Spaces, digits and line ends are ASCII in any script, so that some share of zeros is always there.
    if second * 10 >= pairs.len() && first * 50 <= pairs.len() {
        Some(UTF_16LE)
    } else if first * 10 >= pairs.len() && second * 50 <= pairs.len() {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Whether a few bytes spoil what is UTF-8 otherwise: a file that was cut, or two that were joined.
fn is_mostly_utf_8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().bytes().filter(|byte| *byte >= 0xC0).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad
}

/// Text has next to no control characters, and no zero bytes at all.
fn is_text(text: &str) -> bool {
    let mut controls = 0_usize;
    for byte in text.bytes() {
        match byte {
            0 => return false,
            b'\t' | b'\n' | b'\r' | 0x0C | 0x08 | 0x1B => {}
            ..0x20 | 0x7F => controls += 1,
            _ => {}
        }
    }
    controls * 32 <= text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let text = "naïve “Zürich” €5";
        let utf_16 = |of: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(of).collect() };
        let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
        let utf_32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (name, bytes) in [
            ("UTF-8", text.as_bytes().to_vec()),
            ("UTF-8 with mark", marked(&[0xEF, 0xBB, 0xBF], text.as_bytes())),
            (
                "UTF-16LE with mark",
                marked(&[0xFF, 0xFE], &utf_16(u16::to_le_bytes)),
            ),
            (
                "UTF-16BE with mark",
                marked(&[0xFE, 0xFF], &utf_16(u16::to_be_bytes)),
            ),
            ("UTF-16LE", utf_16(u16::to_le_bytes)),
            ("UTF-16BE", utf_16(u16::to_be_bytes)),
            ("UTF-32LE with mark", marked(&[0xFF, 0xFE, 0, 0], &utf_32)),
            ("Windows-1252", WINDOWS_1252.encode(text).0.into_owned()),
        ] {
            assert_eq!(decode(&bytes).as_deref(), Some(text), "{name}");
        }
    }

    #[test]
    fn cut_utf_8_stays_utf_8() {
        let text = "Zürich, Köln, München";
        assert_eq!(
            decode(&text.as_bytes()[2..]).unwrap(),
            "\u{FFFD}rich, Köln, München"
        );
        let cut = [text.as_bytes(), &[0xC3]].concat();
        assert_eq!(decode(&cut).unwrap(), format!("{text}\u{FFFD}"));
    }

    #[test]
    fn bytes_without_text_are_none() {
        assert_eq!(decode(b"\x7fELF\x02\x01\x01\0\0\0\0"), None);
        assert_eq!(decode(&[0; 64]), None);
        let noise: Vec<u8> = (0..4096_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert_eq!(decode(&noise), None);
        assert_eq!(decode(b"").as_deref(), Some(""));
    }
}
