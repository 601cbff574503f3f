//! Further client libraries and programs of the registries, through the proxy with nothing set but proxy and
//! CA, or at the gateway by base URL: LangChain, `llm`, Ollama's, Google's and Anthropic's packages, aider, Gemini CLI.
//!
//! Each streams an answer in which an original is back where the provider saw a placeholder, and each shows its
//! user the refusal of a secret.

use cordon_tests::{
    caller::{Door, PROVIDER_KEY},
    cordon::{Cordon, Home, OnPrem, Plan},
    engine,
    program::{Program, Ran},
    replies::{Deltas, say},
    upstream::{Answer, Seen, Upstream},
};
use serde_json::json;

const EMAIL: &str = "rebecca.gardner@example.org";

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

/// What is run, and the variables by which it finds the gateway.
struct Client {
    name: &'static str,
    program: fn(&str) -> Program,
    key: &'static str,
    /// Variable and path of its base URL; `None` where it is tried by the proxy alone.
    base: Option<(&'static str, &'static str)>,
    /// Whether it ends with code 3 on a refusal, as our scripts do.
    script: bool,
}

const CLIENTS: [Client; 8] = [
    Client {
        name: "LangChain for OpenAI",
        program: |prompt| Program::python("langchain_chat.py", &["openai", "gpt-test", prompt]),
        key: "OPENAI_API_KEY",
        base: Some(("OPENAI_BASE_URL", "/v1")),
        script: true,
    },
    Client {
        name: "LangChain for Anthropic",
        program: |prompt| Program::python("langchain_chat.py", &["anthropic", "claude-test", prompt]),
        key: "ANTHROPIC_API_KEY",
        base: Some(("ANTHROPIC_BASE_URL", "")),
        script: true,
    },
    Client {
        name: "llm",
        program: Program::llm,
        key: "OPENAI_API_KEY",
        base: None,
        script: false,
    },
    Client {
        name: "@anthropic-ai/sdk",
        program: |prompt| Program::node("anthropic_messages.mjs", &["claude-test", prompt]),
        key: "ANTHROPIC_API_KEY",
        base: Some(("ANTHROPIC_BASE_URL", "")),
        script: true,
    },
    Client {
        name: "google-genai",
        program: |prompt| Program::python("google_genai.py", &["gemini-test", prompt]),
        key: "GEMINI_API_KEY",
        base: None,
        script: true,
    },
    Client {
        name: "@google/genai",
        program: |prompt| Program::node("google_genai.mjs", &["gemini-test", prompt]),
        key: "GEMINI_API_KEY",
        base: None,
        script: true,
    },
    Client {
        name: "aider",
        program: Program::aider,
        key: "OPENAI_API_KEY",
        base: None,
        script: false,
    },
    Client {
        name: "Gemini CLI",
        program: |prompt| Program::gemini(prompt, PROVIDER_KEY),
        key: "GEMINI_API_KEY",
        base: None,
        script: false,
    },
];

impl Client {
    fn doors(&self) -> &'static [Door] {
        if self.base.is_some() {
            &[Door::Proxy, Door::Gateway]
        } else {
            &[Door::Proxy]
        }
    }

    async fn run(&self, door: Door, cordon: &Cordon, key: &str, prompt: &str) -> Ran {
        let (variable, path) = self.base.unwrap_or(("UNUSED_BASE_URL", ""));
        (self.program)(prompt)
            .by(door, cordon, key, variable, path, self.key)
            .run()
            .await
    }
}

/// The provider repeats the placeholders that it got, in pieces of three characters.
fn answer(seen: &Seen) -> Answer {
    let named = seen.placeholders();
    let said = format!("PONG about {}.", named.last().map_or("nobody", String::as_str));
    let method = seen.path().rsplit_once(':').map(|(_, method)| method);
    let candidate = |text: &str, end: bool| {
        json!({
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0,
                "finishReason": if end { json!("STOP") } else { json!(null) }}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
            "modelVersion": "gemini-test", "responseId": "r-1",
        })
    };
    match method {
        Some("streamGenerateContent") => {
            let pieces = Deltas::Of(3).divide(&said);
            let events: String = pieces
                .iter()
                .enumerate()
                .map(|(at, piece)| format!("data: {}\r\n\r\n", candidate(piece, at + 1 == pieces.len())))
                .collect();
            Answer::new(200, "text/event-stream", events)
        }
        Some("generateContent") => Answer::new(200, "application/json", candidate(&said, true).to_string()),
        Some("countTokens") => Answer::new(200, "application/json", r#"{"totalTokens":9}"#),
        _ => say(seen, &said, Deltas::Of(3)),
    }
}

