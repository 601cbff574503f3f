//! Gemini, also in the envelope that Gemini CLI's account servers put around it.

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;

mod schema;
