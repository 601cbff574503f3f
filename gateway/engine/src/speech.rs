//! What a model says, taken apart: content, reasoning, and calls of tools.
//!
//! Each family of models marks reasoning and calls in a way of its own, which its chat template shows; [`Family::of_template`] tells it by that.
//! [`Speech`] takes the text as it comes and holds back no more than may still turn out to be a mark. A call is told when it is whole, as half
//! of one is of no use to a caller. What looks like a call and is none (broken JSON, no name) is told as content: nothing that the
//! model said is lost.
//!
//! Limits: those of the answer. A call's arguments are JSON of at most the parser's depth (128).

mod harmony;
mod marked;

use serde_json::{Map, Value};

use self::{harmony::Harmony, marked::Marked};

/// How a family of models marks what is not content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `<tool_call>{"name": ..., "arguments": ...}</tool_call>`: Hermes, Qwen, SmolLM3, Granite 4 and many others.
    Hermes,
    /// `{"name": ..., "parameters": ...}` as the whole answer, perhaps behind `<|python_tag|>`: Llama 3.
    Llama,
    /// `[TOOL_CALLS]` before a list, or before each name and `[ARGS]`: Mistral.
    Mistral,
    /// `<|tool_call|>[...]<|/tool_call|>`: Phi 4 mini; Granite 3 leaves the end out.
    Bar,
    /// Channels (`<|channel|>analysis<|message|>`): gpt-oss.
    Harmony,
    /// Calls are said as Hermes models say them because the prompt asks for that; the template knows no tools.
    Taught,
}

impl Family {
    /// The family whose marks a chat template writes.
    pub(crate) fn of_template(source: &str) -> Self {
        let has = |mark: &str| source.contains(mark);
        if has("<|channel|>") && has("<|message|>") {
            Self::Harmony
        } else if has("[TOOL_CALLS]") {
            Self::Mistral
        } else if has("<tool_call>") {
            Self::Hermes
        } else if has("<|tool_call|>") {
            Self::Bar
        } else if has("tools") && (has("<|python_tag|>") || has("\"parameters\"")) {
            Self::Llama
        } else if has("tools") {
            Self::Hermes
        } else {
            Self::Taught
        }
    }

    /// Marks that may be control tokens, which stand for no text otherwise.
    pub(crate) fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes | Self::Taught => &["<tool_call>", "</tool_call>", "<think>", "</think>"],
            Self::Llama => &["<|python_tag|>"],
            Self::Mistral => &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"],
            Self::Bar => &["<|tool_call|>", "<|/tool_call|>", "<think>", "</think>"],
            Self::Harmony => &[
                "<|channel|>",
                "<|message|>",
                "<|constrain|>",
                "<|start|>",
                "<|end|>",
            ],
        }
    }
}

/// A part of what a model said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Content(String),
    Reasoning(String),
    Call(Call),
}

/// A tool that the model wants called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// A JSON object, written out.
    pub(crate) arguments: String,
}

/// Takes an answer apart as it comes.
pub(crate) struct Speech(Way);

enum Way {
    Marked(Marked),
    Harmony(Harmony),
    /// Nothing but calls, as the form of the answer has it.
    Forced(String),
    /// Nothing but content, behind a text that was not told yet.
    Plain(String),
}

impl Speech {
    /// `tools`: what may be called; where there are none, nothing is taken for a call. `thinks`: whether the prompt ends inside of reasoning.
    pub(crate) fn new(family: Family, tools: Vec<String>, thinks: bool) -> Self {
        Self(match family {
            Family::Harmony => Way::Harmony(Harmony::new()),
            other => Way::Marked(Marked::new(other, tools, thinks)),
        })
    }

    /// For an answer that has the form of calls.
    pub(crate) fn forced() -> Self {
        Self(Way::Forced(String::new()))
    }

    /// For an answer that is told as it is, behind `before`.
    pub(crate) fn plain(before: String) -> Self {
        Self(Way::Plain(before))
    }

    /// Takes what follows.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Said> {
        let mut said = Vec::new();
        match &mut self.0 {
            Way::Marked(marked) => marked.push(text, &mut said),
            Way::Harmony(harmony) => harmony.push(text, &mut said),
            Way::Forced(held) => held.push_str(text),
            Way::Plain(before) => {
                before.push_str(text);
                said.push(Said::Content(std::mem::take(before)));
            }
        }
        said
    }

    /// The answer is whole.
    pub(crate) fn finish(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        match &mut self.0 {
            Way::Marked(marked) => marked.finish(&mut said),
            Way::Harmony(harmony) => harmony.finish(&mut said),
            Way::Plain(before) if before.is_empty() => {}
            Way::Plain(before) => said.push(Said::Content(std::mem::take(before))),
            Way::Forced(held) => match calls_in(held) {
                Some(calls) => said.extend(calls.into_iter().map(Said::Call)),
                // Cut off at the answer's limit.
                None => said.push(Said::Content(std::mem::take(held))),
            },
        }
        said
    }
}

/// The calls that a JSON text holds: an object, or a list of them.
fn calls_in(text: &str) -> Option<Vec<Call>> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    let calls: Option<Vec<Call>> = match value {
        Value::Array(entries) => entries.into_iter().map(call_of).collect(),
        one => call_of(one).map(|call| vec![call]),
    };
    calls.filter(|calls| !calls.is_empty())
}

