//! Every way a request can fail, and what its caller is told: OpenAI's error object.
//!
//! Messages name positions and numbers, never a word of the request.

use serde_json::json;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Not JSON. The parser's own message may quote the text, so only the place is told.
    #[error("the body is not valid JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    /// JSON of another shape than a chat request has.
    #[error("`{param}` {why}")]
    Invalid { param: String, why: &'static str },
    /// Asked for something that this engine cannot do. Silence would be a lie.
    #[error("`{param}` is not supported by this engine: {why}")]
    Unsupported { param: String, why: &'static str },
    /// A grammar that is none.
    #[error("line {line} of `{param}` is not understood")]
    Grammar { param: String, line: usize },
    /// The prompt does not fit.
    #[error(
        "this conversation has {}{tokens} tokens, and this engine holds at most {limit} for prompt and answer together; shorten it",
        if *.exact { "" } else { "at least " }
    )]
    ContextLength {
        tokens: usize,
        exact: bool,
        limit: usize,
    },
    /// A text to embed does not fit.
    #[error("a text has {tokens} tokens, and this engine embeds at most {limit} at once; split it")]
    TextLength { tokens: usize, limit: usize },
    /// The model's chat template does not accept the conversation. `Some` only for words that
    /// stand in the template itself.
    #[error("the model's chat template refuses this conversation{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Template(Option<String>),
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the body did not arrive in time, or not whole")]
    BodyUnreadable,
    /// All slots are taken and the queue is full.
    #[error("all slots are busy and the queue is full; try again in about {seconds} s")]
    Busy { seconds: u32 },
    /// One account has half of the queue.
    #[error("too many of your requests are waiting already; try again in about {seconds} s")]
    TooMany { seconds: u32 },
    /// None of the names that this engine serves, which are told.
    #[error("this engine has no such model; it has {0}")]
    UnknownModel(String),
    #[error("the model cannot be loaded; the engine's log says why")]
    ModelDown,
    #[error("somebody is being answered by the model")]
    ModelBusy,
    #[error("the model is still being loaded; try again shortly")]
    Loading,
    #[error("the engine is shutting down")]
    Draining,
    #[error("no such endpoint")]
    NotFound,
    #[error("this endpoint takes another method")]
    MethodNotAllowed,
    /// llama.cpp reported an error; its details are in the log.
    #[error("the model failed while answering")]
    Inference,
}

impl Failure {
    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::NotJson { .. }
            | Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Grammar { .. }
            | Self::ContextLength { .. }
            | Self::TextLength { .. }
            | Self::Template(_) => 400,
            Self::NotFound | Self::UnknownModel(_) => 404,
            Self::ModelBusy => 409,
            Self::MethodNotAllowed => 405,
            Self::BodyUnreadable => 408,
            Self::BodyTooLarge { .. } => 413,
            Self::TooMany { .. } => 429,
            Self::Inference => 500,
            Self::Busy { .. } | Self::Loading | Self::Draining | Self::ModelDown => 503,
        }
    }

    /// Seconds after which asking again makes sense.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy { seconds } | Self::TooMany { seconds } => Some(*seconds),
            Self::Loading | Self::Draining => Some(2),
            _ => None,
        }
    }

    /// OpenAI's error object.
    pub(crate) fn body(&self) -> serde_json::Value {
        let kind = match self.status() {
            429 => "rate_limit_error",
            ..500 => "invalid_request_error",
            _ => "server_error",
        };
        let (param, code) = match self {
            Self::NotJson { .. } => (None, "invalid_json"),
            Self::Invalid { param, .. } => (Some(param.as_str()), "invalid_value"),
            Self::Unsupported { param, .. } => (Some(param.as_str()), "unsupported_parameter"),
            Self::Grammar { param, .. } => (Some(param.as_str()), "invalid_grammar"),
            Self::ContextLength { .. } => (Some("messages"), "context_length_exceeded"),
            Self::TextLength { .. } => (Some("input"), "context_length_exceeded"),
            Self::Template(_) => (Some("messages"), "template_refused"),
            Self::BodyTooLarge { .. } => (None, "body_too_large"),
            Self::BodyUnreadable => (None, "body_unreadable"),
            Self::Busy { .. } => (None, "engine_busy"),
            Self::TooMany { .. } => (None, "too_many_waiting"),
            Self::UnknownModel(_) => (Some("model"), "model_not_found"),
            Self::ModelDown => (None, "model_unavailable"),
            Self::ModelBusy => (Some("model"), "model_busy"),
            Self::Loading => (None, "engine_loading"),
            Self::Draining => (None, "engine_draining"),
            Self::NotFound => (None, "not_found"),
            Self::MethodNotAllowed => (None, "method_not_allowed"),
            Self::Inference => (None, "inference_failed"),
        };
        json!({"error": {"message": self.to_string(), "type": kind, "param": param, "code": code}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_too_long_names_both_numbers() {
        let failure = Failure::ContextLength {
            tokens: 5000,
            exact: true,
            limit: 4096,
        };
        let body = failure.body();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("5000") && message.contains("4096"), "{message}");
        assert_eq!(body["error"]["code"], "context_length_exceeded");
        assert_eq!(failure.status(), 400);
    }

    #[test]
    fn only_passing_conditions_invite_another_try() {
        assert_eq!(Failure::Busy { seconds: 7 }.retry_after(), Some(7));
        assert_eq!(Failure::TooMany { seconds: 7 }.status(), 429);
        assert!(Failure::Inference.retry_after().is_none());
        assert!(Failure::Template(None).retry_after().is_none());
    }
}
