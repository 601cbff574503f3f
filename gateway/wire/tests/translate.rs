//! Golden translations under `tests/translate/`: requests as `<dialect>.<name>.json` with what goes to the
//! upstream as `<dialect>.<name>.chat`; the upstream's replies as `reply.<name>.json` and streams as
//! `stream.<name>.sse`, each with what the caller gets as `<file>.<dialect>`.
//!
//! When an outcome differs, what was found is written to the test's temporary folder, whose path the
//! failure names.

#![expect(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Endpoint, Limits, Operation, StreamTranslator, TranslateError, Usage, decode, reply_from_chat,
    request_to_chat,
};
use serde_json::{Value, json};

const DIALECTS: [Dialect; 7] = [
    Dialect::AnthropicMessages,
    Dialect::OpenaiResponses,
    Dialect::OpenaiCompletions,
    Dialect::Gemini,
    Dialect::BedrockConverse,
    Dialect::Cohere,
    Dialect::Ollama,
];
const ASKED: &str = "asked-model";

#[test]
fn requests_become_chat_requests() {
    let mut wrong = Vec::new();
    for dialect in DIALECTS {
        for path in files(&format!("{dialect}."), ".json") {
            let body = fs::read(&path).unwrap().into();
            let chat = request_to_chat(generate(dialect), &body, "smollm2").unwrap();
            compare(&path.with_extension("chat"), &pretty(&chat), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "differ from the golden ones; found: {wrong:#?}");
}

#[test]
fn chat_replies_become_the_callers() {
    let mut wrong = Vec::new();
    for dialect in DIALECTS {
        for path in files("reply.", ".json") {
            let body = fs::read(&path).unwrap().into();
            let reply = reply_from_chat(generate(dialect), &body, ASKED).unwrap();
            compare(&path.with_extension(dialect.name()), &pretty(&reply), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "differ from the golden ones; found: {wrong:#?}");
}

#[test]
fn chat_streams_become_the_callers_in_any_split() {
    let mut wrong = Vec::new();
    for dialect in DIALECTS {
        for path in files("stream.", ".sse") {
            let stream = fs::read(&path).unwrap();
            let whole = translated(dialect, &[&stream]);
            compare(
                &path.with_extension(dialect.name()),
                &readable(&whole),
                &mut wrong,
            );
            // The parser's own tests try splits at every place; here each byte comes by itself.
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert!(translated(dialect, &bytes) == whole, "{}", path.display());
        }
    }
    assert!(wrong.is_empty(), "differ from the golden ones; found: {wrong:#?}");
}

/// What the deltas of a stream add up to is what the events at its end say, and sequence numbers rise.
#[test]
fn a_responses_stream_agrees_with_itself() {
    for path in files("stream.", ".sse") {
        let stream = fs::read(&path).unwrap();
        let out = translated(Dialect::OpenaiResponses, &[&stream]);
        let events = data(&out);
        let numbers: Vec<u64> = events
            .iter()
            .map(|event| event["sequence_number"].as_u64().unwrap())
            .collect();
        assert_eq!(
            numbers,
            (0..numbers.len() as u64).collect::<Vec<_>>(),
            "{}",
            path.display()
        );
        let items: Vec<&Value> = events
            .iter()
            .filter(|event| event["type"] == "response.output_item.done")
            .map(|event| &event["item"])
            .collect();
        let last = events.last().unwrap();
        assert_eq!(
            last["response"]["output"]
                .as_array()
                .unwrap()
                .iter()
                .collect::<Vec<_>>(),
            items,
            "{}",
            path.display()
        );
        for (index, item) in items.into_iter().enumerate() {
            let said: String = events
                .iter()
                .filter(|event| event["output_index"] == index)
                .filter_map(|event| event["delta"].as_str())
                .collect();
            let holds = [
                "/summary/0/text",
                "/content/0/text",
                "/content/0/refusal",
                "/arguments",
                "/input",
            ]
            .iter()
            .find_map(|pointer| item.pointer(pointer))
            .unwrap();
            assert_eq!(holds, &said, "{}", path.display());
        }
    }
}

#[test]
fn a_stream_that_closes_early_never_ends_cleanly() {
    for dialect in DIALECTS.into_iter().chain([Dialect::OpenaiChat]) {
        let stream = fs::read(folder().join("stream.tools.sse")).unwrap();
        let end = stream.len() - "data: [DONE]\n\n".len();
        for cut in (0..=end).step_by(41) {
            let out = readable(&translated(dialect, &[&stream[..cut]]));
            let last = data(&out).pop().unwrap();
            let out = String::from_utf8(out).unwrap();
            let failed = match dialect {
                Dialect::AnthropicMessages => last["type"] == "error",
                Dialect::OpenaiResponses => last["type"] == "response.failed",
                Dialect::BedrockConverse => {
                    last["exception"] == "modelStreamErrorException" && !out.contains("messageStop")
                }
                Dialect::Cohere => last["delta"]["finish_reason"] == "ERROR" && !out.contains("usage"),
                Dialect::Ollama => last["error"].is_string() && !out.contains("\"done\":true"),
                Dialect::Gemini => last["error"]["status"] == "INTERNAL" && !out.contains("finishReason"),
                _ => last["error"]["type"] == "server_error" && !out.contains("[DONE]"),
            };
            assert!(failed, "{dialect} cut at {cut}");
        }
        // The end itself counts without its blank line too.
        let done = readable(&translated(dialect, &[&stream[..stream.len() - 2]]));
        let error = data(&done).iter().any(|event| {
            event["type"] == "error"
                || event["type"] == "response.failed"
                || event["error"].is_string()
                || event["exception"].is_string()
                || event["delta"]["finish_reason"] == "ERROR"
        });
        assert!(!error, "{dialect}");
    }
}

#[test]
fn a_translator_tells_usage() {
    let stream = fs::read(folder().join("stream.text.sse")).unwrap();
    for dialect in DIALECTS.into_iter().chain([Dialect::OpenaiChat]) {
        let mut translator = StreamTranslator::new(generate(dialect), ASKED);
        translator.push(&stream).unwrap();
        assert_eq!(
            translator.usage(),
            Some(Usage {
                input: 100,
                output: 20
            }),
            "{dialect}"
        );
        assert_eq!(translator.finish().unwrap(), Bytes::new());
    }
    assert_eq!(translated(Dialect::OpenaiChat, &[&stream]), stream);
}

#[test]
fn a_stream_that_is_no_chat_stream_is_an_error() {
    let call = |index: u64, name: &str, arguments: &str| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"delta": {"tool_calls": [
                {"index": index, "function": {"name": name, "arguments": arguments}}]}}]})
        )
    };
    for stream in [
        "data: {\"choices\":\n\n".to_owned(),
        "data: <html>\n\n".to_owned(),
        call(0, "", "{"),
        call(0, "a", "{") + &call(1, "b", "{") + &call(0, "", "}"),
    ] {
        for dialect in DIALECTS {
            // There are no calls in this one, so none is looked at.
            if dialect == Dialect::OpenaiCompletions && stream.contains("tool_calls") {
                continue;
            }
            let error = StreamTranslator::new(generate(dialect), ASKED)
                .push(stream.as_bytes())
                .unwrap_err();
            assert!(matches!(error, TranslateError::Reply(_)), "{error}");
            assert_eq!(error.status(), 502);
        }
    }
    for body in ["", "<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#] {
        for dialect in DIALECTS {
            let error = reply_from_chat(generate(dialect), &Bytes::from(body), ASKED).unwrap_err();
            assert_eq!(error.status(), 502, "{body}");
        }
    }
}

