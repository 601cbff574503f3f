//! Accept: what the listeners hand over becomes a request whose head was looked at.
//!
//! It implements the interception room's [`Exchanges`]: a CONNECT is identified and then intercepted,
//! tunnelled or refused; a request enters the pipeline in a task of its own, so that a caller who
//! leaves never cuts a record short. It leaves the body to decode.
//!
//! On failure: a refusal and a record; a panic in an exchange is a 500 and fails closed.

use std::{sync::Arc, time::Instant};

use cordon_audit::{AuditUnavailable, Event, Recording, TunnelClosed, TunnelOpened};
use cordon_domain::{Actor, Door, ExchangeId};
use cordon_intercept::{
    AnswerBody, Arrival, ConnectAnswer, ConnectAsk, Exchanges, SocketAnswer, TunnelRecord, TurnedAway,
    strip_request,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    config::Others,
    gate::{Gate, Share, Shared},
    keys::PREFIX,
    pipeline::{
        self,
        audit::{self, Draft},
        identify::{self, Caller},
    },
    refusal::Cause,
};

/// Headers that prove who a caller is to a provider. They are not inspected, and go to no upstream
/// but the cloud that the caller addressed.
const PROVIDER_CREDENTIALS: [&str; 8] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
    "cookie",
    "openai-organization",
    "openai-project",
];

/// A request whose head is fit to be looked at further.
pub struct Accepted<B = Incoming> {
    /// HTTP method.
    pub method: Method,
    /// Path without the query.
    pub path: String,
    /// Path and query as sent.
    pub path_and_query: String,
    /// Headers as they came, for identify and for what a page claims alone.
    pub presented: HeaderMap,
    /// End-to-end headers without any credentials.
    pub headers: HeaderMap,
    /// The caller's credentials for the provider.
    pub credentials: Vec<(HeaderName, HeaderValue)>,
    /// The body, unread.
    pub body: B,
}

impl<B> Accepted<B> {
    /// The head and the body.
    pub fn split(self) -> (Accepted<()>, B) {
        let head = Accepted {
            method: self.method,
            path: self.path,
            path_and_query: self.path_and_query,
            presented: self.presented,
            headers: self.headers,
            credentials: self.credentials,
            body: (),
        };
        (head, self.body)
    }
}

/// The accept stage.
pub fn accept(
    gate: &Gate,
    arrival: &Arrival<Caller>,
    request: Request<Incoming>,
    draft: &mut Draft,
) -> Result<Accepted, Cause> {
    draft.place = Some(gate.place().ok_or(Cause::Busy)?);
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return Err(Cause::Upgrade(426));
    }
    Ok(head(arrival, parts, body))
}

/// A request's head, fit to be looked at further.
pub fn head<B>(arrival: &Arrival<Caller>, parts: Parts, body: B) -> Accepted<B> {
    let Parts {
        method,
        uri,
        headers: mut presented,
        ..
    } = parts;
    let path_and_query = uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), ToString::to_string);
    let path_and_query = key_to_header(arrival.host.as_deref(), &method, path_and_query, &mut presented);
    let mut headers = presented.clone();
    strip_request(&mut headers);
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::ACCEPT_ENCODING,
        header::EXPECT,
        // Which other way a caller would have taken is no business of the upstream's (RFC 7838, section 5).
        HeaderName::from_static("alt-used"),
    ] {
        headers.remove(name);
    }
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-cordon-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
    let mut credentials = Vec::new();
    for name in PROVIDER_CREDENTIALS {
        let name = HeaderName::from_static(name);
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(&name);
        // A Cordon key is for us alone, however it is dressed. At the gateway every credential is.
        if arrival.door != Door::Gateway && !values.iter().any(is_ours) {
            credentials.extend(joined(&values).map(|value| (name, value)));
        }
    }
    if let Some((whole, others)) = key_in_protocols(&headers) {
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        if let Some(others) = others {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
        }
        if arrival.door != Door::Gateway && !is_ours(&whole) {
            credentials.push((header::SEC_WEBSOCKET_PROTOCOL, whole));
        }
    }
    Accepted {
        method,
        path: uri.path().to_owned(),
        path_and_query,
        presented,
        headers,
        credentials,
        body,
    }
}

