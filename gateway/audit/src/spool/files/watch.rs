//! Sees whether the spool's files are still in their places.
//!
//! A segment that somebody removed or exchanged takes acknowledged records with it at the next restart, and no write to it
//! fails. So the name of the present segment is looked up before each acknowledgement, and those of all segments once a second. What
//! was removed is still there behind its open handle: it is copied back under its name, where it is valid as it was, since checksums cover number and
//! offset. What lay in its place is kept beside it under the ending `.found`, as evidence. Each finding is logged, counted and recorded.
//!
//! Where the whole directory was moved away or exchanged, nothing is written until it is back: a new one would lack what else a spool
//! needs. Shipping goes on from the handles.
//!
//! Limits: the handles of the last 64 segments are kept. An older one that is removed before it is shipped is lost, and that is recorded.

use std::{io, os::unix::fs::FileExt, sync::atomic::Ordering::Relaxed};

use super::{Disk, DiskFile, Fault, FileId, Files, SpoolTampered, Tampering, segment_path};

/// Findings that wait to be recorded; more of them say nothing new.
const FOUND: usize = 64;
/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

impl<D: Disk> Files<D> {
    /// Looks at all segments, and puts back what is not in its place.
    pub(in super::super) fn watch(&mut self) {
        match self.home_moved() {
            Ok(false) => {}
            Ok(true) => {
                self.seal_off(Fault::Tampered(Tampering::DirectoryMoved));
                self.shared.writable.store(false, Relaxed);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "audit spool: the directory cannot be looked at");
                return;
            }
        }
        let segments: Vec<_> = {
            let segments = self.shared.segments();
            segments.iter().map(|(number, info)| (*number, info.id)).collect()
        };
        for (number, id) in segments {
            let tampering = match self.tampering(id, number) {
                Ok(Some(tampering)) => tampering,
                Ok(None) => {
                    self.gone.remove(&number);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(segment = number, %error, "audit spool: a segment cannot be looked at");
                    continue;
                }
            };
            if self.active.as_ref().is_some_and(|active| active.number == number) {
                self.seal_off(Fault::Tampered(tampering));
            } else if self.shared.segments().contains_key(&number) {
                self.tampered(number, tampering);
            }
            // Otherwise it was shipped and taken out of use meanwhile.
        }
    }

    /// What was found and is to be recorded.
    pub(in super::super) fn next_finding(&mut self) -> Option<SpoolTampered> {
        self.found.front().cloned()
    }

    pub(in super::super) fn finding_recorded(&mut self) {
        self.found.pop_front();
    }

    /// What became of a segment, if it is not what its name leads to.
    pub(super) fn tampering(&mut self, id: FileId, number: u64) -> io::Result<Option<Tampering>> {
        let found = self.disk.id(&segment_path(&self.config.dir, number))?;
        if found == Some(id) {
            return Ok(None);
        }
        if self.home_moved()? {
            return Ok(Some(Tampering::DirectoryMoved));
        }
        Ok(Some(match found {
            Some(_) => Tampering::SegmentReplaced,
            None => Tampering::SegmentRemoved,
        }))
    }

    /// Whether the spool's directory is another one, or none, by now.
    pub(super) fn home_moved(&mut self) -> io::Result<bool> {
        let moved = self.disk.id(&self.config.dir)? != Some(self.home);
        if moved && !self.moved {
            tracing::error!(
                dir = %self.config.dir.display(),
                "audit spool: somebody moved or replaced the directory; nothing is recorded until it is back"
            );
            self.note(SpoolTampered {
                what: Tampering::DirectoryMoved,
                segment: None,
                first_sequence: None,
                last_sequence: None,
                restored: false,
            });
        }
        self.moved = moved;
        Ok(moved)
    }

    /// Puts a segment back that is not in its place, and notes that it was not.
    pub(super) fn tampered(&mut self, number: u64, what: Tampering) {
        // That was noted when it was seen, and concerns all segments.
        if what == Tampering::DirectoryMoved {
            return;
        }
        let restored = self.restore(number).inspect_err(|error| {
            if !self.gone.contains(&number) {
                tracing::error!(segment = number, %error, "audit spool: a segment cannot be put back");
            }
        });
        let restored = restored.is_ok();
        if !restored && !self.gone.insert(number) {
            return;
        }
        tracing::error!(
            segment = number,
            what = what.name(),
            restored,
            "audit spool: somebody took a segment from its place"
        );
        let (first_sequence, last_sequence) = {
            let segments = self.shared.segments();
            let first = segments.get(&number).map(|info| info.first_sequence);
            let mut behind = segments.range(number + 1..);
            let last = behind.next().map(|(_, next)| next.first_sequence);
            let last = last.unwrap_or(self.shared.durable.borrow().link.sequence + 1);
            (first, last.checked_sub(1))
        };
        self.note(SpoolTampered {
            what,
            segment: Some(number),
            first_sequence,
            last_sequence: last_sequence.filter(|last| first_sequence.is_some_and(|first| *last >= first)),
            restored,
        });
        if restored {
            self.gone.remove(&number);
        }
    }

    fn note(&mut self, finding: SpoolTampered) {
        self.shared.counters.tampered.fetch_add(1, Relaxed);
        if self.found.len() < FOUND {
            self.found.push_back(finding);
        }
    }

    /// Writes what the handle of a closed segment still reads to a new file of the same name.
    fn restore(&mut self, number: u64) -> io::Result<()> {
        let Some(info) = self.shared.segments().get(&number).cloned() else {
            // Nothing in it was acknowledged.
            return Ok(());
        };
        let handle = info.handle.ok_or(io::ErrorKind::NotFound)?;
        let end = info.end.unwrap_or(info.body);
        let path = segment_path(&self.config.dir, number);
        let aside = path.with_extension("new");
        // One of an attempt that failed.
        let _ = self.disk.remove(&aside);
        let file = self.disk.create(&aside)?;
        let mut piece = vec![0; PIECE];
        let mut offset = 0;
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
            handle.read_exact_at(&mut piece[..length], offset)?;
            file.write_all_at(&piece[..length], offset)?;
            offset += length as u64;
        }
        file.sync_all()?;
        if self.disk.id(&path)?.is_some() {
            self.disk.rename(&path, &path.with_extension("found"))?;
        }
        self.disk.rename(&aside, &path)?;
        self.disk.sync_dir(&self.config.dir)?;
        let (id, handle) = (file.id()?, file.handle()?);
        if let Some(info) = self.shared.segments().get_mut(&number) {
            (info.id, info.allocated) = (id, end);
            info.handle = Some(handle.into());
        }
        Ok(())
    }
}
