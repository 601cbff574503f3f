//! Files in request bodies: where they are found, what takes their place, and that nothing else changes.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cordon_domain::{Dialect, Edit, Role, Splice, SpliceError, Text};
use cordon_wire::{DecodeError, Endpoint, Limits, Operation, RequestBody, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

fn decoded(dialect: Dialect, body: &str) -> RequestBody {
    let endpoint = Endpoint::new(dialect, Operation::Generate);
    decode(endpoint, body.to_owned().into(), &Limits::default()).expect("the body is well formed")
}

/// A picture, as far as its beginning tells.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1A\nwhatever follows";

fn picture() -> String {
    STANDARD.encode(PICTURE)
}

fn uri() -> String {
    format!("data:image/png;base64,{}", picture())
}

/// Reads `text` out of the first file, and edits all of it.
fn edited(mut body: RequestBody, text: &str, replacement: &str) -> Result<Value, SpliceError> {
    body.read_out(0, vec![("file!/page 1".to_owned(), Text::from(text))]);
    let segment = body.segments().len() - 1;
    let edit = Edit {
        segment,
        span: 0..text.len(),
        replacement: replacement.to_owned(),
    };
    let spliced = body.splice(&[edit])?;
    Ok(serde_json::from_slice(&spliced).expect("what is spliced is JSON"))
}

const NOTE: &str = "[file removed by Cordon: it held [X_1]]";

#[test]
fn each_dialects_files_are_found_and_a_note_takes_their_place() {
    let cases = [
        (
            Dialect::OpenaiChat,
            json!({"messages": [{"role": "user", "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": uri(), "detail": "low"}},
            ]}]}),
            "/messages/0/content/1",
            json!({"type": "text", "text": NOTE}),
        ),
        (
            Dialect::OpenaiChat,
            json!({"messages": [{"role": "user", "content": [
                {"type": "file", "file": {"filename": "a.png", "file_data": picture()}},
            ]}]}),
            "/messages/0/content/0",
            json!({"type": "text", "text": NOTE}),
        ),
        (
            Dialect::OpenaiChat,
            json!({"messages": [{"role": "user", "content": [
                {"type": "input_audio", "input_audio": {"data": picture(), "format": "wav"}},
            ]}]}),
            "/messages/0/content/0",
            json!({"type": "text", "text": NOTE}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": uri()}]}]}),
            "/input/0/content/0",
            json!({"type": "input_text", "text": NOTE}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": [
                {"type": "input_file", "filename": "a.pdf", "file_data": uri()}]}]}),
            "/input/0/output/0",
            json!({"type": "input_text", "text": NOTE}),
        ),
        (
            Dialect::AnthropicMessages,
            json!({"messages": [{"role": "user", "content": [{"type": "document", "title": "a",
                "source": {"type": "base64", "media_type": "application/pdf", "data": picture()}}]}]}),
            "/messages/0/content/0",
            json!({"type": "text", "text": NOTE}),
        ),
        (
            Dialect::AnthropicMessages,
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "text", "text": "seen"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture()}}]}]}]}),
            "/messages/0/content/0/content/1",
            json!({"type": "text", "text": NOTE}),
        ),
        (
            Dialect::AnthropicMessages,
            json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "write",
                "input": {"path": "a.png", "b64": uri()}}]}]}),
            "/messages/0/content/0/input/b64",
            json!(NOTE),
        ),
    ];
    for (dialect, body, pointer, stand_in) in cases {
        let found = decoded(dialect, &body.to_string());
        assert_eq!(found.attachments().len(), 1, "{body}");
        let file = found.attachments().next().unwrap();
        assert_eq!(file.bytes().unwrap(), PICTURE, "{body}");
        assert!(file.is_removable());
        assert!(
            found.segments().iter().all(|s| !s.text.contains("iVBOR")),
            "base64 is no text: {body}"
        );
        let mut wanted = body.clone();
        *wanted.pointer_mut(pointer).unwrap() = stand_in;
        assert_eq!(edited(found, "secret", "[X_1]").unwrap(), wanted);
    }
}

