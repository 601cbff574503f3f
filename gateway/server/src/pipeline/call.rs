//! A call whose request is a stream of messages (gRPC, gRPC-Web, Connect): both directions at once.
//!
//! The head and the first message take the path of a request as one exchange, whose reply streams on as any other. What
//! the caller says after that is read as it comes: each further message is an exchange of its own, which names
//! the call, and its intent is durable before a byte of it goes up ([`uplink`]). A caller who says nothing for [`LISTEN`]
//! may be waiting for the other end, so the head then goes up by itself.
//!
//! What the policy refuses is not sent. It ends the call, for the caller by the status of its protocol and for the
//! upstream by a reset, since a stream with one message left out is another stream.
//!
//! Limits: `body_bytes` and `body_grace_seconds` for a message, [`CALL_BYTES`] and the pace of WebSockets for all of
//! them; `reply_seconds` of silence until the reply begins, `idle_seconds` of it afterwards, `stream_seconds` in all.
//!
//! On failure: a [`Stopped`], and the call is sealed with its outcome.

mod source;
mod uplink;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cordon_audit::Outcome;
use cordon_domain::{Decision, Refusal};
use cordon_intercept::Arrival;
use cordon_policy::Originals;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::source::Rest;
use self::uplink::Uplink;
use super::{audit::Draft, decode::Decoded, identify::Caller};
use crate::{
    gate::Gate,
    refusal::Cause,
    upstream::{Feed, UpstreamError},
};

/// How long a caller's first message is awaited before the head goes up without it.
pub const LISTEN: Duration = Duration::from_secs(1);
/// Bytes that a caller may send in one call.
const CALL_BYTES: u64 = 1 << 30;

/// Why what the caller says came to an end before the caller ended it.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// What the caller is told.
    pub refusal: Refusal,
    /// How the call is sealed.
    pub outcome: Outcome,
}

/// A call under way, as route and respond hold it. Dropped, it ends what is still said.
pub struct Call {
    /// What goes up behind the head; route takes it.
    pub feed: Option<Feed>,
    stopped: Option<oneshot::Receiver<Stopped>>,
    learned: mpsc::UnboundedReceiver<Originals>,
    said: Said,
    _ends: DropGuard,
}

/// When the caller said something last.
#[derive(Clone)]
struct Said(Arc<Mutex<Instant>>);

impl Said {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn again(&self) {
        // A moment is whole whenever a holder panics.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once nothing was said for so long.
    async fn silent(&self, long: Duration) {
        loop {
            let until = self.last() + long;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Begins to read what the caller says further, if this is a call. The intent of its beginning is durable by now.
pub fn begin(
    gate: &Arc<Gate>,
    arrival: Arrival<Caller>,
    decoded: &mut Decoded,
    decision: &Decision,
    draft: &Draft,
) -> Option<Call> {
    let rest = decoded.rest.take()?;
    let (feed, sender) = Feed::new(rest.is_text());
    let (stop, stopped) = oneshot::channel();
    let (learn, learned) = mpsc::unbounded_channel();
    let ends = CancellationToken::new();
    let said = Said::now();
    let uplink = Uplink {
        gate: gate.clone(),
        arrival,
        rest,
        upstream: decision.upstream.clone(),
        call: draft.clone(),
        sender,
        learn,
        said: said.clone(),
        ends: ends.clone(),
        bytes: 0,
    };
    gate.tasks.spawn(uplink.run(stop));
    Some(Call {
        feed: Some(feed),
        stopped: Some(stopped),
        learned,
        said,
        _ends: ends.drop_guard(),
    })
}

impl Call {
    /// Returns once the caller's side was stopped; never where it ends well.
    pub async fn stopped(&mut self) -> Stopped {
        if let Some(stopped) = &mut self.stopped {
            let told = stopped.await;
            self.stopped = None;
            if let Ok(stopped) = told {
                return stopped;
            }
        }
        std::future::pending().await
    }

    /// What was replaced in messages since the last time.
    pub fn learned(&mut self) -> Option<Originals> {
        self.learned.try_recv().ok()
    }

    /// Whether the caller has said something within that time.
    pub fn spoke_within(&self, long: Duration) -> bool {
        self.said.last().elapsed() < long
    }
}

/// Returns why a reply is awaited no longer: the caller's side was stopped, or neither end has said anything for so
/// long. For what is no call, never.
pub async fn interrupted(call: Option<&mut Call>, patience: Duration) -> Cause {
    let Some(call) = call else {
        return std::future::pending().await;
    };
    let said = call.said.clone();
    tokio::select! {
        biased;
        stopped = call.stopped() => Cause::Stopped(stopped),
        () = said.silent(patience) => Cause::Upstream(UpstreamError::TimedOut),
    }
}

/// What of a call comes first.
pub enum First {
    /// A message, in its envelope.
    Message(Bytes),
    /// Nothing yet, or nothing at all.
    Nothing,
}
