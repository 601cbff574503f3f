//! Route: a cleared request to the upstream that the decision names.
//!
//! The engine and clusters get the body in a dialect that they speak, and none of the caller's
//! headers; a cloud gets the caller's end-to-end headers and either the caller's own credentials
//! (proxy, passthrough) or ours. Lists of the engine's models and its counts of LLM tokens are
//! answered without a cloud.
//!
//! On failure: 502, 503 or 504 by cause; the record says `upstream_failed`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cordon_domain::{Decision, Dialect, Splice, UpstreamKind};
use cordon_policy::{Cleared, SpliceHead};
use cordon_wire::{Asked, Endpoint, ModelForm, Operation, Rpc, Spoken};
use http::{HeaderName, HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::{
    audit::Draft,
    call::{self, Call},
    decode::{Content, Decoded},
};
use crate::{
    gate::Gate,
    metrics::Stage,
    refusal::Cause,
    supervise::EngineState,
    upstream::{Credentials, Target, Upstream},
};

/// What came back.
pub enum Reply {
    /// Answered by us, from what the engine offers.
    Local(Bytes),
    /// An upstream's reply, its head read.
    Upstream {
        /// Who answers.
        upstream: Arc<Upstream>,
        /// The reply.
        response: Response<Incoming>,
        /// How its body becomes what the caller speaks.
        form: Form,
    },
}

/// How a reply's body relates to the caller's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is in the caller's dialect.
    Same(Endpoint),
    /// It is in what the upstream speaks, the caller's dialect is another.
    Translated(Asked, Spoken),
    /// It is a count of LLM tokens in that dialect, for what was asked.
    Count(Asked, Dialect),
    /// Nobody knows; it passes as it is.
    Unknown,
}

