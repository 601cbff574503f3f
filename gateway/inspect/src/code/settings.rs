//! Files of settings: sections with pairs, nested keys as in YAML, variables of an environment.

use std::ops::Range;

use super::{
    Block, Kind,
    records::{Setting, setting},
};

/// Settings read so far.
#[derive(Default)]
pub(super) struct Settings {
    open: Option<Open>,
    found: Vec<(Range<usize>, &'static str)>,
}

#[derive(Default)]
struct Open {
    span: Range<usize>,
    sections: u32,
    pairs: u32,
    variables: u32,
    parents: u32,
    children: u32,
    others: u32,
    gap: u32,
}

impl Settings {
    /// Takes a line. Most lines of most texts are told by their first and last byte.
    pub(super) fn line(&mut self, line: &str, bare: &str, span: &Range<usize>) {
        let bytes = bare.as_bytes();
        let Some(open) = &mut self.open else {
            let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
                return;
            };
            let section = *first == b'[' && *last == b']';
            let parent = *last == b':' && !bytes.contains(&b' ');
            let variable = first.is_ascii_uppercase() && is_variable(bytes);
            if (section || parent || variable) && setting(bare).is_some() {
                self.open = Some(Open {
                    span: span.clone(),
                    ..Open::default()
                });
                self.count(line, bare, span);
            } else if is_root(bare) {
                // `version: 2` before the first parent belongs to it.
                self.open = Some(Open {
                    span: span.clone(),
                    ..Open::default()
                });
                self.count(line, bare, span);
            }
            return;
        };
        if bytes.is_empty() || bytes[0] == b'#' || bytes[0] == b';' || bare == "---" {
            open.gap += 1;
            if open.gap > 4 {
                self.close();
            }
            return;
        }
        if setting(bare).is_some() {
            self.count(line, bare, span);
        } else {
            open.others += 1;
            open.gap += 1;
            // A continued value may be between.
            if open.others * 4 > open.pairs + open.children + open.sections + open.parents || open.gap > 2 {
                self.close();
            }
        }
    }

    fn count(&mut self, line: &str, bare: &str, span: &Range<usize>) {
        let Some(open) = &mut self.open else { return };
        match setting(bare) {
            Some(Setting::Section) => open.sections += 1,
            Some(Setting::Pair) => {
                open.pairs += 1;
                open.variables += u32::from(is_variable(bare.as_bytes()));
            }
            Some(Setting::Parent) => open.parents += 1,
            Some(Setting::Child) => {
                // Below its parent: set in, or an item of a list.
                open.children += u32::from(line.starts_with([' ', '\t']) || bare.starts_with("- "));
            }
            None => return,
        }
        open.gap = 0;
        open.span.end = span.end;
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.sections >= 1 && open.pairs >= 2 && open.pairs + open.sections >= 4
            || open.variables >= 4 && open.children == 0
        {
            self.found.push((open.span, "language: INI or properties"));
        } else if open.parents >= 1 && open.children >= 3 && open.pairs <= open.children {
            self.found.push((open.span, "language: YAML"));
        }
    }

    /// All blocks of settings, in order.
    pub(super) fn done(mut self) -> Vec<(Range<usize>, &'static str)> {
        self.close();
        self.found
    }
}

/// `NAME_OF=value`
fn is_variable(bytes: &[u8]) -> bool {
    let end = bytes
        .iter()
        .position(|b| !(b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_'));
    end.is_some_and(|end| end >= 3 && bytes[end] == b'=')
}

/// What files of settings in nested keys often begin with.
fn is_root(bare: &str) -> bool {
    ["apiVersion: ", "version: ", "kind: ", "- hosts: ", "- name: "]
        .iter()
        .any(|start| bare.starts_with(start))
}

/// Puts blocks of settings among the others. They take the place of what overlaps them: `a = 1` below
/// `[section]` is not a statement.
pub(super) fn merge(found: &mut Vec<Block>, settings: Vec<(Range<usize>, &'static str)>) {
    if settings.is_empty() {
        return;
    }
    let mut taken = settings.into_iter().peekable();
    let mut all = Vec::with_capacity(found.len());
    for block in found.drain(..) {
        while let Some((span, evidence)) = taken.next_if(|(span, _)| span.end <= block.span.start) {
            all.push(configuration(span, evidence));
        }
        let overlaps = taken.peek().is_some_and(|(span, _)| span.start < block.span.end);
        match taken.peek() {
            // What is larger stays: settings inside a program are its comment or its text.
            Some((span, _)) if overlaps && span.len() * 2 < block.span.len() => {
                let end = block.span.end;
                all.push(block);
                while taken.next_if(|(span, _)| span.start < end).is_some() {}
            }
            Some(_) if overlaps => {}
            _ => all.push(block),
        }
    }
    all.extend(taken.map(|(span, evidence)| configuration(span, evidence)));
    *found = all;
}

fn configuration(span: Range<usize>, evidence: &'static str) -> Block {
    Block {
        kind: Kind::Configuration,
        span,
        score: 0.7,
        evidence: vec!["lines built like settings", evidence],
    }
}
