//! Families that mark calls and reasoning within the text.

use super::{Call, Family, Said, beginning_of, calls_in, first_of};

/// Where the text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before anything but blanks.
    Start,
    Content,
    Reasoning,
    /// Behind the mark of a call.
    Call,
}

/// Takes text apart by a family's marks.
pub(super) struct Marked {
    family: Family,
    tools: Vec<String>,
    at: At,
    /// Not told yet: what may be the beginning of a mark, or a call that is not whole.
    held: String,
    /// The mark that the held call began with.
    opened: &'static str,
    /// Whether a call was told: then blanks between calls are nothing.
    called: bool,
}

impl Marked {
    pub(super) fn new(family: Family, tools: Vec<String>, thinks: bool) -> Self {
        Self {
            family,
            tools,
            at: if thinks { At::Reasoning } else { At::Start },
            held: String::new(),
            opened: "",
            called: false,
        }
    }

    fn thinking(&self) -> (&'static str, &'static str) {
        match self.family {
            Family::Mistral => ("[THINK]", "[/THINK]"),
            _ => ("<think>", "</think>"),
        }
    }

    fn opening(&self) -> &'static [&'static str] {
        match self.family {
            _ if self.tools.is_empty() => &[],
            Family::Mistral => &["[TOOL_CALLS]"],
            Family::Bar => &["<|tool_call|>", "<tool_call>"],
            Family::Llama => &["<|python_tag|>"],
            Family::Hermes | Family::Taught | Family::Harmony => &["<tool_call>"],
        }
    }

    fn closing(&self) -> &'static [&'static str] {
        match self.family {
            Family::Mistral => &["[TOOL_CALLS]"],
            Family::Bar => &["<|/tool_call|>", "</tool_call>"],
            Family::Llama => &[],
            Family::Hermes | Family::Taught | Family::Harmony => &["</tool_call>"],
        }
    }

    pub(super) fn push(&mut self, text: &str, said: &mut Vec<Said>) {
        self.held.push_str(text);
        while self.advance(said) {}
    }

    /// Goes one mark further. `false` when more text is needed.
    fn advance(&mut self, said: &mut Vec<Said>) -> bool {
        match self.at {
            At::Start => {
                let opening = self.thinking().0;
                let begun = self.held.trim_start();
                if begun.is_empty() || (begun.len() < opening.len() && opening.starts_with(begun)) {
                    return false;
                }
                if let Some(rest) = begun.strip_prefix(opening) {
                    self.held = rest.to_owned();
                    self.at = At::Reasoning;
                } else if !self.tools.is_empty() && self.family == Family::Llama && begun.starts_with('{') {
                    self.at = At::Call;
                } else {
                    self.at = At::Content;
                }
                true
            }
            At::Reasoning => {
                let closing = self.thinking().1;
                match self.held.find(closing) {
                    Some(end) => {
                        let thought = self.held[..end].to_owned();
                        let rest = self.held[end + closing.len()..].to_owned();
                        self.held = rest;
                        tell(said, Said::Reasoning, thought);
                        self.at = At::Content;
                        // Templates put blank lines between the two; they belong to neither.
                        self.called = true;
                        true
                    }
                    None => {
                        let safe = self.held.len() - beginning_of(&self.held, &[closing]);
                        let rest = self.held.split_off(safe);
                        tell(said, Said::Reasoning, std::mem::replace(&mut self.held, rest));
                        false
                    }
                }
            }
            At::Content => match first_of(&self.held, self.opening()) {
                Some((start, mark)) => {
                    let before = self.held[..start].to_owned();
                    let rest = self.held[start + mark.len()..].to_owned();
                    self.held = rest;
                    self.content(before, said);
                    self.opened = mark;
                    self.at = At::Call;
                    true
                }
                None => {
                    let safe = self.held.len() - beginning_of(&self.held, self.opening());
                    let blank = self.called && self.held[..safe].trim_end().is_empty();
                    if !blank {
                        let rest = self.held.split_off(safe);
                        let text = std::mem::replace(&mut self.held, rest);
                        self.content(text, said);
                    }
                    false
                }
            },
            At::Call => match first_of(&self.held, self.closing()) {
                Some((end, mark)) => {
                    let inner = self.held[..end].to_owned();
                    // Mistral's mark closes one call by opening the next.
                    let opens = mark == self.opened;
                    let rest = self.held[end + mark.len()..].to_owned();
                    self.held = rest;
                    self.call(&inner, mark, said);
                    if !opens {
                        self.at = At::Content;
                    }
                    true
                }
                None => false,
            },
        }
    }

    pub(super) fn finish(&mut self, said: &mut Vec<Said>) {
        let rest = std::mem::take(&mut self.held);
        match self.at {
            At::Reasoning => tell(said, Said::Reasoning, rest),
            At::Call => self.call(&rest, "", said),
            At::Start => tell(said, Said::Content, rest),
            At::Content => self.content(rest, said),
        }
    }

    fn content(&mut self, text: String, said: &mut Vec<Said>) {
        let text = if self.called {
            text.trim_start().to_owned()
        } else {
            text
        };
        if !text.is_empty() {
            self.called = false;
        }
        tell(said, Said::Content, text);
    }

    /// Tells the calls of a marked text, or the text with its marks when it holds none.
    fn call(&mut self, inner: &str, closing: &str, said: &mut Vec<Said>) {
        let found = match self.family {
            Family::Mistral => named(inner).or_else(|| calls_in(inner)),
            // With no mark around it, any object might be meant as an answer.
            Family::Llama => {
                in_a_row(inner).filter(|calls| calls.iter().all(|call| self.tools.contains(&call.name)))
            }
            _ => calls_in(inner),
        };
        match found {
            Some(calls) => {
                said.extend(calls.into_iter().map(Said::Call));
                self.called = true;
            }
            None => {
                let closing = if closing == self.opened { "" } else { closing };
                tell(said, Said::Content, format!("{}{inner}{closing}", self.opened));
            }
        }
    }
}

