//! The company's own texts and records, recognised by fingerprints: sets that `cordon fingerprint` makes.
//!
//! A set is a folder under the index's: files whose excerpts are found again (`documents`), rows of tables (`records`),
//! planted strings (`canaries`), or public text that is left out of all others (`background`). What is
//! kept of a text are hashes under the installation's key; see `docs/decisions/0005-fingerprints.md`.
//!
//! A file is recognised where enough of its prints stand near each other ([`Fingerprints::find`]): about 60 words or ten
//! lines, in any layout, with names changed. Limits: of each set [`MOST_HITS`] findings of a text or of a piece of a
//! long one; what is beyond is covered by one more.
//!
//! On failure: opening tells which file is damaged or was made under another key. A read that fails while a text is
//! inspected panics the inspection, which refuses the exchange: an index that cannot be read must not mean
//! that nothing was found.

mod gram;
mod key;
mod lexeme;
mod records;
mod segment;
mod set;
mod shipped;
mod sorter;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use cordon_domain::{EntityType, Source};

use self::{
    gram::{Channel, Print, prints},
    segment::Segment,
    set::{Listed, Manifest, line},
};
pub use self::{
    key::FingerprintKey,
    records::{MOST_COLUMNS, RecordsOptions, RecordsSummary, add_canaries, add_records},
    set::{Change, DocumentsWriter, Kind, Prepared, prepare},
};
use crate::detector::DetectorInfo;

/// The most findings of one set in a text; one more covers all that are beyond.
pub const MOST_HITS: usize = 1000;

/// Bytes of a text that are compared with files at once, so that a long one takes no more memory than a short one.
const PIECE: usize = 2 << 20;
/// Bytes of the piece before that each begins with, so that a passage across the border is whole in one of them.
const AGAIN: usize = 8 << 10;
/// What prints of one file must weigh together to make a finding, when they stand near each other, by channel.
const NEEDED: [f32; 2] = [4.0, 3.0];
/// What a print that many files have weighs at least.
const COMMON: f32 = 0.2;
/// Bytes of a text between two prints of one file that still belong together, by channel.
const APART: [usize; 2] = [240, 400];
/// Letters or lexemes that they must cover together.
const COVERED: [usize; 2] = [80, 20];

/// A set or a part of one cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file of the index is not what was written.
    #[error("{path} cannot be used: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A name that is not a set's.
    #[error(
        "`{0}` is no name of a set: write lower-case letters, digits, `-` and `_`, 40 at most, a letter first"
    )]
    Name(String),
    /// There is no such set.
    #[error("there is no set `{0}`")]
    NoSet(String),
    /// The set is of another kind.
    #[error("the set holds {holds} already, and a set is of one kind; name another")]
    OtherKind {
        /// What it holds.
        holds: &'static str,
    },
    /// The set holds other tables, of which another number of columns makes a finding.
    #[error(
        "the set wants {needed} columns within {window} bytes already; say the same, or name another set"
    )]
    OtherLimits {
        /// How many columns.
        needed: usize,
        /// Within how many bytes.
        window: usize,
    },
    /// The set has another entity type.
    #[error("the set has the entity type {0} already")]
    OtherEntity(EntityType),
    /// Another folder is called the same.
    #[error(
        "the set has files of another folder called `{0}`, none of which is here; give this one another name with --label, or keep both with --keep"
    )]
    OtherFolder(String),
    /// Somebody else writes.
    #[error("another `cordon fingerprint` is changing {path}; try again when it is done", path = .0.display())]
    Busy(PathBuf),
    /// More documents than a segment can number.
    #[error("a set holds 4 billion documents at most")]
    Full,
    /// A table cannot be read.
    #[error("{name}:{line}: {what}")]
    Table {
        /// Its name.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// A canary that could stand in any text.
    #[error("canary {0} is no use: it needs at least 8 letters or digits, in 8 words at most")]
    Canary(usize),
}

impl FingerprintError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// All sets of an index, open for reading. Shared by all threads.
pub struct Fingerprints {
    key: Arc<FingerprintKey>,
    sets: Vec<Set>,
}

