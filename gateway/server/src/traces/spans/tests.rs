use std::{hash::RandomState, sync::Arc, time::Instant};

use cordon_audit::CommitmentKey;
use cordon_domain::{Identity, SystemClock};
use cordon_intercept::{Outbound, Revocation, upstream_tls};
use tokio::sync::mpsc;

use super::{
    super::{Fresh, Parent, Place, Traces},
    *,
};
use crate::{
    config::Limits,
    metrics::{Metrics, Stage},
    supervise::EngineAddress,
    upstream::{Credentials, Spoken, Upstream, UpstreamClient, WayOut},
};

/// What stands where nobody may find it.
const CANARY: &str = "Jessica Pearson 4111 1111 1111 1111";

impl Default for Told {
    fn default() -> Self {
        Self {
            exchange: ExchangeId::new(),
            connection: None,
            actor: None,
            level: "metadata",
            door: Door::Gateway,
            dialect: Dialect::OpenaiChat,
            operation: Some(Operation::Generate),
            method: "POST".into(),
            action: Action::Allow,
            rule: None,
            upstream: None,
            model: None,
            answered_model: None,
            stream: false,
            usage: None,
            entities: BTreeMap::new(),
            reply_entities: BTreeMap::new(),
            status: 200,
            outcome: "completed",
            error: None,
            first_byte: None,
        }
    }
}

fn trace(remote: bool) -> Trace {
    let fresh = Fresh::new().unwrap();
    let (queue, _) = mpsc::channel(1);
    Trace {
        traces: Arc::new(Traces {
            queue,
            share: 0,
            chance: RandomState::new(),
            metrics: Arc::new(Metrics::new()),
            clock: Arc::new(SystemClock),
        }),
        place: Place {
            trace: fresh.trace,
            parent: remote.then_some(Parent { span: [7; 8], remote }),
            span: fresh.span,
            asking: fresh.asking,
        },
        since: Instant::now(),
        began: 1_000_000_000,
        stages: vec![(
            Stage::Inspect,
            Duration::from_millis(3),
            Duration::from_micros(1500),
        )],
        asked: None,
    }
}

fn upstream(url: &str, kind: UpstreamKind, dialects: &[Dialect], model: Option<&str>) -> Arc<Upstream> {
    let way = WayOut {
        tls: Arc::new(upstream_tls(&[], &Revocation::default()).unwrap()),
        outbound: Outbound::default(),
        spoken: Arc::new(Spoken::new()),
        limit: Duration::from_secs(1),
    };
    let address = EngineAddress::Url(url.to_owned());
    Arc::new(Upstream {
        name: "theirs".into(),
        kind,
        dialects: dialects.to_vec(),
        model: model.map(Arc::from),
        also: Arc::default(),
        takes_effort: false,
        credentials: Credentials::None,
        client: UpstreamClient::of_engine(&address, &way, &Limits::default()).unwrap(),
    })
}

/// Everything that can be told of an exchange.
fn everything() -> (Trace, Told) {
    let mut trace = trace(true);
    trace.asked = Some(AskedOf {
        upstream: upstream(
            "https://api.openai.com:8443",
            UpstreamKind::Cloud,
            &[Dialect::OpenaiChat],
            None,
        ),
        host: Some("api.openai.com".into()),
        began: Duration::from_millis(4),
        status: Some(429),
        ended: Some(Duration::from_millis(9)),
    });
    let told = Told {
        connection: Some(ExchangeId::new()),
        actor: Some(Arc::new(Actor {
            user: "j.pearson".into(),
            groups: ["partners".to_owned()].into(),
            identity: Identity::ApiKey { key: "k1".into() },
        })),
        action: Action::Redact,
        rule: Some("cards".into()),
        upstream: Some(("theirs".into(), Some(UpstreamKind::Cloud))),
        model: Some("gpt-4o".into()),
        answered_model: Some("gpt-4o-2024".into()),
        stream: true,
        usage: Some(Usage { input: 5, output: 7 }),
        entities: BTreeMap::from([("EMAIL".parse().unwrap(), 2), ("CREDIT_CARD".parse().unwrap(), 1)]),
        reply_entities: BTreeMap::from([("EMAIL".parse().unwrap(), 1)]),
        status: 429,
        outcome: "upstream_failed",
        error: Some("429".into()),
        first_byte: Some(Duration::from_millis(8)),
        ..Told::default()
    };
    (trace, told)
}

