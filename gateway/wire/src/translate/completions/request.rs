//! A request for a completion as an `openai-chat` request: the prompt is what the user says.
//!
//! Left out is what says nothing about the answer itself: `user`, `logprobs`, `logit_bias` (of another model's LLM tokens).

use serde_json::{Value, json};

use crate::translate::{
    TranslateError,
    request::{ChatRequest, Object, Turns, present, shape, unsupported},
};

pub(crate) fn to_chat(body: &Object, model: &str) -> Result<ChatRequest, TranslateError> {
    refuse_others(body)?;
    let mut turns = Turns::default();
    turns.user(prompt(body)?);
    let mut chat = ChatRequest::new(model, turns);
    for name in [
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
    ] {
        chat.carry(body, name, name);
    }
    chat.stream_like(body)?;
    Ok(chat)
}

fn prompt(body: &Object) -> Result<&str, TranslateError> {
    match present(body, "prompt") {
        Some(Value::String(prompt)) => Ok(prompt),
        Some(Value::Array(prompts)) => match prompts.as_slice() {
            [Value::String(prompt)] => Ok(prompt),
            [Value::String(_), ..] => Err(unsupported("prompt", "more than one prompt", "ask once for each")),
            _ => Err(unsupported(
                "prompt",
                "a prompt in LLM token numbers",
                "send it as text",
            )),
        },
        _ => Err(shape("prompt", "a string or an array of one string")),
    }
}

/// What a conversation has no counterpart for.
fn refuse_others(body: &Object) -> Result<(), TranslateError> {
    if present(body, "suffix").is_some_and(|suffix| *suffix != json!("")) {
        return Err(unsupported(
            "suffix",
            "filling in the middle of a text",
            "ask for the text that is missing in words",
        ));
    }
    if present(body, "echo") == Some(&Value::Bool(true)) {
        return Err(unsupported(
            "echo",
            "the prompt repeated before the answer",
            "leave `echo` out",
        ));
    }
    for name in ["n", "best_of"] {
        if present(body, name).and_then(Value::as_u64).is_some_and(|n| n > 1) {
            return Err(unsupported(name, "more than one answer", "ask several times"));
        }
    }
    Ok(())
}
