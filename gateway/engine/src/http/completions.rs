//! `POST /v1/completions`: text that goes on from a text, with no conversation around it.
//!
//! Each prompt gets `n` answers, numbered in the order of the prompts. A prompt may hold control tokens: whoever asks here writes
//! for the model and not for a template.

use std::sync::Arc;

use futures_util::future::try_join_all;
use hyper::{HeaderMap, Response};
use llama_cpp_2::token::LlamaToken;
use serde_json::{Value, json};

use super::{
    Body, Desk, Held,
    asking::{self, Whom},
    choice::{self, Choice},
    events::{Events, Kind},
    letterhead::Letterhead,
    reply, usage,
};
use crate::{
    chat::{
        Answering,
        completion::{self, Completion, Prompt},
    },
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
        prompts,
        answering,
        forms,
    } = desk.aside(body, read).await?;
    let mut choices = Vec::with_capacity(forms.len());
    let mut forms = forms.into_iter();
    let each = (0..).zip(
        prompts
            .iter()
            .flat_map(|prompt| (0..answering.choices).map(move |_| prompt)),
    );
    for (number, prompt) in each {
        let form = forms.next().flatten();
        let pieces = whom.ask(&model, &answering, number, prompt.tokens.clone(), form)?;
        choices.push(Choice::new(pieces, Speech::plain(prompt.echo.clone())));
    }
    let letterhead = Letterhead::new("cmpl", &model);
    let tells_odds = answering.report.is_some();
    if answering.stream {
        Events::reply(
            choices,
            letterhead,
            Kind::Text,
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
    prompts: Vec<Opening>,
    answering: Answering,
    forms: Vec<Option<Form>>,
}

/// What an answer goes on from.
struct Opening {
    tokens: Vec<LlamaToken>,
    /// What is said of it before the answer.
    echo: String,
}

fn read(loaded: &Loaded, body: &[u8]) -> Result<Request, Failure> {
    let weights = &loaded.weights;
    let Completion {
        prompts,
        mut answering,
        echo,
    } = completion::read(body, weights.vocabulary_size(), asking::fresh_seed())?;
    let mut openings = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let (tokens, text) = match prompt {
            Prompt::Text(text) => {
                asking::bound(loaded, &text)?;
                let opening = weights.opening_token().into_iter();
                (opening.chain(weights.tokenise(&text, true)).collect(), text)
            }
            Prompt::Tokens(tokens) => {
                let tokens: Vec<_> = tokens.into_iter().map(LlamaToken).collect();
                let mut text = Vec::new();
                tokens.iter().for_each(|&token| weights.piece(token, &mut text));
                (tokens, String::from_utf8_lossy(&text).into_owned())
            }
        };
        openings.push(Opening {
            tokens,
            echo: if echo { text } else { String::new() },
        });
    }
    let count = openings.len() * answering.choices as usize;
    let forms = asking::forms(loaded, &mut answering, count)?;
    Ok(Request {
        prompts: openings,
        answering,
        forms,
    })
}

async fn plain(
    choices: Vec<Choice>,
    letterhead: &Letterhead,
    tells_odds: bool,
) -> Result<Response<Body>, Failure> {
    let wholes = try_join_all(choices.into_iter().map(choice::whole)).await?;
    let told: Vec<Value> = wholes
        .iter()
        .enumerate()
        .map(|(index, (part, reason, _))| {
            let logprobs = if tells_odds {
                choice::old_logprobs(&part.odds, &mut 0)
            } else {
                Value::Null
            };
            json!({"index": index, "text": part.content, "logprobs": logprobs, "finish_reason": reason})
        })
        .collect();
    let used: Vec<Usage> = wholes.iter().map(|(_, _, used)| *used).collect();
    Ok(reply(&json!({
        "id": letterhead.id,
        "object": "text_completion",
        "created": letterhead.created,
        "model": letterhead.model,
        "choices": told,
        "usage": usage(choice::sum(&used)),
    })))
}
