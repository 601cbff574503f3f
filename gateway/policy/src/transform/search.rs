//! Looks for the values of one request in its texts: of those that begin first, the longest.
//!
//! Most requests have a few values, and building an automaton for them takes longer than looking for each by itself.
//!
//! Limits: [`FEW`] values one by one, more by an automaton of at most as many bytes as its caller gives.
//!
//! On failure: [`TransformRefused::TooManyValues`].

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use cordon_domain::EntityType;
use memchr::memmem::Finder;

use super::TransformRefused;

/// The most values that are looked for one by one.
const FEW: usize = 8;

/// The values, ready to be looked for.
pub(super) enum Search<'v> {
    Few(Vec<Finder<'v>>),
    Many(AhoCorasick),
}

impl<'v> Search<'v> {
    pub(super) fn new(values: &[(&'v str, &EntityType)]) -> Result<Self, TransformRefused> {
        if values.len() <= FEW {
            let finders = values.iter().map(|(value, _)| Finder::new(*value));
            return Ok(Self::Few(finders.collect()));
        }
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // It is built for one request: the automaton that searches fastest takes longer to build than it saves.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(values.iter().map(|(value, _)| value))
            .map(Self::Many)
            .map_err(|_| TransformRefused::TooManyValues)
    }

    /// The same over one stretch of a text.
    pub(super) fn over<'s, 't>(&'s self, text: &'t str, stretch: Range<usize>) -> Over<'s, 't> {
        let few = match self {
            Self::Few(finders) => finders
                .iter()
                .map(|finder| Next {
                    finder,
                    at: Some(stretch.start),
                    found: false,
                })
                .collect(),
            Self::Many(_) => Vec::new(),
        };
        Over {
            search: self,
            text,
            until: stretch.end,
            few,
        }
    }
}

/// A search that goes on.
pub(super) struct Over<'s, 't> {
    search: &'s Search<'s>,
    text: &'t str,
    until: usize,
    few: Vec<Next<'s>>,
}

/// Where one value stands next. It is looked for again only when that lies behind, so that all of a text is
/// read once for each value, however many hits there are.
struct Next<'s> {
    finder: &'s Finder<'s>,
    /// Where it stands, or from where on it was not looked for; none when it stands nowhere any more.
    at: Option<usize>,
    found: bool,
}

impl Over<'_, '_> {
    /// The number of the next value from `from` on, and where it begins. `from` never goes back.
    pub(super) fn next(&mut self, from: usize) -> Option<(usize, usize)> {
        let text = self.text.as_bytes();
        let until = self.until;
        match self.search {
            Search::Many(search) => {
                let hit = search.find(Input::new(text).range(from..until))?;
                Some((hit.pattern().as_usize(), hit.start()))
            }
            Search::Few(_) => {
                let mut best: Option<(usize, usize, usize)> = None;
                for (number, next) in self.few.iter_mut().enumerate() {
                    if let Some(at) = next.at.filter(|at| !next.found || *at < from) {
                        let start = at.max(from);
                        next.at = text
                            .get(start..until)
                            .and_then(|rest| next.finder.find(rest))
                            .map(|place| start + place);
                        next.found = true;
                    }
                    let Some(start) = next.at else { continue };
                    let length = next.finder.needle().len();
                    if best.is_none_or(|(_, first, longest)| (start, longest) < (first, length)) {
                        best = Some((number, start, length));
                    }
                }
                best.map(|(number, start, _)| (number, start))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_by_one_and_together_find_the_same(
            text in "[ab ]{0,60}",
            values in prop::collection::hash_set("[ab ]{1,4}", 1..=FEW),
            cut in (0usize..30, 0usize..30),
            steps in prop::collection::vec(any::<bool>(), 60),
        ) {
            let entity: EntityType = "EMAIL".parse().unwrap();
            let values: Vec<(&str, &EntityType)> = values.iter().map(|value| (value.as_str(), &entity)).collect();
            let few = Search::new(&values).unwrap();
            prop_assert!(matches!(few, Search::Few(_)));
            let all = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(values.iter().map(|(value, _)| value))
                .unwrap();
            let many = Search::Many(all);
            let stretch = cut.0.min(text.len())..text.len().saturating_sub(cut.1).max(cut.0.min(text.len()));
            let (mut one, mut other) = (few.over(&text, stretch.clone()), many.over(&text, stretch.clone()));
            let mut at = stretch.start;
            for whole in steps {
                let found = one.next(at);
                prop_assert_eq!(found, other.next(at));
                let Some((number, start)) = found else { break };
                at = if whole { start + values[number].0.len() } else { start + 1 };
            }
        }
    }
}
