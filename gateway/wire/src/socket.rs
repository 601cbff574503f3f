//! Messages of the dialects that are spoken over a WebSocket: `openai-responses`, `openai-realtime`, and those that a
//! file describes.
//!
//! A caller's message is a JSON object whose `type` says what it is for. In `openai-responses` the rest of a
//! `response.create` is the body that is else posted; in `openai-realtime` a session is told and asked piece by
//! piece. A described message is what a body posted there would be. An upstream's message is what a stream's event carries (see
//! [`StreamEditor::message`](crate::StreamEditor::message)).
//!
//! Limits: [`Limits`]. On failure: a [`DecodeError`], and the message goes nowhere.

use bytes::Bytes;
use cordon_domain::Dialect;
use serde_json::{Map, Value, json};

use crate::{
    DecodeError, Endpoint, Limits, Operation, RequestBody, TranslateError, decode_as, endpoint,
    json::{Kind, Value as Scanned},
    request::{read, shape},
    sse,
};

mod earlier;
pub use earlier::Earlier;

/// The endpoint of a WebSocket in a dialect that is built in.
///
/// It is known where the same is known to be posted, by the tables of [`endpoint`](crate::endpoint()).
pub(crate) fn socket_endpoint(host: Option<&str>, path: &str) -> Option<Endpoint> {
    let known = |method: &str, dialect: Dialect| {
        endpoint(method, host, path)
            .filter(|found| found.dialect == dialect && found.operation == Operation::Generate)
    };
    known("POST", Dialect::OpenaiResponses).or_else(|| known("GET", Dialect::OpenaiRealtime))
}

/// What a caller's message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// An answer of the model.
    Answer,
    /// Something is told or changed; no answer of the model comes of it.
    Nothing,
    /// Sound is handed over, and nothing else.
    Sound,
}

/// A caller's message.
#[derive(Debug)]
pub struct ClientMessage {
    /// Its texts. Sound is none of them.
    pub body: RequestBody,
    /// What it is for.
    pub wants: Wants,
    /// Whether it holds sound, beside texts or alone.
    pub sound: bool,
    /// The answer that it goes on from.
    pub previous: Option<String>,
    /// Whether words are wanted; a message may ask that the rest be made ready for the next.
    pub generate: bool,
    /// The caller's own name for it, to be said back with an error.
    pub event: Option<String>,
}

/// The longest id that is remembered.
const ID_BYTES: usize = 256;

/// Reads a caller's message.
///
/// # Errors
/// When it is over a limit, is not strict JSON, or has not the shape of its type.
pub fn decode_message(
    endpoint: Endpoint,
    message: Bytes,
    limits: &Limits,
) -> Result<ClientMessage, DecodeError> {
    if message.len() > limits.max_body {
        return Err(DecodeError::BodyTooLarge {
            limit: limits.max_body,
        });
    }
    if endpoint.shape.is_some() {
        return Ok(ClientMessage {
            body: decode_as(endpoint, None, message, limits)?,
            wants: Wants::Nothing,
            sound: false,
            previous: None,
            generate: true,
            event: None,
        });
    }
    let mut head = Head::default();
    let body = read(endpoint, message, limits, |root| {
        head = Head::of(endpoint, root)?;
        Ok(())
    })?;
    Ok(ClientMessage {
        body,
        wants: head.wants.unwrap_or(Wants::Nothing),
        sound: head.sound,
        previous: head.previous,
        generate: head.generate,
        event: head.event,
    })
}

#[derive(Default)]
struct Head {
    wants: Option<Wants>,
    sound: bool,
    previous: Option<String>,
    generate: bool,
    event: Option<String>,
}

