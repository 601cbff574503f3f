//! The one thread that extends the chain: gathers, links, writes, syncs, answers.
//!
//! It also owns the rule that every exchange has exactly one final state. A seal that could not be written is owed:
//! the exchange is sealed as `unknown` as soon as the spool can be written again. An intent whose caller is
//! gone before it was answered is sealed as `client_left`, as nothing went upstream for it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use cordon_domain::{Clock, ExchangeId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    AuditUnavailable, Durable, Link, Shared, SpoolConfig,
    files::Files,
    pace::{Pulse, gather},
    recover::Recovered,
};
use crate::{
    disk::Disk,
    record::{Body, ENTRY_VERSION, Entry, EntryHash, MAX_ENTRY_BYTES, Outcome, Seal, TreeName, WriterId},
    recorder::Recording,
    segment::{MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, SegmentHeader, Whole},
};

/// Entries that share one write and one sync.
const GROUP: usize = 256;
/// Bytes that share one write.
const GROUP_BYTES: u64 = 1 << 20;
/// What a caller is told: the sequence up to which all is durable, or why nothing of it is.
pub(crate) type Answer = Result<u64, AuditUnavailable>;

/// What is asked of the writer thread.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Record these, in this order, all or none.
    Record {
        recording: Recording,
        done: oneshot::Sender<Answer>,
        /// Given back when it was written or refused.
        room: Option<OwnedSemaphorePermit>,
    },
    /// See whether all is in its place, and whether the spool can be written again if it could not. Comes every second.
    Look,
    /// Write what waits, then end.
    Close,
}

pub(crate) struct Writer<D: Disk> {
    reserve_bytes: u64,
    segment_bytes: u64,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    files: Files<D>,
    head: Link,
    /// Exchanges without a final state, with the tree of what opened them.
    open: BTreeMap<ExchangeId, TreeName>,
    /// Open exchanges whose final state this thread has to write itself.
    owed: BTreeMap<ExchangeId, Outcome>,
}

/// Entries that go into one write.
#[derive(Default)]
struct Group {
    entries: Vec<Whole>,
    /// Where the chain stands behind them; none while there are none.
    head: Option<Link>,
    bytes: u64,
    /// What becomes of exchanges when the write succeeds: open in a tree, or closed.
    states: HashMap<ExchangeId, Option<TreeName>>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    done: oneshot::Sender<Answer>,
    opens: Option<ExchangeId>,
    closes: Option<ExchangeId>,
    _room: Option<OwnedSemaphorePermit>,
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(
        disk: D,
        config: SpoolConfig,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        recovered: &Recovered,
    ) -> io::Result<Self> {
        Ok(Self {
            reserve_bytes: config.reserve_bytes,
            segment_bytes: config.segment_bytes,
            clock,
            files: Files::new(disk, config, Arc::clone(&shared), recovered.next_number)?,
            shared,
            head: recovered.head,
            open: recovered.open.clone(),
            owed: recovered
                .open
                .keys()
                .map(|exchange| (*exchange, Outcome::Unknown))
                .collect(),
        })
    }

    /// Makes the first segment and seals what recovery found open.
    pub(crate) fn start(&mut self) -> Result<(), AuditUnavailable> {
        self.rotate()?;
        self.settle();
        if self.owed.is_empty() {
            Ok(())
        } else {
            Err(self.why_unavailable())
        }
    }

