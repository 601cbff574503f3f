//! Opens a spool directory and works out where its chain stands.
//!
//! A torn last write is cut off: it was never acknowledged. Everything else must be whole and linked, from the
//! first segment to the last and up to what the store is known to have; otherwise the spool does not open.
//!
//! On failure: [`SpoolError`], with the file and the place. Nothing is changed on disk then, so the directory remains as
//! evidence; moving it away starts a new chain.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use cordon_domain::ExchangeId;

use super::{CursorFile, Link, SegmentInfo, cursor_path, files::HELD, segment_path};
use crate::{
    disk::{FileId, replace_file},
    record::{Entry, EntryHash, TreeName, WriterId},
    segment::{MAX_SEQUENCE, Segment, SegmentHeader, Tail, Unreadable},
};

const HEADER_PART: u64 = 64 << 10;

/// The spool directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file operation failed.
    #[error("audit spool {path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("audit spool {path} is in use by another process", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Acknowledged records are damaged.
    #[error("audit spool {path} is damaged at byte {offset}: {what}; move the spool directory away to start a new chain, and keep it as evidence", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Records that were acknowledged are gone.
    #[error("audit spool {path} lacks records {first} to {last}; move the spool directory away to start a new chain, and keep it as evidence", path = path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// First sequence that is gone.
        first: u64,
        /// Last sequence that is gone.
        last: u64,
    },
    /// A small file of the spool holds something else.
    #[error("audit spool file {path} is not readable as such", path = path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
    },
}

/// Where a spool stands.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) lock: File,
    pub(crate) writer: WriterId,
    pub(crate) head: Link,
    pub(crate) shipped: Link,
    /// Exchanges without a final state, with the tree that it belongs into.
    pub(crate) open: BTreeMap<ExchangeId, TreeName>,
    pub(crate) segments: BTreeMap<u64, SegmentInfo>,
    pub(crate) next_number: u64,
    /// Bytes of a torn write that were cut off.
    pub(crate) torn: Option<u64>,
}

pub(crate) fn recover(dir: &Path) -> Result<Recovered, SpoolError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SpoolError::Io { path, source }
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(at(dir))?;
    let lock = lock(dir)?;
    let numbers = segment_numbers(dir)?;
    let cursor = read_cursor(dir)?;
    let writer = match read_writer(dir)? {
        Some(writer) => writer,
        // The id is made durable before the first segment, so segments without one are not ours to guess about.
        None if numbers.is_empty() && cursor.is_none() => {
            let path = dir.join("writer");
            let writer = WriterId::new();
            replace_file(&path, format!("{writer}\n").as_bytes()).map_err(at(&path))?;
            writer
        }
        None => {
            return Err(SpoolError::Garbled {
                path: dir.join("writer"),
            });
        }
    };
    if cursor.is_some_and(|c| c.writer != writer) {
        return Err(SpoolError::Garbled {
            path: cursor_path(dir),
        });
    }
    let shipped = cursor.map_or(Link::START, |c| c.shipped);

    let mut walk = Walk {
        dir,
        writer,
        shipped,
        head: None,
        open: BTreeMap::new(),
        segments: BTreeMap::new(),
        torn: None,
    };
    // One segment is in memory at a time: a spool that waited for its store may hold gigabytes.
    let starts = walk.starts(&numbers)?;
    for (index, (number, _)) in starts.iter().enumerate() {
        let superseded_from = starts.get(index + 1).map(|(_, first_sequence)| *first_sequence);
        walk.segment(*number, superseded_from)?;
    }
    let head = walk.head.unwrap_or(Link::START);
    if head.sequence < shipped.sequence {
        return Err(SpoolError::Missing {
            path: dir.to_owned(),
            first: head.sequence + 1,
            last: shipped.sequence,
        });
    }
    let (open, mut segments, torn) = (walk.open, walk.segments, walk.torn);
    finish(dir, &numbers, &mut segments, torn.map(|t| t.0))?;
    Ok(Recovered {
        lock,
        writer,
        head,
        shipped,
        open,
        next_number: numbers.last().map_or(1, |n| n + 1),
        segments,
        torn: torn.map(|t| t.1),
    })
}

