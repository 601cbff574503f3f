//! Delivery: what waits in the queue goes to the collector in batches, until it has them.
//!
//! A batch is sent when it has [`BATCH`] spans, or [`LINGER`] after its first. While the collector is away the same batch is tried again
//! and again, and what comes meanwhile waits in the queue as far as there is room: the oldest are kept. At the end what waits
//! is sent for [`LAST`] at most.
//!
//! Limits: [`TIME`] for a request, [`ANSWER_BYTES`] of an answer, pauses up to [`LONGEST_PAUSE`].
//!
//! On failure: logged once until it changes, and counted (`cordon_trace_spans_total`). What a collector will never take is
//! given up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Ended, otlp, spans::Writer};
use crate::{
    config::{self, Setting},
    metrics::{Metrics, Spans},
    upstream::{Connect, Reach, WayOut},
};

/// Spans in a request; an exchange's are not divided, so there may be one more.
const BATCH: usize = 512;
/// How long a batch waits to be full.
const LINGER: Duration = Duration::from_secs(1);
/// How long a request may take.
const TIME: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// At the end: how long a request under way may take yet, and how long all that waits may take after it.
const LAST: Duration = Duration::from_secs(2);

/// The task.
pub(super) struct Delivery {
    endpoint: Uri,
    headers: BTreeMap<String, Setting>,
    client: Client<Connect, Full<Bytes>>,
    waiting: mpsc::Receiver<Box<Ended>>,
    writer: Writer,
    /// Spans of the batch under way.
    batch: Vec<otlp::Span>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    said: Option<Fault>,
}

impl Delivery {
    pub(super) fn new(
        configured: &config::Traces,
        way: WayOut,
        waiting: mpsc::Receiver<Box<Ended>>,
        writer: Writer,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let connect = Connect {
            way,
            reach: Reach::Anywhere,
            only_http1: true,
        };
        Ok(Self {
            endpoint: configured.endpoint.parse().context("traces.endpoint")?,
            headers: configured.headers.clone(),
            client: Client::builder(TokioExecutor::new()).build(connect),
            waiting,
            writer,
            batch: Vec::new(),
            metrics,
            stop,
            said: None,
        })
    }

