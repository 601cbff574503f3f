//! `application/vnd.amazon.eventstream`: the binary messages in which Amazon Bedrock streams a reply.
//!
//! A message is a prelude (its length, the length of its headers, a CRC-32 of both), headers, a payload and
//! a CRC-32 of everything before it, all numbers big-endian. It keeps its raw bytes, so that a message
//! nobody edits goes out byte for byte. It knows nothing of JSON or of dialects.
//!
//! Any split of the input gives the same messages.
//!
//! Limits: one message's bytes, which are checked before they are waited for. On failure: an
//! [`EventStreamError`], after which the parser must not be used: without a length that can be trusted
//! nobody knows where the next message begins.

/// Length and length of headers, and the checksum of both.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// What the format itself permits for headers.
const MAX_HEADERS: usize = 128 << 10;

/// A header's value is a string.
const STRING: u8 = 7;

/// Why bytes are no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventStreamError {
    /// A message is longer than the limit.
    #[error("a message is larger than the limit")]
    TooLarge,
    /// A checksum does not fit.
    #[error("a message's checksum is wrong")]
    Checksum,
    /// The lengths within a message contradict each other.
    #[error("a message's lengths do not fit together")]
    Lengths,
    /// A header cannot be read.
    #[error("a message's headers cannot be read")]
    Headers,
}

/// One whole message.
#[derive(Clone)]
pub(crate) struct Message {
    raw: Vec<u8>,
    /// Those headers whose values are strings, which all that mean anything here are.
    headers: Vec<(String, String)>,
    payload: usize,
}

impl Message {
    /// The bytes as they came.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// A header's value, where it is a string.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Which event it is (`:event-type`), or which exception (`:exception-type`).
    pub(crate) fn name(&self) -> &str {
        self.header(":event-type")
            .or_else(|| self.header(":exception-type"))
            .unwrap_or_default()
    }

    /// Whether it tells of an error (`:message-type` is `exception` or `error`).
    pub(crate) fn is_error(&self) -> bool {
        matches!(self.header(":message-type"), Some("exception" | "error"))
    }

    /// What it carries.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.raw[self.payload..self.raw.len() - CHECKSUM]
    }

    /// The same message with another payload: every byte of its headers stays.
    pub(crate) fn with_payload(&self, payload: &[u8], out: &mut Vec<u8>) {
        seal(&self.raw[PRELUDE..self.payload], payload, out);
    }

    /// Reads a message whose prelude was checked.
    fn read(raw: Vec<u8>, payload: usize) -> Result<Self, EventStreamError> {
        let body = raw.len() - CHECKSUM;
        if crc32fast::hash(&raw[..body]).to_be_bytes() != raw[body..] {
            return Err(EventStreamError::Checksum);
        }
        let headers = read_headers(&raw[PRELUDE..payload]).ok_or(EventStreamError::Headers)?;
        Ok(Self {
            raw,
            headers,
            payload,
        })
    }
}

