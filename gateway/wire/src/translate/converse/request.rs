//! A Converse request as an `openai-chat` request.
//!
//! A block is what the name of its one member says. What only Amazon's own service does (`guardrailConfig`,
//! `performanceConfig`, `serviceTier`, `additionalModelRequestFields`, cache points) is left out.

use serde_json::{Value, json};

use crate::translate::{
    Asked, TranslateError,
    reasoning::Reasoning,
    request::{
        ChatRequest, Object, Turns, as_object, file, function_tool, image, join, list, list_at, present,
        schema_format, shape, text, unsupported,
    },
};

pub(crate) fn to_chat(body: &Object, model: &str, asked: Asked) -> Result<ChatRequest, TranslateError> {
    let body = counted(body, asked)?;
    if present(body, "promptVariables").is_some() {
        return Err(unsupported(
            "promptVariables",
            "a prompt kept by the provider",
            "send its text in `messages`",
        ));
    }
    let mut turns = Turns::default();
    let system = words(list(body, "system")?, "system")?;
    if !system.is_empty() {
        turns.system(&system);
    }
    for (at, message) in list(body, "messages")?.iter().enumerate() {
        let place = format!("messages[{at}]");
        turn(as_object(message, &place)?, &place, &mut turns)?;
    }
    if turns.is_empty() {
        return Err(shape("messages", "an array with at least one message"));
    }
    let mut chat = ChatRequest::new(model, turns);
    tools(body, &mut chat)?;
    if asked.is_counting() {
        return Ok(chat);
    }
    if let Some(config) = present(body, "inferenceConfig") {
        let config = as_object(config, "inferenceConfig")?;
        chat.carry(config, "maxTokens", "max_tokens");
        chat.carry(config, "temperature", "temperature");
        chat.carry(config, "topP", "top_p");
        if !list_at(config, "stopSequences", "inferenceConfig")?.is_empty() {
            chat.carry(config, "stopSequences", "stop");
        }
    }
    format(body, &mut chat)?;
    if asked.is_streamed() {
        chat.streamed();
    }
    Ok(chat)
}

/// What is to be counted lies deeper.
fn counted(body: &Object, asked: Asked) -> Result<&Object, TranslateError> {
    if !asked.is_counting() {
        return Ok(body);
    }
    let input = as_object(body.get("input").unwrap_or(&Value::Null), "input")?;
    match present(input, "converse") {
        Some(converse) => as_object(converse, "input.converse"),
        None => Err(unsupported(
            "input.invokeModel",
            "a body in the form of one provider behind Bedrock",
            "count what you would send to `converse`",
        )),
    }
}

fn turn(message: &Object, place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let role = text(message, "role", &format!("{place}."))?;
    let blocks = list_at(message, "content", place)?;
    let place = format!("{place}.content");
    match role {
        "user" => user(blocks, &place, turns),
        "assistant" => assistant(blocks, &place, turns),
        "system" => {
            turns.system(&words(blocks, &place)?);
            Ok(())
        }
        _ => Err(shape("each message's role", "user or assistant")),
    }
}

/// Tool results first: in `openai-chat` they answer the assistant's calls before anyone speaks.
fn user(blocks: &[Value], place: &str, turns: &mut Turns) -> Result<(), TranslateError> {
    let mut said = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{place}[{at}]");
        let block = as_object(block, &place)?;
        match present(block, "toolResult") {
            Some(result) => {
                let place = format!("{place}.toolResult");
                let result = as_object(result, &place)?;
                let id = text(result, "toolUseId", &format!("{place}."))?;
                let mut outcome = words(list_at(result, "content", &place)?, &format!("{place}.content"))?;
                if present(result, "status").and_then(Value::as_str) == Some("error") {
                    // The other dialect has no field for it.
                    outcome.insert_str(0, "Error: ");
                }
                turns.result(id, outcome);
            }
            None => join(&mut said, &block_words(block, &place)?),
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
        if let Some(call) = present(block, "toolUse") {
            let place = format!("{place}.toolUse");
            let (call, dot) = (as_object(call, &place)?, format!("{place}."));
            let input = present(call, "input").cloned().unwrap_or_else(|| json!({}));
            turns.call(
                text(call, "toolUseId", &dot)?,
                text(call, "name", &dot)?,
                &input.to_string(),
            );
            continue;
        }
        if let Some(thought) = block
            .get("reasoningContent")
            .and_then(|held| held.get("reasoningText"))
        {
            turns.reasoning(Reasoning::sent_back(
                thought.get("text"),
                thought.get("signature"),
            ));
            continue;
        }
        let words = block_words(block, &place)?;
        if !words.is_empty() {
            turns.assistant(&words);
        }
    }
    Ok(())
}

/// Blocks that hold words only.
fn words(blocks: &[Value], place: &str) -> Result<String, TranslateError> {
    let mut all = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let place = format!("{place}[{at}]");
        join(&mut all, &block_words(as_object(block, &place)?, &place)?);
    }
    Ok(all)
}