#[test]
fn name_type_and_role_are_told() {
    let body = json!({"messages": [{"role": "user", "content": [{"type": "document", "title": "Plan.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": picture()}}]}]});
    let body = decoded(Dialect::AnthropicMessages, &body.to_string());
    let file = body.attachments().next().unwrap();
    assert_eq!(file.name(), Some("Plan.pdf"));
    assert_eq!(file.media_type(), Some("application/pdf"));
    assert_eq!(file.role(), Role::User);
    assert_eq!(file.place().as_str(), "/messages/0/content/0/source/data");
    assert!(!format!("{file:?}").contains("Plan"));
}

#[test]
fn a_plain_text_is_edited_in_place_in_its_own_base64() {
    let csv = "\u{feff}name,mail\nKim,kim@example.com\n";
    for encoded in [STANDARD.encode(csv), URL_SAFE_NO_PAD.encode(csv)] {
        let body = json!({"messages": [{"role": "user", "content": [
            {"type": "file", "file": {"filename": "a.csv", "file_data": format!("data:text/csv;base64,{encoded}")}}]}]});
        let mut body = decoded(Dialect::OpenaiChat, &body.to_string());
        let text = &csv['\u{feff}'.len_utf8()..];
        body.read_out(0, vec![("a.csv".to_owned(), Text::from(text))]);
        let segment = body.segments().len() - 1;
        assert_eq!(body.segments()[segment].place.as_str(), "file:a.csv");
        let start = text.find("kim@").unwrap();
        let edit = Edit {
            segment,
            span: start..start + "kim@example.com".len(),
            replacement: "[EMAIL_K7QX]".to_owned(),
        };
        let spliced: Value = serde_json::from_slice(&body.splice(&[edit]).unwrap()).unwrap();
        let uri = spliced
            .pointer("/messages/0/content/0/file/file_data")
            .unwrap()
            .as_str()
            .unwrap();
        let again = uri.strip_prefix("data:text/csv;base64,").unwrap();
        let padded = encoded.ends_with('=') || encoded.len() % 4 == 0;
        assert!(padded || !again.ends_with('='));
        let again = decoded(Dialect::OpenaiChat, &spliced.to_string());
        assert_eq!(
            again.attachments().next().unwrap().bytes().unwrap(),
            csv.replace("kim@example.com", "[EMAIL_K7QX]").as_bytes()
        );
    }
}

#[test]
fn a_misnamed_file_is_found_by_its_bytes() {
    let pdf = STANDARD.encode([b"%PDF-1.7\n".as_slice(), &[b'x'; 300]].concat());
    let blob: Vec<u8> = (0..600_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    let body = json!({"messages": [
        {"role": "user", "content": pdf},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": pdf}]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": STANDARD.encode(&blob)}]},
        {"role": "user", "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain words"}}]},
    ]});
    let found = decoded(Dialect::AnthropicMessages, &body.to_string());
    let places: Vec<&str> = found.attachments().map(|file| file.place().as_str()).collect();
    assert_eq!(places, ["/messages/0/content", "/messages/1/content/0/signature"]);
    assert!(found.segments().iter().any(|s| s.text.as_str() == "plain words"));
    let edited = edited(found, "secret", "[X_1]").unwrap();
    assert_eq!(edited.pointer("/messages/0/content").unwrap(), NOTE);
}

#[test]
fn what_should_be_base64_and_is_not_is_a_file_without_bytes() {
    let body = json!({"messages": [{"role": "user", "content": [{"type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR!!!not really"}}]}]});
    let found = decoded(Dialect::AnthropicMessages, &body.to_string());
    assert!(found.attachments().next().unwrap().bytes().is_none());
    assert!(found.segments().iter().any(|s| s.text.contains("not really")));
}

#[test]
fn a_file_within_a_text_leaves_the_text() {
    let text = format!("before ![x]({}) after j@ex.com", uri());
    let body = json!({"messages": [{"role": "user", "content": text}]});
    let mut found = decoded(Dialect::OpenaiChat, &body.to_string());
    assert_eq!(found.attachments().len(), 1);
    let mail = text.find("j@ex").unwrap();
    found.read_out(0, vec![("x".to_owned(), Text::from("s"))]);
    let holder = found
        .segments()
        .iter()
        .position(|s| s.text.contains("before"))
        .unwrap();
    let edits = [
        Edit {
            segment: found.segments().len() - 1,
            span: 0..1,
            replacement: "[X_1]".to_owned(),
        },
        Edit {
            segment: holder,
            span: mail..mail + 8,
            replacement: "[E]".to_owned(),
        },
        // What a detector sees in the base64 itself goes with the file.
        Edit {
            segment: holder,
            span: 40..50,
            replacement: "[Y]".to_owned(),
        },
    ];
    let spliced: Value = serde_json::from_slice(&found.splice(&edits).unwrap()).unwrap();
    assert_eq!(
        spliced.pointer("/messages/0/content").unwrap(),
        &json!(format!("before ![x]({NOTE}) after [E]"))
    );
}

