//! Any bytes as a body of any dialect: no panic, the same bytes without edits, and a body that still
//! decodes to the edited texts after each segment was replaced.
//!
//! `cargo +nightly fuzz run decode -- -dict=json.dict` in this folder's parent; the golden bodies under
//! `tests/corpus` are good seeds.

#![no_main]

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice};
use cordon_wire::{
    Endpoint, Envelope, Limits, Operation, decode, decode_as, decode_line, decode_reply, decode_reply_of, endpoint,
    model_in_path,
};
use libfuzzer_sys::fuzz_target;

const PUT_IN: &str = "⟦\"\\\n";

fuzz_target!(|input: &[u8]| {
    let Some((&first, body)) = input.split_first() else {
        return;
    };
    let dialect = Dialect::BUILT_IN[usize::from(first) % Dialect::BUILT_IN.len()];
    let at = Endpoint::new(dialect, Operation::Generate);
    let body = Bytes::copy_from_slice(body);
    if let Ok(decoded) = decode(at, body.clone(), &Limits::default()) {
        let again = check(&decoded, &body);
        let again = decode(at, again, &Limits::default());
        // Keys that all read the same after the edits are refused, and rightly.
        if let Ok(again) = again {
            assert!(again.segments().iter().all(|s| s.text.as_str() == PUT_IN));
        }
    }
    if let Ok(decoded) = decode_reply(at, body.clone(), &Limits::default()) {
        check(&decoded, &body);
    }
    if let Ok(decoded) = decode_reply_of(
        Endpoint::new(dialect, Operation::Manage),
        "",
        body.clone(),
        &Limits::default(),
    ) {
        assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
    }
    if let Ok(decoded) = decode_line(body.clone(), &Limits::default()) {
        check(&decoded, &body);
    }
    for kind in ["application/proto", "application/grpc", "application/connect+json"] {
        let at = Endpoint::new(Dialect::Unknown, Operation::Manage);
        if let Ok(decoded) = decode_as(at, Some(kind), body.clone(), &Limits::default()) {
            assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
            let whole = decoded.segments().iter().enumerate();
            let edits: Vec<Edit> = whole
                .map(|(segment, s)| Edit {
                    segment,
                    span: 0..s.text.len(),
                    replacement: PUT_IN.to_owned(),
                })
                .collect();
            decoded.splice(&edits).expect("whole segments always fit");
        }
    }
    if let Ok(text) = std::str::from_utf8(&body) {
        for method in ["GET", "POST"] {
            let _ = (endpoint(method, Some(text), text), endpoint(method, None, text));
        }
        let _ = model_in_path(None, text);
        let envelope = Envelope::new(&[("x-a".to_owned(), body.to_vec())], text);
        let edits: Vec<Edit> = envelope
            .segments()
            .iter()
            .enumerate()
            .map(|(segment, s)| Edit {
                segment,
                span: 0..s.text.len(),
                replacement: PUT_IN.to_owned(),
            })
            .collect();
        envelope.splice(&edits).expect("whole segments always fit");
    }
});

fn check(decoded: &dyn Splice, body: &Bytes) -> Bytes {
    assert_eq!(decoded.splice(&[]).expect("no edits always fit"), body);
    let edits: Vec<Edit> = decoded
        .segments()
        .iter()
        .enumerate()
        .map(|(segment, s)| Edit {
            segment,
            span: 0..s.text.len(),
            replacement: PUT_IN.to_owned(),
        })
        .collect();
    let edited = decoded.splice(&edits).expect("whole segments always fit");
    std::str::from_utf8(&edited).expect("edits keep a body UTF-8");
    edited
}
