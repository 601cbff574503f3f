//! Traces: a span of each exchange, and one of what its upstream took of it, for an OpenTelemetry collector.
//!
//! A [`Trace`] goes with an exchange's draft and notes when things happened. At the exchange's end what is to be told is put into
//! a queue, and that is all that the path of a request does: [`spans`] and [`delivery`] do the rest in a task of their
//! own. Spans hold what records hold, and less: never a text, never a name. Whoever reads them need not be whoever may read records.
//!
//! Limits: [`WAITING`] exchanges in the queue. What finds it full is dropped and counted.
//!
//! On failure: nothing that an exchange would notice. Traces may be lost; records are not.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cordon_audit::Pseudonyms;
use cordon_domain::Clock;
use cordon_intercept::{Revocation, upstream_tls};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::parent::{SpanId, TRACEPARENT, TraceId, TraceParent};
use crate::{
    config::{self, Config},
    metrics::{Metrics, Spans, Stage},
    upstream::{Upstream, WayOut},
};

mod delivery;
mod otlp;
mod parent;
mod spans;

pub use spans::Told;

/// Exchanges that may wait for the collector.
const WAITING: usize = 2048;

/// What [`start`] needs from around it.
pub struct Surroundings {
    /// The way out.
    pub way: WayOut,
    /// How actors are told.
    pub pseudonyms: Pseudonyms,
    /// The name of this machine.
    pub host: String,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ends it.
    pub stop: CancellationToken,
}

/// Starts what the configuration asks for, if it does.
///
/// # Errors
/// When the collector's CA cannot be used.
pub fn start(config: &Config, around: Surroundings, tasks: &TaskTracker) -> Result<Option<Arc<Traces>>> {
    let Some(configured) = &config.traces else {
        return Ok(None);
    };
    let mut way = around.way;
    if let Some(ca) = &configured.ca {
        way.tls = Arc::new(trusting(config, ca)?);
    }
    let (queue, waiting) = mpsc::channel(WAITING);
    let writer = spans::Writer::new(around.pseudonyms, &configured.service_name, &around.host);
    let delivery = delivery::Delivery::new(
        configured,
        way,
        waiting,
        writer,
        around.metrics.clone(),
        around.stop,
    )?;
    tasks.spawn(delivery.run());
    Ok(Some(Arc::new(Traces {
        queue,
        share: share(configured),
        chance: RandomState::new(),
        metrics: around.metrics,
        clock: around.clock,
    })))
}

fn trusting(config: &Config, ca: &std::path::Path) -> Result<rustls::ClientConfig> {
    let context = || format!("traces.ca: {}", ca.display());
    let mut roots = config
        .extra_roots()
        .map_err(|(path, error)| anyhow::anyhow!("intercept.extra_roots: {}: {error}", path.display()))?;
    roots.push(std::fs::read_to_string(ca).with_context(context)?);
    let revocation: Revocation = config.revocation().context("intercept.crls")?;
    upstream_tls(&roots, &revocation).with_context(context)
}

/// Half of the ids of traces below which one is sent.
fn share(configured: &config::Traces) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 2^63, which was checked to be between 0 and 1"
    )]
    let share = (configured.sample * (1_u64 << 63) as f64) as u64;
    share
}

/// Where traces begin and end.
pub struct Traces {
    queue: mpsc::Sender<Box<Ended>>,
    share: u64,
    /// Nobody outside knows it.
    chance: RandomState,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// An exchange that is over.
pub struct Ended {
    trace: Trace,
    told: Told,
    /// Since it began.
    ended: Duration,
}

impl Traces {
    /// The trace of an exchange that begins now, as part of what its caller says, if it says so.
    pub fn begin(self: &Arc<Self>, asked: &HeaderMap) -> Option<Box<Trace>> {
        let since = Instant::now();
        let fresh = Fresh::new()?;
        let caller = TraceParent::of(asked);
        let place = Place {
            trace: caller.map_or(fresh.trace, |caller| caller.trace),
            parent: caller.map(|caller| Parent {
                span: caller.span,
                remote: true,
            }),
            span: fresh.span,
            asking: fresh.asking,
        };
        Some(Box::new(Trace {
            traces: self.clone(),
            place,
            since,
            began: u64::try_from(self.clock.now().unix_timestamp_nanos()).unwrap_or_default(),
            stages: Vec::new(),
            asked: None,
        }))
    }

