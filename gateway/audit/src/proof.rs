//! The proof that an exchange's records are in the audit, as one file that anybody can check without Cordon's store.
//!
//! A proof holds the records themselves, for each its place in a tree and the path to that tree's root, and for each tree one
//! signed checkpoint with the cosignatures that it got. [`verify`](Proof::verify) takes nothing on trust but the keys it is given. What
//! it shows: these records, in this form, were leaves of the trees that the log's key and the witnesses vouch for. What it does not: that there is no
//! other record of the exchange. An exchange without its final record is said to be open.
//!
//! The form (`cordon-audit-proof/v1`, JSON) is checked by another program too, `tests/clients/verify_proof.py`.
//!
//! Limits: [`MAX_PROOF_BYTES`], and on the number of each part. Reading never panics, whatever the bytes are.
//!
//! On failure: [`ProofError`] says what does not hold, and of which record; no text of a record goes into it.

use std::{collections::BTreeSet, fmt};

use cordon_domain::ExchangeId;

use crate::{
    note::{Algorithm, Checkpoint, Note, NoteError, VerifyingKey},
    record::Entry,
    tree::{Hash, TreeError, leaf_hash, verify_consistency, verify_inclusion},
};

mod form;
pub use form::MAX_PROOF_BYTES;

/// An exchange's records and what shows that they are in the audit. Nothing is verified by having one.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Its records, in the order in which they became leaves of each tree.
    pub records: Vec<ProofRecord>,
    /// Of each tree that holds one of them, a checkpoint.
    pub checkpoints: Vec<ProofCheckpoint>,
}

/// A record and its place in a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofRecord {
    /// The canonical bytes, which are UTF-8.
    pub record: String,
    /// The tree, as its checkpoint names it.
    pub origin: String,
    /// Which leaf it is.
    pub index: u64,
    /// From the leaf to the root of the tree's checkpoint in this proof.
    pub path: Vec<Hash>,
}

/// A tree's checkpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofCheckpoint {
    /// The checkpoint, with the signatures that it got.
    pub note: Note,
    /// An older one of the same tree that somebody kept, with the path that shows this tree to begin with all of that one.
    pub older: Option<(Note, Vec<Hash>)>,
}

/// Whom a verifier believes.
#[derive(Clone, Debug)]
pub struct Believed {
    log: VerifyingKey,
    witnesses: Vec<VerifyingKey>,
    needed: usize,
}

impl Believed {
    /// The log's key, keys of witnesses, and how many of those must vouch for each checkpoint.
    ///
    /// # Errors
    /// When a key is of the wrong kind or given twice, or more witnesses are needed than there are.
    pub fn new(
        log: VerifyingKey,
        witnesses: Vec<VerifyingKey>,
        needed: usize,
    ) -> Result<Self, BelievedError> {
        if log.algorithm() != Algorithm::Ed25519 {
            return Err(BelievedError::NotALog(log.name().to_owned()));
        }
        // The same key under two names would count as two witnesses.
        let mut seen = BTreeSet::from([log.key_bytes()]);
        for witness in &witnesses {
            if witness.algorithm() != Algorithm::Cosignature {
                return Err(BelievedError::NotAWitness(witness.name().to_owned()));
            }
            if !seen.insert(witness.key_bytes()) {
                return Err(BelievedError::Twice(witness.name().to_owned()));
            }
        }
        if needed > witnesses.len() {
            return Err(BelievedError::TooFew {
                needed,
                given: witnesses.len(),
            });
        }
        Ok(Self {
            log,
            witnesses,
            needed,
        })
    }

    /// The checkpoint in a note, and who cosigned it when, if the log and enough witnesses vouch for it.
    fn checkpoint(&self, note: &Note) -> Result<(Checkpoint, Vec<(String, u64)>), ProofError> {
        let checkpoint = Checkpoint::parse(note.text()).map_err(|_| ProofError::NoCheckpoint)?;
        let origin = || checkpoint.origin.clone();
        if !self.log.vouches_for(&checkpoint.origin) {
            return Err(ProofError::OtherLog(origin()));
        }
        let wrong = |source| ProofError::Note {
            origin: origin(),
            source,
        };
        note.vouched_by(&self.log).map_err(wrong)?;
        let mut cosigned = Vec::new();
        for witness in &self.witnesses {
            match note.vouched_by(witness) {
                Ok(vouched) => cosigned.push((witness.name().to_owned(), vouched.at.unwrap_or_default())),
                Err(NoteError::NotSigned(_)) => {}
                Err(source) => return Err(wrong(source)),
            }
        }
        if cosigned.len() < self.needed {
            return Err(ProofError::TooFewWitnesses {
                origin: origin(),
                found: cosigned.len(),
                needed: self.needed,
            });
        }
        Ok((checkpoint, cosigned))
    }
}

