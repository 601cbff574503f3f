//! The endpoints of each provider, by family of hosts.
//!
//! A provider that speaks another's dialects mounts that one's routes where it has them. What is not listed is
//! `unknown`, and among it, on purpose: endpoints that take LLM token numbers for text (`detokenize`).

use cordon_domain::Dialect;

use super::{
    Endpoint, Operation,
    pattern::{decoded, matched},
};

/// Hosts of one provider, and the only endpoints that they have.
pub(super) struct Family {
    pub(super) hosts: &'static [&'static str],
    pub(super) mounts: &'static [Mount],
}

/// Routes, and where a provider has them.
pub(super) struct Mount {
    at: &'static str,
    /// No part of `at` is the caller's choice.
    fixed: bool,
    sets: Sets,
}

type Sets = &'static [&'static [Route]];

/// A method and a path's pattern.
pub(super) struct Route {
    pub(super) method: &'static str,
    pattern: &'static str,
    /// No part of the pattern is the caller's choice.
    fixed: bool,
    pub(super) endpoint: Endpoint,
}

impl Mount {
    const fn at(at: &'static str, sets: Sets) -> Self {
        Self {
            at,
            fixed: is_fixed(at),
            sets,
        }
    }

    pub(super) fn routes(&'static self) -> impl Iterator<Item = (&'static Self, &'static Route)> {
        self.sets
            .iter()
            .copied()
            .flatten()
            .map(move |route| (self, route))
    }

    /// Whether a path is a route's.
    pub(super) fn holds(&self, route: &Route, path: &str) -> bool {
        if self.fixed && route.fixed {
            self.is(route, path)
        } else {
            matched(path, self.at, route.pattern).is_some()
        }
    }

    /// Whether a path is a route's, and no part of it is the caller's choice.
    pub(super) fn is(&self, route: &Route, path: &str) -> bool {
        self.fixed
            && route.fixed
            && path.len() == self.at.len() + route.pattern.len()
            && path.starts_with(self.at)
            && path.ends_with(route.pattern)
    }

    /// The language model that a path of the route names.
    pub(super) fn model(&self, route: &Route, path: &str) -> Option<String> {
        if self.fixed && route.fixed {
            return None;
        }
        matched(path, self.at, route.pattern).flatten().map(decoded)
    }
}

impl Route {
    const fn on(method: &'static str, pattern: &'static str, dialect: Dialect, operation: Operation) -> Self {
        Self {
            method,
            pattern,
            fixed: is_fixed(pattern),
            endpoint: Endpoint::new(dialect, operation),
        }
    }

    /// The path alone says whether the reply is streamed.
    const fn streamed(mut self, streamed: bool) -> Self {
        self.endpoint.streamed = Some(streamed);
        self
    }
}

const fn is_fixed(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'{' {
            return false;
        }
        at += 1;
    }
    true
}

const fn get(pattern: &'static str, dialect: Dialect, operation: Operation) -> Route {
    Route::on("GET", pattern, dialect, operation)
}

const fn post(pattern: &'static str, dialect: Dialect, operation: Operation) -> Route {
    Route::on("POST", pattern, dialect, operation)
}

const fn delete(pattern: &'static str, dialect: Dialect) -> Route {
    Route::on("DELETE", pattern, dialect, Operation::Manage)
}

use Dialect::{
    AnthropicBatches, AnthropicFiles, AnthropicMessages, BedrockConverse, BedrockInvoke, Cohere, Gemini, Mcp,
    Models, Ollama, OpenaiAudio, OpenaiBatches, OpenaiChat, OpenaiCompletions, OpenaiEmbeddings, OpenaiFiles,
    OpenaiImages, OpenaiModerations, OpenaiRealtime, OpenaiResponses,
};
use Operation::{Convert, CountTokens, Embed, Generate, ListModels, Manage, Upload};

