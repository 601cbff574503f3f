//! What is taken as a request or a reply, what is refused, and what is read out besides the texts.

use std::fmt::Write as _;

use bytes::Bytes;
use cordon_domain::{Dialect, Role, Splice};
use cordon_wire::{
    DecodeError, Endpoint, JsonError, JsonFault, Limits, Operation, Usage, decode, decode_line, decode_reply,
    decode_reply_of, endpoint,
};

fn at(dialect: Dialect) -> Endpoint {
    Endpoint::new(dialect, Operation::Generate)
}

const DIALECTS: [Dialect; 3] = [
    Dialect::OpenaiChat,
    Dialect::OpenaiResponses,
    Dialect::AnthropicMessages,
];

fn failure(dialect: Dialect, body: &[u8]) -> DecodeError {
    match decode(at(dialect), Bytes::copy_from_slice(body), &Limits::default()) {
        Ok(_) => panic!("{dialect} took {}", String::from_utf8_lossy(body)),
        Err(error) => error,
    }
}

#[test]
fn a_body_of_another_shape_is_refused_with_what_was_expected() {
    let cases = [
        (Dialect::OpenaiChat, r#"[]"#, "a JSON object"),
        (Dialect::OpenaiChat, r#"{}"#, "`messages`"),
        (Dialect::OpenaiChat, r#"{"messages":"hi"}"#, "`messages`"),
        (
            Dialect::OpenaiChat,
            r#"{"messages":["hi"]}"#,
            "each of `messages`",
        ),
        (Dialect::OpenaiChat, r#"{"Messages":[]}"#, "in the case"),
        (Dialect::AnthropicMessages, r#"{"messages":{}}"#, "`messages`"),
        (
            Dialect::AnthropicMessages,
            r#"{"messages":[],"stream":"true"}"#,
            "`stream`",
        ),
        (Dialect::OpenaiChat, r#"{"messages":[],"model":["a"]}"#, "`model`"),
        (Dialect::OpenaiResponses, r#"{"model":"m"}"#, "`input`"),
        (Dialect::OpenaiResponses, r#"{"input":{}}"#, "`input`"),
        (
            Dialect::OpenaiResponses,
            r#"{"input":["a"]}"#,
            "each item of `input`",
        ),
        (
            Dialect::OpenaiResponses,
            r#"{"input":null,"prompt":{}}"#,
            "`input`",
        ),
        (Dialect::Models, r#"{}"#, "dialect"),
        (
            Dialect::OpenaiCompletions,
            r#"{"prompt":[1212,318]}"#,
            "LLM tokens",
        ),
        (
            Dialect::OpenaiCompletions,
            r#"{"prompt":["a",[1212]]}"#,
            "LLM tokens",
        ),
        (
            Dialect::OpenaiEmbeddings,
            r#"{"input":[[1212],[318]]}"#,
            "LLM tokens",
        ),
        (
            Dialect::Ollama,
            r#"{"prompt":"a","context":[1212]}"#,
            "LLM tokens",
        ),
        (Dialect::Ollama, r#"{"messages":["a"]}"#, "each of `messages`"),
        (Dialect::Gemini, r#"{"model":"g"}"#, "`contents`"),
        (Dialect::Gemini, r#"{"contents":["a"]}"#, "`contents`"),
        (Dialect::Gemini, r#"{"model":"g","request":{}}"#, "`contents`"),
        (Dialect::BedrockConverse, r#"{"system":[]}"#, "`messages`"),
        (
            Dialect::BedrockConverse,
            r#"{"input":{"invokeModel":{"body":"aGk="}}}"#,
            "is encoded",
        ),
        (Dialect::Cohere, r#"{"messages":"a"}"#, "`messages`"),
        (Dialect::Mcp, r#"{"method":"tools/call"}"#, "JSON-RPC"),
        (Dialect::Mcp, r#"[{"jsonrpc":"2.0"},{}]"#, "JSON-RPC"),
    ];
    for (dialect, body, expected) in cases {
        let error = failure(dialect, body.as_bytes());
        assert!(matches!(error, DecodeError::Shape { .. }), "{body}");
        assert_eq!(error.status(), 400);
        assert!(error.message().contains(expected), "{body}: {}", error.message());
    }
}

/// Ollama and other servers in Go read names of members in any case.
#[test]
fn a_name_in_another_case_does_not_hide_words_or_numbers() {
    for (dialect, body) in [
        (Dialect::Ollama, r#"{"prompt":"hi","Context":[1212,318]}"#),
        (
            Dialect::Ollama,
            r#"{"Messages":[{"role":"user","content":"secret"}]}"#,
        ),
        (Dialect::OpenaiCompletions, r#"{"Prompt":[1212,318]}"#),
        (
            Dialect::OpenaiChat,
            r#"{"messages":[],"me\u017fsages":[{"role":"user","content":"secret"}]}"#,
        ),
        (
            Dialect::OpenaiChat,
            r#"{"messages":[{"role":"user","content":"hi","CONTENT":"secret"}]}"#,
        ),
        (
            Dialect::OpenaiResponses,
            r#"{"input":[{"Role":"user","content":"a"}]}"#,
        ),
        (Dialect::OpenaiEmbeddings, r#"{"content":[1212]}"#),
        (
            Dialect::Mcp,
            r#"[{"jsonrpc":"2.0","method":"tools/call","params":{"Arguments":{"q":"secret"}}}]"#,
        ),
    ] {
        assert_eq!(failure(dialect, body.as_bytes()).status(), 400, "{body}");
    }
    // Names of the caller's own choice are nobody's.
    let own = r#"{"messages":[],"metadata":{"Title":"a"},"tools":[{"function":{"parameters":{"Name":{}}}}]}"#;
    assert!(decode(at(Dialect::OpenaiChat), own.into(), &Limits::default()).is_ok());
}

#[test]
fn errors_tell_a_position_and_never_content() {
    for dialect in DIALECTS {
        let error = failure(
            dialect,
            b"{\"messages\":[],\"input\":[],\"hunter2\":1,\"hunter2\":2}",
        );
        let expected = JsonError {
            offset: 38,
            fault: JsonFault::DuplicateKey,
        };
        assert_eq!(error, DecodeError::Json(expected));
        assert_eq!(
            error.message(),
            "the body is not acceptable JSON: duplicate key at byte 38"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
        for hostile in [
            &b"\xFF\xFE"[..],
            b"",
            b"{\"a\":\"\\ud800\"}",
            b"{\"messages\":[]}x",
            b"\0",
        ] {
            assert_eq!(failure(dialect, hostile).status(), 400);
        }
    }
}

#[test]
fn every_prefix_of_a_body_is_refused() {
    let body = br#"{"messages":[{"role":"user","content":"a\ud83d\ude00 \"b\""}],"n":[1.5e3,true,null]}"#;
    for end in 0..body.len() {
        assert_eq!(failure(Dialect::OpenaiChat, &body[..end]).status(), 400, "{end}");
    }
}

#[test]
fn nesting_over_the_limit_is_refused_at_any_depth() {
    for depth in [63, 64, 65, 10_000, 1_000_000] {
        let body = format!(
            "{{\"messages\":[],\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        let decoded = decode(at(Dialect::OpenaiChat), body.into(), &Limits::default());
        assert_eq!(decoded.is_ok(), depth < 64, "{depth}");
    }
}

#[test]
fn many_keys_are_compared_in_time() {
    let mut body = String::from("{\"messages\":[]");
    for n in 0..50_000 {
        write!(body, ",\"{}{n}\":0", "k".repeat(100)).unwrap();
    }
    assert!(
        decode(
            at(Dialect::OpenaiChat),
            format!("{body}}}").into(),
            &Limits {
                max_text: 64 << 20,
                ..Limits::default()
            }
        )
        .is_ok()
    );
    let twice = format!("{body},\"{}7\":0}}", "k".repeat(100));
    assert_eq!(failure(Dialect::OpenaiChat, twice.as_bytes()).status(), 400);
}

#[test]
fn model_and_stream_are_read_out() {
    let body = r#"{"mod\u0065l":"gpt-\u0035","stream":true,"messages":[]}"#;
    let decoded = decode(at(Dialect::OpenaiChat), body.into(), &Limits::default()).unwrap();
    assert_eq!((decoded.model(), decoded.stream()), (Some("gpt-5"), true));
    assert_eq!(decoded.endpoint(), at(Dialect::OpenaiChat));
    let decoded = decode(
        at(Dialect::OpenaiChat),
        r#"{"messages":[],"stream":null}"#.into(),
        &Limits::default(),
    );
    let decoded = decoded.unwrap();
    assert_eq!((decoded.model(), decoded.stream()), (None, false));
    assert_eq!(
        format!("{decoded:?}"),
        "RequestBody { endpoint: Endpoint { dialect: OpenaiChat, operation: Generate }, bytes: 29, segments: 0, .. }"
    );
}

#[test]
fn what_the_path_says_goes_before_the_body() {
    let path = "/openai/deployments/ours/chat/completions?api-version=1";
    let azure = endpoint("POST", None, path).unwrap();
    let body = decode(
        azure,
        r#"{"model":"theirs","messages":[]}"#.into(),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(body.at_path(None, path).model(), Some("ours"));
    let path = "/v1/chat/completions";
    let plain = endpoint("POST", None, path).unwrap();
    let body = decode(
        plain,
        r#"{"model":"theirs","messages":[]}"#.into(),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(body.at_path(None, path).model(), Some("theirs"));

    for (path, body, streamed) in [
        (
            "/v1beta/models/g:streamGenerateContent",
            r#"{"contents":[]}"#,
            true,
        ),
        (
            "/v1beta/models/g:generateContent",
            r#"{"contents":[],"stream":true}"#,
            false,
        ),
        ("/model/m/converse-stream", r#"{"messages":[]}"#, true),
        ("/api/chat", r#"{"messages":[]}"#, true),
        ("/api/chat", r#"{"messages":[],"stream":false}"#, false),
        ("/api/embed", r#"{"input":"a"}"#, false),
    ] {
        let decoded = decode(
            endpoint("POST", None, path).unwrap(),
            body.into(),
            &Limits::default(),
        )
        .unwrap();
        assert_eq!(decoded.stream(), streamed, "{path}");
    }
}

#[test]
fn a_line_is_the_request_of_its_url() {
    let line = r#"{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"m","instructions":"s","input":"u"}}"#;
    let decoded = decode_line(line.into(), &Limits::default()).unwrap();
    assert_eq!(decoded.endpoint().dialect, Dialect::OpenaiResponses);
    assert_eq!(decoded.model(), Some("m"));
    let role = |place: &str| {
        let at = decoded.segments().iter().find(|s| s.place.as_str() == place);
        at.unwrap().role
    };
    assert_eq!(
        (role("/body/instructions"), role("/body/input")),
        (Role::System, Role::User)
    );
    assert_eq!(role("/custom_id"), Role::Other);

    let tuning = decode_line(
        r#"{"messages":[{"role":"user","content":"u"}]}"#.into(),
        &Limits::default(),
    );
    assert!(tuning.unwrap().segments().iter().any(|s| s.role == Role::User));
    for bad in [
        r#"{"url":"/v1/elsewhere","body":{"messages":[]}}"#,
        r#"{"url":"/v1/embeddings","body":{"input":[1212]}}"#,
        r#"{"url":"/v1/chat/completions","body":{}}"#,
        r#"{"custom_id":"1","body":{"prompt":[1212]}}"#,
        "{}{}",
    ] {
        let error = decode_line(bad.into(), &Limits::default()).unwrap_err();
        assert_eq!(error.status(), 400, "{bad}");
    }
}

#[test]
fn a_batch_asks_for_a_model_that_all_its_requests_ask_for() {
    let batch = |second: &str| {
        let body = format!(
            r#"{{"requests":[{{"params":{{"model":"a","messages":[]}}}},{{"params":{{"model":"{second}","messages":[]}}}}]}}"#
        );
        let endpoint = Endpoint::new(Dialect::AnthropicBatches, Operation::Upload);
        decode(endpoint, body.into(), &Limits::default()).unwrap()
    };
    assert_eq!(batch("a").model(), Some("a"));
    assert_eq!(batch("b").model(), None);
}

#[test]
fn listing_models_has_no_body() {
    let list = Endpoint::new(Dialect::Models, Operation::ListModels);
    let decoded = decode(list, Bytes::new(), &Limits::default()).unwrap();
    assert!(decoded.segments().is_empty() && decoded.splice(&[]).unwrap().is_empty());
    assert_eq!(
        decode(list, "{}".into(), &Limits::default())
            .err()
            .map(|e| e.status()),
        Some(400)
    );
}

#[test]
fn a_misspelt_role_does_not_hide_a_users_words() {
    let body =
        r#"{"messages":[{"role":"User","content":"a"},{"content":[{"text":"b"}]},{"role":7,"content":"c"}]}"#;
    let decoded = decode(at(Dialect::OpenaiChat), body.into(), &Limits::default()).unwrap();
    for text in ["a", "b", "c"] {
        let segment = decoded
            .segments()
            .iter()
            .find(|s| s.text.as_str() == text)
            .unwrap();
        assert_eq!(segment.role, Role::User, "{text}");
    }
}

#[test]
fn replies_tell_their_model_and_usage() {
    let cases = [
        (
            Dialect::OpenaiChat,
            r#"{"model":"m","usage":{"prompt_tokens":7,"completion_tokens":5}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::OpenaiResponses,
            r#"{"model":"m","usage":{"input_tokens":7,"output_tokens":5}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"model":"m","usage":{"input_tokens":7,"cache_read_input_tokens":100,"cache_creation_input_tokens":null,"output_tokens":5}}"#,
            Some((107, 5)),
        ),
        (
            Dialect::AnthropicMessages,
            r#"{"model":"m","input_tokens":2095}"#,
            Some((2095, 0)),
        ),
        (
            Dialect::Gemini,
            r#"{"modelVersion":"m","usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":3,"thoughtsTokenCount":2}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::Gemini,
            r#"{"response":{"modelVersion":"m","usageMetadata":{"promptTokenCount":7,"totalTokenCount":7}}}"#,
            Some((7, 0)),
        ),
        (Dialect::Gemini, r#"{"model":"m","totalTokens":7}"#, Some((7, 0))),
        (
            Dialect::Cohere,
            r#"{"model":"m","usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":7,"output_tokens":5}}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::Cohere,
            r#"{"model":"m","meta":{"billed_units":{"input_tokens":7,"output_tokens":5}}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::Ollama,
            r#"{"model":"m","prompt_eval_count":7,"eval_count":5}"#,
            Some((7, 5)),
        ),
        (
            Dialect::BedrockConverse,
            r#"{"model":"m","usage":{"inputTokens":4,"cacheReadInputTokens":3,"outputTokens":5}}"#,
            Some((7, 5)),
        ),
        (
            Dialect::BedrockConverse,
            r#"{"model":"m","inputTokens":7}"#,
            Some((7, 0)),
        ),
        (
            Dialect::BedrockInvoke,
            r#"{"model":"m","prompt_token_count":7,"generation_token_count":5}"#,
            Some((7, 5)),
        ),
        (Dialect::OpenaiChat, r#"{"model":"m","usage":null}"#, None),
        (
            Dialect::OpenaiChat,
            r#"{"model":"m","usage":{"prompt_tokens":-1}}"#,
            None,
        ),
    ];
    for (dialect, body, usage) in cases {
        let reply = decode_reply(at(dialect), body.into(), &Limits::default()).unwrap();
        assert_eq!(reply.model(), Some("m"));
        assert_eq!(
            reply.usage(),
            usage.map(|(input, output)| Usage { input, output }),
            "{body}"
        );
    }
    assert!(decode_reply(at(Dialect::OpenaiChat), "<html>".into(), &Limits::default()).is_err());
}

#[test]
fn what_an_endpoint_gives_out_need_not_be_json() {
    let limits = Limits::default();
    let speech = Endpoint::new(Dialect::OpenaiAudio, Operation::Convert);
    let file = Endpoint::new(Dialect::OpenaiFiles, Operation::Manage);
    let sound: &[u8] = b"ID3\xFF\x00 [NAME_K7QX]";
    for (endpoint, kind) in [
        (speech, "audio/mpeg"),
        (file, "application/octet-stream"),
        (file, "text/plain"),
    ] {
        let reply = decode_reply_of(endpoint, kind, Bytes::from_static(sound), &limits).unwrap();
        assert!(reply.segments().is_empty());
        assert_eq!(reply.splice(&[]).unwrap(), sound);
    }
    let said = decode_reply_of(
        speech,
        "text/plain; charset=utf-8",
        "I am [NAME_K7QX].\n".into(),
        &limits,
    )
    .unwrap();
    let edit = cordon_domain::Edit {
        segment: 0,
        span: 5..16,
        replacement: "Jo".into(),
    };
    assert_eq!(said.splice(&[edit]).unwrap(), "I am Jo.\n");
    let json = decode_reply_of(
        speech,
        "application/json",
        r#"{"text":"[NAME_K7QX]"}"#.into(),
        &limits,
    )
    .unwrap();
    assert_eq!(json.segments()[0].text.as_str(), "[NAME_K7QX]");
    // What a batch answered, a line each.
    let line =
        r#"{"custom_id":"1","response":{"body":{"choices":[{"message":{"content":"I am [NAME_K7QX]."}}]}}}"#;
    let lines = format!("{line}\n{line}\n");
    for (endpoint, kind) in [
        (file, "application/octet-stream"),
        (
            Endpoint::new(Dialect::AnthropicBatches, Operation::Manage),
            "application/x-jsonl",
        ),
    ] {
        let answers = decode_reply_of(endpoint, kind, lines.clone().into(), &limits).unwrap();
        let held = |s: &&cordon_domain::Segment| s.text.as_str() == "I am [NAME_K7QX].";
        assert_eq!(answers.segments().iter().filter(held).count(), 2);
        let at = answers.segments().iter().rposition(|s| held(&s)).unwrap();
        let edit = cordon_domain::Edit {
            segment: at,
            span: 5..16,
            replacement: "\"Jo\"".into(),
        };
        let expected = format!("{line}\n{}\n", line.replace("[NAME_K7QX]", r#"\"Jo\""#));
        assert_eq!(answers.splice(&[edit]).unwrap(), expected);
    }
    let nothing = decode_reply_of(at(Dialect::Mcp), "", Bytes::new(), &limits).unwrap();
    assert!(nothing.splice(&[]).unwrap().is_empty());
    assert!(decode_reply_of(at(Dialect::OpenaiChat), "text/plain", "hi".into(), &limits).is_err());
}
