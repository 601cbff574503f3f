//! An `openai-chat` request taken apart.

use serde_json::Value;

use crate::translate::{
    TranslateError,
    reasoning::Effort,
    reply::Call,
    request::{
        Object, as_object, file, function_tool, join, list, list_at, present, shape, text, unsupported,
    },
};

/// What a request asks for, as far as other dialects have it, too.
pub(super) struct Chat {
    /// All instructions: they have a place of their own in the other dialects, before the conversation.
    pub(super) system: String,
    pub(super) turns: Vec<Turn>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// Whether tools may be called several at once.
    pub(super) parallel: bool,
    pub(super) format: Format,
    /// How much the model is to think.
    pub(super) effort: Option<Effort>,
    pub(super) most: Option<Value>,
    pub(super) stops: Vec<Value>,
    pub(super) streamed: bool,
    /// The rest.
    pub(super) body: Object,
}

pub(super) enum Turn {
    User(Vec<Part>),
    Assistant { text: String, calls: Vec<Call> },
    Result { id: String, name: String, text: String },
}

pub(super) enum Part {
    Text(String),
    /// In base64.
    Image {
        kind: String,
        data: String,
    },
}

pub(super) struct Tool {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) schema: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Free,
    None,
    Required,
    Named(String),
}

pub(super) enum Format {
    Text,
    /// Some JSON object.
    Object,
    Schema(Value),
}

impl Chat {
    pub(super) fn read(body: Object) -> Result<Self, TranslateError> {
        refuse_others(&body)?;
        let (system, turns) = conversation(&body)?;
        if turns.is_empty() {
            return Err(shape(
                "messages",
                "an array with at least one message that is no instruction",
            ));
        }
        let tools = tools(&body)?;
        let choice = choice(&body, &tools)?;
        let stops = match present(&body, "stop") {
            None => Vec::new(),
            Some(Value::Array(stops)) => stops.clone(),
            Some(stop) => vec![stop.clone()],
        };
        Ok(Self {
            system,
            turns,
            tools,
            choice,
            parallel: present(&body, "parallel_tool_calls") != Some(&Value::Bool(false)),
            format: format(&body)?,
            effort: Effort::of_chat(&body),
            most: present(&body, "max_completion_tokens")
                .or_else(|| present(&body, "max_tokens"))
                .cloned(),
            stops,
            streamed: present(&body, "stream") == Some(&Value::Bool(true)),
            body,
        })
    }
}

