//! Windows of tokens: what the classifier judges at a time.
//!
//! A window ends where a sentence or a line does, so that the next one needs nothing of it. Where nothing ends in
//! time, the next one begins some tokens earlier, and of what both judged the half nearer to each is taken.
//! Windows are judged one by one: on one core a batch of them takes as long as they do in turn.

use std::ops::Range;

/// Tokens that are judged together. In longer windows the classifier overlooks more, and their cost rises with
/// the square of their length.
pub(super) const LONGEST: usize = 94;
/// Tokens that two windows share where the border is in the midst of a sentence.
const OVERLAP: usize = 16;

/// A window: the tokens that are judged together, and those whose judgement is taken from it.
#[derive(Debug, PartialEq)]
pub(super) struct Window {
    pub(super) judged: Range<usize>,
    pub(super) taken: Range<usize>,
}

/// Cuts so many tokens into windows; `begins` tells whether a token is the first of a sentence or a line.
pub(super) fn windows(tokens: usize, begins: impl Fn(usize) -> bool) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut from, mut taken) = (0, 0);
    while from < tokens {
        if tokens - from <= LONGEST {
            windows.push(Window {
                judged: from..tokens,
                taken: taken..tokens,
            });
            break;
        }
        let to = from + LONGEST;
        let border = (from + LONGEST / 2..=to).rev().find(|at| begins(*at));
        let (end, taken_to, next) = match border {
            Some(border) => (border, border, border),
            None => (to, to - OVERLAP / 2, to - OVERLAP),
        };
        windows.push(Window {
            judged: from..end,
            taken: taken..taken_to,
        });
        from = next;
        taken = taken_to;
    }
    windows
}

/// Whether a sentence or a line ends between two tokens, given with the places of both.
pub(super) fn parts(text: &str, before: Range<usize>, after: Range<usize>) -> bool {
    let Some(gap) = text.get(before.end..after.start) else {
        return false;
    };
    if gap.contains('\n') {
        return true;
    }
    match &text[before.clone()] {
        "!" | "?" => !gap.is_empty(),
        "." => !gap.is_empty() && ends_sentence(&text[..before.start]),
        "。" | "！" | "？" => true,
        _ => false,
    }
}

/// Whether a full stop behind this ends a sentence: behind titles, initials and other short forms it does not.
fn ends_sentence(before: &str) -> bool {
    const SHORT_FORMS: &[&str] = &[
        "apt", "art", "ave", "bd", "bzw", "ca", "cf", "dr", "etc", "ext", "fig", "fr", "gen", "hr", "jr",
        "lt", "mr", "mrs", "ms", "no", "nr", "op", "par", "pl", "pp", "sr", "st", "ste", "str", "tel", "vgl",
        "vs",
    ];
    let letters = before.chars().rev().take(5).take_while(|c| c.is_alphabetic());
    let word = &before[before.len() - letters.map(char::len_utf8).sum::<usize>()..];
    match word.chars().count() {
        0 | 1 => false,
        2..=4 => !word.contains(char::is_uppercase) && !SHORT_FORMS.contains(&word),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_end_with_a_sentence() {
        let all = windows(200, |at| at == 20 || at == 80 || at == 150);
        let judged: Vec<_> = all.iter().map(|window| window.judged.clone()).collect();
        assert_eq!(judged, [0..80, 80..150, 150..200]);
        let all = windows(150, |_| false);
        assert_eq!(all[1].judged, LONGEST - OVERLAP..150);
        assert_eq!(all[1].taken.start, LONGEST - OVERLAP / 2);
    }

    #[test]
    fn titles_and_initials_end_no_sentence() {
        let ends = |text: &str| {
            let at = text.find('|').unwrap();
            let mark = text[..at].char_indices().next_back().unwrap().0;
            let next = at + 1 + usize::from(text[at + 1..].starts_with(' '));
            parts(text, mark..at, next..text.len())
        };
        assert!(ends("It was agreed.| Then"));
        assert!(ends("Really?| Then"));
        assert!(ends("one\u{3002}| Then"));
        assert!(ends("It was in May, in the end.| Then"));
        assert!(!ends("Ask Prof.| Kowalska"));
        assert!(!ends("ask dr.| kowalska"));
        assert!(!ends("Ask J.| Kowalska"));
        assert!(parts("a\nb", 0..1, 2..3));
    }

    proptest! {
        #[test]
        fn each_token_is_taken_once(tokens in 0usize..600, starts in prop::collection::vec(any::<bool>(), 601)) {
            let mut at = 0;
            for window in windows(tokens, |at| starts[at] && at % 7 == 0) {
                prop_assert_eq!(window.taken.start, at);
                prop_assert!(window.judged.start <= window.taken.start && window.taken.end <= window.judged.end);
                prop_assert!(window.judged.len() <= LONGEST && !window.taken.is_empty());
                at = window.taken.end;
            }
            prop_assert_eq!(at, tokens);
        }
    }
}
