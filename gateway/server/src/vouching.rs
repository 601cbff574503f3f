//! What is done with a checkpoint once it is signed: witnesses are asked to cosign it, it is published, and stamped with the time.
//!
//! The newest checkpoint of each tree, with the cosignatures that it got so far, stands in one place. Each witness, each publication and the
//! time-stamping authority has a task of its own that looks there, so none waits for another, and one that was away goes on
//! with what is newest then: what it missed is covered by that.
//!
//! Limits: [`TIME`] for a request, [`ANSWER_BYTES`] of an answer, pauses up to [`LONGEST_PAUSE`].
//!
//! On failure: logged once until it changes, counted (`cordon_audit_vouching_total`), tried again. Records do not wait for any of it.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use cordon_audit::{Published, StoreUrl, TreeName, note::Signature};
use cordon_domain::Clock;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::sync::{broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{
    config,
    metrics::Metrics,
    upstream::{Connect, Reach, WayOut},
};

mod publishing;
mod stamps;
mod witnesses;

/// How long a request may take.
const TIME: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const ANSWER_BYTES: usize = 256 * 1024;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What [`start`] needs from around it.
pub struct Surroundings {
    /// Where checkpoints are told as they are signed.
    pub signed: broadcast::Receiver<Published>,
    /// Where what others say of them is kept.
    pub store: StoreUrl,
    /// The way out.
    pub way: WayOut,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Starts what the configuration asks for.
///
/// # Errors
/// When a part of it cannot be started.
pub fn start(configured: &config::Audit, around: Surroundings, tasks: &TaskTracker) -> Result<()> {
    let desk = Desk {
        newest: watch::Sender::new(BTreeMap::new()),
        metrics: around.metrics,
        clock: around.clock,
        stop: around.stop,
    };
    let line = Line::new(around.way);
    for witness in &configured.witnesses {
        let key = witness
            .verifying_key()
            .context("a witness of the configuration has no key of a witness")?;
        let witness = witnesses::Witness::new(
            desk.clone(),
            line.clone(),
            &witness.url,
            key,
            around.store.clone(),
        );
        tasks.spawn(desk.clone().serve(witness));
    }
    for publication in &configured.publish {
        match publication {
            config::Publication::Directory(path) => {
                tasks.spawn(desk.clone().serve(publishing::Folder::new(path.clone())));
            }
            config::Publication::Bucket(bucket) => {
                let bucket = publishing::Bucket::new(desk.clone(), line.clone(), bucket)?;
                tasks.spawn(desk.clone().serve(bucket));
            }
        }
    }
    if let Some(timestamps) = &configured.timestamps {
        let folders = configured
            .publish
            .iter()
            .filter_map(|publication| match publication {
                config::Publication::Directory(path) => Some(path.clone()),
                config::Publication::Bucket(_) => None,
            });
        let stamps = stamps::Stamps::new(desk.clone(), line, timestamps, folders.collect(), around.store);
        tasks.spawn(desk.clone().serve(stamps));
    }
    tasks.spawn(desk.gather(around.signed));
    Ok(())
}

/// The newest checkpoint of each tree, and what all who vouch have in common.
#[derive(Clone)]
struct Desk {
    newest: watch::Sender<BTreeMap<TreeName, Published>>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

/// Somebody who does something with each checkpoint.
trait Vouches: Send {
    /// What of a checkpoint is dealt with: it comes again when that differs.
    type Mark: PartialEq + Send;
    type Fault: fmt::Display + Send;

    /// For the log and the count.
    const KIND: &'static str;

    fn name(&self) -> &str;

    fn mark(&self, published: &Published) -> Self::Mark;

    fn take(&mut self, published: &Published) -> impl Future<Output = Result<(), Self::Fault>> + Send;
}

impl Desk {
    /// Puts the newest checkpoint of each tree where all see it.
    async fn gather(self, mut signed: broadcast::Receiver<Published>) {
        loop {
            let published = tokio::select! {
                () = self.stop.cancelled() => return,
                published = signed.recv() => published,
            };
            match published {
                Ok(published) => self.newest.send_modify(|newest| {
                    newest.insert(published.tree.clone(), published);
                }),
                // Those that were missed are older than the ones that come.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Adds a cosignature to the newest checkpoint of a tree, unless there is a newer one by now.
    fn cosigned(&self, over: &Published, signature: &Signature) {
        self.newest.send_if_modified(|newest| {
            let same = newest
                .get_mut(&over.tree)
                .filter(|newest| newest.checkpoint == over.checkpoint);
            same.is_some_and(|newest| newest.note.push(signature.clone()).is_ok())
        });
    }

    /// The time, in milliseconds since 1970.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
    }

    /// Brings what is newest to somebody, with pauses where that fails, until it is stopped.
    async fn serve<V: Vouches>(self, mut to: V) {
        let mut newest = self.newest.subscribe();
        let mut dealt_with: BTreeMap<TreeName, V::Mark> = BTreeMap::new();
        let mut pause = FIRST_PAUSE;
        let mut said: Option<String> = None;
        loop {
            let due: Vec<Published> = newest
                .borrow_and_update()
                .values()
                .filter(|published| dealt_with.get(&published.tree) != Some(&to.mark(published)))
                .cloned()
                .collect();
            let mut failed = false;
            for published in due {
                let taken = tokio::select! {
                    () = self.stop.cancelled() => return,
                    taken = to.take(&published) => taken,
                };
                let outcome = if taken.is_ok() { "done" } else { "failed" };
                self.metrics.vouched(V::KIND, to.name(), outcome);
                match taken {
                    Ok(()) => {
                        dealt_with.insert(published.tree.clone(), to.mark(&published));
                    }
                    Err(fault) => {
                        failed = true;
                        let fault = format!("{}: {fault}", published.tree);
                        if said.as_ref() != Some(&fault) {
                            error!(kind = V::KIND, name = to.name(), %fault, "a checkpoint of the audit was not taken");
                            said = Some(fault);
                        }
                    }
                }
            }
            if failed {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            pause = FIRST_PAUSE;
            if said.take().is_some() {
                info!(
                    kind = V::KIND,
                    name = to.name(),
                    "checkpoints of the audit are taken again"
                );
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = newest.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// HTTP to those who vouch. Certificates are verified as those of upstreams, by what is trusted at the start.
#[derive(Clone)]
struct Line(Client<Connect, Full<Bytes>>);

impl Line {
    fn new(way: WayOut) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(Connect {
            way,
            reach: Reach::Anywhere,
            only_http1: true,
        }))
    }

    async fn send(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), LineError> {
        let exchange = async {
            let answer = self.0.request(request.map(Full::new)).await;
            let answer = answer.map_err(|_| LineError::Unreachable)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|_| LineError::Broken)?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(TIME, exchange)
            .await
            .unwrap_or(Err(LineError::TimedOut))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("its answer broke off or is too long")]
    Broken,
    #[error("it did not answer in time")]
    TimedOut,
}
