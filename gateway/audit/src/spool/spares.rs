//! Segment files kept to be used again, so that the writer finds its space reserved and a disk that fills up does not reach it.
//!
//! A spare has a name that no segment has, and holds nothing but zeros: its old content was shipped, and is overwritten and synced
//! before it is a spare. When it becomes a segment it first gets that segment's name, then a header. So whatever a crash leaves of it
//! is a file without a header, which does not count, or a spare, which the next start removes unread.
//!
//! Limits: 4 spares, each of the size of a segment; segments that are larger are removed. They take of the spool's space, and
//! go when it is needed.
//!
//! On failure: the file is removed instead, and the next segment is made from nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

use super::{Shared, segment_path};
use crate::disk::{Disk, DiskFile, fill};

/// Most that are kept.
const SPARES: usize = 4;

pub(crate) fn spare_path(dir: &Path, name: u64) -> PathBuf {
    dir.join(format!("{name:016x}.spare"))
}

/// Takes a segment out of use of which the store has everything: makes a spare of it, or removes it.
pub(crate) fn retire(disk: &impl Disk, shared: &Shared, number: u64) -> io::Result<()> {
    let Some(info) = shared.segments().remove(&number) else {
        return Ok(());
    };
    let path = segment_path(&shared.dir, number);
    if info.allocated > shared.segment_bytes || shared.spares().len() >= SPARES {
        return disk.remove(&path);
    }
    let name = shared.spare_names.fetch_add(1, Relaxed);
    let spare = spare_path(&shared.dir, name);
    let emptied = disk.rename(&path, &spare).and_then(|()| {
        // The new name has to be durable before the content goes: under the old one, what is left would look damaged.
        disk.sync_dir(&shared.dir)?;
        let file = disk.open(&spare)?;
        fill(&file, 0, shared.segment_bytes)?;
        file.sync_all()
    });
    match emptied {
        Ok(()) => {
            shared.spares().push_back(name);
            Ok(())
        }
        Err(source) => {
            // One of them is its name.
            disk.remove(&spare).or_else(|_| disk.remove(&path))?;
            Err(source)
        }
    }
}
