//! Starting, draining, and leaving with the parent.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::running::{Engine, weights};

fn ask(tokens: u32) -> Value {
    json!({"messages": [{"role": "user", "content": "Write on and on."}], "max_tokens": tokens, "logit_bias": {"0": -100, "2": -100}})
}

#[tokio::test]
async fn a_unix_socket_is_private_and_taken_over_when_stale() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    // A process that was killed leaves such a file.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut engine = Engine::start(&["--unix", socket.to_str().unwrap()]).await;
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(engine.chat(ask(2)).await.status, 200);
    // A second one must not take a socket that is served.
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_cordon-engine"))
        .args(["--log", "error", "--unix", socket.to_str().unwrap(), "--model"])
        .arg(weights())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process listens"));
    engine.signal("-TERM").await;
    assert!(engine.ended().await.success());
    assert!(!socket.exists(), "the socket's file is removed");
}

#[tokio::test]
async fn sigterm_lets_answers_finish() {
    let mut engine = Engine::start(&["--slots", "1"]).await;
    let mut stream = engine.stream(ask(60)).await;
    stream.under_way().await;
    let stopping = async {
        while engine.send("GET", "/health", "").await.body["waiting"] != 1 {}
        engine.signal("-TERM").await;
        stream.finish().await
    };
    let (waiting, (text, reason, _)) = tokio::join!(engine.chat(ask(5)), stopping);
    assert!(!text.is_empty());
    assert_eq!(reason, "length");
    assert_eq!(
        waiting.status, 200,
        "who was waiting is answered too: {}",
        waiting.body
    );
    assert!(engine.ended().await.success());
}

#[tokio::test]
async fn a_second_sigterm_and_the_parents_death_end_it_at_once() {
    for orphaned in [false, true] {
        let mut engine = Engine::start(&["--ctx", "8192"]).await;
        let mut stream = engine.stream(ask(8000)).await;
        stream.under_way().await;
        if orphaned {
            engine.orphan();
        } else {
            engine.signal("-TERM").await;
            // Draining is visible here: nobody new gets in, on a connection made before or after.
            stream.under_way().await;
            engine.signal("-INT").await;
        }
        assert!(engine.ended().await.success());
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF nonsense").unwrap();
    let template = folder.path().join("broken.jinja");
    std::fs::write(&template, "{% for %}").unwrap();
    let weights = weights();
    let cases: [(&str, Vec<&std::ffi::OsStr>); 3] = [
        (
            "is not a file",
            vec!["--model".as_ref(), "/nowhere.gguf".as_ref()],
        ),
        ("as GGUF weights", vec!["--model".as_ref(), broken.as_os_str()]),
        (
            "chat template",
            vec![
                "--model".as_ref(),
                weights.as_os_str(),
                "--chat-template".as_ref(),
                template.as_os_str(),
            ],
        ),
    ];
    for (expected, arguments) in cases {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_cordon-engine"))
            .args(["--log", "off"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains(expected) && said.trim_end().lines().count() == 1,
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}
