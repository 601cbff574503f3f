//! Callers of `openai-chat` (and of others) sent to a provider that speaks Anthropic's messages or Gemini alone: OpenAI's own
//! package gets its answer, originals are back in it, and what cannot be translated is refused with advice.

use std::{collections::HashMap, fs};

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    program::{Program, Ran},
    replies::{Deltas, call_tool, echo_divided, say},
    upstream::{Answer, Piece, Seen, Upstream},
};
use serde_json::{Value, json};

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
const GOOGLE: &str = "generativelanguage.googleapis.com";
const COHERE: &str = "api.cohere.com";

/// Who answers is told by the caller's group.
const POLICY: &str = r#"
unknown: block
routes:
  - { id: google, when: '"google" in actor.groups', to: generativelanguage-googleapis-com }
  - { id: cluster, when: '"cluster" in actor.groups', to: cluster }
  - { id: cohere, when: '"cohere" in actor.groups', to: api-cohere-com }
  - { id: anthropic, when: 'true', to: anthropic }
rules:
  - { id: personal-data, entities: [EMAIL], action: redact }
  - { id: the-rest, entities: ["*"], action: allow }
"#;

/// Gateway and provider, and a server in the building that speaks Anthropic's messages.
struct Scene {
    cloud: Upstream,
    cluster: Upstream,
    _home: Home,
    cordon: Cordon,
    /// A key in each group.
    keys: HashMap<&'static str, String>,
}

impl Scene {
    async fn new() -> Self {
        let (cloud, cluster) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
        let home = Home::new(&Plan {
            hosts: &[(GOOGLE, "gemini"), (COHERE, "cohere")],
            credentials: "sk-company-key",
            policy: Some(POLICY.to_owned()),
            ..Plan::with_cloud(OnPrem::StandIn(&cluster), &cloud)
        });
        // Google is asked for one model, whatever callers ask for.
        let config = home.path().join("cordon.yaml");
        let written = fs::read_to_string(&config).expect("the configuration is there");
        let written = written.replace(
            "dialects: [gemini] }",
            "dialects: [gemini], model: gemini-2.5-pro }",
        );
        let in_building = format!(
            "upstreams:\n  cluster: {{ kind: cluster, url: '{}', dialects: [anthropic-messages], model: local }}\n",
            cluster.url()
        );
        home.write("cordon.yaml", &written.replace("upstreams:\n", &in_building));
        let keys = ["staff", "google", "cluster", "cohere"].map(|group| (group, home.key(group, group)));
        let cordon = home.serve().await;
        Self {
            cloud,
            cluster,
            _home: home,
            cordon,
            keys: keys.into(),
        }
    }

    async fn openai(&self, group: &str, mode: &str, prompt: &str) -> Ran {
        Program::python("openai_tools.py", &[mode, "gpt-test", prompt])
            .by(
                Door::Gateway,
                &self.cordon,
                &self.keys[group],
                "OPENAI_BASE_URL",
                "/v1",
                "OPENAI_API_KEY",
            )
            .run()
            .await
    }

    async fn post(&self, group: &str, target: &str, body: &Value) -> Reply {
        Caller::new(&self.cordon, Door::Gateway, &self.keys[group])
            .post_to("localhost", target, body)
            .await
    }

    fn assert_said(&self, ran: &Ran, said: &str, what: &str) {
        ran.assert_said(said, what, &self.cordon.log());
    }

    fn last(&self) -> Seen {
        self.cloud.seen().pop().expect("the provider was asked")
    }
}

/// Gemini's answer of those parts, a reply for each where it streams.
fn gemini(seen: &Seen, parts: &[Value]) -> Answer {
    let reply = |parts: &[Value], last: bool| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0,
            "finishReason": last.then_some("STOP")}],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7},
            "modelVersion": "gemini-2.5-pro", "responseId": "r-1"})
    };
    if !seen.path().ends_with(":streamGenerateContent") {
        return Answer::new(200, "application/json", reply(parts, true).to_string());
    }
    let last = parts.len() - 1;
    let events: String = parts
        .iter()
        .enumerate()
        .map(|(at, part)| format!("data: {}\r\n\r\n", reply(std::slice::from_ref(part), at == last)))
        .collect();
    Answer::new(200, "text/event-stream", events)
}

