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
    Asked, TranslateError, cohere, completions, converse, gemini, messages, ollama,
    reasoning::Reasoning,
    reply::{Head, Stop, Tokens, UpstreamError, call_id, content, string},
    responses,
    spoken::{Spoken, ToChat},
};
use crate::{Limits, Usage, sse};

mod runs;
use runs::Thoughts;
pub(super) use runs::{Run, Runs};

mod blocks;
pub(super) use blocks::{Block, Blocks, InBlocks};

mod whole;
pub(super) use whole::{InWholes, Wholes};

/// Translates one streamed reply. Feed it with [`StreamTranslator::push`], then
/// [`StreamTranslator::finish`].
pub struct StreamTranslator {
    /// Of an upstream that does not speak `openai-chat` itself.
    to_chat: Option<ToChat>,
    parser: sse::Parser,
    limit: usize,
    taken: usize,
    /// None for the same dialect: events go on as they came.
    writer: Option<Box<dyn Writer>>,
    stop: Option<Stop>,
    tokens: Option<Tokens>,
    thoughts: Thoughts,
    called: bool,
    refused: bool,
    ended: bool,
}

/// Writes a reply in a dialect, in the order that its events have to have.
pub(super) trait Writer: Send {
    /// A chunk has come; the first starts the reply.
    fn start(&mut self, head: &Head, out: &mut Vec<u8>);
    /// The next piece.
    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError>;
    /// The reply is whole.
    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>);
    /// The upstream reports an error.
    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>);
    /// A comment of `text/event-stream`, which keeps a connection awake.
    fn comment(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(raw);
    }
}

/// The writer of a dialect that nobody translates.
struct Untranslated(Dialect);

impl Writer for Untranslated {
    fn start(&mut self, _: &Head, _: &mut Vec<u8>) {}

    fn piece(&mut self, _: Piece, _: &mut Vec<u8>) -> Result<(), TranslateError> {
        Err(TranslateError::Dialect(self.0))
    }

    fn end(&mut self, _: &Stop, _: Tokens, _: &mut Vec<u8>) {}

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        chat_error(error, out);
    }
}

/// A piece of the reply.
pub(super) enum Piece {
    Reasoning(Reasoning),
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
            Self::Reasoning(reasoning) => reasoning.is_empty(),
            Self::Call { .. } => false,
        }
    }
}

impl StreamTranslator {
    /// A translator for the reply to what was asked. `asked_model` is the name that the caller used.
    #[must_use]
    pub fn new(asked: Asked, asked_model: &str) -> Self {
        let limits = Limits::default();
        let model = asked_model;
        let writer: Option<Box<dyn Writer>> = match asked.endpoint.dialect {
            Dialect::OpenaiChat => None,
            Dialect::OpenaiResponses => Some(Box::new(responses::stream::Writer::new(model))),
            Dialect::OpenaiCompletions => Some(Box::new(completions::stream::Writer::new(model))),
            Dialect::AnthropicMessages => Some(Box::new(InBlocks::new(messages::stream::Events::new(model)))),
            Dialect::BedrockConverse => Some(Box::new(InBlocks::new(converse::stream::Events))),
            Dialect::Cohere => Some(Box::new(InBlocks::new(cohere::stream::Events::default()))),
            Dialect::Gemini => Some(Box::new(InWholes::new(gemini::stream::Items::new(asked, model)))),
            Dialect::Ollama => Some(Box::new(InWholes::new(ollama::stream::Lines::new(asked, model)))),
            other => Some(Box::new(Untranslated(other))),
        };
        Self {
            to_chat: None,
            parser: sse::Parser::new(limits.max_body),
            limit: limits.max_body,
            taken: 0,
            writer,
            stop: None,
            tokens: None,
            thoughts: Thoughts::default(),
            called: false,
            refused: false,
            ended: false,
        }
    }

    /// The same for an upstream that speaks another dialect; `created` is the time in seconds since 1970.
    #[must_use]
    pub fn spoken(mut self, spoken: Spoken, created: u64) -> Self {
        self.to_chat = ToChat::new(spoken, created);
        self
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
        if self.writer.is_some() {
            self.taken = self.taken.saturating_add(bytes.len());
            if self.taken > self.limit {
                return Err(TranslateError::ReplyTooLarge { limit: self.limit });
            }
        }
        match &mut self.to_chat {
            None => self.read(bytes),
            Some(to_chat) => {
                let chat = to_chat.push(bytes)?;
                self.read(&chat)
            }
        }
    }

    /// The upstream has closed as it should: gives what only that says. Then comes [`StreamTranslator::finish`].
    ///
    /// # Errors
    /// When its last event is not what its dialect describes.
    pub fn close(&mut self) -> Result<Bytes, TranslateError> {
        match &mut self.to_chat {
            None => Ok(Bytes::new()),
            Some(to_chat) => {
                let chat = to_chat.close()?;
                self.read(&chat)
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Bytes, TranslateError> {
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
            match &mut self.writer {
                Some(writer) => writer.comment(event.raw(), out),
                None => out.extend_from_slice(event.raw()),
            }
            return Ok(());
        };
        if data.trim_ascii() == b"[DONE]" {
            self.ended = true;
            let stop = self.stop.take().unwrap_or(Stop::End);
            match &mut self.writer {
                None => {
                    out.extend_from_slice(event.raw());
                    if !event.ended() {
                        out.extend_from_slice(b"\n\n");
                    }
                }
                Some(writer) => {
                    for piece in self.thoughts.rest() {
                        writer.piece(piece, out)?;
                    }
                    writer.end(&stop, self.tokens.unwrap_or_default(), out);
                }
            }
            return Ok(());
        }
        let chunk: Value = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            // What is not translated need not be understood.
            Err(_) if self.writer.is_none() => {
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
            match &mut self.writer {
                None => out.extend_from_slice(event.raw()),
                Some(writer) => writer.fail(&error, out),
            }
            return Ok(());
        }
        let pieces = pieces(&chunk);
        self.called |= pieces.iter().any(|piece| matches!(piece, Piece::Call { .. }));
        self.refused |= pieces.iter().any(|piece| matches!(piece, Piece::Refusal(_)));
        match &mut self.writer {
            None => out.extend_from_slice(event.raw()),
            Some(writer) => {
                writer.start(&Head::read(&chunk), out);
                for piece in pieces.into_iter().flat_map(|piece| self.thoughts.behind(piece)) {
                    writer.piece(piece, out)?;
                }
            }
        }
        let stop = first_choice(&chunk).and_then(|choice| Stop::read(choice, self.called, self.refused));
        if stop.is_some() {
            self.stop = stop;
        }
        Ok(())
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        match &mut self.writer {
            Some(writer) => writer.fail(error, out),
            None => chat_error(error, out),
        }
    }
}

fn chat_error(error: &UpstreamError, out: &mut Vec<u8>) {
    data(openai_error(error).to_string(), out);
}

/// OpenAI's error object.
pub(super) fn openai_error(error: &UpstreamError) -> Value {
    serde_json::json!({"error": {
        "message": error.message, "type": error.kind, "param": null, "code": error.code,
    }})
}

/// One event without a name.
pub(super) fn data(data: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.as_ref());
    out.extend_from_slice(b"\n\n");
}

/// One event with its name.
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
    // A delta that holds several says the thoughts first, as they were.
    let mut pieces = vec![
        Piece::Reasoning(Reasoning::of(delta)),
        Piece::Text(content(delta)),
        Piece::Refusal(string(delta, "refusal")),
    ];
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
