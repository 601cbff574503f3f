//! What is asked of a request's body before its texts are given roles.
//!
//! Text that comes as LLM token numbers is refused wherever a dialect takes it: nobody can inspect it. So is a member
//! whose name is one of the dialects' but for its case: servers in Go and C# take it for that one, so the same words
//! would have one role here and another there, and numbers of LLM tokens would go unseen.

use cordon_domain::Dialect;

use super::{DecodeError, fields};
use crate::{
    Endpoint, Operation,
    json::{Kind, Value},
};

type Checked = Result<(), DecodeError>;

const TOKENS: &str = "text, and not numbers of LLM tokens, which cannot be inspected";

pub(crate) fn check(endpoint: Endpoint, root: Value<'_>) -> Checked {
    if endpoint.dialect == Dialect::Mcp {
        return rpc(root);
    }
    if root.kind() != Kind::Object {
        return shape("a JSON object");
    }
    spelled(root)?;
    if !matches!(kind_of(root, "model"), None | Some(Kind::String)) {
        return shape("`model` to be a string");
    }
    if !matches!(
        kind_of(root, "stream"),
        None | Some(Kind::True | Kind::False | Kind::Null)
    ) {
        return shape("`stream` to be true or false");
    }
    // What only manages or hands over is inspected string by string, whatever its shape.
    let asks = matches!(
        endpoint.operation,
        Operation::Generate | Operation::CountTokens | Operation::Embed | Operation::Convert
    );
    match endpoint.dialect {
        Dialect::AnthropicBatches if endpoint.operation == Operation::Upload => batch(root),
        Dialect::Unknown | Dialect::Described(_) => shape("a dialect that has request bodies"),
        _ if !asks => Ok(()),
        Dialect::Models => shape("a dialect that has request bodies"),
        Dialect::OpenaiChat => messages(root),
        Dialect::AnthropicMessages if is_text(root, "prompt") && root.get("messages").is_none() => Ok(()),
        Dialect::AnthropicMessages => messages(root),
        Dialect::OpenaiResponses => responses(root),
        Dialect::OpenaiCompletions => texts(root, "prompt"),
        Dialect::OpenaiEmbeddings | Dialect::OpenaiModerations => {
            texts(root, "input")?;
            // llama.cpp's server takes it in place of `input`.
            texts(root, "content")
        }
        Dialect::Gemini => gemini(root),
        Dialect::BedrockConverse => converse(root),
        Dialect::Cohere if root.get("messages").is_some() => messages(root),
        Dialect::Ollama => ollama(root),
        _ => Ok(()),
    }
}

/// Lists whose items have members that say whose words they hold.
const LISTS: &[&str] = &["messages", "input", "contents", "chat_history"];

