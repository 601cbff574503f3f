//! A request of each dialect with a mark in each position, and the reply that repeats what it was told.
//!
//! The data lies in `tests/coverage/*.json`: a row is a dialect, or a host that speaks another row's with paths and
//! members of its own (`like`). `@user@` is a mark; `@text file@` is a file's as plain text, where `@file@` is it in
//! base64. In a reply, `@say@` is the text that repeats placeholders and `@say1@` and `@say2@` its two parts.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    documents::picture,
    upstream::{Answer, Seen, placeholders},
};

mod bench;
pub use bench::{Bench, Outcome};

pub mod framing;

/// Where a request can hold a text.
pub const POSITIONS: [&str; 11] = [
    "system",
    "user",
    "history",
    "tool definition",
    "tool arguments",
    "tool result",
    "file",
    "image",
    "metadata",
    "unknown field",
    "header",
];

/// Where a reply can repeat what was asked, and the mark of it.
pub const SPOKEN: [(&str, &str); 5] = [
    ("text", "say"),
    ("reasoning", "think"),
    ("tool arguments", "args"),
    ("unknown field", "new"),
    ("header", "header"),
];

/// What a picture shows to somebody whom the policy forbids it: its digits and letters are among those that can be drawn.
pub const SHOWN: &str = "CARD 4111 1111 1111 1111";

/// Somebody of one cell.
pub struct Person {
    /// A name, an e-mail address and a card number; of a picture, the number alone.
    pub originals: Vec<String>,
}

impl Person {
    /// Another for each number.
    #[must_use]
    pub fn number(number: usize) -> Self {
        const GIVEN: [&str; 4] = ["Rebecca", "Jonathan", "Caroline", "Frederick"];
        const SURNAMES: [&str; 5] = ["Gardner", "Whitaker", "Sullivan", "Patterson", "Richardson"];
        let (given, surname) = (GIVEN[number % 4], SURNAMES[number % 5]);
        let email = format!("{given}.{surname}.{number}@hanbit-semi.com").to_lowercase();
        Self {
            originals: vec![format!("{given} {surname}"), email, card(number)],
        }
    }

    /// The one whose card is in the picture.
    #[must_use]
    pub fn shown() -> Self {
        Self {
            originals: vec![SHOWN.trim_start_matches("CARD ").to_owned()],
        }
    }

    /// What is said of them.
    #[must_use]
    pub fn told(&self) -> String {
        match self.originals.as_slice() {
            [name, email, card] => format!("Please contact {name} ({email}), who paid by card {card}."),
            _ => SHOWN.to_owned(),
        }
    }

    /// The card number's digits alone.
    #[must_use]
    pub fn digits(&self) -> String {
        self.originals
            .last()
            .map(|card| card.replace(' ', ""))
            .unwrap_or_default()
    }
}

/// A card number with a right check digit (Luhn), in groups of four.
fn card(number: usize) -> String {
    let body = format!("45390{:010}", 1_372_486_951 + number * 77_713);
    let weighted = |(place, digit): (usize, u8)| {
        let doubled = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
        if doubled > 9 { doubled - 9 } else { doubled }
    };
    let sum: u32 = body.bytes().rev().enumerate().map(weighted).sum();
    let all = format!("{body}{}", (10 - sum % 10) % 10);
    format!("{} {} {} {}", &all[..4], &all[4..8], &all[8..12], &all[12..])
}

/// A row of the data.
#[derive(Clone)]
pub struct Subject(Value);

impl Subject {
    /// The rows of a file; those that are like another take over what they do not say themselves.
    ///
    /// # Panics
    /// When the data is wrong.
    #[must_use]
    pub fn read(rows: &str, base: &[Self]) -> Vec<Self> {
        let rows: Vec<Map<String, Value>> = serde_json::from_str(rows).expect("the data is JSON");
        let mut read: Vec<Self> = Vec::new();
        for row in rows {
            let subject = match row.get("like") {
                None => row.into(),
                Some(like) => {
                    let mut known = base.iter().chain(&read);
                    let found = known.find(|other| other.0["dialect"] == *like);
                    let found = found.unwrap_or_else(|| panic!("{like} is no row"));
                    merged(found.0.clone(), row.into())
                }
            };
            read.push(Self(subject));
        }
        read
    }

