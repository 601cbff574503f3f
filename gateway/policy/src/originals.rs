use std::{collections::HashMap, fmt};

use zeroize::Zeroizing;

/// The originals of one exchange, by placeholder: what a reply is put right with.
///
/// It lives as long as its exchange and is never stored; the texts are wiped when it goes.
#[derive(Default)]
pub struct Originals {
    by_placeholder: HashMap<String, Zeroizing<String>>,
}

impl Originals {
    /// How many placeholders there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_placeholder.len()
    }

    /// Whether nothing was replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_placeholder.is_empty()
    }

    pub(crate) fn insert(&mut self, placeholder: String, original: &str) {
        self.by_placeholder
            .insert(placeholder, Zeroizing::new(original.to_owned()));
    }

    pub(crate) fn contains(&self, placeholder: &str) -> bool {
        self.by_placeholder.contains_key(placeholder)
    }

    /// All of them, sorted by placeholder.
    pub(crate) fn into_sorted(self) -> Vec<(String, Zeroizing<String>)> {
        let mut all: Vec<_> = self.by_placeholder.into_iter().collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

impl fmt::Debug for Originals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Originals({})", self.len())
    }
}
