//! Text out of files: what a document says, part by part, so that detectors and fingerprints can read it.
//!
//! [`extract`] takes a file's name and bytes and gives a [`Document`]: its [`Kind`] and its [`Part`]s, each
//! a text with the path it has inside the file (`a.zip!/plans/b.pptx!/slide 3`). The kind is told by the
//! bytes first and by the name only where bytes cannot tell (plain text, HTML, mail), so a wrong extension
//! hides nothing. Document properties, which carry titles, authors and sensitivity labels
//! (`MSIP_Label_…`), are a part of their own that ends in `!/properties`.
//!
//! ```
//! use cordon_inspect::document::{Limits, extract};
//!
//! let document = extract("notes.txt", b"hello", &Limits::default())?;
//! for part in &document.parts {
//!     // inspect part.text, report part.path
//! }
//! assert!(document.unread.is_empty());
//! # Ok::<(), cordon_inspect::document::DocumentError>(())
//! ```
//!
//! Inside a container, a file that holds no text or is damaged (a picture in a slide deck) does not spoil
//! the rest: it is listed in [`Document::unread`], and it is the caller who decides whether that is good
//! enough. It never is for a gateway that promises to have seen everything. Positions in a part are
//! positions in the file only where [`Kind::is_plain`] says so.
//!
//! It leaves opening files to the caller, and finding things in the text to [`Inspector`](crate::Inspector).
//! Nothing is written to disk, fetched, or executed; XML entities are never expanded.
//!
//! Limits: [`Limits`]; all of them hold over the whole document with everything inside it.
//!
//! On failure: a [`DocumentError`] that says why and where in the file, never what the file says. Passing a
//! limit, or a password anywhere inside, fails the whole document.

mod archive;
mod extraction;
mod html;
mod kind;
mod mail;
mod office;
mod open_document;
mod outlook;
mod pdf;
mod picture;
mod plain;
mod rtf;
mod xml;

use std::{fmt, time::Duration};

use cordon_domain::Text;

use self::extraction::Extraction;
pub use self::kind::Kind;

/// How much work and memory one document may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file.
    pub bytes_in: usize,
    /// Everything that is unpacked from it, over all levels.
    pub bytes_unpacked: usize,
    /// How many times its own size a file may unpack to. The first 16 MiB are free, as small files with
    /// much white space compress well.
    pub ratio: usize,
    /// All text together.
    pub bytes_of_text: usize,
    /// Containers within containers: a text in a DOCX in a ZIP is at depth 2.
    pub depth: usize,
    /// Files in archives, attachments, mails in a mailbox, pages; over all levels.
    pub entries: usize,
    /// Bytes of pictures that are handed out for somebody to recognise what they show; with none they are
    /// unread.
    pub pictures: usize,
    /// Elements within elements.
    pub xml_depth: usize,
    /// Time for all of it, looked at between pieces of work.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_in: 128 << 20,
            bytes_unpacked: 512 << 20,
            ratio: 200,
            bytes_of_text: 128 << 20,
            depth: 4,
            entries: 20_000,
            pictures: 0,
            xml_depth: 256,
            time: Duration::from_secs(30),
        }
    }
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the file is.
    pub kind: Kind,
    /// Its texts, in reading order as far as the kind has one.
    pub parts: Vec<Part>,
    /// Pictures, what they say in letters among the parts already; within [`Limits::pictures`].
    pub pictures: Vec<Picture>,
    /// What lies inside and was not read.
    pub unread: Vec<DocumentError>,
}

/// A picture that is, or lies in, a document.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Where it lies, in the form of [`Part::path`].
    pub path: String,
    /// Its file.
    pub bytes: Vec<u8>,
}

/// Neither the picture nor the path.
impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One text of a document.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it lies: the file's name, and after each `!/` a step into it. Never longer than a few
    /// thousand bytes, and free of control characters.
    pub path: String,
    /// What it says.
    pub text: Text,
}

/// Neither the text nor the path, as names of files can tell as much as their content.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// Why a file, or a file inside it, was not read.
///
/// `Display` and `Debug` leave the path out, as names of files can tell as much as their content.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct DocumentError {
    /// Where, in the form of [`Part::path`].
    pub path: String,
    /// Why.
    pub problem: Problem,
}

impl fmt::Debug for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentError")
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither text nor a kind of document that is known.
    #[error("this is neither text nor a document that can be read")]
    NotText,
    /// It wants a password or a key.
    #[error("this is encrypted; it can only be read after its protection was taken off")]
    Encrypted,
    /// It breaks the rules of its own format.
    #[error("this is damaged: {0}")]
    Damaged(&'static str),
    /// A known format, or a corner of one, that is not read.
    #[error("{0} cannot be read")]
    Unsupported(&'static str),
    /// It is larger than allowed.
    #[error("this passes the limit of {0}")]
    Limit(&'static str),
}

impl Problem {
    /// Whether it fails the document around it, too: a bomb or a locked file is no picture to step over.
    fn is_fatal(&self) -> bool {
        matches!(self, Self::Encrypted | Self::Limit(_))
    }
}

impl From<Problem> for DocumentError {
    fn from(problem: Problem) -> Self {
        Self {
            path: String::new(),
            problem,
        }
    }
}

/// Reads what a file says; see the [module](self).
///
/// # Errors
///
/// The file is not a document, is encrypted or damaged, or passes a limit.
pub fn extract(name: &str, bytes: &[u8], limits: &Limits) -> Result<Document, DocumentError> {
    Extraction::new(limits, bytes.len()).run(name, bytes)
}

/// What a file is, by its bytes and its name. Text is what nothing else is, so this may also be bytes that
/// are no text at all.
///
/// # Errors
///
/// It is in a known format that is not read.
pub fn kind(name: &str, bytes: &[u8]) -> Result<Kind, Problem> {
    kind::of(name, bytes)
}

/// The text of a file that is text all over, its encoding told by its bytes; `None` where it is none.
#[must_use]
pub fn plain_text(bytes: &[u8]) -> Option<Text> {
    plain::decode(bytes).map(Text::from)
}

#[cfg(test)]
mod tests;
