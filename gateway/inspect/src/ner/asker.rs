//! A classifier of the GLiNER family: it is asked for entity types in words, and gives each span of a few words the
//! odds of each of them.
//!
//! What it reads is the questions, each behind a mark, and then the words of the text:
//! `<<ENT>> person <<ENT>> city <<SEP>> Ask Thandiwe Okonkwo`. Each word is cut into tokens by itself, and its
//! first token carries its number.
//!
//! Limits: windows of words as in [`windows`]; spans of the width that the graph was made for, [`MOST_WIDE`] at most.

use std::{ops::Range, path::Path, time::Instant};

use ort::{
    inputs,
    session::{Session, SessionInputValue},
    value::{PrimitiveTensorElementType, Tensor},
};
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::{
    Kind, Mention, Missed, NerError,
    gather::whole_words,
    runtime::Pool,
    windows::{self, windows},
};

/// Spans less sure than this are not taken.
const LEAST_SURE: f32 = 0.5;
/// The widest span that a graph may ask for, in words.
const MOST_WIDE: usize = 64;

/// What is asked for where nothing else is said.
const QUESTIONS: [(&str, Kind); 5] = [
    ("person", Kind::Person),
    ("organization", Kind::Organization),
    ("street address", Kind::Address),
    ("city", Kind::Location),
    ("postal code", Kind::PostalCode),
];

/// A classifier that is asked.
pub(super) struct Asker {
    /// What each question stands for, in the order in which they are asked.
    kinds: Vec<Kind>,
    /// The tokens of the questions, the mark that begins all among them.
    head: Vec<u32>,
    end: u32,
    width: usize,
}

/// The file that comes with such a graph, as far as it is needed.
#[derive(Deserialize)]
#[serde(default)]
struct Shape {
    max_width: usize,
    ent_token: String,
    sep_token: String,
    span_mode: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            max_width: 12,
            ent_token: "<<ENT>>".to_owned(),
            sep_token: "<<SEP>>".to_owned(),
            span_mode: "markerV0".to_owned(),
        }
    }
}

impl Asker {
    /// Whether a graph is one of these.
    pub(super) fn is_asked(session: &Session) -> bool {
        session.inputs().iter().any(|input| input.name() == "words_mask")
    }

    /// `said` are the questions and what they stand for; the usual ones when there is none.
    pub(super) fn new(
        shape: &Path,
        said: &[(String, Kind)],
        tokenizer: &Tokenizer,
        marks: [u32; 2],
    ) -> Result<Self, NerError> {
        let unusable = |what: String| NerError::Labels(shape.to_owned(), what);
        let text = std::fs::read_to_string(shape).map_err(|error| unusable(error.kind().to_string()))?;
        // JSON is YAML, which this room reads already.
        let read: Shape = serde_saphyr::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        if read.span_mode == "token_level" {
            return Err(unusable("it judges tokens, not spans".to_owned()));
        }
        if !(1..=MOST_WIDE).contains(&read.max_width) {
            return Err(unusable(format!("`max_width` is not within 1 and {MOST_WIDE}")));
        }
        let usual = QUESTIONS.map(|(question, kind)| (question.to_owned(), kind));
        let questions = if said.is_empty() { &usual[..] } else { said };
        let [begin, end] = marks;
        let mut head = vec![begin];
        for (question, _) in questions {
            for word in [&read.ent_token, question] {
                head.extend(
                    tokens(tokenizer, word).map_err(|_| unusable(format!("`{word}` has no tokens")))?,
                );
            }
        }
        let separator = &read.sep_token;
        head.extend(
            tokens(tokenizer, separator).map_err(|_| unusable(format!("`{separator}` has no tokens")))?,
        );
        Ok(Self {
            kinds: questions.iter().map(|(_, kind)| *kind).collect(),
            head,
            end,
            width: read.max_width,
        })
    }

    /// Whether the graph answers all questions.
    pub(super) fn fits(&self, session: &mut Session) -> bool {
        self.judge(session, &[vec![self.end]]).is_ok()
    }

