//! `POST /v1/chat/completions`.

use std::sync::Arc;

use futures_util::future::try_join_all;
use hyper::{HeaderMap, Response};
use llama_cpp_2::token::LlamaToken;
use serde_json::{Map, Value, json};

use super::{
    Body, Desk, Held,
    asking::{self, Whom},
    choice::{self, Choice, Part},
    events::{Events, Kind},
    letterhead::Letterhead,
    reply, usage,
};
use crate::{
    chat::{self, Answering},
    failure::Failure,
    form::Form,
    models::Loaded,
    scheduler::Usage,
    speech::Speech,
};

/// Answers, plain or streamed.
pub(super) async fn answer(
    desk: &Arc<Desk>,
    headers: &HeaderMap,
    body: Held,
) -> Result<Response<Body>, Failure> {
    let whom = Whom::of(headers);
    let model = body.model.clone();
    let Request {
        prompt,
        answering,
        forms,
        thinks,
    } = desk.aside(body, read).await?;
    let family = model.loaded.template.family();
    let mut choices = Vec::with_capacity(forms.len());
    for (number, form) in (0..).zip(forms) {
        let has_form = form.is_some();
        let pieces = whom.ask(&model, &answering, number, prompt.clone(), form)?;
        let speech = if answering.forced {
            Speech::forced()
        } else if has_form {
            // There is no place for marks in it.
            Speech::plain(String::new())
        } else {
            Speech::new(family, answering.tools.names(), thinks)
        };
        choices.push(Choice::new(pieces, speech));
    }
    let letterhead = Letterhead::new("chatcmpl", &model);
    let tells_odds = answering.report.is_some();
    if answering.stream {
        Events::reply(
            choices,
            letterhead,
            Kind::Chat,
            answering.include_usage,
            tells_odds,
        )
        .await
    } else {
        plain(choices, &letterhead, tells_odds).await
    }
}

/// A request, read.
struct Request {
    prompt: Vec<LlamaToken>,
    answering: Answering,
    /// The form of each answer, as many as are asked for.
    forms: Vec<Option<Form>>,
    /// Whether the prompt ends inside of reasoning.
    thinks: bool,
}

/// The request's prompt as tokens, and how to answer it.
fn read(loaded: &Loaded, body: &[u8]) -> Result<Request, Failure> {
    let weights = &loaded.weights;
    let mut chat = chat::read(body, weights.vocabulary_size(), asking::fresh_seed())?;
    let rendered = loaded.template.render(chat.conversation)?;
    asking::bound(loaded, rendered.text())?;
    let count = chat.answering.choices as usize;
    let forms = asking::forms(loaded, &mut chat.answering, count)?;
    Ok(Request {
        prompt: rendered.tokens(weights),
        thinks: rendered.thinks(),
        answering: chat.answering,
        forms,
    })
}

async fn plain(
    choices: Vec<Choice>,
    letterhead: &Letterhead,
    tells_odds: bool,
) -> Result<Response<Body>, Failure> {
    let wholes = try_join_all(choices.into_iter().map(choice::whole)).await?;
    let told = |(index, (part, reason, _)): (usize, &(Part, &str, Usage))| {
        let has_calls = !part.calls.is_empty();
        let mut message = Map::from_iter([
            ("role".to_owned(), "assistant".into()),
            ("content".to_owned(), part.content.as_str().into()),
            ("refusal".to_owned(), Value::Null),
        ]);
        if has_calls {
            message.insert("tool_calls".to_owned(), part.calls.clone().into());
            if part.content.is_empty() {
                message.insert("content".to_owned(), Value::Null);
            }
        }
        if !part.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), part.reasoning.as_str().into());
        }
        let logprobs = if tells_odds {
            choice::logprobs(&part.odds)
        } else {
            Value::Null
        };
        json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
    };
    let used: Vec<Usage> = wholes.iter().map(|(_, _, used)| *used).collect();
    Ok(reply(&json!({
        "id": letterhead.id,
        "object": "chat.completion",
        "created": letterhead.created,
        "model": letterhead.model,
        "choices": wholes.iter().enumerate().map(told).collect::<Vec<_>>(),
        "usage": usage(choice::sum(&used)),
    })))
}
