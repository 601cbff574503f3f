//! Whether the store still holds what was recorded: nothing altered, missing, reordered, doubled or added.
//!
//! Each writer's records are walked in order of their sequence, by key, up to where the writer's chain stood when
//! the walk began, so a live store can be verified while it grows. For each record: its body reads; body and
//! columns say the same (searches use the columns, so an altered column is a lie even if the body is whole); its
//! sequence follows; and the record behind it holds its hash. The first record that is wrong is named.
//!
//! The end of a chain has no record behind it, only the position that the store itself keeps. Someone who can
//! write the store can shorten a chain, or rewrite it with new hashes, and set that position to match. Where the
//! spool directory is at hand, its `cursor` file is the independent witness against that, for its own writer.
//! Without it, and for other machines' writers, that takes signed checkpoints kept elsewhere.
//!
//! On failure: [`Broken`] is the answer "no"; [`StoreError`] means that there was no answer.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
};

use cordon_domain::ExchangeId;

use crate::{
    record::{Entry, EntryHash, WriterId},
    spool::{
        Link,
        recover::{SpoolError, read_cursor},
    },
    store::{
        Store, StoreError, Value,
        columns::{BODY, COLUMNS, list, row_of},
        number,
    },
};

/// Records fetched at a time.
const PAGE: u64 = 2000;

/// The store holds what was recorded, as far as a hash chain can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records were walked.
    pub records: u64,
    /// Where each writer's chain stands.
    pub heads: Vec<ChainHead>,
    /// Exchanges that have no final state yet.
    pub unsealed: u64,
    /// The oldest of them, and when it was opened (milliseconds since 1970).
    pub oldest_unsealed: Option<(ExchangeId, u64)>,
    /// Whether a spool directory bore witness to the end of its chain.
    pub witnessed: bool,
}

/// The end of one writer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The writer.
    pub writer: WriterId,
    /// The last sequence.
    pub sequence: u64,
    /// The hash of that record.
    pub hash: EntryHash,
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.writer, self.sequence, self.hash.short())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ok {} records, checkpoint", self.records)?;
        if self.heads.is_empty() {
            f.write_str(" none")?;
        }
        for head in &self.heads {
            write!(f, " {head}")?;
        }
        if let Some((exchange, at)) = self.oldest_unsealed {
            let n = self.unsealed;
            write!(
                f,
                "\nnote: {n} without a final state, the oldest {exchange} of {}",
                written(at)
            )?;
        }
        if !self.witnessed {
            f.write_str(
                "\nnote: no spool directory at hand, so the ends of the chains are the store's own word",
            )?;
        }
        Ok(())
    }
}

fn written(at: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).ok();
    time.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("{at} ms"))
}

