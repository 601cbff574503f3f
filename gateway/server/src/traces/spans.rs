//! Spans: what is told of an exchange that is over, as OpenTelemetry's conventions for generative AI name it.
//!
//! The exchange is a span of a server; what its upstream took of it is one of a client within, and has the conventions' counts and names.
//! Every key is one of [`KEYS`]. What an exchange says is in none of them, and who asks only under the reference that stands in
//! records. A language model is named where its name looks like one: it is the caller's words.
//!
//! Limits: [`MODEL_BYTES`], [`ENTITY_TYPES`], and an event for each stage of the path.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use cordon_audit::Pseudonyms;
use cordon_domain::{Action, Actor, Dialect, Door, EntityType, ExchangeId, UpstreamKind};
use cordon_wire::{Operation, Usage};
use prost::Message;

use super::{AskedOf, Ended, Trace, otlp};
use crate::config::host_within;

const MODEL_BYTES: usize = 128;
const ENTITY_TYPES: usize = 64;
/// Names of ours: rules, upstreams, codes.
const NAME_BYTES: usize = 128;

/// Every key that a span, or an event of one, may have. `docs/traces.md` says what each means.
pub const KEYS: [&str; 27] = [
    "cordon.actor",
    "cordon.connection",
    "cordon.decision",
    "cordon.dialect",
    "cordon.door",
    "cordon.entities",
    "cordon.exchange",
    "cordon.first_byte_ms",
    "cordon.level",
    "cordon.outcome",
    "cordon.reply_entities",
    "cordon.rule",
    "cordon.stage_us",
    "cordon.upstream",
    "cordon.upstream_kind",
    "error.type",
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "http.request.method",
    "http.response.status_code",
    "server.address",
    "server.port",
];

/// What is told of an exchange. It holds no text of it.
pub struct Told {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Of a message: the exchange that opened the connection.
    pub connection: Option<ExchangeId>,
    /// Who asked; nobody where its records name nobody.
    pub actor: Option<Arc<Actor>>,
    /// How much of it records keep.
    pub level: &'static str,
    /// The listener.
    pub door: Door,
    /// The dialect.
    pub dialect: Dialect,
    /// What was asked for.
    pub operation: Option<Operation>,
    /// HTTP method as it came.
    pub method: String,
    /// What was decided.
    pub action: Action,
    /// By which rule, where it came to a decision.
    pub rule: Option<Arc<str>>,
    /// Where it went, and where that stands.
    pub upstream: Option<(Arc<str>, Option<UpstreamKind>)>,
    /// The model asked for.
    pub model: Option<String>,
    /// The model that answered.
    pub answered_model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// LLM tokens.
    pub usage: Option<Usage>,
    /// What was found in the request.
    pub entities: BTreeMap<EntityType, u64>,
    /// What was found in the reply.
    pub reply_entities: BTreeMap<EntityType, u64>,
    /// The status that was answered.
    pub status: u16,
    /// How it ended, as records call it.
    pub outcome: &'static str,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Until the first byte of the reply.
    pub first_byte: Option<Duration>,
}

/// Makes spans of exchanges, and requests of spans.
pub(super) struct Writer {
    pseudonyms: Pseudonyms,
    resource: otlp::Resource,
}

impl Writer {
    pub(super) fn new(pseudonyms: Pseudonyms, service: &str, host: &str) -> Self {
        let attributes = [
            ("service.name", service),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", &ExchangeId::new().to_string()),
            ("host.name", host),
        ];
        let attributes = attributes.map(|(key, value)| otlp::KeyValue::new(key, value));
        Self {
            pseudonyms,
            resource: otlp::Resource {
                attributes: attributes.into(),
            },
        }
    }

