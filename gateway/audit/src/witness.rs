//! A witness: it cosigns a log's checkpoints as long as each continues the one before, and remembers which that was.
//!
//! What it does is <https://c2sp.org/tlog-witness>: a log that shows different trees to different people would need a witness to
//! cosign both, and a witness cosigns the second only if it begins with all of the first. So the newest checkpoint of each tree is durable
//! before its cosignature is made, and one process at a time has the folder.
//!
//! Limits: [`MAX_REQUEST_BYTES`], and [`MAX_TREES`] trees, as each takes a file.
//!
//! On failure: a [`Refusal`], and nothing is cosigned. What cannot be read from the folder is never taken for a tree not seen yet.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    disk::replace_file,
    note::{Algorithm, Checkpoint, MAX_NOTE_BYTES, Note, Signature, SigningKey, VerifyingKey},
    tree::{Hash, TreeError, empty_root, leaf_hash, verify_consistency},
};

mod request;
pub use request::AddCheckpoint;

/// The largest request: a note, and the longest proof before it.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 4096;
/// The most trees that one witness remembers.
pub const MAX_TREES: usize = 10_000;

/// A witness and its folder.
#[derive(Debug)]
pub struct Witness {
    key: SigningKey,
    logs: Vec<VerifyingKey>,
    trees: PathBuf,
    /// Held from the look at what was cosigned last to the end of the new cosignature. The number is that of trees.
    turn: Mutex<usize>,
    /// Locked for as long as the process lives.
    _lock: File,
}

impl Witness {
    /// Opens the folder `dir`, which is made where it is missing, to cosign for these logs.
    ///
    /// # Errors
    /// When the folder cannot be used, another process uses it, or a key is of the wrong kind.
    pub fn open(dir: &Path, key: SigningKey, logs: Vec<VerifyingKey>) -> Result<Self, WitnessError> {
        if key.verifying().algorithm() != Algorithm::Cosignature {
            return Err(WitnessError::NotAWitness(key.verifying().name().to_owned()));
        }
        if let Some(log) = logs.iter().find(|log| log.algorithm() != Algorithm::Ed25519) {
            return Err(WitnessError::NotALog(log.name().to_owned()));
        }
        let trees = dir.join("trees");
        let folder = |source| WitnessError::Folder {
            path: dir.into(),
            source,
        };
        fs::create_dir_all(&trees).map_err(folder)?;
        let lock = File::create(dir.join("lock")).map_err(folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(WitnessError::InUse(dir.into())),
            Err(fs::TryLockError::Error(source)) => return Err(folder(source)),
        }
        let known = fs::read_dir(&trees).map_err(folder)?.count();
        Ok(Self {
            key,
            logs,
            trees,
            turn: Mutex::new(known),
            _lock: lock,
        })
    }

    /// The key by which its cosignatures are verified.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        self.key.verifying()
    }

    /// Takes a request and cosigns its checkpoint, if it continues what was cosigned before. `at` is the time, in seconds since 1970.
    /// It waits for the disk.
    ///
    /// # Errors
    /// When it does not.
    pub fn add_checkpoint(&self, request: &[u8], at: u64) -> Result<Signature, Refusal> {
        let AddCheckpoint { old, path, note } = AddCheckpoint::parse(request).ok_or(Refusal::Malformed)?;
        let new = Checkpoint::parse(note.text()).map_err(|_| Refusal::Malformed)?;
        let mut logs = self
            .logs
            .iter()
            .filter(|log| log.vouches_for(&new.origin))
            .peekable();
        if logs.peek().is_none() {
            return Err(Refusal::UnknownTree);
        }
        if !logs.any(|log| note.vouched_by(log).is_ok()) {
            return Err(Refusal::NotSigned);
        }
        if old > new.size {
            return Err(Refusal::Malformed);
        }
        // A panic in another's turn leaves the files whole, and they are what counts.
        let mut known = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.trees.join(leaf_hash(new.origin.as_bytes()).to_string());
        let last = last(&file, &new.origin)?;
        let (size, root) = last.unwrap_or_else(|| (0, empty_root()));
        if old != size || (new.size == size && new.root != root) {
            return Err(Refusal::Conflict(size));
        }
        verify_consistency(size, root, new.size, new.root, &path).map_err(Refusal::Inconsistent)?;
        if last.is_none() {
            if *known >= MAX_TREES {
                return Err(Refusal::Full);
            }
            *known += 1;
        }
        if last != Some((new.size, new.root)) {
            replace_file(&file, note.to_string().as_bytes()).map_err(Refusal::Disk)?;
        }
        Ok(self.key.sign(note.text(), at))
    }
}

/// Size and root of the newest checkpoint that was cosigned.
fn last(file: &Path, origin: &str) -> Result<Option<(u64, Hash)>, Refusal> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refusal::Disk(error)),
    };
    let note = Note::parse(&bytes).ok();
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
    match checkpoint {
        Some(checkpoint) if checkpoint.origin == origin => Ok(Some((checkpoint.size, checkpoint.root))),
        _ => Err(Refusal::Disk(io::Error::new(
            io::ErrorKind::InvalidData,
            "a file of the witness does not read",
        ))),
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is none.
    #[error("the request does not read")]
    Malformed,
    /// No log is known that the tree could be of.
    #[error("the tree is of no log that this witness knows")]
    UnknownTree,
    /// The log has not signed it.
    #[error("the checkpoint is not signed by its log")]
    NotSigned,
    /// The last cosigned checkpoint was another than the request builds on; its size.
    #[error("the last checkpoint that was cosigned has {0} leaves")]
    Conflict(u64),
    /// The tree does not continue what it was: the log has forked or taken something back.
    #[error("the tree does not continue the last one that was cosigned: {0}")]
    Inconsistent(TreeError),
    /// There are as many trees as one witness remembers.
    #[error("this witness remembers no more trees")]
    Full,
    /// What was cosigned last cannot be read, or what is cosigned now cannot be kept.
    #[error("the witness's folder: {0}")]
    Disk(io::Error),
}

/// Why there is no witness.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A log's key in place of the witness's own.
    #[error("{0} is not the key of a witness")]
    NotAWitness(String),
    /// A witness's key in place of a log's.
    #[error("{0} is not the key of a log")]
    NotALog(String),
    /// The folder cannot be used.
    #[error("the folder {path}: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Two witnesses with one folder could each cosign another tree.
    #[error("the folder {path} is in use by another witness", path = .0.display())]
    InUse(PathBuf),
}

#[cfg(test)]
mod tests;
