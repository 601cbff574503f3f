//! How many LLM tokens an exchange took, in the words of each provider.

use crate::json::{Kind, Value};

/// LLM tokens that an exchange took, as the upstream counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the request, those read from a cache included.
    pub input: u64,
    /// Tokens of the reply, reasoning included.
    pub output: u64,
}

/// What one provider calls its counts.
struct Names {
    /// The objects on the way to the counts, from the outermost.
    at: &'static [&'static str],
    /// Summed up; the first must be there for the others to count.
    input: &'static [&'static str],
    /// Summed up.
    output: &'static [&'static str],
}

/// The first that is there counts. Those of a stream's last event stand beside a reply's own.
const NAMES: &[Names] = &[
    // Anthropic leaves cached tokens out of `input_tokens`; OpenAI names them inside `..._details`.
    Names {
        at: &["usage"],
        input: &[
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ],
        output: &["output_tokens"],
    },
    Names {
        at: &["usage"],
        input: &["prompt_tokens"],
        output: &["completion_tokens"],
    },
    Names {
        at: &["usage"],
        input: &["inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"],
        output: &["outputTokens"],
    },
    // Cohere bills other numbers than it counts.
    Names {
        at: &["usage", "tokens"],
        input: &["input_tokens"],
        output: &["output_tokens"],
    },
    Names {
        at: &["usage", "billed_units"],
        input: &["input_tokens"],
        output: &["output_tokens"],
    },
    Names {
        at: &["meta", "tokens"],
        input: &["input_tokens"],
        output: &["output_tokens"],
    },
    Names {
        at: &["meta", "billed_units"],
        input: &["input_tokens"],
        output: &["output_tokens"],
    },
    Names {
        at: &["usageMetadata"],
        input: &["promptTokenCount", "toolUsePromptTokenCount"],
        output: &["candidatesTokenCount", "thoughtsTokenCount"],
    },
    Names {
        at: &["amazon-bedrock-invocationMetrics"],
        input: &["inputTokenCount"],
        output: &["outputTokenCount"],
    },
    // Ollama's, Llama's and Titan's; and counting answers with the bare number.
    Names {
        at: &[],
        input: &["prompt_eval_count"],
        output: &["eval_count"],
    },
    Names {
        at: &[],
        input: &["prompt_token_count"],
        output: &["generation_token_count"],
    },
    Names {
        at: &[],
        input: &["inputTextTokenCount"],
        output: &["totalOutputTextTokenCount"],
    },
    Names {
        at: &[],
        input: &[
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ],
        output: &["output_tokens"],
    },
    Names {
        at: &[],
        input: &["inputTokens"],
        output: &["outputTokens"],
    },
    Names {
        at: &[],
        input: &["totalTokens"],
        output: &[],
    },
];

/// The counts that an object tells, each as far as it does: a whole reply, or an event of a stream.
pub(crate) fn counts(object: Value<'_>) -> (Option<u64>, Option<u64>) {
    // Gemini CLI's envelope.
    let object = object
        .get("response")
        .filter(|reply| reply.kind() == Kind::Object)
        .unwrap_or(object);
    for names in NAMES {
        let Some(usage) = names.at.iter().try_fold(object, |object, name| object.get(name)) else {
            continue;
        };
        let count = |name: &str| usage.get(name).and_then(|count| count.as_u64());
        let sum = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| count(name))
                .fold(0, u64::saturating_add)
        };
        // What came from a cache alone is no count of what was sent.
        let input = names
            .input
            .first()
            .and_then(|first| count(first))
            .map(|_| sum(names.input));
        let output = names
            .output
            .iter()
            .any(|name| count(name).is_some())
            .then(|| sum(names.output));
        if input.is_some() || output.is_some() {
            return (input, output);
        }
    }
    (None, None)
}

/// The usage that a whole reply tells.
pub(crate) fn usage_of(object: Value<'_>) -> Option<Usage> {
    match counts(object) {
        (None, None) => None,
        (input, output) => Some(Usage {
            input: input.unwrap_or(0),
            output: output.unwrap_or(0),
        }),
    }
}
