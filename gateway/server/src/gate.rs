//! What every exchange needs, in one place: the rules of the moment, the upstreams, the recorder.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use cordon_audit::{BlindKey, CommitmentKey, Recorder, TreeName};
use cordon_domain::Actor;
use cordon_policy::PlaceholderKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    config::Config,
    files::Files,
    metrics::Metrics,
    negotiate::Negotiator,
    questions::Questions,
    rules::Rules,
    supervise::{Engine, EngineState},
    traces::Traces,
    upstream::Upstreams,
};

/// The shared state of a running server.
pub struct Gate {
    /// The configuration it was started with.
    pub config: Config,
    /// Policy, detectors and API keys; replaced whole by a reload.
    pub rules: ArcSwap<Rules>,
    /// Where cleared requests go.
    pub upstreams: Upstreams,
    /// The same, as policy sees them.
    pub policy_upstreams: Vec<cordon_policy::Upstream>,
    /// The on-prem model.
    pub engine: Engine,
    /// The policy's questions to the on-prem model.
    pub questions: Questions,
    /// What reads files.
    pub files: Files,
    /// What checks Kerberos tickets, where callers may show one.
    pub negotiator: Option<Negotiator>,
    /// Where records go.
    pub recorder: Recorder,
    /// Key behind placeholders.
    pub placeholder_key: PlaceholderKey,
    /// Key behind payload commitments.
    pub commitment_key: CommitmentKey,
    /// Key of the blind index.
    pub blind_key: BlindKey,
    /// Where traces go, if they do.
    pub traces: Option<Arc<Traces>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// When the server started, in seconds since 1970: `created` of the engine's model.
    pub started: i64,
    /// Exchanges and streams under way, which a shutdown waits for.
    pub tasks: TaskTracker,
    /// Places for exchanges under way.
    pub places: Arc<Semaphore>,
    /// What each actor has under way.
    pub shares: Arc<Shares>,
    /// How many refusals of callers that nobody knows are recorded.
    pub strangers: Allowance,
    /// Whether a shutdown has begun.
    pub draining: AtomicBool,
}

impl Gate {
    /// The tree that records about somebody belong into: the first tenant that one of the groups is of, and the class.
    pub fn tree_of(&self, actor: &Actor, class: Option<&str>) -> TreeName {
        let default = TreeName::default();
        let tenants = &self.config.audit.tenants;
        let tenant = tenants
            .iter()
            .find(|(_, tenant)| !tenant.groups.is_disjoint(&actor.groups))
            .map_or(default.tenant(), |(name, _)| name);
        // Both names were checked when they were read; what cannot be named is kept with all the rest.
        TreeName::new(tenant, class.unwrap_or(default.class())).unwrap_or_default()
    }

    /// Whether the proxy takes Kerberos tickets at the moment.
    pub fn takes_tickets(&self) -> bool {
        self.negotiator.is_some() && self.rules.load().principals.is_some()
    }
}

/// Records a second that callers without a key can cause.
const STRANGERS_A_SECOND: f64 = 10.0;
/// Records that they can cause at once.
const STRANGERS_AT_ONCE: f64 = 200.0;

/// A bound on what strangers can make us write: whoever reaches the port could otherwise fill the spool,
/// which stops everybody. What is past it is refused all the same, and counted.
pub struct Allowance(Mutex<(Instant, f64)>);

impl Allowance {
    /// Full, at this moment.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new((now, STRANGERS_AT_ONCE)))
    }

    /// Takes one, if there is one.
    pub fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        // Two numbers are whole whenever a holder panics.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(state.0).as_secs_f64() * STRANGERS_A_SECOND;
        let left = (state.1 + gained).min(STRANGERS_AT_ONCE);
        let taken = left >= 1.0;
        *state = (now, if taken { left - 1.0 } else { left });
        taken
    }
}

/// What an actor can have only so many of at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shared {
    /// Exchanges under way.
    Exchange,
    /// Tunnels open.
    Tunnel,
    /// WebSockets open.
    Socket,
    /// WebSockets of everybody.
    Sockets,
}

/// What each actor has under way, so that one cannot take every place. Actors with nothing under way are
/// not kept.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<(Shared, String), usize>>);

/// One exchange or tunnel of an actor; dropping it makes room for another.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    of: (Shared, String),
}

impl Shares {
    /// One more for an actor, if it has fewer than `most`.
    pub fn take(self: &Arc<Self>, what: Shared, user: &str, most: usize) -> Option<Share> {
        let of = (what, user.to_owned());
        // A number is whole whenever a holder panics.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&of).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        held.insert(of.clone(), count + 1);
        Some(Share {
            shares: Arc::clone(self),
            of,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.of)),
        }
    }
}

/// An exchange's place among those under way; it is free again when the last holder drops it.
pub struct Place {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.exchanges.dec();
    }
}

impl Gate {
    /// A place for one more exchange, if there is one.
    pub fn place(&self) -> Option<Arc<Place>> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        self.metrics.exchanges.inc();
        Some(Arc::new(Place {
            metrics: self.metrics.clone(),
            _permit: permit,
        }))
    }

    /// Room for one more WebSocket of an actor, if there is any.
    pub fn socket(&self, user: &str) -> Option<[Share; 2]> {
        let limits = &self.config.limits;
        let of_all = self.shares.take(Shared::Sockets, "", limits.sockets)?;
        let of_actor = self.shares.take(Shared::Socket, user, limits.sockets_per_actor)?;
        Some([of_all, of_actor])
    }

    /// Why an exchange could not be answered now; nothing means ready.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.engine.state() {
            EngineState::Ready => {}
            EngineState::Starting => reasons.push("the engine is starting".to_owned()),
            EngineState::Down(reason) => reasons.push(format!("the engine is down: {reason}")),
        }
        if !self.recorder.healthy() {
            reasons.push("records cannot be made durable; every exchange is refused".to_owned());
        }
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("shutting down".to_owned());
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_actor_has_its_share_and_others_theirs() {
        let shares = Arc::<Shares>::default();
        let take = |user: &str| shares.take(Shared::Exchange, user, 2);
        let (first, second) = (take("ann"), take("ann"));
        assert!(first.is_some() && take("ann").is_none() && take("bob").is_some());
        assert!(shares.take(Shared::Tunnel, "ann", 1).is_some());
        drop(first);
        assert!(take("ann").is_some());
        drop(second);
        assert!(
            shares.0.lock().unwrap().is_empty(),
            "nothing is kept of those who left"
        );
    }

    #[test]
    fn strangers_cause_no_more_records_than_they_may() {
        let start = Instant::now();
        let allowance = Allowance::new(start);
        let taken = |at: Instant| (0..1000).filter(|_| allowance.take_at(at)).count();
        assert_eq!(taken(start), 200);
        assert_eq!(taken(start + Duration::from_secs(1)), 10);
        assert_eq!(taken(start + Duration::from_secs(3600)), 200);
    }
}
