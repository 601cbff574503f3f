//! Mentions that are names of a program's parts: `needle.len()`, `isArray`, `charset`.
//!
//! The classifier knows no capitals and takes single words of comments and strings for people. What is joined to
//! its neighbours as identifiers are is none; amid code, a name has a capital or more than one word.

use std::ops::Range;

use super::{Kind, Mention};

/// Leaves out the mentions that are identifiers; `code` is sorted and disjoint.
pub(super) fn without_identifiers(text: &str, code: &[Range<usize>], mentions: Vec<Mention>) -> Vec<Mention> {
    let in_code = |span: &Range<usize>| {
        let at = code.partition_point(|block| block.end <= span.start);
        code.get(at).is_some_and(|block| block.start < span.end)
    };
    mentions
        .into_iter()
        .filter(|mention| {
            let span = &mention.span;
            matches!(mention.kind, Kind::Address | Kind::Number)
                || !(is_joined(text, span) || is_camel(&text[span.clone()]))
                    && (!in_code(span) || is_name(&text[span.clone()]))
        })
        .collect()
}

/// Whether a word goes on to a call, an index, a path or another word as identifiers do.
fn is_joined(text: &str, span: &Range<usize>) -> bool {
    let (before, after) = (&text[..span.start], &text[span.end..]);
    let call = |mark: char| {
        let rest = after.strip_prefix(mark);
        rest.is_some_and(|rest| rest.starts_with(|c: char| !c.is_whitespace()))
    };
    before.ends_with(['_', '$', '\\', '#'])
        || before.ends_with("::")
        || after.starts_with("::")
        || ['_', '(', '['].into_iter().any(call)
        || after.starts_with("!(")
}

/// One word such as `isArray`, `NoHashHasher` or `rand_core`: with a capital behind a small first letter, several of
/// them within, or an underscore.
fn is_camel(mention: &str) -> bool {
    if mention.contains(|c: char| c.is_whitespace() || c == '-') {
        return false;
    }
    let humps = mention
        .chars()
        .zip(mention.chars().skip(1))
        .filter(|(one, next)| one.is_lowercase() && next.is_uppercase())
        .count();
    mention.contains('_') || humps >= 2 || (humps == 1 && mention.starts_with(char::is_lowercase))
}

/// More than one word, or one with a capital and small letters behind it.
fn is_name(mention: &str) -> bool {
    let mut rest = mention.chars();
    let capital = rest.next().is_some_and(|c| c.is_uppercase() || !c.is_lowercase());
    mention.contains(' ') || (capital && rest.all(|c| !c.is_uppercase()) && !mention.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, part: &str, in_code: bool) -> bool {
        let start = text.find(part).unwrap();
        let mention = Mention {
            span: start..start + part.len(),
            kind: Kind::Person,
            score: 0.9,
        };
        let whole = 0..text.len();
        let code = if in_code {
            std::slice::from_ref(&whole)
        } else {
            &[]
        };
        !without_identifiers(text, code, vec![mention]).is_empty()
    }

    #[test]
    fn identifiers_are_no_people() {
        for (text, part) in [
            ("value is `haystack.len() - 1`", "len"),
            ("see std::fmt::Display", "fmt"),
            ("use isArray for it", "isArray"),
            ("use NoHashHasher for it", "NoHashHasher"),
            ("use rand_core for it", "rand_core"),
            ("the first_name of it", "name"),
            ("_ => panic!(\"no\")", "panic"),
        ] {
            assert!(!kept(text, part, false), "{text}");
        }
        assert!(!kept("// the charset that is used", "charset", true));
        assert!(!kept("// up to MAX of them", "MAX", true));
    }

    #[test]
    fn people_are_kept() {
        for (text, part) in [
            ("call thandiwe today", "thandiwe"),
            ("Hi Thandiwe!", "Thandiwe"),
            ("ask DeShawn about it", "DeShawn"),
            ("ask McKay-MacDonald-DeVito", "McKay-MacDonald-DeVito"),
            ("Hi Thandiwe! How", "Thandiwe"),
            ("Okonkwo (her brother)", "Okonkwo"),
        ] {
            assert!(kept(text, part, false), "{text}");
        }
        assert!(kept("// asked by thandiwe okonkwo", "thandiwe okonkwo", true));
        assert!(kept("// asked by Thandiwe", "Thandiwe", true));
    }
}
