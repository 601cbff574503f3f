use std::fmt;

use serde::{Deserialize, Serialize};

/// A provider's wire format.
///
/// The names are part of the policy language, the metrics and the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Dialect {
    /// `POST /v1/chat/completions`
    OpenaiChat,
    /// `POST /v1/responses`
    OpenaiResponses,
    /// `POST /v1/messages` and `/v1/messages/count_tokens`
    AnthropicMessages,
    /// `GET /v1/models` and `GET /v1/models/{id}`; its body holds no text of the caller's.
    Models,
    /// A host, path or shape that no dialect describes.
    Unknown,
}

impl Dialect {
    /// The name used in policy files, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
            Self::AnthropicMessages => "anthropic-messages",
            Self::Models => "models",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
