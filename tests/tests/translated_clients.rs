//! Programs of dialects that no upstream here speaks, answered by one that speaks `openai-chat` alone: Amazon's and
//! Cohere's own packages, and OpenAI's for the older completions.

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    program::{Program, Ran},
    replies::{Deltas, call_tool, echo_divided, say},
    upstream::{Answer, Piece, Upstream},
};
use serde_json::{Value, json};

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const COHERE: &str = "api.cohere.com";
const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

const HOSTS: &[(&str, &str)] = &[(BEDROCK, "openai-chat"), (COHERE, "openai-chat")];

/// An installation whose on-prem model is a stand-in, and a provider that speaks `openai-chat` in the place of others.
struct Scene {
    engine: Upstream,
    cloud: Upstream,
    _home: Home,
    cordon: Cordon,
    key: String,
}

impl Scene {
    /// Where the policy sends everything to the on-prem model.
    async fn on_prem() -> Self {
        Self::new(|engine, _| Plan {
            hosts: HOSTS,
            ..Plan::on(OnPrem::StandIn(engine))
        })
        .await
    }

    /// Where each is answered by a provider, which gets placeholders.
    async fn cloud() -> Self {
        Self::new(|engine, cloud| Plan {
            hosts: HOSTS,
            credentials: "sk-company-key",
            ..Plan::with_cloud(OnPrem::StandIn(engine), cloud)
        })
        .await
    }

    async fn new(plan: impl for<'a> FnOnce(&'a Upstream, &'a Upstream) -> Plan<'a>) -> Self {
        let (engine, cloud) = (Upstream::in_place_of_engine().await, Upstream::behind_tls().await);
        let home = Home::new(&plan(&engine, &cloud));
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        Self {
            engine,
            cloud,
            _home: home,
            cordon,
            key,
        }
    }