/// The route stage. Of a call it sends the beginning, and what the caller says further while the reply is awaited.
pub async fn route(
    gate: &Gate,
    decision: &Decision,
    decoded: &Decoded,
    cleared: Cleared,
    call: Option<&mut Call>,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Reply, Cause> {
    let started = Instant::now();
    let upstream = gate
        .upstreams
        .named(&decision.upstream)
        .ok_or(Cause::Internal)?
        .clone();
    if upstream.kind == UpstreamKind::Engine {
        if decoded
            .content
            .endpoint()
            .is_some_and(|endpoint| endpoint.operation == Operation::ListModels)
        {
            return list_models(gate, decoded, draft);
        }
        if gate.engine.state() != EngineState::Ready {
            return Err(Cause::EngineDown);
        }
    }
    let Addressed {
        method,
        cleared,
        target,
        mut extra,
        form,
    } = address(gate, &upstream, decoded, cleared, draft)?;
    let passes_on = matches!(upstream.credentials, Credentials::Passthrough);
    if passes_on && is_signed(decoded) && is_edited(decoded, &cleared)? {
        return Err(Cause::Signed);
    }
    let addressed = decoded
        .authority
        .as_deref()
        .filter(|_| is_addressed(gate, &upstream, decoded));
    extra.extend(call_headers(draft));
    if upstream.kind != UpstreamKind::Cloud {
        extra.extend(draft.trace_header());
    }
    draft.asks(gate, &upstream);
    let mut call = call;
    let feed = call.as_mut().and_then(|call| call.feed.take());
    let patience = Duration::from_secs(gate.config.limits.reply_seconds);
    // A caller who leaves takes the request with it, so that no slot of the engine works for nobody.
    let response = tokio::select! {
        biased;
        () = left.cancelled() => return Err(Cause::ClientLeft),
        cause = call::interrupted(call, patience) => return Err(cause),
        response = upstream.client.send(&method, cleared, target, addressed, &extra, feed) => response?,
    };
    gate.metrics.stage(Stage::Route, started.elapsed());
    draft.routed();
    draft.answered(response.status().as_u16());
    Ok(Reply::Upstream {
        upstream,
        response,
        form,
    })
}

/// What a call asks of its upstream: trailers, which servers of gRPC insist on (and which belong to a connection, so
/// the caller's own does not travel), and no compression of replies but what can be read.
fn call_headers(draft: &Draft) -> Vec<(HeaderName, HeaderValue)> {
    let gzip = |name| (HeaderName::from_static(name), HeaderValue::from_static("gzip"));
    match draft.rpc {
        Some(rpc @ Rpc::Grpc { .. }) => {
            let trailers = (header::TE, HeaderValue::from_static("trailers"));
            let trailers = rpc.ends_in_trailers().then_some(trailers);
            trailers
                .into_iter()
                .chain([gzip("grpc-accept-encoding")])
                .collect()
        }
        Some(Rpc::ConnectStream { .. }) => vec![gzip("connect-accept-encoding")],
        Some(Rpc::Connect) | None => Vec::new(),
    }
}

/// A request ready to be sent.
struct Addressed {
    method: Method,
    cleared: Cleared,
    target: Target,
    extra: Vec<(HeaderName, HeaderValue)>,
    form: Form,
}

/// Puts a request into the upstream's dialect and gives it the headers that belong there.
fn address(
    gate: &Gate,
    upstream: &Upstream,
    decoded: &Decoded,
    cleared: Cleared,
    draft: &Draft,
) -> Result<Addressed, Cause> {
    let method = decoded.method.clone();
    let Some(endpoint) = decoded.content.endpoint() else {
        if upstream.kind == UpstreamKind::Engine {
            // Nothing that nobody understands can be answered by a language model.
            return Err(Cause::Unknown { intercepted: true });
        }
        let extra = credentials(gate, upstream, decoded, draft.dialect)?;
        return Ok(Addressed {
            method,
            cleared,
            target: Target::AsCleared,
            extra,
            form: Form::Unknown,
        });
    };
    if matches!(endpoint.dialect, Dialect::Described(_) | Dialect::Unknown) {
        // An application's own server alone can answer it.
        if upstream.kind != UpstreamKind::Cloud || !is_addressed(gate, upstream, decoded) {
            return Err(Cause::NotOffered(
                "what this application asks for; ask the company's own model from another program",
            ));
        }
        let extra = credentials(gate, upstream, decoded, endpoint.dialect)?;
        return Ok(Addressed {
            method,
            cleared,
            target: Target::AsCleared,
            extra,
            form: Form::Same(endpoint),
        });
    }
    let asked = Asked::at(endpoint, &decoded.path_and_query);
    let spoken = if upstream.speaks(endpoint, is_addressed(gate, upstream, decoded)) {
        None
    } else {
        // Of the endpoints that are no answers of a model none is translated.
        if !matches!(endpoint.operation, Operation::Generate | Operation::CountTokens) {
            return Err(NOT_THERE);
        }
        let spoken = Spoken::among(&upstream.dialects).ok_or(Cause::NotSpoken(endpoint.dialect))?;
        // `openai-chat` has no counts; where the upstream speaks what has, it is asked in that.
        Some(if endpoint.operation == Operation::CountTokens {
            Spoken::counting(&upstream.dialects).unwrap_or(spoken)
        } else {
            spoken
        })
    };
    // The header that a key goes in is that of the dialect which is sent, not of the caller's.
    let sent = spoken.map_or(endpoint.dialect, Spoken::dialect);
    if upstream.kind == UpstreamKind::Cloud {
        let extra = credentials(gate, upstream, decoded, sent)?;
        return match spoken {
            None => named(upstream, decoded, asked, cleared, draft, extra),
            Some(Spoken::Chat) if endpoint.operation == Operation::CountTokens => Err(NO_COUNTS),
            Some(spoken) => translated(upstream, decoded, asked, spoken, cleared, draft, extra),
        };
    }

    // In the building: none of the caller's headers are needed, so none are sent.
    let mut extra = match &upstream.credentials {
        Credentials::Own(_) => credentials(gate, upstream, decoded, sent)?,
        Credentials::Passthrough | Credentials::Signed | Credentials::None => Vec::new(),
    };
    let exchange = HeaderValue::from_str(&draft.exchange.to_string()).map_err(|_| Cause::Internal)?;
    extra.push((HeaderName::from_static("x-cordon-exchange"), exchange));
    if upstream.kind == UpstreamKind::Engine {
        // The engine reuses what it has read of a prompt only for the same actor: timing and counts of
        // cached tokens would tell one employee what another has asked.
        let salt = cordon_audit::keyed_digest(
            &gate.commitment_key,
            format!("cache salt\0{}", draft.actor.user).as_bytes(),
        );
        let salt = HeaderValue::from_str(&salt).map_err(|_| Cause::Internal)?;
        extra.push((HeaderName::from_static("x-cordon-cache-salt"), salt));
    }
    match (endpoint.operation, spoken) {
        (Operation::CountTokens, _) if upstream.kind == UpstreamKind::Engine => {
            let addressed = translated(upstream, decoded, asked, Spoken::Chat, cleared, draft, extra)?;
            Ok(Addressed {
                target: Target::Path("/count".into()),
                form: Form::Count(asked, Dialect::AnthropicMessages),
                ..addressed
            })
        }
        (Operation::CountTokens, Some(Spoken::Chat)) => Err(NO_COUNTS),
        (_, Some(spoken)) => translated(upstream, decoded, asked, spoken, cleared, draft, extra),
        (Operation::Generate, None) if endpoint.dialect == Dialect::OpenaiChat => {
            translated(upstream, decoded, asked, Spoken::Chat, cleared, draft, extra)
        }
        (operation, None) => {
            extra.push(IN_JSON);
            let addressed = named(upstream, decoded, asked, cleared, draft, extra)?;
            Ok(Addressed {
                // The endpoint's own path where there is but one, and never the caller's spelling of it.
                target: match (operation, endpoint.dialect) {
                    (Operation::Generate, Dialect::Gemini)
                        if let Target::Renamed(target) = addressed.target =>
                    {
                        Target::Path(target.into())
                    }
                    // Neighbours of an answer, with a path and a shape of their own.
                    _ if decoded.path.ends_with("/compact") || decoded.path.ends_with("/complete") => {
                        Target::ClearedPath
                    }
                    (Operation::CountTokens, Dialect::AnthropicMessages) => {
                        Target::Path("/v1/messages/count_tokens".into())
                    }
                    (Operation::Generate, Dialect::AnthropicMessages) => Target::Path("/v1/messages".into()),
                    (Operation::Generate, Dialect::OpenaiResponses) => Target::Path("/v1/responses".into()),
                    _ => Target::ClearedPath,
                },
                ..addressed
            })
        }
    }
}

const NOT_THERE: Cause = Cause::NotOffered(
    "this endpoint; have your administrator route it to an upstream that speaks its dialect",
);
const NO_COUNTS: Cause = Cause::NotOffered(
    "counts of LLM tokens: the upstream's dialect has none; count in your program, or have your administrator route them elsewhere",
);
const IN_JSON: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// A request in a dialect that the upstream speaks, without what we gave the caller as its model's reasoning: no provider signed
/// that. The name of a language model that is configured stands in place of the caller's.
fn named(
    upstream: &Upstream,
    decoded: &Decoded,
    asked: Asked,
    cleared: Cleared,
    draft: &Draft,
    extra: Vec<(HeaderName, HeaderValue)>,
) -> Result<Addressed, Cause> {
    let cleared = match asked.endpoint.operation {
        Operation::Generate | Operation::CountTokens => without_made(cleared, asked)?,
        // No conversation, and not always JSON.
        _ => cleared,
    };
    let model = upstream
        .model
        .as_deref()
        .filter(|_| asked.endpoint.operation == Operation::Generate);
    let (cleared, target) = match (model, asked.endpoint.dialect) {
        (None, _) => (cleared, Target::AsCleared),
        (Some(model), Dialect::AnthropicMessages) => {
            let renamed = cleared.translate(
                |body, model: String| cordon_wire::rename_model(body, &model),
                model.to_owned(),
            )?;
            (renamed, Target::AsCleared)
        }
        (Some(model), Dialect::Gemini)
            if let Some(target) = cordon_wire::rename_in_target(&cleared.head().path_and_query, model) =>
        {
            (cleared, Target::Renamed(target))
        }
        (Some(_), _) => return translated(upstream, decoded, asked, Spoken::Chat, cleared, draft, extra),
    };
    Ok(Addressed {
        method: decoded.method.clone(),
        cleared,
        target,
        extra,
        form: Form::Same(asked.endpoint),
    })
}

/// A request without what we gave the caller as its model's reasoning.
fn without_made(cleared: Cleared, asked: Asked) -> Result<Cleared, Cause> {
    Ok(cleared.translate(
        |body, dialect: Dialect| cordon_wire::without_made(dialect, body),
        asked.endpoint.dialect,
    )?)
}

/// A request put into what the upstream speaks, asking for the upstream's own model. None of the caller's headers are of
/// that dialect, so none are sent.
fn translated(
    upstream: &Upstream,
    decoded: &Decoded,
    asked: Asked,
    spoken: Spoken,
    cleared: Cleared,
    draft: &Draft,
    mut extra: Vec<(HeaderName, HeaderValue)>,
) -> Result<Addressed, Cause> {
    let model = match &upstream.model {
        Some(configured) => match asked_model(decoded, &cleared, draft) {
            Some(asked) if upstream.also.iter().any(|name| **name == *asked) => asked,
            _ => configured.to_string(),
        },
        None => asked_model(decoded, &cleared, draft).unwrap_or_else(|| "default".to_owned()),
    };
    let asked = asked.telling_effort(spoken != Spoken::Chat || upstream.takes_effort);
    // What our model, or another's, thought is nothing for a provider, unless it is configured as one whose own models go on from it.
    let cleared = match upstream.kind {
        UpstreamKind::Cloud if !upstream.takes_effort => without_made(cleared, asked)?,
        _ => cleared,
    };
    let chat = cleared.translate(
        |body, (asked, model): (Asked, String)| cordon_wire::request_to_chat(asked, body, &model),
        (asked, model.clone()),
    )?;
    let counts = asked.endpoint.operation == Operation::CountTokens;
    let (target, cleared) = if counts {
        let put = |chat: &Bytes, (spoken, model): (Spoken, String)| {
            cordon_wire::count_from_chat(spoken, chat, &model)
        };
        (spoken.count_target(&model), chat.translate(put, (spoken, model))?)
    } else {
        let put = |chat: &Bytes, (spoken, model): (Spoken, String)| {
            cordon_wire::request_from_chat(spoken, chat, &model)
        };
        (
            spoken.target(chat.body(), &model),
            chat.translate(put, (spoken, model))?,
        )
    };
    let target = Target::Path(target.into());
    extra.push(IN_JSON);
    extra.extend(
        spoken
            .headers()
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    let form = match (asked.endpoint.dialect, spoken) {
        _ if counts => Form::Count(asked, spoken.dialect()),
        (Dialect::OpenaiChat, Spoken::Chat) => Form::Same(asked.endpoint),
        _ => Form::Translated(asked, spoken),
    };
    Ok(Addressed {
        method: decoded.method.clone(),
        cleared,
        target,
        extra,
        form,
    })
}

/// The language model that is asked for, as it was cleared: its name is the caller's words like any other.
fn asked_model(decoded: &Decoded, cleared: &Cleared, draft: &Draft) -> Option<String> {
    if !draft.conceal_model {
        return draft.model.clone();
    }
    let path = cleared
        .head()
        .path_and_query
        .split('?')
        .next()
        .unwrap_or_default();
    cordon_wire::model_in_path(decoded.host.as_deref(), path)
        .or_else(|| cordon_wire::model_in_body(cleared.body()))
}

/// Whether the caller's credentials are a signature over the request itself, as Amazon's are.
fn is_signed(decoded: &Decoded) -> bool {
    decoded
        .credentials
        .iter()
        .any(|(name, value)| *name == header::AUTHORIZATION && value.as_bytes().starts_with(b"AWS4-"))
}

/// Whether a request goes out with another body, header or target than it came with.
fn is_edited(decoded: &Decoded, cleared: &Cleared) -> Result<bool, Cause> {
    let body = match &decoded.content {
        Content::Known(body) => body.splice(&[]).map_err(|_| Cause::Internal)?,
        Content::Unknown(body) => body.clone(),
        Content::Handshake(_) => Bytes::new(),
    };
    if decoded.encoded {
        return Ok(true);
    }
    let came = decoded.head.splice(&[]).map_err(|_| Cause::Internal)?;
    let goes = cleared.head();
    Ok(body != *cleared.body() || came.headers != goes.headers || came.path_and_query != goes.path_and_query)
}

/// Whether an upstream is the one that the caller of the proxy named.
pub(super) fn is_addressed(gate: &Gate, upstream: &Upstream, decoded: &Decoded) -> bool {
    let addressed = decoded
        .host
        .as_deref()
        .and_then(|host| gate.upstreams.by_host(host));
    addressed.is_some_and(|addressed| addressed.name == upstream.name)
}

/// Credentials for a provider: the caller's own, or ours in the dialect's header.
pub(super) fn credentials(
    gate: &Gate,
    upstream: &Upstream,
    decoded: &Decoded,
    dialect: Dialect,
) -> Result<Vec<(HeaderName, HeaderValue)>, Cause> {
    match &upstream.credentials {
        Credentials::Signed | Credentials::None => Ok(Vec::new()),
        Credentials::Passthrough => {
            // Somebody's key for one provider is not shown to another.
            if is_addressed(gate, upstream, decoded) {
                Ok(decoded.credentials.clone())
            } else {
                Err(Cause::NoCredentials)
            }
        }
        Credentials::Own(key) if let Some(header) = key_header(upstream.client.host(), dialect, decoded) => {
            Ok(vec![(HeaderName::from_static(header), key.clone())])
        }
        Credentials::Own(key) => {
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", key.as_bytes()].concat())
                .map_err(|_| Cause::Internal)?;
            value.set_sensitive(true);
            Ok(vec![(header::AUTHORIZATION, value)])
        }
    }
}

/// The header that a provider takes a key in; `None` for those that take it as a bearer's.
fn key_header(host: &str, dialect: Dialect, decoded: &Decoded) -> Option<&'static str> {
    let under = |domain: &str| crate::config::host_within(host, domain);
    // Tokens of an account, not keys.
    if under("aiplatform.googleapis.com") || host.ends_with("-aiplatform.googleapis.com") {
        return None;
    }
    match dialect {
        Dialect::AnthropicMessages | Dialect::AnthropicBatches | Dialect::AnthropicFiles => Some("x-api-key"),
        Dialect::Models if decoded.anthropic => Some("x-api-key"),
        Dialect::Gemini => Some("x-goog-api-key"),
        _ if [
            "openai.azure.com",
            "cognitiveservices.azure.com",
            "services.ai.azure.com",
        ]
        .into_iter()
        .any(under) =>
        {
            Some("api-key")
        }
        _ => None,
    }
}

/// The engine's models, in the caller's shape.
fn list_models(gate: &Gate, decoded: &Decoded, draft: &mut Draft) -> Result<Reply, Cause> {
    let names = || std::iter::once(&gate.engine.alias).chain(gate.engine.also.iter());
    let models: Vec<_> = names().map(|name| (name.to_string(), gate.started)).collect();
    let dialect = decoded
        .content
        .endpoint()
        .map_or(Dialect::Models, |endpoint| endpoint.dialect);
    let form = ModelForm::of(dialect, decoded.anthropic);
    let asked = decoded
        .path
        .split_once("/models/")
        .map(|(_, name)| name)
        .filter(|_| form != ModelForm::Ollama);
    draft.answered_model = None;
    let body = match asked {
        None if decoded.path.ends_with("/version") => cordon_wire::ollama_version(env!("CARGO_PKG_VERSION")),
        None => cordon_wire::models_list(form, &models),
        Some(id) if names().any(|name| **name == *id) => cordon_wire::model_one(form, id, gate.started),
        Some(_) => {
            return Err(Cause::NotOffered(
                "this model; `GET /v1/models` lists those on offer",
            ));
        }
    };
    Ok(Reply::Local(body))
}
