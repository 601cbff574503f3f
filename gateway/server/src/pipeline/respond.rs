//! Respond: the reply to the caller, with the originals back where placeholders stood.
//!
//! A plain reply is read whole. A stream goes on event by event, held back only where a placeholder
//! may still be in progress. What the reply says is inspected, too, and its entity types and counts go
//! into the seal; the policy has rules for requests only.
//!
//! The seal is durable before the last byte: a plain reply waits for it, and of a stream its
//! closing event (`[DONE]`, `message_stop`, `response.completed`) does.
//!
//! On failure: an error of the dialect in place of the reply, or at the end of a stream that had begun.

use std::sync::Arc;

use bytes::Bytes;
use cordon_audit::Outcome;
use cordon_domain::{Actor, Dialect, Edit, Finding, Role, Segment, Splice, Text, UpstreamKind};
use cordon_intercept::{AnswerBody, content_encoding, decode_body, full_body, read_body, strip_reply};
use cordon_policy::{Originals, Reidentifier};
use cordon_wire::{Endpoint, Framing, Operation, ReplyBody, Usage};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::{
    audit::{self, Draft},
    call::Call,
    decode::wire_limits,
    inspect::work_of,
    route::{Form, Reply},
};
use crate::{
    gate::Gate,
    metrics::Stage,
    offload::{GaveUp, offload},
    refusal::Cause,
    rules::Rules,
    upstream::Upstream,
};

mod stream;
pub(super) use stream::Restore;

/// The respond stage; the audit stage's seal is part of it.
pub async fn respond(
    gate: &Arc<Gate>,
    rules: &Arc<Rules>,
    reply: Reply,
    originals: Originals,
    call: Option<Call>,
    draft: &mut Draft,
    left: &CancellationToken,
) -> Result<Response<AnswerBody>, Cause> {
    let (upstream, response, form) = match reply {
        Reply::Local(body) => {
            let mut answer = Response::new(body);
            json(answer.headers_mut());
            return plain(gate, draft, answer).await;
        }
        Reply::Upstream {
            upstream,
            response,
            form,
        } => (upstream, response, form),
    };
    let (mut parts, body) = response.into_parts();
    strip_reply(&mut parts.headers);
    parts.headers.remove(header::CONTENT_LENGTH);
    if upstream.kind != UpstreamKind::Cloud {
        let kind = parts.headers.remove(header::CONTENT_TYPE);
        parts.headers = HeaderMap::new();
        kind.and_then(|kind| parts.headers.insert(header::CONTENT_TYPE, kind));
    }
    draft.status = parts.status.as_u16();

    let framing = framing(form, &parts.headers).filter(|_| parts.status.is_success());
    if let Some(framing) = framing {
        if parts.headers.contains_key(header::CONTENT_ENCODING) {
            // We asked for none; an encoded stream cannot be edited as it comes.
            return Err(Cause::Reply("came in an encoding that was not asked for"));
        }
        return Ok(stream::open(
            gate,
            rules,
            upstream,
            parts,
            body,
            form,
            framing,
            originals,
            call,
            draft.clone(),
        ));
    }
    let mut reidentifier = Reidentifier::new(originals);
    let body = tokio::select! {
        biased;
        () = left.cancelled() => return Err(Cause::ClientLeft),
        body = whole(gate, &mut parts.headers, body) => body?,
    };
    draft.reply_came(&body);
    let body = match form {
        Form::Unknown => body,
        Form::Count(..) | Form::Translated(..) | Form::Same(_) if !parts.status.is_success() => {
            upstream_error(
                gate,
                rules,
                &upstream,
                form,
                parts.status,
                body,
                &mut reidentifier,
                draft,
            )
            .await?
        }
        Form::Count(asked, dialect) => {
            let endpoint = Endpoint::new(dialect, Operation::CountTokens);
            let counted = read_reply(gate, endpoint, &parts.headers, body)?;
            asked.count(counted.usage().ok_or(Cause::Reply("is not a count"))?.input)
        }
        Form::Translated(asked, spoken) => {
            let model = draft.model.clone().unwrap_or_default();
            let body = cordon_wire::translate_reply(asked, spoken, &body, &model, draft.created())
                .map_err(|_| Cause::Reply("could not be understood"))?;
            json(&mut parts.headers);
            let reply = read_reply(gate, asked.endpoint, &parts.headers, body)?;
            put_back(gate, rules, reply, &mut reidentifier, &upstream, draft).await?
        }
        Form::Same(endpoint) => {
            let reply = read_reply(gate, endpoint, &parts.headers, body)?;
            put_back(gate, rules, reply, &mut reidentifier, &upstream, draft).await?
        }
    };
    plain(gate, draft, Response::from_parts(parts, body)).await
}

