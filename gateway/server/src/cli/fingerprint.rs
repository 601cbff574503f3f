//! `cordon fingerprint`: sets of the company's own files, records and planted strings, by which the gateway
//! recognises them. A running gateway picks changes up by itself within seconds.
//!
//! Names of files in a set begin with the last part of the path that was given (or `--label`), so that adding the
//! same path again brings the set up to date: what changed is read anew, what is gone is removed.
//!
//! On failure: files that cannot be read are told, the rest is added, and the exit code is 2.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use cordon_domain::EntityType;
use cordon_inspect::{
    document,
    fingerprint::{
        self, DocumentsWriter, FingerprintKey, Fingerprints, Kind, Prepared, RecordsOptions, add_canaries,
        add_records, prepare,
    },
};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Where, complain,
    progress::Progress,
    say,
    scan::inputs::{Content, Input, Rules},
};
use crate::{installation::Installation, rules};

/// Arguments of `cordon fingerprint`.
#[derive(Args)]
pub struct Fingerprint {
    #[command(subcommand)]
    action: FingerprintAction,
}

#[derive(Subcommand)]
enum FingerprintAction {
    /// Add folders, git repositories, documents and mail archives to a set; with `--columns`, the rows of tables.
    #[command(
        after_help = "Examples:\n  cordon fingerprint add fab-process ~/src/etch ~/minutes\n  cordon fingerprint add customers customers.csv --columns first,last,iban,city --needed 3\n  cordon fingerprint add public ~/vendor --background"
    )]
    Add(Add),
    /// Plant strings: add canaries to a set, or have some made. Each is found wherever it stands.
    #[command(after_help = "Example:\n  cordon fingerprint canary planted --make 3")]
    Canary(Canary),
    /// List the sets, or the files of one.
    List {
        /// The set whose files are listed.
        set: Option<String>,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        /// Read all of all files and compare their checksums.
        #[arg(long)]
        verify: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Remove a set.
    Remove {
        /// The set.
        set: String,
        #[command(flatten)]
        place: Where,
    },
}

