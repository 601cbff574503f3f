//! What a `/v1/chat/completions` request means: messages for the template, and how to answer.
//!
//! A parameter that this engine cannot honour and that would change the answer is refused by name
//! (`modalities`, `functions`, `prediction`...): ignoring it would answer another question than was
//! asked. Fields that nobody knows are ignored.
//!
//! Limits: [`BODY_LIMIT`] bytes, [`MESSAGES`] messages, [`STOPS`] stop texts; depth is bounded by
//! the JSON parser (128).
//!
//! On failure: a [`Failure`] that names the parameter, never its value.

use serde_json::{Map, Value};

use crate::{failure::Failure, form::Format, scheduler::Sampling};

pub(crate) mod completion;
mod format;
mod messages;
mod tools;

pub(crate) use self::tools::Tools;

/// Bytes of a request's body.
pub(crate) const BODY_LIMIT: usize = 16 << 20;
/// Messages of a conversation.
const MESSAGES: usize = 4096;
/// Stop texts of a request, and bytes of each.
const STOPS: usize = 16;
const STOP_LENGTH: usize = 512;
/// Entries of `logit_bias`.
const BIASES: usize = 1024;
/// Answers to one request.
const CHOICES: i64 = 16;
/// The most tokens of which `top_logprobs` can ask the probability, as with OpenAI.
const TOP: i64 = 20;

/// A chat request.
pub(crate) struct Chat {
    pub(crate) conversation: Conversation,
    pub(crate) answering: Answering,
}

/// What the template sees.
pub(crate) struct Conversation {
    /// Objects with `role` and `content` (text), and what else they came with.
    pub(crate) messages: Vec<Value>,
    /// Tool definitions as they came; `Null` without.
    pub(crate) tools: Value,
    /// Further template variables, such as `enable_thinking`.
    pub(crate) variables: Map<String, Value>,
}

/// How to answer.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) sampling: Sampling,
    pub(crate) answer_limit: Option<usize>,
    pub(crate) stops: Vec<String>,
    /// Whether the answer goes on to its limit although the model would end it, as other engines have it too.
    pub(crate) ignore_end: bool,
    pub(crate) reuse: bool,
    /// The form that the answer shall have, and which field asks for it.
    pub(crate) format: Option<(Format, &'static str)>,
    /// What may be called.
    pub(crate) tools: Tools,
    /// Whether the answer is a call, written as plain JSON.
    pub(crate) forced: bool,
    /// How many answers.
    pub(crate) choices: u32,
    /// Report the probability of each token, and of so many others in its place.
    pub(crate) report: Option<usize>,
}

/// Reads a request. `seed` is used when it brings none.
pub(crate) fn read(body: &[u8], vocabulary: i32, seed: u32) -> Result<Chat, Failure> {
    let fields = object(body)?;
    let fields = Fields(&fields);
    refuse_unsupported(&fields)?;
    let mut answering = answering(&fields, vocabulary, seed)?;
    let mut conversation = messages::read(&fields)?;
    conversation.tools = answering.tools.definitions.clone();
    // A call is a form of its own, and whoever forces one gets nothing else.
    if let Some(schema) = answering.tools.forced.take() {
        answering.format = Some((Format::Schema(schema), "tools"));
        answering.forced = true;
    }
    Ok(Chat {
        conversation,
        answering,
    })
}

/// A body that must be a JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::Invalid {
            param: "body".to_owned(),
            why: "must be a JSON object",
        }),
        Err(error) => Err(Failure::NotJson {
            line: error.line(),
            column: error.column(),
        }),
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Failure> {
    let unsupported = |param: &str, why| {
        Err(Failure::Unsupported {
            param: param.to_owned(),
            why,
        })
    };
    if let Some(kinds) = fields.get("modalities")
        && kinds
            .as_array()
            .is_none_or(|kinds| kinds.iter().any(|kind| kind != "text"))
    {
        return unsupported("modalities", "answers are text");
    }
    for param in ["audio", "functions", "function_call", "prediction"] {
        if fields.get(param).is_some() {
            return unsupported(param, "leave it out");
        }
    }
    Ok(())
}