/// Seals an exchange whose whole answer is there, and gives it out.
async fn plain(
    gate: &Arc<Gate>,
    draft: &mut Draft,
    response: Response<Bytes>,
) -> Result<Response<AnswerBody>, Cause> {
    let (mut parts, body) = response.into_parts();
    draft.status = parts.status.as_u16();
    draft.reply_piece(&body);
    draft.metrics.stage(Stage::Respond, draft.since_routed());
    let outcome = if parts.status.is_success() {
        Outcome::Completed
    } else {
        Outcome::UpstreamFailed
    };
    audit::seal(gate, draft, outcome).await?;
    audit::mark(&mut parts.headers, draft.exchange, draft.action());
    Ok(Response::from_parts(parts, full_body(body)))
}

/// Reads a reply whole and decodes its content encoding.
async fn whole(gate: &Gate, headers: &mut HeaderMap, body: Incoming) -> Result<Bytes, Cause> {
    let limits = &gate.config.limits;
    let unreadable = |_| Cause::Reply("broke off or is larger than the limit");
    let raw = read_body(body, limits.reply_bytes, limits.idle())
        .await
        .map_err(unreadable)?;
    let encodings = content_encoding(headers).map_err(|_| Cause::Reply("is in an unknown encoding"))?;
    headers.remove(header::CONTENT_ENCODING);
    decode_body(&encodings, raw, limits.reply_bytes, limits.expansion_ratio)
        .map_err(|_| Cause::Reply("is not what its encoding says"))
}

fn read_reply(gate: &Gate, endpoint: Endpoint, headers: &HeaderMap, body: Bytes) -> Result<ReplyBody, Cause> {
    cordon_wire::decode_reply_of(endpoint, kind(headers), body, &wire_limits(&gate.config.limits))
        .map_err(|_| Cause::Reply("is malformed"))
}

/// What a reply's head says that its body is.
fn kind(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
}

/// An error of the upstream. One in the caller's dialect goes on, with originals back; of another
/// dialect only our own engine's words are passed on, in the caller's form.
#[expect(
    clippy::too_many_arguments,
    reason = "an error is a reply, and takes what a reply takes"
)]
async fn upstream_error(
    gate: &Gate,
    rules: &Arc<Rules>,
    upstream: &Upstream,
    form: Form,
    status: StatusCode,
    body: Bytes,
    reidentifier: &mut Reidentifier,
    draft: &mut Draft,
) -> Result<Bytes, Cause> {
    if upstream.kind == UpstreamKind::Engine {
        #[derive(serde::Deserialize)]
        struct Failed {
            error: Words,
        }
        #[derive(serde::Deserialize)]
        struct Words {
            message: String,
        }
        let message = serde_json::from_slice::<Failed>(&body).map(|failed| failed.error.message);
        return Err(match message {
            Ok(message) => Cause::EngineRefused {
                status: status.as_u16(),
                message,
            },
            Err(_) => Cause::UpstreamStatus(status.as_u16()),
        });
    }
    match form {
        Form::Same(endpoint) => {
            match cordon_wire::decode_reply(endpoint, body.clone(), &wire_limits(&gate.config.limits)) {
                Ok(reply) => {
                    let reply = look_at(rules, reply, draft).await?;
                    splice_back(&reply, reidentifier)
                }
                // An error page of a proxy on the way, or plain text: nothing of ours is in it.
                Err(_) => Ok(body),
            }
        }
        Form::Translated(..) | Form::Count(..) | Form::Unknown => Err(Cause::UpstreamStatus(status.as_u16())),
    }
}

