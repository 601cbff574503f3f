//! Which dialect and operation a method, host and path stand for.
//!
//! Exact paths only: a path that is spelled in any other way (percent-encoded letters, doubled
//! slashes, a trailing slash) is no endpoint, and what is no endpoint is the policy's `unknown`.
//! Guessing here would let a path mean one thing to us and another to the upstream. Where an API has
//! a segment of the caller's choice (an id, a language model's name), that segment alone is free, and may
//! still not be one that an upstream could take for a step to elsewhere.
//!
//! The tables are in `endpoint/table.rs`, a family of hosts each; what a pattern means is in
//! `endpoint/pattern.rs`.

use std::fmt;

use cordon_domain::Dialect;

use crate::Shape;

mod credential;
pub(crate) mod pattern;
mod table;

pub use credential::{KeyInQuery, key_in_query};

use pattern::{host_name, is_host};
use table::{EVERYWHERE, FAMILIES, Mount, Route};

/// A dialect and what is asked for in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The provider's wire format.
    pub dialect: Dialect,
    /// What is asked for.
    pub operation: Operation,
    /// Of a described dialect: the route that a file describes.
    pub shape: Option<&'static Shape>,
    /// Whether the reply is streamed, where the path says so and not the body.
    pub streamed: Option<bool>,
}

