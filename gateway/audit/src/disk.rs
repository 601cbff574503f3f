//! The few file operations that the spool's writer makes, behind a trait, so that tests can make each of them fail.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

/// Which file a name or a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A place for segment files.
pub(crate) trait Disk: Send + 'static {
    type File: DiskFile;

    /// A new, empty file; an error if there is one of that name.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// A file that is there, to be read and written.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The file or directory of that name; none if there is nothing.
    fn id(&self, path: &Path) -> io::Result<Option<FileId>>;
}

/// One open segment file.
pub(crate) trait DiskFile: Send {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes data and size durable.
    fn sync_all(&self) -> io::Result<()>;

    /// Makes data durable. The size does not change after a segment is made.
    fn sync_data(&self) -> io::Result<()>;

    fn truncate(&self, size: u64) -> io::Result<()>;

    fn id(&self) -> io::Result<FileId>;

    /// Another handle for the same file. It reads whatever becomes of the file's name.
    fn handle(&self) -> io::Result<File>;
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn id(&self, path: &Path) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(FileId::of(&metadata))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl DiskFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn id(&self) -> io::Result<FileId> {
        self.metadata().map(|metadata| FileId::of(&metadata))
    }

    fn handle(&self) -> io::Result<File> {
        self.try_clone()
    }
}

/// Fills a file with zeros between two offsets. Zeros reserve the space, so that a full disk shows here and a sync need not
/// write the file's size.
pub(crate) fn fill(file: &impl DiskFile, from: u64, to: u64) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let zeros = vec![0; PIECE];
    let mut offset = from;
    while offset < to {
        let piece = usize::try_from(to - offset).unwrap_or(PIECE).min(PIECE);
        file.write_all_at(&zeros[..piece], offset)?;
        offset += piece as u64;
    }
    Ok(())
}

/// Replaces a small file as a whole: either the old or the new content is there after a crash.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;

    let aside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
