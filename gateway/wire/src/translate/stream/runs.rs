//! The order of a stream's pieces: runs of thoughts, text and tool calls, one after another, each call with its name first.
//!
//! On failure: a [`TranslateError`] where a stream goes back to a call that has ended.

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
