//! What Ollama's `generate` asks for beyond its chat, and what is refused of either.

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Endpoint, Framing, Operation, StreamTranslator, TranslateError, reply_from_chat, request_to_chat,
};
use serde_json::{Value, json};

fn asked(path: &str) -> Asked {
    Asked::at(Endpoint::new(Dialect::Ollama, Operation::Generate), path)
}

fn to_chat(path: &str, body: &Value) -> Result<Value, TranslateError> {
    let chat = request_to_chat(asked(path), &Bytes::from(body.to_string()), "smollm2")?;
    Ok(serde_json::from_slice(&chat).expect("what is made is JSON"))
}

#[test]
fn a_prompt_is_a_conversation_of_one_turn() {
    let chat = to_chat(
        "/api/generate",
        &json!({"model": "m", "system": "Be brief.", "prompt": "Hello", "stream": false}),
    )
    .unwrap();
    assert_eq!(
        chat,
        json!({"model": "smollm2", "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]})
    );
    let chat = to_chat("/api/generate", &json!({"prompt": "Hello"})).unwrap();
    assert_eq!(chat["stream"], true, "this dialect streams by itself");
}

#[test]
fn a_prompts_answer_comes_in_its_own_member() {
    let reply = json!({"id": "chatcmpl-1", "created": 1_767_225_600,
        "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
    let answer = reply_from_chat(asked("/api/generate"), &reply.to_string().into(), "m").unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&answer).unwrap(),
        json!({"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": "Hi", "done": true,
            "done_reason": "length", "prompt_eval_count": 3, "eval_count": 1})
    );

    assert_eq!(asked("/api/generate").framing(), Framing::Lines);
    assert_eq!(asked("/api/generate").stream_type(), "application/x-ndjson");
    let stream = format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        json!({"id": "chatcmpl-1", "created": 0, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}),
        json!({"id": "chatcmpl-1", "created": 0, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    );
    let mut translator = StreamTranslator::new(asked("/api/generate"), "m");
    let out = translator.push(stream.as_bytes()).unwrap();
    let lines: Vec<Value> = std::str::from_utf8(&out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["response"], &lines[0]["done"]),
        (&json!("Hi"), &json!(false))
    );
    assert_eq!(
        (&lines[1]["done"], &lines[1]["done_reason"]),
        (&json!(true), &json!("stop"))
    );
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    for (path, body, named) in [
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "x", "images": ["iVBO"]}]}),
            "messages[0].images[0]",
        ),
        (
            "/api/generate",
            json!({"prompt": "x", "images": ["iVBO"]}),
            "images[0]",
        ),
        ("/api/generate", json!({"prompt": "x", "suffix": "y"}), "suffix"),
        ("/api/generate", json!({"prompt": "x", "raw": true}), "raw"),
        ("/api/generate", json!({"prompt": 1}), "prompt"),
        ("/api/chat", json!({"messages": []}), "messages"),
        (
            "/api/chat",
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "messages[0]",
        ),
        (
            "/api/chat",
            json!({"messages": [{"role": "bishop", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "x"}], "format": 1}),
            "format",
        ),
        (
            "/api/chat",
            json!({"messages": [{"role": "user", "content": "x"}], "stream": "yes"}),
            "stream",
        ),
    ] {
        let error = to_chat(path, &body).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.message().contains(named), "{named}: {error}");
    }
}
