//! Bodies that are not one JSON text: every container decoded, edited and decoded again.

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Role, Splice, SpliceError};
use cordon_wire::{DecodeError, Endpoint, Limits, Operation, RequestBody, decode_as};
use proptest::prelude::*;

/// What an unknown shape is read by, so that the content type picks the container.
const ANY: Endpoint = Endpoint::new(Dialect::Unknown, Operation::Manage);
const MULTIPART: &str = "multipart/form-data; boundary=XyZ";

fn read(content_type: &str, body: impl Into<Bytes>) -> Result<RequestBody, DecodeError> {
    decode_as(ANY, Some(content_type), body.into(), &Limits::default())
}

fn texts(body: &RequestBody) -> Vec<(&str, &str)> {
    body.segments()
        .iter()
        .map(|segment| (segment.place.as_str(), segment.text.as_str()))
        .collect()
}

/// Every segment replaced as a whole.
fn replaced(body: &RequestBody, with: &str) -> Result<Bytes, SpliceError> {
    let edits: Vec<Edit> = body
        .segments()
        .iter()
        .enumerate()
        .map(|(segment, found)| Edit {
            segment,
            span: 0..found.text.len(),
            replacement: with.to_owned(),
        })
        .collect();
    body.splice(&edits)
}

fn put(body: &RequestBody, place: &str, with: &str) -> String {
    let segment = texts(body)
        .iter()
        .position(|(found, _)| *found == place)
        .expect(place);
    let edit = Edit {
        segment,
        span: 0..body.segments()[segment].text.len(),
        replacement: with.to_owned(),
    };
    let edited = body.splice(&[edit]).expect("a whole segment fits");
    String::from_utf8(edited.to_vec()).expect("text stays text")
}

#[test]
fn a_form_is_read_field_by_field_and_through_json_in_json() {
    let form = "at=AB%3A1&f.req=%5Bnull%2C%22%5B%5B%5C%22my+key%5C%22%5D%5D%22%5D&empty=&x";
    let body = read("application/x-www-form-urlencoded;charset=UTF-8", form).unwrap();
    assert_eq!(
        texts(&body),
        [
            ("key:form:at", "at"),
            ("form:at", "AB:1"),
            ("key:form:f.req", "f.req"),
            ("form:f.req#/1#/0/0", "my key"),
            ("key:form:empty", "empty"),
            ("key:form:x", "x"),
        ]
    );
    assert!(
        body.segments()
            .iter()
            .filter(|s| s.place.as_str().starts_with("form:"))
            .all(|s| s.role == Role::User)
    );
    let edited = put(&body, "form:f.req#/1#/0/0", "a \"b\" & c");
    assert!(
        edited.starts_with("at=AB%3A1&f.req=%5Bnull%2C%22%5B%5B%5C%22a%20%5C%5C%5C%22b"),
        "{edited}"
    );
    assert!(edited.ends_with("%5C%22%5D%5D%22%5D&empty=&x"), "{edited}");
    let again = read("application/x-www-form-urlencoded", edited).unwrap();
    assert!(texts(&again).contains(&("form:f.req#/1#/0/0", "a \"b\" & c")));
}

#[test]
fn lines_and_frames_are_json_each() {
    let lines = "{\"q\":\"one\"}\n\n{\"q\":\"two\"}\n";
    let body = read("application/x-ndjson", lines).unwrap();
    assert_eq!(
        texts(&body),
        [
            ("key:line:0/q", "q"),
            ("line:0/q", "one"),
            ("key:line:2/q", "q"),
            ("line:2/q", "two")
        ]
    );
    assert_eq!(
        put(&body, "line:2/q", "a\nb"),
        "{\"q\":\"one\"}\n\n{\"q\":\"a\\nb\"}\n"
    );
    let wrong = read("application/x-ndjson", "{\"q\":1}\n{\"q\":").unwrap_err();
    assert_eq!(wrong.status(), 400);
}

