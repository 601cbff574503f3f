//! A streamed `openai-chat` reply as the caller's dialect streams it.
//!
//! The chunks are read one by one and handed to the dialect's writer, which knows the order of its
//! events. A stream that closes before `[DONE]` ends in the dialect's error, never in a clean end.
//!
//! Limits: bytes of one event and of the whole reply. On failure: a [`TranslateError`].

use bytes::Bytes;
use cordon_domain::Dialect;
use serde_json::Value;

use super::{
    TranslateError, messages,
    reply::{Head, Stop, Tokens, UpstreamError, call_id, content, reasons, string},
    responses,
};
use crate::{Endpoint, Limits, Usage, sse};

/// Translates one streamed reply. Feed it with [`StreamTranslator::push`], then
/// [`StreamTranslator::finish`].
pub struct StreamTranslator {
    parser: sse::Parser,
    limit: usize,
    taken: usize,
    writer: Writer,
    stop: Option<Stop>,
    tokens: Option<Tokens>,
    called: bool,
    refused: bool,
    ended: bool,
}

enum Writer {
    /// The same dialect: events go on as they came.
    Chat,
    Messages(messages::stream::Writer),
    Responses(responses::stream::Writer),
    Untranslated(Dialect),
}

/// A piece of the reply.
pub(super) enum Piece {
    /// The model thinks: a sign of life, without the thoughts.
    Thinking,
    Text(String),
    Refusal(String),
    Call {
        index: u64,
        id: String,
        name: String,
        arguments: String,
    },
}

impl Piece {
    fn is_empty_text(&self) -> bool {
        match self {
            Self::Text(text) | Self::Refusal(text) => text.is_empty(),
            Self::Thinking | Self::Call { .. } => false,
        }
    }
}

impl StreamTranslator {
    /// A translator for the reply to a request at that endpoint. `asked_model` is the name that the
    /// caller used.
    #[must_use]
    pub fn new(endpoint: Endpoint, asked_model: &str) -> Self {
        let limits = Limits::default();
        let writer = match endpoint.dialect {
            Dialect::OpenaiChat => Writer::Chat,
            Dialect::AnthropicMessages => Writer::Messages(messages::stream::Writer::new(asked_model)),
            Dialect::OpenaiResponses => Writer::Responses(responses::stream::Writer::new(asked_model)),
            other => Writer::Untranslated(other),
        };
        Self {
            parser: sse::Parser::new(limits.max_body),
            limit: limits.max_body,
            taken: 0,
            writer,
            stop: None,
            tokens: None,
            called: false,
            refused: false,
            ended: false,
        }
    }

