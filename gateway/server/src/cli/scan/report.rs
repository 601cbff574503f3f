//! What a scan prints: one line a finding, the source line with carets, or one JSON object.
//!
//! Terminals and the logs of build servers are logs as well: a source line is shown with every value in it
//! replaced by its type, unless `--reveal` asks for the values. Control characters are never passed
//! on, so that a file cannot steer the terminal that shows it.

use std::{
    io::{IsTerminal, stdout},
    ops::Range,
    path::PathBuf,
};

use cordon_domain::Finding;
use serde_json::json;
use unicode_width::UnicodeWidthChar;

use crate::config;

/// So many columns of a source line are shown on each side of a finding.
const AROUND: usize = 60;
/// So many bytes on each side of a finding are looked at.
const NEAR: usize = 2048;
/// So many columns of a revealed value are shown.
const REVEALED: usize = 80;

/// A finding as it is printed.
pub(super) struct Reported {
    pub(super) path: PathBuf,
    /// The part of a document, from its `!/` on, which lines and columns are those of; empty for a file that
    /// is text.
    pub(super) inside: String,
    pub(super) commit: Option<String>,
    /// From 1; the end is behind the last character.
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
    pub(super) finding: Finding,
    /// Its mark in a baseline, where one is read or written.
    pub(super) mark: Option<String>,
    pub(super) shown: Option<Shown>,
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// Colours for a terminal whose user has not said `NO_COLOR`.
    pub(super) fn for_stdout() -> Self {
        Self(stdout().is_terminal() && config::wants_colours())
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Reported {
    /// `path:line:column type score`, and below it the source line where it is shown.
    pub(super) fn text(&self, paint: Paint) -> String {
        let place = format!(
            "{}{}:{}:{}",
            printable(&self.path.display().to_string()),
            printable(&self.inside),
            self.start.0,
            self.start.1
        );
        let commit = self
            .commit
            .as_ref()
            .map_or_else(String::new, |commit| format!(" in {commit}"));
        let mut text = format!(
            "{} {} {:.2}{commit}",
            paint.paint("1", &place),
            paint.paint("1;31", self.finding.entity.as_str()),
            self.finding.score
        );
        if let Some(shown) = &self.shown {
            let number = self.start.0.to_string();
            let bar = paint.paint("2", "|");
            let mut evidence = self.finding.evidence.join(", ");
            if let Some(source) = &self.finding.source {
                evidence += &format!(", {} % of {}", source.percent, printable(&source.file));
            }
            let why = if evidence.is_empty() {
                self.finding.detector.to_string()
            } else {
                format!("{}: {evidence}", self.finding.detector)
            };
            text += &format!(
                "\n{} {bar} {}\n{} {bar} {}{} {why}",
                paint.paint("2", &number),
                shown.line,
                " ".repeat(number.len()),
                " ".repeat(shown.before),
                paint.paint("1;31", &"^".repeat(shown.width.max(1))),
            );
        }
        text
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let mut object = json!({
            "path": self.path, "line": self.start.0, "column": self.start.1,
            "type": self.finding.entity.as_str(), "score": rounded(self.finding.score),
            "detector": self.finding.detector.as_ref(), "evidence": self.finding.evidence,
        });
        if let Some(source) = &self.finding.source {
            object["source"] = json!(source.as_ref());
        }
        if !self.inside.is_empty() {
            object["inside"] = self.inside.as_str().into();
        }
        if let Some(commit) = &self.commit {
            object["commit"] = commit.as_str().into();
        }
        object.to_string()
    }
}

pub(super) fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1000.0).round() / 1000.0
}

/// A source line to be shown, and where in it the finding is, in columns of a terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    line: String,
    before: usize,
    width: usize,
}

impl Shown {
    /// The line in which the finding at `index` begins. `all` are the findings of the text, in order and
    /// disjoint, each with the name that hides it.
    pub(super) fn new(text: &str, all: &[(Range<usize>, &str)], index: usize, reveal: bool) -> Self {
        let own = all[index].0.clone();
        let near = around(text, &own);
        let (start, end) = (near.start, near.end);
        let value = |name: &str, span: Range<usize>| {
            if reveal {
                cut(
                    &text[span.start.max(start)..span.end.min(end).max(span.start.max(start))],
                    REVEALED,
                )
            } else {
                format!("[{name}]")
            }
        };
        // What stands before, from the finding outwards, as far as there is room; then the finding; then
        // what stands behind.
        let mut before: Vec<String> = Vec::new();
        let (mut room, mut at) = (AROUND, own.start);
        for (span, name) in all[..index].iter().rev() {
            if room == 0 || at <= start {
                break;
            }
            before.extend(tail(&text[span.end.max(start).min(at)..at], &mut room));
            if span.end <= start || room == 0 {
                at = start;
                break;
            }
            let hidden = value(name, span.clone());
            room = room.saturating_sub(width(&hidden));
            before.push(hidden);
            at = span.start.max(start);
        }
        if at > start {
            before.extend(tail(&text[start..at], &mut room));
        }
        before.reverse();
        let before = before.concat();
        let shown = value(all[index].1, own.clone());
        let mut behind = String::new();
        let mut at = own.end.min(end);
        let mut room = AROUND;
        for (span, name) in &all[index + 1..] {
            if span.start >= end || room == 0 {
                break;
            }
            let plain = cut(&text[at.min(span.start)..span.start], room);
            room = room.saturating_sub(width(&plain));
            behind += &plain;
            if room > 0 {
                let hidden = value(name, span.clone());
                room = room.saturating_sub(width(&hidden));
                behind += &hidden;
            }
            at = span.end.min(end);
        }
        behind += &cut(&text[at..end], room);
        Self {
            before: width(&before),
            width: width(&shown),
            line: format!("{before}{shown}{}", behind.trim_end()),
        }
    }
}

