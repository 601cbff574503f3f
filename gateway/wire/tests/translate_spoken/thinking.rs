//! How much a model is to think, put to Anthropic's and Google's.

use cordon_wire::Spoken;
use serde_json::{Value, json};

use super::request;

fn body(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "a"}}]});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn claude_thinks_as_its_generation_is_asked_to() {
    let wish = |model: &str, more: Value| request(Spoken::Messages, model, &body(more)).unwrap();
    for model in [
        "claude-3-7-sonnet-20250219",
        "claude-sonnet-4-20250514",
        "claude-opus-4-5-20251101",
        "anthropic/claude-sonnet-4.5",
    ] {
        let made = wish(
            model,
            json!({"reasoning_effort": "medium", "temperature": 0.3, "top_p": 0.5}),
        );
        assert_eq!(
            made["thinking"],
            json!({"type": "enabled", "budget_tokens": 8192}),
            "{model}"
        );
        // The thoughts come on top of what an answer gets that nobody bounded.
        assert_eq!(made["max_tokens"], 4096 + 8192, "{model}");
        // A model that thinks takes none but its own.
        assert!(made.get("temperature").is_none() && made.get("top_p").is_none());
    }
    let made = wish(
        "claude-opus-4-6",
        json!({"reasoning_effort": "low", "max_tokens": 100}),
    );
    assert_eq!(
        (&made["thinking"], &made["output_config"], &made["max_tokens"]),
        (
            &json!({"type": "adaptive"}),
            &json!({"effort": "low"}),
            &json!(100)
        )
    );
    let schema = json!({"type": "object"});
    let made = wish(
        "claude-opus-4-7",
        json!({"reasoning_effort": "xhigh",
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
    );
    assert_eq!(
        made["thinking"],
        json!({"type": "adaptive", "display": "summarized"})
    );
    assert_eq!(
        made["output_config"],
        json!({"effort": "high", "format": {"type": "json_schema", "schema": schema}})
    );
    // A bound is for thoughts and answer together; half of it is the answer's.
    let made = wish(
        "claude-sonnet-4-5",
        json!({"reasoning": {"effort": "high"}, "max_completion_tokens": 6000}),
    );
    assert_eq!(
        (&made["max_tokens"], &made["thinking"]["budget_tokens"]),
        (&json!(6000), &json!(3000))
    );
}

#[test]
fn claude_is_not_asked_to_think_where_it_would_refuse() {
    let high = |more: Value| {
        let mut all = json!({"reasoning_effort": "high"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body(all)
    };
    let results = json!({"messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": {"name": "a", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"}]});
    let mut reminded = results.clone();
    reminded["messages"]
        .as_array_mut()
        .unwrap()
        .push(json!({"role": "user", "content": "Be brief."}));
    let prefilled =
        json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "So"}]});
    for (model, body) in [
        // Models of before, and others that only speak the dialect.
        ("claude-3-5-sonnet-20241022", high(json!({}))),
        ("claude-3-opus", high(json!({}))),
        ("deepseek-chat", high(json!({}))),
        ("claude-sonnet-4-5", high(json!({"tool_choice": "required"}))),
        // The thoughts before the calls would have to come back signed.
        ("claude-sonnet-4-5", high(results)),
        ("claude-sonnet-4-5", high(reminded)),
        ("claude-sonnet-4-5", high(prefilled)),
        ("claude-sonnet-4-5", high(json!({"max_tokens": 1500}))),
        (
            "claude-sonnet-4-5",
            self::body(json!({"reasoning_effort": "none"})),
        ),
        (
            "claude-sonnet-4-5",
            self::body(json!({"reasoning_effort": "minimal"})),
        ),
        ("claude-sonnet-4-5", self::body(json!({}))),
    ] {
        let mut body = body;
        body["temperature"] = json!(0.5);
        let made = request(Spoken::Messages, model, &body).unwrap();
        assert!(made.get("thinking").is_none(), "{model} {body}: {made}");
        assert!(made.get("output_config").is_none(), "{model} {body}: {made}");
        assert_eq!(made["temperature"], 0.5);
    }
}

#[test]
fn gemini_thinks_by_levels_or_bounds() {
    for (model, effort, expected) in [
        (
            "gemini-2.5-flash",
            "none",
            json!({"thinkingBudget": 0, "includeThoughts": false}),
        ),
        (
            "gemini-2.5-flash",
            "low",
            json!({"thinkingBudget": 1024, "includeThoughts": true}),
        ),
        (
            "models/gemini-2.5-pro",
            "high",
            json!({"thinkingBudget": 24576, "includeThoughts": true}),
        ),
        ("gemini-2.5-pro", "none", Value::Null),
        (
            "gemini-3-pro-preview",
            "medium",
            json!({"thinkingLevel": "high", "includeThoughts": true}),
        ),
        (
            "gemini-3-pro-preview",
            "none",
            json!({"thinkingLevel": "low", "includeThoughts": false}),
        ),
        (
            "gemini-3-flash",
            "medium",
            json!({"thinkingLevel": "medium", "includeThoughts": true}),
        ),
        (
            "gemini-3-flash",
            "minimal",
            json!({"thinkingLevel": "minimal", "includeThoughts": true}),
        ),
        ("gemini-2.0-flash", "high", Value::Null),
        ("gemma-3", "high", Value::Null),
        ("gemini-2.5-pro", "very", Value::Null),
    ] {
        let made = request(Spoken::Gemini, model, &body(json!({"reasoning_effort": effort}))).unwrap();
        assert_eq!(
            made["generationConfig"]["thinkingConfig"], expected,
            "{model} {effort}"
        );
    }
}
