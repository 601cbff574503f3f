//! A WebSocket: opened as an exchange of its own, then message by message.
//!
//! The handshake goes the usual path as far as its head has texts: accept, identify, inspect, decide,
//! transform, and its intent is durable before a byte of it leaves. Where the decision names a cloud that
//! speaks the dialect, that cloud is dialled by a handshake of our own; what it refuses is passed on as a
//! reply. Otherwise no upstream is dialled, and what is asked for on the connection is answered as the same
//! request over HTTP would be ([`answer`]). From then on each message of the caller's that asks or tells
//! something is an exchange with its own decision and record, which names this one ([`message`]); [`session`]
//! pumps both ways.
//!
//! Frames that no dialect describes, built in or by a file, are refused, with the status at which the host's programs
//! fall back at once, or passed and recorded as uninspected where the policy says `unknown: pass`.
//!
//! Limits: those of [`SocketLimits`], from the configuration's; `sockets` and `sockets_per_actor` open at once;
//! `stream_seconds` for all of it; in [`session`]
//! the rate and total of messages and how many may be in flight.
//!
//! On failure: before the connection is open a refusal in the dialect; afterwards an error message for what
//! one message asked, or a close code.

mod answer;
mod message;
mod session;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use cordon_domain::{Dialect, UpstreamKind};
use cordon_intercept::{Arrival, SocketAnswer, SocketHandshake, SocketLimits, strip_reply};
use cordon_wire::Endpoint;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, header};
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::{
    audit::{self, Draft},
    decide, decode,
    identify::{self, Caller},
    inspect, respond,
    route::{self, Form, Reply},
    transform,
};
use crate::{
    accept::{self, Accepted},
    config::Limits,
    gate::Gate,
    metrics::Stage,
    refusal::Cause,
    upstream::{SocketReply, Upstream},
};

/// Answers a caller who asks for a WebSocket, whatever happens, and with a record.
pub async fn open(
    gate: Arc<Gate>,
    arrival: Arrival<Caller>,
    request: Request<()>,
    left: CancellationToken,
) -> SocketAnswer {
    let mut draft = Draft::new(&gate, &arrival, &request);
    let shaken = AssertUnwindSafe(handshake(&gate, arrival, request, &left, &mut draft))
        .catch_unwind()
        .await;
    match shaken.unwrap_or(Err(Cause::Internal)) {
        Ok(answer) => answer,
        Err(cause) => SocketAnswer::Refuse(audit::refuse(&gate, draft, cause).await),
    }
}

/// What the messages of a connection need to know of its opening.
pub(super) struct Opening {
    gate: Arc<Gate>,
    arrival: Arrival<Caller>,
    accepted: Accepted<()>,
    /// `None` where nobody knows what is said.
    endpoint: Option<Endpoint>,
}

