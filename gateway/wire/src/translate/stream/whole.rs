//! Writers for dialects that stream texts in pieces and give each tool call as a whole.

use super::{Piece, Run, Runs, Writer};
use crate::translate::{
    TranslateError,
    reasoning::Reasoning,
    reply::{Call, Head, Stop, Tokens, UpstreamError},
};

/// The pieces of such a dialect.
pub(in crate::translate) trait Wholes: Send {
    /// The next piece of what the model thinks.
    fn reasoning(&mut self, head: &Head, thought: &Reasoning, out: &mut Vec<u8>);
    /// The next piece of the text.
    fn text(&mut self, head: &Head, text: &str, out: &mut Vec<u8>);
    /// A call.
    fn call(&mut self, head: &Head, call: &Call, out: &mut Vec<u8>);
    /// The answer is whole; `last` is a call that has not been given yet.
    fn end(&mut self, head: &Head, last: Option<&Call>, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>);
    /// The upstream reports an error.
    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>);
}

/// Gathers calls until they are whole.
pub(in crate::translate) struct InWholes<W> {
    wholes: W,
    head: Option<Head>,
    calls: Gathered,
}

impl<W: Wholes> InWholes<W> {
    pub(in crate::translate) fn new(wholes: W) -> Self {
        Self {
            wholes,
            head: None,
            calls: Gathered::default(),
        }
    }

    fn head(&self) -> Head {
        self.head.clone().unwrap_or_else(Head::unnamed)
    }

    /// Gives the call that is whole, now that something else follows.
    fn give(&mut self, head: &Head, out: &mut Vec<u8>) {
        if let Some(before) = self.calls.take() {
            self.wholes.call(head, &before, out);
        }
    }
}

impl<W: Wholes> Writer for InWholes<W> {
    fn start(&mut self, head: &Head, _: &mut Vec<u8>) {
        self.head.get_or_insert_with(|| head.clone());
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<u8>) -> Result<(), TranslateError> {
        let head = self.head();
        match piece {
            Piece::Reasoning(thought) => {
                self.give(&head, out);
                self.wholes.reasoning(&head, &thought, out);
            }
            Piece::Text(text) | Piece::Refusal(text) => {
                self.give(&head, out);
                self.wholes.text(&head, &text, out);
            }
            Piece::Call {
                index,
                id,
                name,
                arguments,
            } => {
                if let Some(before) = self.calls.piece(&head, index, id, name, &arguments)? {
                    self.wholes.call(&head, &before, out);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, stop: &Stop, tokens: Tokens, out: &mut Vec<u8>) {
        let last = self.calls.take();
        self.wholes.end(&self.head(), last.as_ref(), stop, tokens, out);
    }

    fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        self.wholes.fail(error, out);
    }

    /// Their programs take nothing but data.
    fn comment(&mut self, _: &[u8], _: &mut Vec<u8>) {}
}

/// The call that is being put together.
#[derive(Default)]
struct Gathered {
    runs: Runs,
    call: Option<Call>,
}

impl Gathered {
    /// Takes a piece of a call; gives the call before it, which is whole now.
    fn piece(
        &mut self,
        head: &Head,
        index: u64,
        id: String,
        name: String,
        arguments: &str,
    ) -> Result<Option<Call>, TranslateError> {
        let mut before = None;
        match self.runs.begins(index, &name, arguments)? {
            None => return Ok(None),
            Some(true) => {
                before = self.call.take();
                self.runs.begin(Run::Call(index));
                let id = if id.is_empty() { head.call_id(index) } else { id };
                self.call = Some(Call {
                    id,
                    name,
                    arguments: String::new(),
                });
            }
            Some(false) => {}
        }
        if let Some(call) = &mut self.call {
            call.arguments.push_str(arguments);
        }
        Ok(before)
    }

    /// The last call, at the end or where text follows.
    fn take(&mut self) -> Option<Call> {
        self.runs.close();
        self.call.take()
    }
}
