//! JSON with byte spans: what an edit in place needs and no general parser gives.
//!
//! [`scan`] is a strict RFC 8259 reader that keeps, for each value, where it lies; [`Document`] turns
//! the values into segments and splices edits back. Strict means that whatever two parsers could
//! read differently is refused, since the upstream's parser is not ours: invalid UTF-8, a byte
//! order mark, lone surrogates, the same key twice in an object, raw control characters, bytes
//! after the value. Neither scanning nor walking recurses with the depth of the input.
//!
//! On failure: a [`JsonError`] that holds an offset and a kind, never content.

mod tree;
pub(crate) use tree::{Kind, Tree, Value};

mod scan;
pub(crate) use scan::{Bounds, scan};

mod text;
pub(crate) use text::{OffsetMap, escape};

mod document;
pub(crate) use document::{Document, LengthWriting, Position, Spot, Walk, Writing, in_order};

/// Where a body stops being acceptable JSON, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct JsonError {
    /// Byte offset into the body.
    pub offset: usize,
    /// What is wrong there.
    pub fault: JsonFault,
}

/// What can be wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The text starts with U+FEFF.
    #[error("byte order mark")]
    ByteOrderMark,
    /// The text ends inside a value.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// A byte that cannot stand there.
    #[error("unexpected byte")]
    UnexpectedByte,
    /// Something follows the value.
    #[error("bytes after the value")]
    TrailingBytes,
    /// A number that JSON does not allow.
    #[error("malformed number")]
    BadNumber,
    /// Neither `true`, `false` nor `null`.
    #[error("malformed literal")]
    BadLiteral,
    /// A backslash that starts no escape of JSON's.
    #[error("malformed escape")]
    BadEscape,
    /// Half of a UTF-16 pair.
    #[error("lone surrogate")]
    LoneSurrogate,
    /// A raw character below U+0020 in a string.
    #[error("control character in a string")]
    ControlCharacter,
    /// The same key twice in one object.
    #[error("duplicate key")]
    DuplicateKey,
    /// More objects and arrays inside one another than the limit.
    #[error("nesting over the limit")]
    TooDeep,
    /// More values than the limit.
    #[error("more values than the limit")]
    TooManyValues,
    /// More bytes than offsets can count.
    #[error("text over 4 GiB")]
    TooLong,
}
