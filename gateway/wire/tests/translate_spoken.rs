//! Upstreams that speak Anthropic's messages or Gemini and not `openai-chat`: what they are asked, and what becomes of
//! their replies. Shapes are those of the providers' published examples.

#![expect(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use std::{fs, path::Path};

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Endpoint, Operation, Spoken, StreamTranslator, TranslateError, endpoint, rename_in_target,
    rename_model, request_from_chat, translate_reply,
};
use serde_json::{Value, json};

#[path = "translate_spoken/told.rs"]
mod told;
use told::{Told, told};

#[path = "translate_spoken/counts.rs"]
mod counts;

#[path = "translate_spoken/thinking.rs"]
mod thinking;

const CREATED: u64 = 1_767_225_600;

fn asked(path: &str) -> Asked {
    Asked::at(endpoint("POST", None, path).unwrap(), path)
}

fn chat() -> Asked {
    asked("/v1/chat/completions")
}

fn request(spoken: Spoken, model: &str, body: &Value) -> Result<Value, TranslateError> {
    let body = request_from_chat(spoken, &body.to_string().into(), model)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

fn reply(spoken: Spoken, body: &Value) -> Result<Value, TranslateError> {
    let body = translate_reply(chat(), spoken, &body.to_string().into(), "gpt", CREATED)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

/// A streamed reply to that question, its bytes one by one; the upstream closes as it should.
fn stream(asked: Asked, spoken: Spoken, upstream: &[u8]) -> String {
    let mut translator = StreamTranslator::new(asked, "asked-model").spoken(spoken, CREATED);
    let mut out = Vec::new();
    for byte in upstream.chunks(1) {
        out.extend_from_slice(&translator.push(byte).unwrap());
    }
    out.extend_from_slice(&translator.close().unwrap());
    String::from_utf8(out).unwrap()
}

fn conversation() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({
        "model": "gpt", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo and Rome?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]},
            {"role": "assistant", "content": "I look.", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
                {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "19 degrees"}]},
            {"role": "user", "content": "Go on."},
            {"role": "system", "content": "Answer in JSON."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "Tells the weather", "parameters": schema}},
            {"type": "function", "function": {"name": "now"}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}},
        "max_completion_tokens": 128, "temperature": 1.5, "top_p": 0.9, "stop": "END", "seed": 7,
        "presence_penalty": 0.1, "frequency_penalty": 0.2, "logit_bias": {"1": 2}, "user": "u",
    })
}

#[test]
fn a_conversation_becomes_anthropics() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    assert_eq!(
        request(Spoken::Messages, "claude", &conversation()).unwrap(),
        json!({
            "model": "claude", "max_tokens": 128, "stream": true,
            "system": "Be brief.\n\nAnswer in JSON.",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo and Rome?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]},
                {"role": "assistant", "content": [{"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "4 degrees"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "19 degrees"},
                    {"type": "text", "text": "Go on."}]},
            ],
            "tools": [{"name": "weather", "description": "Tells the weather", "input_schema": schema},
                {"name": "now", "input_schema": {"type": "object", "properties": {}}}],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": true},
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
            "temperature": 1, "top_p": 0.9, "stop_sequences": ["END"],
        })
    );
}

