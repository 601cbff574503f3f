//! Anthropic's messages, and the prompt and completion that came before them.

use cordon_domain::Role;

use super::Spot;

pub(super) fn request(key: &str) -> Spot {
    match key {
        "messages" => Spot::Messages(Role::User),
        "system" => Spot::Content(Role::System),
        "prompt" => Spot::Words(Role::User),
        "tools" => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(key: &str) -> Spot {
    match key {
        "content" => Spot::Content(Role::Assistant),
        "completion" => Spot::Words(Role::Assistant),
        "tools" => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}
