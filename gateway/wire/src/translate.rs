//! Between the dialects: so that any caller can be answered by an upstream that speaks `openai-chat`, which
//! the engine and most servers in a building do.
//!
//! What carries meaning is carried over: instructions, turns, tools and their results, sampling,
//! structured output; on the way back texts, reasoning, tool calls, stop reasons and usage. Hints that no local
//! server knows (caching, service tiers, metadata) are left out. What would change
//! the answer if left out (images, state on the provider's side) is refused with advice, except that
//! tools which the provider would run itself are simply not offered on. `docs/translation.md` has the list.
//!
//! Reasoning that we put into a caller's dialect is marked as ours, so that a conversation can go on wherever its next
//! turn goes (`translate/reasoning.rs`).
//!
//! `openai-chat` to `openai-chat` is no translation: the bytes stay, but for the model's name and the
//! wish for usage in a stream.
//!
//! On failure: a [`TranslateError`], which names a place by our own words and indices.

use bytes::Bytes;
use cordon_domain::Dialect;

mod asked;
pub use asked::Asked;

mod reasoning;
pub use reasoning::without_made;

mod request;

mod chat;
pub(crate) use chat::asks_for_usage;

mod cohere;
mod completions;
mod converse;
mod gemini;
mod messages;
mod ollama;
mod responses;

mod reply;

mod stream;
pub use stream::StreamTranslator;

mod spoken;
pub use spoken::{
    Spoken, count_from_chat, rename_in_target, rename_model, request_from_chat, translate_reply,
};

/// Why a body cannot be carried over. It quotes nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslateError {
    /// The body is no JSON object.
    #[error("the request body is not a JSON object")]
    NotAnObject,
    /// Something in the request has another shape than its dialect gives it.
    #[error("{place} has to be {expected}")]
    Shape {
        /// Where, in indices and the dialect's field names.
        place: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The request asks for something that an `openai-chat` upstream cannot do.
    #[error("{what} at {place} cannot be answered here: {advice}")]
    Unsupported {
        /// Where, in indices and the dialect's field names.
        place: String,
        /// What it is.
        what: &'static str,
        /// What the caller can do about it.
        advice: &'static str,
    },
    /// Bodies of this dialect are not translated.
    #[error(
        "a request in `{0}` cannot be put into another dialect; ask in `openai-chat` (POST /v1/chat/completions) or another \
         dialect that `docs/translation.md` lists, or have your administrator route `{0}` to an upstream that speaks it"
    )]
    Dialect(Dialect),
    /// The upstream's reply is not what `openai-chat` describes.
    #[error("the upstream's reply cannot be read: {0}")]
    Reply(&'static str),
    /// The upstream's reply is over a limit.
    #[error("the upstream's reply is larger than {limit} bytes")]
    ReplyTooLarge {
        /// The limit.
        limit: usize,
    },
}

impl TranslateError {
    /// The HTTP status to answer with: 400 where the request is at fault, 502 where the reply is.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotAnObject | Self::Shape { .. } | Self::Unsupported { .. } | Self::Dialect(_) => 400,
            Self::Reply(_) | Self::ReplyTooLarge { .. } => 502,
        }
    }

    /// What to tell the caller.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }
}

/// A request of any dialect as an `openai-chat` request for `model`.
///
/// # Errors
/// When the request is malformed or asks for what cannot be carried over.
pub fn request_to_chat(asked: Asked, body: &Bytes, model: &str) -> Result<Bytes, TranslateError> {
    if asked.endpoint.dialect == Dialect::OpenaiChat {
        return chat::rename(body, model, true);
    }
    asked.check()?;
    let counting = asked.is_counting();
    let body = &request::object(body)?;
    let mut chat = match asked.endpoint.dialect {
        Dialect::AnthropicMessages => messages::request::to_chat(body, model, counting),
        Dialect::OpenaiResponses => responses::request::to_chat(body, model),
        Dialect::OpenaiCompletions => completions::request::to_chat(body, model),
        Dialect::Gemini => gemini::request::to_chat(body, model, asked),
        Dialect::BedrockConverse => converse::request::to_chat(body, model, asked),
        Dialect::Cohere => cohere::request::to_chat(body, model),
        Dialect::Ollama => ollama::request::to_chat(body, model, asked),
        other => Err(TranslateError::Dialect(other)),
    }?;
    if !asked.tells_effort() {
        chat.without_effort();
    }
    Ok(chat.into_bytes())
}

/// A plain `openai-chat` reply in the caller's dialect. `asked_model` is the name that the caller
/// used. An error object becomes the dialect's error object.
///
/// # Errors
/// When the reply is not what `openai-chat` describes.
pub fn reply_from_chat(asked: Asked, body: &Bytes, asked_model: &str) -> Result<Bytes, TranslateError> {
    use reply::Answer::{Error, Reply};
    let dialect = asked.endpoint.dialect;
    if dialect == Dialect::OpenaiChat {
        return Ok(body.clone());
    }
    asked.check()?;
    let reply = match (dialect, reply::Answer::read(body)?) {
        (Dialect::AnthropicMessages, Reply(reply)) => messages::reply::from_chat(reply, asked_model),
        (Dialect::AnthropicMessages, Error(error)) => messages::reply::error(&error),
        (Dialect::OpenaiResponses, Reply(reply)) => responses::reply::from_chat(reply, asked_model),
        // These share their error object with `openai-chat`.
        (Dialect::OpenaiResponses | Dialect::OpenaiCompletions, Error(_)) => return Ok(body.clone()),
        (Dialect::OpenaiCompletions, Reply(reply)) => completions::reply::from_chat(&reply, asked_model),
        (Dialect::Gemini, Reply(reply)) => asked.wrapped(gemini::reply::from_chat(reply, asked_model)),
        (Dialect::Gemini, Error(error)) => gemini::reply::error(&error),
        (Dialect::Ollama, Reply(reply)) => ollama::reply::from_chat(&reply, asked, asked_model),
        (Dialect::Ollama, Error(error)) => ollama::reply::error(&error),
        (Dialect::BedrockConverse, Reply(reply)) => converse::reply::from_chat(&reply),
        (Dialect::BedrockConverse, Error(error)) => converse::reply::error(&error),
        (Dialect::Cohere, Reply(reply)) => cohere::reply::from_chat(&reply),
        (Dialect::Cohere, Error(error)) => cohere::reply::error(&error),
        (other, _) => return Err(TranslateError::Dialect(other)),
    };
    Ok(reply.to_string().into())
}