fn answering(fields: &Fields<'_>, vocabulary: i32, seed: u32) -> Result<Answering, Failure> {
    let usual = Sampling::default();
    let sampling = Sampling {
        temperature: fields
            .number("temperature", 0.0, 2.0)?
            .unwrap_or(usual.temperature),
        top_p: fields.number("top_p", 0.0, 1.0)?.unwrap_or(usual.top_p),
        // -1 is how other engines say "all".
        top_k: fields
            .integer("top_k", -1, i64::from(i32::MAX))?
            .map_or(usual.top_k, |k| i32::try_from(k.max(0)).unwrap_or(i32::MAX)),
        min_p: fields.number("min_p", 0.0, 1.0)?.unwrap_or(usual.min_p),
        frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        // Any integer is a seed; its lower half decides.
        seed: fields
            .integer("seed", i64::MIN, i64::MAX)?
            .map_or(seed, |seed| seed.cast_unsigned() as u32),
        bias: bias(fields, vocabulary)?,
        never: Vec::new(),
    };
    let stream = fields.flag("stream")?.unwrap_or(false);
    let include_usage = match fields.get("stream_options") {
        None => false,
        Some(Value::Object(options)) => Fields(options).flag("include_usage")?.unwrap_or(false),
        Some(_) => return Err(invalid("stream_options", "must be an object")),
    };
    // The newer name wins, as with OpenAI.
    let limit = match fields.integer("max_completion_tokens", 1, i64::MAX)? {
        Some(limit) => Some(limit),
        None => fields.integer("max_tokens", 1, i64::MAX)?,
    };
    Ok(Answering {
        stream,
        include_usage,
        sampling,
        answer_limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        stops: stops(fields)?,
        ignore_end: fields.flag("ignore_eos")?.unwrap_or(false),
        reuse: fields.flag("cache_prompt")?.unwrap_or(true),
        format: format::read(fields)?,
        tools: tools::read(fields)?,
        forced: false,
        choices: fields
            .integer("n", 1, CHOICES)?
            .map_or(1, |n| u32::try_from(n).unwrap_or(1)),
        report: report(fields)?,
    })
}

/// Of how many tokens in each place the probability is to be told, besides the one that was chosen.
fn report(fields: &Fields<'_>) -> Result<Option<usize>, Failure> {
    let top = fields.integer("top_logprobs", 0, TOP)?;
    if !fields.flag("logprobs")?.unwrap_or(false) {
        return match top {
            Some(1..) => Err(invalid("top_logprobs", "needs `logprobs`")),
            _ => Ok(None),
        };
    }
    Ok(Some(top.map_or(0, |top| usize::try_from(top).unwrap_or(0))))
}

fn stops(fields: &Fields<'_>) -> Result<Vec<String>, Failure> {
    let given = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) if stops.len() <= STOPS => stops
            .iter()
            .map(|stop| {
                stop.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| invalid("stop", "must hold strings only"))
            })
            .collect::<Result<_, _>>()?,
        Some(Value::Array(_)) => return Err(invalid("stop", "holds more than 16 texts")),
        Some(_) => return Err(invalid("stop", "must be a string or an array of strings")),
    };
    if given
        .iter()
        .any(|stop| stop.is_empty() || stop.len() > STOP_LENGTH)
    {
        return Err(invalid("stop", "must hold texts of 1 to 512 bytes"));
    }
    Ok(given)
}

fn bias(fields: &Fields<'_>, vocabulary: i32) -> Result<Vec<(i32, f32)>, Failure> {
    let entries = match fields.get("logit_bias") {
        None => return Ok(Vec::new()),
        Some(Value::Object(entries)) if entries.len() <= BIASES => entries,
        Some(_) => {
            return Err(invalid(
                "logit_bias",
                "must be an object with at most 1024 entries",
            ));
        }
    };
    entries
        .iter()
        .map(|(token, by)| {
            let token = token.parse().ok().filter(|token| (0..vocabulary).contains(token));
            let by = by.as_f64().filter(|by| (-100.0..=100.0).contains(by));
            match (token, by) {
                (Some(token), Some(by)) => Ok((token, by as f32)),
                _ => Err(invalid(
                    "logit_bias",
                    "must map token ids to numbers from -100 to 100",
                )),
            }
        })
        .collect()
}

pub(crate) fn invalid(param: &str, why: &'static str) -> Failure {
    Failure::Invalid {
        param: param.to_owned(),
        why,
    }
}

