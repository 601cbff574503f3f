//! W3C Trace Context: what a caller says it is part of, and what is said to an upstream in the building.
//!
//! Read strictly, by version 00 of the header, and of later versions what they share with it. One that is wrong, and one that
//! comes more than once, counts as none. `tracestate` and `baggage` are words of the caller's own that nobody inspects:
//! they are not read, and go to nobody in the building.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A trace's id; never all zeros.
pub type TraceId = [u8; 16];
/// A span's id; never all zeros.
pub type SpanId = [u8; 8];

const SAMPLED: u8 = 1;
/// Bytes of version 00, and the least of any later one.
const LENGTH: usize = 55;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
    /// Whether who says so records it.
    pub sampled: bool,
}

impl TraceParent {
    /// What a request says it is part of.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        Self::parse(value.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (whole, more) = text.split_at_checked(LENGTH)?;
        let [version] = hexadecimal(&whole[..2])?;
        let ends_well = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        if !ends_well || [2, 35, 52].iter().any(|at| whole[*at] != b'-') {
            return None;
        }
        let (trace, span) = (hexadecimal(&whole[3..35])?, hexadecimal(&whole[36..52])?);
        let [flags] = hexadecimal(&whole[53..])?;
        let valid = trace != [0; 16] && span != [0; 8];
        valid.then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// The header's value.
    pub fn header(&self) -> HeaderValue {
        let (trace, span) = (hex::encode(self.trace), hex::encode(self.span));
        HeaderValue::try_from(format!("00-{trace}-{span}-{:02x}", u8::from(self.sampled)))
            .expect("hexadecimal digits and hyphens are a header's value")
    }
}

/// Bytes from lower-case digits, which alone are valid.
fn hexadecimal<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut bytes = [0; N];
    let whole = text.iter().all(lower) && hex::decode_to_slice(text, &mut bytes).is_ok();
    whole.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_allows_is_read_and_nothing_else() {
        let read = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(read.header(), GOOD);
        assert!(read.sampled);
        let other = |from: &str, to: &str| TraceParent::parse(GOOD.replacen(from, to, 1).as_bytes());
        assert!(!other("-01", "-00").unwrap().sampled);
        // Flags that nobody knows yet say nothing.
        assert!(other("-01", "-ff").unwrap().sampled && !other("-01", "-fe").unwrap().sampled);
        // A later version has what this one has in front, and may have more behind a hyphen.
        assert!(other("00-", "cc-").is_some());
        assert!(TraceParent::parse(format!("cc{}-what-will-be", &GOOD[2..]).as_bytes()).is_some());
        for wrong in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &format!(" {GOOD}"),
            &GOOD.to_uppercase(),
            &format!("ff{}", &GOOD[2..]),
            &format!("cc{}.what", &GOOD[2..]),
            &GOOD.replace('-', "_"),
            &GOOD.replacen("b7ad", "b7aG", 1),
            &GOOD.replacen("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32), 1),
            &GOOD.replacen("b7ad6b7169203331", &"0".repeat(16), 1),
        ] {
            assert_eq!(TraceParent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn of_two_none_is_taken() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(TraceParent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceParent::of(&headers), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace: TraceId, span: SpanId, sampled: bool) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let place = TraceParent { trace, span, sampled };
            prop_assert_eq!(TraceParent::parse(place.header().as_bytes()), Some(place));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = TraceParent::parse(&bytes) {
                prop_assert!(read.trace != [0; 16] && read.span != [0; 8]);
            }
        }

        #[test]
        fn one_byte_changed_is_never_another_place(at in 0..LENGTH, byte: u8) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            if let Some(read) = TraceParent::parse(&bytes) {
                // It is written by the same letters: nothing is read that was not there.
                let written = read.header();
                prop_assert_eq!(&written.as_bytes()[3..52], &bytes[3..52]);
            }
        }
    }
}
