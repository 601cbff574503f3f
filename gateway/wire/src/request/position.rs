//! Whose words stand where in each dialect.
//!
//! One table for requests and replies, since a request repeats earlier replies. Where a body leaves
//! open whose words something is (a message without a role we know, an item of an unknown type) it
//! counts as its author's: the user's in a request, the model's in a reply. A rule about users' words
//! is then not escaped by a misspelt role.
//!
//! Here is what the dialects share: messages of parts, tool calls, choices. The outermost members, and
//! what only one family has, are in a file of that family's name.

use cordon_domain::{Dialect, Role};

use super::fields;
use crate::json::{Position, Value};

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod mcp;
mod ollama;
mod openai;

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
    /// A line of a file of requests, or one request of a batch: around a request of the dialect.
    Enclosure,
    /// Messages or items, or one of them before its fields were looked at; whose words they are
    /// where they do not say so.
    Messages(Role),
    Message(Role),
    /// The `content` of a message: a string, or parts.
    Content(Role),
    /// A part that is told by the name of a member, not by a `type`.
    Block(Role),
    /// A part of known kind, and what it holds.
    Part(Role),
    /// A tool call, or several.
    Call,
    /// Choices of a reply, or one of them.
    Choice,
    /// Settings of a session: instructions, tools, items to begin with.
    Session,
    /// `params` or `result` of JSON-RPC, in the direction that the request or the reply goes.
    Rpc(mcp::Direction),
    /// Embeddings: numbers that are nobody's.
    Vectors,
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

    /// The outermost value of a line that holds a request of the dialect under `body`.
    pub(crate) fn line(dialect: Dialect) -> Self {
        Self {
            dialect,
            spot: Spot::Enclosure,
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
            Spot::Content(role) => part(self.dialect, object, role),
            other => other,
        })
    }

    fn member(self, key: &str) -> Self {
        self.at(match self.spot {
            Spot::Request if self.dialect == Dialect::AnthropicBatches => match key {
                "requests" => return Self::line(Dialect::AnthropicMessages),
                _ => Spot::Words(Role::Other),
            },
            Spot::Request => request_member(self.dialect, key),
            Spot::Reply => reply_member(self.dialect, key),
            Spot::Enclosure => match key {
                "body" | "params" => Spot::Request,
                _ => Spot::Words(Role::Other),
            },
            Spot::Choice => match key {
                "message" | "delta" | "messages" | "content" => Spot::Messages(Role::Assistant),
                "text" => Spot::Words(Role::Assistant),
                _ => Spot::Words(Role::Other),
            },
            Spot::Messages(role) | Spot::Content(role) => Spot::Part(role),
            Spot::Message(role) => message_member(self.dialect, key, role),
            Spot::Block(role) => block_member(self.dialect, key, role),
            Spot::Part(role) => part_member(key, role),
            Spot::Call => call_member(key),
            Spot::Session => openai::session_member(key),
            Spot::Rpc(direction) => direction.member(key),
            Spot::Vectors => Spot::Vectors,
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
            Spot::Messages(role)
            | Spot::Content(role)
            | Spot::Block(role)
            | Spot::Part(role)
            | Spot::Words(role) => role,
            Spot::Request
            | Spot::Reply
            | Spot::Enclosure
            | Spot::Choice
            | Spot::Call
            | Spot::Session
            | Spot::Rpc(_)
            | Spot::Vectors
            | Spot::Message(_) => Role::Other,
        }
    }

    fn knows(self, key: &str) -> bool {
        fields::known(key)
    }

    fn counts(self) -> bool {
        !matches!(self.spot, Spot::Vectors)
    }
}

fn request_member(dialect: Dialect, key: &str) -> Spot {
    match dialect {
        Dialect::AnthropicMessages => anthropic::request(key),
        Dialect::Gemini => gemini::request(key),
        Dialect::BedrockConverse => bedrock::converse(key),
        Dialect::BedrockInvoke => bedrock::invoke(key),
        Dialect::Cohere => cohere::request(key),
        Dialect::Ollama => ollama::request(key),
        Dialect::Mcp => mcp::request(key),
        _ => openai::request(dialect, key),
    }
}

