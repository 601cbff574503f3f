//! Brings every record to destinations outside as it comes, each at least once.
//!
//! Each destination has a task of its own, which takes the destination's feed of the store (one gateway of several has it), sends what comes, and has
//! the cursor moved when the destination is known to have it: JetStream acknowledges each record, a syslog receiver shows it by ending the
//! connection when it is asked to. What is sent and not known to have arrived is sent again after a failure, with the same id.
//!
//! Limits: a page of the feed in memory for each destination, [`LONGEST_PAUSE`] between tries, [`LAST`] at shutdown.
//!
//! On failure: logged once until it changes, counted (`cordon_audit_delivery_failures_total`), tried again. Records do not wait for any of it.

use std::{
    collections::BTreeMap, fmt, future::Future, ops::RangeInclusive, path::Path, sync::Arc, time::Duration,
};

use anyhow::{Context, Result};
use cordon_audit::{Feed, Page, StoreError, StoreUrl, WriterId};
use cordon_domain::Clock;
use cordon_intercept::{Revocation, private_tls, show_certificate};
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    config::{self, TlsFiles},
    metrics::Metrics,
    upstream::WayOut,
};

mod jetstream;
mod syslog;

/// How often new records are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How often a gateway tries for the feed that another one has.
const AGAIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time at shutdown to find out what has arrived.
const LAST: Duration = Duration::from_secs(5);

/// What [`start`] needs from around it.
pub struct Surroundings {
    /// Where records are.
    pub store: StoreUrl,
    /// The way out.
    pub way: WayOut,
    /// Certificates that do not count any more.
    pub revocation: Revocation,
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
/// When files that TLS rests on cannot be used.
pub fn start(configured: &config::Audit, around: &Surroundings, tasks: &TaskTracker) -> Result<()> {
    for delivery in &configured.deliver {
        let post = Post {
            name: delivery.name.clone(),
            store: around.store.clone(),
            metrics: Arc::clone(&around.metrics),
            clock: Arc::clone(&around.clock),
            stop: around.stop.clone(),
            told: BTreeMap::new(),
            said: None,
        };
        let trust = |files: &TlsFiles| {
            let trust = Trust {
                files: files.clone(),
                way: around.way.clone(),
                revocation: around.revocation.clone(),
            };
            trust
                .tls()
                .map(|_| trust)
                .with_context(|| format!("deliver: {}", delivery.name))
        };
        if let Some(settings) = &delivery.syslog {
            let receiver = syslog::Receiver::new(settings.clone(), trust(&settings.tls)?);
            tasks.spawn(post.serve(receiver));
        } else if let Some(settings) = &delivery.nats {
            let server = jetstream::Server::new(settings.clone(), trust(&settings.tls)?);
            tasks.spawn(post.serve(server));
        }
    }
    Ok(())
}

/// Why a destination's TLS cannot be had.
#[derive(Debug, thiserror::Error)]
enum TrustFault {
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, std::io::ErrorKind),
    #[error(transparent)]
    Unusable(#[from] cordon_intercept::TrustError),
}

/// What TLS toward a destination rests on.
struct Trust {
    files: TlsFiles,
    way: WayOut,
    revocation: Revocation,
}

impl Trust {
    /// TLS by what the files hold now.
    fn tls(&self) -> Result<ClientConfig, TrustFault> {
        tls_by(&self.files, &self.way.tls, &self.revocation)
    }
}

fn tls_by(
    files: &TlsFiles,
    upstreams: &ClientConfig,
    revocation: &Revocation,
) -> Result<ClientConfig, TrustFault> {
    let text = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| TrustFault::Unreadable(path.display().to_string(), error.kind()))
    };
    let mut tls = match &files.ca {
        Some(ca) => private_tls(&text(ca)?, revocation)?,
        None => upstreams.clone(),
    };
    tls.alpn_protocols.clear();
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        show_certificate(&mut tls, &text(certificate)?, &text(key)?)?;
    }
    Ok(tls)
}

/// Whether the files that destinations' TLS rests on can be used.
///
/// # Errors
/// When one cannot.
pub fn check(configured: &config::Audit, upstreams: &ClientConfig, revocation: &Revocation) -> Result<()> {
    for delivery in &configured.deliver {
        let syslog = delivery.syslog.as_ref().map(|syslog| &syslog.tls);
        let nats = delivery.nats.as_ref().map(|nats| &nats.tls);
        for files in syslog.into_iter().chain(nats) {
            tls_by(files, upstreams, revocation)
                .with_context(|| format!("audit.deliver: {}", delivery.name))?;
        }
    }
    Ok(())
}

/// What is known of the records that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// All have arrived.
    Arrived,
    /// Some may not have, and it is not yet time to ask.
    Sent,
    /// It is time to find out.
    Due,
}

/// A way to bring records to a destination.
trait Carries: Send {
    type Fault: fmt::Display + Send;

    /// Sends records, and says how many of them went without their body. It connects if there is no connection.
    fn send(&mut self, page: &Page) -> impl Future<Output = Result<u64, Self::Fault>> + Send;

    fn standing(&self) -> Standing;

    /// Returns when all that was sent has arrived.
    fn confirm(&mut self) -> impl Future<Output = Result<(), Self::Fault>> + Send;