    async fn bedrock(&self, door: Door, mode: &str, prompt: &str) -> Ran {
        let program = Program::python("bedrock_converse.py", &[mode, CLAUDE, prompt])
            .with("AWS_DEFAULT_REGION", "us-east-1")
            .with("AWS_CA_BUNDLE", &self.cordon.bundle().display().to_string());
        let program = match door {
            Door::Gateway => program
                .with("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &self.gateway())
                .with("AWS_BEARER_TOKEN_BEDROCK", &self.key),
            Door::Proxy => program
                .through_proxy(&self.cordon, &self.key)
                .with("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-of-ann"),
        };
        program.run().await
    }

    async fn cohere(&self, door: Door, mode: &str, prompt: &str) -> Ran {
        Program::python("cohere_chat.py", &[mode, "command-a-03-2025", prompt])
            .by(door, &self.cordon, &self.key, "CO_API_URL", "", "CO_API_KEY")
            .run()
            .await
    }

    fn gateway(&self) -> String {
        format!("https://localhost:{}", self.cordon.gateway().port())
    }

    async fn post(&self, target: &str, body: &Value) -> Reply {
        Caller::new(&self.cordon, Door::Gateway, &self.key)
            .post_to("localhost", target, body)
            .await
    }

    fn assert_said(&self, ran: &Ran, said: &str, what: &str) {
        ran.assert_said(said, what, &self.cordon.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amazons_package_is_answered_by_the_on_prem_model() {
    let scene = Scene::on_prem().await;
    for door in [Door::Gateway, Door::Proxy] {
        for mode in ["plain", "stream"] {
            scene
                .engine
                .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)));
            let ran = scene.bedrock(door, mode, "Ping.").await;
            scene.assert_said(&ran, "PONG from near by\nended end_turn 11 7", mode);
            let asked = scene.engine.asked().pop().expect("the model was asked").json();
            assert_eq!(asked["messages"], json!([{"role": "user", "content": "Ping."}]));
            assert_eq!(asked["tools"][0]["function"]["name"], "send");

            scene
                .engine
                .answer(|seen| call_tool(seen, r#"{"to": "the lab"}"#, Deltas::Of(4)));
            let ran = scene.bedrock(door, mode, "Send it.").await;
            scene.assert_said(
                &ran,
                "call send {\"to\": \"the lab\"}\n\nended tool_use 11 7",
                mode,
            );
        }
    }
    scene
        .engine
        .answer(|_| Answer::new(200, "application/json", r#"{"input_tokens": 12}"#));
    let ran = scene.bedrock(Door::Gateway, "count", "Ping.").await;
    scene.assert_said(&ran, "\nended counted 12 0", "count");

    // The model's process dies in the midst of its answer.
    scene
        .engine
        .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)).after(500, vec![Piece::Cut]));
    let ran = scene.bedrock(Door::Gateway, "stream", "Ping.").await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(ran.shows("error in the stream: "), 1, "{ran:?}");
    assert_eq!(ran.shows("ended"), 0, "{ran:?}");
    assert!(scene.cloud.seen().is_empty(), "nobody outside was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn coheres_package_is_answered_by_the_on_prem_model() {
    let scene = Scene::on_prem().await;
    for door in [Door::Gateway, Door::Proxy] {
        for mode in ["plain", "stream"] {
            scene
                .engine
                .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)));
            let ran = scene.cohere(door, mode, "Ping.").await;
            scene.assert_said(&ran, "PONG from near by\nended COMPLETE 11 7", mode);
            let asked = scene.engine.asked().pop().expect("the model was asked").json();
            assert_eq!(asked["messages"], json!([{"role": "user", "content": "Ping."}]));

            scene
                .engine
                .answer(|seen| call_tool(seen, r#"{"to": "the lab"}"#, Deltas::Of(4)));
            let ran = scene.cohere(door, mode, "Send it.").await;
            scene.assert_said(
                &ran,
                "call send {\"to\": \"the lab\"}\n\nended TOOL_CALL 11 7",
                mode,
            );
        }
    }
    let refused = scene.post("/v1/chat", &json!({"message": "Ping."})).await;
    assert_eq!(refused.status, 400);
    let message = refused.json()["message"].to_string();
    assert!(message.contains("present chat endpoint"), "{message}");
    assert!(scene.cloud.seen().is_empty(), "nobody outside was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_back_to_amazons_and_coheres_packages() {
    let scene = Scene::cloud().await;
    let prompt = format!("Write to {EMAIL}.");
    for door in [Door::Gateway, Door::Proxy] {
        for mode in ["plain", "stream"] {
            scene.cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
            let said = format!("About {EMAIL}: done.\nended ");
            let ran = scene.bedrock(door, mode, &prompt).await;
            scene.assert_said(&ran, &format!("{said}end_turn 11 7"), mode);
            let ran = scene.cohere(door, mode, &prompt).await;
            scene.assert_said(&ran, &format!("{said}COMPLETE 11 7"), mode);

            scene.cloud.answer(|seen| {
                let to = seen.placeholders().pop().unwrap_or_default();
                call_tool(seen, &json!({"to": to}).to_string(), Deltas::Of(3))
            });
            let called = format!("call send {{\"to\": \"{EMAIL}\"}}\n\nended ");
            let ran = scene.bedrock(door, mode, &prompt).await;
            scene.assert_said(&ran, &format!("{called}tool_use 11 7"), mode);
            let ran = scene.cohere(door, mode, &prompt).await;
            scene.assert_said(&ran, &format!("{called}TOOL_CALL 11 7"), mode);
        }
    }
    assert!(!scene.cloud.knows(EMAIL), "the address left");
    assert!(
        !scene.cloud.knows("bedrock-api-key-of-ann"),
        "a key for another left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn older_completions_are_answered_by_chat() {
    let scene = Scene::cloud().await;
    let body = |stream: bool, usage: bool| {
        let mut body = json!({"model": "gpt-3.5-turbo-instruct", "stream": stream, "max_tokens": 16,
            "prompt": [format!("Write to {EMAIL}.")]});
        if usage {
            body["stream_options"] = json!({"include_usage": true});
        }
        body
    };
    scene.cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
    let said = format!("About {EMAIL}: done.");

    let plain = scene.post("/v1/completions", &body(false, false)).await;
    assert_eq!(plain.status, 200, "{}", plain.text());
    let plain = plain.json();
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(plain["choices"][0]["text"], said);
    assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    assert_eq!(plain["usage"]["total_tokens"], 18);
    let asked = scene.cloud.asked().pop().expect("the provider was asked");
    assert_eq!(asked.path(), "/v1/chat/completions");
    assert_eq!(asked.json()["max_tokens"], 16);

    for usage in [false, true] {
        let streamed = scene.post("/v1/completions", &body(true, usage)).await;
        assert_eq!(streamed.header("content-type"), "text/event-stream");
        assert!(streamed.complete);
        let text = streamed.text();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(text.contains("\"usage\""), usage, "{text}");
        let words: String = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .filter_map(|chunk| Some(chunk.pointer("/choices/0/text")?.as_str()?.to_owned()))
            .collect();
        assert_eq!(words, said);
    }
    assert!(!scene.cloud.knows(EMAIL), "the address left");

    for mode in ["plain", "stream"] {
        let prompt = format!("Write to {EMAIL}.");
        let ran = Program::python("openai_completion.py", &[mode, "gpt-3.5-turbo-instruct", &prompt])
            .by(
                Door::Gateway,
                &scene.cordon,
                &scene.key,
                "OPENAI_BASE_URL",
                "/v1",
                "OPENAI_API_KEY",
            )
            .run()
            .await;
        scene.assert_said(&ran, &format!("{said}\nended stop"), mode);
    }
    assert!(!scene.cloud.knows(EMAIL), "the address left");

    let two = json!({"model": "m", "prompt": ["Ping.", "Pong."]});
    let refused = scene.post("/v1/completions", &two).await;
    assert_eq!(refused.status, 400);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("ask once for each"), "{message}");
}
