//! A Responses request as an `openai-chat` request.

use serde_json::{Value, json};

use super::FREE_TEXT;
use crate::translate::{
    TranslateError,
    reasoning::{Effort, Reasoning},
    request::{
        ChatRequest, Object, Turns, as_object, file, function_tool, image, join, list, list_at, present,
        schema_format, shape, text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str) -> Result<ChatRequest, TranslateError> {
    refuse_state(body)?;
    let mut turns = Turns::default();
    match present(body, "instructions") {
        None => {}
        Some(Value::String(words)) => turns.system(words),
        Some(_) => return Err(shape("instructions", "a string")),
    }
    match present(body, "input") {
        Some(Value::String(words)) => turns.user(words),
        Some(Value::Array(items)) => {
            for (at, value) in items.iter().enumerate() {
                let place = format!("input[{at}]");
                item(as_object(value, &place)?, &place, &mut turns)?;
            }
        }
        _ => return Err(shape("input", "a string or a list of items")),
    }
    if turns.is_empty() {
        return Err(shape("input", "a list with at least one message"));
    }
    let mut chat = ChatRequest::new(model, turns);
    tools(body, &mut chat)?;
    chat.carry(body, "max_output_tokens", "max_tokens");
    chat.carry(body, "temperature", "temperature");
    chat.carry(body, "top_p", "top_p");
    if let Some(format) = present(body, "text").and_then(|text| text.get("format")) {
        match format.get("type").and_then(Value::as_str) {
            Some("json_schema") => {
                let schema = format
                    .get("schema")
                    .ok_or_else(|| shape("text.format.schema", "a schema"))?;
                let name = format.get("name").and_then(Value::as_str);
                let strict = format.get("strict").filter(|strict| !strict.is_null());
                chat.set("response_format", schema_format(name, schema, strict));
            }
            Some("json_object") => chat.set("response_format", json!({"type": "json_object"})),
            _ => {}
        }
    }
    let effort = present(body, "reasoning").and_then(|wish| wish.get("effort")?.as_str());
    chat.effort(effort.and_then(Effort::named));
    chat.stream_like(body)?;
    Ok(chat)
}

/// What lives on the provider's side and so cannot be answered elsewhere.
fn refuse_state(body: &Object) -> Result<(), TranslateError> {
    const SEND_ALL: &str =
        "nothing is kept between requests here; send the whole conversation in `input` (and `store: false`)";
    for (name, what) in [
        ("previous_response_id", "a response kept by the provider"),
        ("conversation", "a conversation kept by the provider"),
    ] {
        if present(body, name).is_some() {
            return Err(unsupported(name, what, SEND_ALL));
        }
    }
    if present(body, "prompt").is_some() {
        return Err(unsupported(
            "prompt",
            "a prompt template kept by the provider",
            "send its text in `instructions` or `input`",
        ));
    }
    if present(body, "background") == Some(&Value::Bool(true)) {
        return Err(unsupported(
            "background",
            "an answer in the background",
            "leave `background` out and wait for the answer, streamed or not",
        ));
    }
    Ok(())
}

fn item(item: &Object, place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let dot = format!("{place}.");
    match item.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => {
            let content = item.get("content").unwrap_or(&Value::Null);
            let words = words(content, &format!("{place}.content"))?;
            match text(item, "role", &dot)? {
                "system" | "developer" => turns.system(&words),
                "user" => turns.user(&words),
                "assistant" => turns.assistant(&words),
                _ => {
                    return Err(shape(
                        format!("{place}.role"),
                        "user, assistant, system or developer",
                    ));
                }
            }
        }
        "function_call" => {
            let call = text(item, "call_id", &dot)?;
            turns.call(call, text(item, "name", &dot)?, text(item, "arguments", &dot)?);
        }
        "custom_tool_call" => {
            let name = format!("{FREE_TEXT}{}", text(item, "name", &dot)?);
            let arguments = json!({"input": text(item, "input", &dot)?}).to_string();
            turns.call(text(item, "call_id", &dot)?, &name, &arguments);
        }
        "function_call_output" | "custom_tool_call_output" => {
            let output = item.get("output").unwrap_or(&Value::Null);
            turns.result(
                text(item, "call_id", &dot)?,
                words(output, &format!("{place}.output"))?,
            );
        }
        "reasoning" => {
            let mark = item.get("encrypted_content");
            for part in list_at(item, "summary", place)? {
                turns.reasoning(Reasoning::sent_back(part.get("text"), mark));
            }
        }
        // Of a search the provider keeps only that it was.
        "web_search_call" => {}
        "item_reference" => {
            return Err(unsupported(
                place,
                "an item kept by the provider",
                "nothing is kept between requests here; send the item itself (and `store: false`)",
            ));
        }
        _ => {
            return Err(unsupported(
                place,
                "an item of a type that only its provider reads",
                "start a conversation without it",
            ));
        }
    }
    Ok(())
}

