//! What a `/v1/completions` request means: texts to go on from, and how.
//!
//! Limits: [`PROMPTS`] prompts; those of [`super`].

use serde_json::Value;

use super::{Answering, Fields, TOP, answering, invalid, object};
use crate::failure::Failure;

/// Prompts of a request.
const PROMPTS: usize = 16;

/// A request to go on from texts.
pub(crate) struct Completion {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) answering: Answering,
    /// Whether the prompt is said before its answer.
    pub(crate) echo: bool,
}

/// What to go on from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<i32>),
}

/// Reads a request. `seed` is used when it brings none.
pub(crate) fn read(body: &[u8], vocabulary: i32, seed: u32) -> Result<Completion, Failure> {
    let mut fields = object(body)?;
    let logprobs = Fields(&fields).integer("logprobs", 0, TOP)?;
    // A number here, and a flag in a chat.
    fields.shift_remove("logprobs");
    fields.shift_remove("top_logprobs");
    for param in ["tools", "tool_choice", "suffix"] {
        if Fields(&fields).get(param).is_some() {
            return Err(Failure::Unsupported {
                param: param.to_owned(),
                why: "leave it out of a completion",
            });
        }
    }
    let fields = Fields(&fields);
    let mut answering = answering(&fields, vocabulary, seed)?;
    answering.report = logprobs.map(|top| usize::try_from(top).unwrap_or(0));
    if fields
        .integer("best_of", 1, i64::MAX)?
        .is_some_and(|best| best > i64::from(answering.choices))
    {
        return Err(Failure::Unsupported {
            param: "best_of".to_owned(),
            why: "all answers are given; ask for them with `n`",
        });
    }
    let prompts = prompts(fields.get("prompt"), vocabulary, "prompt", PROMPTS)?;
    let echo = fields.flag("echo")?.unwrap_or(false);
    if echo && answering.report.is_some() {
        return Err(Failure::Unsupported {
            param: "echo".to_owned(),
            why: "probabilities of the prompt are not told; leave `logprobs` or `echo` out",
        });
    }
    // As with OpenAI; a completion without an end in sight is rarely meant.
    answering.answer_limit.get_or_insert(16);
    Ok(Completion {
        prompts,
        answering,
        echo,
    })
}

/// A string, tokens, or a list of either.
pub(crate) fn prompts(
    given: Option<&Value>,
    vocabulary: i32,
    param: &str,
    most: usize,
) -> Result<Vec<Prompt>, Failure> {
    let wrong = || {
        invalid(
            param,
            "must be a string, an array of tokens, or an array of these",
        )
    };
    let tokens = |entries: &[Value]| {
        let token = |entry: &Value| {
            let token = i32::try_from(entry.as_i64()?).ok()?;
            (0..vocabulary).contains(&token).then_some(token)
        };
        entries
            .iter()
            .map(token)
            .collect::<Option<Vec<_>>>()
            .map(Prompt::Tokens)
    };
    let one = |entry: &Value| match entry {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(entries) => tokens(entries),
        _ => None,
    };
    match given {
        None => Err(invalid(param, "is missing")),
        Some(Value::String(text)) => Ok(vec![Prompt::Text(text.clone())]),
        Some(Value::Array(entries)) if entries.is_empty() => Err(invalid(param, "is empty")),
        Some(Value::Array(entries)) if entries[0].is_number() => Ok(vec![tokens(entries).ok_or_else(wrong)?]),
        Some(Value::Array(entries)) if entries.len() <= most => {
            entries.iter().map(|entry| one(entry).ok_or_else(wrong)).collect()
        }
        Some(Value::Array(_)) => Err(invalid(param, "holds too many texts")),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(body: Value) -> Result<Completion, Failure> {
        read(body.to_string().as_bytes(), 100, 7)
    }

    #[test]
    fn prompts_come_in_four_shapes() {
        let prompts = |prompt: Value| with(json!({"prompt": prompt})).unwrap().prompts;
        let text = |text: &str| Prompt::Text(text.to_owned());
        assert_eq!(prompts(json!("a")), [text("a")]);
        assert_eq!(prompts(json!(["a", "b"])), [text("a"), text("b")]);
        assert_eq!(prompts(json!([1, 2])), [Prompt::Tokens(vec![1, 2])]);
        assert_eq!(prompts(json!([[1], "b"])), [Prompt::Tokens(vec![1]), text("b")]);
        for wrong in [
            json!([]),
            json!([100]),
            json!([1, "a"]),
            json!({}),
            Value::Null,
            json!(vec!["a"; 17]),
        ] {
            let failure = with(json!({"prompt": wrong})).err().unwrap();
            assert_eq!(failure.body()["error"]["param"], "prompt", "{wrong}");
        }
    }

    #[test]
    fn parameters_are_those_of_a_chat_but_for_these() {
        let read = with(json!({"prompt": "a", "logprobs": 2, "n": 2, "best_of": 2})).unwrap();
        assert_eq!(read.answering.report, Some(2));
        assert_eq!(read.answering.answer_limit, Some(16));
        assert_eq!(read.answering.choices, 2);
        let param = |body: Value| with(body).err().unwrap().body()["error"]["param"].clone();
        assert_eq!(param(json!({"prompt": "a", "best_of": 2})), "best_of");
        assert_eq!(param(json!({"prompt": "a", "suffix": "b"})), "suffix");
        assert_eq!(param(json!({"prompt": "a", "logprobs": true})), "logprobs");
        assert_eq!(param(json!({"prompt": "a", "echo": true, "logprobs": 0})), "echo");
    }
}