#[test]
fn a_text_is_one_segment_or_the_json_that_it_is() {
    let body = read("text/plain;charset=UTF-8", "hello\r\nthere").unwrap();
    assert_eq!(texts(&body), [("text", "hello\r\nthere")]);
    assert_eq!(put(&body, "text", "x"), "x");
    let body = read("text/plain", r#"{"text":"a\nb"}"#).unwrap();
    assert_eq!(texts(&body), [("text#/text", "a\nb")]);
    for (kind, bytes) in [("text/plain", &b"\xFF"[..]), ("text/plain; charset=utf-16", b"a")] {
        assert!(read(kind, Bytes::from_static(bytes)).is_err(), "{kind}");
    }
}

const PARTS: &str = "--XyZ\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nhello there\r\n\
--XyZ\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{\"title\":\"plan\"}\r\n\
--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"q3 results.pdf\"\r\nContent-Type: application/pdf\r\nX-Note: mine\r\n\r\n%PDF-1.7 \r\n--not\r\n\r\n--XyZ--\r\n";

#[test]
fn parts_are_texts_and_files() {
    let body = read(MULTIPART, PARTS).unwrap();
    assert_eq!(
        texts(&body),
        [
            ("form:prompt", "hello there"),
            ("form:meta#/title", "plan"),
            ("form:header:x-note", " mine"),
            ("form:file:filename", "q3 results.pdf"),
        ]
    );
    let files: Vec<_> = body.attachments().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].name(), Some("q3 results.pdf"));
    assert_eq!(files[0].media_type(), Some("application/pdf"));
    assert_eq!(
        files[0].bytes().map(|b| &b[..]),
        Some(&b"%PDF-1.7 \r\n--not\r\n"[..])
    );
    let edited = put(&body, "form:file:filename", "a\"b\r\n.pdf");
    assert_eq!(edited, PARTS.replace("q3 results.pdf", "a%22b  .pdf"));
    assert_eq!(
        put(&body, "form:meta#/title", "[X]"),
        PARTS.replace("plan", "[X]")
    );
}

#[test]
fn a_file_that_is_text_is_edited_where_it_lies() {
    let part = "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nmy key\r\n--XyZ--";
    let mut body = read(MULTIPART, part).unwrap();
    let text = std::str::from_utf8(body.attachments().next().unwrap().bytes().unwrap())
        .unwrap()
        .to_owned();
    body.read_out(0, vec![("a.txt".to_owned(), text.into())]);
    assert_eq!(put(&body, "file:a.txt", "[K]"), part.replace("my key", "[K]"));
}

#[test]
fn an_edit_never_makes_a_boundary() {
    let body = read(MULTIPART, PARTS).unwrap();
    for evil in [
        "--XyZ",
        "x\r\n--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
        "\r\n--XyZ--\r\n",
    ] {
        assert_eq!(replaced(&body, evil), Err(SpliceError::Boundary), "{evil}");
    }
    // One that what is left around the edit completes.
    let halves = "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx--X_yZ\r\n--XyZ--";
    let body = read(MULTIPART, halves).unwrap();
    let edit = Edit {
        segment: 1,
        span: 4..5,
        replacement: String::new(),
    };
    assert_eq!(body.splice(&[edit]), Err(SpliceError::Boundary));
}

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused() {
    let one = |headers: &str, content: &str| format!("--XyZ\r\n{headers}\r\n\r\n{content}\r\n--XyZ--");
    let named = "Content-Disposition: form-data; name=\"a\"";
    assert!(read(MULTIPART, one(named, "x")).is_ok());
    for (what, body) in [
        ("preamble", format!("hello\r\n{}", one(named, "x"))),
        ("epilogue", format!("{}\r\nsecret", one(named, "x"))),
        ("no end", one(named, "x").trim_end_matches("--").to_owned()),
        ("bare line feeds", one(named, "x").replace("\r\n", "\n")),
        ("boundary inside", one(named, "a --XyZ b")),
        ("boundary with a tail", one(named, "a\r\n--XyZ1\r\nb")),
        ("no name", one("Content-Disposition: form-data", "x")),
        (
            "not a form",
            one("Content-Disposition: attachment; name=\"a\"", "x"),
        ),
        (
            "two names",
            one("Content-Disposition: form-data; name=\"a\"; name=\"b\"", "x"),
        ),
        (
            "two file names",
            one(
                "Content-Disposition: form-data; name=\"a\"; filename=\"b\"; filename*=UTF-8''c",
                "x",
            ),
        ),
        (
            "escapes",
            one("Content-Disposition: form-data; name=\"a\\\"b\"", "x"),
        ),
        ("two dispositions", one(&format!("{named}\r\n{named}"), "x")),
        ("folded", one(&format!("{named};\r\n filename=\"x\""), "x")),
        (
            "encoded",
            one(&format!("{named}\r\nContent-Transfer-Encoding: base64"), "eA=="),
        ),
        (
            "parts in parts",
            one(
                &format!("{named}\r\nContent-Type: multipart/mixed; boundary=b"),
                "x",
            ),
        ),
        (
            "not JSON",
            one(&format!("{named}\r\nContent-Type: application/json"), "{"),
        ),
    ] {
        assert!(read(MULTIPART, body).is_err(), "{what}");
    }
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=\"\"",
        "multipart/mixed; boundary=XyZ",
        "multipart/form-data; boundary=XyZ; boundary=a",
    ] {
        let read = read(kind, one(named, "x"));
        // What is no form of parts is a file, which somebody has to read.
        assert!(
            read.is_err() || read.is_ok_and(|body| body.attachments().len() == 1),
            "{kind}"
        );
    }
}

