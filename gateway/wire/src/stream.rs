//! Streamed replies: text rewritten in place, piece by piece.
//!
//! [`StreamEditor`] takes the upstream's stream in any split and gives it out again with
//! the same frames in the same order; only the text inside a frame's JSON is edited, all other bytes
//! stay as they came (but for the lengths and checksums of a binary frame that was edited). A [`Rewrite`] sees every
//! piece of text. Where it keeps a tail back (a
//! placeholder that is still in progress), the frame that the tail came in is held, with all behind
//! it, until the next piece of that channel takes the tail over or the channel's end gives it back.
//! No frame is made up for it.
//!
//! How a stream is cut into frames is in `stream/frame.rs`. Which strings are pieces of which channel is each dialect's
//! to say (`stream/*.rs`). Data that is no
//! JSON passes unchanged; so does JSON that the scanner takes for malformed.
//!
//! A stream that ends without a closing frame of its own is whole when every answer in it has come to an end.
//! The frame that says so is then held until the upstream closes, since it may be the last.
//!
//! Limits: bytes of one frame, bytes held, channels held at once, JSON depth and values.
//! On failure: a [`StreamError`]; the caller ends the stream with [`error_event`].

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Refusal};

use crate::{
    Endpoint, JsonError, JsonFault, Limits, Shape, Usage,
    json::{self, Bounds, Kind, OffsetMap},
};

mod frame;
pub use frame::Framing;
use frame::{Frame, Parser, Unframed};

mod array;
mod enveloped;
pub use enveloped::Unpack;
mod lines;
mod message;

mod read;
use read::{Facts, Scope, Step};

mod chat;
mod cohere;
mod converse;
mod gemini;
mod invoke;
mod messages;
mod ollama;
mod responses;

mod socket;

mod described;

mod fault;
pub use fault::error_event;

/// One run of text that a stream carries in pieces: the content of choice 0, the arguments of its
/// second tool call, a reasoning summary.
///
/// It is made of the dialect's field names and indices; the same channel has the same name
/// throughout a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(String);

impl Channel {
    /// The longest name. Text under longer names is rewritten whole, event by event.
    const MAX_BYTES: usize = 512;

    /// The channel's name, unlike that of any other channel of the stream.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Rewrites the text of a streamed reply.
pub trait Rewrite: Send {
    /// A text that is seen at once, e.g. `response.output_text.done` or an error's message.
    /// `arguments`: the text is JSON source (a tool call's arguments), so what is put in must be
    /// escaped for a JSON string.
    fn whole(&mut self, text: &str, arguments: bool) -> String;

    /// The next piece of a channel. Gives what may go out now and may keep a tail back, which a later
    /// `push` or `finish` of that channel gives.
    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String;

    /// Whether text of that channel is being kept back.
    fn holds(&self, channel: &Channel) -> bool;

    /// The channel has ended; gives the tail that was kept back.
    fn finish(&mut self, channel: &Channel) -> String;
}

/// Why a stream cannot go on. It quotes nothing of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A frame's length or checksum is wrong.
    #[error("a frame of the reply stream is malformed")]
    Malformed,
    /// One event is too large.
    #[error("an event of the reply stream is larger than {limit} bytes")]
    EventTooLarge {
        /// The limit.
        limit: usize,
    },
    /// Too many bytes wait behind text that is still in progress.
    #[error("more than {limit} bytes of the reply stream wait for the end of one text")]
    HeldTooMuch {
        /// The limit.
        limit: usize,
    },
    /// Too many channels keep text back at once.
    #[error("more than {limit} texts of the reply stream are open at once")]
    TooManyChannels {
        /// The limit.
        limit: usize,
    },
    /// An event's JSON is nested too deeply or has too many values.
    #[error("an event of the reply stream is over a limit: {0}")]
    Json(#[from] JsonError),
}

/// Edits one streamed reply. See the module's head.
pub struct StreamEditor {
    dialect: Dialect,
    shape: Option<&'static Shape>,
    framing: Framing,
    parser: Parser,
    bounds: Bounds,
    max_bytes: usize,
    queue: VecDeque<Pending>,
    /// Number of the event at the queue's front, counted from the start of the stream.
    front: u64,
    queued_bytes: usize,
    /// For each channel that keeps text back, the string that gets the text if nothing follows.
    open: HashMap<Channel, Slot>,
    keep_usage: bool,
    facts: Facts,
}

/// An event that has not gone out yet.
struct Pending {
    frame: Frame,
    edits: Vec<StringEdit>,
    /// How many channels may still add to this event's strings.
    open: usize,
    /// What it counts for in the bytes held: its own, and what its texts grew by.
    bytes: usize,
}

/// A string of an event with its text before and after.
struct StringEdit {
    raw: Range<usize>,
    map: OffsetMap,
    old: String,
    new: String,
}

#[derive(Clone, Copy)]
struct Slot {
    event: u64,
    edit: usize,
}

impl StreamEditor {
    /// The deepest nesting that is walked, whatever the limits allow.
    const MAX_DEPTH: usize = 128;
    /// The most channels that may keep text back at once.
    const MAX_OPEN: usize = 1024;

