//! Golden bodies: each under `tests/corpus/<dialect>/NAME.json` with its segments beside it as
//! `NAME.segments.json` (place, role, text). Names starting with `reply-` are replies; those that start with
//! `count-`, `embed-`, `convert-`, `upload-` or `manage-` are requests for that, `event-` is a message of a
//! WebSocket, and all others are requests for an answer.
//!
//! When segments differ, what was found is written to the test's temporary folder, whose path the
//! failure names; after reading it through it can take the place of the golden file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice};
use cordon_wire::{Endpoint, Limits, Operation, decode, decode_reply};
use serde_json::{Value, json};

/// Whose folders hold bodies: every dialect that has bodies.
fn dialects() -> impl Iterator<Item = Dialect> {
    Dialect::BUILT_IN
        .into_iter()
        .filter(|dialect| !matches!(dialect, Dialect::Models | Dialect::Unknown))
}

#[test]
fn golden_bodies_give_their_segments() {
    let mut wrong = Vec::new();
    for body in corpus() {
        let decoded = read(&body);
        let found: Vec<Value> = decoded
            .segments()
            .iter()
            .map(|s| json!({"place": s.place.as_str(), "role": format!("{:?}", s.role), "text": s.text.as_str()}))
            .collect();
        let golden = body.with_extension("segments.json");
        let expected = fs::read(&golden)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if expected != Some(Value::from(found.clone())) {
            let name = format!("{}.segments.json", label(&body).replace('/', "."));
            let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            fs::write(&written, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            wrong.push(written);
        }
    }
    assert!(
        wrong.is_empty(),
        "segments differ from the golden ones; found: {wrong:#?}"
    );
}

#[test]
fn no_text_is_left_out() {
    for body in corpus() {
        let decoded = read(&body);
        let value: Value = serde_json::from_slice(&fs::read(&body).unwrap()).unwrap();
        let mut strings = Vec::new();
        collect(&value, &mut strings);
        let files = files(&body);
        for string in strings {
            // Of a data URI the beginning is a text, the rest a file.
            let comma = string
                .find(',')
                .filter(|_| string.starts_with("data:"))
                .map_or(0, |at| at + 1);
            let text = if comma > 0 { &string[..comma] } else { &string };
            let is_file = STANDARD
                .decode(&string[comma..])
                .is_ok_and(|bytes| files.contains(&bytes));
            assert!(
                decoded.segments().iter().any(|s| s.text.as_str() == text) || (is_file && comma == 0),
                "{}: a string of {} bytes is in no segment",
                label(&body),
                string.len()
            );
        }
    }
}

#[test]
fn without_edits_the_body_is_the_same() {
    for body in corpus() {
        assert_eq!(
            read(&body).splice(&[]).unwrap(),
            fs::read(&body).unwrap(),
            "{}",
            label(&body)
        );
    }
}

/// Each segment in turn is replaced by a text that needs escaping; then all others are as they were,
/// and the bytes before and behind are the body's own.
#[test]
fn any_one_segment_can_be_replaced() {
    const PUT_IN: &str = "[NAME_K7QX] \"\\\n";
    for path in corpus() {
        let body = fs::read(&path).unwrap();
        let decoded = read(&path);
        for (segment, at) in decoded.segments().iter().enumerate() {
            if at.text.starts_with("data:") {
                // Without its beginning a data URI is no file any more.
                continue;
            }
            let edit = Edit {
                segment,
                span: 0..at.text.len(),
                replacement: PUT_IN.to_owned(),
            };
            let edited = decoded.splice(&[edit]).unwrap();
            let again = read_bytes(&path, edited.clone());
            assert_eq!(
                again.segments().len(),
                decoded.segments().len(),
                "{}",
                label(&path)
            );
            for (index, (new, old)) in again.segments().iter().zip(decoded.segments()).enumerate() {
                let expected = if index == segment {
                    PUT_IN
                } else {
                    old.text.as_str()
                };
                assert_eq!(new.text.as_str(), expected, "{} segment {index}", label(&path));
            }
            let same = |a: &mut dyn Iterator<Item = (&u8, &u8)>| a.take_while(|(x, y)| x == y).count();
            let before = same(&mut body.iter().zip(edited.iter()));
            let behind = same(&mut body.iter().rev().zip(edited.iter().rev()));
            // Texts of the corpus are written in at most twelve bytes for one (`\\\\u00e9`).
            assert!(
                before + behind + 12 * at.text.len() >= body.len(),
                "{} segment {segment}",
                label(&path)
            );
        }
    }
}

/// Every string, or, where it is a JSON text, every string of that.
fn collect(value: &Value, strings: &mut Vec<String>) {
    match value {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => collect(&inner, strings),
            _ => strings.push(text.clone()),
        },
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Object(members) => members.values().for_each(|member| collect(member, strings)),
        _ => {}
    }
}

/// The files of a request.
fn files(path: &Path) -> Vec<Vec<u8>> {
    let (endpoint, is_reply) = endpoint(path);
    if is_reply {
        return Vec::new();
    }
    let body = fs::read(path).expect("a listed file can be read").into();
    let body = decode(endpoint, body, &Limits::default()).expect("the corpus is well formed");
    body.attachments()
        .filter_map(|file| file.bytes().map(|bytes| bytes.to_vec()))
        .collect()
}

fn read(path: &Path) -> Box<dyn Splice> {
    read_bytes(path, fs::read(path).expect("a listed file can be read").into())
}

fn read_bytes(path: &Path, body: Bytes) -> Box<dyn Splice> {
    let (endpoint, is_reply) = endpoint(path);
    let limits = Limits::default();
    if is_reply {
        Box::new(decode_reply(endpoint, body, &limits).unwrap_or_else(|e| panic!("{}: {e}", label(path))))
    } else {
        Box::new(decode(endpoint, body, &limits).unwrap_or_else(|e| panic!("{}: {e}", label(path))))
    }
}

/// What a body is for, by its folder and name, and whether it is a reply.
fn endpoint(path: &Path) -> (Endpoint, bool) {
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    let dialect = dialects()
        .find(|dialect| folder == Some(dialect.name()))
        .expect("only the dialects' folders are walked");
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("names in the corpus are plain");
    let operation = match name.split_once('-') {
        Some(("count", _)) => Operation::CountTokens,
        Some(("embed", _)) => Operation::Embed,
        Some(("convert", _)) => Operation::Convert,
        Some(("upload", _)) => Operation::Upload,
        Some(("manage", _)) => Operation::Manage,
        _ => Operation::Generate,
    };
    (Endpoint::new(dialect, operation), name.starts_with("reply-"))
}

fn label(path: &Path) -> String {
    let parts: Vec<_> = path
        .iter()
        .rev()
        .take(2)
        .filter_map(|part| part.to_str())
        .collect();
    format!("{}/{}", parts[1], parts[0].trim_end_matches(".json"))
}

fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let listed = fs::read_dir(folder).expect("the corpus can be listed");
        listed
            .map(|entry| entry.expect("the corpus can be listed").path())
            .collect()
    };
    let mut bodies: Vec<PathBuf> = dialects()
        .flat_map(|dialect| entries(&root.join(dialect.name())))
        .filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".json") && !name.ends_with(".segments.json")
        })
        .collect();
    bodies.sort();
    assert!(bodies.len() >= 80, "the corpus is not where it should be");
    bodies
}
