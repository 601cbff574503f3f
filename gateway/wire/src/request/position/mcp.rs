//! The Model Context Protocol: JSON-RPC messages, one or several, from either side.
//!
//! A caller sends calls to a server, and answers to what the server asks of it (a completion by the
//! caller's language model, a form that the user fills in).

use cordon_domain::Role;

use super::Spot;

/// Which way a message goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    ToServer,
    FromServer,
}

pub(super) fn request(key: &str) -> Spot {
    match key {
        "params" => Spot::Rpc(Direction::ToServer),
        // The role of an answer to `sampling/createMessage`; a filled form is the user's.
        "result" => Spot::Messages(Role::User),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(key: &str) -> Spot {
    match key {
        "params" | "result" => Spot::Rpc(Direction::FromServer),
        _ => Spot::Words(Role::Other),
    }
}

impl Direction {
    pub(super) fn member(self, key: &str) -> Spot {
        match (self, key) {
            (Self::ToServer, "arguments") => Spot::Words(Role::ToolArguments),
            (Self::ToServer, "argument" | "context") => Spot::Words(Role::User),
            (Self::FromServer, "content" | "structuredContent" | "contents") => Spot::Part(Role::ToolResult),
            (Self::FromServer, "tools") => Spot::Words(Role::ToolDefinition),
            (Self::FromServer, "messages") => Spot::Messages(Role::User),
            (Self::FromServer, "systemPrompt" | "instructions") => Spot::Words(Role::System),
            _ => Spot::Words(Role::Other),
        }
    }
}
