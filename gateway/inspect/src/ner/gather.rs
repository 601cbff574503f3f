//! Mentions, made of tokens that were judged.

use std::ops::Range;

use super::{Kind, Mention};

/// Tokens less sure than this are not taken.
const LEAST_SURE: f32 = 0.5;

/// A token and the judgement on it.
pub(super) struct Judged {
    pub(super) span: Range<usize>,
    pub(super) kind: Option<Kind>,
    /// Whether it begins something new.
    pub(super) begins: bool,
    pub(super) sure: f32,
}

/// Makes mentions of judged tokens: those of one kind that follow each other are one.
pub(super) fn gather(text: &str, tokens: impl Iterator<Item = Judged>) -> Vec<Mention> {
    let mut mentions: Vec<(Mention, u16)> = Vec::new();
    for token in tokens {
        let Some(kind) = token
            .kind
            .filter(|_| token.sure >= LEAST_SURE && !token.span.is_empty())
        else {
            continue;
        };
        if let Some((last, tokens)) = mentions.last_mut()
            && last.kind.joins(kind)
            && is_joint(
                &text[last.span.end.min(token.span.start)..token.span.start],
                last.kind,
                token.begins,
            )
        {
            last.span.end = last.span.end.max(token.span.end);
            last.score += token.sure;
            last.kind = last.kind.with(kind);
            *tokens = tokens.saturating_add(1);
            continue;
        }
        let mention = Mention {
            span: token.span,
            kind,
            score: token.sure,
        };
        mentions.push((mention, 1));
    }
    mentions
        .into_iter()
        .map(|(mention, tokens)| Mention {
            span: whole_words(text, mention.span),
            score: mention.score / f32::from(tokens),
            ..mention
        })
        .collect()
}

/// The label with the greatest logit, and its probability (softmax).
pub(super) fn likeliest(logits: &[f32]) -> (usize, f32) {
    let (best, most) =
        logits
            .iter()
            .copied()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (label, logit)| {
                if logit > best.1 { (label, logit) } else { best }
            });
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    (best, 1.0 / sum)
}

/// Whether what stands between two tokens of a kind leaves them one thing.
fn is_joint(between: &str, kind: Kind, begins: bool) -> bool {
    let short = between.chars().count() <= 3;
    let joint = |c: char| match kind {
        // `Ann, Bob` are two people unless the classifier goes on; `12 High Street, Oxford` is one place.
        Kind::Person | Kind::Organization => {
            c == ' ' || matches!(c, '\'' | '’' | '-' | '.') || (!begins && c == ',')
        }
        Kind::Number => matches!(c, ' ' | '-' | '.' | '/' | '(' | ')'),
        _ => c.is_whitespace() || matches!(c, ',' | '.' | '\'' | '’' | '-' | '/' | '#'),
    };
    short && between.chars().all(joint)
}

/// The span without a cut through a word: tokens are pieces of words.
pub(super) fn whole_words(text: &str, span: Range<usize>) -> Range<usize> {
    let back = text[..span.start]
        .chars()
        .rev()
        .take_while(|c| c.is_alphanumeric())
        .take(32)
        .map(char::len_utf8)
        .sum::<usize>();
    let on = text[span.end..]
        .chars()
        .take_while(|c| c.is_alphanumeric())
        .take(32)
        .map(char::len_utf8)
        .sum::<usize>();
    span.start - back..span.end + on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_on_over_a_comma_and_people_do_not() {
        assert!(is_joint(", ", Kind::Address, true));
        assert!(is_joint(" ", Kind::Person, true));
        assert!(!is_joint(", ", Kind::Person, true));
        assert!(!is_joint(" and ", Kind::Person, false));
    }

    #[test]
    fn a_mention_does_not_cut_words() {
        let text = "frag Müllerová, bitte";
        let at = text.find("ller").unwrap();
        assert_eq!(&text[whole_words(text, at..at + 4)], "Müllerová");
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let (label, sure) = likeliest(&[0.0, 2.0, 0.0]);
        assert_eq!(label, 1);
        assert!((sure - 0.787).abs() < 0.001, "{sure}");
    }
}
