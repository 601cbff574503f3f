//! What a model thinks, on its way to a caller and back with the next turn.

#![expect(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use bytes::Bytes;
use cordon_wire::{
    Asked, Channel, Limits, Rewrite, StreamEditor, StreamTranslator, endpoint, reply_from_chat,
    request_to_chat, without_made,
};
use serde_json::{Value, json};

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const GEMINI: &str = "/v1beta/models/m:generateContent";
const CONVERSE: &str = "/model/m/converse";
/// Those whose reasoning carries a signature, or what stands for one.
const SIGNED: [&str; 4] = [MESSAGES, RESPONSES, GEMINI, CONVERSE];

fn asked(path: &str) -> Asked {
    let host = path
        .starts_with("/v1internal")
        .then_some("cloudcode-pa.googleapis.com");
    Asked::at(endpoint("POST", host, path).unwrap(), path)
}

fn to_chat(asked: Asked, body: &Value) -> Value {
    let chat = request_to_chat(asked, &body.to_string().into(), "m").unwrap();
    serde_json::from_slice(&chat).unwrap()
}

fn without(path: &str, body: &str) -> String {
    let body = without_made(asked(path).endpoint.dialect, &Bytes::from(body.to_owned())).unwrap();
    String::from_utf8(body.into()).unwrap()
}

/// What the caller gets of a model that thinks, says and calls.
fn answered(path: &str, name: &str) -> Value {
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{\"path\":\"a\"}"}});
    let message =
        json!({"role": "assistant", "content": "On it.", name: "I need the file.", "tool_calls": [call]});
    let reply = json!({"id": "chatcmpl-1", "created": 1_767_225_600,
        "choices": [{"message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9}});
    let reply = reply_from_chat(asked(path), &reply.to_string().into(), "m").unwrap();
    serde_json::from_slice(&reply).unwrap()
}

/// The next turn, with what a client keeps of an answer and the tool's result.
fn next_turn(path: &str, answer: &Value) -> Value {
    match path {
        MESSAGES => json!({"model": "m", "max_tokens": 9, "messages": [
            {"role": "user", "content": "Read it."},
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "words"}]}]}),
        RESPONSES => {
            let mut input = vec![json!({"role": "user", "content": "Read it."})];
            input.extend(answer["output"].as_array().unwrap().iter().cloned());
            // Codex sends no ids along.
            for item in &mut input {
                item.as_object_mut().unwrap().remove("id");
            }
            input.push(json!({"type": "function_call_output", "call_id": "call_1", "output": "words"}));
            json!({"model": "m", "input": input})
        }
        GEMINI => json!({"contents": [
            {"role": "user", "parts": [{"text": "Read it."}]},
            answer["candidates"][0]["content"],
            {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "read", "response": {"output": "words"}}}]}]}),
        CONVERSE => json!({"messages": [
            {"role": "user", "content": [{"text": "Read it."}]},
            answer["output"]["message"],
            {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "words"}]}}]}]}),
        other => panic!("{other}"),
    }
}

#[test]
fn a_model_gets_its_thoughts_back_by_the_name_that_it_has_for_them() {
    for path in SIGNED {
        for name in ["reasoning_content", "reasoning"] {
            let answer = answered(path, name);
            assert!(
                answer.to_string().contains("I need the file."),
                "{path}: {answer}"
            );
            let chat = to_chat(asked(path), &next_turn(path, &answer));
            let turn = &chat["messages"][1];
            assert_eq!(
                (&turn["content"], &turn[name]),
                (&json!("On it."), &json!("I need the file.")),
                "{path} {name}: {chat}"
            );
            assert_eq!(turn["tool_calls"][0]["function"]["name"], "read");
            assert_eq!(chat["messages"][2]["role"], "tool", "{path}: {chat}");
        }
    }
}

#[test]
fn no_provider_gets_thoughts_that_it_did_not_sign() {
    for path in SIGNED {
        for name in ["reasoning_content", "reasoning"] {
            let body = next_turn(path, &answered(path, name));
            let sent: Value = serde_json::from_str(&without(path, &body.to_string())).unwrap();
            let told = sent.to_string();
            assert!(!told.contains("I need the file."), "{path}: {told}");
            for kept in ["Read it.", "On it.", "call_1", "words"] {
                assert!(told.contains(kept), "{path}: {told}");
            }
            // Nothing is left that could be taken out.
            assert_eq!(without(path, &told), told);
        }
    }
}

