//! What was found in texts that were inspected before: programs send a whole conversation again with each turn.
//!
//! A text is known again by a keyed hash of 128 bits over all that its findings depend on, the text itself among it. The
//! key is random, of this process alone and of one set of detectors: with other detectors nothing is known again. Whose
//! text it is goes into the hash, too, so that nobody can tell by the clock what somebody else has sent. No text is held,
//! nor anything that a text could be guessed by without the key.
//!
//! Limits: [`MOST`] findings and texts in each half of each part, and no text with more than [`MOST_OF_A_TEXT`]
//! findings. What was not asked for in the longest time goes first, half a part at a time.
//!
//! On failure: without random bytes nothing is remembered, and every text is inspected.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use cordon_domain::{Finding, Role};
use siphasher::sip128::{Hasher128, SipHasher24};

/// Texts and findings of one half of a part.
const MOST: usize = 4096;
/// A text with more findings is inspected each time.
const MOST_OF_A_TEXT: usize = 256;
/// Parts, so that threads seldom wait for each other.
const PARTS: usize = 8;

/// What a text is known again by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Known(u128);

/// All that findings depend on, beside the detectors.
pub(crate) struct Asked<'a> {
    /// Whose text it is.
    pub(crate) whose: &'a str,
    pub(crate) role: Role,
    /// Whether the key of the text's place says that a number is a time.
    pub(crate) moment: bool,
    /// Whether names are looked for by the token classifier.
    pub(crate) names: bool,
    pub(crate) text: &'a str,
}

/// The findings of texts by what the texts are known by.
pub(crate) struct Remembered {
    key: Option<[u8; 16]>,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Default)]
struct Part {
    young: HashMap<Known, Box<[Finding]>>,
    old: HashMap<Known, Box<[Finding]>>,
    /// Texts and findings among the young.
    weight: usize,
}

impl Default for Remembered {
    fn default() -> Self {
        let mut key = [0; 16];
        Self {
            key: aws_lc_rs::rand::fill(&mut key).is_ok().then_some(key),
            parts: Default::default(),
        }
    }
}

impl Remembered {
    /// What that text is known by.
    pub(crate) fn known(&self, asked: &Asked<'_>) -> Option<Known> {
        let mut hasher = SipHasher24::new_with_key(self.key.as_ref()?);
        // The lengths keep two values from running into one another.
        let front = [asked.role as u8, u8::from(asked.moment), u8::from(asked.names)];
        std::hash::Hasher::write(&mut hasher, &front);
        for text in [asked.whose, asked.text] {
            std::hash::Hasher::write(&mut hasher, &(text.len() as u64).to_le_bytes());
            std::hash::Hasher::write(&mut hasher, text.as_bytes());
        }
        Some(Known(hasher.finish128().as_u128()))
    }

    /// What was found in it, as findings of the segment with that index.
    pub(crate) fn findings(&self, known: Known, segment: usize) -> Option<Vec<Finding>> {
        let mut part = self.part(known);
        if !part.young.contains_key(&known) {
            let kept = part.old.remove(&known)?;
            part.keep(known, kept);
        }
        let found = part.young.get(&known)?;
        let of_segment = |finding: &Finding| Finding {
            segment,
            ..finding.clone()
        };
        Some(found.iter().map(of_segment).collect())
    }

    /// Remembers what was found.
    pub(crate) fn remember(&self, known: Known, findings: &[Finding]) {
        if findings.len() <= MOST_OF_A_TEXT {
            self.part(known).keep(known, findings.into());
        }
    }

    fn part(&self, known: Known) -> std::sync::MutexGuard<'_, Part> {
        let index = (known.0 % PARTS as u128) as usize;
        // What is remembered of one text never depends on another's, so a panic in between leaves it whole.
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn keep(&mut self, known: Known, findings: Box<[Finding]>) {
        let weight = 1 + findings.len();
        if self.weight + weight > MOST {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(known, findings);
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(whose: &'a str, text: &'a str) -> Asked<'a> {
        Asked {
            whose,
            role: Role::User,
            moment: false,
            names: false,
            text,
        }
    }

    #[test]
    fn a_text_is_known_by_everything_that_its_findings_depend_on() {
        let memory = Remembered::default();
        let base = || asked("a", "text");
        let others = [
            asked("a", "texu"),
            asked("b", "text"),
            asked("at", "ext"),
            Asked {
                role: Role::Other,
                ..base()
            },
            Asked {
                moment: true,
                ..base()
            },
            Asked {
                names: true,
                ..base()
            },
        ];
        let known = memory.known(&base());
        assert!(known.is_some() && known == memory.known(&base()));
        for other in &others {
            assert!(memory.known(other) != known);
        }
        assert!(
            Remembered::default().known(&base()) != known,
            "each process has its key"
        );
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_asked_for() {
        let memory = Remembered::default();
        let known = |text: &str| memory.known(&asked("a", text)).unwrap();
        let wanted = known("wanted");
        memory.remember(wanted, &[]);
        for number in 0..20 * PARTS * MOST {
            memory.remember(known(&number.to_string()), &[]);
            if number % 1000 == 0 {
                assert!(memory.findings(wanted, 0).is_some());
            }
        }
        assert!(memory.findings(known("0"), 0).is_none());
        let held: usize = memory
            .parts
            .iter()
            .map(|part| part.lock().unwrap())
            .map(|part| part.young.len() + part.old.len())
            .sum();
        assert!(held <= 2 * PARTS * MOST, "{held}");
    }
}
