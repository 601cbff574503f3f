//! A set on disk: a folder with `set.yaml` and segments. Writers hold `lock`; readers see one manifest or the next.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use cordon_domain::EntityType;
use serde::{Deserialize, Serialize};

use super::{
    AGAIN, FingerprintError, PIECE,
    gram::{Channel, prints},
    key::FingerprintKey,
    pieces,
    segment::{self, Draft, Segment},
    shipped,
    sorter::{Sorted, Sorter},
};

const FORMAT: u32 = 1;
const MANIFEST: &str = "set.yaml";
/// Segments from which on all are merged into one.
const MERGED_FROM: usize = 8;
/// Documents of one print; of the files that share it, some are enough to name.
const MOST_DOCUMENTS: usize = 16;

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Files, recognised by excerpts.
    Documents,
    /// Rows of tables, recognised by several cells of one row.
    Records,
    /// Planted strings, each recognised by itself.
    Canaries,
    /// What is public, and is left out of all sets.
    Background,
}

impl Kind {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Records => "records",
            Self::Canaries => "canaries",
            Self::Background => "background",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    pub(super) entity: EntityType,
    pub(super) kind: Kind,
    /// Seconds since 1970-01-01 UTC.
    pub(super) changed: u64,
    /// Of records: how many columns of one row make a finding, and within how many bytes.
    #[serde(default)]
    pub(super) needed: usize,
    #[serde(default)]
    pub(super) window: usize,
    pub(super) segments: Vec<Listed>,
    /// A keyed digest of all of it: who may write into the folder and does not have the key cannot declare a set
    /// public or its files removed.
    #[serde(default)]
    check: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) file: String,
    /// Documents that were replaced or removed since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) dead: BTreeSet<u32>,
}

impl Listed {
    /// A segment that was just written.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            file: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            dead: BTreeSet::new(),
        }
    }
}

impl Manifest {
    pub(super) fn new(entity: EntityType, kind: Kind) -> Self {
        Self {
            format: FORMAT,
            entity,
            kind,
            changed: 0,
            needed: 0,
            window: 0,
            segments: Vec::new(),
            check: String::new(),
        }
    }

    /// The same, for records.
    pub(super) fn with(self, needed: usize, window: usize) -> Self {
        Self {
            needed,
            window,
            ..self
        }
    }

    /// The manifest of a folder; none where there is none.
    pub(super) fn read(folder: &Path, key: &FingerprintKey) -> Result<Option<Self>, FingerprintError> {
        let path = folder.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FingerprintError::io(&path, source)),
        };
        let damaged = |what| FingerprintError::Damaged {
            path: path.clone(),
            what,
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no description of a set"))?;
        // A large set has long lists of what was replaced; ours has no anchors, by which a small file could grow.
        let budget = serde_saphyr::budget! { max_events: 100_000_000, max_nodes: 100_000_000, max_anchors: 0, max_aliases: 0 };
        let options = serde_saphyr::options! { budget: budget };
        let manifest: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|_| damaged("it is no description of a set"))?;
        if manifest.format != FORMAT {
            return Err(damaged("another version of Cordon wrote it"));
        }
        if manifest.digest(key).as_ref() != Some(&manifest.check) {
            return Err(damaged(
                "it was made with another installation key, or was altered",
            ));
        }
        // A name with a path in it would open a file elsewhere.
        let plain = |listed: &Listed| {
            Path::new(&listed.file)
                .file_name()
                .is_some_and(|name| name == listed.file.as_str())
        };
        if !manifest.segments.iter().all(plain) {
            return Err(damaged("it names files outside its folder"));
        }
        Ok(Some(manifest))
    }

    fn digest(&self, key: &FingerprintKey) -> Option<String> {
        let plain = Self {
            check: String::new(),
            ..self.clone()
        };
        let text = serde_saphyr::to_string(&plain).ok()?;
        Some(format!(
            "{:032x}",
            key.digest(&[MANIFEST.as_bytes(), text.as_bytes()])
        ))
    }

    fn write(&mut self, folder: &Path, key: &FingerprintKey) -> Result<(), FingerprintError> {
        self.changed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.check = self.digest(key).unwrap_or_default();
        let path = folder.join(MANIFEST);
        let written = (|| -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            let text = serde_saphyr::to_string(self).map_err(io::Error::other)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        })();
        written.map_err(|source| FingerprintError::io(&path, source))
    }
}

/// What of a file goes into a set.
pub struct Prepared {
    name: String,
    digest: u128,
    hashes: [Vec<u64>; 2],
}

