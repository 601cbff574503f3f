//! The endpoints that answer no chat: counting, tokenising, models, health, metrics.

use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Body, Desk, Failure, Held, reply, with_type};
use crate::{
    chat::{self, invalid},
    models::Known,
};

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

/// `GET /v1/models`: all names, and which of them are in memory.
pub(super) async fn models(desk: &Desk) -> Result<Response<Body>, Failure> {
    desk.ready()?;
    let told = |known: Known| {
        let (since, length) = known.loaded.unzip();
        json!({
            "id": &*known.name,
            "object": "model",
            "created": since.unwrap_or(0),
            "owned_by": "cordon",
            "parent": known.parent.as_deref(),
            "context_length": length,
            "status": if known.loaded.is_some() { "loaded" } else { "unloaded" },
        })
    };
    let all: Vec<Value> = desk.models.known().await.into_iter().map(told).collect();
    Ok(reply(&json!({"object": "list", "data": all})))
}

/// `POST /models/load` and `/models/unload`: `{"model"}`.
pub(super) async fn keep(desk: &Desk, name: Option<String>, loads: bool) -> Result<Response<Body>, Failure> {
    let name = name.ok_or_else(|| invalid("model", "must be a model's name"))?;
    if loads {
        desk.models.summon(&name).await?;
    } else {
        desk.models.dismiss(&name).await?;
    }
    Ok(reply(&json!({"success": true})))
}

/// `GET /health`: 200 when requests are answered, 503 while loading and draining, and when decoding hangs.
pub(super) async fn health(desk: &Desk) -> Response<Body> {
    let status = |word: &str| {
        let mut response = reply(&json!({"status": word}));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    if desk.draining.is_cancelled() {
        return status("draining");
    }
    if desk.ready().is_err() {
        return status("loading");
    }
    if desk.models.lost.is_cancelled() {
        return status("failed");
    }
    let (mut slots, mut busy, mut waiting) = (0, 0, 0);
    for (_, loaded) in desk.models.loaded().await {
        if loaded.scheduler.hangs() {
            return status("hangs");
        }
        let (now, later) = loaded.scheduler.load();
        slots += loaded.scheduler.slot_count();
        busy += now;
        waiting += later;
    }
    reply(&json!({"status": "ok", "slots": slots, "busy": busy, "waiting": waiting}))
}

/// `GET /slots`: what each conversation's place is at, without a word of it.
pub(super) async fn slots(desk: &Desk) -> Result<Response<Body>, Failure> {
    desk.ready()?;
    let mut all = Vec::new();
    for (name, loaded) in desk.models.loaded().await {
        let scheduler = &loaded.scheduler;
        for (id, slot) in scheduler.slots().into_iter().enumerate() {
            all.push(json!({
                "id": id,
                "model": &*name,
                "is_processing": slot.busy,
                "n_ctx": scheduler.slot_length(),
                "kept_tokens": slot.kept,
                "prompt_tokens": slot.usage.prompt,
                "cached_tokens": slot.usage.cached,
                "unread_tokens": slot.unread,
                "answer_tokens": slot.usage.answer,
            }));
        }
    }
    Ok(reply(&Value::from(all)))
}

/// `GET /metrics`: for Prometheus.
pub(super) fn metrics(desk: &Desk) -> Result<Response<Body>, Failure> {
    let text = desk.models.metrics().map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Failure::Inference
    })?;
    Ok(with_type(text.into(), "text/plain; version=0.0.4; charset=utf-8"))
}
