//! Incremental parser of `text/event-stream`, as the WHATWG HTML standard describes it (section 9.2).
//!
//! It keeps the raw bytes of each event, so that an event nobody edits goes out byte for byte, and
//! maps offsets in an event's data back to those bytes. It knows nothing of JSON or of dialects.
//!
//! Any split of the input gives the same events. `id` and `retry` mean nothing to us; they stay in
//! the raw bytes.
//!
//! Limits: one event's raw bytes. On failure: [`EventTooLarge`], after which the parser must not be used.

/// One event: everything up to and including the blank line that ends it.
#[derive(Clone)]
pub(crate) struct Event {
    raw: Vec<u8>,
    name: String,
    data: Vec<u8>,
    pieces: Vec<Piece>,
    ended: bool,
}

/// Where one `data:` line's value begins, in the joined data and in the raw bytes.
#[derive(Clone, Copy)]
struct Piece {
    data: usize,
    raw: usize,
}

impl Event {
    /// The bytes as they came, with comments, field names and line ends.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The value of the last `event:` field; empty when there was none.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The values of the `data:` fields joined by line feeds; `None` when there was no such field.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        (!self.pieces.is_empty()).then_some(self.data.as_slice())
    }

    /// Whether a blank line ended it. Only the last event of a stream can lack one.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The raw bytes that hold `start..end` of the data; `None` when that range spans two `data:` lines.
    pub(crate) fn raw_range(&self, start: usize, end: usize) -> Option<std::ops::Range<usize>> {
        if start > end || end > self.data.len() {
            return None;
        }
        let after = self.pieces.partition_point(|piece| piece.data <= start);
        let piece = self.pieces.get(after.checked_sub(1)?)?;
        // The line feed that joins two pieces is ours, so a range may not reach the next piece.
        if self.pieces.get(after).is_some_and(|next| end >= next.data) {
            return None;
        }
        Some(start - piece.data + piece.raw..end - piece.data + piece.raw)
    }
}

/// An event grew past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventTooLarge;

/// How the latest line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    LineFeed,
    Return,
    Both,
}

/// The parser. Feed it with [`Parser::push`], then [`Parser::finish`].
pub(crate) struct Parser {
    max_event: usize,
    buffer: Vec<u8>,
    /// Start of the present event, of its present line, and of what was not searched yet.
    event_start: usize,
    line_start: usize,
    searched: usize,
    first_line: bool,
    last_end: LineEnd,
    /// The event before ended in a lone return; a line feed right behind it ends no further line.
    skip_line_feed: bool,
    draft: Draft,
}

#[derive(Default)]
struct Draft {
    name: String,
    data: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Parser {
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            max_event,
            buffer: Vec::new(),
            event_start: 0,
            line_start: 0,
            searched: 0,
            first_line: true,
            last_end: LineEnd::LineFeed,
            skip_line_feed: false,
            draft: Draft::default(),
        }
    }

    /// The events that `bytes` completed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventTooLarge> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some((line_end, next, end)) = self.next_line() {
            if let Some(event) = self.take_line(line_end, next) {
                if event.raw.len() > self.max_event {
                    return Err(EventTooLarge);
                }
                events.push(event);
            }
            self.last_end = end;
        }
        self.buffer.drain(..self.event_start);
        self.line_start -= self.event_start;
        self.searched -= self.event_start;
        // Pieces count from the event's start, so they need no shift.
        self.event_start = 0;
        if self.buffer.len() > self.max_event {
            return Err(EventTooLarge);
        }
        Ok(events)
    }

    /// What was left without its blank line when the stream ended.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        let mut line_end = self.buffer.len();
        if self.line_start < line_end && self.buffer.ends_with(b"\r") {
            // A return that waited for a line feed ends its line after all.
            line_end -= 1;
            if self.line_start == line_end {
                return self.take_line(line_end, line_end + 1);
            }
        }
        if self.line_start < line_end {
            self.read_line(line_end);
        }
        if self.buffer.is_empty() {
            return None;
        }
        let raw = std::mem::take(&mut self.buffer);
        let draft = std::mem::take(&mut self.draft);
        self.line_start = 0;
        self.searched = 0;
        Some(draft.into_event(raw, false))
    }

    /// The end of the present line without its terminator, the start of the next, and the terminator.
    fn next_line(&mut self) -> Option<(usize, usize, LineEnd)> {
        if self.skip_line_feed {
            match self.buffer.get(self.line_start) {
                None => return None,
                Some(b'\n') => {
                    self.line_start += 1;
                    self.searched = self.line_start;
                }
                Some(_) => {}
            }
            self.skip_line_feed = false;
        }
        let Some(found) = memchr::memchr2(b'\r', b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let at = self.searched + found;
        let (next, end) = if self.buffer[at] == b'\n' {
            (at + 1, LineEnd::LineFeed)
        } else if at == self.line_start && self.last_end == LineEnd::Return {
            // A stream that ends its lines in lone returns: this blank line ends an event now. To wait
            // for the next byte would keep the event back for as long as the upstream thinks.
            self.skip_line_feed = true;
            (at + 1, LineEnd::Return)
        } else {
            match self.buffer.get(at + 1) {
                None => {
                    self.searched = at;
                    return None;
                }
                Some(b'\n') => (at + 2, LineEnd::Both),
                Some(_) => (at + 1, LineEnd::Return),
            }
        };
        Some((at, next, end))
    }

    /// Reads the line that ends at `line_end`; gives the event when that line was blank.
    fn take_line(&mut self, line_end: usize, next: usize) -> Option<Event> {
        let blank = self.read_line(line_end);
        self.line_start = next;
        self.searched = next;
        if !blank {
            return None;
        }
        let raw = self.buffer[self.event_start..next].to_vec();
        self.event_start = next;
        Some(std::mem::take(&mut self.draft).into_event(raw, true))
    }

    /// Takes the fields of one line into the draft; says whether it was blank.
    fn read_line(&mut self, line_end: usize) -> bool {
        let mut start = self.line_start;
        if std::mem::take(&mut self.first_line) && self.buffer[start..line_end].starts_with(b"\xef\xbb\xbf") {
            start += 3;
        }
        let line = &self.buffer[start..line_end];
        if line.is_empty() {
            return true;
        }
        let (field, value_at) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let space = usize::from(line.get(colon + 1) == Some(&b' '));
                (&line[..colon], colon + 1 + space)
            }
            None => (line, line.len()),
        };
        let value = &line[value_at..];
        match field {
            b"data" => {
                if !self.draft.pieces.is_empty() {
                    self.draft.data.push(b'\n');
                }
                self.draft.pieces.push(Piece {
                    data: self.draft.data.len(),
                    raw: start + value_at - self.event_start,
                });
                self.draft.data.extend_from_slice(value);
            }
            b"event" => self.draft.name = String::from_utf8_lossy(value).into_owned(),
            // Comments, `id`, `retry` and fields the standard does not know.
            _ => {}
        }
        false
    }
}

