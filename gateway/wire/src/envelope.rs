//! What travels beside a body: headers, path and query, as segments.
//!
//! A session id or a title in a header leaves the building as surely as one in the body. Credentials
//! and headers that only steer the protocol are no segments (their values are the servers' business,
//! and a placeholder there would break the exchange); of all others both value and name are. A path
//! is a segment unless the endpoint tables spell it out in full. Query parameters are decoded as
//! forms are, and edits are percent-encoded again.
//!
//! Bytes that are not UTF-8 are read as Latin-1, so that nothing is skipped. Limits: the listener's
//! limit on header bytes; there is no other growth here. On failure: [`SpliceError`], always ours.

use std::fmt;

use cordon_domain::{Edit, Place, Role, Segment, SpliceError, Text};

use crate::{
    endpoint::is_fixed_path,
    json::{OffsetMap, in_order},
    percent,
};

/// Headers, path and query of a request.
pub struct Envelope {
    headers: Vec<(String, Vec<u8>)>,
    target: String,
    segments: Vec<Segment>,
    sites: Vec<Site>,
}

/// Where a segment was decoded from.
struct Site {
    source: Source,
    map: OffsetMap,
}

#[derive(Clone, Copy)]
enum Source {
    HeaderName(usize),
    HeaderValue(usize),
    /// Path and query, from that byte on.
    Target(usize),
}

/// Headers that prove who the caller is, or in whose account; routing replaces or drops them.
const CREDENTIALS: &[&str] = &[
    "api-key",
    "authorization",
    "cookie",
    "openai-organization",
    "openai-project",
    "proxy-authorization",
    "x-amz-security-token",
    "x-api-key",
    "x-goog-api-key",
];

/// Headers that steer the protocol only, or are replaced on the way; of those in [`FORMED`] as long as the value has
/// the header's form.
const PROTOCOL: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-amz-content-sha256",
    "x-amz-date",
];

/// Whether a value has the strict form that its header allows.
type Form = fn(&[u8]) -> bool;

/// Headers that travel as they came: what a value of another form says is somebody's words.
const FORMED: &[(&str, Form)] = &[
    ("accept", is_media),
    ("content-type", is_media),
    ("x-amz-content-sha256", is_digest),
    ("x-amz-date", is_moment),
];

/// Media types without digits, and no parameters but a weight and a character set: too little room to say
/// something in.
pub(crate) fn is_media(value: &[u8]) -> bool {
    let ranges = |value: &str| value.split(',').all(is_media_range);
    value.len() <= 256 && std::str::from_utf8(value).is_ok_and(ranges)
}

fn is_media_range(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kinds = ["application", "text", "image", "audio", "video", "multipart", "*"];
    let named = parts
        .next()
        .and_then(|name| name.split_once('/'))
        .is_some_and(|(kind, rest)| {
            let letter = |byte: u8| byte.is_ascii_alphabetic() || b".+-*".contains(&byte);
            kinds.contains(&kind) && rest.len() <= 40 && rest.bytes().all(letter)
        });
    named
        && parts.all(|parameter| match parameter.split_once('=') {
            Some(("q", weight)) => {
                weight.len() <= 5 && weight.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            }
            Some((name, set)) if name.eq_ignore_ascii_case("charset") => {
                let set = set.trim_matches('"');
                ["utf-8", "us-ascii", "iso-8859-1"]
                    .iter()
                    .any(|known| set.eq_ignore_ascii_case(known))
            }
            _ => false,
        })
}

/// The forms of Amazon's Signature Version 4: a SHA-256 in hex, or a word in its place.
fn is_digest(value: &[u8]) -> bool {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    value == b"UNSIGNED-PAYLOAD" || (value.len() == 64 && value.iter().all(hex))
}

