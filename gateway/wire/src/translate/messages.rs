//! `anthropic-messages` from and to `openai-chat`.

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
