//! Any bytes as a streamed reply, in any dialect and framing: no panic, the same outcome in whatever pieces they come, and
//! without changes the same bytes, up to an event that was cut off.

use cordon_domain::Dialect;
use cordon_wire::{
    Asked, Endpoint, EventMessages, Framing, Limits, Operation, Spoken, StreamEditor, StreamTranslator,
};

use super::same::Same;

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

/// The first byte picks dialect and framing, the second how long the pieces are.
pub(crate) fn run(input: &[u8]) {
    let Some((&[first, second], stream)) = input.split_first_chunk() else {
        return;
    };
    let dialects = Dialect::BUILT_IN.len();
    let dialect = Dialect::BUILT_IN[usize::from(first) % dialects];
    let endpoint = Endpoint::new(dialect, Operation::Generate);
    let sealed;
    let (framing, stream) = match usize::from(first) / dialects {
        0..4 => (Framing::Events, stream),
        4 | 5 => (Framing::Lines, stream),
        6 | 7 => (Framing::Array, stream),
        8 => (Framing::JsonEnvelopes, stream),
        9 => (Framing::ProtobufEnvelopes, stream),
        // Checksums are not guessed, so half of the messages get theirs.
        _ if second % 2 == 0 => (Framing::Messages, stream),
        _ => {
            sealed = stream
                .chunks(usize::from(second) + 1)
                .flat_map(message)
                .collect::<Vec<_>>();
            (Framing::Messages, sealed.as_slice())
        }
    };
    let pieces = || stream.chunks(usize::from(second % 32) + 1);

    let edited = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut editor = StreamEditor::framed(endpoint, framing, &Limits::default());
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(editor.push(piece, &mut Same)?);
        }
        out.extend(editor.finish(&mut Same)?);
        Ok::<_, cordon_wire::StreamError>((out, editor.complete(), editor.failed(), editor.usage()))
    };
    let whole = edited(&mut std::iter::once(stream));
    if let Ok((out, ..)) = &whole {
        assert!(stream.starts_with(out), "a byte is not what it was");
    }
    assert_eq!(edited(&mut pieces()), whole, "pieces make a difference");

    let messages = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut events = EventMessages::new(&Limits::default());
        pieces
            .map(|piece| events.push(piece))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat())
    };
    assert_eq!(messages(&mut pieces()), messages(&mut std::iter::once(stream)));

    for spoken in [Spoken::Chat, Spoken::Messages, Spoken::Gemini] {
        let translated = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut translator = StreamTranslator::new(Asked::at(endpoint, "/"), "model").spoken(spoken, 0);
            let mut out = Vec::new();
            for piece in pieces {
                out.extend(translator.push(piece)?);
            }
            out.extend(translator.close()?);
            out.extend(translator.finish()?);
            Ok::<_, cordon_wire::TranslateError>(out.len())
        };
        assert_eq!(
            translated(&mut pieces()).is_ok(),
            translated(&mut std::iter::once(stream)).is_ok()
        );
    }
}
