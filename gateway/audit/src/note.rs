//! Signed notes, as <https://c2sp.org/signed-note> has them: a text, and lines by those who vouch for it.
//!
//! Three kinds of statement are made so: the log's own signature under a checkpoint, a witness's cosignature with the time it was made
//! (<https://c2sp.org/tlog-cosignature>), and signatures under texts of our own. The algorithm is a byte of each key, so
//! others can come; lines of unknown keys are kept and count for nothing.
//!
//! A note is taken in with bounds on its size, and in one spelling only: what reads is written again byte for byte, repeated lines apart.
//!
//! On failure: [`NoteError`]; no text of the note goes into it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

mod keys;
pub use keys::{Algorithm, KeyError, KeyId, SigningKey, VerifyingKey};

mod checkpoint;
pub use checkpoint::{Checkpoint, CheckpointError};

/// The largest note; 16 signatures of the largest algorithms known must fit.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signature lines.
pub const MAX_SIGNATURES: usize = 64;

/// A text and its signatures. Nothing is verified by reading one.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A note that nobody has signed yet. The text ends in a line feed and holds no other control characters.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        if !text.ends_with('\n') || text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::Malformed);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Reads a note with one signature at least.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed)?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let mut note = Self::new(format!("{text}\n"))?;
        for signature in Signature::parse_lines(lines)? {
            note.push(signature)?;
        }
        if note.signatures.is_empty() {
            return Err(NoteError::Malformed);
        }
        Ok(note)
    }

    /// The text, which ends in a line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, whoever they are by.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature; one that is there already is not added again.
    ///
    /// # Errors
    /// When the note has as many as one can have.
    pub fn push(&mut self, signature: Signature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooLarge);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Whether a key vouches for the text. Every line that names it must verify, as a wrong one by a known key
    /// means that somebody has been at the note.
    ///
    /// # Errors
    /// When there is no line of the key, or one that does not verify.
    pub fn vouched_by(&self, key: &VerifyingKey) -> Result<Vouched, NoteError> {
        let mut vouched = None;
        for signature in self.signatures.iter().filter(|signature| key.names(signature)) {
            let at = key.verify(&self.text, signature)?.at;
            vouched = Some(Vouched {
                at: at.max(vouched.and_then(|vouched: Vouched| vouched.at)),
            });
        }
        vouched.ok_or_else(|| NoteError::NotSigned(key.name().to_owned()))
    }
}

/// The note as it is kept and sent.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, signatures) = (self.text.len(), self.signatures.len());
        write!(f, "Note({bytes} bytes, {signatures} signatures)")
    }
}

/// What a signature says beyond that its key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// When, in seconds since 1970; only cosignatures say.
    pub at: Option<u64>,
}

/// One line under a note.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Reads lines as they stand under a note, each with its line feed.
    ///
    /// # Errors
    /// When there is anything else between them.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut found = Vec::new();
        for line in lines.split('\n') {
            if found.len() >= MAX_SIGNATURES {
                return Err(NoteError::TooLarge);
            }
            found.push(Self::parse(line)?);
        }
        Ok(found)
    }

    fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::Malformed)?;
        let (name, encoded) = rest.split_once(' ').ok_or(NoteError::Malformed)?;
        let decoded = STANDARD.decode(encoded).map_err(|_| NoteError::Malformed)?;
        match decoded.split_first_chunk::<4>() {
            Some((id, bytes)) if keys::is_name(name) && !bytes.is_empty() => Ok(Self {
                name: name.to_owned(),
                id: KeyId::from(*id),
                bytes: bytes.to_vec(),
            }),
            _ => Err(NoteError::Malformed),
        }
    }

    /// The name of the key that it claims to be by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The line, without its line feed.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([self.id.as_bytes(), self.bytes.as_slice()].concat());
        write!(f, "\u{2014} {} {encoded}", self.name)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} {:?})", self.name, self.id)
    }
}

/// Why a note is none, or is not vouched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of a note.
    #[error("not a signed note")]
    Malformed,
    /// It is larger or has more signatures than any note of ours.
    #[error("the note is too large")]
    TooLarge,
    /// There is no signature by the key of this name.
    #[error("the note is not signed by {0}")]
    NotSigned(String),
    /// A signature that names this key does not verify.
    #[error("the signature by {0} does not verify")]
    WrongSignature(String),
}

#[cfg(test)]
mod tests;
