//! The local durable queue: what is acknowledged here survives a crash, whatever the store does.
//!
//! One directory, one process (a lock file keeps a second one out), one writer thread, one chain. The thread takes
//! every entry that waits, up to 256, links them into the chain, writes them in one go and syncs once (group
//! commit); only then are the callers answered. When entries come fast it waits up to 1 ms for more of them. The files:
//!
//! | file | holds |
//! |---|---|
//! | `lock` | nothing; locked while a process has the spool open |
//! | `writer` | the random id of this spool, and so of its chain |
//! | `cursor` | up to where the store has the chain, with the hash there; [`verify`](crate::verify) compares the store to it |
//! | `0000000000000001.seg` ... | the [segments](crate::segment) |
//! | `0000000000000001.spare` ... | zeros, to become segments |
//! | `0000000000000001.found` | what lay in a segment's place that was not it |
//!
//! Limits: `max_bytes` of segments, 256 entries and 1 MiB a write, 4096 entries waiting for the writer, and
//! [`MAX_ENTRY_BYTES`](crate::record::MAX_ENTRY_BYTES) an entry, beside it 8 attachments of 8 MiB (which make a write, and a segment, larger),
//! and 64 MiB of attachments waiting. When space runs out new intents are refused first, so that exchanges under way
//! can still be sealed.
//!
//! On failure: a write or sync error closes that file for good (after a failed sync the kernel may have dropped the pages, so
//! a second try on the same file proves nothing). The entries are tried once in a new file; failing that, their
//! callers get [`AuditUnavailable`] and the spool is unhealthy until a probe can make a new file again.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    disk::FileId,
    record::{EntryHash, Outcome, WriterId},
};
use cordon_domain::ExchangeId;

mod files;
mod pace;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod spares;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

/// Where the spool lies and how large it may grow.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The directory; made if it is not there. Nothing else belongs into it.
    pub dir: PathBuf,
    /// Size of one segment file, reserved ahead.
    pub segment_bytes: u64,
    /// Most bytes of segments on disk. What the store does not take stays here, so this bounds how long the store may be away.
    pub max_bytes: u64,
    /// Of `max_bytes`, what new intents may not take.
    pub reserve_bytes: u64,
}

impl SpoolConfig {
    /// The defaults: 8 MiB segments, 4 GiB in all (some three million exchanges), 16 MiB of it for seals.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 8 << 20,
            max_bytes: 4 << 30,
            reserve_bytes: 16 << 20,
        }
    }
}

/// An entry is not durable: nothing may go on that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuditUnavailable {
    /// The spool has reached `max_bytes`; it empties as the store takes records.
    #[error("the audit spool is full")]
    Full,
    /// Writing or syncing failed, also in a new file.
    #[error("the audit spool cannot be written")]
    WriteFailed,
    /// The recorder was shut down.
    #[error("the audit recorder is closed")]
    Closed,
    /// The exchange is open already.
    #[error("the exchange has an open record already")]
    AlreadyOpen,
    /// There is no open record of that exchange: it was sealed before, or never opened.
    #[error("the exchange has no open record")]
    NotOpen,
    /// The entry is larger than [`MAX_ENTRY_BYTES`](crate::record::MAX_ENTRY_BYTES).
    #[error("the audit entry is too large")]
    TooLarge,
    /// The record is durable here, and the store, which has to have it too, did not take it in time. An exchange that it
    /// opened is closed again.
    #[error("the audit store has not taken the record in time")]
    StoreAway,
    /// What was to travel with the entry is outside of the limits of a [`Recording`](crate::Recording).
    #[error("the audit entry has too many attachments, or one that is empty or too large")]
    Attachments,
    /// A payload was to be kept, and there is no key to seal it with.
    #[error("the keys for payloads are not to be had")]
    Keys,
}

/// A position in a chain with the hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) hash: EntryHash,
}

impl Link {
    pub(crate) const START: Self = Self {
        sequence: 0,
        hash: EntryHash::GENESIS,
    };
}

