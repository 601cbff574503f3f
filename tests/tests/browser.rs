//! Web applications in a real browser: Chromium, with a new profile that trusts Cordon's root as a company's
//! machines do, loads a page through the proxy, and its user reads the answer or the refusal.
//!
//! The pages (`tests/pages/`) are ours: they send and read what the applications' own pages do, and the recording
//! upstream serves them in the place of chatgpt.com and claude.ai. The policy is the default one.

use std::path::{Path, PathBuf};

use cordon_tests::{
    cordon::{Cordon, Home, OnPrem, Plan},
    program::Program,
    upstream::{Answer, Seen, Upstream},
};
use serde_json::{Value, json};

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

/// An application as the mock page and the upstream in its place speak.
struct App {
    host: &'static str,
    dialect: &'static str,
    page: &'static str,
    script: &'static str,
    /// How the path of a conversation's request ends.
    conversation: &'static str,
    /// A reply's text as the events of a stream.
    reply: fn(&[&str]) -> String,
}

const CHATGPT: App = App {
    host: "chatgpt.com",
    dialect: "chatgpt-web",
    page: include_str!("../pages/chatgpt.html"),
    script: include_str!("../pages/chatgpt.js"),
    conversation: "/backend-api/f/conversation",
    reply: |pieces| {
        let message = json!({"v": {"message": {"id": "m", "author": {"role": "assistant"},
            "content": {"content_type": "text", "parts": [""]}, "status": "in_progress"}}});
        let mut stream = format!("event: delta_encoding\ndata: \"v1\"\n\nevent: delta\ndata: {message}\n\n");
        for (number, piece) in pieces.iter().enumerate() {
            let delta = match number {
                0 => json!({"p": "/message/content/parts/0", "o": "append", "v": piece}),
                _ => json!({"v": piece}),
            };
            stream += &format!("event: delta\ndata: {delta}\n\n");
        }
        stream + "data: {\"type\":\"message_stream_complete\"}\n\ndata: [DONE]\n\n"
    },
};

const CLAUDE: App = App {
    host: "claude.ai",
    dialect: "claude-web",
    page: include_str!("../pages/claude.html"),
    script: include_str!("../pages/claude.js"),
    conversation: "/completion",
    reply: |pieces| {
        let mut stream = String::new();
        let mut say = |event: Value| {
            let name = event["type"].as_str().unwrap_or_default().to_owned();
            stream += &format!("event: {name}\ndata: {event}\n\n");
        };
        say(json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant"}}));
        say(
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        );
        for piece in pieces {
            say(
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}),
            );
        }
        say(json!({"type": "content_block_stop", "index": 0}));
        say(json!({"type": "message_stop"}));
        stream
    },
};

impl App {
    /// What the application's servers answer. They offer HTTP/3, as the real ones do.
    fn answer(&self, seen: &Seen) -> Answer {
        let (kind, body) = match (seen.method.as_str(), seen.path()) {
            ("GET", "/") => ("text/html; charset=utf-8", self.page.to_owned()),
            ("GET", "/assets/page.css") => ("text/css", include_str!("../pages/page.css").to_owned()),
            ("GET", "/assets/conversation.js") => (
                "text/javascript",
                include_str!("../pages/conversation.js").to_owned(),
            ),
            ("GET", _) => ("text/javascript", self.script.to_owned()),
            ("POST", path) if path.ends_with(self.conversation) => {
                let placeholder = seen
                    .placeholders()
                    .pop()
                    .unwrap_or_else(|| "[NOTHING_0000]".to_owned());
                // The placeholder comes in two pieces, as a provider may send it.
                let (first, second) = placeholder.split_at(5);
                let body = (self.reply)(&["I shall write ", "to ", first, second, " tomorrow."]);
                ("text/event-stream", body)
            }
            _ => ("application/json", "{}".to_owned()),
        };
        Answer::new(200, kind, body).with_header("alt-svc", "h3=\":443\"; ma=86400")
    }
}

