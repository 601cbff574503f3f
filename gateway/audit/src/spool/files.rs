//! The segment files of the writer: one is written to, those before it wait to be shipped.
//!
//! A file whose write or sync failed is closed for good, and the entries are tried once in a new one. So is a file that is not
//! in its place any more, which is looked at before anything in it is acknowledged: see [`watch`](self::watch).
//!
//! On failure: [`AuditUnavailable`], and nothing of what was to be written counts.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{AuditUnavailable, SegmentInfo, Shared, SpoolConfig, segment_path, spares::spare_path};
use crate::{
    disk::{Disk, DiskFile, FileId, fill},
    record::{SpoolTampered, Tampering},
    segment::{self, SegmentHeader, Whole},
};

mod watch;

/// Segments whose handles are kept, so that what they hold outlives their names. More would take the descriptors that connections need.
pub(super) const HELD: usize = 64;

pub(super) struct Files<D: Disk> {
    disk: D,
    config: SpoolConfig,
    shared: Arc<Shared>,
    active: Option<Active<D::File>>,
    next_number: u64,
    /// The directory as it was when the spool was opened.
    home: FileId,
    /// It is not in its place, and that was noted.
    moved: bool,
    /// Segments that are not in their places and could not be put back.
    gone: BTreeSet<u64>,
    /// What was found and is not recorded yet.
    found: VecDeque<SpoolTampered>,
}

struct Active<F> {
    file: F,
    id: FileId,
    number: u64,
    offset: u64,
    size: u64,
}