#[test]
fn what_needs_no_translation_need_not_be_understood() {
    let stream =
        ": hold on\n\ndata: <html>\n\ndata: {\"x\":\"\\ud800\"}\n\nevent: x\ndata: 1\n\ndata: [DONE]\n\n";
    assert_eq!(
        translated(Dialect::OpenaiChat, &[stream.as_bytes()]),
        stream.as_bytes()
    );
}

#[test]
fn a_call_id_is_one_that_every_provider_takes_back() {
    let chunk = json!({"id": "chatcmpl-7", "choices": [{"delta": {"tool_calls": [
        {"index": 0, "id": "functions.read:0\"", "function": {"name": "read", "arguments": "{}"}},
        {"index": 1, "function": {"name": "read", "arguments": "{}"}},
    ]}}]});
    let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let events = data(&translated(Dialect::AnthropicMessages, &[stream.as_bytes()]));
    let ids: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.pointer("/content_block/id"))
        .collect();
    assert_eq!(ids, ["functions_read_0_", "call_7_1"]);
}

#[test]
fn what_cannot_be_carried_over_is_refused_with_advice() {
    let anthropic = |body: Value| (Dialect::AnthropicMessages, body);
    let responses = |body: Value| (Dialect::OpenaiResponses, body);
    let block = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let hi = json!([{"role": "user", "content": "hi"}]);
    for ((dialect, body), expected) in [
        (anthropic(json!([])), "not a JSON object"),
        (anthropic(json!({})), "messages has to be"),
        (
            anthropic(json!({"messages": [1]})),
            "messages[0] has to be an object",
        ),
        (
            anthropic(json!({"messages": [{"role": "user"}]})),
            "messages[0].content has to be",
        ),
        (
            anthropic(json!({"messages": [{"role": "sys", "content": ""}]})),
            "role has to be",
        ),
        (
            anthropic(block(json!({"type": "text"}))),
            "messages[0].content[0].text has to be a string",
        ),
        (
            anthropic(block(json!({"type": "image"}))),
            "an image at messages[0].content[0]",
        ),
        (
            anthropic(block(json!({"type": "document", "source": {"type": "base64"}}))),
            "a file at",
        ),
        (
            anthropic(block(json!({"type": "container_upload"}))),
            "that only its provider reads",
        ),
        (
            anthropic(json!({"messages": hi, "mcp_servers": [{}]})),
            "connect the server in the client",
        ),
        (
            anthropic(json!({"messages": hi, "tool_choice": {"type": "any"}})),
            "tool_choice",
        ),
        (
            anthropic(json!({"messages": hi, "stream": "yes"})),
            "stream has to be true or false",
        ),
        (responses(json!({})), "input has to be"),
        (responses(json!({"input": []})), "at least one message"),
        (
            responses(json!({"input": "hi", "previous_response_id": "resp_1"})),
            "send the whole conversation",
        ),
        (
            responses(json!({"input": "hi", "conversation": "c"})),
            "send the whole conversation",
        ),
        (
            responses(json!({"input": "hi", "prompt": {"id": "p"}})),
            "send its text",
        ),
        (
            responses(json!({"input": "hi", "background": true})),
            "leave `background` out",
        ),
        (
            responses(json!({"input": [{"type": "item_reference", "id": "i"}]})),
            "send the item itself",
        ),
        (
            responses(json!({"input": [{"type": "computer_call"}]})),
            "only its provider reads",
        ),
        (
            responses(json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]})),
            "an image at input[0].content[0]",
        ),
        (
            responses(json!({"input": "hi", "tool_choice": {"type": "web_search"}})),
            "tool_choice",
        ),
        (
            responses(json!({"input": "hi", "tool_choice": "required", "tools": [{"type": "web_search"}]})),
            "tool",
        ),
    ] {
        let body = Bytes::from(body.to_string());
        let error = request_to_chat(generate(dialect), &body, "m").unwrap_err();
        assert!(error.message().contains(expected), "{body:?}: {error}");
        assert_eq!(error.status(), 400);
    }
    let models = Endpoint::new(Dialect::Models, Operation::ListModels);
    assert_eq!(
        request_to_chat(Asked::at(models, "/v1/models"), &Bytes::from("{}"), "m"),
        Err(TranslateError::Dialect(Dialect::Models))
    );
}

