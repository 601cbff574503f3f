//! Traces of exchanges: spans reach a collector behind TLS, hold nothing of what was said and nobody's name, and cost nobody an
//! answer while it is away. What it got is read by the protocol's own package for Python.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, Plan},
    program::Program,
    replies::{Deltas, Talk, echo_divided, say},
    sockets::Socket,
    upstream::{Answer, Upstream},
};
use serde_json::{Value, json};

/// What is sent as traffic, and must not be in a byte that the collector gets.
const CANARIES: [&str; 9] = [
    "Rebecca Gardner",
    "rebecca.gardner@hanbit-semi.com",
    "4111 1111 1111 1111",
    "4111111111111111",
    "heron canary",
    "canary.person",
    "canary-partners",
    "wren canary",
    "a model nobody has",
];

const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const ERROR: u64 = 2;

/// Every key that a span may have, as docs/traces.md lists them.
const KEYS: [&str; 27] = [
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

/// The provider answers through the proxy, the on-prem model at the gateway; of the group `quiet` records keep next to nothing.
const POLICY: &str = r#"
unknown: block
routes:
  - { id: as-requested, when: 'door == "proxy" && requested.kind == "cloud"', to: requested }
  - { id: at-home, to: engine }
records:
  - { when: '"quiet" in actor.groups', level: none }
rules:
  - { id: secrets-stay, entities: [SECRET], action: block, advice: Take the secret out. }
  - { id: personal-data, entities: [EMAIL, CREDIT_CARD, PERSON], action: redact }
  - { id: the-rest, entities: ["*"], action: allow }
"#;

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

struct Stage {
    cloud: Upstream,
    on_prem: Upstream,
    collector: Upstream,
    home: Home,
    /// What the configuration names of the collector.
    _files: tempfile::TempDir,
}

impl Stage {
    /// An installation whose spans go to the collector, or to that port where nobody listens.
    async fn new(port: Option<u16>) -> Self {
        let cloud = Upstream::behind_tls().await;
        cloud.answer(|seen| echo_divided(seen, Deltas::Of(5)));
        let on_prem = Upstream::in_place_of_engine().await;
        on_prem.answer(|seen| say(seen, "a wren canary answered", Deltas::Whole));
        let collector = Upstream::behind_tls().await;
        collector.answer(|_| Answer::new(200, "application/x-protobuf", ""));
        let port = port.unwrap_or(collector.address().port());
        let files = tempfile::tempdir().expect("a directory");
        std::fs::write(files.path().join("collector.pem"), collector.ca_pem()).expect("a file");
        std::fs::write(files.path().join("login"), "Bearer collector-login\n").expect("a file");
        let at = files.path().display();
        let home = Home::new(&Plan {
            policy: Some(POLICY.to_owned()),
            further: format!(
                "traces: {{ endpoint: 'https://localhost:{port}/v1/traces', ca: '{at}/collector.pem', headers: {{ authorization: '${{file:{at}/login}}' }}, service_name: gateway-of-ours }}\n"
            ),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        Self {
            cloud,
            on_prem,
            collector,
            home,
            _files: files,
        }
    }

    /// The spans of all bodies that the collector took.
    async fn spans(&self) -> Vec<Value> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut files = Vec::new();
        for (number, seen) in self.collector.seen().iter().enumerate() {
            assert_eq!(seen.target, "/v1/traces");
            assert_eq!(seen.header("content-type"), Some(&b"application/x-protobuf"[..]));
            assert_eq!(seen.header("authorization"), Some(&b"Bearer collector-login"[..]));
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, &seen.body).expect("a file");
            files.push(path.display().to_string());
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let ran = Program::python("otlp_spans.py", &files).run().await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let lines = ran.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }
}

/// A place in a trace of the caller's.
fn traceparent(number: u8) -> (String, String, String) {
    let (trace, span) = (format!("{number:032x}"), format!("{:016x}", 0xabcd));
    (format!("00-{trace}-{span}-00"), trace, span)
}

async fn post(caller: &Caller, stream: bool, model: &str, text: &str, parent: &str) -> String {
    let mut body = Talk::Chat.request(text, stream);
    body["model"] = model.into();
    let headers: &[(&str, &str)] = if parent.is_empty() {
        &[]
    } else {
        &[("traceparent", parent)]
    };
    let reply = caller
        .post_bytes(Talk::Chat, body.to_string().into_bytes(), headers)
        .await
        .expect("Cordon answers");
    assert!(!reply.exchange().is_empty(), "{}", reply.text());
    reply.exchange().to_owned()
}

/// The span of an exchange, and that of what its upstream took.
fn of<'a>(spans: &'a [Value], exchange: &str) -> (&'a Value, Option<&'a Value>) {
    let found: Vec<_> = spans
        .iter()
        .filter(|span| span["attributes"]["cordon.exchange"] == exchange)
        .collect();
    let [server] = found[..] else {
        panic!("{} spans of {exchange} in {spans:#?}", found.len());
    };
    assert_eq!(server["kind"], SERVER);
    let child = |span: &&Value| {
        span["kind"] == CLIENT && span["parent"] == server["span"] && span["trace"] == server["trace"]
    };
    (server, spans.iter().find(child))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_tell_of_exchanges_and_hold_nothing_of_what_was_said() {
    let stage = Stage::new(None).await;
    let key = stage.home.key("canary.person", "canary-partners");
    let quiet = stage.home.key("canary.quiet", "quiet");
    let cordon = stage.home.serve().await;
    let by = |door, key: &str| Caller::new(&cordon, door, key);

    let told = "Write to Rebecca Gardner <rebecca.gardner@hanbit-semi.com>, card 4111 1111 1111 1111, about the heron canary.";
    let (parent, trace, span) = traceparent(1);
    let redacted = post(&by(Door::Proxy, &key), false, "gpt-test", told, &parent).await;
    let streamed = post(&by(Door::Proxy, &key), true, "gpt-test", told, "").await;
    let (home_parent, home_trace, _) = traceparent(2);
    let at_home = post(
        &by(Door::Gateway, &key),
        false,
        "a model nobody has",
        "hello",
        &home_parent,
    )
    .await;
    let leaked = format!("Here is {} of the heron canary.", secret());
    let refused = post(
        &by(Door::Proxy, &key),
        false,
        "gpt-test",
        &leaked,
        &traceparent(3).0,
    )
    .await;
    let unsaid = post(
        &by(Door::Gateway, &quiet),
        false,
        "gpt-test",
        told,
        &traceparent(4).0,
    )
    .await;
    let stranger = post(
        &Caller::without_key(&cordon, Door::Gateway),
        false,
        "gpt-test",
        told,
        "",
    )
    .await;
    let wrong = post(
        &by(Door::Proxy, &key),
        false,
        "gpt-test",
        "hello",
        "00-NONE-AT-ALL-00",
    )
    .await;
    stage.cloud.answer(|_| {
        Answer::new(
            429,
            "application/json",
            r#"{"error":{"message":"slow down","type":"rate_limit","code":null,"param":null}}"#,
        )
    });
    let limited = post(&by(Door::Proxy, &key), false, "gpt-test", "hello", "").await;
    stage.cloud.answer(|_| Answer::hang_up());
    let broken = post(&by(Door::Proxy, &key), false, "gpt-test", "hello", "").await;
    let socket_trace = traceparent(5);
    over_a_socket(&stage, &by(Door::Proxy, &key), &socket_trace.0).await;
    assert_eq!(cordon.terminate().await, Some(0), "{}", stage.home.log());

    for canary in CANARIES.iter().copied().chain(["canary.quiet", &secret()]) {
        assert!(!stage.collector.knows(canary), "the collector got {canary}");
    }
    let spans = stage.spans().await;
    for span in &spans {
        let of_events = span["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| &event[1]);
        for told in of_events.chain([&span["attributes"]]) {
            let keys = told.as_object().expect("an object").keys();
            let other: Vec<_> = keys.filter(|key| !KEYS.contains(&key.as_str())).collect();
            assert!(other.is_empty(), "{other:?} in {span:#}");
        }
        assert_eq!(span["resource"]["service.name"], "gateway-of-ours");
        assert!(span["began"].as_u64() <= span["ended"].as_u64(), "{span:#}");
    }

    // A caller's trace goes on through the exchange to its upstream.
    let (server, client) = of(&spans, &redacted);
    let client = client.expect("the provider was asked");
    assert_eq!(
        (&server["trace"], &server["parent"]),
        (&json!(trace), &json!(span))
    );
    assert_eq!(server["flags"], 0x301);
    assert_eq!(
        (&server["name"], &client["name"]),
        (&json!("chat gpt-test"), &json!("chat gpt-test"))
    );
    let told = &server["attributes"];
    assert_eq!(told["cordon.decision"], "redact");
    assert_eq!(told["cordon.rule"], "personal-data");
    assert_eq!(told["cordon.actor"], stage.home.reference("canary.person"));
    assert_eq!(told["cordon.level"], "metadata");
    assert_eq!(told["http.response.status_code"], 200);
    let entities = told["cordon.entities"].to_string();
    assert!(
        entities.contains("EMAIL=1") && entities.contains("CREDIT_CARD=1"),
        "{entities}"
    );
    let events: Vec<_> = server["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| &event[0])
        .collect();
    assert!(
        events.contains(&&json!("cordon.inspect")) && events.contains(&&json!("cordon.decide")),
        "{events:?}"
    );
    let told = &client["attributes"];
    assert_eq!(told["gen_ai.provider.name"], "openai");
    assert_eq!(told["server.address"], "api.openai.com");
    assert_eq!(
        (
            &told["gen_ai.usage.input_tokens"],
            &told["gen_ai.usage.output_tokens"]
        ),
        (&json!(11), &json!(7))
    );
    assert_eq!((&server["status"], &client["status"]), (&json!(0), &json!(0)));

    // A cloud gets the header as it came, and none of ours.
    let seen = stage.cloud.asked();
    assert_eq!(seen[0].header("traceparent"), Some(parent.as_bytes()));
    assert_eq!(seen[1].header("traceparent"), None);

    let (server, client) = of(&spans, &streamed);
    assert_eq!(server["parent"], "");
    assert_ne!(server["trace"], trace.as_str());
    let told = &client.expect("the provider was asked")["attributes"];
    assert_eq!(told["gen_ai.request.stream"], true);
    assert_eq!(told["gen_ai.usage.output_tokens"], 7);

    // In the building the upstream learns which span it answers.
    let (server, client) = of(&spans, &at_home);
    let client = client.expect("the on-prem model was asked");
    assert_eq!(server["trace"], home_trace.as_str());
    let expected = format!("00-{home_trace}-{}-01", client["span"].as_str().expect("an id"));
    assert_eq!(
        stage.on_prem.asked()[0].header("traceparent"),
        Some(expected.as_bytes())
    );
    assert_eq!(server["name"], "chat", "what is no model's name is not told");
    assert_eq!(client["attributes"]["cordon.upstream_kind"], "engine");

    let (server, client) = of(&spans, &refused);
    assert!(client.is_none(), "nobody was asked");
    assert_eq!(server["status"], ERROR);
    assert_eq!(server["attributes"]["error.type"], "cordon_policy_block");
    assert_eq!(server["attributes"]["cordon.rule"], "secrets-stay");
    assert_eq!(server["attributes"]["http.response.status_code"], 400);

    // Where records name nobody, the trace leads to nobody.
    let (server, client) = of(&spans, &unsaid);
    assert_eq!(server["parent"], "");
    assert_ne!(server["trace"], traceparent(4).1.as_str());
    for missing in ["cordon.actor", "cordon.entities", "gen_ai.request.model"] {
        assert!(server["attributes"][missing].is_null(), "{missing} in {server:#}");
    }
    assert!(
        client.expect("the on-prem model was asked")["attributes"]["gen_ai.usage.input_tokens"].is_null()
    );

    let (server, _) = of(&spans, &stranger);
    assert_eq!(server["attributes"]["error.type"], "cordon_login");
    assert_eq!(server["attributes"]["cordon.actor"], "unidentified");
    assert_eq!(
        of(&spans, &wrong).0["parent"],
        "",
        "a header that is wrong counts as none"
    );

    let (server, client) = of(&spans, &limited);
    let client = client.expect("the provider was asked");
    assert_eq!(
        (
            &server["attributes"]["error.type"],
            &client["attributes"]["error.type"]
        ),
        (&json!("429"), &json!("429"))
    );
    let (server, client) = of(&spans, &broken);
    let client = client.expect("the provider was asked");
    assert_eq!(server["attributes"]["error.type"], "cordon_upstream_broken");
    assert_eq!(
        (&server["status"], &client["status"]),
        (&json!(ERROR), &json!(ERROR))
    );

    // A connection, the message over it, and what the provider took of each.
    let on_it: Vec<_> = spans
        .iter()
        .filter(|span| span["trace"] == socket_trace.1.as_str())
        .collect();
    let message: Vec<_> = on_it
        .iter()
        .filter(|span| !span["attributes"]["cordon.connection"].is_null())
        .collect();
    assert_eq!((on_it.len(), message.len()), (4, 1), "{on_it:#?}");
    let (connection, _) = of(
        &spans,
        message[0]["attributes"]["cordon.connection"]
            .as_str()
            .expect("an id"),
    );
    assert_eq!(message[0]["parent"], connection["span"]);
    assert_eq!(connection["parent"], socket_trace.2.as_str());
    let (_, client) = of(
        &spans,
        message[0]["attributes"]["cordon.exchange"]
            .as_str()
            .expect("an id"),
    );
    assert_eq!(
        client.expect("the provider was asked")["attributes"]["gen_ai.usage.input_tokens"],
        7
    );
}

/// Says one thing over a WebSocket and hears the answer.
async fn over_a_socket(stage: &Stage, caller: &Caller, parent: &str) {
    stage.cloud.speak(|_| {
        vec![Some(json!({"type": "response.completed", "response": {
            "id": "resp_1", "model": "gpt-x", "output": [], "usage": {"input_tokens": 7, "output_tokens": 9},
        }}).to_string())]
    });
    let opened = Socket::open_with(
        caller,
        "api.openai.com",
        "/v1/responses",
        &[("traceparent", parent)],
    )
    .await;
    let mut socket = opened.expect("Cordon answers").expect("the connection opens");
    let ask = json!({"type": "response.create", "model": "gpt-x", "input": "about the heron canary"});
    socket.say(&ask).await.expect("it can be said");
    socket.hear_until("response.completed").await.expect("an answer");
}

fn counted(metrics: &str, outcome: &str) -> u64 {
    let name = format!("cordon_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name.as_str()));
    value.map_or(0, |value| value.trim().parse().expect("a count"))
}

/// Lists the on-prem model so many times, on sixteen connections at once.
async fn list_models(cordon: &Cordon, key: &str, each: usize) {
    let asking = (0..16).map(|_| {
        let caller = Caller::new(cordon, Door::Gateway, key);
        async move {
            let mut line = caller.line("localhost", false).await.expect("a connection");
            for _ in 0..each {
                let reply = line.send("GET", "/v1/models", &[]).await.expect("Cordon answers");
                assert_eq!(reply.status, 200, "{}", reply.text());
            }
        }
    });
    futures_util::future::join_all(asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_takes_them_spans_are_dropped_and_requests_answered() {
    // A port that was free a moment ago, and where nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let stage = Stage::new(Some(port.expect("a free port").port())).await;
    let key = stage.home.key("ann", "staff");
    let cordon = stage.home.serve().await;
    // More than wait in the queue (2,048) and in the batch under way (512).
    list_models(&cordon, &key, 170).await;
    let metrics = cordon.admin_get("/metrics").await.text();
    assert!(counted(&metrics, "dropped") >= 16 * 170 - 2048 - 512, "{metrics}");
    assert_eq!(counted(&metrics, "sent"), 0);
    let began = std::time::Instant::now();
    assert_eq!(cordon.terminate().await, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "the end waits for no collector"
    );
    let log = stage.home.log();
    assert_eq!(
        log.matches("traces are not taken").count(),
        1,
        "it is said once: {log}"
    );
    assert!(log.contains("traces were lost"), "{log}");
    let verified = stage.home.run(&["audit", "verify"]);
    let verified = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.starts_with("ok"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_gets_what_waited() {
    let stage = Stage::new(None).await;
    let key = stage.home.key("ann", "staff");
    let cordon = stage.home.serve().await;
    let caller = Caller::new(&cordon, Door::Gateway, &key);
    let mut asked = BTreeSet::new();
    asked.insert(post(&caller, false, "gpt-test", "one", "").await);
    stage.collector.arrived(1).await;
    stage.collector.answer(|_| Answer::hang_up());
    asked.insert(post(&caller, false, "gpt-test", "two", "").await);
    stage.collector.arrived(2).await;
    stage
        .collector
        .answer(|_| Answer::new(503, "text/plain", "later").with_header("retry-after", "0"));
    asked.insert(post(&caller, false, "gpt-test", "three", "").await);
    stage.collector.arrived(3).await;
    stage
        .collector
        .answer(|_| Answer::new(200, "application/x-protobuf", ""));
    // Two spans an exchange, each taken once.
    let taken = |metrics: &str| counted(metrics, "sent") == 6;
    cordon.admin_until("/metrics", |reply| taken(&reply.text())).await;
    // A collector that takes no more than some says how many it did not: one of two.
    stage
        .collector
        .answer(|_| Answer::new(200, "application/x-protobuf", &b"\x0a\x02\x08\x01"[..]));
    post(&caller, false, "gpt-test", "four", "").await;
    let told = cordon
        .admin_until("/metrics", |reply| counted(&reply.text(), "rejected") == 1)
        .await
        .text();
    assert_eq!(
        (counted(&told, "sent"), counted(&told, "dropped")),
        (7, 0),
        "{told}"
    );
    // What it will never take is not tried again.
    stage.collector.answer(|_| Answer::new(400, "text/plain", "no"));
    post(&caller, false, "gpt-test", "five", "").await;
    cordon
        .admin_until("/metrics", |reply| counted(&reply.text(), "rejected") == 3)
        .await;
    assert_eq!(cordon.terminate().await, Some(0));
    let spans = stage.spans().await;
    for exchange in &asked {
        // The same batch may have come more than once, where it was not known to be taken.
        let found = spans
            .iter()
            .filter(|span| span["attributes"]["cordon.exchange"] == exchange.as_str());
        assert!(found.count() >= 1, "{exchange} is missing");
    }
}
