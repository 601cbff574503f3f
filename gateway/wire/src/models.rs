//! The small answers that need no upstream: which models there are, and how many LLM tokens were counted.

use bytes::Bytes;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The reply to `GET /v1/models`, in Anthropic's shape or in OpenAI's. Each model comes with the time
/// it was made, in seconds since 1970.
#[must_use]
pub fn models_list(dialect_hint_anthropic: bool, models: &[(String, i64)]) -> Bytes {
    let data: Vec<Value> = models
        .iter()
        .map(|(name, created)| entry(dialect_hint_anthropic, name, *created))
        .collect();
    let list = if dialect_hint_anthropic {
        json!({
            "data": data,
            "has_more": false,
            "first_id": models.first().map(|(name, _)| name),
            "last_id": models.last().map(|(name, _)| name),
        })
    } else {
        json!({"object": "list", "data": data})
    };
    list.to_string().into()
}

/// The reply to `GET /v1/models/{id}`.
#[must_use]
pub fn model_one(dialect_hint_anthropic: bool, name: &str, created: i64) -> Bytes {
    entry(dialect_hint_anthropic, name, created).to_string().into()
}

/// The reply to `POST /v1/messages/count_tokens`.
#[must_use]
pub fn count_tokens_reply(count: u64) -> Bytes {
    json!({"input_tokens": count}).to_string().into()
}

fn entry(anthropic: bool, name: &str, created: i64) -> Value {
    if anthropic {
        let made = OffsetDateTime::from_unix_timestamp(created).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let made = made
            .format(&Rfc3339)
            .unwrap_or_else(|_| "1970-01-01T00:00:00Z".into());
        json!({
            "type": "model", "id": name, "display_name": name, "created_at": made, "lifecycle": "active",
        })
    } else {
        json!({"id": name, "object": "model", "created": created, "owned_by": "cordon"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &Bytes) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn lists_models_in_both_shapes() {
        let models = [("a".to_owned(), 0), ("b".to_owned(), 1_700_000_000)];
        let openai = parsed(&models_list(false, &models));
        assert_eq!(openai["object"], "list");
        assert_eq!(
            openai["data"][1],
            json!({"id": "b", "object": "model", "created": 1_700_000_000, "owned_by": "cordon"})
        );
        assert_eq!(parsed(&model_one(false, "b", 1_700_000_000)), openai["data"][1]);

        let anthropic = parsed(&models_list(true, &models));
        assert_eq!(
            (&anthropic["first_id"], &anthropic["last_id"]),
            (&json!("a"), &json!("b"))
        );
        assert_eq!(anthropic["data"][1]["created_at"], "2023-11-14T22:13:20Z");
        assert_eq!(parsed(&models_list(true, &[]))["first_id"], Value::Null);
        assert_eq!(
            parsed(&model_one(true, "x", i64::MAX))["created_at"],
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn answers_a_count() {
        assert_eq!(count_tokens_reply(42).as_ref(), br#"{"input_tokens":42}"#);
    }
}