/// The line in which a span begins, as far as it is near: lines may be as long as the file.
pub(super) fn around(text: &str, span: &Range<usize>) -> Range<usize> {
    let low = text.floor_char_boundary(span.start.saturating_sub(NEAR));
    let start = text[low..span.start].rfind('\n').map_or(low, |at| low + at + 1);
    let first = text.ceil_char_boundary((span.start + NEAR).min(text.len()));
    let high = text.ceil_char_boundary((span.end + NEAR).min(text.len()));
    let end = match text[span.start..first].find('\n') {
        Some(at) => span.start + at,
        None if span.end > first => first,
        None => text[first..high].find('\n').map_or(high, |at| first + at),
    };
    start..end
}

/// The end of a text, within the room that is left, which shrinks.
fn tail(text: &str, room: &mut usize) -> Option<String> {
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        let needs = c.width().unwrap_or(1);
        if needs > *room {
            *room = 0;
            break;
        }
        *room -= needs;
        from = at;
    }
    (from < text.len()).then(|| printable(&text[from..]))
}

/// The start of a text, of so many columns at most.
fn cut(text: &str, most: usize) -> String {
    let mut room = most;
    let mut to = text.len();
    for (at, c) in text.char_indices() {
        let needs = c.width().unwrap_or(1);
        if needs > room {
            to = at;
            break;
        }
        room -= needs;
    }
    printable(&text[..to])
}

fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(1)).sum()
}

/// A text without what would steer a terminal or turn its direction.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Lines and columns of rising byte offsets, in one pass.
pub(super) struct Positions<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    pub(super) fn of(&mut self, byte: usize) -> (usize, usize) {
        for character in self.text[self.at..byte].chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = byte;
        (self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let mut positions = Positions::new("é\nüx y");
        assert_eq!(positions.of(0), (1, 1));
        assert_eq!(positions.of(5), (2, 2));
        assert_eq!(positions.of(7), (2, 4));
    }

    #[test]
    fn lines_are_shown_without_the_values() {
        let text = "first\nkey = abc and 日本 def\x1b[2J end\nlast";
        let at = |word: &str| {
            let start = text.find(word).unwrap();
            start..start + word.len()
        };
        let all = [(at("abc"), "ONE"), (at("def"), "TWO")];
        let shown = Shown::new(text, &all, 1, false);
        assert_eq!(shown.line, "key = [ONE] and 日本 [TWO]\u{fffd}[2J end");
        assert_eq!((shown.before, shown.width), (21, 5));
        let shown = Shown::new(text, &all, 0, true);
        assert_eq!(shown.line, "key = abc and 日本 def\u{fffd}[2J end");
        assert_eq!((shown.before, shown.width), (6, 3));
    }

    #[test]
    fn values_over_several_lines_and_long_lines_are_cut() {
        let text = format!("{}-----BEGIN\nMORE\n-----END{}", "x".repeat(500), "y".repeat(500));
        let span = 500..text.find("-----END").unwrap() + 8;
        let shown = Shown::new(&text, &[(span.clone(), "KEY")], 0, false);
        assert_eq!(shown.line, format!("{}[KEY]", "x".repeat(60)));
        let shown = Shown::new(&text, &[(span, "KEY")], 0, true);
        assert_eq!(shown.line, format!("{}-----BEGIN", "x".repeat(60)));
        // A value that began on an earlier line is hidden in the line of a later one.
        let text = "aa\nbb cc";
        let shown = Shown::new(text, &[(0..5, "A"), (6..8, "C")], 1, false);
        assert_eq!(shown.line, "[A] [C]");
    }

    #[test]
    fn colours_are_for_terminals() {
        let reported = Reported {
            inside: String::new(),
            path: PathBuf::from("a\x1b.txt"),
            commit: None,
            start: (3, 7),
            end: (3, 10),
            finding: Finding {
                segment: 0,
                span: 6..9,
                entity: "EMAIL".parse().unwrap(),
                detector: "email".into(),
                score: 0.9,
                evidence: vec!["context word near"],
                source: None,
            },
            mark: None,
            shown: Some(Shown {
                line: "key = [EMAIL]".to_owned(),
                before: 6,
                width: 7,
            }),
        };
        assert_eq!(
            reported.text(Paint(false)),
            "a\u{fffd}.txt:3:7 EMAIL 0.90\n3 | key = [EMAIL]\n  |       ^^^^^^^ email: context word near"
        );
        assert!(reported.text(Paint(true)).contains("\x1b[1;31mEMAIL\x1b[0m"));
    }
}
