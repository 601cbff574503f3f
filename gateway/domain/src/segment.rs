use std::{fmt, ops::Range};

use bytes::Bytes;

use crate::Text;

/// Where a segment lies in its body.
///
/// For JSON an RFC 6901 pointer (`/messages/0/content`). A JSON text inside a JSON string continues
/// behind `#` (`/messages/2/tool_calls/0/function/arguments#/to`); a key is the pointer of its
/// member behind `key:`; request headers and query parameters are `header:NAME` and `query:NAME`.
/// Array indices are kept; caller-chosen names are part of a place, so treat it as caller's text
/// in logs: records hold counts, not places.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(String);

impl Place {
    /// A place from its written form.
    #[must_use]
    pub fn new(written: impl Into<String>) -> Self {
        Self(written.into())
    }

    /// The written form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} bytes)", self.0.len())
    }
}

/// Whose words a segment holds, as far as the dialect tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// System or developer instructions.
    System,
    /// The user's own words, files and images.
    User,
    /// An earlier (or the present) answer of the model.
    Assistant,
    /// Arguments of a tool call made by the model.
    ToolArguments,
    /// What a tool gave back.
    ToolResult,
    /// Names, descriptions and schemas of the tools offered.
    ToolDefinition,
    /// Any other field, known or not: metadata, identifiers, keys, headers, query.
    Other,
}

/// One inspectable text in a body, decoded (JSON escapes resolved), with its place and role.
#[derive(Clone)]
pub struct Segment {
    /// Where it lies.
    pub place: Place,
    /// Whose words it holds.
    pub role: Role,
    /// The decoded text. Findings and edits count in bytes of this text.
    pub text: Text,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("role", &self.role)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// Replaces one span of a segment's decoded text.
#[derive(Clone)]
pub struct Edit {
    /// Index into [`Splice::segments`].
    pub segment: usize,
    /// Byte range of the decoded text, on character boundaries.
    pub span: Range<usize>,
    /// Decoded replacement; the body's own escaping is added where it is put back.
    pub replacement: String,
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("segment", &self.segment)
            .field("span", &self.span)
            .finish()
    }
}

/// A body whose segments can be edited in place.
///
/// The contract: bytes of the body that no edit covers come back unchanged, and
/// `splice(&[])` is the body itself. Edits may come in any order and must not overlap.
pub trait Splice: Send + Sync {
    /// Every inspectable text, in the body's own order.
    fn segments(&self) -> &[Segment];

    /// The body with the edits put in.
    ///
    /// # Errors
    /// When an edit names a segment or span that is not there, splits a character, or overlaps another.
    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError>;
}

/// An edit that does not fit its body. Always a fault of ours; callers fail closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// No segment has that index.
    #[error("edit names segment {0}, which the body does not have")]
    NoSuchSegment(usize),
    /// The span reaches outside the text or splits a character.
    #[error("edit of segment {segment} has span {start}..{end}, which does not fit its text")]
    BadSpan {
        /// The segment.
        segment: usize,
        /// Start of the span.
        start: usize,
        /// End of the span.
        end: usize,
    },
    /// Two edits cover the same bytes.
    #[error("edits of segment {0} overlap")]
    Overlap(usize),
    /// The segment was read out of a file that nothing can take the place of. No fault of ours: the body's
    /// format has no other thing to put there.
    #[error("segment {0} lies in a file that nothing can take the place of")]
    Irremovable(usize),
    /// The edits would make a boundary between parts where there was none, or take one away.
    #[error("the edits would move the boundaries of the body's parts")]
    Boundary,
}