    /// The body of a request with these spans.
    pub(super) fn request(&self, spans: &[otlp::Span]) -> Bytes {
        let scope = otlp::Scope {
            name: "cordon".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let request = otlp::Request {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![otlp::ScopeSpans {
                    scope: Some(scope),
                    spans: spans.to_vec(),
                }],
            }],
        };
        request.encode_to_vec().into()
    }

    /// Writes the spans of an exchange.
    pub(super) fn write(&self, ended: Ended, spans: &mut Vec<otlp::Span>) {
        let Ended { trace, told, ended } = ended;
        let asked = trace
            .asked
            .as_ref()
            .map(|asked| asking(&trace, asked, &told, ended));
        spans.push(self.exchange(&trace, told, ended));
        spans.extend(asked);
    }

    /// The exchange itself.
    fn exchange(&self, trace: &Trace, told: Told, ended: Duration) -> otlp::Span {
        let mut attributes = Attributes::default();
        let name = span_name(&told, told.model.as_deref());
        attributes.set("cordon.exchange", told.exchange.to_string());
        attributes.set_some("cordon.connection", told.connection.map(|id| id.to_string()));
        let actor = told.actor.map(|actor| self.pseudonyms.of_actor(&actor));
        attributes.set_some("cordon.actor", actor.map(|actor| cut(&actor, NAME_BYTES)));
        attributes.set("cordon.level", told.level);
        attributes.set("cordon.door", told.door.name());
        attributes.set("cordon.dialect", told.dialect.name());
        attributes.set("cordon.decision", told.action.name());
        attributes.set_some("cordon.rule", told.rule.map(|rule| cut(&rule, NAME_BYTES)));
        if let Some((upstream, kind)) = &told.upstream {
            attributes.set("cordon.upstream", cut(upstream, NAME_BYTES));
            attributes.set_some("cordon.upstream_kind", kind.map(UpstreamKind::name));
        }
        attributes.set_some("cordon.entities", counted(&told.entities));
        attributes.set_some("cordon.reply_entities", counted(&told.reply_entities));
        attributes.set("cordon.outcome", told.outcome);
        attributes.set_some("cordon.first_byte_ms", told.first_byte.map(milliseconds));
        attributes.set_some("gen_ai.operation.name", operation(told.operation, told.dialect));
        attributes.set_some("gen_ai.request.model", told.model.as_deref().and_then(model));
        attributes.set("http.request.method", method(&told.method));
        if told.status > 0 {
            attributes.set("http.response.status_code", told.status);
        }
        let failed = told.error.is_some();
        attributes.set_some("error.type", told.error.map(|error| cut(&error, NAME_BYTES)));
        let remote = trace.place.parent.is_some_and(|parent| parent.remote);
        otlp::Span {
            parent_span_id: trace
                .place
                .parent
                .map_or_else(Vec::new, |parent| parent.span.into()),
            span_id: trace.place.span.into(),
            flags: flags(remote),
            events: stages(trace),
            ..span(
                trace,
                name,
                otlp::SERVER,
                attributes,
                (Duration::ZERO, ended),
                failed,
            )
        }
    }
}

/// What the upstream took of an exchange.
fn asking(trace: &Trace, asked: &AskedOf, told: &Told, ended: Duration) -> otlp::Span {
    let mut attributes = Attributes::default();
    let upstream = &asked.upstream;
    let server = upstream.client.server();
    let host = asked
        .host
        .as_deref()
        .or(server.as_ref().map(|(host, _)| host.as_str()));
    // The name that it is asked by is the configuration's where that has one.
    let named = upstream.model.as_deref().filter(|_| told.model.is_some());
    let asked_model = named.or(told.model.as_deref());
    attributes.set_some("gen_ai.operation.name", operation(told.operation, told.dialect));
    let spoken = upstream.dialects.first().copied().unwrap_or(told.dialect);
    attributes.set("gen_ai.provider.name", provider(upstream.kind, host, spoken));
    attributes.set_some("gen_ai.request.model", asked_model.and_then(model));
    if told.stream {
        attributes.set("gen_ai.request.stream", true);
    }
    attributes.set_some(
        "gen_ai.response.model",
        told.answered_model.as_deref().and_then(model),
    );
    attributes.set_some("gen_ai.usage.input_tokens", told.usage.map(|usage| usage.input));
    attributes.set_some("gen_ai.usage.output_tokens", told.usage.map(|usage| usage.output));
    attributes.set_some("server.address", host.map(|host| cut(host, NAME_BYTES)));
    attributes.set_some("server.port", server.as_ref().map(|(_, port)| *port));
    attributes.set("cordon.upstream", cut(&upstream.name, NAME_BYTES));
    attributes.set("cordon.upstream_kind", upstream.kind.name());
    attributes.set_some("http.response.status_code", asked.status);
    let error = match asked.status {
        Some(status) if status >= 400 => Some(status.to_string()),
        // What failed before an answer began, or in the midst of it.
        _ if told.outcome == "upstream_failed" => told.error.clone(),
        _ => None,
    };
    let failed = error.is_some();
    attributes.set_some("error.type", error);
    let name = span_name(told, asked_model);
    let times = (asked.began, asked.ended.unwrap_or(ended));
    otlp::Span {
        parent_span_id: trace.place.span.into(),
        span_id: trace.place.asking.into(),
        flags: flags(false),
        ..span(trace, name, otlp::CLIENT, attributes, times, failed)
    }
}

fn span(
    trace: &Trace,
    name: String,
    kind: i32,
    attributes: Attributes,
    (began, ended): (Duration, Duration),
    failed: bool,
) -> otlp::Span {
    otlp::Span {
        trace_id: trace.place.trace.into(),
        name,
        kind,
        start_time_unix_nano: moment(trace, began),
        end_time_unix_nano: moment(trace, ended),
        attributes: attributes.0,
        status: failed.then_some(otlp::Status { code: otlp::ERROR }),
        ..otlp::Span::default()
    }
}

/// What is sent is sampled.
fn flags(remote: bool) -> u32 {
    1 | otlp::KNOWS_REMOTE | if remote { otlp::IS_REMOTE } else { 0 }
}

/// Nanoseconds since 1970.
fn moment(trace: &Trace, after: Duration) -> u64 {
    trace
        .began
        .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
}

