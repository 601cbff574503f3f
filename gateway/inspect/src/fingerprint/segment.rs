//! One immutable file of an index.
//!
//! Little-endian, in this order: a header of [`HEADER`] bytes, postings of 8 bytes sorted by hash (32 bits of the
//! hash, then the document or row), for records the cells of each row (6 bytes each), a table of where each
//! 16-bit prefix begins among the postings, for documents how many prints each has, the sealed names, for records a
//! Bloom filter. Postings and rows stay on disk and are read by position, through the system's page cache: a
//! memory map would take `unsafe`, and a file that is cut while it is mapped ends the process. The rest is loaded.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use fastbloom::BloomFilter;

use super::{
    FingerprintError,
    key::FingerprintKey,
    sorter::{Posting, Sorted, Source},
};

const MAGIC: &[u8; 8] = b"CORDONFP";
const VERSION: u32 = 1;
const HEADER: usize = 80;
const PREFIXES: usize = 1 << 16;
const POSTING: u64 = 8;
/// Bytes of one cell in a row.
pub(super) const CELL: usize = 6;
/// Bits of a hash that are kept.
const KEPT: u64 = !0xFFFF;
/// Files whose postings and rows are no larger are held in memory and checked whole when they are opened.
const IN_MEMORY: u64 = 64 << 20;
/// Postings that are read at a time.
const PAGE: u64 = 256;

/// Prints of one document, by channel.
pub(super) type Counts = [u32; 2];

/// What becomes a segment.
pub(super) struct Draft {
    /// Of each document, how many prints it has; empty for records.
    pub(super) counts: Vec<Counts>,
    /// One name a line.
    pub(super) names: String,
    pub(super) postings: Sorted,
    /// The most postings of one hash.
    pub(super) most: usize,
    /// Whether a hash with more of them keeps the first, or none.
    pub(super) keeps_first: bool,
    pub(super) rows: Option<Rows>,
}

/// The rows of records.
pub(super) struct Rows {
    pub(super) columns: u8,
    pub(super) count: u32,
    /// [`CELL`] bytes a cell, rows one after another.
    pub(super) cells: File,
    pub(super) filter: BloomFilter,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Header {
    columns: u8,
    documents: u32,
    rows: u32,
    filter_hashes: u32,
    postings: u64,
    names: u64,
    filter_words: u64,
    /// CRC-32 of postings and rows, and of all that follows them.
    checks: [u32; 2],
}

impl Header {
    fn bytes(&self, key: &FingerprintKey) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(u32::from(self.columns).to_le_bytes());
        for number in [
            self.documents,
            self.rows,
            self.filter_hashes,
            self.checks[0],
            self.checks[1],
            0,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.postings, self.names, self.filter_words] {
            bytes.extend(number.to_le_bytes());
        }
        let check = key.digest(&[&bytes]).to_le_bytes();
        bytes.extend(check);
        bytes.try_into().expect("the fields fill the header")
    }

    /// The header, if it was written under this key.
    fn parse(bytes: &[u8; HEADER], key: &FingerprintKey) -> Result<Self, &'static str> {
        if &bytes[..8] != MAGIC {
            return Err("it is no file of fingerprints");
        }
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if short(8) != VERSION {
            return Err("another version of Cordon wrote it");
        }
        let header = Self {
            columns: short(12).try_into().map_err(|_| "its header is damaged")?,
            documents: short(16),
            rows: short(20),
            filter_hashes: short(24),
            checks: [short(28), short(32)],
            postings: long(40),
            names: long(48),
            filter_words: long(56),
        };
        if header.bytes(key) != *bytes {
            return Err("it was made with another installation key, or its header is damaged");
        }
        Ok(header)
    }

    fn cells(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * CELL as u64
    }

    /// Where the part that is loaded begins.
    fn loaded_from(&self) -> u64 {
        HEADER as u64 + self.postings * POSTING + self.cells()
    }

    fn loaded(&self) -> u64 {
        (PREFIXES as u64 + 1) * 4 + u64::from(self.documents) * 8 + self.names + self.filter_words * 8
    }
}

