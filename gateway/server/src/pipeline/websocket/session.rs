//! An open WebSocket: messages both ways until one end closes, breaks a limit, or Cordon stops.
//!
//! One task has both legs, so what is waiting for one of them holds the other back and no queue grows. A message
//! that asks for an answer has its intent durable before it is sent, and its seal before the message that
//! closes its answer goes to the caller. An answer belongs to what asked for it by the response's id, which the
//! first message that waits for one gets (`session/waiting.rs`); what an upstream says without being asked counts for
//! the connection.
//!
//! Originals go back in as in a stream, for all that the connection has sent: an upstream that remembers may say
//! a placeholder of an earlier message.
//!
//! Limits: [`MOST_IN_FLIGHT`], [`SESSION_BYTES`], the pace of messages, `stream_seconds` in all.
//! On failure: the caller's leg is closed with a code, everything in flight is sealed.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use cordon_audit::Outcome;
use cordon_domain::Dialect;
use cordon_intercept::{Next, Received, Socket, SocketFault, SocketReader, SocketWriter};
use cordon_policy::{Cleared, Originals, Unknown};
use cordon_wire::{Earlier, Endpoint, StreamEditor, Wants, error_message, prewarmed};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        audit::{self, Draft},
        decode::{no_head, wire_limits},
        identify,
        pace::Pace,
        respond::{self, Restore},
    },
    Opening,
    answer::{Answer, Given},
    message,
};
mod waiting;
use waiting::{Said, Waiting};

use crate::{
    gate::{Gate, Share},
    refusal::Cause,
    rules::Rules,
    upstream::{Upstream, UpstreamSocket, UpstreamWriter},
};

/// Messages of a caller that may wait for their answers at once.
const MOST_IN_FLIGHT: usize = 16;
/// Bytes that a caller may send on one connection, several hours of sound.
const SESSION_BYTES: u64 = 1 << 30;
/// How much of an upstream's text is gathered before it is inspected.
const INSPECTED_BYTES: usize = 1 << 20;
/// How long the other end may take to close after us.
const LINGER: Duration = Duration::from_secs(2);

/// A connection that was granted.
pub(super) struct Session {
    opening: Opening,
    upstream: Arc<Upstream>,
    socket: Option<UpstreamSocket>,
    replies: Replies,
    in_flight: Waiting,
    earlier: Earlier,
    sound_recorded: bool,
    bytes: u64,
    pace: Pace,
    /// The connection's own record; taken when it is sealed.
    draft: Option<Draft>,
    /// Under which the caller was known last.
    rules: Arc<Rules>,
    /// Its place among the connections that are open.
    _shares: [Share; 2],
}

/// How a connection ends: the outcome of what is in flight, and the codes for either leg.
struct End {
    outcome: Outcome,
    orderly: bool,
    caller: Option<u16>,
    upstream: Option<u16>,
}

impl End {
    fn of(outcome: Outcome, code: u16) -> Self {
        Self {
            outcome,
            orderly: false,
            caller: Some(code),
            upstream: Some(1001),
        }
    }

    /// The caller's leg broke, or breaks the protocol.
    fn caller(fault: SocketFault) -> Self {
        Self::of(Outcome::ClientLeft, fault.close_code())
    }

    fn upstream(fault: SocketFault) -> Self {
        Self {
            upstream: Some(fault.close_code()),
            ..Self::of(Outcome::UpstreamFailed, 1011)
        }
    }

    fn closed(outcome: Outcome, code: Option<u16>) -> Self {
        Self {
            outcome,
            orderly: true,
            caller: code,
            upstream: code,
        }
    }
}

/// The writing halves.
struct Legs {
    caller: SocketWriter,
    upstream: Option<UpstreamWriter>,
}

impl Session {
    pub(super) fn new(
        opening: Opening,
        upstream: Arc<Upstream>,
        socket: Option<UpstreamSocket>,
        originals: Originals,
        mut draft: Draft,
        rules: Arc<Rules>,
        shares: [Share; 2],
    ) -> Self {
        // An open connection is no exchange under way; each of its messages is.
        draft.leave();
        let replies = Replies::new(&opening.gate, opening.endpoint, originals);
        Self {
            opening,
            upstream,
            socket,
            replies,
            in_flight: Waiting::default(),
            earlier: Earlier::default(),
            sound_recorded: false,
            bytes: 0,
            pace: Pace::new(Instant::now()),
            draft: Some(draft),
            rules,
            _shares: shares,
        }
    }