impl Draft {
    fn into_event(self, raw: Vec<u8>, ended: bool) -> Event {
        Event {
            raw,
            name: self.name,
            data: self.data,
            pieces: self.pieces,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Seen = (Vec<u8>, String, Option<Vec<u8>>, bool);

    fn parse(chunks: &[&[u8]]) -> Vec<Seen> {
        let mut parser = Parser::new(1 << 20);
        let mut events = Vec::new();
        for chunk in chunks {
            events.extend(parser.push(chunk).unwrap());
        }
        events.extend(parser.finish());
        events
            .into_iter()
            .map(|e| {
                (
                    e.raw().to_vec(),
                    e.name().to_owned(),
                    e.data().map(<[u8]>::to_vec),
                    e.ended(),
                )
            })
            .collect()
    }

    fn data(stream: &[u8]) -> Vec<String> {
        parse(&[stream])
            .into_iter()
            .filter(|seen| seen.3)
            .filter_map(|seen| seen.2)
            .map(|data| String::from_utf8(data).unwrap())
            .collect()
    }

    #[test]
    fn reads_the_examples_of_the_standard() {
        assert_eq!(data(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        assert_eq!(data(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
        assert_eq!(
            data(b": test stream\n\ndata: first event\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n"),
            ["first event", "second", " third"]
        );
    }

    #[test]
    fn takes_every_line_end_and_the_byte_order_mark() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["\u{feff}event: a", "data: 1", "", "data: 2", "", ""].join(end);
            let seen = parse(&[stream.as_bytes()]);
            assert_eq!(seen.len(), 2, "{end:?}");
            assert_eq!(
                (seen[0].1.as_str(), seen[0].2.as_deref()),
                ("a", Some(b"1".as_slice()))
            );
            assert_eq!(seen[1].2.as_deref(), Some(b"2".as_slice()));
        }
    }

    #[test]
    fn a_lone_return_does_not_wait() {
        let mut parser = Parser::new(100);
        assert_eq!(parser.push(b"data: 1\r\r").unwrap().len(), 1);
        assert_eq!(parser.push(b"\ndata: 2\r\r").unwrap().len(), 1);
    }

    #[test]
    fn an_event_past_the_limit_is_refused() {
        assert!(Parser::new(16).push(b"data: 0123456789\n\n").is_err());
        assert!(Parser::new(16).push(b"data: 0123456789abc").is_err());
        assert!(Parser::new(18).push(b"data: 0123456789\n\n").is_ok());
    }

    #[test]
    fn ranges_of_the_data_map_to_raw_bytes() {
        let mut parser = Parser::new(100);
        let event = parser
            .push(b"id: 1\ndata: {\"a\":\ndata:\"xyz\"}\n\n")
            .unwrap()
            .remove(0);
        let at = event.data().unwrap().iter().position(|b| *b == b'x').unwrap();
        let range = event.raw_range(at, at + 3).unwrap();
        assert_eq!(&event.raw()[range], b"xyz");
        assert_eq!(event.raw_range(0, at), None);
        assert_eq!(event.raw_range(at, 99), None);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            stream in prop::collection::vec(
                prop::sample::select(vec![
                    "data", ":", " ", "\r", "\n", "\r\n", "\n\n", "x", "event: e", "\u{feff}", ": c", "id: 1",
                ]), 0..40).prop_map(|parts| parts.concat().into_bytes()),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let whole = parse(&[&stream]);
            let raw: Vec<u8> = whole.iter().flat_map(|seen| seen.0.clone()).collect();
            prop_assert_eq!(&raw, &stream);
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in at.into_iter().chain([stream.len()]) {
                chunks.push(&stream[from..cut]);
                from = cut;
            }
            prop_assert_eq!(parse(&chunks), whole);
        }
    }
}
