//! OpenAI's dialects, and what others serve in their shape.

use cordon_domain::{Dialect, Role};

use super::Spot;
use crate::json::Value;

pub(super) fn request(dialect: Dialect, key: &str) -> Spot {
    match (dialect, key) {
        (Dialect::OpenaiChat, "messages")
        | (Dialect::OpenaiResponses, "input")
        // A conversation's items, those of an agent's, and those of a voice session.
        | (Dialect::OpenaiResponses, "items" | "inputs")
        | (Dialect::OpenaiRealtime, "item") => Spot::Messages(Role::User),
        (Dialect::OpenaiResponses, "instructions") => Spot::Content(Role::System),
        (Dialect::OpenaiModerations, "input") => Spot::Content(Role::User),
        // What the user expects the answer to be, what is filled into a stored prompt, what the answer is to
        // go before, and documents to answer from.
        (Dialect::OpenaiChat, "prediction" | "documents")
        | (Dialect::OpenaiResponses, "prompt")
        | (Dialect::OpenaiCompletions, "prompt" | "suffix")
        | (Dialect::OpenaiImages, "prompt" | "image" | "images" | "mask")
        | (Dialect::OpenaiAudio, "input" | "prompt")
        | (Dialect::OpenaiEmbeddings, "input") => Spot::Part(Role::User),
        // How a voice is to speak.
        (Dialect::OpenaiAudio, "instructions") => Spot::Words(Role::System),
        (Dialect::OpenaiRealtime, "session" | "response") => Spot::Session,
        (_, "tools") | (Dialect::OpenaiChat, "functions") => Spot::Words(Role::ToolDefinition),
        (Dialect::OpenaiRealtime, _) => session_member(key),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(dialect: Dialect, key: &str) -> Spot {
    match (dialect, key) {
        (Dialect::OpenaiChat | Dialect::OpenaiCompletions, "choices") => Spot::Choice,
        (Dialect::OpenaiResponses, "output") => Spot::Messages(Role::Assistant),
        // A list of what was asked before.
        (Dialect::OpenaiResponses | Dialect::OpenaiChat, "data") => Spot::Messages(Role::User),
        (Dialect::OpenaiResponses, "output_text") => Spot::Words(Role::Assistant),
        (Dialect::OpenaiResponses, "instructions") => Spot::Content(Role::System),
        // What was heard, and what a picture was really asked for with.
        (Dialect::OpenaiAudio, "text" | "segments" | "words") | (Dialect::OpenaiImages, "data") => {
            Spot::Part(Role::Assistant)
        }
        (Dialect::OpenaiEmbeddings, "data") => Spot::Vectors,
        (Dialect::OpenaiRealtime, "item") => Spot::Messages(Role::Assistant),
        (Dialect::OpenaiRealtime, "response" | "session") => Spot::Session,
        (Dialect::OpenaiRealtime, "delta" | "transcript" | "text" | "part") => Spot::Part(Role::Assistant),
        (Dialect::OpenaiRealtime, "arguments") => Spot::Words(Role::ToolArguments),
        (_, "tools") => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

/// Of a voice session, or of one response in it.
pub(super) fn session_member(key: &str) -> Spot {
    match key {
        "instructions" => Spot::Content(Role::System),
        "tools" => Spot::Words(Role::ToolDefinition),
        "input" => Spot::Messages(Role::User),
        "output" => Spot::Messages(Role::Assistant),
        "prompt" => Spot::Part(Role::User),
        "session" | "response" => Spot::Session,
        _ => Spot::Words(Role::Other),
    }
}

/// What an item of the Responses API is by its `type`; `None` where its role tells.
pub(super) fn item(object: Value<'_>, author: Role) -> Option<Spot> {
    let kind = object.get("type").and_then(|kind| kind.text())?;
    match kind.as_ref() {
        "message" => None,
        "reasoning" => Some(Spot::Message(Role::Assistant)),
        kind if kind.ends_with("_output") => Some(Spot::Part(Role::ToolResult)),
        kind if kind.ends_with("_call") => Some(Spot::Call),
        _ if object.get("role").is_none() => Some(Spot::Part(author)),
        _ => None,
    }
}