    /// Speaks until the end, and seals what is open then.
    pub(super) async fn run(mut self, socket: Option<Socket>) {
        let end = match socket {
            None => Some(End::of(Outcome::ClientLeft, 1001)),
            // A panic must not leave anything without a seal.
            Some(socket) => AssertUnwindSafe(self.speak(socket))
                .catch_unwind()
                .await
                .err()
                .map(|_| End::of(Outcome::Internal, 1011)),
        };
        if let Some(end) = end {
            self.seal(&end).await;
        }
    }

    /// Seals what is open: what is in flight, and the connection itself. Whether all of it is durable.
    async fn seal(&mut self, end: &End) -> bool {
        let gate = self.opening.gate.clone();
        let mut durable = true;
        for mut draft in self.in_flight.drain() {
            durable &= audit::seal(&gate, &mut draft, end.outcome).await.is_ok();
        }
        if let Some(mut draft) = self.draft.take() {
            let outcome = if end.orderly {
                Outcome::Completed
            } else {
                end.outcome
            };
            durable &= audit::seal(&gate, &mut draft, outcome).await.is_ok();
        }
        durable
    }

    async fn speak(&mut self, socket: Socket) {
        let draining = socket.draining();
        let (mut caller, writer) = socket.split();
        let (mut upstream, upstream_writer) = match self.socket.take() {
            Some(socket) => (Some(socket.reader), Some(socket.writer)),
            None => (None, None),
        };
        let mut legs = Legs {
            caller: writer,
            upstream: upstream_writer,
        };
        let mut answer: Option<Answer> = None;
        let until = Instant::now() + Duration::from_secs(self.opening.gate.config.limits.stream_seconds);
        let mut drains = false;
        let mut end = loop {
            if drains && self.in_flight.is_empty() && answer.is_none() {
                break End::closed(Outcome::Completed, Some(1001));
            }
            let step = tokio::select! {
                biased;
                () = sleep_until(until) => Err(End::closed(Outcome::UpstreamFailed, Some(1001))),
                () = draining.cancelled(), if !drains => {
                    drains = true;
                    Ok(())
                }
                next = next_of(&mut upstream), if upstream.is_some() => self.heard_upstream(next, &mut legs).await,
                given = given_by(&mut answer), if answer.is_some() => {
                    self.heard_answer(given, &mut answer, &mut legs).await
                }
                next = paced(&mut caller, self.pace.next()) => {
                    self.heard_caller(next, &mut caller, &mut legs, &mut answer).await
                }
            };
            if let Err(end) = step {
                break end;
            }
        };
        // What was still held back of a text goes out before the close, and behind the seals.
        let held = self.replies.last();
        for message in &held {
            self.count(message, None);
        }
        self.account().await;
        if self.seal(&end).await {
            for message in &held {
                let _ = legs.caller.text(message).await;
            }
        } else {
            end.caller = Some(1011);
        }
        let _ = legs.caller.close(end.caller).await;
        if let Some(upstream) = &mut legs.upstream {
            let _ = upstream.close(end.upstream).await;
        }
        // A connection that is dropped with bytes unread is reset, and the close would be lost with it.
        let rest = async { while matches!(caller.next().await, Ok(Next::Received(_))) {} };
        let _ = timeout(LINGER, rest).await;
    }

