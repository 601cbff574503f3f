//! Values that are cut in two by the border of a text: parts of one message, messages, turns of one person.
//!
//! The ends of neighbouring texts are laid together, as written and with one space between, and what is found
//! across the border is a finding in each text that it touches. Only values of a strong format count
//! (see [`Detector::strong`](crate::detector::Detector)): the end of one text and the beginning of another
//! say much by chance. For the same reason only what people, models and tools wrote is joined, never the
//! values of fields or the arguments of calls.
//!
//! Neighbours are texts that follow each other in the body, and texts of the user that follow each other
//! with the answers between them left out.
//!
//! Limits: [`REACH`] bytes on either side of a border; a text of at most twice that is joined whole, so that a
//! value may be cut in many pieces, up to [`MAX_JOINED`] bytes. Most borders end in a full stop, or have neither
//! a digit nor an `@` beside them, and cost no more than a look.

use std::ops::Range;

use cordon_domain::{Role, Segment};

/// Bytes of a text that are joined to its neighbour: longer than any key but those of many lines.
const REACH: usize = 256;
/// The most bytes of texts joined to one.
const MAX_JOINED: usize = 64 << 10;
/// How far from a border the look for a value goes.
const LOOK: usize = 64;
/// The fewest characters of a value that is looked for.
const LEAST: usize = 8;

/// Ends and beginnings of texts, laid together.
pub(crate) struct Joined {
    pub(crate) text: String,
    parts: Vec<Part>,
}

struct Part {
    segment: usize,
    /// Where it starts in its segment.
    source: usize,
    /// Where it lies in the joined text.
    span: Range<usize>,
}

/// What a value takes of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Which of the joined texts.
    pub(crate) part: usize,
    pub(crate) segment: usize,
    pub(crate) span: Range<usize>,
}

impl Joined {
    /// Each text, as much of it as was joined.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &self.text[part.span.clone()])
    }

    /// The segments that they are of.
    pub(crate) fn segments(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.segment)
    }

    /// For a span of the joined text that crosses a border: what it takes of each text.
    pub(crate) fn across(&self, span: &Range<usize>) -> Vec<Touched> {
        let first = self.parts.partition_point(|part| part.span.end <= span.start);
        let touched: Vec<Touched> = (first..)
            .zip(&self.parts[first..])
            .take_while(|(_, part)| part.span.start < span.end)
            .map(|(place, part)| {
                let from = span.start.max(part.span.start) - part.span.start;
                let to = span.end.min(part.span.end) - part.span.start;
                Touched {
                    part: place,
                    segment: part.segment,
                    span: part.source + from..part.source + to,
                }
            })
            .collect();
        if touched.len() < 2 { Vec::new() } else { touched }
    }
}

/// All texts to look across the borders of.
pub(crate) fn joined(segments: &[Segment]) -> Vec<Joined> {
    let written: Vec<usize> = segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| is_written(segment))
        .map(|(index, _)| index)
        .collect();
    let mut all = Vec::new();
    chains(segments, &written, &mut all);
    let spoken: Vec<usize> = written
        .iter()
        .copied()
        .filter(|index| segments[*index].role == Role::User)
        .collect();
    if spoken.len() < written.len() {
        chains(segments, &spoken, &mut all);
    }
    all
}

/// Whether a segment is a text that somebody wrote, and no field or key of one.
fn is_written(segment: &Segment) -> bool {
    let place = segment.place.as_str();
    matches!(
        segment.role,
        Role::System | Role::User | Role::Assistant | Role::ToolResult
    ) && !place.contains('#')
        && !place.starts_with("key:")
        && !segment.text.as_str().trim().is_empty()
}

fn chains(segments: &[Segment], order: &[usize], all: &mut Vec<Joined>) {
    let text = |index: usize| segments[index].text.as_str();
    let mut chain: Vec<usize> = Vec::new();
    let mut bytes = 0;
    for pair in order.windows(2) {
        let (left, right) = (pair[0], pair[1]);
        if !may_cross(text(left), text(right)) {
            join(segments, &mut chain, all);
            continue;
        }
        if chain.is_empty() {
            chain.push(left);
            bytes = 0;
        }
        chain.push(right);
        bytes += text(right).len().min(2 * REACH);
        // Behind a long text a new chain begins, with the text's other end.
        if text(right).len() > 2 * REACH || bytes > MAX_JOINED {
            join(segments, &mut chain, all);
        }
    }
    join(segments, &mut chain, all);
}

fn join(segments: &[Segment], chain: &mut Vec<usize>, all: &mut Vec<Joined>) {
    if chain.len() > 1 {
        for between in ["", " "] {
            all.push(laid(segments, chain, between));
        }
    }
    chain.clear();
}

