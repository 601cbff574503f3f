//! The company's own records: rows of a table, found again by several cells of one row that stand near each other.
//!
//! A cell is the folded letters and digits of a value, so that spelling, spaces and separators do not matter; dates are
//! turned to year, month and day. A value that few rows have leads to its rows; one that many have (a first name, a
//! town) leads nowhere alone, but two of them together do. Each row keeps the hashes of all its cells, each hashed again
//! with the row, so that no two rows show that they have the same; the neighbourhood of a value is compared with them.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::Path,
};

use cordon_domain::EntityType;
use fastbloom::BloomFilter;

use super::{
    FingerprintError,
    gram::folded,
    key::{FingerprintKey, Use},
    pieces,
    segment::{self, CELL, Draft, Rows, Segment, kept},
    set::{Held, Kind, Listed, Manifest},
    sorter::Sorter,
};

/// Rows that a value may have and still lead to them.
const MOST_ROWS: usize = 16;
/// Bytes of folded letters below which a cell is too common to tell anything.
const LEAST: usize = 3;
/// Words of one cell.
const MOST_WORDS: usize = 8;
/// Letters and digits that may be written in groups, as those of an IBAN.
const MOST_GROUPED: usize = 34;
/// Letters of a group that has no digits.
const GROUP_LETTERS: usize = 4;
/// Bytes between two words of one cell.
const BETWEEN: usize = 3;
/// Common values after another that it is paired with.
const PAIRED: usize = 16;
/// Values on either side that are compared with a row.
const NEIGHBOURS: usize = 128;
/// Bytes of a text that are compared at once.
const PIECE: usize = 1 << 20;
/// Bytes that a cell may take in a text and still be whole in one of two pieces.
const CELL_BYTES: usize = 1 << 10;
/// Bytes of one row.
const ROW_BYTES: usize = 1 << 20;
/// Columns that are read.
pub const MOST_COLUMNS: usize = 32;

/// How the records of a table are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsOptions {
    /// The columns, by the names of the first row; all of them if empty.
    pub columns: Vec<String>,
    /// How many columns of one row make a finding.
    pub needed: usize,
    /// Within how many bytes.
    pub window: usize,
    /// What separates columns; told from the first line if none.
    pub delimiter: Option<u8>,
}

/// What was read of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordsSummary {
    /// Rows that can be recognised.
    pub rows: usize,
    /// Their cells.
    pub cells: usize,
    /// Rows with too few cells that tell anything.
    pub too_few: usize,
}

/// Makes the rows of a table the records of a set, in the place of those that it had of a table of that name.
///
/// # Errors
/// When the table cannot be read, columns are missing, or the set cannot be written; it is then as it was.
pub fn add_records(
    folder: &Path,
    set: &str,
    entity: EntityType,
    key: &FingerprintKey,
    options: &RecordsOptions,
    name: &str,
    table: impl Read,
) -> Result<RecordsSummary, FingerprintError> {
    let mut table = BufReader::with_capacity(1 << 16, table);
    let head =
        io::BufRead::fill_buf(&mut table).map_err(|source| FingerprintError::io(Path::new(name), source))?;
    let delimiter = options.delimiter.unwrap_or_else(|| delimiter_of(head));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(table);
    let wrong = |error: csv::Error| FingerprintError::Table {
        name: name.to_owned(),
        line: error.position().map_or(0, csv::Position::line),
        what: match error.kind() {
            csv::ErrorKind::Io(error) => error.to_string(),
            _ => "this is no table".to_owned(),
        },
    };
    let told = |what: String| FingerprintError::Table {
        name: name.to_owned(),
        line: 1,
        what,
    };
    let header: Vec<String> = reader
        .byte_headers()
        .map_err(wrong)?
        .iter()
        .map(|cell| {
            String::from_utf8_lossy(cell)
                .trim()
                .trim_start_matches('\u{FEFF}')
                .to_owned()
        })
        .collect();
    let columns: Vec<usize> = if options.columns.is_empty() {
        (0..header.len()).collect()
    } else {
        let place = |wanted: &String| {
            let found = header.iter().position(|name| name.eq_ignore_ascii_case(wanted));
            found.ok_or_else(|| {
                told(format!(
                    "there is no column `{wanted}`; there are: {}",
                    header.join(", ")
                ))
            })
        };
        options.columns.iter().map(place).collect::<Result<_, _>>()?
    };
    if columns.is_empty() || columns.len() > MOST_COLUMNS {
        return Err(told(format!(
            "name 1 to {MOST_COLUMNS} columns; there are {}",
            columns.len()
        )));
    }
    if options.needed == 0 || options.needed > columns.len() {
        return Err(told(format!(
            "{} of {} columns cannot be wanted",
            options.needed,
            columns.len()
        )));
    }
    let mut build = Build::new(key, columns.len(), options.needed)
        .map_err(|source| FingerprintError::io(Path::new(name), source))?;
    let mut row = csv::ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(wrong)? {
        if row.as_slice().len() > ROW_BYTES {
            return Err(FingerprintError::Table {
                name: name.to_owned(),
                line: row.position().map_or(0, csv::Position::line),
                what: "this row has more than a MiB; is a quote in it never closed?".to_owned(),
            });
        }
        let cells = columns.iter().map(|column| row.get(*column).unwrap_or_default());
        build
            .row(cells)
            .map_err(|source| FingerprintError::io(Path::new(name), source))?;
    }
    store(folder, set, entity, Kind::Records, key, options, name, build)
}

