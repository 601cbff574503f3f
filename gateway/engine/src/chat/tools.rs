//! The tools of a request, and whether one has to be called.
//!
//! Limits: [`TOOLS`] tools; names as OpenAI has them.
//!
//! On failure: a [`Failure`] that names the place, never its value.

use serde_json::{Value, json};

use super::{Fields, invalid};
use crate::failure::Failure;

/// Tools of a request, as with OpenAI.
const TOOLS: usize = 128;
/// Letters of a tool's name, as with OpenAI.
const NAME: usize = 64;

/// What may be called.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tools {
    /// Definitions as they came, for the template; `Null` where none may be called.
    pub(crate) definitions: Value,
    /// Where a call is wanted and nothing else: the schema of `{"name", "arguments"}`.
    pub(crate) forced: Option<Value>,
}

impl Tools {
    /// What they are called.
    pub(crate) fn names(&self) -> Vec<String> {
        let tools = self.definitions.as_array().into_iter().flatten();
        tools
            .filter_map(|tool| tool["function"]["name"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn read(fields: &Fields<'_>) -> Result<Tools, Failure> {
    let entries = match fields.get("tools") {
        None => &[],
        Some(Value::Array(entries)) if entries.len() <= TOOLS => entries.as_slice(),
        Some(Value::Array(_)) => return Err(invalid("tools", "holds more than 128 tools")),
        Some(_) => return Err(invalid("tools", "must be an array of objects")),
    };
    let mut named = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        named.push(definition(at, entry)?);
    }
    let several = fields.flag("parallel_tool_calls")?.unwrap_or(false);
    let wanted = match fields.get("tool_choice") {
        None => None,
        Some(Value::String(choice)) => match choice.as_str() {
            "none" => return Ok(Tools::default()),
            "auto" => None,
            "required" => Some(named.clone()),
            _ => {
                return Err(invalid(
                    "tool_choice",
                    "must be `none`, `auto`, `required` or a tool",
                ));
            }
        },
        Some(choice) => {
            let name = choice["function"]["name"].as_str();
            let chosen: Vec<_> = named
                .iter()
                .filter(|(known, _)| Some(*known) == name)
                .cloned()
                .collect();
            if chosen.is_empty() {
                return Err(invalid("tool_choice", "names none of `tools`"));
            }
            Some(chosen)
        }
    };
    if wanted.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid("tool_choice", "wants a call, and there are no `tools`"));
    }
    Ok(Tools {
        definitions: match entries {
            [] => Value::Null,
            entries => Value::Array(entries.to_vec()),
        },
        forced: wanted.map(|wanted| schema(&wanted, several)),
    })
}

/// A tool's name and the schema of its arguments.
fn definition(at: usize, entry: &Value) -> Result<(&str, Value), Failure> {
    let refuse = |field: &str, why| {
        Err(Failure::Invalid {
            param: format!("tools[{at}]{field}"),
            why,
        })
    };
    if !entry.is_object() {
        return refuse("", "must be an object");
    }
    if entry.get("type").is_some_and(|kind| kind != "function") {
        return Err(Failure::Unsupported {
            param: format!("tools[{at}].type"),
            why: "only functions can be called",
        });
    }
    let function = &entry["function"];
    let name = function["name"].as_str().unwrap_or_default();
    let fits = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if name.is_empty() || name.len() > NAME || !fits {
        return refuse(
            ".function.name",
            "must be 1 to 64 letters, digits, `_`, `-` or `.`",
        );
    }
    let parameters = match &function["parameters"] {
        Value::Null => json!({"type": "object", "properties": {}, "additionalProperties": false}),
        object @ Value::Object(_) => object.clone(),
        _ => return refuse(".function.parameters", "must be a JSON schema"),
    };
    Ok((name, parameters))
}

/// One call of one of these, or a list of calls.
fn schema(wanted: &[(&str, Value)], several: bool) -> Value {
    let one = |(name, parameters): &(&str, Value)| {
        json!({
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": parameters},
            "required": ["name", "arguments"],
            "additionalProperties": false,
        })
    };
    let call = match wanted {
        [only] => one(only),
        several => json!({"anyOf": several.iter().map(one).collect::<Vec<_>>()}),
    };
    if several {
        json!({"type": "array", "items": call, "minItems": 1, "maxItems": 8})
    } else {
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(body: Value) -> Result<Tools, Failure> {
        read(&Fields(body.as_object().unwrap()))
    }

    fn weather() -> Value {
        json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}})
    }

    #[test]
    fn a_choice_decides_what_must_be_called() {
        let free = tools(json!({"tools": [weather()]})).unwrap();
        assert!(free.names() == ["weather"] && free.forced.is_none());
        assert_eq!(
            tools(json!({"tools": [weather()], "tool_choice": "none"})),
            Ok(Tools::default())
        );
        assert_eq!(tools(json!({})), Ok(Tools::default()));
        let named = json!({"type": "function", "function": {"name": "weather"}});
        let forced = tools(json!({"tools": [weather()], "tool_choice": named}))
            .unwrap()
            .forced
            .unwrap();
        assert_eq!(forced["properties"]["name"]["const"], "weather");
        let other = json!({"type": "function", "function": {"name": "time"}});
        let any =
            json!({"tools": [weather(), other], "tool_choice": "required", "parallel_tool_calls": true});
        let any = tools(any).unwrap().forced.unwrap();
        assert_eq!(any["items"]["anyOf"].as_array().unwrap().len(), 2);
        assert_eq!(
            any["items"]["anyOf"][1]["properties"]["arguments"]["additionalProperties"],
            false
        );
    }

    #[test]
    fn what_is_wrong_is_refused_by_place() {
        let param = |body: Value| {
            let failure = tools(body).unwrap_err();
            failure.body()["error"]["param"].as_str().unwrap().to_owned()
        };
        assert_eq!(param(json!({"tools": 5})), "tools");
        assert_eq!(param(json!({"tools": [weather(), 5]})), "tools[1]");
        assert_eq!(param(json!({"tools": [{"type": "custom"}]})), "tools[0].type");
        let unnamed = json!({"type": "function", "function": {"name": "a b"}});
        assert_eq!(param(json!({"tools": [unnamed]})), "tools[0].function.name");
        assert_eq!(param(json!({"tool_choice": "required"})), "tool_choice");
        assert_eq!(
            param(json!({"tools": [weather()], "tool_choice": "always"})),
            "tool_choice"
        );
        let unknown = json!({"type": "function", "function": {"name": "time"}});
        assert_eq!(
            param(json!({"tools": [weather()], "tool_choice": unknown})),
            "tool_choice"
        );
        let many = vec![weather(); TOOLS + 1];
        assert_eq!(param(json!({"tools": many})), "tools");
    }
}
