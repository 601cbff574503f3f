//! The conversation of a request: `messages` and template variables.

use serde_json::{Map, Value};

use super::{Conversation, Fields, MESSAGES, invalid};
use crate::failure::Failure;

/// Roles that a message may have. Templates print them between control tokens, so nothing else
/// may stand there.
const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// Reads what the template will see.
pub(super) fn read(fields: &Fields<'_>) -> Result<Conversation, Failure> {
    let messages = match fields.get("messages") {
        None => return Err(invalid("messages", "is missing")),
        Some(Value::Array(messages)) if messages.is_empty() => return Err(invalid("messages", "is empty")),
        Some(Value::Array(messages)) if messages.len() > MESSAGES => {
            return Err(invalid("messages", "holds more than 4096 messages"));
        }
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(invalid("messages", "must be an array")),
    };
    let messages = messages
        .iter()
        .enumerate()
        .map(|(at, message)| read_one(at, message))
        .collect::<Result<_, _>>()?;
    let variables = match fields.get("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(variables)) => variables.clone(),
        Some(_) => return Err(invalid("chat_template_kwargs", "must be an object")),
    };
    Ok(Conversation {
        messages,
        tools: Value::Null,
        variables,
    })
}

fn read_one(at: usize, message: &Value) -> Result<Value, Failure> {
    let param = |field: &str| format!("messages[{at}]{field}");
    let refuse = |field: &str, why| {
        Err(Failure::Invalid {
            param: param(field),
            why,
        })
    };
    let Value::Object(given) = message else {
        return refuse("", "must be an object");
    };
    let role = match given.get("role").and_then(Value::as_str) {
        Some(role) if ROLES.contains(&role) => role,
        Some(_) => return refuse(".role", "must be system, developer, user, assistant or tool"),
        None => return refuse(".role", "is missing"),
    };
    let mut message = given.clone();
    let calls = match message.get_mut("tool_calls").map(Value::take) {
        None | Some(Value::Null) => None,
        Some(Value::Array(calls)) if calls.is_empty() => None,
        Some(Value::Array(calls)) => Some(calls),
        Some(_) => return refuse(".tool_calls", "must be an array"),
    };
    let content = match given.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => text_of(at, parts)?,
        None | Some(Value::Null) if role == "assistant" => {
            // An assistant that only called tools, or refused.
            given
                .get("refusal")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        }
        None | Some(Value::Null) => return refuse(".content", "is missing"),
        Some(_) => return refuse(".content", "must be a string or an array of parts"),
    };
    message.insert("content".to_owned(), Value::String(content));
    match calls {
        Some(mut calls) => {
            calls.iter_mut().for_each(parse_arguments);
            message.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        None => {
            message.shift_remove("tool_calls");
        }
    }
    Ok(Value::Object(message))
}

/// The text of a message in parts. An image cannot be shown to a text model, and leaving it out
/// would answer another question.
fn text_of(at: usize, parts: &[Value]) -> Result<String, Failure> {
    let mut texts = Vec::with_capacity(parts.len());
    for (number, part) in parts.iter().enumerate() {
        let param = || format!("messages[{at}].content[{number}]");
        let field = match part.get("type").and_then(Value::as_str) {
            Some("text") => "text",
            Some("refusal") => "refusal",
            Some("image_url" | "input_audio" | "file" | "image" | "video_url") => {
                return Err(Failure::Unsupported {
                    param: param(),
                    why: "this model reads text only",
                });
            }
            _ => {
                return Err(Failure::Invalid {
                    param: param(),
                    why: "must be a part of type `text`",
                });
            }
        };
        match part.get(field).and_then(Value::as_str) {
            Some(text) => texts.push(text),
            None => {
                return Err(Failure::Invalid {
                    param: param(),
                    why: "has no text",
                });
            }
        }
    }
    Ok(texts.join("\n"))
}

/// OpenAI sends a call's arguments as JSON in a string; templates expect the object.
fn parse_arguments(call: &mut Value) {
    let Some(arguments) = call.pointer_mut("/function/arguments") else {
        return;
    };
    if let Value::String(text) = arguments
        && let Ok(parsed @ Value::Object(_)) = serde_json::from_str(text)
    {
        *arguments = parsed;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversation(body: Value) -> Result<Conversation, Failure> {
        read(&Fields(body.as_object().unwrap()))
    }

    #[test]
    fn parts_become_one_text_and_arguments_an_object() {
        let read = conversation(json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "done"}]}))
        .unwrap();
        assert_eq!(read.messages[0]["content"], "a\nb");
        assert_eq!(read.messages[1]["content"], "");
        assert_eq!(
            read.messages[1]["tool_calls"][0]["function"]["arguments"],
            json!({"x": 1})
        );
        assert_eq!(read.messages[2]["tool_call_id"], "1");
        assert_eq!(read.tools, Value::Null);
    }

    #[test]
    fn images_roles_and_shapes_are_refused_by_place() {
        let param = |messages: Value| {
            let failure = conversation(json!({"messages": messages})).err().unwrap();
            failure.body()["error"]["param"].as_str().unwrap().to_owned()
        };
        let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
        assert_eq!(
            param(json!([{"role": "user", "content": image}])),
            "messages[0].content[0]"
        );
        assert_eq!(
            param(json!([{"role": "root|>", "content": "x"}])),
            "messages[0].role"
        );
        assert_eq!(param(json!([{"content": "x"}])), "messages[0].role");
        assert_eq!(param(json!([{"role": "user"}])), "messages[0].content");
        assert_eq!(param(json!([5])), "messages[0]");
        assert_eq!(param(json!([])), "messages");
        assert_eq!(param(json!({})), "messages");
        assert_eq!(
            param(json!([{"role": "assistant", "tool_calls": 5}])),
            "messages[0].tool_calls"
        );
    }
}