    /// A member that is a text; empty when absent.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// A member that is a list.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Value] {
        self.0[key].as_array().map_or(&[], Vec::as_slice)
    }

    /// What the row is called on the page.
    #[must_use]
    pub fn name(&self) -> String {
        match self.text("at") {
            "" => self.text("dialect").to_owned(),
            at => format!("{at}: {}", self.text("like")),
        }
    }

    /// Plain or streamed, or both.
    #[must_use]
    pub fn forms(&self) -> &'static [bool] {
        match (self.0["reply"].is_null(), self.0["stream"].is_null()) {
            (_, true) => &[false],
            (true, false) => &[true],
            (false, false) => &[false, true],
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        match self.text("method") {
            "" => "POST",
            method => method,
        }
    }

    /// The content type.
    #[must_use]
    pub fn content_type(&self) -> &str {
        match self.text("content_type") {
            "" => "application/json",
            kind => kind,
        }
    }

    /// Path and query of a form.
    #[must_use]
    pub fn path(&self, streamed: bool) -> &str {
        let paths = self.list("paths");
        let path = paths.get(usize::from(streamed)).or(paths.first());
        path.and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the dialect has such a position.
    #[must_use]
    pub fn has(&self, position: &str) -> bool {
        let template = self.template();
        position == "header"
            || template.contains(&format!("@{position}@"))
            || template.contains(&format!("@text {position}@"))
    }

    /// Whether a reply has such a mark.
    #[must_use]
    pub fn speaks(&self, mark: &str, streamed: bool) -> bool {
        let source = if streamed { "stream" } else { "reply" };
        self.0[source].to_string().contains(&format!("@{mark}"))
    }

    fn template(&self) -> String {
        match (&self.0["raw"], &self.0["messages"]) {
            (Value::String(raw), _) => raw.clone(),
            (_, Value::Null) => self.0["body"].to_string(),
            (_, messages) => messages.to_string(),
        }
    }

    /// The body with a text in one position and harmless words in all others.
    #[must_use]
    pub fn request(&self, position: &str, streamed: bool, text: &str) -> String {
        let stream = if streamed { "true" } else { "false" };
        let mut body = self.template().replace("\"@stream@\"", stream);
        for other in POSITIONS {
            let here = if other == position { text } else { "nothing" };
            let file = match other {
                "image" if other == position => STANDARD.encode(picture(here)),
                "image" => STANDARD.encode(picture("PLAN")),
                "file" => STANDARD.encode(here),
                _ if self.text("encoding") == "form" => percent_encoded(here),
                _ => here.to_owned(),
            };
            body = body
                .replace(&format!("@{other}@"), &file)
                .replace(&format!("@text {other}@"), here);
        }
        body
    }

    /// What the provider answers: the placeholders that it saw, in one place of the reply.
    #[must_use]
    pub fn answer(&self, streamed: bool, mark: &str, seen: &Seen) -> Answer {
        let said = said(&told(seen));
        let mut answer = if streamed {
            let events = self.events(mark, &said);
            framing::framed(self.text("framing"), events.iter())
        } else {
            let kind = match self.text("reply_type") {
                "" => "application/json",
                kind => kind,
            };
            let body = match &self.0["reply"] {
                Value::Null => "{}".to_owned(),
                reply if self.text("reply_framing") == "counted" => {
                    let chunks = reply.as_array().map_or(&[][..], Vec::as_slice);
                    framing::counted(chunks.iter().map(|chunk| fill(chunk.to_string(), mark, &said)))
                }
                reply => fill(reply.to_string(), mark, &said),
            };
            Answer::new(200, kind, body)
        };
        if mark == "header" {
            answer.headers.push(("x-note", said));
        }
        answer
    }

    /// What the provider says on a WebSocket: to the last message the events of its answer, to any other that it came.
    pub fn speech(&self, mark: &str) -> impl Fn(&str) -> Vec<Option<String>> + Send + Sync + 'static {
        let (subject, mark) = (self.clone(), mark.to_owned());
        let (count, heard) = (self.list("messages").len(), Mutex::new(Vec::new()));
        move |message| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(message.to_owned());
            let asks = subject.list("messages")[count - 1]["type"] == kind_of(message);
            if !asks {
                return vec![Some(json!({"type": subject.text("acknowledges")}).to_string())];
            }
            let mut told = heard.clone();
            for message in heard.iter() {
                unpack(&serde_json::from_str(message).unwrap_or_default(), &mut told);
            }
            let events = subject.events(&mark, &said(&placeholders(&told.join("\n"))));
            events.into_iter().map(Some).collect()
        }
    }

    /// The events of a streamed answer that says something in one place.
    #[must_use]
    pub fn events(&self, mark: &str, said: &str) -> Vec<String> {
        self.list("stream")
            .iter()
            .map(|event| fill(event.to_string(), mark, said))
            .collect()
    }
}