struct Set {
    name: Arc<str>,
    manifest: Manifest,
    detector: DetectorInfo,
    segments: Vec<Segment>,
}

/// What is known of a set without its key's secrets: for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSummary {
    /// Its name.
    pub name: String,
    /// What its findings are.
    pub entity: EntityType,
    /// What it holds.
    pub kind: Kind,
    /// Files, or rows.
    pub entries: usize,
    /// Hashes.
    pub prints: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was changed last, in seconds since 1970-01-01 UTC.
    pub changed: u64,
}

/// Something of a set in a text.
#[derive(Clone, Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) detector: &'a DetectorInfo,
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
    pub(crate) evidence: &'static str,
    /// Whether it is a passage and not a value.
    pub(crate) region: bool,
    pub(crate) source: Arc<Source>,
}

impl Fingerprints {
    /// Opens the sets under a folder; none if there are none.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(folder: &Path, key: Arc<FingerprintKey>) -> Result<Option<Self>, FingerprintError> {
        let mut sets = Vec::new();
        for name in set_names(folder)? {
            if let Some(set) = Set::open(folder, &name, &key)? {
                sets.push(set);
            }
        }
        Ok((!sets.is_empty()).then_some(Self { key, sets }))
    }

    /// Reads all of all files and compares the checksums.
    ///
    /// # Errors
    /// The first file that is damaged.
    pub fn verify(&self) -> Result<(), FingerprintError> {
        self.sets
            .iter()
            .flat_map(|set| &set.segments)
            .try_for_each(Segment::verify)
    }

    /// The sets by name.
    #[must_use]
    pub fn summaries(&self) -> Vec<SetSummary> {
        self.sets.iter().map(Set::summary).collect()
    }

    /// The names of a set's files or tables, sorted.
    #[must_use]
    pub fn files(&self, set: &str) -> Vec<&str> {
        let mut files: Vec<&str> = self
            .sets
            .iter()
            .filter(|known| &*known.name == set)
            .flat_map(Set::files)
            .collect();
        files.sort_unstable();
        files
    }

    /// What findings of the sets are told as.
    pub(crate) fn detectors(&self) -> impl Iterator<Item = &DetectorInfo> {
        self.sets
            .iter()
            .filter(|set| set.manifest.kind != Kind::Background)
            .map(|set| &set.detector)
    }

    /// What of the sets stands in a text.
    ///
    /// # Panics
    /// When a file of the index cannot be read any more.
    pub(crate) fn find(&self, text: &str) -> Vec<Hit<'_>> {
        let found = self.search(text);
        found.expect("the index of fingerprints can be read")
    }

    fn search(&self, text: &str) -> io::Result<Vec<Hit<'_>>> {
        let mut hits = Vec::new();
        let is = |kind: Kind| self.sets.iter().filter(move |set| set.manifest.kind == kind);
        for set in is(Kind::Records).chain(is(Kind::Canaries)) {
            set.records(text, &self.key, &mut hits)?;
        }
        if is(Kind::Documents).next().is_some() {
            for (start, piece) in pieces(text, PIECE, AGAIN) {
                let prints = self.private(piece)?;
                for set in is(Kind::Documents) {
                    let before = hits.len();
                    set.documents(&prints, &mut hits)?;
                    for hit in &mut hits[before..] {
                        hit.span = start + hit.span.start..start + hit.span.end;
                    }
                }
            }
        }
        Ok(hits)
    }

    /// The prints of a text that are of nothing public, with their keyed hashes.
    fn private(&self, text: &str) -> io::Result<Vec<(Print, u64)>> {
        let mut prints: Vec<(Print, u64)> = prints(text)
            .into_iter()
            .filter(|print| !shipped::holds(print.hash))
            .map(|print| {
                let hash = self.key.hash(print.channel.into(), print.hash);
                (print, hash)
            })
            .collect();
        let public = self
            .sets
            .iter()
            .filter(|set| set.manifest.kind == Kind::Background);
        let mut found = Vec::new();
        for segment in public.flat_map(|set| &set.segments) {
            let mut kept = Vec::with_capacity(prints.len());
            for print in prints {
                segment.lookup(print.1, &mut found)?;
                if found.is_empty() {
                    kept.push(print);
                }
            }
            prints = kept;
        }
        Ok(prints)
    }
}

