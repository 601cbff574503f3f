//! Which dialect and operation a method, host and path stand for.
//!
//! Exact paths only: a path that is spelled in any other way (percent-encoded letters, doubled
//! slashes, a trailing slash) is no endpoint, and what is no endpoint is the policy's `unknown`.
//! Guessing here would let a path mean one thing to us and another to the upstream.

use std::fmt;

use cordon_domain::Dialect;

use crate::Shape;

/// A dialect and what is asked for in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The provider's wire format.
    pub dialect: Dialect,
    /// What is asked for.
    pub operation: Operation,
    /// Of a described dialect: the route that a file describes.
    pub shape: Option<&'static Shape>,
}

impl Endpoint {
    /// An endpoint of a dialect that is built in.
    #[must_use]
    pub const fn new(dialect: Dialect, operation: Operation) -> Self {
        Self {
            dialect,
            operation,
            shape: None,
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
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let family = host.map(host_name).and_then(family_of);
    let routes = family.map_or(EVERYWHERE, |family| family.routes);
    routes
        .iter()
        .find(|route| route.method == method && route.matches(path))
        .map(|route| route.endpoint)
}

/// Whether a path is spelled out in the tables, so that no part of it is the caller's choice.
pub(crate) fn is_fixed_path(path: &str) -> bool {
    let listed = |routes: &[Route]| routes.iter().any(|route| !route.one_more && route.path == path);
    listed(EVERYWHERE) || FAMILIES.iter().any(|family| listed(family.routes))
}

/// Hosts of one provider, and the only endpoints that they have.
struct Family {
    hosts: &'static [&'static str],
    routes: &'static [Route],
}

struct Route {
    method: &'static str,
    path: &'static str,
    /// The path is followed by one more segment, of the caller's choice.
    one_more: bool,
    endpoint: Endpoint,
}

impl Route {
    const fn post(path: &'static str, dialect: Dialect, operation: Operation) -> Self {
        Self {
            method: "POST",
            path,
            one_more: false,
            endpoint: Endpoint::new(dialect, operation),
        }
    }

    const fn models(path: &'static str, one_more: bool) -> Self {
        let endpoint = Endpoint::new(Dialect::Models, Operation::ListModels);
        Self {
            method: "GET",
            path,
            one_more,
            endpoint,
        }
    }

    fn matches(&self, path: &str) -> bool {
        if !self.one_more {
            return path == self.path;
        }
        path.strip_prefix(self.path)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|id| !id.is_empty() && !id.contains('/') && id != "." && id != "..")
    }
}

const CHAT: Route = Route::post("/v1/chat/completions", Dialect::OpenaiChat, Operation::Generate);
const RESPONSES: Route = Route::post("/v1/responses", Dialect::OpenaiResponses, Operation::Generate);
const CODEX: Route = Route::post(
    "/backend-api/codex/responses",
    Dialect::OpenaiResponses,
    Operation::Generate,
);
const MESSAGES: Route = Route::post("/v1/messages", Dialect::AnthropicMessages, Operation::Generate);
const COUNT: Route = Route::post(
    "/v1/messages/count_tokens",
    Dialect::AnthropicMessages,
    Operation::CountTokens,
);
const MODELS: Route = Route::models("/v1/models", false);
const MODEL: Route = Route::models("/v1/models", true);

/// What the gateway and hosts of no known family answer to.
const EVERYWHERE: &[Route] = &[CHAT, RESPONSES, MESSAGES, COUNT, MODELS, MODEL];

/// A host is in a family when it is one of its hosts, or lies under one that starts with a dot.
const FAMILIES: &[Family] = &[
    Family {
        hosts: &["api.openai.com", ".api.openai.com"],
        routes: &[CHAT, RESPONSES, MODELS, MODEL],
    },
    Family {
        hosts: &["chatgpt.com", ".chatgpt.com"],
        routes: &[CODEX],
    },
    Family {
        hosts: &["api.anthropic.com"],
        routes: &[MESSAGES, COUNT, MODELS, MODEL],
    },
];

fn family_of(host: &str) -> Option<&'static Family> {
    let is = |known: &&str| {
        if known.starts_with('.') {
            host.len() > known.len()
                && host
                    .get(host.len() - known.len()..)
                    .is_some_and(|tail| tail.eq_ignore_ascii_case(known))
        } else {
            host.eq_ignore_ascii_case(known)
        }
    };
    FAMILIES.iter().find(|family| family.hosts.iter().any(is))
}

/// The name alone, without a port or a root dot.
fn host_name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: &str, host: Option<&str>, path: &str) -> Option<(Dialect, Operation)> {
        endpoint(method, host, path).map(|e| (e.dialect, e.operation))
    }

    #[test]
    fn the_gateway_answers_for_every_dialect() {
        use Operation::{CountTokens, Generate, ListModels};
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
            ("GET", "/v1/chat/completions", None),
            ("post", "/v1/chat/completions", None),
            ("POST", "/v1/chat/completions/", None),
            ("POST", "//v1/chat/completions", None),
            ("POST", "/v1/chat%2Fcompletions", None),
            ("POST", "/v1/embeddings", None),
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
}
