//! The room's front: open it, record into it, shut it down.
//!
//! [`open`] recovers the spool, seals what a dead process left open, and starts the writer thread and the shipper. The
//! [`Recorder`] is what the pipeline holds; [`Shipping`] belongs to whoever drains the process.
//!
//! On failure: [`OpenError`] at start; [`AuditUnavailable`] for each entry that is not durable.

use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use cordon_domain::{Clock, ExchangeId};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, interval_at, timeout, timeout_at},
};

use crate::{
    disk::{Disk, RealDisk},
    note::SigningKey,
    prune::{Retention, prune_hourly},
    record::{Body, Event, Heartbeat, Intent, Outcome, Seal, TreeName},
    sequence::{Sequencer, Sequencing},
    ship::Shipper,
    spool::{
        AuditUnavailable, Shared, SpoolConfig,
        recover::{SpoolError, recover},
        writer::{Ask, Writer},
    },
    store::{Store, StoreError, StoreUrl},
};

mod recording;
pub use recording::Recording;
mod sealing;
use sealing::Prepared;
pub use sealing::Sealing;

/// Entries that may wait for the writer thread; past that, callers wait for their turn.
const WAITING: usize = 4096;
/// KiB of attachments that may wait for it.
const WAITING_KIB: u32 = 64 << 10;
/// How often the spool's files are looked at, and an unhealthy spool is tried again.
const LOOK: Duration = Duration::from_secs(1);
/// The longest that the shipper gathers while callers wait for the store.
const LINGER_WHILE_AWAITED: Duration = Duration::from_millis(2);

/// What the audit room needs to know.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    /// The local queue.
    pub spool: SpoolConfig,
    /// Where records rest.
    pub store: StoreUrl,
    /// A name for this writer that people recognise, e.g. the host's; it need not be unique.
    pub name: String,
    /// Where records are sent to, if by another role than reads them: one that may only insert.
    pub writer: Option<StoreUrl>,
    /// Where subjects' keys are kept, if in a database apart from the records.
    pub keys: Option<StoreUrl>,
    /// Who may change the store's tables, if neither of the others does.
    pub owner: Option<StoreUrl>,
    /// How long the shipper gathers before it sends a batch that is not full.
    pub linger: Duration,
    /// How often a heartbeat is recorded.
    pub heartbeat: Duration,
    /// Where a record has to be before anything that depends on it goes on.
    pub durability: Durability,
    /// Pseudonyms of actors and keys for payloads. Without them names stand in records as they are, and no payload is taken.
    pub sealing: Option<Sealing>,
    /// How records are put into trees; where it is absent, another process does it or nobody.
    pub sequencing: Option<Sequencing>,
    /// How long records are kept. Whoever puts records into trees also removes them when they had their time.
    pub retention: Retention,
    /// The audit's key, for a writer that signs where its chain ends and leaves trees to others.
    pub key: Option<Arc<SigningKey>>,
}

/// Where a record has to be before anything that depends on it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the spool on this machine. The store may be away.
    Local,
    /// In the store as well.
    LocalAndStore {
        /// How long the store may take; past that, what was to be recorded is refused.
        wait: Duration,
    },
}

impl AuditConfig {
    /// The defaults.
    #[must_use]
    pub fn new(spool_dir: impl Into<std::path::PathBuf>, store: StoreUrl, name: impl Into<String>) -> Self {
        Self {
            spool: SpoolConfig::new(spool_dir),
            store,
            name: name.into(),
            writer: None,
            keys: None,
            owner: None,
            linger: Duration::from_millis(50),
            heartbeat: Duration::from_secs(60),
            durability: Durability::Local,
            sealing: None,
            sequencing: None,
            retention: Retention::new(),
            key: None,
        }
    }
}

/// The audit room could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The spool opened and cannot be written.
    #[error("{0}")]
    Unavailable(#[from] AuditUnavailable),
    /// The embedded store cannot be used. (A PostgreSQL that is away is no error: the spool waits for it.)
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer's thread could not be started.
    #[error("the audit writer could not be started")]
    Thread,
}

