//! Patterns and sets of patterns, compiled when they are first needed: most texts need few of them, and most
//! programs that load the embedded files are short-lived.
//!
//! Limits: [`MAX_PATTERN_BYTES`] a compiled pattern, [`SET_CACHE_BYTES`] of states that a set keeps per thread.

use std::{ops::Range, sync::OnceLock};

use regex_automata::{
    Anchored, Input, MatchKind, PatternID, PatternSet,
    meta::{self, Regex},
    util::primitives::NonMaxUsize,
};
use regex_syntax::{
    ParserBuilder,
    hir::{Hir, HirKind, Look},
};

use crate::needs::{Beginnings, Needs};

/// The largest compiled pattern.
pub(crate) const MAX_PATTERN_BYTES: usize = 4 << 20;
/// What a set of patterns may remember of the texts that it met.
const SET_CACHE_BYTES: usize = 8 << 20;
/// The largest set; it holds each pattern once more.
const MAX_SET_BYTES: usize = 64 << 20;
/// The furthest group that can be the value.
const MAX_GROUP: usize = 15;

/// The pattern of a detector.
pub(crate) struct Pattern {
    source: String,
    compiled: OnceLock<Compiled>,
}

pub(crate) struct Compiled {
    regex: Regex,
    /// The capture group that is the value.
    group: usize,
    /// What stands before and behind the value, where that is plain enough to tell the value from the match.
    edges: Option<(Edge, Edge)>,
    /// The pattern without borders of words in all scripts, if it has such.
    borderless: Option<Borderless>,
    pub(crate) needs: Needs,
    beginnings: Option<Beginnings>,
}

/// A pattern that matches wherever another one does, and perhaps elsewhere; compiled when it is first needed.
struct Borderless {
    pattern: Hir,
    compiled: OnceLock<Option<Regex>>,
}

impl Borderless {
    /// From where on the pattern that it stands for may match.
    fn first(&self, text: &str, window: Range<usize>, anchored: Anchored) -> Option<usize> {
        let start = window.start;
        let regex = self.compiled.get_or_init(|| {
            Regex::builder()
                .configure(config())
                .build_from_hir(&self.pattern)
                .ok()
        });
        match regex {
            Some(regex) => regex
                .search(&Input::new(text).span(window).anchored(anchored))
                .map(|found| found.start()),
            None => Some(start),
        }
    }
}

fn config() -> meta::Config {
    meta::Config::new()
        .nfa_size_limit(Some(MAX_PATTERN_BYTES))
        .onepass_size_limit(Some(1 << 18))
}

impl Pattern {
    /// Patterns of the embedded files are `trusted` to compile, as a test compiles them all; others are
    /// compiled at once, so that a mistake is told when the file is loaded.
    pub(crate) fn new(source: String, trusted: bool) -> Result<Self, String> {
        let compiled = OnceLock::new();
        if !trusted {
            let _ = compiled.set(Compiled::new(&source)?);
        }
        Ok(Self { source, compiled })
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            Compiled::new(&self.source).expect("a test compiles every pattern of the embedded files")
        })
    }
}

