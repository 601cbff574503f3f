//! Escapes: a string's content to its text and back, with the offsets between the two.

/// From offsets in a decoded text to offsets in what it was decoded from.
///
/// Empty, and without a cost, when the text holds no escapes. Otherwise about two bytes an escape: a body
/// can be escapes from end to end, and must not take many times its size for that.
#[derive(Clone, Debug, Default)]
pub(crate) struct OffsetMap {
    /// How far each escape's end lies behind the end of the one before: in the decoded text, then in
    /// the content, both as LEB128.
    steps: Vec<u8>,
    /// Where things stand before every [`STRIDE`]th step, so that a look-up need not start at the front.
    marks: Vec<Mark>,
    /// Where things stand behind all steps.
    last: Mark,
    count: usize,
}

/// Steps between marks.
const STRIDE: usize = 64;

/// The end of an escape.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    decoded: usize,
    raw: usize,
    /// Where the next step is written.
    next: usize,
}

impl OffsetMap {
    /// Notes that what ends at `decoded` in the text ends at `raw` in the content; in that order.
    pub(crate) fn push(&mut self, decoded: usize, raw: usize) {
        if self.count > 0 && self.count.is_multiple_of(STRIDE) {
            self.marks.push(self.last);
        }
        self.count += 1;
        for mut advance in [decoded - self.last.decoded, raw - self.last.raw] {
            while advance >= 0x80 {
                // The low seven bits, marked as having more behind them.
                self.steps.push((advance & 0x7F) as u8 | 0x80);
                advance >>= 7;
            }
            self.steps.push(advance as u8);
        }
        self.last = Mark {
            decoded,
            raw,
            next: self.steps.len(),
        };
    }

    /// The offset in the content for an offset on a character boundary of the decoded text.
    pub(crate) fn raw(&self, decoded: usize) -> usize {
        let mut here = self.last;
        if decoded < here.decoded {
            let before = self.marks.partition_point(|mark| mark.decoded <= decoded);
            here = before
                .checked_sub(1)
                .map_or_else(Mark::default, |index| self.marks[index]);
            loop {
                let next = self.step(here);
                if next.decoded > decoded {
                    break;
                }
                here = next;
            }
        }
        here.raw + (decoded - here.decoded)
    }

    fn step(&self, from: Mark) -> Mark {
        let mut next = from.next;
        let mut advance = || {
            let mut sum = 0;
            for shift in (0..).step_by(7) {
                let byte = self.steps[next];
                next += 1;
                sum |= usize::from(byte & 0x7F) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            sum
        };
        let (decoded, raw) = (from.decoded + advance(), from.raw + advance());
        Mark { decoded, raw, next }
    }
}

/// The text of a string's content that the scanner has accepted.
pub(super) fn unescape(content: &str) -> String {
    let mut text = String::with_capacity(content.len());
    each_escape(content, &mut text, |_, _| ());
    text
}

/// The same, with the way back.
pub(super) fn unescape_mapped(content: &str) -> (String, OffsetMap) {
    let mut text = String::with_capacity(content.len());
    let mut map = OffsetMap::default();
    each_escape(content, &mut text, |decoded, raw| map.push(decoded, raw));
    (text, map)
}

fn each_escape(content: &str, text: &mut String, mut ended: impl FnMut(usize, usize)) {
    let bytes = content.as_bytes();
    let mut at = 0;
    while let Some(gap) = memchr::memchr(b'\\', &bytes[at..]) {
        text.push_str(&content[at..at + gap]);
        at += gap;
        let (character, length) = escaped_char(&bytes[at..]);
        text.push(character);
        at += length;
        ended(text.len(), at);
    }
    text.push_str(&content[at..]);
}

/// The character of the escape that `bytes` start with, and the escape's length.
fn escaped_char(bytes: &[u8]) -> (char, usize) {
    let simple = |c| (c, 2);
    match bytes.get(1) {
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'n') => simple('\n'),
        Some(b'r') => simple('\r'),
        Some(b't') => simple('\t'),
        Some(b'u') => {
            let first = unit(bytes, 2);
            match char::from_u32(first) {
                Some(character) => (character, 6),
                None => {
                    let low = unit(bytes, 8);
                    let joined = 0x10000 + ((first & 0x3FF) << 10) + (low & 0x3FF);
                    (char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
                }
            }
        }
        Some(&other) => simple(char::from(other)),
        // Content ends in a whole escape, since the scanner found the closing quote behind it.
        None => ('\\', bytes.len()),
    }
}

fn unit(bytes: &[u8], from: usize) -> u32 {
    bytes
        .get(from..from + 4)
        .unwrap_or_default()
        .iter()
        .fold(0, |sum, &digit| {
            sum * 16 + char::from(digit).to_digit(16).unwrap_or(0)
        })
}

/// Writes `text` as the content of a JSON string, escaping what JSON requires and nothing else.
pub(crate) fn escape(text: &str, out: &mut String) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0C => out.push_str("\\f"),
            _ => {
                out.push_str("\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                }
            }
        }
    }
    out.push_str(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_each_boundary_to_the_bytes_it_came_from() {
        let content = r"a\nb\u00e9\ud83d\ude00c";
        let (text, map) = unescape_mapped(content);
        assert_eq!(text, "a\nbé😀c");
        let at: Vec<_> = text.char_indices().map(|(i, _)| map.raw(i)).collect();
        assert_eq!(at, [0, 1, 3, 4, 10, 22]);
        assert_eq!(map.raw(text.len()), content.len());
    }

    #[test]
    fn maps_long_texts_from_any_mark() {
        let content = format!(r"{}\n\u00e9\ud83d\ude00x", "plain ".repeat(50)).repeat(500);
        let (text, map) = unescape_mapped(&content);
        let mut raw = 0;
        for (at, character) in text.char_indices() {
            assert_eq!(map.raw(at), raw, "{at}");
            raw += match character {
                '\n' => 2,
                'é' => 6,
                '😀' => 12,
                _ => 1,
            };
        }
        assert_eq!(map.raw(text.len()), raw);
        assert!(map.steps.capacity() < 12 * 500);
    }

    #[test]
    fn escapes_only_what_must_be() {
        let mut out = String::new();
        escape("a\"\\\n\u{1}\u{7f}é/", &mut out);
        assert_eq!(out, "a\\\"\\\\\\n\\u0001\u{7f}é/");
        assert_eq!(unescape(&out), "a\"\\\n\u{1}\u{7f}é/");
    }
}