/// The request's fields. `null` counts as absent, as with OpenAI.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.get(name)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| invalid(name, "must be true or false"))
            })
            .transpose()
    }

    fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f32>, Failure> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number as f32)),
            _ => Err(invalid(name, "must be a number within its range")),
        }
    }

    fn integer(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Failure> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        // Some programs write whole numbers as `5.0`.
        let whole = value.as_i64().or_else(|| {
            value
                .as_f64()
                .filter(|number| number.fract() == 0.0 && number.abs() < 1e15)
                .map(|number| number as i64)
        });
        match whole {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(invalid(name, "must be a whole number within its range")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(extra: Value) -> Result<Chat, Failure> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        read(body.to_string().as_bytes(), 1000, 7)
    }

    fn param(extra: Value) -> String {
        with(extra)
            .err()
            .map(|failure| failure.body()["error"]["param"].as_str().unwrap().to_owned())
            .unwrap()
    }

    #[test]
    fn absent_and_null_take_the_usual() {
        let answering = with(json!({"temperature": null, "unheard_of": {"x": 1}}))
            .unwrap()
            .answering;
        assert_eq!(
            answering.sampling,
            Sampling {
                seed: 7,
                ..Sampling::default()
            }
        );
        assert_eq!(answering.answer_limit, None);
        assert!(!answering.stream && answering.reuse);
    }

    #[test]
    fn parameters_are_read() {
        let answering = with(json!({
            "temperature": 0, "top_p": 0.5, "top_k": 5.0, "min_p": 0.1, "seed": -1, "max_tokens": 9,
            "max_completion_tokens": 8, "stop": ["a", "b"], "frequency_penalty": 1, "presence_penalty": -1,
            "logit_bias": {"3": -100}, "stream": true, "stream_options": {"include_usage": true}, "n": 1,
            "tool_choice": "auto", "response_format": {"type": "text"}, "cache_prompt": false
        }))
        .unwrap()
        .answering;
        assert_eq!(answering.sampling.seed, u32::MAX);
        assert_eq!(answering.sampling.top_k, 5);
        assert_eq!(answering.sampling.bias, [(3, -100.0)]);
        assert_eq!(answering.answer_limit, Some(8));
        assert_eq!(answering.stops, ["a", "b"]);
        assert!(answering.stream && answering.include_usage && !answering.reuse);
        assert!(answering.format.is_none() && answering.report.is_none());
        let answering = with(json!({
            "logprobs": true, "top_logprobs": 3, "response_format": {"type": "json_object"}
        }))
        .unwrap()
        .answering;
        assert_eq!(answering.report, Some(3));
        assert!(answering.format.is_some());
        let tool = json!({"type": "function", "function": {"name": "f"}});
        let answering = with(json!({"tools": [tool], "tool_choice": "required", "n": 3}))
            .unwrap()
            .answering;
        assert!(answering.forced && answering.format.is_some());
        assert_eq!(answering.choices, 3);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        assert_eq!(param(json!({"n": 17})), "n");
        assert_eq!(param(json!({"tool_choice": "required"})), "tool_choice");
        assert_eq!(param(json!({"modalities": ["text", "audio"]})), "modalities");
        assert_eq!(param(json!({"functions": []})), "functions");
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        assert_eq!(param(json!({"temperature": 2.1})), "temperature");
        assert_eq!(param(json!({"top_p": "x"})), "top_p");
        assert_eq!(param(json!({"max_tokens": 0})), "max_tokens");
        assert_eq!(param(json!({"max_tokens": 1.5})), "max_tokens");
        assert_eq!(param(json!({"stop": [""]})), "stop");
        assert_eq!(param(json!({"stop": 5})), "stop");
        assert_eq!(param(json!({"logit_bias": {"1000": 1}})), "logit_bias");
        assert_eq!(param(json!({"logit_bias": {"1": 101}})), "logit_bias");
        assert_eq!(param(json!({"stream_options": 1})), "stream_options");
        assert_eq!(param(json!({"seed": "s"})), "seed");
        assert_eq!(param(json!({"top_logprobs": 2})), "top_logprobs");
        assert_eq!(
            param(json!({"logprobs": true, "top_logprobs": 21})),
            "top_logprobs"
        );
    }

    #[test]
    fn what_is_no_json_is_refused_by_place_without_a_quote() {
        let failure = read(b"{\"messages\": secret}", 10, 0).err().unwrap();
        assert!(matches!(failure, Failure::NotJson { line: 1, .. }));
        assert!(!failure.to_string().contains("secret"));
        assert!(read(b"[]", 10, 0).is_err());
        assert!(read(&[b'['; 100_000], 10, 0).is_err());
        assert!(read(b"", 10, 0).is_err());
        assert!(read(b"\xff\xfe", 10, 0).is_err());
    }
}
