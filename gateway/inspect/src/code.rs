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

mod block;
mod dress;
mod fence;
mod instructions;
mod languages;
mod records;
mod settings;
mod shapes;
mod unit;
mod walk;
mod words;

use block::{LEAST, Open, SEVERAL, worth};
use fence::Tag;
use languages::LANGUAGES;
use records::Record;
use settings::Settings;
use unit::{Unit, Votes};

/// Text behind this is not looked at for code: by then a block has long been found.
pub(crate) const MAX_BYTES: usize = 8 << 20;
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
            self.unit(bare, span, false);
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
        let mut quoted = false;
        while at < span.end {
            let end = cut(text, at, span.end, LONG_LINE);
            if unit::symbols(&text.as_bytes()[at..end]) * 25 < end - at {
                self.unit(unquoted(&text[at..end], &mut quoted).trim_ascii(), at..end, true);
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
                let bare = unquoted(&text[at..statement], &mut quoted).trim_ascii();
                self.unit(bare, at..statement, true);
                at = statement;
            }
        }
    }

    /// Takes a line, or a piece of one, which may hold several statements.
    fn unit(&mut self, bare: &str, span: Range<usize>, piece: bool) {
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
                self.start(points, &span, bare);
            }
        }
        if piece && let (Unit::Code(SEVERAL..), Some(open)) = (what, &mut self.open) {
            open.lines += 1;
        }
        if let (Some(votes), Unit::Code(_) | Unit::Prose | Unit::Neutral | Unit::Data) =
            (&mut self.votes, what)
        {
            votes.fill(0);
        }
    }

    fn start(&mut self, points: u16, span: &Range<usize>, bare: &str) {
        let mut open = Open::new(Kind::Code, span.start);
        if let Some(votes) = &self.votes {
            open.add(span, bare, Unit::Code(points), votes);
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

/// A piece of a line without what it holds of strings that began before it or end behind it: they look like
/// sentences. `quoted` says whether it begins, and then whether it ends, inside a string.
fn unquoted<'t>(piece: &'t str, quoted: &mut bool) -> &'t str {
    let bytes = piece.as_bytes();
    if memchr::memchr(b'"', bytes).is_none() {
        return if *quoted { "" } else { piece };
    }
    let marks = || (0..bytes.len()).filter(|at| bytes[*at] == b'"' && (*at == 0 || bytes[at - 1] != b'\\'));
    let start = match (*quoted, marks().next()) {
        (false, _) => 0,
        (true, Some(mark)) => mark + 1,
        (true, None) => piece.len(),
    };
    *quoted ^= marks().count() % 2 == 1;
    match marks().next_back() {
        Some(mark) if *quoted && mark >= start => &piece[start..mark],
        _ => &piece[start..],
    }
}