#[test]
fn what_a_provider_signed_stays_with_it() {
    let theirs = "c2lnbmVk";
    for (path, body) in [
        (
            MESSAGES,
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": theirs}, {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "b"}]}]}),
        ),
        (
            RESPONSES,
            json!({"input": [{"role": "user", "content": "a"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": theirs},
                {"role": "assistant", "content": "b"}]}),
        ),
        (
            GEMINI,
            json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [
                {"text": "Hm.", "thought": true, "thoughtSignature": theirs}, {"text": "b"}]}]}),
        ),
        (
            CONVERSE,
            json!({"messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": theirs}}},
                {"reasoningContent": {"redactedContent": "eA=="}}, {"text": "b"}]}]}),
        ),
    ] {
        let written = body.to_string();
        assert_eq!(without(path, &written), written);
        let chat = to_chat(asked(path), &body);
        assert_eq!(
            chat["messages"],
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            "{path}: another's model has no use for it"
        );
    }
}

#[test]
fn each_byte_stays_but_those_of_what_is_taken_out() {
    let block = json!({"type": "thinking", "thinking": "Hm.", "signature": mark()}).to_string();
    let said = r#"{"type":"text","text":"b"}"#;
    let turn = |blocks: &str| format!(r#"{{ "role":"assistant","content": [{blocks} ] }}"#);
    let body = |turns: &str| format!(r#"{{"x":1.0, "messages": [ {turns}], "n":1e2}}"#);
    for (came, goes) in [
        (turn(&format!("{block} , {said}")), turn(said)),
        (turn(&format!("{said},{block}")), turn(said)),
        (
            turn(&format!("{said} ,{block} , {said}")),
            turn(&format!("{said} , {said}")),
        ),
        (turn(&format!("{block},{block},\n{said}")), turn(said)),
        (turn(&format!("{said}, {block}, {block}")), turn(said)),
    ] {
        assert_eq!(without(MESSAGES, &body(&came)), body(&goes));
    }
    // A message of nothing else goes with it: none may be empty.
    let user = r#"{"role":"user","content":"a"}"#;
    assert_eq!(
        without(MESSAGES, &body(&format!("{user}, {}, {user}", turn(&block)))),
        body(&format!("{user}, {user}"))
    );
    // The mark in words of the caller's is no mark.
    let words = body(&format!(r#"{{"role":"user","content":"what is {} ?"}}"#, mark()));
    assert_eq!(without(MESSAGES, &words), words);
    let elsewhere = format!(
        r#"{{"messages":[{user}],"metadata":{{"signature":"{}"}}}}"#,
        mark()
    );
    assert_eq!(without(MESSAGES, &elsewhere), elsewhere);
    // Nor is it on anything but a model's reasoning: what is inspected is what is sent.
    let text = json!({"type": "text", "text": "x", "signature": mark()}).to_string();
    for marked in [
        body(&turn(&format!("{said},{text},{said}"))),
        body(&format!(r#"{{"role":"user","content":[{said},{block},{said}]}}"#)),
        body(&format!(r#"{{"role":"user","content":[{block}]}}"#)),
    ] {
        assert_eq!(without(MESSAGES, &marked), marked);
    }
    // Where nothing is signed nothing is taken out.
    let chat = format!(
        r#"{{"messages":[{{"role":"assistant","content":"{}"}}]}}"#,
        mark()
    );
    assert_eq!(without("/v1/chat/completions", &chat), chat);
}

#[test]
fn envelopes_are_looked_into() {
    let part = json!({"text": "Hm.", "thought": true, "thoughtSignature": mark()});
    let contents = |parts: Value| json!([{"role": "model", "parts": parts}]);
    let (came, goes) = (
        contents(json!([part, {"text": "b"}])),
        contents(json!([{"text": "b"}])),
    );
    for (path, around) in [
        ("/v1internal:generateContent", "request"),
        ("/v1beta/models/m:countTokens", "generateContentRequest"),
    ] {
        let body = |contents: &Value| json!({around: {"contents": contents}}).to_string();
        assert_eq!(without(path, &body(&came)), body(&goes), "{path}");
    }
    // As it is said over a WebSocket.
    let item = json!({"type": "reasoning", "summary": [], "encrypted_content": mark()});
    let message = |input: Value| json!({"type": "response.create", "response": {"input": input}}).to_string();
    assert_eq!(without(RESPONSES, &message(json!([item]))), message(json!([])));
}

/// What stands in place of a signature.
fn mark() -> String {
    let answer = answered(MESSAGES, "reasoning_content");
    answer["content"][0]["signature"].as_str().unwrap().to_owned()
}

#[test]
fn thoughts_amid_the_arguments_of_a_call_wait_for_its_end() {
    let chunk = |delta: Value| {
        let chunk = json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]});
        format!("data: {chunk}\n\n")
    };
    let call = |index: u64, name: &str, arguments: &str| {
        chunk(
            json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "function": {"name": name, "arguments": arguments}}]}),
        )
    };
    let stream = [
        call(0, "read", "{\"path\""),
        chunk(json!({"reasoning": "Hm."})),
        call(0, "", ":\"a\"}"),
        call(1, "list", "{}"),
        chunk(json!({"reasoning": "So."})),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    for path in [
        MESSAGES,
        RESPONSES,
        "/v1beta/models/m:streamGenerateContent?alt=sse",
    ] {
        let mut translator = StreamTranslator::new(asked(path), "m");
        let mut out = translator.push(stream.as_bytes()).unwrap().to_vec();
        out.extend_from_slice(&translator.finish().unwrap());
        let out = String::from_utf8(out).unwrap();
        let at = |words: &str| {
            out.find(words)
                .unwrap_or_else(|| panic!("{path}: no {words} in {out}"))
        };
        assert!(
            at("read") < at("Hm.") && at("Hm.") < at("list") && at("list") < at("So."),
            "{path}: {out}"
        );
    }
}

#[test]
fn an_answer_that_was_cut_off_in_thought_is_no_turn() {
    let body = json!({"messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": mark()}]},
        {"role": "user", "content": "Go on."}]});
    let chat = to_chat(asked(MESSAGES), &body);
    assert_eq!(
        chat["messages"],
        json!([{"role": "user", "content": "a"}, {"role": "user", "content": "Go on."}])
    );
}

