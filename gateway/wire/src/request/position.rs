//! Whose words stand where in each dialect.
//!
//! One table for requests and replies, since a request repeats earlier replies. Where a body leaves
//! open whose words something is (a message without a role we know, an item of an unknown type) it
//! counts as its author's: the user's in a request, the model's in a reply. A rule about users' words
//! is then not escaped by a misspelt role.

use cordon_domain::{Dialect, Role};

use super::fields;
use crate::json::{Position, Value};

/// A position in a body of one dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    dialect: Dialect,
    spot: Spot,
}

#[derive(Clone, Copy, Debug)]
enum Spot {
    Request,
    Reply,
    /// Messages or items, or one of them before its fields were looked at; whose words they are
    /// where they do not say so.
    Messages(Role),
    Message(Role),
    /// The `content` of a message: a string, or parts.
    Content(Role),
    /// A part of known kind, and what it holds.
    Part(Role),
    /// A tool call, or several.
    Call,
    /// Choices of a reply, or one of them.
    Choice,
    /// All below has one role.
    Words(Role),
}

impl Station {
    /// The outermost value of a request.
    pub(crate) fn request(dialect: Dialect) -> Self {
        Self {
            dialect,
            spot: Spot::Request,
        }
    }

    /// The outermost value of a reply.
    pub(crate) fn reply(dialect: Dialect) -> Self {
        Self {
            dialect,
            spot: Spot::Reply,
        }
    }

    fn at(self, spot: Spot) -> Self {
        Self { spot, ..self }
    }
}

impl Position for Station {
    fn enter(self, object: Value<'_>) -> Self {
        self.at(match self.spot {
            Spot::Messages(author) => message(self.dialect, object, author),
            Spot::Content(role) => part(object, role),
            other => other,
        })
    }

    fn member(self, key: &str) -> Self {
        self.at(match self.spot {
            Spot::Request => request_member(self.dialect, key),
            Spot::Reply => reply_member(self.dialect, key),
            Spot::Choice => match key {
                "message" | "delta" => Spot::Messages(Role::Assistant),
                "text" => Spot::Words(Role::Assistant),
                _ => Spot::Words(Role::Other),
            },
            Spot::Messages(role) | Spot::Content(role) => Spot::Part(role),
            Spot::Message(role) => message_member(key, role),
            Spot::Part(role) => part_member(key, role),
            Spot::Call => call_member(key),
            Spot::Words(role) => Spot::Words(role),
        })
    }

    fn item(self, _index: usize) -> Self {
        self
    }

    fn inside(self) -> Self {
        self.at(Spot::Words(self.role()))
    }

    fn role(self) -> Role {
        match self.spot {
            Spot::Messages(role) | Spot::Content(role) | Spot::Part(role) | Spot::Words(role) => role,
            Spot::Request | Spot::Reply | Spot::Choice | Spot::Call | Spot::Message(_) => Role::Other,
        }
    }

    fn knows(self, key: &str) -> bool {
        fields::known(key)
    }
}

fn request_member(dialect: Dialect, key: &str) -> Spot {
    match (dialect, key) {
        (Dialect::OpenaiChat | Dialect::AnthropicMessages, "messages")
        | (Dialect::OpenaiResponses, "input") => Spot::Messages(Role::User),
        (Dialect::OpenaiResponses, "instructions") | (Dialect::AnthropicMessages, "system") => {
            Spot::Content(Role::System)
        }
        // What the user expects the answer to be, and what is filled into a stored prompt.
        (Dialect::OpenaiChat, "prediction") | (Dialect::OpenaiResponses, "prompt") => Spot::Part(Role::User),
        (_, "tools") | (Dialect::OpenaiChat, "functions") => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

fn reply_member(dialect: Dialect, key: &str) -> Spot {
    match (dialect, key) {
        (Dialect::OpenaiChat, "choices") => Spot::Choice,
        (Dialect::OpenaiResponses, "output") => Spot::Messages(Role::Assistant),
        (Dialect::OpenaiResponses, "output_text") => Spot::Words(Role::Assistant),
        (Dialect::OpenaiResponses, "instructions") => Spot::Content(Role::System),
        (Dialect::AnthropicMessages, "content") => Spot::Content(Role::Assistant),
        (_, "tools") => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

/// What a message or item is, by its own fields.
fn message(dialect: Dialect, object: Value<'_>, author: Role) -> Spot {
    if dialect == Dialect::OpenaiResponses
        && let Some(kind) = object.get("type").and_then(|kind| kind.text())
    {
        match kind.as_ref() {
            "message" => {}
            "reasoning" => return Spot::Message(Role::Assistant),
            kind if kind.ends_with("_output") => return Spot::Part(Role::ToolResult),
            kind if kind.ends_with("_call") => return Spot::Call,
            _ if object.get("role").is_none() => return Spot::Part(author),
            _ => {}
        }
    }
    let role = object.get("role").and_then(|role| role.text());
    Spot::Message(match role.as_deref() {
        Some("system" | "developer") => Role::System,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::ToolResult,
        Some("user") => Role::User,
        _ => author,
    })
}

fn message_member(key: &str, role: Role) -> Spot {
    match key {
        "content" => Spot::Content(role),
        "tool_calls" | "function_call" => Spot::Call,
        "refusal" | "reasoning" | "reasoning_content" | "reasoning_details" | "summary" | "audio"
        | "annotations" => Spot::Part(role),
        _ => Spot::Words(Role::Other),
    }
}

fn part(object: Value<'_>, role: Role) -> Spot {
    let kind = object.get("type").and_then(|kind| kind.text());
    match kind.as_deref() {
        Some(kind) if kind.ends_with("tool_use") => Spot::Call,
        Some(kind) if kind.ends_with("tool_result") => Spot::Part(Role::ToolResult),
        _ => Spot::Part(role),
    }
}

fn part_member(key: &str, role: Role) -> Spot {
    match key {
        "type" | "id" | "call_id" | "tool_use_id" | "tool_call_id" | "status" | "cache_control"
        | "media_type" | "mime_type" | "detail" | "format" | "file_id" | "signature"
        | "encrypted_content" => Spot::Words(Role::Other),
        _ => Spot::Part(role),
    }
}

fn call_member(key: &str) -> Spot {
    match key {
        "function" | "custom" => Spot::Call,
        "arguments" | "input" | "action" | "operation" | "code" | "query" | "queries" => {
            Spot::Words(Role::ToolArguments)
        }
        "output" | "outputs" | "result" | "results" | "error" => Spot::Part(Role::ToolResult),
        _ => Spot::Words(Role::Other),
    }
}
