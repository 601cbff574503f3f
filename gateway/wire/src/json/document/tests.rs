//! Properties of segments and splices, against serde_json as the second opinion.

use std::fmt::Write as _;

use cordon_domain::{Dialect, Edit, Splice as _};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{
    walk::{LONG_NUMBER, NESTING},
    *,
};
use crate::{Endpoint, Operation, RequestBody, decode, json::Bounds};

const CHAT: Endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);

/// Writes a value as no serialiser would: with spaces anywhere and any character escaped or not.
struct Writer {
    state: u64,
    out: String,
}

impl Writer {
    fn write(value: &Value, seed: u64) -> String {
        let mut writer = Self {
            state: seed | 1,
            out: String::new(),
        };
        writer.space();
        writer.value(value);
        writer.space();
        writer.out
    }

    /// A xorshift step: the choices have to follow from the seed alone, so that cases shrink.
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn space(&mut self) {
        while self.below(3) == 0 {
            let space = [" ", "\n", "\t", "\r"][self.below(4) as usize];
            self.out.push_str(space);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.space();
                    self.value(item);
                    self.space();
                }
                self.space();
                self.out.push(']');
            }
            Value::Object(members) => {
                self.out.push('{');
                for (index, (key, member)) in members.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.space();
                    self.string(key);
                    self.space();
                    self.out.push(':');
                    self.space();
                    self.value(member);
                    self.space();
                }
                self.space();
                self.out.push('}');
            }
            other => self.out.push_str(&other.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            let short = match character {
                '"' => "\\\"",
                '\\' => "\\\\",
                '/' => "\\/",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                _ => "",
            };
            let must = character < ' ' || character == '"' || character == '\\';
            match self.below(6) {
                0 | 1 if !short.is_empty() => self.out.push_str(short),
                2.. if !must => self.out.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let _ = if unit.is_multiple_of(2) {
                            write!(self.out, "\\u{unit:04x}")
                        } else {
                            write!(self.out, "\\u{unit:04X}")
                        };
                    }
                }
            }
        }
        self.out.push('"');
    }
}

/// What the segments should be, by serde_json's own parse.
fn expected(value: &Value, depth: usize, out: &mut Vec<String>) {
    match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) if depth < NESTING => {
                expected(&inner, depth + 1, out);
            }
            _ => out.push(text.clone()),
        },
        Value::Array(items) => items.iter().for_each(|item| expected(item, depth, out)),
        Value::Object(members) => {
            for (key, member) in members {
                if !["messages", "role", "content", "metadata"].contains(&key.as_str()) {
                    out.push(key.clone());
                }
                expected(member, depth, out);
            }
        }
        Value::Number(number) => {
            let written = number.to_string();
            let digits = written.trim_start_matches(['-', '0', '.']);
            let mantissa = digits.split('e').next().unwrap_or_default();
            if mantissa.bytes().filter(u8::is_ascii_digit).count() >= LONG_NUMBER {
                out.push(written);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[\"\\\\/\n\t\u{0}\u{7f}é😀{}\\[\\]:,]{0,12}",
        Just(String::new()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..10_000_000_i64).prop_map(Value::from),
        // Quarters, which serde_json reads without rounding.
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        text().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            members(inner.clone()).prop_map(Value::from),
            // A JSON text in a string, written just as freely.
            (members(inner), any::<u64>())
                .prop_map(|(members, seed)| Value::from(Writer::write(&Value::from(members), seed))),
        ]
    })
}

fn members(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec((text(), inner), 0..6).prop_map(|members| {
        members
            .into_iter()
            .map(|(key, value)| (format!("~{key}"), value))
            .collect()
    })
}

fn body(value: Value) -> Value {
    serde_json::json!({"messages": [{"role": "user", "content": value.clone()}], "metadata": value})
}

fn decoded(written: &str) -> RequestBody {
    decode(
        CHAT,
        Bytes::copy_from_slice(written.as_bytes()),
        &Limits::default(),
    )
    .unwrap()
}

fn texts(body: &RequestBody) -> Vec<String> {
    body.segments()
        .iter()
        .map(|s| s.text.as_str().to_owned())
        .collect()
}

