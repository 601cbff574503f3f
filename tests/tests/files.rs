//! Files in requests are read: what is sensitive in them does not leave, whatever they are wrapped in.
//!
//! The provider behind TLS writes down what it got. A document with a person's address comes there as a
//! note, a text with the address replaced, one with a key in it not at all; what cannot be read is refused,
//! or passed and recorded where the policy says so.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    documents::{self, docx, gzip, locked_zip, mail, odt, pdf, picture, pptx, tar, xlsx, zip},
    replies::{Deltas, Talk, say},
    scene::Scene,
    upstream::{Upstream, placeholders},
};
use serde_json::{Value, json};

/// A person's address, which the policy redacts.
const MAIL: &str = "rebecca.gardner@hanbit-semi.com";

/// A key, which the policy blocks.
const KEY: &str = "AKIAY3FDSNDKFKSIDJWB";

/// A provider, an installation before it, and the process.
struct Stage {
    cloud: Upstream,
    _on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Stage {
    async fn new(policy: &str, further: &str) -> Self {
        let cloud = Upstream::behind_tls().await;
        let on_prem = Upstream::in_place_of_engine().await;
        cloud.answer(|seen| {
            let text = String::from_utf8_lossy(&seen.body).into_owned();
            say(
                seen,
                &format!("about {}", placeholders(&text).join(" ")),
                Deltas::Whole,
            )
        });
        let home = Home::new(&Plan {
            policy: Some(policy.to_owned()),
            further: further.to_owned(),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        let key = home.key("j.kim", "cloud-users");
        let cordon = home.serve().await;
        Self {
            cloud,
            _on_prem: on_prem,
            home,
            cordon,
            key,
        }
    }

    async fn send(&self, talk: Talk, body: &Value) -> Reply {
        self.cloud.forget();
        let caller = Caller::new(&self.cordon, Door::Proxy, &self.key);
        caller.post(talk, body).await.expect("Cordon answers")
    }

    /// The one request that the provider got.
    fn got(&self) -> Value {
        let asked = self.cloud.asked();
        assert_eq!(asked.len(), 1, "requests at the provider");
        asked[0].json()
    }
}

/// Whether a file of a folder holds these bytes.
fn stored(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).expect("the state folder can be listed");
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return stored(&path, bytes);
        }
        std::fs::read(&path).is_ok_and(|file| file.windows(bytes.len()).any(|window| window == bytes))
    })
}

/// A request with a file in a dialect, and where the file's part lies in it.
fn with_file(talk: Talk, name: &str, file: &[u8]) -> (Value, &'static str) {
    let data = STANDARD.encode(file);
    let uri = format!("data:application/octet-stream;base64,{data}");
    match talk {
        Talk::Chat => (
            json!({"model": "gpt-test", "messages": [{"role": "user", "content": [
                {"type": "text", "text": "sum it up"},
                {"type": "file", "file": {"filename": name, "file_data": uri}}]}]}),
            "/messages/0/content/1",
        ),
        Talk::Responses => (
            json!({"model": "gpt-test", "input": [{"role": "user", "content": [
                {"type": "input_text", "text": "sum it up"},
                {"type": "input_file", "filename": name, "file_data": uri}]}]}),
            "/input/0/content/1",
        ),
        Talk::Messages => (
            json!({"model": "claude-test", "max_tokens": 64, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "sum it up"},
                {"type": "document", "title": name,
                    "source": {"type": "base64", "media_type": "application/pdf", "data": data}}]}]}),
            "/messages/0/content/1",
        ),
    }
}