/// What the gateway and hosts of no known family answer to.
pub(super) const EVERYWHERE: &[Mount] = &[
    Mount::at("/v1", &[CHAT, MESSAGES]),
    Mount::at("/v1", OPENAI),
    Mount::at("/v1", &[MESSAGE_BATCHES]),
    Mount::at("", &[OLLAMA]),
    Mount::at("/v1beta", GEMINI),
    Mount::at("/v1", &[GEMINI_MODELS]),
    Mount::at("", &[COHERE, BEDROCK]),
    Mount::at("/openai/deployments/{model}", &[DEPLOYMENT]),
    Mount::at("/mcp", &[MCP]),
];

/// A host is in the first family that has a pattern for it.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        hosts: &["api.openai.com", ".api.openai.com"],
        mounts: &[Mount::at("/v1", OPENAI)],
    },
    Family {
        hosts: &["chatgpt.com", ".chatgpt.com"],
        mounts: &[Mount::at("/backend-api/codex", &[CODEX])],
    },
    Family {
        hosts: &["api.anthropic.com"],
        mounts: &[Mount::at(
            "/v1",
            &[MESSAGES, MESSAGE_BATCHES, MESSAGE_FILES, MODELS],
        )],
    },
    Family {
        hosts: &["generativelanguage.googleapis.com"],
        mounts: &[
            Mount::at("/v1beta", GEMINI),
            Mount::at("/v1", &[GEMINI_MODELS]),
            Mount::at("/upload/v1beta", &[GEMINI_UPLOADS]),
            Mount::at("/v1beta/openai", OPENAI),
        ],
    },
    Family {
        hosts: &["cloudcode-pa.googleapis.com", "*-cloudcode-pa.googleapis.com"],
        mounts: &[Mount::at("", &[CODE_ASSIST])],
    },
    Family {
        hosts: &["aiplatform.googleapis.com", "*-aiplatform.googleapis.com"],
        mounts: &[
            Mount::at("/v1/projects/{project}/locations/{location}", &[VERTEX]),
            Mount::at("/v1beta1/projects/{project}/locations/{location}", &[VERTEX]),
            Mount::at("/v1", &[VERTEX_PUBLISHERS]),
            Mount::at("/v1beta1", &[VERTEX_PUBLISHERS]),
        ],
    },
    Family {
        hosts: &[
            "*.openai.azure.com",
            "*.cognitiveservices.azure.com",
            "*.services.ai.azure.com",
        ],
        mounts: &[
            Mount::at("/openai/deployments/{model}", &[DEPLOYMENT]),
            Mount::at("/openai/v1", OPENAI),
            Mount::at("/openai", OPENAI),
            Mount::at("/models", OPENAI),
            Mount::at("/anthropic/v1", &[MESSAGES]),
        ],
    },
    Family {
        hosts: &[
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
        ],
        mounts: &[Mount::at("", &[BEDROCK]), Mount::at("/openai/v1", OPENAI)],
    },
    Family {
        hosts: &["api.mistral.ai", "codestral.mistral.ai"],
        mounts: &[Mount::at("/v1", &[CHAT, EMBEDDINGS, MODELS, MISTRAL])],
    },
    Family {
        hosts: &["api.cohere.com", "api.cohere.ai"],
        mounts: &[
            Mount::at("", &[COHERE]),
            Mount::at("/v1", &[MODELS]),
            Mount::at("/compatibility/v1", &[CHAT, EMBEDDINGS]),
        ],
    },
    Family {
        hosts: &["api.groq.com"],
        mounts: &[Mount::at("/openai/v1", OPENAI)],
    },
    Family {
        hosts: &["api.deepseek.com"],
        mounts: &[
            Mount::at("", &[CHAT, COMPLETIONS, MODELS]),
            Mount::at("/v1", &[CHAT, COMPLETIONS, MODELS]),
            Mount::at("/beta", &[CHAT, COMPLETIONS]),
            Mount::at("/anthropic/v1", &[MESSAGES]),
        ],
    },
    Family {
        hosts: &["api.perplexity.ai"],
        mounts: &[Mount::at("", &[CHAT]), Mount::at("/v1", &[CHAT, RESPONSES])],
    },
    Family {
        hosts: &["openrouter.ai"],
        mounts: &[
            Mount::at("/api/v1", OPENAI),
            Mount::at("/api/v1", &[MESSAGES, OPENROUTER]),
        ],
    },
    Family {
        hosts: &[
            "api.x.ai",
            "*.api.x.ai",
            "api.together.xyz",
            "api.together.ai",
            "router.huggingface.co",
        ],
        mounts: &[
            Mount::at("/v1", OPENAI),
            Mount::at("/v1", &[MESSAGES]),
            Mount::at("/{provider}/v1", &[CHAT]),
        ],
    },
    Family {
        hosts: &["api.fireworks.ai"],
        mounts: &[
            Mount::at("/inference/v1", OPENAI),
            Mount::at("/inference/v1", &[MESSAGES]),
        ],
    },
    Family {
        hosts: &["ollama.com", ".ollama.com"],
        mounts: &[Mount::at("", &[OLLAMA]), Mount::at("/v1", OPENAI)],
    },
    Family {
        hosts: &[
            "api.githubcopilot.com",
            "api.*.githubcopilot.com",
            "proxy.*.githubcopilot.com",
            "copilot-proxy.githubusercontent.com",
        ],
        mounts: &[
            Mount::at("", &[CHAT, RESPONSES, EMBEDDINGS, MODELS, COPILOT]),
            Mount::at("/v1", &[CHAT, RESPONSES, MESSAGES]),
            Mount::at("/mcp", &[MCP]),
            Mount::at("/mcp/", &[MCP]),
        ],
    },
    Family {
        hosts: &["mcp.*"],
        mounts: &[
            Mount::at("/mcp", &[MCP]),
            Mount::at("/mcp/", &[MCP]),
            Mount::at("/v1/mcp", &[MCP]),
            Mount::at("/", &[MCP]),
        ],
    },
];