#[test]
fn counting_asks_for_the_prompt_alone() {
    let endpoint = Endpoint::new(Dialect::AnthropicMessages, Operation::CountTokens);
    let body = json!({"system": "s", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let chat = request_to_chat(
        Asked::at(endpoint, "/v1/messages/count_tokens"),
        &body.to_string().into(),
        "m",
    )
    .unwrap();
    let expected = json!({"model": "m", "messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": "hi"},
    ]});
    assert_eq!(serde_json::from_slice::<Value>(&chat).unwrap(), expected);
}

#[test]
fn a_chat_request_keeps_its_bytes() {
    let endpoint = generate(Dialect::OpenaiChat);
    for (before, after) in [
        (r#"{"model":"gpt", "n":1.0}"#, r#"{"model":"m\"1", "n":1.0}"#),
        (r#"{ "n":1e2 }"#, r#"{ "n":1e2 ,"model":"m\"1"}"#),
        ("{}", r#"{"model":"m\"1"}"#),
        (
            r#"{"stream":true}"#,
            r#"{"stream":true,"model":"m\"1","stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":null,"stream":true,"stream_options":null}"#,
            r#"{"model":"m\"1","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false, "x":1},"stream":true,"model":"a\u0062"}"#,
            r#"{"stream_options":{"include_usage":true, "x":1},"stream":true,"model":"m\"1"}"#,
        ),
        (
            r#"{"stream_options":{"x":1},"stream":true,"model":""}"#,
            r#"{"stream_options":{"x":1,"include_usage":true},"stream":true,"model":"m\"1"}"#,
        ),
        (
            r#"{"stream_options":{"x":1},"stream":false,"model":""}"#,
            r#"{"stream_options":{"x":1},"stream":false,"model":"m\"1"}"#,
        ),
    ] {
        let out = request_to_chat(endpoint, &Bytes::from(before), "m\"1").unwrap();
        assert_eq!(std::str::from_utf8(&out).unwrap(), after);
        assert!(
            !before.contains("stream\":true")
                || serde_json::from_slice::<Value>(&out).unwrap()["stream_options"]["include_usage"] == true
        );
    }
    // The depth was bounded when it was decoded, by a limit that is the company's to set.
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    assert!(request_to_chat(endpoint, &Bytes::from(deep), "m").is_ok());
    for bad in ["", "[]", "{", "1"] {
        assert_eq!(
            request_to_chat(endpoint, &Bytes::from(bad), "m"),
            Err(TranslateError::NotAnObject)
        );
    }
    assert!(!asks_for_usage(r#"{"messages":[],"stream":true}"#));
    assert!(asks_for_usage(
        r#"{"messages":[],"stream_options":{"include_usage":true}}"#
    ));
}

fn asks_for_usage(body: &str) -> bool {
    let endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);
    let body = Bytes::copy_from_slice(body.as_bytes());
    decode(endpoint, body, &Limits::default()).is_ok_and(|body| body.asks_for_usage())
}

fn generate(dialect: Dialect) -> Asked {
    let path = match dialect {
        Dialect::Gemini => "/v1beta/models/m:generateContent?alt=sse",
        Dialect::Ollama => "/api/chat",
        Dialect::Cohere => "/v2/chat",
        _ => "/",
    };
    Asked::at(Endpoint::new(dialect, Operation::Generate), path)
}

fn translated(dialect: Dialect, chunks: &[&[u8]]) -> Vec<u8> {
    let mut translator = StreamTranslator::new(generate(dialect), ASKED);
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&translator.push(chunk).unwrap());
    }
    out.extend_from_slice(&translator.finish().unwrap());
    out
}

fn data(stream: &[u8]) -> Vec<Value> {
    std::str::from_utf8(stream)
        .unwrap()
        .lines()
        // Ollama's lines are bare.
        .filter_map(|line| {
            line.strip_prefix("data: ")
                .or(line.starts_with('{').then_some(line))
        })
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// A stream as a golden file holds it: of Amazon's binary messages, a line each with the kind and the name in front.
fn readable(stream: &[u8]) -> Vec<u8> {
    // A message begins with its length, which is below 16 MiB; no other stream begins with a zero.
    if stream.first() != Some(&0) {
        return stream.to_vec();
    }
    let number = |at: usize| u32::from_be_bytes(stream[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut lines) = (0, String::new());
    while at < stream.len() {
        let (length, headers) = (number(at), number(at + 4));
        let payload = &stream[at + 12 + headers..at + length - 4];
        let mut message: Value = serde_json::from_slice(payload).unwrap();
        let mut rest = &stream[at + 12..at + 12 + headers];
        while !rest.is_empty() {
            let (name, tail) = rest[1..].split_at(usize::from(rest[0]));
            assert_eq!(tail[0], 7, "each header is a string");
            let length = usize::from(u16::from_be_bytes(tail[1..3].try_into().unwrap()));
            let value = std::str::from_utf8(&tail[3..3 + length]).unwrap();
            match name {
                b":event-type" => message["event"] = value.into(),
                b":exception-type" => message["exception"] = value.into(),
                b":content-type" => assert_eq!(value, "application/json"),
                _ => assert!(["event", "exception"].contains(&value)),
            }
            rest = &tail[3 + length..];
        }
        lines.push_str(&message.to_string());
        lines.push('\n');
        at += length;
    }
    lines.into_bytes()
}

fn pretty(body: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(body).unwrap();
    (serde_json::to_string_pretty(&value).unwrap() + "\n").into_bytes()
}

fn compare(golden: &Path, found: &[u8], wrong: &mut Vec<PathBuf>) {
    if fs::read(golden).ok().as_deref() != Some(found) {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(golden.file_name().unwrap());
        fs::write(&written, found).unwrap();
        wrong.push(written);
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate")
}

fn files(prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {prefix}*{suffix}");
    files
}