    /// Whether a trace is sent. What the caller says of it is not asked: one who could turn traces off, or all of them on, would decide for
    /// the company. Nor does the id decide, which may be the caller's own choice, too.
    fn sends(&self, trace: &TraceId) -> bool {
        self.chance.hash_one(trace) >> 1 < self.share
    }
}

/// Ids that nobody has had before.
struct Fresh {
    trace: TraceId,
    span: SpanId,
    asking: SpanId,
}

impl Fresh {
    /// None where the system has no randomness, or an id came out as one that stands for none.
    fn new() -> Option<Self> {
        let (mut trace, mut span, mut asking) = ([0; 16], [0; 8], [0; 8]);
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok()?;
        trace.copy_from_slice(&bytes[..16]);
        span.copy_from_slice(&bytes[16..24]);
        asking.copy_from_slice(&bytes[24..]);
        let valid = trace != [0; 16] && span != [0; 8] && asking != [0; 8];
        valid.then_some(Self { trace, span, asking })
    }
}

/// Where an exchange stands in a trace.
#[derive(Clone)]
struct Place {
    trace: TraceId,
    parent: Option<Parent>,
    /// Of the exchange.
    span: SpanId,
    /// Of what its upstream took.
    asking: SpanId,
}

#[derive(Clone, Copy)]
struct Parent {
    span: SpanId,
    /// Whether it is another program's.
    remote: bool,
}

/// What goes with an exchange until its end.
#[derive(Clone)]
pub struct Trace {
    traces: Arc<Traces>,
    place: Place,
    since: Instant,
    /// Nanoseconds since 1970.
    began: u64,
    /// Each with when it ended, since the beginning, and how long it took.
    stages: Vec<(Stage, Duration, Duration)>,
    asked: Option<AskedOf>,
}

/// What an upstream was asked.
#[derive(Clone)]
struct AskedOf {
    upstream: Arc<Upstream>,
    /// The host of the upstream's that was asked, where the caller named one.
    host: Option<String>,
    began: Duration,
    status: Option<u16>,
    ended: Option<Duration>,
}

impl Trace {
    /// The trace of a message over the connection or in the call whose trace this is.
    pub fn of_message(&self) -> Option<Box<Self>> {
        let fresh = Fresh::new()?;
        let clock = &self.traces.clock;
        Some(Box::new(Self {
            traces: self.traces.clone(),
            place: Place {
                trace: self.place.trace,
                parent: Some(Parent {
                    span: self.place.span,
                    remote: false,
                }),
                span: fresh.span,
                asking: fresh.asking,
            },
            since: Instant::now(),
            began: u64::try_from(clock.now().unix_timestamp_nanos()).unwrap_or_default(),
            stages: Vec::new(),
            asked: None,
        }))
    }

    /// Makes it one that nothing leads to: its caller's would tell whose it is.
    pub fn detach(&mut self) {
        match Fresh::new() {
            Some(fresh) => {
                self.place = Place {
                    trace: fresh.trace,
                    parent: None,
                    span: fresh.span,
                    asking: fresh.asking,
                }
            }
            // Without an id of its own it stands alone all the same, under one that is known to nobody else.
            None => self.place.parent = None,
        }
    }

    /// Notes that a stage has just ended.
    pub fn stage(&mut self, stage: Stage, took: Duration) {
        self.stages.push((stage, self.since.elapsed(), took));
    }

    /// Notes that an upstream is asked now.
    pub fn asks(&mut self, upstream: &Arc<Upstream>, host: Option<&str>) {
        self.asked = Some(AskedOf {
            upstream: upstream.clone(),
            host: host.map(str::to_owned),
            began: self.since.elapsed(),
            status: None,
            ended: None,
        });
    }

    /// Notes the status that an upstream answered with.
    pub fn answered(&mut self, status: u16) {
        if let Some(asked) = &mut self.asked {
            asked.status = Some(status);
        }
    }

