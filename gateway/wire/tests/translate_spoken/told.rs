//! A streamed reply of `openai-chat`, read.

use serde_json::{Value, json};

/// What a stream of chunks says: thoughts, words, calls, why it ended, counts; and whether it came to its end.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) thoughts: String,
    pub(crate) words: String,
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) finish: Option<String>,
    pub(crate) counts: Option<(u64, u64, u64)>,
    pub(crate) done: bool,
    pub(crate) failed: bool,
}

pub(crate) fn told(stream: &str) -> Told {
    let mut told = Told::default();
    for data in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assert!(!told.done, "nothing comes behind the end");
        if data == "[DONE]" {
            told.done = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        told.failed |= chunk["error"].is_object();
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            told.counts = Some((
                count("/prompt_tokens"),
                count("/prompt_tokens_details/cached_tokens"),
                count("/completion_tokens"),
            ));
        }
        let choice = &chunk["choices"][0];
        told.thoughts
            .push_str(choice["delta"]["reasoning_content"].as_str().unwrap_or_default());
        for name in ["content", "refusal"] {
            told.words
                .push_str(choice["delta"][name].as_str().unwrap_or_default());
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if at == told.calls.len() {
                assert!(call["id"].is_string() || call["id"].is_null());
                let name = call["function"]["name"].as_str().unwrap();
                told.calls.push((name.to_owned(), String::new()));
            }
            told.calls[at]
                .1
                .push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            told.finish = Some(reason.to_owned());
        }
    }
    // What a call's arguments say, whatever the spaces among them.
    for (_, source) in &mut told.calls {
        *source = serde_json::from_str::<Value>(source)
            .unwrap_or(json!({}))
            .to_string();
    }
    told
}