    /// An editor for the reply to a request at that endpoint, in server-sent events.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: &Limits) -> Self {
        Self::framed(endpoint, Framing::Events, limits)
    }

    /// An editor for the reply to a request at that endpoint.
    #[must_use]
    pub fn framed(endpoint: Endpoint, framing: Framing, limits: &Limits) -> Self {
        Self {
            dialect: endpoint.dialect,
            shape: endpoint.shape,
            framing,
            parser: Parser::new(framing, limits.max_body),
            bounds: Bounds {
                depth: limits.max_depth.min(Self::MAX_DEPTH),
                values: limits.max_values(),
                // Either member may be the one that the caller's parser takes, so both are rewritten.
                duplicates: true,
            },
            max_bytes: limits.max_body,
            queue: VecDeque::new(),
            front: 0,
            queued_bytes: 0,
            open: HashMap::new(),
            keep_usage: true,
            facts: Facts::default(),
        }
    }

    /// Leaves out the event of an `openai-chat` stream that carries nothing but usage, for a caller who
    /// did not ask for it (see [`RequestBody::asks_for_usage`](crate::RequestBody::asks_for_usage)). It is the one event that an
    /// editor can leave out; [`StreamEditor::usage`] tells of it all the same.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.keep_usage = false;
        self
    }

    /// Undoes the compression of messages in envelopes by that, and not as gzip. A message that is edited goes on uncompressed.
    #[must_use]
    pub fn unpacking(mut self, unpack: Unpack) -> Self {
        self.parser.unpack(unpack);
        self
    }

    /// Takes the next bytes from the upstream and gives those that may go on to the caller.
    ///
    /// # Errors
    /// When the stream passes a limit; the editor must not be used any further.
    pub fn push(&mut self, bytes: &[u8], rewrite: &mut dyn Rewrite) -> Result<Bytes, StreamError> {
        let frames = self.parser.push(bytes).map_err(|unframed| match unframed {
            Unframed::TooLarge => StreamError::EventTooLarge {
                limit: self.max_bytes,
            },
            Unframed::Malformed => StreamError::Malformed,
        })?;
        let mut out = Vec::with_capacity(bytes.len());
        for frame in frames {
            self.take(frame, rewrite, &mut out)?;
        }
        Ok(out.into())
    }

    /// The upstream has closed: gives what was still held.
    ///
    /// An event that was cut off within its data is not passed on, since half a JSON text helps
    /// nobody; [`StreamEditor::complete`] then says that the stream has no proper end.
    ///
    /// # Errors
    /// When the last event passes a limit.
    pub fn finish(&mut self, rewrite: &mut dyn Rewrite) -> Result<Bytes, StreamError> {
        let mut out = Vec::new();
        let mut cut_off = self.parser.is_cut();
        if let Some(frame) = self.parser.finish() {
            cut_off = !frame.ended()
                && frame
                    .data()
                    .is_some_and(|data| !is_done(data) && json::scan(data, &self.bounds).is_err());
            if !cut_off {
                self.take(frame, rewrite, &mut out)?;
            }
        }
        // An array says itself when it is over.
        let by_itself = self.parser.is_open();
        self.facts.complete |= !by_itself && self.settles_by_closing(cut_off);
        self.end(&Scope::All, rewrite);
        self.release(&mut out);
        // Nobody knows how such a stream closes but by its end.
        let untold = self.shape.is_some() || self.dialect == Dialect::Unknown;
        self.facts.complete |= untold && !cut_off;
        Ok(out.into())
    }

    /// Whether the stream has come to an end of its own: `[DONE]`, `message_stop`,
    /// `response.completed` (or `.incomplete`, `.failed`), an error that the upstream reported, or, once it
    /// is [finished](StreamEditor::finish), the end of every answer in it.
    /// A stream that closes without it was cut off.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.facts.complete
    }

    /// Whether the upstream reported an error within the stream.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.facts.failed
    }

    /// LLM tokens as far as the stream has told.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.facts.usage()
    }

    /// The model that answers, as the upstream names it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.facts.model.as_deref()
    }

    /// Like [`error_event`], continuing this stream's response id and sequence numbers.
    #[must_use]
    pub fn error_event(&self, refusal: &Refusal) -> Bytes {
        fault::error_frame(
            self.dialect,
            self.framing,
            self.parser.array(),
            refusal,
            &self.facts,
        )
    }

    /// Whether a stream that closes now is whole, though it has no closing frame.
    fn settles_by_closing(&self, cut_off: bool) -> bool {
        if self.facts.is_settled() {
            return true;
        }
        // What has no answers in it has no end of its own either: messages of a server to its caller, lines of a
        // file.
        let endless = match self.dialect {
            Dialect::Mcp => true,
            Dialect::Ollama | Dialect::Cohere => false,
            _ => self.framing == Framing::Lines,
        };
        endless && !cut_off
    }

    /// Reads one event, rewrites its texts, and queues it.
    fn take(
        &mut self,
        frame: Frame,
        rewrite: &mut dyn Rewrite,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        self.queue(frame, rewrite)?;
        self.release(out);
        self.bounded()
    }

    /// The same without writing out what nothing keeps back.
    fn queue(&mut self, frame: Frame, rewrite: &mut dyn Rewrite) -> Result<(), StreamError> {
        let Some(steps) = self.read(&frame)? else {
            return Ok(());
        };
        let number = self.front + self.queue.len() as u64;
        let bytes = frame.raw().len();
        self.queue.push_back(Pending {
            frame,
            edits: Vec::new(),
            open: 0,
            bytes,
        });
        self.queued_bytes = self.queued_bytes.saturating_add(bytes);
        for step in steps {
            self.apply(step, number, rewrite)?;
        }
        Ok(())
    }

    /// What is still held must be within the limit.
    fn bounded(&self) -> Result<(), StreamError> {
        if self.queued_bytes > self.max_bytes && !self.queue.is_empty() {
            return Err(StreamError::HeldTooMuch {
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    /// What to do about an event; `None` when it is left out.
    fn read(&mut self, frame: &Frame) -> Result<Option<Vec<Step>>, StreamError> {
        if let Frame::Enveloped(envelope) = frame {
            return Ok(Some(envelope.steps()));
        }
        if frame.closes() {
            self.facts.complete = true;
            return Ok(Some(vec![Step::End(Scope::All)]));
        }
        let Some(data) = frame.data() else {
            return Ok(Some(Vec::new()));
        };
        if is_done(data) {
            self.facts.complete = true;
            return Ok(Some(vec![Step::End(Scope::All)]));
        }
        let tree = match json::scan(data, &self.bounds) {
            Ok(tree) => tree,
            Err(error @ JsonError { fault, .. }) => {
                return match fault {
                    JsonFault::TooDeep | JsonFault::TooManyValues | JsonFault::TooLong => Err(error.into()),
                    _ => Ok(Some(Vec::new())),
                };
            }
        };
        let mut steps = Vec::new();
        if tree.root().kind() != Kind::Object {
            read::others(tree.root(), &mut steps);
            return Ok(Some(steps));
        }
        let (root, name, facts) = (tree.root(), frame.name(), &mut self.facts);
        if frame.is_fault() {
            facts.fail(&mut steps);
            read::others(root, &mut steps);
            return Ok(Some(steps));
        }
        match self.dialect {
            Dialect::OpenaiChat | Dialect::OpenaiCompletions => {
                chat::read(root, facts, &mut steps);
                if !self.keep_usage && chat::is_usage_alone(root) {
                    return Ok(None);
                }
            }
            // The events of sound and pictures are named as those of responses are.
            Dialect::OpenaiResponses
            | Dialect::OpenaiRealtime
            | Dialect::OpenaiAudio
            | Dialect::OpenaiImages => {
                responses::read(root, name, facts, &mut steps);
            }
            Dialect::AnthropicMessages => messages::read(root, name, facts, &mut steps),
            Dialect::Gemini => gemini::read(root, facts, &mut steps),
            Dialect::BedrockConverse => converse::read(root, name, facts, &mut steps),
            Dialect::BedrockInvoke => invoke::read(root, facts, &mut steps),
            Dialect::Cohere => cohere::read(root, name, facts, &mut steps),
            Dialect::Ollama => ollama::read(root, facts, &mut steps),
            _ => match self.shape {
                Some(shape) => described::read(root, shape, facts, &mut steps),
                None => read::others(root, &mut steps),
            },
        }
        Ok(Some(steps))
    }

    fn apply(&mut self, step: Step, number: u64, rewrite: &mut dyn Rewrite) -> Result<(), StreamError> {
        match step {
            Step::End(scope) => self.end(&scope, rewrite),
            Step::Whole { text, arguments } => {
                let new = rewrite.whole(&text.text, arguments);
                self.edit(number, text, new);
            }
            Step::Piece {
                text,
                channel,
                arguments,
            } => {
                let new = rewrite.push(&channel, &text.text, arguments);
                self.settle(&channel);
                let Some(edit) = self.edit(number, text, new) else {
                    return Ok(());
                };
                if rewrite.holds(&channel) {
                    if self.open.len() >= Self::MAX_OPEN {
                        return Err(StreamError::TooManyChannels {
                            limit: Self::MAX_OPEN,
                        });
                    }
                    self.open.insert(channel, Slot { event: number, edit });
                    if let Some(pending) = self.pending(number) {
                        pending.open += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes a string's new text; gives the edit's index, or `None` when the string has no raw bytes.
    fn edit(&mut self, number: u64, text: read::Located, new: String) -> Option<usize> {
        let grown = new.len().saturating_sub(text.text.len());
        let pending = self.pending(number)?;
        let raw = pending.frame.place(text.span.start, text.span.end)?;
        pending.edits.push(StringEdit {
            raw,
            map: text.map,
            old: text.text,
            new,
        });
        let index = pending.edits.len() - 1;
        pending.bytes = pending.bytes.saturating_add(grown);
        self.queued_bytes = self.queued_bytes.saturating_add(grown);
        Some(index)
    }

    fn pending(&mut self, number: u64) -> Option<&mut Pending> {
        let index = usize::try_from(number.checked_sub(self.front)?).ok()?;
        self.queue.get_mut(index)
    }

    /// The string that a channel's tail would have gone to gets nothing more.
    fn settle(&mut self, channel: &Channel) {
        if let Some(slot) = self.open.remove(channel)
            && let Some(pending) = self.pending(slot.event)
        {
            pending.open -= 1;
        }
    }

    /// Channels have ended: their tails go back to the events they came in.
    fn end(&mut self, scope: &Scope, rewrite: &mut dyn Rewrite) {
        let ended: Vec<Channel> = self
            .open
            .keys()
            .filter(|channel| scope.covers(channel))
            .cloned()
            .collect();
        for channel in ended {
            let tail = rewrite.finish(&channel);
            let Some(slot) = self.open.remove(&channel) else {
                continue;
            };
            if let Some(pending) = self.pending(slot.event) {
                pending.open -= 1;
                if let Some(edit) = pending.edits.get_mut(slot.edit) {
                    edit.new.push_str(&tail);
                }
            }
        }
    }

    /// Writes out every event that nothing keeps back.
    fn release(&mut self, out: &mut Vec<u8>) {
        while self.queue.front().is_some_and(|pending| pending.open == 0) {
            // It may be the last one, which goes out only when nothing follows.
            if self.queue.len() == 1 && self.facts.is_settled() && !self.facts.complete {
                break;
            }
            match self.released() {
                Some(pending) => pending.write(out),
                None => break,
            }
        }
    }

    /// The next event that nothing keeps back.
    fn released(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front_if(|pending| pending.open == 0)?;
        self.queued_bytes = self.queued_bytes.saturating_sub(pending.bytes);
        self.front += 1;
        Some(pending)
    }
}

impl Pending {
    fn write(mut self, out: &mut Vec<u8>) {
        self.edits.retain(|edit| edit.old != edit.new);
        self.edits.sort_unstable_by_key(|edit| edit.raw.start);
        if let Frame::Enveloped(envelope) = &self.frame {
            let by_segment = |edit: &StringEdit| Edit {
                segment: edit.raw.start,
                span: 0..edit.old.len(),
                replacement: edit.new.clone(),
            };
            return envelope.write(self.edits.iter().map(by_segment).collect(), out);
        }
        let edits: Vec<(Range<usize>, String)> = self
            .edits
            .iter()
            .map(|edit| {
                let (span, text) = edit.difference();
                (edit.raw.start + span.start..edit.raw.start + span.end, text)
            })
            .collect();
        self.frame.write(&edits, out);
    }
}

impl StringEdit {
    /// What to replace within the string's content, so that the bytes of unchanged text stay: the
    /// span, and what comes there, escaped.
    fn difference(&self) -> (Range<usize>, String) {
        let (old, new) = (self.old.as_str(), self.new.as_str());
        let same = |(a, b): &(char, char)| a == b;
        let head: usize = old
            .chars()
            .zip(new.chars())
            .take_while(same)
            .map(|(c, _)| c.len_utf8())
            .sum();
        let tail: usize = old[head..]
            .chars()
            .rev()
            .zip(new[head..].chars().rev())
            .take_while(same)
            .map(|(c, _)| c.len_utf8())
            .sum();
        let mut text = String::new();
        json::escape(&new[head..new.len() - tail], &mut text);
        // Some clients split their input at these too, which would break the event in two.
        for (separator, escaped) in [
            ('\u{85}', "\\u0085"),
            ('\u{2028}', "\\u2028"),
            ('\u{2029}', "\\u2029"),
        ] {
            if text.contains(separator) {
                text = text.replace(separator, escaped);
            }
        }
        (self.map.raw(head)..self.map.raw(old.len() - tail), text)
    }
}

fn is_done(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]"
}
