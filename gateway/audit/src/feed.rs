//! Records in the order of each writer's chain, for whoever delivers them to the outside, and how far each destination has them.
//!
//! A destination has a name, and for each writer a cursor in the store, which moves when what was read is known to have arrived. Of several
//! gateways one at a time has a destination's feed; it reads and moves cursors over the connection that holds the right to, so that who lost it moves none.
//! Whoever opens the feed anew reads from the cursors on: what was read and not confirmed comes again.
//!
//! A record that is not there any more, or does not read as what its place says, is told as missing, once, and the feed goes on with the next. The first
//! record of a writer of whom the destination has none yet is the first that is there.
//!
//! A cursor ahead of its writer is none that was ever moved here: it is told, and all of that writer comes again.
//!
//! Limits: [`RECORDS`] and about [`CHARACTERS`] of bodies a page; one position for each writer.
//!
//! On failure: [`StoreError`]; the feed is then to be closed and opened anew.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use cordon_domain::{Action, EntityType};
use tokio::time::Instant;

use crate::{
    record::{Body, Entry, WriterId},
    store::{Lease, Look, Purpose, Row, Statement, Store, StoreError, StoreUrl, Value, number},
};

/// Records of a page.
const RECORDS: u64 = 1000;
/// Characters of a page's bodies; the last one may go past it.
const CHARACTERS: u64 = 2 << 20;
/// How long positions of writers are gone by before they are read again, while there are records to be read.
const FRESH: Duration = Duration::from_secs(1);
/// How far a writer's clock may be set back before its records are looked for in all partitions.
const CLOCK_SLACK: u64 = 3_600_000;

/// Records for one destination. It holds the right to deliver them.
pub struct Feed {
    store: Store,
    lease: Lease,
    destination: String,
    writers: BTreeMap<WriterId, Standing>,
    looked: Option<Instant>,
    /// The writer whose records were read last.
    turn: Option<WriterId>,
}

/// How far one writer's records are.
#[derive(Default)]
struct Standing {
    name: Arc<str>,
    /// Where its chain ends in the store.
    position: u64,
    /// The last that was read.
    read: u64,
    /// When that was recorded, which says in which partitions the next ones are; 0 while that is not known.
    read_at: u64,
    /// Whether `read` is the place of a record, rather than that of none.
    is_known: bool,
    /// The last that the store says has arrived.
    confirmed: u64,
    /// Records that were read and are not confirmed.
    waiting: u64,
}

/// Records of one writer, in the order of its chain.
#[derive(Debug)]
pub struct Page {
    /// What there is.
    pub records: Vec<FedRecord>,
    /// Sequences of records that are not there any more, or do not read.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Whose they are.
    pub writer: WriterId,
    /// The writer's name for people.
    pub name: Arc<str>,
}

/// A record on its way out.
#[derive(Clone, Debug)]
pub struct FedRecord {
    /// What it says.
    pub entry: Entry,
    /// The bytes that are stored and hashed, which are JSON.
    pub body: String,
}

impl FedRecord {
    /// What no other record has: `WRITER/SEQUENCE`. A receiver that has it already has this record.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.entry.writer, self.entry.sequence)
    }

    /// What was decided, where it tells of a decision.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        match &self.entry.body {
            Body::Intent(it) => Some(it.action),
            _ => None,
        }
    }

    /// What was found, where it tells of findings.
    pub fn entities(&self) -> impl Iterator<Item = &EntityType> {
        let found = match &self.entry.body {
            Body::Intent(it) => Some(&it.entities),
            Body::Seal(it) => Some(&it.reply_entities),
            _ => None,
        };
        found.into_iter().flat_map(BTreeMap::keys)
    }
}

