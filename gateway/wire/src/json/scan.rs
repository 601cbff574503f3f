//! The scanner: bytes to a flat list of values with spans, in one pass and without recursion.

use std::borrow::Cow;

use super::{
    JsonError, JsonFault,
    tree::{Kind, Node, Tree, Value},
};

/// What a scan may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Objects and arrays open at once.
    pub(crate) depth: usize,
    /// Values and keys in all.
    pub(crate) values: usize,
    /// Whether an object may hold a key twice. Only text inside a string may: there both values
    /// are inspected, while refusing would leave the text as one, with its escapes unresolved.
    pub(crate) duplicates: bool,
}

/// Members of an object up to which its keys are compared one by one.
const FEW: usize = 8;

/// Reads one JSON text.
pub(crate) fn scan<'s>(source: &'s [u8], bounds: &Bounds) -> Result<Tree<'s>, JsonError> {
    let source = std::str::from_utf8(source).map_err(|e| JsonError {
        offset: e.valid_up_to(),
        fault: JsonFault::InvalidUtf8,
    })?;
    scan_str(source, bounds)
}

/// Reads one JSON text that is known to be UTF-8.
pub(crate) fn scan_str<'s>(source: &'s str, bounds: &Bounds) -> Result<Tree<'s>, JsonError> {
    if u32::try_from(source.len()).is_err() {
        return Err(JsonError {
            offset: 0,
            fault: JsonFault::TooLong,
        });
    }
    if source.starts_with('\u{feff}') {
        return Err(JsonError {
            offset: 0,
            fault: JsonFault::ByteOrderMark,
        });
    }
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        at: 0,
        nodes: Vec::new(),
        open: Vec::new(),
        bounds,
    };
    scanner.run()?;
    Ok(Tree {
        source,
        nodes: scanner.nodes,
    })
}

struct Scanner<'s, 'b> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Containers not closed yet, as indices of nodes.
    open: Vec<u32>,
    bounds: &'b Bounds,
}

