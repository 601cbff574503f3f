//! `cordon audit export`: all that a filter finds as a file for another program, with a signed manifest beside it; and the check of such a file.
//!
//! That it begins is on record before anything is read, and what it holds before the file is there. Files are written aside, for their owner only, and
//! none that is there is overwritten.
//!
//! On failure: exit 1 when a file is not as its manifest says, exit 2 when there is none. A file that is there under its name is whole.

use std::{
    ffi::OsStr,
    fs,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use cordon_audit::{
    Body, ExportStarted, Exported, TreeName,
    export::{self, FilterWords, Format, MAX_MANIFEST_BYTES, Manifest, Selection},
    note::{MAX_NOTE_BYTES, VerifyingKey},
};
use tempfile::NamedTempFile;
use uuid::Uuid;

use super::{
    super::{NO, say},
    desk::{Desk, Who},
    filter::{Filter, Sought},
    proof::key,
};
use crate::{audit_room::checkpoint_key, installation::Installation};

/// Arguments of `cordon audit export`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cordon audit export --format parquet --out november.parquet --since 2026-11-01 --until 2026-12-01 --dir state\n\
    Whoever gets the three files checks them: cordon audit export --check november.parquet --key KEY\n\
    cordon audit key prints the key."
)]
pub(super) struct Export {
    /// File to write, which must not be there yet. FILE.manifest.json and FILE.manifest.json.sig are written beside it.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    out: Option<PathBuf>,
    /// Form of the file: the records as they are (jsonl), a table of exchanges (csv, parquet), or events of OCSF's class API Activity (ocsf).
    #[arg(long, default_value = "jsonl")]
    format: Format,
    /// Check a file that was exported against its manifest instead, and the manifest against its signature.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    check: Option<PathBuf>,
    /// With --check: the log's key, `name+id+base64`, or a file that holds it; this installation's own when it is not given.
    #[arg(long, value_name = "KEY|FILE", requires = "check")]
    key: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Records of this tenant alone.
    #[arg(long)]
    tenant: Option<String>,
    /// Records of this retention class alone.
    #[arg(long)]
    class: Option<String>,
    #[command(flatten)]
    who: Who,
}

impl Export {
    pub(super) async fn run(self) -> Result<ExitCode> {
        if let Some(file) = &self.check {
            return self.compare(file);
        }
        let out = self.out.clone().context("--out is missing")?;
        let places = Places::of(&out)?;
        if self.tenant.is_some() || self.class.is_some() {
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "any".to_owned());
            TreeName::new(&name(&self.tenant), &name(&self.class))?;
        }
        let sought = self.filter.read()?;
        if sought.events && self.format != Format::Jsonl {
            bail!(export::ExportError::NotOfEvents);
        }
        let desk = self.who.sit_down().await?;
        let Sought {
            query,
            words: mut filter,
            events,
            ..
        } = sought.at(&desk);
        for (name, value) in [("tenant", &self.tenant), ("class", &self.class)] {
            if let Some(value) = value {
                filter.insert(name.to_owned(), value.clone());
            }
        }
        let selection = Selection {
            query,
            tenant: self.tenant,
            class: self.class,
            events,
        };
        let written = write(&desk, &places, &selection, filter, self.format).await;
        let left = desk.leave().await;
        say(&written?);
        left?;
        Ok(ExitCode::SUCCESS)
    }

    fn compare(&self, file: &Path) -> Result<ExitCode> {
        let key = match &self.key {
            Some(text) => key(text)?,
            None => self.own_key().context("--key is needed here")?,
        };
        let beside = Beside::of(file);
        let manifest = read(&beside.manifest, MAX_MANIFEST_BYTES)?;
        let note = read(&beside.note, MAX_NOTE_BYTES)?;
        match export::check(file, &manifest, &note, &key) {
            Ok(manifest) => {
                say(&format!("ok {}", told(&manifest)));
                Ok(ExitCode::SUCCESS)
            }
            Err(export::Difference::Io(error)) => Err(error).context(file.display().to_string()),
            Err(difference) => {
                say(&difference.to_string());
                Ok(ExitCode::from(NO))
            }
        }
    }

    fn own_key(&self) -> Result<VerifyingKey> {
        let config = self.who.place.load()?;
        let key = Installation::of(&config).key()?;
        Ok(checkpoint_key(&config, &key)?.verifying().clone())
    }
}

