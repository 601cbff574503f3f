//! WebSockets through the real program: the Responses and Realtime dialects, inspected both ways.

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    program::Program,
    replies::{Deltas, say},
    sockets::Socket,
    upstream::{Answer, Piece, Upstream, placeholders},
};
use serde_json::{Value, json};
use tungstenite::{Bytes, Message};

const HOST: &str = "api.openai.com";
const RESPONSES: &str = "/v1/responses";
/// A web application whose frames a file describes.
const APP: &str = "m365.cloud.microsoft";
/// Another, whose messages are bare JSON.
const CONSUMERS: &str = "copilot.microsoft.com";
const COPILOT: &str = "api.githubcopilot.com";
const CANARY: &str = "carla.canary@corp.example";

/// An access key id of nobody's; written in two halves, so that this file holds none.
fn secret() -> String {
    ["AKIA", "5QZ7XK2PWNDV3MRT"].concat()
}

struct Stage {
    cloud: Upstream,
    on_prem: Upstream,
    home: Home,
    key: String,
}

impl Stage {
    async fn new(policy: Option<String>) -> Self {
        let cloud = Upstream::behind_tls().await;
        cloud.speak(responses);
        let on_prem = Upstream::in_place_of_engine().await;
        on_prem.answer(|seen| say(seen, "PONG from the building", Deltas::Of(3)));
        let home = Home::new(&Plan {
            policy,
            apps: &[APP, CONSUMERS],
            hosts: &[(COPILOT, "")],
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        let key = home.key("ann", "staff");
        Self {
            cloud,
            on_prem,
            home,
            key,
        }
    }

    async fn requested() -> Self {
        Self::new(Some(POLICY_REQUESTED.to_owned())).await
    }

    fn caller(&self, cordon: &Cordon) -> Caller {
        Caller::new(cordon, Door::Proxy, &self.key)
    }

    async fn open(&self, cordon: &Cordon, path: &str) -> Socket {
        let opened = Socket::open(&self.caller(cordon), HOST, path)
            .await
            .expect("Cordon answers");
        opened.unwrap_or_else(|refused| panic!("{refused:?}\n{}", cordon.log()))
    }
}

/// The provider's side of the Responses dialect: it says the input back, three letters at a time.
fn responses(message: &str) -> Vec<Option<String>> {
    let asked: Value = serde_json::from_str(message).unwrap_or_default();
    if asked["type"] != "response.create" {
        return Vec::new();
    }
    let input = asked["input"].as_str().unwrap_or_default().to_owned();
    let text = format!("You said {input}.");
    let mut events =
        vec![json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x"}})];
    let letters: Vec<char> = text.chars().collect();
    for piece in letters.chunks(3) {
        let delta: String = piece.iter().collect();
        events.push(json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": delta}));
    }
    events.push(
        json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": text}),
    );
    events.push(json!({"type": "response.completed", "response": {
        "id": "resp_1", "model": "gpt-x", "output": [], "usage": {"input_tokens": 7, "output_tokens": 9},
    }}));
    events.into_iter().map(|event| Some(event.to_string())).collect()
}

fn ask(input: &str) -> Value {
    json!({"type": "response.create", "model": "gpt-x", "input": input})
}

/// The text that the deltas make.
fn told(heard: &[Value]) -> String {
    heard
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_leave_stays_and_comes_back_in_the_answer() {
    let stage = Stage::requested().await;
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    // What the provider says in its handshake arrives, and what it agreed to with us does not.
    assert_eq!(socket.answer.headers()["x-turn-state"], "kept");
    let connection = socket.answer.headers()["x-cordon-exchange"]
        .to_str()
        .unwrap()
        .to_owned();
    let message = ask(&format!("write to {CANARY} today"));
    let length = message.to_string().len();
    for size in [length, 1, 7, length / 2] {
        socket.say_in_pieces(&message, size).await.unwrap();
        let heard = socket.hear_until("response.completed").await.unwrap();
        assert_eq!(
            told(&heard),
            format!("You said write to {CANARY} today."),
            "pieces of {size}"
        );
        let done = heard
            .iter()
            .find(|event| event["type"] == "response.output_text.done")
            .unwrap();
        assert_eq!(done["text"], format!("You said write to {CANARY} today."));
    }
    assert!(!stage.cloud.knows(CANARY), "the canary left");
    let sent = stage.cloud.messages();
    assert_eq!(sent.len(), 4);
    assert_eq!(
        placeholders(sent[0]["input"].as_str().unwrap()).len(),
        1,
        "{sent:?}"
    );
    socket.send(Message::Close(None)).await.unwrap();
    // Four exchanges that name their connection, and the connection itself.
    let records = stage
        .home
        .searched_until(&["--outcome", "completed"], |all| all.len() >= 5)
        .await;
    let of = |record: &Value, name: &str| record["opening"]["body"][name].clone();
    let messages: Vec<&Value> = records
        .iter()
        .filter(|record| of(record, "connection") == connection.as_str())
        .collect();
    assert_eq!((records.len(), messages.len()), (5, 4), "{records:#?}");
    for record in messages {
        assert_eq!(of(record, "action"), "redact");
        assert_eq!(of(record, "upstream"), "openai");
        assert_eq!(record["closing"]["body"]["output_tokens"], 9, "{record:#}");
        assert!(!record.to_string().contains(CANARY));
    }
    assert!(!cordon.log().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_message_is_told_and_the_connection_goes_on() {
    let stage = Stage::requested().await;
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    for wrong in [
        ask(&format!("is {} valid?", secret())),
        json!({"type": "response.note", "deep": [{"x": secret()}]}),
    ] {
        socket.say(&wrong).await.unwrap();
        let told = socket.hear().await.unwrap();
        assert_eq!(
            (&told["type"], &told["status"]),
            (&json!("error"), &json!(400)),
            "{told}"
        );
        assert_eq!(told["error"]["code"], "cordon_policy_block");
        assert!(
            told["error"]["message"]
                .as_str()
                .unwrap()
                .contains("secrets-stay"),
            "{told}"
        );
        assert!(!told.to_string().contains(&secret()));
    }
    for (shapeless, status) in [
        (json!({"no": "type"}), 400),
        (json!({"type": "response.create", "input": 5}), 400),
    ] {
        socket.say(&shapeless).await.unwrap();
        assert_eq!(socket.hear().await.unwrap()["status"], status);
    }
    socket.send(Message::binary(b"bytes".to_vec())).await.unwrap();
    assert_eq!(
        socket.hear().await.unwrap()["error"]["code"],
        "cordon_not_offered"
    );
    socket.say(&ask("still here")).await.unwrap();
    let heard = socket.hear_until("response.completed").await.unwrap();
    assert_eq!(told(&heard), "You said still here.");
    assert_eq!(stage.cloud.messages().len(), 1);
    assert!(!stage.cloud.knows(&secret()), "the secret left");
    let blocked = stage
        .home
        .searched_until(&["--decision", "block"], |all| all.len() >= 2)
        .await;
    assert!(
        blocked
            .iter()
            .all(|record| record["opening"]["body"]["rule"] != "secrets-stay"
                || record["opening"]["body"]["connection"].is_string()),
        "{blocked:#?}"
    );
    assert_eq!(
        blocked
            .iter()
            .filter(|record| record["opening"]["body"]["rule"] == "secrets-stay")
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_handshake_opens_nothing_and_a_refusal_is_passed_on() {
    let stage = Stage::requested().await;
    let cordon = stage.home.serve().await;
    let caller = stage.caller(&cordon);
    let refused = Socket::open_with(&caller, HOST, RESPONSES, &[("x-note", &secret())])
        .await
        .unwrap();
    let refused = refused.err().expect("the policy blocks it");
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (400, &json!("cordon_policy_block"))
    );
    assert!(stage.cloud.seen().is_empty());
    let nobody = Socket::open(
        &Caller::without_key(&cordon, Door::Gateway),
        "localhost",
        RESPONSES,
    )
    .await
    .unwrap();
    assert_eq!(nobody.err().map(|refused| refused.status), Some(401));
    drop(cordon);

    let strict = Upstream::behind_tls().await;
    strict.answer(|_| {
        Answer::new(
            403,
            "application/json",
            r#"{"error":{"type":"permission_error","message":"not yours"}}"#,
        )
    });
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&stage.on_prem), &strict));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let refused = Socket::open(&Caller::new(&cordon, Door::Proxy, &key), HOST, RESPONSES)
        .await
        .unwrap();
    let refused = refused.err().expect("the provider refuses it");
    assert_eq!(
        (refused.status, &refused.body["error"]["message"]),
        (403, &json!("not yours"))
    );
    assert_eq!(
        strict.seen()[0].header("authorization"),
        Some(&b"Bearer sk-dummy-provider-key"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realtime_session_is_inspected_message_by_message() {
    let stage = Stage::requested().await;
    stage.cloud.speak(|message| {
        let asked: Value = serde_json::from_str(message).unwrap_or_default();
        let events = match asked["type"].as_str().unwrap_or_default() {
            "session.update" => vec![json!({"type": "session.updated", "session": asked["session"]})],
            "conversation.item.create" => vec![json!({"type": "conversation.item.created", "item": asked["item"]})],
            "response.create" => vec![
                json!({"type": "response.created", "response": {"id": "r1"}}),
                json!({"type": "response.output_text.delta", "response_id": "r1", "output_index": 0, "content_index": 0, "delta": "fine"}),
                json!({"type": "response.done", "response": {"id": "r1", "usage": {"input_tokens": 1, "output_tokens": 2}}}),
            ],
            _ => Vec::new(),
        };
        events.into_iter().map(|event| Some(event.to_string())).collect()
    });
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, "/v1/realtime?model=gpt-realtime").await;
    socket
        .say(&json!({"type": "session.update", "session": {"instructions": format!("call {CANARY}")}}))
        .await
        .unwrap();
    assert_eq!(
        socket.hear().await.unwrap()["session"]["instructions"],
        format!("call {CANARY}")
    );
    let item = |text: &str| {
        json!({"type": "conversation.item.create", "event_id": "e7", "item": {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}],
        }})
    };
    socket.say(&item(&secret())).await.unwrap();
    let told = socket.hear().await.unwrap();
    assert_eq!(
        (&told["type"], &told["error"]["event_id"]),
        (&json!("error"), &json!("e7")),
        "{told}"
    );
    socket.say(&item("hello")).await.unwrap();
    assert_eq!(socket.hear().await.unwrap()["type"], "conversation.item.created");
    socket.say(&json!({"type": "response.create"})).await.unwrap();
    socket.hear_until("response.done").await.unwrap();
    assert!(!stage.cloud.knows(CANARY) && !stage.cloud.knows(&secret()));
    assert_eq!(stage.cloud.messages().len(), 3);
    // Sound is not inspected, and this policy blocks what is not.
    socket
        .say(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}))
        .await
        .unwrap();
    assert_eq!(
        socket.hear().await.unwrap()["error"]["code"],
        "cordon_sound_not_inspected"
    );
    assert_eq!(socket.closed().await, Some(1008));
    assert_eq!(stage.cloud.messages().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_unknown_frames_pass_where_the_policy_says_so_and_are_recorded() {
    let stage = Stage::new(Some(POLICY_REQUESTED.replace("unknown: block", "unknown: pass"))).await;
    stage
        .cloud
        .speak(|message| vec![Some(json!({"echo": message.len()}).to_string())]);
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, "/v1/realtime?model=gpt-realtime").await;
    for _ in 0..3 {
        socket
            .say(&json!({"type": "input_audio_buffer.append", "audio": "AAAA"}))
            .await
            .unwrap();
        socket.hear().await.unwrap();
    }
    let mut unknown = stage.open(&cordon, "/v1/unheard-of").await;
    unknown.send(Message::text("not JSON")).await.unwrap();
    assert_eq!(unknown.hear().await.unwrap(), json!({"echo": 8}));
    drop((socket, unknown));
    cordon.terminate().await;
    // Records rest as JSON in the state folder.
    for reason in ["sound", "unknown_frames"] {
        let record = format!("\"reason\":\"{reason}\"");
        assert!(stage.home.keeps(&record), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_describes_is_refused_with_the_status_that_programs_take() {
    let stage = Stage::requested().await;
    let cordon = stage.home.serve().await;
    let refused = Socket::open(&stage.caller(&cordon), HOST, "/v1/unheard-of")
        .await
        .unwrap()
        .err()
        .unwrap();
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (426, &json!("cordon_upgrade_not_inspected"))
    );
    // By the file that speaks of the host.
    let refused = Socket::open(&stage.caller(&cordon), COPILOT, "/v1/unheard-of")
        .await
        .unwrap();
    assert_eq!(refused.err().map(|refused| refused.status), Some(501));
    assert!(stage.cloud.seen().is_empty());
}

/// The application's side of SignalR: it says what it was told, in two updates.
fn signals(message: &str) -> Vec<Option<String>> {
    let frames = message.split('\u{1e}').filter(|frame| !frame.is_empty());
    let frames = frames.map(|frame| serde_json::from_str(frame).unwrap_or_default());
    let mut said = Vec::new();
    for frame in frames {
        let frame: Value = frame;
        if frame["type"] != 4 {
            said.push("{}\u{1e}".to_owned());
            continue;
        }
        let text = frame["arguments"][0]["message"]["text"]
            .as_str()
            .unwrap_or_default();
        let (first, last) = text.split_at(text.find('_').unwrap_or(text.len() / 2));
        let update =
            |piece: &str| json!({"type": 1, "target": "update", "arguments": [{"writeAtCursor": piece}]});
        let end = json!({"type": 2, "item": {"messages": [{"text": text}]}});
        let all = [update(first), update(last), end].map(|frame| format!("{frame}\u{1e}"));
        said.push(all.concat());
    }
    said.into_iter().map(Some).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_a_file_describes_are_inspected_both_ways() {
    let stage = Stage::requested().await;
    stage.cloud.speak(signals);
    let cordon = stage.home.serve().await;
    let opened = Socket::open(&stage.caller(&cordon), APP, "/m365Copilot/Chathub/1")
        .await
        .unwrap();
    let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}\n{}", cordon.log()));
    let hello = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
    socket.send(Message::text(hello)).await.unwrap();
    assert_eq!(socket.hear_frames(1).await.unwrap(), [json!({})]);
    let ask = |text: &str| {
        let frame = json!({"type": 4, "target": "chat", "invocationId": "0", "arguments": [{"message": {"author": "user", "text": text}}]});
        Message::text(format!("{frame}\u{1e}{{\"type\":6}}\u{1e}"))
    };
    let text = format!("write to {CANARY} today");
    socket.send(ask(&text)).await.unwrap();
    let heard = socket.hear_frames(4).await.unwrap();
    let pieces = heard
        .iter()
        .filter_map(|frame| frame["arguments"][0]["writeAtCursor"].as_str());
    assert_eq!(pieces.collect::<String>(), text, "{heard:?}");
    assert_eq!(
        heard[2]["item"]["messages"][0]["text"],
        text.as_str(),
        "{heard:?}"
    );
    // Told in the application's own form, and the connection goes on.
    socket
        .send(ask(&format!("is {} valid?", secret())))
        .await
        .unwrap();
    let told = socket.hear_frames(1).await.unwrap();
    assert_eq!(told[0]["type"], 3, "{told:?}");
    assert!(
        told[0]["error"].as_str().unwrap().contains("secrets-stay"),
        "{told:?}"
    );
    socket.send(Message::text("no frame")).await.unwrap();
    assert_eq!(socket.hear_frames(1).await.unwrap()[0]["type"], 3);
    socket.send(ask("still here")).await.unwrap();
    let heard = socket.hear_frames(4).await.unwrap();
    assert_eq!(heard[2]["item"]["messages"][0]["text"], "still here", "{heard:?}");
    assert!(!stage.cloud.knows(CANARY) && !stage.cloud.knows(&secret()));
    let blocked = stage
        .home
        .searched_until(&["--decision", "block"], |all| all.len() >= 2)
        .await;
    let blocked: Vec<&Value> = blocked
        .iter()
        .filter(|record| record["opening"]["body"]["rule"] == "secrets-stay")
        .collect();
    assert_eq!(blocked.len(), 1, "{blocked:#?}");
    let opening = &blocked[0]["opening"]["body"];
    assert_eq!(opening["dialect"], "copilot-m365");
    assert!(opening["connection"].is_string());
}

/// Copilot's side: it says what it was told in two pieces, and then that it is done.
fn copilot(message: &str) -> Vec<Option<String>> {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    if message["event"] != "send" {
        return Vec::new();
    }
    let text = message["content"][0]["text"].as_str().unwrap_or_default();
    let (first, last) = text.split_at(text.find('_').unwrap_or(text.len() / 2));
    let piece =
        |text: &str| json!({"event": "appendText", "messageId": "m-1", "partId": "p-1", "text": text});
    [
        json!({"event": "received", "conversationId": message["conversationId"]}),
        json!({"event": "startMessage", "conversationId": message["conversationId"], "messageId": "m-1"}),
        piece(first),
        piece(last),
        json!({"event": "partCompleted", "messageId": "m-1", "partId": "p-1"}),
        json!({"event": "done", "messageId": "m-1"}),
    ]
    .map(|event| Some(event.to_string()))
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn copilot_for_consumers_is_inspected_both_ways() {
    let stage = Stage::requested().await;
    stage.cloud.speak(copilot);
    let cordon = stage.home.serve().await;
    let opened = Socket::open(&stage.caller(&cordon), CONSUMERS, "/c/api/chat?api-version=2")
        .await
        .unwrap();
    let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}\n{}", cordon.log()));
    let ask = |text: &str| {
        json!({"event": "send", "conversationId": "c-1", "mode": "chat",
            "content": [{"type": "text", "text": text}]})
    };
    let options = json!({"event": "setOptions", "supportedFeatures": ["partial-generated-images"]});
    socket.say(&options).await.unwrap();
    // It ends in what could be the beginning of a placeholder; nothing waits for more.
    for text in [
        format!("write to {CANARY} today"),
        format!("{CANARY} is in names["),
    ] {
        socket.say(&ask(&text)).await.unwrap();
        let mut said = String::new();
        loop {
            let event = socket.hear().await.unwrap();
            said.push_str(event["text"].as_str().unwrap_or_default());
            if event["event"] == "done" {
                break;
            }
        }
        assert_eq!(said, text);
    }
    socket
        .say(&ask(&format!("is {} valid?", secret())))
        .await
        .unwrap();
    let told = socket.hear().await.unwrap();
    assert_eq!(
        (&told["event"], &told["errorCode"]),
        (&json!("error"), &json!("cordon_policy_block")),
        "{told}"
    );
    assert!(
        told["message"].as_str().unwrap().contains("secrets-stay"),
        "{told}"
    );
    assert!(!stage.cloud.knows(CANARY) && !stage.cloud.knows(&secret()));
    let blocked = stage
        .home
        .searched_until(&["--decision", "block"], |all| !all.is_empty())
        .await;
    let opening = &blocked[0]["opening"]["body"];
    assert_eq!(opening["dialect"], "copilot-web");
    assert!(opening["claims"]["conversation"].is_string(), "{opening:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_a_message_is_inspected_is_noticed_and_nothing_is_sent() {
    let question = "questions:\n  - {id: plans, ask: 'Is it about plans?'}\nrules:\n  - {id: plans-stay, entities: [QUESTION.PLANS], action: block, advice: Wait.}\n";
    let stage = Stage::new(Some(POLICY_REQUESTED.replace("rules:\n", question))).await;
    let never = std::sync::Arc::new(tokio::sync::Notify::new());
    stage.on_prem.answer(move |_| Answer {
        pieces: vec![Piece::Wait(never.clone())],
        ..Answer::new(200, "application/json", "")
    });
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    let long =
        "We meet on Thursday to decide which of the two sites is closed, and whom we tell first of it.";
    socket.say(&ask(long)).await.unwrap();
    stage.on_prem.arrived(1).await;
    drop(socket);
    let of_message = |record: &Value| record["opening"]["body"]["code"] == "cordon_client_left";
    let records = stage
        .home
        .searched_until(&["--user", "ann"], |all| {
            all.len() >= 2 && all.iter().any(of_message) && all.iter().any(|one| one["closing"].is_object())
        })
        .await;
    let (message, connection): (Vec<&Value>, Vec<&Value>) =
        records.iter().partition(|record| of_message(record));
    assert_eq!((message.len(), connection.len()), (1, 1), "{records:#?}");
    assert_eq!(connection[0]["closing"]["body"]["outcome"], "client_left");
    assert_eq!(
        message[0]["opening"]["body"]["connection"],
        connection[0]["opening"]["body"]["exchange"]
    );
    assert!(stage.cloud.messages().is_empty());
}

/// What Codex reads: the message as an item, once it is whole. It says the address's placeholder: Codex sends numbers of its
/// own along, such as times, and now and then one of them has the checksum of somebody's number.
fn to_codex(message: &str) -> Vec<Option<String>> {
    let asked: Value = serde_json::from_str(message).unwrap_or_default();
    let response = |status: &str| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "gpt-test", "output": [],
            "usage": {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16}})
    };
    let mut events = vec![json!({"type": "response.created", "response": response("in_progress")})];
    if asked["generate"] != false {
        let named = placeholders(message);
        let text = format!(
            "PONG about {}.",
            named
                .iter()
                .rfind(|name| name.starts_with("[EMAIL_"))
                .map_or("nobody", String::as_str)
        );
        let item = |text: &str, status: &str| {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "status": status,
                "content": [{"type": "output_text", "text": text, "annotations": []}]})
        };
        events.push(
            json!({"type": "response.output_item.added", "output_index": 0, "item": item("", "in_progress")}),
        );
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(3) {
            let delta: String = piece.iter().collect();
            events.push(json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": delta}));
        }
        events.push(
            json!({"type": "response.output_item.done", "output_index": 0, "item": item(&text, "completed")}),
        );
    }
    events.push(json!({"type": "response.completed", "response": response("completed")}));
    events.into_iter().map(|event| Some(event.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_asks_over_a_websocket_and_reads_the_original_back() {
    let stage = Stage::requested().await;
    stage.cloud.speak(to_codex);
    let cordon = stage.home.serve().await;
    let run = async |prompt: &str| {
        Program::codex(prompt, "sk-dummy", &["model=\"gpt-test\""])
            .through_proxy(&cordon, &stage.key)
            .run()
            .await
    };
    let ran = run(&format!("Write to {CANARY} that it is done.")).await;
    assert_eq!(ran.code, 0, "{ran:?}\n{}", cordon.log());
    assert!(ran.stdout.contains(&format!("PONG about {CANARY}.")), "{ran:?}");
    let messages = stage.cloud.messages();
    let largest = messages.iter().map(|message| message.to_string().len()).max();
    assert!(
        largest > Some(10_000),
        "codex sends its instructions along: {largest:?}"
    );
    assert!(stage.cloud.asked().is_empty(), "codex asked by HTTP as well");
    assert!(!stage.cloud.knows(CANARY));
    let before = stage.cloud.messages().len();

    let ran = run(&format!("is {} still valid?", secret())).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.shows("secrets-stay") >= 1, "{ran:?}");
    assert!(!stage.cloud.knows(&secret()));
    let generated = stage.cloud.messages().split_off(before);
    assert!(
        generated.iter().all(|message| message["generate"] == false),
        "{generated:?}"
    );
    // What else Codex sends, to its own telemetry, is no matter here.
    let ours = |record: &Value| record["opening"]["body"]["entities"]["SECRET.AWS_ACCESS_KEY"].is_number();
    let blocked = stage
        .home
        .searched_until(&["--decision", "block"], |all| all.iter().any(ours))
        .await;
    let blocked: Vec<&Value> = blocked.iter().filter(|record| ours(record)).collect();
    assert_eq!(blocked.len(), 1, "it was sent again: {blocked:#?}");
    assert!(
        blocked[0]["opening"]["body"]["connection"].is_string(),
        "{blocked:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_on_prem_model_answers_over_a_websocket_and_knows_what_was_said_before() {
    // The default policy: everything is answered in the building.
    let stage = Stage::new(None).await;
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    let mut warm = ask("first words");
    warm["generate"] = json!(false);
    socket.say(&warm).await.unwrap();
    let heard = socket.hear_until("response.completed").await.unwrap();
    let id = heard.last().unwrap()["response"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(stage.on_prem.asked().is_empty(), "a warm-up asks for no words");
    let mut next = ask("second words");
    next["previous_response_id"] = json!(id);
    socket.say(&next).await.unwrap();
    let heard = socket.hear_until("response.completed").await.unwrap();
    assert_eq!(told(&heard), "PONG from the building");
    let asked = stage.on_prem.asked();
    assert_eq!(asked.len(), 1);
    let words = asked[0].json()["messages"].to_string();
    assert!(
        words.contains("first words") && words.contains("second words"),
        "{words}"
    );
    let mut lost = ask("third words");
    lost["previous_response_id"] = json!("resp_unknown");
    socket.say(&lost).await.unwrap();
    assert_eq!(
        socket.hear().await.unwrap()["error"]["code"],
        "previous_response_not_found"
    );
    // And from there on as before.
    socket.say(&ask("fourth words")).await.unwrap();
    let heard = socket.hear_until("response.completed").await.unwrap();
    assert_eq!(told(&heard), "PONG from the building");
    assert!(stage.cloud.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_a_limit_and_bad_frames_close_the_connection() {
    let stage = Stage::requested().await;
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    // 33 MiB, a little over `limits.body_bytes`.
    let large = "x".repeat(33 << 20);
    let _ = socket.send(Message::text(large)).await;
    assert!(matches!(socket.closed().await, Some(1009) | None));
    let mut socket = stage.open(&cordon, RESPONSES).await;
    let frame = tungstenite::protocol::frame::Frame::message(
        Bytes::from_static(&[0xff, 0xfe]),
        tungstenite::protocol::frame::coding::OpCode::Data(tungstenite::protocol::frame::coding::Data::Text),
        true,
    );
    socket.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(socket.closed().await, Some(1007));
    assert!(stage.cloud.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_amid_an_answer_is_sealed_and_a_killed_process_tells_the_truth() {
    let stage = Stage::requested().await;
    stage.cloud.speak(|message| {
        let mut events = responses(message);
        events.truncate(3);
        if message.contains("hang up") {
            events.push(None);
        }
        events
    });
    let cordon = stage.home.serve().await;
    let mut socket = stage.open(&cordon, RESPONSES).await;
    socket.say(&ask("please hang up")).await.unwrap();
    socket.hear_until("response.output_text.delta").await.unwrap();
    socket.closed().await;
    let failed = stage
        .home
        .searched_until(&["--outcome", "upstream_failed"], |all| !all.is_empty())
        .await;
    assert_eq!(failed.len(), 1, "{failed:#?}");
    let mut socket = stage.open(&cordon, RESPONSES).await;
    socket.say(&ask("and then nothing")).await.unwrap();
    socket.hear_until("response.output_text.delta").await.unwrap();
    drop(socket);
    let left = stage
        .home
        .searched_until(&["--outcome", "client_left"], |all| all.len() >= 2)
        .await;
    assert_eq!(left.len(), 2, "the message and its connection: {left:#?}");
    let mut socket = stage.open(&cordon, RESPONSES).await;
    socket.say(&ask("until the power fails")).await.unwrap();
    socket.hear_until("response.output_text.delta").await.unwrap();
    cordon.kill().await;
    let _again = stage.home.serve().await;
    let unknown = stage
        .home
        .searched_until(&["--outcome", "unknown"], |all| all.len() >= 2)
        .await;
    assert_eq!(unknown.len(), 2, "{unknown:#?}");
}
