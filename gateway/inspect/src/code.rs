//! Source code inside a text, as whole files, fenced blocks or a few lines amid prose; stack traces, logs
//! and settings beside it.
//!
//! What is put before lines (quoting, diff signs, numbers, prompts, chat stamps) is taken off, long lines are
//! cut into statements, and each is looked at by itself ([`unit`]): indentation and line breaks do not
//! matter. Statements near each other form a block, whose finding spans its lines. One line of code in
//! a chat is everyday speech among engineers, so short blocks score lower and single lines nothing.
//!
//! It tells code from prose and from data (JSON, CSV, XML); whose code it is, is for fingerprints.
//!
//! Limits: [`MAX_BYTES`] of a text are read. Linear. On failure: there is none; a text that is not understood
//! holds no block.

use std::ops::Range;

mod dress;
mod fence;
mod languages;
mod records;
mod settings;
mod shapes;
mod unit;
mod words;

use fence::Tag;
use languages::{LANGUAGES, Sort};
use records::Record;
use settings::Settings;
use unit::{Unit, Votes};

/// Text behind this is not looked at for code: by then a block has long been found.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// Lines that are neither code nor blank, which a block may hold in a row; and comments or blank ones.
const GAP: u32 = 2;
const GAP_OF_COMMENTS: u32 = 12;
/// The fewest statements of a block without a fence.
const LEAST: u32 = 3;
/// The fewest points of such a block, for each statement on average and together.
const LEAST_POINTS: u32 = 8;
/// Lines longer than this are cut into statements.
const LONG_LINE: usize = 160;
/// What a long line is cut into where it has no statements.
const PIECE: usize = 90;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Source code.
    Code,
    /// A stack trace.
    Trace,
    /// Lines of a log.
    Log,
    /// Settings.
    Configuration,
}

/// A block of code, or of what machines write.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// What it holds.
    pub kind: Kind,
    /// Where: bytes of the text.
    pub span: Range<usize>,
    /// How sure, 0.0 to 1.0.
    pub score: f32,
    /// Why, and in which language; quotes nothing.
    pub evidence: Vec<&'static str>,
}

/// Finds the blocks of a text, in order and disjoint.
pub fn blocks(text: &str) -> Vec<Block> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut reader = Reader::default();
    let mut at = 0;
    while at < text.len() {
        let end = memchr::memchr(b'\n', &text.as_bytes()[at..]).map_or(text.len(), |length| at + length);
        reader.line(text, at..end);
        at = end + 1;
    }
    reader.end();
    let Reader {
        mut found, settings, ..
    } = reader;
    settings::merge(&mut found, settings.done());
    share(text, &mut found);
    found
}

/// Says how much of the text is code.
fn share(text: &str, found: &mut [Block]) {
    let code: usize = found
        .iter()
        .filter(|block| block.kind == Kind::Code)
        .map(|block| block.span.len())
        .sum();
    let all = text.trim().len().max(1);
    let words = match code * 100 / all {
        90.. => "nearly all of the text is code",
        50.. => "most of the text is code",
        20.. => "a part of the text is code",
        _ => "a small part of the text is code",
    };
    for block in found.iter_mut().filter(|block| block.kind == Kind::Code) {
        block.evidence.push(words);
    }
}

#[derive(Default)]
struct Reader {
    found: Vec<Block>,
    open: Option<Open>,
    fence: Option<Fenced>,
    settings: Settings,
    votes: Option<Box<Votes>>,
}

/// A fence with a language that is known.
struct Fenced {
    tag: Tag,
    span: Range<usize>,
    lines: u32,
}

impl Reader {
    fn line(&mut self, text: &str, span: Range<usize>) {
        let line = &text[span.clone()];
        let bare = dress::undressed(line);
        if bare.starts_with("```") || bare.starts_with("~~~") {
            self.fence_mark(bare, span);
            return;
        }
        if let Some(fence) = &mut self.fence {
            if !bare.is_empty() {
                fence.span.end = span.end;
                fence.lines += 1;
            }
            if fence.tag != Tag::Data {
                return;
            }
        }
        let span = span.start..span.start + line.trim_end().len();
        self.settings.line(line, bare, &span);
        // A log's time would be taken for a chat's stamp, and be off already.
        if let Some(record) = records::record(line.trim_ascii()).or_else(|| records::record(bare)) {
            let (kind, evidence) = match record {
                Record::Trace(whose) => (Kind::Trace, whose),
                Record::Log => (Kind::Log, "lines with time or level"),
            };
            self.open_as(kind, span.start);
            if let Some(open) = &mut self.open {
                open.record(span.end, evidence);
            }
            return;
        }
        if self.fence.is_some() {
            // Data by its tag: only records are looked for.
            self.close();
            return;
        }
        if line.len() <= LONG_LINE {
            self.unit(bare, span);
        } else {
            self.long(text, span);
        }
    }

    fn fence_mark(&mut self, bare: &str, span: Range<usize>) {
        self.close();
        match self.fence.take() {
            Some(fence) => self.fence_end(&fence),
            None => {
                let tag = fence::tag(bare[3..].trim());
                if tag != Tag::Unknown {
                    self.fence = Some(Fenced {
                        tag,
                        span: span.end + 1..span.end,
                        lines: 0,
                    });
                }
            }
        }
    }

