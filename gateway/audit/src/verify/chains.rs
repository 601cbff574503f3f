//! Walks one writer's records, each against its chain, its columns and its tree.
//!
//! Records and the leaves that trees hold for them are read side by side, a window of sequences at a time, so that memory stays
//! the same however many there are.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{ControlFlow, RangeInclusive},
};

use cordon_domain::ExchangeId;

use super::{
    Broken, Fault, TreeFault, VerifyError,
    payloads::{Beside, Payloads},
};
use crate::{
    extent::Extent,
    record::{Body, Entry, EntryHash, TreeName, WriterId},
    spool::Link,
    store::{
        Look, Snapshot, StoreError, Value,
        columns::{BODY, COLUMNS, Cell, Facts, SEQUENCE, list},
        number,
    },
    tree::{Hash, leaf_hash},
};

/// Sequences of a window.
const WINDOW: u64 = 20_000;

/// Records that were pruned, by what the record of the pruning says.
pub(super) type Pruned = BTreeMap<(WriterId, TreeName), Vec<RangeInclusive<u64>>>;

/// What one chain came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Records that were there.
    pub(super) records: u64,
    /// Records that had their time and were pruned.
    pub(super) pruned: u64,
    /// Records that are in no tree yet.
    pub(super) behind: u64,
    /// Leaves that trees hold for this writer.
    pub(super) leaves: u64,
    /// Exchanges opened and not closed, and when.
    pub(super) open: HashMap<ExchangeId, u64>,
}

/// One writer's chain.
pub(super) struct Chain<'p> {
    pub(super) writer: WriterId,
    /// Where the store says that it ends.
    pub(super) head: Link,
    /// Where the spool says that it was shipped to.
    pub(super) witness: Option<Link>,
    pub(super) pruned: &'p Pruned,
}

/// The leaf that a tree holds for a record.
#[derive(Clone)]
struct Leaf {
    tree: TreeName,
    hash: Hash,
}

/// A record whose own content is consistent.
#[derive(Clone, Copy)]
struct Read {
    link: Link,
    previous_hash: EntryHash,
    /// Whether its tree holds it as it is.
    proven: bool,
}

impl Chain<'_> {
    pub(super) async fn walk(
        &self,
        snapshot: &mut Snapshot,
        payloads: &mut Payloads,
    ) -> Result<Walked, VerifyError> {
        if let Some(witness) = self.witness
            && witness.sequence > self.head.sequence
        {
            return Err(self
                .broken(self.head.sequence + 1, Fault::Truncated(witness.sequence))
                .into());
        }
        let treed = self.last_in_trees(snapshot).await?;
        let mut walk = Walk {
            chain: self,
            treed,
            first: 1,
            leaves: Vec::new(),
            next: 1,
            last: Some(Read {
                link: Link::START,
                previous_hash: EntryHash::GENESIS,
                proven: true,
            }),
            suspect: None,
            beside: Vec::new(),
            walked: Walked::default(),
        };
        let mut from = 0;
        while from < self.head.sequence {
            let to = self.head.sequence.min(from + WINDOW);
            walk.first = from + 1;
            walk.leaves = self.leaves(snapshot, from, to).await?;
            let sql = format!(
                "SELECT {} FROM audit_record WHERE writer = '{}' AND sequence > {from} AND sequence <= {to} ORDER BY sequence",
                list(),
                self.writer
            );
            let forms = COLUMNS.map(|(_, form)| form);
            let mut outcome = Ok(());
            let mut take = |cells: &[Cell<'_>]| {
                outcome = walk.take(cells);
                if outcome.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            snapshot.scan(&sql, &forms, &mut take).await?;
            outcome?;
            walk.missing(to + 1)?;
            let beside = std::mem::take(&mut walk.beside);
            payloads
                .compare(snapshot, self.writer, from + 1..=to, &beside)
                .await?;
            from = to;
        }
        walk.finish()?;
        let walked = walk.walked;
        self.nothing_beside(snapshot, "audit_record", Fault::Added)
            .await?;
        self.nothing_beside(snapshot, "audit_payload", Fault::PayloadBeside)
            .await?;
        Ok(walked)
    }

    /// The last of this writer's records that is in any tree.
    async fn last_in_trees(&self, snapshot: &mut Snapshot) -> Result<u64, StoreError> {
        let sql =
            "SELECT last_sequence FROM audit_extent WHERE writer = $1 ORDER BY last_sequence DESC LIMIT 1";
        let rows = snapshot.look(sql, vec![self.writer.into()]).await?;
        let last = rows.first().and_then(|row| row.first());
        Ok(last.and_then(Value::sequence).unwrap_or(0))
    }

    /// What trees hold for the records behind `from` up to `to`, in the order of their sequence.
    async fn leaves(
        &self,
        snapshot: &mut Snapshot,
        from: u64,
        to: u64,
    ) -> Result<Vec<Option<Leaf>>, VerifyError> {
        let mut leaves = vec![None; usize::try_from(to - from).unwrap_or(0)];
        let sql = format!(
            "SELECT {} FROM audit_extent WHERE writer = $1 AND last_sequence > $2 AND first_sequence <= $3",
            Extent::COLUMNS
        );
        let rows = snapshot
            .look(&sql, vec![self.writer.into(), number(from), number(to)])
            .await?;
        for row in rows {
            let extent = Extent::read(&row).ok_or_else(|| garbled(&row))?;
            for (sequence, hash) in extent.leaves() {
                let Some(place) = sequence.checked_sub(from + 1).filter(|_| sequence <= to) else {
                    continue;
                };
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                let Some(slot) = leaves.get_mut(place) else {
                    continue;
                };
                if slot.is_some() {
                    return Err(self.broken(sequence, Fault::LeafTwice).into());
                }
                *slot = Some(Leaf {
                    tree: extent.tree.clone(),
                    hash,
                });
            }
        }
        Ok(leaves)
    }

    /// That nothing lies outside of the chain. Within it each record was walked.
    async fn nothing_beside(
        &self,
        snapshot: &mut Snapshot,
        table: &'static str,
        fault: Fault,
    ) -> Result<(), VerifyError> {
        let sql = format!(
            "SELECT sequence FROM {table} WHERE writer = $1 AND (sequence < 1 OR sequence > $2) \
             ORDER BY sequence LIMIT 1"
        );
        let rows = snapshot
            .look(&sql, vec![self.writer.into(), number(self.head.sequence)])
            .await?;
        match rows.first().and_then(|row| row.first()) {
            None => Ok(()),
            Some(value) => {
                let sequence = value.sequence().unwrap_or(0);
                Err(self.broken(sequence, fault).into())
            }
        }
    }

    fn broken(&self, sequence: u64, fault: Fault) -> Broken {
        Broken {
            writer: self.writer,
            sequence,
            fault,
        }
    }

    /// Whether a record of that tree was pruned.
    fn is_pruned(&self, tree: &TreeName, sequence: u64) -> bool {
        self.pruned
            .get(&(self.writer, tree.clone()))
            .is_some_and(|ranges| ranges.iter().any(|range| range.contains(&sequence)))
    }
}