impl Set {
    fn open(folder: &Path, name: &str, key: &FingerprintKey) -> Result<Option<Self>, FingerprintError> {
        let folder = folder_of(folder, name)?;
        let mut again = true;
        loop {
            let Some(manifest) = Manifest::read(&folder, key)? else {
                return Ok(None);
            };
            let open = |listed: &Listed| Segment::open(&folder.join(&listed.file), key);
            match manifest.segments.iter().map(open).collect() {
                Ok(segments) => {
                    return Ok(Some(Self {
                        name: name.into(),
                        detector: DetectorInfo::built_in(
                            &format!("fingerprint-{name}"),
                            manifest.entity.clone(),
                        ),
                        manifest,
                        segments,
                    }));
                }
                // A writer may have merged the segments since the manifest was read.
                Err(FingerprintError::Io { source, .. })
                    if again && source.kind() == io::ErrorKind::NotFound =>
                {
                    again = false
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        self.segments
            .iter()
            .zip(&self.manifest.segments)
            .flat_map(|(segment, listed)| {
                let documents = (0..)
                    .take(segment.counts().len())
                    .filter(|document| !listed.dead.contains(document));
                let documents = documents.map(|document| line(segment.name(document)).1);
                let table = (segment.columns() > 0).then(|| segment.name(0));
                documents.chain(table)
            })
    }

    fn summary(&self) -> SetSummary {
        SetSummary {
            name: self.name.to_string(),
            entity: self.manifest.entity.clone(),
            kind: self.manifest.kind,
            entries: self
                .segments
                .iter()
                .zip(&self.manifest.segments)
                .map(|(segment, listed)| segment.counts().len() - listed.dead.len() + segment.rows() as usize)
                .sum(),
            prints: self.segments.iter().map(Segment::postings).sum(),
            bytes: self.segments.iter().map(Segment::size).sum(),
            changed: self.manifest.changed,
        }
    }

    fn records<'a>(&'a self, text: &str, key: &FingerprintKey, hits: &mut Vec<Hit<'a>>) -> io::Result<()> {
        let Manifest { needed, window, .. } = self.manifest;
        // The same cell may belong to several rows; it is told once, for the row that agrees best.
        let mut best: HashMap<(usize, usize), (usize, usize)> = HashMap::new();
        // What is past the limit is covered by one finding more, since `redact` must leave none of it.
        let mut beyond: Option<((usize, usize), (usize, usize))> = None;
        for (at, segment) in self.segments.iter().enumerate() {
            records::rows_in(text, key, segment, needed, window, &mut |row| {
                for span in row.spans {
                    let span = (span.start, span.end);
                    if best.len() >= MOST_HITS && !best.contains_key(&span) {
                        let ((start, end), _) = beyond.get_or_insert((span, (row.columns, at)));
                        (*start, *end) = (span.0.min(*start), span.1.max(*end));
                        continue;
                    }
                    let known = best.entry(span).or_insert((0, at));
                    if known.0 < row.columns {
                        *known = (row.columns, at);
                    }
                }
            })?;
        }
        let mut best: Vec<_> = best.into_iter().collect();
        best.sort_unstable();
        best.extend(beyond);
        for ((start, end), (columns, at)) in best {
            let segment = &self.segments[at];
            hits.push(Hit {
                detector: &self.detector,
                span: start..end,
                score: if columns > 1 || segment.columns() == 1 {
                    0.99
                } else {
                    0.8
                },
                evidence: match self.manifest.kind {
                    Kind::Canaries => "a canary",
                    _ => "a row of the company's records",
                },
                region: false,
                source: Arc::new(Source {
                    set: self.name.to_string(),
                    file: segment.name(0).into(),
                    percent: percent(columns, segment.columns()),
                }),
            });
        }
        Ok(())
    }

    fn documents<'a>(&'a self, prints: &[(Print, u64)], hits: &mut Vec<Hit<'a>>) -> io::Result<()> {
        // For each file, the prints that it has; for each print, how many files have it.
        let mut by_file: HashMap<(usize, u32, Channel), Vec<usize>> = HashMap::new();
        let mut having = vec![0_usize; prints.len()];
        let mut found = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let dead = &self.manifest.segments[at].dead;
            for (index, (print, hash)) in prints.iter().enumerate() {
                segment.lookup(*hash, &mut found)?;
                for document in found.iter().filter(|document| !dead.contains(document)) {
                    by_file
                        .entry((at, *document, print.channel))
                        .or_default()
                        .push(index);
                    having[index] += 1;
                }
            }
        }
        let mut passages = Vec::new();
        for ((at, document, channel), shared) in by_file {
            let Some(counts) = self.segments[at].counts().get(document as usize) else {
                continue;
            };
            let total = counts[channel as usize] as usize;
            for (shared, weight, span) in clusters(prints, &having, &shared, channel, total) {
                passages.push(Passage {
                    span,
                    shared,
                    weight,
                    total,
                    file: (at, document),
                });
            }
        }
        // The best of those that overlap names the file; the order of a map must not show.
        passages
            .sort_unstable_by(|a, b| (b.shared, a.span.start, a.file).cmp(&(a.shared, b.span.start, b.file)));
        let mut told: Vec<Passage> = Vec::new();
        let mut beyond: Option<Range<usize>> = None;
        for passage in passages {
            let overlaps =
                |other: &Passage| other.span.start < passage.span.end && passage.span.start < other.span.end;
            if let Some(at) = told.iter().position(overlaps) {
                let better = &mut told[at].span;
                *better = better.start.min(passage.span.start)..better.end.max(passage.span.end);
            } else if told.len() < MOST_HITS {
                told.push(passage);
            } else {
                let span = beyond.get_or_insert(passage.span.clone());
                *span = span.start.min(passage.span.start)..span.end.max(passage.span.end);
            }
        }
        if let (Some(beyond), Some(last)) = (beyond, told.last_mut()) {
            last.span = last.span.start.min(beyond.start)..last.span.end.max(beyond.end);
        }
        told.sort_unstable_by_key(|passage| passage.span.start);
        for passage in told {
            let (at, document) = passage.file;
            hits.push(Hit {
                detector: &self.detector,
                span: passage.span,
                score: 1.0 - 0.5_f32.powf(passage.weight / NEEDED[0]),
                evidence: "a passage of the company's own files",
                region: true,
                source: Arc::new(Source {
                    set: self.name.to_string(),
                    file: line(self.segments[at].name(document)).1.into(),
                    percent: percent(passage.shared, passage.total),
                }),
            });
        }
        Ok(())
    }
}

