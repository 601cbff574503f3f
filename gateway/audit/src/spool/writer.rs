//! The one thread that extends the chain: gathers, links, writes, syncs, answers.
//!
//! It also owns the rule that every exchange has exactly one final state. A seal that could not be written is owed:
//! the exchange is sealed as `unknown` as soon as the spool can be written again. An intent whose caller is
//! gone before it was answered is sealed as `client_left`, as nothing went upstream for it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use cordon_domain::{Clock, ExchangeId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    AuditUnavailable, Durable, Link, SegmentInfo, Shared, SpoolConfig, recover::Recovered, segment_path,
};
use crate::{
    disk::{Disk, DiskFile},
    record::{Body, ENTRY_VERSION, Entry, EntryHash, MAX_ENTRY_BYTES, Outcome, Seal, TreeName},
    recorder::Recording,
    segment::{self, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, SegmentHeader, Whole},
};

/// Entries that share one write and one sync.
const GROUP: usize = 256;
/// Bytes that share one write.
const GROUP_BYTES: u64 = 1 << 20;
/// From so many entries in [`BEAT`] on, some more are waited for before each sync. Below that, whoever asks would wait for nobody.
const FAST: usize = 64;
/// How long entries are counted.
const BEAT: Duration = Duration::from_millis(50);
/// How long more entries are waited for, and how many are enough.
const GATHERING: (Duration, usize) = (Duration::from_millis(2), 32);
/// How long the thread sleeps before it looks whether they are enough.
const NAP: Duration = Duration::from_micros(500);
/// Zeros written at a time when space is reserved.
const ZEROS: usize = 1 << 20;

/// What is asked of the writer thread.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Record these, in this order, all or none.
    Record {
        recording: Recording,
        done: oneshot::Sender<Result<(), AuditUnavailable>>,
        /// Given back when it was written or refused.
        room: Option<OwnedSemaphorePermit>,
    },
    /// See whether the spool can be written again.
    Probe,
    /// Write what waits, then end.
    Close,
}

pub(crate) struct Writer<D: Disk> {
    disk: D,
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    head: Link,
    /// Exchanges without a final state, with the tree of what opened them.
    open: BTreeMap<ExchangeId, TreeName>,
    /// Open exchanges whose final state this thread has to write itself.
    owed: BTreeMap<ExchangeId, Outcome>,
    active: Option<Active<D::File>>,
    next_number: u64,
}

struct Active<F> {
    file: F,
    number: u64,
    offset: u64,
    size: u64,
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
    done: oneshot::Sender<Result<(), AuditUnavailable>>,
    opens: Option<ExchangeId>,
    closes: Option<ExchangeId>,
    _room: Option<OwnedSemaphorePermit>,
}

/// How fast entries come. A sync costs the processor far more than an entry, so when they come fast, few to a sync
/// would take it from those who ask.
struct Pulse {
    since: Instant,
    count: usize,
    is_fast: bool,
}

impl Pulse {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            is_fast: false,
        }
    }

    fn count(&mut self, entries: usize) {
        self.count += entries;
    }

    fn is_fast(&mut self, now: Instant) -> bool {
        let past = now.duration_since(self.since);
        if past >= BEAT {
            // What came long ago says nothing of now.
            self.is_fast = past < 2 * BEAT && self.count >= FAST;
            (self.since, self.count) = (now, 0);
        }
        self.is_fast
    }
}

