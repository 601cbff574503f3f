//! Protobuf without its schema: the texts of a message as segments, lengths around an edit set right.
//!
//! The encoding tells numbers of fields and how long each is, but not whether bytes with a length are a
//! text, a message or neither. So: what is UTF-8 and printable is a text; what parses wholly as a message is
//! walked; what is both is both, since a message of short texts can look like a text and the other way
//! round (what is more likely a text keeps its bytes but for the edits), and neither way may hide anything. A file by its first bytes is an attachment. Groups are walked with the fields of their message. Numbers,
//! packed fields and other bytes stay as they are and are not inspected.
//!
//! Places are the numbers of the fields, `/1/3`; an item of a repeated field has that of its field.
//!
//! Limits: [`Limits`](crate::Limits), and [`DEEPEST`]. On failure: a [`DecodeError`], also for bytes that
//! are nearly all text but not UTF-8, which would pass unread.

use std::{fmt::Write as _, ops::Range};

use bytes::Bytes;

use crate::{
    attachment,
    json::{LengthWriting, Position, Spot, Walk},
    request::DecodeError,
};

/// Messages in one another.
const DEEPEST: usize = 48;
/// Bytes of a field from which they can be a text in another encoding.
const LEAST_OTHER_TEXT: usize = 16;

/// A field with a length.
struct Field {
    number: u64,
    /// Where its length stands.
    length: Range<usize>,
    content: Range<usize>,
}

/// The fields of a message, numbers left out.
#[derive(Default)]
struct Fields {
    /// Those that have a length.
    long: Vec<Field>,
    /// All that stands in those of fixed size.
    fixed: Vec<u8>,
}

/// What bytes come to as a message.
enum Parsed {
    Message(Fields),
    None,
    TooMany,
}

/// The texts of `source`, which starts at `from` in the body, within the length `around`.
pub(crate) fn read<P: Position>(
    walk: &mut Walk<'_>,
    source: &[u8],
    from: usize,
    around: Option<usize>,
    at: P,
    place: &mut String,
) -> Result<(), DecodeError> {
    match fields(source, walk.values_left()) {
        Parsed::Message(fields) => message(walk, &fields.long, source, from, around, at, place, 0, true),
        Parsed::None => Err(DecodeError::Malformed {
            what: "a message of protobuf",
        }),
        Parsed::TooMany => Err(walk.too_many()),
    }
}

#[expect(clippy::too_many_arguments, reason = "where a walk stands")]
fn message<P: Position>(
    walk: &mut Walk<'_>,
    fields: &[Field],
    source: &[u8],
    from: usize,
    around: Option<usize>,
    at: P,
    place: &mut String,
    depth: usize,
    certain: bool,
) -> Result<(), DecodeError> {
    if depth > DEEPEST {
        return Err(DecodeError::Malformed {
            what: "messages that are nested less deeply",
        });
    }
    walk.spend(fields.len())?;
    let above = place.len();
    for field in fields {
        // Writing to a string cannot fail.
        let _ = write!(place, "/{}", field.number);
        let at = at.member(&place[above + 1..]);
        value(walk, field, source, from, around, at, place, depth, certain)?;
        place.truncate(above);
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "where a walk stands")]
fn value<P: Position>(
    walk: &mut Walk<'_>,
    field: &Field,
    source: &[u8],
    from: usize,
    around: Option<usize>,
    at: P,
    place: &mut String,
    depth: usize,
    certain: bool,
) -> Result<(), DecodeError> {
    let content = &source[field.content.clone()];
    if content.is_empty() {
        return Ok(());
    }
    let start = from + field.content.start;
    // What is more likely a letter of a text than a length stays.
    let around = if certain {
        Some(walk.length(
            from + field.length.start..from + field.length.end,
            start..from + field.content.end,
            around,
            LengthWriting::Varint,
        ))
    } else {
        around
    };
    let text = std::str::from_utf8(content).ok();
    let inner = match fields_of(content, walk)? {
        // Numbers alone: pairs of letters look like that, and there is nothing to inspect in them.
        Some(inner) if inner.long.is_empty() && text.is_some_and(is_printable) => None,
        inner => inner,
    };
    // In a reply, where nothing can be hidden from anybody, one way is enough, and the same in all pieces.
    let both = walk.tells_files();
    // Words that stand where a message has numbers would go unread if the text were taken for that message alone.
    let worded = |text: &str, inner: &Fields| is_printable(text) || is_other_text(&inner.fixed);
    let is_words = |text: &&str| inner.as_ref().is_none_or(|inner| both && worded(text, inner));
    if let Some(text) = text.filter(is_words) {
        walk.piece(at, place, text.to_owned(), Spot::plain(start))?;
    }
    match inner {
        Some(inner) => {
            let certain = certain && !text.is_some_and(|text| is_printable(text) && !starts_as_message(text));
            message(
                walk,
                &inner.long,
                content,
                start,
                around,
                at,
                place,
                depth + 1,
                certain,
            )
        }
        None if both && text.is_none() && attachment::is_file(content) => {
            let role = at.role();
            walk.attach(role, place, None, None, Bytes::copy_from_slice(content), start)
        }
        None if text.is_none() && is_other_text(content) => Err(DecodeError::Malformed {
            what: "text in UTF-8",
        }),
        None => Ok(()),
    }
}