    /// What stretches of a text mention, in order.
    pub(super) fn mentions(
        &self,
        text: &str,
        stretches: &[Range<usize>],
        tokenizer: &Tokenizer,
        sessions: &Pool,
        until: Option<Instant>,
    ) -> Result<Vec<Mention>, Missed> {
        let words: Vec<Range<usize>> = stretches
            .iter()
            .flat_map(|stretch| words(text, stretch.clone()))
            .collect();
        let begins = |at: usize| at > 0 && windows::parts(text, words[at - 1].clone(), words[at].clone());
        let mut mentions = Vec::new();
        for window in windows(words.len(), begins) {
            let own = &words[window.judged.clone()];
            let ids = own
                .iter()
                .map(|word| tokens(tokenizer, &text[word.clone()]))
                .collect::<Result<Vec<_>, _>>()?;
            let mut session = sessions.take(until)?;
            let logits = self.judge(&mut session, &ids)?;
            drop(session);
            let from = window.judged.start;
            let spans = taken(&logits, own.len(), self.width, self.kinds.len());
            mentions.extend(
                spans
                    .into_iter()
                    .filter(|span| window.taken.contains(&(from + span.words.start)))
                    .map(|span| Mention {
                        span: whole_words(text, own[span.words.start].start..own[span.words.end - 1].end),
                        kind: self.kinds[span.class],
                        score: span.sure,
                    }),
            );
        }
        Ok(mentions)
    }

    /// The odds of each class for each span of these words, given by their tokens.
    fn judge(&self, session: &mut Session, words: &[Vec<u32>]) -> Result<Vec<f32>, Missed> {
        let Given {
            ids,
            numbers,
            spans,
            valid,
        } = given(&self.head, self.end, words, self.width);
        let tokens = ids.len();
        let given = inputs! {
            "attention_mask" => tensor([1, tokens], vec![1i64; tokens])?,
            "input_ids" => tensor([1, tokens], ids)?,
            "words_mask" => tensor([1, tokens], numbers)?,
            "text_lengths" => tensor([1, 1], vec![words.len() as i64])?,
            "span_idx" => tensor([1, valid.len(), 2], spans)?,
            "span_mask" => tensor([1, valid.len()], valid)?,
        };
        let outputs = session.run(given).map_err(|_| Missed::Failed)?;
        let (_, logits) = outputs[0]
            .try_extract_tensor::<f32>()
            .map_err(|_| Missed::Failed)?;
        if logits.len() != words.len() * self.width * self.kinds.len() {
            return Err(Missed::Failed);
        }
        Ok(logits.to_vec())
    }
}

fn tensor<const N: usize, T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    shape: [usize; N],
    values: Vec<T>,
) -> Result<SessionInputValue<'static>, Missed> {
    Tensor::from_array((shape, values))
        .map(SessionInputValue::from)
        .map_err(|_| Missed::Failed)
}

fn tokens(tokenizer: &Tokenizer, word: &str) -> Result<Vec<u32>, Missed> {
    let encoding = tokenizer.encode_fast(word, false).map_err(|_| Missed::Failed)?;
    Ok(encoding.get_ids().to_vec())
}

/// The words of a stretch: letters and digits, joined by hyphens, and each other sign by itself.
fn words(text: &str, stretch: Range<usize>) -> Vec<Range<usize>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut chars = text[stretch.clone()].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut end = at + c.len_utf8();
        if is_word(c) {
            while let Some((next, c)) = chars.peek().copied() {
                let rest = &text[stretch.start + next + c.len_utf8()..stretch.end];
                let joins = c == '-' && rest.starts_with(is_word);
                if !is_word(c) && !joins {
                    break;
                }
                end = next + c.len_utf8();
                chars.next();
            }
        }
        words.push(stretch.start + at..stretch.start + end);
    }
    words
}