/// Chat completions, and those that were kept.
const CHAT: &[Route] = &[
    post("/chat/completions", OpenaiChat, Generate),
    get("/chat/completions", OpenaiChat, Manage),
    get("/chat/completions/{id}", OpenaiChat, Manage),
    post("/chat/completions/{id}", OpenaiChat, Manage),
    delete("/chat/completions/{id}", OpenaiChat),
    get("/chat/completions/{id}/messages", OpenaiChat, Manage),
];

const COMPLETIONS: &[Route] = &[post("/completions", OpenaiCompletions, Generate)];

const EMBEDDINGS: &[Route] = &[post("/embeddings", OpenaiEmbeddings, Embed)];

const RESPONSES: &[Route] = &[
    post("/responses", OpenaiResponses, Generate),
    // A WebSocket, whose frames are requests and events.
    get("/responses", OpenaiResponses, Generate),
    post("/responses/compact", OpenaiResponses, Generate),
    post("/responses/input_tokens", OpenaiResponses, CountTokens),
    get("/responses/{id}", OpenaiResponses, Manage),
    delete("/responses/{id}", OpenaiResponses),
    post("/responses/{id}/cancel", OpenaiResponses, Manage),
    get("/responses/{id}/input_items", OpenaiResponses, Manage),
];

/// Codex, signed in with ChatGPT.
const CODEX: &[Route] = &[
    post("/responses", OpenaiResponses, Generate),
    get("/responses", OpenaiResponses, Generate),
    post("/responses/compact", OpenaiResponses, Generate),
    get("/models", Models, ListModels),
];

const MODELS: &[Route] = &[
    get("/models", Models, ListModels),
    get("/models/{id}", Models, ListModels),
];

/// OpenAI's, all of them.
const OPENAI: Sets = &[CHAT, RESPONSES, MODELS, COMPLETIONS, EMBEDDINGS, OPENAI_REST];

