//! The order of a stream's pieces: runs of thoughts, text and tool calls, one after another, each call with its name first.
//!
//! On failure: a [`TranslateError`] where a stream goes back to a call that has ended.

use super::Piece;
use crate::translate::{TranslateError, reasoning::Name};

const INTERLEAVED: TranslateError =
    TranslateError::Reply("its stream goes back to a tool call that has ended");
const NAMELESS: TranslateError = TranslateError::Reply("a tool call has no name");

/// What a run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Run {
    /// What the model thinks, and by which name the upstream has it.
    Reasoning(Name),
    Text,
    /// The tool call of that index.
    Call(u64),
}

/// Has thoughts that come amid the arguments of a tool call wait for the call's end: callers would take it for ended there.
#[derive(Default)]
pub(super) struct Thoughts {
    /// The call whose arguments come.
    call: Option<u64>,
    waiting: Vec<Piece>,
}

impl Thoughts {
    /// The pieces that may go on, now that this one has come.
    pub(super) fn behind(&mut self, piece: Piece) -> Vec<Piece> {
        match &piece {
            Piece::Reasoning(_) if self.call.is_some() => {
                self.waiting.push(piece);
                return Vec::new();
            }
            // More of the same call, or nothing behind the end of an earlier one.
            Piece::Call { index, .. } if self.call.is_some_and(|call| *index <= call) => return vec![piece],
            Piece::Call { index, .. } => self.call = Some(*index),
            Piece::Reasoning(_) | Piece::Text(_) | Piece::Refusal(_) => self.call = None,
        }
        let mut all = self.rest();
        all.push(piece);
        all
    }

    /// What waits still.
    pub(super) fn rest(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.waiting)
    }
}

/// Which run is open, for dialects that number their runs.
#[derive(Default)]
pub(in crate::translate) struct Runs {
    open: Option<Run>,
    /// How many runs there were.
    count: u64,
    last_call: Option<u64>,
}

impl Runs {
    /// The run that is open.
    pub(in crate::translate) fn open(&self) -> Option<Run> {
        self.open
    }

    /// The number of the latest run.
    pub(in crate::translate) fn index(&self) -> u64 {
        self.count.saturating_sub(1)
    }

    /// Whether a piece of a tool call begins that call. `None` where it says nothing: an empty piece behind
    /// the call's end.
    pub(in crate::translate) fn begins(
        &self,
        index: u64,
        name: &str,
        arguments: &str,
    ) -> Result<Option<bool>, TranslateError> {
        if self.open == Some(Run::Call(index)) {
            return Ok(Some(false));
        }
        if self.last_call.is_some_and(|last| index <= last) {
            return if arguments.is_empty() {
                Ok(None)
            } else {
                Err(INTERLEAVED)
            };
        }
        if name.is_empty() {
            return Err(NAMELESS);
        }
        Ok(Some(true))
    }

    /// Opens a run, where the one before was closed.
    pub(in crate::translate) fn begin(&mut self, run: Run) {
        if let Run::Call(index) = run {
            self.last_call = Some(index);
        }
        self.open = Some(run);
        self.count += 1;
    }

    /// Closes the run that is open.
    pub(in crate::translate) fn close(&mut self) -> Option<Run> {
        self.open.take()
    }
}