/// The content of the `cursor` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorFile {
    pub(crate) writer: WriterId,
    #[serde(flatten)]
    pub(crate) shipped: Link,
}

/// How far the chain is durable here, and where its end lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) link: Link,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// One segment on disk, as writer and shipper know it.
#[derive(Clone, Debug)]
pub(crate) struct SegmentInfo {
    pub(crate) first_sequence: u64,
    /// Offset of its first entry.
    pub(crate) body: u64,
    /// Offset behind its last acknowledged entry; none while it is written to.
    pub(crate) end: Option<u64>,
    /// Bytes that it takes.
    pub(crate) allocated: u64,
    pub(crate) id: FileId,
    /// Reads it also when its name is gone; only of the newest.
    pub(crate) handle: Option<Arc<File>>,
}

/// What the writer thread, the shipper and the recorder's callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) writer: WriterId,
    pub(crate) durable: watch::Sender<Durable>,
    pub(crate) segments: Mutex<BTreeMap<u64, SegmentInfo>>,
    /// The last record that the store has.
    pub(crate) shipped: watch::Sender<u64>,
    /// As configured.
    pub(crate) segment_bytes: u64,
    spares: Mutex<VecDeque<u64>>,
    spare_names: AtomicU64,
    abandoned: Mutex<Vec<(ExchangeId, Outcome)>>,
    /// The last write worked, and the writer lives.
    pub(crate) writable: AtomicBool,
    pub(crate) full: AtomicBool,
    pub(crate) counters: Counters,
    /// Locked while the spool is open.
    pub(crate) lock: File,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) recorded: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) write_failures: AtomicU64,
    pub(crate) tampered: AtomicU64,
    pub(crate) batches_shipped: AtomicU64,
    pub(crate) ship_failures: AtomicU64,
    pub(crate) sequenced: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) sequence_failures: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: &SpoolConfig, recovered: &recover::Recovered) -> std::io::Result<Self> {
        Ok(Self {
            dir: config.dir.clone(),
            writer: recovered.writer,
            durable: watch::Sender::new(Durable {
                link: recovered.head,
                segment: 0,
                offset: 0,
            }),
            segments: Mutex::new(BTreeMap::clone(&recovered.segments)),
            shipped: watch::Sender::new(recovered.shipped.sequence),
            segment_bytes: config.segment_bytes,
            spares: Mutex::default(),
            spare_names: AtomicU64::new(1),
            abandoned: Mutex::default(),
            writable: AtomicBool::new(true),
            full: AtomicBool::new(false),
            counters: Counters::default(),
            lock: recovered.lock.try_clone()?,
        })
    }

    /// Notes that nobody will seal an exchange any more, so that the writer does.
    pub(crate) fn abandon(&self, exchange: ExchangeId, outcome: Outcome) {
        self.abandoned().push((exchange, outcome));
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<(ExchangeId, Outcome)>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of the files that are kept to become segments.
    pub(crate) fn spares(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, BTreeMap<u64, SegmentInfo>> {
        // The map is only ever changed by single inserts and removals, so a panic elsewhere leaves it whole.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments of which the store has every record when it stands at `link`. The last segment is never one, as it says where the chain stands.
    pub(crate) fn finished(&self, link: Link) -> Vec<u64> {
        let segments = self.segments();
        let pairs = segments.iter().zip(segments.values().skip(1));
        let finished = pairs.filter(|(_, next)| next.first_sequence <= link.sequence + 1);
        finished.map(|((number, _), _)| *number).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments().values().map(|s| s.allocated).sum()
    }

    pub(crate) fn depth(&self) -> u64 {
        self.durable
            .borrow()
            .link
            .sequence
            .saturating_sub(*self.shipped.borrow())
    }

    pub(crate) fn healthy(&self) -> bool {
        self.writable.load(Relaxed) && !self.full.load(Relaxed)
    }
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

pub(crate) fn cursor_path(dir: &Path) -> PathBuf {
    dir.join("cursor")
}