#[test]
fn how_much_to_think_is_told_where_it_is_taken() {
    let hi = json!([{"role": "user", "content": "hi"}]);
    let messages = |more: Value| {
        let mut body = json!({"messages": hi, "max_tokens": 9});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        (MESSAGES, body)
    };
    let gemini = |thinking: Value| {
        (
            GEMINI,
            json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"thinkingConfig": thinking}}),
        )
    };
    for ((path, body), effort) in [
        (messages(json!({})), Value::Null),
        (messages(json!({"thinking": {"type": "disabled"}})), json!("none")),
        (
            messages(json!({"thinking": {"type": "enabled", "budget_tokens": 1024}})),
            json!("low"),
        ),
        (
            messages(json!({"thinking": {"type": "enabled", "budget_tokens": 8192}})),
            json!("medium"),
        ),
        (
            messages(json!({"thinking": {"type": "enabled", "budget_tokens": 31999}})),
            json!("high"),
        ),
        (messages(json!({"thinking": {"type": "adaptive"}})), Value::Null),
        (
            messages(json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}})),
            json!("high"),
        ),
        (messages(json!({"output_config": {"effort": "low"}})), Value::Null),
        (
            (
                RESPONSES,
                json!({"input": "hi", "reasoning": {"effort": "minimal"}}),
            ),
            json!("minimal"),
        ),
        (
            (
                RESPONSES,
                json!({"input": "hi", "reasoning": {"summary": "auto"}}),
            ),
            Value::Null,
        ),
        (
            (
                RESPONSES,
                json!({"input": "hi", "reasoning": {"effort": "unheard-of"}}),
            ),
            Value::Null,
        ),
        (gemini(json!({"thinkingBudget": 0})), json!("none")),
        (
            gemini(json!({"thinkingBudget": -1, "includeThoughts": true})),
            Value::Null,
        ),
        (gemini(json!({"thinking_budget": 24576})), json!("high")),
        (gemini(json!({"thinkingLevel": "LOW"})), json!("low")),
        (
            (
                "/v2/chat",
                json!({"messages": hi, "thinking": {"type": "enabled", "token_budget": 500}}),
            ),
            json!("low"),
        ),
        (
            (
                "/v2/chat",
                json!({"messages": hi, "thinking": {"type": "disabled"}}),
            ),
            json!("none"),
        ),
        (
            ("/api/chat", json!({"messages": hi, "think": false})),
            json!("none"),
        ),
        (("/api/chat", json!({"messages": hi, "think": true})), Value::Null),
        (
            ("/api/chat", json!({"messages": hi, "think": "high"})),
            json!("high"),
        ),
    ] {
        let asked = asked(path);
        let told = to_chat(asked.telling_effort(true), &body);
        assert_eq!(told["reasoning_effort"], effort, "{path} {body}");
        let untold = to_chat(asked, &body);
        assert!(untold.get("reasoning_effort").is_none(), "{path} {body}");
    }
    // What only counts asks for no thoughts.
    let path = "/v1/responses/input_tokens";
    let body = json!({"input": "hi", "reasoning": {"effort": "low"}});
    assert!(
        to_chat(asked(path).telling_effort(true), &body)
            .get("reasoning_effort")
            .is_none()
    );
}

