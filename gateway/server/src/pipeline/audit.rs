//! Audit: what is known of an exchange becomes its records.
//!
//! A [`Draft`] gathers the facts along the path. [`intend`] makes the decision durable before the
//! first byte goes upstream, [`seal`] the end before the last byte goes downstream, and [`refuse`]
//! records a refusal before its caller reads it. An exchange that ends before a decision has one
//! record, `refused`.
//!
//! On failure: 503; what cannot be recorded is not answered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cordon_audit::{
    Asked, AuditUnavailable, Body, Claims, Commitment, Event, Intent, Outcome, Part, Recording, Refused,
    Seal, TreeName, Uninspected,
};
use cordon_domain::{
    Action, Actor, AuditLevel, Decision, Dialect, Door, EntityType, ExchangeId, Fault, Finding, Identity,
    Refusal, Source, UpstreamKind,
};
use cordon_intercept::{AnswerBody, Arrival, ConnectAsk, TurnedAway, full_body};
use cordon_policy::Keep;
use cordon_wire::{Endpoint, Operation, Shape, Usage};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tracing::{error, info, warn};

use super::identify::Caller;
use crate::{
    gate::{Gate, Place, Share, Shared},
    metrics::{Metrics, Stage},
    refusal::{Cause, page},
    rules::Rules,
    traces::Trace,
};

mod answer;
use answer::remote;
pub use answer::{mark, render};
mod claims;
mod keeping;
use keeping::Keeping;
mod traced;

/// The words by which Anthropic's own refusals are known. Behind a base URL that is not Anthropic's,
/// Claude Code (2.1.330, measured) takes any other 400 for a gateway that lacks a beta feature, and
/// sends the same prompt six times with fewer and fewer of them; at these words it stops at once.
const ANTHROPIC_FINAL: &str = "Output blocked by content filtering policy";

/// What a caller whom nobody knows is told beside, where tickets are taken.
const TICKET_TOO: &str = "Who has a Kerberos ticket (`kinit`, or a login to the domain) comes in by a program that shows it (Negotiate), anybody by a key.";

/// What is known of an exchange so far. It holds no text of it.
#[derive(Clone)]
pub struct Draft {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Counters that stages report to.
    pub metrics: Arc<Metrics>,
    /// Who asks, as far as known.
    pub actor: Arc<Actor>,
    /// The listener.
    pub door: Door,
    /// The dialect, once known.
    pub dialect: Dialect,
    /// Of a described dialect: the route.
    pub shape: Option<&'static Shape>,
    /// What is asked for, once known.
    operation: Option<Operation>,
    /// The model asked for.
    pub model: Option<String>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The reply's status.
    pub status: u16,
    /// The model that answered.
    pub answered_model: Option<String>,
    /// LLM tokens.
    pub usage: Option<Usage>,
    /// Something was found in the model's name, so records do not hold it.
    pub conceal_model: bool,
    /// Whether a streamed reply is to tell what it took.
    pub wants_usage: bool,
    /// Whether a browser asks that would show a page.
    pub wants_page: bool,
    /// How a caller of gRPC or Connect reads a refusal.
    pub rpc: Option<cordon_wire::Rpc>,
    /// How much its records keep, once policy has said so.
    pub level: AuditLevel,
    /// The tree that its records belong into.
    tree: TreeName,
    /// The exchange's place among those under way.
    pub place: Option<Arc<Place>>,
    share: Option<Arc<Share>>,
    /// Of a message over a WebSocket: the exchange that opened the connection.
    connection: Option<ExchangeId>,
    started: Instant,
    routed: Option<Instant>,
    first_byte: Option<Duration>,
    peer: SocketAddr,
    method: String,
    host: Option<String>,
    path: String,
    request_bytes: u64,
    request_commitment: Option<String>,
    claims: Claims,
    entities: BTreeMap<EntityType, u64>,
    questions: Vec<Asked>,
    /// Set and file that were recognised, and how much of the file at most.
    sources: BTreeMap<(String, String), u8>,
    decided: Option<Decided>,
    intended: bool,
    uninspected: Vec<&'static str>,
    reply_bytes: u64,
    reply_commitment: Commitment,
    keeping: Keeping,
    reply_entities: BTreeMap<EntityType, u64>,
    /// Until it is told.
    trace: Option<Box<Trace>>,
}

