//! Real client programs of the registries, through the proxy with nothing set but proxy and CA, and
//! at the gateway by base URL.
//!
//! The libraries stream an answer from the on-prem model. The coding agents, whose prompts outgrow
//! it, complete a streamed turn against a recording upstream behind TLS. Each shows its user the
//! refusal of a secret, and does not send it again.

use cordon_tests::{
    caller::Door,
    cordon::{Cordon, Home, OnPrem, Plan},
    engine,
    program::{Program, Ran},
    replies::{Deltas, say},
    upstream::Upstream,
};

const ANSWER: &str = "PONG from far away";
const DOORS: [Door; 2] = [Door::Proxy, Door::Gateway];

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

/// The libraries' scripts, each with what it reads its base URL and key from.
struct Library {
    script: &'static str,
    arguments: &'static [&'static str],
    base: (&'static str, &'static str),
    key: &'static str,
}

const LIBRARIES: [Library; 4] = [
    Library {
        script: "openai_chat.py",
        arguments: &["chat", "any-model"],
        base: ("OPENAI_BASE_URL", "/v1"),
        key: "OPENAI_API_KEY",
    },
    Library {
        script: "openai_chat.py",
        arguments: &["responses", "any-model"],
        base: ("OPENAI_BASE_URL", "/v1"),
        key: "OPENAI_API_KEY",
    },
    Library {
        script: "anthropic_messages.py",
        arguments: &["any-model"],
        base: ("ANTHROPIC_BASE_URL", ""),
        key: "ANTHROPIC_API_KEY",
    },
    Library {
        script: "openai_chat.mjs",
        arguments: &["any-model"],
        base: ("OPENAI_BASE_URL", "/v1"),
        key: "OPENAI_API_KEY",
    },
];

impl Library {
    async fn run(&self, door: Door, cordon: &Cordon, key: &str, prompt: &str) -> Ran {
        let arguments: Vec<&str> = self.arguments.iter().copied().chain([prompt]).collect();
        let program = match self.script.ends_with(".mjs") {
            true => Program::node(self.script, &arguments),
            false => Program::python(self.script, &arguments),
        };
        program
            .by(door, cordon, key, self.base.0, self.base.1, self.key)
            .run()
            .await
    }
}

/// The coding agents.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agent {
    Codex,
    Claude,
}

impl Agent {
    async fn run(self, door: Door, cordon: &Cordon, key: &str, prompt: &str) -> Ran {
        match (self, door) {
            (Self::Codex, Door::Proxy) => {
                Program::codex(prompt, "sk-dummy", &["model=\"gpt-test\""]).through_proxy(cordon, key)
            }
            (Self::Codex, Door::Gateway) => {
                let provider = format!(
                    "model_providers.cordon={{ name = \"Cordon\", base_url = \"https://localhost:{}/v1\", wire_api = \"responses\", env_key = \"OPENAI_API_KEY\" }}",
                    cordon.gateway().port()
                );
                let settings = [provider.as_str(), "model_provider=\"cordon\"", "model=\"gpt-test\""];
                Program::codex(prompt, key, &settings).trusting(cordon)
            }
            (Self::Claude, Door::Proxy) => Program::claude(prompt, "sk-ant-dummy").through_proxy(cordon, key),
            (Self::Claude, Door::Gateway) => Program::claude(prompt, key)
                .trusting(cordon)
                .with("ANTHROPIC_BASE_URL", &format!("https://localhost:{}", cordon.gateway().port())),
        }
        .run()
        .await
    }
}