/// A run of leaves that does not read, by the name of its tree where that does.
fn garbled(row: &[Value]) -> VerifyError {
    let name = || {
        let tree = TreeName::new(row.first()?.text()?, row.get(1)?.text()?).ok()?;
        Some((tree, row.get(2)?.sequence()?))
    };
    match name() {
        Some((tree, first)) => VerifyError::Tree {
            tree,
            fault: TreeFault::Garbled(first),
        },
        None => StoreError::Garbled("audit_extent").into(),
    }
}

struct Walk<'c, 'p> {
    chain: &'c Chain<'p>,
    /// Up to here every record is in a tree.
    treed: u64,
    /// The sequence that `leaves` begins with.
    first: u64,
    leaves: Vec<Option<Leaf>>,
    /// The sequence that must come next.
    next: u64,
    /// The record before it; none where that was pruned.
    last: Option<Read>,
    /// Why `last` or the record before it is wrong, where the record behind will say which.
    suspect: Option<Suspect>,
    /// What the records of the window say of what is kept beside them.
    beside: Vec<Beside>,
    walked: Walked,
}

#[derive(Clone, Copy)]
enum Suspect {
    /// `last` does not hold the hash of the record before it.
    Unlinked { before: u64 },
    /// `last` is not what the spool shipped.
    Unwitnessed,
}