/// Reads the prints of a file: its name as findings tell it, and its texts.
#[must_use]
pub fn prepare(key: &FingerprintKey, name: &str, texts: &[&str]) -> Prepared {
    let mut hashes = [Vec::new(), Vec::new()];
    for text in texts {
        // The same view that a prompt is read in.
        let view = crate::normalise(text);
        // In pieces, as a prompt is read, so that a dump of a database takes no more memory than its hashes.
        let pieces = pieces(view.text(), PIECE, AGAIN);
        for print in pieces.flat_map(|(_, piece)| prints(piece)) {
            if shipped::holds(print.hash) {
                continue;
            }
            hashes[print.channel as usize].push(key.hash(print.channel.into(), print.hash));
        }
    }
    for channel in &mut hashes {
        channel.sort_unstable();
        channel.dedup();
    }
    let bytes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    Prepared {
        // Names are kept a line each.
        name: name.replace(|c: char| c.is_control(), "?"),
        digest: key.digest(&bytes),
        hashes,
    }
}

/// How many files a change was about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Files that were not in the set.
    pub added: usize,
    /// Files that were, with other contents.
    pub changed: usize,
    /// Files that were, with the same.
    pub unchanged: usize,
    /// Files that are no longer there.
    pub removed: usize,
    /// Files too short to be recognised by anything.
    pub too_short: usize,
}

/// The folder of a set, held by one writer.
pub(super) struct Held {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    /// How many columns of one row made a finding before, and within how many bytes; none of a new set.
    pub(super) before: Option<(usize, usize)>,
    _lock: File,
}

