//! What says of an exported file what it holds, for whoever gets it without access to the store.
//!
//! A manifest is JSON beside the file, and a signed note beside that: its text names the manifest's SHA-256, so that the manifest stays readable by any
//! program and the signature is one that other programs of C2SP check. The key is the one that signs checkpoints; the note's second line
//! is no number, so that it can never be taken for a checkpoint.
//!
//! Limits: [`MAX_MANIFEST_BYTES`].
//!
//! On failure: [`Difference`] names the first thing that is not as it was signed.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use aws_lc_rs::digest;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::{Deserialize, Serialize};

use super::{Contents, FilterWords, Format};
use crate::{
    note::{Note, NoteError, SigningKey, VerifyingKey},
    record::Operator,
};

/// The largest manifest.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
const ABOUT: &str = "cordon audit export";

/// What a file holds, who made it, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of manifests.
    pub v: u8,
    /// The export's id, as its records have it.
    pub export: uuid::Uuid,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// By whom.
    pub operator: Operator,
    /// What was asked for; users by their references.
    pub filter: FilterWords,
    /// What is in the file.
    #[serde(flatten)]
    pub contents: Contents,
}

/// A manifest as it is kept: its text, and the note that vouches for it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The manifest's JSON.
    pub text: String,
    /// The note.
    pub note: Note,
}

impl Manifest {
    /// The form that this program writes.
    pub const V: u8 = 1;

    /// Writes and signs it.
    ///
    /// # Errors
    /// Never for a manifest of ours; a note's text has bounds.
    pub fn sign(&self, key: &SigningKey) -> Result<Signed, NoteError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|_| NoteError::Malformed)?;
        text.push('\n');
        let mut note = Note::new(statement(text.as_bytes()))?;
        note.push(key.sign(note.text(), self.at / 1000))?;
        Ok(Signed { text, note })
    }
}

/// What is signed of a manifest.
fn statement(manifest: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, manifest);
    format!("{ABOUT}\nsha256 {}\n", hex::encode(hash))
}

/// The first thing about a file that is not as its manifest says, or a manifest that is not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// Nobody vouches for the manifest.
    #[error("the manifest: {0}")]
    NotSigned(#[from] NoteError),
    /// The signature is by the key, and over another manifest.
    #[error("the manifest is not the one that was signed")]
    Manifest,
    /// It is signed and does not read, as one of a later Cordon's.
    #[error("the manifest does not read")]
    Unreadable,
    /// The file's size or hash is another.
    #[error(
        "the file has {found_bytes} bytes with SHA-256 {found}, and was exported with {bytes} bytes and {expected}"
    )]
    Bytes {
        /// Bytes that it has.
        found_bytes: u64,
        /// Bytes that it had.
        bytes: u64,
        /// The hash that it has.
        found: String,
        /// The hash that it had.
        expected: String,
    },
    /// It has another number of rows than the manifest says.
    #[error("the file has {found} rows, and its manifest says {expected}")]
    Rows {
        /// Rows that it has.
        found: u64,
        /// Rows that it is said to have.
        expected: u64,
    },
    /// It is as it was exported, and is no file of its format.
    #[error("the file does not read as {0}")]
    Form(Format),
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Checks a file against its manifest, and the manifest against its signature.
///
/// # Errors
/// The first difference.
pub fn check(file: &Path, manifest: &[u8], note: &[u8], key: &VerifyingKey) -> Result<Manifest, Difference> {
    let note = Note::parse(note)?;
    note.vouched_by(key)?;
    if note.text() != statement(manifest) {
        return Err(Difference::Manifest);
    }
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|_| Difference::Unreadable)?;
    if manifest.v != Manifest::V {
        return Err(Difference::Unreadable);
    }
    let contents = &manifest.contents;
    let (found_bytes, found) = hash(File::open(file)?)?;
    if (found_bytes, &found) != (contents.bytes, &contents.sha256) {
        return Err(Difference::Bytes {
            found_bytes,
            bytes: contents.bytes,
            found,
            expected: contents.sha256.clone(),
        });
    }
    let found = rows(File::open(file)?, contents.format)?;
    if found != contents.rows {
        return Err(Difference::Rows {
            found,
            expected: contents.rows,
        });
    }
    Ok(manifest)
}

