//! Writers for dialects that stream an answer as blocks: one is open at a time, and each is opened, filled and
//! closed.

use super::{Piece, Run, Runs, Writer};
use crate::translate::{
    TranslateError,
    reply::{Head, Stop, Tokens, UpstreamError},
};

/// The events of such a dialect. `at` is the number of the block among all of the answer.
pub(in crate::translate) trait Blocks: Send {
    /// The answer begins.
    fn start(&mut self, head: &Head, out: &mut Vec<u8>);
    /// A block begins.
    fn open(&mut self, at: u64, block: Block<'_>, out: &mut Vec<u8>);
    /// More of what the model thinks.
    fn reasoning(&mut self, at: u64, text: &str, out: &mut Vec<u8>);
    /// More of a text.
    fn text(&mut self, at: u64, text: &str, out: &mut Vec<u8>);
    /// More of a call's arguments, as JSON source.
    fn arguments(&mut self, at: u64, source: &str, out: &mut Vec<u8>);
    /// A block ends.
    fn close(&mut self, at: u64, run: Run, out: &mut Vec<u8>);
    /// The answer is whole.
    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>);
    /// The upstream reports an error.
    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>);
    /// A comment of `text/event-stream`; see [`Writer::comment`].
    fn comment(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(raw);
    }
}

/// What a block is to hold.
pub(in crate::translate) enum Block<'a> {
    Reasoning,
    Text,
    Call { id: &'a str, name: &'a str },
}

/// Turns pieces into blocks.
pub(in crate::translate) struct InBlocks<B> {
    blocks: B,
    head: Option<Head>,
    runs: Runs,
    /// Whether the open call has arguments.
    argued: bool,
}

impl<B: Blocks> InBlocks<B> {
    pub(in crate::translate) fn new(blocks: B) -> Self {
        Self {
            blocks,
            head: None,
            runs: Runs::default(),
            argued: false,
        }
    }

    fn open(&mut self, run: Run, block: Block<'_>, out: &mut Vec<u8>) {
        self.close(out);
        self.runs.begin(run);
        self.argued = false;
        self.blocks.open(self.runs.index(), block, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(run) = self.runs.close() {
            // Arguments that nobody gave still have to be JSON.
            if matches!(run, Run::Call(_)) && !self.argued {
                self.blocks.arguments(self.runs.index(), "{}", out);
            }
            self.blocks.close(self.runs.index(), run, out);
        }
    }
}

impl<B: Blocks> Writer for InBlocks<B> {
    fn start(&mut self, head: &Head, out: &mut Vec<u8>) {
        if self.head.is_none() {
            self.blocks.start(head, out);
            self.head = Some(head.clone());
        }
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        match piece {
            Piece::Reasoning(thought) => {
                let run = Run::Reasoning(thought.name);
                if self.runs.open() != Some(run) {
                    self.open(run, Block::Reasoning, out);
                }
                self.blocks.reasoning(self.runs.index(), &thought.text, out);
            }
            Piece::Text(text) | Piece::Refusal(text) => {
                if self.runs.open() != Some(Run::Text) {
                    self.open(Run::Text, Block::Text, out);
                }
                self.blocks.text(self.runs.index(), &text, out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                match self.runs.begins(index, &name, &arguments)? {
                    None => return Ok(()),
                    Some(true) => {
                        let given = self.head.as_ref().filter(|_| id.is_empty());
                        let id = given.map_or(id, |head| head.call_id(index));
                        let block = Block::Call { id: &id, name: &name };
                        self.open(Run::Call(index), block, out);
                    }
                    Some(false) => {}
                }
                if !arguments.is_empty() {
                    self.argued = true;
                    self.blocks.arguments(self.runs.index(), &arguments, out);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        self.start(&Head::unnamed(), out);
        self.close(out);
        self.blocks.end(stop, tokens, out);
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        self.blocks.fail(error, out);
    }

    fn comment(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.blocks.comment(raw, out);
    }
}
