//! What providers say, in the three dialects, plain and streamed.
//!
//! The streams follow the providers' published event orders as far as client programs look at them:
//! `codex` and `claude` complete a turn from these.

use serde_json::{Value, json};

use crate::upstream::{Answer, Seen};

/// The dialect an answer is given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
}

impl Talk {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// The dialect that a path belongs to.
    #[must_use]
    pub fn by_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|talk| talk.path() == path)
    }

    /// Where requests are posted.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
        }
    }

    /// The provider's host.
    #[must_use]
    pub fn host(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "api.openai.com",
            Self::Messages => "api.anthropic.com",
        }
    }

    /// A request of one user message.
    #[must_use]
    pub fn request(self, text: &str, stream: bool) -> Value {
        match self {
            Self::Chat => json!({"model": "gpt-test", "stream": stream,
                "messages": [{"role": "user", "content": text}]}),
            Self::Responses => json!({"model": "gpt-test", "stream": stream, "input": text}),
            Self::Messages => json!({"model": "claude-test", "stream": stream, "max_tokens": 1024,
                "messages": [{"role": "user", "content": text}]}),
        }
    }
}

/// How the text of an answer is divided into deltas.
#[derive(Clone, Copy, Debug)]
pub enum Deltas {
    /// One delta.
    Whole,
    /// So many characters each.
    Of(usize),
    /// Two deltas, divided after so many characters.
    At(usize),
}

impl Deltas {
    /// Divides a text.
    #[must_use]
    pub fn divide(self, text: &str) -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let parts: Vec<&[char]> = match self {
            Self::Whole => vec![&characters],
            Self::Of(size) => characters.chunks(size.max(1)).collect(),
            Self::At(after) => {
                let (first, second) = characters.split_at(after.min(characters.len()));
                vec![first, second]
            }
        };
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| part.iter().collect())
            .collect()
    }
}

/// The default behaviour: repeats the placeholders of the prompt, as one delta.
#[must_use]
pub fn echo(seen: &Seen) -> Answer {
    echo_divided(seen, Deltas::Whole)
}

/// Repeats the placeholders of the prompt, in deltas as told; 404 on other paths.
#[must_use]
pub fn echo_divided(seen: &Seen, deltas: Deltas) -> Answer {
    let named = seen.placeholders();
    let said = if named.is_empty() {
        "PONG".to_owned()
    } else {
        format!("About {}: done.", named.join(" and "))
    };
    say(seen, &said, deltas)
}

/// Answers a text in the dialect and form (plain or streamed) that the request asks for.
#[must_use]
pub fn say(seen: &Seen, text: &str, deltas: Deltas) -> Answer {
    let Some(talk) = Talk::by_path(seen.path()).filter(|_| seen.method == "POST") else {
        return Answer::new(
            404,
            "application/json",
            r#"{"error":{"message":"no such path","type":"invalid_request_error","code":null,"param":null}}"#,
        );
    };
    if seen.streams() {
        stream_text(talk, text, deltas)
    } else {
        plain_text(talk, text)
    }
}

/// Answers with a call of the tool `send`, its arguments divided as told.
#[must_use]
pub fn call_tool(seen: &Seen, arguments: &str, deltas: Deltas) -> Answer {
    let talk = Talk::by_path(seen.path()).expect("tools are called in a dialect");
    if seen.streams() {
        stream_call(talk, arguments, deltas)
    } else {
        plain_call(talk, arguments)
    }
}

/// A stream as one piece: `data:` lines, `event:` lines where the dialect has them.
fn events(events: &[Value], named: bool, done: bool) -> Answer {
    let mut text = String::new();
    for event in events {
        if named && let Some(name) = event["type"].as_str() {
            text.push_str(&format!("event: {name}\n"));
        }
        text.push_str(&format!("data: {event}\n\n"));
    }
    if done {
        text.push_str("data: [DONE]\n\n");
    }
    Answer::new(200, "text/event-stream; charset=utf-8", text)
}

fn plain(body: &Value) -> Answer {
    Answer::new(200, "application/json", body.to_string())
}

fn plain_text(talk: Talk, text: &str) -> Answer {
    plain(&match talk {
        Talk::Chat => chat_whole(&json!({"role": "assistant", "content": text}), "stop"),
        Talk::Responses => response(&[message(text)], "completed"),
        Talk::Messages => anthropic_message(&json!([{"type": "text", "text": text}]), Some("end_turn")),
    })
}

fn plain_call(talk: Talk, arguments: &str) -> Answer {
    plain(&match talk {
        Talk::Chat => chat_whole(
            &json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}]}),
            "tool_calls",
        ),
        Talk::Responses => response(&[function_call(arguments)], "completed"),
        Talk::Messages => {
            let input: Value = serde_json::from_str(arguments).expect("arguments are JSON");
            anthropic_message(
                &json!([{"type": "tool_use", "id": "toolu_1", "name": "send", "input": input}]),
                Some("tool_use"),
            )
        }
    })
}

