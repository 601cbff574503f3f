//! The files that describe dialects: each is read, and each of its examples is as it says.

use std::collections::BTreeMap;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Role, Splice};
use cordon_wire::{
    Catalogue, Channel, DialectFile, Endpoint, Limits, Rewrite, StreamEditor, decode_as, decode_reply_of,
    endpoint,
};

fn read((name, source): &(&str, &str)) -> DialectFile {
    DialectFile::parse(name, source).unwrap_or_else(|faults| panic!("{}", faults[0]))
}

fn shipped() -> Catalogue {
    Catalogue::new(DialectFile::EMBEDDED.iter().map(read))
}

fn at(host: &str, path: &str) -> Endpoint {
    shipped().endpoint("POST", Some(host), path).expect(path)
}

#[test]
fn every_example_is_as_its_file_says() {
    let faults = shipped().try_examples();
    assert!(
        faults.is_empty(),
        "{}",
        faults.iter().map(|f| format!("{f}\n")).collect::<String>()
    );
    // A file of routes without examples would show nothing.
    for (name, source) in DialectFile::EMBEDDED {
        let shows = source.contains("examples:") || !source.contains("routes:");
        assert!(shows, "{name}");
    }
}

#[test]
fn an_example_that_is_wrong_is_told_with_its_line() {
    let source = "name: some-app\nhosts: [llm.example]\nroutes:\n  - name: ask\n    methods: [POST]\n    paths: [/ask]\n    text: {/q: user}\n    examples:\n      - body: '{\"q\":\"a\"}'\n        segments: [{place: /q, role: system, text: b}]\n";
    let faults = DialectFile::parse("a.yaml", source).unwrap().try_examples();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].to_string().starts_with("a.yaml:9:"), "{}", faults[0]);
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place() {
    let with = |hosts: &str, path: &str, rest: &str| {
        format!(
            "name: some-app\nhosts: {hosts}\nroutes:\n  - name: ask\n    methods: [POST]\n    paths: [{path}]\n{rest}"
        )
    };
    for (source, line, told) in [
        (with("[]", "/a", ""), 2, "hosts"),
        (with("[\"HTTPS://x\"]", "/a", ""), 2, "host"),
        (with("[a.example]", "a", ""), 6, "path"),
        (with("[a.example]", "/a?b", ""), 6, "path"),
        (with("[a.example]", "/a", "    text: {q: user}\n"), 7, "pattern"),
        (with("[a.example]", "/a", "    text: {/q: boss}\n"), 7, "boss"),
        (with("[a.example]", "/a", "    txt: {}\n"), 7, "txt"),
        (
            with(
                "[a.example]",
                "/a",
                "    refusal: {content_type: text/plain, body: no}\n",
            ),
            7,
            "{message}",
        ),
        (
            with("[a.example]", "/a", "").replace("some-app", "openai-chat"),
            1,
            "built in",
        ),
        (
            with("[a.example]", "/a", "").replace("some-app", "Some App"),
            1,
            "letters",
        ),
    ] {
        let faults = DialectFile::parse("a.yaml", &source).expect_err(&source);
        assert_eq!(faults[0].line, line, "{}", faults[0]);
        assert!(faults[0].message.contains(told), "{}", faults[0]);
    }
}

#[test]
fn a_described_host_has_its_routes_and_what_is_built_in() {
    let all = shipped();
    let found = |method, host, path| {
        all.endpoint(method, Some(host), path)
            .map(|found| (found.dialect.name(), found.shape.map_or("", |shape| shape.name())))
    };
    assert_eq!(
        found("POST", "chatgpt.com", "/backend-api/f/conversation"),
        Some(("chatgpt-web", "conversation"))
    );
    assert_eq!(
        found("POST", "chatgpt.com:443", "/backend-api/conversation?x=1"),
        Some(("chatgpt-web", "conversation"))
    );
    assert_eq!(
        found("GET", "cdn.chatgpt.com", "/assets/a.js"),
        Some(("chatgpt-web", "pages"))
    );
    assert_eq!(found("GET", "chatgpt.com", "/assets/../backend-api/x"), None);
    assert_eq!(
        found("POST", "chatgpt.com.evil.example", "/backend-api/conversation"),
        None
    );
    // Codex speaks to the same host in OpenAI's own dialect.
    assert_eq!(
        found("POST", "chatgpt.com", "/backend-api/codex/responses"),
        Some(("openai-responses", ""))
    );
    assert_eq!(
        all.endpoint("POST", None, "/v1/messages"),
        endpoint("POST", None, "/v1/messages")
    );
}

