//! Runs the examples and counter-examples of detectors through the whole inspector, without the token classifier.
//!
//! On failure: one [`ExampleFault`] for each example that does not hold, with the place it is written at.

use std::fmt;

use crate::{Inspector, load::unmark};

/// An example that is not found, or a counter-example that is.
#[derive(Clone, Debug)]
pub struct ExampleFault {
    /// The detector's file.
    pub file: String,
    /// The line of the example.
    pub line: u64,
    /// The detector's id.
    pub detector: String,
    /// What happened instead, in types and places.
    pub message: String,
}

impl fmt::Display for ExampleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.detector, self.message
        )
    }
}

impl Inspector {
    /// Runs all examples: how many there are, and which do not hold.
    #[must_use]
    pub fn test_examples(&self) -> (usize, Vec<ExampleFault>) {
        let mut count = 0;
        let mut faults = Vec::new();
        for detector in self.detectors() {
            let lines = &detector.details.example_lines;
            let mut lines = lines
                .iter()
                .copied()
                .chain(std::iter::repeat(detector.details.line));
            let mut fault = |line: u64, message: String| {
                faults.push(ExampleFault {
                    file: detector.file.clone(),
                    line,
                    detector: detector.id.to_string(),
                    message,
                });
            };
            for example in &detector.examples {
                count += 1;
                let line = lines.next().unwrap_or_default();
                let (text, spans) = unmark(example);
                let findings = self.inspect(&text);
                for span in spans {
                    if findings
                        .iter()
                        .any(|f| f.span == span && f.entity == detector.entity)
                    {
                        continue;
                    }
                    let near: Vec<String> = findings
                        .iter()
                        .filter(|f| f.span.start < span.end && span.start < f.span.end)
                        .map(|f| format!("{} by {} at {:?}", f.entity, f.detector, f.span))
                        .collect();
                    let near = if near.is_empty() {
                        "nothing".to_owned()
                    } else {
                        near.join(", ")
                    };
                    fault(
                        line,
                        format!("expected {} at bytes {span:?}, found {near}", detector.entity),
                    );
                }
            }
            for example in &detector.counter_examples {
                count += 1;
                let line = lines.next().unwrap_or_default();
                for finding in self.inspect(&unmark(example).0) {
                    if finding.entity == detector.entity {
                        fault(
                            line,
                            format!(
                                "expected no {}, found one by {} at bytes {:?}",
                                detector.entity, finding.detector, finding.span
                            ),
                        );
                    }
                }
            }
        }
        (count, faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_that_do_not_hold_are_told_with_their_line() {
        let yaml = "detectors:\n  - id: own-ticket\n    entity: TICKET\n    pattern: 'TCK-[0-9]{4}'\n\
                    \x20   keywords: [tck-]\n    score: 0.9\n    examples:\n      - 'see ⟦TCK-1234⟧'\n      - 'see ⟦TCK-12⟧'\n\
                    \x20   counter_examples:\n      - 'TCK'\n      - 'TCK-9999'\n";
        let inspector = Inspector::load(&[("own.yaml".to_owned(), yaml.to_owned())]).unwrap();
        let (_, faults) = inspector.test_examples();
        let own: Vec<String> = faults
            .iter()
            .filter(|fault| fault.file == "own.yaml")
            .map(ToString::to_string)
            .collect();
        assert_eq!(own.len(), 2, "{own:?}");
        assert_eq!(
            own[0],
            "own.yaml:9: own-ticket: expected TICKET at bytes 4..10, found nothing"
        );
        assert!(
            own[1].starts_with("own.yaml:12: own-ticket: expected no TICKET"),
            "{own:?}"
        );
    }
}