/// Exports, and says what was.
async fn write(
    desk: &Desk,
    places: &Places<'_>,
    selection: &Selection,
    filter: FilterWords,
    format: Format,
) -> Result<String> {
    let export = Uuid::now_v7();
    let started = ExportStarted {
        export,
        operator: desk.operator.clone(),
        filter: filter.clone(),
        format: format.name().to_owned(),
    };
    desk.record(Body::ExportStarted(started)).await?;
    let mut file = places.aside()?;
    let contents = export::export(&desk.store, selection, format, BufWriter::new(file.as_file_mut())).await?;
    file.as_file().sync_all()?;
    let exported = Exported {
        export,
        operator: desk.operator.clone(),
        format: format.name().to_owned(),
        records: contents.records,
        sha256: contents.sha256.clone(),
    };
    desk.record(Body::Exported(exported)).await?;
    let manifest = Manifest {
        v: Manifest::V,
        export,
        at: desk.now(),
        operator: desk.operator.clone(),
        filter,
        contents,
    };
    let signed = manifest.sign(&checkpoint_key(&desk.config, &desk.key)?)?;
    let text = places.aside_with(&signed.text)?;
    let note = places.aside_with(&signed.note.to_string())?;
    // The file comes last: where it is, its manifest is too.
    places.put(text, &places.beside.manifest)?;
    let last = places
        .put(note, &places.beside.note)
        .and_then(|()| places.put(file, places.out));
    if last.is_err() {
        // Both are ours, as neither was there before.
        let _ = fs::remove_file(&places.beside.manifest);
    }
    last?;
    Ok(told(&manifest))
}

/// What was exported, for a person.
fn told(manifest: &Manifest) -> String {
    let contents = &manifest.contents;
    let mut lines = vec![format!(
        "{} rows of {} records as {} by {}, {} bytes, SHA-256 {}",
        contents.rows,
        contents.records,
        contents.format,
        manifest.operator.name(),
        contents.bytes,
        contents.sha256
    )];
    for tree in &contents.trees {
        let index = |index: Option<u64>| index.map_or_else(|| "?".to_owned(), |index| index.to_string());
        let (first, last) = (index(tree.first_index), index(tree.last_index));
        lines.push(format!(
            "{} records of {}/{}, leaves {first} to {last}",
            tree.records, tree.tenant, tree.class
        ));
    }
    lines.join("\n")
}

/// A file's manifest, and the note over that.
struct Beside {
    manifest: PathBuf,
    note: PathBuf,
}

impl Beside {
    fn of(file: &Path) -> Self {
        let with = |end: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(OsStr::new(end));
            PathBuf::from(name)
        };
        Self {
            manifest: with(".manifest.json"),
            note: with(".manifest.json.sig"),
        }
    }
}

/// Where an export's files go.
struct Places<'p> {
    out: &'p Path,
    folder: &'p Path,
    beside: Beside,
}

impl<'p> Places<'p> {
    fn of(out: &'p Path) -> Result<Self> {
        let beside = Beside::of(out);
        for path in [out, &beside.manifest, &beside.note] {
            // A link that leads nowhere is there, too.
            if path.symlink_metadata().is_ok() {
                bail!("{} is there already", path.display());
            }
        }
        let folder = match out.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => bail!("{} is no file", out.display()),
        };
        Ok(Self { out, folder, beside })
    }

    /// A file for its owner only, which is gone again if it is not put anywhere.
    fn aside(&self) -> Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".cordon-export-")
            .tempfile_in(self.folder)
            .with_context(|| format!("no file can be made in {}", self.folder.display()))
    }

    fn aside_with(&self, text: &str) -> Result<NamedTempFile> {
        let mut file = self.aside()?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn put(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        file.persist_noclobber(path)
            .map(drop)
            .with_context(|| format!("{} cannot be made", path.display()))
    }
}

/// A file, up to a size; what is larger is cut behind it, and then refused by its reader.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let cannot = || format!("{} cannot be read", path.display());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(cannot)?;
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    Ok(bytes)
}
