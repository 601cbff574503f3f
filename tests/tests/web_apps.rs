//! Web applications through the proxy: what their pages send is found wherever it stands, what comes back has
//! its originals, and a refusal has the form that the page shows.
//!
//! The pages' requests are in the shapes that `policies/dialects` describes; the recording upstream stands in the
//! place of every application.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cordon_tests::{
    caller::{Caller, Door, Line, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    upstream::{Answer, Upstream},
};
use serde_json::{Value, json};

const APPS: [&str; 5] = [
    "chatgpt.com",
    "files.oaiusercontent.com",
    "claude.ai",
    "gemini.google.com",
    "grok.com",
];

/// What goes outside is redacted; secrets are blocked.
const POLICY: &str = "unknown: UNKNOWN
routes:
  - { id: all, when: requested.kind == \"cloud\", to: requested }
rules:
  - { id: secrets, entities: [SECRET], action: block, advice: Take it out. }
  - { id: personal, entities: [EMAIL], action: redact }
";

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
/// A key in the form of Amazon's.
const SECRET: &str = "AKIAZ7VRSQ5TJN2XMPLD";

struct Stage {
    upstream: Upstream,
    _on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Stage {
    async fn new(unknown: &str) -> Self {
        let upstream = Upstream::behind_tls().await;
        let on_prem = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan {
            apps: &APPS,
            policy: Some(POLICY.replace("UNKNOWN", unknown)),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &upstream)
        });
        upstream.answer(|_| Answer::new(200, "application/json", "{}"));
        let key = home.key("ada", "cloud-users");
        let cordon = home.serve().await;
        Self {
            upstream,
            _on_prem: on_prem,
            home,
            cordon,
            key,
        }
    }

    async fn line(&self, host: &str) -> Line {
        let caller = Caller::new(&self.cordon, Door::Proxy, &self.key);
        caller
            .line(host, false)
            .await
            .expect("the proxy takes the host up")
    }

    async fn send(
        &self,
        method: &str,
        host: &str,
        path: &str,
        kind: &str,
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let answer = self
            .line(host)
            .await
            .begin(method, path, body.into(), &[("content-type", kind)])
            .await;
        let answer = answer.expect("Cordon answers");
        Reply::read(answer).await.expect("the answer can be read")
    }

    /// Nothing of what is sensitive went out.
    fn kept(&self) {
        assert!(!self.upstream.knows(EMAIL) && !self.upstream.knows(SECRET));
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Each page's request with a text in the place of the prompt.
fn pages(text: &str) -> [(&'static str, &'static str, &'static str, String); 4] {
    let chatgpt = json!({"action": "next", "model": "gpt-5", "messages": [
        {"id": "m", "author": {"role": "user"}, "content": {"content_type": "text", "parts": [text]}}]});
    let claude = json!({"prompt": "Read this.", "attachments": [
        {"file_name": "a.txt", "extracted_content": text, "file_type": "text/plain"}], "files": []});
    let inner = json!([[text, 0, null], ["en"]]).to_string();
    let gemini = json!([null, inner]).to_string();
    let grok = json!({"modelName": "grok-4", "message": text, "fileAttachments": []});
    let json = "application/json";
    [
        (
            "chatgpt.com",
            "/backend-api/f/conversation",
            json,
            chatgpt.to_string(),
        ),
        (
            "claude.ai",
            "/api/organizations/o1/chat_conversations/c1/completion",
            json,
            claude.to_string(),
        ),
        (
            "gemini.google.com",
            "/_/BardChatUi/data/assistant.lamda.BardFrontendService/StreamGenerate?bl=x&_reqid=1",
            "application/x-www-form-urlencoded;charset=UTF-8",
            format!("at=abc&f.req={}", encoded(&gemini)),
        ),
        (
            "grok.com",
            "/rest/app-chat/conversations/new",
            json,
            grok.to_string(),
        ),
    ]
}

#[tokio::test]
async fn what_pages_send_is_redacted_where_it_stands_and_comes_back() {
    let stage = Stage::new("block").await;
    stage.upstream.answer(|seen| {
        let placeholder = seen.placeholders().into_iter().next().unwrap_or_else(|| {
            // In a form the brackets are percent-encoded.
            let body = String::from_utf8_lossy(&seen.body)
                .replace("%5B", "[")
                .replace("%5D", "]");
            cordon_tests::upstream::placeholders(&body).remove(0)
        });
        let body = json!({"message": format!("I shall write to {placeholder}.")}).to_string();
        Answer::new(200, "application/json", body)
    });
    for (host, path, kind, body) in pages(&format!("Write to {EMAIL}, please.")) {
        let reply = stage.send("POST", host, path, kind, body).await;
        assert_eq!(reply.status, 200, "{host}: {}", reply.text());
        assert_eq!(reply.decision(), "redact", "{host}");
        assert_eq!(
            reply.json()["message"],
            format!("I shall write to {EMAIL}."),
            "{host}"
        );
        let record = stage.home.record(reply.exchange()).await;
        let text = record.to_string();
        assert!(text.contains("-web") && !text.contains(EMAIL), "{text}");
    }
    assert_eq!(stage.upstream.seen().len(), 4);
    stage.kept();
}

#[tokio::test]
async fn a_refusal_has_the_form_that_the_page_shows() {
    let stage = Stage::new("block").await;
    for (host, path, kind, body) in pages(&format!("My key is {SECRET} here.")) {
        let reply = stage.send("POST", host, path, kind, body).await;
        let text = reply.text();
        assert!(
            text.contains("secrets") && text.contains("Take it out."),
            "{host}: {text}"
        );
        match host {
            "chatgpt.com" => {
                assert_eq!(reply.status, 200);
                assert_eq!(reply.header("content-type"), "text/event-stream");
                let data = text
                    .lines()
                    .find_map(|line| line.strip_prefix("data: {"))
                    .expect("an event");
                let event: Value = serde_json::from_str(&format!("{{{data}")).expect("JSON");
                assert_eq!(event["message"]["author"]["role"], "assistant");
                assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
            }
            "claude.ai" => {
                assert_eq!(reply.status, 200);
                assert!(text.contains("\"type\":\"text_delta\"") && text.contains("event: message_stop"));
            }
            "gemini.google.com" => assert_eq!(reply.status, 400),
            _ => assert!(reply.json()["error"]["message"].is_string(), "{text}"),
        }
    }
    assert!(stage.upstream.seen().is_empty());
    stage.kept();
}

/// The token of a page, signed by nobody.
fn token(email: &str) -> String {
    let claims = json!({"https://api.openai.com/profile": {"email": email}}).to_string();
    format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

#[tokio::test]
async fn whom_a_page_claims_to_speak_for_is_recorded_as_a_pseudonym_and_is_not_the_actor() {
    let stage = Stage::new("block").await;
    let ada = stage.home.reference("ada");
    let ask = async |host: &str, path: &str, body: Value, claim: (&str, &str)| {
        let headers = [("content-type", "application/json"), claim];
        let body = body.to_string().into_bytes();
        let answer = stage.line(host).await.begin("POST", path, body, &headers).await;
        let reply = Reply::read(answer.expect("Cordon answers")).await;
        let reply = reply.expect("the answer can be read");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let record = stage.home.record(reply.exchange()).await;
        let text = record.to_string();
        assert!(
            !text.contains("ann@corp.example") && !text.contains("sid01"),
            "{text}"
        );
        let body = record["opening"]["body"].clone();
        assert_eq!(body["actor"]["user"], ada, "{record:#}");
        assert!(
            body["actor"]["identity"]["api_key"]["key"].is_string(),
            "{record:#}"
        );
        let pseudonym = |name: &str| {
            let told = body["claims"][name].as_str().unwrap_or_default().to_owned();
            let hex = told.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(hex && (told.is_empty() || told.len() == 32), "{record:#}");
            told
        };
        (pseudonym("user"), pseudonym("conversation"))
    };
    let chatgpt = |conversation: &str| {
        json!({"conversation_id": conversation, "messages": [
            {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hello"]}}]})
    };
    let path = "/backend-api/f/conversation";
    let ann = token("ann@corp.example");
    let first = ask("chatgpt.com", path, chatgpt("one"), ("authorization", &ann)).await;
    assert!(!first.0.is_empty() && !first.1.is_empty());
    let again = ask("chatgpt.com", path, chatgpt("two"), ("authorization", &ann)).await;
    assert!(first.0 == again.0 && first.1 != again.1, "{first:?} {again:?}");
    let bob = token("bob@corp.example");
    let other = ask("chatgpt.com", path, chatgpt("one"), ("authorization", &bob)).await;
    assert!(first.0 != other.0 && first.1 == other.1, "{first:?} {other:?}");
    let claude = |id: &str| format!("/api/organizations/o1/chat_conversations/{id}/completion");
    let prompt = json!({"prompt": "hello"});
    let cookie = ("cookie", "a=b; sessionKey=sk-ant-sid01-abc; c=d");
    let signed_in = ask("claude.ai", &claude("c1"), prompt.clone(), cookie).await;
    assert!(!signed_in.0.is_empty() && !signed_in.1.is_empty());
    let nobody = ask("claude.ai", &claude("c1"), prompt, ("x-note", "none")).await;
    assert!(nobody.0.is_empty() && nobody.1 == signed_in.1, "{nobody:?}");
}

#[tokio::test]
async fn an_upload_in_three_steps_is_inspected_in_each() {
    let stage = Stage::new("block").await;
    let json_kind = "application/json";
    let name = json!({"file_name": format!("{EMAIL}.txt"), "file_size": 20, "use_case": "my_files"});
    let first = stage
        .send(
            "POST",
            "chatgpt.com",
            "/backend-api/files",
            json_kind,
            name.to_string(),
        )
        .await;
    assert_eq!((first.status.as_u16(), first.decision()), (200, "redact"));
    let put = async |body: &str, kind: &str| {
        stage
            .send("PUT", "files.oaiusercontent.com", "/file-1/raw?sig=a", kind, body)
            .await
    };
    let harmless = put("Nothing to see.", "text/plain").await;
    assert_eq!(harmless.status, 200, "{}", harmless.text());
    let edited = put(&format!("Ask {EMAIL}."), "text/plain").await;
    assert_eq!(edited.decision(), "redact", "{}", edited.text());
    let blocked = put(&format!("key = {SECRET}"), "text/plain").await;
    assert!(
        blocked.json()["error"]["message"].is_string(),
        "{}",
        blocked.text()
    );
    let unread = put(
        "\u{0}\u{1}\u{2} not a known format \u{3}",
        "application/octet-stream",
    )
    .await;
    assert_eq!(unread.status, 400, "{}", unread.text());
    let third = stage
        .send(
            "POST",
            "chatgpt.com",
            "/backend-api/files/file-1/uploaded",
            json_kind,
            "{}",
        )
        .await;
    assert_eq!(third.status, 200);
    assert_eq!(stage.upstream.seen().len(), 4);
    stage.kept();

    let part = |text: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--B--\r\n"
        )
    };
    let kind = "multipart/form-data; boundary=B";
    let path = "/api/organizations/o1/upload";
    let edited = stage
        .send("POST", "claude.ai", path, kind, part(&format!("Ask {EMAIL}.")))
        .await;
    assert_eq!(edited.decision(), "redact", "{}", edited.text());
    let blocked = stage
        .send("POST", "claude.ai", path, kind, part(&format!("key = {SECRET}")))
        .await;
    assert_eq!(blocked.json()["type"], "error", "{}", blocked.text());
    stage.kept();
}

#[tokio::test]
async fn a_shape_that_nobody_knows_is_read_string_by_string_where_the_policy_says_so() {
    let stage = Stage::new("inspect").await;
    let host = "api.openai.com";
    stage.upstream.answer(|seen| {
        let placeholder = seen.placeholders().into_iter().next().unwrap_or_default();
        Answer::new(200, "application/json", json!({"said": placeholder}).to_string())
    });
    let body = json!({"new": {"shape": [format!("Ask {EMAIL}.")]}}).to_string();
    let reply = stage
        .send("POST", host, "/v9/tomorrow", "application/json", body.clone())
        .await;
    assert_eq!(reply.decision(), "redact", "{}", reply.text());
    assert_eq!(reply.json()["said"], EMAIL);
    let record = stage.home.record(reply.exchange()).await.to_string();
    assert!(record.contains("\"unknown\""), "{record}");
    assert!(!record.contains("unknown_shape"), "{record}");
    for (kind, body) in [
        ("application/json", "{\"a\":".to_owned()),
        ("application/json", body.replace("Ask", SECRET)),
        ("application/x-protobuf", "\u{1}\u{2}binary".to_owned()),
    ] {
        let refused = stage.send("POST", host, "/v9/tomorrow", kind, body).await;
        assert!(refused.status.is_client_error(), "{kind}: {}", refused.text());
    }
    assert_eq!(stage.upstream.seen().len(), 1);
    stage.kept();
}
