//! A Cohere request as an `openai-chat` request.
//!
//! Documents to answer from go before the conversation as words; no citations come back. What Cohere's own models alone
//! know (`safety_mode`, `citation_options`, `k`, `priority`, log probabilities) is left out.

use serde_json::{Value, json};

use crate::translate::{
    TranslateError,
    reasoning::Effort,
    request::{
        ChatRequest, Object, Turns, as_object, function_tool, image, join, list, list_at, present,
        schema_format, shape, text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str) -> Result<ChatRequest, TranslateError> {
    let mut turns = Turns::default();
    for (at, document) in list(body, "documents")?.iter().enumerate() {
        turns.system(&document_words(document, &format!("documents[{at}]"))?);
    }
    let messages = list(body, "messages")?;
    if messages.is_empty() {
        return Err(shape("messages", "an array with at least one message"));
    }
    for (at, message) in messages.iter().enumerate() {
        let place = format!("messages[{at}]");
        turn(as_object(message, &place)?, &place, &mut turns)?;
    }
    let mut chat = ChatRequest::new(model, turns);
    tools(body, &mut chat)?;
    for (name, chat_name) in [
        ("max_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("p", "top_p"),
        ("seed", "seed"),
        ("frequency_penalty", "frequency_penalty"),
        ("presence_penalty", "presence_penalty"),
    ] {
        chat.carry(body, name, chat_name);
    }
    if !list(body, "stop_sequences")?.is_empty() {
        chat.carry(body, "stop_sequences", "stop");
    }
    if let Some(format) = present(body, "response_format") {
        let format = as_object(format, "response_format")?;
        match (
            text(format, "type", "response_format.")?,
            present(format, "json_schema"),
        ) {
            ("json_object", Some(schema)) => {
                chat.set("response_format", schema_format(None, schema, None));
            }
            ("json_object", None) => chat.set("response_format", json!({"type": "json_object"})),
            ("text", _) => {}
            _ => return Err(shape("response_format.type", "text or json_object")),
        }
    }
    chat.effort(present(body, "thinking").and_then(|wish| Effort::of_thinking(wish, "token_budget")));
    chat.stream_like(body)?;
    Ok(chat)
}

fn turn(message: &Object, place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let dot = format!("{place}.");
    let words = match present(message, "content") {
        None => String::new(),
        Some(content) => words(content, &format!("{dot}content"))?,
    };
    match text(message, "role", &dot)? {
        "system" | "developer" => turns.system(&words),
        "user" => turns.user(&words),
        "assistant" => {
            let plan = present(message, "tool_plan").and_then(Value::as_str);
            for said in [plan.unwrap_or_default(), &words] {
                if !said.is_empty() {
                    turns.assistant(said);
                }
            }
            for (at, call) in list_at(message, "tool_calls", place)?.iter().enumerate() {
                let place = format!("{dot}tool_calls[{at}]");
                let call = as_object(call, &place)?;
                let id = text(call, "id", &format!("{place}."))?;
                let place = format!("{place}.function");
                let function = as_object(call.get("function").unwrap_or(&Value::Null), &place)?;
                let name = text(function, "name", &format!("{place}."))?;
                let arguments = match present(function, "arguments") {
                    None => "{}",
                    Some(_) => text(function, "arguments", &format!("{place}."))?,
                };
                turns.call(id, name, arguments);
            }
        }
        "tool" => turns.result(text(message, "tool_call_id", &dot)?, words),
        _ => {
            return Err(shape(format!("{dot}role"), "system, user, assistant or tool"));
        }
    }
    Ok(())
}

/// A content that is a string or a list of parts that hold words only.
fn words(content: &Value, place: &str) -> Result<String, TranslateError> {
    let parts = match content {
        Value::String(words) => return Ok(words.clone()),
        Value::Array(parts) => parts,
        _ => return Err(shape(place, "a string or an array of parts")),
    };
    let mut all = String::new();
    for (at, part) in parts.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let part = as_object(part, &place)?;
        match text(part, "type", &format!("{place}."))? {
            "text" => join(&mut all, text(part, "text", &format!("{place}."))?),
            // It carries no signature, and so no mark that says which server it came from.
            "thinking" => {}
            "document" => {
                let document = part.get("document").unwrap_or(&Value::Null);
                join(&mut all, &document_words(document, &format!("{place}.document"))?);
            }
            "image_url" => return Err(image(place)),
            _ => {
                return Err(unsupported(
                    place,
                    "a part of a kind that only its provider reads",
                    "start a conversation without it",
                ));
            }
        }
    }
    Ok(all)
}

/// A document's own words: a string, or `data` that is one or has members of them.
fn document_words(document: &Value, place: &str) -> Result<String, TranslateError> {
    let data = match document {
        Value::Object(members) => members.get("data").unwrap_or(&Value::Null),
        other => other,
    };
    match data {
        Value::String(words) => Ok(words.clone()),
        Value::Object(members) => {
            let mut all = String::new();
            for (name, value) in members {
                match value {
                    Value::String(words) => join(&mut all, &format!("{name}: {words}")),
                    other => join(&mut all, &format!("{name}: {other}")),
                }
            }
            Ok(all)
        }
        _ => Err(shape(place, "a string or an object with `data`")),
    }
}

fn tools(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let mut offered = Vec::new();
    for (at, tool) in list(body, "tools")?.iter().enumerate() {
        let place = format!("tools[{at}].function");
        let function = as_object(tool.get("function").unwrap_or(&Value::Null), &place)?;
        let description = present(function, "description").and_then(Value::as_str);
        let name = text(function, "name", &format!("{place}."))?;
        offered.push(function_tool(name, description, present(function, "parameters")));
    }
    let choice = present(body, "tool_choice").map(|choice| choice.as_str().unwrap_or_default());
    match choice {
        None => {}
        Some("NONE") if offered.is_empty() => {}
        Some("NONE") => chat.set("tool_choice", "none"),
        Some("REQUIRED") if offered.is_empty() => {
            return Err(unsupported(
                "tool_choice",
                "a call of a tool where none is offered",
                "offer tools, or leave the choice to the model",
            ));
        }
        Some("REQUIRED") => chat.set("tool_choice", "required"),
        Some(_) => return Err(shape("tool_choice", "REQUIRED or NONE")),
    }
    if !offered.is_empty() {
        chat.set("tools", offered);
    }
    Ok(())
}
