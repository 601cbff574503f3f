//! What a caller asked for, as far as its path says it and its body does not: translations of one dialect
//! differ by it.

use cordon_domain::Dialect;
use serde_json::{Value, json};

use super::{TranslateError, request::unsupported};
use crate::{Endpoint, Framing, Operation};

/// A caller's endpoint, and the form that it wants its answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Dialect and operation.
    pub endpoint: Endpoint,
    manner: Manner,
    tells_effort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// The dialect has but one.
    Usual,
    /// Gemini, whose streams are events where the query says `alt=sse` and an array elsewhere, and whose bodies
    /// lie in an envelope for Gemini CLI signed in with an account.
    Gemini { events: bool, enveloped: bool },
    /// Ollama's `generate`: a prompt, not a conversation.
    Prompt,
    /// A sibling of the dialect that is not translated.
    Other,
}

impl Asked {
    /// What a request at that path, with its query, asks for.
    #[must_use]
    pub fn at(endpoint: Endpoint, path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let manner = match endpoint.dialect {
            Dialect::Gemini => Manner::Gemini {
                events: query.split('&').any(|pair| pair == "alt=sse"),
                enveloped: path.starts_with("/v1internal:"),
            },
            Dialect::Ollama if path.ends_with("/api/generate") => Manner::Prompt,
            Dialect::OpenaiResponses if path.ends_with("/compact") => Manner::Other,
            Dialect::AnthropicMessages if path.ends_with("/complete") => Manner::Other,
            Dialect::OpenaiCompletions if path.ends_with("/fim/completions") => Manner::Other,
            Dialect::Cohere if !path.ends_with("/v2/chat") => Manner::Other,
            _ => Manner::Usual,
        };
        Self {
            endpoint,
            manner,
            tells_effort: false,
        }
    }

    /// Whether who is asked takes a wish for how much a model is to think. Many servers refuse what they do not know, so
    /// it is left out otherwise.
    #[must_use]
    pub fn telling_effort(mut self, tells: bool) -> Self {
        self.tells_effort = tells;
        self
    }

    /// `content-type` of a streamed answer.
    #[must_use]
    pub fn stream_type(self) -> &'static str {
        match self.framing() {
            Framing::Array => "application/json",
            Framing::Lines => "application/x-ndjson",
            Framing::Messages => "application/vnd.amazon.eventstream",
            Framing::ProtobufEnvelopes => "application/connect+proto",
            Framing::JsonEnvelopes => "application/connect+json",
            Framing::Events => "text/event-stream",
        }
    }

    /// How a streamed answer is cut into pieces.
    #[must_use]
    pub fn framing(self) -> Framing {
        match (self.endpoint.dialect, self.manner) {
            (_, Manner::Gemini { events: false, .. }) => Framing::Array,
            (Dialect::Ollama, _) => Framing::Lines,
            (Dialect::BedrockConverse, _) => Framing::Messages,
            _ => Framing::Events,
        }
    }

    /// The answer to a wish to count, in the dialect's shape.
    #[must_use]
    pub fn count(self, tokens: u64) -> bytes::Bytes {
        match self.endpoint.dialect {
            Dialect::Gemini => json!({
                "totalTokens": tokens,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}],
            }),
            Dialect::BedrockConverse => json!({"inputTokens": tokens}),
            Dialect::OpenaiResponses => {
                json!({"object": "response.input_tokens", "input_tokens": tokens})
            }
            _ => json!({"input_tokens": tokens}),
        }
        .to_string()
        .into()
    }

    /// Refuses what only looks like a dialect that is translated.
    pub(super) fn check(self) -> Result<(), TranslateError> {
        let asks = matches!(
            self.endpoint.operation,
            Operation::Generate | Operation::CountTokens
        );
        if !asks {
            return Err(TranslateError::Dialect(self.endpoint.dialect));
        }
        if self.manner == Manner::Other {
            return Err(unsupported(
                "this path",
                "an older or neighbouring form of the API",
                "use the provider's present chat endpoint",
            ));
        }
        Ok(())
    }

    /// Whether only a count of LLM tokens is wanted.
    pub(super) fn is_counting(self) -> bool {
        self.endpoint.operation == Operation::CountTokens
    }

    /// Whether the wish for how much the model is to think goes along.
    pub(super) fn tells_effort(self) -> bool {
        self.tells_effort && !self.is_counting()
    }

    /// Whether the path asks for a stream.
    pub(super) fn is_streamed(self) -> bool {
        self.endpoint.streamed == Some(true)
    }

    /// Whether Gemini's body lies in an envelope.
    pub(super) fn is_enveloped(self) -> bool {
        matches!(self.manner, Manner::Gemini { enveloped: true, .. })
    }

    /// Whether the caller gave one prompt, and not a conversation.
    pub(super) fn is_prompt(self) -> bool {
        self.manner == Manner::Prompt
    }

    /// Whether Gemini's stream comes as events.
    pub(super) fn as_events(self) -> bool {
        !matches!(self.manner, Manner::Gemini { events: false, .. })
    }

    /// Gemini's answer in the envelope, where the request came in one.
    pub(super) fn wrapped(self, answer: Value) -> Value {
        if self.is_enveloped() {
            json!({"response": answer})
        } else {
            answer
        }
    }
}