/// The conversation as dialects of two sides have it: what one side says in succession is one turn, results of tools among
/// it. `said` gives a turn's role there and what is said in it; a turn that says nothing is left out.
pub(super) fn by_side(
    turns: &[Turn],
    said: impl Fn(&Turn) -> (&'static str, Vec<Value>),
) -> Vec<(&'static str, Vec<Value>)> {
    let mut sides: Vec<(&str, Vec<Value>)> = Vec::new();
    for turn in turns {
        let (role, parts) = said(turn);
        match sides.last_mut() {
            Some((last, before)) if *last == role => before.extend(parts),
            _ => sides.push((role, parts)),
        }
    }
    sides.retain(|(_, parts)| !parts.is_empty());
    sides
}

/// What the other dialects have no counterpart for, and would change the answer.
fn refuse_others(body: &Object) -> Result<(), TranslateError> {
    if present(body, "n").and_then(Value::as_u64).is_some_and(|n| n > 1) {
        return Err(unsupported("n", "more than one answer", "ask several times"));
    }
    for name in ["functions", "function_call"] {
        if present(body, name).is_some() {
            return Err(unsupported(
                name,
                "an older form of tools",
                "use `tools` and `tool_choice`",
            ));
        }
    }
    let words_only = |wanted: &Value| *wanted == "text";
    if !list(body, "modalities")?.iter().all(words_only) {
        return Err(unsupported(
            "modalities",
            "an answer in sound",
            "ask for an answer in text",
        ));
    }
    Ok(())
}

fn conversation(body: &Object) -> Result<(String, Vec<Turn>), TranslateError> {
    let (mut system, mut turns) = (String::new(), Vec::new());
    // Ids and names of the calls so far: a result names its call by id alone.
    let mut called: Vec<(String, String)> = Vec::new();
    for (at, message) in list(body, "messages")?.iter().enumerate() {
        let place = format!("messages[{at}]");
        let message = as_object(message, &place)?;
        let dot = format!("{place}.");
        let parts = parts(message, &place)?;
        match text(message, "role", &dot)? {
            "system" | "developer" => join(&mut system, &words(parts, &place)?),
            "user" => turns.push(Turn::User(parts)),
            "assistant" => {
                let calls = calls(message, &place)?;
                called.extend(calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                turns.push(Turn::Assistant {
                    text: words(parts, &place)?,
                    calls,
                });
            }
            "tool" => {
                let id = text(message, "tool_call_id", &dot)?.to_owned();
                let name = called.iter().rev().find(|(known, _)| *known == id);
                let name = name
                    .ok_or_else(|| shape(&place, "the result of a tool call that came before"))?
                    .1
                    .clone();
                let text = words(parts, &place)?;
                turns.push(Turn::Result { id, name, text });
            }
            _ => {
                return Err(shape(
                    format!("{dot}role"),
                    "system, developer, user, assistant or tool",
                ));
            }
        }
    }
    Ok((system, turns))
}

/// A message's content, in parts.
fn parts(message: &Object, place: &str) -> Result<Vec<Part>, TranslateError> {
    let place = format!("{place}.content");
    let given = match present(message, "content") {
        None => return Ok(Vec::new()),
        Some(Value::String(words)) => return Ok(vec![Part::Text(words.clone())]),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(shape(place, "a string or an array of parts")),
    };
    let mut parts = Vec::new();
    for (at, part) in given.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let part = as_object(part, &place)?;
        let dot = format!("{place}.");
        parts.push(match text(part, "type", &dot)? {
            "text" => Part::Text(text(part, "text", &dot)?.to_owned()),
            "refusal" => Part::Text(text(part, "refusal", &dot)?.to_owned()),
            "image_url" => image(part, &place)?,
            "file" | "input_audio" => return Err(file(place)),
            _ => {
                return Err(unsupported(
                    place,
                    "a part of a kind that only its provider reads",
                    "start a conversation without it",
                ));
            }
        });
    }
    Ok(parts)
}

/// A picture that lies in the request; one that lies elsewhere nobody has inspected.
fn image(part: &Object, place: &str) -> Result<Part, TranslateError> {
    let url = part.get("image_url").and_then(|image| image.get("url"));
    let url = url
        .and_then(Value::as_str)
        .ok_or_else(|| shape(format!("{place}.image_url.url"), "a string"))?;
    let data = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"));
    let (kind, data) = data.ok_or_else(|| {
        unsupported(
            place,
            "an image that lies elsewhere",
            "send its data as a `data:` URL",
        )
    })?;
    Ok(Part::Image {
        kind: kind.to_owned(),
        data: data.to_owned(),
    })
}

/// Parts that have to be words.
fn words(parts: Vec<Part>, place: &str) -> Result<String, TranslateError> {
    let mut all = String::new();
    for part in parts {
        match part {
            Part::Text(words) => join(&mut all, &words),
            Part::Image { .. } => {
                return Err(unsupported(
                    place,
                    "an image in a message that is not the user's",
                    "put it into a message of the user's",
                ));
            }
        }
    }
    Ok(all)
}

fn calls(message: &Object, place: &str) -> Result<Vec<Call>, TranslateError> {
    let mut calls = Vec::new();
    for (at, call) in list_at(message, "tool_calls", place)?.iter().enumerate() {
        let place = format!("{place}.tool_calls[{at}]");
        let call = as_object(call, &place)?;
        let inner = format!("{place}.function");
        let function = as_object(call.get("function").unwrap_or(&Value::Null), &inner)?;
        calls.push(Call {
            id: text(call, "id", &format!("{place}."))?.to_owned(),
            name: text(function, "name", &format!("{inner}."))?.to_owned(),
            arguments: text(function, "arguments", &format!("{inner}."))?.to_owned(),
        });
    }
    Ok(calls)
}

fn tools(body: &Object) -> Result<Vec<Tool>, TranslateError> {
    let mut tools = Vec::new();
    for (at, tool) in list(body, "tools")?.iter().enumerate() {
        let place = format!("tools[{at}]");
        let tool = as_object(tool, &place)?;
        if text(tool, "type", &format!("{place}."))? != "function" {
            return Err(unsupported(
                place,
                "a tool that is no function",
                "offer it as a function of one string",
            ));
        }
        let place = format!("{place}.function");
        let function = as_object(tool.get("function").unwrap_or(&Value::Null), &place)?;
        let name = text(function, "name", &format!("{place}."))?;
        let description = present(function, "description").and_then(Value::as_str);
        // It fills in the schema of a function without arguments.
        let mut filled = function_tool(name, None, present(function, "parameters"));
        tools.push(Tool {
            name: name.to_owned(),
            description: description.map(str::to_owned),
            schema: filled["function"]["parameters"].take(),
        });
    }
    Ok(tools)
}

fn choice(body: &Object, tools: &[Tool]) -> Result<Choice, TranslateError> {
    let no_such_tool = || {
        unsupported(
            "tool_choice",
            "a tool that is not offered",
            "choose one of `tools`, or leave the choice to the model",
        )
    };
    match present(body, "tool_choice") {
        None => Ok(Choice::Free),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok(Choice::Free),
            "none" => Ok(Choice::None),
            "required" if tools.is_empty() => Err(no_such_tool()),
            "required" => Ok(Choice::Required),
            _ => Err(shape("tool_choice", "none, auto, required or a function")),
        },
        Some(choice) => {
            let name = choice.pointer("/function/name").and_then(Value::as_str);
            let name = name.ok_or_else(|| shape("tool_choice", "none, auto, required or a function"))?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(no_such_tool());
            }
            Ok(Choice::Named(name.to_owned()))
        }
    }
}

fn format(body: &Object) -> Result<Format, TranslateError> {
    let Some(format) = present(body, "response_format") else {
        return Ok(Format::Text);
    };
    let format = as_object(format, "response_format")?;
    match text(format, "type", "response_format.")? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::Object),
        "json_schema" => {
            let schema = format.get("json_schema").and_then(|format| format.get("schema"));
            let schema =
                schema.ok_or_else(|| shape("response_format.json_schema.schema", "a JSON schema"))?;
            Ok(Format::Schema(schema.clone()))
        }
        _ => Err(shape("response_format.type", "text, json_object or json_schema")),
    }
}
