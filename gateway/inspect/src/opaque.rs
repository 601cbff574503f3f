//! Stretches of a text that are binary data in base64: images, audio, archives, documents.
//!
//! Patterns find only chance in them, so they are skipped. A stretch counts as data only when its first
//! bytes are those of a known binary format and it is long; anything else is read as text.

use std::ops::Range;

/// Shorter stretches are read as text.
const LEAST_BYTES: usize = 512;

/// How binary formats begin, in base64: PNG, JPEG, GIF, RIFF (WebP, WAV), PDF, ZIP (Office), gzip, BMP,
/// TIFF, Ogg, FLAC, ID3, MP4, WebAssembly.
const BEGINNINGS: &[&str] = &[
    "iVBORw0KGgo",
    "/9j/",
    "R0lGODdh",
    "R0lGODlh",
    "UklGR",
    "JVBERi0",
    "UEsDBB",
    "H4sIA",
    "Qk0",
    "SUkqA",
    "TU0AK",
    "T2dnUw",
    "ZkxhQw",
    "SUQz",
    "AAAAGGZ0eX",
    "AAAAIGZ0eX",
    "AAAAHGZ0eX",
    "AGFzbQE",
];

/// The stretches of binary data, in order and disjoint.
pub(crate) fn stretches(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    if bytes.len() < LEAST_BYTES {
        return found;
    }
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_');
    let mut start = 0;
    // A stretch is looked at from where its least length would end, so that little of ordinary text is read.
    while let Some(least) = bytes.get(start..start + LEAST_BYTES) {
        if let Some(gap) = least.iter().rposition(|byte| !inside(*byte)) {
            start += gap + 1;
            continue;
        }
        let more = bytes[start + LEAST_BYTES..]
            .iter()
            .take_while(|byte| inside(**byte));
        let end = start + LEAST_BYTES + more.count();
        // `data:image/png;base64,` ends in a comma, so the data begins right here.
        if BEGINNINGS
            .iter()
            .any(|beginning| text[start..].starts_with(beginning))
        {
            found.push(start..end);
        }
        start = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_stretches_of_known_formats_are_data() {
        let image = format!("iVBORw0KGgo{}", "A1b2".repeat(200));
        let text = format!("look: data:image/png;base64,{image} and {}", "A1b2".repeat(300));
        assert_eq!(
            stretches(&text)
                .iter()
                .map(|r| &text[r.clone()])
                .collect::<Vec<_>>(),
            [image.as_str()]
        );
        assert!(stretches("iVBORw0KGgoAAAA").is_empty());
    }
}
