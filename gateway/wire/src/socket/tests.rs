use cordon_domain::{Edit, Role, Splice};
use proptest::prelude::*;

use super::*;
use crate::{Channel, Rewrite, StreamEditor};

fn responses() -> Endpoint {
    Endpoint::new(Dialect::OpenaiResponses, Operation::Generate)
}

fn realtime() -> Endpoint {
    Endpoint::new(Dialect::OpenaiRealtime, Operation::Generate)
}

fn decoded(endpoint: Endpoint, message: &Value) -> Result<ClientMessage, DecodeError> {
    decode_message(endpoint, message.to_string().into(), &Limits::default())
}

/// The role of the segment that holds a text.
fn role(message: &ClientMessage, text: &str) -> Role {
    let held = message
        .body
        .segments()
        .iter()
        .find(|segment| segment.text.as_str().contains(text));
    held.unwrap_or_else(|| panic!("no segment holds {text}")).role
}

#[test]
fn sockets_are_known_where_the_same_is_posted() {
    let dialect = |host, path| socket_endpoint(host, path).map(|endpoint| endpoint.dialect);
    let (responses, realtime) = (Some(Dialect::OpenaiResponses), Some(Dialect::OpenaiRealtime));
    assert_eq!(dialect(None, "/v1/responses"), responses);
    assert_eq!(dialect(None, "/v1/realtime?model=x"), realtime);
    assert_eq!(dialect(Some("api.openai.com"), "/v1/realtime"), realtime);
    assert_eq!(
        dialect(Some("chatgpt.com"), "/backend-api/codex/responses"),
        responses
    );
    assert_eq!(dialect(Some("chatgpt.com"), "/v1/realtime"), None);
    assert_eq!(dialect(Some("api.anthropic.com"), "/v1/responses"), None);
    assert_eq!(dialect(None, "/v1/chat/completions"), None);
}

#[test]
fn a_response_is_asked_for_by_the_body_that_is_else_posted() {
    let message = decoded(
        responses(),
        &json!({
            "type": "response.create", "model": "gpt-x", "generate": false, "previous_response_id": "resp_1",
            "instructions": "be kind", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
            "tools": [{"type": "function", "name": "t", "description": "a tool"}], "novel": {"deep": "unheard of"},
        }),
    )
    .unwrap();
    assert_eq!(
        (message.wants, message.generate, message.sound),
        (Wants::Answer, false, false)
    );
    assert_eq!(message.previous.as_deref(), Some("resp_1"));
    assert_eq!(message.body.model(), Some("gpt-x"));
    assert_eq!(role(&message, "be kind"), Role::System);
    assert_eq!(role(&message, "hello"), Role::User);
    assert_eq!(role(&message, "a tool"), Role::ToolDefinition);
    assert_eq!(role(&message, "unheard of"), Role::Other);
    for wrong in [
        json!({"type": "response.create", "input": 5}),
        json!({"input": "no type"}),
        json!(["response.create"]),
    ] {
        assert!(
            matches!(decoded(responses(), &wrong), Err(DecodeError::Shape { .. })),
            "{wrong}"
        );
    }
    let other = decoded(
        responses(),
        &json!({"type": "response.processed", "response_id": "resp_1"}),
    )
    .unwrap();
    assert_eq!(other.wants, Wants::Nothing);
}

