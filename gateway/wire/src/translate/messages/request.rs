//! An Anthropic request as an `openai-chat` request.

use serde_json::{Value, json};

use crate::translate::{
    TranslateError,
    reasoning::{Effort, Reasoning},
    request::{
        ChatRequest, Object, Turns, as_object, file, function_tool, image, join, list, present,
        schema_format, shape, text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str, counting: bool) -> Result<ChatRequest, TranslateError> {
    refuse_state(body)?;
    let mut turns = Turns::default();
    if let Some(system) = present(body, "system") {
        turns.system(&words(system, "system")?);
    }
    for (at, message) in list(body, "messages")?.iter().enumerate() {
        let place = format!("messages[{at}]");
        turn(as_object(message, &place)?, &place, &mut turns)?;
    }
    if turns.is_empty() {
        return Err(shape("messages", "a list with at least one message"));
    }
    let mut chat = ChatRequest::new(model, turns);
    tools(body, &mut chat)?;
    if counting {
        return Ok(chat);
    }
    chat.carry(body, "max_tokens", "max_tokens");
    chat.carry(body, "temperature", "temperature");
    chat.carry(body, "top_p", "top_p");
    if !list(body, "stop_sequences")?.is_empty() {
        chat.carry(body, "stop_sequences", "stop");
    }
    let format = present(body, "output_config")
        .and_then(|config| config.get("format"))
        .or_else(|| present(body, "output_format"))
        .and_then(|format| format.get("schema"));
    if let Some(schema) = format {
        chat.set("response_format", schema_format(None, schema, None));
    }
    chat.effort(effort(body));
    chat.stream_like(body)?;
    Ok(chat)
}

/// How much the model is to think; where it finds that out itself, as much as the caller wishes it to spend.
fn effort(body: &Object) -> Option<Effort> {
    let thinking = present(body, "thinking")?;
    if thinking.get("type").and_then(Value::as_str) != Some("adaptive") {
        return Effort::of_thinking(thinking, "budget_tokens");
    }
    let effort = present(body, "output_config")?.get("effort")?;
    Effort::named(effort.as_str()?)
}

/// What lives on the provider's side and so cannot be answered elsewhere.
fn refuse_state(body: &Object) -> Result<(), TranslateError> {
    if !list(body, "mcp_servers")?.is_empty() {
        return Err(unsupported(
            "mcp_servers",
            "a tool server that the provider would call",
            "connect the server in the client, so that its tools are offered as ordinary tools",
        ));
    }
    if present(body, "container").is_some() {
        return Err(unsupported(
            "container",
            "a container on the provider's side",
            "start a conversation without it",
        ));
    }
    Ok(())
}

fn turn(message: &Object, place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let role = text(message, "role", &format!("{place}."))?;
    let place = format!("{place}.content");
    let content = message.get("content").unwrap_or(&Value::Null);
    match role {
        "system" => turns.system(&words(content, &place)?),
        "user" => match content {
            Value::String(words) => turns.user(words),
            Value::Array(blocks) => user(blocks, &place, turns)?,
            _ => return Err(shape(place, "a string or a list of blocks")),
        },
        "assistant" => match content {
            Value::String(words) => turns.assistant(words),
            Value::Array(blocks) => assistant(blocks, &place, turns)?,
            _ => return Err(shape(place, "a string or a list of blocks")),
        },
        _ => return Err(shape("each message's role", "user or assistant")),
    }
    Ok(())
}

/// Tool results first: in `openai-chat` they answer the assistant's calls before anyone speaks.
fn user(blocks: &[Value], place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let mut said = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let block = as_object(block, &place)?;
        if text(block, "type", &format!("{place}."))? == "tool_result" {
            let call = text(block, "tool_use_id", &format!("{place}."))?;
            let mut result = match present(block, "content") {
                None => String::new(),
                Some(content) => words(content, &format!("{place}.content"))?,
            };
            if present(block, "is_error") == Some(&Value::Bool(true)) {
                // The other dialect has no field for it.
                result.insert_str(0, "Error: ");
            }
            turns.result(call, result);
        } else {
            join(&mut said, &block_words(block, &place)?);
        }
    }
    if !said.is_empty() {
        turns.user(&said);
    }
    Ok(())
}

