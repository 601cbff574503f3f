//! Puts the originals back into a reply, whole or streamed in any split.
//!
//! What is kept back of a stream is only its end, and only while that end may still become one of
//! this exchange's placeholders; all before it goes on at once. So the longest wait is one placeholder,
//! and a reply without `[` never waits. The result does not depend on how the stream was split.
//!
//! Recognised are the placeholder itself and what Markdown makes of it: underscores behind backslashes,
//! and both brackets behind backslashes. (One escaped bracket alone is no Markdown: `C:\[PERSON_K7QX]`
//! is a path, and keeps its backslash.) In tool-call arguments, which are JSON source, such a backslash
//! is written twice, and the original goes in JSON-escaped. A placeholder that is not of this exchange,
//! invented or typed by the caller, is passed on as it is.
//!
//! Limits: one kept tail a channel, shorter than three times the longest placeholder; [`MAX_RESTORED`]
//! bytes of originals an exchange, after which placeholders stay as they are, because an upstream that
//! repeats the placeholder of a long text could otherwise make megabytes of every few bytes. Arguments are
//! escaped once: JSON that a tool call carries as a text inside its JSON stays valid outside, and may
//! need more inside if the original holds quotes or line ends.

use std::{collections::HashMap, fmt};

use zeroize::Zeroizing;

use crate::Originals;

/// The most bytes of originals that one exchange's reply gets.
const MAX_RESTORED: usize = 64 << 20;

/// Puts originals back, channel by channel. See the head of this module.
pub struct Reidentifier {
    /// Placeholders without their brackets and originals, sorted.
    known: Vec<Known>,
    /// Ends of channels that may become a placeholder.
    tails: HashMap<String, Tail>,
    /// Bytes of originals that may still be put in.
    left: usize,
}

struct Known {
    /// The placeholder without its brackets: `EMAIL_K7QX`.
    name: String,
    original: Zeroizing<String>,
    /// The original as it stands inside a JSON string.
    escaped: Zeroizing<String>,
}

struct Tail {
    text: String,
    arguments: bool,
}

impl Reidentifier {
    /// For one exchange's originals.
    #[must_use]
    pub fn new(originals: Originals) -> Self {
        let mut known: Vec<Known> = originals
            .into_sorted()
            .into_iter()
            .map(|(placeholder, original)| Known {
                name: placeholder.trim_matches(['[', ']']).to_owned(),
                escaped: Zeroizing::new(json_escaped(&original)),
                original,
            })
            .collect();
        known.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            known,
            tails: HashMap::new(),
            left: MAX_RESTORED,
        }
    }

    /// Takes further originals: over one connection an upstream may say the placeholders of any message. A placeholder
    /// that stood for another value before stays in the text from now on, since nobody can tell which is meant.
    pub fn learn(&mut self, originals: Originals) {
        if originals.is_empty() {
            return;
        }
        let further = Self::new(originals).known;
        let mut fresh = Vec::new();
        for one in further {
            match self.known.binary_search_by(|known| known.name.cmp(&one.name)) {
                Err(_) => fresh.push(one),
                Ok(at) if self.known[at].original == one.original => {}
                Ok(at) => {
                    let known = &mut self.known[at];
                    let itself = format!("[{}]", known.name);
                    known.escaped = Zeroizing::new(itself.clone());
                    known.original = Zeroizing::new(itself);
                }
            }
        }
        if fresh.is_empty() {
            return;
        }
        self.known.extend(fresh);
        self.known.sort_by(|one, other| one.name.cmp(&other.name));
    }

    /// A text that is there as a whole. `arguments`: it is JSON source.
    pub fn whole(&mut self, text: &str, arguments: bool) -> String {
        let mut out = String::with_capacity(text.len());
        self.rewrite(text, arguments, true, &mut out);
        out
    }

    /// The next piece of a channel; gives what may go on.
    pub fn push(&mut self, channel: &str, piece: &str, arguments: bool) -> String {
        if self.known.is_empty() {
            return piece.to_owned();
        }
        let joined;
        let text = match self.tails.remove(channel) {
            Some(tail) => {
                joined = tail.text + piece;
                joined.as_str()
            }
            None => piece,
        };
        let mut out = String::with_capacity(text.len());
        let kept = self.rewrite(text, arguments, false, &mut out);
        if !kept.is_empty() {
            let text = kept.to_owned();
            self.tails.insert(channel.to_owned(), Tail { text, arguments });
        }
        out
    }

    /// Whether text of that channel is being kept back.
    #[must_use]
    pub fn holds(&self, channel: &str) -> bool {
        self.tails.contains_key(channel)
    }

    /// The end of a channel: what was kept back, which cannot become a placeholder any more.
    pub fn finish(&mut self, channel: &str) -> String {
        match self.tails.remove(channel) {
            Some(tail) => {
                let mut out = String::with_capacity(tail.text.len());
                self.rewrite(&tail.text, tail.arguments, true, &mut out);
                out
            }
            None => String::new(),
        }
    }

    /// Writes `text` with originals to `out`, and gives the end that must be kept back, if more may
    /// come.
    fn rewrite<'t>(&mut self, text: &'t str, arguments: bool, ended: bool, out: &mut String) -> &'t str {
        if self.known.is_empty() {
            out.push_str(text);
            return "";
        }
        let bytes = text.as_bytes();
        let mut done = 0;
        let mut from = 0;
        while let Some(found) = bytes
            .get(from..)
            .and_then(|rest| memchr::memchr2(b'[', b'\\', rest))
        {
            let start = from + found;
            match read(&self.known, &bytes[start..], arguments) {
                Reading::Placeholder { known, length } => {
                    let original = if arguments {
                        &known.escaped
                    } else {
                        &known.original
                    };
                    from = start + length;
                    if let Some(left) = self.left.checked_sub(original.len()) {
                        self.left = left;
                        out.push_str(&text[done..start]);
                        out.push_str(original);
                        done = from;
                    }
                }
                Reading::Unfinished if !ended => {
                    out.push_str(&text[done..start]);
                    return &text[start..];
                }
                Reading::Unfinished | Reading::Other => from = start + 1,
            }
        }
        out.push_str(&text[done..]);
        ""
    }
}