#[test]
fn a_file_that_nothing_can_stand_in_for_is_not_taken_out() {
    let body = json!({"messages": [], "logo": uri()});
    let found = decoded(Dialect::OpenaiChat, &body.to_string());
    assert!(!found.attachments().next().unwrap().is_removable());
    assert!(matches!(
        edited(found, "secret", "[X_1]"),
        Err(SpliceError::Irremovable(_))
    ));
}

#[test]
fn too_many_files_are_refused() {
    let files = vec![json!({"file_data": "aGk="}); Limits::MOST_FILES + 1];
    let body = json!({"messages": [], "files": files}).to_string();
    let endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);
    let error = decode(endpoint, body.into(), &Limits::default()).err().unwrap();
    assert_eq!(
        error,
        DecodeError::TooManyFiles {
            limit: Limits::MOST_FILES
        }
    );
    assert_eq!(error.status(), 413);
}

/// What takes minutes where each part of a body is looked at again for each other part.
#[test]
fn looking_for_files_takes_no_longer_than_the_body_is_long() {
    let ends = ";base64,".repeat(400_000);
    let one_key = r#""data":"x","#.repeat(90_000);
    let inner = format!("{{{}}}", one_key.trim_end_matches(','));
    for text in [ends, inner] {
        let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let (done, read) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let found = decoded(Dialect::OpenaiChat, &body);
            // Nobody waits any more where this took too long.
            let _ = done.send(found.attachments().len());
        });
        let files = read.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(files, Ok(0), "it hangs, or finds files where there are none");
    }
}

proptest! {
    /// Taking a file out changes nothing else, and what is decoded again holds the note.
    #[test]
    fn all_other_bytes_stay(
        before in "[ -~é\n]{0,30}", after in "[ -~é\n]{0,30}", data in proptest::collection::vec(any::<u8>(), 1..200),
        url_safe: bool, nested: bool,
    ) {
        let encoded = if url_safe { URL_SAFE_NO_PAD.encode(&data) } else { STANDARD.encode(&data) };
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded}});
        let part = if nested { json!({"type": "tool_result", "tool_use_id": "t", "content": [image]}) } else { image.clone() };
        let body = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": before}, part, {"type": "text", "text": after}]},
        ], "metadata": {"user_id": before}}).to_string();
        let mut found = decoded(Dialect::AnthropicMessages, &body);
        prop_assert_eq!(found.attachments().len(), 1);
        prop_assert_eq!(found.attachments().next().unwrap().bytes().unwrap(), &data);
        prop_assert_eq!(found.splice(&[]).unwrap(), body.as_bytes());
        // Two texts, so that it is no plain one.
        found.read_out(0, vec![("f!/1".to_owned(), Text::from("ab")), ("f!/2".to_owned(), Text::from("cd"))]);
        prop_assert_eq!(found.splice(&[]).unwrap(), body.as_bytes());
        let segment = found.segments().len() - 2;
        let edit = Edit { segment, span: 0..1, replacement: "[X_1]".to_owned() };
        let spliced = found.splice(&[edit]).unwrap();
        let stood = image.to_string();
        let at = body.find(&stood).unwrap();
        let expected = format!("{}{}{}", &body[..at], json!({"type": "text", "text": NOTE}), &body[at + stood.len()..]);
        prop_assert_eq!(std::str::from_utf8(&spliced).unwrap(), &expected);
        let again = decoded(Dialect::AnthropicMessages, &expected);
        prop_assert_eq!(again.attachments().len(), 0);
        prop_assert!(again.segments().iter().any(|s| s.text.as_str() == NOTE));
    }
}
