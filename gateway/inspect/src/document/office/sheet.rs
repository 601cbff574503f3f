//! Sheets of an Excel file: a line for each row, cells apart by tabs.
//!
//! Whole numbers are written out where the file has them with an exponent, as numbers of cards and accounts
//! are. Dates stay the numbers that they are in the file. Formulas go apart, and so does text around the
//! cells (headings for print, rules for input).
//!
//! Limits: many cells may point to one long string, so what a sheet says is bounded while it is read.
//!
//! On failure: a cell that points to no string says nothing.

use std::{fmt::Write, ops::Range};

use super::{Said, tell};
use crate::document::{
    Limits, Problem,
    xml::{self, Step},
};

/// Strings that cells point to.
#[derive(Default)]
pub(super) struct Strings {
    text: String,
    ranges: Vec<Range<usize>>,
}

impl Strings {
    pub(super) fn of(bytes: &[u8], limits: &Limits) -> Result<Self, Problem> {
        let mut strings = Self::default();
        let (mut start, mut inside, mut guides) = (0, false, 0_usize);
        xml::walk(bytes, limits, |step| {
            match step {
                Step::Start("si", _) => start = strings.text.len(),
                Step::End("si") => strings.ranges.push(start..strings.text.len()),
                // How to pronounce it, which the text says already.
                Step::Start("rPh", _) => guides += 1,
                Step::End("rPh") => guides = guides.saturating_sub(1),
                Step::Start("t", _) => inside = true,
                Step::End("t") => inside = false,
                Step::Text(text) if inside && guides == 0 => strings.text.push_str(text),
                _ => {}
            }
            Ok(())
        })?;
        Ok(strings)
    }

    fn at(&self, index: &str) -> Option<&str> {
        let range = self.ranges.get(index.trim().parse::<usize>().ok()?)?;
        self.text.get(range.clone())
    }
}

pub(super) fn read(
    bytes: &[u8],
    limits: &Limits,
    strings: &Strings,
    most: usize,
    said: &mut Said,
) -> Result<String, Problem> {
    let mut text = String::new();
    let mut around = String::new();
    let mut shared = false;
    let mut value = String::new();
    let mut in_cell = false;
    let mut element = String::new();
    xml::walk(bytes, limits, |step| {
        match step {
            Step::Start(name, of) => {
                if name == "c" {
                    shared = of.value("t")?.as_deref() == Some("s");
                    in_cell = true;
                }
                tell(name, &of, &mut said.attributes)?;
                name.clone_into(&mut element);
                if matches!(name, "v" | "f") {
                    value.clear();
                }
            }
            Step::Text(found) => match element.as_str() {
                "v" | "f" => value.push_str(found),
                "t" if in_cell => text.push_str(found),
                _ => {
                    let found = found.trim();
                    if !found.is_empty() {
                        let _ = writeln!(around, "{found}");
                    }
                }
            },
            Step::End(name) => {
                match name {
                    "v" if shared => text.push_str(strings.at(&value).unwrap_or_default()),
                    "v" => text.push_str(&number(&value)),
                    "f" if !value.is_empty() => {
                        let _ = writeln!(said.formulas, "={value}");
                    }
                    "c" => {
                        text.push('\t');
                        in_cell = false;
                    }
                    "row" => {
                        text.truncate(text.trim_end_matches('\t').len());
                        text.push('\n');
                    }
                    _ => {}
                }
                element.clear();
                if text.len() > most {
                    return Err(Problem::Limit("bytes of text"));
                }
            }
        }
        Ok(())
    })?;
    text.push_str(&around);
    Ok(text)
}

/// A number as people write it.
fn number(value: &str) -> String {
    // Beyond this, not every whole number can be told from its neighbours.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.contains(['E', 'e'])
        && let Ok(number) = value.trim().parse::<f64>()
        && number.fract() == 0.0
        && number.abs() <= EXACT
    {
        return format!("{number:.0}");
    }
    value.to_owned()
}
