//! `POST /v1/chat/completions`.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Body, Desk, Held, Loaded, events::Events, header, reply, usage};
use crate::{
    chat::{self, Answering},
    failure::Failure,
    form::{Form, Forms},
    scheduler::{Ask, End, Likelihood, Odds, Piece},
};

/// Longest salt that is looked at.
const SALT_LENGTH: usize = 256;

/// What all parts of one reply carry.
#[derive(Clone, Debug)]
pub(super) struct Letterhead {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
}

/// Answers, plain or streamed.
pub(super) async fn answer(
    desk: &Arc<Desk>,
    headers: &HeaderMap,
    body: Held,
) -> Result<Response<Body>, Failure> {
    let exchange = header(headers, "x-cordon-exchange").and_then(|id| id.parse().ok());
    let salt = header(headers, "x-cordon-cache-salt")
        .filter(|salt| salt.len() <= SALT_LENGTH)
        .map(str::to_owned);
    let Request {
        prompt,
        answering,
        form,
    } = desk.aside(body, read).await?;
    let Answering {
        stream,
        include_usage,
        sampling,
        answer_limit,
        stops,
        reuse,
        schema: _,
        report,
    } = answering;
    let pieces = desk.loaded()?.scheduler.submit(Ask {
        prompt,
        sampling,
        stops,
        answer_limit,
        reuse,
        form,
        report,
        salt,
        exchange,
    })?;
    let letterhead = Letterhead {
        id: format!("chatcmpl-{}", uuid::Uuid::now_v7().simple()),
        created: OffsetDateTime::now_utc().unix_timestamp(),
        model: desk.alias.clone(),
    };
    if stream {
        Ok(streamed(Events::new(pieces, letterhead, include_usage)))
    } else {
        plain(pieces, &letterhead, report.is_some()).await
    }
}

/// A request, read.
struct Request {
    prompt: Vec<llama_cpp_2::token::LlamaToken>,
    answering: Answering,
    form: Option<Form>,
}

/// The request's prompt as tokens, and how to answer it.
fn read(loaded: &Loaded, body: &[u8]) -> Result<Request, Failure> {
    let weights = &loaded.weights;
    let mut chat = chat::read(body, weights.vocabulary_size(), fresh_seed())?;
    let rendered = loaded.template.render(chat.conversation)?;
    // Far too much text is refused without being tokenised.
    let limit = loaded.scheduler.slot_length();
    let least = rendered.text().len() / weights.longest_piece();
    if least > limit {
        return Err(Failure::ContextLength {
            tokens: least,
            exact: false,
            limit,
        });
    }
    let form = match chat.answering.schema.take() {
        Some(schema) => Some(forms(loaded)?.of_schema(schema)?),
        None => None,
    };
    Ok(Request {
        prompt: rendered.tokens(weights),
        answering: chat.answering,
        form,
    })
}

/// What forms are made from, made at its first use: most engines are never asked for one.
fn forms(loaded: &Loaded) -> Result<&Forms, Failure> {
    if let Some(forms) = loaded.forms.get() {
        return Ok(forms);
    }
    let made = Forms::new(&loaded.weights).map_err(|error| {
        tracing::error!(%error, "answers in a set form are not possible with these weights");
        Failure::Unsupported {
            param: "response_format".to_owned(),
            why: "these weights have no usable vocabulary for it",
        }
    })?;
    // Another request may have been first; both are the same.
    Ok(loaded.forms.get_or_init(|| made))
}

fn fresh_seed() -> u32 {
    // Without randomness from the system the answer is merely the same each time.
    getrandom::u32().unwrap_or(0)
}

async fn plain(
    mut pieces: UnboundedReceiver<Piece>,
    letterhead: &Letterhead,
    tells_odds: bool,
) -> Result<Response<Body>, Failure> {
    let mut text = String::new();
    loop {
        match pieces.recv().await {
            Some(Piece::Text(piece)) => text.push_str(&piece),
            Some(Piece::Done {
                end,
                usage: used,
                odds,
            }) => {
                let logprobs = if tells_odds {
                    json!({"content": odds.iter().map(told).collect::<Vec<_>>(), "refusal": null})
                } else {
                    Value::Null
                };
                return Ok(reply(&json!({
                    "id": letterhead.id,
                    "object": "chat.completion",
                    "created": letterhead.created,
                    "model": letterhead.model,
                    "choices": [{
                        "index": 0,
                        "message": {"role": "assistant", "content": text, "refusal": null},
                        "logprobs": logprobs,
                        "finish_reason": finish_reason(end),
                    }],
                    "usage": usage(used),
                })));
            }
            None => return Err(Failure::Inference),
        }
    }
}

/// A token of the answer as OpenAI tells it.
fn told(odds: &Odds) -> Value {
    let one = |likelihood: &Likelihood| {
        json!({
            "token": String::from_utf8_lossy(&likelihood.bytes),
            // JSON has no infinity; this is OpenAI's word for it.
            "logprob": likelihood.logprob.max(-9999.0),
            "bytes": likelihood.bytes,
        })
    };
    let mut told = one(&odds.chosen);
    told["top_logprobs"] = odds.likeliest.iter().map(one).collect();
    told
}

fn streamed(events: Events) -> Response<Body> {
    let mut response = Response::new(events.boxed());
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// OpenAI's word for why an answer ended.
pub(super) fn finish_reason(end: End) -> &'static str {
    match end {
        End::Stop => "stop",
        End::Length => "length",
    }
}