#[test]
fn websockets_are_known_by_their_routes_and_refused_as_their_files_say() {
    let own = "name: own\nhosts: [own.example]\nsockets: 501\nroutes:\n  - {name: talk, methods: [GET], paths: [/talk], socket: true, body: text}\n  - {name: page, methods: [GET], paths: [/**], operation: manage}";
    let own = DialectFile::parse("own.yaml", own).unwrap();
    let all = Catalogue::new(DialectFile::EMBEDDED.iter().map(read).chain([own]));
    let name = |endpoint: Option<Endpoint>| endpoint?.shape.map(|shape| shape.name().to_owned());
    let socket = |host, path| name(all.socket(Some(host), path));
    assert_eq!(socket("own.example", "/talk").as_deref(), Some("talk"));
    assert_eq!(socket("own.example", "/elsewhere"), None);
    assert_eq!(
        name(all.endpoint("GET", Some("own.example"), "/talk")).as_deref(),
        Some("page")
    );
    assert_eq!(
        socket("substrate.office.com", "/m365Copilot/Chathub/1").as_deref(),
        Some("talk")
    );
    // What is built in is known beside it.
    let responses = all.socket(Some("api.openai.com"), "/v1/responses").unwrap();
    assert_eq!(responses.dialect, Dialect::OpenaiResponses);
    for (host, status) in [
        (Some("own.example"), 501),
        (Some("api.business.githubcopilot.com"), 501),
        (Some("githubcopilot.com"), 501),
        (Some("notgithubcopilot.com"), 426),
        (Some("api.openai.com"), 426),
        (None, 426),
    ] {
        assert_eq!(all.socket_refusal_status(host), status, "{host:?}");
    }
    for wrong in [
        "sockets: 200",
        "routes: [{name: a, methods: [POST], paths: [/a], socket: true, body: json}]",
        "routes: [{name: a, methods: [GET], paths: [/a], socket: true, body: form}]",
    ] {
        let file = format!("name: own\nhosts: [own.example]\n{wrong}");
        assert_eq!(
            DialectFile::parse("wrong.yaml", &file)
                .map(|_| ())
                .unwrap_err()
                .len(),
            1,
            "{wrong}"
        );
    }
}

