//! From the caller to the upstream: what is said in a call after its beginning, each message inspected by itself.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use cordon_audit::Outcome;
use cordon_intercept::Arrival;
use cordon_policy::{Cleared, Originals, Unknown};
use cordon_wire::Endpoint;
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{CALL_BYTES, Rest, Said, Stopped};
use crate::{
    gate::Gate,
    pipeline::{
        audit::{self, Draft},
        clear,
        decode::{self, no_head},
        identify::{self, Caller},
        pace::Pace,
    },
    refusal::Cause,
    upstream::FeedSender,
};

pub(super) struct Uplink {
    pub(super) gate: Arc<Gate>,
    pub(super) arrival: Arrival<Caller>,
    pub(super) rest: Rest,
    /// Where the call goes, which no message can change.
    pub(super) upstream: Arc<str>,
    pub(super) call: Draft,
    pub(super) sender: FeedSender,
    pub(super) learn: mpsc::UnboundedSender<Originals>,
    pub(super) said: Said,
    /// The call is over.
    pub(super) ends: CancellationToken,
    pub(super) bytes: u64,
}

impl Uplink {
    /// Reads to the end of what the caller says, or of the call.
    pub(super) async fn run(mut self, stop: oneshot::Sender<Stopped>) {
        let pumped = AssertUnwindSafe(self.pump()).catch_unwind().await;
        let stopped = pumped.unwrap_or_else(|_| Err(self.stopped(&Cause::Internal)));
        if let Err(stopped) = stopped {
            // Told before the upstream's side is dropped, whose reset would else look like the cause.
            let _ = stop.send(stopped);
        }
    }

    async fn pump(&mut self) -> Result<(), Stopped> {
        let mut pace = Pace::new(Instant::now());
        loop {
            let due = pace.next();
            let next = async {
                sleep_until(due).await;
                self.rest.next().await
            };
            let next = tokio::select! {
                biased;
                () = self.ends.cancelled() => return Ok(()),
                next = next => next,
            };
            let Some(message) = next.map_err(|cause| self.stopped(&cause))? else {
                self.sender.end().await;
                return Ok(());
            };
            pace.count(Instant::now());
            self.said.again();
            self.bytes += message.len() as u64;
            if self.bytes > CALL_BYTES {
                return Err(
                    self.stopped(&Cause::Decode(cordon_wire::DecodeError::BodyTooLarge {
                        limit: usize::try_from(CALL_BYTES).unwrap_or(usize::MAX),
                    })),
                );
            }
            match self.rest.endpoint {
                Some(endpoint) => self.pass(endpoint, message).await?,
                None => self
                    .pass_unread(message)
                    .await
                    .map_err(|cause| self.stopped(&cause))?,
            }
        }
    }

    /// Why the call itself stops.
    fn stopped(&self, cause: &Cause) -> Stopped {
        Stopped {
            refusal: cause.refusal(self.call.exchange),
            outcome: cause.outcome(),
        }
    }

    /// Takes one message to the upstream, as an exchange.
    async fn pass(&mut self, endpoint: Endpoint, message: Bytes) -> Result<(), Stopped> {
        let mut draft = Draft::message(&self.gate, &self.call);
        let passed = AssertUnwindSafe(self.clear(endpoint, message, &mut draft))
            .catch_unwind()
            .await;
        let cleared = match passed.unwrap_or(Err(Cause::Internal)) {
            Ok(cleared) => cleared,
            Err(cause) => {
                let outcome = cause.outcome();
                let refusal = audit::refused(&self.gate, &mut draft, &cause).await;
                return Err(Stopped { refusal, outcome });
            }
        };
        draft.status = 200;
        let outcome = tokio::select! {
            biased;
            sent = self.sender.send(cleared) => if sent { Outcome::Completed } else { Outcome::UpstreamFailed },
            () = self.ends.cancelled() => Outcome::UpstreamFailed,
        };
        let sealed = audit::seal(&self.gate, &mut draft, outcome).await;
        sealed.map_err(|cause| self.stopped(&cause))
    }

    /// Inspection and decision; the intent is durable when there is something to send.
    async fn clear(
        &mut self,
        endpoint: Endpoint,
        message: Bytes,
        draft: &mut Draft,
    ) -> Result<Cleared, Cause> {
        let (gate, accepted) = (&self.gate, &self.rest.accepted);
        let rules = gate.rules.load_full();
        draft.actor = identify::identify(&rules, &self.arrival, accepted)?;
        draft.stream = true;
        draft.request(gate, &message);
        let limits = decode::wire_limits(&gate.config.limits);
        let body = decode::parse(endpoint, Some(self.rest.kind.clone()), message, limits).await?;
        let decoded = decode::message(gate, &self.arrival, accepted, body, &self.ends, draft).await?;
        let (decision, cleared, originals) = clear(gate, &rules, &decoded, &self.ends, draft).await?;
        if decision.upstream != self.upstream {
            return Err(Cause::NotOffered("the rest of a call that has begun elsewhere"));
        }
        audit::intend(gate, draft).await?;
        let _ = self.learn.send(originals);
        Ok(cleared)
    }

    /// Passes what nobody knows; that is on record since the call began.
    async fn pass_unread(&mut self, piece: Bytes) -> Result<(), Cause> {
        let rules = self.gate.rules.load_full();
        identify::identify(&rules, &self.arrival, &self.rest.accepted)?;
        let refused = Cause::Unknown { intercepted: true };
        if rules.policy.unknown() != Unknown::Pass {
            return Err(refused);
        }
        let cleared = Cleared::passed_uninspected(&rules.policy, piece, no_head()).ok_or(refused)?;
        tokio::select! {
            biased;
            _ = self.sender.send(cleared) => {}
            () = self.ends.cancelled() => {}
        }
        Ok(())
    }
}