#[test]
fn a_conversation_becomes_geminis() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let call =
        |id: &str, city: &str| json!({"functionCall": {"id": id, "name": "weather", "args": {"city": city}}});
    let response = |id: &str, output: &str| json!({"functionResponse": {"id": id, "name": "weather", "response": {"output": output}}});
    let mut first = call("call_1", "Oslo");
    first["thoughtSignature"] = "skip_thought_signature_validator".into();
    let mut expected = json!({
        "systemInstruction": {"parts": [{"text": "Be brief.\n\nAnswer in JSON."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Oslo and Rome?"},
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
            {"role": "model", "parts": [{"text": "I look."}, first, call("call_2", "Rome")]},
            {"role": "user", "parts": [response("call_1", "4 degrees"), response("call_2", "19 degrees"),
                {"text": "Go on."}]},
        ],
        "tools": [{"functionDeclarations": [
            {"name": "weather", "description": "Tells the weather", "parametersJsonSchema": schema},
            {"name": "now", "parametersJsonSchema": {"type": "object", "properties": {}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "generationConfig": {"maxOutputTokens": 128, "temperature": 1.5, "topP": 0.9, "seed": 7,
            "presencePenalty": 0.1, "frequencyPenalty": 0.2, "stopSequences": ["END"],
            "responseMimeType": "application/json", "responseJsonSchema": schema},
    });
    assert_eq!(
        request(Spoken::Gemini, "gemini-3-pro", &conversation()).unwrap(),
        expected
    );
    // Earlier models sign nothing.
    expected["contents"][1]["parts"][1] = call("call_1", "Oslo");
    assert_eq!(
        request(Spoken::Gemini, "gemini-2.5-pro", &conversation()).unwrap(),
        expected
    );
}

#[test]
fn choices_and_forms_have_their_counterparts() {
    let body = |more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "a"}}]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (more, anthropic, gemini) in [
        (json!({}), json!({"type": "auto"}), Value::Null),
        (
            json!({"tool_choice": "none", "parallel_tool_calls": false}),
            json!({"type": "none"}),
            json!("NONE"),
        ),
        (
            json!({"tool_choice": "required"}),
            json!({"type": "any"}),
            json!("ANY"),
        ),
        (
            json!({"parallel_tool_calls": false}),
            json!({"type": "auto", "disable_parallel_tool_use": true}),
            Value::Null,
        ),
    ] {
        let made = request(Spoken::Messages, "m", &body(more.clone())).unwrap();
        assert_eq!(made["tool_choice"], anthropic);
        assert_eq!(made["max_tokens"], 4096, "there has to be a bound");
        let made = request(Spoken::Gemini, "m", &body(more)).unwrap();
        assert_eq!(made["toolConfig"]["functionCallingConfig"]["mode"], gemini);
    }
    let object = body(json!({"response_format": {"type": "json_object"}}));
    let made = request(Spoken::Messages, "m", &object).unwrap();
    assert_eq!(made["system"], "Answer with one JSON object and nothing else.");
    let made = request(Spoken::Gemini, "m", &object).unwrap();
    assert_eq!(made["generationConfig"]["responseMimeType"], "application/json");
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    let hi = json!([{"role": "user", "content": "hi"}]);
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    for (body, named) in [
        (json!({}), "messages has to be"),
        (
            json!({"messages": [{"role": "system", "content": "s"}]}),
            "no instruction",
        ),
        (json!({"messages": hi, "n": 2}), "ask several times"),
        (json!({"messages": hi, "functions": []}), "use `tools`"),
        (
            json!({"messages": hi, "modalities": ["text", "audio"]}),
            "an answer in text",
        ),
        (json!({"messages": hi, "tool_choice": "required"}), "tool_choice"),
        (
            json!({"messages": hi, "tool_choice": {"type": "function", "function": {"name": "b"}}}),
            "tool_choice",
        ),
        (
            json!({"messages": hi, "tools": [{"type": "custom", "custom": {"name": "a"}}]}),
            "tools[0]",
        ),
        (
            json!({"messages": hi, "response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (
            json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}),
            "messages[0] has to be the result of a tool call",
        ),
        (
            part(json!({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}})),
            "send its data as a `data:` URL",
        ),
        (
            part(json!({"type": "input_audio"})),
            "a file at messages[0].content[0]",
        ),
    ] {
        for spoken in [Spoken::Messages, Spoken::Gemini] {
            let error = request(spoken, "m", &body).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.message().contains(named), "{named}: {error}");
        }
    }
}

#[test]
fn anthropics_reply_becomes_chats() {
    let message = json!({
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "thinking", "thinking": "Look.", "signature": "c2ln"}, {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 40, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 50, "output_tokens": 20},
    });
    assert_eq!(
        reply(Spoken::Messages, &message).unwrap(),
        json!({
            "id": "chatcmpl-01XFDUDYJgAACzvnptvVoYEL", "object": "chat.completion", "created": CREATED,
            "model": "claude-sonnet-4-5",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message":
                {"role": "assistant", "reasoning_content": "Look.", "content": "I look.", "refusal": null, "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
                    {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 50}, "completion_tokens_details": {"reasoning_tokens": 0}},
        })
    );
    for (reason, finish) in [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
    ] {
        let message = json!({"content": [{"type": "text", "text": "Hi"}], "stop_reason": reason, "stop_sequence": "END"});
        let made = reply(Spoken::Messages, &message).unwrap();
        assert_eq!(made["choices"][0]["finish_reason"], finish, "{reason}");
    }
    for broken in [json!([]), json!({}), json!({"content": "x"})] {
        assert_eq!(reply(Spoken::Messages, &broken).unwrap_err().status(), 502);
    }
}

