//! A block of lines that may still grow: what it takes in, where it ends, and whether it is enough.

use std::ops::Range;

use super::{
    Block, Kind,
    languages::{LANGUAGES, Sort},
    unit::{Unit, Votes},
};

/// Lines that are neither code nor blank, which a block may hold in a row; and comments or blank ones.
const GAP: u32 = 2;
const GAP_OF_COMMENTS: u32 = 12;
/// Lines that are no code by themselves, which a bracket that is open may hold in a row.
const GAP_OF_BRACKETS: u32 = 40;
/// The fewest statements of a block without a fence.
pub(super) const LEAST: u32 = 3;
/// The fewest points of such a block, for each statement on average and together.
const LEAST_POINTS: u32 = 8;
/// The points of a line that stands for several statements.
pub(super) const SEVERAL: u16 = 6;
/// The language of pages.
const HTML: &str = "language: HTML";
/// Votes for a language of settings that a line of it has on average.
const VOTES_FOR_SETTINGS: u32 = 6;
/// A block that may still grow.
pub(super) struct Open {
    pub(super) kind: Kind,
    span: Range<usize>,
    pub(super) lines: u32,
    /// The same, those twice that hold several or are code beyond doubt.
    statements: u32,
    /// Lines that are neither of it nor blank.
    other: u32,
    /// Such lines since the last one of it, and those that do not speak against it.
    gap: u32,
    quiet: u32,
    strong: u32,
    points: u32,
    votes: Box<[u32; LANGUAGES.len()]>,
    evidence: &'static str,
    /// Brackets that were opened and not closed, and lines in a row that are code for no other reason.
    depth: i32,
    inside: u32,
    /// A comment that was opened and not closed.
    comment: bool,
}

impl Open {
    pub(super) fn new(kind: Kind, start: usize) -> Self {
        Self {
            kind,
            span: start..start,
            lines: 0,
            statements: 0,
            other: 0,
            gap: 0,
            quiet: 0,
            strong: 0,
            points: 0,
            votes: Box::new([0; LANGUAGES.len()]),
            evidence: "lines built like code",
            depth: 0,
            inside: 0,
            comment: false,
        }
    }

    pub(super) fn record(&mut self, end: usize, evidence: &'static str) {
        self.lines += 1;
        self.gap = 0;
        self.quiet = 0;
        self.span.end = end;
        self.evidence = evidence;
    }

    /// Takes a line in; says no when the block has ended before it.
    pub(super) fn add(&mut self, span: &Range<usize>, bare: &str, what: Unit, votes: &Votes) -> bool {
        if self.kind != Kind::Code {
            // The source lines of a Python trace and the message of a log's line may be between.
            self.gap += u32::from(what != Unit::Neutral);
            self.quiet += 1;
            return self.gap <= GAP && self.quiet <= GAP + 1 && self.kind == Kind::Trace;
        }
        if self.comment {
            self.quiet += 1;
            self.comment = !["*/", "\"\"\"", "'''", "-}", "*)"]
                .iter()
                .any(|end| bare.ends_with(end));
            return self.quiet <= 3 * GAP_OF_COMMENTS;
        }
        match what {
            // What closes a bracket may come behind a line that says nothing.
            Unit::Code(points)
                if points >= 2 || (points == 1 && (self.gap == 0 || bare.starts_with(['}', ')', ']']))) =>
            {
                self.lines += 1;
                self.statements += 1 + u32::from(points >= SEVERAL);
                self.points += u32::from(points);
                self.strong += u32::from(points >= 3);
                self.gap = 0;
                self.quiet = 0;
                self.inside = 0;
                self.depth = (self.depth + balance(bare)).max(0);
                self.span.end = span.end;
                for (sum, vote) in self.votes.iter_mut().zip(votes) {
                    *sum += u32::from(*vote);
                }
                true
            }
            Unit::Comment => {
                let opens = (bare.starts_with("/*") && !bare.contains("*/"))
                    || (["\"\"\"", "'''"].iter().any(|mark| {
                        bare.starts_with(mark) && !bare[3..].contains(mark) && !bare[3..].starts_with(' ')
                    }));
                self.comment = opens;
                self.quiet += 1;
                self.quiet <= GAP_OF_COMMENTS
            }
            Unit::Neutral if bare.is_empty() => {
                self.quiet += 1;
                self.quiet <= GAP_OF_COMMENTS && self.gap <= GAP
            }
            // Members of a literal, one a line.
            Unit::Neutral | Unit::Code(_) | Unit::Data
                if self.depth > 0 && self.inside < GAP_OF_BRACKETS && is_listed(bare) =>
            {
                self.inside += 1;
                self.depth = (self.depth + balance(bare)).max(0);
                self.span.end = span.end;
                true
            }
            Unit::Neutral | Unit::Code(_) | Unit::Data => {
                self.gap += 1;
                self.other += 1;
                self.gap <= GAP
            }
            // A page is made of sentences between its tags.
            Unit::Prose
                if self
                    .language()
                    .is_some_and(|language| LANGUAGES[language].evidence == HTML) =>
            {
                self.gap += 1;
                self.gap <= GAP
            }
            // A sentence ends a block at once.
            Unit::Prose => false,
        }
    }

    /// The language that most speaks for. Settings have words that programs have as well, so they want more of
    /// their own.
    fn language(&self) -> Option<usize> {
        let worth = |(language, votes): &(usize, &u32)| match LANGUAGES[*language].sort {
            Sort::Configuration if **votes < self.lines * VOTES_FOR_SETTINGS => 0,
            _ => **votes,
        };
        let best = self.votes.iter().enumerate().max_by_key(worth)?;
        (worth(&best) > 0).then_some(best.0)
    }

    pub(super) fn block(self) -> Option<Block> {
        if self.span.is_empty() {
            return None;
        }
        if self.kind != Kind::Code {
            let enough = self.lines >= 2;
            return enough.then(|| Block {
                kind: self.kind,
                span: self.span,
                score: if self.lines >= 3 { 0.9 } else { 0.7 },
                evidence: vec![self.evidence],
            });
        }
        let enough = self.statements >= LEAST
            && self.strong > 0
            && self.points >= LEAST_POINTS
            && self.points * 2 >= self.lines * 3
            && self.lines > self.other;
        if !enough {
            return None;
        }
        let language = self.language();
        let kind = match language.map(|language| LANGUAGES[language].sort) {
            Some(Sort::Configuration) => Kind::Configuration,
            _ => Kind::Code,
        };
        let score = worth(self.lines);
        let mut evidence = vec![self.evidence];
        evidence.extend(language.map(|language| LANGUAGES[language].evidence));
        Some(Block {
            kind,
            span: self.span,
            score: if language.is_some() {
                score
            } else {
                (score - 0.15).max(0.4)
            },
            evidence,
        })
    }
}

/// How many more brackets a line opens than it closes.
fn balance(line: &str) -> i32 {
    line.bytes()
        .map(|byte| {
            i32::from(matches!(byte, b'(' | b'[' | b'{')) - i32::from(matches!(byte, b')' | b']' | b'}'))
        })
        .sum()
}

/// Ends as members of literals, arguments and fields do.
fn is_listed(line: &str) -> bool {
    line.ends_with([',', '{', '[', '(', '}', ']', ')', '"', '\'', ';'])
}

/// More lines are worth more.
pub(super) fn worth(lines: u32) -> f32 {
    match lines {
        0..=2 => 0.4,
        3..=4 => 0.5,
        5..=9 => 0.7,
        10..=19 => 0.85,
        _ => 0.95,
    }
}