#[derive(Clone)]
struct Decided {
    action: Action,
    rule: Arc<str>,
    policy_hash: String,
    upstream: Arc<str>,
    kind: Option<UpstreamKind>,
}

impl Draft {
    /// When the exchange began, in seconds since 1970, as its id has it.
    pub fn created(&self) -> u64 {
        let timestamp = self.exchange.as_uuid().get_timestamp();
        timestamp.map_or(0, |timestamp| timestamp.to_unix().0)
    }

    /// The draft of a request that has just come in.
    pub fn new<B>(gate: &Gate, arrival: &Arrival<Caller>, request: &Request<B>) -> Self {
        let mut draft = Self::unread(gate, arrival);
        draft.trace = gate
            .traces
            .as_ref()
            .and_then(|traces| traces.begin(request.headers()));
        draft.method = request.method().as_str().to_owned();
        draft.wants_page = page::wanted(request.headers());
        let kind = request.headers().get(header::CONTENT_TYPE);
        draft.rpc = kind
            .and_then(|kind| kind.to_str().ok())
            .and_then(cordon_wire::Rpc::of)
            // Whose single calls may be JSON like any other.
            .or_else(|| {
                let connect = request.headers().contains_key("connect-protocol-version");
                connect.then_some(cordon_wire::Rpc::Connect)
            });
        draft.path = recorded_path(request.uri().path(), draft.rpc.is_some());
        let rules = gate.rules.load();
        let endpoint = rules
            .catalogue
            .endpoint(&draft.method, draft.host.as_deref(), &draft.path);
        draft.endpoint(endpoint);
        draft
    }

    /// Notes what is asked for, or that nobody knows.
    pub fn endpoint(&mut self, endpoint: Option<Endpoint>) {
        self.dialect = endpoint.map_or(Dialect::Unknown, |endpoint| endpoint.dialect);
        self.shape = endpoint.and_then(|endpoint| endpoint.shape);
        self.operation = endpoint.map(|endpoint| endpoint.operation);
    }

    /// The draft of a request of which only the way that it came is known.
    pub fn unread(gate: &Gate, arrival: &Arrival<Caller>) -> Self {
        let actor = arrival
            .caller
            .as_ref()
            .map_or_else(|| Arc::new(Actor::unidentified()), |caller| caller.0.clone());
        let mut draft = Self::blank(gate, ExchangeId::new(), actor, arrival.peer, arrival.door);
        draft.host = arrival.host.clone();
        draft
    }

    /// The draft of a CONNECT, or of an absolute-form request that is not read.
    pub fn connect(gate: &Gate, exchange: ExchangeId, ask: &ConnectAsk, actor: Actor) -> Self {
        let mut draft = Self::blank(gate, exchange, Arc::new(actor), ask.peer, ask.door);
        draft.method = ask.method.as_str().to_owned();
        draft.host = Some(ask.host.clone());
        draft.path = "/".to_owned();
        draft
    }

    /// The draft of a message over a WebSocket that was opened by `connection`.
    pub fn message(gate: &Gate, connection: &Self) -> Self {
        let actor = connection.actor.clone();
        let mut draft = Self::blank(gate, ExchangeId::new(), actor, connection.peer, connection.door);
        draft.connection = Some(connection.exchange);
        draft.dialect = connection.dialect;
        draft.shape = connection.shape;
        draft.operation = connection.operation;
        draft.trace = connection.trace.as_ref().and_then(|trace| trace.of_message());
        draft.host.clone_from(&connection.host);
        draft.path.clone_from(&connection.path);
        // To policy it is what is else posted there.
        draft.method = "POST".to_owned();
        draft
    }

    /// Gives up its place and its share: it goes on, and is no exchange under way any more.
    pub fn leave(&mut self) {
        self.place = None;
        self.share = None;
    }