/// Writes a segment and makes it durable.
pub(super) fn write(path: &Path, key: &FingerprintKey, mut draft: Draft) -> Result<u64, FingerprintError> {
    let failed = |source| FingerprintError::io(path, source);
    let file = File::create_new(path).map_err(failed)?;
    let mut out = Summed::new(BufWriter::with_capacity(1 << 20, file));
    let written = (|| -> io::Result<Header> {
        out.write_all(&[0; HEADER])?;
        out.restart();
        let mut table = vec![0_u32; PREFIXES + 1];
        let mut postings = 0_u64;
        let mut group: Vec<Posting> = Vec::new();
        loop {
            let next = draft.postings.next()?;
            let same = |(hash, _): &Posting| {
                group
                    .first()
                    .is_some_and(|(first, _)| first & KEPT == hash & KEPT)
            };
            if let Some(next) = next
                && same(&next)
            {
                // One more than may stand tells that there are too many.
                if group.len() <= draft.most {
                    group.push(next);
                }
                continue;
            }
            if group.len() > draft.most {
                group.truncate(if draft.keeps_first { draft.most } else { 0 });
            }
            for (hash, of) in group.drain(..) {
                table[(hash >> 48) as usize + 1] += 1;
                out.write_all(&((hash >> 16) as u32).to_le_bytes())?;
                out.write_all(&of.to_le_bytes())?;
                postings += 1;
            }
            match next {
                Some(next) => group.push(next),
                None => break,
            }
        }
        if u32::try_from(postings).is_err() {
            return Err(io::Error::other("a segment holds 4 billion fingerprints at most"));
        }
        if let Some(rows) = &mut draft.rows {
            rows.cells.seek(SeekFrom::Start(0))?;
            io::copy(&mut rows.cells, &mut out)?;
        }
        let body = out.restart();
        for prefix in 0..PREFIXES {
            table[prefix + 1] += table[prefix];
        }
        for start in &table {
            out.write_all(&start.to_le_bytes())?;
        }
        for counts in &draft.counts {
            for count in counts {
                out.write_all(&count.to_le_bytes())?;
            }
        }
        let names = key.seal(MAGIC, draft.names.into_bytes());
        out.write_all(&names)?;
        let filter = draft.rows.as_ref().map(|rows| &rows.filter);
        for word in filter.map_or(&[][..], BloomFilter::as_slice) {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Header {
            columns: draft.rows.as_ref().map_or(0, |rows| rows.columns),
            documents: u32::try_from(draft.counts.len()).map_err(io::Error::other)?,
            rows: draft.rows.as_ref().map_or(0, |rows| rows.count),
            filter_hashes: filter.map_or(0, BloomFilter::num_hashes),
            postings,
            names: names.len() as u64,
            filter_words: filter.map_or(0, |filter| filter.as_slice().len() as u64),
            checks: [body, out.restart()],
        })
    })();
    let finished = written.and_then(|header| {
        let mut file = out.into_inner()?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header.bytes(key))?;
        file.sync_all()?;
        Ok(header.postings)
    });
    finished.map_err(|source| {
        // Half a segment is of no use to anybody; what stands is the first error.
        let _ = std::fs::remove_file(path);
        failed(source)
    })
}

/// Counts the CRC-32 of what passes.
struct Summed {
    out: BufWriter<File>,
    sum: crc32fast::Hasher,
}

impl Summed {
    fn new(out: BufWriter<File>) -> Self {
        Self {
            out,
            sum: crc32fast::Hasher::new(),
        }
    }

    /// The sum so far; the next one begins here.
    fn restart(&mut self) -> u32 {
        std::mem::take(&mut self.sum).finalize()
    }

