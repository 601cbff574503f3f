//! Any bytes as a streamed reply of any dialect, in two pieces: no panic; without changes the same bytes
//! come out, up to an event that was cut off; and no byte stream makes the translators panic.
//!
//! `cargo +nightly fuzz run stream` in this folder's parent; the golden streams under
//! `tests/corpus/streams` and `tests/translate` are good seeds.

#![no_main]

use cordon_domain::Dialect;
use cordon_wire::{Channel, Endpoint, Limits, Operation, Rewrite, StreamEditor, StreamTranslator};
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

fuzz_target!(|input: &[u8]| {
    let Some((&[first, second], stream)) = input.split_first_chunk() else {
        return;
    };
    let dialect = match first % 4 {
        0 => Dialect::OpenaiChat,
        1 => Dialect::OpenaiResponses,
        2 => Dialect::AnthropicMessages,
        _ => Dialect::Unknown,
    };
    let endpoint = Endpoint::new(dialect, Operation::Generate);
    let (head, tail) = stream.split_at(usize::from(second).min(stream.len()));

    let mut editor = StreamEditor::new(endpoint, &Limits::default());
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
