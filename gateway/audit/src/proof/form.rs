//! The file's form: JSON with exactly these members, hashes in base64, notes as their text.

use serde::{Deserialize, Serialize};

use super::{Proof, ProofCheckpoint, ProofError, ProofRecord};
use crate::{
    note::Note,
    tree::{Hash, MAX_PATH},
};

/// The largest proof that is read.
pub const MAX_PROOF_BYTES: usize = 16 * 1024 * 1024;

const FORMAT: &str = "cordon-audit-proof/v1";
const MAX_RECORDS: usize = 1024;
/// An exchange's records fall into few trees.
const MAX_CHECKPOINTS: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    format: String,
    exchange: String,
    records: Vec<RecordForm>,
    checkpoints: Vec<CheckpointForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordForm {
    record: String,
    origin: String,
    index: u64,
    path: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointForm {
    note: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older: Option<OlderForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OlderForm {
    note: String,
    path: Vec<String>,
}

impl Proof {
    /// Reads a proof's file.
    ///
    /// # Errors
    /// When it has not the form of one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ProofError::Malformed("the file is too large"));
        }
        // The reader's own error is left out, as it can quote the file.
        let form: Form =
            serde_json::from_slice(bytes).map_err(|_| ProofError::Malformed("the file does not read"))?;
        if form.format != FORMAT {
            return Err(ProofError::Malformed("the format is not known"));
        }
        if form.records.len() > MAX_RECORDS || form.checkpoints.len() > MAX_CHECKPOINTS {
            return Err(ProofError::Malformed("it has too many parts"));
        }
        // Other programs compare ids as text, so there is one spelling here too.
        let exchange = form.exchange.parse().ok();
        let exchange = exchange
            .filter(|id: &cordon_domain::ExchangeId| id.to_string() == form.exchange)
            .ok_or(ProofError::Malformed("the exchange has no valid id"))?;
        let records = form.records.into_iter().map(|record| {
            Ok(ProofRecord {
                record: record.record,
                origin: record.origin,
                index: record.index,
                path: path(&record.path)?,
            })
        });
        let checkpoints = form.checkpoints.into_iter().map(|checkpoint| {
            let older = checkpoint
                .older
                .map(|older| Ok((note(&older.note)?, path(&older.path)?)));
            Ok(ProofCheckpoint {
                note: note(&checkpoint.note)?,
                older: older.transpose()?,
            })
        });
        Ok(Self {
            exchange,
            records: records.collect::<Result<_, _>>()?,
            checkpoints: checkpoints.collect::<Result<_, _>>()?,
        })
    }

    /// The proof as a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |path: &[Hash]| path.iter().map(|hash| hash.to_base64()).collect();
        let form = Form {
            format: FORMAT.to_owned(),
            exchange: self.exchange.to_string(),
            records: self
                .records
                .iter()
                .map(|record| RecordForm {
                    record: record.record.clone(),
                    origin: record.origin.clone(),
                    index: record.index,
                    path: text(&record.path),
                })
                .collect(),
            checkpoints: self
                .checkpoints
                .iter()
                .map(|checkpoint| CheckpointForm {
                    note: checkpoint.note.to_string(),
                    older: checkpoint.older.as_ref().map(|(note, path)| OlderForm {
                        note: note.to_string(),
                        path: text(path),
                    }),
                })
                .collect(),
        };
        let mut text =
            serde_json::to_string_pretty(&form).expect("strings and numbers alone are always JSON");
        text.push('\n');
        text
    }
}

fn note(text: &str) -> Result<Note, ProofError> {
    Note::parse(text.as_bytes()).map_err(|_| ProofError::Malformed("a checkpoint is not a signed note"))
}

fn path(texts: &[String]) -> Result<Vec<Hash>, ProofError> {
    if texts.len() > MAX_PATH {
        return Err(ProofError::Malformed("a path is too long"));
    }
    let hashes: Result<_, _> = texts.iter().map(|text| Hash::from_base64(text)).collect();
    hashes.map_err(|_| ProofError::Malformed("a hash of a path does not read"))
}
