//! Every example and counter-example of every detector file, through the whole inspector.

use cordon_inspect::Inspector;

/// The example without its marks, and the byte ranges that they enclosed.
fn unmark(example: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let (mut text, mut spans, mut open) = (String::new(), Vec::new(), None);
    for c in example.chars() {
        match c {
            '⟦' => open = Some(text.len()),
            '⟧' => spans.extend(open.take().map(|start| start..text.len())),
            '¦' => {}
            c => text.push(c),
        }
    }
    (text, spans)
}

#[test]
fn detector_files_do_what_they_say() {
    let inspector = Inspector::embedded()
        .map_err(|errors| {
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })
        .unwrap_or_else(|errors| panic!("{errors}"));
    let mut wrong = Vec::new();
    for detector in inspector.detectors() {
        for example in &detector.examples {
            let (text, spans) = unmark(example);
            let findings = inspector.inspect(&text);
            for span in spans {
                if !findings
                    .iter()
                    .any(|f| f.span == span && f.entity == detector.entity)
                {
                    let seen: Vec<_> = findings
                        .iter()
                        .map(|f| (f.detector.as_ref(), f.entity.as_str(), &text[f.span.clone()]))
                        .collect();
                    wrong.push(format!("{}: {example:?} gave {seen:?}", detector.id));
                }
            }
        }
        for example in &detector.counter_examples {
            let (text, _) = unmark(example);
            for finding in inspector.inspect(&text) {
                if finding.entity == detector.entity {
                    wrong.push(format!(
                        "{}: {example:?} was taken for one by {}",
                        detector.id, finding.detector
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn all_entity_types_are_listed() {
    let inspector = Inspector::embedded().expect("the other test shows the errors");
    let types = inspector.entity_types();
    for name in [
        "EMAIL",
        "PHONE",
        "CREDIT_CARD",
        "IBAN",
        "KR_RRN",
        "PERSON",
        "SOURCE_CODE",
        "STACK_TRACE",
        "LOG",
        "CONFIGURATION",
        "INTERNAL.HOST",
        "CONFIDENTIAL.LABEL",
        "CONFIDENTIAL.MARKER",
        "SECRET.JWT",
    ] {
        assert!(types.iter().any(|entity| entity.as_str() == name), "{name}");
    }
}
