//! Gemini, in either of the spellings that Google's servers take, and in Gemini CLI's envelope.

use cordon_domain::Role;

use super::Spot;

pub(super) fn request(key: &str) -> Spot {
    match key {
        "contents" | "content" => Spot::Messages(Role::User),
        "systemInstruction" | "system_instruction" => Spot::Messages(Role::System),
        "tools" => Spot::Words(Role::ToolDefinition),
        "instances" => Spot::Part(Role::User),
        // Around a request: the envelope, what is counted, what is embedded, what is put into a batch.
        "request"
        | "requests"
        | "generateContentRequest"
        | "generate_content_request"
        | "batch"
        | "inputConfig"
        | "input_config" => Spot::Request,
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn reply(key: &str) -> Spot {
    match key {
        "candidates" => Spot::Choice,
        "embedding" | "embeddings" => Spot::Vectors,
        "predictions" => Spot::Part(Role::Assistant),
        "response" | "inlinedResponses" => Spot::Reply,
        "contents" => Spot::Messages(Role::User),
        "systemInstruction" => Spot::Messages(Role::System),
        "tools" => Spot::Words(Role::ToolDefinition),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn role(role: &str) -> Option<Role> {
    (role == "model").then_some(Role::Assistant)
}

/// A part is what the name of its one member says.
pub(super) fn part(key: &str, role: Role) -> Spot {
    match key {
        "functionCall" | "function_call" | "executableCode" | "executable_code" | "toolCall" => Spot::Call,
        "functionResponse"
        | "function_response"
        | "codeExecutionResult"
        | "code_execution_result"
        | "toolResponse" => Spot::Part(Role::ToolResult),
        "thoughtSignature" | "thought_signature" | "videoMetadata" | "mediaResolution" | "partMetadata" => {
            Spot::Words(Role::Other)
        }
        _ => Spot::Part(role),
    }
}