/// A passage of a file.
struct Passage {
    span: Range<usize>,
    /// Prints of the file that it holds, of all that the file has, and what they weigh.
    shared: usize,
    weight: f32,
    total: usize,
    file: (usize, u32),
}

/// Where enough prints of one file stand near each other: how many different ones, what they weigh, and the span.
fn clusters(
    prints: &[(Print, u64)],
    having: &[usize],
    shared: &[usize],
    channel: Channel,
    total: usize,
) -> Vec<(usize, f32, Range<usize>)> {
    // Of a short file all that it has is wanted.
    let whole = NEEDED[channel as usize];
    let is_short = (total as f32) < whole;
    let needed = if is_short {
        (total as f32 / 2.0).max(1.0)
    } else {
        whole
    };
    let mut clusters = Vec::new();
    let mut at = 0;
    while at < shared.len() {
        let mut end = prints[shared[at]].0.span.end;
        let mut next = at + 1;
        while next < shared.len() && prints[shared[next]].0.span.start <= end + APART[channel as usize] {
            end = end.max(prints[shared[next]].0.span.end);
            next += 1;
        }
        let part = &shared[at..next];
        // The same letters in the same order are nobody's idiom, however many files have them. In code it is different:
        // a file of which there are copies shares all its prints with them, an idiom shares its own only: what counts is
        // how much more common a print is than most of its neighbours.
        let mut commonness: Vec<usize> = part.iter().map(|print| having[*print]).collect();
        commonness.sort_unstable();
        let copies = commonness[commonness.len() / 4].max(1) as f32;
        let mut different: HashSet<u64> = HashSet::new();
        let (mut weight, mut covered, mut reached) = (0.0, 0, 0);
        for print in part {
            let (
                Print {
                    units, weight: own, ..
                },
                hash,
            ) = &prints[*print];
            covered += units.end.saturating_sub(units.start.max(reached));
            reached = reached.max(units.end);
            if different.insert(*hash) {
                let common = match channel {
                    Channel::Letters => 1.0,
                    Channel::Code => (having[*print] as f32 / copies).max(1.0),
                };
                weight += own * common.powf(-0.7).max(COMMON);
            }
        }
        if different.len() >= 2 && weight >= needed && (covered >= COVERED[channel as usize] || is_short) {
            clusters.push((different.len(), weight, prints[part[0]].0.span.start..end));
        }
        at = next;
    }
    clusters
}