/// Makes strings that were planted somewhere the canaries of a set, beside those that it has.
///
/// # Errors
/// When one is too short, or the set cannot be written; it is then as it was.
pub fn add_canaries(
    folder: &Path,
    set: &str,
    entity: EntityType,
    key: &FingerprintKey,
    label: &str,
    canaries: &[String],
) -> Result<RecordsSummary, FingerprintError> {
    let failed = |source| FingerprintError::io(folder, source);
    let mut build = Build::new(key, 1, 1).map_err(failed)?;
    for (at, canary) in canaries.iter().enumerate() {
        if cell_of(canary).is_none_or(|cell| cell.len() < 8) {
            return Err(FingerprintError::Canary(at + 1));
        }
        build.row([canary.as_bytes()].into_iter()).map_err(failed)?;
    }
    let options = RecordsOptions {
        columns: Vec::new(),
        needed: 1,
        window: 0,
        delimiter: None,
    };
    store(folder, set, entity, Kind::Canaries, key, &options, label, build)
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing that a set is made of"
)]
fn store(
    folder: &Path,
    set: &str,
    entity: EntityType,
    kind: Kind,
    key: &FingerprintKey,
    options: &RecordsOptions,
    name: &str,
    build: Build<'_>,
) -> Result<RecordsSummary, FingerprintError> {
    let new = Manifest::new(entity, kind).with(options.needed, options.window);
    let mut held = Held::take(super::folder_of(folder, set)?, new, key)?;
    let name = name.replace(|c: char| c.is_control(), "?");
    let mut kept = Vec::new();
    for listed in std::mem::take(&mut held.manifest.segments) {
        if Segment::open(&held.folder.join(&listed.file), key)?.name(0) != name {
            kept.push(listed);
        }
    }
    // One number holds for all tables of a set: another would change what is found of those that are there.
    let (old, limits) = (held.before, (options.needed, options.window));
    if !kept.is_empty() && old.is_some_and(|old| old != limits) {
        let (needed, window) = old.unwrap_or(limits);
        return Err(FingerprintError::OtherLimits { needed, window });
    }
    held.manifest.segments = kept;
    let summary = build.summary;
    if summary.rows > 0 {
        let path = held.free_path();
        let draft = build
            .finish(name)
            .map_err(|source| FingerprintError::io(&path, source))?;
        segment::write(&path, key, draft)?;
        held.manifest.segments.push(Listed::of(&path));
    }
    held.publish(key)?;
    Ok(summary)
}

/// Of `,`, `;`, tab and `|` the one that the first line has most of.
fn delimiter_of(head: &[u8]) -> u8 {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    *b",;\t|"
        .iter()
        .rev()
        .max_by_key(|delimiter| count(**delimiter))
        .unwrap_or(&b',')
}

/// Rows on their way into a segment.
struct Build<'a> {
    key: &'a FingerprintKey,
    columns: usize,
    needed: usize,
    postings: Sorter,
    cells: BufWriter<File>,
    /// Hashes of the beginnings of cells, by which a text is read no further than needed.
    prefixes: Sorter,
    summary: RecordsSummary,
}

impl<'a> Build<'a> {
    fn new(key: &'a FingerprintKey, columns: usize, needed: usize) -> io::Result<Self> {
        Ok(Self {
            key,
            columns,
            needed,
            postings: Sorter::default(),
            cells: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            prefixes: Sorter::default(),
            summary: RecordsSummary::default(),
        })
    }

