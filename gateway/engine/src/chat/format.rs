//! `response_format`: the form that an answer shall have.

use serde_json::{Value, json};

use super::{Fields, invalid};
use crate::{failure::Failure, form::SCHEMA_BYTES};

/// The schema that the answer shall follow; none for free text.
pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Value>, Failure> {
    let param = "response_format";
    let format = match fields.get(param) {
        None => return Ok(None),
        Some(Value::Object(format)) => Fields(format),
        Some(_) => return Err(invalid(param, "must be an object")),
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({"type": "object"}))),
        Some("json_schema") => {
            let schema = format
                .get("json_schema")
                .and_then(|named| named.get("schema"))
                .filter(|schema| schema.is_object())
                .ok_or_else(|| invalid(param, "needs an object at `json_schema.schema`"))?;
            if schema.to_string().len() > SCHEMA_BYTES {
                return Err(invalid(param, "holds a schema of more than 256 KiB"));
            }
            Ok(Some(schema.clone()))
        }
        _ => Err(invalid(
            param,
            "must be of type `text`, `json_object` or `json_schema`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(value: Value) -> Result<Option<Value>, Failure> {
        read(&Fields(json!({"response_format": value}).as_object().unwrap()))
    }

    #[test]
    fn text_asks_for_nothing_and_json_for_a_schema() {
        assert_eq!(format(json!({"type": "text"})), Ok(None));
        assert_eq!(format(Value::Null), Ok(None));
        assert_eq!(
            format(json!({"type": "json_object"})),
            Ok(Some(json!({"type": "object"})))
        );
        let schema = json!({"enum": ["a"]});
        let asked = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
        assert_eq!(format(asked), Ok(Some(schema)));
    }

    #[test]
    fn another_shape_is_refused_by_name() {
        for wrong in [
            json!("json_object"),
            json!({}),
            json!({"type": "grammar"}),
            json!({"type": "json_schema"}),
            json!({"type": "json_schema", "json_schema": {"name": "n"}}),
            json!({"type": "json_schema", "json_schema": {"schema": true}}),
            json!({"type": "json_schema", "json_schema": {"schema": {"const": "x".repeat(SCHEMA_BYTES)}}}),
        ] {
            let failure = format(wrong).unwrap_err();
            assert_eq!(failure.body()["error"]["param"], "response_format");
        }
    }
}
