//! What files said that were read lately, by a hash of each, within so many bytes.
//!
//! It is lost with the process, and never written anywhere.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};

use super::Said;

/// The hash of a file and its name.
pub(super) type Mark = [u8; 32];

/// The hash of a file, its name, and whose it is: nobody can tell by the clock what somebody else has sent.
pub(super) fn mark(whose: &str, name: &str, bytes: &[u8]) -> Mark {
    let mut digest = Sha256::new();
    for text in [whose, name] {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.update(bytes);
    digest.finalize().into()
}

/// Two halves: when the younger is full it takes the place of the older, so that the least recently used
/// half is what is forgotten.
pub(super) struct Memory {
    young: HashMap<Mark, Arc<Said>>,
    old: HashMap<Mark, Arc<Said>>,
    half: usize,
    used: usize,
}

impl Memory {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: bytes / 2,
            used: 0,
        }
    }

    pub(super) fn known(&mut self, mark: &Mark) -> Option<Arc<Said>> {
        if let Some(known) = self.young.get(mark) {
            return Some(known.clone());
        }
        let known = self.old.remove(mark)?;
        self.remember(*mark, known.clone());
        Some(known)
    }

    pub(super) fn remember(&mut self, mark: Mark, said: Arc<Said>) {
        let size = size(&said);
        if size > self.half {
            return;
        }
        if self.used + size > self.half {
            self.old = std::mem::take(&mut self.young);
            self.used = 0;
        }
        self.used += size;
        self.young.insert(mark, said);
    }
}

fn size(said: &Said) -> usize {
    let texts: usize = said
        .texts
        .iter()
        .map(|(path, text)| path.len() + text.len())
        .sum();
    let unread: usize = said.unread.iter().map(String::len).sum();
    size_of::<Mark>() + size_of::<Said>() + texts + unread
}

#[cfg(test)]
mod tests {
    use cordon_domain::Text;
    use cordon_inspect::document::Kind;

    use super::*;

    fn said(bytes: usize) -> Arc<Said> {
        Arc::new(Said {
            kind: Kind::Pdf,
            texts: vec![("p".to_owned(), Text::from("x".repeat(bytes)))],
            unread: Vec::new(),
        })
    }

    #[test]
    fn the_least_recently_read_are_forgotten() {
        let mut memory = Memory::new(4000);
        let marks: Vec<Mark> = (0..6_u8).map(|i| mark("ann", "a", &[i])).collect();
        assert_ne!(mark("ann", "ab", b"c"), mark("ann", "a", b"bc"));
        assert_ne!(mark("ann", "a", b"b"), mark("bob", "a", b"b"));
        for mark in &marks {
            memory.remember(*mark, said(800));
        }
        assert!(memory.known(&marks[0]).is_none());
        assert!(memory.known(&marks[5]).is_some() && memory.known(&marks[4]).is_some());
        memory.remember(mark("ann", "b", b""), said(10_000));
        assert!(memory.known(&mark("ann", "b", b"")).is_none(), "too large");
        assert!(memory.known(&marks[5]).is_some());
    }
}