    fn row<'b>(&mut self, cells: impl Iterator<Item = &'b [u8]>) -> io::Result<()> {
        let mut hashes = Vec::with_capacity(self.columns);
        let mut prefixes = Vec::new();
        for cell in cells {
            let text = String::from_utf8_lossy(cell);
            let Some(cell) = cell_of(&text) else {
                hashes.push(0);
                continue;
            };
            let words = Words::of(&text);
            for last in 0..words.all.len().min(MOST_WORDS) {
                prefixes.push(self.key.hash_bytes(Use::Prefix, words.joined(0, last)));
            }
            hashes.push(kept(self.key.hash_bytes(Use::Cell, &cell)));
        }
        let telling: HashSet<u64> = hashes.iter().copied().filter(|hash| *hash != 0).collect();
        if telling.len() < self.needed {
            self.summary.too_few += 1;
            return Ok(());
        }
        let row = u32::try_from(self.summary.rows).map_err(io::Error::other)?;
        for hash in &hashes {
            self.cells.write_all(&segment::cell_bytes(*hash))?;
        }
        for hash in &telling {
            self.postings.push((*hash, row))?;
        }
        for prefix in prefixes {
            self.prefixes.push((kept(prefix), 0))?;
        }
        self.summary.rows += 1;
        self.summary.cells += telling.len();
        Ok(())
    }

    fn finish(self, name: String) -> io::Result<Draft> {
        let mut cells = self.cells.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Values with so many rows that they lead nowhere.
        let mut postings = Sorter::default();
        let mut common: HashSet<u64> = HashSet::new();
        let mut many = 0_usize;
        let mut group: Vec<u32> = Vec::new();
        let mut sorted = self.postings.sorted()?;
        let mut last = None;
        loop {
            let next = sorted.next()?;
            if let (Some(hash), true) = (last, next.map(|(hash, _)| hash) != last) {
                many += 1;
                if group.len() > MOST_ROWS {
                    common.insert(hash);
                    group.clear();
                }
                for row in group.drain(..) {
                    postings.push((hash, row))?;
                }
            }
            let Some((hash, row)) = next else { break };
            last = Some(hash);
            if group.len() <= MOST_ROWS {
                group.push(row);
            }
        }
        let mut pairs = 0_usize;
        if self.needed > 1 && !common.is_empty() {
            cells.seek(SeekFrom::Start(0))?;
            let mut read = BufReader::with_capacity(1 << 16, &mut cells);
            let mut bytes = vec![0; self.columns * CELL];
            for row in 0..self.summary.rows {
                read.read_exact(&mut bytes)?;
                let here: Vec<u64> = bytes
                    .chunks_exact(CELL)
                    .map(segment::cell)
                    .filter(|hash| common.contains(hash))
                    .collect();
                for (at, one) in here.iter().enumerate() {
                    for other in &here[at + 1..] {
                        postings.push((kept(pair(self.key, *one, *other)), row as u32))?;
                        pairs += 1;
                    }
                }
            }
        }
        let rows = bound_rows(self.key, self.columns, self.summary.rows, &mut cells)?;
        // Counted first: the size of a filter follows from how many it holds.
        let (mut prefixes, mut beginnings) = (Sorter::default(), 0);
        let mut sorted = self.prefixes.sorted()?;
        while let Some(prefix) = sorted.next()? {
            prefixes.push(prefix)?;
            beginnings += 1;
        }
        let expected = beginnings + many + pairs + 1;
        let mut filter = BloomFilter::with_false_pos(0.01)
            .seed(&0)
            .expected_items(expected);
        let mut sorted = prefixes.sorted()?;
        while let Some((prefix, _)) = sorted.next()? {
            filter.insert_hash(prefix);
        }
        for hash in common {
            filter.insert_hash(hash);
        }
        let mut again = Sorter::default();
        let mut sorted = postings.sorted()?;
        while let Some((hash, row)) = sorted.next()? {
            filter.insert_hash(hash);
            again.push((hash, row))?;
        }
        Ok(Draft {
            counts: Vec::new(),
            names: name,
            postings: again.sorted()?,
            most: MOST_ROWS,
            keeps_first: false,
            rows: Some(Rows {
                columns: self.columns as u8,
                count: self.summary.rows as u32,
                cells: rows,
                filter,
            }),
        })
    }
}