/// Repeats the placeholders that it got, in pieces.
fn gemini_echo(seen: &Seen) -> Answer {
    let said = format!("About {}: done.", seen.placeholders().join(" and "));
    let parts: Vec<Value> = Deltas::Of(3)
        .divide(&said)
        .iter()
        .map(|piece| json!({"text": piece}))
        .collect();
    gemini(seen, &parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_package_is_answered_by_anthropic() {
    let scene = Scene::new().await;
    let prompt = format!("Write to {EMAIL}.");
    for mode in ["plain", "stream"] {
        scene.cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
        let ran = scene.openai("staff", mode, &prompt).await;
        scene.assert_said(&ran, &format!("About {EMAIL}: done.\nended stop 11 7"), mode);
        let seen = scene.last();
        assert_eq!(seen.path(), "/v1/messages");
        assert_eq!(seen.header("x-api-key"), Some(&b"sk-company-key"[..]));
        assert_eq!(seen.header("anthropic-version"), Some(&b"2023-06-01"[..]));
        assert_eq!(seen.header("authorization"), None);
        let body = seen.json();
        assert_eq!(
            (&body["model"], &body["max_tokens"]),
            (&json!("gpt-test"), &json!(64))
        );
        assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
        assert_eq!(seen.streams(), mode == "stream");

        scene.cloud.answer(|seen| {
            let to = seen.placeholders().pop().unwrap_or_default();
            call_tool(seen, &json!({"to": to}).to_string(), Deltas::Of(3))
        });
        let ran = scene.openai("staff", mode, &prompt).await;
        scene.assert_said(
            &ran,
            &format!("call send {{\"to\": \"{EMAIL}\"}}\n\nended tool_calls 11 7"),
            mode,
        );
    }
    // The provider dies in the midst of its answer, and refuses the next.
    scene
        .cloud
        .answer(|seen| echo_divided(seen, Deltas::Of(3)).after(600, vec![Piece::Cut]));
    let ran = scene.openai("staff", "stream", &prompt).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(ran.shows("ended"), 0, "{ran:?}");
    scene.cloud.answer(|_| {
        Answer::new(
            529,
            "application/json",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        )
    });
    let ran = scene.openai("staff", "plain", &prompt).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(ran.shows("error 502: "), 1, "{ran:?}");
    assert!(!scene.cloud.knows(EMAIL), "the address left");
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_package_is_answered_by_gemini() {
    let scene = Scene::new().await;
    let prompt = format!("Write to {EMAIL}.");
    for (mode, target) in [
        ("plain", "/v1beta/models/gemini-2.5-pro:generateContent"),
        (
            "stream",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        ),
    ] {
        scene.cloud.answer(gemini_echo);
        let ran = scene.openai("google", mode, &prompt).await;
        scene.assert_said(&ran, &format!("About {EMAIL}: done.\nended stop 11 7"), mode);
        let seen = scene.last();
        assert_eq!(seen.target, target);
        assert_eq!(seen.header("x-goog-api-key"), Some(&b"sk-company-key"[..]));
        assert_eq!(seen.json()["generationConfig"]["maxOutputTokens"], 64);

        scene.cloud.answer(|seen| {
            let to = seen.placeholders().pop().unwrap_or_default();
            let call = json!({"functionCall": {"name": "send", "args": {"to": to}}});
            gemini(seen, &[call.clone(), call])
        });
        let ran = scene.openai("google", mode, &prompt).await;
        let called = format!("call send {{\"to\": \"{EMAIL}\"}}\n");
        scene.assert_said(&ran, &format!("{called}{called}\nended tool_calls 11 7"), mode);
    }
    scene
        .cloud
        .answer(|seen| gemini_echo(seen).after(600, vec![Piece::Cut]));
    let ran = scene.openai("google", "stream", &prompt).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(ran.shows("ended"), 0, "{ran:?}");
    // One that closes as it should, but never says why it ends, is none either.
    scene
        .cloud
        .answer(|seen| gemini_echo(seen).after(600, Vec::new()));
    let ran = scene.openai("google", "stream", &prompt).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(!scene.cloud.knows(EMAIL), "the address left");

    // Its own callers are answered by the model that is configured, too, in the form that they ask for.
    scene.cloud.answer(gemini_echo);
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Ping."}]}]});
    let own = scene
        .post(
            "google",
            "/v1beta/models/gemini-x:streamGenerateContent?alt=sse",
            &body,
        )
        .await;
    assert_eq!(own.status, 200, "{}", own.text());
    assert_eq!(
        scene.last().target,
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    );
    assert_eq!(
        scene.last().json(),
        body,
        "a body that needs no translation stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_the_building_is_asked_in_its_dialect_for_its_model() {
    let scene = Scene::new().await;
    scene
        .cluster
        .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)));
    for mode in ["plain", "stream"] {
        let ran = scene.openai("cluster", mode, "Ping.").await;
        scene.assert_said(&ran, "PONG from near by\nended stop 11 7", mode);
        let seen = scene.cluster.seen().pop().expect("it was asked");
        assert_eq!(
            (seen.path(), &seen.json()["model"]),
            ("/v1/messages", &json!("local"))
        );
        assert_eq!(seen.header("authorization"), None);
    }
    // Its own callers need no translation; the name of the model alone is another.
    let mut body = json!({"model": "claude-test", "max_tokens": 9, "top_k": 5,
        "messages": [{"role": "user", "content": "Ping."}]});
    let reply = scene.post("cluster", "/v1/messages", &body).await;
    assert_eq!(
        reply.json()["content"][0]["text"],
        "PONG from near by",
        "{}",
        reply.text()
    );
    body["model"] = "local".into();
    let seen = scene.cluster.seen().pop().expect("it was asked");
    assert_eq!(seen.json(), body);
    assert!(scene.cloud.seen().is_empty(), "nobody outside was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_a_third_dialect_is_answered_by_anthropic() {
    let scene = Scene::new().await;
    scene.cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
    let body =
        json!({"model": "llama3.2", "messages": [{"role": "user", "content": format!("Write to {EMAIL}.")}]});
    let reply = scene.post("staff", "/api/chat", &body).await;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let said: String = reply
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| Some(line["message"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(said, format!("About {EMAIL}: done."), "{}", reply.text());
    assert_eq!(scene.last().path(), "/v1/messages");
    assert!(!scene.cloud.knows(EMAIL), "the address left");
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_tokens_are_counted_by_who_has_counts() {
    let scene = Scene::new().await;
    let asks = format!("Write to {EMAIL}.");
    scene
        .cloud
        .answer(|_| Answer::new(200, "application/json", r#"{"input_tokens":12}"#));
    let body = json!({"contents": [{"role": "user", "parts": [{"text": asks}]}]});
    let counted = scene
        .post("staff", "/v1beta/models/gemini-x:countTokens", &body)
        .await;
    assert_eq!(counted.json()["totalTokens"], 12, "{}", counted.text());
    let seen = scene.last();
    assert_eq!(seen.target, "/v1/messages/count_tokens");
    assert_eq!(seen.header("anthropic-version"), Some(&b"2023-06-01"[..]));
    assert_eq!(seen.json()["model"], "gemini-x");
    assert!(seen.json().get("max_tokens").is_none());

    scene
        .cloud
        .answer(|_| Answer::new(200, "application/json", r#"{"totalTokens":13}"#));
    let body = json!({"model": "claude-test", "system": "Be brief.", "messages": [{"role": "user", "content": asks}]});
    let counted = scene.post("google", "/v1/messages/count_tokens", &body).await;
    assert_eq!(counted.json(), json!({"input_tokens": 13}), "{}", counted.text());
    let seen = scene.last();
    assert_eq!(seen.target, "/v1beta/models/gemini-2.5-pro:countTokens");
    let asked = &seen.json()["generateContentRequest"];
    assert_eq!(asked["systemInstruction"]["parts"][0]["text"], "Be brief.");
    assert!(!scene.cloud.knows(EMAIL), "the address left");

    // A number that is none is no count, and whoever has no counts says so.
    scene
        .cloud
        .answer(|_| Answer::new(200, "application/json", r#"{"totalTokens":"many"}"#));
    let counted = scene.post("google", "/v1/messages/count_tokens", &body).await;
    assert_eq!(counted.status, 502, "{}", counted.text());
    let refused = scene.post("cohere", "/v1/messages/count_tokens", &body).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_come_back_to_the_caller_and_go_to_no_provider_that_did_not_sign_them() {
    let scene = Scene::new().await;
    let thinks = |seen: &Seen| {
        let about = seen.placeholders().join(" and ");
        let (first, last) = about.split_at(about.len().min(4));
        gemini(
            seen,
            &[
                json!({"text": format!("They mean {first}"), "thought": true}),
                json!({"text": format!("{last}."), "thought": true, "thoughtSignature": "c2lnbmVk"}),
                json!({"text": "Done."}),
            ],
        )
    };
    scene.cloud.answer(thinks);
    let mut body = json!({"model": "claude-test", "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048},
        "messages": [{"role": "user", "content": format!("Write to {EMAIL}.")}]});
    let reply = scene.post("google", "/v1/messages", &body).await;
    let content = reply.json()["content"].clone();
    assert_eq!(
        (&content[0]["thinking"], &content[1]["text"]),
        (&json!(format!("They mean {EMAIL}.")), &json!("Done.")),
        "{}",
        reply.text()
    );
    assert_eq!(
        scene.last().json()["generationConfig"]["thinkingConfig"],
        json!({"thinkingBudget": 1024, "includeThoughts": true})
    );

    body["stream"] = true.into();
    let streamed = scene.post("google", "/v1/messages", &body).await;
    assert!(streamed.complete, "{}", streamed.text());
    let mut thought = String::new();
    let mut kinds = Vec::new();
    for event in streamed
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
    {
        let event: Value = serde_json::from_str(event).expect("an event is JSON");
        let kind = event.pointer("/delta/type").and_then(Value::as_str);
        kinds.extend(kind.map(str::to_owned));
        thought.push_str(event["delta"]["thinking"].as_str().unwrap_or_default());
    }
    assert_eq!(thought, format!("They mean {EMAIL}."));
    kinds.dedup();
    assert_eq!(kinds, ["thinking_delta", "signature_delta", "text_delta"]);

    // The next turn goes to Anthropic itself, in the caller's own dialect.
    scene.cloud.answer(|seen| say(seen, "Hello", Deltas::Of(3)));
    let turns = json!([body["messages"][0], {"role": "assistant", "content": content}, {"role": "user", "content": "Thanks."}]);
    let next = json!({"model": "claude-test", "max_tokens": 9, "messages": turns});
    let reply = scene.post("staff", "/v1/messages", &next).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = scene.last().json();
    assert_eq!(
        seen["messages"][1],
        json!({"role": "assistant", "content": [{"type": "text", "text": "Done."}]})
    );
    assert_eq!(seen["messages"][2], turns[2]);
    assert!(!scene.cloud.knows(EMAIL), "the address left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_translated_is_refused_in_the_callers_dialect() {
    let scene = Scene::new().await;
    let hi = json!([{"role": "user", "content": "Ping."}]);
    // The upstream speaks nothing that requests are put into.
    let refused = scene
        .post(
            "cohere",
            "/v1/chat/completions",
            &json!({"model": "m", "messages": hi}),
        )
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "cordon_not_translatable");
    assert!(
        refused
            .text()
            .contains("have your administrator route `openai-chat`"),
        "{}",
        refused.text()
    );
    let refused = scene
        .post(
            "cohere",
            "/v1/messages",
            &json!({"model": "m", "max_tokens": 9, "messages": hi}),
        )
        .await;
    assert_eq!(refused.json()["type"], "error", "{}", refused.text());
    assert!(
        refused.text().contains("route `anthropic-messages`"),
        "{}",
        refused.text()
    );
    // The caller's dialect is not put into another.
    let refused = scene
        .post(
            "staff",
            "/model/m/invoke",
            &json!({"messages": hi, "max_tokens": 9}),
        )
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.header("x-amzn-errortype"), "ValidationException");
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("POST /v1/chat/completions"), "{message}");
    // What is no answer of a model is not translated at all.
    let refused = scene
        .post(
            "staff",
            "/v1/embeddings",
            &json!({"model": "m", "input": "Ping."}),
        )
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("have your administrator route it"),
        "{}",
        refused.text()
    );
    // A part that the other dialect cannot take is named where it stands.
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}]);
    let refused = scene
        .post(
            "staff",
            "/v1/chat/completions",
            &json!({"model": "m", "messages": image}),
        )
        .await;
    assert!(
        refused.text().contains("messages[0].content[0]"),
        "{}",
        refused.text()
    );
    assert!(scene.cloud.seen().is_empty(), "nobody was asked");
}