#[test]
fn described_messages_of_an_upstream_are_edited_as_their_body_says() {
    let edited = |body: &str, messages: &[&str]| {
        let file = format!(
            "name: own\nhosts: [own.example]\nroutes: [{{name: a, methods: [GET], paths: [/a], socket: true, body: {body}, reply: {{pieces: [/delta]}}}}]"
        );
        let all = Catalogue::new([DialectFile::parse("own.yaml", &file).unwrap()]);
        let endpoint = all.socket(Some("own.example"), "/a").unwrap();
        let mut editor = StreamEditor::new(endpoint, &Limits::default());
        let mut put_back = PutBack::default();
        let mut given = Vec::new();
        for message in messages {
            let message = Bytes::copy_from_slice(message.as_bytes());
            given.extend(editor.message(message, &mut put_back).unwrap());
        }
        given.extend(editor.last_messages(&mut put_back));
        let given = given
            .into_iter()
            .map(|message| String::from_utf8(message.into()).unwrap());
        given.collect::<Vec<_>>()
    };
    assert_eq!(
        edited(
            "json",
            &[r#"{"delta":"x [A"}"#, r#"{"delta":"_1] y","note":"[A_1]"}"#]
        ),
        [r#"{"delta":"x "}"#, r#"{"delta":"hunter2 y","note":"hunter2"}"#]
    );
    // Each frame says itself where it ends.
    assert_eq!(
        edited("frames", &["{\"type\":6}\x1e{\"delta\":\"[A_1]\"}\x1e"]),
        ["{\"type\":6}\x1e", "{\"delta\":\"hunter2\"}\x1e"]
    );
    assert_eq!(
        edited("lines", &["{\"delta\":\"[A_1]\"}\n{}\n"]),
        ["{\"delta\":\"hunter2\"}\n", "{}\n"]
    );
    assert_eq!(edited("text", &["42 [A_1]", "not [A"]), ["42 hunter2", "not [A"]);
}

/// What an upstream says on a socket of that host, message by message, with originals back.
fn heard(host: &str, path: &str, messages: &[String]) -> Vec<Vec<String>> {
    let all = shipped();
    let endpoint = all.socket(Some(host), path).expect("a file describes it");
    let mut editor = StreamEditor::new(endpoint, &Limits::default());
    let mut put_back = PutBack::default();
    let mut take = |message: &String| {
        let given = editor
            .message(Bytes::from(message.clone()), &mut put_back)
            .expect("the message is within the limits");
        given
            .into_iter()
            .map(|message| String::from_utf8(message.into()).expect("the message is text"))
            .collect()
    };
    messages.iter().map(&mut take).collect()
}

#[test]
fn copilots_answer_has_originals_back_piece_by_piece_and_is_let_go_at_its_end() {
    let said = |event: &str, text: &str| {
        serde_json::json!({"event": event, "messageId": "m", "partId": "p", "text": text}).to_string()
    };
    let done = || r#"{"event":"done","messageId":"m"}"#.to_owned();
    let heard = heard(
        "copilot.microsoft.com",
        "/c/api/chat",
        &[
            r#"{"event":"received","conversationId":"c"}"#.to_owned(),
            said("appendText", "it is [A"),
            said("appendText", "_1] in arr["),
            r#"{"event":"partCompleted","messageId":"m","partId":"p"}"#.to_owned(),
            done(),
            r#"{"event":"titleUpdate","title":"About [A_1]"}"#.to_owned(),
        ],
    );
    let together: String = heard
        .iter()
        .flatten()
        .filter_map(|message| {
            serde_json::from_str::<serde_json::Value>(message).unwrap()["text"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(together, "it is hunter2 in arr[", "{heard:?}");
    assert_eq!(
        heard[4].last(),
        Some(&done()),
        "nothing waits past the end: {heard:?}"
    );
    assert_eq!(heard[5], [r#"{"event":"titleUpdate","title":"About hunter2"}"#]);

    // An error in place of the rest lets go of what was held, and comes behind it.
    let error = r#"{"event":"error","errorCode":"throttled"}"#.to_owned();
    let heard = self::heard(
        "copilot.microsoft.com",
        "/c/api/chat",
        &[said("appendText", "so ["), error.clone()],
    );
    assert_eq!(heard[1].last(), Some(&error));
    assert!(heard.concat().concat().contains("so "), "{heard:?}");
    assert!(heard[1].concat().contains('['), "{heard:?}");

    let update = |text: &str| {
        format!("{{\"type\":1,\"target\":\"update\",\"arguments\":[{{\"writeAtCursor\":\"{text}\"}}]}}\u{1e}")
    };
    let end = "{\"type\":2,\"item\":{}}\u{1e}".to_owned();
    let heard = self::heard(
        "m365.cloud.microsoft",
        "/m365Copilot/Chathub/1",
        &[update("arr["), end.clone()],
    );
    assert_eq!(heard[1].concat(), update("arr[") + &end);
}

#[test]
fn the_same_text_gives_the_same_shapes_and_a_later_file_counts() {
    let (name, source) = DialectFile::EMBEDDED
        .iter()
        .find(|(name, _)| *name == "chatgpt.yaml")
        .unwrap();
    let path = "/backend-api/conversation";
    let read = || DialectFile::parse(name, source).unwrap();
    let once = Catalogue::new([read()]).endpoint("POST", Some("chatgpt.com"), path);
    assert_eq!(
        once,
        Catalogue::new([read()]).endpoint("POST", Some("chatgpt.com"), path)
    );
    let own = "name: chatgpt-web\nhosts: [chatgpt.com]\nroutes: [{name: own, methods: [POST], paths: [/backend-api/conversation]}]";
    let both = Catalogue::new([read(), DialectFile::parse("own.yaml", own).unwrap()]);
    let found = both.endpoint("POST", Some("chatgpt.com"), path).unwrap();
    assert_eq!(
        found.shape.map(|shape| shape.name().to_owned()).as_deref(),
        Some("own")
    );
}

/// Puts an original back for a placeholder, also one that comes in pieces.
#[derive(Default)]
struct PutBack(String);

impl Rewrite for PutBack {
    fn whole(&mut self, text: &str, _arguments: bool) -> String {
        text.replace("[A_1]", "hunter2")
    }

    fn push(&mut self, _channel: &Channel, piece: &str, _arguments: bool) -> String {
        let text = std::mem::take(&mut self.0) + piece;
        let text = text.replace("[A_1]", "hunter2");
        match text.rfind('[') {
            Some(at) if text.len() - at < 5 => {
                self.0 = text[at..].to_owned();
                text[..at].to_owned()
            }
            _ => text,
        }
    }

    fn holds(&self, _channel: &Channel) -> bool {
        !self.0.is_empty()
    }

    fn finish(&mut self, _channel: &Channel) -> String {
        std::mem::take(&mut self.0)
    }
}

#[test]
fn a_stream_of_patches_gets_originals_back_across_events() {
    let endpoint = at("chatgpt.com", "/backend-api/conversation");
    let mut editor = StreamEditor::new(endpoint, &Limits::default());
    let mut put_back = PutBack::default();
    let stream = b"event: delta\ndata: {\"p\":\"/message/content/parts/0\",\"o\":\"append\",\"v\":\"it is [A\"}\n\nevent: delta\ndata: {\"v\":\"_1]!\"}\n\ndata: {\"message\":{\"content\":{\"parts\":[\"all: [A_1]\"]}}}\n\n";
    let mut out = editor.push(stream, &mut put_back).unwrap().to_vec();
    out.extend(editor.finish(&mut put_back).unwrap());
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains(r#""v":"it is hunter2"#) || out.contains(r#"hunter2!"#),
        "{out}"
    );
    assert!(out.contains("all: hunter2") && !out.contains("[A"), "{out}");
    assert!(editor.complete());
}

/// Puts an original back for a placeholder that comes in pieces, in each text by itself.
#[derive(Default)]
struct PutBackApart(BTreeMap<Channel, PutBack>);

impl Rewrite for PutBackApart {
    fn whole(&mut self, text: &str, arguments: bool) -> String {
        PutBack::default().whole(text, arguments)
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let own = self.0.entry(channel.clone()).or_default();
        own.push(channel, piece, arguments)
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.get(channel).is_some_and(|own| own.holds(channel))
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel).map(|own| own.0).unwrap_or_default()
    }
}

fn streamed(endpoint: Endpoint, events: &[&str]) -> String {
    let mut editor = StreamEditor::new(endpoint, &Limits::default());
    let mut put_back = PutBackApart::default();
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let pushed = editor.push(stream.as_bytes(), &mut put_back);
    let mut out = pushed.expect("the stream is within the limits").to_vec();
    out.extend(editor.finish(&mut put_back).expect("so is its end"));
    assert!(editor.complete());
    String::from_utf8(out).expect("the stream is text")
}

/// What the events of a stream of patches make of one place.
fn made(out: &str, wanted: &str) -> String {
    let (mut text, mut last) = (String::new(), String::new());
    for event in out.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let event: serde_json::Value = serde_json::from_str(event).expect("an event is JSON");
        if let Some(path) = event["p"].as_str() {
            last = path.to_owned();
        }
        let several = event["v"].as_array().cloned().unwrap_or_default();
        for one in [&event].into_iter().chain(&several) {
            let path = one["p"].as_str().unwrap_or(&last);
            if path.trim_start_matches('/') == wanted {
                text.push_str(one["v"].as_str().unwrap_or_default());
            }
        }
    }
    text
}

#[test]
fn patches_within_arrays_get_originals_back_place_by_place() {
    let events = [
        r#"{"p":"/a","o":"append","v":"it is [A"}"#,
        r#"{"p":"","o":"patch","v":[{"p":"/a","o":"append","v":"_1"},{"p":"/status","o":"replace","v":"finished [A_1]"},{"p":"/b","o":"append","v":"or [A_"}]}"#,
        r#"{"v":[{"p":"/b","o":"append","v":"1]."},{"p":"/a","o":"append","v":"]!"}]}"#,
    ];
    let out = streamed(at("chatgpt.com", "/backend-api/conversation"), &events);
    for (place, expected) in [
        ("a", "it is hunter2!"),
        ("b", "or hunter2."),
        ("status", "finished hunter2"),
    ] {
        assert_eq!(made(&out, place), expected, "{out}");
    }
    let batch = [
        r#"{"v":{"response":{"content":"[A_1]"}}}"#,
        r#"{"p":"response/content","o":"APPEND","v":"see [A_"}"#,
        r#"{"v":"1]"}"#,
        r#"{"p":"response","o":"BATCH","v":[{"p":"status","o":"SET","v":"FINISHED"}]}"#,
    ];
    let out = streamed(at("chat.deepseek.com", "/api/v0/chat/completion"), &batch);
    assert_eq!(made(&out, "response/content"), "see hunter2", "{out}");
    assert_eq!(made(&out, "status"), "FINISHED", "{out}");
}

#[test]
fn a_reply_in_googles_framing_has_its_lengths_set_right() {
    let path = "/_/BardChatUi/data/assistant.lamda.BardFrontendService/StreamGenerate";
    let endpoint = at("gemini.google.com", path);
    let limits = Limits::default();
    let chunk = |text: &str| {
        let inner = serde_json::json!([null, ["c_1"], [["rc_1", [text]]]]).to_string();
        let line = serde_json::json!([["wrb.fr", null, inner]]).to_string();
        format!("{}\n{line}\n", line.encode_utf16().count() + 2)
    };
    let body = |text: &str| {
        format!(
            ")]}}'\n\n{}{}25\n[[\"e\",4,null,null,132]]\n",
            chunk(text),
            chunk("none")
        )
    };
    let came = Bytes::from(body("ask [A_1] \u{1f512}"));
    let reply = decode_reply_of(endpoint, "application/json; charset=utf-8", came.clone(), &limits).unwrap();
    assert_eq!(reply.splice(&[]).unwrap(), came);
    let segment = reply
        .segments()
        .iter()
        .position(|segment| segment.text.as_str() == "ask [A_1] \u{1f512}")
        .expect("the text within the string is a segment");
    let edit = Edit {
        segment,
        span: 4..9,
        replacement: "\"Zo\u{eb}\"".to_owned(),
    };
    assert_eq!(reply.splice(&[edit]).unwrap(), body("ask \"Zo\u{eb}\" \u{1f512}"));
}

#[test]
fn a_reply_of_lines_is_read_line_by_line_and_a_page_passes() {
    let endpoint = at("claude.ai", "/api/whatever");
    assert!(matches!(endpoint.dialect, Dialect::Described(_)));
    let limits = Limits::default();
    let lines = Bytes::from_static(b"{\"a\":\"x [A_1]\"}\n{\"a\":\"y\"}\n");
    let reply = decode_reply_of(endpoint, "application/json", lines, &limits).unwrap();
    assert!(
        reply
            .segments()
            .iter()
            .any(|segment| segment.text.as_str() == "x [A_1]")
    );
    let page = Bytes::from_static(b"<html>");
    let reply = decode_reply_of(endpoint, "text/html", page.clone(), &limits).unwrap();
    assert_eq!(reply.splice(&[]).unwrap(), page);
}

#[test]
fn bodies_of_another_shape_are_inspected_all_the_same() {
    let endpoint = at(
        "claude.ai",
        "/api/organizations/o/chat_conversations/c/completion",
    );
    let body = Bytes::from_static(b"{\"new_field\":{\"deep\":[\"my key\"]}}");
    let body = decode_as(endpoint, Some("application/json"), body, &Limits::default()).unwrap();
    let found = body
        .segments()
        .iter()
        .find(|segment| segment.text.as_str() == "my key")
        .unwrap();
    assert_eq!(found.role, Role::Other);
    let wrong = Bytes::from_static(b"prompt=my+key");
    assert!(
        decode_as(
            endpoint,
            Some("application/x-www-form-urlencoded"),
            wrong,
            &Limits::default()
        )
        .is_err()
    );
}