async fn handshake(
    gate: &Arc<Gate>,
    arrival: Arrival<Caller>,
    request: Request<()>,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<SocketAnswer, Cause> {
    let rules = gate.rules.load_full();
    draft.place = Some(gate.place().ok_or(Cause::Busy)?);
    let (parts, ()) = request.into_parts();
    let protocols: Vec<HeaderValue> = parts
        .headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .cloned()
        .collect();
    let accepted = accept::head(&arrival, parts, ());
    draft.actor = draft.time(Stage::Identify, || {
        identify::identify(&rules, &arrival, &accepted)
    })?;
    draft.take_share(gate)?;
    let shares = gate
        .socket(&draft.actor.user)
        .ok_or(Cause::ActorBusy("WebSockets open"))?;
    let decoded = decode::handshake(&rules, &arrival, &accepted, draft)?;
    let found = inspect::inspect(gate, &rules, &decoded, draft).await?;
    let decision = decide::decide(gate, &rules, &decoded, &found, draft)?;
    let (cleared, originals) = transform::transform(gate, &rules, &decision, &found, &decoded, draft)?;
    audit::intend(gate, draft).await?;

    let endpoint = decoded.content.endpoint();
    let upstream = gate
        .upstreams
        .named(&decision.upstream)
        .ok_or(Cause::Internal)?
        .clone();
    let dialled = if speaks(
        &upstream,
        endpoint,
        route::is_addressed(gate, &upstream, &decoded),
    ) {
        let extra = route::credentials(gate, &upstream, &decoded, draft.dialect)?;
        let addressed = decoded
            .authority
            .as_deref()
            .filter(|_| route::is_addressed(gate, &upstream, &decoded));
        let limits = socket_limits(&gate.config.limits, gate.config.limits.reply_bytes);
        draft.asks(gate, &upstream);
        let dialling =
            upstream
                .client
                .open_socket(cleared, addressed, &extra, &protocols, limits, &gate.tasks);
        let reply = tokio::select! {
            biased;
            () = left.cancelled() => return Err(Cause::ClientLeft),
            reply = dialling => reply?,
        };
        draft.routed();
        match reply {
            SocketReply::Open(socket, headers) => Some((*socket, headers)),
            SocketReply::Refused(response) => {
                draft.answered(response.status().as_u16());
                let form = endpoint.map_or(Form::Unknown, Form::Same);
                let reply = Reply::Upstream {
                    upstream,
                    response,
                    form,
                };
                let answer = respond::respond(gate, &rules, reply, originals, None, draft, left).await?;
                return Ok(SocketAnswer::Refuse(answer));
            }
        }
    } else {
        // What was cleared of the head stays here: an answer over HTTP needs none of it.
        drop(cleared);
        answerable(endpoint)?;
        None
    };
    draft.status = 101;
    let (socket, mut headers) = dialled.map_or((None, HeaderMap::new()), |(socket, headers)| {
        (Some(socket), headers)
    });
    tidy(&mut headers);
    audit::mark(&mut headers, draft.exchange, draft.action());
    let limits = socket_limits(&gate.config.limits, gate.config.limits.body_bytes);
    let opening = Opening {
        gate: gate.clone(),
        arrival,
        accepted,
        endpoint,
    };
    let session = Session::new(opening, upstream, socket, originals, draft.clone(), rules, shares);
    Ok(SocketAnswer::Open {
        headers,
        limits,
        serve: Box::new(move |socket| Box::pin(session.run(socket))),
    })
}

/// Whether an upstream is dialled for a connection: a cloud that speaks what is spoken there, under the
/// language model that the caller names.
fn speaks(upstream: &Upstream, endpoint: Option<Endpoint>, addressed: bool) -> bool {
    upstream.kind == UpstreamKind::Cloud
        && upstream.model.is_none()
        && endpoint.is_none_or(|endpoint| {
            upstream.speaks(endpoint, addressed)
                // Whoever serves the one serves the other under the same key.
                || upstream.dialects.contains(&Dialect::OpenaiResponses)
        })
}

/// Whether what is asked for on a connection without an upstream can be answered.
fn answerable(endpoint: Option<Endpoint>) -> Result<(), Cause> {
    match endpoint.map(|endpoint| endpoint.dialect) {
        Some(Dialect::OpenaiResponses) => Ok(()),
        Some(Dialect::Described(_)) => Err(Cause::NotOffered(
            "what this application asks for; ask the company's own model from another program",
        )),
        Some(_) => Err(Cause::NotOffered("a Realtime session")),
        None => Err(Cause::Unknown { intercepted: true }),
    }
}

/// Leaves an upstream's own headers in its answer to a handshake.
fn tidy(headers: &mut HeaderMap) {
    strip_reply(headers);
    let owned: Vec<_> = headers
        .keys()
        .filter(|name| SocketHandshake::owns(name))
        .cloned()
        .collect();
    for name in owned {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
}

fn socket_limits(limits: &Limits, message: usize) -> SocketLimits {
    SocketLimits {
        message,
        ratio: limits.expansion_ratio,
        idle: limits.idle(),
        stall: STALL,
    }
}

/// Time that either end may take no bytes while some wait for it.
const STALL: Duration = Duration::from_secs(60);
