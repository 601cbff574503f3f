//! How fast a caller's messages are taken: at a steady rate once an allowance is used up.
//!
//! A caller who is faster is not refused but read no further for a while, so that the connection itself slows
//! it down.

use std::time::Duration;

use tokio::time::Instant;

/// Messages a second. Sound comes at some 50.
const RATE: u32 = 200;
/// Messages that may come at once.
const AT_ONCE: u32 = 1000;

/// The moment up to which messages were paid for.
pub(in crate::pipeline) struct Pace {
    paid: Instant,
}

impl Pace {
    pub(in crate::pipeline) fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Counts a message.
    pub(in crate::pipeline) fn count(&mut self, now: Instant) {
        self.paid = self.paid.max(now) + Duration::from_secs(1) / RATE;
    }

    /// When the next message may be read.
    pub(in crate::pipeline) fn next(&self) -> Instant {
        self.paid
            .checked_sub(Duration::from_secs(1) * (AT_ONCE / RATE))
            .unwrap_or(self.paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_what_follows_is_slowed_down() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut pace = Pace::new(now);
        for _ in 0..AT_ONCE {
            assert!(pace.next() <= now);
            pace.count(now);
        }
        assert!(pace.next() <= now);
        pace.count(now);
        assert!(pace.next() > now);
        // An idle second is not saved up beyond the allowance.
        let later = now + Duration::from_secs(100);
        pace.count(later);
        assert!(pace.next() <= later);
    }
}