/// The cells of all rows, each as its row keeps it.
fn bound_rows(key: &FingerprintKey, columns: usize, count: usize, cells: &mut File) -> io::Result<File> {
    cells.seek(SeekFrom::Start(0))?;
    let mut read = BufReader::with_capacity(1 << 16, cells);
    let mut rows = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
    let mut bytes = [0; CELL];
    for row in 0..count as u32 {
        for _ in 0..columns {
            read.read_exact(&mut bytes)?;
            let cell = segment::cell(&bytes);
            let kept = if cell == 0 { 0 } else { in_row(key, cell, row) };
            rows.write_all(&segment::cell_bytes(kept))?;
        }
    }
    rows.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A cell as a row keeps it.
fn in_row(key: &FingerprintKey, cell: u64, row: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&cell.to_le_bytes());
    bytes[8..].copy_from_slice(&row.to_le_bytes());
    kept(key.hash_bytes(Use::Row, &bytes))
}

fn pair(key: &FingerprintKey, one: u64, other: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&one.min(other).to_le_bytes());
    bytes[8..].copy_from_slice(&one.max(other).to_le_bytes());
    key.hash_bytes(Use::Pair, &bytes)
}

/// The folded letters of a value; none when it tells nothing.
fn cell_of(value: &str) -> Option<Vec<u8>> {
    let words = Words::of(value);
    if words.all.is_empty() || words.all.len() > MOST_WORDS {
        return None;
    }
    if let Some((date, _)) = words.dates(0).into_iter().next()
        && words.all.len() == 3
    {
        return Some(date.to_vec());
    }
    (words.letters.len() >= LEAST).then_some(words.letters)
}

/// The runs of letters and digits of a text.
struct Words {
    /// Their folded letters, one after another.
    letters: Vec<u8>,
    all: Vec<Word>,
}

struct Word {
    /// Where its letters are.
    letters: Range<usize>,
    /// Where it stands in the text.
    span: Range<usize>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut letters = Vec::with_capacity(text.len());
        let mut all: Vec<Word> = Vec::with_capacity(text.len() / 5);
        folded(text, |byte, span| {
            letters.push(byte);
            match all.last_mut() {
                Some(word) if word.span.end == span.start || word.span.end == span.end => {
                    word.letters.end = letters.len();
                    word.span.end = span.end;
                }
                _ => all.push(Word {
                    letters: letters.len() - 1..letters.len(),
                    span,
                }),
            }
        });
        Self { letters, all }
    }

    /// The letters of the words from one to another, that one too.
    fn joined(&self, first: usize, last: usize) -> &[u8] {
        &self.letters[self.all[first].letters.start..self.all[last].letters.end]
    }

    /// Whether a word may be one of the groups in which a number is written.
    fn is_group(&self, word: usize) -> bool {
        self.has_digit(word) || self.joined(word, word).len() <= GROUP_LETTERS
    }

    /// Whether there is such a word, with a digit.
    fn has_digit(&self, word: usize) -> bool {
        word < self.all.len() && self.joined(word, word).iter().any(u8::is_ascii_digit)
    }

    fn is_number(&self, word: usize) -> bool {
        self.joined(word, word).iter().all(u8::is_ascii_digit)
    }

    fn number(&self, word: usize, digits: Range<usize>) -> Option<u32> {
        let letters = self.joined(word, word);
        if !digits.contains(&letters.len()) || !self.is_number(word) {
            return None;
        }
        std::str::from_utf8(letters).ok()?.parse().ok()
    }

    /// What dates the three words from one on can be, likeliest first, as year, month and day, with their span.
    fn dates(&self, first: usize) -> Vec<([u8; 8], Range<usize>)> {
        let mut found = Vec::new();
        if first + 3 > self.all.len() {
            return found;
        }
        let numbers = |lengths: [Range<usize>; 3]| {
            let [x, y, z] = lengths;
            let one = self.number(first, x)?;
            Some((one, self.number(first + 1, y)?, self.number(first + 2, z)?))
        };
        let mut take = |year: u32, month: u32, day: u32| {
            if (1..=12).contains(&month) && (1..=31).contains(&day) && (1000..3000).contains(&year) {
                let mut text = [0; 8];
                text.copy_from_slice(format!("{year:04}{month:02}{day:02}").as_bytes());
                found.push((text, self.all[first].span.start..self.all[first + 2].span.end));
            }
        };
        if let Some((year, month, day)) = numbers([4..5, 1..3, 1..3]) {
            take(year, month, day);
        } else if let Some((one, other, year)) = numbers([1..3, 1..3, 4..5]) {
            take(year, other, one);
            take(year, one, other);
        }
        found
    }
}

/// A value of a text that may be a cell.
struct Candidate {
    hash: u64,
    span: Range<usize>,
}

