//! Any bytes as messages of a WebSocket, from either end: no panic, what is not edited goes on as it came, and what
//! is said twice over HTTP or with what was said before stays JSON.

use bytes::Bytes;
use cordon_domain::{Dialect, Splice as _};
use cordon_wire::{
    Earlier, Endpoint, Limits, Operation, StreamEditor, decode_message, error_message, message_to_body,
};

use super::same::Same;

/// The first byte picks the dialect; messages are set apart by line feeds, which JSON can do without.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, messages)) = input.split_first() else {
        return;
    };
    let dialect = [Dialect::OpenaiResponses, Dialect::OpenaiRealtime][usize::from(first) % 2];
    let endpoint = Endpoint::new(dialect, Operation::Generate);
    let limits = Limits::default();
    let mut editor = StreamEditor::new(endpoint, &limits);
    let mut earlier = Earlier::default();
    let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    for message in messages.split(|byte| *byte == b'\n') {
        let message = Bytes::copy_from_slice(message);
        if let Ok(read) = decode_message(endpoint, message.clone(), &limits) {
            assert_eq!(read.body.splice(&[]).expect("no edits always fit"), message);
            if let Ok(body) = message_to_body(&message, ()) {
                assert!(is_json(&body));
            }
            if let Some(joined) = read
                .previous
                .and_then(|previous| earlier.join(&message, &previous))
            {
                assert!(is_json(&joined));
            }
        }
        assert!(is_json(&error_message(dialect, 400, &message, None)));
        earlier.remember(&message, &message);
        let Ok(on) = editor.message(message.clone(), &mut Same) else {
            return;
        };
        assert_eq!(on, [message]);
    }
}
