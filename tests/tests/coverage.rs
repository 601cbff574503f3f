//! What of each dialect is inspected, as a table that is measured: `docs/coverage.md`.
//!
//! `coverage/dialects.json` has a body of each dialect with a mark in each position. In each cell one mark gives way
//! to personal data of somebody else, then to a secret; all others to a harmless word. The upstream behind TLS must
//! have seen neither in any form, and what it repeats must come back as it was. A cell that leaks fails the test
//! whatever the page says. When the page differs, the new one is written to the test's temporary folder, whose path
//! the failure names.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cordon_tests::{
    Places,
    caller::{Caller, Door, Reply},
    cordon::{Home, OnPrem, Plan},
    upstream::{Answer, Seen, Upstream, placeholders},
};
use serde_json::Value;

const DIALECTS: &str = include_str!("../coverage/dialects.json");

/// The hosts beside those of OpenAI and Anthropic that every installation of these tests has.
const HOSTS: [&str; 10] = [
    "chatgpt.com",
    "eu.api.openai.com",
    "generativelanguage.googleapis.com",
    "cloudcode-pa.googleapis.com",
    "bedrock-runtime.us-east-1.amazonaws.com",
    "api.cohere.com",
    "ollama.com",
    "mcp.notes.example",
    "claude.ai",
    "grok.com",
];

const POSITIONS: [&str; 11] = [
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

/// Where a reply can repeat what was asked.
const SPOKEN: [(&str, &str); 4] = [
    ("text", "say"),
    ("tool arguments", "args"),
    ("unknown field", "new"),
    ("header", "header"),
];

/// A key in the form of Amazon's.
const SECRET: &str = "AKIAZ7VRSQ5TJN2XMPLD";

/// Somebody of one cell.
struct Person {
    originals: [String; 3],
}

impl Person {
    fn number(number: usize) -> Self {
        const GIVEN: [&str; 4] = ["Rebecca", "Jonathan", "Caroline", "Frederick"];
        const SURNAMES: [&str; 5] = ["Gardner", "Whitaker", "Sullivan", "Patterson", "Richardson"];
        let (given, surname) = (GIVEN[number % 4], SURNAMES[number % 5]);
        let email = format!("{given}.{surname}.{number}@hanbit-semi.com").to_lowercase();
        Self {
            originals: [format!("{given} {surname}"), email, card(number)],
        }
    }

    fn told(&self) -> String {
        let [name, email, card] = &self.originals;
        format!("Please contact {name} ({email}), who paid by card {card}.")
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
struct Subject(Value);

impl Subject {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn template(&self) -> String {
        match &self.0["raw"] {
            Value::String(raw) => raw.clone(),
            _ => self.0["body"].to_string(),
        }
    }

    fn forms(&self) -> &'static [bool] {
        if self.0["stream"].is_array() {
            &[false, true]
        } else {
            &[false]
        }
    }

    fn path(&self, streamed: bool) -> &str {
        let paths = self.0["paths"].as_array().map_or(&[][..], Vec::as_slice);
        let path = paths.get(usize::from(streamed)).or(paths.first());
        path.and_then(Value::as_str).unwrap_or_default()
    }

    fn has(&self, position: &str) -> bool {
        let template = self.template();
        position == "header"
            || template.contains(&format!("@{position}@"))
            || template.contains(&format!("@text {position}@"))
    }

    /// The request with a text in one position.
    fn request(&self, position: &str, streamed: bool, text: &str) -> Vec<u8> {
        let template = match &self.0["raw"] {
            Value::String(raw) => raw.clone(),
            _ if position == "image" => self.template(),
            // A picture is refused for being one, and would hide what becomes of the rest.
            _ => without_pictures(self.0["body"].clone()).to_string(),
        };
        let mut body = template.replace("\"@stream@\"", if streamed { "true" } else { "false" });
        for other in POSITIONS {
            let here = if other == position { text } else { "nothing" };
            let file = match other {
                "image" => STANDARD.encode(picture(here)),
                "file" => STANDARD.encode(here),
                _ => here.to_owned(),
            };
            body = body
                .replace(&format!("@{other}@"), &file)
                .replace(&format!("@text {other}@"), here);
        }
        body.into_bytes()
    }

    /// What the provider answers: the placeholders that it saw, in one place of the reply.
    fn answer(&self, streamed: bool, slot: &str, seen: &Seen) -> Answer {
        let said = format!("about {} done", told(seen).join(" and "));
        // Through the middle of the first placeholder, so that a stream holds it in two parts.
        let (first, second) = said.split_at(said.find('[').map_or(3, |at| at + 4));
        let filled = |template: &Value| {
            let mut text = template.to_string();
            for (_, other) in SPOKEN {
                let parts = if other == slot {
                    [&said, first, second]
                } else {
                    ["none", "no", "ne"]
                };
                for (part, name) in parts.into_iter().zip(["", "1", "2"]) {
                    text = text.replace(&format!("@{other}{name}@"), part);
                }
            }
            text
        };
        let mut answer = if streamed {
            let events = self.0["stream"].as_array().map_or(&[][..], Vec::as_slice);
            framed(self.text("framing"), events.iter().map(filled))
        } else if self.0["reply"].is_null() {
            Answer::new(200, "application/json", "{}")
        } else {
            Answer::new(200, "application/json", filled(&self.0["reply"]))
        };
        if slot == "header" {
            answer.headers.push(("x-note", said));
        }
        answer
    }
}

/// A body less the items of arrays that hold a picture.
fn without_pictures(value: Value) -> Value {
    fn is_picture(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains("@image@"),
            Value::Object(members) => members.values().any(is_picture),
            _ => false,
        }
    }
    match value {
        Value::Array(items) => items
            .into_iter()
            .filter(|item| !is_picture(item))
            .map(without_pictures)
            .collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, without_pictures(member)))
            .collect(),
        other => other,
    }
}

