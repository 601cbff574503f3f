//! The tests' own equipment, without Cordon between: what a client program does with the answers of
//! the recording upstream when nothing stands in the way. A failure here is the tests', not Cordon's.

use cordon_tests::{
    program::Program,
    replies::{Deltas, say},
    upstream::Upstream,
};

const ANSWER: &str = "PONG from far away";

async fn upstream() -> (Upstream, tempfile::TempDir, String) {
    let upstream = Upstream::behind_tls().await;
    upstream.answer(|seen| say(seen, ANSWER, Deltas::Of(3)));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, upstream.ca_pem()).expect("the temporary folder takes files");
    (upstream, folder, ca.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_libraries_read_the_upstreams_streams() {
    let (upstream, _folder, ca) = upstream().await;
    let openai = format!("{}/v1", upstream.url());
    for program in [
        Program::python("openai_chat.py", &["chat", "m", "ping"]).with("OPENAI_BASE_URL", &openai),
        Program::python("openai_chat.py", &["responses", "m", "ping"]).with("OPENAI_BASE_URL", &openai),
        Program::python("anthropic_messages.py", &["m", "ping"]).with("ANTHROPIC_BASE_URL", &upstream.url()),
        Program::node("openai_chat.mjs", &["m", "ping"]).with("OPENAI_BASE_URL", &openai),
    ] {
        let ran = program
            .with("SSL_CERT_FILE", &ca)
            .with("NODE_EXTRA_CA_CERTS", &ca)
            .with("OPENAI_API_KEY", "sk-dummy")
            .with("ANTHROPIC_API_KEY", "sk-dummy")
            .run()
            .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(ANSWER), "{ran:?}");
    }
    assert_eq!(upstream.asked().len(), 4);
    assert!(upstream.knows("ping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_completes_a_turn() {
    let (upstream, _folder, ca) = upstream().await;
    let provider = format!(
        "model_providers.direct={{ name = \"direct\", base_url = \"{}/v1\", wire_api = \"responses\", env_key = \"OPENAI_API_KEY\" }}",
        upstream.url()
    );
    let ran = Program::codex(
        "say PONG",
        "sk-dummy",
        &[&provider, "model_provider=\"direct\"", "model=\"gpt-test\""],
    )
    .with("SSL_CERT_FILE", &ca)
    .run()
    .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains(ANSWER), "{ran:?}");
    let asked = upstream.asked();
    assert_eq!(asked.len(), 1, "{ran:?}");
    assert!(
        asked[0].body.len() > 10_000,
        "codex sends its instructions along: {}",
        asked[0].body.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_completes_a_turn() {
    let (upstream, _folder, ca) = upstream().await;
    let ran = Program::claude("say PONG", "sk-ant-dummy")
        .with("ANTHROPIC_BASE_URL", &upstream.url())
        .with("NODE_EXTRA_CA_CERTS", &ca)
        .with("SSL_CERT_FILE", &ca)
        .run()
        .await;
    let targets: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(ran.code, 0, "{ran:?}\n{targets:?}");
    assert!(ran.stdout.contains(ANSWER), "{ran:?}");
    let asked = upstream.asked();
    assert!(
        asked.iter().any(|seen| seen.body.len() > 10_000),
        "claude sends its instructions along"
    );
}
