use std::io::Write;

use flate2::{Compression, write};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;
const RATIO: usize = 100;
const ALL: [&str; 5] = ["gzip", "deflate", "raw deflate", "br", "zstd"];

fn encode(name: &str, plain: &[u8]) -> Vec<u8> {
    match name {
        "gzip" => {
            let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "raw deflate" => {
            let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
            encoder.write_all(plain).unwrap();
            drop(encoder);
            out
        }
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        _ => plain.to_vec(),
    }
}

fn header(name: &str) -> &str {
    name.strip_prefix("raw ").unwrap_or(name)
}

fn decode(name: &str, body: Vec<u8>) -> Result<Bytes, EncodingError> {
    decode_body(header(name), body.into(), LIMIT, RATIO)
}

#[test]
fn unknown_encodings_are_415() {
    for name in [
        "compress",
        "snappy",
        "gzip, exi",
        "gzip zstd",
        "*",
        "identity;q=1",
    ] {
        let error = decode_body(name, Bytes::from_static(b"x"), LIMIT, RATIO).unwrap_err();
        assert_eq!(error, EncodingError::Unsupported, "{name}");
        assert_eq!(error.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let five = decode_body("gzip,gzip,gzip,gzip,gzip", Bytes::from_static(b"x"), LIMIT, RATIO);
    assert_eq!(five.unwrap_err(), EncodingError::TooManyLayers);
}

#[test]
fn identity_in_any_spelling_is_the_body_itself() {
    for name in ["", "identity", " Identity ,", ",,"] {
        assert_eq!(
            decode_body(name, Bytes::from_static(b"as is"), LIMIT, RATIO).unwrap(),
            "as is"
        );
    }
}

#[test]
fn fields_join_in_order() {
    let mut headers = HeaderMap::new();
    assert_eq!(content_encoding(&headers).unwrap(), "");
    headers.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    headers.append(header::CONTENT_ENCODING, "br, zstd".parse().unwrap());
    assert_eq!(content_encoding(&headers).unwrap(), "gzip,br, zstd");
}

#[test]
fn a_body_that_ends_early_is_refused_wherever_it_ends() {
    let plain: Vec<u8> = (0..250u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    for name in ALL {
        let whole = encode(name, &plain);
        for length in 1..whole.len() {
            let error = decode(name, whole[..length].to_vec()).unwrap_err();
            assert!(
                matches!(error, EncodingError::Truncated(_) | EncodingError::Malformed(_)),
                "{name} cut at {length}: {error}"
            );
        }
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    for name in ALL {
        let mut body = encode(name, b"the whole text");
        body.extend_from_slice(b"and something hidden behind it");
        assert!(decode(name, body).is_err(), "{name}");
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for name in ["gzip", "zstd"] {
        let body = [encode(name, b"one "), encode(name, b""), encode(name, b"two")].concat();
        assert_eq!(decode(name, body).unwrap(), "one two", "{name}");
    }
}

#[test]
fn bombs_stop_at_the_limit_and_at_the_ratio() {
    let zeros = vec![0; 8 << 20];
    for name in ALL {
        let bomb = encode(name, &zeros);
        let error = decode_body(header(name), bomb.clone().into(), 64 << 20, 10).unwrap_err();
        assert_eq!(error, EncodingError::Ratio(10), "{name}");
        let error = decode_body(header(name), bomb.into(), LIMIT, usize::MAX).unwrap_err();
        assert_eq!(error, EncodingError::TooLarge(LIMIT), "{name}");
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    // A chain hides the ratio of each layer, not that of the whole.
    let nested = encode("gzip", &encode("gzip", &zeros));
    let error = decode_body("gzip, gzip", nested.into(), 64 << 20, 100).unwrap_err();
    assert_eq!(error, EncodingError::Ratio(100));
}

#[test]
fn short_repetitive_text_is_no_bomb() {
    let plain = vec![b'a'; 50_000];
    for name in ALL {
        assert_eq!(
            decode(name, encode(name, &plain)).unwrap().len(),
            plain.len(),
            "{name}"
        );
    }
}

#[test]
fn a_zstd_window_beyond_the_bound_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![1; 1 << 16]).unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(
        decode("zstd", body).unwrap_err(),
        EncodingError::Malformed("zstd")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoding_undoes_encoding(plain in proptest::collection::vec(any::<u8>(), 1..5000)) {
        for name in ALL {
            let decoded = decode(name, encode(name, &plain)).unwrap();
            prop_assert_eq!(decoded.as_ref(), plain.as_slice(), "{}", name);
        }
    }

    #[test]
    fn chains_are_undone_from_the_last(
        plain in proptest::collection::vec(any::<u8>(), 1..2000),
        order in proptest::collection::vec(prop::sample::select(vec!["gzip", "deflate", "br", "zstd", "identity"]), 0..4),
    ) {
        let body = order.iter().fold(plain.clone(), |body, name| encode(name, &body));
        let decoded = decode_body(&order.join(" , "), body.into(), LIMIT, RATIO).unwrap();
        prop_assert_eq!(decoded.as_ref(), plain.as_slice());
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for name in ALL {
            let _ = decode(name, bytes.clone());
        }
    }

    #[test]
    fn flipped_bits_never_panic(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        for name in ALL {
            let mut body = encode(name, b"some text that is long enough to be worth a few symbols, twice, twice");
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            let _ = decode(name, body);
        }
    }
}