#[derive(Args)]
struct Add {
    /// The set: lower-case letters, digits, `-` and `_`.
    set: String,
    /// Folders, git repositories, files; or tables.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// What its findings are; `CONFIDENTIAL.` and the set's name when absent.
    #[arg(long)]
    entity: Option<EntityType>,
    /// What names of files begin with, instead of the path's last part.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// The files are public: what they hold is left out of all sets.
    #[arg(long, conflicts_with = "columns")]
    background: bool,
    /// The paths are tables (CSV or the like, with names of columns in the first line): recognise rows by these.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    columns: Vec<String>,
    /// Columns of one row that make a finding.
    #[arg(long, requires = "columns", default_value_t = 2)]
    needed: usize,
    /// Bytes of a text within which they stand.
    #[arg(long, requires = "columns", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    window: u32,
    /// What separates columns; told from the first line when absent.
    #[arg(long, requires = "columns", value_name = "CHAR")]
    delimiter: Option<char>,
    /// Keep files in the set that are no longer there.
    #[arg(long)]
    keep: bool,
    /// Also read what `.gitignore` leaves out.
    #[arg(long)]
    all_files: bool,
    /// Largest file that is read, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_size: u64,
    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
struct Canary {
    /// The set.
    set: String,
    /// Strings that were planted.
    canaries: Vec<String>,
    /// Make so many; they are printed, once.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    make: u16,
    /// What its findings are; `CONFIDENTIAL.` and the set's name when absent.
    #[arg(long)]
    entity: Option<EntityType>,
    #[command(flatten)]
    place: Where,
}

impl Fingerprint {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            FingerprintAction::Add(add) => add.run(),
            FingerprintAction::Canary(canary) => canary.run(),
            FingerprintAction::List {
                set,
                json,
                verify,
                place,
            } => list(set.as_deref(), json, verify, &place),
            FingerprintAction::Remove { set, place } => {
                let installation = Installation::of(&place.load()?);
                fingerprint::remove_set(installation.fingerprints(), &set)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// The installation, and its key, which is made if there is none.
fn open(place: &Where) -> Result<(Installation, FingerprintKey)> {
    let installation = Installation::of(&place.load()?);
    installation.create()?;
    let key = rules::fingerprint_key(&installation.make_key()?);
    Ok((installation, key))
}

fn entity(given: Option<EntityType>, set: &str) -> Result<EntityType> {
    match given {
        Some(entity) => Ok(entity),
        None => Ok(fingerprint::entity_of(set)?),
    }
}

impl Add {
    fn run(self) -> Result<ExitCode> {
        let (installation, key) = open(&self.place)?;
        let entity = entity(self.entity.clone(), &self.set)?;
        if self.columns.is_empty() {
            self.files(installation.fingerprints(), &key, entity)
        } else {
            self.tables(installation.fingerprints(), &key, &entity)
        }
    }

    fn tables(&self, folder: &Path, key: &FingerprintKey, entity: &EntityType) -> Result<ExitCode> {
        let delimiter = match self.delimiter {
            None => None,
            Some(delimiter) => match u8::try_from(delimiter) {
                Ok(delimiter) if delimiter.is_ascii() => Some(delimiter),
                _ => bail!("the delimiter must be an ASCII character"),
            },
        };
        let options = RecordsOptions {
            columns: self.columns.clone(),
            needed: self.needed,
            window: self.window as usize,
            delimiter,
        };
        for path in &self.paths {
            let table = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            let label = self.label(path)?;
            let read = add_records(folder, &self.set, entity.clone(), key, &options, &label, table)?;
            say(&format!(
                "{label}: {} rows, {} cells; {} rows have too few cells that tell anything",
                read.rows, read.cells, read.too_few
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What names of a path's files begin with.
    fn label(&self, path: &Path) -> Result<String> {
        if let Some(label) = &self.label {
            return Ok(label.clone());
        }
        let whole = path
            .canonicalize()
            .with_context(|| format!("cannot read {}", path.display()))?;
        let name = whole
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(if name.is_empty() { "root".to_owned() } else { name })
    }

    fn files(&self, folder: &Path, key: &FingerprintKey, entity: EntityType) -> Result<ExitCode> {
        let kind = if self.background {
            Kind::Background
        } else {
            Kind::Documents
        };
        let mut labels = HashSet::new();
        let mut inputs = Vec::new();
        // Working trees of bare repositories, for as long as they are read.
        let mut trees = Vec::new();
        for path in &self.paths {
            let label = self.label(path)?;
            if !labels.insert(label.clone()) {
                bail!(
                    "two of the paths would both be called `{label}`; add them one by one, each with its own --label"
                );
            }
            let mut base = path.clone();
            if is_bare_repository(path) {
                let tree = checked_out(path)?;
                base = tree.path().to_owned();
                trees.push(tree);
            }
            // What a scan need not report is the company's own nevertheless, so `.cordonignore` does not count.
            let rules = if self.all_files { Rules::Nobody } else { Rules::Git };
            for input in Input::all(std::slice::from_ref(&base), rules)? {
                let name = match input.path().strip_prefix(&base) {
                    Ok(rest) if !rest.as_os_str().is_empty() => format!("{label}/{}", rest.display()),
                    _ => label.clone(),
                };
                inputs.push((name, input));
            }
        }
        let mut writer = DocumentsWriter::open(folder, &self.set, entity, kind, key)?;
        let mut failed = 0_usize;
        let mut passed_over = 0_usize;
        let progress = Progress::new(Some(inputs.len() as u64));
        let many = thread::available_parallelism().map_or(1, usize::from);
        let inputs = Mutex::new(inputs.into_iter());
        thread::scope(|scope| -> Result<()> {
            let (tell, told) = mpsc::sync_channel(many * 4);
            for _ in 0..many {
                let tell = tell.clone();
                let inputs = &inputs;
                scope.spawn(move || {
                    loop {
                        let next = inputs.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some((name, input)) = next else { return };
                        let read = read(key, &name, input, self.max_size << 20);
                        if tell.send(read.with_context(|| name)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            for read in told {
                progress.step();
                match read {
                    Ok(read) => {
                        passed_over += usize::from(read.prepared.is_empty() && read.unread.is_empty());
                        failed += read.unread.len();
                        for line in read.unread {
                            progress.suspend(|| complain(&format!("cordon: {line}")));
                        }
                        for prepared in read.prepared {
                            writer.add(prepared)?;
                        }
                    }
                    Err(error) => {
                        failed += 1;
                        progress.suspend(|| complain(&format!("cordon: {error:#}")));
                    }
                }
            }
            Ok(())
        })?;
        progress.end();
        // What could not be read is not gone.
        if !self.keep && failed == 0 {
            for label in &labels {
                writer.remove_unseen(&format!("{label}/"))?;
                // What is in an archive or a mailbox that was named itself.
                writer.remove_unseen(&format!("{label}!/"))?;
            }
        }
        let change = writer.commit()?;
        say(&format!(
            "{}: {} added, {} changed, {} unchanged, {} removed; {} too short to be recognised, {passed_over} without text, {failed} not readable",
            self.set, change.added, change.changed, change.unchanged, change.removed, change.too_short,
        ));
        Ok(ExitCode::from(if failed > 0 { 2 } else { 0 }))
    }
}

/// What came of one file.
struct Read {
    prepared: Vec<Prepared>,
    unread: Vec<String>,
}

/// Reads a file: as one, or for archives and mailboxes each thing in it by itself.
fn read(key: &FingerprintKey, name: &str, input: Input, largest: u64) -> Result<Read> {
    let mut unread = Vec::new();
    let prepared = match input.read(largest)? {
        Content::Binary => Vec::new(),
        Content::TooLarge => {
            unread.push(format!(
                "{name} is larger than {} MiB; `--max-size` says how much is read",
                largest >> 20
            ));
            Vec::new()
        }
        Content::Text(text) => vec![prepare(key, name, &[text.as_str()])],
        Content::Page(source, page) => {
            // A page is pasted as it looks, or as it is written.
            let texts: Vec<&str> = std::iter::once(source.as_str())
                .chain(page.parts.iter().map(|part| part.text.as_str()))
                .collect();
            vec![prepare(key, name, &texts)]
        }
        Content::Document(document) => {
            for error in document.unread {
                if error.problem != document::Problem::NotText {
                    unread.push(format!("cannot read {name}{}: {error}", inside(&error.path)));
                }
            }
            let holds_many = document.kind.holds_files();
            let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for part in &document.parts {
                let step = if holds_many { first_step(&part.path) } else { "" };
                files
                    .entry(format!("{name}{step}"))
                    .or_default()
                    .push(part.text.as_str());
            }
            files
                .iter()
                .map(|(name, texts)| prepare(key, name, texts))
                .collect()
        }
    };
    Ok(Read { prepared, unread })
}

/// `!/plans/b.pptx` of `a.zip!/plans/b.pptx!/slide 3`.
fn first_step(path: &str) -> &str {
    let steps = inside(path);
    let end = steps
        .get(2..)
        .and_then(|rest| rest.find("!/"))
        .map_or(steps.len(), |end| end + 2);
    &steps[..end]
}

fn inside(path: &str) -> &str {
    path.find("!/").map_or("", |at| &path[at..])
}

fn is_bare_repository(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

/// The files of a bare repository's newest commit, in a folder that goes with the value. They come by a clone, since
/// git runs what the configuration and the hooks of a repository say that it works in, and this one is somebody else's.
fn checked_out(repository: &Path) -> Result<tempfile::TempDir> {
    let tree = tempfile::tempdir().context("cannot make a temporary folder")?;
    let repository = repository
        .canonicalize()
        .with_context(|| format!("cannot read {}", repository.display()))?;
    let git = Command::new("git")
        .args([
            "clone",
            "--quiet",
            "--depth",
            "1",
            "--no-local",
            "--template=",
            "--",
        ])
        .arg(&repository)
        .arg(tree.path())
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .output()
        .context("cannot run git")?;
    if !git.status.success() {
        bail!(
            "git cannot read {}: {}",
            repository.display(),
            String::from_utf8_lossy(&git.stderr).trim()
        );
    }
    // With no commit there is nothing to read, which must not pass for files that are gone.
    let mut entries = std::fs::read_dir(tree.path()).context("cannot read a temporary folder")?;
    if !entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != ".git")) {
        bail!("{} has no commit with files", repository.display());
    }
    Ok(tree)
}

impl Canary {
    fn run(self) -> Result<ExitCode> {
        let (installation, key) = open(&self.place)?;
        let mut canaries = self.canaries;
        for _ in 0..self.make {
            canaries.push(fresh_canary()?);
        }
        if canaries.is_empty() {
            bail!("name strings that were planted, or have some made with --make");
        }
        let entity = entity(self.entity, &self.set)?;
        // Each planting is a part of its own, which tells the auditor when it was.
        let label = format!("planted {}", now());
        add_canaries(
            installation.fingerprints(),
            &self.set,
            entity,
            &key,
            &label,
            &canaries,
        )?;
        for canary in &canaries[canaries.len() - usize::from(self.make)..] {
            say(canary);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Fifteen random letters and digits, without those that are taken for others.
fn fresh_canary() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
    let mut random = [0_u8; 15];
    if getrandom::fill(&mut random).is_err() {
        bail!("the operating system gives no random bytes");
    }
    let letters: Vec<char> = random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    let parts: Vec<String> = letters.chunks(5).map(|part| part.iter().collect()).collect();
    Ok(parts.join("-"))
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

fn list(set: Option<&str>, json: bool, verify: bool, place: &Where) -> Result<ExitCode> {
    let config = place.load()?;
    let Some(prints) = rules::load_fingerprints(&config)? else {
        if let Some(set) = set {
            bail!("there is no set `{set}`");
        }
        if stdout().is_terminal() {
            complain("there are no sets; `cordon fingerprint add` makes one");
        }
        return Ok(ExitCode::SUCCESS);
    };
    if verify {
        prints.verify()?;
    }
    match set {
        Some(set) => list_files(&prints, set, json)?,
        None => prints.summaries().iter().for_each(|set| say(&summary(set, json))),
    }
    Ok(ExitCode::SUCCESS)
}

fn list_files(prints: &Fingerprints, set: &str, json: bool) -> Result<()> {
    if !prints.summaries().iter().any(|known| known.name == set) {
        bail!("there is no set `{set}`");
    }
    for file in prints.files(set) {
        say(&if json {
            json!({"set": set, "file": file}).to_string()
        } else {
            file.to_owned()
        });
    }
    Ok(())
}

fn summary(set: &fingerprint::SetSummary, json: bool) -> String {
    let changed = i64::try_from(set.changed)
        .ok()
        .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default();
    if json {
        return json!({
            "set": set.name, "entity": set.entity, "kind": set.kind.name(), "entries": set.entries,
            "prints": set.prints, "bytes": set.bytes, "changed": changed,
        })
        .to_string();
    }
    let unit = match set.kind {
        Kind::Documents | Kind::Background => "files",
        Kind::Records => "rows",
        Kind::Canaries => "strings",
    };
    format!(
        "{} {} {}: {} {unit}, {} prints, {} KiB, changed {changed}",
        set.name,
        set.entity,
        set.kind.name(),
        set.entries,
        set.prints,
        set.bytes.div_ceil(1024),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_random_and_long_enough() {
        let (one, other) = (fresh_canary().unwrap(), fresh_canary().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.matches('-').count()), (17, 2));
    }

    #[test]
    fn a_file_that_is_too_large_counts_as_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.txt");
        std::fs::write(&path, "x".repeat((1 << 20) + 1)).unwrap();
        let key = FingerprintKey::from_bytes(&[1; 32]);
        let read = read(&key, "repo/large.txt", Input::Met(path), 1 << 20).unwrap();
        assert!(read.prepared.is_empty());
        assert_eq!(
            read.unread,
            ["repo/large.txt is larger than 1 MiB; `--max-size` says how much is read"]
        );
    }

    #[test]
    fn bare_repositories_are_read_and_their_hooks_not_run() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let done = Command::new("git")
                .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
                .args(arguments)
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        git(&["init", "--quiet", "--bare", "bare.git"]);
        let bare = dir.path().join("bare.git");
        assert!(is_bare_repository(&bare));
        assert!(checked_out(&bare).is_err());
        git(&["init", "--quiet", "work"]);
        std::fs::write(dir.path().join("work/etch.c"), "int etch;").unwrap();
        std::fs::write(dir.path().join("work/.gitattributes"), "* filter=own").unwrap();
        git(&["-C", "work", "add", "."]);
        git(&["-C", "work", "commit", "--quiet", "-m", "first"]);
        git(&[
            "-C",
            "work",
            "push",
            "--quiet",
            "../bare.git",
            "HEAD:refs/heads/kept",
        ]);
        git(&["-C", "bare.git", "symbolic-ref", "HEAD", "refs/heads/kept"]);
        let mark = dir.path().join("ran");
        let script = format!("#!/bin/sh\ntouch {}\ncat\n", mark.display());
        std::fs::create_dir_all(bare.join("hooks")).unwrap();
        for hook in ["hooks/post-checkout", "smudge"] {
            let hook = bare.join(hook);
            std::fs::write(&hook, &script).unwrap();
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let smudge = bare.join("smudge").display().to_string();
        git(&["-C", "bare.git", "config", "filter.own.smudge", &smudge]);
        let tree = checked_out(&bare).unwrap();
        assert_eq!(
            std::fs::read_to_string(tree.path().join("etch.c")).unwrap(),
            "int etch;"
        );
        assert!(!mark.exists());
    }

    #[test]
    fn steps_of_archives_name_the_file() {
        assert_eq!(first_step("a.zip!/plans/b.pptx!/slide 3"), "!/plans/b.pptx");
        assert_eq!(first_step("a.mbox!/3"), "!/3");
        assert_eq!(first_step("a.txt"), "");
    }
}
