//! Base64 as bodies carry it: both alphabets, padded or not, in lines or not, alone or in a data URI.
//!
//! Decoding takes whatever receivers take that are strict about the alphabet; what only a lenient receiver
//! would decode (characters in between that are no base64) is told apart from a file, and is for the caller
//! to refuse where a file should stand.
//!
//! On failure: no bytes.

use std::{borrow::Cow, ops::Range};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::{LEAST, marks};

/// The longest beginning of a data URI, up to its comma. Longer ones are nobody's.
const LONGEST_HEAD: usize = 512;

/// How base64 is written, so that it can be written the same way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alphabet {
    url_safe: bool,
    padded: bool,
}

/// A file as it stands in a text.
pub(crate) struct Encoded {
    /// Where the base64 lies in the text.
    pub(crate) content: Range<usize>,
    /// What it decodes to; none when it does not.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) alphabet: Alphabet,
    /// What a data URI says it is.
    pub(crate) media_type: Option<String>,
}

const STANDARD: GeneralPurpose = lenient(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = lenient(&alphabet::URL_SAFE);

const fn lenient(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(
        alphabet,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    )
}

impl Alphabet {
    /// Bytes written this way.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        let alphabet = if self.url_safe {
            &alphabet::URL_SAFE
        } else {
            &alphabet::STANDARD
        };
        let config = GeneralPurposeConfig::new().with_encode_padding(self.padded);
        GeneralPurpose::new(alphabet, config).encode(bytes)
    }
}

/// A text that is a file as a whole. Where one is `expected` that does not decode, it has no bytes.
pub(crate) fn whole(text: &str, expected: bool) -> Option<Encoded> {
    if let Some((head, media_type)) = data_uri(text) {
        let (bytes, alphabet) = decode(&text[head..]);
        return Some(Encoded {
            content: head..text.len(),
            bytes,
            alphabet,
            media_type: Some(media_type.to_owned()).filter(|told| !told.is_empty()),
        });
    }
    if text.is_empty() || (!expected && !may_be(text)) {
        return None;
    }
    let (bytes, alphabet) = decode(text);
    if !expected && !bytes.as_deref().is_some_and(marks::is_file) {
        return None;
    }
    Some(Encoded {
        content: 0..text.len(),
        bytes,
        alphabet,
        media_type: None,
    })
}

/// The data URIs within a text, each with where it lies.
pub(crate) fn data_uris(text: &str) -> Vec<(Range<usize>, Encoded)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&text.as_bytes()[from..], b";base64,") {
        let head = from + at + b";base64,".len();
        from = head;
        // No further back than a beginning reaches, or a text of nothing but ends would be read over and over.
        let back = head.saturating_sub(LONGEST_HEAD);
        let Some(start) = memchr::memmem::rfind(&text.as_bytes()[back..head], b"data:").map(|at| back + at)
        else {
            continue;
        };
        let Some((length, media_type)) = data_uri(&text[start..]) else {
            continue;
        };
        let run = text.as_bytes()[head..]
            .iter()
            .take_while(|byte| is_letter(**byte) || **byte == b'=')
            .count();
        if start + length != head || run == 0 {
            continue;
        }
        from = head + run;
        let (bytes, alphabet) = decode(&text[head..from]);
        // An example in a prose text is none.
        if bytes
            .as_deref()
            .is_some_and(|bytes| run >= LEAST || marks::is_file(bytes))
        {
            let encoded = Encoded {
                content: head..from,
                bytes,
                alphabet,
                media_type: Some(media_type.to_owned()).filter(|told| !told.is_empty()),
            };
            found.push((start..from, encoded));
        }
    }
    found
}

