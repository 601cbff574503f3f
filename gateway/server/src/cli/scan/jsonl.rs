//! The form for programs: a line `{"id","text"}` in, a line `{"id","spans"}` out.
//!
//! Offsets count Unicode characters, end exclusive; spans are in order.
//!
//! On failure: a line of another form ends the scan with its file and number.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, stdin},
    path::Path,
};

use anyhow::{Context, Result};
use cordon_domain::Finding;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::report::rounded;
use crate::cli::say;

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    text: String,
}

#[derive(Serialize)]
struct Span<'a> {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    entity: &'a str,
    score: f64,
}

/// Answers every line of a file; `-` is standard input.
pub(super) fn lines(path: &Path, find: impl Fn(String) -> Result<Vec<Finding>>) -> Result<()> {
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
    };
    for (number, line) in (1..).zip(BufReader::new(source).lines()) {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { id, text } = serde_json::from_str(&line)
            .map_err(|_| anyhow::anyhow!("{}:{number}: expected {{\"id\",\"text\"}}", path.display()))?;
        let mut findings = find(text.clone())?;
        findings.sort_by_key(|finding| finding.span.start);
        let mut characters = Characters::new(&text);
        let spans: Vec<Span<'_>> = findings
            .iter()
            .map(|finding| {
                let start = characters.before(finding.span.start);
                Span {
                    start,
                    end: start + text[finding.span.clone()].chars().count(),
                    entity: finding.entity.as_str(),
                    score: rounded(finding.score),
                }
            })
            .collect();
        say(&json!({"id": id, "spans": spans}).to_string());
    }
    Ok(())
}

/// Counts characters before rising byte offsets, in one pass.
struct Characters<'a> {
    text: &'a str,
    at: usize,
    count: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            count: 0,
        }
    }

    fn before(&mut self, byte: usize) -> usize {
        self.count += self.text[self.at..byte].chars().count();
        self.at = byte;
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted() {
        let mut characters = Characters::new("é\nüx y");
        assert_eq!((characters.before(3), characters.before(7)), (2, 5));
    }
}