/// `20261128T063755Z`.
fn is_moment(value: &[u8]) -> bool {
    value.len() == 16
        && value.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

/// Query parameters that the endpoints define.
const PARAMETERS: &[&str] = &[
    "after",
    "after_id",
    "alt",
    "api-version",
    "before",
    "before_id",
    "beta",
    "limit",
    "order",
    "pageSize",
    "pageToken",
];

impl Envelope {
    /// Reads headers, in their order, and a path with its query.
    #[must_use]
    pub fn new(headers: &[(String, Vec<u8>)], path_and_query: &str) -> Self {
        let mut envelope = Self {
            headers: headers.to_vec(),
            target: path_and_query.to_owned(),
            segments: Vec::new(),
            sites: Vec::new(),
        };
        for (index, (name, value)) in headers.iter().enumerate() {
            envelope.header(index, name, value);
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if !is_fixed_path(path) {
            envelope.part("path", 0, path, false);
        }
        let mut start = path.len() + 1;
        for parameter in query.split('&') {
            envelope.parameter(start, parameter);
            start += parameter.len() + 1;
        }
        envelope
    }

    fn header(&mut self, index: usize, name: &str, value: &[u8]) {
        let lower = name.to_ascii_lowercase();
        let formed = FORMED.iter().find(|(known, _)| *known == lower);
        if CREDENTIALS.binary_search(&lower.as_str()).is_ok()
            || (PROTOCOL.binary_search(&lower.as_str()).is_ok() && formed.is_none_or(|(_, fits)| fits(value)))
        {
            return;
        }
        let site = Site {
            source: Source::HeaderName(index),
            map: OffsetMap::default(),
        };
        self.push(format!("key:header:{lower}"), name.to_owned(), site);
        let (text, map) = percent::decode(value, |_| None);
        self.push(
            format!("header:{lower}"),
            text,
            Site {
                source: Source::HeaderValue(index),
                map,
            },
        );
    }

    fn parameter(&mut self, start: usize, parameter: &str) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if PARAMETERS.binary_search(&name).is_err() {
            self.part(&format!("key:query:{name}"), start, name, true);
        }
        self.part(&format!("query:{name}"), start + name.len() + 1, value, true);
    }

    fn part(&mut self, place: &str, start: usize, raw: &str, form: bool) {
        let (text, map) = percent::decode(raw.as_bytes(), |bytes| percent::unit(bytes, form));
        self.push(
            place.to_owned(),
            text,
            Site {
                source: Source::Target(start),
                map,
            },
        );
    }

    fn push(&mut self, place: String, text: String, site: Site) {
        if text.is_empty() {
            return;
        }
        self.segments.push(Segment {
            place: Place::new(place),
            role: Role::Other,
            text: Text::from(text),
        });
        self.sites.push(site);
    }

    /// The texts of headers, path and query, in that order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Headers, and path with query, with the edits put in; see [`cordon_domain::Splice`].
    ///
    /// What a header cannot carry is made to fit: control characters of a replacement become spaces,
    /// and in a header's name whatever is no token character becomes a hyphen.
    ///
    /// # Errors
    /// When an edit names a segment or span that is not there, splits a character, or overlaps another.
    #[expect(
        clippy::type_complexity,
        reason = "headers and target, just as `new` takes them"
    )]
    pub fn splice(&self, edits: &[Edit]) -> Result<(Vec<(String, Vec<u8>)>, String), SpliceError> {
        let mut headers = self.headers.clone();
        let mut target = self.target.clone();
        // From the back, so that the offsets of the edits still to come stay true.
        for edit in in_order(&self.segments, edits)?.into_iter().rev() {
            let site = &self.sites[edit.segment];
            let (start, end) = (site.map.raw(edit.span.start), site.map.raw(edit.span.end));
            match site.source {
                Source::HeaderName(index) => {
                    let fit = |c: char| if is_token(c) { c } else { '-' };
                    let name: String = edit.replacement.chars().map(fit).collect();
                    headers[index].0.replace_range(start..end, &name);
                }
                Source::HeaderValue(index) => {
                    let fit = |c: char| if c.is_control() { ' ' } else { c };
                    let value: String = edit.replacement.chars().map(fit).collect();
                    headers[index].1.splice(start..end, value.bytes());
                }
                Source::Target(from) => {
                    target.replace_range(from + start..from + end, &percent::encoded(&edit.replacement));
                }
            }
        }
        Ok((headers, target))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("headers", &self.headers.len())
            .field("segments", &self.segments.len())
            .finish_non_exhaustive()
    }
}

