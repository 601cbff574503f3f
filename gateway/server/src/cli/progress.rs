//! A bar for work that takes long, on a terminal only.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes no longer shows no progress.
const SHORT: Duration = Duration::from_secs(1);

/// A bar on standard error, when that is a terminal and the work is long.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    /// A bar; without a number of files it counts changes.
    pub(super) fn new(many: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(many, ProgressDrawTarget::hidden());
        let form = if many.is_some() {
            "{bar:30} {pos} of {len} files, {eta} left"
        } else {
            "{spinner} {pos} changes"
        };
        bar.set_style(ProgressStyle::with_template(form).expect("the template is well formed"));
        Self {
            bar,
            began: Instant::now(),
        }
    }

    /// One more is done.
    pub(super) fn step(&self) {
        self.bar.inc(1);
        self.look();
    }

    /// Shows it, once the work has proved long.
    pub(super) fn look(&self) {
        if self.bar.is_hidden() && self.began.elapsed() > SHORT && std::io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.tick();
    }

    /// Lets something be printed above it.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
