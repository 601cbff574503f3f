//! What Gemini's paths ask for beyond its bodies: events or an array, the envelope of Gemini CLI, counts; and
//! what of its requests is refused.

#![expect(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use std::{fs, path::Path};

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Framing, StreamTranslator, TranslateError, endpoint, reply_from_chat, request_to_chat,
};
use serde_json::{Value, json};

fn asked(path_and_query: &str) -> Asked {
    let endpoint = endpoint("POST", None, path_and_query)
        .or_else(|| endpoint("POST", Some("cloudcode-pa.googleapis.com"), path_and_query))
        .unwrap();
    assert_eq!(endpoint.dialect, Dialect::Gemini);
    Asked::at(endpoint, path_and_query)
}

fn chat(path: &str, body: &Value) -> Result<Value, TranslateError> {
    let chat = request_to_chat(asked(path), &Bytes::from(body.to_string()), "m")?;
    Ok(serde_json::from_slice(&chat).unwrap())
}

fn translated(path: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut translator = StreamTranslator::new(asked(path), "gemini-x");
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&translator.push(chunk).unwrap());
    }
    out.extend_from_slice(&translator.finish().unwrap());
    out
}

fn stream(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate");
    fs::read(folder.join(name)).unwrap()
}

fn events(stream: &[u8]) -> Vec<Value> {
    std::str::from_utf8(stream)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

const EVENTS: &str = "/v1beta/models/g:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/g:streamGenerateContent?key=k";
const PLAIN: &str = "/v1beta/models/g:generateContent";
const CLI: &str = "/v1internal:streamGenerateContent?alt=sse";

#[test]
fn the_path_says_whether_and_how_it_streams() {
    for (path, framing, kind) in [
        (EVENTS, Framing::Events, "text/event-stream"),
        (ARRAY, Framing::Array, "application/json"),
        (CLI, Framing::Events, "text/event-stream"),
    ] {
        assert_eq!(asked(path).framing(), framing, "{path}");
        assert_eq!(asked(path).stream_type(), kind, "{path}");
    }
    let body = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    let streamed = chat(ARRAY, &body).unwrap();
    assert_eq!(streamed["stream"], true);
    assert_eq!(streamed["stream_options"], json!({"include_usage": true}));
    assert_eq!(chat(PLAIN, &body).unwrap().get("stream"), None);
}

#[test]
fn an_array_holds_what_the_events_say_in_any_split() {
    for name in [
        "stream.text.sse",
        "stream.tools.sse",
        "stream.error.sse",
        "stream.cut-off.sse",
        "stream.empty.sse",
        "stream.refusal.sse",
    ] {
        let stream = stream(name);
        let whole = translated(ARRAY, &[&stream]);
        let items: Vec<Value> = serde_json::from_slice(&whole).unwrap();
        assert_eq!(items, events(&translated(EVENTS, &[&stream])), "{name}");
        for at in 0..stream.len() {
            let (before, after) = stream.split_at(at);
            assert!(
                translated(ARRAY, &[before, after]) == whole,
                "{name} split at {at}"
            );
        }
    }
}

#[test]
fn an_envelope_is_taken_off_and_put_on_again() {
    let inner = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "session_id": "s"});
    let body = json!({"model": "gemini-2.5-pro", "project": "p", "request": inner});
    assert_eq!(
        chat(CLI, &body).unwrap()["messages"],
        json!([{"role": "user", "content": "hi"}])
    );
    assert!(matches!(chat(CLI, &inner), Err(TranslateError::Shape { .. })));

    let stream = stream("stream.tools.sse");
    let wrapped = events(&translated(CLI, &[&stream]));
    let bare = events(&translated(EVENTS, &[&stream]));
    let inner: Vec<&Value> = wrapped.iter().map(|event| &event["response"]).collect();
    assert_eq!(inner, bare.iter().collect::<Vec<_>>());

    let reply = json!({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]});
    let reply = Bytes::from(reply.to_string());
    let plain = reply_from_chat(asked("/v1internal:generateContent"), &reply, "g").unwrap();
    let plain: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(
        plain["response"]["candidates"][0]["content"]["parts"][0]["text"],
        "hello"
    );
}

