//! Bodies as programs and servers compress them.

use std::io::Write as _;

/// By their names in `content-encoding`.
pub const ALL: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// The same bytes in one of them.
///
/// # Panics
/// When there is no encoding of that name.
#[must_use]
pub fn encoded(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
            written.expect("memory takes all bytes")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
            written.expect("memory takes all bytes")
        }
        "br" => {
            let mut encoded = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut encoded, 65_536, 1, 20);
            encoder.write_all(bytes).expect("memory takes all bytes");
            drop(encoder);
            encoded
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("memory takes all bytes"),
        other => panic!("{other} is no encoding"),
    }
}
