//! Decode: the dialect by host and path, the body into segments within limits.
//!
//! It reads the whole body before anything goes on: what was not read cannot be inspected. Of a call, whose body is a
//! stream of messages, it reads the first and leaves the others to [`call`](super::call). A host,
//! path or shape that no dialect describes is an event of its own: refused, or passed and recorded as
//! `uninspected` where the policy says so. It leaves the meaning of what it finds to inspect.
//!
//! On failure: 400, 413 or 415 in the caller's dialect.

use std::sync::Arc;

use bytes::Bytes;
use cordon_domain::{Dialect, Segment, Splice, SpliceError};
use cordon_intercept::{Arrival, SocketHandshake, content_encoding, decode_body, read_body};
use cordon_policy::{Head, SpliceHead, Unknown};
use cordon_wire::{CallForm, Endpoint, Envelope, Limits, Operation, RequestBody};
use http::{HeaderName, HeaderValue, Method, header};
use tokio_util::sync::CancellationToken;

use super::{
    audit::Draft,
    call::{First, LISTEN, Rest},
    files::{self, Attached},
    identify::Caller,
};
use crate::{
    accept::Accepted,
    gate::Gate,
    metrics::Stage,
    offload::{Work, offload},
    refusal::Cause,
    rules::Rules,
};

/// A request that can be inspected, or one that the policy passes unread.
pub struct Decoded {
    /// HTTP method.
    pub method: Method,
    /// Path without the query.
    pub path: String,
    /// The same with the query.
    pub path_and_query: String,
    /// The intercepted host.
    pub host: Option<String>,
    /// The same with its port, unless that is 443.
    pub authority: Option<String>,
    /// What it is.
    pub content: Content,
    /// Its files.
    pub files: Attached,
    /// Whether it came in a content encoding, which it does not leave in.
    pub encoded: bool,
    /// Headers, path and query.
    pub head: HeadSegments,
    /// The caller's credentials for the provider.
    pub credentials: Vec<(HeaderName, HeaderValue)>,
    /// The rules that the caller acknowledges.
    pub acknowledged: Option<String>,
    /// Whether the caller speaks as Anthropic's programs do, for lists of models.
    pub anthropic: bool,
    /// Of a call: what the caller says further.
    pub rest: Option<Rest>,
}

/// The body of a request.
pub enum Content {
    /// Its dialect is known and its texts are segments.
    Known(Arc<RequestBody>),
    /// Nobody knows its shape; the policy says `unknown: pass`.
    Unknown(Bytes),
    /// There is none: the handshake of a WebSocket or the head of a call, and what is said behind it where that is
    /// known.
    Handshake(Option<Endpoint>),
}

impl Content {
    /// The endpoint, when the dialect is known.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Known(body) => Some(body.endpoint()),
            Self::Unknown(_) => None,
            Self::Handshake(endpoint) => *endpoint,
        }
    }
}

/// The decode stage.
pub async fn decode(
    gate: &Gate,
    rules: &Rules,
    arrival: &Arrival<Caller>,
    accepted: Accepted,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Decoded, Cause> {
    let started = std::time::Instant::now();
    let limits = &gate.config.limits;
    let known = endpoint_of(rules, arrival, &accepted, draft)?;
    let kind = accepted
        .presented
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.to_str().unwrap_or("unreadable").to_owned());
    let encodings = content_encoding(&accepted.presented)?;
    if let Some((form, kind)) = kind
        .as_deref()
        .and_then(|kind| Some((CallForm::of(known, kind)?, kind.to_owned())))
        .filter(|_| encodings.is_empty())
    {
        return call(gate, arrival, accepted, known, form, kind, left, draft).await;
    }
    let raw = read_body(accepted.body, limits.body_bytes, limits.pace()).await?;
    let head = HeadSegments::new(&accepted.headers, &accepted.path_and_query, known.is_none());
    let mut files = Attached::default();
    let content = match known {
        Some(endpoint) => {
            let bytes = decode_body(&encodings, raw, limits.body_bytes, limits.expansion_ratio)?;
            draft.request(gate, &bytes);
            let body = parse(endpoint, kind, bytes, wire_limits(limits)).await?;
            let mut body = body.at_path(arrival.host.as_deref(), &accepted.path);
            draft.model = body.model().map(str::to_owned);
            draft.stream = body.stream();
            draft.wants_usage = body.asks_for_usage();
            draft.took(Stage::Decode, started);
            files = files::read(gate, &draft.actor.user, &mut body, left).await?;
            Content::Known(Arc::new(body))
        }
        None => {
            draft.request(gate, &raw);
            draft.took(Stage::Decode, started);
            Content::Unknown(raw)
        }
    };
    Ok(Decoded {
        method: accepted.method,
        path: accepted.path,
        path_and_query: accepted.path_and_query,
        host: arrival.host.clone(),
        authority: authority(arrival),
        encoded: known.is_some() && !encodings.is_empty(),
        content,
        files,
        head,
        credentials: accepted.credentials,
        acknowledged: acknowledged(&accepted.presented),
        anthropic: accepted.presented.contains_key("anthropic-version"),
        rest: None,
    })
}