impl<'s> Scanner<'s, '_> {
    fn run(&mut self) -> Result<(), JsonError> {
        loop {
            if self.value()? {
                continue;
            }
            // A value is complete; close what it closes, until another one has to follow.
            loop {
                self.skip_space();
                let Some(&top) = self.open.last() else {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        Err(self.fail(JsonFault::TrailingBytes))
                    };
                };
                let kind = self.nodes[top as usize].kind;
                match (kind, self.peek()?) {
                    (_, b',') => {
                        self.at += 1;
                        if kind == Kind::Object {
                            self.key()?;
                        }
                        break;
                    }
                    (Kind::Object, b'}') | (Kind::Array, b']') => self.close()?,
                    _ => return Err(self.fail(JsonFault::UnexpectedByte)),
                }
            }
        }
    }

    /// Reads a scalar or opens a container; true when another value has to follow at once.
    fn value(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        match self.peek()? {
            b'{' => {
                self.open(Kind::Object)?;
                self.skip_space();
                if self.peek()? == b'}' {
                    self.close()?;
                    return Ok(false);
                }
                self.key()?;
                return Ok(true);
            }
            b'[' => {
                self.open(Kind::Array)?;
                self.skip_space();
                if self.peek()? == b']' {
                    self.close()?;
                    return Ok(false);
                }
                return Ok(true);
            }
            b'"' => self.string(Kind::String)?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal("true", Kind::True)?,
            b'f' => self.literal("false", Kind::False)?,
            b'n' => self.literal("null", Kind::Null)?,
            _ => return Err(self.fail(JsonFault::UnexpectedByte)),
        }
        Ok(false)
    }

    fn key(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek()? != b'"' {
            return Err(self.fail(JsonFault::UnexpectedByte));
        }
        self.string(Kind::Key)?;
        self.skip_space();
        if self.peek()? != b':' {
            return Err(self.fail(JsonFault::UnexpectedByte));
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, kind: Kind) -> Result<(), JsonError> {
        if self.open.len() >= self.bounds.depth {
            return Err(self.fail(JsonFault::TooDeep));
        }
        let index = offset(self.nodes.len());
        self.push(kind, self.at, self.at + 1, false)?;
        self.open.push(index);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let past = offset(self.nodes.len());
        let Some(index) = self.open.pop() else {
            return Err(self.fail(JsonFault::UnexpectedByte));
        };
        let node = &mut self.nodes[index as usize];
        node.end = offset(self.at);
        node.past = past;
        if node.kind == Kind::Object && !self.bounds.duplicates {
            self.refuse_duplicates(index as usize)?;
        }
        Ok(())
    }

    fn refuse_duplicates(&self, object: usize) -> Result<(), JsonError> {
        let object = Value::node_of(self.source, &self.nodes, object);
        // Most objects have a handful of members; comparing those costs less than sorting them.
        if object.members().nth(FEW).is_none() {
            let twice = object.members().enumerate().find(|(index, (key, _))| {
                object
                    .members()
                    .take(*index)
                    .any(|(earlier, _)| earlier.text() == key.text())
            });
            return match twice {
                Some((_, (key, _))) => Err(JsonError {
                    offset: key.span().start,
                    fault: JsonFault::DuplicateKey,
                }),
                None => Ok(()),
            };
        }
        let mut keys: Vec<(Cow<'_, str>, usize)> = object
            .members()
            .filter_map(|(key, _)| Some((key.text()?, key.span().start)))
            .collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(JsonError {
                offset: pair[1].1,
                fault: JsonFault::DuplicateKey,
            }),
            None => Ok(()),
        }
    }

    fn string(&mut self, kind: Kind) -> Result<(), JsonError> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.bytes.len();
                return Err(self.fail(JsonFault::UnexpectedEnd));
            };
            let plain = &rest[..stop];
            // Without an early exit the compiler checks many bytes at a time.
            if plain.iter().fold(false, |bad, &b| bad | (b < 0x20)) {
                self.at += plain.iter().position(|&b| b < 0x20).unwrap_or(0);
                return Err(self.fail(JsonFault::ControlCharacter));
            }
            self.at += stop;
            if rest[stop] == b'"' {
                self.at += 1;
                return self.push(kind, start, self.at, escaped);
            }
            escaped = true;
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let first = self.hex()?;
                if (0xDC00..0xE000).contains(&first) {
                    return Err(self.fail(JsonFault::LoneSurrogate));
                }
                if !(0xD800..0xDC00).contains(&first) {
                    self.at += 6;
                    return Ok(());
                }
                let high = self.at;
                self.at += 6;
                let low = if self.bytes[self.at..].starts_with(b"\\u") {
                    self.hex()?
                } else {
                    0
                };
                if !(0xDC00..0xE000).contains(&low) {
                    return Err(JsonError {
                        offset: high,
                        fault: JsonFault::LoneSurrogate,
                    });
                }
                self.at += 6;
            }
            Some(_) => return Err(self.fail(JsonFault::BadEscape)),
            None => return Err(self.fail(JsonFault::UnexpectedEnd)),
        }
        Ok(())
    }

    /// The four digits of the `\u` escape that starts here.
    fn hex(&self) -> Result<u32, JsonError> {
        let digits = self
            .bytes
            .get(self.at + 2..self.at + 6)
            .ok_or_else(|| self.fail(JsonFault::UnexpectedEnd))?;
        digits.iter().try_fold(0, |sum, &digit| {
            let value = char::from(digit)
                .to_digit(16)
                .ok_or_else(|| self.fail(JsonFault::BadEscape))?;
            Ok(sum * 16 + value)
        })
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            return Err(self.fail(JsonFault::BadNumber));
        }
        self.push(Kind::Number, start, self.at, false)
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.bytes[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        self.at += count;
        if count == 0 {
            Err(self.fail(JsonFault::BadNumber))
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, word: &str, kind: Kind) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fail(JsonFault::BadLiteral));
        }
        self.push(kind, self.at, self.at + word.len(), false)?;
        self.at += word.len();
        Ok(())
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize, escaped: bool) -> Result<(), JsonError> {
        if self.nodes.len() >= self.bounds.values {
            return Err(JsonError {
                offset: start,
                fault: JsonFault::TooManyValues,
            });
        }
        let past = offset(self.nodes.len() + 1);
        self.nodes.push(Node {
            kind,
            escaped,
            start: offset(start),
            end: offset(end),
            past,
        });
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, JsonError> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or_else(|| self.fail(JsonFault::UnexpectedEnd))
    }

    fn fail(&self, fault: JsonFault) -> JsonError {
        JsonError {
            offset: self.at,
            fault,
        }
    }
}