impl Compiled {
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let pattern = parsed(source)?;
        let regex = Regex::builder()
            .configure(config())
            .build_from_hir(&pattern)
            .map_err(|error| error.to_string())?;
        let group = regex.group_info().to_index(PatternID::ZERO, "value").unwrap_or(0);
        if group > MAX_GROUP {
            return Err(format!("more than {} groups before the value", MAX_GROUP - 1));
        }
        Ok(Self {
            regex,
            group,
            edges: Edge::around_value(&pattern),
            needs: Needs::of(&pattern),
            beginnings: Beginnings::of(&pattern),
            borderless: pattern
                .properties()
                .look_set()
                .contains_word_unicode()
                .then(|| Borderless {
                    pattern: without_borders(pattern),
                    compiled: OnceLock::new(),
                }),
        })
    }

    /// Where its first match begins, and the value in it, which may be empty.
    pub(crate) fn find(
        &self,
        text: &str,
        mut window: Range<usize>,
        anchored: Anchored,
    ) -> Option<(usize, Range<usize>)> {
        if let Some(borderless) = &self.borderless
            && !text.as_bytes()[window.clone()].is_ascii()
        {
            // The fast automata give up where a letter that is not ASCII may be at a border, and those that do not
            // are slow; most windows hold nothing that matches even without borders.
            window.start = borderless.first(text, window.clone(), anchored)?;
        }
        let input = Input::new(text).span(window).anchored(anchored);
        let Some((before, behind)) = self.edges else {
            return self.find_by_group(&input);
        };
        // Where a match lies is told by automata that are many times as fast as those that know groups.
        let whole = self.regex.search(&input)?;
        let (start, end) = (whole.start(), whole.end());
        let value = match (before, behind) {
            (Edge::StartOrOne, _) if start == 0 => None,
            (_, Edge::EndOrOne) if end == text.len() => None,
            _ => Some(start + before.bytes_from(&text[start..])..end - behind.bytes_to(&text[..end])),
        };
        match value {
            Some(value) => Some((start, value)),
            None => self.find_by_group(&input.span(start..end).anchored(Anchored::Yes)),
        }
    }

    /// Whether a match could begin with these bytes.
    pub(crate) fn may_begin(&self, bytes: &[u8]) -> bool {
        self.beginnings
            .as_ref()
            .is_none_or(|beginnings| beginnings.allow(bytes))
    }

    fn find_by_group(&self, input: &Input<'_>) -> Option<(usize, Range<usize>)> {
        let mut slots: [Option<NonMaxUsize>; 2 * (MAX_GROUP + 1)] = [None; _];
        let slots = &mut slots[..2 * (self.group + 1)];
        self.regex.search_slots(input, slots)?;
        let at = |slot: usize| slots[slot].map(NonMaxUsize::get);
        let whole = at(0)?..at(1)?;
        let value = match (at(2 * self.group), at(2 * self.group + 1)) {
            (Some(start), Some(end)) => start..end,
            _ => whole.clone(),
        };
        Some((whole.start, value))
    }
}

/// What a pattern has between the border of its match and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Bytes(usize),
    /// One character.
    One,
    /// The start of the text, or one character.
    StartOrOne,
    /// The end of the text, or one character.
    EndOrOne,
}

impl Edge {
    fn around_value(pattern: &Hir) -> Option<(Self, Self)> {
        let HirKind::Concat(parts) = pattern.kind() else {
            return None;
        };
        let is_value = |part: &Hir| matches!(part.kind(), HirKind::Capture(capture) if capture.name.as_deref() == Some("value"));
        let value = parts.iter().position(is_value)?;
        Some((
            Self::of(&parts[..value], Look::Start, Self::StartOrOne)?,
            Self::of(&parts[value + 1..], Look::End, Self::EndOrOne)?,
        ))
    }

    fn of(parts: &[Hir], border: Look, border_or_one: Self) -> Option<Self> {
        if let [part] = parts {
            match part.kind() {
                HirKind::Class(_) => return Some(Self::One),
                HirKind::Alternation(choices) => {
                    let [a, b] = choices.as_slice() else { return None };
                    let is_border = |one: &Hir| matches!(one.kind(), HirKind::Look(look) if *look == border);
                    let is_one = |one: &Hir| matches!(one.kind(), HirKind::Class(_));
                    let either = (is_border(a) && is_one(b)) || (is_border(b) && is_one(a));
                    return either.then_some(border_or_one);
                }
                _ => {}
            }
        }
        let bytes = |part: &Hir| {
            let known = part.properties();
            let least = known.minimum_len()?;
            (known.maximum_len() == Some(least)).then_some(least)
        };
        parts.iter().map(bytes).sum::<Option<usize>>().map(Self::Bytes)
    }

    /// How long it is at the beginning of a match.
    fn bytes_from(self, text: &str) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => text.chars().next().map_or(0, char::len_utf8),
        }
    }

    /// How long it is at the end of a match.
    fn bytes_to(self, text: &str) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => text.chars().next_back().map_or(0, char::len_utf8),
        }
    }
}

fn parsed(source: &str) -> Result<Hir, String> {
    ParserBuilder::new()
        .unicode(true)
        .utf8(true)
        .build()
        .parse(source)
        .map_err(|error| error.to_string())
}

