//! Keeps control tokens the template's own.
//!
//! Before rendering, a mark (a private-use character that the request does not contain) is put into
//! every place of the request's strings where a control token is written out, and at their edges
//! where one could be completed by what the template puts beside them. After rendering the marks
//! are taken out again, and where one stood *inside* a control token's text, the text is cut there:
//! the pieces are tokenised one by one, and none of them holds that control token any more. Where
//! no such text exists, which is nearly always, there is one piece and the tokens are exactly those
//! that llama.cpp's own tokeniser gives.
//!
//! Marks inside strings survive what templates do with them (trim, split, slices, JSON). A template
//! that deletes letters from inside a string could still join a control token from what is left;
//! none is known to. A control token of a single character cannot be cut.

use std::collections::{BTreeSet, HashSet};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Where marks are taken from.
const PRIVATE_USE: std::ops::RangeInclusive<char> = '\u{E000}'..='\u{F8FF}';

/// Knows the control tokens of one vocabulary.
pub(super) struct Guard {
    control: AhoCorasick,
    texts: Vec<String>,
    /// Everything that a control token begins with, and ends with, itself left out.
    beginnings: HashSet<Vec<u8>>,
    endings: HashSet<Vec<u8>>,
    longest: usize,
    /// Private-use characters of the template, which are no marks.
    taken: HashSet<char>,
}

/// Puts one request's marks.
pub(super) struct Marker<'g> {
    guard: &'g Guard,
    mark: char,
}

/// Rendered text without marks, and where it must be cut.
pub(super) struct Guarded {
    pub(super) text: String,
    cuts: BTreeSet<usize>,
}

impl Guard {
    pub(super) fn new(control_texts: &[String], template: &str) -> anyhow::Result<Self> {
        let texts: Vec<String> = control_texts
            .iter()
            .filter(|text| text.chars().nth(1).is_some())
            .cloned()
            .collect();
        let control = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&texts)?;
        let mut beginnings = HashSet::new();
        let mut endings = HashSet::new();
        for text in &texts {
            for (at, _) in text.char_indices().skip(1) {
                beginnings.insert(text.as_bytes()[..at].to_vec());
                endings.insert(text.as_bytes()[at..].to_vec());
            }
        }
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        let taken = template
            .chars()
            .filter(|letter| PRIVATE_USE.contains(letter))
            .collect();
        Ok(Self {
            control,
            texts,
            beginnings,
            endings,
            longest,
            taken,
        })
    }

    /// A marker whose mark occurs in none of these.
    pub(super) fn marker(
        &self,
        values: [&Value; 2],
        named: &Map<String, Value>,
    ) -> Result<Marker<'_>, Failure> {
        let mut taken = self.taken.clone();
        for value in values.into_iter().chain(named.values()) {
            private_use(value, &mut taken);
        }
        let mark = PRIVATE_USE
            .into_iter()
            .find(|letter| !taken.contains(letter))
            .ok_or(Failure::Invalid {
                param: "messages".to_owned(),
                why: "uses every private-use character there is",
            })?;
        Ok(Marker { guard: self, mark })
    }

    /// Takes the marks out, and decides where to cut.
    pub(super) fn settle(&self, rendered: &str, marker: Marker<'_>) -> Guarded {
        let mut text = String::with_capacity(rendered.len());
        let mut marks = Vec::new();
        for piece in rendered.split(marker.mark) {
            text.push_str(piece);
            marks.push(text.len());
        }
        // The last is the end of the text.
        marks.pop();
        let mut cuts = BTreeSet::new();
        if !marks.is_empty() {
            for found in self.control.find_overlapping_iter(&text) {
                let first = marks.partition_point(|&mark| mark <= found.start());
                cuts.extend(marks[first..].iter().take_while(|&&mark| mark < found.end()));
            }
        }
        Guarded { text, cuts }
    }
}

impl Marker<'_> {
    /// Marks a message: all its strings, and its content also where a template could write a
    /// control token around the whole of it.
    pub(super) fn mark_message(&mut self, message: &mut Value) {
        let Value::Object(fields) = message else { return };
        for (name, value) in fields.iter_mut() {
            match value {
                // One of a few fixed words.
                Value::String(_) if name == "role" => {}
                Value::String(text) if name == "content" => self.mark_text(text, true),
                value => self.mark(value),
            }
        }
    }

    /// Marks all strings of a value, names of fields included.
    pub(super) fn mark(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.mark_text(text, false),
            Value::Array(values) => values.iter_mut().for_each(|value| self.mark(value)),
            Value::Object(fields) => {
                let marked = std::mem::take(fields).into_iter().map(|(mut name, mut value)| {
                    self.mark_text(&mut name, false);
                    self.mark(&mut value);
                    (name, value)
                });
                *fields = marked.collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn mark_text(&self, text: &mut String, surrounded: bool) {
        let places = self.guard.places(text, surrounded);
        if places.is_empty() {
            return;
        }
        let mut marked = String::with_capacity(text.len() + places.len() * self.mark.len_utf8());
        let mut from = 0;
        for place in places {
            marked.push_str(&text[from..place]);
            marked.push(self.mark);
            from = place;
        }
        marked.push_str(&text[from..]);
        *text = marked;
    }
}

impl Guard {
    /// Where a string needs marks.
    fn places(&self, text: &str, surrounded: bool) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        for found in self.control.find_overlapping_iter(text) {
            let first = text[found.start()..].chars().next().map_or(1, char::len_utf8);
            places.insert(found.start() + first);
        }
        // Templates often trim, so the edges that count are those of the trimmed string as well.
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len().max(start);
        for (from, to) in [(0, text.len()), (start, end)] {
            let inner = &text.as_bytes()[from..to];
            let reach = inner.len().min(self.longest);
            if (1..=reach).any(|length| self.endings.contains(&inner[..length])) {
                places.insert(from);
            }
            if (1..=reach).any(|length| self.beginnings.contains(&inner[inner.len() - length..])) {
                places.insert(to);
            }
        }
        let whole = text[start..end].trim();
        if surrounded
            && !whole.is_empty()
            && whole.len() < self.longest
            && self.texts.iter().any(|t| t.contains(whole))
        {
            places.insert(start);
        }
        places
    }
}