/// An installation whose callers reach the upstream, and the upstream with the tests' answer.
async fn with_upstream() -> (Upstream, Upstream, Home) {
    let cloud = Upstream::behind_tls().await;
    cloud.answer(|seen| say(seen, ANSWER, Deltas::Of(3)));
    let on_prem = Upstream::in_place_of_engine().await;
    let plan = Plan {
        credentials: "sk-company-key",
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    };
    let home = Home::new(&plan);
    (cloud, on_prem, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_stream_an_answer_from_the_engine() {
    let cloud = Upstream::behind_tls().await;
    // The default policy: everything is answered by the engine.
    let plan = Plan {
        cloud: Some(&cloud),
        ..Plan::on(OnPrem::Url(engine::shared()))
    };
    let home = Home::new(&plan);
    let keys: Vec<_> = (0..LIBRARIES.len())
        .map(|number| home.key(&format!("user-{number}"), "staff"))
        .collect();
    let cordon = home.serve().await;
    for (number, library) in LIBRARIES.iter().enumerate() {
        for door in DOORS {
            let ran = library
                .run(door, &cordon, &keys[number], "Say hello in one short sentence.")
                .await;
            assert_eq!(
                ran.code,
                0,
                "{} by the {door:?}: {ran:?}\n{}",
                library.script,
                cordon.log()
            );
            assert!(
                ran.stdout.trim().len() > 2,
                "{} by the {door:?}: {ran:?}",
                library.script
            );
        }
        let user = format!("user-{number}");
        let records = home
            .searched_until(&["--user", &user, "--outcome", "completed"], |all| all.len() >= 2)
            .await;
        assert_eq!(records.len(), 2, "{} {records:#?}", library.script);
        for record in records {
            assert_eq!(record["opening"]["body"]["upstream"], "engine", "{record:#}");
            assert!(
                record["closing"]["body"]["output_tokens"].as_u64() > Some(0),
                "{record:#}"
            );
        }
    }
    assert!(cloud.seen().is_empty(), "a provider was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_show_the_refusal_of_a_secret_once() {
    let (cloud, on_prem, home) = with_upstream().await;
    let keys: Vec<_> = (0..LIBRARIES.len())
        .map(|number| home.key(&format!("user-{number}"), "staff"))
        .collect();
    let cordon = home.serve().await;
    for (number, library) in LIBRARIES.iter().enumerate() {
        for door in DOORS {
            let ran = library
                .run(
                    door,
                    &cordon,
                    &keys[number],
                    &format!("Is {} still valid?", secret()),
                )
                .await;
            assert_eq!(ran.code, 3, "{} by the {door:?}: {ran:?}", library.script);
            assert_shown_once(&ran);
        }
        assert_refused(&home, &format!("user-{number}"), 2).await;
    }
    assert_nothing_left(&cloud, &on_prem);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_complete_a_streamed_turn() {
    let (cloud, on_prem, home) = with_upstream().await;
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    for agent in [Agent::Codex, Agent::Claude] {
        for door in DOORS {
            cloud.forget();
            let ran = agent.run(door, &cordon, &key, "say PONG").await;
            let targets: Vec<String> = cloud.seen().into_iter().map(|seen| seen.target).collect();
            assert_eq!(
                ran.code,
                0,
                "{agent:?} by the {door:?}: {ran:?}\n{targets:?}\n{}",
                cordon.log()
            );
            assert!(ran.stdout.contains(ANSWER), "{agent:?} by the {door:?}: {ran:?}");
            let asked = cloud.asked();
            let largest = asked.iter().map(|seen| seen.body.len()).max().unwrap_or_default();
            assert!(
                largest > 10_000,
                "{agent:?} by the {door:?}: its largest prompt had {largest} bytes"
            );
            assert!(
                !cloud.knows(&key),
                "{agent:?} by the {door:?}: Cordon's key reached the provider"
            );
        }
    }
    assert!(
        on_prem.asked().is_empty(),
        "the engine was asked in the provider's place"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_show_the_refusal_of_a_secret_once() {
    let (cloud, on_prem, home) = with_upstream().await;
    let cases = [
        (Agent::Codex, Door::Proxy, "codex-proxy"),
        (Agent::Codex, Door::Gateway, "codex-gateway"),
        (Agent::Claude, Door::Proxy, "claude-proxy"),
        (Agent::Claude, Door::Gateway, "claude-gateway"),
    ];
    let keys: Vec<_> = cases.iter().map(|(_, _, user)| home.key(user, "staff")).collect();
    let cordon = home.serve().await;
    for ((agent, door, user), key) in cases.into_iter().zip(keys) {
        let ran = agent
            .run(door, &cordon, &key, &format!("is {} still valid?", secret()))
            .await;
        assert_ne!(ran.code, 0, "{agent:?} by the {door:?}: {ran:?}");
        assert!(
            ran.shows("secrets-stay") >= 1,
            "{agent:?} by the {door:?} shows no refusal: {ran:?}"
        );
        assert_refused(&home, user, 1).await;
    }
    assert_nothing_left(&cloud, &on_prem);
}

/// The user reads rule, type and advice, in one message.
fn assert_shown_once(ran: &Ran) {
    assert_eq!(ran.shows("error 400: "), 1, "{ran:?}");
    assert_eq!(ran.shows("secrets-stay"), 1, "{ran:?}");
    assert_eq!(ran.shows("Take the secret out"), 1, "{ran:?}");
    assert!(ran.shows("SECRET") >= 1, "{ran:?}");
    assert_eq!(ran.shows(&secret()), 0, "the refusal quotes the secret: {ran:?}");
}

/// Exactly so many exchanges of a user were blocked: nobody sent anything again.
async fn assert_refused(home: &Home, user: &str, count: usize) {
    let refused = home
        .searched_until(&["--user", user, "--decision", "block"], |all| all.len() >= count)
        .await;
    assert_eq!(refused.len(), count, "{user}: {refused:#?}");
    for record in &refused {
        assert_eq!(record["opening"]["body"]["rule"], "secrets-stay", "{record:#}");
        assert!(
            !record.to_string().contains(&secret()),
            "the record quotes the secret"
        );
    }
}

fn assert_nothing_left(cloud: &Upstream, on_prem: &Upstream) {
    for upstream in [cloud, on_prem] {
        assert!(!upstream.knows(&secret()), "the secret reached an upstream");
    }
}