    /// Ends the connection, and forgets what was sent.
    fn leave(&mut self);
}

/// One destination's task.
struct Post {
    name: String,
    store: StoreUrl,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    /// The last of each writer's records that was told as missing.
    told: BTreeMap<WriterId, u64>,
    /// What the log said last.
    said: Option<String>,
}

/// Why nothing is delivered.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Destination(String),
}

fn of_destination(fault: impl fmt::Display) -> Fault {
    Fault::Destination(fault.to_string())
}

/// How a session ended that did not fail.
enum End {
    Stopped,
    /// Another gateway delivers to this destination.
    Elsewhere,
}

impl Post {
    /// Delivers until it is stopped, with pauses where that fails.
    async fn serve<C: Carries>(mut self, mut by: C) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut delivered = 0;
            let rest = match self.session(&mut by, &mut delivered).await {
                Ok(End::Stopped) => return,
                Ok(End::Elsewhere) => AGAIN,
                Err(fault) => {
                    self.metrics.not_delivered(&self.name, "failed", 1);
                    let fault = fault.to_string();
                    if self.said.as_ref() != Some(&fault) {
                        error!(destination = self.name, %fault, "audit records are not being delivered; what has not arrived is sent again");
                        self.said = Some(fault);
                    }
                    if delivered > 0 {
                        pause = FIRST_PAUSE;
                    }
                    let rest = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    rest
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(rest) => {}
            }
        }
    }

    /// Delivers over one holding of the feed.
    async fn session<C: Carries>(&mut self, by: &mut C, delivered: &mut u64) -> Result<End, Fault> {
        let opened = tokio::select! {
            () = self.stop.cancelled() => return Ok(End::Stopped),
            opened = Feed::open(&self.store, &self.name) => opened?,
        };
        let Some(mut feed) = opened else {
            return Ok(End::Elsewhere);
        };
        let outcome = self.deliver(&mut feed, by, delivered).await;
        by.leave();
        // Of several gateways the one that delivers tells how far it is.
        self.metrics.delivery_ends(&self.name);
        let _ = timeout(LAST, feed.close()).await;
        outcome.map(|()| End::Stopped)
    }

    async fn deliver<C: Carries>(
        &mut self,
        feed: &mut Feed,
        by: &mut C,
        delivered: &mut u64,
    ) -> Result<(), Fault> {
        let stop = self.stop.clone();
        loop {
            let page = tokio::select! {
                biased;
                () = stop.cancelled() => return self.last(feed, by).await,
                page = feed.page() => page?,
            };
            let is_idle = page.is_none();
            if let Some(page) = page {
                self.tell_missing(&page);
                if !page.records.is_empty() {
                    let sent = tokio::select! {
                        // A page that was cut off is none that was sent, so nothing is confirmed after this.
                        () = stop.cancelled() => return Ok(()),
                        sent = by.send(&page) => sent.map_err(of_destination)?,
                    };
                    self.metrics.not_delivered(&self.name, "without_body", sent);
                }
            }
            if by.standing() == Standing::Due {
                let too_late = async {
                    stop.cancelled().await;
                    sleep(LAST).await;
                };
                tokio::select! {
                    confirmed = by.confirm() => confirmed.map_err(of_destination)?,
                    () = too_late => return Ok(()),
                }
            }
            if by.standing() == Standing::Arrived {
                *delivered += self.moved(feed).await?;
            }
            self.metrics.delivery_lag(&self.name, feed.lag());
            if is_idle {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(LOOK) => {}
                }
            }
        }
    }

    /// Moves the cursors behind all that has arrived.
    async fn moved(&mut self, feed: &mut Feed) -> Result<u64, Fault> {
        let now = u64::try_from(self.clock.now().unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        let records = feed.confirm(now).await?;
        self.metrics.delivered(&self.name, records);
        if records > 0 && self.said.take().is_some() {
            info!(destination = self.name, "audit records are being delivered again");
        }
        Ok(records)
    }

    /// Finds out what has arrived, as far as the time at shutdown allows.
    async fn last<C: Carries>(&mut self, feed: &mut Feed, by: &mut C) -> Result<(), Fault> {
        let finding_out = async {
            if by.standing() != Standing::Arrived {
                by.confirm().await.map_err(of_destination)?;
            }
            self.moved(feed).await.map(drop)
        };
        // What is not known to have arrived by then is sent again after the next start.
        timeout(LAST, finding_out).await.unwrap_or(Ok(()))
    }

    /// Tells of records that cannot be delivered any more, each once.
    fn tell_missing(&mut self, page: &Page) {
        let known = self.told.get(&page.writer).copied().unwrap_or(0);
        let new = page.missing.iter().filter(|missing| *missing.end() > known);
        let mut count = 0;
        for (first, last) in new.map(RangeInclusive::clone).map(RangeInclusive::into_inner) {
            count += last - first + 1;
            self.told.insert(page.writer, last);
            warn!(destination = self.name, writer = %page.writer, first, last,
                "audit records were not delivered: they were pruned before, or do not read (`cordon audit verify` says which)");
        }
        self.metrics.not_delivered(&self.name, "missing", count);
    }
}