#[test]
fn geminis_reply_becomes_chats() {
    let answer = json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Look.", "thought": true}, {"text": "I "}, {"text": "look."},
            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"id": "f2", "name": "now"}}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5,
            "cachedContentTokenCount": 50, "totalTokenCount": 120},
        "modelVersion": "gemini-2.5-pro", "responseId": "r-1",
    });
    assert_eq!(
        reply(Spoken::Gemini, &answer).unwrap(),
        json!({
            "id": "chatcmpl-r-1", "object": "chat.completion", "created": CREATED, "model": "gemini-2.5-pro",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message":
                {"role": "assistant", "reasoning_content": "Look.", "content": "I look.", "refusal": null, "tool_calls": [
                    {"id": "call_r-1_0", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
                    {"id": "f2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 50}, "completion_tokens_details": {"reasoning_tokens": 5}},
        })
    );
    for (answer, finish) in [
        (
            json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "MAX_TOKENS"}]}),
            "length",
        ),
        (
            json!({"candidates": [{"finishReason": "SAFETY"}]}),
            "content_filter",
        ),
        (
            json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}),
            "content_filter",
        ),
        (
            json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
            "content_filter",
        ),
    ] {
        let made = reply(Spoken::Gemini, &answer).unwrap();
        assert_eq!(made["choices"][0]["finish_reason"], finish);
    }
    assert_eq!(reply(Spoken::Gemini, &json!({})).unwrap_err().status(), 502);
}

#[test]
fn anthropics_stream_becomes_chats() {
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": [],
            "usage": {"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I look."}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"city\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"Oslo\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_stop"}),
    ];
    let written = |events: &[Value]| -> String {
        let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        events.iter().map(line).collect()
    };
    let out = stream(chat(), Spoken::Messages, written(&events).as_bytes());
    assert_eq!(
        told(&out),
        Told {
            thoughts: "Hm.".into(),
            words: "I look.".into(),
            calls: vec![
                ("weather".into(), json!({"city": "Oslo"}).to_string()),
                ("now".into(), "{}".into())
            ],
            finish: Some("tool_calls".into()),
            counts: Some((100, 60, 20)),
            done: true,
            failed: false,
        }
    );
    assert!(!out.contains("c2ln"), "the signature is for nobody else: {out}");
    for cut in 0..events.len() {
        let out = stream(chat(), Spoken::Messages, written(&events[..cut]).as_bytes());
        assert!(!told(&out).done, "cut off before event {cut}");
    }
    let mut failed = events[..8].to_vec();
    failed.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    let told = told(&stream(chat(), Spoken::Messages, written(&failed).as_bytes()));
    assert!(told.failed && !told.done);
}

#[test]
fn geminis_stream_becomes_chats() {
    let item = |parts: Value, finish: Option<&str>| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}],
            "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5},
            "modelVersion": "gemini-2.5-pro", "responseId": "r-1"})
    };
    let items = [
        item(json!([{"text": "Hm.", "thought": true}]), None),
        item(json!([{"text": "I "}]), None),
        item(json!([{"text": "look."}]), None),
        item(
            json!([{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}, {"functionCall": {"name": "now"}}]),
            None,
        ),
        item(json!([{"text": ""}]), Some("STOP")),
    ];
    let written =
        |items: &[Value]| -> String { items.iter().map(|item| format!("data: {item}\r\n\r\n")).collect() };
    let out = stream(chat(), Spoken::Gemini, written(&items).as_bytes());
    assert_eq!(
        told(&out),
        Told {
            thoughts: "Hm.".into(),
            words: "I look.".into(),
            calls: vec![
                ("weather".into(), json!({"city": "Oslo"}).to_string()),
                ("now".into(), "{}".into())
            ],
            finish: Some("tool_calls".into()),
            counts: Some((100, 0, 20)),
            done: true,
            failed: false,
        }
    );
    assert!(out.contains("call_r-1_0") && out.contains("call_r-1_1"), "{out}");
    for cut in 0..items.len() {
        let out = stream(chat(), Spoken::Gemini, written(&items[..cut]).as_bytes());
        assert!(!told(&out).done, "cut off before item {cut}");
    }
    let broken = written(&items[..2])
        + "data: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n";
    let told = told(&stream(chat(), Spoken::Gemini, broken.as_bytes()));
    assert!(told.failed && !told.done);
}

