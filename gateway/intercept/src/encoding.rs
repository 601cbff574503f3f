//! Content encodings of request bodies, undone under limits.
//!
//! `gzip`, `deflate` (zlib, and raw as some programs send it), `br` and `zstd`, in any chain of at
//! most four. A member or frame may follow another; anything else behind the end is refused, and so
//! is a body that ends early.
//!
//! Limits: bytes put out, and bytes put out for each byte of the body as it came, so that a small
//! body cannot cost much. Zstandard windows are bounded as RFC 9659 bounds them for HTTP.
//!
//! On failure: [`EncodingError`], whose status is 415 for an encoding nobody knows, 413 for a limit,
//! 400 for a body that is broken.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};
use http::{HeaderMap, StatusCode, header};

/// More layers than any program has reason to send.
const MAX_LAYERS: usize = 4;
/// Bytes put out before the ratio counts; short repetitive text compresses a hundredfold by right.
const RATIO_FLOOR: usize = 64 * 1024;
/// 8 MiB, the window that RFC 9659 grants a `zstd` content coding.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes decoded at a time.
const CHUNK: usize = 16 * 1024;

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// An encoding that is not known here.
    #[error("the content encoding is not supported; use gzip, deflate, br, zstd or none")]
    Unsupported,
    /// More encodings on top of each other than are undone.
    #[error("more than {MAX_LAYERS} content encodings are applied to the body")]
    TooManyLayers,
    /// The body is not what its encoding says.
    #[error("the body is not valid {0}")]
    Malformed(&'static str),
    /// The body ends before its encoding does.
    #[error("the {0} body ends too early")]
    Truncated(&'static str),
    /// The decoded body is longer than the limit.
    #[error("the decoded body is longer than {0} bytes")]
    TooLarge(usize),
    /// The decoded body is out of proportion to the encoded one.
    #[error("the body decodes to more than {0} times its size")]
    Ratio(usize),
}

impl EncodingError {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unsupported | Self::TooManyLayers => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) | Self::Ratio(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed(_) | Self::Truncated(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The `Content-Encoding` of a message, all its fields joined in order; empty when there is none.
///
/// # Errors
/// When a field is not text.
pub fn content_encoding(headers: &HeaderMap) -> Result<String, EncodingError> {
    let mut joined = String::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| EncodingError::Unsupported)?;
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(value);
    }
    Ok(joined)
}

/// Undoes the encodings of a body. `content_encoding` is the header's list, first applied first;
/// empty or `identity` gives the body back. An empty body is empty in every encoding.
///
/// # Errors
/// When an encoding is unknown, the body is broken, or it decodes to more than `limit` bytes or
/// more than `max_ratio` times its size.
pub fn decode_body(
    content_encoding: &str,
    body: Bytes,
    limit: usize,
    max_ratio: usize,
) -> Result<Bytes, EncodingError> {
    let layers = content_encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
        .map(|name| Coding::named(name).ok_or(EncodingError::Unsupported))
        .collect::<Result<Vec<_>, _>>()?;
    if layers.len() > MAX_LAYERS {
        return Err(EncodingError::TooManyLayers);
    }
    if body.len() > limit {
        return Err(EncodingError::TooLarge(limit));
    }
    if body.is_empty() {
        return Ok(body);
    }
    let budget = Budget::new(limit, max_ratio, body.len());
    // The last applied is the outermost.
    layers.iter().rev().try_fold(body, |body, coding| {
        Ok(Bytes::from(coding.decode(&body, budget)?))
    })
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        // RFC 9110: names are case-insensitive, and x-gzip is gzip.
        Some(match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    fn decode(self, body: &[u8], budget: Budget) -> Result<Vec<u8>, EncodingError> {
        match self {
            Self::Gzip => budget.drain(MultiGzDecoder::new(body), "gzip"),
            Self::Deflate => deflate(body, budget),
            Self::Brotli => brotli(body, budget),
            Self::Zstd => {
                // Only a fault of ours in the parameters could fail here.
                let bad = |_| EncodingError::Malformed("zstd");
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(bad)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(bad)?;
                budget.drain(decoder, "zstd")
            }
        }
    }
}

/// How much may be put out.
#[derive(Clone, Copy)]
struct Budget {
    most: usize,
    exceeded: EncodingError,
}

impl Budget {
    fn new(limit: usize, max_ratio: usize, encoded: usize) -> Self {
        let by_ratio = encoded.saturating_mul(max_ratio).max(RATIO_FLOOR);
        if limit <= by_ratio {
            Self {
                most: limit,
                exceeded: EncodingError::TooLarge(limit),
            }
        } else {
            Self {
                most: by_ratio,
                exceeded: EncodingError::Ratio(max_ratio),
            }
        }
    }

    fn push(self, out: &mut Vec<u8>, piece: &[u8]) -> Result<(), EncodingError> {
        if piece.len() > self.most - out.len() {
            return Err(self.exceeded);
        }
        out.extend_from_slice(piece);
        Ok(())
    }

    fn drain(self, mut reader: impl Read, name: &'static str) -> Result<Vec<u8>, EncodingError> {
        let mut out = Vec::new();
        let mut chunk = [0; CHUNK];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(out),
                Ok(count) => self.push(&mut out, chunk.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(EncodingError::Truncated(name));
                }
                Err(_) => return Err(EncodingError::Malformed(name)),
            }
        }
    }
}

