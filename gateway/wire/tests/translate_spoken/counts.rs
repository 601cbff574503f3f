//! Counts of LLM tokens, asked for in one dialect and told in another.

use cordon_domain::Dialect;
use cordon_wire::{Spoken, count_from_chat, request_to_chat};
use serde_json::{Value, json};

use super::asked;

/// What an upstream is asked that a caller's request to count becomes.
fn counted(path: &str, body: &Value, spoken: Spoken, model: &str) -> Value {
    let chat = request_to_chat(asked(path), &body.to_string().into(), model).unwrap();
    let count = count_from_chat(spoken, &chat, model).unwrap();
    serde_json::from_slice(&count).unwrap()
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}})
}

#[test]
fn anthropics_count_becomes_geminis() {
    let body = json!({
        "model": "claude", "system": "Be brief.", "messages": [{"role": "user", "content": "Weather?"}],
        "tools": [{"name": "weather", "input_schema": schema()}], "thinking": {"type": "enabled", "budget_tokens": 2048},
    });
    assert_eq!(
        counted(
            "/v1/messages/count_tokens",
            &body,
            Spoken::Gemini,
            "gemini-2.5-pro"
        ),
        json!({"generateContentRequest": {
            "model": "models/gemini-2.5-pro",
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "Weather?"}]}],
            "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": schema()}]}],
        }})
    );
    assert_eq!(
        Spoken::Gemini.count_target("models/gemini-2.5-pro"),
        "/v1beta/models/gemini-2.5-pro:countTokens"
    );
}

#[test]
fn geminis_count_becomes_anthropics() {
    let contents = json!([{"role": "user", "parts": [{"text": "Weather?"}]}]);
    let tools = json!([{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": schema()}]}]);
    let path = "/v1beta/models/g:countTokens";
    let bare = json!({"contents": contents});
    let whole = json!({"generateContentRequest": {"model": "models/g", "contents": contents, "tools": tools,
        "systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": {"maxOutputTokens": 9}}});
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Weather?"}]}]);
    assert_eq!(
        counted(path, &bare, Spoken::Messages, "claude"),
        json!({"model": "claude", "messages": messages})
    );
    assert_eq!(
        counted(path, &whole, Spoken::Messages, "claude"),
        json!({"model": "claude", "messages": messages, "system": "Be brief.", "tool_choice": {"type": "auto"},
            "tools": [{"name": "weather", "input_schema": schema()}]})
    );
    assert_eq!(
        Spoken::Messages.count_target("claude"),
        "/v1/messages/count_tokens"
    );
}

#[test]
fn callers_of_other_dialects_can_count_there_too() {
    let responses =
        json!({"model": "gpt", "instructions": "Be brief.", "input": "Hi", "reasoning": {"effort": "high"}});
    let made = counted(
        "/v1/responses/input_tokens",
        &responses,
        Spoken::Messages,
        "claude-sonnet-4-5",
    );
    assert_eq!(
        made,
        json!({"model": "claude-sonnet-4-5", "system": "Be brief.",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]})
    );
    let converse =
        json!({"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}}});
    let made = counted("/model/m/count-tokens", &converse, Spoken::Gemini, "gemini-3-pro");
    assert_eq!(
        made["generateContentRequest"]["contents"][0]["parts"][0]["text"],
        "Hi"
    );
}

#[test]
fn who_has_counts_is_asked_for_them() {
    assert_eq!(
        Spoken::counting(&[Dialect::OpenaiChat, Dialect::Gemini]),
        Some(Spoken::Gemini)
    );
    assert_eq!(
        Spoken::counting(&[Dialect::Gemini, Dialect::AnthropicMessages]),
        Some(Spoken::Messages)
    );
    assert_eq!(Spoken::counting(&[Dialect::OpenaiChat]), None);
    for (path, told) in [
        ("/v1/messages/count_tokens", json!({"input_tokens": 7})),
        ("/model/m/count-tokens", json!({"inputTokens": 7})),
    ] {
        let answer = asked(path).count(7);
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap(), told, "{path}");
    }
}
