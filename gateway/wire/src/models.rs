//! The small answers that need no upstream: which models there are, and the version.

use bytes::Bytes;
use cordon_domain::Dialect;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// In whose words models are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelForm {
    /// `GET /v1/models`.
    Openai,
    /// The same path, where the caller speaks as Anthropic's programs do.
    Anthropic,
    /// `GET /v1beta/models`.
    Gemini,
    /// `GET /api/tags`.
    Ollama,
}

impl ModelForm {
    /// The form of a list that was asked for in a dialect.
    #[must_use]
    pub fn of(dialect: Dialect, anthropic: bool) -> Self {
        match dialect {
            Dialect::Gemini => Self::Gemini,
            Dialect::Ollama => Self::Ollama,
            _ if anthropic => Self::Anthropic,
            _ => Self::Openai,
        }
    }
}

/// The reply to a wish for a list. Each model comes with the time it was made, in seconds since 1970.
#[must_use]
pub fn models_list(form: ModelForm, models: &[(String, i64)]) -> Bytes {
    let entries: Vec<Value> = models
        .iter()
        .map(|(name, created)| entry(form, name, *created))
        .collect();
    let list = match form {
        ModelForm::Anthropic => json!({
            "data": entries,
            "has_more": false,
            "first_id": models.first().map(|(name, _)| name),
            "last_id": models.last().map(|(name, _)| name),
        }),
        ModelForm::Openai => json!({"object": "list", "data": entries}),
        ModelForm::Gemini | ModelForm::Ollama => json!({"models": entries}),
    };
    list.to_string().into()
}

/// The reply to a wish for one model.
#[must_use]
pub fn model_one(form: ModelForm, name: &str, created: i64) -> Bytes {
    entry(form, name, created).to_string().into()
}

/// The reply to Ollama's `GET /api/version`.
#[must_use]
pub fn ollama_version(version: &str) -> Bytes {
    json!({"version": version}).to_string().into()
}

fn entry(form: ModelForm, name: &str, created: i64) -> Value {
    let made = || {
        let made = OffsetDateTime::from_unix_timestamp(created).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        made.format(&Rfc3339)
            .unwrap_or_else(|_| "1970-01-01T00:00:00Z".into())
    };
    match form {
        ModelForm::Anthropic => json!({
            "type": "model", "id": name, "display_name": name, "created_at": made(), "lifecycle": "active",
        }),
        ModelForm::Openai => json!({"id": name, "object": "model", "created": created, "owned_by": "cordon"}),
        ModelForm::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        }),
        ModelForm::Ollama => json!({
            "name": name, "model": name, "modified_at": made(), "size": 0, "digest": "",
            "details": {"format": "gguf", "family": "", "parameter_size": "", "quantization_level": ""},
        }),
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
        let openai = parsed(&models_list(ModelForm::Openai, &models));
        assert_eq!(openai["object"], "list");
        assert_eq!(
            openai["data"][1],
            json!({"id": "b", "object": "model", "created": 1_700_000_000, "owned_by": "cordon"})
        );
        assert_eq!(
            parsed(&model_one(ModelForm::Openai, "b", 1_700_000_000)),
            openai["data"][1]
        );

        let anthropic = parsed(&models_list(ModelForm::Anthropic, &models));
        assert_eq!(
            (&anthropic["first_id"], &anthropic["last_id"]),
            (&json!("a"), &json!("b"))
        );
        assert_eq!(anthropic["data"][1]["created_at"], "2023-11-14T22:13:20Z");
        assert_eq!(
            parsed(&models_list(ModelForm::Anthropic, &[]))["first_id"],
            Value::Null
        );
        assert_eq!(
            parsed(&model_one(ModelForm::Anthropic, "x", i64::MAX))["created_at"],
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn lists_models_as_gemini_and_ollama_do() {
        let models = [("a".to_owned(), 1_700_000_000)];
        assert_eq!(ModelForm::of(Dialect::Gemini, true), ModelForm::Gemini);
        let gemini = parsed(&models_list(ModelForm::Gemini, &models));
        assert_eq!(gemini["models"][0]["name"], "models/a");
        let ollama = parsed(&models_list(ModelForm::Ollama, &models));
        assert_eq!(ollama["models"][0]["model"], "a");
        assert_eq!(ollama["models"][0]["modified_at"], "2023-11-14T22:13:20Z");
        assert_eq!(parsed(&ollama_version("1"))["version"], "1");
    }
}
