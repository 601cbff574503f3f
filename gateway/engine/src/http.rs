//! The endpoints: from a request's bytes to a reply's.
//!
//! `POST /v1/chat/completions` answers, plain or streamed. `POST /count` takes the same body and
//! says how many prompt tokens it is; `POST /apply-template` shows the prompt itself; `POST
//! /tokenize` turns text into tokens. `GET /v1/models`, `/health`, `/metrics`.
//!
//! Whoever connects is answered: identity and policy are the gateway's matter. Two headers are
//! taken from it: `x-cordon-exchange`, for the log, and `x-cordon-cache-salt`, an opaque word per
//! actor that keeps one actor's decoded prompts from speeding up another's.
//!
//! Limits: a body's size ([`crate::chat::BODY_LIMIT`]) and time, bodies held at a time, and requests
//! tokenised at a time.
//!
//! On failure: OpenAI's error object with the status of [`Failure::status`]; once a stream has
//! begun, an `error` event in it, and no `[DONE]`.

mod chat_completions;
mod events;
mod inquiries;

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    chat::BODY_LIMIT, failure::Failure, form::Forms, gauges::Gauges, prompt::Template, scheduler::Scheduler,
    weights::Weights,
};

/// A whole body must have arrived by then.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Requests tokenised at the same time: decoding needs the other cores.
const TOKENISING: usize = 2;

/// The body of a reply.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// Bodies held at the same time, from their first byte until they are tokens.
const BODIES: usize = 64;

/// What the endpoints work with.
pub(crate) struct Desk {
    pub(crate) alias: String,
    pub(crate) gauges: Arc<Gauges>,
    /// Empty while the weights are being loaded.
    pub(crate) loaded: OnceLock<Loaded>,
    pub(crate) draining: CancellationToken,
    bodies: Arc<Semaphore>,
    tokenising: Arc<Semaphore>,
}

/// A request's body, and its place among those that are held.
pub(crate) struct Held {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

/// What is there once the weights are loaded.
pub(crate) struct Loaded {
    pub(crate) weights: Arc<Weights>,
    pub(crate) template: Template,
    pub(crate) scheduler: Scheduler,
    /// Made when an answer in a set form is first asked for.
    pub(crate) forms: OnceLock<Forms>,
    /// When, in seconds since 1970.
    pub(crate) since: i64,
}

impl Desk {
    /// Before anything is loaded.
    pub(crate) fn new(alias: String, gauges: Arc<Gauges>, draining: CancellationToken) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        let (bodies, tokenising) = (places(BODIES), places(TOKENISING));
        Self {
            alias,
            gauges,
            loaded: OnceLock::new(),
            draining,
            bodies,
            tokenising,
        }
    }

    fn loaded(&self) -> Result<&Loaded, Failure> {
        self.loaded.get().ok_or(Failure::Loading)
    }

    /// Runs something that takes a while on a thread where it holds up no other connection.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        body: Held,
        work: impl FnOnce(&Loaded, &[u8]) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.tokenising)
            .acquire_owned()
            .await
            .map_err(|_| Failure::Draining)?;
        let desk = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the caller, who may leave before it is done.
            let _turn = turn;
            work(desk.loaded()?, &body.bytes)
        });
        let done = done.await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "reading a request panicked");
            Err(Failure::Inference)
        })
    }
}

/// Answers one request.
pub(crate) async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let reply = route(&desk, request).await;
    Ok(reply.unwrap_or_else(|failure| refuse(&desk, &failure)))
}

async fn route(desk: &Arc<Desk>, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let post = head.method == Method::POST;
    let get = head.method == Method::GET || head.method == Method::HEAD;
    match head.uri.path() {
        "/v1/chat/completions" if post => {
            chat_completions::answer(desk, &head.headers, read(desk, body).await?).await
        }
        "/count" | "/v1/chat/completions/count" if post => {
            inquiries::count(desk, read(desk, body).await?).await
        }
        "/apply-template" if post => inquiries::apply_template(desk, read(desk, body).await?).await,
        "/tokenize" if post => inquiries::tokenize(desk, read(desk, body).await?).await,
        "/v1/models" if get => inquiries::models(desk),
        "/health" if get => Ok(inquiries::health(desk)),
        "/metrics" if get => inquiries::metrics(desk),
        "/v1/chat/completions"
        | "/count"
        | "/v1/chat/completions/count"
        | "/apply-template"
        | "/tokenize"
        | "/v1/models"
        | "/health"
        | "/metrics" => Err(Failure::MethodNotAllowed),
        _ => Err(Failure::NotFound),
    }
}

/// Reads a whole body, within limits.
async fn read(desk: &Desk, body: Incoming) -> Result<Held, Failure> {
    // Refused before it is sent, where the caller waits for `100 Continue`.
    desk.loaded()?;
    if desk.draining.is_cancelled() {
        return Err(Failure::Draining);
    }
    let place = Arc::clone(&desk.bodies)
        .acquire_owned()
        .await
        .map_err(|_| Failure::Draining)?;
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(Held {
            bytes: body.to_bytes(),
            _place: place,
        }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::BodyTooLarge { limit: BODY_LIMIT }),
        Ok(Err(_)) | Err(_) => Err(Failure::BodyUnreadable),
    }
}

/// A reply that is one JSON value.
fn reply(value: &Value) -> Response<Body> {
    with_type(value.to_string().into(), "application/json")
}

fn with_type(bytes: Bytes, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The reply to a request that is not answered.
fn refuse(desk: &Desk, failure: &Failure) -> Response<Body> {
    let body = failure.body();
    let code = body["error"]["code"].as_str().unwrap_or_default();
    desk.gauges.refusals.with_label_values(&[code]).inc();
    let mut response = reply(&body);
    *response.status_mut() =
        StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = failure.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if *failure == Failure::MethodNotAllowed {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

/// A header's value, where it is there and plain text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// OpenAI's usage object.
fn usage(usage: crate::scheduler::Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.answer,
        "total_tokens": usage.prompt + usage.answer,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    })
}
