//! The hosts that are intercepted unless the configuration lists others: the endpoints of the providers, and the
//! web applications that employees use. What Cordon does not understand on them is refused, not passed.

/// Each stands for its subdomains too.
const HOSTS: &[&str] = &[
    "api.openai.com",
    "api.anthropic.com",
    "chatgpt.com",
    "claude.ai",
    "generativelanguage.googleapis.com",
    "cloudcode-pa.googleapis.com",
    "aiplatform.googleapis.com",
    "gemini.google.com",
    "copilot.microsoft.com",
    "openai.azure.com",
    "services.ai.azure.com",
    "cognitiveservices.azure.com",
    "api.mistral.ai",
    "codestral.mistral.ai",
    "api.groq.com",
    "api.deepseek.com",
    "api.x.ai",
    "api.perplexity.ai",
    "api.cohere.com",
    "api.cohere.ai",
    "openrouter.ai",
    "api.together.xyz",
    "api.together.ai",
    "router.huggingface.co",
    "api.fireworks.ai",
    "ollama.com",
    "githubcopilot.com",
    "copilot-proxy.githubusercontent.com",
    "chat.openai.com",
    "oaiusercontent.com",
    "grok.com",
    "chat.deepseek.com",
    "chat.mistral.ai",
    "perplexity.ai",
    "m365.cloud.microsoft",
];

/// Regions in which Amazon Bedrock answers; each is a host of its own among thousands of Amazon's.
const BEDROCK: &[&str] = &[
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "ca-central-1",
    "sa-east-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "me-central-1",
];

/// Regions of Vertex AI, whose hosts lie beside the one without a region and not under it.
const VERTEX: &[&str] = &[
    "us-central1",
    "us-east1",
    "us-east4",
    "us-east5",
    "us-south1",
    "us-west1",
    "us-west4",
    "northamerica-northeast1",
    "southamerica-east1",
    "europe-central2",
    "europe-north1",
    "europe-southwest1",
    "europe-west1",
    "europe-west2",
    "europe-west3",
    "europe-west4",
    "europe-west6",
    "europe-west8",
    "europe-west9",
    "asia-east1",
    "asia-east2",
    "asia-northeast1",
    "asia-northeast3",
    "asia-south1",
    "asia-southeast1",
    "australia-southeast1",
    "me-central1",
    "me-west1",
];

pub(super) fn by_default() -> Vec<String> {
    let bedrock = BEDROCK
        .iter()
        .map(|region| format!("bedrock-runtime.{region}.amazonaws.com"));
    let vertex = VERTEX
        .iter()
        .map(|region| format!("{region}-aiplatform.googleapis.com"));
    HOSTS
        .iter()
        .map(|host| (*host).to_owned())
        .chain(bedrock)
        .chain(vertex)
        .collect()
}