impl Head {
    fn of(endpoint: Endpoint, root: Scanned<'_>) -> Result<Self, DecodeError> {
        let dialect = endpoint.dialect;
        let shape = |expected| Err(DecodeError::Shape { expected });
        if root.kind() != Kind::Object {
            return shape("a JSON object");
        }
        let Some(kind) = root.get("type").and_then(|kind| kind.text()) else {
            return shape("`type` to name the message");
        };
        let id = |name: &str| {
            let id = root.get(name)?.text()?;
            (id.len() <= ID_BYTES).then(|| id.into_owned())
        };
        let sound = dialect == Dialect::OpenaiRealtime && holds_sound(root);
        let wants = match kind.as_ref() {
            "response.create" => {
                if dialect == Dialect::OpenaiResponses {
                    shape::check(endpoint, root)?;
                }
                Wants::Answer
            }
            "input_audio_buffer.append" => {
                let known = ["type", "audio", "event_id"];
                if root
                    .members()
                    .any(|(key, _)| !known.iter().any(|name| key.is_text(name)))
                {
                    return shape("nothing but `audio` in `input_audio_buffer.append`");
                }
                // It goes on uninspected, so there is to be no room in it for words.
                let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
                let of = |name: &str| root.get(name).and_then(|value| value.text());
                if !of("audio").is_some_and(|sound| sound.bytes().all(base64)) {
                    return shape("`audio` to be base64");
                }
                let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                if root.get("event_id").is_some()
                    && !of("event_id").is_some_and(|id| id.len() <= 64 && id.bytes().all(name))
                {
                    return shape("`event_id` to be of 64 letters, digits, `_` and `-` at most");
                }
                Wants::Sound
            }
            _ => Wants::Nothing,
        };
        Ok(Self {
            wants: Some(wants),
            sound,
            previous: id("previous_response_id"),
            generate: root.get("generate").and_then(|value| value.as_bool()) != Some(false),
            event: id("event_id"),
        })
    }
}

/// Whether an `audio` of text stands in a message, its item or its response's input.
fn holds_sound(root: Scanned<'_>) -> bool {
    let has = |object: Scanned<'_>| {
        object
            .get("audio")
            .is_some_and(|audio| audio.kind() == Kind::String)
    };
    let in_item = |item: Scanned<'_>| {
        has(item)
            || item
                .get("content")
                .is_some_and(|content| content.items().any(has))
    };
    let input = root.get("response").and_then(|response| response.get("input"));
    has(root)
        || root.get("item").is_some_and(in_item)
        || input.is_some_and(|input| input.items().any(in_item))
}

/// The body to post for a `response.create`.
///
/// # Errors
/// When it is no JSON object.
pub fn message_to_body(message: &Bytes, (): ()) -> Result<Bytes, TranslateError> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(message).map_err(|_| TranslateError::NotAnObject)?;
    for name in ["type", "event_id", "generate", "previous_response_id"] {
        body.shift_remove(name);
    }
    body.insert("stream".into(), true.into());
    serde_json::to_vec(&body)
        .map(Bytes::from)
        .map_err(|_| TranslateError::NotAnObject)
}

/// The answer to a `response.create` that wants no words: a response of that id, complete and empty.
#[must_use]
pub fn prewarmed(id: &str, model: &str) -> [Bytes; 2] {
    let response = |status: &str| {
        json!({
            "id": id, "object": "response", "created_at": 0, "status": status, "error": null,
            "incomplete_details": null, "model": model, "output": [], "parallel_tool_calls": true,
            "tool_choice": "auto", "tools": [], "metadata": {},
            "usage": {
                "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 0,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0,
            },
        })
    };
    [
        json!({"type": "response.created", "sequence_number": 0, "response": response("in_progress")}),
        json!({"type": "response.completed", "sequence_number": 1, "response": response("completed")}),
    ]
    .map(|message| Bytes::from(message.to_string()))
}

/// The message that tells of an error: an error object of the dialect, as it stands in a plain reply. In a described
/// dialect the reply is the message already.
#[must_use]
pub fn error_message(dialect: Dialect, status: u16, reply: &[u8], event: Option<&str>) -> Bytes {
    if matches!(dialect, Dialect::Described(_)) {
        return Bytes::copy_from_slice(reply);
    }
    let mut error = match serde_json::from_slice::<Value>(reply) {
        Ok(Value::Object(mut reply)) => reply.shift_remove("error"),
        _ => None,
    }
    .filter(Value::is_object)
    .unwrap_or_else(|| json!({"type": "server_error", "code": null, "message": "The request was not answered.", "param": null}));
    let message = if dialect == Dialect::OpenaiRealtime {
        error["event_id"] = event.map_or(Value::Null, Value::from);
        json!({"type": "error", "event_id": "event_cordon", "error": error})
    } else {
        json!({"type": "error", "status": status, "error": error})
    };
    message.to_string().into()
}

/// Makes messages of a stream's events.
pub struct EventMessages {
    parser: sse::Parser,
}

impl EventMessages {
    /// For a stream whose events are of that size at most.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            parser: sse::Parser::new(limits.max_body),
        }
    }

    /// The messages that `bytes` completed; `None` when one is over the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<Bytes>> {
        let events = self.parser.push(bytes).ok()?;
        Some(
            events
                .iter()
                .filter_map(sse::Event::data)
                .filter(|data| data.trim_ascii() != b"[DONE]")
                .map(Bytes::copy_from_slice)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests;