    /// Delivers until it is stopped, and then what waits yet.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.gather() => {}
            }
            if !self.deliver(&stop).await {
                break;
            }
        }
        let left = tokio::time::timeout(LAST, self.deliver_what_waits()).await;
        if left.is_err() || !self.batch.is_empty() {
            self.waiting.close();
            while let Ok(ended) = self.waiting.try_recv() {
                self.writer.write(*ended, &mut self.batch);
            }
            warn!(
                spans = self.batch.len(),
                "traces were lost: the collector did not take them before the end"
            );
            self.count(Spans::Dropped, self.batch.len());
        }
    }

    /// Fills the batch. It can be given up and taken up again.
    async fn gather(&mut self) {
        let mut until = (!self.batch.is_empty()).then(Instant::now);
        while self.batch.len() < BATCH {
            let next = match until {
                None => self.waiting.recv().await,
                Some(until) => match tokio::time::timeout_at(until, self.waiting.recv()).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            match next {
                Some(ended) => self.writer.write(*ended, &mut self.batch),
                // Nobody is left who could end an exchange; the stop is on its way.
                None => std::future::pending().await,
            }
            until.get_or_insert_with(|| Instant::now() + LINGER);
        }
    }

    /// Sends the batch until it is dealt with. False where that was stopped before.
    async fn deliver(&mut self, stop: &CancellationToken) -> bool {
        let body = self.writer.request(&self.batch);
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = tokio::select! {
                sent = self.send(body.clone()) => sent,
                () = after(stop) => return false,
            };
            let fault = match self.settle(sent) {
                None => return true,
                Some(fault) => fault,
            };
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(fault.pause().unwrap_or(pause)) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Tries all that waits once, and ends at what fails.
    async fn deliver_what_waits(&mut self) {
        self.waiting.close();
        loop {
            while self.batch.len() < BATCH
                && let Ok(ended) = self.waiting.try_recv()
            {
                self.writer.write(*ended, &mut self.batch);
            }
            if self.batch.is_empty() {
                return;
            }
            let sent = self.send(self.writer.request(&self.batch)).await;
            if self.settle(sent).is_some() {
                return;
            }
        }
    }

    /// Takes the outcome of a request. What is worth another try is given back; otherwise the batch is dealt with.
    fn settle(&mut self, sent: Result<u64, Fault>) -> Option<Fault> {
        let spans = self.batch.len();
        match sent {
            Ok(rejected) => {
                let rejected = usize::try_from(rejected).unwrap_or(spans).min(spans);
                self.count(Spans::Sent, spans - rejected);
                self.count(Spans::Rejected, rejected);
                if self.said.take().is_some() {
                    info!("the collector takes traces again");
                }
            }
            Err(fault) => {
                if self.said.as_ref().map(ToString::to_string) != Some(fault.to_string()) {
                    error!(%fault, "traces are not taken");
                    self.said = Some(fault.clone());
                }
                if fault.may_pass() {
                    return Some(fault);
                }
                self.count(Spans::Rejected, spans);
            }
        }
        self.batch.clear();
        None
    }

    fn count(&self, what: Spans, spans: usize) {
        self.metrics.spans(what, spans as u64);
    }

    /// Posts a batch; how many of its spans the collector would not have.
    async fn send(&self, body: Bytes) -> Result<u64, Fault> {
        let mut request = Request::post(self.endpoint.clone());
        for (name, value) in &self.headers {
            let value = value.read_again().map_err(Fault::Header)?;
            let name: Result<HeaderName, _> = name.parse();
            let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value.value())) else {
                return Err(Fault::Header("a header of `traces.headers` is none".to_owned()));
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("cordon/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|_| Fault::Header("the URL is none".to_owned()))?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|_| Fault::Unreachable)?;
            let status = answer.status();
            let pause = answer.headers().get(header::RETRY_AFTER).and_then(seconds);
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            if !status.is_success() {
                return Err(Fault::Status(status, pause));
            }
            // The spans are taken, whatever becomes of the words about them.
            let told = body
                .ok()
                .and_then(|body| otlp::Response::decode(body.to_bytes()).ok());
            let rejected = told
                .and_then(|told| told.partial_success)
                .map_or(0, |partial| partial.rejected_spans);
            Ok(u64::try_from(rejected).unwrap_or_default())
        };
        tokio::time::timeout(TIME, exchange)
            .await
            .unwrap_or(Err(Fault::TimedOut))
    }
}

/// Returns when what is under way at the stop has had its time.
async fn after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST).await;
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(FIRST_PAUSE, LONGEST_PAUSE))
}

/// Why a batch was not taken.
#[derive(Clone, Debug, thiserror::Error)]
enum Fault {
    #[error("the collector cannot be reached, or closed the connection")]
    Unreachable,
    #[error("the collector did not answer in time")]
    TimedOut,
    #[error("the collector answers {0}")]
    Status(StatusCode, Option<Duration>),
    #[error("`traces.headers`: {0}")]
    Header(String),
}

impl Fault {
    /// Whether the same batch may be taken another time: what the protocol names, and what is nothing of the batch.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status, _) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Unreachable | Self::TimedOut | Self::Header(_) => true,
        }
    }

    /// How long the collector asks to be left alone.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Status(_, pause) => *pause,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_asked_for_is_waited() {
        let status = |code| Fault::Status(StatusCode::from_u16(code).unwrap(), None);
        assert!([429, 502, 503, 504].iter().all(|code| status(*code).may_pass()));
        assert!(
            [301, 400, 401, 404, 413, 500]
                .iter()
                .all(|code| !status(*code).may_pass())
        );
        let pause = |value| seconds(&HeaderValue::from_static(value));
        assert_eq!(pause("3"), Some(Duration::from_secs(3)));
        assert_eq!(pause("86400"), Some(LONGEST_PAUSE));
        assert_eq!(pause("0"), Some(FIRST_PAUSE));
        assert_eq!(pause("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
