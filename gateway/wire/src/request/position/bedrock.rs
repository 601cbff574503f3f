//! Amazon Bedrock: `converse`, and what the providers behind `invoke` take and give.

use cordon_domain::Role;

use super::Spot;

pub(super) fn converse(key: &str) -> Spot {
    match key {
        "messages" => Spot::Messages(Role::User),
        "system" => Spot::Content(Role::System),
        "promptVariables" | "content" => Spot::Part(Role::User),
        "toolConfig" => Spot::Words(Role::ToolDefinition),
        // What is counted.
        "input" | "converse" => Spot::Request,
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn converse_reply(key: &str) -> Spot {
    match key {
        "output" => Spot::Choice,
        _ => Spot::Words(Role::Other),
    }
}

/// The union of Anthropic's, Nova's, Llama's, Mistral's, Cohere's, Titan's and the picture models' bodies. What
/// holds words of an unknown provider's is the user's where it stands among these.
pub(super) fn invoke(key: &str) -> Spot {
    match key {
        "messages" | "chat_history" => Spot::Messages(Role::User),
        "system" | "preamble" => Spot::Content(Role::System),
        "prompt"
        | "suffix"
        | "message"
        | "inputText"
        | "inputImage"
        | "texts"
        | "text"
        | "query"
        | "documents"
        | "instances"
        | "text_prompts"
        | "textToImageParams"
        | "inPaintingParams"
        | "outPaintingParams"
        | "imageVariationParams"
        | "colorGuidedGenerationParams"
        | "backgroundRemovalParams"
        | "image"
        | "images" => Spot::Part(Role::User),
        "tools" | "toolConfig" => Spot::Words(Role::ToolDefinition),
        "tool_results" => Spot::Part(Role::ToolResult),
        _ => Spot::Words(Role::Other),
    }
}

pub(super) fn invoke_reply(key: &str) -> Spot {
    match key {
        "content" => Spot::Content(Role::Assistant),
        "output" | "choices" => Spot::Choice,
        "completion" | "generation" | "generations" | "outputs" | "outputText" | "results" | "text" => {
            Spot::Part(Role::Assistant)
        }
        _ => Spot::Words(Role::Other),
    }
}

/// A block is what the name of its one member says.
pub(super) fn block(key: &str, role: Role) -> Spot {
    match key {
        "toolUse" => Spot::Call,
        "toolResult" => Spot::Part(Role::ToolResult),
        _ => super::part_member(key, role),
    }
}