/// Offsets and indices fit in 32 bits: the source does, and there are no more values than bytes.
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        depth: 8,
        values: 100,
        duplicates: false,
    };

    fn fault(source: &[u8]) -> (JsonFault, usize) {
        match scan(source, &BOUNDS) {
            Ok(_) => panic!("accepted"),
            Err(e) => (e.fault, e.offset),
        }
    }

    #[test]
    fn reads_values_with_their_spans() {
        let source = br#" {"a" : [1, -2.5e+3, "x\ny"], "b":{}, "":null} "#;
        let tree = scan(source, &BOUNDS).unwrap();
        let root = tree.root();
        assert_eq!(root.span(), 1..source.len() - 1);
        let items: Vec<_> = root.get("a").unwrap().items().map(|v| v.raw()).collect();
        assert_eq!(items, ["1", "-2.5e+3", r#""x\ny""#]);
        let text = root.get("a").unwrap().items().nth(2).unwrap();
        assert_eq!(text.text().unwrap(), "x\ny");
        assert_eq!(root.get("b").unwrap().kind(), Kind::Object);
        assert_eq!(root.get("").unwrap().kind(), Kind::Null);
        assert!(root.get("c").is_none());
        assert_eq!(root.members().count(), 3);
    }

    #[test]
    fn finds_a_member_whose_key_is_escaped() {
        let tree = scan(br#"{"mod\u0065l":"m"}"#, &BOUNDS).unwrap();
        assert_eq!(tree.root().get("model").unwrap().text().unwrap(), "m");
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        use JsonFault::*;
        let cases: &[(&[u8], JsonFault, usize)] = &[
            (b"", UnexpectedEnd, 0),
            (b"{", UnexpectedEnd, 1),
            (b"[1,", UnexpectedEnd, 3),
            (b"[1,]", UnexpectedByte, 3),
            (b"{\"a\":1,}", UnexpectedByte, 7),
            (b"{a:1}", UnexpectedByte, 1),
            (b"{\"a\" 1}", UnexpectedByte, 5),
            (b"[1}", UnexpectedByte, 2),
            (b"\xEF\xBB\xBF{}", ByteOrderMark, 0),
            (b"{} {}", TrailingBytes, 3),
            (b"{}\0", TrailingBytes, 2),
            (b"01", BadNumber, 1),
            (b"-", BadNumber, 1),
            (b"1.", BadNumber, 2),
            (b"1e", BadNumber, 2),
            (b"+1", UnexpectedByte, 0),
            (b"NaN", UnexpectedByte, 0),
            (b"nul", BadLiteral, 0),
            (b"truex", TrailingBytes, 4),
            (b"'a'", UnexpectedByte, 0),
            (b"\"\xFF\"", InvalidUtf8, 1),
            (b"\"\xED\xA0\x80\"", InvalidUtf8, 1),
            (b"\"a\nb\"", ControlCharacter, 2),
            (b"\"a\\x\"", BadEscape, 2),
            (b"\"\\u12g4\"", BadEscape, 1),
            (b"\"\\u12", UnexpectedEnd, 1),
            (b"\"\\", UnexpectedEnd, 1),
            (b"\"abc", UnexpectedEnd, 4),
            (b"\"\\ud800\"", LoneSurrogate, 1),
            (b"\"\\ud800\\u0041\"", LoneSurrogate, 1),
            (b"\"\\udc00\"", LoneSurrogate, 1),
            (b"{\"a\":1,\"b\":2,\"a\":3}", DuplicateKey, 13),
            (b"{\"a\":1,\"\\u0061\":3}", DuplicateKey, 7),
            (
                b"{\"i\":0,\"h\":0,\"g\":0,\"f\":0,\"e\":0,\"d\":0,\"c\":0,\"b\":0,\"a\":0,\"i\":0}",
                DuplicateKey,
                55,
            ),
            (b"[[[[[[[[[1]]]]]]]]]", TooDeep, 8),
        ];
        for (source, expected, offset) in cases {
            assert_eq!(
                fault(source),
                (*expected, *offset),
                "{}",
                String::from_utf8_lossy(source)
            );
        }
    }

    #[test]
    fn counts_values() {
        let many = format!("[{}1]", "1,".repeat(99));
        assert_eq!(fault(many.as_bytes()).0, JsonFault::TooManyValues);
        let fits = format!("[{}1]", "1,".repeat(98));
        assert_eq!(scan(fits.as_bytes(), &BOUNDS).unwrap().len(), 100);
    }

    #[test]
    fn keeps_both_members_of_a_text_inside_a_string() {
        let bounds = Bounds {
            duplicates: true,
            ..BOUNDS
        };
        assert_eq!(
            scan(br#"{"a":1,"a":2}"#, &bounds)
                .unwrap()
                .root()
                .members()
                .count(),
            2
        );
    }
}
