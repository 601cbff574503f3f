//! A streamed reply: what is said to server-sent events, in OpenAI's order.
//!
//! Of each answer first the role, then its parts, then why it ended; then the usage if it was asked for, then `[DONE]`.
//! Dropping the body, as hyper does when the caller leaves, drops the receivers, which frees the slots.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::Frame,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Body,
    choice::{self, Choice, Part, Told},
    letterhead::Letterhead,
    usage,
};
use crate::{failure::Failure, scheduler::Usage};

/// How long a reply's head waits for its first words. Callers give up on a head that does not come.
const HEAD: Duration = Duration::from_secs(10);

/// Whose events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a chat: deltas of messages.
    Chat,
    /// Of a completion: text.
    Text,
}

/// The body of a streamed reply.
pub(super) struct Events {
    kind: Kind,
    choices: Vec<Choosing>,
    letterhead: Letterhead,
    include_usage: bool,
    tells_odds: bool,
    /// Events made and not yet taken.
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// An answer under way, and what of it was told.
struct Choosing {
    choice: Choice,
    calls: usize,
    /// Characters whose probabilities were told.
    letters: usize,
    /// Set when it ended.
    used: Option<Usage>,
}

impl Events {
    /// The reply, once there is something to say or [`HEAD`] is over: what is refused before then gets a status of its own.
    pub(super) async fn reply(
        mut choices: Vec<Choice>,
        letterhead: Letterhead,
        kind: Kind,
        include_usage: bool,
        tells_odds: bool,
    ) -> Result<Response<Body>, Failure> {
        let first = match choices.first_mut() {
            None => return Err(Failure::Inference),
            Some(first) => timeout(HEAD, first.next()).await.ok(),
        };
        if let Some(Told::Failed(failure)) = first {
            return Err(failure);
        }
        let mut events = Self::new(choices, letterhead, kind, include_usage, tells_odds);
        if let Some(first) = first {
            events.take(0, first);
        }
        let mut response = Response::new(events.boxed());
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// A stream that has only its first events so far.
    fn new(
        choices: Vec<Choice>,
        letterhead: Letterhead,
        kind: Kind,
        include_usage: bool,
        tells_odds: bool,
    ) -> Self {
        let choices: Vec<_> = choices
            .into_iter()
            .map(|choice| Choosing {
                choice,
                calls: 0,
                letters: 0,
                used: None,
            })
            .collect();
        let mut events = Self {
            kind,
            choices,
            letterhead,
            include_usage,
            tells_odds,
            ready: VecDeque::new(),
            ended: false,
        };
        let first = if kind == Kind::Chat {
            events.choices.len()
        } else {
            0
        };
        for index in 0..first {
            let role = json!({"role": "assistant", "content": "", "refusal": null});
            events.delta(index, role, Value::Null, Value::Null);
        }
        events
    }

    fn delta(&mut self, index: usize, delta: Value, logprobs: Value, finish_reason: Value) {
        let choice = match self.kind {
            Kind::Chat => {
                json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason})
            }
            Kind::Text => {
                let text = delta["content"].as_str().unwrap_or_default();
                json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason})
            }
        };
        self.chunk(json!([choice]), Value::Null);
    }

    fn chunk(&mut self, choices: Value, usage: Value) {
        let mut chunk = json!({
            "id": self.letterhead.id,
            "object": if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" },
            "created": self.letterhead.created,
            "model": self.letterhead.model,
            "choices": choices,
        });
        // With usage asked for, every chunk has the field, and only the last one a value.
        if self.include_usage {
            chunk["usage"] = usage;
        }
        self.event(&chunk.to_string());
    }

    fn event(&mut self, data: &str) {
        self.ready.push_back(Bytes::from(format!("data: {data}\n\n")));
    }

    fn fail(&mut self, failure: &Failure) {
        self.event(&failure.body().to_string());
        self.ended = true;
    }

    fn part(&mut self, index: usize, part: Part) {
        let mut odds = part.odds;
        let (kind, tells) = (self.kind, self.tells_odds);
        let mut told = self.choices[index].letters;
        let mut logprobs = || {
            // With the first delta of the part, whatever it is: the tokens are the same.
            let odds = std::mem::take(&mut odds);
            match kind {
                _ if !tells || odds.is_empty() => Value::Null,
                Kind::Chat => choice::logprobs(&odds),
                Kind::Text => choice::old_logprobs(&odds, &mut told),
            }
        };
        let mut deltas = Vec::new();
        if !part.reasoning.is_empty() {
            deltas.push((json!({"reasoning_content": part.reasoning}), logprobs()));
        }
        if !part.content.is_empty() {
            deltas.push((json!({"content": part.content}), logprobs()));
        }
        for mut call in part.calls {
            call["index"] = self.choices[index].calls.into();
            self.choices[index].calls += 1;
            deltas.push((json!({"tool_calls": [call]}), Value::Null));
        }
        let rest = logprobs();
        if !rest.is_null() {
            deltas.push((json!({}), rest));
        }
        self.choices[index].letters = told;
        for (delta, logprobs) in deltas {
            self.delta(index, delta, logprobs, Value::Null);
        }
    }

    /// Adds what follows on something that was told.
    fn take(&mut self, index: usize, told: Told) {
        match told {
            Told::Part(part) => self.part(index, part),
            Told::End(part, reason, used) => {
                self.part(index, part);
                self.delta(index, json!({}), Value::Null, reason.into());
                self.choices[index].used = Some(used);
                let used: Option<Vec<Usage>> = self.choices.iter().map(|choosing| choosing.used).collect();
                if let Some(used) = used {
                    if self.include_usage {
                        self.chunk(json!([]), usage(choice::sum(&used)));
                    }
                    self.event("[DONE]");
                    self.ended = true;
                }
            }
            Told::Failed(failure) => self.fail(&failure),
        }
    }

    /// Takes what any of the answers has to say. `Pending` when none has.
    fn poll_choices(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for index in 0..self.choices.len() {
            if self.choices[index].used.is_some() {
                continue;
            }
            if let Poll::Ready(told) = self.choices[index].choice.poll_next(context) {
                self.take(index, told);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.poll_choices(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        scheduler::{End, Piece},
        speech::{Family, Speech},
    };

    async fn stream(answers: Vec<Vec<Piece>>, include_usage: bool) -> Vec<Value> {
        let choice = |pieces: Vec<Piece>| {
            let (out, receiver) = mpsc::unbounded_channel();
            for piece in pieces {
                out.send(piece).unwrap();
            }
            Choice::new(
                receiver,
                Speech::new(Family::Hermes, ["a", "b"].map(str::to_owned).into(), false),
            )
        };
        let choices = answers.into_iter().map(choice).collect();
        let letterhead = Letterhead {
            id: "chatcmpl-1".to_owned(),
            created: 1,
            model: "m".to_owned(),
        };
        let body = Events::new(choices, letterhead, Kind::Chat, include_usage, false)
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"));
        let data = text
            .trim_end()
            .split("\n\n")
            .map(|event| event.strip_prefix("data: ").unwrap());
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
            .collect()
    }

    fn text(text: &str) -> Piece {
        Piece::Text {
            text: text.to_owned(),
            odds: Vec::new(),
        }
    }

    fn done(answer: usize) -> Piece {
        let usage = Usage {
            prompt: 5,
            cached: 0,
            answer,
        };
        Piece::Done {
            end: End::Stop,
            usage,
            odds: Vec::new(),
        }
    }

    #[tokio::test]
    async fn answers_and_calls_have_their_numbers() {
        let calls = "<tool_call>{\"name\":\"a\"}</tool_call><tool_call>{\"name\":\"b\"}</tool_call>";
        let events = stream(vec![vec![text(calls), done(3)], vec![text("Hi"), done(4)]], true).await;
        let calls: Vec<_> = events
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["tool_calls"][0].as_object())
            .map(|call| (call["index"].as_u64().unwrap(), call["function"]["name"].clone()))
            .collect();
        assert_eq!(calls, [(0, "a".into()), (1, "b".into())]);
        let ends: Vec<_> = events
            .iter()
            .filter(|event| event["choices"][0]["finish_reason"].is_string())
            .map(|event| {
                (
                    event["choices"][0]["index"].clone(),
                    event["choices"][0]["finish_reason"].clone(),
                )
            })
            .collect();
        assert_eq!(ends, [(0.into(), "tool_calls".into()), (1.into(), "stop".into())]);
        assert_eq!(events[events.len() - 2]["usage"]["completion_tokens"], 7);
    }

    #[tokio::test]
    async fn events_come_in_openais_order() {
        let used = Usage {
            prompt: 5,
            cached: 2,
            answer: 3,
        };
        let pieces = vec![
            text("Hi"),
            Piece::Done {
                end: End::Length,
                usage: used,
                odds: Vec::new(),
            },
        ];
        let events = stream(vec![pieces], true).await;
        assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(events[1]["choices"][0]["delta"], json!({"content": "Hi"}));
        assert_eq!(events[1]["usage"], Value::Null);
        assert_eq!(events[2]["choices"][0]["finish_reason"], "length");
        assert_eq!(events[3]["choices"], json!([]));
        assert_eq!(events[3]["usage"]["total_tokens"], 8);
        assert_eq!(events[3]["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
        assert_eq!(events[4], "[DONE]");
        assert_eq!(events.len(), 5);
    }

    #[tokio::test]
    async fn a_lost_answer_ends_in_an_error_and_no_done() {
        let events = stream(vec![vec![text("Hi")]], false).await;
        assert_eq!(events.last().unwrap()["error"]["code"], "inference_failed");
        assert!(!events.contains(&Value::from("[DONE]")));
    }
}
