//! Ollama.

use cordon_domain::Role;

use super::Spot;

pub(super) fn request(key: &str) -> Spot {
    match key {
        "messages" => Spot::Messages(Role::User),
        "prompt" | "suffix" | "images" | "input" => Spot::Part(Role::User),
        "system" | "template" => Spot::Words(Role::System),
        "tools" => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(key: &str) -> Spot {
    match key {
        "embedding" | "embeddings" => Spot::Vectors,
        "message" => Spot::Messages(Role::Assistant),
        "response" | "thinking" => Spot::Part(Role::Assistant),
        "system" | "template" => Spot::Words(Role::System),
        "tool_calls" => Spot::Call,
        _ => Spot::Words(Role::Other),
    }
}