fn reply_member(dialect: Dialect, key: &str) -> Spot {
    match dialect {
        Dialect::AnthropicMessages | Dialect::AnthropicBatches => anthropic::reply(key),
        Dialect::Gemini => gemini::reply(key),
        Dialect::BedrockConverse => bedrock::converse_reply(key),
        Dialect::BedrockInvoke => bedrock::invoke_reply(key),
        Dialect::Cohere => cohere::reply(key),
        Dialect::Ollama => ollama::reply(key),
        Dialect::Mcp => mcp::reply(key),
        _ => openai::reply(dialect, key),
    }
}

/// What a message or item is, by its own fields.
fn message(dialect: Dialect, object: Value<'_>, author: Role) -> Spot {
    if matches!(dialect, Dialect::OpenaiResponses | Dialect::OpenaiRealtime)
        && let Some(spot) = openai::item(object, author)
    {
        return spot;
    }
    let role = object.get("role").and_then(|role| role.text());
    let role = role.as_deref();
    let own = role.and_then(|role| match dialect {
        Dialect::Gemini => gemini::role(role),
        Dialect::Cohere => cohere::role(role),
        _ => None,
    });
    Spot::Message(own.unwrap_or(match role {
        Some("system" | "developer") => Role::System,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::ToolResult,
        Some("user") => Role::User,
        _ => author,
    }))
}

fn message_member(dialect: Dialect, key: &str, role: Role) -> Spot {
    match (dialect, key) {
        (_, "content") | (Dialect::Gemini, "parts") | (Dialect::Cohere, "message" | "documents") => {
            Spot::Content(role)
        }
        (Dialect::Cohere, "tool_results") => Spot::Part(Role::ToolResult),
        (_, "tool_calls" | "function_call") => Spot::Call,
        (
            _,
            "refusal" | "reasoning" | "reasoning_content" | "reasoning_details" | "summary" | "audio"
            | "annotations" | "thinking" | "images" | "tool_plan" | "citations" | "prefix",
        ) => Spot::Part(role),
        _ => Spot::Words(Role::Other),
    }
}

fn part(dialect: Dialect, object: Value<'_>, role: Role) -> Spot {
    if matches!(dialect, Dialect::Gemini | Dialect::BedrockConverse) {
        return Spot::Block(role);
    }
    let kind = object.get("type").and_then(|kind| kind.text());
    match kind.as_deref() {
        Some(kind) if kind.ends_with("tool_use") => Spot::Call,
        Some(kind) if kind.ends_with("tool_result") => Spot::Part(Role::ToolResult),
        // Bedrock's `invoke` takes either kind of message.
        _ if dialect == Dialect::BedrockInvoke => Spot::Block(role),
        _ => Spot::Part(role),
    }
}

fn block_member(dialect: Dialect, key: &str, role: Role) -> Spot {
    match (dialect, key) {
        (Dialect::Gemini, _) => gemini::part(key, role),
        (_, _) => bedrock::block(key, role),
    }
}

fn part_member(key: &str, role: Role) -> Spot {
    match key {
        "type" | "id" | "call_id" | "tool_use_id" | "tool_call_id" | "status" | "cache_control"
        | "media_type" | "mime_type" | "detail" | "format" | "file_id" | "signature"
        | "encrypted_content" | "mimeType" | "toolUseId" | "thoughtSignature" | "cachePoint" => {
            Spot::Words(Role::Other)
        }
        _ => Spot::Part(role),
    }
}

fn call_member(key: &str) -> Spot {
    match key {
        "function" | "custom" => Spot::Call,
        "arguments" | "input" | "action" | "operation" | "code" | "query" | "queries" | "args"
        | "parameters" => Spot::Words(Role::ToolArguments),
        "output" | "outputs" | "result" | "results" | "error" => Spot::Part(Role::ToolResult),
        _ => Spot::Words(Role::Other),
    }
}