impl Endpoint {
    /// An endpoint of a dialect that is built in.
    #[must_use]
    pub const fn new(dialect: Dialect, operation: Operation) -> Self {
        Self {
            dialect,
            operation,
            shape: None,
            streamed: None,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Endpoint");
        shown
            .field("dialect", &self.dialect)
            .field("operation", &self.operation);
        if let Some(shape) = self.shape {
            shown.field("shape", shape);
        }
        shown.finish()
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer of the model.
    Generate,
    /// How many LLM tokens a request would take.
    CountTokens,
    /// The models on offer, or one of them; the request has no body.
    ListModels,
    /// Vectors, scores or labels for texts.
    Embed,
    /// A picture or sound made from a text, or a text from a sound.
    Convert,
    /// A file or a batch is handed over for later.
    Upload,
    /// What was handed over or made before is listed, read, cancelled or deleted.
    Manage,
}

/// The endpoint of a request, or `None` when no dialect describes it.
///
/// `host` is `None` at the reverse gateway, which answers for every dialect. On an intercepted
/// host that belongs to a known provider only that provider's endpoints are known; other hosts are
/// judged by path alone. `path` may carry a query, which is not looked at.
#[must_use]
pub fn endpoint(method: &str, host: Option<&str>, path: &str) -> Option<Endpoint> {
    let path = bare(path);
    routes(host)
        .find(|(mount, route)| route.method == method && mount.holds(route, path))
        .map(|(_, route)| route.endpoint)
}

/// The language model that a path names, as Gemini, Azure, Vertex and Bedrock ask for one.
#[must_use]
pub fn model_in_path(host: Option<&str>, path: &str) -> Option<String> {
    let path = bare(path);
    routes(host).find_map(|(mount, route)| mount.model(route, path))
}

/// Whether a path is spelled out in the tables, so that no part of it is the caller's choice.
pub(crate) fn is_fixed_path(path: &str) -> bool {
    let families = FAMILIES.iter().flat_map(|family| family.mounts);
    EVERYWHERE
        .iter()
        .chain(families)
        .flat_map(Mount::routes)
        .any(|(mount, route)| mount.is(route, path))
}

fn bare(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}

fn routes(host: Option<&str>) -> impl Iterator<Item = (&'static Mount, &'static Route)> {
    let family = host.map(host_name).and_then(|host| {
        FAMILIES
            .iter()
            .find(|family| family.hosts.iter().any(|known| is_host(host, known)))
    });
    family
        .map_or(EVERYWHERE, |family| family.mounts)
        .iter()
        .flat_map(Mount::routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: &str, host: Option<&str>, path: &str) -> Option<(Dialect, Operation)> {
        endpoint(method, host, path).map(|e| (e.dialect, e.operation))
    }

    #[test]
    fn the_gateway_answers_for_every_dialect() {
        use Operation::{CountTokens, Embed, Generate, ListModels, Manage};
        for (method, path, expected) in [
            (
                "POST",
                "/v1/chat/completions",
                Some((Dialect::OpenaiChat, Generate)),
            ),
            (
                "POST",
                "/v1/responses",
                Some((Dialect::OpenaiResponses, Generate)),
            ),
            (
                "POST",
                "/v1/messages?beta=true",
                Some((Dialect::AnthropicMessages, Generate)),
            ),
            (
                "POST",
                "/v1/messages/count_tokens",
                Some((Dialect::AnthropicMessages, CountTokens)),
            ),
            ("GET", "/v1/models", Some((Dialect::Models, ListModels))),
            ("GET", "/v1/models/gpt-5", Some((Dialect::Models, ListModels))),
            ("GET", "/v1/models/", None),
            ("GET", "/v1/models/a/b", None),
            ("GET", "/v1/models/..", None),
            ("PUT", "/v1/chat/completions", None),
            ("post", "/v1/chat/completions", None),
            ("POST", "/v1/chat/completions/", None),
            ("POST", "//v1/chat/completions", None),
            ("POST", "/v1/chat%2Fcompletions", None),
            ("POST", "/v1/embeddings", Some((Dialect::OpenaiEmbeddings, Embed))),
            ("POST", "/v1/embeddings/x", None),
            ("POST", "/api/chat", Some((Dialect::Ollama, Generate))),
            ("POST", "/mcp", Some((Dialect::Mcp, Manage))),
            ("POST", "", None),
        ] {
            assert_eq!(at(method, None, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_known_host_has_only_its_own_endpoints() {
        let chat = "/v1/chat/completions";
        assert!(at("POST", Some("api.openai.com"), chat).is_some());
        assert!(at("POST", Some("API.OpenAI.com.:443"), chat).is_some());
        assert!(at("POST", Some("eu.api.openai.com"), chat).is_some());
        assert!(at("POST", Some("api.openai.com"), "/v1/messages").is_none());
        assert!(at("POST", Some("api.anthropic.com"), "/v1/messages").is_some());
        assert!(at("POST", Some("api.anthropic.com"), chat).is_none());
        assert!(at("POST", Some("chatgpt.com"), "/backend-api/codex/responses").is_some());
        assert!(at("POST", Some("chatgpt.com"), chat).is_none());
        assert!(at("POST", None, "/backend-api/codex/responses").is_none());
    }

    #[test]
    fn an_unknown_host_is_judged_by_path() {
        for host in ["llm.example", "evilapi.openai.com.example", "é", "", "[::1]:8443"] {
            assert!(at("POST", Some(host), "/v1/messages").is_some(), "{host}");
        }
    }

    #[test]
    fn each_provider_has_its_dialects_where_it_serves_them() {
        use Dialect::{
            AnthropicBatches, AnthropicFiles, AnthropicMessages, BedrockConverse, BedrockInvoke, Cohere,
            Gemini, Mcp, Models, Ollama, OpenaiAudio, OpenaiBatches, OpenaiChat, OpenaiCompletions,
            OpenaiEmbeddings, OpenaiFiles, OpenaiImages, OpenaiRealtime, OpenaiResponses,
        };
        use Operation::{Convert, CountTokens, Embed, Generate, ListModels, Manage, Upload};
        let vertex = "/v1/projects/p-1/locations/eu/publishers";
        for (method, host, path, expected) in [
            (
                "GET",
                "api.openai.com",
                "/v1/responses/resp_1",
                Some((OpenaiResponses, Manage)),
            ),
            (
                "POST",
                "api.openai.com",
                "/v1/responses/resp_1/cancel",
                Some((OpenaiResponses, Manage)),
            ),
            (
                "POST",
                "api.openai.com",
                "/v1/responses/compact",
                Some((OpenaiResponses, Generate)),
            ),
            ("POST", "api.openai.com", "/v1/responses/resp_1", None),
            (
                "GET",
                "api.openai.com",
                "/v1/realtime?model=gpt-realtime",
                Some((OpenaiRealtime, Generate)),
            ),
            (
                "POST",
                "api.openai.com",
                "/v1/images/edits",
                Some((OpenaiImages, Convert)),
            ),
            (
                "POST",
                "api.openai.com",
                "/v1/audio/speech",
                Some((OpenaiAudio, Convert)),
            ),
            (
                "GET",
                "api.openai.com",
                "/v1/files/file-1/content",
                Some((OpenaiFiles, Manage)),
            ),
            (
                "POST",
                "api.openai.com",
                "/v1/batches",
                Some((OpenaiBatches, Upload)),
            ),
            (
                "POST",
                "chatgpt.com",
                "/backend-api/codex/responses",
                Some((OpenaiResponses, Generate)),
            ),
            (
                "POST",
                "api.anthropic.com",
                "/v1/messages/batches",
                Some((AnthropicBatches, Upload)),
            ),
            (
                "DELETE",
                "api.anthropic.com",
                "/v1/files/file_1",
                Some((AnthropicFiles, Manage)),
            ),
            (
                "POST",
                "cloudcode-pa.googleapis.com",
                "/v1internal:streamGenerateContent?alt=sse",
                Some((Gemini, Generate)),
            ),
            (
                "POST",
                "cloudcode-pa.googleapis.com",
                "/v1internal:deleteAll",
                None,
            ),
            (
                "POST",
                "generativelanguage.googleapis.com",
                "/v1beta/openai/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            (
                "POST",
                "generativelanguage.googleapis.com",
                "/v1beta/models/g:embedContent",
                Some((Gemini, Embed)),
            ),
            (
                "GET",
                "generativelanguage.googleapis.com",
                "/v1beta/models",
                Some((Gemini, ListModels)),
            ),
            (
                "POST",
                "r-1.openai.azure.com",
                "/openai/deployments/d/embeddings?api-version=1",
                Some((OpenaiEmbeddings, Embed)),
            ),
            (
                "POST",
                "r-1.openai.azure.com",
                "/openai/responses?api-version=1",
                Some((OpenaiResponses, Generate)),
            ),
            (
                "POST",
                "r-1.services.ai.azure.com",
                "/anthropic/v1/messages",
                Some((AnthropicMessages, Generate)),
            ),
            (
                "POST",
                "eu-aiplatform.googleapis.com",
                &format!("{vertex}/anthropic/models/count-tokens:rawPredict"),
                Some((AnthropicMessages, CountTokens)),
            ),
            (
                "POST",
                "eu-aiplatform.googleapis.com",
                &format!("{vertex}/mistralai/models/m@1:rawPredict"),
                Some((OpenaiChat, Generate)),
            ),
            (
                "POST",
                "eu-aiplatform.googleapis.com",
                &format!("{vertex}/anthropic/models/c:generateContent"),
                None,
            ),
            (
                "POST",
                "bedrock-runtime.eu-west-1.amazonaws.com",
                "/model/m/converse",
                Some((BedrockConverse, Generate)),
            ),
            (
                "POST",
                "bedrock-runtime.eu-west-1.amazonaws.com",
                "/model/m/invoke",
                Some((BedrockInvoke, Generate)),
            ),
            ("POST", "api.cohere.com", "/v2/rerank", Some((Cohere, Embed))),
            ("POST", "api.cohere.com", "/v1/detokenize", None),
            (
                "POST",
                "api.groq.com",
                "/openai/v1/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            ("POST", "api.groq.com", "/v1/chat/completions", None),
            (
                "POST",
                "api.deepseek.com",
                "/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            (
                "POST",
                "api.x.ai",
                "/v1/responses",
                Some((OpenaiResponses, Generate)),
            ),
            (
                "POST",
                "api.perplexity.ai",
                "/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            (
                "POST",
                "openrouter.ai",
                "/api/v1/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            (
                "GET",
                "openrouter.ai",
                "/api/v1/models/a/b/endpoints",
                Some((Models, ListModels)),
            ),
            (
                "POST",
                "api.together.xyz",
                "/v1/completions",
                Some((OpenaiCompletions, Generate)),
            ),
            (
                "POST",
                "router.huggingface.co",
                "/novita/v1/chat/completions",
                Some((OpenaiChat, Generate)),
            ),
            (
                "POST",
                "api.fireworks.ai",
                "/inference/v1/embeddings",
                Some((OpenaiEmbeddings, Embed)),
            ),
            (
                "POST",
                "codestral.mistral.ai",
                "/v1/fim/completions",
                Some((OpenaiCompletions, Generate)),
            ),
            ("POST", "ollama.com", "/api/generate", Some((Ollama, Generate))),
            (
                "POST",
                "api.business.githubcopilot.com",
                "/responses",
                Some((OpenaiResponses, Generate)),
            ),
            ("POST", "api.githubcopilot.com", "/mcp/", Some((Mcp, Manage))),
            ("DELETE", "mcp.notes.example", "/mcp", Some((Mcp, Manage))),
        ] {
            assert_eq!(at(method, Some(host), path), expected, "{method} {host}{path}");
        }
    }

    #[test]
    fn a_path_tells_its_model_and_whether_it_streams() {
        let bedrock = "bedrock-runtime.us-east-1.amazonaws.com";
        for (host, path, model, streamed) in [
            (
                Some("a.openai.azure.com"),
                "/openai/deployments/my-gpt/chat/completions",
                Some("my-gpt"),
                None,
            ),
            (
                None,
                "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
                Some("gemini-2.5-pro"),
                Some(true),
            ),
            (
                None,
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Some("gemini-2.5-pro"),
                Some(false),
            ),
            (
                Some(bedrock),
                "/model/anthropic.claude-v2%3A1/converse-stream",
                Some("anthropic.claude-v2:1"),
                Some(true),
            ),
            (
                Some(bedrock),
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/invoke",
                Some("arn:aws:bedrock:us-east-1:1:inference-profile/x"),
                Some(false),
            ),
            (
                Some("aiplatform.googleapis.com"),
                "/v1/projects/p/locations/global/publishers/anthropic/models/claude@1:streamRawPredict",
                Some("claude@1"),
                Some(true),
            ),
            (
                Some("proxy.individual.githubcopilot.com"),
                "/v1/engines/c-1/completions",
                Some("c-1"),
                None,
            ),
            (None, "/v1/chat/completions", None, None),
        ] {
            assert_eq!(model_in_path(host, path).as_deref(), model, "{path}");
            let found = endpoint("POST", host, path).map(|found| found.streamed);
            assert_eq!(found, Some(streamed), "{path}");
        }
    }

    #[test]
    fn only_a_path_without_a_choice_is_fixed() {
        for path in [
            "/v1/chat/completions",
            "/v1internal:countTokens",
            "/api/v1/models",
            "/mcp",
            "/openai/v1/files",
        ] {
            assert!(is_fixed_path(path), "{path}");
        }
        for path in [
            "/v1/models/x",
            "/openai/deployments/d/embeddings",
            "/v1beta/models/g:countTokens",
            "/v1/chats",
            "/x/v1/chat/completions",
            "",
        ] {
            assert!(!is_fixed_path(path), "{path}");
        }
    }
}