impl Proof {
    /// Checks all of it, by the keys given.
    ///
    /// # Errors
    /// With the first thing that does not hold.
    pub fn verify(&self, believed: &Believed) -> Result<Proven, ProofError> {
        if self.records.is_empty() {
            return Err(ProofError::NoRecords);
        }
        let mut checkpoints: Vec<ProvenCheckpoint> = Vec::new();
        for given in &self.checkpoints {
            let checkpoint = given.verify(believed)?;
            if checkpoints.iter().any(|other| other.origin == checkpoint.origin) {
                return Err(ProofError::SameTree(checkpoint.origin));
            }
            checkpoints.push(checkpoint);
        }
        let mut places = BTreeSet::new();
        let mut links = BTreeSet::new();
        let mut records = Vec::new();
        for (number, given) in (1..).zip(&self.records) {
            let fault = |fault| ProofError::Record { number, fault };
            let entry = given
                .verify(self.exchange, believed, &checkpoints)
                .map_err(fault)?;
            let new = places.insert((&given.origin, given.index));
            if !new || !links.insert((entry.writer, entry.sequence)) {
                return Err(fault(RecordFault::Twice));
            }
            records.push(ProvenRecord {
                entry,
                origin: given.origin.clone(),
                index: given.index,
            });
        }
        Ok(Proven {
            exchange: self.exchange,
            records,
            checkpoints,
        })
    }
}

impl ProofRecord {
    fn verify(
        &self,
        exchange: ExchangeId,
        believed: &Believed,
        checkpoints: &[ProvenCheckpoint],
    ) -> Result<Entry, RecordFault> {
        let entry = Entry::parse(self.record.as_bytes()).map_err(|_| RecordFault::NotARecord)?;
        // Another spelling of the same record is another leaf, and members that we do not know would be lost from sight.
        if entry.canonical_bytes() != self.record.as_bytes() {
            return Err(RecordFault::NotCanonical);
        }
        if entry.body.exchange() != Some(exchange) {
            return Err(RecordFault::OtherExchange);
        }
        if self.origin != believed.log.origin(&entry.tree()) {
            return Err(RecordFault::OtherTree);
        }
        let checkpoint = checkpoints
            .iter()
            .find(|checkpoint| checkpoint.origin == self.origin)
            .ok_or(RecordFault::NoCheckpoint)?;
        let leaf = leaf_hash(self.record.as_bytes());
        verify_inclusion(leaf, self.index, checkpoint.size, &self.path, checkpoint.root)?;
        Ok(entry)
    }
}

impl ProofCheckpoint {
    fn verify(&self, believed: &Believed) -> Result<ProvenCheckpoint, ProofError> {
        let (checkpoint, cosigned) = believed.checkpoint(&self.note)?;
        let mut continues = None;
        if let Some((older, path)) = &self.older {
            // It is there because somebody kept it, so it needs no witnesses of its own.
            let alone = Believed {
                needed: 0,
                ..believed.clone()
            };
            let (older, _) = alone.checkpoint(older)?;
            if older.origin != checkpoint.origin {
                return Err(ProofError::OlderOfOtherTree(checkpoint.origin));
            }
            verify_consistency(older.size, older.root, checkpoint.size, checkpoint.root, path).map_err(
                |source| ProofError::NotContinued {
                    origin: older.origin,
                    size: older.size,
                    source,
                },
            )?;
            continues = Some((older.size, older.root));
        }
        Ok(ProvenCheckpoint {
            origin: checkpoint.origin,
            size: checkpoint.size,
            root: checkpoint.root,
            cosigned,
            continues,
        })
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exchange, records) = (self.exchange, self.records.len());
        write!(f, "Proof({records} records of {exchange})")
    }
}