/// The first record that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {writer}:{sequence} {fault}")]
pub struct Broken {
    /// Whose chain it is.
    pub writer: WriterId,
    /// The record's place in it.
    pub sequence: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its body was changed: the chain holds another hash for it.
    #[error("is altered: the chain holds another hash for it")]
    Altered,
    /// Its body is not a record at all.
    #[error("is altered: its body does not read")]
    Unreadable,
    /// A column says something else than the body.
    #[error("is altered: column {0} and body differ")]
    Column(&'static str),
    /// It is not there, and later ones are.
    #[error("is missing")]
    Missing,
    /// Another record of the chain stands in its place.
    #[error("is reordered: record {0} stands in its place")]
    Reordered(u64),
    /// It is there more than once.
    #[error("is there more than once")]
    Duplicated,
    /// It and all behind it are gone.
    #[error("and those behind it are missing: the chain went on to {0}")]
    Truncated(u64),
    /// It is not the record that this machine shipped.
    #[error("is not the one that the spool shipped: the chain was rewritten")]
    Rewritten,
    /// Nobody shipped it: it lies outside of what its writer recorded.
    #[error("was added: it lies outside its writer's chain")]
    Added,
    /// The store no longer says where its writer's chain stands.
    #[error("has no writer: the position of its chain is gone")]
    NoWriter,
}

/// Why verifying did not end in "ok".
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A record is wrong.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool directory's position does not read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Walks all chains of a store. `spool` is the directory of a spool that ships to it, if one is at hand;
/// it may be in use.
///
/// # Errors
/// [`VerifyError::Broken`] with the first record that is wrong; the others when there is no telling.
pub async fn verify(store: &Store, spool: Option<&Path>) -> Result<Verified, VerifyError> {
    // Read before the store: what was shipped by then must be there.
    let witness = spool.map(read_cursor).transpose()?.flatten();
    let writers = writers(store).await?;
    let mut found = Verified {
        records: 0,
        heads: Vec::new(),
        unsealed: 0,
        oldest_unsealed: None,
        witnessed: witness.is_some(),
    };
    if let Some(witness) = witness
        && witness.shipped.sequence > 0
        && !writers.contains_key(&witness.writer)
    {
        let fault = Fault::Truncated(witness.shipped.sequence);
        return Err(Broken {
            writer: witness.writer,
            sequence: 1,
            fault,
        }
        .into());
    }
    for (writer, head) in writers {
        let witness = witness.filter(|w| w.writer == writer).map(|w| w.shipped);
        let mut chain = Chain {
            store,
            writer,
            head,
            witness,
            open: HashMap::new(),
        };
        chain.walk().await?;
        found.records += head.sequence;
        found.heads.push(ChainHead {
            writer,
            sequence: head.sequence,
            hash: head.hash,
        });
        found.unsealed += chain.open.len() as u64;
        let oldest = chain
            .open
            .into_iter()
            .min_by_key(|(exchange, at)| (*at, *exchange));
        found.oldest_unsealed = [found.oldest_unsealed, oldest]
            .into_iter()
            .flatten()
            .min_by_key(|(exchange, at)| (*at, *exchange));
    }
    Ok(found)
}

/// Every writer of which the store holds a record or a position, with that position.
async fn writers(store: &Store) -> Result<BTreeMap<WriterId, Link>, VerifyError> {
    // Records first: positions only grow, so a record read now lies within a position read later.
    let mut last_records = BTreeMap::new();
    let mut sql = "SELECT writer, sequence FROM audit_record ORDER BY writer DESC, sequence DESC LIMIT 1";
    let mut values = Vec::new();
    // From writer to writer by key: a store holds few writers and many records.
    while let Some(row) = store.rows(sql.to_owned(), values).await?.first() {
        let last = || Some((row.first()?.uuid()?, row.get(1)?.int()?));
        let (writer, sequence) = last().ok_or(StoreError::Garbled("audit_record"))?;
        last_records.insert(WriterId::from(writer), sequence);
        sql = "SELECT writer, sequence FROM audit_record WHERE writer < $1 ORDER BY writer DESC, sequence DESC LIMIT 1";
        values = vec![Value::Uuid(writer)];
    }
    let mut heads = BTreeMap::new();
    for row in store
        .rows(
            "SELECT writer, sequence, hash FROM audit_writer".to_owned(),
            Vec::new(),
        )
        .await?
    {
        let head = || {
            let [writer, sequence, hash] = row.as_slice() else {
                return None;
            };
            let hash = hash.text()?.parse().ok()?;
            Some((
                WriterId::from(writer.uuid()?),
                Link {
                    sequence: sequence.sequence()?,
                    hash,
                },
            ))
        };
        let (writer, head) = head().ok_or(StoreError::Garbled("audit_writer"))?;
        heads.insert(writer, head);
    }
    for (writer, last) in last_records {
        let sequence = u64::try_from(last).unwrap_or(0);
        match heads.get(&writer) {
            None => {
                return Err(Broken {
                    writer,
                    sequence,
                    fault: Fault::NoWriter,
                }
                .into());
            }
            Some(head) if sequence > head.sequence => {
                return Err(Broken {
                    writer,
                    sequence: head.sequence + 1,
                    fault: Fault::Added,
                }
                .into());
            }
            Some(_) => {}
        }
    }
    Ok(heads)
}

struct Chain<'s> {
    store: &'s Store,
    writer: WriterId,
    /// Where the store says that it ends.
    head: Link,
    /// Where the spool says that it was shipped to.
    witness: Option<Link>,
    /// Exchanges opened and not closed, and when.
    open: HashMap<ExchangeId, u64>,
}

/// A record whose own content is consistent, before its hash is compared with what the chain holds for it.
struct Read {
    link: Link,
    previous_hash: EntryHash,
}