    fn into_inner(self) -> io::Result<File> {
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where postings and rows are read from.
enum Body {
    Memory(Vec<u8>),
    File(File),
}

/// An open segment.
pub(super) struct Segment {
    path: PathBuf,
    header: Header,
    body: Body,
    table: Vec<u32>,
    counts: Vec<Counts>,
    names: String,
    /// Where each name begins.
    starts: Vec<u32>,
    filter: Option<BloomFilter>,
}

impl Segment {
    pub(super) fn open(path: &Path, key: &FingerprintKey) -> Result<Self, FingerprintError> {
        let failed = |source| FingerprintError::io(path, source);
        let damaged = |what| FingerprintError::Damaged {
            path: path.to_owned(),
            what,
        };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut head = [0; HEADER];
        if length < HEADER as u64 {
            return Err(damaged("it is cut off"));
        }
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        let header = Header::parse(&head, key).map_err(damaged)?;
        if length != header.loaded_from() + header.loaded() {
            return Err(damaged("it does not have the length that its header tells"));
        }
        let size =
            |bytes: u64| usize::try_from(bytes).map_err(|_| damaged("it is too large for this machine"));
        let mut loaded = vec![0; size(header.loaded())?];
        file.read_exact_at(&mut loaded, header.loaded_from())
            .map_err(failed)?;
        if crc32fast::hash(&loaded) != header.checks[1] {
            return Err(damaged("its checksum is wrong"));
        }
        let (table, rest) = loaded.split_at((PREFIXES + 1) * 4);
        let (counts, rest) = rest.split_at(header.documents as usize * 8);
        let (names, filter) = rest.split_at(size(header.names)?);
        let short = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let table: Vec<u32> = table.chunks_exact(4).map(short).collect();
        if !table.is_sorted() || u64::from(table[PREFIXES]) != header.postings {
            return Err(damaged("its table is wrong"));
        }
        let names = key
            .open(MAGIC, names)
            .and_then(|names| String::from_utf8(names).ok())
            .ok_or_else(|| damaged("the names of its files were altered"))?;
        let starts = std::iter::once(0)
            .chain(memchr::memchr_iter(b'\n', names.as_bytes()).map(|at| at as u32 + 1))
            .collect();
        let filter: Vec<u64> = filter
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect();
        let filter = (!filter.is_empty()).then(|| {
            BloomFilter::from_vec(filter)
                .seed(&0)
                .hashes(header.filter_hashes.clamp(1, 64))
        });
        let body = if header.loaded_from() <= IN_MEMORY {
            let mut bytes = vec![0; size(header.loaded_from())?];
            file.read_exact_at(&mut bytes, 0).map_err(failed)?;
            if crc32fast::hash(&bytes[HEADER..]) != header.checks[0] {
                return Err(damaged("its checksum is wrong"));
            }
            Body::Memory(bytes)
        } else {
            Body::File(file)
        };
        Ok(Self {
            path: path.to_owned(),
            counts: counts
                .chunks_exact(8)
                .map(|both| [short(&both[..4]), short(&both[4..])])
                .collect(),
            header,
            body,
            table,
            names,
            starts,
            filter,
        })
    }

    /// Reads all of it and compares the checksums.
    pub(super) fn verify(&self) -> Result<(), FingerprintError> {
        let Body::File(file) = &self.body else {
            return Ok(());
        };
        let mut sum = crc32fast::Hasher::new();
        let mut page = vec![0; 1 << 20];
        let (mut at, end) = (HEADER as u64, self.header.loaded_from());
        while at < end {
            let part = page.len().min((end - at) as usize);
            file.read_exact_at(&mut page[..part], at)
                .map_err(|source| FingerprintError::io(&self.path, source))?;
            sum.update(&page[..part]);
            at += part as u64;
        }
        if sum.finalize() == self.header.checks[0] {
            return Ok(());
        }
        Err(FingerprintError::Damaged {
            path: self.path.clone(),
            what: "its checksum is wrong",
        })
    }

    pub(super) fn counts(&self) -> &[Counts] {
        &self.counts
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.header.loaded_from() + self.header.loaded()
    }

    pub(super) fn postings(&self) -> u64 {
        self.header.postings
    }

    pub(super) fn rows(&self) -> u32 {
        self.header.rows
    }

    pub(super) fn columns(&self) -> usize {
        usize::from(self.header.columns)
    }

    /// The line of a document.
    pub(super) fn name(&self, document: u32) -> &str {
        let at = document as usize;
        let start = self
            .starts
            .get(at)
            .map_or(self.names.len(), |start| *start as usize);
        let end = self
            .starts
            .get(at + 1)
            .map_or(self.names.len(), |next| *next as usize - 1);
        self.names.get(start..end).unwrap_or_default()
    }

    /// Whether a hash may be in the filter.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.contains_hash(hash & KEPT))
    }

    /// The documents or rows of a hash. The hashes are spread evenly, so the place within a prefix is guessed
    /// and one page is read around it.
    pub(super) fn lookup(&self, hash: u64, found: &mut Vec<u32>) -> io::Result<()> {
        found.clear();
        let prefix = (hash >> 48) as usize;
        let (first, end) = (u64::from(self.table[prefix]), u64::from(self.table[prefix + 1]));
        let wanted = (hash >> 16) as u32;
        let guess = first + ((u128::from(end - first) * u128::from(wanted)) >> 32) as u64;
        let mut from = guess.saturating_sub(PAGE / 2).max(first);
        let mut to = (from + PAGE).min(end);
        let mut read = Vec::new();
        loop {
            if from >= to {
                return Ok(());
            }
            let page = self.read(HEADER as u64 + from * POSTING, (to - from) * POSTING, &mut read)?;
            let remainder =
                |at: usize| u32::from_le_bytes(page[at * 8..at * 8 + 4].try_into().expect("four bytes"));
            let count = page.len() / 8;
            let (low, high) = (remainder(0), remainder(count - 1));
            // The wanted ones may begin before this page, or go on behind it.
            if low >= wanted && from > first {
                from = from.saturating_sub(PAGE).max(first);
                continue;
            }
            if high <= wanted && to < end {
                to = (to + PAGE).min(end);
                continue;
            }
            let mut at = partition(count, |at| remainder(at) < wanted);
            while at < count && remainder(at) == wanted {
                found.push(u32::from_le_bytes(
                    page[at * 8 + 4..at * 8 + 8].try_into().expect("four bytes"),
                ));
                at += 1;
            }
            return Ok(());
        }
    }

    /// The cells of a row.
    pub(super) fn row(&self, row: u32, cells: &mut Vec<u64>) -> io::Result<()> {
        cells.clear();
        if row >= self.header.rows {
            return Ok(());
        }
        let width = self.columns() * CELL;
        let start = HEADER as u64 + self.header.postings * POSTING + u64::from(row) * width as u64;
        let mut bytes = Vec::new();
        let row = self.read(start, width as u64, &mut bytes)?;
        cells.extend(row.chunks_exact(CELL).map(cell));
        Ok(())
    }

    /// Bytes of the file: where they are in memory, or read into the vector.
    fn read<'a>(&'a self, at: u64, length: u64, read: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        match &self.body {
            Body::Memory(all) => {
                let at = usize::try_from(at).map_err(io::Error::other)?;
                Ok(all.get(at..at + length).ok_or(io::ErrorKind::UnexpectedEof)?)
            }
            Body::File(file) => {
                read.resize(length, 0);
                file.read_exact_at(read, at)?;
                Ok(read)
            }
        }
    }

