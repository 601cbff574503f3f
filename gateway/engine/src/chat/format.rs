//! The form that an answer shall have: `response_format` as OpenAI has it, `grammar` (GBNF) as llama.cpp's server, and
//! `guided_*` and `structured_outputs` as vLLM.

use serde_json::{Map, Value, json};

use super::{Fields, invalid};
use crate::{
    failure::Failure,
    form::{FORMAT_BYTES, Format, gbnf},
};

/// The form that the answer shall have, and which field asks for it; none for free text.
pub(super) fn read(fields: &Fields<'_>) -> Result<Option<(Format, &'static str)>, Failure> {
    let mut wanted = Vec::new();
    if let Some(format) = response_format(fields)? {
        wanted.push((format, "response_format"));
    }
    if let Some(source) = text(fields, "grammar")? {
        wanted.push((of_gbnf(source, "grammar")?, "grammar"));
    }
    for (param, kind) in [
        ("guided_json", "json"),
        ("guided_regex", "regex"),
        ("guided_choice", "choice"),
        ("guided_grammar", "grammar"),
    ] {
        if let Some(value) = fields.get(param) {
            wanted.push((guided(kind, value, param)?, param));
        }
    }
    let param = "structured_outputs";
    match fields.get(param) {
        None => {}
        Some(Value::Object(options)) => {
            for kind in ["json", "regex", "choice", "grammar"] {
                if let Some(value) = Fields(options).get(kind) {
                    wanted.push((guided(kind, value, param)?, param));
                }
            }
        }
        Some(_) => return Err(invalid(param, "must be an object")),
    }
    if wanted.len() > 1 {
        return Err(invalid(
            wanted[1].1,
            "is one form too many: an answer can have one",
        ));
    }
    Ok(wanted.pop())
}

fn response_format(fields: &Fields<'_>) -> Result<Option<Format>, Failure> {
    let param = "response_format";
    let format = match fields.get(param) {
        None => return Ok(None),
        Some(Value::Object(format)) => Fields(format),
        Some(_) => return Err(invalid(param, "must be an object")),
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::Schema(json!({"type": "object"})))),
        Some("json_schema") => {
            let schema = format
                .get("json_schema")
                .and_then(|named| named.get("schema"))
                .filter(|schema| schema.is_object())
                .ok_or_else(|| invalid(param, "needs an object at `json_schema.schema`"))?;
            of_schema(schema, param).map(Some)
        }
        _ => Err(invalid(
            param,
            "must be of type `text`, `json_object` or `json_schema`",
        )),
    }
}

fn guided(kind: &str, value: &Value, param: &str) -> Result<Format, Failure> {
    match (kind, value) {
        ("json", Value::Object(_)) => of_schema(value, param),
        // Some programs write the schema out.
        ("json", Value::String(text)) => match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(schema) => of_schema(&Value::Object(schema), param),
            Err(_) => Err(invalid(param, "must be a JSON schema")),
        },
        ("regex", Value::String(expression)) => bounded(expression, param).map(Format::Regex),
        ("choice", Value::Array(texts)) if !texts.is_empty() => {
            let written = texts
                .iter()
                .map(|text| text.is_string().then(|| text.to_string()));
            let written: Option<Vec<_>> = written.collect();
            let written = written.ok_or_else(|| invalid(param, "must hold strings only"))?;
            bounded(&format!("start: {}", written.join(" | ")), param).map(Format::Lark)
        }
        // Both notations are in use under this name.
        ("grammar", Value::String(source)) if source.contains("::=") => of_gbnf(source, param),
        ("grammar", Value::String(source)) => bounded(source, param).map(Format::Lark),
        _ => Err(invalid(param, "is of another type than it must be")),
    }
}

fn of_schema(schema: &Value, param: &str) -> Result<Format, Failure> {
    bounded(&schema.to_string(), param)?;
    Ok(Format::Schema(schema.clone()))
}

fn of_gbnf(source: &str, param: &str) -> Result<Format, Failure> {
    bounded(source, param)?;
    match gbnf::to_lark(source) {
        Ok(lark) => Ok(Format::Lark(lark)),
        Err(gbnf::NoGrammar { line }) => Err(Failure::Grammar {
            param: param.to_owned(),
            line,
        }),
    }
}

fn text<'a>(fields: &Fields<'a>, param: &str) -> Result<Option<&'a str>, Failure> {
    fields
        .get(param)
        .map(|value| value.as_str().ok_or_else(|| invalid(param, "must be a string")))
        .transpose()
}

fn bounded(source: &str, param: &str) -> Result<String, Failure> {
    if source.len() > FORMAT_BYTES {
        return Err(invalid(param, "is larger than 256 KiB"));
    }
    Ok(source.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(value: Value) -> Result<Option<Value>, Failure> {
        let read = read(&Fields(json!({"response_format": value}).as_object().unwrap()))?;
        Ok(read.map(|(format, _)| match format {
            Format::Schema(schema) => schema,
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn other_servers_fields_are_understood() {
        let read = |body: Value| read(&Fields(body.as_object().unwrap()));
        let lark = |text: &str| Some(Format::Lark(text.to_owned()));
        let of = |body: Value| read(body).unwrap().map(|(format, _)| format);
        assert_eq!(
            of(json!({"grammar": "root ::= \"a\""})),
            lark("start: r_root\nr_root: \"a\"\n")
        );
        assert_eq!(
            of(json!({"guided_choice": ["a", "b\""]})),
            lark("start: \"a\" | \"b\\\"\"")
        );
        assert_eq!(
            of(json!({"guided_regex": "a+"})),
            Some(Format::Regex("a+".to_owned()))
        );
        let schema = Some(Format::Schema(json!({"type": "object"})));
        assert_eq!(of(json!({"guided_json": "{\"type\": \"object\"}"})), schema);
        assert_eq!(
            of(json!({"structured_outputs": {"json": {"type": "object"}}})),
            schema
        );
        let param = |body: Value| read(body).unwrap_err().body()["error"]["param"].clone();
        assert_eq!(param(json!({"grammar": "root"})), "grammar");
        assert_eq!(param(json!({"guided_choice": [1]})), "guided_choice");
        assert_eq!(
            param(json!({"guided_regex": "a", "grammar": "root ::= \"a\""})),
            "guided_regex"
        );
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
            json!({"type": "json_schema", "json_schema": {"schema": {"const": "x".repeat(FORMAT_BYTES)}}}),
        ] {
            let failure = format(wrong).unwrap_err();
            assert_eq!(failure.body()["error"]["param"], "response_format");
        }
    }
}