/// Opens spool and store. Exchanges without a final state are sealed as `unknown` before this returns.
///
/// # Errors
/// When the spool is in use, damaged or not writable, or the SQLite file cannot be opened.
pub async fn open(config: AuditConfig, clock: Arc<dyn Clock>) -> Result<(Recorder, Shipping), OpenError> {
    let AuditConfig {
        spool,
        store: url,
        name,
        writer: by_writer,
        keys,
        owner,
        linger,
        heartbeat,
        durability,
        sealing,
        sequencing,
        retention,
        key,
    } = config;
    let (linger, store_wait) = match durability {
        Durability::Local => (linger, None),
        Durability::LocalAndStore { wait } => (linger.min(LINGER_WHILE_AWAITED), Some(wait)),
    };
    let (writer, shared) = {
        let clock = Arc::clone(&clock);
        tokio::task::spawn_blocking(move || open_spool(RealDisk, spool, clock))
            .await
            .map_err(|_| OpenError::Thread)??
    };
    // The embedded store is a file like the spool's own: if it cannot be opened now, waiting will not help.
    let store = match &url {
        StoreUrl::Sqlite(_) => Some(Store::create(&url).await?),
        StoreUrl::Postgres(_) => None,
    };
    let key_store = match &keys {
        Some(url @ StoreUrl::Sqlite(_)) => Some(Store::create_keys(url).await?),
        Some(StoreUrl::Postgres(_)) | None => None,
    };
    let (asks, served) = mpsc::channel(WAITING);
    let thread = thread::Builder::new()
        .name("audit-spool".into())
        .spawn(move || writer.run(served))
        .map_err(|_| OpenError::Thread)?;
    let (stop, stopped) = watch::channel(false);
    let (stop_sequencing, sequencing_stopped) = watch::channel(false);
    let sequencer = sequencing.clone().map(|sequencing| Sequencer {
        sequencing,
        url: url.clone(),
        shared: Arc::clone(&shared),
        clock: Arc::clone(&clock),
        stop: sequencing_stopped,
    });
    let owner = owner.unwrap_or_else(|| url.clone());
    let prunes = sequencing.is_some() && !retention.is_empty();
    let pruner_clock = Arc::clone(&clock);
    let pruner_url = owner.clone();
    let pruner_keys = keys.clone();
    let shipper = Shipper {
        shared: Arc::clone(&shared),
        clock,
        owner,
        url: by_writer.unwrap_or(url),
        keys,
        key_store,
        key: sequencing.map(|sequencing| sequencing.key).or(key),
        name,
        store,
        linger,
        stop: stopped,
    };
    let recorder = Recorder {
        asks: asks.clone(),
        room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
        shared: Arc::clone(&shared),
        store_wait,
        sealing,
    };
    let pruner = prunes.then(|| {
        let pruning = prune_hourly(recorder.clone(), pruner_url, pruner_keys, retention, pruner_clock);
        tokio::spawn(pruning)
    });
    let shipping = Shipping {
        asks: asks.clone(),
        shared: Arc::clone(&shared),
        stop,
        thread: Mutex::new(Some(thread)),
        shipper: Some(tokio::spawn(shipper.run())),
        looking: tokio::spawn(look(asks.downgrade())),
        beating: tokio::spawn(beat(asks.downgrade(), shared, heartbeat)),
        sequencer: sequencer.map(|sequencer| tokio::spawn(sequencer.run())),
        stop_sequencing,
        pruner,
    };
    Ok((recorder, shipping))
}

pub(crate) fn open_spool<D: Disk>(
    disk: D,
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
) -> Result<(Writer<D>, Arc<Shared>), OpenError> {
    let recovered = recover(&config.dir)?;
    if let Some(bytes) = recovered.torn {
        tracing::warn!(
            bytes,
            "audit spool: the last write was torn and was cut off; nothing in it was acknowledged"
        );
    }
    if !recovered.open.is_empty() {
        tracing::warn!(
            exchanges = recovered.open.len(),
            "audit spool: sealing exchanges that were left open as unknown"
        );
    }
    let io = |source| SpoolError::Io {
        path: config.dir.clone(),
        source,
    };
    let shared = Arc::new(Shared::new(&config, &recovered).map_err(io)?);
    let dir = config.dir.clone();
    let writer = Writer::new(disk, config, clock, Arc::clone(&shared), &recovered);
    let mut writer = writer.map_err(|source| SpoolError::Io { path: dir, source })?;
    writer.start()?;
    Ok((writer, shared))
}

/// Has the writer look at its files.
async fn look(asks: mpsc::WeakSender<Ask>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(asks) = asks.upgrade() else { return };
        if asks.send(Ask::Look).await.is_err() {
            return;
        }
    }
}

/// Records that the audit lives.
async fn beat(asks: mpsc::WeakSender<Ask>, shared: Arc<Shared>, every: Duration) {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(asks) = asks.upgrade() else { return };
        let heartbeat = Heartbeat {
            interval_seconds: every.as_secs(),
            depth: shared.depth(),
            refused: shared.counters.refused.load(Relaxed),
            write_failures: shared.counters.write_failures.load(Relaxed),
        };
        // One that cannot be recorded is missed, which is what it is for. The writer counts it.
        let (done, _) = oneshot::channel();
        let ask = Ask::Record {
            recording: Recording::of(Body::Heartbeat(heartbeat)),
            done,
            room: None,
        };
        if asks.send(ask).await.is_err() {
            return;
        }
    }
}