    /// All postings in order, of those documents that have a new number.
    pub(super) fn renumbered(self: Arc<Self>, numbers: Vec<Option<u32>>) -> Source {
        let mut at = 0;
        let mut page: Vec<u8> = Vec::new();
        let mut within = 0;
        let mut prefix = 0;
        Source::Iter(Box::new(std::iter::from_fn(move || {
            loop {
                if at >= self.header.postings {
                    return None;
                }
                if within * 8 >= page.len() {
                    let count = (self.header.postings - at).min(PAGE * 64);
                    let mut fresh = Vec::new();
                    match self.read(HEADER as u64 + at * POSTING, count * POSTING, &mut fresh) {
                        Ok(read) => {
                            page.clear();
                            page.extend_from_slice(read);
                        }
                        Err(error) => {
                            at = self.header.postings;
                            return Some(Err(error));
                        }
                    }
                    within = 0;
                }
                while u64::from(self.table[prefix + 1]) <= at {
                    prefix += 1;
                }
                let (remainder, of) = page[within * 8..within * 8 + 8].split_at(4);
                let remainder = u32::from_le_bytes(remainder.try_into().expect("four bytes"));
                let of = u32::from_le_bytes(of.try_into().expect("four bytes"));
                within += 1;
                at += 1;
                if let Some(Some(number)) = numbers.get(of as usize) {
                    return Some(Ok(((prefix as u64) << 48 | u64::from(remainder) << 16, *number)));
                }
            }
        })))
    }
}