impl fmt::Debug for ProofRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofRecord(leaf {} of {})", self.index, self.origin)
    }
}

/// What a proof has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Records of it that are in the audit.
    pub records: Vec<ProvenRecord>,
    /// The trees' heads that they were proven by.
    pub checkpoints: Vec<ProvenCheckpoint>,
}

impl Proven {
    /// Whether its final state is among the records. Without it, the exchange was under way at the time of the checkpoint, or the
    /// record was left out of the file.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let bodies = || self.records.iter().map(|record| &record.entry.body);
        bodies().any(|body| body.closes().is_some() || body.stands_alone().is_some())
    }
}

/// A record that is in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenRecord {
    /// The record.
    pub entry: Entry,
    /// Its tree.
    pub origin: String,
    /// Which leaf it is.
    pub index: u64,
}

/// A tree's head that the log, and as many witnesses as are needed, vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenCheckpoint {
    /// The tree.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Which of the witnesses vouch for it, and when they did so, in seconds since 1970.
    pub cosigned: Vec<(String, u64)>,
    /// Size and root of the older checkpoint that it was shown to continue.
    pub continues: Option<(u64, Hash)>,
}

/// Why nobody can be believed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BelievedError {
    /// A witness's key in place of the log's.
    #[error("{0} is not the key of a log")]
    NotALog(String),
    /// A log's key in place of a witness's.
    #[error("{0} is not the key of a witness")]
    NotAWitness(String),
    /// Two names for one key.
    #[error("the key of {0} is given twice")]
    Twice(String),
    /// A number that cannot be reached.
    #[error("{needed} witnesses are needed, and the keys of {given} are given")]
    TooFew {
        /// How many are needed.
        needed: usize,
        /// How many are known.
        given: usize,
    },
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The file has not the form of a proof.
    #[error("not a proof: {0}")]
    Malformed(&'static str),
    /// It is about nothing.
    #[error("the proof has no records")]
    NoRecords,
    /// A note that is no checkpoint.
    #[error("a note of the proof is not a checkpoint")]
    NoCheckpoint,
    /// A tree that the log's key cannot vouch for.
    #[error("the tree {0} is not one of the log that is believed")]
    OtherLog(String),
    /// Two checkpoints of one tree.
    #[error("there are two checkpoints of the tree {0}")]
    SameTree(String),
    /// Signatures are wrong or missing.
    #[error("the checkpoint of {origin}: {source}")]
    Note {
        /// The tree.
        origin: String,
        /// What is wrong.
        source: NoteError,
    },
    /// Not enough witnesses have seen this tree.
    #[error("the checkpoint of {origin} is cosigned by {found} of the witnesses, and {needed} are needed")]
    TooFewWitnesses {
        /// The tree.
        origin: String,
        /// How many have cosigned.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The older checkpoint is of another tree.
    #[error("the older checkpoint beside that of {0} is of another tree")]
    OlderOfOtherTree(String),
    /// The tree is not the older one grown.
    #[error("the tree {origin} does not continue what it was with {size} leaves: {source}")]
    NotContinued {
        /// The tree.
        origin: String,
        /// The older size.
        size: u64,
        /// What does not hold.
        source: TreeError,
    },
    /// A record is not proven.
    #[error("record {number} of the proof {fault}")]
    Record {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong with it.
        fault: RecordFault,
    },
}

/// What is wrong with a record of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Its text is no record, or one of a later version.
    #[error("does not read as a record")]
    NotARecord,
    /// Its text is not the one form of this record.
    #[error("is not in its canonical form")]
    NotCanonical,
    /// It speaks of another exchange.
    #[error("is not of this exchange")]
    OtherExchange,
    /// It does not belong into this tree.
    #[error("does not belong into the tree that it is said to be in")]
    OtherTree,
    /// Its tree has no checkpoint here.
    #[error("is of a tree whose checkpoint is not in the proof")]
    NoCheckpoint,
    /// It is there more than once.
    #[error("is there twice")]
    Twice,
    /// The path does not hold.
    #[error("is not in the tree: {0}")]
    NotIncluded(#[from] TreeError),
}

#[cfg(test)]
mod tests;