/// A picture whose comment holds a text, and nothing that shows.
fn picture(comment: &str) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = vec![0, 0, 0, 1, 0, 0, 0, 1];
    header.extend([8, 0, 0, 0, 0]);
    let comment = [b"Comment\0", comment.as_bytes()].concat();
    for (kind, data) in [(b"IHDR", header), (b"tEXt", comment), (b"IEND", Vec::new())] {
        let length = u32::try_from(data.len()).expect("a comment is short");
        png.extend(length.to_be_bytes());
        let chunk = [kind.as_slice(), &data].concat();
        png.extend(&chunk);
        png.extend(crc32fast::hash(&chunk).to_be_bytes());
    }
    png
}

fn framed(framing: &str, events: impl Iterator<Item = String>) -> Answer {
    let mut body = Vec::new();
    for event in events {
        let parsed: Value = serde_json::from_str(&event).expect("the data's events are JSON");
        match framing {
            "lines" => body.extend(format!("{event}\n").into_bytes()),
            "event-stream" => body.extend(binary(&parsed)),
            _ => {
                if let Some(kind) = parsed["type"].as_str() {
                    body.extend(format!("event: {kind}\n").into_bytes());
                }
                body.extend(format!("data: {event}\n\n").into_bytes());
            }
        }
    }
    let kind = match framing {
        "lines" => "application/x-ndjson",
        "event-stream" => "application/vnd.amazon.eventstream",
        _ => "text/event-stream",
    };
    if framing == "sse-done" {
        body.extend(b"data: [DONE]\n\n");
    }
    Answer::new(200, kind, Bytes::from(body))
}

