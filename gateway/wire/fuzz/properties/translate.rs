//! Any bytes as a request or a reply that is put into another dialect: no panic, and what comes out is JSON.

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_wire::{Asked, Endpoint, Operation, reply_from_chat, request_to_chat};

/// Paths that make a difference.
const PATHS: &[&str] = &[
    "/v1/chat",
    "/api/generate",
    "/v1internal:generateContent?alt=sse",
    "/v2/chat",
];

/// The first byte picks the dialect and the path.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, body)) = input.split_first() else {
        return;
    };
    let dialects = Dialect::BUILT_IN.len();
    let dialect = Dialect::BUILT_IN[usize::from(first) % dialects];
    let path = PATHS[usize::from(first) / dialects % PATHS.len()];
    let body = Bytes::copy_from_slice(body);
    for operation in [Operation::Generate, Operation::CountTokens] {
        let asked = Asked::at(Endpoint::new(dialect, operation), path);
        let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        if let Ok(chat) = request_to_chat(asked, &body, "model") {
            assert!(is_json(&chat) || !is_json(&body));
        }
        if let Ok(reply) = reply_from_chat(asked, &body, "model") {
            assert!(is_json(&reply) || reply == body);
        }
    }
}