#[test]
fn a_realtime_session_is_read_message_by_message() {
    let update = decoded(
        realtime(),
        &json!({"type": "session.update", "event_id": "e1", "session": {
            "instructions": "be kind", "tools": [{"name": "t", "description": "a tool"}], "voice": "alloy",
        }}),
    )
    .unwrap();
    assert_eq!(
        (update.wants, update.event.as_deref()),
        (Wants::Nothing, Some("e1"))
    );
    assert_eq!(role(&update, "be kind"), Role::System);
    assert_eq!(role(&update, "a tool"), Role::ToolDefinition);
    let said = decoded(
        realtime(),
        &json!({"type": "conversation.item.create", "item": {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}],
        }}),
    )
    .unwrap();
    assert_eq!((role(&said, "hello"), said.sound), (Role::User, false));
    let result = decoded(
        realtime(),
        &json!({"type": "conversation.item.create", "item": {
            "type": "function_call_output", "call_id": "c", "output": "42 degrees",
        }}),
    )
    .unwrap();
    assert_eq!(role(&result, "42 degrees"), Role::ToolResult);
    let asked = decoded(realtime(), &json!({"type": "response.create", "response": {
        "instructions": "be brief", "input": [{"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}],
    }}))
    .unwrap();
    assert_eq!((asked.wants, asked.sound), (Wants::Answer, true));
    assert_eq!(role(&asked, "be brief"), Role::System);
    let sound = decoded(
        realtime(),
        &json!({"type": "input_audio_buffer.append", "audio": "AAAA"}),
    )
    .unwrap();
    assert_eq!((sound.wants, sound.sound), (Wants::Sound, true));
    let hidden = json!({"type": "input_audio_buffer.append", "audio": "AAAA", "note": "a secret"});
    assert!(matches!(
        decoded(realtime(), &hidden),
        Err(DecodeError::Shape { .. })
    ));
}

#[test]
fn what_was_said_before_is_put_in_front() {
    let mut earlier = Earlier::default();
    assert_eq!(earlier.join(b"{}", "resp_1"), None);
    let asked = json!({"type": "response.create", "input": "one"}).to_string();
    let closing = json!({"type": "response.completed", "response": {"id": "resp_1", "output": [{"type": "message", "content": "two"}]}});
    earlier.remember(asked.as_bytes(), closing.to_string().as_bytes());
    let next = json!({"type": "response.create", "previous_response_id": "resp_1", "model": "m", "input": [{"role": "user", "content": "three"}]});
    let joined: Value =
        serde_json::from_slice(&earlier.join(next.to_string().as_bytes(), "resp_1").unwrap()).unwrap();
    assert_eq!(
        joined,
        json!({"type": "response.create", "model": "m", "input": [
            {"role": "user", "content": "one"}, {"type": "message", "content": "two"}, {"role": "user", "content": "three"},
        ]})
    );
    assert_eq!(earlier.join(next.to_string().as_bytes(), "resp_0"), None);
    let failed = json!({"type": "response.failed", "response": {"id": "resp_2"}}).to_string();
    earlier.remember(asked.as_bytes(), failed.as_bytes());
    assert!(earlier.join(next.to_string().as_bytes(), "resp_1").is_some());
}

#[test]
fn a_message_is_posted_as_a_body_that_streams() {
    let message =
        json!({"type": "response.create", "event_id": "e", "model": "m", "input": "x", "generate": true});
    let body = message_to_body(&message.to_string().into(), ()).unwrap();
    assert_eq!(body, r#"{"model":"m","input":"x","stream":true}"#);
    assert!(message_to_body(&Bytes::from_static(b"[]"), ()).is_err());
}

#[test]
fn errors_are_told_in_the_dialect() {
    let reply = br#"{"error":{"type":"invalid_request_error","code":"cordon_policy_block","message":"no","param":null}}"#;
    let told: Value =
        serde_json::from_slice(&error_message(Dialect::OpenaiResponses, 400, reply, None)).unwrap();
    assert_eq!(
        (&told["type"], &told["status"], &told["error"]["message"]),
        (&json!("error"), &json!(400), &json!("no"))
    );
    let told: Value =
        serde_json::from_slice(&error_message(Dialect::OpenaiRealtime, 400, reply, Some("e1"))).unwrap();
    assert_eq!(
        (&told["error"]["event_id"], &told["error"]["code"]),
        (&json!("e1"), &json!("cordon_policy_block"))
    );
    let told: Value =
        serde_json::from_slice(&error_message(Dialect::OpenaiResponses, 502, b"<html>", None)).unwrap();
    assert_eq!(told["error"]["type"], "server_error");
}

#[test]
fn events_become_messages_in_any_split() {
    let stream = b"event: a\ndata: {\"x\":1}\n\n: ping\n\ndata: [DONE]\n\ndata: {\"y\":2}\n\n";
    for size in 1..stream.len() {
        let mut events = EventMessages::new(&Limits::default());
        let messages: Vec<Bytes> = stream
            .chunks(size)
            .flat_map(|piece| events.push(piece).unwrap())
            .collect();
        assert_eq!(
            messages,
            [Bytes::from_static(b"{\"x\":1}"), Bytes::from_static(b"{\"y\":2}")]
        );
    }
}

/// Holds an open bracket back until its channel goes on.
#[derive(Default)]
struct Brackets(std::collections::BTreeMap<String, String>);

impl Rewrite for Brackets {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.replace("[A]", "original")
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let text = self.0.remove(channel.as_str()).unwrap_or_default() + piece;
        match text.rfind('[').filter(|at| !text[*at..].contains(']')) {
            Some(at) => {
                self.0.insert(channel.as_str().to_owned(), text[at..].to_owned());
                self.whole(&text[..at], arguments)
            }
            None => self.whole(&text, arguments),
        }
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.contains_key(channel.as_str())
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel.as_str()).unwrap_or_default()
    }
}

