//! An upstream that speaks Anthropic's messages.
//!
//! Its output has to be bounded: where the caller sets no bound, [`MOST`] LLM tokens are asked for. Its temperatures end at 1, so a higher one
//! becomes that. It knows no wish for some JSON object; the wish is put into words.

use serde_json::{Value, json};

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
    request::join,
};

/// LLM tokens of an answer that nobody bounded.
const MOST: u32 = 4096;

pub(super) fn request(mut chat: Chat, model: &str) -> Value {
    let mut request = json!({
        "model": model,
        "max_tokens": chat.most.clone().unwrap_or_else(|| MOST.into()),
        "messages": messages(&chat),
    });
    match &chat.format {
        Format::Text => {}
        Format::Object => join(&mut chat.system, "Answer with one JSON object and nothing else."),
        Format::Schema(schema) => {
            request["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
        }
    }
    if !chat.system.is_empty() {
        request["system"] = chat.system.as_str().into();
    }
    tools(&chat, &mut request);
    // A model that thinks takes no share and no temperature but its own.
    if thinks(&chat, model, &mut request) {
        chat.body.remove("temperature");
        chat.body.remove("top_p");
    }
    if let Some(temperature) = chat.body.get("temperature").filter(|value| value.is_number()) {
        let over = temperature.as_f64().is_some_and(|temperature| temperature > 1.0);
        request["temperature"] = if over { json!(1) } else { temperature.clone() };
    }
    if let Some(share) = chat.body.get("top_p").filter(|value| value.is_number()) {
        request["top_p"] = share.clone();
    }
    if !chat.stops.is_empty() {
        request["stop_sequences"] = chat.stops.into();
    }
    if chat.streamed {
        request["stream"] = true.into();
    }
    request
}

/// What is counted of a request: what the model would read.
pub(super) fn counting(chat: Chat, model: &str) -> Value {
    let mut request = request(chat, model);
    if let Some(members) = request.as_object_mut() {
        members.retain(|name, _| {
            matches!(
                name.as_str(),
                "model" | "system" | "messages" | "tools" | "tool_choice"
            )
        });
    }
    request
}

/// Has the model think as much as is wished. Gives whether it does.
///
/// It is not asked to where it has to call a tool or goes on with words put into its mouth, nor to go on from calls: the thoughts before them would have to come
/// back signed, and callers of other dialects do not have the signature.
fn thinks(chat: &Chat, model: &str, request: &mut Value) -> bool {
    let forced = matches!(chat.choice, Choice::Required | Choice::Named(_));
    let since_assistant = || {
        chat.turns
            .iter()
            .rev()
            .take_while(|turn| !matches!(turn, Turn::Assistant { .. }))
    };
    let goes_on = since_assistant().any(|turn| matches!(turn, Turn::Result { .. }));
    let is_prefilled = matches!(chat.turns.last(), Some(Turn::Assistant { .. }));
    if forced || goes_on || is_prefilled {
        return false;
    }
    let most = request["max_tokens"].as_u64().unwrap_or(0);
    // Thoughts count among the LLM tokens that a caller bounds; where nobody bounds them they come on top.
    let bounded = chat.most.is_some();
    match thinking::of_claude(model, chat.effort, bounded.then_some(most)) {
        None => false,
        Some(thinking::Claude::Budget(budget)) => {
            if !bounded {
                request["max_tokens"] = most.saturating_add(budget).into();
            }
            request["thinking"] = json!({"type": "enabled", "budget_tokens": budget});
            true
        }
        Some(thinking::Claude::Adaptive { effort, summarized }) => {
            request["thinking"] = json!({"type": "adaptive"});
            if summarized {
                request["thinking"]["display"] = "summarized".into();
            }
            request["output_config"]["effort"] = effort.into();
            true
        }
    }
}

fn messages(chat: &Chat) -> Vec<Value> {
    let sides = by_side(&chat.turns, |turn| match turn {
        Turn::User(parts) => ("user", parts.iter().filter_map(part).collect()),
        Turn::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
            let called = calls.iter().map(
                |call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input()}),
            );
            ("assistant", said.into_iter().chain(called).collect())
        }
        Turn::Result { id, text, .. } => {
            let result = json!({"type": "tool_result", "tool_use_id": id, "content": text});
            ("user", vec![result])
        }
    });
    sides
        .into_iter()
        .map(|(role, blocks)| json!({"role": role, "content": blocks}))
        .collect()
}

/// A part as a block; the dialect permits no empty text.
fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text(text) if text.is_empty() => None,
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image { kind, data } => Some(json!({
            "type": "image",
            "source": {"type": "base64", "media_type": kind, "data": data},
        })),
    }
}

