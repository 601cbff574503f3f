//! The line that a find is in, where what stands beside it is short.

use std::ops::Range;

/// The line around a span, without its end, when a line follows and at most `beside` bytes are on either side
/// of the span. In a text of one long line a plain search for its ends, at each find, would be quadratic.
pub(crate) fn around(text: &str, span: &Range<usize>, beside: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let low = span.start.saturating_sub(beside);
    let start = match bytes[low..span.start].iter().rposition(|byte| *byte == b'\n') {
        Some(at) => low + at + 1,
        None if low == 0 => 0,
        None => return None,
    };
    let end = bytes[span.end..]
        .iter()
        .take(beside + 1)
        .position(|byte| *byte == b'\n')?;
    Some(start..span.end + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_told_where_it_is_short() {
        let text = "a\nbc de f\ng";
        assert_eq!(around(text, &(5..7), 8), Some(2..9));
        assert_eq!(around(text, &(5..7), 2), None);
        assert_eq!(around(text, &(10..11), 8), None);
        assert_eq!(around(text, &(0..1), 8), Some(0..1));
    }
}