fn block_words(block: &Object, place: &str) -> Result<String, TranslateError> {
    let dot = format!("{place}.");
    let Some((name, held)) = block.iter().find(|(_, held)| !held.is_null()) else {
        return Ok(String::new());
    };
    let inner = format!("{dot}{name}");
    match name.as_str() {
        "text" => text(block, "text", &dot).map(str::to_owned),
        // Reasoning that is encrypted, or not the assistant's.
        "reasoningContent" | "cachePoint" => Ok(String::new()),
        // What a tool gives as JSON.
        "json" => Ok(held.to_string()),
        "image" => Err(image(place)),
        "document" => document(as_object(held, &inner)?, &inner),
        "guardContent" => {
            let guarded = as_object(held, &inner)?;
            match present(guarded, "text") {
                Some(words) => {
                    let place = format!("{inner}.text");
                    text(as_object(words, &place)?, "text", &format!("{place}.")).map(str::to_owned)
                }
                None => Err(image(inner)),
            }
        }
        "citationsContent" => {
            let held = as_object(held, &inner)?;
            words(list_at(held, "content", &inner)?, &format!("{inner}.content"))
        }
        "searchResult" => {
            let held = as_object(held, &inner)?;
            let mut all = text(held, "title", &format!("{inner}."))?.to_owned();
            let content = list_at(held, "content", &inner)?;
            join(&mut all, &words(content, &format!("{inner}.content"))?);
            Ok(all)
        }
        "video" | "audio" => Err(file(place)),
        _ => Err(unsupported(
            place,
            "a block of a type that only its provider reads",
            "start a conversation without it",
        )),
    }
}

/// A document in text, with its name before it.
fn document(document: &Object, place: &str) -> Result<String, TranslateError> {
    let inner = format!("{place}.source");
    let source = as_object(document.get("source").unwrap_or(&Value::Null), &inner)?;
    let said = match (present(source, "text"), present(source, "content")) {
        (Some(_), _) => text(source, "text", &format!("{inner}."))?.to_owned(),
        (None, Some(_)) => words(list_at(source, "content", &inner)?, &format!("{inner}.content"))?,
        (None, None) => return Err(file(place)),
    };
    let mut all = String::new();
    for name in ["name", "context"] {
        let before = present(document, name).and_then(Value::as_str);
        join(&mut all, before.unwrap_or_default());
    }
    join(&mut all, &said);
    Ok(all)
}

fn tools(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    let Some(config) = present(body, "toolConfig") else {
        return Ok(());
    };
    let config = as_object(config, "toolConfig")?;
    let mut offered = Vec::new();
    for (at, tool) in list_at(config, "tools", "toolConfig")?.iter().enumerate() {
        let place = format!("toolConfig.tools[{at}]");
        // Tools of another kind are run by the provider, or mark what is cached.
        let Some(tool) = present(as_object(tool, &place)?, "toolSpec") else {
            continue;
        };
        let place = format!("{place}.toolSpec");
        let tool = as_object(tool, &place)?;
        let description = present(tool, "description").and_then(Value::as_str);
        let name = text(tool, "name", &format!("{place}."))?;
        let schema = present(tool, "inputSchema").and_then(|schema| schema.get("json"));
        offered.push(function_tool(name, description, schema));
    }
    let choice = match present(config, "toolChoice") {
        None => None,
        Some(choice) => as_object(choice, "toolConfig.toolChoice")?
            .iter()
            .find(|(_, held)| !held.is_null()),
    };
    match choice.map(|(kind, held)| (kind.as_str(), held)) {
        None => {}
        Some(("auto", _)) if offered.is_empty() => {}
        Some(("auto", _)) => chat.set("tool_choice", "auto"),
        Some(("any", _)) if offered.is_empty() => return Err(no_such_tool()),
        Some(("any", _)) => chat.set("tool_choice", "required"),
        Some(("tool", held)) => {
            let name = held.get("name").and_then(Value::as_str);
            let named = |name: &&str| offered.iter().any(|tool| tool["function"]["name"] == *name);
            let name = name.filter(named).ok_or_else(no_such_tool)?;
            chat.set(
                "tool_choice",
                json!({"type": "function", "function": {"name": name}}),
            );
        }
        Some(_) => return Err(shape("toolConfig.toolChoice", "auto, any or tool")),
    }
    if !offered.is_empty() {
        chat.set("tools", offered);
    }
    Ok(())
}

fn no_such_tool() -> TranslateError {
    unsupported(
        "toolConfig.toolChoice",
        "a tool that is not offered, or that only its provider can run,",
        "choose one of the client's own tools, or leave the choice to the model",
    )
}

/// The form that the answer is to have. The schema comes as JSON source.
fn format(body: &Object, chat: &mut ChatRequest) -> Result<(), TranslateError> {
    const PLACE: &str = "outputConfig.textFormat.structure.jsonSchema";
    let wanted = present(body, "outputConfig").and_then(|config| config.pointer("/textFormat/structure"));
    let Some(wanted) = wanted.and_then(|structure| structure.get("jsonSchema")) else {
        return Ok(());
    };
    let wanted = as_object(wanted, PLACE)?;
    let source = text(wanted, "schema", &format!("{PLACE}."))?;
    let schema: Value = serde_json::from_str(source)
        .map_err(|_| shape(format!("{PLACE}.schema"), "a JSON schema, written as a string"))?;
    let name = present(wanted, "name").and_then(Value::as_str);
    chat.set("response_format", schema_format(name, &schema, None));
    Ok(())
}