/// A content that is a string or a list of parts that hold words only.
fn words(content: &Value, place: &str) -> Result<String, TranslateError> {
    let parts = match content {
        Value::String(words) => return Ok(words.clone()),
        Value::Array(parts) => parts,
        _ => return Err(shape(place, "a string or a list of parts")),
    };
    let mut all = String::new();
    for (at, part) in parts.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let part = as_object(part, &place)?;
        let dot = format!("{place}.");
        match text(part, "type", &dot)? {
            "input_text" | "output_text" | "text" | "summary_text" => {
                join(&mut all, text(part, "text", &dot)?);
            }
            "refusal" => join(&mut all, text(part, "refusal", &dot)?),
            "input_image" | "image" | "computer_screenshot" => return Err(image(place)),
            "input_file" => return Err(file(place)),
            _ => {
                return Err(unsupported(
                    place,
                    "a part of a type that only its provider reads",
                    "send it as text",
                ));
            }
        }
    }
    Ok(all)
}

fn tools(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let mut offered = Vec::new();
    for (at, tool) in list(body, "tools")?.iter().enumerate() {
        let place = format!("tools[{at}]");
        let tool = as_object(tool, &place)?;
        let dot = format!("{place}.");
        let description = present(tool, "description").and_then(Value::as_str);
        match text(tool, "type", &dot)? {
            "function" => {
                let name = text(tool, "name", &dot)?;
                let mut function = function_tool(name, description, present(tool, "parameters"));
                if let Some(strict) = present(tool, "strict") {
                    function["function"]["strict"] = strict.clone();
                }
                offered.push(function);
            }
            "custom" => offered.push(free_text_tool(tool, text(tool, "name", &dot)?, description)),
            // Tools that the provider would run: nobody here could.
            _ => {}
        }
    }
    let choice = present(body, "tool_choice");
    if let Some(allowed) = choice.filter(|choice| choice.get("type") == Some(&"allowed_tools".into())) {
        let allowed = allowed
            .get("tools")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        offered.retain(|tool| {
            let name = tool["function"]["name"].as_str().unwrap_or_default();
            let name = name.strip_prefix(FREE_TEXT).unwrap_or(name);
            allowed
                .iter()
                .any(|one| one.get("name").and_then(Value::as_str) == Some(name))
        });
    }
    let (mode, name) = match choice {
        None => (None, None),
        Some(Value::String(mode)) => (Some(mode.as_str()), None),
        Some(choice) => named_choice(choice)?,
    };
    if offered.is_empty() {
        return if mode == Some("required") || name.is_some() {
            Err(no_such_tool())
        } else {
            Ok(())
        };
    }
    if let Some(name) = name {
        if !offered.iter().any(|tool| tool["function"]["name"] == name) {
            return Err(no_such_tool());
        }
        chat.set(
            "tool_choice",
            json!({"type": "function", "function": {"name": name}}),
        );
    } else if let Some(mode) = mode {
        if !matches!(mode, "auto" | "none" | "required") {
            return Err(shape(
                "tool_choice",
                "auto, none, required or a tool of the client's own",
            ));
        }
        chat.set("tool_choice", mode);
    }
    chat.carry(body, "parallel_tool_calls", "parallel_tool_calls");
    chat.set("tools", offered);
    Ok(())
}

/// A choice that is an object: its mode, or the one tool that it names.
fn named_choice(choice: &Value) -> Result<(Option<&str>, Option<String>), TranslateError> {
    let name = || {
        choice
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(no_such_tool)
    };
    match choice.get("type").and_then(Value::as_str) {
        Some("function") => Ok((None, Some(name()?.to_owned()))),
        Some("custom") => Ok((None, Some(format!("{FREE_TEXT}{}", name()?)))),
        // The list has narrowed what is offered; the mode is what carries over.
        Some("allowed_tools") => Ok((choice.get("mode").and_then(Value::as_str), None)),
        _ => Err(no_such_tool()),
    }
}

fn no_such_tool() -> TranslateError {
    unsupported(
        "tool_choice",
        "a tool that is not offered, or that only its provider can run,",
        "choose one of the client's own tools, or leave the choice to the model",
    )
}

fn free_text_tool(tool: &Object, name: &str, description: Option<&str>) -> Value {
    let mut about = description.unwrap_or_default().to_owned();
    join(&mut about, "Give the whole input as one string in `input`.");
    let grammar = present(tool, "format")
        .and_then(|format| format.get("definition"))
        .and_then(Value::as_str);
    if let Some(grammar) = grammar {
        join(&mut about, "The input has to follow this grammar:");
        join(&mut about, grammar);
    }
    let schema = json!({
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": false,
    });
    function_tool(&format!("{FREE_TEXT}{name}"), Some(&about), Some(&schema))
}
