//! Ships what the spool holds to the store, in order, exactly once.
//!
//! A batch and the writer's position go into one transaction. When its answer is lost, the
//! position in the store says whether it was committed; shipping goes on from there. A segment is taken out of use only
//! when the store has all of it and the local `cursor` file says so durably. Nobody waits for this task.
//!
//! Where subjects' keys are kept in a database apart, those of a batch go there first. While that is away, a batch that brings keys waits, and all
//! behind it, as they do for the store.
//!
//! On failure: logged once until it changes, counted, and tried again with growing pauses up to five seconds. If the store's
//! chain cannot be continued (it was set back further than the spool reaches, or goes on differently), records stay in the
//! spool and the log says so.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use cordon_domain::Clock;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    attachment::Attachment,
    disk::{RealDisk, replace_file},
    note::{Note, NoteError, SigningKey},
    record::EntryHash,
    spool::{
        CursorFile, Link, Shared, cursor_path,
        reader::{Most, ReadError, Reader, Spooled},
        spares::retire,
    },
    store::{Batch, Store, StoreError, StoreUrl},
};

/// Records of one transaction, with their attachments.
const BATCH: Most = Most {
    entries: 400,
    bytes: 8 << 20,
};
/// How long the store may take for one.
const ANSWER: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Least time between two writes of the `cursor` file, when no segment is to be removed.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Shipper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    /// By whom records are sent.
    pub(crate) url: StoreUrl,
    /// Who may bring the tables up to date.
    pub(crate) owner: StoreUrl,
    /// Where subjects' keys are sent to, if apart from the records.
    pub(crate) keys: Option<StoreUrl>,
    /// That database, once it was reached.
    pub(crate) key_store: Option<Store>,
    /// What positions are signed by.
    pub(crate) key: Option<Arc<SigningKey>>,
    pub(crate) name: String,
    /// The store, once it was reached.
    pub(crate) store: Option<Store>,
    /// How long to gather before a batch that is not full.
    pub(crate) linger: Duration,
    /// Turns true when everything is to be shipped and then ended.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why shipping does not go on.
#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database of subjects' keys: {0}")]
    Keys(StoreError),
    #[error("audit spool: {0}")]
    Read(#[from] ReadError),
    #[error(
        "the store has record {store} of this writer, the spool ends at {spool}: was the spool directory restored from a backup?"
    )]
    SpoolBehind { store: u64, spool: u64 },
    #[error(
        "the store ends at record {store} of this writer, the spool starts behind {spool}: was the store exchanged or set back?"
    )]
    StoreBehind { store: u64, spool: u64 },
    #[error("record {0} in the store is not the one that the spool continues")]
    Forked(u64),
    #[error("a position cannot be signed: {0}")]
    Note(#[from] NoteError),
    #[error("audit spool: cursor: {0}")]
    Cursor(std::io::Error),
    #[error("a task of the shipper failed")]
    Task,
}