/// What pages in a browser, which can set no header on a WebSocket, put their key behind.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// The sub-protocols of a WebSocket that hold a provider's key, as a credential, and those among them that hold none.
/// What stands beside the key must be names that the API defines, or all of it is a header like any other.
fn key_in_protocols(headers: &HeaderMap) -> Option<(HeaderValue, Option<HeaderValue>)> {
    let mut values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let offered = value.to_str().ok()?.split(',').map(str::trim);
    let (keys, others): (Vec<&str>, Vec<&str>) = offered.partition(|name| name.starts_with(KEY_PROTOCOL));
    if keys.len() != 1
        || !others
            .iter()
            .all(|name| ["realtime", "openai-beta.realtime-v1"].contains(name))
    {
        return None;
    }
    let mut whole = value.clone();
    whole.set_sensitive(true);
    let others = (!others.is_empty())
        .then(|| HeaderValue::from_str(&others.join(", ")).ok())
        .flatten();
    Some((whole, others))
}

/// Whether a credential is one of Cordon's own, however it is dressed.
fn is_ours(value: &HeaderValue) -> bool {
    identify::key_in(value).is_some()
        || value
            .as_bytes()
            .windows(PREFIX.len())
            .any(|part| part == PREFIX.as_bytes())
}

/// Moves a credential out of the query into the header that means the same, so that everything behind treats it as
/// one. Gives path and query without it.
fn key_to_header(host: Option<&str>, method: &Method, target: String, presented: &mut HeaderMap) -> String {
    let Some(taken) = cordon_wire::key_in_query(method.as_str(), host, &target) else {
        return target;
    };
    // A header that is there already goes first, as it does for the provider; what no header can hold is no key.
    if let (false, Ok(mut value)) = (
        presented.contains_key(taken.header),
        HeaderValue::from_str(&taken.value),
    ) {
        value.set_sensitive(true);
        presented.insert(HeaderName::from_static(taken.header), value);
    }
    taken.target
}

/// Several fields of one name as one: HTTP/2 callers send a cookie in crumbs (RFC 9113, 8.2.3).
fn joined(values: &[HeaderValue]) -> Option<HeaderValue> {
    match values {
        [] => None,
        [one] => Some(one.clone()),
        many => {
            let parts: Vec<&[u8]> = many.iter().map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&parts.join(b"; ".as_slice())).ok()
        }
    }
}

/// The door of the house: what the interception room calls.
pub struct Doorway(pub Arc<Gate>);

impl Exchanges for Doorway {
    type Caller = Caller;

    async fn connect(&self, ask: ConnectAsk) -> ConnectAnswer<Caller> {
        let gate = &self.0;
        let rules = gate.rules.load_full();
        let exchange = ExchangeId::new();
        let refuse = async |actor: Actor, cause: Cause| {
            let draft = Draft::connect(gate, exchange, &ask, actor);
            ConnectAnswer::Refuse(audit::refuse(gate, draft, cause).await)
        };
        let intercepted = gate.config.intercepts(&ask.host);
        let (caller, headers) = match identify::at_connect(gate, &rules, &ask).await {
            Ok(known) => known,
            // Who was redirected here could not log in before; each request may bring a key of its own.
            Err(_) if intercepted && ask.door == Door::Transparent => {
                return ConnectAnswer::Intercept(None, HeaderMap::new());
            }
            Err(cause) => return refuse(Actor::unidentified(), cause).await,
        };
        if intercepted {
            return ConnectAnswer::Intercept(Some(caller), headers);
        }
        let intercept = &gate.config.intercept;
        if intercept.other_hosts == Others::Refuse && !intercept.passes_unread(&ask.host) {
            return refuse(
                caller.0.as_ref().clone(),
                Cause::NotOffered(
                    "a tunnel to this host; the configuration refuses hosts that are not intercepted",
                ),
            )
            .await;
        }
        let most = gate.config.limits.tunnels_per_actor;
        let Some(share) = gate.shares.take(Shared::Tunnel, &caller.0.user, most) else {
            return refuse(caller.0.as_ref().clone(), Cause::ActorBusy("tunnels open")).await;
        };
        let opened = TunnelOpened {
            exchange,
            actor: caller.0.as_ref().clone(),
            peer: ask.peer,
            door: ask.door,
            host: ask.host.clone(),
            port: ask.port,
        };
        let recording = OpenTunnel::record(gate.clone(), opened, share);
        // In a task, so that a caller who leaves meanwhile leaves no tunnel without an end.
        match gate.tasks.spawn(recording).await {
            Ok(Ok(tunnel)) => ConnectAnswer::Tunnel(caller, Box::new(tunnel), headers),
            Ok(Err(_)) | Err(_) => refuse(caller.0.as_ref().clone(), Cause::Audit).await,
        }
    }

