//! A streamed reply: pieces to server-sent events, in OpenAI's order.
//!
//! First the role, then text, then why it ended, then the usage if it was asked for, then `[DONE]`.
//! Dropping the body, as hyper does when the caller leaves, drops the receiver, which frees the slot.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    chat_completions::{Letterhead, finish_reason},
    usage,
};
use crate::{failure::Failure, scheduler::Piece};

/// The body of a streamed reply.
pub(super) struct Events {
    pieces: UnboundedReceiver<Piece>,
    letterhead: Letterhead,
    include_usage: bool,
    /// Events made and not yet taken.
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Events {
    /// A stream that has only its first event so far.
    pub(super) fn new(pieces: UnboundedReceiver<Piece>, letterhead: Letterhead, include_usage: bool) -> Self {
        let mut events = Self {
            pieces,
            letterhead,
            include_usage,
            ready: VecDeque::new(),
            ended: false,
        };
        events.choice(
            json!({"role": "assistant", "content": "", "refusal": null}),
            Value::Null,
        );
        events
    }

    fn choice(&mut self, delta: Value, finish_reason: Value) {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.chunk(json!([choice]), Value::Null);
    }

    fn chunk(&mut self, choices: Value, usage: Value) {
        let mut chunk = json!({
            "id": self.letterhead.id,
            "object": "chat.completion.chunk",
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

    fn take(&mut self, piece: Option<Piece>) {
        match piece {
            Some(Piece::Text(text)) => self.choice(json!({"content": text}), Value::Null),
            Some(Piece::Done { end, usage: used, .. }) => {
                self.choice(json!({}), finish_reason(end).into());
                if self.include_usage {
                    self.chunk(json!([]), usage(used));
                }
                self.event("[DONE]");
                self.ended = true;
            }
            None => {
                let failure = Failure::Inference.body().to_string();
                self.event(&failure);
                self.ended = true;
            }
        }
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
            let piece = ready!(self.pieces.poll_recv(context));
            self.take(piece);
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
    use crate::scheduler::{End, Usage};

    async fn stream(pieces: Vec<Piece>, include_usage: bool) -> Vec<Value> {
        let (out, receiver) = mpsc::unbounded_channel();
        for piece in pieces {
            out.send(piece).unwrap();
        }
        drop(out);
        let letterhead = Letterhead {
            id: "chatcmpl-1".to_owned(),
            created: 1,
            model: "m".to_owned(),
        };
        let body = Events::new(receiver, letterhead, include_usage)
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

    #[tokio::test]
    async fn events_come_in_openais_order() {
        let used = Usage {
            prompt: 5,
            cached: 2,
            answer: 3,
        };
        let pieces = vec![
            Piece::Text("Hi".to_owned()),
            Piece::Done {
                end: End::Length,
                usage: used,
                odds: Vec::new(),
            },
        ];
        let events = stream(pieces, true).await;
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
        let events = stream(vec![Piece::Text("Hi".to_owned())], false).await;
        assert_eq!(events.last().unwrap()["error"]["code"], "inference_failed");
        assert!(!events.contains(&Value::from("[DONE]")));
    }
}