/// What is asked for; `None` is what the policy passes unread.
fn endpoint_of(
    rules: &Rules,
    arrival: &Arrival<Caller>,
    accepted: &Accepted,
    draft: &mut Draft,
) -> Result<Option<Endpoint>, Cause> {
    let endpoint =
        rules
            .catalogue
            .endpoint(accepted.method.as_str(), arrival.host.as_deref(), &accepted.path);
    let intercepted = arrival.host.is_some();
    // Without TLS an intercepted host's name proves nothing, and what is answered could be read.
    let known = endpoint.filter(|_| !intercepted || arrival.tls);
    draft.endpoint(known);
    match (known, rules.policy.unknown()) {
        (None, unknown) if !intercepted || !arrival.tls || unknown == Unknown::Block => {
            Err(Cause::Unknown { intercepted })
        }
        // What nobody knows is read string by string, and what cannot be read so is refused.
        (None, Unknown::Inspect) => Ok(Some(Endpoint::new(Dialect::Unknown, Operation::Manage))),
        (known, _) => Ok(known),
    }
}

/// The beginning of a call: its head, and its first message if that comes soon.
#[expect(
    clippy::too_many_arguments,
    reason = "a call is told by what the request was looked at for"
)]
async fn call(
    gate: &Gate,
    arrival: &Arrival<Caller>,
    accepted: Accepted,
    known: Option<Endpoint>,
    form: CallForm,
    kind: String,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Decoded, Cause> {
    let started = std::time::Instant::now();
    let limits = &gate.config.limits;
    let (accepted, body) = accepted.split();
    let head = HeadSegments::new(&accepted.headers, &accepted.path_and_query, known.is_none());
    let mut decoded = decoded(&accepted, arrival, head, Content::Handshake(known));
    let mut rest = Rest::new(accepted, body, known, kind.clone(), form, limits);
    let first = tokio::select! {
        biased;
        () = left.cancelled() => return Err(Cause::ClientLeft),
        first = rest.first(LISTEN) => first?,
    };
    draft.stream = true;
    match (known, first) {
        (Some(_), First::Nothing) => {}
        (Some(endpoint), First::Message(message)) => {
            draft.request(gate, &message);
            let mut body = parse(endpoint, Some(kind), message, wire_limits(limits)).await?;
            draft.took(Stage::Decode, started);
            decoded.files = files::read(gate, &draft.actor.user, &mut body, left).await?;
            decoded.content = Content::Known(Arc::new(body));
        }
        (None, First::Nothing) => decoded.content = Content::Unknown(Bytes::new()),
        (None, First::Message(piece)) => {
            draft.request(gate, &piece);
            decoded.content = Content::Unknown(piece);
        }
    }
    decoded.rest = Some(rest);
    Ok(decoded)
}

/// The same for the handshake of a WebSocket, which has no body.
pub fn handshake(
    rules: &Rules,
    arrival: &Arrival<Caller>,
    accepted: &Accepted<()>,
    draft: &mut Draft,
) -> Result<Decoded, Cause> {
    let host = arrival.host.as_deref();
    let known = rules
        .catalogue
        .socket(host, &accepted.path)
        .filter(|_| host.is_none() || arrival.tls);
    draft.endpoint(known);
    let passes = host.is_some() && arrival.tls && rules.policy.unknown() == Unknown::Pass;
    if known.is_none() && !passes {
        return Err(Cause::Upgrade(rules.catalogue.socket_refusal_status(host)));
    }
    let mut headers = accepted.headers.clone();
    for name in accepted.headers.keys().filter(|name| SocketHandshake::owns(name)) {
        headers.remove(name);
    }
    let head = HeadSegments::new(&headers, &accepted.path_and_query, false);
    Ok(decoded(accepted, arrival, head, Content::Handshake(known)))
}

/// The same for one message over a WebSocket or of a call: to policy, what is posted to the path that was opened.
pub async fn message(
    gate: &Gate,
    arrival: &Arrival<Caller>,
    accepted: &Accepted<()>,
    body: RequestBody,
    left: &CancellationToken,
    draft: &Draft,
) -> Result<Decoded, Cause> {
    // Its head, should it be answered over HTTP, is ours.
    let mut headers = http::HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let head = HeadSegments::new(&headers, "/v1/responses", false);
    let mut body = body.at_path(arrival.host.as_deref(), &accepted.path);
    let files = files::read(gate, &draft.actor.user, &mut body, left).await?;
    Ok(Decoded {
        method: Method::POST,
        files,
        ..decoded(accepted, arrival, head, Content::Known(Arc::new(body)))
    })
}

fn decoded(
    accepted: &Accepted<()>,
    arrival: &Arrival<Caller>,
    head: HeadSegments,
    content: Content,
) -> Decoded {
    Decoded {
        method: accepted.method.clone(),
        path: accepted.path.clone(),
        path_and_query: accepted.path_and_query.clone(),
        host: arrival.host.clone(),
        authority: authority(arrival),
        content,
        files: Attached::default(),
        encoded: false,
        head,
        credentials: accepted.credentials.clone(),
        acknowledged: acknowledged(&accepted.presented),
        anthropic: false,
        rest: None,
    }
}

/// The intercepted host with its port, unless that is 443.
fn authority(arrival: &Arrival<Caller>) -> Option<String> {
    arrival.host.as_ref().map(|host| match arrival.port {
        None | Some(443) => host.clone(),
        Some(port) => format!("{host}:{port}"),
    })
}

/// The rules that a caller acknowledges.
fn acknowledged(presented: &http::HeaderMap) -> Option<String> {
    presented
        .get(cordon_policy::ACKNOWLEDGE_HEADER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Reads a body of that content type.
pub async fn parse(
    endpoint: Endpoint,
    kind: Option<String>,
    bytes: Bytes,
    limits: Limits,
) -> Result<RequestBody, Cause> {
    let work = Work::Read(bytes.len());
    let read = move || cordon_wire::decode_as(endpoint, kind.as_deref(), bytes, &limits);
    Ok(offload(work, read).await.map_err(|_| Cause::Internal)??)
}

/// The wire room's limits as configured.
pub fn wire_limits(limits: &crate::config::Limits) -> Limits {
    Limits {
        max_body: limits.body_bytes,
        max_depth: limits.json_depth,
        max_segments: limits.segments,
        max_text: limits.body_bytes,
        max_ratio: limits.expansion_ratio,
    }
}

/// Headers, path and query as the policy room edits them.
pub struct HeadSegments(Envelope);

impl HeadSegments {
    fn new(headers: &http::HeaderMap, path_and_query: &str, keep_encoding: bool) -> Self {
        let pairs: Vec<(String, Vec<u8>)> = headers
            .iter()
            // A body that is known goes on decoded, so the header that names its encoding does not.
            .filter(|(name, _)| keep_encoding || *name != http::header::CONTENT_ENCODING)
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        Self(Envelope::new(&pairs, path_and_query))
    }
}

impl SpliceHead for HeadSegments {
    fn segments(&self) -> &[Segment] {
        self.0.segments()
    }

    fn splice(&self, edits: &[cordon_domain::Edit]) -> Result<Head, SpliceError> {
        let (headers, path_and_query) = self.0.splice(edits)?;
        Ok(Head {
            headers,
            path_and_query,
        })
    }
}

/// The head of what has none of its own: it was sent when the connection or the call was opened.
pub fn no_head() -> Head {
    Head {
        headers: Vec::new(),
        path_and_query: String::new(),
    }
}

/// A body without segments, for what passes unread.
pub struct Unread(pub Bytes);

impl Splice for Unread {
    fn segments(&self) -> &[Segment] {
        &[]
    }

    fn splice(&self, edits: &[cordon_domain::Edit]) -> Result<Bytes, SpliceError> {
        match edits.first() {
            Some(edit) => Err(SpliceError::NoSuchSegment(edit.segment)),
            None => Ok(self.0.clone()),
        }
    }
}