/// Writes one event as the provider does: `:event-type`, `:content-type`, `:message-type`, then JSON.
pub(crate) fn event(name: &str, payload: &[u8], out: &mut Vec<u8>) {
    write(
        &[
            (":event-type", name),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload,
        out,
    );
}

/// Writes an exception, which ends a stream.
pub(crate) fn exception(name: &str, payload: &[u8], out: &mut Vec<u8>) {
    write(
        &[
            (":exception-type", name),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ],
        payload,
        out,
    );
}

fn write(headers: &[(&str, &str)], payload: &[u8], out: &mut Vec<u8>) {
    let mut block = Vec::new();
    for (name, value) in headers {
        // Names and values are our own and far shorter than their lengths' types.
        block.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        block.extend_from_slice(name.as_bytes());
        block.push(STRING);
        block.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    seal(&block, payload, out);
}

/// Puts prelude and checksums around headers and a payload.
fn seal(headers: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = PRELUDE + headers.len() + payload.len() + CHECKSUM;
    // Both lengths are bounded by the limits on a body, which are far below the type's.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

/// The string headers of a block; `None` when it does not end where a header does.
fn read_headers(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some((&length, rest)) = block.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (&kind, rest) = rest.split_first()?;
        let length = match kind {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            9 => 16,
            6 | STRING => usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            _ => return None,
        };
        let rest = if matches!(kind, 6 | STRING) {
            rest.get(2..)?
        } else {
            rest
        };
        let (value, rest) = rest.split_at_checked(length)?;
        if kind == STRING {
            let name = std::str::from_utf8(name).ok()?.to_owned();
            headers.push((name, std::str::from_utf8(value).ok()?.to_owned()));
        }
        block = rest;
    }
    Some(headers)
}

/// The parser. Feed it with [`Parser::push`]; at the end [`Parser::is_empty`] tells whether the stream
/// ended between two messages.
pub(crate) struct Parser {
    max_message: usize,
    buffer: Vec<u8>,
}

impl Parser {
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            max_message,
            buffer: Vec::new(),
        }
    }

    /// The messages that `bytes` completed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, EventStreamError> {
        self.buffer.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut from = 0;
        while let Some((length, payload)) = self.prelude(from)? {
            let Some(raw) = self.buffer.get(from..from + length) else {
                break;
            };
            messages.push(Message::read(raw.to_vec(), payload)?);
            from += length;
        }
        self.buffer.drain(..from);
        Ok(messages)
    }

    /// Whether nothing of a message is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Length of the message at `from`, and where in it the payload begins; `None` until its prelude is there.
    fn prelude(&self, from: usize) -> Result<Option<(usize, usize)>, EventStreamError> {
        let number = |at: usize| {
            let bytes = self.buffer.get(from + at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*bytes))
        };
        let (Some(length), Some(headers), Some(checksum)) = (number(0), number(4), number(8)) else {
            return Ok(None);
        };
        if crc32fast::hash(&self.buffer[from..from + 8]) != checksum {
            return Err(EventStreamError::Checksum);
        }
        let (length, headers) = (length as usize, headers as usize);
        if length > self.max_message {
            return Err(EventStreamError::TooLarge);
        }
        if headers > MAX_HEADERS || headers.saturating_add(PRELUDE + CHECKSUM) > length {
            return Err(EventStreamError::Lengths);
        }
        Ok(Some((length, PRELUDE + headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
            .collect()
    }

    fn one(raw: &[u8]) -> Result<Message, EventStreamError> {
        Ok(Parser::new(1 << 20).push(raw)?.remove(0))
    }

    /// From the test vectors that AWS publishes with its event stream libraries.
    #[test]
    fn reads_the_published_messages() {
        let empty = bytes("0000001000000000 05c248eb 7d98c8ff");
        assert_eq!(one(&empty).unwrap().payload(), b"");
        let payload = bytes("0000001d00000000 fd528c5a 7b27666f6f273a27626172277d c3653936");
        assert_eq!(one(&payload).unwrap().payload(), b"{'foo':'bar'}");
        let header = bytes(
            "0000003d00000020 07fd8396 0c 636f6e74656e742d74797065 07 0010 6170706c69636174696f6e2f6a736f6e \
             7b27666f6f273a27626172277d 8d9c08b1",
        );
        let message = one(&header).unwrap();
        assert_eq!(message.header("content-type"), Some("application/json"));
        assert_eq!(message.payload(), b"{'foo':'bar'}");
        let mut again = Vec::new();
        write(
            &[("content-type", "application/json")],
            b"{'foo':'bar'}",
            &mut again,
        );
        assert_eq!(again, header);
        let int = bytes(
            "0000002d 00000010 41c424b8 0a 6576656e742d74797065 04 0000a00c 7b27666f6f273a27626172277d 36f480a0",
        );
        let mut out = Vec::new();
        one(&int).unwrap().with_payload(b"{'foo':'bar'}", &mut out);
        assert_eq!(out, int);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut good = Vec::new();
        event("contentBlockDelta", br#"{"delta":{"text":"hi"}}"#, &mut good);
        assert!(one(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(
                matches!(Parser::new(1 << 20).push(&bad), Err(EventStreamError::Checksum)),
                "a changed byte at {at}"
            );
        }
        assert_eq!(
            Parser::new(good.len() - 1).push(&good).err(),
            Some(EventStreamError::TooLarge)
        );
        for (headers, expected) in [
            (bytes("01 61 0a"), EventStreamError::Headers),
            (bytes("05 61"), EventStreamError::Headers),
            (bytes("01 61 07 0005 61"), EventStreamError::Headers),
            (bytes("01 61 07 0001 ff"), EventStreamError::Headers),
            (bytes("01 61 04 0000"), EventStreamError::Headers),
        ] {
            let mut raw = Vec::new();
            seal(&headers, b"", &mut raw);
            assert_eq!(one(&raw).err(), Some(expected));
        }
        let mut raw = bytes("00000010 00000010");
        let checksum = crc32fast::hash(&raw);
        raw.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(one(&raw).err(), Some(EventStreamError::Lengths));
    }

    #[test]
    fn headers_of_every_type_are_passed_over() {
        let headers = bytes(
            "01 61 00  01 62 01  01 63 02 ff  01 64 03 0001  01 65 04 00000001  01 66 05 0000000000000001 \
             01 67 06 0002 0102  01 68 07 0001 78  01 69 08 0000000000000001 \
             01 6a 09 00000000000000000000000000000001",
        );
        let mut raw = Vec::new();
        seal(&headers, b"{}", &mut raw);
        let message = one(&raw).unwrap();
        assert_eq!(message.header("h"), Some("x"));
        assert_eq!(message.header("a"), None);
        assert_eq!(message.payload(), b"{}");
    }

    #[test]
    fn an_exception_tells_that_it_is_one() {
        let mut raw = Vec::new();
        exception("throttlingException", br#"{"message":"slow down"}"#, &mut raw);
        let message = one(&raw).unwrap();
        assert!(message.is_error());
        assert_eq!(message.name(), "throttlingException");
    }

    proptest! {
        #[test]
        fn any_split_gives_back_what_was_written(
            events in prop::collection::vec(
                ("[a-zA-Z]{1,20}", prop::collection::vec(any::<u8>(), 0..80)), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut stream = Vec::new();
            for (name, payload) in &events {
                event(name, payload, &mut stream);
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.sort_unstable();
            let mut parser = Parser::new(1 << 20);
            let mut seen = Vec::new();
            let mut from = 0;
            for cut in at.into_iter().chain([stream.len()]) {
                for message in parser.push(&stream[from..cut]).unwrap() {
                    prop_assert!(!message.is_error());
                    let mut again = Vec::new();
                    message.with_payload(message.payload(), &mut again);
                    prop_assert_eq!(&again, message.raw());
                    seen.push((message.name().to_owned(), message.payload().to_vec()));
                }
                from = cut;
            }
            prop_assert_eq!(seen, events);
            prop_assert!(parser.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parser::new(1 << 20).push(&bytes);
        }
    }
}
