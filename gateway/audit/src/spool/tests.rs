//! The spool against crashes, torn writes, failing disks, full disks and tampering.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use cordon_domain::{ExchangeId, SystemClock};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::{
    AuditUnavailable, CursorFile, Link, Shared, SpoolConfig, cursor_path,
    reader::{Most, Reader, Spooled},
    recover::{SpoolError, recover},
    segment_path,
    spares::retire,
    writer::{Answer, Ask},
};
use crate::{
    disk::replace_file,
    record::{Body, Entry, EntryHash, Outcome, samples},
    recorder::{OpenError, Recording, open_spool},
};

mod attachments;
mod disks;
mod faults;
mod model;
mod touching;

use faults::Faults;

/// A spool with its writer thread, and no shipper.
struct Rig {
    faults: Faults,
    asks: mpsc::Sender<Ask>,
    thread: thread::JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Rig {
    fn open(config: SpoolConfig) -> Result<Self, OpenError> {
        let faults = Faults::default();
        let (writer, shared) = open_spool(faults.clone(), config, Arc::new(SystemClock))?;
        let (asks, served) = mpsc::channel(64);
        let thread = thread::spawn(move || writer.run(served));
        Ok(Self {
            faults,
            asks,
            thread,
            shared,
        })
    }

    fn ask(&self, recording: Recording) -> oneshot::Receiver<Answer> {
        let (done, answer) = oneshot::channel();
        let ask = Ask::Record {
            recording,
            done,
            room: None,
        };
        self.asks.blocking_send(ask).unwrap();
        answer
    }

    fn recording(&self, recording: Recording) -> Result<(), AuditUnavailable> {
        self.ask(recording).blocking_recv().unwrap().map(|_| ())
    }

    fn record(&self, body: Body) -> Result<(), AuditUnavailable> {
        self.recording(Recording::of(body))
    }

    fn intent(&self, exchange: ExchangeId) -> Result<(), AuditUnavailable> {
        self.record(Body::Intent(samples::intent(exchange)))
    }

    fn seal(&self, exchange: ExchangeId) -> Result<(), AuditUnavailable> {
        self.record(Body::Seal(samples::seal(exchange)))
    }

    /// What happens every second.
    fn look(&self) {
        self.asks.blocking_send(Ask::Look).unwrap();
        // Asks are served in order, so an answered one means that the look is over.
        let _ = self.seal(ExchangeId::new());
    }

    /// What the shipper does: takes what the store lacks, then takes segments out of use.
    fn ship(&self, store: &mut Vec<Entry>) {
        let at = store.last().map_or(Link::START, |last| Link {
            sequence: last.sequence,
            hash: EntryHash::of(&last.canonical_bytes()),
        });
        let mut reader = Reader::new(Arc::clone(&self.shared), at);
        let most = Most {
            entries: usize::MAX,
            bytes: usize::MAX,
        };
        let taken = reader.read(most).unwrap();
        store.extend(taken.into_iter().map(|spooled| spooled.entry));
        let Some(last) = store.last() else { return };
        let cursor = CursorFile {
            writer: self.shared.writer,
            shipped: Link {
                sequence: last.sequence,
                hash: EntryHash::of(&last.canonical_bytes()),
            },
        };
        // Where the directory is gone, nothing is taken out of use.
        let content = serde_json::to_vec(&cursor).unwrap();
        if replace_file(&cursor_path(&self.shared.dir), &content).is_ok() {
            for number in self.shared.finished(cursor.shipped) {
                let _ = retire(&self.faults, &self.shared, number);
            }
        }
    }

    /// Ends the thread and gives the lock up, as a crash would.
    fn end(self) {
        self.asks.blocking_send(Ask::Close).unwrap();
        self.thread.join().unwrap();
    }
}

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: dir.join("spool"),
        segment_bytes: 8 << 10,
        max_bytes: 1 << 20,
        reserve_bytes: 8 << 10,
    }
}

/// A directory in memory where there is one, as these tests look at bytes and not at disks.
fn fast_dir() -> TempDir {
    let shm = Path::new("/dev/shm");
    let made = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    made.unwrap()
}

/// All entries of a spool, in order.
fn entries(config: &SpoolConfig) -> Vec<Entry> {
    spooled(config).into_iter().map(|spooled| spooled.entry).collect()
}

/// The same, with their attachments.
fn spooled(config: &SpoolConfig) -> Vec<Spooled> {
    let rig = Rig::open(config.clone()).unwrap();
    let first = rig.shared.segments().values().next().unwrap().first_sequence;
    assert_eq!(first, 1);
    let mut reader = Reader::new(Arc::clone(&rig.shared), Link::START);
    let mut all = Vec::new();
    loop {
        let most = Most {
            entries: 7,
            bytes: 1 << 20,
        };
        let batch = reader.read(most).unwrap();
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
    }
    rig.end();
    let mut previous = EntryHash::GENESIS;
    for (index, Spooled { entry, bytes, .. }) in all.iter().enumerate() {
        assert_eq!(*bytes, entry.canonical_bytes());
        assert_eq!(entry.sequence, index as u64 + 1);
        assert_eq!(entry.previous_hash, previous);
        previous = EntryHash::of(bytes);
    }
    all
}