#[test]
fn counting_asks_for_the_prompt_alone_in_any_wrapping() {
    let contents = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
    let expected = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (path, body) in [
        ("/v1beta/models/g:countTokens", json!({"contents": contents})),
        (
            "/v1beta/models/g:countTokens",
            json!({"generateContentRequest": {"model": "models/g", "contents": contents,
                "generationConfig": {"maxOutputTokens": 1}}}),
        ),
        (
            "/v1internal:countTokens",
            json!({"request": {"model": "models/g", "contents": contents}}),
        ),
    ] {
        assert_eq!(chat(path, &body).unwrap(), expected, "{path}");
        let count: Value = serde_json::from_slice(&asked(path).count(12)).unwrap();
        assert_eq!(count["totalTokens"], 12);
    }
}

#[test]
fn function_calling_modes_become_choices() {
    let body = |config: Value| {
        json!({
            "contents": [{"parts": [{"text": "hi"}]}],
            "tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}],
            "toolConfig": {"functionCallingConfig": config},
        })
    };
    for (config, choice, names) in [
        (json!({}), json!("auto"), vec!["a", "b"]),
        (json!({"mode": "NONE"}), json!("none"), vec!["a", "b"]),
        (json!({"mode": "ANY"}), json!("required"), vec!["a", "b"]),
        (
            json!({"mode": "VALIDATED", "allowedFunctionNames": ["b"]}),
            json!("auto"),
            vec!["b"],
        ),
        (
            json!({"mode": "ANY", "allowedFunctionNames": ["b"]}),
            json!({"type": "function", "function": {"name": "b"}}),
            vec!["b"],
        ),
    ] {
        let chat = chat(PLAIN, &body(config)).unwrap();
        assert_eq!(chat["tool_choice"], choice);
        let offered: Vec<&str> = chat["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(offered, names);
    }
    for config in [
        json!({"mode": "ANY", "allowedFunctionNames": ["c"]}),
        json!({"mode": "SOME"}),
    ] {
        assert_eq!(chat(PLAIN, &body(config)).unwrap_err().status(), 400);
    }
}

#[test]
fn what_cannot_be_carried_over_is_refused_with_advice() {
    let part = |part: Value| json!({"contents": [{"role": "user", "parts": [part]}]});
    let config =
        |config: Value| json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": config});
    for (body, expected) in [
        (json!({}), "contents has to be"),
        (json!({"contents": {}}), "contents has to be an array"),
        (json!({"contents": [1]}), "contents[0] has to be an object"),
        (
            json!({"contents": [{"role": "system", "parts": []}]}),
            "contents[0].role has to be",
        ),
        (
            part(json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}})),
            "an image at contents[0].parts[0]",
        ),
        (
            part(json!({"file_data": {"mime_type": "application/pdf", "file_uri": "x"}})),
            "a file at contents[0].parts[0]",
        ),
        (
            part(json!({"executableCode": {"language": "PYTHON", "code": "1"}})),
            "only its provider reads",
        ),
        (
            part(json!({"functionResponse": {"name": "f", "response": {}}})),
            "the response to a function call that came before",
        ),
        (
            part(json!({"functionCall": {"name": "f", "args": "x"}})),
            "contents[0].parts[0].functionCall.args has to be an object",
        ),
        (
            json!({"contents": [{"parts": [{"text": "hi"}]}], "cachedContent": "cachedContents/1"}),
            "send the whole conversation",
        ),
        (config(json!({"candidateCount": 2})), "more than one candidate"),
        (
            config(json!({"responseModalities": ["TEXT", "IMAGE"]})),
            "pictures or sound",
        ),
        (
            config(json!({"responseMimeType": "text/x.enum"})),
            "ask for text/plain or application/json",
        ),
    ] {
        let error = chat(PLAIN, &body).unwrap_err();
        assert!(error.message().contains(expected), "{body}: {error}");
        assert_eq!(error.status(), 400);
    }
}
