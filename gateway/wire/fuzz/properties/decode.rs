//! Any bytes as a request, a reply or a line of a file of requests, in any dialect:
//! - without edits the same bytes come out;
//! - every string of the body is a segment or a file at its place, as serde_json finds them;
//! - an edit of one segment leaves the bytes around it alone;
//! - once some segments are replaced, the edited body decodes to the replaced texts and, for the rest, the same.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice};
use cordon_wire::{
    Attachment, DecodeError, Endpoint, Limits, Operation, RequestBody, decode, decode_line, decode_reply,
};
use serde_json::Value;

/// Needs escaping, and is no JSON text.
const PUT_IN: &str = "⟦\"\\\n";

/// As deep as JSON texts in strings are looked through.
const NESTING: usize = 4;

/// The first byte picks what the rest is, the second which segments are edited.
pub(crate) fn run(input: &[u8]) {
    let Some((&[first, second], body)) = input.split_first_chunk() else {
        return;
    };
    let dialects = Dialect::BUILT_IN.len();
    let dialect = Dialect::BUILT_IN[usize::from(first) % dialects];
    let at = Endpoint::new(dialect, Operation::Generate);
    let body = Bytes::copy_from_slice(body);
    let limits = Limits::default();
    let request = |read: Result<RequestBody, DecodeError>| read.ok();
    match usize::from(first) / dialects % 4 {
        0 | 1 => check(
            &body,
            second,
            |body| request(decode(at, body, &limits)),
            requests_files,
        ),
        2 => check(
            &body,
            second,
            |body| decode_reply(at, body, &limits).ok(),
            |_| HashSet::new(),
        ),
        _ => check(
            &body,
            second,
            |body| request(decode_line(body, &limits)),
            requests_files,
        ),
    }
}

/// The places of a request's files.
fn requests_files(request: &RequestBody) -> HashSet<String> {
    let place = |file: &Attachment| file.place().as_str().to_owned();
    request.attachments().map(place).collect()
}

fn check<B: Splice>(
    body: &Bytes,
    choice: u8,
    read: impl Fn(Bytes) -> Option<B>,
    files: impl Fn(&B) -> HashSet<String>,
) {
    let Some(decoded) = read(body.clone()) else {
        return;
    };
    assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
    let held = files(&decoded);
    covers(&decoded, &held, body);

    let segments = decoded.segments();
    let whole = |segment: usize| Edit {
        segment,
        span: 0..segments[segment].text.len(),
        replacement: PUT_IN.to_owned(),
    };
    if let Some(segment) = usize::from(choice).checked_rem(segments.len()) {
        let edited = decoded.splice(&[whole(segment)]).expect("a whole segment fits");
        leaves_alone(body, &edited, segments[segment].text.len());
    }

    let picked = |segment: usize| choice.rotate_left((segment % 8) as u32) & 1 == 1;
    let edits: Vec<Edit> = (0..segments.len()).filter(|at| picked(*at)).map(whole).collect();
    let edited = decoded.splice(&edits).expect("whole segments fit");
    std::str::from_utf8(&edited).expect("edits keep a body UTF-8");
    // Keys that read the same after the edits are refused, and rightly. What is a file can hang on a text that was edited.
    let Some(again) = read(edited) else { return };
    if !held.is_empty() || !files(&again).is_empty() {
        return;
    }
    assert_eq!(again.segments().len(), segments.len());
    for (at, (new, old)) in again.segments().iter().zip(segments).enumerate() {
        let expected = if picked(at) { PUT_IN } else { old.text.as_str() };
        assert_eq!(new.text.as_str(), expected, "segment {at}");
    }
}

/// Every string of the body is a segment, or a file, at its place.
fn covers(decoded: &impl Splice, files: &HashSet<String>, body: &[u8]) {
    // serde_json has a limit on depth, and reads no number past its own range.
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let mut found: HashMap<&str, HashSet<&str>> = HashMap::new();
    for segment in decoded.segments() {
        found
            .entry(segment.place.as_str())
            .or_default()
            .insert(segment.text.as_str());
    }
    let mut waiting = vec![(String::new(), value, 0)];
    while let Some((place, value, depth)) = waiting.pop() {
        match value {
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                waiting.extend(items.map(|(at, item)| (format!("{place}/{at}"), item, depth)));
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let below = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                    // No dialect has a name with such a character in it.
                    let is_own = key.contains(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
                    let at = format!("key:{below}");
                    assert!(
                        !is_own
                            || found
                                .get(at.as_str())
                                .is_some_and(|texts| texts.contains(key.as_str())),
                        "{at}"
                    );
                    waiting.push((below, member, depth));
                }
            }
            Value::String(text) => {
                let is_segment = found
                    .get(place.as_str())
                    .is_some_and(|texts| texts.contains(text.as_str()));
                if text.is_empty() || is_segment || files.contains(&place) {
                    continue;
                }
                let below = format!("{place}#");
                match serde_json::from_str(&text) {
                    Ok(inner) if depth < NESTING => waiting.push((below, inner, depth + 1)),
                    // What serde_json has a limit on was walked all the same.
                    Err(_) if depth < NESTING && is_enclosed(&text) => {
                        let is_walked = found.keys().any(|at| at.contains(&below));
                        assert!(is_walked || !text.contains('"'), "a JSON text is in no segment");
                    }
                    _ => panic!("a string of {} bytes is in no segment", text.len()),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Whether a text starts and ends as an object or an array does.
fn is_enclosed(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'))
}

/// The bytes before and behind an edit are the body's own.
fn leaves_alone(body: &[u8], edited: &[u8], length: usize) {
    let same = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(a, b)| a == b).count();
    let before = same(&mut body.iter().zip(edited));
    let behind = same(&mut body.iter().rev().zip(edited.iter().rev()));
    // A character is written in six bytes at most, and each string around it doubles its backslashes.
    let written = ((length + 1) * 6) << NESTING;
    assert!(before + behind + written >= body.len(), "an edit reaches too far");
}