/// What was found of one row.
pub(super) struct RowHit {
    pub(super) spans: Vec<Range<usize>>,
    /// Columns that agree.
    pub(super) columns: usize,
}

/// Finds rows of a segment in a text, which is read in pieces that overlap by the window and a cell.
pub(super) fn rows_in(
    text: &str,
    key: &FingerprintKey,
    segment: &Segment,
    needed: usize,
    window: usize,
    each: &mut dyn FnMut(RowHit),
) -> io::Result<()> {
    for (start, piece) in pieces(text, PIECE, 2 * window.min(PIECE / 8) + CELL_BYTES) {
        rows_in_piece(piece, key, segment, needed, window, &mut |mut hit| {
            for span in &mut hit.spans {
                *span = start + span.start..start + span.end;
            }
            each(hit);
        })?;
    }
    Ok(())
}

fn rows_in_piece(
    text: &str,
    key: &FingerprintKey,
    segment: &Segment,
    needed: usize,
    window: usize,
    each: &mut dyn FnMut(RowHit),
) -> io::Result<()> {
    let candidates = candidates(text, key, segment);
    // Rows of which a value is seen in a place.
    let mut rows: Vec<u32> = Vec::new();
    let mut found = Vec::new();
    let mut common: Vec<usize> = Vec::new();
    let mut cells = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        segment.lookup(candidate.hash, &mut rows)?;
        if rows.is_empty() {
            for other in common.iter().rev().take(PAIRED) {
                let other = &candidates[*other];
                if other.span.end + window < candidate.span.start {
                    break;
                }
                let both = pair(key, other.hash, candidate.hash);
                if other.hash != candidate.hash && segment.may_hold(both) {
                    segment.lookup(both, &mut found)?;
                    rows.append(&mut found);
                }
            }
            common.push(at);
        }
        for row in &rows {
            segment.row(*row, &mut cells)?;
            let hit = agreeing(key, *row, &cells, &candidates, at, window);
            if hit.columns >= needed {
                each(hit);
            }
        }
    }
    Ok(())
}

/// The cells of a row that stand near the place `at` of one of its values.
fn agreeing(
    key: &FingerprintKey,
    row: u32,
    cells: &[u64],
    candidates: &[Candidate],
    at: usize,
    window: usize,
) -> RowHit {
    let here = &candidates[at].span;
    let near =
        |other: &&Candidate| other.span.start < here.end + window && here.start < other.span.end + window;
    let before = candidates[..at].iter().rev().take(NEIGHBOURS).take_while(near);
    let after = candidates[at..].iter().take(NEIGHBOURS).take_while(near);
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut agreed = [false; MOST_COLUMNS];
    // This one itself is the first of those after.
    for candidate in after.chain(before) {
        let cell = in_row(key, candidate.hash, row);
        let column = (0..cells.len().min(MOST_COLUMNS)).find(|at| cells[*at] == cell && !agreed[*at]);
        if let (Some(column), false) = (column, spans.contains(&candidate.span)) {
            agreed[column] = true;
            spans.push(candidate.span.clone());
        }
    }
    RowHit {
        columns: spans.len(),
        spans,
    }
}

fn candidates(text: &str, key: &FingerprintKey, segment: &Segment) -> Vec<Candidate> {
    let words = Words::of(text);
    let mut found = Vec::new();
    for (first, begin) in words.all.iter().enumerate() {
        let mut grouped = true;
        for last in first..(first + MOST_WORDS).min(words.all.len()) {
            let word = &words.all[last];
            if last > first && word.span.start > words.all[last - 1].span.end + BETWEEN {
                break;
            }
            let letters = words.joined(first, last);
            let hash = kept(key.hash_bytes(Use::Cell, letters));
            if letters.len() >= LEAST && segment.may_hold(hash) {
                found.push(Candidate {
                    hash,
                    span: begin.span.start..word.span.end,
                });
            }
            // Numbers of accounts and the like may be grouped in another way than in the table.
            grouped &= words.is_group(last) && (words.has_digit(last) || words.has_digit(last + 1));
            let goes_on = grouped && letters.len() < MOST_GROUPED;
            if !goes_on && !segment.may_hold(kept(key.hash_bytes(Use::Prefix, letters))) {
                break;
            }
        }
        for (date, span) in words.dates(first) {
            let hash = kept(key.hash_bytes(Use::Cell, &date));
            if segment.may_hold(hash) {
                found.push(Candidate { hash, span });
            }
        }
    }
    found
}