/// Whether an object and what it lists have the names of their members in the dialects' case.
fn spelled(root: Value<'_>) -> Checked {
    let items = LISTS
        .iter()
        .filter_map(|name| root.get(name))
        .flat_map(|list| list.items());
    for object in std::iter::once(root).chain(items) {
        let otherwise =
            |(key, _): (Value<'_>, _)| key.text().is_some_and(|key| fields::known_in_another_case(&key));
        if object.members().any(otherwise) {
            return shape(
                "names of members in the case that is documented, since some servers read them in any",
            );
        }
    }
    Ok(())
}

fn shape(expected: &'static str) -> Checked {
    Err(DecodeError::Shape { expected })
}

fn kind_of(object: Value<'_>, name: &str) -> Option<Kind> {
    object.get(name).map(|value| value.kind())
}

fn is_text(object: Value<'_>, name: &str) -> bool {
    kind_of(object, name) == Some(Kind::String)
}

fn are_objects(array: Value<'_>) -> bool {
    array.items().all(|item| item.kind() == Kind::Object)
}

fn messages(root: Value<'_>) -> Checked {
    match root.get("messages").filter(|value| value.kind() == Kind::Array) {
        None => shape("`messages` to be an array of messages"),
        Some(messages) if are_objects(messages) => Ok(()),
        Some(_) => shape("each of `messages` to be an object with `role` and `content`"),
    }
}

fn responses(root: Value<'_>) -> Checked {
    match root.get("input") {
        Some(input) if input.kind() == Kind::String => Ok(()),
        Some(input) if input.kind() == Kind::Array && are_objects(input) => Ok(()),
        Some(input) if input.kind() == Kind::Array => shape("each item of `input` to be an object"),
        // A stored prompt or an earlier response can stand for the input.
        None if ["prompt", "previous_response_id", "conversation"]
            .iter()
            .any(|name| root.get(name).is_some()) =>
        {
            Ok(())
        }
        _ => shape("`input` to be a string or an array of items"),
    }
}

/// A line's body that does not say what is asked of which endpoint.
pub(super) fn line(body: Value<'_>) -> Checked {
    spelled(body)?;
    texts(body, "prompt")?;
    texts(body, "input")
}

/// A string, or strings; there need be none.
fn texts(root: Value<'_>, name: &str) -> Checked {
    match root.get(name) {
        Some(value) if holds_numbers(value) => shape(TOKENS),
        _ => Ok(()),
    }
}

/// Whether a value is a number, or an array of them, however deep.
fn holds_numbers(value: Value<'_>) -> bool {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value.kind() {
            Kind::Number => return true,
            Kind::Array => waiting.extend(value.items()),
            _ => {}
        }
    }
    false
}

fn gemini(root: Value<'_>) -> Checked {
    let root = root.get("request").unwrap_or(root);
    let held = ["generateContentRequest", "generate_content_request"]
        .iter()
        .find_map(|name| root.get(name));
    let root = held.unwrap_or(root);
    match root.get("contents") {
        Some(contents) if contents.kind() == Kind::Array && are_objects(contents) => Ok(()),
        Some(contents) if contents.kind() == Kind::Object => Ok(()),
        None if ["content", "requests", "instances"]
            .iter()
            .any(|name| root.get(name).is_some()) =>
        {
            Ok(())
        }
        _ => shape("`contents` to be an array of objects with `role` and `parts`"),
    }
}

fn converse(root: Value<'_>) -> Checked {
    match root.get("input") {
        Some(input) => match input.get("converse") {
            Some(inner) => messages(inner),
            // The other form is a whole body in base64.
            None => shape("`input.converse`, since the body that `invokeModel` holds is encoded"),
        },
        None if root.get("messages").is_none()
            && ["promptVariables", "content"]
                .iter()
                .any(|name| root.get(name).is_some()) =>
        {
            Ok(())
        }
        None => messages(root),
    }
}

fn ollama(root: Value<'_>) -> Checked {
    // An earlier conversation as numbers.
    if root
        .get("context")
        .is_some_and(|context| context.items().next().is_some())
    {
        return shape(TOKENS);
    }
    texts(root, "input")?;
    match root.get("messages") {
        Some(_) => messages(root),
        // A model is loaded by its name alone.
        None => Ok(()),
    }
}

fn batch(root: Value<'_>) -> Checked {
    let Some(requests) = root.get("requests").filter(|value| value.kind() == Kind::Array) else {
        return shape("`requests` to be an array");
    };
    for request in requests.items() {
        match request.get("params") {
            Some(params) => messages(params)?,
            None => return shape("each of `requests` to be an object with `params`"),
        }
    }
    Ok(())
}

fn rpc(root: Value<'_>) -> Checked {
    let messages = std::iter::once(root).chain(root.items());
    for object in messages
        .flat_map(|message| [Some(message), message.get("params")])
        .flatten()
    {
        spelled(object)?;
    }
    let is_message = |value: Value<'_>| is_text(value, "jsonrpc");
    let fits = match root.kind() {
        Kind::Object => is_message(root),
        Kind::Array => root.items().all(is_message),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        shape("messages of JSON-RPC 2.0")
    }
}
