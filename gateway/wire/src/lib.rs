//! What the providers speak: bodies into segments, edits back into the very bytes they came from.
//!
//! A body is scanned once ([`json`](crate::JsonError) is our own scanner, because an edit needs byte
//! spans, which no general parser hands out), every text in it becomes a [`cordon_domain::Segment`],
//! and [`cordon_domain::Splice`] puts edits back so that each byte that was not edited stays as it
//! was. Nothing here decides anything: which text is sensitive is the inspector's to say, what is
//! done about it is the policy's. There is no HTTP library here either; headers come as pairs.
//!
//! Absent on purpose: serialising a parsed body again. What leaves is what came, with edits.

mod limits;
pub use limits::Limits;

mod endpoint;
pub use endpoint::{Endpoint, KeyInQuery, Operation, endpoint, key_in_query, model_in_path};

mod shape;
pub use shape::{DialectFault, DialectFile, Shape};

mod catalogue;
pub use catalogue::Catalogue;

mod attachment;
pub use attachment::Attachment;

mod percent;

mod json;
pub use json::{JsonError, JsonFault};

mod protobuf;

mod envelopes;
pub use envelopes::EnvelopeCutter;

mod call;
pub use call::{Base64Reader, CallForm, is_text as is_base64_call};

mod request;
pub use request::{Container, DecodeError, RequestBody, decode, decode_as, decode_line, model_in_body};

mod reply;
pub use reply::{ReplyBody, Usage, decode_reply, decode_reply_of};

mod envelope;
pub use envelope::Envelope;

mod refusal;
pub use refusal::{Rendered, Rpc, refuse, refuse_at, rewrite_grpc_message};

mod sse;

mod event_stream;

mod stream;
pub use stream::{Channel, Framing, Rewrite, StreamEditor, StreamError, Unpack, error_event};

mod socket;
pub use socket::{
    ClientMessage, Earlier, EventMessages, Wants, decode_message, error_message, message_to_body, prewarmed,
};

mod translate;
pub use translate::{
    Asked, Spoken, StreamTranslator, TranslateError, count_from_chat, rename_in_target, rename_model,
    reply_from_chat, request_from_chat, request_to_chat, translate_reply, without_made,
};

mod models;
pub use models::{ModelForm, model_one, models_list, ollama_version};