    /// LLM tokens, once the upstream has told.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.tokens.map(|tokens| Usage {
            input: tokens.input,
            output: tokens.output,
        })
    }

    /// Takes the next bytes from the upstream and gives those for the caller.
    ///
    /// # Errors
    /// When the upstream's events are not what `openai-chat` describes, or pass a limit. The caller then
    /// ends the stream with [`error_event`](crate::error_event).
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, TranslateError> {
        // An editor behind us bounds what it holds; what the writers gather is bounded here.
        if !matches!(self.writer, Writer::Chat) {
            self.taken = self.taken.saturating_add(bytes.len());
            if self.taken > self.limit {
                return Err(TranslateError::ReplyTooLarge { limit: self.limit });
            }
        }
        let events = self
            .parser
            .push(bytes)
            .map_err(|_| TranslateError::ReplyTooLarge { limit: self.limit })?;
        let mut out = Vec::with_capacity(bytes.len());
        for event in events {
            self.take(&event, &mut out)?;
        }
        Ok(out.into())
    }

    /// The upstream has closed.
    ///
    /// # Errors
    /// When its last event is not what `openai-chat` describes.
    pub fn finish(&mut self) -> Result<Bytes, TranslateError> {
        let mut out = Vec::new();
        if let Some(event) = self.parser.finish() {
            // A client would not read an event without its blank line; only a `[DONE]` still counts.
            if event.data().is_some_and(|data| data.trim_ascii() == b"[DONE]") {
                self.take(&event, &mut out)?;
            }
        }
        if !self.ended {
            self.ended = true;
            let error = UpstreamError {
                message: "the model's answer was cut off before its end".into(),
                kind: "server_error".into(),
                code: None,
            };
            self.fail(&error, &mut out);
        }
        Ok(out.into())
    }

    fn take(&mut self, event: &sse::Event, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        if self.ended {
            return Ok(());
        }
        let Some(data) = event.data() else {
            // Comments mean the same in every dialect: they keep a connection awake.
            out.extend_from_slice(event.raw());
            return Ok(());
        };
        if data.trim_ascii() == b"[DONE]" {
            self.ended = true;
            let stop = self.stop.take().unwrap_or(Stop::End);
            let tokens = self.tokens.unwrap_or_default();
            match &mut self.writer {
                Writer::Chat => {
                    out.extend_from_slice(event.raw());
                    if !event.ended() {
                        out.extend_from_slice(b"\n\n");
                    }
                }
                Writer::Messages(writer) => writer.end(&stop, tokens, out),
                Writer::Responses(writer) => writer.end(&stop, tokens, out),
                Writer::Untranslated(dialect) => return Err(TranslateError::Dialect(*dialect)),
            }
            return Ok(());
        }
        let chunk: Value = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            // What is not translated need not be understood.
            Err(_) if matches!(self.writer, Writer::Chat) => {
                out.extend_from_slice(event.raw());
                return Ok(());
            }
            Err(_) => return Err(TranslateError::Reply("an event of its stream is not JSON")),
        };
        if let Some(tokens) = Tokens::read(&chunk) {
            self.tokens = Some(tokens);
        }
        if let Some(error) = UpstreamError::of(&chunk) {
            self.ended = true;
            match &self.writer {
                Writer::Chat => out.extend_from_slice(event.raw()),
                _ => self.fail(&error, out),
            }
            return Ok(());
        }
        let pieces = pieces(&chunk);
        self.called |= pieces.iter().any(|piece| matches!(piece, Piece::Call { .. }));
        self.refused |= pieces.iter().any(|piece| matches!(piece, Piece::Refusal(_)));
        match &mut self.writer {
            Writer::Chat => out.extend_from_slice(event.raw()),
            Writer::Messages(writer) => {
                writer.start(&chunk, out);
                pieces
                    .into_iter()
                    .try_for_each(|piece| writer.piece(piece, out))?;
            }
            Writer::Responses(writer) => {
                writer.start(&chunk, out);
                pieces
                    .into_iter()
                    .try_for_each(|piece| writer.piece(piece, out))?;
            }
            Writer::Untranslated(dialect) => return Err(TranslateError::Dialect(*dialect)),
        }
        let stop = first_choice(&chunk).and_then(|choice| Stop::read(choice, self.called, self.refused));
        if stop.is_some() {
            self.stop = stop;
        }
        Ok(())
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        match &mut self.writer {
            Writer::Messages(_) => emit("error", &messages::reply::error(error), out),
            Writer::Responses(writer) => writer.fail(error, out),
            Writer::Chat | Writer::Untranslated(_) => {
                let error = serde_json::json!({"error": {
                    "message": error.message, "type": error.kind, "param": null, "code": error.code,
                }});
                out.extend_from_slice(format!("data: {error}\n\n").as_bytes());
            }
        }
    }
}

pub(super) fn head(chunk: &Value) -> Head {
    Head::read(chunk)
}

/// One event with its name, as both dialects write them.
pub(super) fn emit(name: &str, data: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

/// Translated requests ask for one choice only.
fn first_choice(chunk: &Value) -> Option<&Value> {
    chunk
        .get("choices")?
        .as_array()?
        .iter()
        .find(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0)
}

fn pieces(chunk: &Value) -> Vec<Piece> {
    let Some(delta) = first_choice(chunk).and_then(|choice| choice.get("delta")) else {
        return Vec::new();
    };
    let mut pieces = vec![
        Piece::Text(content(delta)),
        Piece::Refusal(string(delta, "refusal")),
    ];
    if reasons(delta) {
        pieces.push(Piece::Thinking);
    }
    pieces.retain(|piece| !piece.is_empty_text());
    let calls = delta.get("tool_calls").and_then(Value::as_array);
    for (position, call) in (0..).zip(calls.into_iter().flatten()) {
        let function = call.get("function").unwrap_or(&Value::Null);
        pieces.push(Piece::Call {
            index: call.get("index").and_then(Value::as_u64).unwrap_or(position),
            id: call_id(call),
            name: string(function, "name"),
            arguments: string(function, "arguments"),
        });
    }
    pieces
}

/// What the pieces of a tool call are checked for: one call after another, each with its name first.
pub(super) const INTERLEAVED: TranslateError =
    TranslateError::Reply("its stream goes back to a tool call that has ended");
pub(super) const NAMELESS: TranslateError = TranslateError::Reply("a tool call has no name");