struct Stage {
    app: &'static App,
    upstream: Upstream,
    _on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Stage {
    async fn new(app: &'static App) -> Self {
        let upstream = Upstream::behind_tls().await;
        let on_prem = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan {
            apps: &[CHATGPT.host, CLAUDE.host],
            policy: None,
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &upstream)
        });
        upstream.answer(|seen| app.answer(seen));
        let key = home.key("ada", "cloud-users");
        let cordon = home.serve().await;
        Self {
            app,
            upstream,
            _on_prem: on_prem,
            home,
            cordon,
            key,
        }
    }

    /// Sends a prompt by the page's form, and returns what the browser tells of it.
    async fn send(&self, prompt: &str, screenshot: &Path) -> Value {
        let url = format!("https://{}/", self.app.host);
        let screenshot = screenshot.display().to_string();
        let ran = Program::node("browser.mjs", &[&url, &screenshot, prompt])
            .through_proxy(&self.cordon, &self.key)
            .run()
            .await;
        let targets: Vec<String> = self.upstream.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(ran.code, 0, "{ran:?}\n{targets:?}\n{}", self.cordon.log());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
    }

    /// The page and what it is made of came through the interception, and nothing in the console complains.
    fn loaded(&self, told: &Value) {
        assert_eq!(told["errors"], json!([]), "{told:#}");
        let loaded = told["loaded"].as_array().expect("a list");
        let gets = loaded.iter().filter(|one| {
            let url = one["url"].as_str().unwrap_or_default();
            url.ends_with('/') || url.contains("/assets/")
        });
        let mut count = 0;
        for one in gets {
            count += 1;
            assert_eq!(one["status"], 200, "{one:#}");
            assert_eq!(one["security"], "secure", "{one:#}");
            let issuer = one["issuer"].as_str().unwrap_or_default();
            assert!(issuer.contains("Cordon"), "{one:#}");
            // HTTP/3 would pass the proxy by: the provider's offer of it is taken back.
            assert_eq!(one["headers"]["alt-svc"], "clear", "{one:#}");
        }
        assert_eq!(count, 4, "{told:#}");
    }

    /// The opening of the records of a decision, once there are so many.
    async fn openings(&self, decision: &str, count: usize) -> Vec<Value> {
        let found = self
            .home
            .searched_until(&["--decision", decision], |all| all.len() >= count)
            .await;
        found
            .into_iter()
            .map(|record| record["opening"]["body"].clone())
            .collect()
    }
}

fn screenshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

async fn an_answer_has_its_originals(app: &'static App) {
    let stage = Stage::new(app).await;
    let prompt = format!("Write to {EMAIL} about lunch, please.");
    let picture = screenshot(&format!("answer-in-{}.png", app.dialect));
    let told = stage.send(&prompt, &picture).await;
    assert_eq!(
        told["turns"],
        json!([
            {"kind": "user", "text": prompt},
            {"kind": "assistant", "text": format!("I shall write to {EMAIL} tomorrow.")},
        ]),
        "{}",
        stage.cordon.log()
    );
    stage.loaded(&told);
    let seen = stage.upstream.seen();
    let asked = seen
        .iter()
        .find(|seen| seen.path().ends_with(app.conversation))
        .expect("the conversation reached the provider");
    assert_eq!(asked.placeholders().len(), 1, "{:?}", asked.body);
    let agent = String::from_utf8_lossy(asked.header("user-agent").unwrap_or_default()).into_owned();
    assert!(
        agent.contains(".0.0.0 Safari/"),
        "the browser's version was edited: {agent}"
    );
    assert!(!stage.upstream.knows(EMAIL) && !stage.upstream.knows(&stage.key));
    let redacted = stage.openings("redact", 1).await;
    assert!(!redacted.is_empty());
    assert!(
        redacted.iter().all(|opening| opening["dialect"] == app.dialect),
        "{redacted:#?}"
    );
    // What the page loaded is on record, too.
    let allowed = stage.openings("allow", 4).await;
    assert!(allowed.len() >= 4, "{allowed:#?}");
}

async fn a_refusal_is_shown_as_the_answer(app: &'static App) {
    let stage = Stage::new(app).await;
    let picture = screenshot(&format!("refusal-in-{}.png", app.dialect));
    let told = stage
        .send(&format!("Is our key {} still valid?", secret()), &picture)
        .await;
    let turns = told["turns"].as_array().expect("a list");
    assert_eq!(turns.len(), 2, "{told:#}");
    assert_eq!(turns[1]["kind"], "assistant", "{told:#}");
    let text = turns[1]["text"].as_str().unwrap_or_default();
    for part in ["secrets-cloud", "Take it out"] {
        assert!(text.contains(part), "{part} is not in {text:?}");
    }
    assert!(!text.contains(&secret()), "the refusal quotes the secret");
    let bytes = std::fs::read(&picture).expect("the screenshot was written");
    assert!(bytes.starts_with(b"\x89PNG"));
    assert!(!stage.upstream.knows(&secret()));
    let posted = stage
        .upstream
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST");
    assert_eq!(posted.count(), 0, "a prompt reached the provider");
    let blocked = stage.openings("block", 1).await;
    assert!(!blocked.is_empty());
    for opening in &blocked {
        assert_eq!(opening["dialect"], app.dialect, "{opening:#}");
        assert_eq!(opening["rule"], "secrets-cloud", "{opening:#}");
        assert!(!opening.to_string().contains(&secret()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chatgpt_page_shows_an_answer_with_its_originals() {
    an_answer_has_its_originals(&CHATGPT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_page_shows_an_answer_with_its_originals() {
    an_answer_has_its_originals(&CLAUDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chatgpt_page_shows_a_refusal_as_the_answer() {
    a_refusal_is_shown_as_the_answer(&CHATGPT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_page_shows_a_refusal_as_the_answer() {
    a_refusal_is_shown_as_the_answer(&CLAUDE).await;
}