/// A call as any family writes it.
fn call_of(value: Value) -> Option<Call> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    // OpenAI's own shape, which some models were trained on.
    if let Some(Value::Object(inner)) = fields.shift_remove("function") {
        fields = inner;
    }
    let Some(Value::String(name)) = fields.shift_remove("name") else {
        return None;
    };
    let arguments = ["arguments", "parameters", "args"]
        .iter()
        .find_map(|field| fields.shift_remove(*field));
    let arguments = match arguments {
        None | Some(Value::Null) => Value::Object(Map::new()).to_string(),
        Some(object @ Value::Object(_)) => object.to_string(),
        // Written out already.
        Some(Value::String(text)) if serde_json::from_str::<Map<String, Value>>(&text).is_ok() => text,
        Some(_) => return None,
    };
    Some(Call { name, arguments })
}

/// Length of the longest end of `text` that one of `marks` begins with.
fn beginning_of(text: &str, marks: &[&str]) -> usize {
    let longest = marks.iter().map(|mark| mark.len()).max().unwrap_or(0);
    (1..longest.min(text.len() + 1))
        .rev()
        .find(|&length| {
            let from = text.len() - length;
            text.is_char_boundary(from)
                && marks
                    .iter()
                    .any(|mark| mark.len() > length && mark.starts_with(&text[from..]))
        })
        .unwrap_or(0)
}

/// The first of the marks in a text, and where.
fn first_of<'m>(text: &str, marks: &[&'m str]) -> Option<(usize, &'m str)> {
    marks
        .iter()
        .filter_map(|mark| text.find(mark).map(|at| (at, *mark)))
        .min_by_key(|&(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said of a text that comes in pieces of so many characters, neighbours of one kind joined.
    pub(super) fn said(family: Family, thinks: bool, text: &str, piece: usize) -> Vec<Said> {
        let mut speech = Speech::new(family, ["a", "b"].map(str::to_owned).into(), thinks);
        let letters: Vec<char> = text.chars().collect();
        let mut parts: Vec<Said> = letters
            .chunks(piece)
            .flat_map(|piece| speech.push(&piece.iter().collect::<String>()))
            .collect();
        parts.extend(speech.finish());
        let mut joined: Vec<Said> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(Said::Content(text)), Said::Content(more))
                | (Some(Said::Reasoning(text)), Said::Reasoning(more)) => {
                    text.push_str(&more);
                }
                (_, part) => joined.push(part),
            }
        }
        joined
    }

    pub(super) fn content(text: &str) -> Said {
        Said::Content(text.to_owned())
    }

    pub(super) fn reasoning(text: &str) -> Said {
        Said::Reasoning(text.to_owned())
    }

    pub(super) fn call(name: &str, arguments: &str) -> Said {
        Said::Call(Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    }

    #[test]
    fn families_are_told_by_their_templates() {
        for (source, family) in [
            ("{% if tools %}<tool_call>{% endif %}<|im_start|>", Family::Hermes),
            ("{{ tools }}<|python_tag|>", Family::Llama),
            ("[AVAILABLE_TOOLS]{{ tools }}[TOOL_CALLS]", Family::Mistral),
            ("<|tool|>{{ tools }}<|tool_call|>", Family::Bar),
            ("<|start|>assistant<|channel|>final<|message|>", Family::Harmony),
            ("<|im_start|>{{ messages[0].content }}", Family::Taught),
        ] {
            assert_eq!(Family::of_template(source), family, "{source}");
        }
    }

    #[test]
    fn arguments_are_an_object_however_they_are_written() {
        let one = |text: &str| calls_in(text).map(|calls| calls[0].arguments.clone());
        assert_eq!(one(r#"{"name":"f","arguments":{"a":1}}"#).unwrap(), r#"{"a":1}"#);
        assert_eq!(one(r#"{"name":"f","parameters":{"a":1}}"#).unwrap(), r#"{"a":1}"#);
        assert_eq!(
            one(r#"{"name":"f","arguments":"{\"a\": 1}"}"#).unwrap(),
            r#"{"a": 1}"#
        );
        assert_eq!(
            one(r#"{"type":"function","function":{"name":"f","arguments":{}}}"#).unwrap(),
            "{}"
        );
        assert_eq!(one(r#"[{"name":"f"}]"#).unwrap(), "{}");
        for none in [
            r#"{"arguments":{}}"#,
            r#"{"name":"f","arguments":[1]}"#,
            "[]",
            "{",
            "7",
            r#"[{"name":"f"},7]"#,
        ] {
            assert_eq!(calls_in(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn without_marks_nothing_is_lost_and_pieces_do_not_matter(text in "[a-z<>{}\\[\\]|/_ ]{0,60}", piece in 1_usize..9) {
            for family in [Family::Hermes, Family::Llama, Family::Mistral, Family::Bar, Family::Taught] {
                let whole = said(family, false, &text, 100);
                prop_assert_eq!(said(family, false, &text, piece), whole.clone());
                let told: String = whole.iter().map(|part| match part {
                    Said::Content(text) | Said::Reasoning(text) => text.clone(),
                    Said::Call(_) => String::new(),
                }).collect();
                if family.marks().iter().all(|mark| !text.contains(mark)) {
                    prop_assert_eq!(told, text.clone());
                }
            }
        }
    }
}
