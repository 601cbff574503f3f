//! Protobuf without its schema, bare and in envelopes: what is read, and what an edit leaves alone.

use std::io::Write as _;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice as _};
use cordon_wire::{
    Channel, Endpoint, Framing, Limits, Operation, RequestBody, Rewrite, StreamEditor, decode_as,
    decode_reply_of,
};
use proptest::prelude::*;

fn endpoint() -> Endpoint {
    Endpoint::new(Dialect::Unknown, Operation::Manage)
}

fn decode(kind: &str, body: &[u8]) -> RequestBody {
    decode_as(
        endpoint(),
        Some(kind),
        Bytes::copy_from_slice(body),
        &Limits::default(),
    )
    .expect("a body that is read")
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

fn envelope(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[flags][..], &length.to_be_bytes(), message].concat()
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(message).expect("written to memory");
    out.finish().expect("written to memory")
}

/// A message two deep around `text`, between a number, a group and fields of fixed size.
fn around(text: &str) -> Vec<u8> {
    let inner = [
        &[0x08, 0x96, 0x01][..],
        &bytes(2, text.as_bytes()),
        &[0x1d, 1, 2, 3, 4],
    ]
    .concat();
    [
        &[0x08, 0x01][..],
        &bytes(3, &bytes(1, &inner)),
        // Group 5 with a number in it.
        &[0x2b, 0x08, 0x07, 0x2c],
        &bytes(9, &[0xff, 0xfe, 0x80]),
    ]
    .concat()
}

fn replaced(body: &RequestBody, old: &str, new: &str) -> Bytes {
    let edits: Vec<Edit> = body
        .segments()
        .iter()
        .enumerate()
        .filter_map(|(segment, found)| {
            let start = found.text.find(old)?;
            Some(Edit {
                segment,
                span: start..start + old.len(),
                replacement: new.to_owned(),
            })
        })
        .collect();
    assert!(!edits.is_empty(), "{old} is in a segment");
    body.splice(&edits).expect("edits that fit")
}

#[test]
fn a_text_two_messages_deep_is_read_and_the_lengths_around_an_edit_are_set_right() {
    let long = "x".repeat(200);
    for new in ["", "Ed", long.as_str()] {
        let body = decode("application/proto", &around("Hello Jane Doe"));
        let texts: Vec<_> = body
            .segments()
            .iter()
            .map(|s| (s.place.as_str(), s.text.as_str()))
            .collect();
        assert!(texts.contains(&("/3/1/2", "Hello Jane Doe")), "{texts:?}");
        assert_eq!(replaced(&body, "Jane Doe", new), around(&format!("Hello {new}")));
    }
}

#[test]
fn what_looks_like_a_text_and_is_a_message_is_read_as_both() {
    // The tag of field 1 is a line feed, and 50 is `2`: read as a text alone, a card would follow a digit.
    let card = format!(
        "4111 1111 1111 1111{}",
        " and some more words that follow"[..31].to_owned()
    );
    assert_eq!(card.len(), 50);
    let body = decode("application/x-protobuf", &bytes(7, &bytes(1, card.as_bytes())));
    let texts: Vec<_> = body.segments().iter().map(|s| s.text.as_str()).collect();
    assert_eq!(texts, [format!("\n2{card}").as_str(), &card]);
    let expected = bytes(
        7,
        &bytes(1, card.replace("4111 1111 1111 1111", "[CARD]").as_bytes()),
    );
    assert_eq!(replaced(&body, "4111 1111 1111 1111", "[CARD]"), expected);
}

