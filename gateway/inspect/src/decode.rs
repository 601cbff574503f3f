//! Decoded views of a text: what its encoded stretches say, in their surroundings.
//!
//! What is read:
//! - `escape`: `\u`, `\x`, octal and JSON escapes, percent-encoding, HTML character references,
//!   quoted-printable, MIME encoded words, Ascii85;
//! - `word`: base64 and base64url, also wrapped over lines, hexadecimal, base32 and binary digits, and in
//!   them UTF-8, UTF-16 and what gzip, zlib or deflate packed;
//! - `list`: bytes written as numbers, `6a 6f 68 6e`, `0x6a,0x6f`, `106 111`;
//! - `spoken`: `name [at] host dot com`, `four one one one`, `4 1 1 1`.
//!
//! Stretches that are no encoding but a disguise come from [`crate::disguise`]; a view of those is handed
//! over as [`Trust::Strong`], as reading them finds much by chance.
//!
//! A view holds each stretch decoded, with [`SURROUNDINGS`] bytes on either side, since patterns and
//! context words need them; windows are parted by line breaks. A finding in it is one in the source
//! span that produced it. What a view says is normalised and decoded again, [`LEVELS`] deep.
//!
//! Limits: a text is read in blocks of [`BLOCK`] bytes, so that what is held at a time is bounded; no
//! decoder but unpacking gives more bytes than it takes, and that shares [`MAX_UNPACKED`] bytes a text. What
//! is packed beyond that is not read. Time is linear in the text.
//!
//! On failure: what does not decode is left as it is, and was read as plain text before.

use std::ops::Range;

use crate::{
    disguise::Disguises,
    normalise::normalise,
    opaque,
    view::{View, ViewWriter},
};

mod escape;
mod list;
mod spoken;
mod word;

pub(crate) use word::base64_bytes;

/// How often the result is decoded again.
const LEVELS: usize = 3;
/// Bytes of plain text that a decoded stretch is shown with.
const SURROUNDINGS: usize = 64;
/// Bytes of text that are read at a time.
const BLOCK: usize = 1 << 20;
/// A block begins so much before the end of the last one, where encoded text runs over the border.
const OVERLAP: usize = 512;
/// The most bytes that are unpacked for one text.
pub(crate) const MAX_UNPACKED: usize = 4 << 20;
/// The longest encoded word that is read; longer ones are data.
pub(crate) const MAX_STRETCH: usize = 16 << 20;

/// Which findings of a view count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// All of them.
    Full,
    /// Those of a strong format only: a valid checksum, the prefix of a provider, an e-mail address.
    Strong,
}

/// A stretch of the source, and what it says.
pub(crate) struct Stretch {
    pub(crate) source: Range<usize>,
    pub(crate) says: Says,
}

pub(crate) enum Says {
    Nothing,
    Char(char),
    Text(String),
    /// The source from its end to its beginning.
    Backwards,
}

impl Stretch {
    pub(crate) fn text(source: Range<usize>, says: String) -> Self {
        Self {
            source,
            says: Says::Text(says),
        }
    }

    fn one(source: Range<usize>, c: char) -> Option<Self> {
        (c != '\0').then_some(Self {
            source,
            says: Says::Char(c),
        })
    }
}

/// What is left of the limits of one text.
struct Budget {
    unpacked: usize,
}

