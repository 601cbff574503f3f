//! The endpoints: from a request's bytes to a reply's.
//!
//! `POST /v1/chat/completions` answers, plain or streamed; `POST /v1/completions` goes on from a text. `POST /count` takes a chat's body and
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

mod asking;
mod chat_completions;
mod choice;
mod completions;
mod embeddings;
mod events;
mod inquiries;
mod letterhead;

use std::{convert::Infallible, sync::Arc, time::Duration};

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
    chat::BODY_LIMIT,
    failure::Failure,
    models::{Chosen, Loaded, Models},
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
    pub(crate) models: Arc<Models>,
    pub(crate) draining: CancellationToken,
    bodies: Arc<Semaphore>,
    tokenising: Arc<Semaphore>,
}

/// A request's body, the model that it asks for, and its place among those that are held.
pub(crate) struct Held {
    bytes: Bytes,
    model: Chosen,
    _place: OwnedSemaphorePermit,
}

impl Desk {
    /// Before anything is loaded.
    pub(crate) fn new(models: Arc<Models>, draining: CancellationToken) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        let (bodies, tokenising) = (places(BODIES), places(TOKENISING));
        Self {
            models,
            draining,
            bodies,
            tokenising,
        }
    }

    fn ready(&self) -> Result<(), Failure> {
        if self.models.is_ready() {
            Ok(())
        } else {
            Err(Failure::Loading)
        }
    }

    /// Runs something that takes a while on a thread where it holds up no other connection.
    async fn aside<T: Send + 'static>(
        &self,
        body: Held,
        work: impl FnOnce(&Loaded, &[u8]) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.tokenising)
            .acquire_owned()
            .await
            .map_err(|_| Failure::Draining)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the caller, who may leave before it is done.
            let _turn = turn;
            work(&body.model.loaded, &body.bytes)
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
        "/v1/completions" if post => completions::answer(desk, &head.headers, read(desk, body).await?).await,
        "/v1/embeddings" | "/embeddings" if post => embeddings::embed(desk, read(desk, body).await?).await,
        "/v1/rerank" | "/rerank" if post => embeddings::rerank(desk, read(desk, body).await?).await,
        "/count" | "/v1/chat/completions/count" if post => {
            inquiries::count(desk, read(desk, body).await?).await
        }
        "/apply-template" if post => inquiries::apply_template(desk, read(desk, body).await?).await,
        "/tokenize" if post => inquiries::tokenize(desk, read(desk, body).await?).await,
        "/v1/models" if get => inquiries::models(desk).await,
        "/models/load" | "/models/unload" if post => {
            let name = named(&whole(desk, body).await?.0);
            inquiries::keep(desk, name, head.uri.path() == "/models/load").await
        }
        "/health" if get => Ok(inquiries::health(desk).await),
        "/slots" if get => inquiries::slots(desk).await,
        "/metrics" if get => inquiries::metrics(desk),
        "/v1/chat/completions"
        | "/v1/completions"
        | "/v1/embeddings"
        | "/embeddings"
        | "/v1/rerank"
        | "/rerank"
        | "/count"
        | "/v1/chat/completions/count"
        | "/apply-template"
        | "/tokenize"
        | "/v1/models"
        | "/models/load"
        | "/models/unload"
        | "/health"
        | "/slots"
        | "/metrics" => Err(Failure::MethodNotAllowed),
        _ => Err(Failure::NotFound),
    }
}

/// Reads a whole body, within limits, and has the model ready that it asks for.
async fn read(desk: &Desk, body: Incoming) -> Result<Held, Failure> {
    let (bytes, place) = whole(desk, body).await?;
    let model = desk.models.choose(named(&bytes).as_deref()).await?;
    Ok(Held {
        bytes,
        model,
        _place: place,
    })
}

/// Reads a whole body, within limits.
async fn whole(desk: &Desk, body: Incoming) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
    // Refused before it is sent, where the caller waits for `100 Continue`.
    desk.ready()?;
    if desk.draining.is_cancelled() {
        return Err(Failure::Draining);
    }
    let place = Arc::clone(&desk.bodies)
        .acquire_owned()
        .await
        .map_err(|_| Failure::Draining)?;
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok((body.to_bytes(), place)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::BodyTooLarge { limit: BODY_LIMIT }),
        Ok(Err(_)) | Err(_) => Err(Failure::BodyUnreadable),
    }
}

/// The model that a body asks for; what is wrong with the body is said by who reads all of it.
fn named(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    serde_json::from_slice::<Named>(body).ok()?.model
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
    desk.models.refused(code);
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