#[test]
fn upstream_messages_are_restored_each_in_its_own_response() {
    let mut editor = StreamEditor::new(realtime(), &Limits::default());
    let mut rewrite = Brackets::default();
    let delta = |response: &str, text: &str| {
        let event = json!({"type": "response.output_text.delta", "response_id": response, "output_index": 0, "content_index": 0, "delta": text});
        Bytes::from(event.to_string())
    };
    // The first holds all behind it back; the second response has a text of its own.
    assert!(
        editor
            .message(delta("r1", "x [A"), &mut rewrite)
            .unwrap()
            .is_empty()
    );
    assert!(editor.message(delta("r2", "y"), &mut rewrite).unwrap().is_empty());
    let done = editor.message(delta("r1", "] z"), &mut rewrite).unwrap();
    assert_eq!(
        done,
        [delta("r1", "x "), delta("r2", "y"), delta("r1", "original z")]
    );
    assert!(!editor.complete());
    let end = json!({"type": "response.done", "response": {"id": "r1", "usage": {"input_tokens": 3, "output_tokens": 4}}});
    let end = Bytes::from(serde_json::to_string_pretty(&end).unwrap());
    // Line ends outside of strings stay as they came.
    assert_eq!(editor.message(end.clone(), &mut rewrite).unwrap(), [end]);
    assert!(editor.complete());
    assert_eq!(
        editor.usage().map(|usage| (usage.input, usage.output)),
        Some((3, 4))
    );
}

proptest! {
    #[test]
    fn an_unedited_message_stays_and_an_edited_one_holds_its_edit(words in "[a-z\"\\\\\n\u{e9}]{1,30}", extra in "[a-z]{0,10}") {
        let message = json!({"type": "conversation.item.create", "x": extra, "item": {"type": "message", "content": [{"text": words}]}});
        let bytes = Bytes::from(serde_json::to_string_pretty(&message).unwrap());
        let read = decode_message(realtime(), bytes.clone(), &Limits::default()).unwrap();
        prop_assert_eq!(read.body.splice(&[]).unwrap(), bytes);
        let index = read.body.segments().iter().position(|segment| segment.place.as_str() == "/item/content/0/text").unwrap();
        prop_assert_eq!(read.body.segments()[index].text.as_str(), &words);
        let edit = Edit { segment: index, span: 0..words.len(), replacement: "[A]".into() };
        let edited: Value = serde_json::from_slice(&read.body.splice(&[edit]).unwrap()).unwrap();
        prop_assert_eq!(&edited["item"]["content"][0]["text"], "[A]");
        prop_assert_eq!(&edited["x"], &message["x"]);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_message(responses(), bytes.into(), &Limits::default());
    }
}