impl Chain<'_> {
    async fn walk(&mut self) -> Result<(), VerifyError> {
        if let Some(witness) = self.witness
            && witness.sequence > self.head.sequence
        {
            return Err(self
                .broken(self.head.sequence + 1, Fault::Truncated(witness.sequence))
                .into());
        }
        let mut last = Link::START;
        while last.sequence < self.head.sequence {
            let page = self.page(last.sequence).await?;
            if page.is_empty() {
                return Err(self
                    .broken(last.sequence + 1, Fault::Truncated(self.head.sequence))
                    .into());
            }
            let mut rows = page.iter().peekable();
            while let Some(row) = rows.next() {
                let read = self.record(row, last.sequence + 1)?;
                // What the chain holds for this record: the one behind it says, or the position if it is the last.
                let next = rows.peek();
                let vouched_for = || {
                    let holds = match next {
                        Some(next) => previous_hash(next),
                        None => (read.link.sequence == self.head.sequence).then_some(self.head.hash),
                    };
                    holds == Some(read.link.hash)
                };
                if read.previous_hash != last.hash {
                    // Two neighbours disagree. If this one is vouched for, it is as it was, and the one before it is not.
                    let before = last.sequence > 0 && vouched_for();
                    let sequence = if before { last.sequence } else { read.link.sequence };
                    return Err(self.broken(sequence, Fault::Altered).into());
                }
                if self
                    .witness
                    .is_some_and(|w| w.sequence == read.link.sequence && w.hash != read.link.hash)
                {
                    let fault = if vouched_for() {
                        Fault::Rewritten
                    } else {
                        Fault::Altered
                    };
                    return Err(self.broken(read.link.sequence, fault).into());
                }
                last = read.link;
            }
        }
        if last.hash != self.head.hash {
            return Err(self.broken(last.sequence, Fault::Altered).into());
        }
        self.count().await
    }

    async fn page(&self, after: u64) -> Result<Vec<Vec<Value>>, StoreError> {
        let to = self.head.sequence.min(after.saturating_add(PAGE));
        let sql = format!(
            "SELECT {} FROM audit_record WHERE writer = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence",
            list()
        );
        self.store
            .rows(sql, vec![self.writer.into(), number(after), number(to)])
            .await
    }

    /// Reads the record that should stand at `expected`.
    fn record(&mut self, row: &[Value], expected: u64) -> Result<Read, Broken> {
        let sequence = row.get(1).and_then(Value::sequence);
        match sequence {
            Some(sequence) if sequence > expected => return Err(self.broken(expected, Fault::Missing)),
            Some(sequence) if sequence < expected => return Err(self.broken(sequence, Fault::Duplicated)),
            Some(_) => {}
            None => return Err(self.broken(expected, Fault::Column("sequence"))),
        }
        let unreadable = || self.broken(expected, Fault::Unreadable);
        let body = row
            .get(BODY)
            .and_then(Value::text)
            .ok_or_else(unreadable)?
            .as_bytes();
        let entry = Entry::parse(body).map_err(|_| unreadable())?;
        if entry.writer == self.writer && entry.sequence != expected {
            return Err(self.broken(expected, Fault::Reordered(entry.sequence)));
        }
        for ((expected_value, value), name) in row_of(&entry).iter().zip(row).zip(COLUMNS) {
            let same = match (expected_value, value) {
                (Value::Uuid(id), value) => value.uuid() == Some(*id),
                (expected, value) => expected == value,
            };
            if !same {
                return Err(self.broken(expected, Fault::Column(name)));
            }
        }
        if let Some(exchange) = entry.body.opens() {
            self.open.insert(exchange, entry.at);
        }
        if let Some(exchange) = entry.body.closes() {
            self.open.remove(&exchange);
        }
        let link = Link {
            sequence: expected,
            hash: EntryHash::of(body),
        };
        Ok(Read {
            link,
            previous_hash: entry.previous_hash,
        })
    }

    /// That nothing lies beside the records that were walked. Keys forbid it; whoever owns the tables can drop keys.
    async fn count(&self) -> Result<(), VerifyError> {
        let sql = "SELECT COUNT(*) FROM audit_record WHERE writer = $1 AND sequence <= $2".to_owned();
        let rows = self
            .store
            .rows(sql, vec![self.writer.into(), number(self.head.sequence)])
            .await?;
        if rows.first().and_then(|row| row.first()).and_then(Value::sequence) == Some(self.head.sequence) {
            return Ok(());
        }
        let sql = "SELECT sequence, COUNT(*) FROM audit_record WHERE writer = $1 AND sequence <= $2 \
                   GROUP BY sequence HAVING COUNT(*) > 1 OR sequence < 1 ORDER BY sequence LIMIT 1";
        let rows = self
            .store
            .rows(
                sql.to_owned(),
                vec![self.writer.into(), number(self.head.sequence)],
            )
            .await?;
        let sequence = rows.first().and_then(|row| row.first()).and_then(Value::sequence);
        Err(match sequence {
            Some(sequence) if sequence > 0 => self.broken(sequence, Fault::Duplicated),
            _ => self.broken(0, Fault::Added),
        }
        .into())
    }

    fn broken(&self, sequence: u64, fault: Fault) -> Broken {
        Broken {
            writer: self.writer,
            sequence,
            fault,
        }
    }
}

fn previous_hash(row: &[Value]) -> Option<EntryHash> {
    Entry::parse(row.get(BODY)?.text()?.as_bytes())
        .ok()
        .map(|entry| entry.previous_hash)
}
