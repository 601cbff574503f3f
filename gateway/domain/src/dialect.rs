use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A provider's wire format.
///
/// The names are part of the policy language, the metrics and the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dialect {
    /// Chat completions, and what many providers serve in their shape.
    OpenaiChat,
    /// The Responses API, over HTTP and over a WebSocket.
    OpenaiResponses,
    /// The completions API that came before chat.
    OpenaiCompletions,
    /// Embeddings.
    OpenaiEmbeddings,
    /// Making and editing images.
    OpenaiImages,
    /// Transcription, translation and speech.
    OpenaiAudio,
    /// Uploaded files.
    OpenaiFiles,
    /// Batches over an uploaded file of requests.
    OpenaiBatches,
    /// Moderations.
    OpenaiModerations,
    /// The Realtime API, over a WebSocket.
    OpenaiRealtime,
    /// Messages and their counting.
    AnthropicMessages,
    /// Batches of messages.
    AnthropicBatches,
    /// Uploaded files.
    AnthropicFiles,
    /// Gemini, as Google's own API, Vertex AI and Gemini CLI serve it.
    Gemini,
    /// Amazon Bedrock's `converse` and `converse-stream`.
    BedrockConverse,
    /// Amazon Bedrock's `invoke`, whose body is of the provider behind it.
    BedrockInvoke,
    /// Cohere's v2 API.
    Cohere,
    /// Ollama's own API.
    Ollama,
    /// The Model Context Protocol over streamable HTTP.
    Mcp,
    /// Lists of models; a request has no body.
    Models,
    /// A web application or provider that a file under `policies/dialects` describes.
    Described(DialectName),
    /// A host, path or shape that no dialect describes.
    Unknown,
}

impl Dialect {
    /// Every dialect that is built in, in the order of the documentation.
    pub const BUILT_IN: [Self; 21] = [
        Self::OpenaiChat,
        Self::OpenaiResponses,
        Self::OpenaiCompletions,
        Self::OpenaiEmbeddings,
        Self::OpenaiImages,
        Self::OpenaiAudio,
        Self::OpenaiFiles,
        Self::OpenaiBatches,
        Self::OpenaiModerations,
        Self::OpenaiRealtime,
        Self::AnthropicMessages,
        Self::AnthropicBatches,
        Self::AnthropicFiles,
        Self::Gemini,
        Self::BedrockConverse,
        Self::BedrockInvoke,
        Self::Cohere,
        Self::Ollama,
        Self::Mcp,
        Self::Models,
        Self::Unknown,
    ];

    /// The name used in policy files, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
            Self::OpenaiCompletions => "openai-completions",
            Self::OpenaiEmbeddings => "openai-embeddings",
            Self::OpenaiImages => "openai-images",
            Self::OpenaiAudio => "openai-audio",
            Self::OpenaiFiles => "openai-files",
            Self::OpenaiBatches => "openai-batches",
            Self::OpenaiModerations => "openai-moderations",
            Self::OpenaiRealtime => "openai-realtime",
            Self::AnthropicMessages => "anthropic-messages",
            Self::AnthropicBatches => "anthropic-batches",
            Self::AnthropicFiles => "anthropic-files",
            Self::Gemini => "gemini",
            Self::BedrockConverse => "bedrock-converse",
            Self::BedrockInvoke => "bedrock-invoke",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
            Self::Mcp => "mcp",
            Self::Models => "models",
            Self::Described(name) => name.0,
            Self::Unknown => "unknown",
        }
    }

    /// The dialect of a name, a described one where it is not built in.
    ///
    /// # Errors
    /// When it is no name, or there are too many.
    pub fn from_name(name: &str) -> Result<Self, BadDialectName> {
        match Self::BUILT_IN.into_iter().find(|dialect| dialect.name() == name) {
            Some(dialect) => Ok(dialect),
            None => DialectName::new(name).map(Self::Described),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Dialect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).map_err(D::Error::custom)
    }
}

/// The name of a dialect that a file describes: lower-case letters, digits and hyphens, 40 at most.
///
/// Names live as long as the process, so that a dialect is a value that can be copied. There can be
/// [`DialectName::MOST`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialectName(&'static str);

impl DialectName {
    /// How many names a process takes.
    pub const MOST: usize = 1024;
    /// The longest name in bytes.
    const LONGEST: usize = 40;

    /// A name, the same as any other of the same letters.
    ///
    /// # Errors
    /// When it has other characters, is too long, or there are too many names already.
    pub fn new(name: &str) -> Result<Self, BadDialectName> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > Self::LONGEST || !name.bytes().all(letter) {
            return Err(BadDialectName::Letters);
        }
        let mut names = names();
        if let Some(known) = names.get(name) {
            return Ok(Self(known));
        }
        if names.len() >= Self::MOST {
            return Err(BadDialectName::TooMany);
        }
        let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
        names.insert(kept);
        Ok(Self(kept))
    }

    /// Every name that the process has taken so far.
    #[must_use]
    pub fn all() -> Vec<Self> {
        names().iter().copied().map(Self).collect()
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

fn names() -> MutexGuard<'static, BTreeSet<&'static str>> {
    static NAMES: OnceLock<Mutex<BTreeSet<&'static str>>> = OnceLock::new();
    // Nothing panics between taking the lock and giving it back, so a poisoned set would be whole.
    NAMES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// A dialect's name that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDialectName {
    /// It is empty, too long, or has other characters.
    #[error("a dialect's name is of lower-case letters, digits and hyphens, 40 at most")]
    Letters,
    /// The process has taken as many names as it may.
    #[error("more than {most} names of dialects", most = DialectName::MOST)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_dialect_is_found_by_its_name() {
        for dialect in Dialect::BUILT_IN {
            assert_eq!(Dialect::from_name(dialect.name()), Ok(dialect));
        }
    }

    #[test]
    fn a_described_dialect_is_its_name() {
        let web = Dialect::from_name("some-web-app").unwrap();
        assert_eq!(web, Dialect::from_name("some-web-app").unwrap());
        assert_eq!(web.name(), "some-web-app");
        for bad in ["", "A", "a_b", "a b", &"x".repeat(41)] {
            assert_eq!(Dialect::from_name(bad), Err(BadDialectName::Letters), "{bad}");
        }
    }
}
