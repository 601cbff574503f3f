//! What both translations of a request share: reading fields with their places, and building the turns.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    TranslateError,
    reasoning::{Effort, Reasoning},
};

pub(super) type Object = Map<String, Value>;

/// The body as an object. That it is strict JSON was checked when it was decoded.
pub(super) fn object(body: &Bytes) -> Result<Object, TranslateError> {
    serde_json::from_slice(body).map_err(|_| TranslateError::NotAnObject)
}

pub(super) fn shape(place: impl Into<String>, expected: &'static str) -> TranslateError {
    TranslateError::Shape {
        place: place.into(),
        expected,
    }
}

pub(super) fn unsupported(
    place: impl Into<String>,
    what: &'static str,
    advice: &'static str,
) -> TranslateError {
    TranslateError::Unsupported {
        place: place.into(),
        what,
        advice,
    }
}

pub(super) fn image(place: impl Into<String>) -> TranslateError {
    unsupported(
        place,
        "an image",
        "the model that answers here reads text only; remove the image or describe it in words",
    )
}

pub(super) fn file(place: impl Into<String>) -> TranslateError {
    unsupported(
        place,
        "a file",
        "the model that answers here reads text only; paste the file's text into the message",
    )
}

/// A member that is there and not null.
pub(super) fn present<'v>(object: &'v Object, name: &str) -> Option<&'v Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A string member; `place` is the object's own place, with a dot behind it.
pub(super) fn text<'v>(object: &'v Object, name: &str, place: &str) -> Result<&'v str, TranslateError> {
    object
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| shape(format!("{place}{name}"), "a string"))
}

/// An array member of objects, empty when it is not there.
pub(super) fn list<'v>(object: &'v Object, name: &str) -> Result<&'v [Value], TranslateError> {
    match present(object, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(shape(name, "an array")),
    }
}

/// The same of an object at that place.
pub(super) fn list_at<'v>(
    object: &'v Object,
    name: &str,
    place: &str,
) -> Result<&'v [Value], TranslateError> {
    list(object, name).map_err(|_| shape(format!("{place}.{name}"), "an array"))
}

pub(super) fn as_object<'v>(value: &'v Value, place: &str) -> Result<&'v Object, TranslateError> {
    value.as_object().ok_or_else(|| shape(place, "an object"))
}

/// The conversation as `openai-chat` writes it.
///
/// Chat templates of small models take one system message at the start and turns that alternate, so
/// what belongs together is put together: leading instructions, successive texts of one side, and an
/// assistant's words with the tool calls that follow them, and what it thought before them.
#[derive(Default)]
pub(super) struct Turns {
    messages: Vec<Turn>,
}

enum Turn {
    System(String),
    User(String),
    Assistant(Assistant),
    Result { call: String, text: String },
}

#[derive(Default)]
struct Assistant {
    reasoning: Reasoning,
    text: String,
    calls: Vec<Value>,
}

impl Turns {
    pub(super) fn system(&mut self, text: &str) {
        match self.messages.last_mut() {
            Some(Turn::System(before)) => join(before, text),
            _ => self.messages.push(Turn::System(text.to_owned())),
        }
    }

    pub(super) fn user(&mut self, text: &str) {
        match self.messages.last_mut() {
            Some(Turn::User(before)) => join(before, text),
            _ => self.messages.push(Turn::User(text.to_owned())),
        }
    }

    pub(super) fn assistant(&mut self, text: &str) {
        self.speak(|turn| join(&mut turn.text, text));
    }

    /// What the assistant thought, where it is to be sent back.
    pub(super) fn reasoning(&mut self, thought: Option<Reasoning>) {
        if let Some(thought) = thought.filter(|thought| !thought.is_empty()) {
            self.speak(|turn| {
                turn.reasoning.name = thought.name;
                join(&mut turn.reasoning.text, &thought.text);
            });
        }
    }

    pub(super) fn call(&mut self, id: &str, name: &str, arguments: &str) {
        let call = json!({
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        });
        self.speak(|turn| turn.calls.push(call));
    }