fn tell(said: &mut Vec<Said>, kind: fn(String) -> Said, text: String) {
    if !text.is_empty() {
        said.push(kind(text));
    }
}

/// `name[ARGS]{...}`, perhaps with `[CALL_ID]...` between.
fn named(inner: &str) -> Option<Vec<Call>> {
    let (name, arguments) = inner.split_once("[ARGS]")?;
    let name = name.split("[CALL_ID]").next().unwrap_or_default().trim();
    let arguments = arguments.trim();
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments).is_ok();
    (is_object && !name.is_empty()).then(|| {
        vec![Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }]
    })
}

/// Objects one behind the other, with `;` or blanks between.
fn in_a_row(inner: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        calls.push(super::call_of(values.next()?.ok()?)?);
        rest = rest[values.byte_offset()..]
            .trim_start_matches(|letter: char| letter == ';' || letter.is_whitespace());
    }
    (!calls.is_empty()).then_some(calls)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{call, content, reasoning, said};
    use super::*;

    /// However it is cut into pieces.
    fn check(family: Family, thinks: bool, text: &str, expected: &[Said]) {
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(
                said(family, thinks, text, piece),
                expected,
                "pieces of {piece}: {text}"
            );
        }
    }

    #[test]
    fn hermes_says_calls_in_tags_one_behind_the_other() {
        check(
            Family::Hermes,
            false,
            "Let me see.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"b\", \"arguments\": {}}\n</tool_call>",
            &[content("Let me see.\n"), call("a", "{\"x\":1}"), call("b", "{}")],
        );
        // Cut off at the answer's limit, and broken: said as they are.
        check(
            Family::Hermes,
            false,
            "<tool_call>{\"name\": \"a\", \"argu",
            &[content("<tool_call>{\"name\": \"a\", \"argu")],
        );
        check(
            Family::Taught,
            false,
            "<tool_call>no JSON</tool_call>!",
            &[content("<tool_call>no JSON</tool_call>!")],
        );
        check(
            Family::Hermes,
            false,
            "a < b and <tool",
            &[content("a < b and <tool")],
        );
    }

    #[test]
    fn reasoning_is_told_apart_wherever_it_begins() {
        check(
            Family::Hermes,
            false,
            "<think>\nHm.\n</think>\n\nYes.",
            &[reasoning("\nHm.\n"), content("Yes.")],
        );
        check(
            Family::Hermes,
            true,
            "Hm.</think>\n\nYes.",
            &[reasoning("Hm."), content("Yes.")],
        );
        check(
            Family::Hermes,
            true,
            "Hm.</think>\n\n<tool_call>{\"name\": \"a\"}</tool_call>",
            &[reasoning("Hm."), call("a", "{}")],
        );
        check(Family::Hermes, true, "Never end", &[reasoning("Never end")]);
        check(
            Family::Mistral,
            false,
            "[THINK]Hm.[/THINK]Yes.",
            &[reasoning("Hm."), content("Yes.")],
        );
        check(
            Family::Hermes,
            false,
            "I <think> so.",
            &[content("I <think> so.")],
        );
    }

    #[test]
    fn llama_says_a_call_as_the_whole_answer() {
        check(
            Family::Llama,
            false,
            "{\"name\": \"a\", \"parameters\": {\"x\": 1}}",
            &[call("a", "{\"x\":1}")],
        );
        check(
            Family::Llama,
            false,
            "<|python_tag|>{\"name\": \"a\", \"parameters\": {}}; {\"name\": \"b\", \"parameters\": {}}",
            &[call("a", "{}"), call("b", "{}")],
        );
        check(
            Family::Llama,
            false,
            "{\"name\": \"Alice\", \"age\": 3}",
            &[content("{\"name\": \"Alice\", \"age\": 3}")],
        );
        check(
            Family::Llama,
            false,
            "{\"city\": \"Paris\"}",
            &[content("{\"city\": \"Paris\"}")],
        );
        check(Family::Llama, false, "The set {1}", &[content("The set {1}")]);
    }

    #[test]
    fn mistral_says_a_list_or_names_with_arguments() {
        check(
            Family::Mistral,
            false,
            "[TOOL_CALLS][{\"name\": \"a\", \"arguments\": {}}, {\"name\": \"b\", \"arguments\": {}}]",
            &[call("a", "{}"), call("b", "{}")],
        );
        check(
            Family::Mistral,
            false,
            "Well.[TOOL_CALLS]a[CALL_ID]123456789[ARGS]{\"x\": 1}[TOOL_CALLS]b[ARGS]{}",
            &[content("Well."), call("a", "{\"x\": 1}"), call("b", "{}")],
        );
        check(
            Family::Mistral,
            false,
            "[TOOL_CALLS]nothing",
            &[content("[TOOL_CALLS]nothing")],
        );
    }

    #[test]
    fn bars_hold_a_list() {
        let text = "<|tool_call|>[{\"name\": \"a\", \"arguments\": {}}]<|/tool_call|>";
        check(Family::Bar, false, text, &[call("a", "{}")]);
        check(
            Family::Bar,
            false,
            "<|tool_call|>[{\"name\": \"a\", \"arguments\": {}}]",
            &[call("a", "{}")],
        );
    }

    #[test]
    fn without_tools_nothing_is_a_call() {
        let mut speech = Marked::new(Family::Hermes, Vec::new(), false);
        let mut told = Vec::new();
        speech.push("<tool_call>{\"name\": \"a\"}</tool_call>", &mut told);
        speech.finish(&mut told);
        assert_eq!(told, [content("<tool_call>{\"name\": \"a\"}</tool_call>")]);
    }
}