/// What our own writers make of a stream of chat says the same once it is read back.
#[test]
fn a_stream_that_was_translated_is_read_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate");
    for name in ["text", "tools", "length", "refusal", "empty", "error", "cut-off"] {
        let source = fs::read(folder.join(format!("stream.{name}.sse"))).unwrap();
        let mut expected = told(std::str::from_utf8(&source).unwrap());
        for (spoken, path) in [
            (Spoken::Messages, "/v1/messages"),
            (Spoken::Gemini, "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ] {
            let mut there = StreamTranslator::new(asked(path), "m");
            let mut written = there.push(&source).unwrap().to_vec();
            written.extend_from_slice(&there.finish().unwrap());
            let back = told(&stream(chat(), spoken, &written));
            // Where nothing came of it both say so; which words an error has is theirs.
            if name == "cut-off" {
                assert!(back.failed && !back.done, "{spoken:?}");
                continue;
            }
            if spoken == Spoken::Messages && name == "refusal" {
                // Anthropic has a reason of its own for it.
                assert_eq!(back.finish.as_deref(), Some("content_filter"));
                expected.finish.clone_from(&back.finish);
            }
            if name == "empty" {
                expected.counts = back.counts;
            }
            if name == "refusal" && spoken == Spoken::Gemini {
                expected.finish = Some("stop".into());
            }
            assert_eq!(back, expected, "{name} by {spoken:?}");
        }
    }
}

#[test]
fn a_caller_of_a_third_dialect_is_answered_too() {
    let message = json!({"id": "msg_1", "model": "claude", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "stop_sequence",
        "stop_sequence": "END", "usage": {"input_tokens": 3, "output_tokens": 1}});
    let body = Bytes::from(message.to_string());
    let made = translate_reply(asked("/api/chat"), Spoken::Messages, &body, "llama3.2", CREATED).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&made).unwrap(),
        json!({"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "Hi"},
            "done": true, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 1})
    );
    let item = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "responseId": "r"});
    let out = stream(
        asked("/v1/messages"),
        Spoken::Gemini,
        format!("data: {item}\n\n").as_bytes(),
    );
    assert!(out.contains("text_delta") && out.contains("end_turn"), "{out}");
    assert!(out.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{out}");
}

#[test]
fn an_upstream_is_asked_where_its_dialect_has_it() {
    let plain = Bytes::from(r#"{"stream":false}"#);
    let streamed = Bytes::from(r#"{"stream":true}"#);
    assert_eq!(Spoken::Chat.target(&plain, "m"), "/v1/chat/completions");
    assert_eq!(Spoken::Messages.target(&streamed, "m"), "/v1/messages");
    assert_eq!(
        Spoken::Gemini.target(&plain, "models/gemini-2.5-pro"),
        "/v1beta/models/gemini-2.5-pro:generateContent"
    );
    assert_eq!(
        Spoken::Gemini.target(&streamed, "../a b"),
        "/v1beta/models/..%2Fa%20b:streamGenerateContent?alt=sse"
    );
    assert_eq!(
        Spoken::Gemini.target(&plain, ".."),
        "/v1beta/models/%2E%2E:generateContent"
    );
    let dialects = |list: &[Dialect]| Spoken::among(list);
    assert_eq!(
        dialects(&[Dialect::Gemini, Dialect::OpenaiChat]),
        Some(Spoken::Chat)
    );
    assert_eq!(
        dialects(&[Dialect::Gemini, Dialect::AnthropicMessages]),
        Some(Spoken::Messages)
    );
    assert_eq!(dialects(&[Dialect::Cohere, Dialect::Ollama]), None);
}

#[test]
fn a_configured_model_takes_the_callers_place() {
    let body = Bytes::from(r#"{"model": "opus", "stream":true, "x":1.0}"#);
    assert_eq!(
        &rename_model(&body, "claude\"s").unwrap()[..],
        br#"{"model": "claude\"s", "stream":true, "x":1.0}"#
    );
    assert_eq!(
        rename_in_target(
            "/v1beta/models/g-1:streamGenerateContent?alt=sse",
            "gemini-2.5/pro"
        )
        .as_deref(),
        Some("/v1beta/models/gemini-2.5%2Fpro:streamGenerateContent?alt=sse")
    );
    assert_eq!(rename_in_target("/v1internal:generateContent", "g"), None);
}

#[test]
fn a_dialect_that_is_not_translated_is_refused_with_advice() {
    for (dialect, path) in [
        (Dialect::BedrockInvoke, "/model/m/invoke"),
        (Dialect::OpenaiRealtime, "/v1/realtime"),
    ] {
        let asked = Asked::at(Endpoint::new(dialect, Operation::Generate), path);
        let error = cordon_wire::request_to_chat(asked, &Bytes::from("{}"), "m").unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.message().contains("POST /v1/chat/completions"), "{error}");
    }
}