/// Records entries. Cheap to clone; every clone speaks to the same writer.
#[derive(Clone)]
pub struct Recorder {
    asks: mpsc::Sender<Ask>,
    /// Memory for attachments that wait to be written, in KiB.
    room: Arc<Semaphore>,
    shared: Arc<Shared>,
    /// How long the store may take, where it has to have a record too.
    store_wait: Option<Duration>,
    sealing: Option<Sealing>,
}

impl Recorder {
    /// Records a decision. Returns when it is durable; only then may a byte go upstream.
    ///
    /// If the caller is dropped while it waits, the exchange is sealed as `client_left`.
    ///
    /// # Errors
    /// When it is not durable: nothing may go upstream.
    pub async fn intent(&self, intent: Intent) -> Result<(), AuditUnavailable> {
        self.record(Recording::of(Body::Intent(intent))).await
    }

    /// Records how an exchange ended. Returns when it is durable; only then may the last byte go downstream.
    ///
    /// A seal is written even if the caller is dropped while it waits. One that fails need not be tried
    /// again: the exchange is sealed as `unknown` as soon as the spool works again.
    ///
    /// # Errors
    /// When it is not durable: the answer must not be completed.
    pub async fn seal(&self, seal: Seal) -> Result<(), AuditUnavailable> {
        self.record(Recording::of(Body::Seal(seal))).await
    }

    /// Records a decision that is its own end, such as a refusal by policy, in one go.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn sealed_intent(&self, intent: Intent, seal: Seal) -> Result<(), AuditUnavailable> {
        self.record(Recording::of(Body::Intent(intent)).and(Body::Seal(seal)))
            .await
    }

    /// Records anything else. Returns when it is durable.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn event(&self, event: Event) -> Result<(), AuditUnavailable> {
        let body = Body::from(event);
        let tree = match body.exchange() {
            Some(_) => TreeName::default(),
            // What happened to the gateway or to the audit itself is kept for good.
            None => TreeName::governance(),
        };
        self.record(Recording::of(body).in_tree(tree)).await
    }

    /// Records entries with what travels beside them, all or none. Returns when they are durable.
    ///
    /// What [`intent`](Self::intent) and [`seal`](Self::seal) say of callers that are dropped holds here too.
    ///
    /// # Errors
    /// When they are not durable.
    pub async fn record(&self, recording: Recording) -> Result<(), AuditUnavailable> {
        let Prepared { recording, keys } = match &self.sealing {
            // What waits for a key is large, and mostly nobody does.
            Some(sealing) => Box::pin(sealing.prepare(self.shared.writer, recording)).await?,
            None if recording.has_payload() => return Err(AuditUnavailable::Keys),
            None => Prepared {
                recording,
                keys: Vec::new(),
            },
        };
        let room = match u32::try_from(recording.attached().div_ceil(1 << 10)) {
            Ok(0) => None,
            kib => {
                // One that is larger than all the room there is waits until it is the only one.
                let kib = kib.map_or(WAITING_KIB, |kib| kib.min(WAITING_KIB));
                let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
                Some(room.map_err(|_| AuditUnavailable::Closed)?)
            }
        };
        let mut opened = Opened::by(&recording, &self.shared);
        let (done, answer) = oneshot::channel();
        let sent = self
            .asks
            .send(Ask::Record {
                recording,
                done,
                room,
            })
            .await;
        let answer = match sent {
            Ok(()) => answer.await.unwrap_or(Err(AuditUnavailable::Closed)),
            Err(_) => Err(AuditUnavailable::Closed),
        };
        if answer.is_ok() {
            keys.iter().for_each(|key| key.kept());
        }
        if let (Ok(sequence), Some(wait)) = (answer, self.store_wait) {
            let mut shipped = self.shared.shipped.subscribe();
            let there = shipped.wait_for(|shipped| *shipped >= sequence);
            if !matches!(timeout(wait, there).await, Ok(Ok(_))) {
                self.shared.counters.refused.fetch_add(1, Relaxed);
                opened.outcome = Outcome::Internal;
                return Err(AuditUnavailable::StoreAway);
            }
        }
        // Of what is not durable nothing is open.
        opened.exchange = None;
        answer.map(|_| ())
    }

    /// Waits until the store has all that is durable here by now; says whether it has within `wait`.
    pub async fn in_store(&self, wait: Duration) -> bool {
        let wanted = self.shared.durable.borrow().link.sequence;
        let mut shipped = self.shared.shipped.subscribe();
        let there = shipped.wait_for(|shipped| *shipped >= wanted);
        matches!(timeout(wait, there).await, Ok(Ok(_)))
    }

    /// Records that the store does not have yet.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.shared.depth()
    }

    /// Whether new intents can be recorded, as far as the last attempt tells.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.shared.healthy()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn metrics(&self) -> AuditMetrics {
        let counters = &self.shared.counters;
        let (segments, spool_bytes) = {
            let segments = self.shared.segments();
            (
                segments.len() as u64,
                segments.values().map(|s| s.allocated).sum::<u64>(),
            )
        };
        let spare_bytes = self.shared.spares().len() as u64 * self.shared.segment_bytes;
        AuditMetrics {
            recorded: counters.recorded.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            syncs: counters.syncs.load(Relaxed),
            write_failures: counters.write_failures.load(Relaxed),
            tampered: counters.tampered.load(Relaxed),
            batches_shipped: counters.batches_shipped.load(Relaxed),
            ship_failures: counters.ship_failures.load(Relaxed),
            sequenced: counters.sequenced.load(Relaxed),
            checkpoints: counters.checkpoints.load(Relaxed),
            sequence_failures: counters.sequence_failures.load(Relaxed),
            depth: self.shared.depth(),
            segments,
            spool_bytes: spool_bytes + spare_bytes,
            healthy: self.healthy(),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("writer", &self.shared.writer)
            .finish_non_exhaustive()
    }
}

