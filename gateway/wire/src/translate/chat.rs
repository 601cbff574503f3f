//! `openai-chat` to `openai-chat`: edits in the bytes, by the scanner's spans.

use std::ops::Range;

use bytes::Bytes;

use super::TranslateError;
use crate::json::{self, Bounds, Kind, Value};

/// The request with its model renamed and, when it streams and is to tell it, usage asked for; each other byte stays.
pub(super) fn rename(body: &Bytes, model: &str, usage: bool) -> Result<Bytes, TranslateError> {
    let tree = json::scan(body, &bounds()).map_err(|_| TranslateError::NotAnObject)?;
    let root = tree.root();
    if root.kind() != Kind::Object {
        return Err(TranslateError::NotAnObject);
    }
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut name = String::from("\"");
    json::escape(model, &mut name);
    name.push('"');
    put(root, "model", name, &mut edits);

    if usage && root.get("stream").and_then(|stream| stream.as_bool()) == Some(true) {
        match root.get("stream_options") {
            Some(options) if options.kind() == Kind::Object => {
                if !wants_usage(options) {
                    put(options, "include_usage", "true".into(), &mut edits);
                }
            }
            _ => put(
                root,
                "stream_options",
                r#"{"include_usage":true}"#.into(),
                &mut edits,
            ),
        }
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut from = 0;
    for (span, text) in edits {
        out.extend_from_slice(&body[from..span.start]);
        out.extend_from_slice(text.as_bytes());
        from = span.end;
    }
    out.extend_from_slice(&body[from..]);
    Ok(out.into())
}

/// Whether a caller asked for usage itself.
pub(crate) fn asks_for_usage(root: Value<'_>) -> bool {
    root.get("stream_options").is_some_and(wants_usage)
}

fn wants_usage(options: Value<'_>) -> bool {
    options.get("include_usage").and_then(|wish| wish.as_bool()) == Some(true)
}

/// Replaces a member's value, or adds the member at the object's end.
fn put(object: Value<'_>, name: &str, value: String, edits: &mut Vec<(Range<usize>, String)>) {
    if let Some(present) = object.get(name) {
        edits.push((present.span(), value));
        return;
    }
    let comma = if object.members().next().is_some() {
        ","
    } else {
        ""
    };
    let end = object.span().end - 1;
    // Two members that are missing from one object go to the same place, in this order.
    let comma = if edits.iter().any(|(span, _)| *span == (end..end)) {
        ","
    } else {
        comma
    };
    edits.push((end..end, format!("{comma}\"{name}\":{value}")));
}

/// Its limits were kept when the request was decoded.
fn bounds() -> Bounds {
    Bounds {
        depth: usize::MAX,
        values: usize::MAX,
        duplicates: false,
    }
}