    async fn exchange(&self, arrival: Arrival<Caller>, request: Request<Incoming>) -> Response<AnswerBody> {
        let gate = self.0.clone();
        let left = CancellationToken::new();
        let draft = Draft::unread(&gate, &arrival);
        // Dropped with this future when the connection goes away.
        let _guard = left.clone().drop_guard();
        let watched = left.clone();
        let task = self
            .0
            .tasks
            .spawn(async move { pipeline::exchange(gate, arrival, request, watched).await });
        match task.await {
            Ok(response) => response,
            // The pipeline catches panics of its stages; this one came from the refusal itself.
            Err(_) => audit::refuse(&self.0, draft, Cause::Internal).await,
        }
    }

    fn origin_http2(&self, host: &str) -> Option<bool> {
        let upstream = self.0.upstreams.by_host(host)?;
        upstream.client.speaks_http2(host)
    }

    async fn websocket(&self, arrival: Arrival<Caller>, request: Request<()>) -> SocketAnswer {
        let gate = self.0.clone();
        let left = CancellationToken::new();
        let draft = Draft::unread(&gate, &arrival);
        // Dropped with this future when the connection goes away.
        let _guard = left.clone().drop_guard();
        let watched = left.clone();
        let task = self
            .0
            .tasks
            .spawn(async move { pipeline::websocket::open(gate, arrival, request, watched).await });
        match task.await {
            Ok(answer) => answer,
            // The pipeline catches panics of its stages; this one came from the refusal itself.
            Err(_) => SocketAnswer::Refuse(audit::refuse(&self.0, draft, Cause::Internal).await),
        }
    }

    async fn turned_away(&self, turned: TurnedAway<Caller>) -> Response<AnswerBody> {
        audit::turned_away(&self.0, turned).await
    }
}

/// A tunnel under way; its end is recorded exactly once, also where its caller leaves before it is there.
struct OpenTunnel {
    gate: Arc<Gate>,
    exchange: ExchangeId,
    since: Instant,
    share: Option<Share>,
}

impl OpenTunnel {
    async fn record(gate: Arc<Gate>, opened: TunnelOpened, share: Share) -> Result<Self, AuditUnavailable> {
        let exchange = opened.exchange;
        let tree = gate.tree_of(&opened.actor, None);
        let recording = Recording::of(Event::TunnelOpened(opened).into()).in_tree(tree);
        gate.recorder.record(recording).await?;
        gate.metrics.tunnels.inc();
        Ok(Self {
            gate,
            exchange,
            since: Instant::now(),
            share: Some(share),
        })
    }

    /// Records the end, unless that was done. The share is taken up with it.
    fn end(&mut self, up: u64, down: u64) -> Option<impl Future<Output = ()> + Send + 'static> {
        let share = self.share.take()?;
        let (gate, exchange) = (self.gate.clone(), self.exchange);
        gate.metrics.tunnels.dec();
        gate.metrics.tunnel_bytes(up, down);
        let closed = TunnelClosed {
            exchange,
            bytes_up: up,
            bytes_down: down,
            duration_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        Some(async move {
            if gate.recorder.event(Event::TunnelClosed(closed)).await.is_err() {
                error!(%exchange, "the end of a tunnel could not be recorded; it will be sealed as unknown");
            }
            drop(share);
        })
    }
}

impl TunnelRecord for OpenTunnel {
    fn closed(mut self: Box<Self>, up: u64, down: u64) -> BoxFuture<'static, ()> {
        // In a task: the connection whose end this is may go away meanwhile.
        let ending = self.end(up, down).map(|ending| self.gate.tasks.spawn(ending));
        Box::pin(async move {
            if let Some(ending) = ending {
                let _ = ending.await;
            }
        })
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the next start seals the tunnel as unknown.
        if let (Ok(runtime), Some(ending)) = (Handle::try_current(), self.end(0, 0)) {
            self.gate.tasks.spawn_on(ending, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_among_sub_protocols_is_a_credential_and_words_are_not() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_str(value).unwrap(),
            );
            key_in_protocols(&headers)
        };
        let (whole, others) =
            read("realtime, openai-insecure-api-key.ek_1, openai-beta.realtime-v1").unwrap();
        assert!(whole.is_sensitive());
        assert_eq!(others.unwrap(), "realtime, openai-beta.realtime-v1");
        assert_eq!(read("openai-insecure-api-key.ek_1").unwrap().1, None);
        for words in [
            "realtime",
            "openai-insecure-api-key.a, the-minutes-of-monday",
            "openai-insecure-api-key.a, openai-insecure-api-key.b",
        ] {
            assert!(read(words).is_none(), "{words}");
        }
    }
}
