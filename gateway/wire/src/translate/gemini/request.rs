//! A Gemini request as an `openai-chat` request.
//!
//! Google's servers take each name in two spellings, `camelCase` and `snake_case`; so do we.

use serde_json::{Value, json};

use super::schema;
use crate::translate::{
    Asked, TranslateError,
    reasoning::{Effort, Reasoning},
    request::{
        ChatRequest, Object, Turns, as_object, file, function_tool, image, join, present, schema_format,
        shape, text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str, asked: Asked) -> Result<ChatRequest, TranslateError> {
    let body = unwrapped(body, asked)?;
    if member(body, "cachedContent").is_some() {
        return Err(unsupported(
            "cachedContent",
            "a conversation kept on the provider's side",
            "send the whole conversation",
        ));
    }
    let mut turns = Conversation::default();
    if let Some(system) = member(body, "systemInstruction") {
        turns.system(system)?;
    }
    for (at, content) in list(body, "contents", "contents")?.iter().enumerate() {
        let place = format!("contents[{at}]");
        turns.content(as_object(content, &place)?, &place)?;
    }
    if turns.turns.is_empty() {
        return Err(shape("contents", "an array with at least one content"));
    }
    let mut chat = ChatRequest::new(model, turns.turns);
    tools(body, &mut chat)?;
    if asked.is_counting() {
        return Ok(chat);
    }
    if let Some(config) = member(body, "generationConfig") {
        generation(as_object(config, "generationConfig")?, &mut chat)?;
    }
    if asked.is_streamed() {
        chat.streamed();
    }
    Ok(chat)
}

/// The request within what lies around it.
fn unwrapped(body: &Object, asked: Asked) -> Result<&Object, TranslateError> {
    if asked.is_enveloped() {
        let inner = body.get("request").unwrap_or(&Value::Null);
        return as_object(inner, "request");
    }
    match member(body, "generateContentRequest") {
        Some(inner) if asked.is_counting() => as_object(inner, "generateContentRequest"),
        _ => Ok(body),
    }
}

/// The turns, and the calls that are not answered yet.
#[derive(Default)]
struct Conversation {
    turns: Turns,
    /// Id and name.
    waiting: Vec<(String, String)>,
    calls: usize,
}

impl Conversation {
    fn system(&mut self, system: &Value) -> Result<(), TranslateError> {
        let place = "systemInstruction";
        if let Value::String(words) = system {
            self.turns.system(words);
            return Ok(());
        }
        let mut said = String::new();
        for (at, part) in list(as_object(system, place)?, "parts", place)?
            .iter()
            .enumerate()
        {
            let place = format!("{place}.parts[{at}]");
            join(&mut said, &words(as_object(part, &place)?, &place)?);
        }
        if !said.is_empty() {
            self.turns.system(&said);
        }
        Ok(())
    }

    fn content(&mut self, content: &Object, place: &str) -> Result<(), TranslateError> {
        let of_model = match present(content, "role").map(Value::as_str) {
            None | Some(Some("user" | "function" | "tool" | "")) => false,
            Some(Some("model")) => true,
            Some(_) => return Err(shape(format!("{place}.role"), "user or model")),
        };
        // Results first: in `openai-chat` they answer the assistant's calls before anyone speaks.
        let mut said = String::new();
        for (at, part) in list(content, "parts", place)?.iter().enumerate() {
            let place = format!("{place}.parts[{at}]");
            let part = as_object(part, &place)?;
            if let Some(call) = member(part, "functionCall") {
                self.call(as_object(call, &place)?, &place)?;
            } else if let Some(response) = member(part, "functionResponse") {
                self.result(as_object(response, &place)?, &place)?;
            } else if of_model && present(part, "thought") == Some(&Value::Bool(true)) {
                let thought = Reasoning::sent_back(part.get("text"), member(part, "thoughtSignature"));
                self.turns.reasoning(thought);
            } else if of_model {
                let words = words(part, &place)?;
                if !words.is_empty() {
                    self.turns.assistant(&words);
                }
            } else {
                join(&mut said, &words(part, &place)?);
            }
        }
        if !said.is_empty() {
            self.turns.user(&said);
        }
        Ok(())
    }

    /// Calls need no id in this dialect.
    fn call(&mut self, call: &Object, place: &str) -> Result<(), TranslateError> {
        let place = format!("{place}.functionCall");
        let name = text(call, "name", &format!("{place}."))?;
        let arguments = match present(call, "args") {
            None => json!({}),
            Some(arguments @ Value::Object(_)) => arguments.clone(),
            Some(_) => return Err(shape(format!("{place}.args"), "an object")),
        };
        let id = match present(call, "id").and_then(Value::as_str) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("call_{}", self.calls),
        };
        self.calls += 1;
        self.turns.call(&id, name, &arguments.to_string());
        self.waiting.push((id, name.to_owned()));
        Ok(())
    }

    /// A result answers the call of its id, or else the first of its name that waits.
    fn result(&mut self, response: &Object, place: &str) -> Result<(), TranslateError> {
        let place = format!("{place}.functionResponse");
        if let Some(Value::Array(parts)) = present(response, "parts")
            && !parts.is_empty()
        {
            return Err(image(format!("{place}.parts")));
        }
        let name = text(response, "name", &format!("{place}."))?;
        let id = present(response, "id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let answers = self
            .waiting
            .iter()
            .position(|(waiting, _)| !id.is_empty() && waiting == id)
            .or_else(|| self.waiting.iter().position(|(_, waiting)| waiting == name))
            .ok_or_else(|| shape(place, "the response to a function call that came before"))?;
        let (id, _) = self.waiting.remove(answers);
        self.turns
            .result(&id, outcome(response.get("response").unwrap_or(&Value::Null)));
        Ok(())
    }
}

/// What a function gave: `output` or `error` where it keeps to these names, and all of it elsewhere.
fn outcome(response: &Value) -> String {
    let alone = response.as_object().filter(|members| members.len() == 1);
    let named = alone.and_then(|members| members.iter().next());
    match named {
        Some((name, value)) if name == "output" => plain(value),
        // The other dialect has no field for it.
        Some((name, value)) if name == "error" => format!("Error: {}", plain(value)),
        _ if response.is_null() => String::new(),
        _ => response.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The words of a part that is neither call nor response.
fn words(part: &Object, place: &str) -> Result<String, TranslateError> {
    if present(part, "thought") == Some(&Value::Bool(true)) {
        return Ok(String::new());
    }
    if let Some(data) = member(part, "inlineData").or_else(|| member(part, "fileData")) {
        let kind = data.as_object().and_then(|data| member(data, "mimeType"));
        let is_image = kind
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.starts_with("image/"));
        return Err(if is_image { image(place) } else { file(place) });
    }
    if present(part, "text").is_some() {
        return text(part, "text", &format!("{place}.")).map(str::to_owned);
    }
    let signed_only = part.keys().all(|key| {
        matches!(
            key.as_str(),
            "thought" | "thoughtSignature" | "thought_signature" | "text"
        )
    });
    if signed_only {
        return Ok(String::new());
    }
    Err(unsupported(
        place,
        "a part of a kind that only its provider reads",
        "start a conversation without it",
    ))
}

fn tools(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let mut offered = Vec::new();
    for (at, tool) in list(body, "tools", "tools")?.iter().enumerate() {
        let place = format!("tools[{at}]");
        // Tools without declarations are run by the provider.
        let declarations = list(as_object(tool, &place)?, "functionDeclarations", &place)?;
        for (at, function) in declarations.iter().enumerate() {
            let place = format!("{place}.functionDeclarations[{at}]");
            let function = as_object(function, &place)?;
            let description = present(function, "description").and_then(Value::as_str);
            let name = text(function, "name", &format!("{place}."))?;
            let parameters = match member(function, "parametersJsonSchema") {
                Some(schema) => Some(schema.clone()),
                None => present(function, "parameters").map(schema::to_json),
            };
            offered.push(function_tool(name, description, parameters.as_ref()));
        }
    }
    let config = member(body, "toolConfig")
        .and_then(Value::as_object)
        .and_then(|config| member(config, "functionCallingConfig"))
        .and_then(Value::as_object);
    let Some(config) = config else {
        if !offered.is_empty() {
            chat.set("tools", offered);
        }
        return Ok(());
    };
    let allowed = list(config, "allowedFunctionNames", "toolConfig.functionCallingConfig")?;
    if !allowed.is_empty() {
        if allowed
            .iter()
            .any(|name| !offered.iter().any(|tool| tool["function"]["name"] == *name))
        {
            return Err(no_such_tool());
        }
        offered.retain(|tool| allowed.contains(&tool["function"]["name"]));
    }
    let mode = present(config, "mode").and_then(Value::as_str).unwrap_or("AUTO");
    let choice = match mode.to_ascii_uppercase().as_str() {
        "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED" => json!("auto"),
        "NONE" => json!("none"),
        "ANY" => match offered.as_slice() {
            [] => return Err(no_such_tool()),
            [only] if !allowed.is_empty() => {
                json!({"type": "function", "function": {"name": only["function"]["name"]}})
            }
            _ => json!("required"),
        },
        _ => {
            return Err(shape(
                "toolConfig.functionCallingConfig.mode",
                "AUTO, ANY, NONE or VALIDATED",
            ));
        }
    };
    if !offered.is_empty() {
        chat.set("tool_choice", choice);
        chat.set("tools", offered);
    }
    Ok(())
}

fn no_such_tool() -> TranslateError {
    unsupported(
        "toolConfig.functionCallingConfig",
        "a function that is not declared, or that only its provider can run,",
        "choose one of the declared functions, or leave the choice to the model",
    )
}

fn generation(config: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let place = "generationConfig";
    for (name, chat_name) in [
        ("maxOutputTokens", "max_tokens"),
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("presencePenalty", "presence_penalty"),
        ("frequencyPenalty", "frequency_penalty"),
        ("seed", "seed"),
    ] {
        if let Some(value) = member(config, name) {
            chat.set(chat_name, value.clone());
        }
    }
    chat.effort(effort(config));
    let stops = list(config, "stopSequences", place)?;
    if !stops.is_empty() {
        chat.set("stop", stops.to_vec());
    }
    if member(config, "candidateCount")
        .and_then(Value::as_u64)
        .is_some_and(|n| n > 1)
    {
        return Err(unsupported(
            "generationConfig.candidateCount",
            "more than one candidate",
            "ask several times",
        ));
    }
    let words_only = |wanted: &Value| {
        wanted
            .as_str()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("TEXT"))
    };
    if !list(config, "responseModalities", place)?.iter().all(words_only) {
        return Err(unsupported(
            "generationConfig.responseModalities",
            "an answer in pictures or sound",
            "ask for an answer in text",
        ));
    }
    format(config, chat)
}

/// How much the model is to think: Gemini 3 and later have levels, those before bounds.
fn effort(config: &Object) -> Option<Effort> {
    let thinking = member(config, "thinkingConfig")?.as_object()?;
    match member(thinking, "thinkingLevel") {
        Some(level) => Effort::named(level.as_str()?),
        None => Effort::of_budget(member(thinking, "thinkingBudget")),
    }
}

/// The form that the answer is to have.
fn format(config: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let kind = member(config, "responseMimeType").and_then(Value::as_str);
    let schema = member(config, "responseJsonSchema")
        .or_else(|| present(config, "_responseJsonSchema"))
        .cloned()
        .or_else(|| member(config, "responseSchema").map(schema::to_json));
    match (kind, schema) {
        (None | Some("application/json"), Some(schema)) => {
            chat.set("response_format", schema_format(None, &schema, None));
        }
        (Some("application/json"), None) => chat.set("response_format", json!({"type": "json_object"})),
        (None | Some("text/plain" | ""), _) => {}
        (Some(_), _) => {
            return Err(unsupported(
                "generationConfig.responseMimeType",
                "an answer of that type",
                "ask for text/plain or application/json",
            ));
        }
    }
    Ok(())
}

/// A member that is there and not null, in either spelling.
fn member<'v>(object: &'v Object, name: &str) -> Option<&'v Value> {
    present(object, name).or_else(|| {
        let mut snake = String::with_capacity(name.len() + 4);
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        present(object, &snake)
    })
}

/// An array member in either spelling, empty when it is not there.
fn list<'v>(object: &'v Object, name: &str, place: &str) -> Result<&'v [Value], TranslateError> {
    match member(object, name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) if place == name => Err(shape(name, "an array")),
        Some(_) => Err(shape(format!("{place}.{name}"), "an array")),
    }
}
