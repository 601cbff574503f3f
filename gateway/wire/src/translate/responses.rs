//! `openai-responses` from and to `openai-chat`.

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;

/// Tools that take free text instead of JSON have no counterpart in `openai-chat` servers. Each is
/// offered as a function of one string under this prefix, and a call of it is turned back, so that
/// the reply needs no knowledge of the request.
const FREE_TEXT: &str = "free_text__";