/// The nearest character boundary at or before `at` hundredths of a text.
fn boundary(text: &str, at: usize) -> usize {
    let mut offset = text.len() * at / 100;
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_the_strings_that_serde_json_finds(value in value(), seed: u64) {
        let written = Writer::write(&body(value), seed);
        let second_opinion: Value = serde_json::from_str(&written).unwrap();
        let mut strings = Vec::new();
        expected(&second_opinion, 0, &mut strings);
        let body = decoded(&written);
        prop_assert_eq!(texts(&body), strings);
        prop_assert_eq!(body.splice(&[]).unwrap(), written.as_bytes());
    }

    #[test]
    fn edits_give_the_edited_texts_and_nothing_else(
        value in value(),
        seed: u64,
        choices in proptest::collection::vec((any::<prop::sample::Index>(), 0..=100_usize, 0..=100_usize, text()), 1..6),
    ) {
        let written = Writer::write(&body(value), seed);
        let body = decoded(&written);
        let mut edits: Vec<Edit> = Vec::new();
        for (number, (segment, from, to, words)) in choices.into_iter().enumerate() {
            let segment = segment.index(body.segments().len());
            let text = &body.segments()[segment].text;
            let span = boundary(text, from.min(to))..boundary(text, from.max(to));
            let clear = |edit: &Edit| edit.segment != segment || edit.span.end < span.start || span.end < edit.span.start;
            if edits.iter().all(clear) {
                // A raw newline after a bracket of no JSON: what is edited is no JSON text by chance.
                let replacement = format!("⟦{number}\n{words}");
                edits.push(Edit { segment, span, replacement });
            }
        }
        let mut wanted = texts(&body);
        let mut ordered: Vec<&Edit> = edits.iter().collect();
        ordered.sort_by_key(|edit| std::cmp::Reverse((edit.segment, edit.span.start)));
        for edit in ordered {
            wanted[edit.segment].replace_range(edit.span.clone(), &edit.replacement);
        }
        let spliced = body.splice(&edits).unwrap();
        let again: Value = serde_json::from_slice(&spliced).unwrap();
        let mut strings = Vec::new();
        expected(&again, 0, &mut strings);
        prop_assert_eq!(&strings, &wanted);
        prop_assert_eq!(texts(&decoded(std::str::from_utf8(&spliced).unwrap())), wanted);

        edits.reverse();
        prop_assert_eq!(body.splice(&edits).unwrap(), spliced);
    }

    #[test]
    fn a_span_leads_to_the_bytes_that_it_was_written_in(value in value(), seed: u64, from in 0..=100_usize, to in 0..=100_usize) {
        let written = Writer::write(&body(value), seed);
        let tree = crate::json::scan(written.as_bytes(), &Bounds { depth: 64, values: 10_000, duplicates: false }).unwrap();
        let root = crate::request::Station::request(Dialect::OpenaiChat);
        let document =
            Document::read(Bytes::copy_from_slice(written.as_bytes()), &tree, &Limits::default(), root).unwrap();
        let mut behind = 0;
        for (segment, site) in document.segments.iter().zip(&document.sites) {
            let whole = document.in_body(site, 0..segment.text.len());
            // Segments do not share bytes, and come in the body's order.
            prop_assert!(behind <= whole.start && whole.start <= whole.end);
            behind = whole.end;

            let span = boundary(&segment.text, from.min(to))..boundary(&segment.text, from.max(to));
            let raw = document.in_body(site, span.clone());
            let depth = site.layer.checked_sub(1).map_or(0, |index| document.layers[index].depth);
            let strings = depth + usize::from(!site.number);
            let mut unescaped = written[raw].to_owned();
            for _ in 0..strings {
                unescaped = serde_json::from_str(&format!("\"{unescaped}\"")).unwrap();
            }
            prop_assert_eq!(unescaped, &segment.text[span]);
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused(
        value in value(), seed: u64, at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut written = Writer::write(&body(value), seed).into_bytes();
        let at = at.index(written.len());
        if cut { written.truncate(at) } else { written[at] = byte }
        let ours = decode(CHAT, Bytes::from(written.clone()), &Limits::default());
        // A number that no 64-bit float holds is JSON (RFC 8259, 6); it passes as it is written.
        let refused = serde_json::from_slice::<Value>(&written)
            .is_err_and(|error| !error.to_string().starts_with("number out of range"));
        if refused {
            prop_assert!(ours.is_err());
        }
        if let Ok(body) = ours {
            prop_assert_eq!(body.splice(&[]).unwrap(), written);
        }
    }

    #[test]
    fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for body in [bytes.clone(), [br#"{"messages":["#.as_slice(), &bytes].concat()] {
            let _ = decode(CHAT, body.clone().into(), &Limits::default());
            let _ = crate::decode_reply(CHAT, body.into(), &Limits::default());
        }
    }
}

#[test]
fn a_text_escaped_twice_is_edited_for_both() {
    let body = decoded(
        r#"{"messages":[],"x":"{\"a\":\"{\\\"b\\\":\\\"j@\\\\u0065x.com \\\\\\\"q\\\\\\\"\\\"}\"}"}"#,
    );
    let places: Vec<_> = body
        .segments()
        .iter()
        .map(|s| (s.place.as_str(), s.text.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            ("key:/x", "x"),
            ("key:/x#/a", "a"),
            ("key:/x#/a#/b", "b"),
            ("/x#/a#/b", "j@ex.com \"q\""),
        ]
    );
    let edit = Edit {
        segment: 3,
        span: 0..8,
        replacement: "\"E\"".into(),
    };
    assert_eq!(
        body.splice(&[edit]).unwrap(),
        r#"{"messages":[],"x":"{\"a\":\"{\\\"b\\\":\\\"\\\\\\\"E\\\\\\\" \\\\\\\"q\\\\\\\"\\\"}\"}"}"#
    );
}

#[test]
fn a_number_becomes_a_string_when_edited() {
    let body = decoded(r#"{"messages":[],"seed":4111111111111111,"n":"[1234567.5e3]","m":123456}"#);
    let edit = |segment, span, replacement: &str| Edit {
        segment,
        span,
        replacement: replacement.into(),
    };
    let seed = body
        .segments()
        .iter()
        .position(|s| s.place.as_str() == "/seed")
        .unwrap();
    let nested = body
        .segments()
        .iter()
        .position(|s| s.place.as_str() == "/n#/0")
        .unwrap();
    let edits = [
        edit(seed, 0..4, "[A]"),
        edit(seed, 12..16, "\"B"),
        edit(nested, 0..11, "[C]"),
    ];
    assert_eq!(
        body.splice(&edits).unwrap(),
        r#"{"messages":[],"seed":"[A]11111111\"B","n":"[\"[C]\"]","m":123456}"#
    );
}

#[test]
fn edits_that_do_not_fit_are_errors() {
    let body = decoded(r#"{"messages":[],"user":"é"}"#);
    let edit = |segment, span| Edit {
        segment,
        span,
        replacement: String::new(),
    };
    assert_eq!(body.splice(&[edit(1, 0..0)]), Err(SpliceError::NoSuchSegment(1)));
    for span in [0..1, 0..9, 3..3] {
        assert!(matches!(
            body.splice(&[edit(0, span)]),
            Err(SpliceError::BadSpan { segment: 0, .. })
        ));
    }
    assert_eq!(
        body.splice(&[edit(0, 0..2), edit(0, 0..2)]),
        Err(SpliceError::Overlap(0))
    );
    let backwards = Edit {
        segment: 0,
        span: std::ops::Range { start: 2, end: 0 },
        replacement: String::new(),
    };
    assert!(matches!(
        body.splice(&[backwards]),
        Err(SpliceError::BadSpan { .. })
    ));
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        max_segments: 4,
        max_text: 40,
        max_depth: 3,
        max_body: 120,
        ..Limits::default()
    };
    let status = |body: &str| {
        decode(CHAT, body.to_owned().into(), &limits)
            .map_err(|e| e.status())
            .err()
    };
    assert_eq!(status(r#"{"messages":[],"user":"ok"}"#), None);
    assert_eq!(status(r#"{"messages":[{"content":[]}]}"#), Some(400), "depth");
    assert_eq!(
        status(r#"{"messages":[],"stop":["a","b","c","d","e"]}"#),
        Some(413),
        "segments"
    );
    let long = format!(r#"{{"messages":[],"user":"{}"}}"#, "x".repeat(41));
    assert_eq!(status(&long), Some(413), "text");
    let key = format!(r#"{{"messages":[],"{}":["a","b"]}}"#, "k".repeat(20));
    assert_eq!(status(&key), Some(413), "places");
    assert_eq!(status(&format!("{{{}", " ".repeat(120))), Some(413), "bytes");
    assert_eq!(
        status(r#"{"messages":[],"user":"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"}"#),
        Some(413)
    );
}

#[test]
fn depth_costs_no_stack() {
    let deep = 200_000;
    let limits = Limits {
        max_depth: usize::MAX,
        max_segments: deep,
        ..Limits::default()
    };
    let nested = format!("{}\\\"x\\\"{}", "[".repeat(deep), "]".repeat(deep));
    let body = format!(r#"{{"messages":[],"user":"{nested}"}}"#);
    let body = decode(CHAT, body.into(), &limits).unwrap();
    assert_eq!(body.segments()[0].text.as_str(), "x");
}