struct Walk<'d> {
    dir: &'d Path,
    writer: WriterId,
    shipped: Link,
    head: Option<Link>,
    open: BTreeMap<ExchangeId, TreeName>,
    segments: BTreeMap<u64, SegmentInfo>,
    /// Segment and bytes.
    torn: Option<(u64, u64)>,
}

impl Walk<'_> {
    /// The segments that were finished, with the first sequence of each.
    fn starts(&self, numbers: &[u64]) -> Result<Vec<(u64, u64)>, SpoolError> {
        let mut starts = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let path = segment_path(self.dir, number);
            match read_header(&path, number).map_err(|source| SpoolError::Io { path, source })? {
                Ok(header) if header.writer == self.writer => starts.push((number, header.first_sequence)),
                Ok(_) => return Err(self.damaged(number, 0, "it belongs to another spool")),
                Err(Unreadable::Unfinished) => {}
                Err(Unreadable::Damaged { offset }) => {
                    return Err(self.damaged(number, offset, "the header does not read"));
                }
            }
        }
        Ok(starts)
    }

    fn damaged(&self, number: u64, offset: u64, what: &'static str) -> SpoolError {
        SpoolError::Damaged {
            path: segment_path(self.dir, number),
            offset,
            what,
        }
    }

    fn segment(&mut self, number: u64, superseded_from: Option<u64>) -> Result<(), SpoolError> {
        let path = segment_path(self.dir, number);
        let read = || {
            let mut file = File::open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((bytes, FileId::of(&file.metadata()?)))
        };
        let (bytes, id) = read().map_err(|source| SpoolError::Io {
            path: path.clone(),
            source,
        })?;
        let segment = Segment::parse(&bytes, number)
            .map_err(|_| self.damaged(number, 0, "the header does not read"))?;
        let header = &segment.header;
        let start = Link {
            sequence: header.first_sequence.saturating_sub(1),
            hash: header.previous_hash,
        };
        match self.head {
            // Segments are removed only after the store has them, and the cursor says so.
            None if start.sequence > self.shipped.sequence => {
                return Err(SpoolError::Missing {
                    path: self.dir.to_owned(),
                    first: self.shipped.sequence + 1,
                    last: start.sequence,
                });
            }
            None if start.sequence == self.shipped.sequence && start.hash != self.shipped.hash => {
                return Err(self.damaged(number, 0, "it does not continue what was shipped"));
            }
            None => self.open.clone_from(&header.open),
            // What is between them was shipped. A crash can bring back a segment that was removed before another one was.
            Some(head) if head.sequence < start.sequence && start.sequence <= self.shipped.sequence => {
                self.open.clone_from(&header.open);
            }
            Some(head) if head.sequence < start.sequence => {
                return Err(SpoolError::Missing {
                    path: self.dir.to_owned(),
                    first: head.sequence + 1,
                    last: start.sequence,
                });
            }
            Some(head) if head != start => {
                return Err(self.damaged(number, 0, "it does not continue the chain"));
            }
            Some(_) => {}
        }
        let mut head = start;
        let mut end = segment.body;
        for whole in segment.entries() {
            if superseded_from.is_some_and(|from| head.sequence + 1 >= from) {
                break;
            }
            let entry = Entry::parse(whole.record)
                .map_err(|_| self.damaged(number, end as u64, "a record does not read"))?;
            if entry.writer != self.writer
                || entry.sequence != head.sequence + 1
                || entry.previous_hash != head.hash
            {
                return Err(self.damaged(number, end as u64, "a record does not continue the chain"));
            }
            head = Link {
                sequence: entry.sequence,
                hash: EntryHash::of(whole.record),
            };
            if head.sequence == self.shipped.sequence && head.hash != self.shipped.hash {
                return Err(self.damaged(number, end as u64, "a record is not the one that was shipped"));
            }
            if let Some(exchange) = entry.body.opens() {
                self.open.insert(exchange, entry.tree());
            }
            if let Some(exchange) = entry.body.closes() {
                self.open.remove(&exchange);
            }
            end = whole.end;
        }
        if superseded_from.is_none() {
            match segment.tail(end) {
                Ok(Tail::Clean) => {}
                Ok(Tail::Torn { bytes }) => self.torn = Some((number, bytes)),
                Err(_) => return Err(self.damaged(number, end as u64, "acknowledged records do not read")),
            }
        }
        self.head = Some(head);
        let end = end as u64;
        self.segments.insert(
            number,
            SegmentInfo {
                first_sequence: header.first_sequence,
                body: segment.body as u64,
                end: Some(end),
                allocated: end,
                id,
                handle: None,
            },
        );
        Ok(())
    }
}

