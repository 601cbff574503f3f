//! Requests to Amazon that Cordon signs with the company's credentials: what was edited stands there as if its caller had
//! written it so. `boto3` asks, and `botocore` itself says whether what the provider got is signed as it must be.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_tests::{
    caller::Door,
    calls,
    cordon::{Cordon, Home, OnPrem, Plan},
    coverage::framing::framed,
    program::{Program, Ran},
    replies::Deltas,
    upstream::{Answer, Seen, Upstream},
};
use serde_json::json;

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

/// Key ids and secrets of nobody's: the company's, and a caller's own.
const OURS: (&str, &str) = ("COMPANYKEYID", "the/companys+secret");
const THEIRS: (&str, &str) = ("CALLERSKEYID", "the/callers+secret");

const POLICY: &str = r#"
unknown: block
routes:
  - { id: bedrock, when: 'true', to: bedrock-runtime-us-east-1-amazonaws-com }
rules:
  - { id: personal-data, entities: [EMAIL], action: redact }
  - { id: the-rest, entities: ["*"], action: allow }
"#;

struct Scene {
    cloud: Upstream,
    _on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Scene {
    async fn new() -> Self {
        let keys = format!(
            "access_key_id: {}, secret_access_key: '${{file:aws-secret}}'",
            OURS.0
        );
        Self::with(&keys, POLICY).await
    }

    /// With these credentials of the company's.
    async fn with(keys: &str, policy: &str) -> Self {
        let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
        let home = Home::new(&Plan {
            hosts: &[(BEDROCK, "bedrock-converse")],
            policy: Some(policy.to_owned()),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        home.write("aws-id", &format!("{}\n", OURS.0));
        home.write("aws-secret", &format!("{}\n", OURS.1));
        home.write("aws-token", "the-first-session\n");
        let config = home.path().join("cordon.yaml");
        let written = fs::read_to_string(&config).expect("the configuration is there");
        let aws = format!("dialects: [bedrock-converse], aws: {{ {keys} }} }}");
        home.write(
            "cordon.yaml",
            &written.replace("dialects: [bedrock-converse] }", &aws),
        );
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        cloud.answer(echo);
        Self {
            cloud,
            _on_prem: on_prem,
            home,
            cordon,
            key,
        }
    }

    async fn ask(&self, door: Door, mode: &str, prompt: &str) -> Ran {
        let program = Program::python("bedrock_converse.py", &[mode, CLAUDE, prompt])
            .with("AWS_DEFAULT_REGION", "us-east-1")
            .with("AWS_CA_BUNDLE", &self.cordon.bundle().display().to_string());
        let program = match door {
            Door::Gateway => program
                .with(
                    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
                    &format!("https://localhost:{}", self.cordon.gateway().port()),
                )
                .with("AWS_BEARER_TOKEN_BEDROCK", &self.key),
            // Who has credentials of their own signs by them.
            Door::Proxy => program
                .through_proxy(&self.cordon, &self.key)
                .with("AWS_ACCESS_KEY_ID", THEIRS.0)
                .with("AWS_SECRET_ACCESS_KEY", THEIRS.1)
                .with("AWS_SESSION_TOKEN", "the-callers-session"),
        };
        program.run().await
    }
}

/// Repeats the placeholders that it got, in pieces where it streams.
fn echo(seen: &Seen) -> Answer {
    let named = seen.placeholders();
    let said = format!("PONG about {}.", named.last().map_or("nobody", String::as_str));
    let usage = json!({"inputTokens": 11, "outputTokens": 7, "totalTokens": 18});
    if !seen.path().ends_with("/converse-stream") {
        let reply = json!({"output": {"message": {"role": "assistant", "content": [{"text": said}]}},
            "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}});
        return Answer::new(200, "application/json", reply.to_string());
    }
    let mut events = vec![json!({"messageStart": {"role": "assistant"}})];
    events.extend(
        Deltas::Of(3)
            .divide(&said)
            .iter()
            .map(|piece| json!({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": piece}}})),
    );
    events.extend([
        json!({"contentBlockStop": {"contentBlockIndex": 0}}),
        json!({"messageStop": {"stopReason": "end_turn"}}),
        json!({"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}),
    ]);
    let events: Vec<String> = events.iter().map(ToString::to_string).collect();
    framed("event-stream", events.iter())
}

/// What `botocore` says about the signature of a request that came to Bedrock.
async fn checked(seen: &Seen, body: &[u8]) -> Ran {
    checked_by(OURS, seen, body).await
}

async fn checked_by((id, secret): (&str, &str), seen: &Seen, body: &[u8]) -> Ran {
    let headers: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(value)))
        .collect();
    let request = json!({
        "method": seen.method,
        "url": format!("https://{BEDROCK}{}", seen.target),
        "headers": headers,
        "body": STANDARD.encode(body),
    })
    .to_string();
    let arguments = [id, secret, "us-east-1", "bedrock", &request];
    Program::python("check_signature.py", &arguments).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_request_is_signed_again_with_the_companys_credentials() {
    let scene = Scene::new().await;
    let prompt = format!("Write to {EMAIL}.");
    for door in [Door::Proxy, Door::Gateway] {
        for mode in ["plain", "stream"] {
            let ran = scene.ask(door, mode, &prompt).await;
            assert_eq!(ran.code, 0, "{door:?} {mode}: {ran:?}\n{}", scene.cordon.log());
            assert_eq!(
                ran.stdout.trim_end(),
                format!("PONG about {EMAIL}.\nended end_turn 11 7"),
                "{door:?} {mode}"
            );
            let seen = scene.cloud.seen().pop().expect("the provider was asked");
            assert!(seen.target.contains("v1%3A0/converse"), "{}", seen.target);
            assert_eq!(seen.placeholders().len(), 1, "the address is replaced");
            let fits = checked(&seen, &seen.body).await;
            assert_eq!(
                (fits.code, fits.stdout.trim()),
                (0, "fits"),
                "{door:?} {mode}: {fits:?}"
            );
            // It is no signature over anything else.
            let other = checked(&seen, b"{}").await;
            assert_eq!(other.code, 3, "{other:?}");
        }
    }
    for theirs in [THEIRS.0, "the-callers-session", EMAIL, OURS.1, scene.key.as_str()] {
        assert!(!scene.cloud.knows(theirs), "{theirs} reached the provider");
    }
    let log = scene.home.log();
    assert!(!log.contains(OURS.0) && !log.contains(OURS.1), "{log}");
}

/// Temporary credentials end, and whoever fetches them writes others into their files.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_taken_up_from_their_files_when_they_change() {
    const NEXT: (&str, &str) = ("NEXTKEYID", "the/next+secret");
    let keys = "access_key_id: '${file:aws-id}', secret_access_key: '${file:aws-secret}', session_token: '${file:aws-token}'";
    let scene = Scene::with(keys, POLICY).await;
    let asked = async || {
        let ran = scene.ask(Door::Gateway, "plain", "hello").await;
        assert_eq!(ran.code, 0, "{ran:?}\n{}", scene.cordon.log());
        scene.cloud.seen().pop().expect("the provider was asked")
    };
    let seen = asked().await;
    assert_eq!(
        seen.header("x-amz-security-token"),
        Some(&b"the-first-session"[..])
    );
    assert_eq!(checked(&seen, &seen.body).await.code, 0);

    scene.home.write("aws-id", NEXT.0);
    scene.home.write("aws-secret", NEXT.1);
    scene.home.write("aws-token", "the-next-session");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let seen = loop {
        let seen = asked().await;
        if seen.header("x-amz-security-token") == Some(&b"the-next-session"[..]) {
            break seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", scene.home.log());
    };
    let fits = checked_by(NEXT, &seen, &seen.body).await;
    assert_eq!((fits.code, fits.stdout.trim()), (0, "fits"), "{fits:?}");

    // What cannot be read leaves them in force, and is told of without a word of theirs.
    fs::remove_file(scene.home.path().join("aws-secret")).expect("it is there");
    while !scene.home.log().contains("cannot be read again") {
        assert!(tokio::time::Instant::now() < deadline, "{}", scene.home.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = asked().await;
    assert_eq!(checked_by(NEXT, &seen, &seen.body).await.code, 0);
    let log = scene.home.log();
    for secret in [OURS.1, NEXT.0, NEXT.1, "-session"] {
        assert!(!log.contains(secret), "{log}");
    }
}

/// A signature covers the whole body, and a call is said message by message.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_provider_whose_requests_are_signed_is_refused_and_says_why() {
    let keys = format!("access_key_id: {}, secret_access_key: {}", OURS.0, OURS.1);
    let scene = Scene::with(&keys, &POLICY.replace("unknown: block", "unknown: inspect")).await;
    let lines = calls::call(&scene.cordon, &scene.key, BEDROCK, "Say", &["hello"]).await;
    let last = lines.last().expect("it ends");
    assert_eq!(last["code"], "INVALID_ARGUMENT", "{lines:?}");
    let details = last["details"].as_str().expect("it says why");
    assert!(details.contains("Cordon signs whole requests"), "{details}");
    assert!(scene.cloud.seen().is_empty());
}
