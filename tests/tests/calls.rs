//! Calls of gRPC through the proxy, by the package that programs use: inspected message by message in both directions.

use cordon_tests::{
    caller::{Caller, Door, Reply},
    calls::{Mirror, Service, Spoken, call, enveloped},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    encodings::{self, encoded},
    upstream::{Answer, Upstream, placeholders},
};
use serde_json::{Value, json};

const HOST: &str = "agent.notes.example";
/// Of several lengths, shorter and longer than what stands in for them.
const CANARIES: [&str; 3] = [
    "c@corp.example",
    "carla.canary@corp.example",
    "a.long.name.of.somebody.who.is.called.carla.canary@mail.of.the.department.whose.name.is.so.long.that.an.address.takes.more.than.one.byte.of.length.corp.example",
];

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

struct Stage {
    service: Service,
    home: Home,
    key: String,
    _others: [Upstream; 2],
}

impl Stage {
    async fn new(unknown: &str) -> Self {
        let service = Service::start(HOST).await;
        let cloud = Upstream::behind_tls().await;
        let on_prem = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan {
            policy: Some(POLICY_REQUESTED.replace("unknown: block", &format!("unknown: {unknown}"))),
            servers: &[(HOST, service.address, service.ca_pem())],
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        let key = home.key("ann", "staff");
        Self {
            service,
            home,
            key,
            _others: [cloud, on_prem],
        }
    }

    /// Nothing that was to stay is in what the service got.
    fn assert_kept(&self) {
        let log = self.service.log();
        for kept in CANARIES
            .iter()
            .map(|canary| (*canary).to_owned())
            .chain([secret()])
        {
            assert!(!log.contains(&kept), "{kept} left: {log}");
        }
    }

    /// What is recorded of the calls and their messages.
    async fn records(&self, count: usize) -> Vec<Value> {
        let records = self
            .home
            .searched_until(&["--user", "ann"], |all| {
                all.iter().filter(|record| record["closing"].is_object()).count() >= count
            })
            .await;
        assert_eq!(records.len(), count, "{records:#?}");
        records
    }
}

fn said(lines: &[Value]) -> Vec<String> {
    let texts = lines.iter().filter_map(|line| line["got"]["text"].as_str());
    texts.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_leave_stays_and_comes_back_in_the_answer() {
    let stage = Stage::new("inspect").await;
    let cordon = stage.home.serve().await;
    for method in ["Say", "Say+gzip", "Divide", "Gather"] {
        for canary in CANARIES {
            let text = format!("Write to {canary} today.");
            let lines = call(&cordon, &stage.key, HOST, method, &[&text]).await;
            assert_eq!(said(&lines).concat(), text, "{method}: {lines:?}");
            let last = lines.last().unwrap();
            assert_eq!(last["code"], "OK", "{method}: {lines:?}");
            // What a server says behind its answer arrives.
            let end = if method.starts_with("Say") {
                json!("fine")
            } else {
                Value::Null
            };
            assert_eq!(last["end"], end, "{method}");
        }
    }
    stage.assert_kept();
    let texts = stage.service.texts();
    assert_eq!(texts.len(), 12);
    for text in texts {
        assert_eq!(placeholders(&text).len(), 1, "{text}");
    }
    // One exchange a call: its only message came with it.
    for record in stage.records(12).await {
        let (opening, closing) = (&record["opening"]["body"], &record["closing"]["body"]);
        assert_eq!(
            (&opening["action"], &opening["upstream"]),
            (&json!("redact"), &json!(HOST)),
            "{record:#}"
        );
        assert_eq!(closing["outcome"], "completed", "{record:#}");
        assert!(opening["connection"].is_null(), "{record:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_answered_before_the_next_is_said() {
    let stage = Stage::new("inspect").await;
    let cordon = stage.home.serve().await;
    let texts: Vec<String> = CANARIES
        .iter()
        .map(|canary| format!("Write to {canary} today."))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let lines = call(&cordon, &stage.key, HOST, "Talk", &texts).await;
    assert_eq!(lines[0]["begun"], "fine", "{lines:?}");
    assert_eq!(said(&lines), texts);
    assert_eq!(lines.last().unwrap()["code"], "OK");
    stage.service.wrote("\"ended\"").await;
    stage.assert_kept();
    // The caller waited for the other end to speak first, so the head went up alone, and each message is an exchange.
    let records = stage.records(4).await;
    let (messages, calls): (Vec<&Value>, Vec<&Value>) = records
        .iter()
        .partition(|record| record["opening"]["body"]["connection"].is_string());
    assert_eq!((messages.len(), calls.len()), (3, 1), "{records:#?}");
    for message in messages {
        let opening = &message["opening"]["body"];
        assert_eq!(
            opening["connection"], calls[0]["opening"]["body"]["exchange"],
            "{message:#}"
        );
        assert_eq!(
            (&opening["action"], &opening["upstream"]),
            (&json!("redact"), &json!(HOST))
        );
        assert_eq!(message["closing"]["body"]["outcome"], "completed");
    }
    assert_eq!(calls[0]["closing"]["body"]["outcome"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_ends_the_call_with_a_status_and_is_not_sent() {
    let stage = Stage::new("inspect").await;
    let cordon = stage.home.serve().await;
    let wrong = format!("is {} valid?", secret());
    let refused = |lines: &[Value]| {
        let last = lines.last().unwrap();
        assert_eq!(last["code"], "PERMISSION_DENIED", "{lines:?}");
        let details = last["details"].as_str().unwrap();
        assert!(
            details.contains("secrets-stay") && !details.contains(&secret()),
            "{details}"
        );
    };
    for method in ["Say", "Divide", "Gather"] {
        refused(&call(&cordon, &stage.key, HOST, method, &[&wrong]).await);
    }
    assert!(stage.service.texts().is_empty());
    // In the midst of a conversation: the answer that had begun ends with it.
    let lines = call(
        &cordon,
        &stage.key,
        HOST,
        "Talk",
        &["hello", &wrong, "never said"],
    )
    .await;
    assert_eq!(said(&lines), ["hello"]);
    refused(&lines);
    // Before any answer has begun.
    refused(&call(&cordon, &stage.key, HOST, "Gather", &["hello", &wrong]).await);
    stage.assert_kept();
    // Three refused at once; two calls, of which the second took its first message along, a message that went, and two
    // that did not.
    let records = stage.records(8).await;
    let blocked: Vec<&Value> = records
        .iter()
        .filter(|record| record["opening"]["body"]["rule"] == "secrets-stay")
        .collect();
    assert_eq!(blocked.len(), 5, "{records:#?}");
    for record in &records {
        let refused = blocked.iter().any(|blocked| std::ptr::eq(*blocked, record));
        let opening = &record["opening"]["body"];
        let goes_on = !refused && opening["connection"].is_string();
        let expected = if goes_on { "completed" } else { "refused" };
        assert_eq!(record["closing"]["body"]["outcome"], expected, "{record:#}");
        assert!(!record.to_string().contains(&secret()));
    }
    assert!(!cordon.log().contains(&secret()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_says_of_a_failure_arrives() {
    let stage = Stage::new("inspect").await;
    let cordon = stage.home.serve().await;
    let text = format!("100 % of {}", CANARIES[1]);
    let lines = call(&cordon, &stage.key, HOST, "Fail", &[&text]).await;
    assert_eq!(said(&lines), [text.as_str()]);
    assert_eq!(
        lines[1],
        json!({"code": "NOT_FOUND", "details": format!("no note of {text}")})
    );
    stage.assert_kept();
    let records = stage.records(1).await;
    assert_eq!(records[0]["closing"]["body"]["outcome"], "upstream_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_refused_or_passes_as_the_policy_says() {
    let stage = Stage::new("block").await;
    let cordon = stage.home.serve().await;
    let lines = call(&cordon, &stage.key, HOST, "Say", &["hello"]).await;
    assert_eq!(lines[0]["code"], "INVALID_ARGUMENT", "{lines:?}");
    assert!(stage.service.log().is_empty());

    let stage = Stage::new("pass").await;
    let cordon = stage.home.serve().await;
    let texts = [CANARIES[0], CANARIES[1]];
    let lines = call(&cordon, &stage.key, HOST, "Talk", &texts).await;
    assert_eq!(said(&lines), texts, "{lines:?}");
    assert_eq!(lines.last().unwrap()["code"], "OK");
    stage.service.wrote("\"ended\"").await;
    stage.records(1).await;
    cordon.terminate().await;
    assert!(stage.home.keeps("\"reason\":\"unknown_shape\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protocol_is_answered_and_refused_in_its_own_form() {
    let mirror = Mirror::start(HOST).await;
    let cloud = Upstream::behind_tls().await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        policy: Some(POLICY_REQUESTED.replace("unknown: block", "unknown: inspect")),
        servers: &[(HOST, mirror.address, mirror.ca_pem())],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    for kind in [
        "application/grpc",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/connect+proto",
    ] {
        let text = format!("Write to {} today.", CANARIES[1]);
        let begun = Spoken::begin(&caller, HOST, "/notes.Notes/Talk", kind, &enveloped(&text)).await;
        let mut spoken = begun.unwrap_or_else(|error| panic!("{kind}: {error}\n{}", cordon.log()));
        assert_eq!(spoken.headers["content-type"], kind);
        let heard = spoken.hear().await.unwrap();
        assert_eq!(heard, Some((0, enveloped(&text)[5..].to_vec())), "{kind}");
        // In pieces, of which the last holds the secret.
        let wrong = enveloped(&format!("is {} valid?", secret()));
        let (first, last) = wrong.split_at(9);
        spoken.say(first).await.unwrap();
        spoken.say(last).await.unwrap();
        let end = spoken.hear().await.unwrap();
        let told = match kind {
            "application/grpc" => {
                assert_eq!(
                    (end, spoken.trailers["grpc-status"].as_bytes()),
                    (None, &b"7"[..])
                );
                spoken.trailers["grpc-message"].to_str().unwrap().to_owned()
            }
            "application/connect+proto" => {
                let (flags, message) = end.expect("the envelope that ends the stream");
                let message: Value = serde_json::from_slice(&message).unwrap();
                assert_eq!(
                    (flags, &message["error"]["code"]),
                    (2, &json!("permission_denied"))
                );
                message["error"]["message"].as_str().unwrap().to_owned()
            }
            _ => {
                let (flags, message) = end.unwrap_or_else(|| panic!("{kind}: an envelope of trailers"));
                let message = String::from_utf8(message).unwrap();
                assert!(
                    flags == 0x80 && message.starts_with("grpc-status: 7\r\n"),
                    "{message}"
                );
                message
            }
        };
        assert!(
            told.contains("secrets-stay") && !told.contains(&secret()),
            "{kind}: {told}"
        );
        assert_eq!(spoken.hear().await.unwrap(), None, "{kind}");
    }
    // A single call of Connect, in JSON.
    let wrong = json!({"text": secret()}).to_string().into_bytes();
    let mut line = caller.line(HOST, true).await.unwrap();
    let told = [
        ("content-type", "application/json"),
        ("connect-protocol-version", "1"),
    ];
    let answer = line
        .begin("POST", "/notes.Notes/Say", wrong, &told)
        .await
        .unwrap();
    let answer = Reply::read(answer).await.unwrap();
    let (status, error) = (answer.status.as_u16(), answer.json());
    assert_eq!(
        (status, &error["code"]),
        (403, &json!("permission_denied")),
        "{error}"
    );
    // What was cut off is no whole request to the server.
    assert_eq!(mirror.whole(), 0);
    let text = format!("Write to {} today.", CANARIES[1]);
    let mut spoken = Spoken::begin(
        &caller,
        HOST,
        "/notes.Notes/Talk",
        "application/grpc-web",
        &enveloped(&text),
    )
    .await
    .unwrap();
    spoken.hear().await.unwrap();
    spoken.end();
    assert_eq!(spoken.hear().await.unwrap(), None);
    assert_eq!(mirror.whole(), 1);
    let got = String::from_utf8_lossy(&mirror.got()).into_owned();
    assert_eq!(got.matches("Write to [EMAIL_").count(), 5, "{got:?}");
    assert!(!got.contains(CANARIES[1]) && !got.contains(&secret()), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_originals_back_whatever_their_messages_are_compressed_with() {
    /// One of the hosts that the stand-in has a certificate for.
    const NOTES: &str = "api.openai.com";
    let cloud = Upstream::behind_tls().await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        policy: Some(POLICY_REQUESTED.replace("unknown: block", "unknown: inspect")),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let text = format!("Write to {} today.", CANARIES[1]);
    let kind = "application/connect+proto";
    for encoding in encodings::ALL {
        cloud.answer(move |seen| {
            let message = encoded(encoding, &seen.body[5..]);
            let length = u32::try_from(message.len()).unwrap_or_default();
            let envelope = [&[1][..], &length.to_be_bytes(), &message].concat();
            let end = [&[2, 0, 0, 0, 2][..], b"{}"].concat();
            Answer::new(200, kind, [envelope, end].concat()).with_header("connect-content-encoding", encoding)
        });
        let mut line = caller.line(NOTES, true).await.unwrap();
        let answer = line
            .begin(
                "POST",
                "/notes.Notes/Talk",
                enveloped(&text),
                &[("content-type", kind)],
            )
            .await
            .unwrap();
        let reply = Reply::read(answer).await.unwrap();
        let end = [&[2, 0, 0, 0, 2][..], b"{}"].concat();
        assert_eq!(
            reply.body,
            [enveloped(&text), end].concat(),
            "{encoding}: {}",
            reply.text()
        );
        let seen = cloud.seen().pop().expect("it was asked");
        assert_eq!(seen.header("connect-accept-encoding"), Some(&b"gzip"[..]));
        assert!(!cloud.knows(CANARIES[1]), "{encoding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_calls_are_known_where_nothing_unknown_passes() {
    const CURSOR: &str = "api2.cursor.sh";
    let mirror = Mirror::start(CURSOR).await;
    let cloud = Upstream::behind_tls().await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        servers: &[(CURSOR, mirror.address, mirror.ca_pem())],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let text = format!("Write to {} today.", CANARIES[1]);
    let (path, kind) = ("/agent.v1.AgentService/Run", "application/connect+proto");
    let begun = Spoken::begin(&caller, CURSOR, path, kind, &enveloped(&text)).await;
    let mut spoken = begun.unwrap_or_else(|error| panic!("{error}\n{}", cordon.log()));
    let answered = Some((0, enveloped(&text)[5..].to_vec()));
    assert_eq!(spoken.hear().await.unwrap(), answered);
    spoken.say(&enveloped(&text)).await.unwrap();
    assert_eq!(spoken.hear().await.unwrap(), answered);
    spoken.end();
    assert_eq!(spoken.hear().await.unwrap(), None);
    let got = String::from_utf8_lossy(&mirror.got()).into_owned();
    assert_eq!(got.matches("Write to [EMAIL_").count(), 2, "{got:?}");
    let records = home
        .searched_until(&["--user", "ann"], |all| {
            all.iter().filter(|record| record["closing"].is_object()).count() >= 2
        })
        .await;
    for record in &records {
        let opening = &record["opening"]["body"];
        assert_eq!(
            (&opening["dialect"], &opening["path"]),
            (&json!("cursor"), &json!(path))
        );
    }
}
