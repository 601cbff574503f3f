//! Any bytes as a streamed reply of any dialect, in two pieces: no panic; without changes the same bytes
//! come out, up to an event that was cut off; and no byte stream makes the translators panic.
//!
//! `cargo +nightly fuzz run stream` in this folder's parent; the golden streams under
//! `tests/corpus/streams` and `tests/translate` are good seeds.

#![no_main]

use cordon_domain::Dialect;
use cordon_wire::{Channel, Endpoint, Framing, Limits, Operation, Rewrite, StreamEditor, StreamTranslator};
use libfuzzer_sys::fuzz_target;

/// Changes nothing, and keeps nothing back.
struct Same;

impl Rewrite for Same {
    fn whole(&mut self, text: &str, _: bool) -> String {
        text.to_owned()
    }

    fn push(&mut self, _: &Channel, piece: &str, _: bool) -> String {
        piece.to_owned()
    }

    fn holds(&self, _: &Channel) -> bool {
        false
    }

    fn finish(&mut self, _: &Channel) -> String {
        String::new()
    }
}

/// A message of a binary event stream around a payload.
fn message(payload: &[u8]) -> Vec<u8> {
    let headers = b"\x0b:event-type\x07\x00\x05chunk";
    let total = 16 + headers.len() + payload.len();
    let mut out = (total as u32).to_be_bytes().to_vec();
    out.extend((headers.len() as u32).to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((&[first, second], stream)) = input.split_first_chunk() else {
        return;
    };
    let dialects = Dialect::BUILT_IN.len();
    let dialect = Dialect::BUILT_IN[usize::from(first) % dialects];
    let endpoint = Endpoint::new(dialect, Operation::Generate);
    let sealed;
    let (framing, stream) = match usize::from(first) / dialects % 5 {
        0 | 1 => (Framing::Events, stream),
        2 => (Framing::Lines, stream),
        3 => (Framing::Array, stream),
        // Checksums are not guessed, so half of the messages get theirs.
        _ if second % 2 == 0 => (Framing::Messages, stream),
        _ => {
            sealed = message(stream);
            (Framing::Messages, sealed.as_slice())
        }
    };
    let (head, tail) = stream.split_at(usize::from(second).min(stream.len()));

    let mut editor = StreamEditor::framed(endpoint, framing, &Limits::default());
    let mut edit = || {
        let mut out = editor.push(head, &mut Same)?.to_vec();
        out.extend(editor.push(tail, &mut Same)?);
        out.extend(editor.finish(&mut Same)?);
        Ok::<_, cordon_wire::StreamError>(out)
    };
    if let Ok(out) = edit() {
        assert!(stream.starts_with(&out));
    }

    let mut translator = StreamTranslator::new(endpoint, "model");
    if translator.push(head).is_ok() && translator.push(tail).is_ok() {
        let _ = translator.finish();
    }
});
