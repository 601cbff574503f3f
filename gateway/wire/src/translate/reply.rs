//! An `openai-chat` reply taken apart: what both translations of a reply, plain or streamed, start from.

use serde_json::{Value, json};

use super::{TranslateError, reasoning::Reasoning};

/// A plain reply, or the error object that came in its place.
pub(super) enum Answer {
    Reply(Reply),
    Error(UpstreamError),
}

/// What a plain reply says.
pub(super) struct Reply {
    pub(super) head: Head,
    pub(super) reasoning: Reasoning,
    pub(super) text: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<Call>,
    pub(super) stop: Stop,
    pub(super) usage: Tokens,
}

impl Reply {
    /// What the model says, whether it answers or declines.
    pub(super) fn words(&self) -> String {
        [self.text.as_str(), self.refusal.as_str()].concat()
    }
}

impl Call {
    /// The arguments as an object, which some dialects demand. Those that are none go on under a name
    /// that no schema has, so that the tool refuses them and the model gets to see why.
    pub(super) fn input(&self) -> Value {
        match serde_json::from_str(&self.arguments) {
            Ok(object @ Value::Object(_)) => object,
            _ if self.arguments.trim().is_empty() => json!({}),
            _ => json!({"malformed_arguments": self.arguments}),
        }
    }
}

/// Which reply it is.
#[derive(Clone, Default)]
pub(super) struct Head {
    /// The upstream's id without its prefix, fit to be part of another.
    pub(super) id: String,
    pub(super) created: u64,
}

pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Why the model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    End,
    Length,
    Tools,
    /// The model declined, in words of its own.
    Refused,
    /// A filter cut the answer off.
    Filtered,
    /// At one of the caller's own stop sequences, where the upstream says which.
    Sequence(String),
}

/// LLM tokens.
#[derive(Clone, Copy, Default)]
pub(super) struct Tokens {
    pub(super) input: u64,
    /// Of the input, those read from a cache.
    pub(super) cached: u64,
    pub(super) output: u64,
    /// Of the output, those spent on reasoning.
    pub(super) reasoning: u64,
}

/// An error as the upstream reports it. Its message is the upstream's own and goes to the caller only.
pub(super) struct UpstreamError {
    pub(super) message: String,
    pub(super) kind: String,
    pub(super) code: Option<String>,
}

impl Answer {
    pub(super) fn read(body: &[u8]) -> Result<Self, TranslateError> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| TranslateError::Reply("it is not JSON"))?;
        if let Some(error) = UpstreamError::of(&body) {
            return Ok(Self::Error(error));
        }
        let choice = body
            .get("choices")
            .and_then(|choices| choices.get(0))
            .ok_or(TranslateError::Reply("it holds no choice"))?;
        let message = choice
            .get("message")
            .ok_or(TranslateError::Reply("its choice holds no message"))?;
        let head = Head::read(&body);
        let calls = message
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(at, call)| Call::read(call, || head.call_id(at as u64)))
            .collect::<Result<Vec<_>, _>>()?;
        let refusal = string(message, "refusal");
        let stop = Stop::read(choice, !calls.is_empty(), !refusal.is_empty()).unwrap_or(Stop::End);
        Ok(Self::Reply(Reply {
            head,
            reasoning: Reasoning::of(message),
            text: content(message),
            refusal,
            calls,
            stop,
            usage: Tokens::read(&body).unwrap_or_default(),
        }))
    }
}

impl Head {
    const MAX_ID: usize = 48;

    pub(super) fn read(body: &Value) -> Self {
        let id = body.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = id.strip_prefix("chatcmpl-").unwrap_or(id);
        let mut id: String = id
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(Self::MAX_ID)
            .collect();
        if id.is_empty() {
            id.push('0');
        }
        Self {
            id,
            created: body.get("created").and_then(Value::as_u64).unwrap_or(0),
        }
    }

    /// Of a reply that never said which it is.
    pub(super) fn unnamed() -> Self {
        Self::read(&Value::Null)
    }