fn hash(mut file: File) -> io::Result<(u64, String)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    let mut part = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok((bytes, hex::encode(context.finish())));
        }
        context.update(&part[..read]);
        bytes += read as u64;
    }
}

fn rows(file: File, format: Format) -> Result<u64, Difference> {
    let unreadable = || Difference::Form(format);
    match format {
        Format::Jsonl | Format::Ocsf => {
            let mut lines = 0;
            let mut file = BufReader::new(file);
            let mut part = vec![0; 64 << 10];
            loop {
                let read = file.read(&mut part)?;
                if read == 0 {
                    return Ok(lines);
                }
                lines += part[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        }
        Format::Csv => {
            let mut reader = csv::Reader::from_reader(BufReader::new(file));
            let mut record = csv::ByteRecord::new();
            let mut rows = 0;
            while reader.read_byte_record(&mut record).map_err(|_| unreadable())? {
                rows += 1;
            }
            Ok(rows)
        }
        Format::Parquet => {
            let reader = SerializedFileReader::new(file).map_err(|_| unreadable())?;
            let rows = reader.metadata().file_metadata().num_rows();
            u64::try_from(rows).map_err(|_| unreadable())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Algorithm, Checkpoint};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("log.example", Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    fn manifest_of(file: &[u8], format: Format, rows: u64) -> Manifest {
        Manifest {
            v: Manifest::V,
            export: uuid::Uuid::from_u128(7),
            at: 1_700_000_000_000,
            operator: Operator {
                user: "audit".into(),
                claimed: None,
            },
            filter: FilterWords::new(),
            contents: Contents {
                format,
                rows,
                records: rows,
                bytes: file.len() as u64,
                sha256: hex::encode(digest::digest(&digest::SHA256, file)),
                writers: Vec::new(),
                trees: Vec::new(),
            },
        }
    }

    #[test]
    fn each_difference_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        let bytes = b"{}\n{}\n";
        std::fs::write(&path, bytes).unwrap();
        let manifest = manifest_of(bytes, Format::Jsonl, 2);
        let signed = manifest.sign(&key(1)).unwrap();
        let note = signed.note.to_string();
        let against = |text: &str, note: &str, seed: u8| {
            check(&path, text.as_bytes(), note.as_bytes(), key(seed).verifying())
        };
        assert_eq!(against(&signed.text, &note, 1).unwrap(), manifest);
        assert!(Checkpoint::parse(signed.note.text()).is_err());
        assert!(matches!(
            against(&signed.text, &note, 2),
            Err(Difference::NotSigned(_))
        ));
        let altered = signed.text.replace("\"rows\": 2", "\"rows\": 3");
        assert!(matches!(against(&altered, &note, 1), Err(Difference::Manifest)));
        let lie = manifest_of(bytes, Format::Jsonl, 3).sign(&key(1)).unwrap();
        assert!(matches!(
            against(&lie.text, &lie.note.to_string(), 1),
            Err(Difference::Rows {
                found: 2,
                expected: 3
            })
        ));
        let form = manifest_of(bytes, Format::Parquet, 2).sign(&key(1)).unwrap();
        assert!(matches!(
            against(&form.text, &form.note.to_string(), 1),
            Err(Difference::Form(Format::Parquet))
        ));
        std::fs::write(&path, b"{}\n{ }\n").unwrap();
        assert!(matches!(
            against(&signed.text, &note, 1),
            Err(Difference::Bytes { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(against(&signed.text, &note, 1), Err(Difference::Io(_))));
    }
}