const OPENAI_REST: &[Route] = &[
    post("/moderations", OpenaiModerations, Embed),
    post("/images/generations", OpenaiImages, Convert),
    post("/images/edits", OpenaiImages, Convert),
    post("/images/variations", OpenaiImages, Convert),
    post("/audio/transcriptions", OpenaiAudio, Convert),
    post("/audio/translations", OpenaiAudio, Convert),
    post("/audio/speech", OpenaiAudio, Convert),
    post("/files", OpenaiFiles, Upload),
    get("/files", OpenaiFiles, Manage),
    get("/files/{id}", OpenaiFiles, Manage),
    delete("/files/{id}", OpenaiFiles),
    get("/files/{id}/content", OpenaiFiles, Manage),
    post("/uploads", OpenaiFiles, Upload),
    post("/uploads/{id}/parts", OpenaiFiles, Upload),
    post("/uploads/{id}/complete", OpenaiFiles, Manage),
    post("/uploads/{id}/cancel", OpenaiFiles, Manage),
    post("/batches", OpenaiBatches, Upload),
    get("/batches", OpenaiBatches, Manage),
    get("/batches/{id}", OpenaiBatches, Manage),
    post("/batches/{id}/cancel", OpenaiBatches, Manage),
    // A WebSocket.
    get("/realtime", OpenaiRealtime, Generate),
    post("/realtime/client_secrets", OpenaiRealtime, Upload),
    post("/realtime/sessions", OpenaiRealtime, Upload),
    post("/realtime/transcription_sessions", OpenaiRealtime, Upload),
    post("/conversations", OpenaiResponses, Upload),
    get("/conversations/{id}", OpenaiResponses, Manage),
    post("/conversations/{id}", OpenaiResponses, Manage),
    delete("/conversations/{id}", OpenaiResponses),
    post("/conversations/{id}/items", OpenaiResponses, Upload),
    get("/conversations/{id}/items", OpenaiResponses, Manage),
    get("/conversations/{id}/items/{item}", OpenaiResponses, Manage),
    delete("/conversations/{id}/items/{item}", OpenaiResponses),
];

/// One deployment of Azure's, by the name that its owner gave it.
const DEPLOYMENT: &[Route] = &[
    post("/chat/completions", OpenaiChat, Generate),
    post("/completions", OpenaiCompletions, Generate),
    post("/embeddings", OpenaiEmbeddings, Embed),
    post("/images/generations", OpenaiImages, Convert),
    post("/images/edits", OpenaiImages, Convert),
    post("/audio/transcriptions", OpenaiAudio, Convert),
    post("/audio/translations", OpenaiAudio, Convert),
    post("/audio/speech", OpenaiAudio, Convert),
];

const MESSAGES: &[Route] = &[
    post("/messages", AnthropicMessages, Generate),
    post("/messages/count_tokens", AnthropicMessages, CountTokens),
    // What came before messages: a prompt and its completion.
    post("/complete", AnthropicMessages, Generate),
];

const MESSAGE_BATCHES: &[Route] = &[
    post("/messages/batches", AnthropicBatches, Upload),
    get("/messages/batches", AnthropicBatches, Manage),
    get("/messages/batches/{id}", AnthropicBatches, Manage),
    get("/messages/batches/{id}/results", AnthropicBatches, Manage),
    post("/messages/batches/{id}/cancel", AnthropicBatches, Manage),
    delete("/messages/batches/{id}", AnthropicBatches),
];

const MESSAGE_FILES: &[Route] = &[
    post("/files", AnthropicFiles, Upload),
    get("/files", AnthropicFiles, Manage),
    get("/files/{id}", AnthropicFiles, Manage),
    delete("/files/{id}", AnthropicFiles),
    get("/files/{id}/content", AnthropicFiles, Manage),
];

/// The verbs that Google's own API and Vertex share.
const GEMINI_MODELS: &[Route] = &[
    get("/models", Gemini, ListModels),
    get("/models/{id}", Gemini, ListModels),
    post("/models/{model}:generateContent", Gemini, Generate).streamed(false),
    post("/models/{model}:streamGenerateContent", Gemini, Generate).streamed(true),
    post("/models/{model}:countTokens", Gemini, CountTokens).streamed(false),
    post("/models/{model}:embedContent", Gemini, Embed).streamed(false),
    post("/models/{model}:batchEmbedContents", Gemini, Embed).streamed(false),
];