/// Puts an original back for a placeholder, also one that comes in pieces.
#[derive(Default)]
struct PutBack(std::collections::BTreeMap<Channel, String>);

impl Rewrite for PutBack {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.replace("[EMAIL_AB]", "ann@corp.example")
    }

    fn push(&mut self, channel: &Channel, piece: &str, _: bool) -> String {
        let held = self.0.entry(channel.clone()).or_default();
        held.push_str(piece);
        let text = held.replace("[EMAIL_AB]", "ann@corp.example");
        let (goes, stays) = text.split_at(text.rfind('[').unwrap_or(text.len()));
        let goes = goes.to_owned();
        stays.clone_into(self.0.entry(channel.clone()).or_default());
        goes
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.get(channel).is_some_and(|held| !held.is_empty())
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel).unwrap_or_default()
    }
}

#[test]
fn originals_are_put_back_in_streamed_thoughts_too() {
    let chunk = |delta: Value| {
        let chunk = json!({"id": "chatcmpl-1", "created": 0, "choices": [{"index": 0, "delta": delta}]});
        format!("data: {chunk}\n\n")
    };
    let end = json!({"id": "chatcmpl-1", "created": 0, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let stream = [
        chunk(json!({"role": "assistant", "content": ""})),
        chunk(json!({"reasoning": "It is [EMA"})),
        chunk(json!({"reasoning": "IL_AB], I think."})),
        chunk(json!({"content": "Write to [EMAIL"})),
        chunk(json!({"content": "_AB]."})),
        format!("data: {end}\n\ndata: [DONE]\n\n"),
    ]
    .concat();
    for path in [
        MESSAGES,
        RESPONSES,
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        "/v1beta/models/m:streamGenerateContent",
        "/model/m/converse-stream",
        "/v2/chat",
        "/api/chat",
        "/api/generate",
    ] {
        let asked = asked(path);
        let mut translator = StreamTranslator::new(asked, "m");
        let mut editor = StreamEditor::framed(asked.endpoint, asked.framing(), &Limits::default());
        let mut put_back = PutBack::default();
        let mut out = Vec::new();
        for byte in stream.as_bytes().chunks(7) {
            let translated = translator.push(byte).unwrap();
            out.extend_from_slice(&editor.push(&translated, &mut put_back).unwrap());
        }
        let translated = translator.finish().unwrap();
        out.extend_from_slice(&editor.push(&translated, &mut put_back).unwrap());
        out.extend_from_slice(&editor.finish(&mut put_back).unwrap());
        assert!(editor.complete(), "{path}");
        let out = String::from_utf8_lossy(&out);
        assert!(!out.contains("[EMA") && !out.contains("IL_AB]"), "{path}: {out}");
        assert_eq!(out.matches("ann@corp.example").count() % 2, 0, "{path}: {out}");
        let (thoughts, words) = (out.find("I think").unwrap(), out.find("Write to").unwrap());
        assert!(
            thoughts < words,
            "{path}: what was thought first comes first: {out}"
        );
    }
}

#[test]
fn the_dialects_without_a_place_for_it_say_nothing_of_it() {
    let answer = answered_plainly("/v1/completions");
    assert!(!answer.contains("Hm."), "{answer}");
    for path in ["/v2/chat", "/api/chat", "/api/generate"] {
        let answer = answered_plainly(path);
        assert!(answer.contains("\"thinking\":\"Hm.\""), "{path}: {answer}");
    }
}

fn answered_plainly(path: &str) -> String {
    let reply = json!({"id": "chatcmpl-1", "created": 0, "choices": [
        {"message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}, "finish_reason": "stop"}]});
    let reply = reply_from_chat(asked(path), &reply.to_string().into(), "m").unwrap();
    String::from_utf8(reply.into()).unwrap()
}
