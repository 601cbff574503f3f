//! Organisations by their place: the line between a person's and an address's in a signature, the line above a
//! street, the name before a street in a sentence, what a person is said to be of, and the neighbours of a known
//! one in an enumeration.
//!
//! ```text
//! Kim Archer
//! Head of Purchasing
//! Quantrell Dynamics        <- this one
//! 12 Harbour Street, Leith
//! ```
//!
//! Nothing in such a name says what it is, but its place does. Names with a legal form and names that a phrase
//! announces are patterns: `policies/detectors/organization.yaml`.
//!
//! Limits: [`REACH`] lines below a name, [`MAX_ITEMS`] items of an enumeration on either side.

use std::ops::Range;

use crate::{lines, overlap::Claim};

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

/// The most items on either side of a known organisation.
const MAX_ITEMS: usize = 4;

/// What a person is of or from, and what is enumerated together with a known organisation.
pub(crate) fn in_company(text: &str, claims: &[Claim]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut taken: Vec<Range<usize>> = claims.iter().map(|claim| claim.finding.span.clone()).collect();
    taken.sort_unstable_by_key(|span| span.start);
    // How far all up to each reach, so that one look tells whether any of them reaches into a span.
    let reach: Vec<usize> = taken
        .iter()
        .scan(0, |furthest, span| {
            *furthest = span.end.max(*furthest);
            Some(*furthest)
        })
        .collect();
    let is_free = |span: &Range<usize>| {
        let before = taken.partition_point(|other| other.start < span.end);
        before == 0 || reach[before - 1] <= span.start
    };
    for claim in claims {
        let span = &claim.finding.span;
        match claim.finding.entity.as_str() {
            "PERSON" => {
                let rest = &text[span.end..];
                let link = [" of ", " from ", " is from ", " was from "]
                    .iter()
                    .find(|link| rest.starts_with(**link));
                if let Some(link) = link {
                    let start = span.end + link.len();
                    found.extend(words_from(text, start).filter(is_free));
                }
            }
            "ORGANIZATION" => {
                let mut end = span.end;
                for _ in 0..MAX_ITEMS {
                    let Some(link) = [", and ", ", ", " and ", " & "]
                        .iter()
                        .find(|link| text[end..].starts_with(**link))
                    else {
                        break;
                    };
                    let Some(item) = words_from(text, end + link.len()).filter(is_free) else {
                        break;
                    };
                    end = item.end;
                    found.push(item);
                }
                let mut start = span.start;
                for _ in 0..MAX_ITEMS {
                    let Some(link) = [", and ", ", ", " and ", " & "]
                        .iter()
                        .find(|link| text[..start].ends_with(**link))
                    else {
                        break;
                    };
                    let Some(item) = words_to(text, start - link.len()).filter(is_free) else {
                        break;
                    };
                    start = item.start;
                    found.push(item);
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|span| span.start);
    found.dedup();
    found
}

/// One to four words with capitals from a place on.
fn words_from(text: &str, start: usize) -> Option<Range<usize>> {
    let mut end = start;
    for _ in 0..4 {
        let gap = usize::from(end > start);
        let rest = text[end..].strip_prefix(' ').filter(|_| gap == 1);
        let rest = if gap == 0 {
            &text[end..]
        } else {
            rest.unwrap_or_default()
        };
        let word = word(rest);
        if !word.starts_with(char::is_uppercase) {
            break;
        }
        end += gap + word.len();
    }
    (end > start + 1).then_some(start..end)
}

/// One to four words with capitals up to a place.
fn words_to(text: &str, end: usize) -> Option<Range<usize>> {
    let mut start = end;
    for _ in 0..4 {
        let gap = usize::from(start < end);
        if gap == 1 && !text[..start].ends_with(' ') {
            break;
        }
        let before = &text[..start - gap];
        let length: usize = before
            .chars()
            .rev()
            .take_while(|c| is_of_word(*c))
            .map(char::len_utf8)
            .sum();
        let word = &before[before.len() - length..];
        if !word.starts_with(char::is_uppercase) {
            break;
        }
        start -= gap + length;
    }
    (start + 1 < end).then_some(start..end)
}

fn word(text: &str) -> &str {
    text.split(|c| !is_of_word(c)).next().unwrap_or_default()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '&')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Person,
    /// An address, or another way to reach somebody.
    Reach,
}

/// The last plain line between a person's own line and the first with an address.
fn below(text: &str, person: &Range<usize>, known: &[(Range<usize>, Part)]) -> Option<Range<usize>> {
    let line = lines::around(text, person, MAX_LINE)?;
    let (start, end) = (line.start, line.end);
    // The name has the line to itself, but for what quotes it.
    let beside = |part: &str| part.chars().filter(|c| c.is_alphanumeric()).count();
    if beside(&text[start..person.start]) + beside(&text[person.end..end]) > 0 {
        return None;
    }
    // Who writes their own name in small letters writes all names so.
    let small = !text[person.clone()].chars().any(char::is_uppercase);
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
            // `Kim Archer`, `Quantrell Dynamics`, `Kim Archer` again: the order differs.
            Some(Part::Person) => {}
            None => {
                let name = line.trim_matches(|c: char| !c.is_alphanumeric() && c != '.');
                if is_name(name) || (small && is_small_name(name)) {
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

/// The names of those whom an address is of: the line above a street, or what stands before it in a sentence
/// (`at Quantrell, 12 Harbour Street`).
pub(crate) fn at_addresses(text: &str, claims: &[Claim]) -> Vec<Range<usize>> {
    let mut taken: Vec<&Range<usize>> = claims
        .iter()
        .filter(|claim| !claim.region)
        .map(|claim| &claim.finding.span)
        .collect();
    taken.sort_unstable_by_key(|span| span.start);
    let is_free = |span: &Range<usize>| {
        let before = taken.partition_point(|other| other.start < span.end);
        // Claims are short beside what is looked at: the last few before a place are all that can reach it.
        taken[before.saturating_sub(8)..before]
            .iter()
            .all(|other| other.end <= span.start)
    };
    let mut found: Vec<Range<usize>> = claims
        .iter()
        .filter(|claim| {
            let span = &claim.finding.span;
            let house = text[span.clone()].starts_with(|c: char| c.is_ascii_digit());
            claim.finding.entity.as_str() == "ADDRESS" && house
        })
        .filter_map(|claim| {
            let start = claim.finding.span.start;
            above(text, start).or_else(|| before(text, start))
        })
        .filter(is_free)
        .collect();
    found.sort_by_key(|span| span.start);
    found.dedup();
    found
}

/// The line above the one that begins here, a blank one between them left aside.
fn above(text: &str, start: usize) -> Option<Range<usize>> {
    let lead = text[..start].trim_end_matches(' ');
    let upper = lead.strip_suffix('\n')?;
    let upper = upper.strip_suffix('\n').unwrap_or(upper);
    let from = upper.len()
        - upper
            .bytes()
            .rev()
            .take(MAX_LINE + 1)
            .take_while(|byte| *byte != b'\n')
            .count();
    let line = upper.get(from..)?;
    let name = line.trim_matches(|c: char| !c.is_alphanumeric() && c != '.');
    let start = from + line.find(name)?;
    // What stands above the name belongs to another paragraph, or is somebody's line.
    (is_name(name) && !announces(name) && !name.ends_with('.')).then(|| start..start + name.len())
}

/// The words with capitals before `, 12 Harbour Street`, behind a word that says where.
fn before(text: &str, start: usize) -> Option<Range<usize>> {
    let name = words_to(text, text[..start].strip_suffix(", ")?.len())?;
    let lead = &text[..name.start];
    let says_where = [
        " at ", " to ", " from ", " near ", " bei ", " chez ", " presso ", " en ",
    ]
    .iter()
    .any(|word| lead.ends_with(word));
    (says_where && !announces(&text[name.clone()])).then_some(name)
}

/// Whether a line announces an address, or is a greeting, rather than naming somebody.
fn announces(line: &str) -> bool {
    const WORDS: &[&str] = &[
        "address",
        "addresses",
        "adresse",
        "anschrift",
        "avenue",
        "best",
        "bill",
        "billing",
        "cheers",
        "contact",
        "date",
        "dear",
        "deliver",
        "delivery",
        "destination",
        "direccion",
        "dirección",
        "from",
        "greetings",
        "headquarters",
        "hello",
        "hi",
        "home",
        "indirizzo",
        "kind",
        "location",
        "mail",
        "monday",
        "office",
        "order",
        "pickup",
        "please",
        "post",
        "regards",
        "return",
        "saturday",
        "send",
        "sender",
        "sent",
        "ship",
        "shipping",
        "site",
        "street",
        "subject",
        "sunday",
        "thanks",
        "thursday",
        "friday",
        "to",
        "tuesday",
        "wednesday",
        "work",
        "yours",
    ];
    line.split(|c: char| !c.is_alphanumeric())
        .any(|word| WORDS.contains(&word.to_lowercase().as_str()))
}

/// A few words in small letters.
fn is_small_name(line: &str) -> bool {
    line.len() <= MAX_LINE
        && line.split_whitespace().count() <= 4
        && line
            .chars()
            .all(|c| c.is_alphabetic() || matches!(c, ' ' | '&' | '-' | '.' | ','))
        && line.chars().any(char::is_alphabetic)
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
    fn neighbours_in_an_enumeration_are_some() {
        let text = "they met Belmontix LLC, Quantrell and Arc Light in two markets.";
        assert_eq!(organizations(text), ["Belmontix LLC", "Quantrell", "Arc Light"]);
        let text = "We met Martina Kowalska of Quantrell Nine yesterday.";
        assert_eq!(organizations(text), ["Quantrell Nine"]);
        assert_eq!(organizations("we and Belmontix LLC agreed."), ["Belmontix LLC"]);
    }

    #[test]
    fn an_address_is_somebodys() {
        assert_eq!(
            organizations("Quantrell Nine\n\n48 Harbour Street\nLeith\n"),
            ["Quantrell Nine"]
        );
        let text = "We meet on Monday at Quantrell, 48 Harbour Street, Leith.";
        assert_eq!(organizations(text), ["Quantrell"]);
        for text in [
            "Delivery Address\n48 Harbour Street\nLeith\n",
            "Thanks for all.\n\n48 Harbour Street\nLeith\n",
            "They went on to Leith, where 48 Harbour Street is.",
        ] {
            assert_eq!(organizations(text), [""; 0], "{text}");
        }
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