    /// Adds to the assistant's turn, which may be going on.
    fn speak(&mut self, add: impl FnOnce(&mut Assistant)) {
        if let Some(Turn::Assistant(turn)) = self.messages.last_mut() {
            add(turn);
        } else {
            let mut turn = Assistant::default();
            add(&mut turn);
            self.messages.push(Turn::Assistant(turn));
        }
    }

    pub(super) fn result(&mut self, call: &str, text: String) {
        self.messages.push(Turn::Result {
            call: call.to_owned(),
            text,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn into_messages(self) -> Vec<Value> {
        self.messages
            .into_iter()
            .filter_map(|turn| match turn {
                Turn::System(text) => Some(json!({"role": "system", "content": text})),
                Turn::User(text) => Some(json!({"role": "user", "content": text})),
                Turn::Assistant(turn) => turn.into_message(),
                Turn::Result { call, text } => {
                    Some(json!({"role": "tool", "tool_call_id": call, "content": text}))
                }
            })
            .collect()
    }
}

impl Assistant {
    /// `None` where it was cut off while it thought: templates know no such turn.
    fn into_message(self) -> Option<Value> {
        if !self.reasoning.is_empty() && self.text.is_empty() && self.calls.is_empty() {
            return None;
        }
        // Templates that print the content would print a null as a word.
        let mut message = json!({"role": "assistant", "content": self.text});
        if !self.reasoning.is_empty() {
            message[self.reasoning.name.as_str()] = self.reasoning.text.into();
        }
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.into();
        }
        Some(message)
    }
}

pub(super) fn join(before: &mut String, text: &str) {
    if !before.is_empty() && !text.is_empty() {
        before.push_str("\n\n");
    }
    before.push_str(text);
}

/// The `openai-chat` request under construction.
pub(super) struct ChatRequest(Object);

impl ChatRequest {
    pub(super) fn new(model: &str, turns: Turns) -> Self {
        let mut request = Object::new();
        request.insert("model".into(), model.into());
        request.insert("messages".into(), turns.into_messages().into());
        Self(request)
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes a member over as it is, under the name that `openai-chat` has for it.
    pub(super) fn carry(&mut self, from: &Object, name: &str, chat_name: &str) {
        if let Some(value) = present(from, name) {
            self.set(chat_name, value.clone());
        }
    }

    /// How much the model is to think, where the caller says so.
    pub(super) fn effort(&mut self, effort: Option<Effort>) {
        if let Some(effort) = effort {
            self.set("reasoning_effort", effort.as_str());
        }
    }

    /// Leaves that out, for servers that refuse what they do not know.
    pub(super) fn without_effort(&mut self) {
        self.0.shift_remove("reasoning_effort");
    }

    /// Streams, with usage at the end.
    pub(super) fn streamed(&mut self) {
        self.set("stream", true);
        self.set("stream_options", json!({"include_usage": true}));
    }

    /// The same when the caller's body says that it streams.
    pub(super) fn stream_like(&mut self, from: &Object) -> Result<(), TranslateError> {
        match present(from, "stream") {
            None | Some(Value::Bool(false)) => Ok(()),
            Some(Value::Bool(true)) => {
                self.streamed();
                Ok(())
            }
            Some(_) => Err(shape("stream", "true or false")),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Value::Object(self.0).to_string().into()
    }
}

/// A function tool as `openai-chat` writes it.
pub(super) fn function_tool(name: &str, description: Option<&str>, schema: Option<&Value>) -> Value {
    let mut function = Object::new();
    function.insert("name".into(), name.into());
    if let Some(description) = description {
        function.insert("description".into(), description.into());
    }
    let schema = schema
        .cloned()
        .unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    function.insert("parameters".into(), schema);
    json!({"type": "function", "function": function})
}

/// `response_format` for a JSON schema.
pub(super) fn schema_format(name: Option<&str>, schema: &Value, strict: Option<&Value>) -> Value {
    let mut inner = Object::new();
    inner.insert("name".into(), name.unwrap_or("answer").into());
    inner.insert("schema".into(), schema.clone());
    if let Some(strict) = strict {
        inner.insert("strict".into(), strict.clone());
    }
    json!({"type": "json_schema", "json_schema": inner})
}
