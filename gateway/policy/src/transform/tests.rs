use std::sync::Arc;

use bytes::Bytes;
use cordon_domain::{Place, Role, Text, Verdict};
use proptest::prelude::*;

use super::*;
use crate::{
    Head, Reidentifier,
    policytest::{NoHead, PlainBody},
};

fn key() -> PlaceholderKey {
    PlaceholderKey::new([7; 32])
}

fn body(texts: &[&str]) -> PlainBody {
    PlainBody(
        texts
            .iter()
            .map(|text| Segment {
                place: Place::new("/0"),
                role: Role::User,
                text: Text::from(*text),
            })
            .collect(),
    )
}

fn found(segment: usize, span: Range<usize>, entity: &str) -> Finding {
    Finding {
        segment,
        span,
        entity: entity.parse().unwrap(),
        detector: "d".into(),
        score: 1.0,
        evidence: vec![],
        source: None,
    }
}

/// Finds `needle` everywhere.
fn every(body: &PlainBody, needle: &str, entity: &str) -> Vec<Finding> {
    body.0
        .iter()
        .enumerate()
        .flat_map(|(segment, s)| {
            s.text
                .match_indices(needle)
                .map(|(at, m)| found(segment, at..at + m.len(), entity))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn decision(action: Action, verdicts: &[Action]) -> Decision {
    let rule: Arc<str> = "r".into();
    Decision {
        action,
        rule: rule.clone(),
        verdicts: verdicts
            .iter()
            .enumerate()
            .map(|(finding, &action)| Verdict {
                finding,
                action,
                rule: rule.clone(),
            })
            .collect(),
        advice: None,
        upstream: "u".into(),
    }
}

fn redact(body: &PlainBody, findings: &[Finding]) -> (String, Originals) {
    let all = vec![Action::Redact; findings.len()];
    let (cleared, originals) =
        transform(&decision(Action::Redact, &all), findings, body, &NoHead, &key()).unwrap();
    (String::from_utf8(cleared.body().to_vec()).unwrap(), originals)
}

fn placeholder_of(entity: &str, value: &str, characters: usize) -> String {
    let entity: EntityType = entity.parse().unwrap();
    key().suffix(&entity, value).placeholder(&entity, characters)
}

#[test]
fn refusals_clear_nothing() {
    let body = body(&["x"]);
    for action in [Action::Block, Action::Coach] {
        assert_eq!(
            transform(&decision(action, &[]), &[], &body, &NoHead, &key()).unwrap_err(),
            TransformRefused::Refused(action)
        );
    }
}

#[test]
fn what_does_not_fit_clears_nothing() {
    let body = body(&["é x"]);
    let go = |decision: &Decision, findings: &[Finding]| {
        transform(decision, findings, &body, &NoHead, &key()).unwrap_err()
    };
    let one = decision(Action::Redact, &[Action::Redact]);
    assert_eq!(go(&one, &[]), TransformRefused::Mismatch);
    for bad in [
        found(1, 0..1, "A"),
        found(0, 0..9, "A"),
        found(0, 1..2, "A"),
        found(0, 2..2, "A"),
    ] {
        assert_eq!(go(&one, &[bad]), TransformRefused::BadFinding(0));
    }
    let mut swapped = decision(Action::Redact, &[Action::Redact, Action::Redact]);
    swapped.verdicts.swap(0, 1);
    let two = [found(0, 0..2, "A"), found(0, 3..4, "A")];
    assert_eq!(go(&swapped, &two), TransformRefused::Mismatch);
    // A verdict to block cannot stand in a decision that goes on.
    let torn = decision(Action::Redact, &[Action::Block]);
    assert_eq!(go(&torn, &two[..1]), TransformRefused::Mismatch);
}

#[test]
fn one_value_one_placeholder_and_allowed_ones_stay() {
    let body = body(&["mail jane@x.io or joe@x.io", "again jane@x.io"]);
    let mut findings = every(&body, "jane@x.io", "EMAIL");
    findings.extend(every(&body, "joe@x.io", "EMAIL"));
    let decided = decision(Action::Redact, &[Action::Redact, Action::Redact, Action::Allow]);
    let (cleared, originals) = transform(&decided, &findings, &body, &NoHead, &key()).unwrap();
    let jane = placeholder_of("EMAIL", "jane@x.io", SHORTEST);
    assert_eq!(cleared.body(), &format!("mail {jane} or joe@x.io\nagain {jane}"));
    assert_eq!(originals.len(), 1);
}

#[test]
fn later_turns_give_the_same_placeholder() {
    let first = body(&["I am jane@x.io"]);
    let (sent, originals) = redact(&first, &every(&first, "jane@x.io", "EMAIL"));
    let answer = sent.replace("I am", "Hello");
    let shown = Reidentifier::new(originals).whole(&answer, false);
    assert_eq!(shown, "Hello jane@x.io");
    // The caller's history holds what it was shown, and a new question.
    let second = body(&["I am jane@x.io", &shown, "and what is joe@x.io?"]);
    let mut findings = every(&second, "jane@x.io", "EMAIL");
    findings.extend(every(&second, "joe@x.io", "EMAIL"));
    let (again, _) = redact(&second, &findings);
    assert!(again.starts_with(&format!("{sent}\n{answer}\n")), "{again}");
}

#[test]
fn a_reroute_redacts_too() {
    let body = body(&["key K123456789"]);
    let findings = every(&body, "K123456789", "SECRET.X");
    let (cleared, _) = transform(
        &decision(Action::Reroute, &[Action::Redact]),
        &findings,
        &body,
        &NoHead,
        &key(),
    )
    .unwrap();
    assert!(!cleared.body().windows(10).any(|w| w == b"K123456789"));
}

#[test]
fn the_callers_own_look_alike_is_not_confused() {
    let taken = placeholder_of("EMAIL", "jane@x.io", SHORTEST);
    for written in [
        taken.clone(),
        taken.replace('[', r"\[").replace(']', r"\]").replace('_', r"\_"),
    ] {
        let text = format!("what is {written}? I am jane@x.io");
        let body = body(&[&text]);
        let (sent, originals) = redact(&body, &every(&body, "jane@x.io", "EMAIL"));
        let given = placeholder_of("EMAIL", "jane@x.io", SHORTEST + 1);
        assert_eq!(sent, format!("what is {written}? I am {given}"));
        let mut back = Reidentifier::new(originals);
        // An echo of either comes back as what the caller wrote.
        assert_eq!(
            back.whole(&format!("{written} = {given}"), false),
            format!("{written} = jane@x.io")
        );
    }
}

#[test]
fn colliding_names_are_told_apart() {
    // 20 bits of suffix: among so many values of one type some collide.
    let words: Vec<String> = (0..4000).map(|n| format!("user{n:04}@x.io")).collect();
    let text = words.join(" ");
    let findings: Vec<Finding> = (0..4000)
        .map(|n| found(0, n * 14..n * 14 + 13, "EMAIL"))
        .collect();
    let body = body(&[&text]);
    let (sent, originals) = redact(&body, &findings);
    assert_eq!(originals.len(), 4000);
    assert!(
        sent.split(' ').any(|p| p.len() > "[EMAIL_K7QX]".len()),
        "some collide"
    );
    assert_eq!(Reidentifier::new(originals).whole(&sent, false), text);
}

#[test]
fn overlapping_findings_go_together() {
    let body = body(&["Jane Doe-Smith here"]);
    let findings = [
        found(0, 0..8, "PERSON"),
        found(0, 5..14, "ORG"),
        found(0, 5..8, "NAME"),
    ];
    let (sent, originals) = redact(&body, &findings);
    let placeholder = placeholder_of("ORG", "Jane Doe-Smith", SHORTEST);
    assert_eq!(sent, format!("{placeholder} here"));
    assert_eq!(
        Reidentifier::new(originals).whole(&sent, false),
        "Jane Doe-Smith here"
    );
}

#[test]
fn repeats_that_no_detector_saw_go_too() {
    let body = body(&[
        "name: Kim, key: hunter2hunter2",
        "Kim said Kimchi; xhunter2hunter2y; Kim's",
    ]);
    let findings = [found(0, 6..9, "PERSON"), found(0, 16..30, "SECRET.PASSWORD")];
    let (sent, originals) = redact(&body, &findings);
    let kim = placeholder_of("PERSON", "Kim", SHORTEST);
    let key = placeholder_of("SECRET.PASSWORD", "hunter2hunter2", SHORTEST);
    assert_eq!(
        sent,
        format!("name: {kim}, key: {key}\n{kim} said Kimchi; x{key}y; {kim}'s")
    );
    assert_eq!(Reidentifier::new(originals).whole(&sent, false), body.joined());
}

#[test]
fn a_repeat_that_the_policy_allowed_stays() {
    let body = body(&["support@x.io", "support@x.io"]);
    let findings = [found(0, 0..12, "EMAIL"), found(1, 0..12, "EMAIL")];
    let decided = decision(Action::Redact, &[Action::Redact, Action::Allow]);
    let (cleared, _) = transform(&decided, &findings, &body, &NoHead, &key()).unwrap();
    assert!(cleared.body().ends_with(b"\nsupport@x.io"));
}

#[test]
fn words_of_the_protocol_stay() {
    let mut body = body(&["password: assistant", "assistant", "the assistant"]);
    body.0[1].role = Role::Other;
    let (sent, _) = redact(&body, &[found(0, 10..19, "SECRET.PASSWORD")]);
    let placeholder = placeholder_of("SECRET.PASSWORD", "assistant", SHORTEST);
    assert_eq!(
        sent,
        format!("password: {placeholder}\nassistant\nthe {placeholder}")
    );
}

/// A head of one header.
struct OneHeader(Vec<Segment>);

impl SpliceHead for OneHeader {
    fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn splice(&self, edits: &[Edit]) -> Result<Head, SpliceError> {
        let value: Bytes = PlainBody(self.0.clone()).splice(edits)?;
        Ok(Head {
            headers: vec![("x-note".into(), value.to_vec())],
            path_and_query: "/v1".into(),
        })
    }
}

#[test]
fn the_head_is_edited_too() {
    let head = OneHeader(body(&["from jane@x.io"]).0);
    let findings = [found(1, 5..14, "EMAIL")];
    let (cleared, _) = transform(
        &decision(Action::Redact, &[Action::Redact]),
        &findings,
        &body(&["hello jane@x.io"]),
        &head,
        &key(),
    )
    .unwrap();
    let jane = placeholder_of("EMAIL", "jane@x.io", SHORTEST);
    assert_eq!(cleared.head().headers[0].1, format!("from {jane}").into_bytes());
    assert_eq!(cleared.body(), &format!("hello {jane}"));
    assert!(!format!("{cleared:?}").contains("jane"));
    assert!(!format!("{:?}", cleared.head()).contains("EMAIL"));
}

/// Segments of noise around values, with the findings of those values.
fn requests() -> impl Strategy<Value = (Vec<String>, Vec<Finding>)> {
    let value = prop_oneof![
        "[a-z]{3,8}@[a-z]{3,6}\\.io",
        "AKIA[A-Z0-9]{12}",
        "\\[EMAIL_[0-9A-Z]{4}\\]",
        "q[\"\\\\\n\té]{1,3}[0-9]{6}",
    ];
    let noise = prop_oneof![
        "[ .,:é\\[\\]\\\\_]{0,5}",
        Just(placeholder_of("EMAIL", "abc@abc.io", SHORTEST)),
        Just("[EMAIL_".to_owned()),
        Just("\\[EMAIL\\_ABCD\\]".to_owned()),
    ];
    let segment = proptest::collection::vec((noise, value, any::<bool>()), 0..6);
    proptest::collection::vec(segment, 1..4).prop_map(|segments| {
        let mut texts = Vec::new();
        let mut findings = Vec::new();
        for (index, parts) in segments.into_iter().enumerate() {
            let mut text = String::new();
            for (noise, value, email) in parts {
                text += &noise;
                text.push(' ');
                let start = text.len();
                text += &value;
                findings.push(found(
                    index,
                    start..text.len(),
                    if email { "EMAIL" } else { "SECRET.EMAIL" },
                ));
                text.push(' ');
            }
            texts.push(text);
        }
        (texts, findings)
    })
}

proptest! {
    #[test]
    fn what_was_redacted_is_gone_and_comes_back((texts, findings) in requests(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let body = body(&texts);
        let (sent, originals) = redact(&body, &findings);
        for finding in &findings {
            let value = &body.0[finding.segment].text[finding.span.clone()];
            prop_assert!(!sent.contains(value), "{value} in {sent}");
        }
        let mut r = Reidentifier::new(originals);
        let whole = r.whole(&sent, false);
        prop_assert_eq!(&whole, &body.joined());

        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(sent.len() + 1)).filter(|&c| sent.is_char_boundary(c)).collect();
        cuts.sort_unstable();
        let mut streamed = String::new();
        let mut done = 0;
        for cut in cuts.into_iter().chain([sent.len()]) {
            streamed += &r.push("c", &sent[done..cut], false);
            done = cut;
        }
        streamed += &r.finish("c");
        prop_assert_eq!(&streamed, &body.joined());
    }

    #[test]
    fn inside_arguments_it_comes_back_as_json((texts, findings) in requests()) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let body = body(&texts);
        let (sent, originals) = redact(&body, &findings);
        let source = serde_json::to_string(&serde_json::json!({"nested": [{"text": sent}]})).unwrap();
        let back = Reidentifier::new(originals).whole(&source, true);
        let parsed: serde_json::Value = serde_json::from_str(&back).unwrap();
        let wanted = body.joined();
        prop_assert_eq!(parsed["nested"][0]["text"].as_str(), Some(wanted.as_str()));
    }

    #[test]
    fn any_findings_end_in_an_answer(text in any::<String>(), spans in proptest::collection::vec((0_usize..3, 0_usize..40, 0_usize..40), 0..6)) {
        let body = body(&[&text, &text]);
        let findings: Vec<Finding> = spans.iter().map(|&(s, a, b)| found(s, a..b, "EMAIL")).collect();
        let all = vec![Action::Redact; findings.len()];
        if let Ok((cleared, originals)) = transform(&decision(Action::Redact, &all), &findings, &body, &NoHead, &key()) {
            let sent = String::from_utf8(cleared.body().to_vec()).unwrap();
            prop_assert_eq!(Reidentifier::new(originals).whole(&sent, false), body.joined());
        }
    }
}