fn written(trace: Trace, told: Told) -> Vec<otlp::Span> {
    let pseudonyms = Pseudonyms::new(CommitmentKey::from_bytes([5; 32]));
    let writer = Writer::new(pseudonyms, "cordon", "here");
    let mut spans = Vec::new();
    let ended = Ended {
        trace,
        told,
        ended: Duration::from_millis(10),
    };
    writer.write(ended, &mut spans);
    let request = otlp::Request::decode(writer.request(&spans)).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans, spans);
    spans
}

fn keys(span: &otlp::Span) -> Vec<&str> {
    let of_events = span.events.iter().flat_map(|event| &event.attributes);
    let all = span.attributes.iter().chain(of_events);
    all.map(|attribute| attribute.key.as_str()).collect()
}

fn told_of<'a>(span: &'a otlp::Span, key: &str) -> Option<&'a otlp::Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

#[test]
fn every_key_is_listed_documented_and_used() {
    let (trace, told) = everything();
    let spans = written(trace, told);
    let mut used: Vec<&str> = spans.iter().flat_map(|span| keys(span)).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used, KEYS);
    for span in &spans {
        let mut once = keys(span);
        once.sort_unstable();
        let all = once.len();
        once.dedup();
        assert_eq!(once.len(), all, "a key stands twice in {}", span.name);
    }
    let page = include_str!("../../../../../docs/traces.md");
    let undocumented: Vec<_> = KEYS
        .iter()
        .filter(|key| !page.contains(&format!("`{key}`")))
        .collect();
    assert!(
        undocumented.is_empty(),
        "{undocumented:?} are not in docs/traces.md"
    );
}

#[test]
fn the_exchange_is_a_server_and_its_upstream_a_client_within() {
    let (trace, told) = everything();
    let place = trace.place.clone();
    let [server, client] = written(trace, told).try_into().unwrap();
    assert_eq!((server.kind, client.kind), (otlp::SERVER, otlp::CLIENT));
    assert_eq!(server.name, "chat gpt-4o");
    assert_eq!(server.trace_id, place.trace);
    assert_eq!(client.trace_id, place.trace);
    assert_eq!(server.parent_span_id, [7; 8]);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!((server.flags, client.flags), (0x301, 0x101));
    assert_eq!(
        server.end_time_unix_nano - server.start_time_unix_nano,
        10_000_000
    );
    assert_eq!(client.end_time_unix_nano - client.start_time_unix_nano, 5_000_000);
    assert_eq!(server.events[0].name, "cordon.inspect");
    assert_eq!(server.events[0].time_unix_nano, 1_003_000_000);
    assert_eq!(server.status.unwrap().code, otlp::ERROR);
    assert_eq!(client.status.unwrap().code, otlp::ERROR);
}

#[test]
fn without_a_caller_it_is_a_root_and_a_good_end_has_no_status() {
    let [server] = written(trace(false), Told::default()).try_into().unwrap();
    assert!(server.parent_span_id.is_empty());
    assert_eq!(server.status, None);
    assert_eq!(told_of(&server, "error.type"), None);
}

