//! How much records keep, as the policy says it by who asks: of messages over a WebSocket and of calls of gRPC the same as of plain requests.

use std::process::Command;

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    calls::{Service, call},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, say},
    sockets::Socket,
    upstream::Upstream,
};
use serde_json::{Value, json};

const SOCKET_HOST: &str = "api.openai.com";
const CALL_HOST: &str = "agent.notes.example";
const CANARY: &str = "carla.canary@corp.example";
const LEVELS: [&str; 4] = ["none", "metadata", "redacted", "full"];

fn policy() -> String {
    let mut policy = String::from("records:\n");
    for level in LEVELS {
        policy += &format!("  - {{ when: '\"{level}\" in actor.groups', level: {level} }}\n");
    }
    policy + &POLICY_REQUESTED.replace("unknown: block", "unknown: inspect")
}

struct Stage {
    home: Home,
    /// A user of each level.
    keys: [String; 4],
    approvers: tempfile::TempDir,
}

impl Stage {
    fn new(plan: Plan<'_>) -> Self {
        let approvers = tempfile::tempdir().expect("a directory");
        let lines = ["bob", "cat"].map(|name| {
            let made = Command::new(Places::cordon())
                .args(["audit", "approver", "create", name, "--key"])
                .arg(approvers.path().join(name))
                .output()
                .expect("the binary can be run");
            String::from_utf8_lossy(&made.stdout).trim().to_owned()
        });
        let home = Home::new(&Plan {
            policy: Some(policy()),
            further: format!("audit: {{ approvers: ['{}', '{}'] }}\n", lines[0], lines[1]),
            ..plan
        });
        let keys = LEVELS.map(|level| home.key(&format!("user.{level}"), level));
        Self {
            home,
            keys,
            approvers,
        }
    }

    /// What is kept of a part of an exchange; nothing, where the answer is no.
    fn kept(&self, exchange: &str, part: &str) -> Option<String> {
        let run = |arguments: &[&str]| {
            let ran = self.home.try_run(arguments);
            let told = String::from_utf8_lossy(&ran.stdout).into_owned();
            match ran.status.code() {
                Some(0) => Some(told),
                Some(1) => None,
                _ => panic!("{arguments:?} {ran:?}"),
            }
        };
        let request = [
            "audit",
            "reveal",
            "request",
            "--reason",
            "a test",
            "--exchange",
            exchange,
            "--part",
            part,
        ];
        let id = run(&request).expect("it can be asked for");
        for name in ["bob", "cat"] {
            let key = self.approvers.path().join(name).display().to_string();
            let approve = [
                "audit",
                "reveal",
                "approve",
                id.trim(),
                "--key",
                &key,
                "--as",
                name,
            ];
            run(&approve).expect("it can be approved");
        }
        run(&["audit", "reveal", "open", id.trim()])
    }