impl Held {
    /// Takes hold of a set, which is made if it is not there.
    pub(super) fn take(
        folder: PathBuf,
        new: Manifest,
        key: &FingerprintKey,
    ) -> Result<Self, FingerprintError> {
        let failed = |source| FingerprintError::io(&folder, source);
        make_private(&folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        if lock.try_lock().is_err() {
            return Err(FingerprintError::Busy(folder));
        }
        let old = Manifest::read(&folder, key)?;
        let before = old.as_ref().map(|old| (old.needed, old.window));
        let manifest = match old {
            None => new,
            Some(old) if old.kind != new.kind => {
                return Err(FingerprintError::OtherKind {
                    holds: old.kind.name(),
                });
            }
            Some(old) if old.entity != new.entity => {
                return Err(FingerprintError::OtherEntity(old.entity));
            }
            Some(old) => Manifest {
                needed: new.needed,
                window: new.window,
                ..old
            },
        };
        Ok(Self {
            folder,
            manifest,
            before,
            _lock: lock,
        })
    }

    /// A name that no segment has, nor one had that the manifest names: a reader that has yet to open what an older
    /// manifest names must not find something else there.
    pub(super) fn free_path(&self) -> PathBuf {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| -> Option<u32> {
            Path::new(&entry.file_name()).file_stem()?.to_str()?.parse().ok()
        };
        let last = entries.filter_map(number).max().unwrap_or(0);
        self.folder.join(format!("{:06}.seg", last.saturating_add(1)))
    }

    /// Makes the manifest true, then removes what it no longer names.
    pub(super) fn publish(&mut self, key: &FingerprintKey) -> Result<(), FingerprintError> {
        self.manifest.write(&self.folder, key)?;
        let entries =
            fs::read_dir(&self.folder).map_err(|source| FingerprintError::io(&self.folder, source))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let listed = self
                .manifest
                .segments
                .iter()
                .any(|listed| name == listed.file.as_str());
            if !listed && Path::new(&name).extension().is_some_and(|ending| ending == "seg") {
                // A reader that opened it keeps it; one that is left over is tried again with the next change.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Adds files to a set of documents.
pub struct DocumentsWriter<'a> {
    held: Held,
    key: &'a FingerprintKey,
    segments: Vec<Arc<Segment>>,
    /// Where each file that the set knows stands, and the digest of its contents.
    known: HashMap<String, (usize, u32, u128)>,
    counts: Vec<segment::Counts>,
    names: String,
    postings: Sorter,
    change: Change,
    seen: HashSet<String>,
}

impl<'a> DocumentsWriter<'a> {
    /// Takes hold of the set `name` in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// When somebody else holds it, it is of another kind, or it cannot be read.
    pub fn open(
        folder: &Path,
        name: &str,
        entity: EntityType,
        kind: Kind,
        key: &'a FingerprintKey,
    ) -> Result<Self, FingerprintError> {
        let held = Held::take(super::folder_of(folder, name)?, Manifest::new(entity, kind), key)?;
        let mut segments = Vec::new();
        let mut known = HashMap::new();
        for (index, listed) in held.manifest.segments.iter().enumerate() {
            let segment = Segment::open(&held.folder.join(&listed.file), key)?;
            for document in (0..).take(segment.counts().len()) {
                let (digest, name) = line(segment.name(document));
                if !listed.dead.contains(&document) {
                    known.insert(name.to_owned(), (index, document, digest));
                }
            }
            segments.push(Arc::new(segment));
        }
        Ok(Self {
            held,
            key,
            segments,
            known,
            counts: Vec::new(),
            names: String::new(),
            postings: Sorter::default(),
            change: Change::default(),
            seen: HashSet::new(),
        })
    }

    /// Adds a file, in the place of one with the same name.
    ///
    /// # Errors
    /// When no temporary file can be written.
    pub fn add(&mut self, prepared: Prepared) -> Result<(), FingerprintError> {
        let Prepared { name, digest, hashes } = prepared;
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        match self.known.get(&name) {
            Some((.., old)) if *old == digest => {
                self.change.unchanged += 1;
                return Ok(());
            }
            Some((index, document, _)) => {
                self.held.manifest.segments[*index].dead.insert(*document);
                self.change.changed += 1;
            }
            None => self.change.added += 1,
        }
        self.change.too_short += usize::from(hashes.iter().all(Vec::is_empty));
        let number = u32::try_from(self.counts.len()).map_err(|_| FingerprintError::Full)?;
        let count = |channel: Channel| u32::try_from(hashes[channel as usize].len()).unwrap_or(u32::MAX);
        self.counts.push([count(Channel::Letters), count(Channel::Code)]);
        if number > 0 {
            self.names.push('\n');
        }
        self.names.push_str(&format!("{digest:032x} {name}"));
        for hash in hashes.into_iter().flatten() {
            let pushed = self.postings.push((hash, number));
            pushed.map_err(|source| FingerprintError::io(&self.held.folder, source))?;
        }
        Ok(())
    }

    /// Takes the files out whose names begin so and which were not added again.
    ///
    /// # Errors
    /// When none of them was: it is another folder that is called the same.
    pub fn remove_unseen(&mut self, prefix: &str) -> Result<(), FingerprintError> {
        let mut old = self
            .known
            .keys()
            .filter(|name| name.starts_with(prefix))
            .peekable();
        if old.peek().is_some() && !old.any(|name| self.seen.contains(name)) {
            return Err(FingerprintError::OtherFolder(
                prefix.trim_end_matches('/').to_owned(),
            ));
        }
        let gone: Vec<(usize, u32)> = self
            .known
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && !self.seen.contains(*name))
            .map(|(_, (index, document, _))| (*index, *document))
            .collect();
        for (index, document) in gone {
            self.change.removed += usize::from(self.held.manifest.segments[index].dead.insert(document));
        }
        Ok(())
    }

    /// Puts all of it into force.
    ///
    /// # Errors
    /// When it cannot be written; the set is then as it was.
    pub fn commit(mut self) -> Result<Change, FingerprintError> {
        let folder = self.held.folder.clone();
        let failed = |source| FingerprintError::io(&folder, source);
        let alive: usize = self
            .segments
            .iter()
            .zip(&self.held.manifest.segments)
            .map(|(segment, listed)| segment.counts().len() - listed.dead.len())
            .sum();
        let dead: usize = self
            .held
            .manifest
            .segments
            .iter()
            .map(|listed| listed.dead.len())
            .sum();
        let fresh = self.postings.sorted().map_err(failed)?;
        let mut draft = Draft {
            counts: self.counts,
            names: self.names,
            postings: fresh,
            most: MOST_DOCUMENTS,
            keeps_first: true,
            rows: None,
        };
        // Few large segments are read faster, and what is dead takes place; but merging reads all.
        if self.segments.len() + 1 > MERGED_FROM || dead > alive / 2 {
            let mut sources = vec![draft.postings.into_source()];
            for (segment, listed) in self.segments.iter().zip(&self.held.manifest.segments) {
                let numbers = (0..).take(segment.counts().len()).map(|document: u32| {
                    if listed.dead.contains(&document) {
                        return None;
                    }
                    let number = u32::try_from(draft.counts.len()).ok()?;
                    draft.counts.push(segment.counts()[document as usize]);
                    if number > 0 {
                        draft.names.push('\n');
                    }
                    draft.names.push_str(segment.name(document));
                    Some(number)
                });
                let numbers = numbers.collect();
                sources.push(segment.clone().renumbered(numbers));
            }
            draft.postings = Sorted::of(sources).map_err(failed)?;
            self.held.manifest.segments.clear();
        }
        if !draft.counts.is_empty() {
            let path = self.held.free_path();
            segment::write(&path, self.key, draft)?;
            self.held.manifest.segments.push(Listed::of(&path));
        }
        self.held.publish(self.key)?;
        Ok(self.change)
    }
}

/// The digest and the name that a line of names holds.
pub(super) fn line(line: &str) -> (u128, &str) {
    let (digest, name) = line.split_once(' ').unwrap_or(("", line));
    (u128::from_str_radix(digest, 16).unwrap_or_default(), name)
}