/// Where the base64 of the data URI that a text starts with begins, and the media type that it tells.
fn data_uri(text: &str) -> Option<(usize, &str)> {
    let scheme = text.get(..5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let looked_at = &text.as_bytes()[..text.len().min(LONGEST_HEAD)];
    let comma = memchr::memchr(b',', looked_at)?;
    let head = text.get(5..comma)?;
    let (told, last) = head.rsplit_once(';')?;
    if !last.trim().eq_ignore_ascii_case("base64") || told.contains(['"', '\'', '\n', '<', '>', '(', ')']) {
        return None;
    }
    Some((comma + 1, told.split(';').next().unwrap_or_default().trim()))
}

/// Whether it is worth decoding a text: long, and nothing but base64 at its beginning and end.
fn may_be(text: &str) -> bool {
    let bytes = text.as_bytes();
    let letters = |part: &[u8]| {
        part.iter()
            .all(|byte| is_letter(*byte) || is_space(*byte) || *byte == b'=')
    };
    bytes.len() >= LEAST && letters(&bytes[..64]) && letters(&bytes[bytes.len() - 64..])
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn decode(text: &str) -> (Option<Bytes>, Alphabet) {
    let packed: Cow<'_, [u8]> = if text.bytes().any(is_space) {
        text.bytes()
            .filter(|byte| !is_space(*byte))
            .collect::<Vec<u8>>()
            .into()
    } else {
        text.as_bytes().into()
    };
    let url_safe = memchr::memchr2(b'-', b'_', &packed).is_some();
    let alphabet = Alphabet {
        url_safe,
        padded: packed.ends_with(b"=") || (!url_safe && packed.len().is_multiple_of(4)),
    };
    let engine = if url_safe { &URL_SAFE } else { &STANDARD };
    (engine.decode(&packed).ok().map(Bytes::from), alphabet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str, expected: bool) -> Option<Vec<u8>> {
        whole(text, expected)?.bytes.map(|bytes| bytes.to_vec())
    }

    #[test]
    fn data_uris_are_files_by_their_own_word() {
        let found = whole("data:image/png;base64,aGk=", false).unwrap();
        assert_eq!(found.bytes.unwrap(), "hi");
        assert_eq!(found.content, 22..26);
        assert_eq!(found.media_type.as_deref(), Some("image/png"));
        assert_eq!(bytes("DATA:;BASE64,aGk", false).unwrap(), b"hi");
        assert_eq!(
            bytes("data:text/plain;charset=utf-8;base64,a-_k", false).unwrap(),
            [0x6b, 0xef, 0xe4]
        );
        assert!(whole("data:image/png;base64,a!b", false).unwrap().bytes.is_none());
        for text in [
            "data:text/plain,hi",
            "data: see above",
            "data:",
            "database;base64,aGk=",
        ] {
            assert!(whole(text, false).is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_string_is_a_file_by_its_bytes() {
        let plain = STANDARD.encode("Figures that nobody knows yet.\n".repeat(8));
        assert!(bytes(&plain, false).is_some());
        assert!(bytes(&plain[..252], false).is_none(), "short");
        let lines = plain
            .as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect::<Vec<_>>()
            .join("\r\n");
        assert_eq!(bytes(&lines, false), bytes(&plain, false));
        let pdf = URL_SAFE.encode([b"%PDF-1.7\n".as_slice(), [0xFF; 300].as_slice()].concat());
        assert!(pdf.contains('_') && bytes(&pdf, false).is_some());
        // Blobs without a known form stay texts, where no file is expected.
        let blob: Vec<u8> = (0..300_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let blob = STANDARD.encode(blob);
        assert!(bytes(&blob, false).is_none() && bytes(&blob, true).is_some());
        assert!(bytes(&"deadbeef".repeat(64), false).is_none());
    }

    #[test]
    fn what_should_be_a_file_and_is_none_is_told() {
        assert!(whole("no base64 at all", true).unwrap().bytes.is_none());
        assert!(whole("", true).is_none());
    }

    #[test]
    fn data_uris_are_found_within_texts() {
        let text = "see ![a](data:image/gif;base64,R0lGODlhAQABAAAAACw=) and `data:x;base64,aGk` or ;base64,";
        let found = data_uris(text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            &text[found[0].0.clone()],
            "data:image/gif;base64,R0lGODlhAQABAAAAACw="
        );
        assert_eq!(&text[found[1].1.content.clone()], "aGk");
        assert!(data_uris("write data:image/png;base64,iVBOR... here").is_empty());
    }

    proptest! {
        #[test]
        fn what_is_encoded_again_decodes_to_the_same(bytes: Vec<u8>, url_safe: bool, padded: bool) {
            let written = Alphabet { url_safe, padded }.encode(&bytes);
            prop_assume!(!written.is_empty());
            let found = whole(&written, true).unwrap();
            prop_assert_eq!(found.bytes.as_deref(), Some(bytes.as_slice()));
            let again = found.alphabet.encode(&bytes);
            prop_assert_eq!(again.trim_end_matches('='), written.trim_end_matches('='));
        }

        #[test]
        fn any_text_is_looked_at_without_a_panic(text: String, head in "(data:|;base64,|é|=|[a-z]){0,6}") {
            let text = format!("{head}{text}{head}");
            let _ = whole(&text, true);
            for (whole, encoded) in data_uris(&text) {
                prop_assert!(text.get(whole).is_some() && text.get(encoded.content).is_some());
            }
        }
    }
}
