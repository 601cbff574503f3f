//! gpt-oss: every message names its channel, and one to a tool its recipient.
//!
//! `analysis` is reasoning, `final` content; `commentary` is a call when it has a recipient, else content. The prompt ends with
//! `<|start|>assistant`, so an answer begins with the rest of a head. Source: OpenAI's description of its harmony response format.

use super::{Call, Said, beginning_of, first_of};

const MESSAGE: &str = "<|message|>";
const ENDS: [&str; 2] = ["<|end|>", "<|start|>"];
const TOOL: &str = "to=functions.";

enum At {
    /// In a head, which ends with `<|message|>`.
    Head,
    Content,
    Reasoning,
    Call(String),
}

/// Takes channels apart.
pub(super) struct Harmony {
    at: At,
    held: String,
}

impl Harmony {
    pub(super) fn new() -> Self {
        Self {
            at: At::Head,
            held: String::new(),
        }
    }

    pub(super) fn push(&mut self, text: &str, said: &mut Vec<Said>) {
        self.held.push_str(text);
        while self.advance(said) {}
    }

    fn advance(&mut self, said: &mut Vec<Said>) -> bool {
        if let At::Head = self.at {
            let Some(end) = self.held.find(MESSAGE) else {
                return false;
            };
            let rest = self.held.split_off(end + MESSAGE.len());
            self.at = head(&std::mem::replace(&mut self.held, rest));
            return true;
        }
        let (end, rest) = match first_of(&self.held, &ENDS) {
            Some((at, mark)) => (at, Some(self.held[at + mark.len()..].to_owned())),
            None => (self.held.len() - beginning_of(&self.held, &ENDS), None),
        };
        let ends = rest.is_some();
        match &self.at {
            // Told when it is whole.
            At::Call(name) if ends => call(name, &self.held[..end], said),
            At::Reasoning if end > 0 => said.push(Said::Reasoning(self.held[..end].to_owned())),
            At::Content if end > 0 => said.push(Said::Content(self.held[..end].to_owned())),
            _ => {}
        }
        match rest {
            Some(rest) => {
                self.held = rest;
                self.at = At::Head;
            }
            None if matches!(self.at, At::Call(_)) => {}
            None => {
                self.held.drain(..end);
            }
        }
        ends
    }

    pub(super) fn finish(&mut self, said: &mut Vec<Said>) {
        let rest = std::mem::take(&mut self.held);
        if rest.is_empty() {
            return;
        }
        match &self.at {
            // A head that never became a message: only a model that was not trained on channels says that.
            At::Head | At::Content => said.push(Said::Content(rest)),
            At::Reasoning => said.push(Said::Reasoning(rest)),
            At::Call(name) => call(name, &rest, said),
        }
    }
}

/// What a message's head says of it.
fn head(text: &str) -> At {
    if let Some((_, to)) = text.split_once(TOOL) {
        let name = to.split(['<', ' ', '\n']).next().unwrap_or_default();
        return At::Call(name.to_owned());
    }
    if text.contains("<|channel|>analysis") {
        At::Reasoning
    } else {
        At::Content
    }
}

fn call(name: &str, arguments: &str, said: &mut Vec<Said>) {
    let arguments = arguments.trim();
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments).is_ok();
    said.push(if is_object {
        Said::Call(Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        })
    } else {
        Said::Content(arguments.to_owned())
    });
}

#[cfg(test)]
mod tests {
    use super::super::{
        Family,
        tests::{call, content, reasoning, said},
    };
    use super::*;

    fn check(text: &str, expected: &[Said]) {
        for piece in [1, 3, 8, 1000] {
            assert_eq!(
                said(Family::Harmony, false, text, piece),
                expected,
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn channels_are_told_apart() {
        check(
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes < no.",
            &[reasoning("Hm."), content("Yes < no.")],
        );
    }

    #[test]
    fn a_recipient_makes_a_call() {
        check(
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Bonn\"}",
            &[reasoning("Hm."), call("weather", "{\"city\": \"Bonn\"}")],
        );
        check(
            "<|start|>assistant to=functions.a<|channel|>commentary<|message|>{}<|end|>",
            &[call("a", "{}")],
        );
        check(
            "<|channel|>commentary to=functions.a<|message|>{\"city",
            &[content("{\"city")],
        );
    }

    #[test]
    fn who_knows_no_channels_is_heard_all_the_same() {
        check("Hello.", &[content("Hello.")]);
    }
}