    /// Notes that nothing more comes from the upstream.
    pub fn answer_ended(&mut self) {
        let now = self.since.elapsed();
        if let Some(asked) = &mut self.asked {
            asked.ended.get_or_insert(now);
        }
    }

    /// What an upstream in the building is told of where it stands. No cloud learns of it.
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        let place = TraceParent {
            trace: self.place.trace,
            span: self.place.asking,
            sampled: self.is_sent(),
        };
        (TRACEPARENT, place.header())
    }

    /// Whether it goes to the collector.
    pub fn is_sent(&self) -> bool {
        self.traces.sends(&self.place.trace)
    }

    /// The exchange is over. Where there is no room for it, it is dropped and counted.
    pub fn end(self, told: Told) {
        let traces = self.traces.clone();
        let spans = 1 + u64::from(self.asked.is_some());
        let ended = Ended {
            ended: self.since.elapsed(),
            trace: self,
            told,
        };
        if traces.queue.try_send(Box::new(ended)).is_err() {
            traces.metrics.spans(Spans::Dropped, spans);
        }
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::SystemClock;

    use super::*;

    fn traces(sample: f64) -> (Arc<Traces>, mpsc::Receiver<Box<Ended>>) {
        let configured = config::Traces {
            endpoint: String::new(),
            headers: std::collections::BTreeMap::new(),
            ca: None,
            sample,
            service_name: String::new(),
        };
        let (queue, waiting) = mpsc::channel(2);
        let traces = Traces {
            queue,
            share: share(&configured),
            chance: RandomState::new(),
            metrics: Arc::new(Metrics::new()),
            clock: Arc::new(SystemClock),
        };
        (Arc::new(traces), waiting)
    }

    #[test]
    fn the_share_that_is_asked_for_is_sent_whatever_callers_say() {
        let mut asked = HeaderMap::new();
        for (sample, least, most) in [(0.0, 0, 0), (0.25, 180, 320), (1.0, 1000, 1000)] {
            let (traces, _waiting) = traces(sample);
            let sent = (0..1000)
                .filter(|_| traces.begin(&asked).unwrap().is_sent())
                .count();
            assert!((least..=most).contains(&sent), "{sample}: {sent}");
        }
        let not_sampled = "00-0af7651916cd43dd0448eb211c80319c-b7ad6b7169203331-00";
        asked.insert(TRACEPARENT, HeaderValue::from_static(not_sampled));
        let (traces, _waiting) = traces(1.0);
        assert!(traces.begin(&asked).unwrap().is_sent());
        // Nor whatever ids they choose.
        let (traces, _waiting) = super::tests::traces(0.25);
        let chosen = |number: u32| {
            let parent = format!("00-0af7651916cd43dd{:016x}-b7ad6b7169203331-01", number + 1);
            HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(&parent).unwrap())])
        };
        let sent = (0..1000)
            .filter(|number| traces.begin(&chosen(*number)).unwrap().is_sent())
            .count();
        assert!((180..=320).contains(&sent), "{sent}");
    }

    #[test]
    fn a_caller_is_the_parent_and_a_detached_trace_has_none() {
        let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let asked = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(caller))]);
        let (traces, _waiting) = traces(1.0);
        let mut trace = traces.begin(&asked).unwrap();
        let told = trace.header().1;
        let told = told.to_str().unwrap();
        assert_eq!(told[..36], caller[..36], "the same trace");
        assert_ne!(told[36..52], caller[36..52], "another span");
        let message = trace.of_message().unwrap();
        assert_eq!(message.place.trace, trace.place.trace);
        assert_eq!(message.place.parent.unwrap().span, trace.place.span);
        trace.detach();
        assert!(trace.place.parent.is_none() && trace.place.trace != message.place.trace);
    }

    #[test]
    fn what_finds_the_queue_full_is_dropped_and_counted() {
        let (traces, mut waiting) = traces(1.0);
        for _ in 0..5 {
            traces.begin(&HeaderMap::new()).unwrap().end(Told::default());
        }
        assert_eq!(traces.metrics.spans_so_far(Spans::Dropped), 3);
        assert!(waiting.try_recv().is_ok() && waiting.try_recv().is_ok() && waiting.try_recv().is_err());
    }
}