#[test]
fn nobody_is_named_and_what_is_no_models_name_is_not_told() {
    let (trace, told) = everything();
    let told = Told {
        model: Some(CANARY.into()),
        answered_model: Some("보고서를 요약해".into()),
        method: CANARY.into(),
        ..told
    };
    let spans = written(trace, told);
    let text = format!("{spans:?}");
    for hidden in ["Pearson", "4111", "보고서", "j.pearson", "partners", "k1"] {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
    assert_eq!(spans[0].name, "chat");
    let Some(otlp::Value::Text(actor)) = told_of(&spans[0], "cordon.actor") else {
        panic!("no actor in {text}");
    };
    assert!(actor.starts_with("p-") && actor.len() == 34, "{actor}");
    for (name, told) in [
        ("gpt-4o", true),
        ("meta-llama/Llama-3.1-8B:free", true),
        ("ft:gpt-4o@corp+x", true),
        ("", false),
        ("two words", false),
        (&"x".repeat(129), false),
        ("a\nb", false),
    ] {
        assert_eq!(model(name).is_some(), told, "{name}");
    }
}

#[test]
fn no_more_types_are_told_than_there_is_room_for() {
    let many = (0..200).map(|number| (format!("TYPE_{number}").parse().unwrap(), 1));
    let entities: BTreeMap<EntityType, u64> = many.collect();
    assert_eq!(counted(&entities).unwrap().len(), ENTITY_TYPES);
    assert_eq!(counted(&BTreeMap::new()), None);
}

#[test]
fn providers_have_their_well_known_names() {
    let chat = Dialect::OpenaiChat;
    for (kind, host, spoken, name) in [
        (UpstreamKind::Cloud, Some("api.openai.com"), chat, "openai"),
        (
            UpstreamKind::Cloud,
            Some("ours.openai.azure.com"),
            chat,
            "azure.ai.openai",
        ),
        (
            UpstreamKind::Cloud,
            Some("us-central1-aiplatform.googleapis.com"),
            Dialect::Gemini,
            "gcp.vertex_ai",
        ),
        (
            UpstreamKind::Cloud,
            Some("api.anthropic.com"),
            Dialect::AnthropicMessages,
            "anthropic",
        ),
        (
            UpstreamKind::Cloud,
            Some("llm.example"),
            Dialect::Cohere,
            "cohere",
        ),
        (UpstreamKind::Cluster, Some("vllm.internal"), chat, "openai"),
        (UpstreamKind::Engine, None, chat, "cordon"),
    ] {
        assert_eq!(provider(kind, host, spoken), name, "{host:?}");
    }
}

#[test]
fn operations_have_their_well_known_names() {
    let told = |of, dialect| operation(Some(of), dialect);
    assert_eq!(
        told(Operation::Generate, Dialect::AnthropicMessages),
        Some("chat")
    );
    assert_eq!(
        told(Operation::Generate, Dialect::Gemini),
        Some("generate_content")
    );
    assert_eq!(
        told(Operation::Generate, Dialect::OpenaiCompletions),
        Some("text_completion")
    );
    assert_eq!(
        told(Operation::Embed, Dialect::OpenaiEmbeddings),
        Some("embeddings")
    );
    assert_eq!(told(Operation::Manage, Dialect::Unknown), None);
}

#[test]
fn an_upstream_is_asked_for_its_own_model() {
    let mut trace = trace(false);
    trace.asked = Some(AskedOf {
        upstream: upstream(
            "http://10.0.0.5:8000",
            UpstreamKind::Cluster,
            &[Dialect::OpenaiChat],
            Some("qwen3"),
        ),
        host: None,
        began: Duration::ZERO,
        status: Some(200),
        ended: None,
    });
    let told = Told {
        model: Some("gpt-4o".into()),
        ..Told::default()
    };
    let [server, client] = written(trace, told).try_into().unwrap();
    assert_eq!(
        (server.name.as_str(), client.name.as_str()),
        ("chat gpt-4o", "chat qwen3")
    );
    assert_eq!(told_of(&client, "server.address"), Some(&"10.0.0.5".into()));
    assert_eq!(told_of(&client, "server.port"), Some(&8000_u16.into()));
    assert_eq!(client.end_time_unix_nano, server.end_time_unix_nano);
}
