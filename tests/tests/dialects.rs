//! Each provider's own dialect through the proxy: what must not leave does not leave, the answer comes back with the
//! originals in the framing it was sent in, and a refusal is the provider's own error object.

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    upstream::{Answer, Seen, Upstream},
};
use serde_json::{Value, json};

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
const SECRET: &str = "AKIAQUMPMHS6PJARB7LM";
const GOOGLE_KEY: &str = "AIzaSyA-0123456789abcdefghijklmnopqrstu";

const GOOGLE: &str = "generativelanguage.googleapis.com";
const AZURE: &str = "ours.openai.azure.com";
const COHERE: &str = "api.cohere.com";
const OLLAMA: &str = "ollama.com";

const HOSTS: [(&str, &str); 4] = [
    (GOOGLE, "gemini"),
    (AZURE, "openai-chat, openai-embeddings"),
    (COHERE, "cohere"),
    (OLLAMA, "ollama"),
];

struct Scene {
    cloud: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
    _on_prem: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
        let plan = Plan {
            hosts: &HOSTS,
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        };
        let home = Home::new(&plan);
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        Self {
            cloud,
            home,
            cordon,
            key,
            _on_prem: on_prem,
        }
    }

    async fn post(&self, host: &str, target: &str, body: &Value) -> Reply {
        let caller = Caller::new(&self.cordon, Door::Proxy, &self.key);
        let mut line = caller
            .line(host, false)
            .await
            .expect("the proxy intercepts the host");
        let answer = line
            .begin("POST", target, body.to_string().into_bytes(), &[])
            .await
            .expect("Cordon answers");
        Reply::read(answer).await.expect("the answer can be read")
    }

    fn last(&self) -> Seen {
        self.cloud.seen().pop().expect("the provider was asked")
    }
}

/// The placeholder of a request, cut in three.
fn cut(seen: &Seen) -> [String; 3] {
    let placeholder = seen.placeholders().pop().expect("the address was replaced");
    let (head, rest) = placeholder.split_at(4);
    let (middle, tail) = rest.split_at(rest.len() - 3);
    [head, middle, tail].map(str::to_owned)
}