    /// That the one exchange of theirs that held the canary is recorded at that level, and what is kept of it is what the level says.
    async fn assert_recorded(&self, level: &str) {
        let user = match level {
            // Who it was stands nowhere.
            "none" => "unrecorded".to_owned(),
            level => format!("user.{level}"),
        };
        let whole = |rows: &[Value]| !rows.is_empty() && rows.iter().all(|row| row["closing"].is_object());
        let rows = self.home.searched_until(&["--user", &user], whole).await;
        let has = |row: &&Value| match level {
            "none" => row["opening"]["body"]["action"] == "redact",
            _ => row["opening"]["body"]["entities"]["EMAIL"].is_u64(),
        };
        let found: Vec<&Value> = rows.iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{level}: {rows:#?}");
        let (opening, closing) = (&found[0]["opening"]["body"], &found[0]["closing"]["body"]);
        let exchange = found[0]["exchange"].as_str().expect("an id");
        let sealed = matches!(level, "redacted" | "full").then_some(level);
        for body in [opening, closing] {
            assert_eq!(body["payload"]["level"].as_str(), sealed, "{level}: {body:#}");
        }
        assert_eq!(closing["outcome"], "completed", "{closing:#}");
        if level == "none" {
            for row in &rows {
                let (opening, closing) = (&row["opening"]["body"], &row["closing"]["body"]);
                for field in ["host", "model", "request_commitment", "entities"] {
                    let empty = opening[field].is_null() || opening[field] == json!({});
                    assert!(empty, "{field}: {opening:#}");
                }
                assert_eq!(
                    (&opening["path"], &opening["request_bytes"]),
                    (&json!(""), &json!(0))
                );
                assert!(closing["reply_commitment"].is_null(), "{closing:#}");
            }
        } else {
            assert!(opening["request_commitment"].is_string(), "{opening:#}");
        }
        for part in ["request", "reply"] {
            let kept = self.kept(exchange, part);
            match level {
                "full" => {
                    let kept = kept.unwrap_or_default();
                    assert!(
                        kept.contains(CANARY) && !kept.contains("[EMAIL_"),
                        "{part}: {kept}"
                    );
                }
                "redacted" => {
                    let kept = kept.unwrap_or_default();
                    assert!(!kept.contains(CANARY), "{part}: {kept}");
                    assert!(kept.contains("[EMAIL_"), "{part}: {kept}");
                }
                _ => assert_eq!(kept, None, "{level} {part}"),
            }
        }
    }

    /// What was sent lies nowhere in the clear; and everything verifies.
    async fn end(self, cordon: Cordon) {
        let verified = self.home.run(&["audit", "verify"]);
        assert!(
            String::from_utf8_lossy(&verified.stdout).starts_with("ok "),
            "{verified:?}"
        );
        assert_eq!(cordon.terminate().await, Some(0));
        for kept in [CANARY, "user.none", "user.full"] {
            let listed = self.home.path().join("state/keys.json");
            // Whose the keys are stands in their list alone.
            std::fs::remove_file(&listed).ok();
            assert!(!self.home.keeps(kept), "{kept}");
        }
    }
}

/// The provider's side of the Responses dialect: it says the input back at once.
fn responses(message: &str) -> Vec<Option<String>> {
    let asked: Value = serde_json::from_str(message).unwrap_or_default();
    let said = asked["input"].as_str().unwrap_or_default();
    let events = [
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": said}),
        json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": said}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "model": "gpt-x", "output": []}}),
    ];
    events.into_iter().map(|event| Some(event.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_a_websocket_is_kept_as_the_policy_says() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.speak(responses);
    let stage = Stage::new(Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let cordon = stage.home.serve().await;
    for key in &stage.keys {
        let caller = Caller::new(&cordon, Door::Proxy, key);
        let mut socket = Socket::open(&caller, SOCKET_HOST, "/v1/responses")
            .await
            .expect("Cordon answers")
            .expect("the handshake is taken");
        let message =
            json!({"type": "response.create", "model": "gpt-x", "input": format!("write to {CANARY}")});
        socket.say(&message).await.expect("it goes out");
        let heard = socket.hear_until("response.completed").await.expect("an answer");
        assert!(heard[0].to_string().contains(CANARY), "{heard:?}");
        socket
            .send(tungstenite::Message::Close(None))
            .await
            .expect("it goes out");
        socket.closed().await;
    }
    for level in LEVELS {
        stage.assert_recorded(level).await;
    }
    stage.end(cordon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_is_kept_as_the_policy_says() {
    let service = Service::start(CALL_HOST).await;
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "unused", Deltas::Whole));
    let stage = Stage::new(Plan {
        servers: &[(CALL_HOST, service.address, service.ca_pem())],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let cordon = stage.home.serve().await;
    for key in &stage.keys {
        let text = format!("write to {CANARY}");
        let lines = call(&cordon, key, CALL_HOST, "Say", &[&text]).await;
        assert_eq!(lines.last().expect("an end")["code"], "OK", "{lines:?}");
    }
    for level in LEVELS {
        stage.assert_recorded(level).await;
    }
    stage.end(cordon).await;
}
