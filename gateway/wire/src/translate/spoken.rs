//! What an upstream is asked in, where it does not speak the caller's dialect: `openai-chat`, or, where it does not speak
//! that either, Anthropic's messages or Gemini. `openai-chat` stands in between, so a caller of any dialect can be
//! answered by an upstream of each of the three.
//!
//! Reasoning comes as `reasoning_content`. It goes back to no provider: a caller of another dialect has no signature for it.
//!
//! On failure: a [`TranslateError`].

use bytes::Bytes;
use cordon_domain::Dialect;
use serde_json::Value;

use super::{Asked, TranslateError, chat::rename, reply_from_chat, request::object};

mod chat;
use chat::Chat;

mod gemini;
mod messages;
mod reply;

mod thinking;

mod stream;
pub(super) use stream::ToChat;

/// A dialect that requests can be put into, whatever their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// `openai-chat`.
    Chat,
    /// `anthropic-messages`.
    Messages,
    /// `gemini`.
    Gemini,
}

impl Spoken {
    /// Which of them an upstream of those dialects is asked in, the first that loses least; `None` where it speaks none.
    #[must_use]
    pub fn among(dialects: &[Dialect]) -> Option<Self> {
        [Self::Chat, Self::Messages, Self::Gemini]
            .into_iter()
            .find(|spoken| dialects.contains(&spoken.dialect()))
    }

    /// The same for counts of LLM tokens, which `openai-chat` does not have.
    #[must_use]
    pub fn counting(dialects: &[Dialect]) -> Option<Self> {
        [Self::Messages, Self::Gemini]
            .into_iter()
            .find(|spoken| dialects.contains(&spoken.dialect()))
    }

    /// Its name.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Chat => Dialect::OpenaiChat,
            Self::Messages => Dialect::AnthropicMessages,
            Self::Gemini => Dialect::Gemini,
        }
    }

    /// Path and query at which an `openai-chat` request is answered by that model, once it is put into this dialect.
    #[must_use]
    pub fn target(self, chat: &Bytes, model: &str) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".to_owned(),
            Self::Messages => "/v1/messages".to_owned(),
            Self::Gemini => {
                let model = bare(model);
                let method = if streams(chat) {
                    "streamGenerateContent?alt=sse"
                } else {
                    "generateContent"
                };
                format!("/v1beta/models/{model}:{method}")
            }
        }
    }

    /// Path at which that model's LLM tokens are counted.
    #[must_use]
    pub fn count_target(self, model: &str) -> String {
        match self {
            // The engine's own.
            Self::Chat => "/count".to_owned(),
            Self::Messages => "/v1/messages/count_tokens".to_owned(),
            Self::Gemini => format!("/v1beta/models/{}:countTokens", bare(model)),
        }
    }

    /// Headers that an upstream demands besides the key.
    #[must_use]
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Chat | Self::Gemini => &[],
            Self::Messages => &[("anthropic-version", "2023-06-01")],
        }
    }
}

/// Whether an `openai-chat` request asks for a stream.
fn streams(chat: &Bytes) -> bool {
    object(chat).is_ok_and(|chat| chat.get("stream") == Some(&Value::Bool(true)))
}

/// A request whose body names the model, with another name in its place; each other byte stays.
///
/// # Errors
/// When the body is no JSON object.
pub fn rename_model(body: &Bytes, model: &str) -> Result<Bytes, TranslateError> {
    rename(body, model, false)
}

/// The same for Gemini, whose path and query name it; `None` where they do not.
#[must_use]
pub fn rename_in_target(target: &str, model: &str) -> Option<String> {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let (before, rest) = path.split_once("/models/")?;
    let (_, method) = rest.rsplit_once(':')?;
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Some(format!("{before}/models/{}:{method}{query}", segment(model)))
}

/// Gemini's name of a model, as it stands in a path.
fn bare(model: &str) -> String {
    segment(model.strip_prefix("models/").unwrap_or(model))
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            // Two dots alone would be a step to elsewhere.
            b'.' if name.bytes().any(|byte| byte != b'.') => out.push('.'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An `openai-chat` request as one for `model` in what the upstream speaks.
///
/// # Errors
/// When the request is malformed or asks for what cannot be carried over.
pub fn request_from_chat(spoken: Spoken, chat: &Bytes, model: &str) -> Result<Bytes, TranslateError> {
    let read = || Chat::read(object(chat)?);
    let request = match spoken {
        Spoken::Chat => return Ok(chat.clone()),
        Spoken::Messages => messages::request(read()?, model),
        Spoken::Gemini => gemini::request(&read()?, model),
    };
    Ok(request.to_string().into())
}

/// An `openai-chat` request as one that counts its LLM tokens for `model`.
///
/// # Errors
/// When the request is malformed or holds what cannot be carried over.
pub fn count_from_chat(spoken: Spoken, chat: &Bytes, model: &str) -> Result<Bytes, TranslateError> {
    let read = || Chat::read(object(chat)?);
    let request = match spoken {
        Spoken::Chat => return Ok(chat.clone()),
        Spoken::Messages => messages::counting(read()?, model),
        Spoken::Gemini => gemini::counting(&read()?, model),
    };
    Ok(request.to_string().into())
}

/// A plain reply in the caller's dialect. `asked_model` is the name that the caller used, `created` the time in seconds
/// since 1970, for dialects whose replies do not tell it.
///
/// # Errors
/// When the reply is not what the upstream's dialect describes.
pub fn translate_reply(
    asked: Asked,
    spoken: Spoken,
    body: &Bytes,
    asked_model: &str,
    created: u64,
) -> Result<Bytes, TranslateError> {
    let read = || -> Result<Value, TranslateError> {
        serde_json::from_slice(body).map_err(|_| TranslateError::Reply("it is not JSON"))
    };
    let chat = match spoken {
        Spoken::Chat => return reply_from_chat(asked, body, asked_model),
        Spoken::Messages => messages::reply(&read()?, created)?,
        Spoken::Gemini => gemini::reply(&read()?, created)?,
    };
    reply_from_chat(asked, &chat.to_string().into(), asked_model)
}