    async fn heard_caller(
        &mut self,
        next: Result<Next, SocketFault>,
        caller: &mut SocketReader,
        legs: &mut Legs,
        answer: &mut Option<Answer>,
    ) -> Result<(), End> {
        let received = match next.map_err(End::caller)? {
            Next::Received(received) => received,
            Next::Silent => return legs.caller.ping().await.map_err(End::caller),
            Next::Ended => return Err(End::of(Outcome::ClientLeft, 1001)),
        };
        self.pace.count(Instant::now());
        let (bytes, text) = match received {
            Received::Ping(payload) => return legs.caller.pong(&payload).await.map_err(End::caller),
            Received::Pong => return Ok(()),
            Received::Close(code) => return Err(End::closed(Outcome::ClientLeft, code)),
            Received::Text(bytes) => (bytes, true),
            Received::Binary(bytes) => (bytes, false),
        };
        self.bytes += bytes.len() as u64;
        if self.bytes > SESSION_BYTES {
            return Err(End::of(Outcome::Refused, 1008));
        }
        let Some(endpoint) = self.opening.endpoint else {
            return self.pass_unread(bytes, text, legs).await;
        };
        let mut draft = Draft::message(&self.opening.gate, self.connection()?);
        let mut event = None;
        let asked = self.ask(
            endpoint, bytes, text, caller, legs, answer, &mut draft, &mut event,
        );
        let outcome = AssertUnwindSafe(asked).catch_unwind().await;
        match outcome.unwrap_or(Err(Stop::Refused(Cause::Internal))) {
            Ok(()) => Ok(()),
            Err(Stop::End(end)) => Err(end),
            Err(Stop::Refused(Cause::ClientLeft)) => {
                audit::refused(&self.opening.gate, &mut draft, &Cause::ClientLeft).await;
                Err(End::of(Outcome::ClientLeft, 1001))
            }
            Err(Stop::Refused(cause)) => {
                let sound = matches!(cause, Cause::Sound);
                let dialect = endpoint.dialect;
                let response = audit::refuse(&self.opening.gate, draft, cause).await;
                let status = response.status().as_u16();
                let body = response.into_body().collect().await;
                let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let message = error_message(dialect, status, &body, event.as_deref());
                legs.caller.text(&message).await.map_err(End::caller)?;
                // A program that speaks would go on, and be refused fifty times a second.
                if sound {
                    Err(End::of(Outcome::Refused, 1008))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Takes one message of the caller's to where its decision sends it.
    #[expect(
        clippy::too_many_arguments,
        reason = "a message meets all that a connection has"
    )]
    async fn ask(
        &mut self,
        endpoint: Endpoint,
        bytes: Bytes,
        text: bool,
        caller: &mut SocketReader,
        legs: &mut Legs,
        answer: &mut Option<Answer>,
        draft: &mut Draft,
        event: &mut Option<String>,
    ) -> Result<(), Stop> {
        if !text {
            return Err(Cause::NotOffered("messages of bytes, which the dialect does not have").into());
        }
        let dialled = legs.upstream.is_some();
        let earlier = (!dialled).then_some(&self.earlier);
        let (message, asked) = message::read(&self.opening, endpoint, bytes, earlier).await?;
        event.clone_from(&message.event);
        if message.wants == Wants::Sound {
            return self.pass_sound(asked, legs).await;
        }
        if message.wants == Wants::Answer && (answer.is_some() || self.in_flight.len() >= MOST_IN_FLIGHT) {
            return Err(Cause::Busy.into());
        }
        let left = CancellationToken::new();
        let passing = message::pass(&self.opening, endpoint, message, asked, &left, draft);
        let passed = unless_left(caller, &left, passing).await?;
        let gate = self.opening.gate.clone();
        if let Some(upstream) = &mut legs.upstream
            && passed.decision.upstream == self.upstream.name
        {
            audit::intend(&gate, draft).await?;
            self.replies.learn(passed.originals);
            draft.asks(&gate, &self.upstream);
            draft.routed();
            draft.status = 200;
            // What we gave the caller as a model's reasoning no provider signed.
            let cleared = passed.cleared.translate(
                |body, dialect: Dialect| cordon_wire::without_made(dialect, body),
                endpoint.dialect,
            );
            let sent = upstream.text(cleared.map_err(Cause::from)?).await;
            if sent.is_err() || passed.wants == Wants::Answer {
                self.in_flight.push(draft.clone(), event.clone());
            } else {
                audit::seal(&gate, draft, Outcome::Completed).await?;
            }
            return sent.map_err(|fault| Stop::End(End::upstream(fault)));
        }
        if passed.wants != Wants::Answer {
            return Err(Cause::NotOffered("this message; only `response.create` is answered").into());
        }
        // What the connection's upstream remembers is not known elsewhere.
        if dialled && passed.previous {
            return Err(Cause::PreviousUnknown.into());
        }
        if !passed.generate {
            audit::intend(&gate, draft).await?;
            draft.status = 200;
            audit::seal(&gate, draft, Outcome::Completed).await?;
            let id = format!("resp_{}", draft.exchange.to_string().replace('-', ""));
            let messages = prewarmed(&id, draft.model.as_deref().unwrap_or_default());
            self.earlier.remember(&passed.asked, &messages[1]);
            for message in &messages {
                legs.caller
                    .text(message)
                    .await
                    .map_err(|fault| Stop::End(End::caller(fault)))?;
            }
            return Ok(());
        }
        let limits = wire_limits(&gate.config.limits);
        *answer = Some(Answer::begin(
            &gate,
            passed,
            draft.clone(),
            event.clone(),
            &limits,
        ));
        Ok(())
    }

    /// Sound goes on where the policy passes what is not inspected; that it did is on record once.
    async fn pass_sound(&mut self, bytes: Bytes, legs: &mut Legs) -> Result<(), Stop> {
        let rules = self.still_known()?;
        let cleared = Cleared::passed_uninspected(&rules.policy, bytes, no_head()).ok_or(Cause::Sound)?;
        let Some(upstream) = &mut legs.upstream else {
            return Err(Cause::Sound.into());
        };
        if !self.sound_recorded {
            let connection = self.draft.as_ref().ok_or(Cause::Internal)?;
            audit::uninspected(&self.opening.gate, connection, "sound").await?;
            self.sound_recorded = true;
        }
        upstream
            .text(cleared)
            .await
            .map_err(|fault| Stop::End(End::upstream(fault)))
    }

    /// Passes what nobody describes; that is on record since the handshake.
    async fn pass_unread(&mut self, bytes: Bytes, text: bool, legs: &mut Legs) -> Result<(), End> {
        let refused = || End::of(Outcome::Refused, 1008);
        // Another policy may hold by now, and a key may have been revoked.
        let rules = self.still_known().map_err(|_| refused())?;
        if rules.policy.unknown() != Unknown::Pass {
            return Err(refused());
        }
        let cleared = Cleared::passed_uninspected(&rules.policy, bytes, no_head()).ok_or_else(refused)?;
        let upstream = legs.upstream.as_mut().ok_or_else(refused)?;
        let sent = if text {
            upstream.text(cleared).await
        } else {
            upstream.binary(cleared).await
        };
        sent.map_err(End::upstream)
    }

    /// The rules of the moment, under which the caller is known still.
    fn still_known(&mut self) -> Result<Arc<Rules>, Cause> {
        let rules = self.opening.gate.rules.load_full();
        if !Arc::ptr_eq(&rules, &self.rules) {
            identify::identify(&rules, &self.opening.arrival, &self.opening.accepted)?;
            self.rules = rules.clone();
        }
        Ok(rules)
    }

    async fn heard_upstream(&mut self, next: Result<Next, SocketFault>, legs: &mut Legs) -> Result<(), End> {
        let received = match next.map_err(End::upstream)? {
            Next::Received(received) => received,
            Next::Silent => {
                return match &mut legs.upstream {
                    Some(upstream) => upstream.ping().await.map_err(End::upstream),
                    None => Ok(()),
                };
            }
            Next::Ended => return Err(End::of(Outcome::UpstreamFailed, 1011)),
        };
        match received {
            Received::Ping(payload) => match &mut legs.upstream {
                Some(upstream) => upstream.pong(&payload).await.map_err(End::upstream),
                None => Ok(()),
            },
            Received::Pong => Ok(()),
            Received::Close(code) => Err(End::closed(Outcome::UpstreamFailed, code)),
            Received::Text(bytes) => {
                let said = Said::read(&bytes);
                self.in_flight.begun(&said);
                if let Some(draft) = self.in_flight.of(Some(&said)).or(self.draft.as_mut()) {
                    draft.reply_came(&bytes);
                }
                let messages = self
                    .replies
                    .message(bytes)
                    .map_err(|()| End::of(Outcome::UpstreamFailed, 1011))?;
                for message in &messages {
                    self.count(message, Some(&said));
                }
                if self.replies.gathered() >= INSPECTED_BYTES {
                    self.account().await;
                }
                if self.replies.complete() {
                    self.completed(&said).await?;
                }
                for message in &messages {
                    legs.caller.text(message).await.map_err(End::caller)?;
                }
                Ok(())
            }
            Received::Binary(bytes) if self.opening.endpoint.is_none() => {
                self.count(&bytes, None);
                legs.caller.binary(&bytes).await.map_err(End::caller)
            }
            Received::Binary(_) => Err(End::of(Outcome::UpstreamFailed, 1011)),
        }
    }

    async fn heard_answer(
        &mut self,
        given: Given,
        answer: &mut Option<Answer>,
        legs: &mut Legs,
    ) -> Result<(), End> {
        let messages = match given {
            Given::Messages(messages) => {
                if let (Some(answer), Some(last)) = (answer.as_ref(), messages.last()) {
                    self.earlier.remember(&answer.asked, last);
                }
                messages
            }
            Given::Last(messages) => {
                *answer = None;
                messages
            }
        };
        for message in &messages {
            legs.caller.text(message).await.map_err(End::caller)?;
        }
        Ok(())
    }

    /// An answer is whole: the record of what asked for it is made durable.
    async fn completed(&mut self, said: &Said) -> Result<(), End> {
        let told = self.replies.told();
        let failed = self.replies.failed();
        self.account().await;
        self.replies.begin_anew();
        let dialect = self.opening.endpoint.map(|endpoint| endpoint.dialect);
        let Some(mut draft) = self.in_flight.answered(said, dialect) else {
            return Ok(());
        };
        let gate = &self.opening.gate;
        respond::used(gate, &self.upstream, &mut draft, told.0, told.1.as_deref());
        let outcome = if failed {
            Outcome::UpstreamFailed
        } else {
            Outcome::Completed
        };
        audit::seal(gate, &mut draft, outcome)
            .await
            .map_err(|_| End::of(Outcome::Internal, 1011))
    }

    /// Counts a message of the upstream's for what it answers.
    fn count(&mut self, message: &Bytes, said: Option<&Said>) {
        if let Some(draft) = self.in_flight.of(said).or(self.draft.as_mut()) {
            draft.reply_piece(message);
        }
    }

    /// Inspects what the upstream has said since the last time, for the record.
    async fn account(&mut self) {
        let rules = self.opening.gate.rules.load_full();
        let texts = self.replies.take_texts();
        if texts.is_empty() {
            return;
        }
        let Some(actor) = self.draft.as_ref().map(|draft| draft.actor.clone()) else {
            return;
        };
        let found = respond::findings_in(&rules, &actor, texts).await;
        if let (Ok(findings), Some(draft)) = (found, self.in_flight.of(None).or(self.draft.as_mut())) {
            draft.reply_findings(&findings);
        }
    }

    fn connection(&self) -> Result<&Draft, End> {
        self.draft
            .as_ref()
            .ok_or_else(|| End::of(Outcome::Internal, 1011))
    }
}

/// A connection that was granted and never taken up is sealed, too.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut draft) = self.draft.take() {
            let gate = self.opening.gate.clone();
            self.opening.gate.tasks.spawn(async move {
                let _ = audit::seal(&gate, &mut draft, Outcome::ClientLeft).await;
            });
        }
    }
}