fn assistant(blocks: &[Value], place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let block = as_object(block, &place)?;
        let dot = format!("{place}.");
        match text(block, "type", &dot)? {
            "thinking" => {
                let thought = Reasoning::sent_back(block.get("thinking"), block.get("signature"));
                turns.reasoning(thought);
            }
            "redacted_thinking" => {}
            "tool_use" => {
                let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
                turns.call(
                    text(block, "id", &dot)?,
                    text(block, "name", &dot)?,
                    &input.to_string(),
                );
            }
            _ => turns.assistant(&block_words(block, &place)?),
        }
    }
    Ok(())
}

/// A content that is a string or a list of blocks that hold words only.
fn words(content: &Value, place: &str) -> Result<String, TranslateError> {
    match content {
        Value::String(words) => Ok(words.clone()),
        Value::Array(blocks) => {
            let mut all = String::new();
            for (at, block) in blocks.iter().enumerate() {
                let place = format!("{place}[{at}]");
                join(&mut all, &block_words(as_object(block, &place)?, &place)?);
            }
            Ok(all)
        }
        _ => Err(shape(place, "a string or a list of blocks")),
    }
}

fn block_words(block: &Object, place: &str) -> Result<String, TranslateError> {
    let dot = format!("{place}.");
    match text(block, "type", &dot)? {
        "text" => text(block, "text", &dot).map(str::to_owned),
        "image" => Err(image(place)),
        "document" => document(block, place),
        "search_result" => {
            let mut all = text(block, "title", &dot)?.to_owned();
            if let Some(content) = present(block, "content") {
                join(&mut all, &words(content, &format!("{place}.content"))?);
            }
            Ok(all)
        }
        "tool_reference" => Ok(String::new()),
        _ => Err(unsupported(
            place,
            "a block of a type that only its provider reads",
            "start a conversation without it",
        )),
    }
}

fn document(block: &Object, place: &str) -> Result<String, TranslateError> {
    let source = present(block, "source")
        .and_then(Value::as_object)
        .ok_or_else(|| file(place))?;
    let mut all = present(block, "title")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    match source.get("type").and_then(Value::as_str) {
        Some("text") => join(&mut all, text(source, "data", &format!("{place}.source."))?),
        Some("content") => {
            let content = source.get("content").unwrap_or(&Value::Null);
            join(&mut all, &words(content, &format!("{place}.source.content"))?);
        }
        _ => return Err(file(place)),
    }
    Ok(all)
}

fn tools(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let mut offered = Vec::new();
    for (at, tool) in list(body, "tools")?.iter().enumerate() {
        let place = format!("tools[{at}]");
        let tool = as_object(tool, &place)?;
        // Typed tools are run by the provider or have schemas that only its models know.
        if present(tool, "type").is_some_and(|kind| kind != "custom") {
            continue;
        }
        let description = present(tool, "description").and_then(Value::as_str);
        let name = text(tool, "name", &format!("{place}."))?;
        offered.push(function_tool(name, description, present(tool, "input_schema")));
    }
    let choice = present(body, "tool_choice");
    let wanted = choice
        .and_then(|choice| choice.get("type"))
        .and_then(Value::as_str);
    if offered.is_empty() {
        return match wanted {
            Some("any" | "tool") => Err(no_such_tool()),
            _ => Ok(()),
        };
    }
    let named = |name: &str| offered.iter().any(|tool| tool["function"]["name"] == name);
    match wanted {
        None => {}
        Some("auto") => chat.set("tool_choice", "auto"),
        Some("any") => chat.set("tool_choice", "required"),
        Some("none") => chat.set("tool_choice", "none"),
        Some("tool") => {
            let name = choice
                .and_then(|choice| choice.get("name"))
                .and_then(Value::as_str);
            let name = name.filter(|name| named(name)).ok_or_else(no_such_tool)?;
            chat.set(
                "tool_choice",
                json!({"type": "function", "function": {"name": name}}),
            );
        }
        Some(_) => return Err(shape("tool_choice.type", "auto, any, tool or none")),
    }
    if choice.and_then(|choice| choice.get("disable_parallel_tool_use")) == Some(&Value::Bool(true)) {
        chat.set("parallel_tool_calls", false);
    }
    chat.set("tools", offered);
    Ok(())
}

fn no_such_tool() -> TranslateError {
    unsupported(
        "tool_choice",
        "a tool that is not offered, or that only its provider can run,",
        "choose one of the client's own tools, or leave the choice to the model",
    )
}
