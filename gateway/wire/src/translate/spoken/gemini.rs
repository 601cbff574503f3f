//! An upstream that speaks Gemini.
//!
//! Its functions may be called several at once, always: `parallel_tool_calls: false` has no counterpart and is left out.

use serde_json::{Map, Value, json};

use super::{
    chat::{Chat, Choice, Format, Part, Turn, by_side},
    reply::{self, Chunks},
    stream::Reader,
    thinking,
};
use crate::translate::{
    TranslateError,
    reasoning::Reasoning,
    reply::{Call, Reply, Stop, Tokens, string},
};

/// What stands in place of the signature of a call that another model made: Gemini 3 and later refuse a call without any.
/// No server of Google's was asked whether it takes this.
const UNSIGNED: &str = "skip_thought_signature_validator";

pub(super) fn request(chat: &Chat, model: &str) -> Value {
    let signs = !["gemini-1", "gemini-2"]
        .iter()
        .any(|earlier| model.trim_start_matches("models/").starts_with(earlier));
    let mut request = json!({"contents": contents(chat, signs)});
    if !chat.system.is_empty() {
        request["systemInstruction"] = json!({"parts": [{"text": chat.system}]});
    }
    tools(chat, &mut request);
    let config = generation(chat, model);
    if !config.is_empty() {
        request["generationConfig"] = config.into();
    }
    request
}

/// What is counted of a request. Only in this form are instructions and functions counted, too.
pub(super) fn counting(chat: &Chat, model: &str) -> Value {
    let mut request = request(chat, model);
    let model = model.strip_prefix("models/").unwrap_or(model);
    request["model"] = format!("models/{model}").into();
    json!({"generateContentRequest": request})
}

fn contents(chat: &Chat, signs: bool) -> Vec<Value> {
    let sides = by_side(&chat.turns, |turn| match turn {
        Turn::User(parts) => ("user", parts.iter().map(part).collect()),
        Turn::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({"text": text}));
            let called = calls.iter().enumerate().map(|(at, called)| {
                let mut part = json!({
                    "functionCall": {"id": called.id, "name": called.name, "args": called.input()},
                });
                // The first of those made at once carries it.
                if signs && at == 0 {
                    part["thoughtSignature"] = UNSIGNED.into();
                }
                part
            });
            ("model", said.into_iter().chain(called).collect())
        }
        Turn::Result { id, name, text } => {
            let response = json!({"id": id, "name": name, "response": {"output": text}});
            ("user", vec![json!({"functionResponse": response})])
        }
    });
    sides
        .into_iter()
        .map(|(role, parts)| json!({"role": role, "parts": parts}))
        .collect()
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"text": text}),
        Part::Image { kind, data } => json!({"inlineData": {"mimeType": kind, "data": data}}),
    }
}