const GEMINI: Sets = &[GEMINI_MODELS, GEMINI_REST];

const GEMINI_REST: &[Route] = &[
    post("/models/{model}:batchGenerateContent", Gemini, Upload).streamed(false),
    post("/models/{model}:predict", Gemini, Convert).streamed(false),
    post("/models/{model}:predictLongRunning", Gemini, Convert).streamed(false),
    post("/tunedModels/{model}:generateContent", Gemini, Generate).streamed(false),
    post("/tunedModels/{model}:streamGenerateContent", Gemini, Generate).streamed(true),
    get("/files", Gemini, Manage),
    get("/files/{id}", Gemini, Manage),
    delete("/files/{id}", Gemini),
    post("/cachedContents", Gemini, Upload),
    get("/cachedContents", Gemini, Manage),
    get("/cachedContents/{id}", Gemini, Manage),
    Route::on("PATCH", "/cachedContents/{id}", Gemini, Manage),
    delete("/cachedContents/{id}", Gemini),
    get("/batches/{id}", Gemini, Manage),
    post("/batches/{id}:cancel", Gemini, Manage),
    delete("/batches/{id}", Gemini),
];

const GEMINI_UPLOADS: &[Route] = &[post("/files", Gemini, Upload)];

/// Gemini CLI signed in with a Google account: Gemini's bodies in an envelope.
const CODE_ASSIST: &[Route] = &[
    post("/v1internal:generateContent", Gemini, Generate).streamed(false),
    post("/v1internal:streamGenerateContent", Gemini, Generate).streamed(true),
    post("/v1internal:countTokens", Gemini, CountTokens).streamed(false),
    post("/v1internal:loadCodeAssist", Gemini, Manage),
    post("/v1internal:onboardUser", Gemini, Manage),
    post("/v1internal:listExperiments", Gemini, Manage),
    post("/v1internal:retrieveUserQuota", Gemini, Manage),
    post("/v1internal:fetchAdminControls", Gemini, Manage),
    post("/v1internal:recordCodeAssistMetrics", Gemini, Manage),
    get("/v1internal:getCodeAssistGlobalUserSetting", Gemini, Manage),
    post("/v1internal:setCodeAssistGlobalUserSetting", Gemini, Manage),
    get("/v1internal/operations/{id}", Gemini, Manage),
];

/// Under a project and a place.
const VERTEX: &[Route] = &[
    post(
        "/publishers/google/models/{model}:generateContent",
        Gemini,
        Generate,
    )
    .streamed(false),
    post(
        "/publishers/google/models/{model}:streamGenerateContent",
        Gemini,
        Generate,
    )
    .streamed(true),
    post(
        "/publishers/google/models/{model}:countTokens",
        Gemini,
        CountTokens,
    )
    .streamed(false),
    post("/publishers/google/models/{model}:embedContent", Gemini, Embed).streamed(false),
    post("/publishers/google/models/{model}:predict", Gemini, Embed).streamed(false),
    post(
        "/publishers/google/models/{model}:predictLongRunning",
        Gemini,
        Convert,
    )
    .streamed(false),
    post(
        "/publishers/anthropic/models/count-tokens:rawPredict",
        AnthropicMessages,
        CountTokens,
    ),
    post(
        "/publishers/anthropic/models/{model}:rawPredict",
        AnthropicMessages,
        Generate,
    ),
    post(
        "/publishers/anthropic/models/{model}:streamRawPredict",
        AnthropicMessages,
        Generate,
    )
    .streamed(true),
    post(
        "/publishers/mistralai/models/{model}:rawPredict",
        OpenaiChat,
        Generate,
    ),
    post(
        "/publishers/mistralai/models/{model}:streamRawPredict",
        OpenaiChat,
        Generate,
    )
    .streamed(true),
    post("/endpoints/openapi/chat/completions", OpenaiChat, Generate),
    post("/endpoints/{id}/chat/completions", OpenaiChat, Generate),
    post("/endpoints/{model}:generateContent", Gemini, Generate).streamed(false),
    post("/endpoints/{model}:streamGenerateContent", Gemini, Generate).streamed(true),
    post("/cachedContents", Gemini, Upload),
    get("/cachedContents", Gemini, Manage),
    get("/cachedContents/{id}", Gemini, Manage),
    delete("/cachedContents/{id}", Gemini),
];