    fn blank(gate: &Gate, exchange: ExchangeId, actor: Arc<Actor>, peer: SocketAddr, door: Door) -> Self {
        let tree = gate.tree_of(&actor, None);
        Self {
            exchange,
            metrics: gate.metrics.clone(),
            actor,
            door,
            dialect: Dialect::Unknown,
            shape: None,
            operation: None,
            model: None,
            stream: false,
            status: 0,
            answered_model: None,
            usage: None,
            conceal_model: true,
            wants_usage: false,
            wants_page: false,
            rpc: None,
            level: AuditLevel::default(),
            tree,
            place: None,
            share: None,
            connection: None,
            started: Instant::now(),
            routed: None,
            first_byte: None,
            peer,
            method: String::new(),
            host: None,
            path: String::new(),
            request_bytes: 0,
            request_commitment: None,
            claims: Claims::default(),
            entities: BTreeMap::new(),
            questions: Vec::new(),
            sources: BTreeMap::new(),
            decided: None,
            intended: false,
            uninspected: Vec::new(),
            reply_bytes: 0,
            reply_commitment: Commitment::new(&gate.commitment_key, exchange, Part::Reply),
            keeping: Keeping::new(gate.config.audit.payload_bytes),
            reply_entities: BTreeMap::new(),
            trace: None,
        }
    }

    /// Takes one of the places that the actor has.
    pub fn take_share(&mut self, gate: &Gate) -> Result<(), Cause> {
        let most = gate.config.limits.exchanges_per_actor;
        let share = gate.shares.take(Shared::Exchange, &self.actor.user, most);
        self.share = Some(Arc::new(share.ok_or(Cause::ActorBusy("requests under way"))?));
        Ok(())
    }

    /// Runs a stage that does not wait, and notes how long it took.
    pub fn time<T>(&mut self, stage: Stage, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let outcome = run();
        self.took(stage, started);
        outcome
    }

    /// Notes the request's body.
    pub fn request(&mut self, gate: &Gate, body: &Bytes) {
        self.request_bytes = body.len() as u64;
        let mut commitment = Commitment::new(&gate.commitment_key, self.exchange, Part::Request);
        commitment.update(body);
        self.request_commitment = Some(commitment.written());
        self.keeping.came(body);
    }