fn fields_of(content: &[u8], walk: &Walk<'_>) -> Result<Option<Fields>, DecodeError> {
    match fields(content, walk.values_left()) {
        Parsed::Message(fields) => Ok(Some(fields)),
        Parsed::None => Ok(None),
        Parsed::TooMany => Err(walk.too_many()),
    }
}

fn is_printable(text: &str) -> bool {
    text.chars()
        .all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

/// Whether what can be both starts with a field that has a length and whose tag is no letter: a text that
/// starts so and is a message to its last byte is rarer than such a message.
fn starts_as_message(text: &str) -> bool {
    text.starts_with(['\n', '"', '*', '2', ':'])
}

/// Whether bytes that need be no UTF-8 are nearly all letters: Latin-1, or UTF-16 of Western text.
fn is_other_text(content: &[u8]) -> bool {
    let counted = |of: fn(&u8) -> bool| content.iter().filter(|byte| of(byte)).count();
    let printable = counted(|byte| byte.is_ascii_graphic() || *byte == b' ');
    content.len() >= LEAST_OTHER_TEXT && printable * 8 >= content.len() * 7
}

/// The fields of a message, if `source` is one to its last byte.
fn fields(source: &[u8], most: usize) -> Parsed {
    let (mut at, mut found, mut groups) = (0, Fields::default(), Vec::new());
    let mut seen = 0;
    while at < source.len() {
        seen += 1;
        if seen > most {
            return Parsed::TooMany;
        }
        let Some(tag) = varint(source, &mut at) else {
            return Parsed::None;
        };
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Parsed::None;
        }
        let fixed = match tag & 7 {
            0 => match varint(source, &mut at) {
                Some(_) => 0,
                None => return Parsed::None,
            },
            1 => 8,
            2 => {
                let start = at;
                let Some(length) = varint(source, &mut at).and_then(|length| usize::try_from(length).ok())
                else {
                    return Parsed::None;
                };
                if length > source.len() - at {
                    return Parsed::None;
                }
                found.long.push(Field {
                    number,
                    length: start..at,
                    content: at..at + length,
                });
                length
            }
            3 if groups.len() < DEEPEST => {
                groups.push(number);
                0
            }
            4 if groups.pop() == Some(number) => 0,
            5 => 4,
            _ => return Parsed::None,
        };
        if fixed > source.len() - at {
            return Parsed::None;
        }
        if tag & 7 != 2 {
            found.fixed.extend_from_slice(&source[at..at + fixed]);
        }
        at += fixed;
    }
    if groups.is_empty() {
        Parsed::Message(found)
    } else {
        Parsed::None
    }
}

fn varint(source: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *source.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            return (shift < 63 || byte < 2).then_some(value);
        }
    }
    None
}

/// A length as protobuf writes it.
pub(crate) fn write_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}
