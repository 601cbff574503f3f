//! Carries a decision out: replaces what is to be redacted in the original bytes, touches nothing
//! else, and yields the only [`Cleared`] there is, with the originals for the reply.
//!
//! What is replaced: every finding whose verdict is `redact`, whatever the decision as a whole says
//! (a `reroute` redacts for the engine); and the same texts wherever else they stand in the request,
//! because a detector that needs a word of context finds a value in one place and misses it in the
//! next. A repeated text counts from [`REPEAT_ANYWHERE`] bytes on anywhere, from [`REPEAT_AS_WORD`]
//! on as a word of its own; where the policy allowed a finding of just that text, it stays. In fields
//! that are not somebody's words (`"role": "assistant"`) plain lower-case words stay too: they are the
//! protocol's, and a request without them would make no sense.
//!
//! Placeholders: the first value to claim a short one in the order of the text keeps it (history only
//! grows at its end, so later turns agree); one that would then be ambiguous, or that already stands in
//! the caller's own text, takes more of its HMAC until it is neither.
//!
//! Limits: repeats are looked for of texts up to [`REPEAT_LONGEST`] bytes each and [`REPEAT_TOTAL`]
//! together, shortest first (a longer one, a private key or a file of code, needs no context to be
//! found); that keeps the search linear whatever a request holds.
//!
//! On failure: [`TransformRefused`]; nothing is cleared. A decision to refuse never clears anything.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use cordon_domain::{Action, Decision, Edit, EntityType, Finding, Role, Segment, Splice, SpliceError};

use crate::{
    Cleared, Originals, PlaceholderKey, SpliceHead,
    placeholder::{self, LONGEST, SHORTEST},
};

/// A redacted text of so many bytes is replaced wherever it repeats.
const REPEAT_ANYWHERE: usize = 8;

/// A redacted text of so many bytes is replaced where it repeats between characters that are neither
/// letters nor digits.
const REPEAT_AS_WORD: usize = 3;

/// A longer text is not looked for again.
const REPEAT_LONGEST: usize = 512;

/// The bytes of all texts that are looked for again.
const REPEAT_TOTAL: usize = 256 << 10;

/// Why a decision did not yield a cleared request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransformRefused {
    /// The decision is to refuse.
    #[error("the decision is to {0}, which clears nothing")]
    Refused(Action),
    /// Verdicts and findings do not belong together. A fault of ours.
    #[error("the decision does not fit the findings")]
    Mismatch,
    /// A finding points outside its segment or splits a character. A fault of ours.
    #[error("finding {0} does not fit the request")]
    BadFinding(usize),
    /// No placeholder could be made that is unambiguous.
    #[error("no unambiguous placeholder could be made")]
    Ambiguous,
    /// More distinct values than can be searched for at once.
    #[error("the request holds too many distinct values to redact")]
    TooManyValues,
    /// The edits did not fit. A fault of ours.
    #[error(transparent)]
    Splice(#[from] SpliceError),
}

/// Carries a decision out.
///
/// Findings index the body's segments first, then the head's.
///
/// # Errors
/// When the decision is to refuse, and when anything does not fit; then nothing may go upstream.
pub fn transform(
    decision: &Decision,
    findings: &[Finding],
    body: &dyn Splice,
    head: &dyn SpliceHead,
    key: &PlaceholderKey,
) -> Result<(Cleared, Originals), TransformRefused> {
    match decision.action {
        Action::Block | Action::Coach => return Err(TransformRefused::Refused(decision.action)),
        Action::Allow | Action::Alert | Action::Redact | Action::Reroute => {}
    }
    if decision.verdicts.len() != findings.len() {
        return Err(TransformRefused::Mismatch);
    }
    let texts = Texts {
        body: body.segments(),
        head: head.segments(),
    };
    let mut redacted: Vec<Span> = Vec::new();
    let mut allowed: HashSet<(usize, usize, usize)> = HashSet::new();
    for (index, (verdict, finding)) in decision.verdicts.iter().zip(findings).enumerate() {
        if verdict.finding != index {
            return Err(TransformRefused::Mismatch);
        }
        if finding.span.is_empty()
            || texts
                .get(finding.segment)
                .and_then(|text| text.get(finding.span.clone()))
                .is_none()
        {
            return Err(TransformRefused::BadFinding(index));
        }
        match verdict.action {
            Action::Redact => redacted.push(Span::of(finding)),
            Action::Allow | Action::Alert => {
                allowed.insert((finding.segment, finding.span.start, finding.span.end));
            }
            // A part that was sent elsewhere or refused cannot have left a decision to go on, but for
            // a reroute, which the second round at the engine replaces.
            Action::Reroute | Action::Coach | Action::Block => return Err(TransformRefused::Mismatch),
        }
    }
    let mut redacted = merge(redacted);
    let repeats = repeats(&texts, &redacted, &allowed)?;
    if !repeats.is_empty() {
        redacted.extend(repeats);
        redacted.sort_by_key(|span| (span.segment, span.at.start));
    }

    let (edits, originals) = name(&texts, &redacted, key)?;
    let (of_body, mut of_head): (Vec<Edit>, Vec<Edit>) = edits
        .into_iter()
        .partition(|edit| edit.segment < texts.body.len());
    for edit in &mut of_head {
        edit.segment -= texts.body.len();
    }
    let cleared = Cleared::new(body.splice(&of_body)?, head.splice(&of_head)?);
    Ok((cleared, originals))
}

/// The texts of a request under one numbering.
struct Texts<'a> {
    body: &'a [Segment],
    head: &'a [Segment],
}

