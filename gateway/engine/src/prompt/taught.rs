//! Tools for a model whose template knows none: they are described in the system message, and calls and results are written as
//! Hermes models do, which is what most small models have seen.

use serde_json::{Value, json};

/// Puts the tools, and what came of them before, into messages that any template can print. `knows_results`: the template has a role
/// for them.
pub(super) fn teach(messages: &mut Vec<Value>, tools: &Value, knows_results: bool) {
    for message in messages.iter_mut() {
        write_out(message, knows_results);
    }
    let Some(tools) = tools.as_array() else { return };
    let lines: Vec<String> = tools.iter().map(|tool| tool["function"].to_string()).collect();
    let lesson = format!(
        "You can call tools. These are their names, what they do, and the JSON schemas of their arguments:\n{}\n\n\
         To call one, answer with nothing but this, once for each call:\n\
         <tool_call>\n{{\"name\": NAME, \"arguments\": ARGUMENTS}}\n</tool_call>",
        lines.join("\n")
    );
    match messages.first_mut() {
        Some(first) if first["role"] == "system" || first["role"] == "developer" => {
            let said = first["content"].as_str().unwrap_or_default();
            first["content"] = Value::from(format!("{said}\n\n{lesson}"));
        }
        _ => messages.insert(0, json!({"role": "system", "content": lesson})),
    }
}

/// Calls and results as text.
fn write_out(message: &mut Value, knows_results: bool) {
    if let Some(Value::Array(calls)) = message.get("tool_calls").cloned() {
        let mut content = message["content"].as_str().unwrap_or_default().to_owned();
        for call in calls {
            let function = &call["function"];
            let call = json!({"name": function["name"], "arguments": function["arguments"]});
            if !content.is_empty() {
                content.push('\n');
            }
            content.push_str(&format!("<tool_call>\n{call}\n</tool_call>"));
        }
        message["content"] = Value::from(content);
        if let Value::Object(fields) = message {
            fields.shift_remove("tool_calls");
        }
    }
    if !knows_results && (message["role"] == "tool" || message["role"] == "function") {
        let result = message["content"].as_str().unwrap_or_default();
        *message = json!({
            "role": "user",
            "content": format!("<tool_response>\n{result}\n</tool_response>"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_calls_and_results_become_text() {
        let mut messages = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "assistant", "content": "", "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": {"x": 1}}}]}),
            json!({"role": "tool", "tool_call_id": "1", "content": "42"}),
        ];
        teach(
            &mut messages,
            &json!([{"type": "function", "function": {"name": "f"}}]),
            false,
        );
        let first = messages[0]["content"].as_str().unwrap();
        assert!(
            first.starts_with("Be brief.\n\n") && first.contains("\n{\"name\":\"f\"}\n"),
            "{first}"
        );
        let call = "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"x\":1}}\n</tool_call>";
        assert_eq!(messages[1], json!({"role": "assistant", "content": call}));
        let result = json!({"role": "user", "content": "<tool_response>\n42\n</tool_response>"});
        assert_eq!(messages[2], result);

        let mut alone = vec![json!({"role": "user", "content": "Hi"})];
        teach(
            &mut alone,
            &json!([{"type": "function", "function": {"name": "f"}}]),
            false,
        );
        assert_eq!(alone[0]["role"], "system");
        assert_eq!(alone.len(), 2);
    }
}