/// Waits for more entries, but not long.
fn gather(asks: &mpsc::Receiver<Ask>) {
    let begun = Instant::now();
    while asks.len() < GATHERING.1 && begun.elapsed() < GATHERING.0 && !asks.is_closed() {
        thread::sleep(NAP);
    }
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(
        disk: D,
        config: SpoolConfig,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        recovered: &Recovered,
    ) -> Self {
        Self {
            disk,
            config,
            clock,
            shared,
            head: recovered.head,
            open: recovered.open.clone(),
            owed: recovered
                .open
                .keys()
                .map(|exchange| (*exchange, Outcome::Unknown))
                .collect(),
            active: None,
            next_number: recovered.next_number,
        }
    }

    /// Makes the first segment and seals what recovery found open.
    pub(crate) fn start(&mut self) -> Result<(), AuditUnavailable> {
        if self.active.is_none() {
            self.rotate(0)?;
        }
        self.settle_owed();
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
                    Ask::Probe => self.probe(),
                    Ask::Close => closing = true,
                }
            }
            self.commit(group);
            self.settle_owed();
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
                self.settle_owed();
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
        done: oneshot::Sender<Result<(), AuditUnavailable>>,
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
        let Recording { tree, items } = recording;
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
        let at = u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        let mut link = self.head_after(group);
        let closing = items.iter().all(|item| item.body.closes().is_some());
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
        let reserve = if closing { 0 } else { self.config.reserve_bytes };
        if self.space() < group.bytes + bytes + reserve {
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

    /// Makes a group durable and answers those who wait for it.
    fn commit(&mut self, group: Group) {
        if group.entries.is_empty() {
            return;
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

    fn settle_owed(&mut self) {
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

    /// Writes a group, in a new file if the present one fails. On success the head has moved.
    fn write(&mut self, group: &Group) -> Result<(), AuditUnavailable> {
        let after = self.head_after(group);
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.size - active.offset >= group.bytes)
        {
            match self.try_write(group, after) {
                Ok(()) => return Ok(()),
                Err(source) => self.seal_off("write or sync", &source),
            }
        }
        self.rotate(group.bytes)?;
        self.try_write(group, after).map_err(|source| {
            self.seal_off("write or sync, also in a new file", &source);
            self.failed()
        })
    }

    fn try_write(&mut self, group: &Group, after: Link) -> std::io::Result<()> {
        let Some(active) = &mut self.active else {
            return Err(std::io::Error::other("no segment is open"));
        };
        let bytes = segment::frames(active.number, active.offset, &group.entries);
        active.file.write_all_at(&bytes, active.offset)?;
        active.file.sync_data()?;
        self.shared.counters.syncs.fetch_add(1, Relaxed);
        active.offset += bytes.len() as u64;
        self.head = after;
        self.shared.writable.store(true, Relaxed);
        self.shared.durable.send_replace(Durable {
            link: after,
            segment: active.number,
            offset: active.offset,
        });
        Ok(())
    }

    /// Closes the present segment, if any, and makes the next one with room for `bytes`.
    fn rotate(&mut self, bytes: u64) -> Result<(), AuditUnavailable> {
        let number = self.next_number;
        let header = SegmentHeader {
            v: 1,
            writer: self.shared.writer,
            segment: number,
            first_sequence: self.head.sequence + 1,
            previous_hash: self.head.hash,
            at: u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            open: self.open.clone(),
        };
        let head = segment::head(&header);
        let size = self.config.segment_bytes.max(head.len() as u64 + bytes);
        if self.shared.bytes() + size > self.config.max_bytes {
            return Err(AuditUnavailable::Full);
        }
        if let Some(active) = self.active.take() {
            // The size matters for the space it takes, not for reading it, so a failure here loses nothing.
            let allocated = match active.file.truncate(active.offset) {
                Ok(()) => active.offset,
                Err(_) => active.size,
            };
            self.close_segment(active.number, active.offset, allocated);
        }
        // A number is used once, even if making its file fails half-way.
        self.next_number += 1;
        match self.create(number, &head, size) {
            Ok(file) => {
                let body = head.len() as u64;
                self.shared.segments().insert(
                    number,
                    SegmentInfo {
                        first_sequence: header.first_sequence,
                        body,
                        end: None,
                        allocated: size,
                    },
                );
                self.active = Some(Active {
                    file,
                    number,
                    offset: body,
                    size,
                });
                self.shared.writable.store(true, Relaxed);
                self.shared.durable.send_replace(Durable {
                    link: self.head,
                    segment: number,
                    offset: body,
                });
                Ok(())
            }
            Err(source) => {
                tracing::error!(segment = number, error = %source, "audit spool: no new segment can be made");
                let _ = self.disk.remove(&segment_path(&self.config.dir, number));
                Err(self.failed())
            }
        }
    }

    fn create(&self, number: u64, head: &[u8], size: u64) -> std::io::Result<D::File> {
        let file = self.disk.create(&segment_path(&self.config.dir, number))?;
        file.write_all_at(head, 0)?;
        // Zeros reserve the space, so that a full disk shows here and a sync need not write the file's size.
        let zeros = vec![0; ZEROS];
        let mut offset = head.len() as u64;
        while offset < size {
            let piece = (size - offset).min(ZEROS as u64);
            file.write_all_at(&zeros[..usize::try_from(piece).unwrap_or(ZEROS)], offset)?;
            offset += piece;
        }
        file.sync_all()?;
        self.disk.sync_dir(&self.config.dir)?;
        self.shared.counters.syncs.fetch_add(1, Relaxed);
        Ok(file)
    }

    /// Gives a file up after a failed write or sync: nothing is written to it again.
    fn seal_off(&mut self, what: &'static str, source: &std::io::Error) {
        self.shared.counters.write_failures.fetch_add(1, Relaxed);
        let Some(active) = self.active.take() else { return };
        tracing::error!(segment = active.number, error = %source, "audit spool: {what} failed, segment given up");
        // Nothing in it counts, so it may go; but the last segment stays, as it says where the chain stands.
        let empty = {
            let mut segments = self.shared.segments();
            let empty = segments.len() > 1
                && segments
                    .get(&active.number)
                    .is_some_and(|info| info.body == active.offset);
            if empty {
                segments.remove(&active.number);
            }
            empty
        };
        if empty {
            // If it cannot be removed, the next segment's header says that it does not count.
            let _ = self.disk.remove(&segment_path(&self.config.dir, active.number));
        } else {
            self.close_segment(active.number, active.offset, active.size);
        }
    }

    fn close_segment(&self, number: u64, end: u64, allocated: u64) {
        if let Some(info) = self.shared.segments().get_mut(&number) {
            info.end = Some(end);
            info.allocated = allocated;
        }
    }

    fn failed(&self) -> AuditUnavailable {
        self.shared.writable.store(false, Relaxed);
        AuditUnavailable::WriteFailed
    }

    fn probe(&mut self) {
        if self.active.is_none() {
            // Making a segment writes and syncs, which is all that there is to find out.
            let _ = self.rotate(0);
        }
    }

    /// Bytes that can still be recorded.
    fn space(&self) -> u64 {
        let unallocated = self.config.max_bytes.saturating_sub(self.shared.bytes());
        let rest = self
            .active
            .as_ref()
            .map_or(0, |active| active.size - active.offset);
        // Space that no whole segment fits into cannot be used.
        let usable = unallocated / self.config.segment_bytes.max(1) * self.config.segment_bytes;
        usable + rest
    }

    /// Says when intents fit again. A whole segment must have become free, so that it does not change its mind with each entry.
    fn note_space(&self) {
        if self.space() >= self.config.reserve_bytes + self.config.segment_bytes {
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

/// Says that the writer is gone, however it goes.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.writable.store(false, Relaxed);
    }
}
