//! Files inside JSON bodies: base64 where a dialect puts it, and wherever else it is one by its bytes.
//!
//! A file is
//! - what stands where a dialect says that a file stands (`source.data`, `file_data`, `inlineData`, ...);
//! - a `data:...;base64,` URI, as a whole string or within a text;
//! - any string of [`LEAST`] characters or more that is nothing but base64 of a text or of a format that is
//!   known by its first bytes, whatever its name says.
//!
//! What is none of these stays a text. So do the blobs that providers hand out for their own later use
//! (signatures, encrypted reasoning): they have no known form. A file is no segment, since base64 tells a
//! detector little; what is read out of it takes its place ([`RequestBody::read_out`](crate::RequestBody::read_out)).
//!
//! Taking a file out leaves a note where the dialect has a place for a text: in the place of the part that
//! holds the file, or of the base64 itself where that is a text for the language model.
//!
//! It leaves reading files to the caller. Limits: [`Limits::MOST_FILES`](crate::Limits::MOST_FILES) a body.
//! On failure: what stands where a file should and is no base64 is a file without bytes, and its text a segment.

mod base64;
pub(crate) use base64::{Alphabet, Encoded, data_uris, whole};

mod marks;
pub(crate) use marks::is_file;

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Dialect, Place, Role, Text};

/// Base64 of so many characters may be a file without anything around it saying so.
pub(crate) const LEAST: usize = 256;

/// So many stand-ins of what a file held are named in the note that takes its place.
const NAMED: usize = 3;

/// The longest name of a file that is looked at, in bytes.
const LONGEST_NAME: usize = 255;

/// A file inside a body.
pub struct Attachment {
    pub(crate) place: Place,
    pub(crate) role: Role,
    pub(crate) name: Option<Text>,
    pub(crate) media_type: Option<Text>,
    pub(crate) bytes: Option<Bytes>,
    pub(crate) removable: bool,
}

impl Attachment {
    /// Where it lies, in the form of a segment's place.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whose words it holds.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its name, where the body tells one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its media type, where the body tells one.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// The file; none where what stands in its place cannot be decoded, or it was read out already, be it to
    /// nothing.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }

    /// Whether a note can take its place.
    #[must_use]
    pub fn is_removable(&self) -> bool {
        self.removable
    }
}

/// Neither bytes nor names.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("role", &self.role)
            .field("bytes", &self.bytes.as_ref().map(Bytes::len))
            .field("removable", &self.removable)
            .finish_non_exhaustive()
    }
}

/// What a note stands in, in a dialect's list of parts: the object around the text, before and behind it.
pub(crate) fn text_part(dialect: Dialect, role: Role) -> Option<(&'static str, &'static str)> {
    match dialect {
        Dialect::OpenaiResponses | Dialect::OpenaiRealtime if role == Role::Assistant => {
            Some((r#"{"type":"output_text","text":""#, r#"","annotations":[]}"#))
        }
        Dialect::OpenaiResponses | Dialect::OpenaiRealtime => {
            Some((r#"{"type":"input_text","text":""#, r#""}"#))
        }
        Dialect::Gemini | Dialect::BedrockConverse => Some((r#"{"text":""#, r#""}"#)),
        Dialect::OpenaiChat
        | Dialect::AnthropicMessages
        | Dialect::AnthropicBatches
        | Dialect::BedrockInvoke
        | Dialect::Cohere
        | Dialect::Mcp => Some((r#"{"type":"text","text":""#, r#""}"#)),
        _ => None,
    }
}

/// Whether a list of that name holds the parts of a message.
pub(crate) fn holds_parts(dialect: Dialect, name: &str) -> bool {
    match dialect {
        Dialect::Gemini => name == "parts",
        Dialect::OpenaiResponses => matches!(name, "content" | "output"),
        _ => name == "content",
    }
}

/// The note that takes a file's place; what stood in it goes by its stand-ins.
pub(crate) fn note<'a>(held: impl Iterator<Item = &'a str>) -> String {
    let mut named: Vec<&str> = Vec::new();
    for one in held {
        if !named.contains(&one) {
            named.push(one);
        }
    }
    let more = named.len().saturating_sub(NAMED);
    named.truncate(NAMED);
    let held = named.join(", ");
    match more {
        0 => format!("[file removed by Cordon: it held {held}]"),
        more => format!("[file removed by Cordon: it held {held} and {more} more]"),
    }
}

/// A file's name as far as it is looked at.
pub(crate) fn clipped(name: &str) -> &str {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_a_few_of_what_was_held() {
        let note = |held: &[&str]| note(held.iter().copied());
        assert_eq!(note(&["[A_1]"]), "[file removed by Cordon: it held [A_1]]");
        assert_eq!(
            note(&["[A_1]", "[B_2]", "[A_1]", "[C_3]", "[D_4]", "[E_5]"]),
            "[file removed by Cordon: it held [A_1], [B_2], [C_3] and 2 more]"
        );
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(clipped("a.pdf"), "a.pdf");
        let long = "é".repeat(200);
        assert_eq!(clipped(&long).len(), 254);
    }
}