/// Why a message goes no further.
enum Stop {
    Refused(Cause),
    End(End),
}

impl From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Refused(cause)
    }
}

/// What the upstream says, with the originals back in.
struct Replies {
    editor: Option<StreamEditor>,
    restore: Restore,
}

impl Replies {
    fn new(gate: &Gate, endpoint: Option<Endpoint>, originals: Originals) -> Self {
        let limits = cordon_wire::Limits {
            max_body: gate.config.limits.reply_bytes,
            ..wire_limits(&gate.config.limits)
        };
        Self {
            editor: endpoint.map(|endpoint| StreamEditor::new(endpoint, &limits)),
            restore: Restore::new(originals),
        }
    }

    fn learn(&mut self, originals: Originals) {
        self.restore.reidentifier.learn(originals);
    }

    fn message(&mut self, bytes: Bytes) -> Result<Vec<Bytes>, ()> {
        match &mut self.editor {
            Some(editor) => editor.message(bytes, &mut self.restore).map_err(|_| ()),
            None => Ok(vec![bytes]),
        }
    }

    fn last(&mut self) -> Vec<Bytes> {
        self.editor
            .as_mut()
            .map(|editor| editor.last_messages(&mut self.restore))
            .unwrap_or_default()
    }

    fn complete(&self) -> bool {
        self.editor.as_ref().is_some_and(StreamEditor::complete)
    }