#[test]
fn json_within_a_field_is_read_and_written_as_json() {
    let body = decode("application/proto", &bytes(1, br#"{"q":"Jane \"J\" Doe"}"#));
    assert_eq!(
        replaced(&body, "Jane", "\"E\""),
        bytes(1, br#"{"q":"\"E\" \"J\" Doe"}"#)
    );
}

#[test]
fn envelopes_keep_their_flags_and_a_compressed_message_is_sent_uncompressed_once_edited() {
    let compressed = [
        envelope(1, &gzip(&around("Jane Doe"))),
        envelope(0, &around("second")),
    ]
    .concat();
    for kind in [
        "application/grpc",
        "application/connect+proto",
        "application/grpc-web+proto",
    ] {
        let body = decode(kind, &compressed);
        assert_eq!(body.splice(&[]).expect("nothing to edit"), compressed);
        let expected = [envelope(0, &around("Ed")), envelope(0, &around("second"))].concat();
        assert_eq!(replaced(&body, "Jane Doe", "Ed"), expected);
    }
    let ended = [
        envelope(0, br#"{"a":"Jane"}"#),
        envelope(2, br#"{"metadata":{}}"#),
    ]
    .concat();
    let body = decode("application/connect+json", &ended);
    let expected = [
        envelope(0, br#"{"a":"Edward"}"#),
        envelope(2, br#"{"metadata":{}}"#),
    ]
    .concat();
    assert_eq!(replaced(&body, "Jane", "Edward"), expected);
}

#[test]
fn replies_are_read_like_requests_and_edited_message_by_message() {
    let came = [
        envelope(0, &around("[PERSON_1]")),
        envelope(0x80, b"grpc-status: 0\r\n"),
    ]
    .concat();
    let reply = decode_reply_of(
        endpoint(),
        "application/grpc-web+proto",
        came.into(),
        &Limits::default(),
    )
    .expect("a reply that is read");
    let segment = reply
        .segments()
        .iter()
        .position(|s| s.text.as_str() == "[PERSON_1]")
        .expect("the text");
    let edit = Edit {
        segment,
        span: 0..10,
        replacement: "Jane Doe".into(),
    };
    let expected = [
        envelope(0, &around("Jane Doe")),
        envelope(0x80, b"grpc-status: 0\r\n"),
    ]
    .concat();
    assert_eq!(reply.splice(&[edit]).expect("an edit that fits"), expected);
}

#[test]
fn what_is_cut_bloated_or_in_another_encoding_is_refused() {
    let refused = |kind: &str, body: &[u8], limits: &Limits| {
        decode_as(endpoint(), Some(kind), Bytes::copy_from_slice(body), limits)
            .expect_err("refused")
            .status()
    };
    let limits = Limits::default();
    assert_eq!(
        refused("application/grpc", &envelope(0, &around("a"))[..9], &limits),
        400
    );
    assert_eq!(refused("application/grpc", &envelope(4, b""), &limits), 400);
    assert_eq!(
        refused("application/grpc", &envelope(1, b"not gzip"), &limits),
        400
    );
    assert_eq!(refused("application/proto", b"\x0a\x7fshort", &limits), 400);
    assert_eq!(
        refused(
            "application/proto",
            &bytes(1, b"Jane Doe lives in K\xf6ln"),
            &limits
        ),
        400
    );
    let bomb = envelope(1, &gzip(&bytes(1, &vec![b'a'; 1 << 20])));
    let small = Limits {
        max_body: 1 << 16,
        ..limits
    };
    assert_eq!(refused("application/grpc", &bomb, &small), 413);
    // Within the limit on bytes, and out of proportion.
    assert_eq!(refused("application/grpc", &bomb, &limits), 413);
    let patient = Limits {
        max_ratio: 2000,
        ..limits
    };
    assert!(decode_as(endpoint(), Some("application/grpc"), bomb.into(), &patient).is_ok());
    let mut deep = bytes(1, b"\x01\x02\x03");
    for _ in 0..200 {
        deep = bytes(1, &deep);
    }
    assert_eq!(refused("application/proto", &deep, &limits), 400);
}

/// Puts one name back where its placeholder stands, also where it comes in pieces.
#[derive(Default)]
struct PutBack(std::collections::HashMap<String, String>);

impl Rewrite for PutBack {
    fn whole(&mut self, text: &str, _arguments: bool) -> String {
        text.replace("[PERSON_1]", "Jane Doe")
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        let held = self.0.remove(channel.as_str()).unwrap_or_default();
        let mut text = self.whole(&(held + piece), arguments);
        if let Some(open) = text.rfind('[') {
            self.0.insert(channel.as_str().to_owned(), text.split_off(open));
        }
        text
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.0.contains_key(channel.as_str())
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.0.remove(channel.as_str()).unwrap_or_default()
    }
}

#[test]
fn a_placeholder_that_comes_in_several_messages_is_put_back_in_any_split_of_the_stream() {
    let stream = |texts: [&str; 3]| {
        let mut out: Vec<u8> = texts.iter().flat_map(|text| envelope(0, &around(text))).collect();
        out.extend(envelope(2, br#"{"metadata":{}}"#));
        out
    };
    let came = stream(["Dear [PER", "SON_", "1], hello"]);
    let framing = Framing::of(endpoint(), "application/connect+proto").expect("a stream");
    for split in 1..came.len() {
        let mut editor = StreamEditor::framed(endpoint(), framing, &Limits::default());
        let mut names = PutBack::default();
        let mut out = Vec::new();
        for part in came.chunks(split) {
            out.extend_from_slice(&editor.push(part, &mut names).expect("a stream within limits"));
        }
        out.extend_from_slice(&editor.finish(&mut names).expect("a whole stream"));
        assert!(editor.complete());
        let told = stream_text(&out);
        assert_eq!(told, "Dear Jane Doe, hello", "cut every {split} bytes");
    }
}

#[test]
fn a_message_that_is_compressed_otherwise_is_put_right_where_the_caller_of_ours_can_read_it() {
    // Stands for any compression but gzip.
    let turned = |message: &[u8]| message.iter().rev().copied().collect::<Vec<u8>>();
    let came = [
        envelope(1, &turned(&around("[PERSON_1]"))),
        envelope(1, &turned(&around("nobody"))),
        envelope(1, b"broken"),
    ];
    let framing = Framing::of(endpoint(), "application/grpc").expect("a stream");
    let edited = |unpacks: bool| {
        let mut editor = StreamEditor::framed(endpoint(), framing, &Limits::default());
        if unpacks {
            editor = editor.unpacking(Box::new(move |message| {
                (message != "broken").then(|| turned(&message).into())
            }));
        }
        let mut names = PutBack::default();
        let mut out = editor.push(&came.concat(), &mut names).unwrap().to_vec();
        out.extend_from_slice(&editor.finish(&mut names).unwrap());
        out
    };
    assert_eq!(edited(false), came.concat());
    // What needs no edit, or cannot be read, stays as it came.
    let expected = [envelope(0, &around("Jane Doe")), came[1].clone(), came[2].clone()];
    assert_eq!(edited(true), expected.concat());
}

/// The texts at `/3/1/2` of a stream's messages, one behind another.
fn stream_text(stream: &[u8]) -> String {
    let read = decode("application/connect+proto", stream);
    let texts = read
        .segments()
        .iter()
        .filter(|segment| segment.place.as_str() == "/3/1/2");
    texts.map(|segment| segment.text.as_str().to_owned()).collect()
}

/// A string whose letters a reader without the schema can take for numbers of eight bytes, each behind an `A`.
#[test]
fn words_that_look_like_numbers_are_read() {
    let words = "\u{10}\u{1}AThe key A of the pAlant is hAunter2xx";
    let body = decode("application/proto", &bytes(1, words.as_bytes()));
    let found = body
        .segments()
        .iter()
        .any(|segment| segment.text.as_str() == words);
    assert!(found, "{:?}", body.segments());
    // True numbers of eight bytes are none.
    let times = [
        &[0x09][..],
        &1_764_300_000_123_456_789_u64.to_le_bytes(),
        &[0x11],
        &7_u64.to_le_bytes(),
    ]
    .concat();
    let body = decode("application/proto", &bytes(1, &times));
    assert!(body.segments().is_empty());
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic_and_go_on_as_they_came(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        kind in prop_oneof![
            Just("application/proto"), Just("application/grpc"), Just("application/connect+json"),
        ],
    ) {
        let body = Bytes::from(body);
        if let Ok(read) = decode_as(endpoint(), Some(kind), body.clone(), &Limits::default()) {
            prop_assert_eq!(read.splice(&[]).expect("nothing to edit"), body);
        }
    }

    #[test]
    fn an_edited_text_is_read_again_where_it_was(
        before in "[a-zäß ]{0,40}", after in "[A-Z ]{0,200}", new in "\\PC{0,300}",
        depth in 1_usize..12,
    ) {
        let build = |secret: &str| {
            let mut message = bytes(2, format!("{before}#{secret}#{after}").as_bytes());
            message.extend_from_slice(&[0x08, 0x05]);
            for number in 0..depth {
                message = bytes(number as u64 + 1, &message);
                message.extend_from_slice(&[0x11, 1, 2, 3, 4, 5, 6, 7, 0xff]);
            }
            envelope(0, &message)
        };
        let body = decode("application/grpc", &build("4111 1111"));
        prop_assert_eq!(replaced(&body, "#4111 1111#", &format!("#{new}#")), build(&new));
    }
}