/// The bits of a hash that a cell keeps.
pub(super) fn kept(hash: u64) -> u64 {
    hash & KEPT
}

/// The bytes of a cell.
pub(super) fn cell_bytes(hash: u64) -> [u8; CELL] {
    std::array::from_fn(|at| (hash >> (16 + at * 8)) as u8)
}

pub(super) fn cell(bytes: &[u8]) -> u64 {
    (0..)
        .zip(bytes)
        .map(|(at, byte)| u64::from(*byte) << (16 + at * 8))
        .sum()
}

fn partition(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{gram::mixed, sorter::Sorter};

    fn key() -> FingerprintKey {
        FingerprintKey::from_bytes(&[7; 32])
    }

    fn draft(hashes: u64) -> Draft {
        let mut sorter = Sorter::default();
        for at in 0..hashes {
            sorter.push((mixed(at + 1), (at % 3) as u32)).unwrap();
            // Everybody has this one, which is more than may stand.
            sorter.push((mixed(0xAAAA_BBBB), (at % 3000) as u32)).unwrap();
        }
        Draft {
            counts: vec![[1, 2], [3, 4], [5, 6]],
            names: "a\nb/c.txt\nd".to_owned(),
            postings: sorter.sorted().unwrap(),
            most: 16,
            keeps_first: true,
            rows: None,
        }
    }

    #[test]
    fn what_is_written_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.seg");
        write(&path, &key(), draft(40_000)).unwrap();
        let segment = Segment::open(&path, &key()).unwrap();
        let mut found = Vec::new();
        for at in 0..40_000 {
            segment.lookup(mixed(at + 1), &mut found).unwrap();
            assert_eq!(found, [(at % 3) as u32], "{at}");
        }
        segment.lookup(mixed(0xAAAA_BBBB), &mut found).unwrap();
        assert_eq!(found, (0..16).collect::<Vec<_>>());
        for at in 50_000..60_000 {
            segment.lookup(mixed(at), &mut found).unwrap();
            assert!(found.is_empty());
        }
        assert_eq!(
            (segment.name(0), segment.name(1), segment.name(2), segment.name(3)),
            ("a", "b/c.txt", "d", "")
        );
        assert_eq!(segment.counts(), [[1, 2], [3, 4], [5, 6]]);
        segment.verify().unwrap();
    }

    #[test]
    fn damage_and_other_keys_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.seg");
        write(&path, &key(), draft(100)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        // Neither names nor hashes without the key can be read from the file.
        assert!(!whole.windows(5).any(|part| part == b"c.txt"));
        let told = Segment::open(&path, &FingerprintKey::from_bytes(&[8; 32]))
            .err()
            .unwrap();
        assert!(told.to_string().contains("another installation key"), "{told}");
        for at in [
            0,
            9,
            13,
            41,
            HEADER - 1,
            HEADER,
            HEADER + 500,
            whole.len() / 2,
            whole.len() - 1,
        ] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            assert!(Segment::open(&path, &key()).is_err(), "{at}");
        }
        for length in [0, 10, HEADER, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Segment::open(&path, &key()).is_err(), "{length}");
        }
    }

    #[test]
    fn documents_can_be_left_out_and_renumbered() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("1.seg"), dir.path().join("2.seg"));
        write(&old, &key(), draft(1000)).unwrap();
        let segment = Arc::new(Segment::open(&old, &key()).unwrap());
        let kept = Draft {
            counts: vec![[5, 6]],
            names: "d".to_owned(),
            postings: Sorted::of(vec![segment.renumbered(vec![None, None, Some(0)])]).unwrap(),
            most: 16,
            keeps_first: true,
            rows: None,
        };
        write(&new, &key(), kept).unwrap();
        let segment = Segment::open(&new, &key()).unwrap();
        let mut found = Vec::new();
        for at in 0..1000 {
            segment.lookup(mixed(at + 1), &mut found).unwrap();
            assert_eq!(found.is_empty(), at % 3 != 2, "{at}");
        }
    }
}
