//! Bedrock's Converse, Cohere and the older completions: what is counted, what is refused, and that an editor takes
//! their translated streams for whole ones.

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Channel, Endpoint, Framing, Limits, Operation, Rewrite, StreamEditor, StreamTranslator,
    TranslateError, Usage, endpoint, request_to_chat,
};
use serde_json::{Value, json};

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";
const CONVERSE_STREAM: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream";
const COHERE: &str = "/v2/chat";
const COMPLETIONS: &str = "/v1/completions";

fn asked(path: &str) -> Asked {
    let endpoint = endpoint("POST", None, path).expect("the path is an endpoint's");
    Asked::at(endpoint, path)
}

fn to_chat(path: &str, body: &Value) -> Result<Value, TranslateError> {
    let chat = request_to_chat(asked(path), &Bytes::from(body.to_string()), "smollm2")?;
    Ok(serde_json::from_slice(&chat).expect("what is made is JSON"))
}

#[test]
fn the_path_says_whether_converse_streams() {
    let body = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
    assert_eq!(to_chat(CONVERSE, &body).unwrap().get("stream"), None);
    let streamed = to_chat(CONVERSE_STREAM, &body).unwrap();
    assert_eq!(
        (&streamed["stream"], &streamed["stream_options"]["include_usage"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(asked(CONVERSE_STREAM).framing(), Framing::Messages);
    assert_eq!(
        asked(CONVERSE_STREAM).stream_type(),
        "application/vnd.amazon.eventstream"
    );
}

#[test]
fn bedrock_counts_a_conversation() {
    let path = "/model/m/count-tokens";
    let conversation =
        json!({"system": [{"text": "s"}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
    let body = json!({"input": {"converse": conversation}});
    assert_eq!(
        to_chat(path, &body).unwrap()["messages"],
        json!([{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}])
    );
    assert_eq!(&asked(path).count(12)[..], br#"{"inputTokens":12}"#);
    let error = to_chat(path, &json!({"input": {"invokeModel": {"body": "e30="}}})).unwrap_err();
    assert!(
        error
            .message()
            .contains("count what you would send to `converse`"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    let block = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let hi = json!([{"role": "user", "content": [{"text": "hi"}]}]);
    let said = json!([{"role": "user", "content": "hi"}]);
    for (path, body, named) in [
        (CONVERSE, json!({}), "messages has to be"),
        (
            CONVERSE,
            json!({"messages": [{"role": "bishop", "content": []}]}),
            "role has to be",
        ),
        (
            CONVERSE,
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            "messages[0].content has to be an array",
        ),
        (
            CONVERSE,
            block(json!({"image": {"format": "png", "source": {"bytes": "aGk="}}})),
            "an image at messages[0].content[0]",
        ),
        (
            CONVERSE,
            block(json!({"document": {"name": "d", "format": "pdf", "source": {"bytes": "aGk="}}})),
            "a file at messages[0].content[0].document",
        ),
        (CONVERSE, block(json!({"video": {}})), "a file at"),
        (
            CONVERSE,
            block(json!({"toolResult": {"toolUseId": "t", "content": [{"image": {}}]}})),
            "an image at messages[0].content[0].toolResult.content[0]",
        ),
        (
            CONVERSE,
            block(json!({"spell": {}})),
            "that only its provider reads",
        ),
        (
            CONVERSE,
            json!({"messages": hi, "promptVariables": {"a": {"text": "b"}}}),
            "send its text in `messages`",
        ),
        (
            CONVERSE,
            json!({"messages": hi, "toolConfig": {"tools": [], "toolChoice": {"any": {}}}}),
            "toolConfig.toolChoice",
        ),
        (
            CONVERSE,
            json!({"messages": hi, "toolConfig": {"tools": [], "toolChoice": {"tool": {"name": "x"}}}}),
            "toolConfig.toolChoice",
        ),
        (
            CONVERSE,
            json!({"messages": hi, "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}}),
            "jsonSchema.schema has to be",
        ),
        (COHERE, json!({"messages": []}), "messages has to be"),
        (
            COHERE,
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}),
            "an image at messages[0].content[0]",
        ),
        (
            COHERE,
            json!({"messages": said, "tool_choice": "REQUIRED"}),
            "tool_choice",
        ),
        (
            COHERE,
            json!({"messages": said, "tool_choice": "MAYBE"}),
            "REQUIRED or NONE",
        ),
        (
            COHERE,
            json!({"messages": said, "documents": [1]}),
            "documents[0]",
        ),
        (
            COHERE,
            json!({"messages": said, "response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (
            "/v1/chat",
            json!({"message": "hi"}),
            "use the provider's present chat endpoint",
        ),
        (COMPLETIONS, json!({}), "prompt has to be"),
        (COMPLETIONS, json!({"prompt": ["a", "b"]}), "ask once for each"),
        (COMPLETIONS, json!({"prompt": [1, 2]}), "send it as text"),
        (COMPLETIONS, json!({"prompt": [[1, 2]]}), "send it as text"),
        (COMPLETIONS, json!({"prompt": "a", "suffix": "b"}), "suffix"),
        (
            COMPLETIONS,
            json!({"prompt": "a", "echo": true}),
            "leave `echo` out",
        ),
        (COMPLETIONS, json!({"prompt": "a", "n": 2}), "ask several times"),
    ] {
        let error = to_chat(path, &body).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.message().contains(named), "{named}: {error}");
    }
    let fill = Endpoint::new(Dialect::OpenaiCompletions, Operation::Generate);
    let fill = Asked::at(fill, "/v1/fim/completions");
    assert!(request_to_chat(fill, &Bytes::from(r#"{"prompt":"a"}"#), "m").is_err());
    let count = Endpoint::new(Dialect::Cohere, Operation::CountTokens);
    let count = Asked::at(count, "/v1/tokenize");
    assert!(request_to_chat(count, &Bytes::from(r#"{"text":"a"}"#), "m").is_err());
}

/// Puts `Ann` where `[A]` stands, as reidentifying does.
struct Back(String);

impl Rewrite for Back {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.replace("[A]", "Ann")
    }

    fn push(&mut self, _: &Channel, piece: &str, _: bool) -> String {
        self.0.push_str(piece);
        let open = self.0.rfind('[').filter(|at| !self.0[*at..].contains(']'));
        let rest = self.0.split_off(open.unwrap_or(self.0.len()));
        std::mem::replace(&mut self.0, rest).replace("[A]", "Ann")
    }

    fn holds(&self, _: &Channel) -> bool {
        !self.0.is_empty()
    }

    fn finish(&mut self, _: &Channel) -> String {
        std::mem::take(&mut self.0)
    }
}

#[test]
fn an_editor_takes_a_translated_stream_for_a_whole_one() {
    let chunk = |delta: Value, finish: Option<&str>| {
        let chunk = json!({"id": "chatcmpl-1", "created": 1, "choices":
            [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let stream = [
        chunk(json!({"content": "Dear ["}), None),
        chunk(json!({"content": "A], hello"}), None),
        chunk(json!({}), Some("stop")),
        r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#.to_owned() + "\n\n",
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    for path in [CONVERSE_STREAM, COHERE, COMPLETIONS] {
        let asked = asked(path);
        let mut translator = StreamTranslator::new(asked, "m");
        let translated = translator.push(stream.as_bytes()).unwrap();
        let mut back = Back(String::new());
        let mut editor = StreamEditor::framed(asked.endpoint, asked.framing(), &Limits::default());
        let mut out = Vec::new();
        // Lengths and checksums of what was edited are right where another editor can read it again.
        for byte in translated.chunks(1) {
            out.extend_from_slice(&editor.push(byte, &mut back).unwrap());
        }
        // Cohere's last event may have another behind it, so its end is that of the connection.
        out.extend_from_slice(&editor.finish(&mut back).unwrap());
        assert!(editor.complete() && !editor.failed(), "{path}");
        assert_eq!(editor.usage(), Some(Usage { input: 9, output: 4 }), "{path}");
        let mut again = StreamEditor::framed(asked.endpoint, asked.framing(), &Limits::default());
        let mut read = again.push(&out, &mut back).unwrap().to_vec();
        read.extend_from_slice(&again.finish(&mut back).unwrap());
        assert_eq!(read, out, "{path}");
        let out = String::from_utf8_lossy(&out);
        assert!(out.contains("Ann, hello") && !out.contains("[A"), "{path}: {out}");
    }
}

#[test]
fn usage_is_only_shown_to_who_asked() {
    let asked = asked(COMPLETIONS);
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
    let mut translator = StreamTranslator::new(asked, "m");
    let translated = translator.push(stream.as_bytes()).unwrap();
    let limits = Limits::default();
    let mut editor = StreamEditor::framed(asked.endpoint, asked.framing(), &limits).without_usage();
    let out = editor.push(&translated, &mut Back(String::new())).unwrap();
    let out = String::from_utf8_lossy(&out);
    assert!(
        !out.contains("usage") && out.ends_with("data: [DONE]\n\n"),
        "{out}"
    );
    assert!(editor.usage().is_some());
}