    /// An id for a tool call that came without one, unlike those of other replies.
    pub(super) fn call_id(&self, index: u64) -> String {
        format!("call_{}_{index}", self.id)
    }
}

impl Call {
    fn read(call: &Value, id: impl FnOnce() -> String) -> Result<Self, TranslateError> {
        let function = call
            .get("function")
            .ok_or(TranslateError::Reply("a tool call has no function"))?;
        let name = string(function, "name");
        if name.is_empty() {
            return Err(TranslateError::Reply("a tool call has no name"));
        }
        let id = Some(string(call, "id"))
            .filter(|given| !given.is_empty())
            .unwrap_or_else(id);
        let arguments = match function.get("arguments") {
            // Some servers hand the arguments over as JSON rather than as its source.
            Some(arguments @ Value::Object(_)) => arguments.to_string(),
            _ => string(function, "arguments"),
        };
        Ok(Self { id, name, arguments })
    }
}

impl Stop {
    /// `None` while the choice goes on.
    pub(super) fn read(choice: &Value, called: bool, refused: bool) -> Option<Self> {
        let reason = choice.get("finish_reason").and_then(Value::as_str)?;
        Some(match reason {
            "length" => Self::Length,
            "content_filter" => Self::Filtered,
            "tool_calls" | "function_call" => Self::Tools,
            // Some servers end a turn of calls with a plain stop.
            _ if called => Self::Tools,
            _ if refused => Self::Refused,
            _ => match choice.get("stop_reason").and_then(Value::as_str) {
                Some(sequence) => Self::Sequence(sequence.to_owned()),
                None => Self::End,
            },
        })
    }
}

impl Tokens {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let usage = body.get("usage").filter(|usage| usage.is_object())?;
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        Some(Self {
            input: count("/prompt_tokens"),
            cached: count("/prompt_tokens_details/cached_tokens"),
            output: count("/completion_tokens"),
            reasoning: count("/completion_tokens_details/reasoning_tokens"),
        })
    }
}

/// Where the fault lies, as far as an error's type and code tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// With the request, which is too long or malformed.
    Request,
    /// What is asked for is not there.
    Missing,
    /// Too much was asked for at once.
    Rate,
    /// The upstream has too much to do.
    Overload,
    /// With the upstream.
    Upstream,
}

impl UpstreamError {
    pub(super) fn blame(&self) -> Blame {
        match (self.kind.as_str(), self.code.as_deref()) {
            // The engine's own limits are the request's to keep.
            (_, Some("context_length_exceeded"))
            | ("invalid_request_error" | "BadRequestError" | "exceed_context_size_error", _) => {
                Blame::Request
            }
            ("not_found_error" | "NotFoundError", _) => Blame::Missing,
            ("rate_limit_error", _) => Blame::Rate,
            ("overloaded_error" | "unavailable_error", _) => Blame::Overload,
            _ => Blame::Upstream,
        }
    }

    /// What is said in place of a message that the upstream did not give.
    const SILENT: &str = "the upstream reported an error without a message";

    pub(super) fn of(body: &Value) -> Option<Self> {
        let error = body.get("error").filter(|error| !error.is_null())?;
        let message = error
            .as_str()
            .or_else(|| error.get("message").and_then(Value::as_str));
        // llama-server and vLLM give the code as a number.
        let code = error.get("code").and_then(|code| match code {
            Value::String(code) => Some(code.clone()),
            _ => None,
        });
        Some(Self {
            message: message.unwrap_or(Self::SILENT).to_owned(),
            kind: string(error, "type"),
            code,
        })
    }
}

/// A string member; empty when there is none.
pub(super) fn string(object: &Value, name: &str) -> String {
    object
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The text of a message or delta, which some servers send in parts.
pub(super) fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::Array(parts)) => parts.iter().map(|part| string(part, "text")).collect(),
        _ => string(message, "content"),
    }
}

/// A tool call's id, in the letters that every provider takes it back in.
pub(super) fn call_id(call: &Value) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    string(call, "id")
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}
