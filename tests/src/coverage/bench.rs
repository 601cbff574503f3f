//! One running Cordon and one recording provider, and what becomes of each cell between the two.

use std::collections::HashMap;

use serde_json::Value;

use super::{Person, SHOWN, Subject, read_back, told, unpack};
use crate::{
    caller::{Caller, Line, Reply},
    sockets::{Refused, Socket},
    upstream::{Upstream, placeholders},
};

/// A key in the form of Amazon's.
const SECRET: &str = "AKIAZ7VRSQ5TJN2XMPLD";

/// What a request's text became on its way and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Placeholders arrived, and what repeated them came back with the originals.
    Restored,
    /// Placeholders arrived; the reply has no text that could repeat them.
    Redacted,
    /// Nothing was sent on.
    Refused,
    /// A reply's placeholders came back as they were.
    Kept,
    /// There is no such place.
    Absent,
    /// What must not happen.
    Wrong,
}

impl Outcome {
    /// The word on the page.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Redacted => "redacted",
            Self::Refused => "refused",
            Self::Kept => "placeholder kept",
            Self::Absent => "–",
            Self::Wrong => "wrong",
        }
    }
}

/// The stage, and what went wrong on it so far.
pub struct Bench {
    /// The provider.
    pub cloud: Upstream,
    /// Somebody for whom personal data is redacted.
    pub caller: Caller,
    /// Somebody whom the policy forbids card numbers, which is what a picture can show.
    pub strict: Caller,
    /// Leaks and losses, one a line.
    pub wrong: Vec<String>,
    lines: HashMap<(String, bool), Line>,
    count: usize,
}

/// Where in a reply a test looks for what was said.
const SAID: &str = "say";

impl Bench {
    /// A stage on which nothing has happened.
    #[must_use]
    pub fn new(cloud: Upstream, caller: Caller, strict: Caller) -> Self {
        Self {
            cloud,
            caller,
            strict,
            wrong: Vec::new(),
            lines: HashMap::new(),
            count: 0,
        }
    }

    /// A request with harmless words everywhere has to be sent on: a refusal elsewhere says nothing otherwise.
    pub async fn harmless(&mut self, subject: &Subject, streamed: bool) {
        let name = subject.name();
        let messages = subject.list("messages").len();
        let (sent, told) = if messages > 0 {
            let heard = self.converse(subject, "none", SAID, "nothing").await;
            let sent = self.cloud.messages().len() == messages;
            (sent && heard.is_ok(), format!("{heard:?}"))
        } else {
            let reply = self.send(subject, "none", streamed, SAID, "nothing", false).await;
            let sent = self.cloud.seen().len() == 1;
            (sent && reply.status == 200, reply.text())
        };
        if !sent {
            self.wrong.push(format!(
                "{name} streamed={streamed}: harmless, and not sent on: {told}"
            ));
        }
    }

    /// One cell of the table of requests.
    pub async fn request(&mut self, subject: &Subject, position: &str, streamed: bool) -> Outcome {
        let cell = format!("{} {position} streamed={streamed}", subject.name());
        if !subject.list("messages").is_empty() {
            return self.message(subject, position, &cell).await;
        }
        let picture = position == "image";
        let forbidden = if picture { SHOWN } else { SECRET };
        self.send(subject, position, streamed, SAID, forbidden, picture)
            .await;
        if self.arrived(SECRET) || !self.cloud.seen().is_empty() {
            self.wrong
                .push(format!("{cell}: what the policy blocks was sent on"));
        }
        let person = if picture { Person::shown() } else { self.somebody() };
        let text = person.told();
        let reply = self.send(subject, position, streamed, SAID, &text, false).await;
        let seen = self.cloud.seen();
        let Some(first) = seen.first() else {
            let refused = reply.status.is_client_error();
            assert!(refused, "{cell}: {} {}", reply.status, reply.text());
            return Outcome::Refused;
        };
        let count = told(first).len();
        let speaks = subject.speaks(SAID, streamed);
        self.judge(&cell, &person, count, speaks.then(|| read_back(&reply.body)))
    }

    /// One cell of the table of replies.
    pub async fn reply(&mut self, subject: &Subject, mark: &str, streamed: bool) -> Outcome {
        let sockets = !subject.list("messages").is_empty();
        if (mark != "header" || sockets) && !subject.speaks(mark, streamed) {
            return Outcome::Absent;
        }
        let position = ["user", "tool arguments", "tool result", "file"]
            .into_iter()
            .find(|position| subject.has(position))
            .unwrap_or("unknown field");
        let person = self.somebody();
        let text = if sockets {
            let heard = self.converse(subject, position, mark, &person.told()).await;
            format!("{heard:?}")
        } else {
            let reply = self
                .send(subject, position, streamed, mark, &person.told(), false)
                .await;
            format!("{} {}", reply.header("x-note"), read_back(&reply.body))
        };
        let restored = person.originals.iter().all(|original| text.contains(original));
        match (restored, placeholders(&text).len()) {
            (true, 0) => Outcome::Restored,
            (false, 3) => Outcome::Kept,
            _ => {
                let cell = format!("{} reply {mark} streamed={streamed}", subject.name());
                self.wrong.push(format!("{cell}: {text}"));
                Outcome::Wrong
            }
        }
    }

