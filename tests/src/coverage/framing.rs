//! Events of JSON in the framing that a provider streams them in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::upstream::Answer;

/// A stream of events: `sse`, `sse-done` (with `[DONE]`), `lines`, `array`, `event-stream` (Amazon's, whose events are
/// named by their one member) and `chunks` (the same, with each event in base64 as the body of a chunk).
///
/// # Panics
/// When an event is no JSON.
#[must_use]
pub fn framed<'e>(framing: &str, events: impl Iterator<Item = &'e String>) -> Answer {
    let mut body = Vec::new();
    for event in events {
        let parsed: Value = serde_json::from_str(event).expect("the data's events are JSON");
        match framing {
            "lines" => body.extend(format!("{event}\n").into_bytes()),
            "array" => {
                body.extend(if body.is_empty() { b"[" } else { b"," });
                body.extend(event.as_bytes());
            }
            "event-stream" => {
                let named = parsed.as_object().and_then(|event| event.iter().next());
                let (name, payload) = named.expect("an event has a name");
                body.extend(message(name, &payload.to_string()));
            }
            "chunks" => {
                let chunk = json!({"bytes": STANDARD.encode(event)}).to_string();
                body.extend(message("chunk", &chunk));
            }
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
        "array" => "application/json",
        "event-stream" | "chunks" => "application/vnd.amazon.eventstream",
        _ => "text/event-stream",
    };
    match framing {
        "sse-done" => body.extend(b"data: [DONE]\n\n"),
        "array" => body.push(b']'),
        _ => {}
    }
    Answer::new(200, kind, Bytes::from(body))
}

/// Lines of JSON as Google's pages read them: each behind its length in UTF-16, with the line feeds around it.
pub(super) fn counted(chunks: impl Iterator<Item = String>) -> String {
    let mut body = ")]}'\n\n".to_owned();
    for chunk in chunks {
        let length = chunk.encode_utf16().count() + 2;
        body.push_str(&format!("{length}\n{chunk}\n"));
    }
    body
}

/// Whether the lengths of such a reply are right.
pub(super) fn is_counted(body: &str) -> bool {
    let mut lines = body.lines().skip(2);
    while let Some(length) = lines.next() {
        let chunk = lines.next().unwrap_or_default();
        if length.parse() != Ok(chunk.encode_utf16().count() + 2) {
            return false;
        }
    }
    true
}

/// A message of Amazon's event stream.
fn message(name: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (header, value) in [
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(u8::try_from(header.len()).expect("names are short"));
        headers.extend(header.as_bytes());
        headers.push(7);
        let length = u16::try_from(value.len()).expect("values are short");
        headers.extend(length.to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let number = |length: usize| u32::try_from(length).expect("an event is short").to_be_bytes();
    let mut out = number(16 + headers.len() + payload.len()).to_vec();
    out.extend(number(headers.len()));
    out.extend(checksum(&out));
    out.extend(headers);
    out.extend(payload.as_bytes());
    out.extend(checksum(&out));
    out
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum().to_be_bytes()
}
