//! Any bytes as a body of any content type, and as headers, path and query: without edits the same comes out, whole
//! segments can be replaced unless that would make another boundary, and what was put in is read again.

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice as _, SpliceError};
use cordon_wire::{
    Endpoint, Envelope, Limits, Operation, decode_as, decode_reply_of, endpoint, model_in_path,
};

const PUT_IN: &str = "⟦\"\\\n&=";

/// Each with an endpoint that takes it.
const KINDS: &[(&str, Dialect)] = &[
    ("multipart/form-data; boundary=x", Dialect::Unknown),
    ("multipart/form-data; boundary=x", Dialect::OpenaiFiles),
    ("multipart/form-data; boundary=x", Dialect::OpenaiAudio),
    ("application/x-www-form-urlencoded", Dialect::Unknown),
    ("application/x-ndjson", Dialect::Unknown),
    ("application/json", Dialect::Unknown),
    ("text/plain", Dialect::Unknown),
    ("image/png", Dialect::Unknown),
    ("application/proto", Dialect::Unknown),
    ("application/grpc", Dialect::Unknown),
    ("application/connect+json", Dialect::Unknown),
];

/// The first byte picks the content type.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, body)) = input.split_first() else {
        return;
    };
    let (kind, dialect) = KINDS[usize::from(first) % KINDS.len()];
    let endpoint = Endpoint::new(dialect, Operation::Upload);
    let body = Bytes::copy_from_slice(body);
    let limits = Limits::default();
    let read = |body: Bytes| decode_as(endpoint, Some(kind), body, &limits).ok();
    if let Some(decoded) = read(body.clone()) {
        assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
        let edits: Vec<Edit> = (decoded.segments().iter().enumerate())
            .map(|(segment, found)| Edit {
                segment,
                span: 0..found.text.len(),
                replacement: PUT_IN.to_owned(),
            })
            .collect();
        match decoded.splice(&edits) {
            Ok(edited) if kind.starts_with("text") && !edits.is_empty() => {
                let again = read(edited).expect("a text stays one");
                assert!(again.segments().iter().all(|found| found.text.as_str() == PUT_IN));
            }
            Ok(_) | Err(SpliceError::Boundary) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if let Ok(decoded) = decode_reply_of(endpoint, kind, body.clone(), &limits) {
        assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
    }
    if let Ok(text) = std::str::from_utf8(&body) {
        head(text, &body);
    }
}

fn head(text: &str, value: &[u8]) {
    for method in ["GET", "POST"] {
        let _ = (endpoint(method, Some(text), text), endpoint(method, None, text));
    }
    let _ = model_in_path(None, text);
    let envelope = Envelope::new(&[("x-a".to_owned(), value.to_vec())], text);
    let (headers, target) = envelope.splice(&[]).expect("no edits always fit");
    assert_eq!((headers[0].1.as_slice(), target.as_str()), (value, text));
    for (segment, found) in envelope.segments().iter().enumerate() {
        let edit = Edit {
            segment,
            span: 0..found.text.len(),
            replacement: PUT_IN.to_owned(),
        };
        let (headers, target) = envelope.splice(&[edit]).expect("a whole segment fits");
        assert!(!headers[0].0.contains('\n') && (headers[0].1 == value || !headers[0].1.contains(&b'\n')));
        assert!(target == text || !target.is_empty());
    }
}