impl Feed {
    /// The feed of a destination; none while another process has it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(url: &StoreUrl, destination: &str) -> Result<Option<Self>, StoreError> {
        let store = Store::open(url).await?;
        let Some(lease) = store.lease(Purpose::Delivering(destination.to_owned())).await? else {
            store.close().await;
            return Ok(None);
        };
        let mut feed = Self {
            store,
            lease,
            destination: destination.to_owned(),
            writers: BTreeMap::new(),
            looked: None,
            turn: None,
        };
        let begun = match feed.may_move().await {
            Ok(()) => feed.resume().await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(()) => Ok(Some(feed)),
            Err(error) => {
                feed.close().await;
                Err(error)
            }
        }
    }

    /// Tries whether cursors can be moved, and moves none: what could not be confirmed would be sent again for ever.
    async fn may_move(&mut self) -> Result<(), StoreError> {
        // Rights are looked at whether there are rows to change or not.
        let tried = Statement {
            sql: "INSERT INTO audit_delivery (destination, writer, sequence, moved_at) \
                  SELECT destination, writer, sequence, moved_at FROM audit_delivery WHERE 1 = 0 \
                  ON CONFLICT (destination, writer) DO UPDATE SET sequence = excluded.sequence",
            values: Vec::new(),
        };
        self.lease
            .transact(vec![tried])
            .await
            .map_err(StoreError::of_delivering)
    }

    /// Takes up where the store says that the destination is.
    async fn resume(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT writer, sequence FROM audit_delivery WHERE destination = $1";
        let rows = self
            .lease
            .look(sql, vec![Value::Text(self.destination.clone())])
            .await?;
        for row in rows {
            let read = || Some((WriterId::from(row.first()?.uuid()?), row.get(1)?.sequence()?));
            let (writer, sequence) = read().ok_or(StoreError::Garbled("audit_delivery"))?;
            let standing = Standing {
                read: sequence,
                is_known: true,
                confirmed: sequence,
                ..Standing::default()
            };
            self.writers.insert(writer, standing);
        }
        self.look().await?;
        for (writer, standing) in &mut self.writers {
            if standing.confirmed > standing.position {
                tracing::error!(
                    destination = self.destination,
                    %writer,
                    cursor = standing.confirmed,
                    position = standing.position,
                    "somebody has moved this delivery's cursor past the records that there are: all of this writer's records are delivered again"
                );
                *standing = Standing {
                    name: Arc::clone(&standing.name),
                    position: standing.position,
                    ..Standing::default()
                };
            }
        }
        Ok(())
    }

    /// Reads where the writers' chains end.
    async fn look(&mut self) -> Result<(), StoreError> {
        let sql = "SELECT writer, sequence, name FROM audit_writer";
        for row in self.lease.look(sql, Vec::new()).await? {
            let read = || {
                let writer = WriterId::from(row.first()?.uuid()?);
                Some((writer, row.get(1)?.sequence()?, row.get(2)?.text()?))
            };
            let (writer, position, name) = read().ok_or(StoreError::Garbled("audit_writer"))?;
            let standing = self.writers.entry(writer).or_default();
            standing.position = position;
            if &*standing.name != name {
                standing.name = name.into();
            }
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// The next records; none when all that are there were read. Writers take turns.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn page(&mut self) -> Result<Option<Page>, StoreError> {
        let fresh = self.looked.is_some_and(|at| at.elapsed() < FRESH);
        let due = if fresh { self.due() } else { None };
        let due = match due {
            Some(writer) => Some(writer),
            None => {
                self.look().await?;
                self.due()
            }
        };
        match due {
            Some(writer) => {
                self.turn = Some(writer);
                self.page_of(writer).await
            }
            None => Ok(None),
        }
    }

    /// The writer whose turn it is.
    fn due(&self) -> Option<WriterId> {
        let behind = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let is_due = |(_, standing): &(&WriterId, &Standing)| standing.read < standing.position;
        let after = self.writers.range((behind, Bound::Unbounded)).find(is_due);
        let found = after.or_else(|| self.writers.iter().find(is_due));
        found.map(|(writer, _)| *writer)
    }

    async fn page_of(&mut self, writer: WriterId) -> Result<Option<Page>, StoreError> {
        let Some(standing) = self.writers.get_mut(&writer) else {
            return Ok(None);
        };
        let (from, to) = (standing.read, standing.position);
        if standing.is_known && standing.read_at == 0 {
            let sql = "SELECT at FROM audit_record WHERE writer = $1 AND sequence = $2";
            let values = vec![writer.into(), number(from)];
            let found = self.lease.look(sql, values).await?;
            let at = found
                .first()
                .and_then(|row| row.first())
                .and_then(Value::sequence);
            standing.read_at = at.unwrap_or(0);
        }
        let mut rows = Vec::new();
        let since = standing.read_at.saturating_sub(CLOCK_SLACK);
        if since > 0 {
            rows = read(&mut self.lease, writer, from, to, since).await?;
        }
        if !follows(from, &rows) {
            rows = read(&mut self.lease, writer, from, to, 0).await?;
        }
        let mut page = Page {
            records: Vec::with_capacity(rows.len()),
            missing: Vec::new(),
            writer,
            name: Arc::clone(&standing.name),
        };
        let mut miss = |first: u64, last: u64| {
            if first <= last {
                page.missing.push(first..=last);
            }
        };
        for row in rows {
            let sequence = row.first().and_then(Value::sequence);
            let sequence = sequence.ok_or(StoreError::Garbled("audit_record"))?;
            // A time that does not read keeps nobody from the records behind it.
            let at = row.get(1).and_then(Value::sequence).unwrap_or(standing.read_at);
            if standing.is_known {
                miss(standing.read + 1, sequence - 1);
            }
            let body = row.into_iter().nth(2);
            let text = match body {
                Some(Value::Text(text)) => text,
                _ => String::new(),
            };
            let entry = Entry::parse(text.as_bytes()).ok();
            match entry.filter(|entry| entry.writer == writer && entry.sequence == sequence) {
                Some(entry) => page.records.push(FedRecord { entry, body: text }),
                None => miss(sequence, sequence),
            }
            (standing.read, standing.read_at, standing.is_known) = (sequence, at, true);
        }
        if standing.read == from {
            // All up to the position are gone.
            if standing.is_known {
                miss(from + 1, to);
            }
            (standing.read, standing.is_known) = (to, true);
        }
        standing.waiting += page.records.len() as u64;
        Ok(Some(page))
    }

    /// Says that all that was read has arrived: it does not come again. Returns how many records that were. `now` is the time in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// When the store does not answer, or another process has the feed by now.
    pub async fn confirm(&mut self, now: u64) -> Result<u64, StoreError> {
        let moved = self.writers.iter().filter(|(_, it)| it.read > it.confirmed);
        let statements: Vec<Statement> = moved
            .map(|(writer, standing)| Statement {
                sql: "INSERT INTO audit_delivery (destination, writer, sequence, moved_at) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (destination, writer) DO UPDATE SET sequence = excluded.sequence, moved_at = excluded.moved_at \
                      WHERE audit_delivery.sequence <> excluded.sequence",
                values: vec![
                    Value::Text(self.destination.clone()),
                    (*writer).into(),
                    number(standing.read),
                    number(now),
                ],
            })
            .collect();
        if statements.is_empty() {
            return Ok(0);
        }
        self.lease.transact(statements).await?;
        let mut records = 0;
        for standing in self.writers.values_mut() {
            standing.confirmed = standing.confirmed.max(standing.read);
            records += std::mem::take(&mut standing.waiting);
        }
        Ok(records)
    }

    /// Records that the store has and the destination, as far as is known, has not.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let behind = |it: &Standing| it.position.saturating_sub(it.confirmed);
        self.writers.values().map(behind).sum()
    }

    /// Lets another process have it.
    pub async fn close(self) {
        self.lease.release().await;
        self.store.close().await;
    }
}

/// Rows `sequence, at, body` of a writer behind `from` up to `to`, as many as a page takes, and at least one where there is one.
async fn read(
    lease: &mut Lease,
    writer: WriterId,
    from: u64,
    to: u64,
    since: u64,
) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT sequence, at, body FROM (\
                 SELECT sequence, at, body, SUM(length(body)) OVER (ORDER BY sequence) AS characters FROM (\
                   SELECT sequence, at, body FROM audit_record \
                   WHERE writer = $1 AND sequence > $2 AND sequence <= $3 AND at >= $4 ORDER BY sequence LIMIT $5) AS first_rows) AS page \
               WHERE characters - length(body) < $6 ORDER BY sequence";
    let values = vec![
        writer.into(),
        number(from),
        number(to),
        number(since),
        number(RECORDS),
        number(CHARACTERS),
    ];
    lease.look(sql, values).await
}

/// Whether rows are the ones that follow, with none between them missing.
fn follows(from: u64, rows: &[Row]) -> bool {
    let sequences = rows.iter().map(|row| row.first().and_then(Value::sequence));
    !rows.is_empty() && sequences.zip(from + 1..).all(|(found, due)| found == Some(due))
}
