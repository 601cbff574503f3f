//! Everything that a filter finds, as a file for another program: the records as they are, a table, or events of OCSF.
//!
//! All is read from one [`Snapshot`], so that a file shows the store as it was at one moment, and a page at a time, so that its size does not matter. A
//! [`Manifest`] says what is in the file and from where: positions in the writers' chains, leaves of the trees, and the trees' last checkpoints.
//! Whoever has the log's key checks it with [`check`].
//!
//! No payload leaves by an export: records hold none, and what is sealed beside them is not read.
//!
//! On failure: [`ExportError`]; what was written until then is of no use.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    ops::ControlFlow,
    str::FromStr,
};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::{
    record::{Entry, TreeName},
    search::{self, Query, Row},
    store::{
        Look, Snapshot, Store, StoreError, Value,
        columns::{Cell, Form},
        number,
    },
};

mod columnar;
mod columns;
mod manifest;
mod ocsf;
mod reach;
mod separated;

pub use manifest::{Difference, MAX_MANIFEST_BYTES, Manifest, Signed, check};
pub use reach::{TreeReach, WriterReach};

/// Exchanges that are read at once.
const PAGE: u32 = 1000;

/// Which records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What they have in common; its limit and page do not count.
    pub query: Query,
    /// Of this tenant alone.
    pub tenant: Option<String>,
    /// Of this retention class alone.
    pub class: Option<String>,
    /// What happened to the gateways and to the audit itself instead of exchanges. Of the query the times and the heartbeats count then.
    pub events: bool,
}

impl Selection {
    fn is_of(&self, tree: &TreeName) -> bool {
        let same = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        same(&self.tenant, tree.tenant()) && same(&self.class, tree.class())
    }
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The records as they are, each on a line of its own.
    Jsonl,
    /// A line an exchange, its columns separated by commas.
    Csv,
    /// A row an exchange, in the columns of Apache Parquet.
    Parquet,
    /// An event an exchange, each on a line: class API Activity of the Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Format {
    /// Its name on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a format is one of jsonl, csv, parquet and ocsf")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        [Self::Jsonl, Self::Csv, Self::Parquet, Self::Ocsf]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or(UnknownFormat)
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store did not answer, or what it holds does not read; [`verify`](crate::verify()) then says more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Io(#[from] io::Error),
    /// Events have no columns in common.
    #[error("events are exported as jsonl alone")]
    NotOfEvents,
}

/// What a file holds, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Its form.
    pub format: Format,
    /// Lines of it, or rows; a line of titles is none.
    pub rows: u64,
    /// Records that these show.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
    /// The records by writer and tree.
    pub writers: Vec<WriterReach>,
    /// The trees that they are leaves of.
    pub trees: Vec<TreeReach>,
}

/// Writes what `selection` finds, newest exchange first; events oldest first.
///
/// # Errors
/// When the store cannot be read or the file not written.
pub async fn export<W: Write + Send>(
    store: &Store,
    selection: &Selection,
    format: Format,
    file: W,
) -> Result<Contents, ExportError> {
    if selection.events && format != Format::Jsonl {
        return Err(ExportError::NotOfEvents);
    }
    let mut snapshot = store.snapshot().await?;
    let contents = within(&mut snapshot, selection, format, file).await;
    snapshot.close().await;
    contents
}

async fn within<W: Write + Send>(
    snapshot: &mut Snapshot,
    selection: &Selection,
    format: Format,
    file: W,
) -> Result<Contents, ExportError> {
    let mut tally = reach::Tally::default();
    let file = Hashed::new(file);
    let (file, rows) = match format {
        Format::Jsonl if selection.events => events(snapshot, selection, &mut tally, file).await?,
        Format::Jsonl => records(snapshot, selection, &mut tally, file).await?,
        Format::Csv => exchanges(snapshot, selection, &mut tally, separated::Separated::new(file)?).await?,
        Format::Parquet => exchanges(snapshot, selection, &mut tally, columnar::Columnar::new(file)?).await?,
        Format::Ocsf => exchanges(snapshot, selection, &mut tally, ocsf::Events::new(file)).await?,
    };
    let (bytes, sha256) = file.finish()?;
    let records = tally.records();
    let (writers, trees) = tally.locate(snapshot).await?;
    Ok(Contents {
        format,
        rows,
        records,
        bytes,
        sha256,
        writers,
        trees,
    })
}

/// A file that takes exchanges.
trait Sheet<W>: Sized {
    fn put(&mut self, row: &Row) -> io::Result<()>;
    fn end(self) -> io::Result<W>;
}

type Written<W> = (Hashed<W>, u64);

