//! The endpoints that answer no chat: counting, tokenising, models, health, metrics.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Desk, Failure, Held, reply, with_type};
use crate::chat::{self, invalid};

/// `POST /count`: prompt tokens of a chat request, however long.
pub(super) async fn count(desk: &Arc<Desk>, body: Held) -> Result<Response<Body>, Failure> {
    let tokens = desk
        .aside(body, |loaded, body| {
            let chat = chat::read(body, loaded.weights.vocabulary_size(), 0)?;
            Ok(loaded
                .template
                .render(chat.conversation)?
                .tokens(&loaded.weights)
                .len())
        })
        .await?;
    Ok(reply(&json!({"input_tokens": tokens})))
}

/// `POST /apply-template`: what the model would read, as text and as tokens.
pub(super) async fn apply_template(desk: &Arc<Desk>, body: Held) -> Result<Response<Body>, Failure> {
    let answer = desk
        .aside(body, |loaded, body| {
            let chat = chat::read(body, loaded.weights.vocabulary_size(), 0)?;
            let rendered = loaded.template.render(chat.conversation)?;
            let tokens: Vec<i32> = rendered
                .tokens(&loaded.weights)
                .iter()
                .map(|token| token.0)
                .collect();
            Ok(json!({"prompt": rendered.text(), "tokens": tokens}))
        })
        .await?;
    Ok(reply(&answer))
}

/// `POST /tokenize`: `{"content"}` to `{"tokens"}`; `"parse_special": true` reads control tokens.
pub(super) async fn tokenize(desk: &Arc<Desk>, body: Held) -> Result<Response<Body>, Failure> {
    let answer = desk
        .aside(body, |loaded, body| {
            let fields = chat::object(body)?;
            let Some(Value::String(content)) = fields.get("content") else {
                return Err(invalid("content", "must be a string"));
            };
            let control = fields
                .get("parse_special")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            let tokens: Vec<i32> = loaded
                .weights
                .tokenise(content, control)
                .iter()
                .map(|token| token.0)
                .collect();
            Ok(json!({"tokens": tokens}))
        })
        .await?;
    Ok(reply(&answer))
}

/// `GET /v1/models`: the one that is loaded.
pub(super) fn models(desk: &Desk) -> Result<Response<Body>, Failure> {
    let loaded = desk.loaded()?;
    Ok(reply(&json!({
        "object": "list",
        "data": [{
            "id": desk.alias,
            "object": "model",
            "created": loaded.since,
            "owned_by": "cordon",
            "context_length": loaded.scheduler.slot_length(),
        }],
    })))
}

/// `GET /health`: 200 when requests are answered, 503 while loading and draining, and when decoding hangs.
pub(super) fn health(desk: &Desk) -> Response<Body> {
    let status = |word: &str| {
        let mut response = reply(&json!({"status": word}));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    if desk.draining.is_cancelled() {
        return status("draining");
    }
    match desk.loaded() {
        Err(_) => status("loading"),
        Ok(loaded) if loaded.scheduler.lost().is_cancelled() => status("failed"),
        Ok(loaded) if loaded.scheduler.hangs() => status("hangs"),
        Ok(loaded) => {
            let (busy, waiting) = loaded.scheduler.load();
            reply(
                &json!({"status": "ok", "slots": desk.gauges.slots.get(), "busy": busy, "waiting": waiting}),
            )
        }
    }
}

/// `GET /metrics`: for Prometheus.
pub(super) fn metrics(desk: &Desk) -> Result<Response<Body>, Failure> {
    let text = desk.gauges.text().map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Failure::Inference
    })?;
    Ok(with_type(text.into(), "text/plain; version=0.0.4; charset=utf-8"))
}