fn tools(chat: &Chat, request: &mut Value) {
    if chat.tools.is_empty() {
        return;
    }
    let offered = chat.tools.iter().map(|tool| {
        let mut offered = json!({"name": tool.name, "input_schema": tool.schema});
        if let Some(description) = &tool.description {
            offered["description"] = description.as_str().into();
        }
        offered
    });
    request["tools"] = offered.collect();
    let mut choice = match &chat.choice {
        Choice::Free => json!({"type": "auto"}),
        Choice::None => json!({"type": "none"}),
        Choice::Required => json!({"type": "any"}),
        Choice::Named(name) => json!({"type": "tool", "name": name}),
    };
    if !chat.parallel && chat.choice != Choice::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    request["tool_choice"] = choice;
}

pub(super) fn reply(message: &Value, created: u64) -> Result<Value, TranslateError> {
    let blocks = message.get("content").and_then(Value::as_array);
    let blocks = blocks.ok_or(TranslateError::Reply("it holds no content"))?;
    let mut reasoning = Reasoning::default();
    let (mut text, mut calls) = (String::new(), Vec::new());
    for block in blocks {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => text.push_str(&string(block, "text")),
            Some("thinking") => join(&mut reasoning.text, &string(block, "thinking")),
            Some("tool_use") => calls.push(Call {
                id: string(block, "id"),
                name: string(block, "name"),
                arguments: block
                    .get("input")
                    .map_or_else(|| "{}".to_owned(), Value::to_string),
            }),
            _ => {}
        }
    }
    let mut tokens = Tokens::default();
    count(message.get("usage"), &mut tokens);
    let reply = Reply {
        head: reply::head(message.get("id"), created),
        reasoning,
        text,
        refusal: String::new(),
        calls,
        stop: stop(message),
        usage: tokens,
    };
    Ok(reply::whole(&reply, &string(message, "model")))
}

/// Why it ended, of a message or of what a stream tells last.
fn stop(told: &Value) -> Stop {
    match told.get("stop_reason").and_then(Value::as_str) {
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
        Some("tool_use") => Stop::Tools,
        Some("refusal") => Stop::Filtered,
        Some("stop_sequence") => Stop::Sequence(string(told, "stop_sequence")),
        _ => Stop::End,
    }
}

/// Takes over what a usage tells; Anthropic counts cached input apart.
fn count(usage: Option<&Value>, tokens: &mut Tokens) {
    let count = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    if let Some(input) = count("input_tokens") {
        let cached = count("cache_read_input_tokens").unwrap_or(0);
        let made = count("cache_creation_input_tokens").unwrap_or(0);
        tokens.cached = cached;
        tokens.input = input.saturating_add(cached).saturating_add(made);
    }
    if let Some(output) = count("output_tokens") {
        tokens.output = output;
    }
}

/// Reads a streamed message.
#[derive(Default)]
pub(super) struct Events {
    stop: Option<Stop>,
    tokens: Tokens,
    /// What the open call's arguments are, unless pieces of them come.
    arguments: Option<String>,
}

impl Reader for Events {
    fn event(
        &mut self,
        event: &Value,
        chunks: &mut Chunks,
        out: &mut Vec<u8>,
    ) -> Result<bool, TranslateError> {
        match event.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => {
                let message = event.get("message").unwrap_or(&Value::Null);
                count(message.get("usage"), &mut self.tokens);
                chunks.start(message.get("id"), message.get("model"), out);
            }
            "content_block_start" => {
                let block = event.get("content_block").unwrap_or(&Value::Null);
                match block.get("type").and_then(Value::as_str) {
                    Some("tool_use") => {
                        chunks.call(&string(block, "id"), &string(block, "name"), out);
                        let given = block.get("input").filter(|input| input.is_object());
                        self.arguments = Some(given.map_or_else(|| "{}".to_owned(), Value::to_string));
                    }
                    Some("text") => chunks.text(&string(block, "text"), out),
                    Some("thinking") => chunks.reasoning(&string(block, "thinking"), out),
                    _ => {}
                }
            }
            "content_block_delta" => {
                let delta = event.get("delta").unwrap_or(&Value::Null);
                match delta.get("type").and_then(Value::as_str) {
                    Some("text_delta") => chunks.text(&string(delta, "text"), out),
                    Some("thinking_delta") => chunks.reasoning(&string(delta, "thinking"), out),
                    Some("input_json_delta") => {
                        let piece = string(delta, "partial_json");
                        if !piece.is_empty() {
                            self.arguments = None;
                            chunks.arguments(&piece, out);
                        }
                    }
                    _ => {}
                }
            }
            "content_block_stop" => {
                if let Some(arguments) = self.arguments.take() {
                    chunks.arguments(&arguments, out);
                }
            }
            "message_delta" => {
                count(event.get("usage"), &mut self.tokens);
                if let Some(delta) = event.get("delta") {
                    self.stop = Some(stop(delta));
                }
            }
            "message_stop" => {
                chunks.end(self.stop.as_ref().unwrap_or(&Stop::End), self.tokens, out);
                return Ok(true);
            }
            "ping" => chunks.thinking(out),
            _ => {}
        }
        Ok(false)
    }
}