#[test]
fn a_content_type_must_not_contradict_the_endpoint() {
    let chat = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);
    let json = r#"{"model":"m","messages":[]}"#;
    for (kind, taken) in [
        (None, true),
        (Some("application/json; charset=utf-8"), true),
        (Some("application/x-www-form-urlencoded"), true),
        (Some(MULTIPART), false),
        (Some("application/x-ndjson"), false),
    ] {
        let read = decode_as(chat, kind, json.into(), &Limits::default());
        assert_eq!(read.is_ok(), taken, "{kind:?}");
        if let Err(error) = read {
            assert_eq!(error.status(), 415);
        }
    }
    assert_eq!(
        decode_as(ANY, None, "hello".into(), &Limits::default())
            .unwrap_err()
            .status(),
        415
    );
}

#[test]
fn an_upload_of_requests_is_read_line_by_line() {
    let endpoint = Endpoint::new(Dialect::OpenaiFiles, Operation::Upload);
    let line = r#"{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"my key"}]}}"#;
    let body = format!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n{line}\n{line}\r\n--XyZ--\r\n"
    );
    let read = decode_as(endpoint, Some(MULTIPART), body.clone().into(), &Limits::default()).unwrap();
    let found = read
        .segments()
        .iter()
        .filter(|s| s.text.as_str() == "my key" && s.role == Role::User)
        .count();
    assert_eq!(found, 2);
    assert_eq!(read.attachments().len(), 0);
    let place = "form:file/line:1/body/messages/0/content";
    assert_eq!(put(&read, place, "[K]").matches("my key").count(), 1);
}

/// Mistral's batches name the endpoint themselves, not in each line.
#[test]
fn a_line_without_a_url_has_the_roles_of_its_body() {
    let endpoint = Endpoint::new(Dialect::OpenaiFiles, Operation::Upload);
    let body = format!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n{}\n--XyZ--\r\n",
        r#"{"custom_id":"1","body":{"messages":[{"role":"user","content":"my key"}]}}"#
    )
    .replace("\n--XyZ--", "\r\n--XyZ--");
    let read = decode_as(endpoint, Some(MULTIPART), body.into(), &Limits::default()).unwrap();
    let found = read.segments().iter().find(|s| s.text.as_str() == "my key");
    assert_eq!(found.map(|s| s.role), Some(Role::User));
}