/// Calls `read` with each decoded view of a text; their spans lead back to the text itself.
pub fn decoded(text: &str, mut read: impl FnMut(&View<'_>)) {
    let whole = View::unchanged(text);
    each(&whole, &opaque::stretches(text), None, &mut |view, _| read(view));
}

/// Calls `read` with each decoded and each disguised view of what a view says; their spans lead back to
/// what that view was derived from. Stretches of `skip` are data of some known format.
pub(crate) fn each(
    view: &View<'_>,
    skip: &[Range<usize>],
    disguises: Option<&Disguises>,
    read: &mut dyn FnMut(&View<'_>, Trust),
) {
    let mut budget = Budget {
        unpacked: MAX_UNPACKED,
    };
    level(view, skip, disguises, LEVELS, &mut budget, read);
}

fn level(
    view: &View<'_>,
    skip: &[Range<usize>],
    disguises: Option<&Disguises>,
    left: usize,
    budget: &mut Budget,
    read: &mut dyn FnMut(&View<'_>, Trust),
) {
    let text = view.text();
    let mut from = 0;
    while from < text.len() {
        let to = text.floor_char_boundary((from + BLOCK).min(text.len()));
        let mut encoded = Vec::new();
        let mut disguised = Vec::new();
        let mut numbered = from;
        escape::find(text, from..to, &mut encoded, |at| {
            if let Some(disguises) = disguises {
                disguises.place(text, at, &mut numbered, &mut disguised);
            }
        });
        spoken::find(text, from..to, &mut encoded, &mut disguised);
        word::find(text, from..to, skip, budget, &mut encoded, |text, word| {
            if let Some(disguises) = disguises {
                disguises.word(text, word, &mut disguised);
            }
        });
        let mut end = 0;
        for (mut stretches, trust) in [(encoded, Trust::Full), (disguised, Trust::Strong)] {
            settle(&mut stretches);
            let Some(last) = stretches.last() else { continue };
            end = end.max(last.source.end);
            let window = windows(text, &stretches).over(view, false);
            drop(stretches);
            let normal = normalise(window.text());
            let window = if normal.is_unchanged() {
                window
            } else {
                normal.over(&window, true)
            };
            read(&window, trust);
            if left > 1 && trust == Trust::Full {
                let skip = opaque::stretches(window.text());
                level(&window, &skip, disguises, left - 1, budget, read);
            }
        }
        from = if to == text.len() {
            to
        } else if end > to {
            end
        } else if end + OVERLAP > to {
            text.floor_char_boundary(to - OVERLAP).max(from + 1)
        } else {
            to
        };
        from = text.ceil_char_boundary(from);
    }
}

/// Makes the stretches sorted and disjoint; of two that overlap the earlier stays, then the longer.
fn settle(stretches: &mut Vec<Stretch>) {
    stretches.sort_by_key(|stretch| (stretch.source.start, std::cmp::Reverse(stretch.source.end)));
    let mut end = 0;
    stretches.retain(|stretch| {
        let free = stretch.source.start >= end;
        if free {
            end = stretch.source.end;
        }
        free
    });
}

/// The stretches in their surroundings.
fn windows(text: &str, stretches: &[Stretch]) -> View<'static> {
    let mut writer = ViewWriter::with_capacity(stretches.len() * SURROUNDINGS);
    let mut copied_to = 0;
    for (index, stretch) in stretches.iter().enumerate() {
        let source = stretch.source.clone();
        let before = text
            .floor_char_boundary(source.start.saturating_sub(SURROUNDINGS))
            .max(copied_to);
        if before > copied_to && !writer.text().is_empty() {
            writer.put("\n", before..before);
        }
        writer.copy(&text[before..source.start], before);
        match &stretch.says {
            Says::Nothing => writer.put("", source.clone()),
            Says::Char(c) => writer.put(c.encode_utf8(&mut [0; 4]), source.clone()),
            Says::Text(says) => writer.put(says, source.clone()),
            Says::Backwards => {
                for (at, c) in text[source.clone()].char_indices().rev() {
                    let at = source.start + at;
                    writer.put(c.encode_utf8(&mut [0; 4]), at..at + c.len_utf8());
                }
            }
        }
        let next = stretches
            .get(index + 1)
            .map_or(text.len(), |next| next.source.start);
        let after = text
            .floor_char_boundary((source.end + SURROUNDINGS).min(text.len()))
            .min(next);
        writer.copy(&text[source.end..after], source.end);
        copied_to = after;
    }
    writer.finish()
}

fn hex_value(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u32, |value, byte| {
        char::from(*byte)
            .to_digit(16)
            .map(|digit| value.wrapping_mul(16).wrapping_add(digit))
    })
}

/// Whether decoded text is what somebody wrote, and not what chance gives.
fn is_text(says: &str) -> bool {
    let written = says
        .chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'));
    if !written || says.chars().nth(5).is_none() {
        return false;
    }
    // Few random bytes are UTF-8, and the more of them there are the fewer.
    let ascii = says.bytes().filter(u8::is_ascii).count();
    ascii == says.len()
        || says.len() >= 16
        || (ascii * 3 >= says.len() && says.chars().all(|c| c.is_ascii() || c.is_alphabetic()))
}

#[cfg(test)]
mod tests;
