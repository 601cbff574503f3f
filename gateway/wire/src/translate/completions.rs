//! OpenAI's completions, which came before chat, answered by an upstream that speaks `openai-chat`.

pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