/// Why entries are not durable in the present file.
enum Fault {
    Io(io::Error),
    Tampered(Tampering),
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl<D: Disk> Files<D> {
    pub(super) fn new(
        disk: D,
        config: SpoolConfig,
        shared: Arc<Shared>,
        next_number: u64,
    ) -> io::Result<Self> {
        let home = disk.id(&config.dir)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            disk,
            config,
            shared,
            active: None,
            next_number,
            home,
            moved: false,
            gone: BTreeSet::new(),
            found: VecDeque::new(),
        })
    }

    /// Where the written part of the present segment ends.
    pub(super) fn place(&self) -> Option<(u64, u64)> {
        let active = self.active.as_ref()?;
        Some((active.number, active.offset))
    }

    /// Makes entries durable, in a new file if the present one fails or has no room for their `bytes`.
    pub(super) fn write(
        &mut self,
        entries: &[Whole],
        bytes: u64,
        header: impl Fn(u64) -> SegmentHeader,
    ) -> Result<(), AuditUnavailable> {
        if self.rest() >= bytes {
            match self.try_write(entries) {
                Ok(()) => return Ok(()),
                Err(fault) => self.seal_off(fault),
            }
        }
        self.rotate(bytes, header)?;
        self.try_write(entries).map_err(|fault| {
            self.seal_off(fault);
            self.failed()
        })
    }

    fn try_write(&mut self, entries: &[Whole]) -> Result<(), Fault> {
        let Some(active) = &mut self.active else {
            return Err(Fault::Io(io::ErrorKind::NotFound.into()));
        };
        let bytes = segment::frames(active.number, active.offset, entries);
        active.file.write_all_at(&bytes, active.offset)?;
        active.file.sync_data()?;
        self.shared.counters.syncs.fetch_add(1, Relaxed);
        let (id, number) = (active.id, active.number);
        let end = active.offset + bytes.len() as u64;
        // A file that nobody finds by its name would not be there after a restart.
        if let Some(tampering) = self.tampering(id, number)? {
            return Err(Fault::Tampered(tampering));
        }
        if let Some(active) = &mut self.active {
            active.offset = end;
        }
        self.shared.writable.store(true, Relaxed);
        Ok(())
    }

    /// Closes the present segment, if any, and makes the next one with room for `bytes`.
    pub(super) fn rotate(
        &mut self,
        bytes: u64,
        header: impl Fn(u64) -> SegmentHeader,
    ) -> Result<(), AuditUnavailable> {
        // A segment elsewhere would be found by no restart; where that cannot be told, it is as bad.
        if self.home_moved().unwrap_or(true) {
            return Err(self.failed());
        }
        // The header's length depends on the number by a digit or two.
        let head = segment::head(&header(self.next_number)).len() as u64 + 16;
        let size = self.config.segment_bytes.max(head + bytes);
        let spare = self.space_for(size)?;
        if let Some(active) = self.active.take() {
            // The size matters for the space it takes, not for reading it, so a failure here loses nothing.
            let allocated = match active.file.truncate(active.offset) {
                Ok(()) => active.offset,
                Err(_) => active.size,
            };
            self.close(active.number, active.offset, allocated);
        }
        let made = match spare {
            None => self.make(None, size, &header),
            Some(spare) => self.make(Some(spare.clone()), size, &header).or_else(|source| {
                tracing::warn!(error = %source, "audit spool: a spare segment cannot be used");
                let _ = self.disk.remove(&spare);
                self.make(None, size, &header)
            }),
        };
        made.map_err(|source| {
            self.shared.counters.write_failures.fetch_add(1, Relaxed);
            tracing::error!(error = %source, "audit spool: no new segment can be made");
            self.failed()
        })
    }

    /// Sees that there is space for a segment. Gives a spare if one has that size.
    fn space_for(&self, size: u64) -> Result<Option<PathBuf>, AuditUnavailable> {
        let mut spares = self.shared.spares();
        let taken = self.shared.bytes();
        let path = |name| spare_path(&self.config.dir, name);
        if size == self.config.segment_bytes
            && taken + size <= self.config.max_bytes
            && let Some(name) = spares.pop_front()
        {
            return Ok(Some(path(name)));
        }
        while taken + spares.len() as u64 * self.config.segment_bytes + size > self.config.max_bytes {
            let name = spares.pop_front().ok_or(AuditUnavailable::Full)?;
            if let Err(error) = self.disk.remove(&path(name)) {
                tracing::warn!(%error, "audit spool: a spare segment cannot be removed");
            }
        }
        Ok(None)
    }

    /// Makes the next segment the present one.
    fn make(
        &mut self,
        spare: Option<PathBuf>,
        size: u64,
        header: &impl Fn(u64) -> SegmentHeader,
    ) -> io::Result<()> {
        // A number is used once, even if making its file fails half-way.
        let number = self.next_number;
        self.next_number += 1;
        let header = header(number);
        let head = segment::head(&header);
        let (file, id, handle) = self.lay_out(number, spare, &head, size).inspect_err(|_| {
            let _ = self.disk.remove(&segment_path(&self.config.dir, number));
        })?;
        let body = head.len() as u64;
        let mut segments = self.shared.segments();
        segments.insert(
            number,
            SegmentInfo {
                first_sequence: header.first_sequence,
                body,
                end: None,
                allocated: size,
                id,
                handle: Some(Arc::new(handle)),
            },
        );
        let held = segments.values().filter(|info| info.handle.is_some()).count();
        if held > HELD
            && let Some(oldest) = segments.values_mut().find(|info| info.handle.is_some())
        {
            oldest.handle = None;
        }
        self.active = Some(Active {
            file,
            id,
            number,
            offset: body,
            size,
        });
        self.shared.writable.store(true, Relaxed);
        Ok(())
    }

    fn lay_out(
        &self,
        number: u64,
        spare: Option<PathBuf>,
        head: &[u8],
        size: u64,
    ) -> io::Result<(D::File, FileId, File)> {
        let path = segment_path(&self.config.dir, number);
        let file = match spare {
            Some(spare) => {
                self.disk.rename(&spare, &path)?;
                let file = self.disk.open(&path)?;
                file.write_all_at(head, 0)?;
                file
            }
            None => {
                let file = self.disk.create(&path)?;
                file.write_all_at(head, 0)?;
                fill(&file, head.len() as u64, size)?;
                file
            }
        };
        file.sync_all()?;
        self.disk.sync_dir(&self.config.dir)?;
        self.shared.counters.syncs.fetch_add(1, Relaxed);
        let (id, handle) = (file.id()?, file.handle()?);
        Ok((file, id, handle))
    }

    /// Gives a file up: nothing is written to it again.
    fn seal_off(&mut self, fault: Fault) {
        let Some(active) = self.active.take() else { return };
        let number = active.number;
        // Nothing in it counts, so it may go; but the last segment stays, as it says where the chain stands.
        let empty = {
            let mut segments = self.shared.segments();
            let empty = segments.len() > 1
                && segments
                    .get(&number)
                    .is_some_and(|info| info.body == active.offset);
            if empty {
                segments.remove(&number);
            }
            empty
        };
        if !empty {
            self.close(number, active.offset, active.size);
        }
        match fault {
            Fault::Io(source) => {
                self.shared.counters.write_failures.fetch_add(1, Relaxed);
                tracing::error!(segment = number, error = %source, "audit spool: write or sync failed, segment given up");
                if empty {
                    // If it cannot be removed, the next segment's header says that it does not count.
                    let _ = self.disk.remove(&segment_path(&self.config.dir, number));
                }
            }
            Fault::Tampered(tampering) => self.tampered(number, tampering),
        }
    }

    fn close(&self, number: u64, end: u64, allocated: u64) {
        if let Some(info) = self.shared.segments().get_mut(&number) {
            info.end = Some(end);
            info.allocated = allocated;
        }
    }

    fn failed(&self) -> AuditUnavailable {
        self.shared.writable.store(false, Relaxed);
        AuditUnavailable::WriteFailed
    }

    /// Bytes that the present segment still takes.
    fn rest(&self) -> u64 {
        self.active
            .as_ref()
            .map_or(0, |active| active.size - active.offset)
    }

    /// Bytes that can still be recorded.
    pub(super) fn space(&self) -> u64 {
        let unallocated = self.config.max_bytes.saturating_sub(self.shared.bytes());
        // Space that no whole segment fits into cannot be used.
        let usable = unallocated / self.config.segment_bytes.max(1) * self.config.segment_bytes;
        usable + self.rest()
    }
}