/// `deflate` is zlib by RFC 9110, but some programs send the raw stream. A raw stream can look like
/// a zlib header by chance, so a body that fails as zlib is tried raw.
fn deflate(body: &[u8], budget: Budget) -> Result<Vec<u8>, EncodingError> {
    let zlib = matches!(body, [cmf, flg, ..]
        if cmf & 0x0f == 8 && u16::from_be_bytes([*cmf, *flg]) % 31 == 0);
    if !zlib {
        return inflate(body, false, budget);
    }
    inflate(body, true, budget).or_else(|error| match error {
        EncodingError::Malformed(_) | EncodingError::Truncated(_) => {
            // The first error speaks of what the header said, so it is the one to show.
            inflate(body, false, budget).map_err(|_| error)
        }
        limit => Err(limit),
    })
}

fn inflate(body: &[u8], zlib: bool, budget: Budget) -> Result<Vec<u8>, EncodingError> {
    let malformed = EncodingError::Malformed("deflate");
    let mut state = Decompress::new(zlib);
    let mut out = Vec::new();
    let mut chunk = [0; CHUNK];
    let mut rest = body;
    loop {
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let status = state
            .decompress(rest, &mut chunk, FlushDecompress::None)
            .map_err(|_| malformed)?;
        // Each call takes and gives no more than the slices it was shown.
        let taken = usize::try_from(state.total_in() - before_in).map_err(|_| malformed)?;
        let given = usize::try_from(state.total_out() - before_out).map_err(|_| malformed)?;
        rest = rest.get(taken..).ok_or(malformed)?;
        budget.push(&mut out, chunk.get(..given).ok_or(malformed)?)?;
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(out),
            Status::StreamEnd => return Err(malformed),
            Status::Ok | Status::BufError if taken == 0 && given == 0 => {
                return Err(EncodingError::Truncated("deflate"));
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// The streaming state machine is driven by hand, since the reader around it ignores what follows.
fn brotli(body: &[u8], budget: Budget) -> Result<Vec<u8>, EncodingError> {
    use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};

    let malformed = EncodingError::Malformed("br");
    let mut state = BrotliState::new(
        StandardAlloc::default(),
        StandardAlloc::default(),
        StandardAlloc::default(),
    );
    let mut out = Vec::new();
    let mut chunk = [0; CHUNK];
    let (mut available_in, mut in_offset, mut total_out) = (body.len(), 0, 0);
    loop {
        let (mut available_out, mut out_offset) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut in_offset,
            body,
            &mut available_out,
            &mut out_offset,
            &mut chunk,
            &mut total_out,
            &mut state,
        );
        budget.push(&mut out, chunk.get(..out_offset).ok_or(malformed)?)?;
        match result {
            BrotliResult::ResultSuccess if available_in == 0 => return Ok(out),
            BrotliResult::ResultSuccess | BrotliResult::ResultFailure => return Err(malformed),
            BrotliResult::NeedsMoreInput => return Err(EncodingError::Truncated("br")),
            BrotliResult::NeedsMoreOutput => {}
        }
    }
}

#[cfg(test)]
mod tests;
