//! What a model thinks before it answers, and how much a caller wants it to.
//!
//! Providers sign the reasoning of their own models and refuse a conversation that holds some which they did not sign. So
//! reasoning that is put into a dialect with signatures carries a mark of ours in that place. A client sends it back
//! with the next turn. Then an `openai-chat` upstream gets it again, by the name that it had there, since models that think between
//! their calls of tools go on from it; and [`without_made`] takes it out of what goes to a provider, to
//! whom the mark would be a false signature.
//!
//! Reasoning that a provider signed goes to no other: it is left out of what is translated.

use serde_json::Value;

use super::{reply::string, request::Object};

mod made;
pub use made::without_made;

/// By which name an `openai-chat` server has its model's reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Name {
    /// `reasoning_content`: DeepSeek, llama.cpp, SGLang, earlier vLLM.
    #[default]
    Content,
    /// `reasoning`: OpenRouter, Groq, Ollama, vLLM.
    Plain,
}

impl Name {
    const ALL: [Self; 2] = [Self::Content, Self::Plain];

    /// What both marks begin with.
    const MARKS_BEGIN: &str = "Y29yZG9uO";

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Content => "reasoning_content",
            Self::Plain => "reasoning",
        }
    }

    /// What stands in place of a signature. In base64 without padding, since clients decode signatures and encode
    /// them again, in either alphabet.
    pub(super) fn mark(self) -> &'static str {
        match self {
            // cordon:reasoning_content
            Self::Content => "Y29yZG9uOnJlYXNvbmluZ19jb250ZW50",
            // cordon::reasoning:
            Self::Plain => "Y29yZG9uOjpyZWFzb25pbmc6",
        }
    }

    /// Whose mark that is, if it is one.
    pub(super) fn of_mark(mark: Option<&Value>) -> Option<Self> {
        let mark = mark?.as_str()?;
        Self::ALL.into_iter().find(|name| name.mark() == mark)
    }
}

/// A text that a model thought, or a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasoning {
    pub(super) name: Name,
    pub(super) text: String,
}

impl Reasoning {
    /// Of a message or delta of `openai-chat`. Servers that have it by both names say the same twice.
    pub(super) fn of(message: &Value) -> Self {
        let named = |name: Name| Self {
            name,
            text: string(message, name.as_str()),
        };
        Name::ALL
            .into_iter()
            .map(named)
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What a caller sends back: only what carries a mark of ours.
    pub(super) fn sent_back(text: Option<&Value>, mark: Option<&Value>) -> Option<Self> {
        Some(Self {
            name: Name::of_mark(mark)?,
            text: text?.as_str()?.to_owned(),
        })
    }
}

/// How much a model is to think, as `openai-chat` has it in `reasoning_effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
}

impl Effort {
    /// Levels beyond `high`, which few models have, become that.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" | "xhigh" | "max" => Self::High,
            _ => return None,
        })
    }

    /// Of a bound on the LLM tokens to think with, the levels being those that Google publishes for its own models. A
    /// negative one leaves it to the model.
    pub(super) fn of_budget(tokens: Option<&Value>) -> Option<Self> {
        Some(match tokens?.as_u64()? {
            0 => Self::None,
            1..=2048 => Self::Low,
            2049..=10_240 => Self::Medium,
            _ => Self::High,
        })
    }

    /// The same the other way.
    pub(super) fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1024,
            Self::Medium => 8192,
            Self::High => 24_576,
        }
    }

    /// Of `thinking` as Anthropic and Cohere have it: whether, and with how many LLM tokens.
    pub(super) fn of_thinking(thinking: &Value, budget: &str) -> Option<Self> {
        match thinking.get("type").and_then(Value::as_str)? {
            "disabled" => Some(Self::None),
            "enabled" => Self::of_budget(thinking.get(budget)),
            _ => None,
        }
    }

    /// Of an `openai-chat` request, by OpenAI's name or OpenRouter's.
    pub(super) fn of_chat(body: &Object) -> Option<Self> {
        let effort = body
            .get("reasoning_effort")
            .or_else(|| body.get("reasoning")?.get("effort"));
        Self::named(effort?.as_str()?)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}
