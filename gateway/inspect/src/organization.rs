//! Organisations in signatures and letterheads: the line between a person's and an address's.
//!
//! ```text
//! Kim Archer
//! Head of Purchasing
//! Quantrell Dynamics        <- this one
//! 12 Harbour Street, Leith
//! ```
//!
//! Nothing in such a line says what it is, but its place does. Names with a legal form and names that a phrase
//! announces are patterns: `policies/detectors/organization.yaml`.
//!
//! Limits: [`REACH`] lines below a name.

use std::ops::Range;

use crate::overlap::Claim;

/// How many lines below a name are looked at for the address.
const REACH: usize = 5;
/// The longest line that can be a name.
const MAX_LINE: usize = 80;
/// The most words of such a line.
const MAX_WORDS: usize = 6;

/// The lines that name an organisation, in places of the text that the claims speak of.
pub(crate) fn in_signatures(text: &str, claims: &[Claim]) -> Vec<Range<usize>> {
    let mut known: Vec<(Range<usize>, Part)> = claims
        .iter()
        .filter_map(|claim| {
            let part = match claim.finding.entity.as_str() {
                "PERSON" => Part::Person,
                "ADDRESS" | "LOCATION" | "POSTAL_CODE" | "PHONE" | "EMAIL" => Part::Reach,
                _ => return None,
            };
            Some((claim.finding.span.clone(), part))
        })
        .collect();
    if known.iter().all(|(_, part)| *part == Part::Person) || known.is_empty() {
        return Vec::new();
    }
    known.sort_by_key(|(span, _)| span.start);
    let mut found: Vec<Range<usize>> = Vec::new();
    for (span, part) in &known {
        if *part == Part::Person
            && found.last().is_none_or(|last| last.end <= span.start)
            && let Some(line) = below(text, span, &known)
        {
            found.push(line);
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Person,
    /// An address, or another way to reach somebody.
    Reach,
}

/// The last plain line between a person's own line and the first with an address.
fn below(text: &str, person: &Range<usize>, known: &[(Range<usize>, Part)]) -> Option<Range<usize>> {
    let end = person.end + text[person.end..].find('\n')?;
    let start = text[..person.start].rfind('\n').map_or(0, |at| at + 1);
    // The name has the line to itself, but for what quotes it.
    let beside = |part: &str| part.chars().filter(|c| c.is_alphanumeric()).count();
    if beside(&text[start..person.start]) + beside(&text[person.end..end]) > 0 {
        return None;
    }
    let mut last = None;
    let mut at = end + 1;
    for _ in 0..REACH {
        let line = text.get(at..)?.split('\n').next()?;
        let span = at..at + line.len();
        let from = known.partition_point(|(known, _)| known.end <= span.start);
        let in_line = known[from..]
            .iter()
            .find(|(known, _)| known.start < span.end)
            .map(|(_, part)| *part);
        match in_line {
            Some(Part::Reach) => return last,
            Some(Part::Person) => last = None,
            None => {
                let name = line.trim_matches(|c: char| !c.is_alphanumeric() && c != '.');
                if is_name(name) {
                    let start = at + line.find(name)?;
                    last = Some(start..start + name.len());
                } else if line.chars().any(char::is_alphanumeric) {
                    return None;
                }
            }
        }
        at = span.end + 1;
    }
    None
}

/// A few words with capitals, no sentence and no field.
fn is_name(line: &str) -> bool {
    let starts = |word: &str| {
        word.chars()
            .find(|c| c.is_alphanumeric())
            .is_none_or(|c| c.is_uppercase() || c.is_numeric())
    };
    line.len() <= MAX_LINE
        && line.starts_with(|c: char| c.is_uppercase() || c.is_numeric())
        && line.chars().any(char::is_alphabetic)
        && !line.contains([':', '=', '{', '(', ';'])
        && line.split_whitespace().count() <= MAX_WORDS
        && line.split_whitespace().filter(|word| word.len() > 3).all(starts)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use crate::Inspector;

    static INSPECTOR: LazyLock<Inspector> =
        LazyLock::new(|| Inspector::embedded().expect("the embedded files compile"));

    fn organizations(text: &str) -> Vec<&str> {
        let found = INSPECTOR.inspect(text);
        let found = found
            .into_iter()
            .filter(|finding| finding.entity.as_str() == "ORGANIZATION");
        found.map(|finding| &text[finding.span]).collect()
    }

    #[test]
    fn the_line_before_the_address_is_one() {
        let text = "Thanks!\n\nMartina Kowalska\nHead of Purchasing\nQuantrell\nm.kowalska@example.org\n+49 30 901820\n";
        assert_eq!(organizations(text), ["Quantrell"]);
        let quoted = "> Martina Kowalska\n> Belmontix Twelve\n> m.kowalska@example.org\n";
        assert_eq!(organizations(quoted), ["Belmontix Twelve"]);
    }

    #[test]
    fn sentences_and_fields_are_none() {
        for text in [
            "Martina Kowalska\nplease call her back\nm.kowalska@example.org\n",
            "Martina Kowalska\nm.kowalska@example.org\n",
            "Martina Kowalska\nQuantrell\n\nThe next part is about something else.\n",
            "Martina Kowalska\nStatus: Open\nm.kowalska@example.org\n",
        ] {
            assert_eq!(organizations(text), [""; 0], "{text}");
        }
    }
}