fn gemini(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn gemini_chunks(seen: &Seen) -> Vec<Value> {
    let chunk = |text: &str| json!({"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0}]});
    let mut chunks: Vec<Value> = cut(seen).iter().map(|piece| chunk(piece)).collect();
    chunks.push(json!({
        "candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5},
    }));
    chunks
}

fn texts(items: impl IntoIterator<Item = Value>, pointer: &str) -> String {
    items
        .into_iter()
        .filter_map(|item| item.pointer(pointer).and_then(Value::as_str).map(str::to_owned))
        .collect()
}

const GEMINI_TEXT: &str = "/candidates/0/content/parts/0/text";

#[tokio::test(flavor = "multi_thread")]
async fn gemini_streams_as_events_and_as_an_array_and_its_key_leaves_the_query() {
    let scene = Scene::new().await;
    let prompt = gemini(&format!("Write to {EMAIL}."));
    let path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";

    scene.cloud.answer(|seen| {
        let events: String = gemini_chunks(seen)
            .iter()
            .map(|chunk| format!("data: {chunk}\n\n"))
            .collect();
        Answer::new(200, "text/event-stream", events).in_pieces_of(11)
    });
    let reply = scene
        .post(GOOGLE, &format!("{path}?key={GOOGLE_KEY}&alt=sse"), &prompt)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.complete);
    let events = cordon_tests::events::events(&reply.body);
    assert_eq!(texts(events, GEMINI_TEXT), EMAIL);
    let seen = scene.last();
    assert_eq!(seen.target, format!("{path}?alt=sse"));
    assert_eq!(seen.header("x-goog-api-key"), Some(GOOGLE_KEY.as_bytes()));
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(record["opening"]["body"]["dialect"], "gemini", "{record:#}");
    assert_eq!(record["opening"]["body"]["model"], "gemini-2.5-pro", "{record:#}");
    assert!(!record.to_string().contains(GOOGLE_KEY), "{record:#}");

    scene.cloud.answer(|seen| {
        let array = Value::from(gemini_chunks(seen)).to_string();
        Answer::new(200, "application/json; charset=UTF-8", array).in_pieces_of(11)
    });
    let reply = scene
        .post(GOOGLE, &format!("{path}?key={GOOGLE_KEY}"), &prompt)
        .await;
    let items = reply.json().as_array().cloned().unwrap_or_default();
    assert_eq!(texts(items, GEMINI_TEXT), EMAIL, "{}", reply.text());

    assert!(!scene.cloud.knows(EMAIL));
    assert!(!scene.cordon.log().contains(GOOGLE_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_streams_lines_and_cohere_typed_events() {
    let scene = Scene::new().await;
    scene.cloud.answer(|seen| {
        let mut lines: Vec<Value> = cut(seen)
            .iter()
            .map(|piece| json!({"model": "q", "message": {"role": "assistant", "content": piece}, "done": false}))
            .collect();
        lines.push(json!({
            "model": "q", "message": {"role": "assistant", "content": ""}, "done": true,
            "prompt_eval_count": 4, "eval_count": 5,
        }));
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Answer::new(200, "application/x-ndjson", lines).in_pieces_of(11)
    });
    let chat = json!({"model": "q", "messages": [{"role": "user", "content": format!("Write to {EMAIL}.")}]});
    let reply = scene.post(OLLAMA, "/api/chat", &chat).await;
    let lines: Vec<Value> = reply
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(texts(lines, "/message/content"), EMAIL, "{}", reply.text());
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(record["opening"]["body"]["stream"], true, "{record:#}");

    scene.cloud.answer(|seen| {
        let mut events = String::new();
        for piece in cut(seen) {
            let delta = json!({
                "type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}},
            });
            events.push_str(&format!("event: content-delta\ndata: {delta}\n\n"));
        }
        let end = json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}});
        events.push_str(&format!("event: message-end\ndata: {end}\n\n"));
        Answer::new(200, "text/event-stream", events).in_pieces_of(11)
    });
    let chat = json!({
        "model": "command-a", "stream": true,
        "messages": [{"role": "user", "content": format!("Write to {EMAIL}.")}],
    });
    let reply = scene.post(COHERE, "/v2/chat", &chat).await;
    let events = cordon_tests::events::events(&reply.body);
    assert_eq!(
        texts(events, "/delta/message/content/text"),
        EMAIL,
        "{}",
        reply.text()
    );
    assert!(!scene.cloud.knows(EMAIL));
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_names_its_deployment_in_the_path() {
    let scene = Scene::new().await;
    scene.cloud.answer(|seen| {
        let text = seen.placeholders().concat();
        let choice =
            json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}});
        Answer::new(200, "application/json", json!({"choices": [choice]}).to_string())
    });
    let chat = json!({"messages": [{"role": "user", "content": format!("Write to {EMAIL}.")}]});
    let target = "/openai/deployments/our-gpt/chat/completions?api-version=2026-01-01";
    let reply = scene.post(AZURE, target, &chat).await;
    assert_eq!(
        texts([reply.json()], "/choices/0/message/content"),
        EMAIL,
        "{}",
        reply.text()
    );
    assert_eq!(scene.last().target, target);
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(record["opening"]["body"]["model"], "our-gpt", "{record:#}");
    assert!(!scene.cloud.knows(EMAIL));

    let target = "/openai/deployments/our-embedder/embeddings?api-version=2026-01-01";
    let reply = scene.post(AZURE, target, &json!({"input": [[1212, 318]]})).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("LLM tokens"), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_refused_in_the_providers_own_error_object() {
    let scene = Scene::new().await;
    let text = format!("Use {SECRET} for the upload.");
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    for (host, target, body, pointer) in [
        (
            GOOGLE,
            "/v1beta/models/gemini-2.5-pro:generateContent",
            gemini(&text),
            "/error/message",
        ),
        (COHERE, "/v2/chat", chat.clone(), "/message"),
        (OLLAMA, "/api/chat", chat, "/error"),
    ] {
        let reply = scene.post(host, target, &body).await;
        assert_eq!(reply.status, 400, "{host}: {}", reply.text());
        let message = texts([reply.json()], pointer);
        assert!(message.contains("secrets-stay"), "{host}: {}", reply.text());
        assert!(!reply.text().contains(SECRET), "{host}");
    }
    assert!(!scene.cloud.knows(SECRET));
}

/// Amazon's signatures cover the body: an edited one would come back as somebody else's error.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_passes_unchanged_or_is_refused() {
    let scene = Scene::new().await;
    scene
        .cloud
        .answer(|_| Answer::new(200, "application/json", r#"{"candidates": []}"#));
    for (text, status) in [
        ("Hello.".to_owned(), "200"),
        (format!("Write to {EMAIL}."), "400"),
    ] {
        let before = scene.cloud.seen().len();
        let body = gemini(&text).to_string();
        let request = format!(
            "POST /v1beta/models/g:generateContent HTTP/1.1\r\nhost: {GOOGLE}\r\nconnection: close\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let caller = Caller::new(&scene.cordon, Door::Proxy, &scene.key);
        let answer = caller
            .raw(GOOGLE, request.as_bytes(), false)
            .await
            .expect("Cordon answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(
            answer.contains("AWS_BEARER_TOKEN_BEDROCK"),
            status == "400",
            "{answer}"
        );
        let sent = scene.cloud.seen().len() - before;
        assert_eq!(sent, usize::from(status == "200"));
    }
    assert_eq!(scene.last().body, gemini("Hello.").to_string());
}