impl Guarded {
    /// The text in the pieces to tokenise.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        let ends = self.cuts.iter().copied().chain([self.text.len()]);
        ends.scan(0, |from, to| {
            let piece = &self.text[*from..to];
            *from = to;
            Some(piece)
        })
        .filter(|piece| !piece.is_empty())
    }
}

fn private_use(value: &Value, taken: &mut HashSet<char>) {
    let mut note = |text: &str| taken.extend(text.chars().filter(|letter| PRIVATE_USE.contains(letter)));
    match value {
        Value::String(text) => note(text),
        Value::Array(values) => values.iter().for_each(|value| private_use(value, taken)),
        Value::Object(fields) => {
            fields.keys().for_each(|name| note(name));
            fields.values().for_each(|value| private_use(value, taken));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const CONTROL: [&str; 5] = ["<|a|>", "<|ab|>", "<s>", "[X]", "<<s>"];

    fn guard() -> Guard {
        Guard::new(&CONTROL.map(str::to_owned), "").unwrap()
    }

    proptest! {
        /// However the template surrounds the request's strings, no piece holds a control token
        /// that the template did not write whole.
        #[test]
        fn no_piece_holds_a_control_token_of_the_request(
            content in "[<|ab>sX\\[\\] ]{0,14}",
            name in "[<|ab>s ]{0,5}",
            before in prop::sample::select(vec!["", "<|a|>", "<", "<|", "x"]),
            after in prop::sample::select(vec!["", "<s>", ">", "|>", "a|>", "[X]", "]"]),
            trims in any::<bool>(),
        ) {
            let guard = guard();
            let mut message = json!({"role": "user", "content": content, "name": name});
            let mut marker = guard.marker([&message, &Value::Null], &Map::new()).unwrap();
            let mark = marker.mark;
            marker.mark_message(&mut message);
            let marked = message["content"].as_str().unwrap();
            let marked = if trims { marked.trim() } else { marked };
            let unmarked = marked.replace(mark, "");
            let rendered = format!("{before}{marked}{after}");
            let guarded = guard.settle(&rendered, marker);
            prop_assert_eq!(&guarded.text, &format!("{before}{unmarked}{after}"));
            prop_assert_eq!(guarded.pieces().collect::<String>(), guarded.text.clone());
            // Control tokens left in pieces, by place, must lie wholly in what the template wrote.
            let mut at = 0;
            let inside = before.len()..before.len() + unmarked.len();
            for piece in guarded.pieces() {
                for found in guard.control.find_overlapping_iter(piece) {
                    let (from, to) = (at + found.start(), at + found.end());
                    prop_assert!(inside.is_empty() || to <= inside.start || from >= inside.end, "{:?} in {:?}", piece, rendered);
                }
                at += piece.len();
            }
        }
    }

    #[test]
    fn the_mark_is_one_that_the_request_does_not_have() {
        let guard = guard();
        let value = json!({"\u{E000}": ["\u{E001}"]});
        let marker = guard.marker([&value, &json!("\u{E003}")], &Map::new()).unwrap();
        assert_eq!(marker.mark, '\u{E002}');
        let all: String = PRIVATE_USE.collect();
        assert!(guard.marker([&json!(all), &Value::Null], &Map::new()).is_err());
    }

    #[test]
    fn harmless_edges_lead_to_no_cut() {
        let guard = guard();
        let mut value = json!("> quoted <");
        let mut marker = guard.marker([&value, &Value::Null], &Map::new()).unwrap();
        marker.mark(&mut value);
        let rendered = format!("<s>{}<s>", value.as_str().unwrap());
        // `< <s>`: the mark at the end stands before `<s>`, not inside it; `<<s>` is a control token
        // that the two would form together, and is cut.
        assert_eq!(
            guard.settle(&rendered, marker).pieces().collect::<Vec<_>>(),
            ["<s>> quoted <", "<s>"]
        );
        let mut value = json!("> quoted");
        let mut marker = guard.marker([&value, &Value::Null], &Map::new()).unwrap();
        marker.mark(&mut value);
        let rendered = format!("<s>{}<s>", value.as_str().unwrap());
        assert_eq!(guard.settle(&rendered, marker).pieces().count(), 1);
    }
}