    /// Counts findings of the request.
    pub fn findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            *self.entities.entry(finding.entity.clone()).or_default() += 1;
            if let Some(source) = finding.source.as_deref() {
                let known = self
                    .sources
                    .entry((source.set.clone(), source.file.clone()))
                    .or_default();
                *known = source.percent.max(*known);
            }
            self.metrics.findings(finding.entity.as_str(), 1);
        }
    }

    /// Notes what the on-prem model was asked.
    pub fn asked(&mut self, asked: Asked) {
        self.metrics.question(&asked);
        self.questions.push(asked);
    }

    /// Counts findings of the reply.
    pub fn reply_findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            *self.reply_entities.entry(finding.entity.clone()).or_default() += 1;
            self.metrics.reply_findings(finding.entity.as_str(), 1);
        }
    }

    /// Notes how much records keep, and for how long.
    pub fn keep(&mut self, gate: &Gate, keep: Keep<'_>) {
        self.level = keep.level;
        self.untraceable();
        self.tree = gate.tree_of(&self.actor, keep.class);
    }

    /// Notes the decision.
    pub fn decided(&mut self, gate: &Gate, rules: &Rules, decision: &Decision) {
        self.decided = Some(Decided {
            action: decision.action,
            rule: decision.rule.clone(),
            policy_hash: rules.policy.hash().to_owned(),
            upstream: decision.upstream.clone(),
            kind: gate
                .upstreams
                .named(&decision.upstream)
                .map(|upstream| upstream.kind),
        });
    }

    /// Notes that something passes unread, and why.
    pub fn uninspected(&mut self, why: &'static str) {
        if !self.uninspected.contains(&why) {
            self.uninspected.push(why);
        }
    }

    /// The action, for the caller's header.
    pub fn action(&self) -> Action {
        self.decided
            .as_ref()
            .map_or(Action::Block, |decided| decided.action)
    }

    /// Notes that the upstream's reply has begun.
    pub fn routed(&mut self) {
        self.routed = Some(Instant::now());
    }

    /// How long the reply has been coming.
    pub fn since_routed(&self) -> Duration {
        self.routed.map_or(Duration::ZERO, |routed| routed.elapsed())
    }

    /// Notes a reply, or a piece of one, as it goes out.
    pub fn reply_piece(&mut self, piece: &Bytes) {
        self.first_byte.get_or_insert_with(|| self.started.elapsed());
        self.reply_bytes += piece.len() as u64;
        self.reply_commitment.update(piece);
        self.keeping.goes_down(piece, self.level);
    }

    fn intent(&self, decided: &Decided, refused: bool) -> Intent {
        Intent {
            exchange: self.exchange,
            connection: self.connection,
            actor: self.actor.as_ref().clone(),
            peer: self.peer,
            door: self.door,
            dialect: self.dialect,
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            action: decided.action,
            rule: decided.rule.to_string(),
            policy_hash: decided.policy_hash.clone(),
            entities: self.entities.clone(),
            questions: self.questions.clone(),
            sources: self
                .sources
                .iter()
                .map(|((set, file), percent)| Source {
                    set: set.clone(),
                    file: file.clone(),
                    percent: *percent,
                })
                .collect(),
            upstream: (!refused).then(|| decided.upstream.to_string()),
            upstream_kind: decided.kind.filter(|_| !refused),
            model: self.model.clone().filter(|_| !self.conceal_model),
            stream: self.stream,
            request_bytes: self.request_bytes,
            request_commitment: self.request_commitment.clone(),
            claims: (self.claims != Claims::default()).then(|| Box::new(self.claims.clone())),
            payload: None,
        }
    }

    fn seal(&self, outcome: Outcome) -> Seal {
        Seal {
            // Some upstreams, and our own translation, say the asked name back.
            model: self.answered_model.clone().filter(|_| !self.conceal_model),
            input_tokens: self.usage.map(|usage| usage.input),
            output_tokens: self.usage.map(|usage| usage.output),
            latency_ms: milliseconds(self.started.elapsed()),
            first_byte_ms: self.first_byte.map(milliseconds),
            reply_bytes: self.reply_bytes,
            reply_commitment: (self.reply_bytes > 0).then(|| self.reply_commitment.written()),
            reply_entities: self.reply_entities.clone(),
            ..Seal::new(self.exchange, outcome, self.status)
        }
    }

    fn upstream_label(&self) -> &str {
        self.decided
            .as_ref()
            .filter(|_| self.intended)
            .map_or("none", |decided| &decided.upstream)
    }
}

/// Records that something of an exchange passes unread.
pub async fn uninspected(gate: &Gate, draft: &Draft, reason: &'static str) -> Result<(), Cause> {
    let event = Event::Uninspected(Uninspected {
        exchange: draft.exchange,
        actor: draft.recorded_actor(),
        door: draft.door,
        host: draft.host.clone(),
        method: draft.method.clone(),
        path: draft.path.clone(),
        reason: reason.to_owned(),
    });
    let recording = Recording::of(event.into()).in_tree(draft.tree.clone());
    gate.recorder.record(recording).await.map_err(|_| Cause::Audit)
}

/// Makes the decision durable. Nothing has gone upstream yet.
pub async fn intend(gate: &Gate, draft: &mut Draft) -> Result<(), Cause> {
    let started = Instant::now();
    for reason in &draft.uninspected {
        uninspected(gate, draft, reason).await?;
    }
    let decided = draft.decided.as_ref().ok_or(Cause::Internal)?;
    let intent = draft.intent(decided, false);
    let recorded = gate.recorder.record(draft.recording(intent)).await;
    // One that the store did not take in time is on record here all the same, and is not recorded again.
    draft.intended = matches!(recorded, Ok(()) | Err(AuditUnavailable::StoreAway));
    recorded.map_err(|_| Cause::Audit)?;
    draft.took(Stage::Audit, started);
    Ok(())
}