fn stream_text(talk: Talk, text: &str, deltas: Deltas) -> Answer {
    let parts = deltas.divide(text);
    match talk {
        Talk::Chat => {
            let mut all = vec![chat_chunk(&json!({"role": "assistant", "content": ""}), None)];
            all.extend(
                parts
                    .iter()
                    .map(|part| chat_chunk(&json!({"content": part}), None)),
            );
            all.push(chat_chunk(&json!({}), Some("stop")));
            all.push(chat_usage());
            events(&all, false, true)
        }
        Talk::Responses => {
            let at = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
            let mut all = vec![
                json!({"type": "response.created", "response": response(&[], "in_progress")}),
                json!({"type": "response.in_progress", "response": response(&[], "in_progress")}),
                json!({"type": "response.output_item.added", "output_index": 0, "item":
                    {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}}),
                with(
                    &at,
                    json!({"type": "response.content_part.added",
                    "part": {"type": "output_text", "text": "", "annotations": []}}),
                ),
            ];
            all.extend(
                parts
                    .iter()
                    .map(|part| with(&at, json!({"type": "response.output_text.delta", "delta": part}))),
            );
            all.extend([
                with(&at, json!({"type": "response.output_text.done", "text": text})),
                with(
                    &at,
                    json!({"type": "response.content_part.done",
                    "part": {"type": "output_text", "text": text, "annotations": []}}),
                ),
                json!({"type": "response.output_item.done", "output_index": 0, "item": message(text)}),
                json!({"type": "response.completed", "response": response(&[message(text)], "completed")}),
            ]);
            events(&numbered(all), true, false)
        }
        Talk::Messages => {
            let block = json!({"type": "text", "text": ""});
            let parts = parts
                .iter()
                .map(|part| json!({"type": "text_delta", "text": part}));
            events(
                &anthropic_stream(&block, parts.collect(), "end_turn"),
                true,
                false,
            )
        }
    }
}

fn stream_call(talk: Talk, arguments: &str, deltas: Deltas) -> Answer {
    let parts = deltas.divide(arguments);
    match talk {
        Talk::Chat => {
            let mut all = vec![chat_chunk(
                &json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "call_1",
                    "type": "function", "function": {"name": "send", "arguments": ""}}]}),
                None,
            )];
            all.extend(parts.iter().map(|part| {
                chat_chunk(
                    &json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}),
                    None,
                )
            }));
            all.push(chat_chunk(&json!({}), Some("tool_calls")));
            all.push(chat_usage());
            events(&all, false, true)
        }
        Talk::Responses => {
            let at = json!({"item_id": "fc_1", "output_index": 0});
            let mut all = vec![
                json!({"type": "response.created", "response": response(&[], "in_progress")}),
                json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "fc_1",
                    "type": "function_call", "status": "in_progress", "call_id": "call_1", "name": "send",
                    "arguments": ""}}),
            ];
            all.extend(parts.iter().map(|part| {
                with(
                    &at,
                    json!({"type": "response.function_call_arguments.delta", "delta": part}),
                )
            }));
            all.extend([
                with(&at, json!({"type": "response.function_call_arguments.done", "arguments": arguments})),
                json!({"type": "response.output_item.done", "output_index": 0, "item": function_call(arguments)}),
                json!({"type": "response.completed", "response": response(&[function_call(arguments)], "completed")}),
            ]);
            events(&numbered(all), true, false)
        }
        Talk::Messages => {
            let block = json!({"type": "tool_use", "id": "toolu_1", "name": "send", "input": {}});
            let parts = parts
                .iter()
                .map(|part| json!({"type": "input_json_delta", "partial_json": part}));
            events(
                &anthropic_stream(&block, parts.collect(), "tool_use"),
                true,
                false,
            )
        }
    }
}

fn chat_whole(message: &Value, finish: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_760_000_000, "model": "gpt-test",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
}

fn chat_chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "gpt-test",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]})
}

fn chat_usage() -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "gpt-test",
        "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
}

fn message(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn function_call(arguments: &str) -> Value {
    json!({"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "send",
        "arguments": arguments})
}

fn response(output: &[Value], status: &str) -> Value {
    let usage = (status == "completed").then(|| {
        json!({"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 18})
    });
    json!({"id": "resp_1", "object": "response", "created_at": 1_760_000_000, "status": status, "error": null,
        "incomplete_details": null, "instructions": null, "model": "gpt-test", "output": output,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {}, "usage": usage})
}

fn anthropic_message(content: &Value, stop: Option<&str>) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": {"input_tokens": 11, "output_tokens": 7}})
}

fn anthropic_stream(block: &Value, deltas: Vec<Value>, stop: &str) -> Vec<Value> {
    let mut all = vec![
        json!({"type": "message_start", "message": anthropic_message(&json!([]), None)}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "ping"}),
    ];
    all.extend(
        deltas
            .into_iter()
            .map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})),
    );
    all.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
            "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ]);
    all
}

/// The members of both objects.
fn with(at: &Value, mut event: Value) -> Value {
    if let (Some(event), Some(at)) = (event.as_object_mut(), at.as_object()) {
        event.extend(at.clone());
    }
    event
}

fn numbered(events: Vec<Value>) -> Vec<Value> {
    (0_u64..)
        .zip(events)
        .map(|(number, event)| with(&json!({"sequence_number": number}), event))
        .collect()
}