/// A picture in a chat.
fn with_picture(picture: &[u8]) -> Value {
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(picture));
    json!({"model": "gpt-test", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": uri}}]}]})
}

/// Files of every kind that say a text.
fn files_that_say(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let rtf = format!("{{\\rtf1\\ansi {text}}}");
    let html = format!("<!doctype html><p>{text}</p>");
    vec![
        ("a.docx", docx(text)),
        ("a.xlsx", xlsx(text)),
        ("a.pptx", pptx(text)),
        ("a.odt", odt(text)),
        ("a.pdf", pdf(text)),
        ("a.rtf", rtf.into_bytes()),
        ("a.html", html.into_bytes()),
        ("a.eml", mail(text)),
        ("a.zip", zip(&[("notes/b.txt", text.as_bytes())])),
        ("a.tar", tar("b.txt", text.as_bytes())),
        ("a.txt.gz", gzip(text.as_bytes())),
        (
            "nested.zip",
            zip(&[("inner.zip", &zip(&[("c.docx", &docx(text))]))]),
        ),
        ("misnamed.png", pdf(text)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_something_sensitive_comes_as_a_note() {
    let stage = Stage::new(POLICY_REQUESTED, "").await;
    let mut talks = Talk::ALL.into_iter().cycle();
    for (name, file) in files_that_say(&format!("ask {MAIL} about it")) {
        let talk = talks.next().expect("a cycle has no end");
        let (body, place) = with_file(talk, name, &file);
        let reply = stage.send(talk, &body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.decision(), "redact", "{name}");
        let got = stage.got();
        let part = got.pointer(place).unwrap_or_else(|| panic!("{name}: {got}"));
        let note = part["text"].as_str().unwrap_or_else(|| panic!("{name}: {part}"));
        assert!(
            note.starts_with("[file removed by Cordon: it held "),
            "{name}: {note}"
        );
        let stand_ins = placeholders(note);
        assert!(
            stand_ins.iter().any(|one| one.starts_with("[EMAIL_")),
            "{name}: {note}"
        );
        assert!(!stage.cloud.knows(MAIL), "{name}");
        // Nothing but the part is another.
        let mut rest = body.clone();
        *rest.pointer_mut(place).expect("the part is there") = part.clone();
        assert_eq!(got, rest, "{name}");
        // What the provider says of it is understood by the caller.
        assert!(reply.said(talk).text.contains(MAIL), "{name}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_key_is_refused_and_one_without_passes_as_it_is() {
    let stage = Stage::new(POLICY_REQUESTED, "").await;
    for (name, file) in files_that_say(&format!("aws_access_key_id = {KEY}")) {
        let reply = stage
            .send(Talk::Chat, &with_file(Talk::Chat, name, &file).0)
            .await;
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert_eq!(reply.decision(), "block", "{name}");
        assert!(stage.cloud.asked().is_empty(), "{name}");
    }
    for (name, file) in files_that_say("nothing of note") {
        let body = with_file(Talk::Chat, name, &file).0;
        let reply = stage.send(Talk::Chat, &body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(stage.got(), body, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_text_is_edited_and_stays_a_file() {
    let stage = Stage::new(POLICY_REQUESTED, "").await;
    for (name, text) in [
        ("people.csv", format!("ticket,mail\n17,{MAIL}\n18,\n")),
        ("notes.txt", format!("\u{feff}Ask {MAIL}.\r\n")),
        ("conf.py", format!("OWNER = \"{MAIL}\"\n")),
    ] {
        let (body, place) = with_file(Talk::Chat, name, text.as_bytes());
        let reply = stage.send(Talk::Chat, &body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let got = stage.got();
        let uri = got
            .pointer(place)
            .and_then(|part| part["file"]["file_data"].as_str());
        let data = uri
            .and_then(|uri| uri.split(',').nth(1))
            .unwrap_or_else(|| panic!("{name}: {got}"));
        let file = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
        let stand_in = placeholders(&file)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{name}: {file}"));
        assert_eq!(file.replace(&stand_in, MAIL), text, "{name}");
        assert!(!stage.cloud.knows(MAIL), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_or_too_large_is_refused_with_its_reason() {
    let stage = Stage::new(POLICY_REQUESTED, "").await;
    let zeros = vec![0; 64 << 20];
    let huge = documents::png(60_000, 60_000, b"x");
    for (name, file, status, code) in [
        (
            "locked.zip",
            locked_zip("a.txt", b"text"),
            400,
            "cordon_file_locked",
        ),
        ("bomb.gz", gzip(&zeros), 413, "cordon_file_too_large"),
        (
            "bomb.zip",
            zip(&[("a.txt", &zeros)]),
            413,
            "cordon_file_too_large",
        ),
        ("huge.png", huge, 413, "cordon_file_too_large"),
        (
            "sound.mp3",
            [b"ID3\x04\0".as_slice(), &[0xFF; 400]].concat(),
            400,
            "cordon_file_unread",
        ),
        (
            "old.rar",
            [b"Rar!\x1A\x07\x01\0".as_slice(), &[0; 64]].concat(),
            400,
            "cordon_file_unread",
        ),
        (
            "hurt.pdf",
            b"%PDF-1.7\nnothing behind it".to_vec(),
            400,
            "cordon_file_unread",
        ),
    ] {
        let reply = stage
            .send(Talk::Chat, &with_file(Talk::Chat, name, &file).0)
            .await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        assert_eq!(reply.json()["error"]["code"], code, "{name}: {}", reply.text());
        assert!(
            reply.text().contains("File 1 of this request"),
            "{name}: {}",
            reply.text()
        );
        assert!(stage.cloud.asked().is_empty(), "{name}");
    }
    // What no strict reader takes for base64 could be taken for it by another.
    let (mut body, _) = with_file(Talk::Messages, "a.pdf", b"%PDF-1.4");
    body["messages"][0]["content"][1]["source"]["data"] = json!("JVBERi0*xLjQ=");
    let reply = stage.send(Talk::Messages, &body).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(stage.cloud.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_a_picture_is_read() {
    let stage = Stage::new(POLICY_REQUESTED, "").await;
    let card = picture("CARD 4111 1111 1111 1111");
    let reply = stage.send(Talk::Chat, &with_picture(&card)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let got = stage.got();
    let part = &got["messages"][0]["content"][1];
    assert_eq!(part["type"], "text", "{got}");
    assert!(
        part["text"]
            .as_str()
            .is_some_and(|note| note.contains("[CREDIT_CARD_")),
        "{got}"
    );

    let (body, place) = with_file(
        Talk::Chat,
        "a.docx",
        &documents::docx_with_picture("see below", &card),
    );
    let reply = stage.send(Talk::Chat, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        stage
            .got()
            .pointer(place)
            .is_some_and(|part| part["type"] == "text"),
        "{}",
        stage.got()
    );

    let plain = with_picture(&picture("PLAN"));
    let reply = stage.send(Talk::Chat, &plain).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(stage.got(), plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unread_stops_the_request_unless_the_policy_records_it() {
    let off = "files: { ocr: off }\n";
    let body = with_picture(&picture("PLAN"));
    let strict = Stage::new(POLICY_REQUESTED, off).await;
    let reply = strict.send(Talk::Chat, &body).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(
        reply.json()["error"]["code"],
        "cordon_file_unread",
        "{}",
        reply.text()
    );
    assert!(strict.cloud.asked().is_empty());
    let record = strict.home.record(reply.exchange()).await;
    assert_eq!(record["closing"]["body"]["outcome"], "refused", "{record:#}");

    let open = Stage::new(&format!("files: {{ unread: record }}\n{POLICY_REQUESTED}"), off).await;
    let reply = open.send(Talk::Chat, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(open.got(), body);
    // The record of what passed uninspected lies before the intent, so it is in the store by now.
    open.home.record(reply.exchange()).await;
    assert!(
        stored(&open.home.path().join("state"), b"\"reason\":\"attachment\""),
        "no record that a file passed uninspected"
    );
    // A locked file is refused all the same.
    let (locked, _) = with_file(Talk::Chat, "a.zip", &locked_zip("a.txt", b"text"));
    assert_eq!(open.send(Talk::Chat, &locked).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_can_ask_about_files() {
    let rule = "  - id: no-archives\n    when: '\"zip\" in files.kinds || files.count > 1'\n    action: block\n    advice: Send the files one by one.\n";
    let policy = POLICY_REQUESTED.replace("rules:\n", &format!("rules:\n{rule}"));
    let stage = Stage::new(&policy, "").await;
    let archive = with_file(Talk::Chat, "a.zip", &zip(&[("a.txt", b"harmless")])).0;
    let reply = stage.send(Talk::Chat, &archive).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("no-archives"), "{}", reply.text());
    let document = with_file(Talk::Chat, "a.docx", &docx("harmless")).0;
    assert_eq!(stage.send(Talk::Chat, &document).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_on_prem_model_refuses_pictures_in_its_own_words() {
    let scene = Scene::new("files: { ocr: off }\n").await;
    let key = scene.home.key("nobody", "interns");
    let cordon = scene.home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let reply = caller
        .post(
            Talk::Messages,
            &json!({"model": "claude-test", "max_tokens": 64, "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png",
            "data": STANDARD.encode(picture("PLAN"))}}]}]}),
        )
        .await
        .expect("Cordon answers");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(!reply.text().contains("the policy blocks"), "{}", reply.text());
    assert!(scene.cloud.asked().is_empty() && scene.on_prem.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pictures_do_not_take_for_ever() {
    let stage = Stage::new(POLICY_REQUESTED, "files: { request_seconds: 1 }\n").await;
    // Each another, so that none is remembered; recognising one takes a good part of a second.
    let parts: Vec<Value> = (0..16)
        .map(|number| {
            let text = format!("CARD {}", "10 14 ".repeat(number % 4 + 1)) + &"A".repeat(number);
            let uri = format!("data:image/png;base64,{}", STANDARD.encode(picture(&text)));
            json!({"type": "image_url", "image_url": {"url": uri}})
        })
        .collect();
    let body = json!({"model": "gpt-test", "messages": [{"role": "user", "content": parts}]});
    let reply = stage.send(Talk::Chat, &body).await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert!(
        reply.text().contains("time for the files of a request"),
        "{}",
        reply.text()
    );
    assert!(stage.cloud.asked().is_empty());
}
