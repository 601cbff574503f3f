//! Google's framing of what its pages are answered: `)]}'`, and then lines of JSON, each behind its length.
//!
//! The length stands on a line of its own and counts UTF-16 code units, as the page's script does, with the line feeds
//! around the JSON. A framing that counts otherwise is none of this kind, and the body passes as it is.

use std::ops::Range;

use bytes::Bytes;

/// What keeps such a reply from being run as a script.
const GUARD: &str = ")]}'";

/// Line feeds that a length can count beside the JSON.
const MOST_AROUND: usize = 2;

/// A line of JSON.
pub(crate) struct Chunk {
    /// Where it lies in the body.
    pub(crate) json: Range<usize>,
    /// Where its length is written; none where none is.
    count: Option<Range<usize>>,
}

/// The chunks of a body; `None` when it is not in this framing.
pub(crate) fn chunks(body: &str) -> Option<Vec<Chunk>> {
    let found = lines(body)?;
    let right = found.iter().all(|chunk| counted_around(body, chunk).is_some());
    (right && !found.is_empty()).then_some(found)
}

/// An edited body with the lengths of its chunks set right; `before` are those of the body that was edited.
pub(crate) fn set_right(original: &[u8], before: &[Chunk], edited: Bytes) -> Bytes {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    // An edit lies within a string of JSON, where a line feed is escaped: the lines are the same ones.
    let (original, source) = (text(original), text(&edited));
    let Some(after) = lines(source).filter(|after| after.len() == before.len()) else {
        return edited;
    };
    let mut out = String::with_capacity(source.len() + 8);
    let mut copied = 0;
    for (old, new) in before.iter().zip(&after) {
        let (Some(around), Some(count)) = (counted_around(original, old), &new.count) else {
            continue;
        };
        out.push_str(&source[copied..count.start]);
        out.push_str(&(units(&source[new.json.clone()]) + around).to_string());
        copied = count.end;
    }
    out.push_str(&source[copied..]);
    out.into()
}

/// Lines of JSON, each with the line of digits before it.
fn lines(body: &str) -> Option<Vec<Chunk>> {
    let rest = body.strip_prefix(GUARD)?;
    let mut start = GUARD.len();
    let mut count: Option<Range<usize>> = None;
    let mut found = Vec::new();
    for line in rest.split('\n') {
        let place = start..start + line.len();
        start += line.len() + 1;
        if line.is_empty() {
            continue;
        }
        if line.bytes().all(|byte| byte.is_ascii_digit()) && count.is_none() {
            count = Some(place);
        } else if line.starts_with(['[', '{']) {
            found.push(Chunk {
                json: place,
                count: count.take(),
            });
        } else {
            return None;
        }
    }
    count.is_none().then_some(found)
}

/// How many line feeds a chunk's length counts; `None` when it is not its length.
fn counted_around(body: &str, chunk: &Chunk) -> Option<usize> {
    let Some(count) = &chunk.count else {
        return Some(0);
    };
    let told: usize = body[count.clone()].parse().ok()?;
    told.checked_sub(units(&body[chunk.json.clone()]))
        .filter(|around| *around <= MOST_AROUND)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_set_right_in_utf_16() {
        let original = ")]}'\n\n12\n[[\"a\",\"b\"]]\n9\n[[\"\u{1f512}\"]]\n";
        let edited = ")]}'\n\n12\n[[\"abc\",\"\u{e9}\u{1f512}\"]]\n9\n[[\"\u{1f512}\"]]\n";
        let before = chunks(original).expect("it is framed so");
        let right = set_right(original.as_bytes(), &before, Bytes::from(edited.to_owned()));
        let expected = ")]}'\n\n16\n[[\"abc\",\"\u{e9}\u{1f512}\"]]\n9\n[[\"\u{1f512}\"]]\n";
        assert_eq!(String::from_utf8_lossy(&right), expected);
        // Nothing edited, nothing changed.
        let same = set_right(original.as_bytes(), &before, Bytes::from(original.to_owned()));
        assert_eq!(same, original);
    }

    #[test]
    fn what_counts_otherwise_is_not_this_framing() {
        for body in [
            "[[1]]",
            ")]}'\n\n",
            ")]}'\n\n99\n[[1]]\n",
            ")]}'\n\n3\n[[1]]\n",
            ")]}'\n\n7\n7\n[[1]]\n",
            ")]}'\n\n7\nwords\n",
            ")]}'\n\n7\n",
        ] {
            assert!(chunks(body).is_none(), "{body:?}");
        }
        assert!(chunks(")]}'\n[[1]]").is_some());
        assert!(chunks(")]}'\n\n7\n[[1]]\n").is_some());
    }
}