/// Changes the disk, now that all of it was found whole: cuts the newest segment behind its last record, and removes
/// segments that were never finished, spares, and copies that were under way. Keeps handles of the newest segments.
fn finish(
    dir: &Path,
    numbers: &[u64],
    segments: &mut BTreeMap<u64, SegmentInfo>,
    torn: Option<u64>,
) -> Result<(), SpoolError> {
    for path in leftovers(dir)? {
        fs::remove_file(&path).map_err(|source| SpoolError::Io { path, source })?;
    }
    let unheld = numbers.len().saturating_sub(HELD);
    for (index, number) in numbers.iter().enumerate() {
        let path = segment_path(dir, *number);
        let done = match segments.get_mut(number) {
            None => fs::remove_file(&path),
            Some(info) => OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .and_then(|file| {
                    file.set_len(info.end.unwrap_or(info.allocated))?;
                    if torn == Some(*number) {
                        file.sync_all()?;
                    }
                    info.handle = (index >= unheld).then(|| file.into());
                    Ok(())
                }),
        };
        done.map_err(|source| SpoolError::Io { path, source })?;
    }
    Ok(())
}

/// Files that hold nothing which counts.
fn leftovers(dir: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let io = |source| SpoolError::Io {
        path: dir.to_owned(),
        source,
    };
    let is_one = |name: &str| {
        let number = name.strip_suffix(".spare").or_else(|| name.strip_suffix(".new"));
        number.is_some_and(|n| n.len() == 16 && u64::from_str_radix(n, 16).is_ok())
    };
    let mut found = Vec::new();
    for item in fs::read_dir(dir).map_err(io)? {
        let item = item.map_err(io)?;
        if item.file_name().to_str().is_some_and(is_one) {
            found.push(item.path());
        }
    }
    Ok(found)
}

/// The header of a segment. Most fit the first part of the file, so the rest is read only when they do not.
fn read_header(path: &Path, number: u64) -> io::Result<Result<SegmentHeader, Unreadable>> {
    let mut part = Vec::new();
    File::open(path)?.take(HEADER_PART).read_to_end(&mut part)?;
    if let Ok(segment) = Segment::parse(&part, number) {
        return Ok(Ok(segment.header));
    }
    let whole = fs::read(path)?;
    Ok(Segment::parse(&whole, number).map(|segment| segment.header))
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let io = |source| SpoolError::Io {
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn segment_numbers(dir: &Path) -> Result<Vec<u64>, SpoolError> {
    let io = |source| SpoolError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut numbers = Vec::new();
    for item in fs::read_dir(dir).map_err(io)? {
        let name = item.map_err(io)?.file_name();
        let number = name
            .to_str()
            .and_then(|n| n.strip_suffix(".seg"))
            .filter(|n| n.len() == 16);
        numbers.extend(number.and_then(|n| u64::from_str_radix(n, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_writer(dir: &Path) -> Result<Option<WriterId>, SpoolError> {
    read_small(&dir.join("writer"), |text| text.trim_end().parse().ok())
}

/// The `cursor` file of a spool directory, without opening the spool.
pub(crate) fn read_cursor(dir: &Path) -> Result<Option<CursorFile>, SpoolError> {
    let whole = |cursor: &CursorFile| cursor.shipped.sequence <= MAX_SEQUENCE;
    read_small(&cursor_path(dir), |text| {
        serde_json::from_str(text).ok().filter(whole)
    })
}

fn read_small<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, SpoolError> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = std::str::from_utf8(&bytes).ok().and_then(parse);
            value.map(Some).ok_or_else(|| SpoolError::Garbled {
                path: path.to_owned(),
            })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SpoolError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}