async fn with_upstream() -> (Upstream, Upstream, Home) {
    let cloud = Upstream::behind_tls().await;
    cloud.answer(answer);
    let on_prem = Upstream::in_place_of_engine().await;
    let plan = Plan {
        credentials: "sk-company-key",
        hosts: &[("generativelanguage.googleapis.com", "gemini")],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    };
    let home = Home::new(&plan);
    (cloud, on_prem, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_streams_an_answer_with_the_original_back() {
    let (cloud, on_prem, home) = with_upstream().await;
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    for client in &CLIENTS {
        for &door in client.doors() {
            let prompt = format!("Write to {EMAIL} that it is done.");
            let ran = client.run(door, &cordon, &key, &prompt).await;
            let name = client.name;
            assert_eq!(
                ran.code,
                0,
                "{name} by the {door:?}: {ran:?}\n{:?}\n{}",
                cloud
                    .seen()
                    .iter()
                    .map(|seen| seen.target.clone())
                    .collect::<Vec<_>>(),
                cordon.log()
            );
            assert!(
                ran.stdout.contains(&format!("PONG about {EMAIL}.")),
                "{name} by the {door:?}: {ran:?}"
            );
            assert!(
                cloud.seen().iter().any(|seen| !seen.placeholders().is_empty()),
                "{name} by the {door:?}: nothing was redacted"
            );
            assert!(!cloud.knows(EMAIL), "{name} by the {door:?}: the address left");
            assert!(!cloud.knows(&key), "{name} by the {door:?}: Cordon's key left");
            cloud.forget();
        }
    }
    assert!(on_prem.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shows_the_refusal_of_a_secret() {
    let (cloud, on_prem, home) = with_upstream().await;
    let keys: Vec<_> = (0..CLIENTS.len())
        .map(|number| home.key(&format!("user-{number}"), "staff"))
        .collect();
    let cordon = home.serve().await;
    for (number, client) in CLIENTS.iter().enumerate() {
        let name = client.name;
        for &door in client.doors() {
            let prompt = format!("Is {} still valid?", secret());
            let ran = client.run(door, &cordon, &keys[number], &prompt).await;
            // aider shows the refusal and ends well all the same.
            assert!(
                ran.code != 0 || name == "aider",
                "{name} by the {door:?}: {ran:?}"
            );
            assert!(ran.shows("secrets-stay") >= 1, "{name} by the {door:?}: {ran:?}");
            if client.script {
                assert_eq!(ran.shows("error 400: "), 1, "{name} by the {door:?}: {ran:?}");
            }
        }
        let user = format!("user-{number}");
        let refused = home
            .searched_until(&["--user", &user, "--decision", "block"], |all| !all.is_empty())
            .await;
        assert_eq!(
            refused.len(),
            client.doors().len(),
            "{name} sent it again: {refused:#?}"
        );
    }
    for upstream in [&cloud, &on_prem] {
        assert!(!upstream.knows(&secret()), "the secret reached an upstream");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ollamas_package_is_answered_by_the_engine() {
    let home = Home::new(&Plan::on(OnPrem::Url(engine::shared())));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let run = async |prompt: &str| {
        Program::python("ollama_chat.py", &["default", prompt])
            .trusting(&cordon)
            .with(
                "OLLAMA_HOST",
                &format!("https://localhost:{}", cordon.gateway().port()),
            )
            .with("OLLAMA_API_KEY", &key)
            .run()
            .await
    };
    let ran = run("Say hello in one short sentence.").await;
    assert_eq!(ran.code, 0, "{ran:?}\n{}", cordon.log());
    assert!(ran.stdout.trim().len() > 2, "{ran:?}");
}