/// Makes the end of an exchange durable, and counts it.
pub async fn seal(gate: &Gate, draft: &mut Draft, outcome: Outcome) -> Result<(), Cause> {
    let started = Instant::now();
    draft.answer_ended();
    let seal = draft.seal(outcome);
    let sealed = gate.recorder.record(draft.last_recording(seal)).await;
    draft.took(Stage::Audit, started);
    draft.trace_sealed(outcome, sealed.is_ok());
    gate.metrics.exchange(draft.started.elapsed());
    gate.metrics
        .request(draft.dialect, draft.action().name(), draft.upstream_label());
    if sealed.is_err() {
        error!(exchange = %draft.exchange, "the end of an exchange could not be recorded; its answer was withheld");
        return Err(Cause::Audit);
    }
    info!(
        exchange = %draft.exchange,
        dialect = draft.dialect.name(),
        decision = draft.action().name(),
        upstream = draft.upstream_label(),
        status = draft.status,
        outcome = outcome.name(),
        milliseconds = milliseconds(draft.started.elapsed()),
        "exchange"
    );
    Ok(())
}

/// Records a refusal. Gives what the caller is told: the refusal, or that it could not be recorded.
pub async fn refused(gate: &Gate, draft: &mut Draft, cause: &Cause) -> Refusal {
    let mut refusal = cause.refusal(draft.exchange);
    if draft.dialect == Dialect::AnthropicMessages && draft.door == Door::Gateway && refusal.status == 400 {
        refusal.message = format!("{ANTHROPIC_FINAL}. {}", refusal.message);
    }
    if matches!(cause, Cause::Unidentified { proxy: true, .. }) && gate.takes_tickets() {
        refusal.message = format!("{TICKET_TOO} {}", refusal.message);
    }
    if let Cause::Transform(reason) = cause {
        error!(exchange = %draft.exchange, %reason, "a request could not be transformed");
    }
    draft.status = refusal.status;
    draft.answer_ended();
    let mut traced = true;
    let stranger = draft.actor.identity == Identity::Unidentified;
    let recorded = match draft.decided.clone() {
        None if stranger && !gate.strangers.take() => {
            gate.metrics.turned_away("unrecorded_stranger");
            traced = false;
            Ok(())
        }
        None => {
            let event = Event::Refused(Refused {
                exchange: draft.exchange,
                connection: draft.connection,
                actor: draft.actor.as_ref().clone(),
                peer: draft.peer,
                door: draft.door,
                dialect: draft.dialect,
                method: draft.method.clone(),
                host: draft.host.clone(),
                path: draft.path.clone(),
                status: refusal.status,
                code: refusal.code.to_owned(),
            });
            let recording = Recording::of(event.into()).in_tree(draft.tree.clone());
            gate.recorder.record(recording).await
        }
        Some(decided) => {
            let mut seal = draft.seal(cause.outcome());
            seal.code = Some(refusal.code.to_owned());
            if draft.intended {
                gate.recorder.record(draft.last_recording(seal)).await
            } else {
                let intent = draft.intent(&decided, true);
                gate.recorder
                    .record(draft.recording(intent).and(Body::Seal(seal)))
                    .await
            }
        }
    };
    if recorded.is_err() {
        error!(exchange = %draft.exchange, code = refusal.code, "a refusal could not be recorded");
        refusal = Cause::Audit.refusal(draft.exchange);
    }
    if traced {
        draft.trace_refused(&refusal, cause.outcome());
    }
    info!(
        exchange = %draft.exchange,
        dialect = draft.dialect.name(),
        code = refusal.code,
        status = refusal.status,
        "refused"
    );
    gate.metrics.refusal(refusal.code);
    gate.metrics
        .request(draft.dialect, refusal.action.name(), draft.upstream_label());
    gate.metrics.exchange(draft.started.elapsed());
    refusal
}