impl Shipper {
    pub(crate) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        loop {
            let before = *self.shared.shipped.borrow();
            match self.session(&mut said).await {
                Ok(()) => return,
                Err(e) => {
                    self.shared.counters.ship_failures.fetch_add(1, Relaxed);
                    let text = e.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::error!(error = %text, depth = self.shared.depth(), "audit records are not being shipped; they stay in the spool");
                        said = Some(text);
                    }
                }
            }
            if *self.shared.shipped.borrow() > before {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ships until told to stop and done, or until something fails.
    async fn session(&mut self, said: &mut Option<String>) -> Result<(), ShipError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => {
                let store = within(Store::create(&self.owner)).await?;
                let store = if self.owner == self.url {
                    store
                } else {
                    store.close().await;
                    within(Store::open_for_writing(&self.url)).await?
                };
                self.store.insert(store).clone()
            }
        };
        let mut link = within(store.register(self.shared.writer, &self.name, self.now())).await?;
        self.check_start(link)?;
        let mut reader = Reader::new(Arc::clone(&self.shared), link);
        self.shared.shipped.send_replace(link.sequence);
        let mut cursor_at: Option<Instant> = None;
        let mut cursor_dirty = true;
        let mut durable = self.shared.durable.subscribe();
        loop {
            let stopping = *self.stop.borrow();
            durable.borrow_and_update();
            let (batch, back) = read(reader).await?;
            reader = back;
            let Some(last) = batch.last() else {
                if cursor_dirty && (stopping || cursor_at.is_none_or(|at| at.elapsed() >= CURSOR_EVERY)) {
                    self.save_cursor(link).await?;
                    (cursor_at, cursor_dirty) = (Some(Instant::now()), false);
                    self.retire_finished(link).await?;
                }
                if stopping {
                    if let Some(keys) = self.key_store.take() {
                        keys.close().await;
                    }
                    store.close().await;
                    return Ok(());
                }
                tokio::select! {
                    _ = durable.changed() => {
                        // A few more records usually follow; one transaction takes them all.
                        tokio::select! {
                            () = sleep(self.linger) => {}
                            _ = self.stop.changed() => {}
                        }
                    }
                    _ = self.stop.changed() => {}
                    () = sleep(CURSOR_EVERY), if cursor_dirty => {}
                }
                continue;
            };
            if batch[0].entry.previous_hash != link.hash {
                return Err(ShipError::Forked(link.sequence));
            }
            let to = Link {
                sequence: last.entry.sequence,
                hash: EntryHash::of(&last.bytes),
            };
            // First, so that no payload is ever there without its key. Keys that were taken in before something failed are taken in once.
            let keys_apart = self.take_keys(&batch).await.map_err(ShipError::Keys)?;
            let note = self.position(to)?;
            let shipped = Batch {
                writer: self.shared.writer,
                behind: link,
                records: &batch,
                to,
                at: self.now(),
                note: note.as_deref(),
                keys_apart,
            };
            within(store.append(shipped)).await?;
            link = to;
            self.shared.shipped.send_replace(link.sequence);
            self.shared.counters.batches_shipped.fetch_add(1, Relaxed);
            cursor_dirty = true;
            if said.take().is_some() {
                tracing::info!(
                    depth = self.shared.depth(),
                    "audit records are being shipped again"
                );
            }
            if !self.shared.finished(link).is_empty()
                || cursor_at.is_none_or(|at| at.elapsed() >= CURSOR_EVERY)
            {
                self.save_cursor(link).await?;
                (cursor_at, cursor_dirty) = (Some(Instant::now()), false);
                self.retire_finished(link).await?;
            }
        }
    }

    /// Puts the keys of a batch where keys are kept apart, if they are; says whether they are. A batch without keys asks nobody.
    async fn take_keys(&mut self, batch: &[Spooled]) -> Result<bool, StoreError> {
        let Some(url) = &self.keys else { return Ok(false) };
        let mut attachments = batch.iter().flat_map(|record| &record.attachments);
        if attachments.any(|bytes| Attachment::is_key(bytes)) {
            let store = match &self.key_store {
                Some(store) => store,
                None => self.key_store.insert(within(Store::create_keys(url)).await?),
            };
            within(store.take_keys(batch)).await?;
        }
        Ok(true)
    }

    /// Whether the store's chain and the spool's meet.
    fn check_start(&self, link: Link) -> Result<(), ShipError> {
        let spool = self.shared.durable.borrow().link;
        if link.sequence > spool.sequence {
            return Err(ShipError::SpoolBehind {
                store: link.sequence,
                spool: spool.sequence,
            });
        }
        if link.sequence == spool.sequence && link.hash != spool.hash {
            return Err(ShipError::Forked(link.sequence));
        }
        let first = self
            .shared
            .segments()
            .values()
            .next()
            .map_or(1, |info| info.first_sequence);
        if link.sequence + 1 < first {
            return Err(ShipError::StoreBehind {
                store: link.sequence,
                spool: first - 1,
            });
        }
        Ok(())
    }

    /// The position as a signed note, so that nobody who has the store alone can make another.
    fn position(&self, link: Link) -> Result<Option<String>, NoteError> {
        let Some(key) = &self.key else { return Ok(None) };
        let checkpoint = link.signable(key.verifying().name(), self.shared.writer);
        let mut note = Note::new(checkpoint.text())?;
        let signature = key.sign(note.text(), self.now() / 1000);
        note.push(signature)?;
        Ok(Some(note.to_string()))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }

    async fn save_cursor(&self, shipped: Link) -> Result<(), ShipError> {
        let content = CursorFile {
            writer: self.shared.writer,
            shipped,
        };
        let path = cursor_path(&self.shared.dir);
        let bytes = serde_json::to_vec(&content).expect("three plain fields");
        let saved = tokio::task::spawn_blocking(move || replace_file(&path, &bytes)).await;
        saved.map_err(|_| ShipError::Task)?.map_err(ShipError::Cursor)
    }

    async fn retire_finished(&self, link: Link) -> Result<(), ShipError> {
        for number in self.shared.finished(link) {
            let shared = Arc::clone(&self.shared);
            let retired = tokio::task::spawn_blocking(move || retire(&RealDisk, &shared, number)).await;
            if let Err(error) = retired.map_err(|_| ShipError::Task)? {
                // What is left of it is found again, and removed, after the next start.
                tracing::warn!(segment = number, %error, "audit spool: a shipped segment cannot be taken out of use");
            }
        }
        Ok(())
    }
}

async fn read(mut reader: Reader) -> Result<(Vec<Spooled>, Reader), ShipError> {
    tokio::task::spawn_blocking(move || Ok((reader.read(BATCH)?, reader)))
        .await
        .map_err(|_| ShipError::Task)?
}

async fn within<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(ANSWER, call)
        .await
        .unwrap_or(Err(StoreError::TimedOut(ANSWER.as_secs())))
}
