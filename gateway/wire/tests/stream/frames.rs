//! Binary event streams as lines to read: `NAME {json}` for an event, `NAME= {json}` for one that holds its JSON in
//! base64, `!NAME {json}` for an exception.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Lines as the messages that they stand for.
pub(crate) fn binary(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in std::str::from_utf8(lines).unwrap().lines() {
        let (name, payload) = line.split_once(' ').unwrap();
        let (kind, header, name) = match name.strip_prefix('!') {
            Some(name) => ("exception", ":exception-type", name),
            None => ("event", ":event-type", name),
        };
        let (name, payload) = match name.strip_suffix('=') {
            Some(name) => (
                name,
                json!({"bytes": STANDARD.encode(payload), "p": "abcdef"}).to_string(),
            ),
            None => (name, payload.to_owned()),
        };
        let mut headers = Vec::new();
        for (header, value) in [
            (header, name),
            (":content-type", "application/json"),
            (":message-type", kind),
        ] {
            headers.push(header.len() as u8);
            headers.extend_from_slice(header.as_bytes());
            headers.push(7);
            headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
            headers.extend_from_slice(value.as_bytes());
        }
        let start = out.len();
        let total = 16 + headers.len() + payload.len();
        out.extend_from_slice(&(total as u32).to_be_bytes());
        out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        let sum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&headers);
        out.extend_from_slice(payload.as_bytes());
        let sum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&sum.to_be_bytes());
    }
    out
}

/// Messages as lines; every length and checksum has to be right.
pub(crate) fn written(mut stream: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let mut out = String::new();
    while !stream.is_empty() {
        let total = number(&stream[..4]) as usize;
        let headers = number(&stream[4..8]) as usize;
        assert_eq!(crc32fast::hash(&stream[..8]), number(&stream[8..12]));
        let (message, rest) = stream.split_at(total);
        assert_eq!(
            crc32fast::hash(&message[..total - 4]),
            number(&message[total - 4..])
        );
        stream = rest;
        let mut block = &message[12..12 + headers];
        let payload = std::str::from_utf8(&message[12 + headers..total - 4]).unwrap();
        while !block.is_empty() {
            let (name, rest) = block[1..].split_at(usize::from(block[0]));
            let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            let (value, rest) = rest[3..].split_at(length);
            let value = std::str::from_utf8(value).unwrap();
            match name {
                b":event-type" => out.push_str(value),
                b":exception-type" => {
                    out.push('!');
                    out.push_str(value);
                }
                _ => {}
            }
            block = rest;
        }
        let held: Value = serde_json::from_str(payload).unwrap();
        match held["bytes"].as_str() {
            Some(bytes) => {
                out.push_str("= ");
                out.push_str(&String::from_utf8(STANDARD.decode(bytes).unwrap()).unwrap());
            }
            None => {
                out.push(' ');
                out.push_str(payload);
            }
        }
        out.push('\n');
    }
    out.into_bytes()
}
