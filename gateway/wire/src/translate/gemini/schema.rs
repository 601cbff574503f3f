//! Gemini's schemas, which are OpenAPI's with types in capitals, as JSON schemas.

use serde_json::{Map, Value, json};

/// The schema with everything that has another spelling in JSON Schema put into that.
pub(super) fn to_json(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let mut out = Map::new();
    for (name, value) in members {
        let value = match (name.as_str(), value) {
            ("type", Value::String(kind)) => match kind.to_ascii_lowercase().as_str() {
                "type_unspecified" => continue,
                kind => kind.into(),
            },
            ("properties" | "$defs" | "defs", Value::Object(named)) => Value::Object(
                named
                    .iter()
                    .map(|(name, schema)| (name.clone(), to_json(schema)))
                    .collect(),
            ),
            ("items" | "additionalProperties" | "additional_properties", schema) => to_json(schema),
            ("anyOf" | "any_of" | "prefixItems" | "prefix_items", Value::Array(schemas)) => {
                schemas.iter().map(to_json).collect()
            }
            // 64-bit numbers are strings in Google's JSON.
            (
                "minItems" | "min_items" | "maxItems" | "max_items" | "minLength" | "min_length"
                | "maxLength" | "max_length" | "minProperties" | "min_properties" | "maxProperties"
                | "max_properties",
                Value::String(number),
            ) => number
                .parse::<u64>()
                .map_or_else(|_| value.clone(), |number| number.into()),
            // JSON Schema has no order of members; `enum` is what Google calls the format of one.
            ("propertyOrdering" | "property_ordering" | "nullable", _) => continue,
            ("format", Value::String(format)) if format == "enum" => continue,
            _ => value.clone(),
        };
        out.insert(json_name(name).to_owned(), value);
    }
    if members.get("nullable") == Some(&Value::Bool(true)) {
        or_null(out)
    } else {
        Value::Object(out)
    }
}

/// A schema that null fits, too.
fn or_null(mut schema: Map<String, Value>) -> Value {
    match schema.get("type").cloned() {
        Some(kind @ Value::String(_)) => {
            schema.insert("type".into(), json!([kind, "null"]));
            if let Some(Value::Array(values)) = schema.get_mut("enum") {
                values.push(Value::Null);
            }
            Value::Object(schema)
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

fn json_name(name: &str) -> &str {
    match name {
        "additional_properties" => "additionalProperties",
        "any_of" => "anyOf",
        "prefix_items" => "prefixItems",
        "min_items" => "minItems",
        "max_items" => "maxItems",
        "min_length" => "minLength",
        "max_length" => "maxLength",
        "min_properties" => "minProperties",
        "max_properties" => "maxProperties",
        "defs" => "$defs",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_in_small_letters_and_names_of_members_stay() {
        let gemini = json!({
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "format": "enum", "enum": ["NEW", "OLD"]},
                "nullable": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1"},
                "x": {"type": "STRING", "nullable": true},
                "y": {"any_of": [{"type": "NUMBER"}, {"type": "TYPE_UNSPECIFIED"}], "nullable": true},
            },
            "propertyOrdering": ["type", "nullable"],
            "required": ["type"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["NEW", "OLD"]},
                "nullable": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
                "x": {"type": ["string", "null"]},
                "y": {"anyOf": [{"anyOf": [{"type": "number"}, {}]}, {"type": "null"}]},
            },
            "required": ["type"],
        });
        assert_eq!(to_json(&gemini), expected);
        // What is one already stays.
        assert_eq!(to_json(&expected), expected);
    }
}
