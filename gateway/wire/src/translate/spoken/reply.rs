//! What a reply says, as `openai-chat` writes it, whole or in chunks.

use serde_json::{Value, json};

use crate::translate::{
    reasoning::Name,
    reply::{Call, Head, Reply, Stop, Tokens, UpstreamError},
    stream::{data, openai_error},
};

/// A reply's head, of the upstream's own id.
pub(super) fn head(id: Option<&Value>, created: u64) -> Head {
    let id = id.and_then(Value::as_str).unwrap_or_default();
    let id = id.strip_prefix("msg_").unwrap_or(id);
    Head::read(&json!({"id": id, "created": created}))
}

pub(super) fn whole(reply: &Reply, model: &str) -> Value {
    let words = reply.words();
    let content = if words.is_empty() && !reply.calls.is_empty() {
        Value::Null
    } else {
        words.into()
    };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !reply.reasoning.is_empty() {
        message[reply.reasoning.name.as_str()] = reply.reasoning.text.as_str().into();
    }
    if !reply.calls.is_empty() {
        message["tool_calls"] = reply.calls.iter().map(call).collect();
    }
    let mut choice = json!({"index": 0, "message": message, "logprobs": null});
    end(&mut choice, &reply.stop);
    let mut answer = answer("chat.completion", &reply.head, model, json!([choice]));
    answer["usage"] = usage(reply.usage);
    answer
}

fn answer(object: &str, head: &Head, model: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", head.id),
        "object": object,
        "created": head.created,
        "model": model,
        "choices": choices,
    })
}

fn call(call: &Call) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

/// Says why a choice ends. Which stop sequence it was is told as vLLM tells it.
fn end(choice: &mut Value, stop: &Stop) {
    choice["finish_reason"] = match stop {
        Stop::End | Stop::Refused | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
        Stop::Filtered => "content_filter",
    }
    .into();
    if let Stop::Sequence(sequence) = stop {
        choice["stop_reason"] = sequence.as_str().into();
    }
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input.saturating_add(tokens.output),
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    })
}

/// Writes the chunks of a streamed reply, in their order.
pub(super) struct Chunks {
    created: u64,
    head: Option<Head>,
    model: String,
    calls: u64,
}

impl Chunks {
    pub(super) fn new(created: u64) -> Self {
        Self {
            created,
            head: None,
            model: String::new(),
            calls: 0,
        }
    }

    /// The reply begins; further beginnings are none.
    pub(super) fn start(&mut self, id: Option<&Value>, model: Option<&Value>, out: &mut Vec<u8>) {
        if self.head.is_some() {
            return;
        }
        self.head = Some(head(id, self.created));
        self.model = model.and_then(Value::as_str).unwrap_or_default().to_owned();
        self.delta(json!({"role": "assistant", "content": ""}), out);
    }

    /// A sign of life.
    #[expect(clippy::unused_self, reason = "it is one of the writer's pieces")]
    pub(super) fn thinking(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": thinking\n\n");
    }

    /// More of what the model thinks.
    pub(super) fn reasoning(&self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            self.thinking(out);
        } else {
            self.delta(json!({Name::default().as_str(): text}), out);
        }
    }

    pub(super) fn text(&self, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.delta(json!({"content": text}), out);
        }
    }

    /// A call begins; one without an id gets one.
    pub(super) fn call(&mut self, id: &str, name: &str, out: &mut Vec<u8>) {
        let id = match (&self.head, id) {
            (Some(head), "") => head.call_id(self.calls),
            _ => id.to_owned(),
        };
        let begun = json!({
            "index": self.calls,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": ""},
        });
        self.calls += 1;
        self.delta(json!({"tool_calls": [begun]}), out);
    }

    /// More of the latest call's arguments.
    pub(super) fn arguments(&self, source: &str, out: &mut Vec<u8>) {
        let more = json!({"index": self.calls.saturating_sub(1), "function": {"arguments": source}});
        self.delta(json!({"tool_calls": [more]}), out);
    }

    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// The reply is whole.
    pub(super) fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        let mut choice = json!({"index": 0, "delta": {}, "logprobs": null});
        end(&mut choice, stop);
        self.chunk(json!([choice]), None, out);
        self.chunk(json!([]), Some(tokens), out);
        data("[DONE]", out);
    }

    #[expect(clippy::unused_self, reason = "it is one of the writer's pieces")]
    pub(super) fn fail(&self, error: &UpstreamError, out: &mut Vec<u8>) {
        data(openai_error(error).to_string(), out);
    }

    fn delta(&self, delta: Value, out: &mut Vec<u8>) {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
        self.chunk(json!([choice]), None, out);
    }

    fn chunk(&self, choices: Value, tokens: Option<Tokens>, out: &mut Vec<u8>) {
        let unnamed = Head::unnamed();
        let head = self.head.as_ref().unwrap_or(&unnamed);
        let mut chunk = answer("chat.completion.chunk", head, &self.model, choices);
        if let Some(tokens) = tokens {
            chunk["usage"] = usage(tokens);
        }
        data(chunk.to_string(), out);
    }
}