/// Records a refusal and renders it in the caller's dialect.
pub async fn refuse(gate: &Gate, mut draft: Draft, cause: Cause) -> Response<AnswerBody> {
    let refusal = refused(gate, &mut draft, &cause).await;
    let mut answer = render(draft.dialect, draft.shape, &refusal);
    // At the proxy's own door a caller reads the status of HTTP.
    if let Some(rpc) = draft.rpc.filter(|_| refusal.status != 407) {
        remote(&mut answer, rpc, &refusal);
    }
    if refusal.status == 407 && gate.takes_tickets() {
        // Beside Basic, and before it: the first that a program knows is often the one it takes.
        let headers = answer.headers_mut();
        if let Some(basic) = headers.insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Negotiate"))
        {
            headers.append(header::PROXY_AUTHENTICATE, basic);
        }
    }
    if draft.wants_page {
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        // Under a provider's name, too, the page is ours alone: nothing is loaded and nothing runs.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        );
        *answer.body_mut() = full_body(page::page(&refusal));
    }
    answer
}

/// A path as records hold it. Parts that look like routes stay; any other part is the caller's words
/// (an id, a name, whatever somebody typed) and becomes `*`. In a call the names of packages and services have dots.
fn recorded_path(path: &str, call: bool) -> String {
    let is_route = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        part.len() <= if call { 64 } else { 32 }
            && digits <= 2
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || (call && b == b'.'))
    };
    let named = path
        .strip_prefix("/v1/models/")
        .map(|_| "/v1/models/*".to_owned());
    named.unwrap_or_else(|| {
        path.split('/')
            .map(|part| if is_route(part) { part } else { "*" })
            .collect::<Vec<_>>()
            .join("/")
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Records and answers what a listener turned away before it became an exchange.
///
/// A handshake that fails before anybody said who they are is counted and logged, not recorded: nothing
/// was asked for, and whoever can reach the port could fill the audit with them.
pub async fn turned_away(gate: &Gate, turned: TurnedAway<Caller>) -> Response<AnswerBody> {
    let exchange = ExchangeId::new();
    let status = turned.reason.status();
    gate.metrics.turned_away(turned.reason.code());
    warn!(%exchange, door = turned.door.name(), cause = turned.reason.code(), "turned away");
    let actor = turned
        .caller
        .as_ref()
        .map_or_else(|| Arc::new(Actor::unidentified()), |caller| caller.0.clone());
    let mut refusal = Refusal {
        status: status.map_or(400, |status| status.as_u16()),
        fault: match status {
            Some(StatusCode::MISDIRECTED_REQUEST) => Fault::Misdirected,
            Some(status) if status.is_server_error() => Fault::Upstream,
            _ => Fault::Shape,
        },
        code: turned.reason.code(),
        message: format!("{} (Cordon exchange {exchange})", turned.reason.message()),
        action: Action::Block,
        exchange,
        retry_after: None,
    };
    if turned.caller.is_some() || (turned.reason.is_telling() && gate.strangers.take()) {
        let event = Event::Refused(Refused {
            exchange,
            connection: None,
            actor: actor.as_ref().clone(),
            peer: turned.peer,
            door: turned.door,
            dialect: Dialect::Unknown,
            method: String::new(),
            host: turned.host.clone(),
            path: String::new(),
            status: status.map_or(0, |status| status.as_u16()),
            code: turned.reason.code().to_owned(),
        });
        let recording = Recording::of(event.into()).in_tree(gate.tree_of(&actor, None));
        if gate.recorder.record(recording).await.is_err() {
            error!(%exchange, "what was turned away could not be recorded");
            refusal = Cause::Audit.refusal(exchange);
        }
    }
    render(Dialect::Unknown, None, &refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_hold_routes_and_no_words_of_the_caller() {
        for (path, recorded) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/backend-api/conversation", "/backend-api/conversation"),
            ("/v1/models/alice@corp.example", "/v1/models/*"),
            ("/x/900101-1234567/y", "/x/*/y"),
            ("/AKIAQUMPMHS6PJARB7LM12345", "/*"),
            ("/a%20b", "/*"),
        ] {
            assert_eq!(recorded_path(path, false), recorded);
        }
        assert_eq!(
            recorded_path("/aiserver.v1.Chat/Say", true),
            "/aiserver.v1.Chat/Say"
        );
        assert_eq!(recorded_path("/aiserver.v1.Chat/Say", false), "/*/Say");
    }
}