/// Counts what the reply says and puts the originals back.
async fn put_back(
    gate: &Gate,
    rules: &Arc<Rules>,
    reply: ReplyBody,
    reidentifier: &mut Reidentifier,
    upstream: &Upstream,
    draft: &mut Draft,
) -> Result<Bytes, Cause> {
    used(gate, upstream, draft, reply.usage(), reply.model());
    let reply = look_at(rules, reply, draft).await?;
    splice_back(&reply, reidentifier)
}

/// Counts what a reply says, for the seal.
async fn look_at(rules: &Arc<Rules>, reply: ReplyBody, draft: &mut Draft) -> Result<ReplyBody, Cause> {
    // What is answered comes back with the next turn of the conversation.
    let recalled = rules.inspector.recall(&draft.actor.user, reply.segments(), false);
    let (work, rules) = (work_of(rules, &[&recalled], false), rules.clone());
    let (reply, findings) = offload(work, move || {
        let (findings, _) = rules.inspector.inspect_recalled(reply.segments(), recalled, None);
        (reply, findings)
    })
    .await
    .map_err(|_| Cause::Internal)?;
    draft.reply_findings(&findings);
    Ok(reply)
}

fn splice_back(reply: &ReplyBody, reidentifier: &mut Reidentifier) -> Result<Bytes, Cause> {
    let mut edits = Vec::new();
    for (index, segment) in reply.segments().iter().enumerate() {
        // Arguments that parse are walked into, and their texts have a place behind `#`; only
        // those that do not are JSON source here.
        let source = segment.role == Role::ToolArguments && !segment.place.as_str().contains('#');
        let restored = reidentifier.whole(&segment.text, source);
        if restored != segment.text.as_str() {
            edits.push(Edit {
                segment: index,
                span: 0..segment.text.len(),
                replacement: restored,
            });
        }
    }
    reply.splice(&edits).map_err(|_| Cause::Internal)
}

/// Notes which model answered and what it took.
pub(super) fn used(
    gate: &Gate,
    upstream: &Upstream,
    draft: &mut Draft,
    usage: Option<Usage>,
    model: Option<&str>,
) {
    draft.answered_model = model.map(str::to_owned);
    draft.usage = usage;
    if let (UpstreamKind::Engine, Some(usage)) = (upstream.kind, usage) {
        gate.metrics.engine_tokens(usage.input, usage.output);
    }
}

/// Findings in a reply's text, for the seal's counts.
pub(super) async fn findings_in(
    rules: &Arc<Rules>,
    actor: &Actor,
    texts: Vec<String>,
) -> Result<Vec<Finding>, GaveUp> {
    let segments: Vec<Segment> = texts
        .into_iter()
        .map(|text| Segment {
            place: cordon_domain::Place::new("stream"),
            role: Role::Assistant,
            text: Text::from(text),
        })
        .collect();
    let recalled = rules.inspector.recall(&actor.user, &segments, false);
    let (work, rules) = (work_of(rules, &[&recalled], false), rules.clone());
    offload(work, move || {
        rules.inspector.inspect_recalled(&segments, recalled, None).0
    })
    .await
}

/// How a reply is streamed, if it is. Of what nobody knows, events and calls are passed on as they come.
fn framing(form: Form, headers: &HeaderMap) -> Option<Framing> {
    let unknown = Endpoint::new(Dialect::Unknown, Operation::Generate);
    match form {
        Form::Count(..) => None,
        Form::Same(endpoint) => Framing::of(endpoint, kind(headers)),
        Form::Translated(..) => {
            Framing::of(unknown, kind(headers)).filter(|framing| *framing == Framing::Events)
        }
        Form::Unknown => Framing::of(unknown, kind(headers)).filter(|framing| {
            matches!(
                framing,
                Framing::Events | Framing::ProtobufEnvelopes | Framing::JsonEnvelopes
            )
        }),
    }
}

fn json(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// Headers that tell a proxy on the way not to gather a stream up before passing it on.
fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
}