/// Whether a character may stand in a header's name (RFC 9110, 5.6.2).
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect()
    }

    fn texts(envelope: &Envelope) -> Vec<(&str, &str)> {
        envelope
            .segments()
            .iter()
            .map(|s| (s.place.as_str(), s.text.as_str()))
            .collect()
    }

    fn replace(envelope: &Envelope, what: &str, with: &str) -> (Vec<(String, Vec<u8>)>, String) {
        let edits: Vec<Edit> = envelope
            .segments()
            .iter()
            .enumerate()
            .filter_map(|(segment, s)| {
                let start = s.text.find(what)?;
                Some(Edit {
                    segment,
                    span: start..start + what.len(),
                    replacement: with.to_owned(),
                })
            })
            .collect();
        assert!(!edits.is_empty());
        envelope.splice(&edits).unwrap()
    }

    #[test]
    fn the_lists_are_sorted() {
        for list in [CREDENTIALS, PROTOCOL, PARAMETERS] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn credentials_and_protocol_headers_are_no_segments() {
        let given = headers(&[
            ("Authorization", b"Bearer sk-x"),
            ("X-Api-Key", b"k"),
            ("Cookie", b"a=b"),
            ("Host", b"api.openai.com"),
            ("accept-encoding", b"gzip"),
            ("Session_Id", b"s-1"),
        ]);
        let envelope = Envelope::new(&given, "/v1/messages?beta=true");
        assert_eq!(
            texts(&envelope),
            [
                ("key:header:session_id", "Session_Id"),
                ("header:session_id", "s-1"),
                ("query:beta", "true")
            ]
        );
        assert_eq!(
            envelope.splice(&[]).unwrap(),
            (given, "/v1/messages?beta=true".to_owned())
        );
    }

    #[test]
    fn a_protocol_header_that_says_more_is_a_segment() {
        let value = |name: &str, value: &str| {
            let envelope = Envelope::new(&headers(&[(name, value.as_bytes())]), "/v1/messages");
            envelope
                .segments()
                .iter()
                .any(|segment| segment.text.as_str() == value)
        };
        for (name, plain) in [
            ("accept", "application/json, text/plain;q=0.9, */*;q=0.8"),
            ("accept", "text/event-stream"),
            ("content-type", "application/json; charset=utf-8"),
            ("content-type", "application/vnd.amazon.eventstream"),
            ("x-amz-date", "20261128T063755Z"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ] {
            assert!(!value(name, plain), "{name}: {plain}");
        }
        for (name, words) in [
            ("accept", "text/j.kim@example.com"),
            ("accept", "text/plain; note=hello"),
            ("content-type", "application/json; x=\"4111 1111 1111 1111\""),
            ("content-type", "multipart/form-data; boundary=j.kim@example.com"),
            ("x-amz-date", "4111111111111111"),
            ("x-amz-content-sha256", "the minutes of Monday"),
        ] {
            assert!(value(name, words), "{name}: {words}");
        }
    }

    #[test]
    fn query_is_decoded_and_encoded_again() {
        let envelope = Envelope::new(&[], "/v1/messages?q=mail+j%2Ekim%40ex.com%20now&%6Bey=%zz&&x");
        assert_eq!(
            texts(&envelope),
            [
                ("key:query:q", "q"),
                ("query:q", "mail j.kim@ex.com now"),
                ("key:query:%6Bey", "key"),
                ("query:%6Bey", "%zz"),
                ("key:query:x", "x"),
            ]
        );
        let (_, target) = replace(&envelope, "j.kim@ex.com", "[EMAIL_K7QX] é");
        assert_eq!(
            target,
            "/v1/messages?q=mail+%5BEMAIL_K7QX%5D%20%C3%A9%20now&%6Bey=%zz&&x"
        );
    }

    #[test]
    fn a_path_of_the_callers_choice_is_a_segment() {
        let envelope = Envelope::new(&[], "/v1/models/j%2ekim@ex.com");
        assert_eq!(texts(&envelope), [("path", "/v1/models/j.kim@ex.com")]);
        assert_eq!(replace(&envelope, "j.kim@ex.com", "[E]").1, "/v1/models/%5BE%5D");
        assert!(Envelope::new(&[], "/v1/models").segments().is_empty());
        assert_eq!(texts(&Envelope::new(&[], "")), []);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_read_as_latin1() {
        let given = headers(&[("x-note", b"caf\xE9 j@ex.com \xFF")]);
        let envelope = Envelope::new(&given, "/v1/messages?n=%E9%20j@ex.com");
        assert_eq!(envelope.segments()[1].text.as_str(), "café j@ex.com ÿ");
        let (edited, target) = replace(&envelope, "j@ex.com", "[E]");
        assert_eq!(edited[0].1, b"caf\xE9 [E] \xFF");
        assert_eq!(target, "/v1/messages?n=%E9%20%5BE%5D");
    }

    #[test]
    fn edits_cannot_break_out_of_a_header() {
        let given = headers(&[("x-john", b"john")]);
        let envelope = Envelope::new(&given, "/v1/messages");
        let (edited, _) = replace(&envelope, "john", "a\r\nb: [N]");
        assert_eq!(edited[0].0, "x-a--b---N-");
        assert_eq!(edited[0].1, b"a  b: [N]");
    }

    #[test]
    fn misfitting_edits_are_errors() {
        let envelope = Envelope::new(&headers(&[("x-a", "é".as_bytes())]), "/v1/messages");
        let edit = |segment, span| Edit {
            segment,
            span,
            replacement: String::new(),
        };
        assert_eq!(
            envelope.splice(&[edit(9, 0..0)]),
            Err(SpliceError::NoSuchSegment(9))
        );
        assert!(matches!(
            envelope.splice(&[edit(1, 0..1)]),
            Err(SpliceError::BadSpan { .. })
        ));
        assert_eq!(
            envelope.splice(&[edit(1, 0..2), edit(1, 0..2)]),
            Err(SpliceError::Overlap(1))
        );
    }

    /// A form value for a text, each byte written plainly or percent-encoded as the seed says.
    fn written(text: &str, mut seed: u64) -> String {
        let mut out = String::new();
        for byte in text.bytes() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match byte {
                b' ' if seed >> 63 == 0 => out.push('+'),
                b'a'..=b'z' if seed >> 63 == 0 => out.push(char::from(byte)),
                _ if seed >> 62 == 3 => out.push_str(&format!("%{byte:02x}")),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_edited_in_a_query(
            text in "[a-z +%&é😀\\x00-\\x7f]{1,20}", seed: u64, from: usize, to: usize,
        ) {
            let envelope = Envelope::new(&[], &format!("/v1/messages?q={}&z=1", written(&text, seed)));
            prop_assert_eq!(envelope.segments()[1].text.as_str(), &text);

            let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (from, to) = (bounds[from % bounds.len()], bounds[to % bounds.len()]);
            let span = from.min(to)..from.max(to);
            let edit = Edit { segment: 1, span: span.clone(), replacement: "[é&]".into() };
            let (_, target) = envelope.splice(&[edit]).unwrap();
            let again = Envelope::new(&[], &target);
            let mut edited = text.clone();
            edited.replace_range(span, "[é&]");
            prop_assert_eq!(again.segments()[1].text.as_str(), edited);
            prop_assert_eq!(&texts(&again)[2..], &texts(&envelope)[2..]);
        }

        #[test]
        fn hostile_bytes_do_not_panic(value in proptest::collection::vec(any::<u8>(), 0..40), target: String) {
            let envelope = Envelope::new(&[("x-a".to_owned(), value.clone())], &target);
            for (segment, s) in envelope.segments().iter().enumerate() {
                let edit = Edit { segment, span: 0..s.text.len(), replacement: "[N]".into() };
                let (headers, _) = envelope.splice(&[edit]).unwrap();
                let edited = s.place.as_str() == "header:x-a";
                prop_assert_eq!(&headers[0].1, if edited { b"[N]".as_slice() } else { &value });
            }
        }
    }
}
