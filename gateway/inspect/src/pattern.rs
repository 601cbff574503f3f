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
use regex_syntax::{ParserBuilder, hir::Hir};

use crate::needs::Needs;

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
    pub(crate) needs: Needs,
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
        let config = meta::Config::new()
            .nfa_size_limit(Some(MAX_PATTERN_BYTES))
            .onepass_size_limit(Some(1 << 18));
        let regex = Regex::builder()
            .configure(config)
            .build_from_hir(&pattern)
            .map_err(|error| error.to_string())?;
        let group = regex.group_info().to_index(PatternID::ZERO, "value").unwrap_or(0);
        if group > MAX_GROUP {
            return Err(format!("more than {} groups before the value", MAX_GROUP - 1));
        }
        Ok(Self {
            regex,
            group,
            needs: Needs::of(&pattern),
        })
    }

    /// Where its first match begins, and the value in it, which may be empty.
    pub(crate) fn find(
        &self,
        text: &str,
        window: Range<usize>,
        anchored: Anchored,
    ) -> Option<(usize, Range<usize>)> {
        let mut slots: [Option<NonMaxUsize>; 2 * (MAX_GROUP + 1)] = [None; _];
        let slots = &mut slots[..2 * (self.group + 1)];
        let input = Input::new(text).span(window).anchored(anchored);
        self.regex.search_slots(&input, slots)?;
        let at = |slot: usize| slots[slot].map(NonMaxUsize::get);
        let whole = at(0)?..at(1)?;
        let value = match (at(2 * self.group), at(2 * self.group + 1)) {
            (Some(start), Some(end)) => start..end,
            _ => whole.clone(),
        };
        Some((whole.start, value))
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
    /// Borders of words are taken as ASCII has them, since the fast automata do not know others. Every gate asks
    /// for ASCII digits, and next to those there is an ASCII border wherever there is one in all scripts.
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
                .map(|pattern| parsed(&pattern.source().replace("\\b", "(?-u:\\b)")).ok())
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