/// What a provider says of the placeholders that it was told.
#[must_use]
pub fn said(told: &[String]) -> String {
    format!("about {} done", told.join(" and "))
}

fn kind_of(message: &str) -> Value {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    message["type"].clone()
}

/// A reply with something said in one place, and nothing of note in the others.
fn fill(mut text: String, mark: &str, said: &str) -> String {
    // Through the middle of the first placeholder, so that a stream holds it in two parts.
    let (first, second) = said.split_at(said.find('[').map_or(3, |at| at + 4));
    for (_, other) in SPOKEN {
        let parts = if other == mark {
            [said, first, second]
        } else {
            ["none", "no", "ne"]
        };
        for (part, name) in parts.into_iter().zip(["", "1", "2"]) {
            text = text.replace(&format!("@{other}{name}@"), part);
        }
    }
    text
}

/// One value with the members of another in the place of its own, at any depth; `null` takes a member out (RFC 7396).
fn merged(base: Value, over: Value) -> Value {
    let Value::Object(over) = over else {
        return over;
    };
    let mut members = match base {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in over {
        let before = members.remove(&name).unwrap_or_default();
        if !value.is_null() {
            members.insert(name, merged(before, value));
        }
    }
    members.into()
}

/// A text as the value of a form's field.
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The placeholders in a request's headers, body and files.
#[must_use]
pub fn told(seen: &Seen) -> Vec<String> {
    let headers = seen.headers.iter().map(|(_, value)| value.as_slice());
    let mut all: Vec<_> = headers
        .chain([&seen.body[..]])
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    // A form's brackets are percent-encoded.
    let form = all.join("\n").replace("%5B", "[").replace("%5D", "]");
    all.push(form);
    unpack(&seen.json(), &mut all);
    placeholders(&all.join("\n"))
}

/// A reply as its reader sees it: what stands in base64 in it is read, too.
#[must_use]
pub fn read_back(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    if text.starts_with(")]}'") && !framing::is_counted(&text) {
        return "a length is wrong".to_owned();
    }
    let chunks: Vec<String> = text
        .split("{\"bytes\":\"")
        .skip(1)
        .filter_map(|rest| STANDARD.decode(rest.split('"').next()?).ok())
        .map(|chunk| String::from_utf8_lossy(&chunk).into_owned())
        .collect();
    text.extend(chunks);
    text
}

/// What stands in base64 in a body, data URIs among it.
pub fn unpack(value: &Value, files: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let file = text.split_once("base64,").map_or(text.as_str(), |(_, file)| file);
            if let Ok(bytes) = STANDARD.decode(file) {
                files.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unpack(item, files)),
        Value::Object(members) => members.values().for_each(|member| unpack(member, files)),
        _ => {}
    }
}
