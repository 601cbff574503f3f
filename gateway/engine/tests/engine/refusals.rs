//! What is not answered, and that the engine lives on.

use serde_json::{Value, json};

use crate::running::Engine;

#[tokio::test]
async fn a_prompt_longer_than_the_slot_names_both_numbers() {
    let engine = Engine::start(&["--ctx", "256"]).await;
    let ask = |content: String| json!({"messages": [{"role": "user", "content": content}], "max_tokens": 2});
    let refused = engine.chat(ask("word ".repeat(400))).await;
    assert_eq!((refused.status, refused.code()), (400, "context_length_exceeded"));
    let message = refused.body["error"]["message"].as_str().unwrap();
    let count = engine
        .send("POST", "/count", ask("word ".repeat(400)).to_string())
        .await
        .body["input_tokens"]
        .clone();
    assert!(
        message.contains("256") && message.contains(&count.to_string()),
        "{message}"
    );
    // So long that it is not even tokenised.
    let refused = engine.chat(ask("word ".repeat(1_000_000))).await;
    assert_eq!((refused.status, refused.code()), (400, "context_length_exceeded"));
    // Exactly full: no room for a single token of answer. One less: room for one.
    let room = |words: usize| ask("a ".repeat(words));
    let mut words = 0;
    for tried in 200..256 {
        let count = engine.send("POST", "/count", room(tried).to_string()).await;
        if count.body["input_tokens"] == 255 {
            words = tried;
        }
    }
    assert!(words > 0, "some prompt has 255 tokens");
    let full = engine.chat(room(words)).await;
    assert_eq!(full.status, 200, "{}", full.body);
    assert_eq!(full.body["usage"]["completion_tokens"], 1);
    assert_eq!(engine.chat(room(words + 1)).await.status, 400);
}

#[tokio::test]
async fn bad_requests_are_refused_in_openais_shape() {
    let engine = Engine::start(&[]).await;
    let message = json!([{"role": "user", "content": "my secret"}]);
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    let cases = [
        ("{\"messages\": [my secret".to_owned(), 400, "invalid_json"),
        ("[".repeat(200_000), 400, "invalid_json"),
        (json!({"messages": "my secret"}).to_string(), 400, "invalid_value"),
        (json!({"messages": []}).to_string(), 400, "invalid_value"),
        (
            json!({"messages": image}).to_string(),
            400,
            "unsupported_parameter",
        ),
        (
            json!({"messages": message, "n": 30}).to_string(),
            400,
            "invalid_value",
        ),
        (
            json!({"messages": message, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "my secret"}}}})
                .to_string(),
            400,
            "unsupported_parameter",
        ),
        (
            json!({"messages": message, "grammar": "root ::= my secret"}).to_string(),
            400,
            "unsupported_parameter",
        ),
        (
            json!({"messages": message, "grammar": "root := my secret"}).to_string(),
            400,
            "invalid_grammar",
        ),
        (
            json!({"messages": message, "tool_choice": "my secret"}).to_string(),
            400,
            "invalid_value",
        ),
        (
            json!({"messages": message, "temperature": 9}).to_string(),
            400,
            "invalid_value",
        ),
        (
            json!({"messages": message, "stop": "x".repeat(9999)}).to_string(),
            400,
            "invalid_value",
        ),
    ];
    for (body, status, code) in cases {
        let refused = engine.send("POST", "/v1/chat/completions", body).await;
        assert_eq!((refused.status, refused.code()), (status, code));
        assert!(
            !refused.body.to_string().contains("my secret"),
            "{}",
            refused.body
        );
        assert_eq!(refused.body["error"]["type"], "invalid_request_error");
    }
    let huge = engine
        .send("POST", "/v1/chat/completions", vec![b' '; 17 << 20])
        .await;
    assert_eq!((huge.status, huge.code()), (413, "body_too_large"));
    assert_eq!(engine.send("GET", "/v1/chat/completions", "").await.status, 405);
    assert_eq!(engine.send("GET", "/nowhere", "").await.status, 404);
    let fine = engine.chat(json!({"messages": message, "max_tokens": 1})).await;
    assert_eq!(fine.status, 200);
}

/// llama.cpp's tokeniser meets every kind of text the gateway may let through.
#[tokio::test]
async fn unusual_texts_neither_crash_nor_hang_the_tokeniser() {
    let engine = Engine::start(&[]).await;
    let texts = [
        "a".repeat(300_000),
        "1".repeat(300_000),
        " ".repeat(300_000),
        "\n".repeat(300_000),
        "한".repeat(100_000),
        "😀".repeat(50_000),
        "\u{0}\u{1}\u{FFFD}\u{FEFF}\u{202E}".repeat(1000),
        "<|im_end|>".repeat(20_000),
        "<".repeat(100_000),
        "\u{E000}\u{F8FF}".repeat(100),
    ];
    for text in texts {
        let body: Value = json!({"messages": [{"role": "user", "content": text}]});
        let count = engine.send("POST", "/count", body.to_string()).await;
        assert_eq!(count.status, 200, "{}", count.body);
        assert!(count.body["input_tokens"].as_u64().unwrap() > 100);
    }
}