impl Walk<'_, '_> {
    fn take(&mut self, row: &[Cell<'_>]) -> Result<(), Broken> {
        let broken = |sequence, fault| self.chain.broken(sequence, fault);
        let Some(sequence) = row[SEQUENCE].sequence() else {
            return Err(broken(self.next, Fault::Column("sequence")));
        };
        if sequence < self.next {
            return Err(broken(sequence, Fault::Duplicated));
        }
        self.missing(sequence)?;
        let read = self.read(row, sequence)?;
        self.settle(Some(&read))?;
        if let Some(last) = self.last
            && read.previous_hash != last.link.hash
        {
            if read.proven && last.link.sequence > 0 {
                return Err(self.chain.broken(last.link.sequence, Fault::Altered));
            }
            if last.proven {
                return Err(self.chain.broken(sequence, Fault::Altered));
            }
            self.suspect = Some(Suspect::Unlinked {
                before: last.link.sequence,
            });
        } else if let Some(witness) = self.chain.witness
            && witness.sequence == sequence
            && witness.hash != read.link.hash
        {
            self.suspect = Some(Suspect::Unwitnessed);
        }
        self.last = Some(read);
        self.next = sequence + 1;
        self.walked.records += 1;
        Ok(())
    }

    /// Says which of two that disagree is wrong, now that the record behind them is known: none at the chain's end.
    fn settle(&mut self, next: Option<&Read>) -> Result<(), Broken> {
        let (Some(suspect), Some(last)) = (self.suspect.take(), self.last) else {
            return Ok(());
        };
        let holds = match next {
            Some(next) => next.previous_hash,
            None => self.chain.head.hash,
        };
        // One that the record behind it vouches for is as it was.
        let vouched_for = holds == last.link.hash;
        Err(match suspect {
            Suspect::Unlinked { before } if vouched_for && before > 0 => {
                self.chain.broken(before, Fault::Altered)
            }
            Suspect::Unwitnessed if vouched_for => self.chain.broken(last.link.sequence, Fault::Rewritten),
            Suspect::Unlinked { .. } | Suspect::Unwitnessed => {
                self.chain.broken(last.link.sequence, Fault::Altered)
            }
        })
    }

    /// That what lies between the last record and `sequence` may be missing.
    fn missing(&mut self, sequence: u64) -> Result<(), Broken> {
        while self.next < sequence {
            let place = usize::try_from(self.next - self.first).unwrap_or(usize::MAX);
            let leaf = self.leaves.get(place).and_then(Option::as_ref);
            let pruned = leaf.is_some_and(|leaf| self.chain.is_pruned(&leaf.tree, self.next));
            if !pruned {
                self.settle(None)?;
                let rest_is_gone = sequence > self.chain.head.sequence && self.none_behind(place);
                let fault = match rest_is_gone {
                    true => Fault::Truncated(self.chain.head.sequence),
                    false => Fault::Missing,
                };
                return Err(self.chain.broken(self.next, fault));
            }
            self.walked.leaves += 1;
            self.walked.pruned += 1;
            self.last = None;
            self.next += 1;
        }
        Ok(())
    }

    /// Whether nothing behind this place was pruned, so that what is missing is the chain's end.
    fn none_behind(&self, place: usize) -> bool {
        let behind = self.leaves.get(place..).unwrap_or_default();
        let mut sequences = self.next..;
        behind.iter().all(|leaf| {
            let sequence = sequences.next().unwrap_or(u64::MAX);
            leaf.as_ref()
                .is_none_or(|leaf| !self.chain.is_pruned(&leaf.tree, sequence))
        })
    }

    /// Reads the record that stands at `sequence`.
    fn read(&mut self, row: &[Cell<'_>], sequence: u64) -> Result<Read, Broken> {
        let broken = |fault| self.chain.broken(sequence, fault);
        let body = row[BODY].text().ok_or_else(|| broken(Fault::Unreadable))?;
        let entry = Entry::parse(body.as_bytes()).map_err(|_| broken(Fault::Unreadable))?;
        if entry.writer == self.chain.writer && entry.sequence != sequence {
            return Err(broken(Fault::Reordered(entry.sequence)));
        }
        let facts = Facts::of(&entry.body);
        for ((expected, value), (name, _)) in facts.cells(&entry).iter().zip(row).zip(COLUMNS) {
            if expected != value {
                return Err(broken(Fault::Column(name)));
            }
        }
        let place = usize::try_from(sequence - self.first).unwrap_or(usize::MAX);
        let proven = match self.leaves.get(place).and_then(Option::as_ref) {
            Some(leaf) if leaf.tree != entry.tree() => return Err(broken(Fault::OtherTree)),
            Some(leaf) if leaf.hash != leaf_hash(body.as_bytes()) => return Err(broken(Fault::OtherLeaf)),
            Some(_) => true,
            None if sequence <= self.treed => return Err(broken(Fault::NoLeaf)),
            None => false,
        };
        if proven {
            self.walked.leaves += 1;
        } else {
            self.walked.behind += 1;
        }
        self.note(&entry.body, entry.at);
        self.beside.extend(Beside::said(&entry));
        Ok(Read {
            link: Link {
                sequence,
                hash: EntryHash::of(body.as_bytes()),
            },
            previous_hash: entry.previous_hash,
            proven,
        })
    }

    fn note(&mut self, body: &Body, at: u64) {
        if let Some(exchange) = body.opens() {
            self.walked.open.insert(exchange, at);
        }
        if let Some(exchange) = body.closes() {
            self.walked.open.remove(&exchange);
        }
    }

    fn finish(&mut self) -> Result<(), Broken> {
        self.settle(None)?;
        match self.last {
            Some(last) if last.link.hash != self.chain.head.hash => {
                Err(self.chain.broken(last.link.sequence, Fault::Altered))
            }
            _ => Ok(()),
        }
    }
}