    fn fence_end(&mut self, fence: &Fenced) {
        let (kind, evidence) = match fence.tag {
            Tag::Code(language) => (Kind::Code, language),
            Tag::Configuration(language) => (Kind::Configuration, language),
            Tag::Data | Tag::Unknown => return,
        };
        if fence.span.start >= fence.span.end {
            return;
        }
        let mut all = vec!["fenced as code"];
        all.extend(evidence);
        self.found.push(Block {
            kind,
            span: fence.span.clone(),
            score: worth(fence.lines).max(if fence.lines >= LEAST { 0.85 } else { 0.45 }),
            evidence: all,
        });
    }

    /// Cuts a long line into statements. Stretches of it that hold few signs are taken as they are.
    fn long(&mut self, text: &str, span: Range<usize>) {
        let line = &text.as_bytes()[span.clone()];
        if fence::is_json(line) {
            self.close();
            return;
        }
        let mut at = span.start;
        while at < span.end {
            let end = cut(text, at, span.end, LONG_LINE);
            if unit::symbols(&text.as_bytes()[at..end]) * 25 < end - at {
                self.unit(text[at..end].trim_ascii(), at..end);
                at = end;
                continue;
            }
            while at < end {
                let stop = cut(text, at, end, PIECE);
                let statement = text.as_bytes()[at..stop]
                    .iter()
                    .enumerate()
                    .skip(6)
                    .find(|(_, b)| matches!(b, b';' | b'{' | b'}'))
                    .map_or(stop, |(place, _)| at + place + 1);
                self.unit(text[at..statement].trim_ascii(), at..statement);
                at = statement;
            }
        }
    }

    fn unit(&mut self, bare: &str, span: Range<usize>) {
        let votes = self.votes.get_or_insert_with(|| Box::new([0; LANGUAGES.len()]));
        let what = unit::unit(bare, votes);
        let goes_on = self
            .open
            .as_mut()
            .is_some_and(|open| open.add(&span, bare, what, votes));
        if !goes_on {
            self.close();
            if let Unit::Code(points) = what
                && points >= 2
            {
                self.start(points, &span);
            }
        }
        if let (Some(votes), Unit::Code(_) | Unit::Prose | Unit::Neutral | Unit::Data) =
            (&mut self.votes, what)
        {
            votes.fill(0);
        }
    }

    fn start(&mut self, points: u16, span: &Range<usize>) {
        let mut open = Open::new(Kind::Code, span.start);
        if let Some(votes) = &self.votes {
            open.add(span, "", Unit::Code(points), votes);
        }
        self.open = Some(open);
    }

    fn open_as(&mut self, kind: Kind, start: usize) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.close();
            self.open = Some(Open::new(kind, start));
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.found.extend(open.block());
        }
    }

    fn end(&mut self) {
        self.close();
        if let Some(fence) = self.fence.take() {
            self.fence_end(&fence);
        }
    }
}

/// The end of a piece of at most so many bytes, at a space if there is one.
fn cut(text: &str, start: usize, end: usize, most: usize) -> usize {
    if end - start <= most {
        return end;
    }
    let stop = text.floor_char_boundary(start + most).max(start + 1);
    let back = text.as_bytes()[start..stop].iter().rposition(|b| *b == b' ');
    match back {
        Some(back) if back > most / 2 => start + back + 1,
        _ => text.ceil_char_boundary(stop),
    }
}

/// A block that may still grow.
struct Open {
    kind: Kind,
    span: Range<usize>,
    lines: u32,
    /// Lines that are neither of it nor blank.
    other: u32,
    /// Such lines since the last one of it, and those that do not speak against it.
    gap: u32,
    quiet: u32,
    strong: u32,
    points: u32,
    votes: Box<[u32; LANGUAGES.len()]>,
    evidence: &'static str,
    /// A comment that was opened and not closed.
    comment: bool,
}

impl Open {
    fn new(kind: Kind, start: usize) -> Self {
        Self {
            kind,
            span: start..start,
            lines: 0,
            other: 0,
            gap: 0,
            quiet: 0,
            strong: 0,
            points: 0,
            votes: Box::new([0; LANGUAGES.len()]),
            evidence: "lines built like code",
            comment: false,
        }
    }

    fn record(&mut self, end: usize, evidence: &'static str) {
        self.lines += 1;
        self.gap = 0;
        self.quiet = 0;
        self.span.end = end;
        self.evidence = evidence;
    }

    /// Takes a line in; says no when the block has ended before it.
    fn add(&mut self, span: &Range<usize>, bare: &str, what: Unit, votes: &Votes) -> bool {
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
                self.points += u32::from(points);
                self.strong += u32::from(points >= 3);
                self.gap = 0;
                self.quiet = 0;
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
            Unit::Neutral | Unit::Code(_) | Unit::Data => {
                self.gap += 1;
                self.other += 1;
                self.gap <= GAP
            }
            // A sentence ends a block at once.
            Unit::Prose => false,
        }
    }

    fn language(&self) -> Option<usize> {
        let (best, votes) = self.votes.iter().enumerate().max_by_key(|(_, votes)| **votes)?;
        (*votes > 0).then_some(best)
    }

    fn block(self) -> Option<Block> {
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
        let enough = self.lines >= LEAST
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

/// More lines are worth more.
fn worth(lines: u32) -> f32 {
    match lines {
        0..=2 => 0.4,
        3..=4 => 0.5,
        5..=9 => 0.7,
        10..=19 => 0.85,
        _ => 0.95,
    }
}