#[test]
fn a_file_in_a_line_is_taken_out_where_it_stands() {
    let endpoint = Endpoint::new(Dialect::OpenaiResponses, Operation::Upload);
    let line = r#"{"url":"/v1/responses","body":{"input":[{"role":"user","content":[PART]}]}}"#;
    let picture = r#"{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}"#;
    let note = r#"{"type":"input_text","text":"[file removed by Cordon: it held [X_1]]"}"#;
    let form = |part: &str| {
        format!(
            "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n{}\n{}\r\n--XyZ--\r\n",
            line.replace("PART", r#"{"type":"input_text","text":"hi"}"#),
            line.replace("PART", part),
        )
    };
    let mut read = decode_as(
        endpoint,
        Some(MULTIPART),
        form(picture).into(),
        &Limits::default(),
    )
    .unwrap();
    read.read_out(0, vec![("x.png".to_owned(), "ab".into())]);
    assert_eq!(put(&read, "file:x.png", "[X_1]"), form(note));
}

#[test]
fn what_is_said_in_a_parts_headers_is_a_text() {
    let part = |header: &str| {
        format!(
            "--XyZ\r\nContent-Disposition: form-data; name=\"prompt\"\r\n{header}\r\n\r\nx\r\n--XyZ--\r\n"
        )
    };
    for (header, place, text) in [
        (
            "Content-Type: text/plain; note=\"my key\"",
            "form:header:content-type",
            " text/plain; note=\"my key\"",
        ),
        ("Content-Length: my key", "form:header:content-length", " my key"),
    ] {
        let body = read(MULTIPART, part(header)).unwrap();
        assert!(texts(&body).contains(&(place, text)), "{header}");
    }
    for plain in ["Content-Type: text/plain; charset=utf-8", "Content-Length: 1"] {
        let body = read(MULTIPART, part(plain)).unwrap();
        assert_eq!(texts(&body), [("form:prompt", "x")], "{plain}");
    }
}

#[test]
fn a_character_set_in_which_the_words_are_others_is_refused() {
    let chat = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);
    let json = r#"{"messages":[{"role":"user","content":"+AGoALgBrAGkAbQBA-example.com"}]}"#;
    for (endpoint, kind, body) in [
        (chat, "application/json", json),
        (ANY, "application/x-ndjson", json),
        (ANY, "application/x-www-form-urlencoded", "q=a"),
        (ANY, "text/plain", "a"),
    ] {
        for (charset, taken) in [
            ("utf-8", true),
            ("ISO-8859-1", true),
            ("utf-7", false),
            ("cp037", false),
        ] {
            let kind = format!("{kind}; charset={charset}");
            let read = decode_as(endpoint, Some(&kind), body.into(), &Limits::default());
            assert_eq!(
                read.map_err(|error| error.status()).err(),
                (!taken).then_some(415),
                "{kind}"
            );
        }
    }
}

/// A field's name and text, which may be anything.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{1,8}", ".{0,24}"), 1..6)
}

proptest! {
    #[test]
    fn a_form_keeps_what_no_edit_touches(fields in fields(), put_in in ".{0,16}") {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let form: Vec<String> = fields.iter().map(|(name, text)| format!("{name}={}", encode(text))).collect();
        let form = form.join("&");
        let body = read("application/x-www-form-urlencoded", form.clone()).unwrap();
        prop_assert_eq!(body.splice(&[]).unwrap(), form.as_bytes());
        let edited = replaced(&body, &put_in).unwrap();
        if let Ok(again) = read("application/x-www-form-urlencoded", edited) {
            prop_assert!(texts(&again).iter().all(|(_, text)| put_in.contains(text)));
        }
        for (index, segment) in body.segments().iter().enumerate().filter(|(_, s)| !s.place.as_str().starts_with("key:")) {
            let edit = Edit { segment: index, span: 0..segment.text.len(), replacement: put_in.clone() };
            let edited = body.splice(&[edit]).unwrap();
            let (a, b) = (form.split('&'), String::from_utf8(edited.to_vec()).unwrap());
            prop_assert_eq!(a.zip(b.split('&')).filter(|(a, b)| a != b).count() <= 1, true);
        }
    }

    #[test]
    fn parts_keep_what_no_edit_touches(fields in fields(), put_in in "[^-]{0,16}") {
        let part = |(name, text): &(String, String)| format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        let form = fields.iter().map(part).collect::<String>() + "--XyZ--\r\n";
        let body = read(MULTIPART, form.clone()).unwrap();
        prop_assert_eq!(body.splice(&[]).unwrap(), form.as_bytes());
        for (index, segment) in body.segments().iter().enumerate().filter(|(_, s)| !s.place.as_str().starts_with("key:")) {
            let edit = Edit { segment: index, span: 0..segment.text.len(), replacement: put_in.clone() };
            let again = read(MULTIPART, body.splice(&[edit]).unwrap());
            prop_assert!(again.is_ok());
            let whole = again.unwrap();
            let walked = put_in.is_empty() || put_in.trim().starts_with(['{', '[']);
            let kept = texts(&whole).contains(&(segment.place.as_str(), put_in.as_str()));
            prop_assert!(walked || kept);
        }
    }

    #[test]
    fn no_bytes_make_a_container_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..6_usize) {
        let kinds = [MULTIPART, "application/x-www-form-urlencoded", "application/x-ndjson", "text/plain", "application/json", "image/png"];
        if let Ok(body) = read(kinds[kind], bytes.clone()) {
            prop_assert_eq!(&body.splice(&[]).unwrap()[..], &bytes[..]);
        }
    }
}