fn laid(segments: &[Segment], chain: &[usize], between: &str) -> Joined {
    let mut text = String::new();
    let mut parts = Vec::with_capacity(chain.len());
    for (place, &segment) in chain.iter().enumerate() {
        let whole = segments[segment].text.as_str();
        let last = place + 1 == chain.len();
        // The outer ends of a chain are cut, and keep their blanks: a value may begin behind one.
        let from = if place == 0 {
            whole.ceil_char_boundary(whole.len().saturating_sub(REACH))
        } else {
            whole.len() - whole.trim_start().len()
        };
        let to = if last {
            whole.floor_char_boundary((from + REACH).min(whole.len()))
        } else {
            whole.trim_end().len()
        };
        if place > 0 {
            text.push_str(between);
        }
        let start = text.len();
        text.push_str(&whole[from..to.max(from)]);
        parts.push(Part {
            segment,
            source: from,
            span: start..text.len(),
        });
    }
    Joined { text, parts }
}

/// Whether the end of one text and the beginning of the next could be one value.
fn may_cross(left: &str, right: &str) -> bool {
    let (left, right) = (left.trim_end().as_bytes(), right.trim_start().as_bytes());
    let left = left[left.len().saturating_sub(LOOK)..].iter().rev();
    let right = right[..right.len().min(LOOK)].iter();
    let (left, right) = (Side::of(left), Side::of(right));
    let length = left.length + right.length;
    let digits = left.digits + right.digits;
    left.length > 0
        && right.length > 0
        && length >= LEAST
        && (left.sign || right.sign || digits >= LEAST || (length >= 2 * LEAST && digits > 0))
}

/// What stands beside a border without a gap but between digits.
#[derive(Default)]
struct Side {
    length: usize,
    digits: usize,
    sign: bool,
}

impl Side {
    fn of<'b>(bytes: impl Iterator<Item = &'b u8>) -> Self {
        let mut side = Self::default();
        let mut last = b' ';
        let mut bytes = bytes.peekable();
        while let Some(&byte) = bytes.next() {
            let solid = byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'/' | b'@' | b'=' | 0x80..);
            let between_digits = byte == b' '
                && last.is_ascii_digit()
                && bytes.peek().is_some_and(|next| next.is_ascii_digit());
            if !solid && !between_digits {
                break;
            }
            side.length += 1;
            side.digits += usize::from(byte.is_ascii_digit() || byte >= 0x80);
            side.sign |= byte == b'@';
            last = byte;
        }
        side
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::{Place, Text};

    use super::*;

    fn segments(texts: &[(Role, &str)]) -> Vec<Segment> {
        texts
            .iter()
            .map(|(role, text)| Segment {
                place: Place::new("/x"),
                role: *role,
                text: Text::from(*text),
            })
            .collect()
    }

    #[test]
    fn only_borders_that_a_value_may_cross_are_joined() {
        let joins = |left: &str, right: &str| {
            !joined(&segments(&[(Role::User, left), (Role::User, right)])).is_empty()
        };
        assert!(joins("my card is 4111 1111", "1111 1111 thanks"));
        assert!(joins("mail joe@exam", "ple.com"));
        assert!(joins("the key is AKIA4Q7XW2", "LM9ZT5KD3R"));
        assert!(!joins("That is all.", "What do you think?"));
        assert!(!joins("see you", "tomorrow"));
        assert!(!joins("version 2", "3 apples"));
    }

    #[test]
    fn spans_lead_to_each_text() {
        let all = joined(&segments(&[
            (Role::User, "no 4111 "),
            (Role::Assistant, "1111 1111"),
            (Role::User, " 1111 ok"),
        ]));
        let spaced = all
            .iter()
            .find(|joined| joined.text == "no 4111 1111 1111 1111 ok")
            .unwrap();
        let at = spaced.text.find("4111").unwrap();
        let touched = spaced.across(&(at..at + 19));
        let touched: Vec<_> = touched
            .into_iter()
            .map(|touched| (touched.segment, touched.span))
            .collect();
        assert_eq!(touched, [(0, 3..7), (1, 0..9), (2, 1..5)]);
        assert!(spaced.across(&(0..2)).is_empty());
    }

    #[test]
    fn answers_between_are_left_out_and_arguments_are_not_joined() {
        let all = joined(&segments(&[
            (Role::User, "4111 1111"),
            (Role::Assistant, "Go on."),
            (Role::ToolArguments, "1111"),
            (Role::User, "1111 1111"),
        ]));
        assert!(all.iter().any(|joined| joined.text == "4111 11111111 1111"));
    }

    #[test]
    fn what_is_joined_is_bounded() {
        let long = format!("{}1", "123456789 ".repeat(1000));
        let texts: Vec<(Role, &str)> = (0..1000).map(|_| (Role::User, long.as_str())).collect();
        let bytes: usize = joined(&segments(&texts))
            .iter()
            .map(|joined| joined.text.len())
            .sum();
        assert!(bytes <= 1000 * 4 * REACH + 4000, "{bytes}");
        let texts: Vec<(Role, &str)> = (0..100_000).map(|_| (Role::User, "12345678")).collect();
        assert!(
            joined(&segments(&texts))
                .iter()
                .all(|joined| joined.text.len() < 2 * MAX_JOINED)
        );
    }
}