    /// What arrived, and what came back.
    fn judge(&mut self, cell: &str, person: &Person, count: usize, back: Option<String>) -> Outcome {
        for original in person.originals.iter().chain([&person.digits()]) {
            if self.arrived(original) {
                self.wrong.push(format!("{cell}: {original} arrived"));
            }
        }
        if count != person.originals.len() {
            self.wrong.push(format!("{cell}: {count} placeholders arrived"));
        }
        match back {
            None => Outcome::Redacted,
            Some(text) if person.originals.iter().all(|original| text.contains(original)) => {
                Outcome::Restored
            }
            Some(text) => {
                self.wrong
                    .push(format!("{cell}: what was said did not come back: {text}"));
                Outcome::Wrong
            }
        }
    }

    async fn send(
        &mut self,
        subject: &Subject,
        position: &str,
        streamed: bool,
        mark: &str,
        text: &str,
        strict: bool,
    ) -> Reply {
        self.cloud.forget();
        let (answering, place) = (subject.clone(), mark.to_owned());
        self.cloud
            .answer(move |seen| answering.answer(streamed, &place, seen));
        let mut headers = vec![("content-type", subject.content_type())];
        if position == "header" {
            headers.push(("x-note", text));
        }
        let body = subject.request(position, streamed, text).into_bytes();
        let host = (subject.text("host").to_owned(), strict);
        let mut line = match self.lines.remove(&host) {
            Some(line) => line,
            None => {
                let caller = if strict { &self.strict } else { &self.caller };
                let opened = caller.line(&host.0, false).await;
                opened.expect("the proxy takes the host up")
            }
        };
        let answer = line
            .begin(subject.method(), subject.path(streamed), body, &headers)
            .await
            .expect("Cordon answers");
        let reply = Reply::read(answer).await.expect("the answer can be read");
        if reply.header("connection") != "close" {
            self.lines.insert(host, line);
        }
        reply
    }

    /// A cell of a dialect that is spoken over a WebSocket: a message that is not to leave is told as an error, and the
    /// others are sent on.
    async fn message(&mut self, subject: &Subject, position: &str, cell: &str) -> Outcome {
        let all = subject.list("messages").len();
        let picture = position == "image";
        let strict = picture.then(|| self.strict.clone());
        let forbidden = if picture { SHOWN } else { SECRET };
        let heard = self.converse_as(strict, subject, position, SAID, forbidden).await;
        let sent = self.cloud.messages().len();
        let told_so = match &heard {
            Err(refused) => position == "header" && refused.status == 400 && sent == 0,
            Ok(heard) => sent + 1 == all && heard.iter().any(|event| event["type"] == "error"),
        };
        if !told_so || self.arrived(SECRET) {
            self.wrong.push(format!(
                "{cell}: what the policy blocks was sent on, or not told: {heard:?}"
            ));
        }
        let person = if picture { Person::shown() } else { self.somebody() };
        let heard = self.converse(subject, position, SAID, &person.told()).await;
        let mut arrived: Vec<String> = self.cloud.seen().iter().flat_map(told).collect();
        arrived.sort_unstable();
        arrived.dedup();
        // What stood in the handshake is not said again by a provider that answers messages.
        let back = (position != "header").then(|| format!("{heard:?}"));
        self.judge(cell, &person, arrived.len(), back)
    }

    async fn converse(
        &mut self,
        subject: &Subject,
        position: &str,
        mark: &str,
        text: &str,
    ) -> Result<Vec<Value>, Refused> {
        self.converse_as(None, subject, position, mark, text).await
    }

    /// Says all messages and hears what comes: up to the end of the answer, or an error in the place of the last.
    async fn converse_as(
        &mut self,
        somebody: Option<Caller>,
        subject: &Subject,
        position: &str,
        mark: &str,
        text: &str,
    ) -> Result<Vec<Value>, Refused> {
        self.cloud.forget();
        self.cloud.speak(subject.speech(mark));
        let caller = somebody.as_ref().unwrap_or(&self.caller);
        let headers = [("x-note", text)];
        let headers = if position == "header" { &headers[..] } else { &[] };
        let mut socket = Socket::open_with(caller, subject.text("host"), subject.path(false), headers)
            .await
            .expect("Cordon answers")?;
        let messages: Vec<Value> = serde_json::from_str(&subject.request(position, true, text))
            .expect("the data's messages are JSON");
        let mut heard = Vec::new();
        let last = messages.len() - 1;
        for (index, message) in messages.iter().enumerate() {
            socket.say(message).await.expect("Cordon takes messages");
            let end = if index == last {
                subject.text("ends")
            } else {
                subject.text("acknowledges")
            };
            loop {
                let event = socket.hear().await.expect("Cordon answers each message");
                let kind = event["type"].as_str().unwrap_or_default().to_owned();
                heard.push(event);
                if kind == end || kind == "error" {
                    break;
                }
            }
        }
        Ok(heard)
    }

    /// Whether a text arrived, also within a file in base64.
    fn arrived(&self, text: &str) -> bool {
        let mut files = Vec::new();
        for seen in self.cloud.seen() {
            unpack(&seen.json(), &mut files);
        }
        self.cloud.knows(text) || files.iter().any(|file| file.contains(text))
    }

    fn somebody(&mut self) -> Person {
        self.count += 1;
        Person::number(self.count)
    }
}
