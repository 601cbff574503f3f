//! Cohere, both versions of its API.

use cordon_domain::Role;

use super::Spot;

pub(super) fn request(key: &str) -> Spot {
    match key {
        "messages" | "chat_history" => Spot::Messages(Role::User),
        "preamble" | "preamble_override" => Spot::Words(Role::System),
        "message" | "prompt" | "query" | "documents" | "texts" | "text" | "inputs" | "images"
        | "examples" => Spot::Part(Role::User),
        "tools" => Spot::Words(Role::ToolDefinition),
        "tool_results" => Spot::Part(Role::ToolResult),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(key: &str) -> Spot {
    match key {
        "message" => Spot::Messages(Role::Assistant),
        "text" | "generations" | "citations" => Spot::Part(Role::Assistant),
        "chat_history" => Spot::Messages(Role::User),
        "embedding" | "embeddings" => Spot::Vectors,
        "tool_calls" => Spot::Call,
        // What was asked for is repeated in the answer.
        "documents" | "texts" | "results" | "classifications" | "prompt" => Spot::Part(Role::User),
        _ => Spot::Words(Role::Other),
    }
}

/// Of the first version.
pub(super) fn role(role: &str) -> Option<Role> {
    match role {
        "USER" => Some(Role::User),
        "CHATBOT" => Some(Role::Assistant),
        "SYSTEM" => Some(Role::System),
        "TOOL" => Some(Role::ToolResult),
        _ => None,
    }
}
