//! What the text of a web page holds and its source does not show: values that tags or entities divide.
//!
//! Source and text are both inspected; of the text only what is new is reported, so that a value is told once, by its
//! line in the source where it has one.
//!
//! On failure: a value that is not known again is told twice.

use std::{collections::HashSet, ops::Range};

use cordon_domain::Finding;
use cordon_inspect::document::{self, Limits, Part};

/// So many values of a source are looked through for one that holds a value of the text, such as a name in an address.
const LOOKED_THROUGH: usize = 2000;

/// What is new in a page beside its source: its text as a reader sees it, and the values of attributes. Scripts and
/// comments stand in the source as they are.
pub(super) fn beside_source(parts: &[Part]) -> impl Iterator<Item = (&'static str, &str)> {
    parts.iter().filter_map(|part| {
        let inside = match super::inputs::inside(&part.path) {
            "" => "!/text",
            "!/attributes" => "!/attributes",
            _ => return None,
        };
        Some((inside, part.text.as_str()))
    })
}

/// What was found in a page's source.
#[derive(Default)]
pub(super) struct Seen {
    /// Without what stands between words, whatever they were taken for.
    values: HashSet<String>,
    /// The type and the words.
    words: Vec<(String, String)>,
}

impl Seen {
    /// Takes the findings of a text along.
    pub(super) fn add(&mut self, text: &str, findings: &[Finding]) {
        for finding in findings {
            let words = words(text, &finding.span);
            self.values.insert(words.replace(' ', ""));
            if self.words.len() < LOOKED_THROUGH {
                self.words.push((finding.entity.to_string(), words));
            }
        }
    }

    /// Whether a finding's value was found before, or a longer one of its type that holds it.
    pub(super) fn has(&self, text: &str, finding: &Finding) -> bool {
        let own = words(text, &finding.span);
        self.values.contains(&own.replace(' ', ""))
            || self
                .words
                .iter()
                .any(|(entity, words)| entity == finding.entity.as_str() && words.contains(&own))
    }
}

/// The words of a value in small letters, without tags and with entities resolved, a blank before and behind each.
fn words(text: &str, span: &Range<usize>) -> String {
    let value = &text[span.clone()];
    let page = value
        .contains(['<', '&'])
        .then(|| document::extract("value.html", value.as_bytes(), &Limits::default()).ok())
        .flatten();
    let plain = page.as_ref().map_or_else(
        || value.to_owned(),
        |page| page.parts.iter().map(|part| part.text.as_str()).collect(),
    );
    let mut words = String::from(" ");
    for word in plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        words.push_str(&word.to_lowercase());
        words.push(' ');
    }
    // Signs alone are a value as they are.
    if words.len() > 1 { words } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(entity: &str, span: Range<usize>) -> Finding {
        Finding {
            segment: 0,
            span,
            entity: entity.parse().unwrap(),
            detector: "d".into(),
            score: 1.0,
            evidence: vec![],
            source: None,
        }
    }

    #[test]
    fn values_are_known_again_without_tags_and_entities() {
        let source = "<p>4111&nbsp;1111 <b>Ann</b>";
        let mut seen = Seen::default();
        seen.add(
            source,
            &[finding("CARD", 3..17), finding("SOURCE_CODE", 0..source.len())],
        );
        let text = "4111 1111 Ann";
        assert!(seen.has(text, &finding("CARD", 0..9)));
        assert!(seen.has(text, &finding("PHONE", 0..9)));
        assert!(seen.has(text, &finding("CARD", 5..9)));
        assert!(!seen.has(text, &finding("PHONE", 5..9)));
        assert!(!seen.has(text, &finding("PERSON", 10..13)));
        assert!(seen.has(text, &finding("SOURCE_CODE", 10..13)));
        seen.add(source, &[finding("PERSON", 18..28)]);
        assert!(seen.has(text, &finding("PERSON", 10..13)));
    }
}