/// Parts of a text, with where each begins: all but the first begin with the last `again` bytes of the one before.
fn pieces(text: &str, size: usize, again: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let end = text.floor_char_boundary(start + size);
        next = (end < text.len()).then(|| text.floor_char_boundary(end - again));
        Some((start, &text[start..end]))
    })
}

fn percent(part: usize, whole: usize) -> u8 {
    (part * 100).checked_div(whole).unwrap_or(100).clamp(1, 100) as u8
}

/// The prints of a public text, as the background that is part of the program holds them.
#[must_use]
pub fn public_prints(text: &str) -> Vec<u32> {
    prints(text)
        .iter()
        .map(|print| (print.hash >> 32) as u32)
        .collect()
}

/// The folder of a set.
fn folder_of(folder: &Path, name: &str) -> Result<PathBuf, FingerprintError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if name.len() > 40 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(plain) {
        return Err(FingerprintError::Name(name.chars().take(60).collect()));
    }
    Ok(folder.join(name))
}

/// The entity type of a set that was not given one: `CONFIDENTIAL.FAB_PROCESS` of `fab-process`.
///
/// # Errors
/// When it is no name of a set.
pub fn entity_of(name: &str) -> Result<EntityType, FingerprintError> {
    folder_of(Path::new(""), name)?;
    let word = name.to_ascii_uppercase().replace('-', "_");
    format!("CONFIDENTIAL.{word}")
        .parse()
        .map_err(|_| FingerprintError::Name(name.to_owned()))
}

/// The sets under a folder, by name.
///
/// # Errors
/// When the folder cannot be read; one that is not there holds none.
pub fn set_names(folder: &Path) -> Result<Vec<String>, FingerprintError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FingerprintError::io(folder, source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| FingerprintError::io(folder, source))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match fs::metadata(entry.path().join("set.yaml")) {
            Ok(_) => names.push(name),
            Err(absent)
                if matches!(
                    absent.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            // A set of somebody else's that cannot be read must not pass for none; `lost+found` is no set.
            Err(source) if folder_of(folder, &name).is_ok() => {
                return Err(FingerprintError::io(&entry.path(), source));
            }
            Err(_) => {}
        }
    }
    names.sort();
    Ok(names)
}

/// Removes a set.
///
/// # Errors
/// When there is none of that name, somebody holds it, or it cannot be removed.
pub fn remove_set(folder: &Path, name: &str) -> Result<(), FingerprintError> {
    let path = folder_of(folder, name)?;
    if !path.join("set.yaml").is_file() {
        return Err(FingerprintError::NoSet(name.to_owned()));
    }
    let failed = |source| FingerprintError::io(&path, source);
    let lock = fs::File::create(path.join("lock")).map_err(failed)?;
    if lock.try_lock().is_err() {
        return Err(FingerprintError::Busy(path));
    }
    // Without its manifest it is no set, so a removal that is cut short leaves none behind that looks whole.
    fs::remove_file(path.join("set.yaml")).map_err(failed)?;
    fs::remove_dir_all(&path).map_err(failed)
}

#[cfg(test)]
mod tests;