    /// Serves until told to close or all askers are gone.
    pub(crate) fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let alive = Alive(Arc::clone(&self.shared));
        let mut waiting = Vec::with_capacity(GROUP);
        let mut pulse = Pulse::new(Instant::now());
        while let Some(ask) = asks.blocking_recv() {
            waiting.push(ask);
            if pulse.is_fast(Instant::now()) {
                gather(&asks);
            }
            while waiting.len() < GROUP
                && let Ok(ask) = asks.try_recv()
            {
                waiting.push(ask);
            }
            pulse.count(waiting.len());
            let mut closing = false;
            let mut group = Group::default();
            for ask in waiting.drain(..) {
                match ask {
                    Ask::Record {
                        recording,
                        done,
                        room,
                    } => {
                        // One with large attachments has a write of its own.
                        if !group.entries.is_empty()
                            && group.bytes + recording.attached() as u64 > GROUP_BYTES
                        {
                            self.commit(std::mem::take(&mut group));
                        }
                        self.join(&mut group, recording, done, room);
                    }
                    Ask::Look => self.look(),
                    Ask::Close => closing = true,
                }
            }
            self.commit(group);
            self.settle();
            self.note_space();
            if closing {
                asks.close();
                // What was sent before the channel closed is still served.
                let mut rest = Vec::new();
                while let Ok(ask) = asks.try_recv() {
                    rest.push(ask);
                }
                for ask in rest {
                    if let Ask::Record {
                        recording,
                        done,
                        room,
                    } = ask
                    {
                        let mut group = Group::default();
                        self.join(&mut group, recording, done, room);
                        self.commit(group);
                    }
                }
                self.settle();
                break;
            }
        }
        drop(alive);
    }

    /// Links entries onto the group, or answers why not.
    fn join(
        &mut self,
        group: &mut Group,
        recording: Recording,
        done: oneshot::Sender<Answer>,
        room: Option<OwnedSemaphorePermit>,
    ) {
        let opens = recording.items.iter().find_map(|item| item.body.opens());
        let closes = recording.items.iter().find_map(|item| item.body.closes());
        if done.is_closed() && opens.is_some() && closes.is_none() {
            // The caller left before anything was written; nothing depends on this record.
            return;
        }
        match self.link(group, recording) {
            Ok(()) => group.waiting.push(Waiting {
                done,
                opens,
                closes,
                _room: room,
            }),
            Err(why) => {
                self.shared.counters.refused.fetch_add(1, Relaxed);
                if why == AuditUnavailable::Full {
                    self.shared.full.store(true, Relaxed);
                }
                self.owe(closes, why);
                let _ = done.send(Err(why));
            }
        }
    }

    fn link(&self, group: &mut Group, recording: Recording) -> Result<(), AuditUnavailable> {
        let Recording { tree, items, .. } = recording;
        let mut states: HashMap<ExchangeId, Option<TreeName>> = HashMap::new();
        let mut trees = Vec::with_capacity(items.len());
        for item in &items {
            let within = 1..=MAX_ATTACHMENT_BYTES;
            if item.attachments.len() > MAX_ATTACHMENTS
                || item.attachments.iter().any(|a| !within.contains(&a.len()))
            {
                return Err(AuditUnavailable::Attachments);
            }
            let body = &item.body;
            let opened_in = |id: &ExchangeId| match states.get(id).or_else(|| group.states.get(id)) {
                Some(state) => state.as_ref(),
                None => self.open.get(id),
            };
            let present = body.exchange().as_ref().and_then(opened_in);
            let (starts, ends) = (body.opens(), body.closes());
            if present.is_some() && (starts.is_some() || body.stands_alone().is_some()) {
                return Err(AuditUnavailable::AlreadyOpen);
            }
            if present.is_none() && ends.is_some() {
                return Err(AuditUnavailable::NotOpen);
            }
            // All records of an exchange are leaves of the tree of its first.
            trees.push(present.unwrap_or(&tree).clone());
            states.extend(starts.map(|exchange| (exchange, Some(tree.clone()))));
            states.extend(ends.map(|exchange| (exchange, None)));
        }
        let at = milliseconds(self.clock.as_ref());
        let mut link = self.head_after(group);
        let may_use_reserve = |body: &Body| body.closes().is_some() || matches!(body, Body::SpoolTampered(_));
        let closing = items.iter().all(|item| may_use_reserve(&item.body));
        let (mut entries, mut bytes) = (Vec::with_capacity(items.len()), 0);
        for (item, tree) in items.into_iter().zip(trees) {
            let [tenant, class] = tree.spelled();
            let entry = Entry {
                v: ENTRY_VERSION,
                writer: self.shared.writer,
                sequence: link.sequence + 1,
                previous_hash: link.hash,
                at,
                tenant,
                class,
                key: item.key,
                body: item.body.bounded(),
            };
            let record = entry.canonical_bytes();
            if record.len() > MAX_ENTRY_BYTES {
                return Err(AuditUnavailable::TooLarge);
            }
            link = Link {
                sequence: entry.sequence,
                hash: EntryHash::of(&record),
            };
            let whole = Whole {
                record,
                attachments: item.attachments,
            };
            bytes += whole.frame_bytes();
            entries.push(whole);
        }
        let reserve = if closing { 0 } else { self.reserve_bytes };
        if self.files.space() < group.bytes + bytes + reserve {
            return Err(AuditUnavailable::Full);
        }
        group.states.extend(states);
        group.entries.append(&mut entries);
        group.head = Some(link);
        group.bytes += bytes;
        Ok(())
    }

    fn head_after(&self, group: &Group) -> Link {
        group.head.unwrap_or(self.head)
    }

    /// Makes a group durable and answers those who wait for it. False when it is not.
    fn commit(&mut self, group: Group) -> bool {
        if group.entries.is_empty() {
            return true;
        }
        let result = self.write(&group);
        if result.is_ok() {
            for (exchange, state) in group.states {
                if let Some(tree) = state {
                    self.open.insert(exchange, tree);
                } else {
                    self.open.remove(&exchange);
                    self.owed.remove(&exchange);
                }
            }
            self.shared
                .counters
                .recorded
                .fetch_add(group.entries.len() as u64, Relaxed);
        }
        for Waiting {
            done, opens, closes, ..
        } in group.waiting
        {
            if let Err(why) = result {
                if why == AuditUnavailable::Full {
                    self.shared.full.store(true, Relaxed);
                }
                self.shared.counters.refused.fetch_add(1, Relaxed);
                self.owe(closes, why);
            }
            let left = done.send(result).is_err();
            if left
                && result.is_ok()
                && closes.is_none()
                && let Some(exchange) = opens.filter(|exchange| self.open.contains_key(exchange))
            {
                self.owed.insert(exchange, Outcome::ClientLeft);
            }
        }
        result.is_ok()
    }

    /// Notes that an exchange's final state is still to be written.
    fn owe(&mut self, closes: Option<ExchangeId>, why: AuditUnavailable) {
        if let Some(exchange) = closes
            && why != AuditUnavailable::NotOpen
            && self.open.contains_key(&exchange)
        {
            self.owed.entry(exchange).or_insert(Outcome::Unknown);
        }
    }

    /// Writes what this thread has to say itself.
    fn settle(&mut self) {
        for (exchange, outcome) in std::mem::take(&mut *self.shared.abandoned()) {
            if self.open.contains_key(&exchange) {
                self.owed.entry(exchange).or_insert(outcome);
            }
        }
        while let Some(finding) = self.files.next_finding() {
            let mut group = Group::default();
            let linked = self.link(&mut group, Recording::of(Body::SpoolTampered(finding)));
            if linked.is_err() || !self.commit(group) {
                break;
            }
            self.files.finding_recorded();
        }
        while !self.owed.is_empty() {
            let mut group = Group::default();
            let owed: Vec<_> = self
                .owed
                .iter()
                .take(GROUP)
                .map(|(id, outcome)| (*id, *outcome))
                .collect();
            for (exchange, outcome) in owed {
                let seal = Seal::new(exchange, outcome, 0);
                match self.link(&mut group, Recording::of(Body::Seal(seal))) {
                    Ok(()) => {}
                    // It has its final state by now.
                    Err(AuditUnavailable::NotOpen) => {
                        self.owed.remove(&exchange);
                    }
                    Err(_) => break,
                }
            }
            let before = self.owed.len();
            self.commit(group);
            if self.owed.len() == before {
                return;
            }
        }
    }

    /// Writes a group. On success the head has moved.
    fn write(&mut self, group: &Group) -> Answer {
        let after = self.head_after(group);
        let at = milliseconds(self.clock.as_ref());
        let (shared, open, head) = (&self.shared, &self.open, self.head);
        self.files.write(&group.entries, group.bytes, |segment| {
            header(shared.writer, segment, head, at, open)
        })?;
        self.head = after;
        self.publish();
        Ok(after.sequence)
    }

    fn rotate(&mut self) -> Result<(), AuditUnavailable> {
        let at = milliseconds(self.clock.as_ref());
        let (shared, open, head) = (&self.shared, &self.open, self.head);
        self.files
            .rotate(0, |segment| header(shared.writer, segment, head, at, open))?;
        self.publish();
        Ok(())
    }

    /// Tells the shipper how far the chain is durable.
    fn publish(&self) {
        if let Some((segment, offset)) = self.files.place() {
            self.shared.durable.send_replace(Durable {
                link: self.head,
                segment,
                offset,
            });
        }
    }

    fn look(&mut self) {
        self.files.watch();
        if self.files.place().is_none() || !self.shared.writable.load(Relaxed) {
            // Making a segment writes and syncs, which is all that there is to find out.
            let _ = self.rotate();
        }
    }

    /// Says when intents fit again. A whole segment must have become free, so that it does not change its mind with each entry.
    fn note_space(&self) {
        if self.files.space() >= self.reserve_bytes + self.segment_bytes {
            self.shared.full.store(false, Relaxed);
        }
    }

    fn why_unavailable(&self) -> AuditUnavailable {
        if self.shared.writable.load(Relaxed) {
            AuditUnavailable::Full
        } else {
            AuditUnavailable::WriteFailed
        }
    }
}

/// The header of a segment that is made while the chain stands at `head`.
fn header(
    writer: WriterId,
    segment: u64,
    head: Link,
    at: u64,
    open: &BTreeMap<ExchangeId, TreeName>,
) -> SegmentHeader {
    SegmentHeader {
        v: 1,
        writer,
        segment,
        first_sequence: head.sequence + 1,
        previous_hash: head.hash,
        at,
        open: open.clone(),
    }
}

fn milliseconds(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// Says that the writer is gone, however it goes.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.writable.store(false, Relaxed);
    }
}