/// What the graph is given.
#[derive(Debug, PartialEq)]
struct Given {
    ids: Vec<i64>,
    /// For each token, the number of the word that it begins, from 1 on; 0 for all others.
    numbers: Vec<i64>,
    /// First and last word of each span; both 0 for one that would reach beyond the end.
    spans: Vec<i64>,
    /// Whether a span lies within the words.
    valid: Vec<bool>,
}

fn given(head: &[u32], end: u32, words: &[Vec<u32>], width: usize) -> Given {
    let mut ids: Vec<i64> = head.iter().copied().map(i64::from).collect();
    let mut numbers = vec![0; ids.len()];
    for (number, tokens) in (1..).zip(words) {
        for (place, token) in tokens.iter().enumerate() {
            ids.push(i64::from(*token));
            numbers.push(if place == 0 { number } else { 0 });
        }
    }
    ids.push(i64::from(end));
    numbers.push(0);
    let mut spans = Vec::with_capacity(words.len() * width * 2);
    let mut valid = Vec::with_capacity(words.len() * width);
    for first in 0..words.len() {
        for last in first..first + width {
            let within = last < words.len();
            spans.extend(if within {
                [first as i64, last as i64]
            } else {
                [0, 0]
            });
            valid.push(within);
        }
    }
    Given {
        ids,
        numbers,
        spans,
        valid,
    }
}

/// A span that was taken, in words.
#[derive(Debug, PartialEq)]
struct Taken {
    words: Range<usize>,
    class: usize,
    sure: f32,
}

/// The surest spans that do not overlap, in order.
fn taken(logits: &[f32], words: usize, width: usize, classes: usize) -> Vec<Taken> {
    let mut all: Vec<Taken> = logits
        .iter()
        .enumerate()
        .filter_map(|(place, logit)| {
            let (span, class) = (place / classes, place % classes);
            let (first, length) = (span / width, span % width + 1);
            let sure = 1.0 / (1.0 + (-logit).exp());
            (sure >= LEAST_SURE && first + length <= words).then(|| Taken {
                words: first..first + length,
                class,
                sure,
            })
        })
        .collect();
    all.sort_by(|one, other| other.sure.total_cmp(&one.sure));
    let mut free = vec![true; words];
    all.retain(|span| {
        let kept = free[span.words.clone()].iter().all(|free| *free);
        if kept {
            free[span.words.clone()].fill(false);
        }
        kept
    });
    all.sort_by_key(|span| span.words.start);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_the_classifier_learnt_them() {
        let text = "x Ask Okonkwo-Reyes, O'Brien: 4-5 — ok-";
        let all: Vec<&str> = words(text, 2..text.len())
            .into_iter()
            .map(|word| &text[word])
            .collect();
        assert_eq!(
            all,
            [
                "Ask",
                "Okonkwo-Reyes",
                ",",
                "O",
                "'",
                "Brien",
                ":",
                "4-5",
                "—",
                "ok",
                "-"
            ]
        );
    }

    #[test]
    fn words_carry_numbers_and_spans_end_with_the_text() {
        let given = given(&[1, 50, 7, 51], 2, &[vec![10, 11], vec![12]], 2);
        assert_eq!(
            given,
            Given {
                ids: vec![1, 50, 7, 51, 10, 11, 12, 2],
                numbers: vec![0, 0, 0, 0, 1, 0, 2, 0],
                spans: vec![0, 0, 0, 1, 1, 1, 0, 0],
                valid: vec![true, true, true, false],
            }
        );
    }

    #[test]
    fn the_surest_spans_are_taken() {
        // Two words, spans of up to two, two classes.
        let logits = [3.0, -9.0, 4.0, -9.0, -9.0, 2.0, 9.0, 9.0];
        let spans = taken(&logits, 2, 2, 2);
        assert_eq!(spans.len(), 1);
        assert_eq!((spans[0].words.clone(), spans[0].class), (0..2, 0));
        let logits = [3.0, -9.0, -9.0, -9.0, -9.0, 2.0, 9.0, 9.0];
        let spans = taken(&logits, 2, 2, 2);
        assert_eq!(spans.iter().map(|span| span.class).collect::<Vec<_>>(), [0, 1]);
    }
}
