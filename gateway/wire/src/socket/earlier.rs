//! What a connection has said so far, for upstreams that keep nothing between requests.
//!
//! A caller of `openai-responses` over a WebSocket sends what is new and names the response that it goes on from.
//! The provider has that response; the on-prem model has not, so its input is put in front again, and all of it
//! is inspected again with what is new.
//!
//! Limits: the caller bounds the joined message as any other. One response is remembered, the last.
//! On failure: a response that is not remembered is not known, which the dialect has an error for.

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The last response of a connection with all that led to it.
#[derive(Default)]
pub struct Earlier {
    id: Option<String>,
    items: Vec<Value>,
}

impl std::fmt::Debug for Earlier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Earlier({} items)", self.items.len())
    }
}

impl Earlier {
    /// A message that goes on from the response `previous`, as one that stands for itself; `None` when that
    /// response is not remembered or the message is no object.
    #[must_use]
    pub fn join(&self, message: &[u8], previous: &str) -> Option<Bytes> {
        if self.id.as_deref() != Some(previous) {
            return None;
        }
        let mut message: Map<String, Value> = serde_json::from_slice(message).ok()?;
        let mut items = self.items.clone();
        items.extend(input_of(&message));
        message.shift_remove("previous_response_id");
        message.insert("input".into(), items.into());
        serde_json::to_vec(&message).ok().map(Bytes::from)
    }

    /// Remembers a response: the message that asked for it, and the event that closed it. Any other event
    /// changes nothing.
    pub fn remember(&mut self, asked: &[u8], event: &[u8]) {
        // Most events are small pieces of text; only the last of an answer is worth parsing.
        if memchr::memmem::find(event, b"response.completed").is_none() {
            return;
        }
        let (Ok(asked), Ok(closing)) = (
            serde_json::from_slice::<Map<String, Value>>(asked),
            serde_json::from_slice::<Value>(event),
        ) else {
            return;
        };
        let response = &closing["response"];
        if closing["type"] != "response.completed" {
            return;
        }
        self.id = response["id"].as_str().map(str::to_owned);
        self.items = input_of(&asked);
        self.items
            .extend(response["output"].as_array().into_iter().flatten().cloned());
    }
}

fn input_of(message: &Map<String, Value>) -> Vec<Value> {
    match message.get("input") {
        Some(Value::Array(items)) => items.clone(),
        Some(Value::String(text)) => vec![json!({"role": "user", "content": text})],
        _ => Vec::new(),
    }
}