/// An event at the end of each stage.
fn stages(trace: &Trace) -> Vec<otlp::Event> {
    let stages = trace.stages.iter();
    stages
        .map(|(stage, ended, took)| {
            let mut attributes = Attributes::default();
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            attributes.set("cordon.stage_us", took);
            otlp::Event {
                time_unix_nano: moment(trace, *ended),
                name: format!("cordon.{}", stage.name()),
                attributes: attributes.0,
            }
        })
        .collect()
}

#[derive(Default)]
struct Attributes(Vec<otlp::KeyValue>);

impl Attributes {
    fn set(&mut self, key: &'static str, value: impl Into<otlp::Value>) {
        debug_assert!(KEYS.contains(&key), "{key} is not documented");
        self.0.push(otlp::KeyValue::new(key, value));
    }

    fn set_some(&mut self, key: &'static str, value: Option<impl Into<otlp::Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}

/// `{operation} {model}`, as far as both are known.
fn span_name(told: &Told, asked: Option<&str>) -> String {
    let operation = operation(told.operation, told.dialect).unwrap_or_else(|| told.dialect.name());
    match asked.and_then(model) {
        Some(model) => format!("{operation} {model}"),
        None => operation.to_owned(),
    }
}

/// The operation by its well-known name, or by one of ours where there is none.
fn operation(operation: Option<Operation>, dialect: Dialect) -> Option<&'static str> {
    // Of an unknown dialect it is no more than a guess.
    let operation = operation.filter(|_| dialect != Dialect::Unknown)?;
    Some(match (operation, dialect) {
        (Operation::Generate, Dialect::OpenaiCompletions) => "text_completion",
        (Operation::Generate, Dialect::Gemini) => "generate_content",
        (Operation::Generate, _) => "chat",
        (Operation::Embed, Dialect::OpenaiModerations) => "moderate",
        (Operation::Embed, _) => "embeddings",
        (Operation::CountTokens, _) => "count_tokens",
        (Operation::ListModels, _) => "list_models",
        (Operation::Convert, _) => "convert",
        (Operation::Upload, _) => "upload",
        (Operation::Manage, _) => "manage",
    })
}

/// Providers by their hosts, under the well-known names.
const PROVIDERS: [(&str, &str); 18] = [
    ("api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("claude.ai", "anthropic"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("googleapis.com", "gcp.gen_ai"),
    ("amazonaws.com", "aws.bedrock"),
    ("cohere.com", "cohere"),
    ("mistral.ai", "mistral_ai"),
    ("groq.com", "groq"),
    ("deepseek.com", "deepseek"),
    ("x.ai", "x_ai"),
    ("perplexity.ai", "perplexity"),
    ("moonshot.ai", "moonshot_ai"),
];

/// Who answers, or by the convention whose format they speak.
fn provider(kind: UpstreamKind, host: Option<&str>, spoken: Dialect) -> &'static str {
    if kind == UpstreamKind::Engine {
        return "cordon";
    }
    if let Some(host) = host.filter(|_| kind == UpstreamKind::Cloud) {
        if host.ends_with("-aiplatform.googleapis.com") {
            return "gcp.vertex_ai";
        }
        let known = PROVIDERS.iter().find(|(known, _)| host_within(host, known));
        if let Some((_, provider)) = known {
            return provider;
        }
    }
    match spoken {
        Dialect::AnthropicMessages | Dialect::AnthropicBatches | Dialect::AnthropicFiles => "anthropic",
        Dialect::Gemini => "gcp.gen_ai",
        Dialect::BedrockConverse | Dialect::BedrockInvoke => "aws.bedrock",
        Dialect::Cohere => "cohere",
        Dialect::Ollama => "ollama",
        Dialect::OpenaiChat
        | Dialect::OpenaiResponses
        | Dialect::OpenaiCompletions
        | Dialect::OpenaiEmbeddings
        | Dialect::OpenaiImages
        | Dialect::OpenaiAudio
        | Dialect::OpenaiFiles
        | Dialect::OpenaiBatches
        | Dialect::OpenaiModerations
        | Dialect::OpenaiRealtime => "openai",
        other => other.name(),
    }
}

/// A language model's name, if it looks like one. It is the caller's to write, and what else stands there is told to nobody.
fn model(name: &str) -> Option<&str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@+".contains(&byte);
    (!name.is_empty() && name.len() <= MODEL_BYTES && name.bytes().all(letter)).then_some(name)
}

/// A method that is one; the convention has a word for any other.
fn method(name: &str) -> &'static str {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    known.into_iter().find(|known| *known == name).unwrap_or("_OTHER")
}

/// `TYPE=COUNT` of each type.
fn counted(entities: &BTreeMap<EntityType, u64>) -> Option<Vec<String>> {
    let types = entities.iter().take(ENTITY_TYPES);
    let told: Vec<String> = types
        .map(|(entity, count)| format!("{}={count}", entity.as_str()))
        .collect();
    (!told.is_empty()).then_some(told)
}

/// No more of a name than so many bytes.
fn cut(name: &str, bytes: usize) -> String {
    name[..name.floor_char_boundary(bytes)].to_owned()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
