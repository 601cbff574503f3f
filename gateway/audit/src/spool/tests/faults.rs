//! A disk of which chosen operations fail.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::disk::{Disk, DiskFile, FileId, RealDisk};

/// An operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Open,
    Rename,
    Remove,
    SyncDir,
    /// Looking a name up.
    Lookup,
    /// Half of it arrives, as when a disk fills up.
    Write,
    SyncAll,
    SyncData,
    Truncate,
    /// `fstat`.
    Stat,
    Handle,
}

impl Call {
    pub(super) const ALL: [Self; 12] = [
        Self::Create,
        Self::Open,
        Self::Rename,
        Self::Remove,
        Self::SyncDir,
        Self::Lookup,
        Self::Write,
        Self::SyncAll,
        Self::SyncData,
        Self::Truncate,
        Self::Stat,
        Self::Handle,
    ];
}

/// How many of the next calls of each kind fail.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<[AtomicU64; Call::ALL.len()]>);

impl Faults {
    /// Has the next `times` calls fail.
    pub(super) fn fail(&self, call: Call, times: u64) {
        self.0[call as usize].store(times, Relaxed);
    }

    pub(super) fn break_for_good(&self, call: Call) {
        self.fail(call, u64::MAX);
    }

    pub(super) fn mend(&self) {
        for left in self.0.iter() {
            left.store(0, Relaxed);
        }
    }

    fn check(&self, call: Call) -> io::Result<()> {
        let left = &self.0[call as usize];
        match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(io::Error::other(format!("injected into {call:?}"))),
            Err(_) => Ok(()),
        }
    }
}

pub(super) struct FaultyFile(fs::File, Faults);

impl Disk for Faults {
    type File = FaultyFile;

    fn create(&self, path: &Path) -> io::Result<FaultyFile> {
        self.check(Call::Create)?;
        RealDisk.create(path).map(|file| FaultyFile(file, self.clone()))
    }

    fn open(&self, path: &Path) -> io::Result<FaultyFile> {
        self.check(Call::Open)?;
        RealDisk.open(path).map(|file| FaultyFile(file, self.clone()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Call::Rename)?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Call::SyncDir)?;
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Remove)?;
        RealDisk.remove(path)
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        self.check(Call::Lookup)?;
        RealDisk.id(path)
    }
}

impl DiskFile for FaultyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(e) = self.1.check(Call::Write) {
            DiskFile::write_all_at(&self.0, &bytes[..bytes.len() / 2], offset)?;
            return Err(e);
        }
        DiskFile::write_all_at(&self.0, bytes, offset)
    }

    fn sync_all(&self) -> io::Result<()> {
        // Whether bytes reach a disk is not what these tests look at.
        self.1.check(Call::SyncAll)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.check(Call::SyncData)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.1.check(Call::Truncate)?;
        self.0.truncate(size)
    }

    fn id(&self) -> io::Result<FileId> {
        self.1.check(Call::Stat)?;
        DiskFile::id(&self.0)
    }

    fn handle(&self) -> io::Result<fs::File> {
        self.1.check(Call::Handle)?;
        self.0.handle()
    }
}
