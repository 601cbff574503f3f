//! The lines of an address below its street.
//!
//! A street with its number is found by patterns and by the token classifier; what follows it line by line, such
//! as the flat, the place, the country and its code, often says nothing by itself. In a block of short lines its
//! place says what it is.
//!
//! Limits: [`REACH`] lines below a street, of [`MAX_LINE`] bytes.

use std::ops::Range;

use crate::{lines, overlap::Claim};

/// How many lines below the street belong to an address.
const REACH: usize = 4;
/// The longest of them.
const MAX_LINE: usize = 48;
/// The most words of one.
const MAX_WORDS: usize = 5;

/// The further lines of the addresses found, in places of the text that the claims speak of.
pub(crate) fn further_lines(text: &str, claims: &[Claim]) -> Vec<Range<usize>> {
    let mut streets: Vec<&Range<usize>> = claims
        .iter()
        .filter(|claim| claim.finding.entity.as_str() == "ADDRESS")
        .map(|claim| &claim.finding.span)
        .collect();
    streets.sort_by_key(|span| span.start);
    let mut found: Vec<Range<usize>> = Vec::new();
    for street in streets {
        if found.last().is_some_and(|last| street.start < last.end) {
            continue;
        }
        // The street ends its line, so that what is below goes on with it.
        let Some(line) = lines::around(text, street, MAX_LINE) else {
            continue;
        };
        let (start, line_end) = (line.start, line.end);
        let beside = |part: &str| part.chars().filter(|c| c.is_alphanumeric()).count();
        if beside(&text[street.end..line_end]) > 0 || beside(&text[start..street.start]) > MAX_WORDS {
            continue;
        }
        let lead = text[start..street.start].chars().find(|c| !c.is_whitespace());
        let mut at = line_end + 1;
        for _ in 0..REACH {
            let Some(line) = text.get(at..).and_then(|rest| rest.split('\n').next()) else {
                break;
            };
            let part = line.trim_matches(|c: char| !c.is_alphanumeric());
            // Within a quotation all lines are quoted.
            let quoted = line.trim_start().chars().next().filter(|c| !c.is_alphanumeric());
            if !is_part(part) || quoted != lead.filter(|c| !c.is_alphanumeric()) {
                break;
            }
            let start = at + line.find(part).unwrap_or(0);
            found.push(start..start + part.len());
            at += line.len() + 1;
        }
    }
    found
}

/// A flat, a place, a country or a postal code: a few words with capitals, or numbers.
fn is_part(line: &str) -> bool {
    let starts = |word: &str| {
        word.chars()
            .find(|c| c.is_alphanumeric())
            .is_none_or(|c| c.is_uppercase() || c.is_numeric() || !c.is_lowercase())
    };
    !line.is_empty()
        && line.len() <= MAX_LINE
        && line.split_whitespace().count() <= MAX_WORDS
        && !line.contains([':', '=', '{', '(', ';', '@', '_', '?', '!'])
        && line.split_whitespace().filter(|word| word.len() > 3).all(starts)
        && line.split_whitespace().any(starts)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use crate::Inspector;

    static INSPECTOR: LazyLock<Inspector> =
        LazyLock::new(|| Inspector::embedded().expect("the embedded files compile"));

    fn covered(text: &str) -> String {
        let mut left = text.to_owned();
        for finding in INSPECTOR.inspect(text).into_iter().rev() {
            left.replace_range(finding.span, "#");
        }
        left
    }

    #[test]
    fn an_address_goes_on_below_its_street() {
        let text =
            "Ship it to\n48 Harbour Street\nApt. 12\nGreater Leith\nScotland 28766\n\nThanks for all.\n";
        assert_eq!(covered(text), "Ship it to\n#\n#\n#\n\nThanks for all.\n");
    }

    #[test]
    fn sentences_below_a_street_are_left() {
        let text = "48 Harbour Street\nplease send it soon.\nGreetings\n";
        assert_eq!(covered(text), "#\nplease send it soon.\nGreetings\n");
    }
}