/// The pattern without its borders of words in all scripts: it matches wherever the pattern does.
fn without_borders(pattern: Hir) -> Hir {
    match pattern.into_kind() {
        HirKind::Look(
            Look::WordUnicode
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode
            | Look::WordUnicodeNegate,
        ) => Hir::empty(),
        HirKind::Capture(mut capture) => {
            capture.sub = Box::new(without_borders(*capture.sub));
            Hir::capture(capture)
        }
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(without_borders(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(without_borders).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(without_borders).collect()),
        HirKind::Empty => Hir::empty(),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
    }
}

/// The patterns of one gate as one automaton. It says in one pass over a candidate which of them match in it
/// at all; few do, and those alone are then searched for.
#[derive(Default)]
pub(crate) struct PatternsOfGate {
    /// Nothing when all together are too large for one automaton: then each is tried by itself.
    compiled: OnceLock<Option<Regex>>,
}

impl PatternsOfGate {
    /// Fills the set with the places in `patterns` of those that match in the window.
    ///
    /// Borders of words in all scripts are left out, since the fast automata do not know them; so a pattern may be
    /// named that does not match after all, and never the other way round.
    pub(crate) fn matching<'p>(
        &self,
        patterns: impl ExactSizeIterator<Item = &'p Pattern>,
        text: &str,
        window: Range<usize>,
        set: &mut PatternSet,
    ) {
        let count = patterns.len();
        let regex = self.compiled.get_or_init(|| {
            let patterns: Vec<Hir> = patterns
                .map(|pattern| parsed(pattern.source()).ok().map(without_borders))
                .collect::<Option<_>>()?;
            let config = meta::Config::new()
                .match_kind(MatchKind::All)
                .nfa_size_limit(Some(MAX_SET_BYTES))
                .hybrid_cache_capacity(SET_CACHE_BYTES);
            Regex::builder()
                .configure(config)
                .build_many_from_hir(&patterns)
                .ok()
        });
        if set.capacity() < count {
            *set = PatternSet::new(count);
        }
        set.clear();
        match regex {
            Some(regex) => regex.which_overlapping_matches(&Input::new(text).span(window), set),
            None => (0..count).for_each(|place| {
                set.insert(PatternID::must(place));
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_are_told_where_they_are_plain() {
        let edges = |source: &str| Compiled::new(source).unwrap().edges;
        assert_eq!(
            edges(r"(?:^|[^a])(?P<value>a+)(?:$|[^a])"),
            Some((Edge::StartOrOne, Edge::EndOrOne))
        );
        assert_eq!(
            edges(r"\bkey (?P<value>a+)[^a]"),
            Some((Edge::Bytes(4), Edge::One))
        );
        assert_eq!(edges(r"key *(?P<value>a+)"), None);
        assert_eq!(edges(r"(?m:^|[^a])(?P<value>a+)"), None);
    }

    #[test]
    fn a_set_names_all_that_match_in_any_script() {
        let patterns: Vec<Pattern> = [
            r"\b\p{Lu}\d{6}\b",
            r"\b(?:é|x)+\d{6}",
            r"\B\d{7}",
            r"(?-u:\b)z\d{6}",
        ]
        .iter()
        .map(|source| Pattern::new((*source).to_owned(), false).unwrap())
        .collect();
        let gate = PatternsOfGate::default();
        for text in [
            "nr É123456",
            "éé123456.",
            "a1234567",
            "z123456",
            "éz123456",
            "É1234567",
        ] {
            let mut set = PatternSet::new(0);
            gate.matching(patterns.iter(), text, 0..text.len(), &mut set);
            for (place, pattern) in patterns.iter().enumerate() {
                if pattern
                    .compiled()
                    .find(text, 0..text.len(), Anchored::No)
                    .is_some()
                {
                    assert!(
                        set.contains(PatternID::must(place)),
                        "{text}: {}",
                        pattern.source()
                    );
                }
            }
            assert!(!set.is_empty(), "{text}");
        }
        let mut set = PatternSet::new(0);
        gate.matching(patterns.iter(), "no number", 0..9, &mut set);
        assert!(set.is_empty());
    }

    proptest! {
        #[test]
        fn the_value_is_the_group(
            before in prop::sample::select(vec!["", "(?:^|[^a])", "(?:[^a]|^)", r"\b", "b", "[^a]", "é ", "b?"]),
            behind in prop::sample::select(vec!["", "(?:$|[^a])", r"\b", "[^a]", "b", "é?"]),
            text in "[abé ]{0,24}",
            cut in (0usize..6, 0usize..6),
        ) {
            let pattern = Compiled::new(&format!("{before}(?P<value>a+b?)(?:{behind})")).unwrap();
            let start = text.floor_char_boundary(cut.0.min(text.len()));
            let window = start..text.ceil_char_boundary(text.len().saturating_sub(cut.1).max(start));
            for anchored in [Anchored::No, Anchored::Yes] {
                let input = Input::new(&text).span(window.clone()).anchored(anchored);
                prop_assert_eq!(
                    pattern.find(&text, window.clone(), anchored),
                    pattern.find_by_group(&input)
                );
            }
        }
    }
}