fn tools(chat: &Chat, request: &mut Value) {
    if chat.tools.is_empty() {
        return;
    }
    let declared = chat.tools.iter().map(|tool| {
        let mut declared = json!({"name": tool.name, "parametersJsonSchema": tool.schema});
        if let Some(description) = &tool.description {
            declared["description"] = description.as_str().into();
        }
        declared
    });
    let declared: Value = declared.collect();
    request["tools"] = json!([{"functionDeclarations": declared}]);
    let config = match &chat.choice {
        Choice::Free => return,
        Choice::None => json!({"mode": "NONE"}),
        Choice::Required => json!({"mode": "ANY"}),
        Choice::Named(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    request["toolConfig"] = json!({"functionCallingConfig": config});
}

fn generation(chat: &Chat, model: &str) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(most) = &chat.most {
        config.insert("maxOutputTokens".into(), most.clone());
    }
    for (name, theirs) in [
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("seed", "seed"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
    ] {
        if let Some(value) = chat.body.get(name).filter(|value| value.is_number()) {
            config.insert(theirs.into(), value.clone());
        }
    }
    if !chat.stops.is_empty() {
        config.insert("stopSequences".into(), chat.stops.clone().into());
    }
    if let Some(wish) = thinking::of_gemini(model, chat.effort) {
        config.insert("thinkingConfig".into(), wish);
    }
    match &chat.format {
        Format::Text => {}
        Format::Object => {
            config.insert("responseMimeType".into(), "application/json".into());
        }
        Format::Schema(schema) => {
            config.insert("responseMimeType".into(), "application/json".into());
            config.insert("responseJsonSchema".into(), schema.clone());
        }
    }
    config
}

pub(super) fn reply(answer: &Value, created: u64) -> Result<Value, TranslateError> {
    let head = reply::head(answer.get("responseId"), created);
    let mut reasoning = Reasoning::default();
    let (mut text, mut calls) = (String::new(), Vec::new());
    for part in parts(answer) {
        match Said::of(part) {
            Said::Text(words) => text.push_str(words),
            Said::Call(call) => {
                let mut call = Call {
                    id: string(call, "id"),
                    name: string(call, "name"),
                    arguments: arguments(call),
                };
                if call.id.is_empty() {
                    call.id = head.call_id(calls.len() as u64);
                }
                calls.push(call);
            }
            Said::Thought(words) => reasoning.text.push_str(words),
        }
    }
    let stop = stop(answer, !calls.is_empty()).ok_or(TranslateError::Reply("it holds no candidate"))?;
    let mut tokens = Tokens::default();
    count(answer, &mut tokens);
    let reply = Reply {
        head,
        reasoning,
        text,
        refusal: String::new(),
        calls,
        stop,
        usage: tokens,
    };
    Ok(reply::whole(&reply, &string(answer, "modelVersion")))
}

fn parts(answer: &Value) -> impl Iterator<Item = &Value> {
    let parts = answer
        .pointer("/candidates/0/content/parts")
        .and_then(Value::as_array);
    parts.into_iter().flatten()
}

/// What a part says.
enum Said<'a> {
    Text(&'a str),
    Call(&'a Value),
    Thought(&'a str),
}

impl<'a> Said<'a> {
    fn of(part: &'a Value) -> Self {
        let words = part.get("text").and_then(Value::as_str).unwrap_or_default();
        if part.get("thought") == Some(&Value::Bool(true)) {
            return Self::Thought(words);
        }
        match part.get("functionCall") {
            Some(call) => Self::Call(call),
            None => Self::Text(words),
        }
    }
}

fn arguments(call: &Value) -> String {
    let given = call.get("args").filter(|arguments| arguments.is_object());
    given.map_or_else(|| "{}".to_owned(), Value::to_string)
}

/// Why it ended; `None` while it goes on. A prompt that was blocked has no candidate.
fn stop(answer: &Value, called: bool) -> Option<Stop> {
    if answer.pointer("/promptFeedback/blockReason").is_some() {
        return Some(Stop::Filtered);
    }
    let reason = answer.pointer("/candidates/0/finishReason")?.as_str()?;
    Some(match reason {
        "MAX_TOKENS" => Stop::Length,
        "STOP" if called => Stop::Tools,
        "STOP" | "FINISH_REASON_UNSPECIFIED" => Stop::End,
        // Its words are not the whole answer: a filter, or a call that Google itself could not read.
        _ => Stop::Filtered,
    })
}

fn count(answer: &Value, tokens: &mut Tokens) {
    let Some(usage) = answer.get("usageMetadata") else {
        return;
    };
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    let thoughts = count("thoughtsTokenCount");
    *tokens = Tokens {
        input: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        cached: count("cachedContentTokenCount"),
        output: count("candidatesTokenCount").saturating_add(thoughts),
        reasoning: thoughts,
    };
}

/// Reads a streamed reply. What says why it ends need not be the last, so its end is the connection's.
#[derive(Default)]
pub(super) struct Items {
    stop: Option<Stop>,
    tokens: Tokens,
}

impl Reader for Items {
    fn event(
        &mut self,
        event: &Value,
        chunks: &mut Chunks,
        out: &mut Vec<u8>,
    ) -> Result<bool, TranslateError> {
        chunks.start(event.get("responseId"), event.get("modelVersion"), out);
        for part in parts(event) {
            match Said::of(part) {
                Said::Text(words) => chunks.text(words, out),
                Said::Call(call) => {
                    chunks.call(&string(call, "id"), &string(call, "name"), out);
                    chunks.arguments(&arguments(call), out);
                }
                Said::Thought(words) => chunks.reasoning(words, out),
            }
        }
        count(event, &mut self.tokens);
        if let Some(stop) = stop(event, chunks.has_calls()) {
            self.stop = Some(stop);
        }
        Ok(false)
    }

    fn closed(&mut self, chunks: &mut Chunks, out: &mut Vec<u8>) {
        if let Some(stop) = self.stop.take() {
            chunks.end(&stop, self.tokens, out);
        }
    }
}