impl<'a> Texts<'a> {
    fn get(&self, segment: usize) -> Option<&'a str> {
        self.body
            .get(segment)
            .or_else(|| self.head.get(segment.checked_sub(self.body.len())?))
            .map(|found| found.text.as_str())
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &'a Segment)> {
        self.body.iter().chain(self.head).enumerate()
    }

    /// The text of a span; spans were checked before.
    fn at(&self, span: &Span) -> Result<&'a str, TransformRefused> {
        self.get(span.segment)
            .and_then(|text| text.get(span.at.clone()))
            .ok_or(TransformRefused::Mismatch)
    }
}

/// Something to be replaced.
struct Span {
    segment: usize,
    at: Range<usize>,
    entity: EntityType,
}

impl Span {
    fn of(finding: &Finding) -> Self {
        Self {
            segment: finding.segment,
            at: finding.span.clone(),
            entity: finding.entity.clone(),
        }
    }
}

/// Sorts, and makes one of those that overlap: the whole stretch goes, under the longest's name.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| {
        (a.segment, a.at.start, b.at.end, &a.entity).cmp(&(b.segment, b.at.start, a.at.end, &b.entity))
    });
    let mut merged: Vec<(Span, usize)> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some((last, longest)) if last.segment == span.segment && span.at.start < last.at.end => {
                if span.at.len() > *longest {
                    *longest = span.at.len();
                    last.entity = span.entity;
                }
                last.at.end = last.at.end.max(span.at.end);
            }
            _ => {
                let length = span.at.len();
                merged.push((span, length));
            }
        }
    }
    merged.into_iter().map(|(span, _)| span).collect()
}

/// Where redacted texts stand once more. `redacted` is sorted and free of overlaps.
fn repeats(
    texts: &Texts<'_>,
    redacted: &[Span],
    allowed: &HashSet<(usize, usize, usize)>,
) -> Result<Vec<Span>, TransformRefused> {
    let mut values: HashMap<&str, &EntityType> = HashMap::new();
    for span in redacted {
        let value = texts.at(span)?;
        if (REPEAT_AS_WORD..=REPEAT_LONGEST).contains(&value.len()) {
            values.entry(value).or_insert(&span.entity);
        }
    }
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut values: Vec<(&str, &EntityType)> = values.into_iter().collect();
    values.sort_unstable_by_key(|(value, _)| (value.len(), *value));
    let mut total = 0;
    values.retain(|(value, _)| {
        total += value.len();
        total <= REPEAT_TOTAL
    });
    let search = Search::new(&values)?;
    let mut found = Vec::new();
    for (segment, holder) in texts.iter() {
        let text = holder.text.as_str();
        let of_protocol = matches!(holder.role, Role::Other | Role::ToolDefinition);
        let first = redacted.partition_point(|span| span.segment < segment);
        let mut ahead = redacted[first..]
            .iter()
            .take_while(|span| span.segment == segment)
            .peekable();
        let mut from = 0;
        // Searched stretch by stretch between what is replaced anyway, so that a match that would
        // run into a replaced stretch does not hide a whole one behind it.
        loop {
            let (until, next) = match ahead.next() {
                Some(span) => (span.at.start, Some(span.at.end)),
                None => (text.len(), None),
            };
            let mut at = from;
            let mut search = search.over(text, from..until);
            while let Some((number, start)) = search.next(at) {
                let (value, entity) = values[number];
                let end = start + value.len();
                let whole = text.is_char_boundary(start) && text.is_char_boundary(end);
                let counts = end - start >= REPEAT_ANYWHERE || is_word(text, start, end);
                let kept =
                    allowed.contains(&(segment, start, end)) || (of_protocol && is_protocol_word(value));
                if whole && counts && !kept {
                    found.push(Span {
                        segment,
                        at: start..end,
                        entity: entity.clone(),
                    });
                    at = end;
                } else {
                    at = start + 1;
                }
            }
            match next {
                Some(end) => from = end,
                None => break,
            }
        }
    }
    Ok(found)
}

/// Whether a value could be a word of the protocol itself: a role, a type, a key.
fn is_protocol_word(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'))
}

/// Whether neither neighbour is a letter or digit.
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|t| t.chars().next_back());
    let after = text.get(end..).and_then(|t| t.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// Gives every span its placeholder. `spans` come in the order of the text.
fn name(
    texts: &Texts<'_>,
    spans: &[Span],
    key: &PlaceholderKey,
) -> Result<(Vec<Edit>, Originals), TransformRefused> {
    if spans.is_empty() {
        return Ok((Vec::new(), Originals::default()));
    }
    let written: HashSet<String> = texts
        .iter()
        .flat_map(|(_, segment)| placeholder::look_alikes(&segment.text))
        .collect();
    let mut originals = Originals::default();
    let mut given: HashMap<(&EntityType, &str), String> = HashMap::new();
    let mut edits = Vec::with_capacity(spans.len());
    for span in spans {
        let value = texts.at(span)?;
        let replacement = match given.get(&(&span.entity, value)) {
            Some(placeholder) => placeholder.clone(),
            None => {
                let suffix = key.suffix(&span.entity, value);
                let placeholder = (SHORTEST..=LONGEST)
                    .map(|characters| suffix.placeholder(&span.entity, characters))
                    .find(|candidate| !written.contains(candidate) && !originals.contains(candidate))
                    .ok_or(TransformRefused::Ambiguous)?;
                originals.insert(placeholder.clone(), value);
                given.insert((&span.entity, value), placeholder.clone());
                placeholder
            }
        };
        edits.push(Edit {
            segment: span.segment,
            span: span.at.clone(),
            replacement,
        });
    }
    Ok((edits, originals))
}

mod search;
use search::Search;

#[cfg(test)]
mod tests;
