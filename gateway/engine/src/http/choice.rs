//! One of the answers to a request: pieces of text to what they say.

use std::task::{Context, Poll};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    failure::Failure,
    scheduler::{End, Likelihood, Odds, Piece, Usage},
    speech::{Call, Said, Speech},
};

/// An answer under way.
pub(super) struct Choice {
    pieces: UnboundedReceiver<Piece>,
    speech: Speech,
    /// Calls told so far.
    calls: usize,
}

/// What a piece says.
pub(super) enum Told {
    Part(Part),
    /// The last part, why it is the last, and what the answer took.
    End(Part, &'static str, Usage),
    Failed(Failure),
}

/// A part of an answer; any of it may be empty.
#[derive(Default)]
pub(super) struct Part {
    pub(super) content: String,
    pub(super) reasoning: String,
    /// Calls in OpenAI's form, but for their place among all.
    pub(super) calls: Vec<Value>,
    pub(super) odds: Vec<Odds>,
}

impl Part {
    fn of(said: Vec<Said>, odds: Vec<Odds>) -> Self {
        let mut part = Self {
            odds,
            ..Self::default()
        };
        for said in said {
            match said {
                Said::Content(text) => part.content.push_str(&text),
                Said::Reasoning(text) => part.reasoning.push_str(&text),
                Said::Call(call) => part.calls.push(told_call(&call)),
            }
        }
        part
    }
}

impl Choice {
    pub(super) fn new(pieces: UnboundedReceiver<Piece>, speech: Speech) -> Self {
        Self {
            pieces,
            speech,
            calls: 0,
        }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Told {
        let piece = self.pieces.recv().await;
        self.take(piece)
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        self.pieces.poll_recv(context).map(|piece| self.take(piece))
    }

    fn take(&mut self, piece: Option<Piece>) -> Told {
        match piece {
            Some(Piece::Text { text, odds }) => {
                let part = Part::of(self.speech.push(&text), odds);
                self.calls += part.calls.len();
                Told::Part(part)
            }
            Some(Piece::Done { end, usage, odds }) => {
                let part = Part::of(self.speech.finish(), odds);
                self.calls += part.calls.len();
                let reason = match end {
                    End::Stop if self.calls > 0 => "tool_calls",
                    End::Stop => "stop",
                    End::Length => "length",
                };
                Told::End(part, reason, usage)
            }
            Some(Piece::Refused(failure)) => Told::Failed(failure),
            None => Told::Failed(Failure::Inference),
        }
    }
}

/// All of an answer.
pub(super) async fn whole(mut choice: Choice) -> Result<(Part, &'static str, Usage), Failure> {
    let mut whole = Part::default();
    loop {
        let (part, end) = match choice.next().await {
            Told::Part(part) => (part, None),
            Told::End(part, reason, used) => (part, Some((reason, used))),
            Told::Failed(failure) => return Err(failure),
        };
        whole.content.push_str(&part.content);
        whole.reasoning.push_str(&part.reasoning);
        whole.calls.extend(part.calls);
        whole.odds.extend(part.odds);
        if let Some((reason, used)) = end {
            return Ok((whole, reason, used));
        }
    }
}

fn told_call(call: &Call) -> Value {
    json!({
        "id": format!("call_{}", uuid::Uuid::now_v7().simple()),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

/// Probabilities as OpenAI tells them.
pub(super) fn logprobs(odds: &[Odds]) -> Value {
    json!({"content": odds.iter().map(told_odds).collect::<Vec<_>>(), "refusal": null})
}

fn told_odds(odds: &Odds) -> Value {
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

/// Probabilities as `/v1/completions` tells them; `at` characters of the answer were told before.
pub(super) fn old_logprobs(odds: &[Odds], at: &mut usize) -> Value {
    let text = |likelihood: &Likelihood| String::from_utf8_lossy(&likelihood.bytes).into_owned();
    let mut offsets = Vec::with_capacity(odds.len());
    for one in odds {
        offsets.push(*at);
        *at += text(&one.chosen).chars().count();
    }
    let likeliest = |one: &Odds| -> Value {
        let entries = one
            .likeliest
            .iter()
            .map(|other| (text(other), Value::from(other.logprob.max(-9999.0))));
        Value::Object(entries.collect())
    };
    json!({
        "tokens": odds.iter().map(|one| text(&one.chosen)).collect::<Vec<_>>(),
        "token_logprobs": odds.iter().map(|one| one.chosen.logprob.max(-9999.0)).collect::<Vec<_>>(),
        "top_logprobs": odds.iter().map(likeliest).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// What all answers to a request took together: they share the prompt.
pub(super) fn sum(usages: &[Usage]) -> Usage {
    let mut sum = usages.first().copied().unwrap_or_default();
    sum.answer = usages.iter().map(|usage| usage.answer).sum();
    sum
}
