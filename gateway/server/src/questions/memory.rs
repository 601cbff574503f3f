//! What was answered lately, and what may still be spent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Opinion;

/// An older answer is asked for again: a cluster may have other weights by then.
const STALE: Duration = Duration::from_secs(3600);

/// Answers by the keyed hash of what was asked. Two halves: when the younger is full it takes the place
/// of the older, so that the least recently used half is what is forgotten.
pub struct Memory {
    young: HashMap<String, (Opinion, Instant)>,
    old: HashMap<String, (Opinion, Instant)>,
    half: usize,
}

impl Memory {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: most / 2,
        }
    }

    /// What was answered to this, if that is not long ago.
    pub fn known(&mut self, name: &str, now: Instant) -> Option<Opinion> {
        let (opinion, since) = match self.young.get(name) {
            Some(known) => *known,
            None => {
                let (name, known) = self.old.remove_entry(name)?;
                self.put(name, known);
                known
            }
        };
        (now.saturating_duration_since(since) < STALE).then_some(opinion)
    }

    /// Remembers an answer.
    pub fn remember(&mut self, name: String, opinion: Opinion, now: Instant) {
        self.put(name, (opinion, now));
    }

    fn put(&mut self, name: String, known: (Opinion, Instant)) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, known);
    }
}

/// LLM tokens that may be spent in a minute; what is not spent does not add up beyond one.
pub struct Purse {
    most: f64,
    left: f64,
    since: Instant,
}

impl Purse {
    /// Full.
    pub fn new(a_minute: u64, now: Instant) -> Self {
        let most = a_minute as f64;
        Self {
            most,
            left: most,
            since: now,
        }
    }

    /// Takes so many, if they are there.
    pub fn take(&mut self, tokens: i64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.left = (self.left + passed * self.most / 60.0).min(self.most);
        let enough = self.left >= tokens as f64;
        if enough {
            self.left -= tokens as f64;
        }
        enough
    }

    /// Gives back what was not spent; less than nothing where it was more than taken.
    pub fn give_back(&mut self, tokens: i64) {
        self.left = (self.left + tokens as f64).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_used_least_recently_is_forgotten() {
        let now = Instant::now();
        let opinion = |likelihood| Opinion {
            likelihood,
            reason: None,
        };
        let mut memory = Memory::new(4);
        memory.remember("a".into(), opinion(0.1), now);
        memory.remember("b".into(), opinion(0.2), now);
        memory.remember("c".into(), opinion(0.3), now);
        assert_eq!(memory.known("a", now), Some(opinion(0.1)));
        memory.remember("d".into(), opinion(0.4), now);
        assert_eq!(memory.known("b", now), None);
        assert_eq!(memory.known("a", now), Some(opinion(0.1)));
        assert_eq!(memory.known("d", now), Some(opinion(0.4)));
        assert_eq!(memory.known("d", now + STALE), None);
        for n in 0..100 {
            memory.remember(n.to_string(), opinion(0.0), now);
            assert!(memory.young.len() + memory.old.len() <= 4);
        }
        let mut none = Memory::new(0);
        none.remember("a".into(), opinion(0.1), now);
        assert_eq!(none.known("a", now), None);
    }

    #[test]
    fn a_minute_has_so_much_and_no_more() {
        let now = Instant::now();
        let mut purse = Purse::new(600, now);
        assert!(purse.take(600, now) && !purse.take(1, now));
        let later = now + Duration::from_secs(10);
        assert!(!purse.take(101, later) && purse.take(100, later));
        purse.give_back(50);
        assert!(purse.take(50, later));
        // More was spent than taken: it is owed.
        purse.give_back(-100);
        assert!(!purse.take(1, later + Duration::from_secs(10)));
        assert!(purse.take(600, later + Duration::from_secs(600)));
        assert!(!purse.take(1, later + Duration::from_secs(600)));
    }
}