fn outcome_of(entries: &[Entry], exchange: ExchangeId) -> Vec<Outcome> {
    let seals = entries.iter().filter_map(|entry| match &entry.body {
        Body::Seal(seal) if seal.exchange == exchange => Some(seal.outcome),
        _ => None,
    });
    seals.collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        fs::copy(item.path(), to.join(item.file_name())).unwrap();
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    files.sort();
    files
}

#[test]
fn what_is_acknowledged_is_there_after_reopening() {
    let dir = fast_dir();
    let config = config(dir.path());
    let ids: Vec<_> = (0..40).map(|_| ExchangeId::new()).collect();
    let rig = Rig::open(config.clone()).unwrap();
    for id in &ids {
        rig.intent(*id).unwrap();
        rig.seal(*id).unwrap();
    }
    assert!(rig.shared.segments().len() > 3, "small segments rotate");
    rig.end();
    let all = entries(&config);
    assert_eq!(all.len(), 80);
    for id in ids {
        assert_eq!(outcome_of(&all, id), [Outcome::Completed]);
    }
}

#[test]
fn a_crash_at_any_byte_keeps_every_earlier_write() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let mut write_ends = Vec::new();
    for _ in 0..3 {
        rig.intent(ExchangeId::new()).unwrap();
        write_ends.push(rig.shared.durable.borrow().offset);
    }
    // One write of several records.
    let id = ExchangeId::new();
    let both = Recording::of(Body::Intent(samples::intent(id))).and(Body::Seal(samples::seal(id)));
    rig.recording(both).unwrap();
    write_ends.push(rig.shared.durable.borrow().offset);
    rig.end();
    let file = segments(&config.dir).remove(0);
    let whole = fs::read(&file).unwrap();
    let end = usize::try_from(*write_ends.last().unwrap()).unwrap();
    let start = usize::try_from(write_ends[1]).unwrap();
    for cut in start..=end {
        // The rest is missing, or it is the zeros that were reserved.
        for zeros in [false, true] {
            let mut bytes = whole[..cut].to_vec();
            if zeros {
                bytes.resize(whole.len(), 0);
            }
            fs::write(&file, &bytes).unwrap();
            let kept = write_ends.iter().filter(|end| **end <= cut as u64).count() as u64;
            let recovered = recover(&config.dir).unwrap();
            // Of the last write's two records the first may have arrived whole; it was not acknowledged, and may stay.
            let most = if kept == 3 { 4 } else { kept };
            let least = if kept == 4 { 5 } else { kept };
            assert!(
                (least..=most.max(least)).contains(&recovered.head.sequence),
                "cut at {cut}: {}",
                recovered.head.sequence
            );
            if recovered.head.sequence == 4 {
                assert_eq!(recovered.open.len(), 4);
            }
        }
    }
}

#[test]
fn exchanges_left_open_are_sealed_as_unknown_once() {
    let dir = fast_dir();
    let config = config(dir.path());
    let (left, done) = (ExchangeId::new(), ExchangeId::new());
    let rig = Rig::open(config.clone()).unwrap();
    rig.intent(left).unwrap();
    rig.intent(done).unwrap();
    rig.seal(done).unwrap();
    rig.end();
    for _ in 0..3 {
        let all = entries(&config);
        assert_eq!(outcome_of(&all, left), [Outcome::Unknown]);
        assert_eq!(outcome_of(&all, done), [Outcome::Completed]);
    }
}

#[test]
fn open_exchanges_outlive_the_segment_of_their_intent() {
    let dir = fast_dir();
    let config = config(dir.path());
    let left = ExchangeId::new();
    let rig = Rig::open(config.clone()).unwrap();
    rig.intent(left).unwrap();
    for _ in 0..30 {
        let id = ExchangeId::new();
        rig.intent(id).unwrap();
        rig.seal(id).unwrap();
    }
    // What the shipper does: the store has everything, so all segments but the last go.
    let link = rig.shared.durable.borrow().link;
    let cursor = CursorFile {
        writer: rig.shared.writer,
        shipped: link,
    };
    replace_file(&cursor_path(&config.dir), &serde_json::to_vec(&cursor).unwrap()).unwrap();
    rig.end();
    let files = segments(&config.dir);
    for file in &files[..files.len() - 1] {
        fs::remove_file(file).unwrap();
    }
    let recovered = recover(&config.dir).unwrap();
    assert_eq!(recovered.open.into_keys().collect::<Vec<_>>(), [left]);
    assert_eq!(recovered.head, link);
}

#[test]
fn each_exchange_gets_one_final_state() {
    let dir = fast_dir();
    let rig = Rig::open(config(dir.path())).unwrap();
    let id = ExchangeId::new();
    assert_eq!(rig.seal(id), Err(AuditUnavailable::NotOpen));
    rig.intent(id).unwrap();
    assert_eq!(rig.intent(id), Err(AuditUnavailable::AlreadyOpen));
    rig.seal(id).unwrap();
    assert_eq!(rig.seal(id), Err(AuditUnavailable::NotOpen));
    rig.end();
}

