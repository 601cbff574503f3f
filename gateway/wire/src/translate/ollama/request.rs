//! A request of Ollama's as an `openai-chat` request.
//!
//! What only a server of local weights understands (`keep_alive`, `num_ctx`, `mirostat`, `raw`, `context`) is left out, but for
//! a template of the caller's own, which would change the answer.

use serde_json::{Value, json};

use crate::translate::{
    Asked, TranslateError,
    reasoning::Effort,
    request::{
        ChatRequest, Object, Turns, as_object, function_tool, image, list, present, schema_format, shape,
        text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str, asked: Asked) -> Result<ChatRequest, TranslateError> {
    for name in ["template", "raw"] {
        if present(body, name).is_some_and(|value| *value != json!(false) && *value != json!("")) {
            return Err(unsupported(
                name,
                "a prompt in a form of the caller's own",
                "leave it out; the model's own template is used",
            ));
        }
    }
    let turns = if asked.is_prompt() {
        prompt(body)?
    } else {
        conversation(body)?
    };
    let mut chat = ChatRequest::new(model, turns);
    let mut offered = Vec::new();
    for (at, tool) in list(body, "tools")?.iter().enumerate() {
        let place = format!("tools[{at}].function");
        let function = tool.get("function").unwrap_or(&Value::Null);
        let function = as_object(function, &place)?;
        let description = present(function, "description").and_then(Value::as_str);
        let name = text(function, "name", &format!("{place}."))?;
        offered.push(function_tool(name, description, present(function, "parameters")));
    }
    if !offered.is_empty() {
        chat.set("tools", offered);
    }
    match present(body, "format") {
        None => {}
        Some(Value::String(kind)) if kind.is_empty() => {}
        Some(Value::String(kind)) if kind == "json" => {
            chat.set("response_format", json!({"type": "json_object"}));
        }
        Some(schema @ Value::Object(_)) => chat.set("response_format", schema_format(None, schema, None)),
        Some(_) => return Err(shape("format", "\"json\" or a JSON schema")),
    }
    if let Some(options) = present(body, "options") {
        let options = as_object(options, "options")?;
        for (name, chat_name) in [
            ("temperature", "temperature"),
            ("top_p", "top_p"),
            ("seed", "seed"),
            ("presence_penalty", "presence_penalty"),
            ("frequency_penalty", "frequency_penalty"),
            ("stop", "stop"),
        ] {
            chat.carry(options, name, chat_name);
        }
        // -1 and -2 stand for "until the end" and "until the context is full".
        if let Some(most) = present(options, "num_predict").filter(|most| most.as_u64().is_some()) {
            chat.set("max_tokens", most.clone());
        }
    }
    // That it is to think says not how much.
    match present(body, "think") {
        Some(Value::Bool(false)) => chat.effort(Some(Effort::None)),
        Some(Value::String(level)) => chat.effort(Effort::named(level)),
        _ => {}
    }
    // This dialect streams unless told otherwise.
    match present(body, "stream") {
        None | Some(Value::Bool(true)) => chat.streamed(),
        Some(Value::Bool(false)) => {}
        Some(_) => return Err(shape("stream", "true or false")),
    }
    Ok(chat)
}

/// The one prompt of `generate`.
fn prompt(body: &Object) -> Result<Turns, TranslateError> {
    if present(body, "suffix").is_some_and(|suffix| *suffix != json!("")) {
        return Err(unsupported(
            "suffix",
            "filling in the middle of a text",
            "ask for the text that is missing in words",
        ));
    }
    without_images(body, "")?;
    let mut turns = Turns::default();
    if let Some(system) = present(body, "system") {
        let words = system.as_str().ok_or_else(|| shape("system", "a string"))?;
        if !words.is_empty() {
            turns.system(words);
        }
    }
    turns.user(text(body, "prompt", "")?);
    Ok(turns)
}

fn conversation(body: &Object) -> Result<Turns, TranslateError> {
    let mut turns = Turns::default();
    // Calls have no ids of their own here: they are numbered, and a result answers the first of its name that waits.
    let mut waiting: Vec<(String, String)> = Vec::new();
    let mut calls = 0;
    for (at, message) in list(body, "messages")?.iter().enumerate() {
        let place = format!("messages[{at}]");
        let message = as_object(message, &place)?;
        let dotted = format!("{place}.");
        without_images(message, &dotted)?;
        let words = match present(message, "content") {
            None => "",
            Some(content) => content
                .as_str()
                .ok_or_else(|| shape(format!("{dotted}content"), "a string"))?,
        };
        match text(message, "role", &dotted)? {
            "system" => turns.system(words),
            "user" => turns.user(words),
            "assistant" => {
                if !words.is_empty() {
                    turns.assistant(words);
                }
                for (at, call) in list(message, "tool_calls")?.iter().enumerate() {
                    let place = format!("{dotted}tool_calls[{at}].function");
                    let function = as_object(call.get("function").unwrap_or(&Value::Null), &place)?;
                    let name = text(function, "name", &format!("{place}."))?;
                    let arguments = present(function, "arguments")
                        .cloned()
                        .unwrap_or_else(|| json!({}));
                    let id = match call.get("id").and_then(Value::as_str) {
                        Some(id) if !id.is_empty() => id.to_owned(),
                        _ => format!("call_{calls}"),
                    };
                    calls += 1;
                    turns.call(&id, name, &arguments.to_string());
                    waiting.push((id, name.to_owned()));
                }
            }
            "tool" => {
                let given = |name: &str| present(message, name).and_then(Value::as_str);
                let (id, name) = (
                    given("tool_call_id"),
                    given("tool_name").or_else(|| given("name")),
                );
                let answers = waiting
                    .iter()
                    .position(|(waiting, _)| id == Some(waiting))
                    .or_else(|| waiting.iter().position(|(_, waiting)| name == Some(waiting)))
                    .or_else(|| (name.is_none() && id.is_none() && !waiting.is_empty()).then_some(0))
                    .ok_or_else(|| shape(place, "the result of a tool call that came before"))?;
                let (id, _) = waiting.remove(answers);
                turns.result(&id, words.to_owned());
            }
            _ => return Err(shape(format!("{dotted}role"), "system, user, assistant or tool")),
        }
    }
    if turns.is_empty() {
        return Err(shape("messages", "an array with at least one message"));
    }
    Ok(turns)
}

fn without_images(object: &Object, place: &str) -> Result<(), TranslateError> {
    match present(object, "images") {
        Some(Value::Array(images)) if !images.is_empty() => Err(image(format!("{place}images[0]"))),
        _ => Ok(()),
    }
}