impl fmt::Debug for Reidentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reidentifier")
            .field("originals", &self.known.len())
            .field("channels_held", &self.tails.len())
            .finish()
    }
}

/// Reads what starts at a `[` or backslash.
fn read<'a>(known: &'a [Known], bytes: &[u8], arguments: bool) -> Reading<'a> {
    let escape: &[u8] = if arguments { br"\\" } else { br"\" };
    let mut rest = bytes;
    let escaped = match skip(&mut rest, escape) {
        Skip::Whole => true,
        Skip::Unfinished => return Reading::Unfinished,
        Skip::Absent => false,
    };
    match rest.split_first() {
        None => return Reading::Unfinished,
        Some((b'[', after)) => rest = after,
        Some(_) => return Reading::Other,
    }
    // The names that go on as the text does so far; they lie side by side in the sorted list.
    let mut left = known;
    let mut matched = 0;
    loop {
        let Some((&byte, after)) = rest.split_first() else {
            return Reading::Unfinished;
        };
        match byte {
            b'A'..=b'Z' | b'0'..=b'9' | b'_' => {
                left = narrow(left, matched, byte);
                if left.is_empty() {
                    return Reading::Other;
                }
                matched += 1;
                rest = after;
            }
            b'\\' => {
                match skip(&mut rest, escape) {
                    Skip::Whole => {}
                    Skip::Unfinished if closes_or_goes_on(left, matched, escaped) => {
                        return Reading::Unfinished;
                    }
                    Skip::Unfinished | Skip::Absent => return Reading::Other,
                }
                match rest.first() {
                    None if closes_or_goes_on(left, matched, escaped) => return Reading::Unfinished,
                    // Taken by the next turn of the loop.
                    Some(b'_') => {}
                    Some(b']') if escaped => {
                        return complete(left, matched, bytes.len() - rest.len() + 1);
                    }
                    _ => return Reading::Other,
                }
            }
            b']' if !escaped => return complete(left, matched, bytes.len() - after.len()),
            _ => return Reading::Other,
        }
    }
}

enum Reading<'a> {
    /// A placeholder of this exchange, of that many bytes.
    Placeholder { known: &'a Known, length: usize },
    /// The text ends before it is settled.
    Unfinished,
    /// Nothing of ours.
    Other,
}

enum Skip {
    Whole,
    /// The text ends within it.
    Unfinished,
    Absent,
}

/// Takes `escape` off the front of `rest`, if it is there.
fn skip(rest: &mut &[u8], escape: &[u8]) -> Skip {
    if let Some(after) = rest.strip_prefix(escape) {
        *rest = after;
        Skip::Whole
    } else if rest.len() < escape.len() && !rest.is_empty() && escape.starts_with(rest) {
        Skip::Unfinished
    } else {
        Skip::Absent
    }
}

/// Those of `left`, all alike in their first `matched` bytes, that have `byte` next.
fn narrow(left: &[Known], matched: usize, byte: u8) -> &[Known] {
    let next = |known: &Known| known.name.as_bytes().get(matched).copied();
    // A name that ends here sorts first, and `None` is less than any byte.
    let start = left.partition_point(|known| next(known) < Some(byte));
    let end = left.partition_point(|known| next(known) <= Some(byte));
    &left[start..end]
}

/// Whether an escape may stand here: before an underscore of a name, or before the closing bracket.
fn closes_or_goes_on(left: &[Known], matched: usize, escaped: bool) -> bool {
    !narrow(left, matched, b'_').is_empty()
        || (escaped && left.first().is_some_and(|known| known.name.len() == matched))
}

/// The placeholder whose name has been read whole.
fn complete(left: &[Known], matched: usize, length: usize) -> Reading<'_> {
    match left.first() {
        Some(known) if known.name.len() == matched => Reading::Placeholder { known, length },
        _ => Reading::Other,
    }
}

/// A text as it stands between the quotes of a JSON string.
fn json_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                escaped.push_str("\\u00");
                for digit in [u32::from(c) >> 4, u32::from(c) & 0xf] {
                    escaped.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