#[test]
fn a_caller_that_left_gets_its_intent_closed() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    // The thread is kept busy by nothing here, so both orders of drop and write occur; each must end closed or unwritten.
    let ids: Vec<_> = (0..50).map(|_| ExchangeId::new()).collect();
    for id in &ids {
        drop(rig.ask(Recording::of(Body::Intent(samples::intent(*id)))));
    }
    rig.end();
    let all = entries(&config);
    for id in ids {
        let opened = all.iter().any(|entry| entry.body.opens() == Some(id));
        let states = outcome_of(&all, id);
        assert!(
            if opened {
                // One that was answered just before it was dropped is closed by the recorder, which is not here.
                states == [Outcome::ClientLeft] || states.is_empty()
            } else {
                states.is_empty()
            },
            "{opened} {states:?}"
        );
    }
}

#[test]
fn a_full_spool_refuses_intents_before_seals() {
    let dir = fast_dir();
    let config = SpoolConfig {
        max_bytes: 64 << 10,
        reserve_bytes: 20 << 10,
        ..config(dir.path())
    };
    let rig = Rig::open(config.clone()).unwrap();
    let mut open = Vec::new();
    let why = loop {
        let id = ExchangeId::new();
        match rig.intent(id) {
            Ok(()) => open.push(id),
            Err(why) => break why,
        }
    };
    assert_eq!(why, AuditUnavailable::Full);
    assert!(!rig.shared.healthy());
    assert!(open.len() > 20);
    for id in &open[..20] {
        rig.seal(*id).unwrap();
    }
    assert!(rig.shared.bytes() <= config.max_bytes);
    rig.end();
    let on_disk: u64 = segments(&config.dir)
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(on_disk <= config.max_bytes);
}

#[test]
fn damage_before_the_end_is_reported_and_nothing_is_touched() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    for _ in 0..30 {
        rig.intent(ExchangeId::new()).unwrap();
    }
    rig.end();
    let files = segments(&config.dir);
    assert!(files.len() > 2);
    for (index, file) in files.iter().enumerate() {
        let whole = fs::read(file).unwrap();
        let used = whole.iter().rposition(|b| *b != 0).unwrap();
        // In the newest segment the last write could be torn, so only what lies before it counts.
        let until = if index + 1 == files.len() {
            used.saturating_sub(2000)
        } else {
            used
        };
        for place in (0..until).step_by(97) {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x20;
            fs::write(file, &bytes).unwrap();
            let result = recover(&config.dir);
            assert!(
                matches!(
                    result,
                    Err(SpoolError::Damaged { .. } | SpoolError::Missing { .. })
                ),
                "{index} {place}: {result:?}"
            );
            assert_eq!(fs::read(file).unwrap(), bytes);
        }
        fs::write(file, &whole).unwrap();
    }
    let middle = fs::read(&files[1]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    assert!(matches!(recover(&config.dir), Err(SpoolError::Missing { .. })));
    fs::write(&files[1], middle).unwrap();
    recover(&config.dir).unwrap();
}

#[test]
fn a_cursor_past_the_end_or_with_another_hash_is_reported() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    rig.intent(ExchangeId::new()).unwrap();
    let (writer, link) = (rig.shared.writer, rig.shared.durable.borrow().link);
    rig.end();
    let set = |shipped: Link| {
        let bytes = serde_json::to_vec(&CursorFile { writer, shipped }).unwrap();
        fs::write(cursor_path(&config.dir), bytes).unwrap();
    };
    set(Link {
        sequence: 9,
        hash: link.hash,
    });
    assert!(matches!(
        recover(&config.dir),
        Err(SpoolError::Missing {
            first: 2,
            last: 9,
            ..
        })
    ));
    set(Link {
        sequence: 1,
        hash: EntryHash::GENESIS,
    });
    assert!(matches!(recover(&config.dir), Err(SpoolError::Damaged { .. })));
    set(link);
    recover(&config.dir).unwrap();
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    assert!(matches!(recover(&config.dir), Err(SpoolError::InUse { .. })));
    rig.end();
    recover(&config.dir).unwrap();
}

#[test]
fn a_segment_that_was_never_finished_is_removed() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    rig.intent(ExchangeId::new()).unwrap();
    rig.end();
    let torn = segment_path(&config.dir, 99);
    fs::write(&torn, b"CORDSPL1 and nothing that reads").unwrap();
    assert_eq!(recover(&config.dir).unwrap().head.sequence, 1);
    assert!(!torn.exists());
}

#[test]
fn a_copied_spool_recovers_like_the_original() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let id = ExchangeId::new();
    rig.intent(id).unwrap();
    // A copy of the files of a running spool is what a crash leaves behind.
    let copied = dir.path().join("copy");
    copy(&config.dir, &copied);
    rig.seal(id).unwrap();
    rig.end();
    assert_eq!(recover(&copied).unwrap().open.len(), 1);
    assert_eq!(recover(&config.dir).unwrap().open.len(), 0);
}