/// With a key in place of a project.
const VERTEX_PUBLISHERS: &[Route] = &[
    post(
        "/publishers/google/models/{model}:generateContent",
        Gemini,
        Generate,
    )
    .streamed(false),
    post(
        "/publishers/google/models/{model}:streamGenerateContent",
        Gemini,
        Generate,
    )
    .streamed(true),
    post(
        "/publishers/google/models/{model}:countTokens",
        Gemini,
        CountTokens,
    )
    .streamed(false),
    get("/publishers/google/models/{id}", Gemini, ListModels),
];

const BEDROCK: &[Route] = &[
    post("/model/{model*}/converse", BedrockConverse, Generate).streamed(false),
    post("/model/{model*}/converse-stream", BedrockConverse, Generate).streamed(true),
    post("/model/{model*}/count-tokens", BedrockConverse, CountTokens).streamed(false),
    post("/model/{model*}/invoke", BedrockInvoke, Generate).streamed(false),
    post(
        "/model/{model*}/invoke-with-response-stream",
        BedrockInvoke,
        Generate,
    )
    .streamed(true),
];

const MISTRAL: &[Route] = &[
    post("/fim/completions", OpenaiCompletions, Generate),
    post("/agents/completions", OpenaiChat, Generate),
    post("/moderations", OpenaiModerations, Embed),
    post("/chat/moderations", OpenaiModerations, Embed),
    post("/audio/transcriptions", OpenaiAudio, Convert),
    post("/files", OpenaiFiles, Upload),
    get("/files", OpenaiFiles, Manage),
    get("/files/{id}", OpenaiFiles, Manage),
    delete("/files/{id}", OpenaiFiles),
    get("/files/{id}/content", OpenaiFiles, Manage),
    post("/batch/jobs", OpenaiBatches, Upload),
    get("/batch/jobs", OpenaiBatches, Manage),
    get("/batch/jobs/{id}", OpenaiBatches, Manage),
    post("/batch/jobs/{id}/cancel", OpenaiBatches, Manage),
];

const COHERE: &[Route] = &[
    post("/v2/chat", Cohere, Generate),
    post("/v2/embed", Cohere, Embed),
    post("/v2/rerank", Cohere, Embed),
    post("/v1/chat", Cohere, Generate),
    post("/v1/generate", Cohere, Generate),
    post("/v1/embed", Cohere, Embed),
    post("/v1/rerank", Cohere, Embed),
    post("/v1/classify", Cohere, Embed),
    post("/v1/tokenize", Cohere, CountTokens),
];

const OPENROUTER: &[Route] = &[
    get("/models/{author}/{slug}/endpoints", Models, ListModels),
    get("/models/user", Models, ListModels),
    get("/key", Models, ListModels),
    get("/credits", Models, ListModels),
    get("/generation", Models, ListModels),
];

const OLLAMA: &[Route] = &[
    post("/api/chat", Ollama, Generate),
    post("/api/generate", Ollama, Generate),
    post("/api/embed", Ollama, Embed),
    post("/api/embeddings", Ollama, Embed),
    post("/api/show", Ollama, Manage),
    get("/api/tags", Ollama, ListModels),
    get("/api/ps", Ollama, ListModels),
    get("/api/version", Ollama, ListModels),
];

const COPILOT: &[Route] = &[
    post("/v1/engines/{model}/completions", OpenaiCompletions, Generate),
    post("/models/session", Models, Manage),
];

const MCP: &[Route] = &[post("", Mcp, Manage), get("", Mcp, Manage), delete("", Mcp)];
