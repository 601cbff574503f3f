//! What ends a stream that cannot go on, in its framing and dialect.

use bytes::Bytes;
use cordon_domain::{Dialect, Fault, Refusal};
use serde_json::json;

use super::{Facts, Framing};
use crate::{
    envelopes, event_stream,
    refusal::{bedrock_type, error_object, rpc_name},
};

/// Bytes that end a stream of events with an error in the dialect: the upstream died in the midst of it, or the
/// rest of the reply is refused. No `[DONE]` or `message_stop` follows, so nobody takes the reply for
/// a whole one.
///
/// They start with a blank line, which ends an event that was left open and is nothing otherwise.
#[must_use]
pub fn error_event(dialect: Dialect, refusal: &Refusal) -> Bytes {
    event(dialect, refusal, &Facts::default())
}

/// The same in any framing; of an array, whether it is open and holds an item.
pub(super) fn error_frame(
    dialect: Dialect,
    framing: Framing,
    (open, has_items): (bool, bool),
    refusal: &Refusal,
    facts: &Facts,
) -> Bytes {
    let object = || error_object(dialect, refusal);
    match framing {
        Framing::Events => event(dialect, refusal, facts),
        Framing::Lines => [object().as_ref(), b"\n"].concat().into(),
        Framing::Array => {
            let before: &[u8] = match (open, has_items) {
                (true, true) => b",",
                (true, false) => b"",
                (false, _) => b"[",
            };
            [before, &object(), b"]"].concat().into()
        }
        // What ends a stream of Connect; gRPC takes a stream without its trailers for broken off.
        Framing::ProtobufEnvelopes | Framing::JsonEnvelopes => {
            let error = json!({"error": {
                "code": rpc_name(refusal.fault).0,
                "message": refusal.message,
            }})
            .to_string();
            envelopes::end(error.as_bytes()).into()
        }
        Framing::Messages => {
            let mut out = Vec::new();
            let payload = json!({"message": refusal.message}).to_string();
            event_stream::exception(
                bedrock_type(refusal.fault, refusal.status),
                payload.as_bytes(),
                &mut out,
            );
            out.into()
        }
    }
}

fn event(dialect: Dialect, refusal: &Refusal, facts: &Facts) -> Bytes {
    let mut out = b"\n\n".to_vec();
    match dialect {
        Dialect::OpenaiResponses => {
            out.extend_from_slice(b"event: response.failed\ndata: ");
            out.extend_from_slice(response_failed(refusal, facts).to_string().as_bytes());
        }
        Dialect::AnthropicMessages => {
            out.extend_from_slice(b"event: error\ndata: ");
            out.extend_from_slice(&error_object(dialect, refusal));
        }
        // Its streams have no other way to tell of an error than an end with that reason.
        Dialect::Cohere => {
            let end = json!({
                "type": "message-end",
                "delta": {"finish_reason": "ERROR", "error": refusal.message},
            });
            out.extend_from_slice(b"event: message-end\ndata: ");
            out.extend_from_slice(end.to_string().as_bytes());
        }
        // A message of JSON-RPC.
        Dialect::Mcp => {
            out.extend_from_slice(b"event: message\ndata: ");
            out.extend_from_slice(&error_object(dialect, refusal));
        }
        _ => {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&error_object(dialect, refusal));
        }
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The dialect's codes are a closed list. Clients re-send on all of them but `invalid_prompt`, so
/// that one stands wherever sending again would end the same way.
fn response_failed(refusal: &Refusal, facts: &Facts) -> serde_json::Value {
    let code = match refusal.fault {
        Fault::Upstream | Fault::Internal => "server_error",
        _ => "invalid_prompt",
    };
    let exchange = refusal.exchange.to_string();
    let id = facts
        .response
        .clone()
        .unwrap_or_else(|| format!("resp_{}", exchange.replace('-', "")));
    json!({
        "type": "response.failed",
        "sequence_number": facts.sequence.map_or(0, |last| last.saturating_add(1)),
        "response": {
            "id": id,
            "object": "response",
            "created_at": 0,
            "status": "failed",
            "error": {"code": code, "message": refusal.message},
            "incomplete_details": null,
            "instructions": null,
            "metadata": {"cordon_code": refusal.code, "cordon_exchange": exchange},
            "model": facts.model.as_deref().unwrap_or("unknown"),
            "output": [],
            "parallel_tool_calls": true,
            "temperature": null,
            "tool_choice": "auto",
            "tools": [],
            "top_p": null,
            "usage": null,
        },
    })
}
