//! What the classifier takes for a part of an address, held against what is around it.

use std::ops::Range;

use super::{Kind, Mention};

/// How near another place a mere number has to be to count as a part of an address.
const BESIDE: usize = 64;

/// Leaves out what the classifier takes for a part of an address and nothing supports: in code, tables and version
/// numbers it sees house numbers. A street has a word beside its number; a number or a single word counts
/// near another place only, a postal code near a place or behind a person: what stands before one is the number of a row.
pub(super) fn with_places(text: &str, mentions: Vec<Mention>) -> Vec<Mention> {
    let spans = |wanted: fn(&str, &Mention) -> bool| -> Vec<Range<usize>> {
        mentions
            .iter()
            .filter(|mention| wanted(text, mention))
            .map(|mention| mention.span.clone())
            .collect()
    };
    let places = spans(|text, mention| match mention.kind {
        Kind::Location | Kind::PostalCode => true,
        Kind::Address => is_street(&text[mention.span.clone()]),
        _ => false,
    });
    let settled = spans(|text, mention| match mention.kind {
        Kind::Location => true,
        Kind::Address => is_street(&text[mention.span.clone()]),
        _ => false,
    });
    let people = spans(|_, mention| mention.kind == Kind::Person);
    mentions
        .into_iter()
        .filter(|mention| {
            let span = &mention.span;
            match mention.kind {
                Kind::Address => looks_like_address(&text[span.clone()]) && is_near(&places, span),
                Kind::PostalCode => is_near(&settled, span) || is_behind(&people, span),
                _ => true,
            }
        })
        .collect()
}

/// Whether one of these, in order and disjoint, lies near a span, or is it.
fn is_near(all: &[Range<usize>], span: &Range<usize>) -> bool {
    // The nearest are on either side of where this one would stand.
    let next = all.partition_point(|other| other.start < span.start);
    let near = |other: &Range<usize>| {
        other.start < span.end + BESIDE && span.start < other.end.saturating_add(BESIDE)
    };
    all[next.saturating_sub(1)..].iter().take(2).any(near)
}

/// Whether one of these, in order and disjoint, ends a little before a span.
fn is_behind(all: &[Range<usize>], span: &Range<usize>) -> bool {
    let next = all.partition_point(|other| other.start < span.start);
    let before = next.checked_sub(1).map(|last| all[last].end);
    before.is_some_and(|end| span.start < end.saturating_add(BESIDE))
}

/// Whether words could be of a street or a house: `first line` is in lower case and has no number.
fn looks_like_address(mention: &str) -> bool {
    mention
        .chars()
        .any(|c| c.is_numeric() || c.is_uppercase() || !c.is_ascii())
}

/// A word of letters alone and a number, or a capital.
fn is_street(mention: &str) -> bool {
    let words = || {
        mention
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
    };
    let written = words().any(|word| word.chars().count() >= 3 && word.chars().all(char::is_alphabetic));
    let number = words().any(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let capital = words()
        .any(|word| word.starts_with(char::is_uppercase) && word.chars().skip(1).any(char::is_lowercase));
    written && (number || capital)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_beside_a_place_only() {
        let kept = |text: &str, found: &[(Kind, &str)]| {
            let mentions = found
                .iter()
                .map(|(kind, part)| {
                    let start = text.find(part).unwrap();
                    Mention {
                        kind: *kind,
                        span: start..start + part.len(),
                        score: 0.9,
                    }
                })
                .collect();
            let kept = with_places(text, mentions);
            kept.into_iter()
                .map(|mention| text[mention.span].to_owned())
                .collect::<Vec<_>>()
        };
        assert!(
            kept(
                "end: *const u8, RFC 2047",
                &[(Kind::Address, "const u8"), (Kind::Address, "2047")]
            )
            .is_empty()
        );
        assert_eq!(
            kept(
                "at 12 Harbour Street, flat 7",
                &[(Kind::Address, "12 Harbour Street"), (Kind::Address, "7")]
            ),
            ["12 Harbour Street", "7"]
        );
        assert_eq!(
            kept("in Leith 48", &[(Kind::Location, "Leith"), (Kind::Address, "48")]),
            ["Leith", "48"]
        );
        assert_eq!(
            kept("ada of 48", &[(Kind::Person, "ada"), (Kind::Address, "48")]),
            ["ada"]
        );
        let code = (Kind::PostalCode, "53320");
        assert_eq!(
            kept("ada, 53320", &[(Kind::Person, "ada"), code]),
            ["ada", "53320"]
        );
        assert!(kept("see issue 53320", &[code]).is_empty());
        assert_eq!(kept("53320, ada", &[code, (Kind::Person, "ada")]), ["ada"]);
    }
}