async fn exchanges<W: Write + Send, S: Sheet<Hashed<W>>>(
    snapshot: &mut Snapshot,
    selection: &Selection,
    tally: &mut reach::Tally,
    mut sheet: S,
) -> Result<Written<W>, ExportError> {
    let mut pages = Pages::of(selection);
    let mut rows = 0;
    while let Some(page) = pages.next(snapshot).await? {
        for row in &page {
            [Some(&row.opening), row.closing.as_ref()]
                .into_iter()
                .flatten()
                .for_each(|entry| tally.add(entry));
            sheet.put(row)?;
            rows += 1;
        }
    }
    Ok((sheet.end()?, rows))
}

/// All records of the exchanges that are found, as the store has them.
async fn records<W: Write + Send>(
    snapshot: &mut Snapshot,
    selection: &Selection,
    tally: &mut reach::Tally,
    mut file: Hashed<W>,
) -> Result<Written<W>, ExportError> {
    let mut pages = Pages::of(selection);
    let mut rows = 0;
    while let Some(page) = pages.next(snapshot).await? {
        let (sql, values) = search::records_of(&page);
        for row in snapshot.look(&sql, values).await? {
            let body = row.first().and_then(Value::text).unwrap_or_default();
            let entry = Entry::parse(body.as_bytes()).map_err(|_| StoreError::Garbled("audit_record"))?;
            tally.add(&entry);
            line(&mut file, body)?;
            rows += 1;
        }
    }
    Ok((file, rows))
}

async fn events<W: Write + Send>(
    snapshot: &mut Snapshot,
    selection: &Selection,
    tally: &mut reach::Tally,
    mut file: Hashed<W>,
) -> Result<Written<W>, ExportError> {
    let query = &selection.query;
    let within =
        |at: Option<u64>, otherwise: i64| at.map_or(otherwise, |at| number(at).int().unwrap_or(i64::MAX));
    let kinds = if query.heartbeats {
        ""
    } else {
        "AND kind <> 'heartbeat' "
    };
    let sql = format!(
        "SELECT body FROM audit_record WHERE exchange IS NULL AND at >= {} AND at < {} {kinds}ORDER BY at, writer, sequence",
        within(query.since, 0),
        within(query.until, i64::MAX)
    );
    let mut rows = 0;
    let mut outcome = Ok(());
    let mut put = |cells: &[Cell<'_>]| -> Result<(), ExportError> {
        let garbled = || StoreError::Garbled("audit_record");
        let body = cells.first().and_then(|cell| cell.text()).ok_or_else(garbled)?;
        let entry = Entry::parse(body.as_bytes()).map_err(|_| garbled())?;
        if selection.is_of(&entry.tree()) {
            tally.add(&entry);
            line(&mut file, body)?;
            rows += 1;
        }
        Ok(())
    };
    let mut take = |cells: &[Cell<'_>]| {
        outcome = put(cells);
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    snapshot.scan(&sql, &[Form::Text], &mut take).await?;
    outcome?;
    Ok((file, rows))
}

/// A record on a line of its own. Bodies are canonical JSON, which has no line feeds; one that was altered to have some must not look like two.
fn line(file: &mut impl Write, body: &str) -> Result<(), ExportError> {
    if body.contains('\n') {
        return Err(StoreError::Garbled("audit_record").into());
    }
    file.write_all(body.as_bytes())?;
    Ok(file.write_all(b"\n")?)
}

/// The exchanges that a selection finds, newest first.
struct Pages<'s> {
    selection: &'s Selection,
    query: Query,
    ended: bool,
}

impl<'s> Pages<'s> {
    fn of(selection: &'s Selection) -> Self {
        let query = Query {
            limit: PAGE,
            after: None,
            ..selection.query.clone()
        };
        Self {
            selection,
            query,
            ended: false,
        }
    }

    async fn next(&mut self, snapshot: &mut Snapshot) -> Result<Option<Vec<Row>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let Selection { tenant, class, .. } = self.selection;
        let page = search::page(snapshot, &self.query, tenant.as_deref(), class.as_deref()).await?;
        self.query.after = page.last().map(Row::position);
        self.ended = page.len() < PAGE as usize;
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

/// A file whose hash is taken while it is written.
struct Hashed<W> {
    file: W,
    context: digest::Context,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn new(file: W) -> Self {
        Self {
            file,
            context: digest::Context::new(&digest::SHA256),
            bytes: 0,
        }
    }

    /// How many bytes there are, and their hash.
    fn finish(mut self) -> io::Result<(u64, String)> {
        self.file.flush()?;
        Ok((self.bytes, hex::encode(self.context.finish())))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What was asked for, by its names on the command line.
pub type FilterWords = BTreeMap<String, String>;
