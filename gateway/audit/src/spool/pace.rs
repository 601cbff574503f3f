//! How fast entries come, and waiting a little for more of them.
//!
//! A sync costs the processor far more than an entry, so when entries come fast, few to a sync would take it from those who ask. Where they come
//! slower, waiting is all that it would be: at 64 exchanges of 100 ms each, 2 ms of it made an acknowledgement five times as long.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

/// From so many entries in [`BEAT`] on, some more are waited for before each sync. Below that, whoever asks would wait for nobody.
const FAST: usize = 160;
/// How long entries are counted.
const BEAT: Duration = Duration::from_millis(50);
/// How long more entries are waited for, and how many are enough.
const GATHERING: (Duration, usize) = (Duration::from_millis(1), 32);
/// How long the thread sleeps before it looks whether they are enough.
const NAP: Duration = Duration::from_micros(250);

/// How fast entries come.
pub(super) struct Pulse {
    since: Instant,
    count: usize,
    is_fast: bool,
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            is_fast: false,
        }
    }

    pub(super) fn count(&mut self, entries: usize) {
        self.count += entries;
    }

    pub(super) fn is_fast(&mut self, now: Instant) -> bool {
        let past = now.duration_since(self.since);
        if past >= BEAT {
            // What came long ago says nothing of now.
            self.is_fast = past < 2 * BEAT && self.count >= FAST;
            (self.since, self.count) = (now, 0);
        }
        self.is_fast
    }
}

/// Waits for more entries, but not long.
pub(super) fn gather<T>(asks: &mpsc::Receiver<T>) {
    let begun = Instant::now();
    while asks.len() < GATHERING.1 && begun.elapsed() < GATHERING.0 && !asks.is_closed() {
        thread::sleep(NAP);
    }
}