    fn failed(&self) -> bool {
        self.editor.as_ref().is_some_and(StreamEditor::failed)
    }

    fn told(&self) -> (Option<cordon_wire::Usage>, Option<String>) {
        self.editor.as_ref().map_or((None, None), |editor| {
            (editor.usage(), editor.model().map(str::to_owned))
        })
    }

    /// Forgets what the answer that is whole has told; what others hold back stays.
    fn begin_anew(&mut self) {
        if let Some(editor) = &mut self.editor {
            editor.begin_anew();
        }
    }

    fn gathered(&self) -> usize {
        self.restore.gathered()
    }

    fn take_texts(&mut self) -> Vec<String> {
        self.restore.take_texts()
    }
}

/// Lets a message be passed as long as its caller is there to read the answer: inspection may wait for a language model.
async fn unless_left<T>(
    caller: &mut SocketReader,
    left: &CancellationToken,
    passing: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    let mut passing = std::pin::pin!(passing);
    tokio::select! {
        biased;
        passed = &mut passing => return passed,
        () = caller.left() => left.cancel(),
    }
    // The stage that is under way ends by itself, and nothing is sent.
    passing.await.and(Err(Cause::ClientLeft))
}

/// The caller's next message, not before it is due.
async fn paced(reader: &mut SocketReader, due: Instant) -> Result<Next, SocketFault> {
    if due > Instant::now() {
        sleep_until(due).await;
    }
    reader.next().await
}

async fn next_of(reader: &mut Option<SocketReader>) -> Result<Next, SocketFault> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

async fn given_by(answer: &mut Option<Answer>) -> Given {
    match answer {
        Some(answer) => answer.next().await,
        None => std::future::pending().await,
    }
}