/// An exchange whose caller does not know yet that it is open. If the caller never learns of it, it is closed.
struct Opened<'s> {
    shared: &'s Shared,
    exchange: Option<ExchangeId>,
    outcome: Outcome,
}

impl<'s> Opened<'s> {
    fn by(recording: &Recording, shared: &'s Shared) -> Self {
        let bodies = || recording.items.iter().map(|item| &item.body);
        let closes = bodies().any(|body| body.closes().is_some());
        Self {
            shared,
            exchange: bodies().find_map(Body::opens).filter(|_| !closes),
            outcome: Outcome::ClientLeft,
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange {
            self.shared.abandon(exchange, self.outcome);
        }
    }
}

/// Figures since the start of the process, and the spool's present size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditMetrics {
    /// Entries made durable.
    pub recorded: u64,
    /// Asks that were refused.
    pub refused: u64,
    /// Syncs; fewer than entries when several share one.
    pub syncs: u64,
    /// Writes or syncs that failed.
    pub write_failures: u64,
    /// Files of the spool that were not in their places.
    pub tampered: u64,
    /// Batches that the store took.
    pub batches_shipped: u64,
    /// Failures on the way to the store.
    pub ship_failures: u64,
    /// Records that this process put into trees.
    pub sequenced: u64,
    /// Checkpoints that it signed.
    pub checkpoints: u64,
    /// Failures of putting records into trees.
    pub sequence_failures: u64,
    /// Records that the store does not have yet.
    pub depth: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes that they take, spares included.
    pub spool_bytes: u64,
    /// Whether new intents can be recorded.
    pub healthy: bool,
}

/// The running writer and shipper.
///
/// Dropping it ends shipping at once; what is in the spool stays there for the next start.
pub struct Shipping {
    asks: mpsc::Sender<Ask>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    shipper: Option<JoinHandle<()>>,
    looking: JoinHandle<()>,
    beating: JoinHandle<()>,
    sequencer: Option<JoinHandle<()>>,
    stop_sequencing: watch::Sender<bool>,
    pruner: Option<JoinHandle<()>>,
}

impl Shipping {
    /// Closes the spool to new entries, makes those that wait durable, and ships until the store has all
    /// or `deadline` has passed. Returns how many records stay in the spool for the next start.
    pub async fn shutdown(mut self, deadline: Duration) -> u64 {
        if let Some(pruner) = self.pruner.take() {
            pruner.abort();
        }
        // A closed channel means that the writer has ended already.
        let _ = self.asks.send(Ask::Close).await;
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        let _ = self.stop.send(true);
        let until = Instant::now() + deadline;
        if let Some(mut shipper) = self.shipper.take()
            && timeout_at(until, &mut shipper).await.is_err()
        {
            shipper.abort();
            let _ = shipper.await;
        }
        // Behind the shipper, so that the last checkpoint covers the last record.
        let _ = self.stop_sequencing.send(true);
        if let Some(mut sequencer) = self.sequencer.take()
            && timeout_at(until, &mut sequencer).await.is_err()
        {
            sequencer.abort();
            let _ = sequencer.await;
        }
        // Recorders may outlive this; the directory is free all the same, as nothing writes there any more.
        if let Err(error) = self.shared.lock.unlock() {
            tracing::warn!(%error, "audit spool: the lock cannot be given up before the process ends");
        }
        self.shared.depth()
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.looking.abort();
        self.beating.abort();
        for task in [&self.shipper, &self.sequencer, &self.pruner]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }
}

impl fmt::Debug for Shipping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shipping")
            .field("writer", &self.shared.writer)
            .finish_non_exhaustive()
    }
}