/// `{"name": {...}}` as a message of an event stream.
fn binary(event: &Value) -> Vec<u8> {
    let (name, payload) = event
        .as_object()
        .and_then(|event| event.iter().next())
        .expect("an event has a name");
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (header, value) in [
        (":event-type", name.as_str()),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(u8::try_from(header.len()).expect("names are short"));
        headers.extend(header.as_bytes());
        headers.push(7);
        headers.extend(
            u16::try_from(value.len())
                .expect("values are short")
                .to_be_bytes(),
        );
        headers.extend(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).expect("an event is short").to_be_bytes();
    let mut out = number(16 + headers.len() + payload.len()).to_vec();
    out.extend(number(headers.len()));
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload.as_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// The placeholders in a request's headers, body and files.
fn told(seen: &Seen) -> Vec<String> {
    let headers = seen.headers.iter().map(|(_, value)| value.as_slice());
    let mut all: Vec<_> = headers
        .chain([&seen.body[..]])
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    unpack(&seen.json(), &mut all);
    placeholders(&all.join("\n"))
}

/// What stands in base64 in a body, data URIs among it.
fn unpack(value: &Value, files: &mut Vec<String>) {
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

/// Whether a text arrived, also within a file in base64.
fn arrived(cloud: &Upstream, text: &str) -> bool {
    let mut files = Vec::new();
    for seen in cloud.seen() {
        unpack(&seen.json(), &mut files);
    }
    cloud.knows(text) || files.iter().any(|file| file.contains(text))
}

struct Bench {
    cloud: Upstream,
    caller: Caller,
    count: usize,
    leaks: Vec<String>,
}

impl Bench {
    async fn send(
        &mut self,
        subject: &Subject,
        position: &str,
        streamed: bool,
        slot: &'static str,
        text: &str,
    ) -> Reply {
        self.cloud.forget();
        let answering = subject.clone();
        self.cloud
            .answer(move |seen| answering.answer(streamed, slot, seen));
        let kind = match subject.text("content_type") {
            "" => "application/json",
            kind => kind,
        };
        let mut headers = vec![("content-type", kind)];
        if position == "header" {
            headers.push(("x-note", text));
        }
        let body = subject.request(position, streamed, text);
        let line = self.caller.line(subject.text("host"), false).await;
        let answer = line
            .expect("the proxy takes the host up")
            .begin("POST", subject.path(streamed), body, &headers)
            .await;
        Reply::read(answer.expect("Cordon answers"))
            .await
            .expect("the answer can be read")
    }

    fn somebody(&mut self) -> Person {
        self.count += 1;
        Person::number(self.count)
    }

    fn leak(&mut self, what: String) {
        self.leaks.push(what);
    }

    /// One cell of the table of requests.
    async fn request(&mut self, subject: &Subject, position: &str, streamed: bool) -> &'static str {
        let cell = format!("{} {position} streamed={streamed}", subject.text("dialect"));
        self.send(subject, position, streamed, "say", SECRET).await;
        if arrived(&self.cloud, SECRET) || !self.cloud.seen().is_empty() {
            self.leak(format!("{cell}: a secret was sent on"));
        }
        let person = self.somebody();
        let reply = self
            .send(subject, position, streamed, "say", &person.told())
            .await;
        let digits = person.originals[2].replace(' ', "");
        for original in person.originals.iter().chain([&digits]) {
            if arrived(&self.cloud, original) {
                self.leak(format!("{cell}: {original} arrived"));
            }
        }
        let seen = self.cloud.seen();
        let Some(first) = seen.first() else {
            assert!(
                reply.status.is_client_error(),
                "{cell}: {} {}",
                reply.status,
                reply.text()
            );
            return "refused";
        };
        assert_eq!(told(first).len(), 3, "{cell}: not three placeholders");
        let speaks = subject.0["reply"].to_string().contains("@say@");
        if !speaks {
            return "redacted";
        }
        let text = reply.text();
        if person.originals.iter().all(|original| text.contains(original)) {
            "restored"
        } else {
            self.leak(format!("{cell}: what was said did not come back: {text}"));
            "not restored"
        }
    }

    /// One cell of the table of replies.
    async fn reply(&mut self, subject: &Subject, slot: &'static str, streamed: bool) -> &'static str {
        let source = if streamed { "stream" } else { "reply" };
        let template = subject.0[source].to_string();
        if slot != "header" && !template.contains(&format!("@{slot}")) {
            return "–";
        }
        let position = if subject.has("user") {
            "user"
        } else {
            "tool arguments"
        };
        let person = self.somebody();
        let reply = self.send(subject, position, streamed, slot, &person.told()).await;
        let text = format!("{} {}", reply.header("x-note"), reply.text());
        let restored = person.originals.iter().all(|original| text.contains(original));
        match (restored, placeholders(&text).len()) {
            (true, 0) => "restored",
            (false, 3) => "placeholder kept",
            _ => {
                self.leak(format!(
                    "{} reply {slot} streamed={streamed}: {text}",
                    subject.text("dialect")
                ));
                "lost"
            }
        }
    }
}

/// The outcomes of a cell's forms, once where they are the same.
fn together(outcomes: &[&str]) -> String {
    let mut kept = outcomes.to_vec();
    kept.dedup();
    kept.join(" / ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_what_of_each_dialect_is_inspected() {
    let subjects: Vec<Value> = serde_json::from_str(DIALECTS).expect("the data is JSON");
    let subjects: Vec<Subject> = subjects.into_iter().map(Subject).collect();
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let home = Home::new(&Plan {
        apps: &HOSTS,
        further: "files: { ocr: 'off' }\n".to_owned(),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let mut bench = Bench {
        cloud,
        caller: Caller::new(&cordon, Door::Proxy, &key),
        count: 0,
        leaks: Vec::new(),
    };
    let mut requests = String::new();
    let mut replies = String::new();
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for subject in &subjects {
        let forms = subject.forms();
        let name = subject.text("dialect");
        let form = if forms.len() == 2 {
            "plain / streamed"
        } else {
            "plain"
        };
        let _ = write!(requests, "| {name} | {form} |");
        for &streamed in forms {
            // Otherwise a refusal below would say nothing.
            let reply = bench.send(subject, "none", streamed, "say", "nothing").await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            assert_eq!(
                bench.cloud.seen().len(),
                1,
                "{name}: the harmless request was not sent on"
            );
        }
        for position in POSITIONS {
            let mut outcomes = vec![];
            for &streamed in forms {
                if subject.has(position) {
                    let outcome = bench.request(subject, position, streamed).await;
                    *tally.entry(outcome).or_default() += 1;
                    outcomes.push(outcome);
                }
            }
            let shown = if outcomes.is_empty() {
                "–".to_owned()
            } else {
                together(&outcomes)
            };
            let _ = write!(requests, " {shown} |");
        }
        requests.push('\n');
        if subject.0["reply"].is_null() {
            continue;
        }
        let _ = write!(replies, "| {name} | {form} |");
        for (_, slot) in SPOKEN {
            let mut outcomes = vec![];
            for &streamed in forms {
                let outcome = bench.reply(subject, slot, streamed).await;
                *tally.entry(outcome).or_default() += 1;
                outcomes.push(outcome);
            }
            let _ = write!(replies, " {} |", together(&outcomes));
        }
        replies.push('\n');
    }
    assert!(bench.leaks.is_empty(), "{}", bench.leaks.join("\n"));
    assert!(
        on_prem.asked().is_empty(),
        "the engine was asked in the provider's place"
    );
    compare(&page(&requests, &replies, &tally));
}

fn page(requests: &str, replies: &str, tally: &BTreeMap<&str, usize>) -> String {
    let count = |outcome: &str| tally.get(outcome).copied().unwrap_or_default();
    let head = |columns: &[&str]| {
        let ruled = "|---".repeat(columns.len() + 2);
        format!("| dialect | form | {} |\n{ruled}|\n", columns.join(" | "))
    };
    let spoken: Vec<&str> = SPOKEN.iter().map(|(name, _)| *name).collect();
    format!(
        "{}\n\
        {} cells restored, {} redacted, {} refused, {} with the placeholder kept.\n\n\
        ## Requests\n\n{}{requests}\n\
        ## Replies\n\n{}{replies}",
        include_str!("../coverage/head.md"),
        count("restored"),
        count("redacted"),
        count("refused"),
        count("placeholder kept"),
        head(&POSITIONS),
        head(&spoken),
    )
}

fn compare(found: &str) {
    let path = Places::top().join("docs/coverage.md");
    if fs::read_to_string(path).unwrap_or_default() != found {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coverage.md");
        fs::write(&written, found).expect("the temporary folder takes files");
        panic!(
            "docs/coverage.md tells something else; as measured: {}",
            written.display()
        );
    }
}
