use super::*;

const POLICY: &str = "
routes:
  - {id: all, to: requested}
rules:
  - {id: secrets, entities: [SECRET], action: block, advice: no}
  - {id: mail, entities: [EMAIL], roles: [user], action: redact}
  - {id: careful, entities: [PHONE], action: coach, advice: sure}
";

/// Finds words: `@` makes an e-mail address, `sk-` a secret, `+` a phone number.
fn find(segments: &[Segment]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (segment, text) in segments.iter().enumerate() {
        let mut at = 0;
        for word in text.text.split_inclusive(' ') {
            let value = word.trim_end();
            let entity = match value {
                v if v.contains('@') => Some("EMAIL"),
                v if v.starts_with("sk-") => Some("SECRET.KEY"),
                v if v.starts_with('+') => Some("PHONE"),
                _ => None,
            };
            if let Some(entity) = entity {
                findings.push(Finding {
                    segment,
                    span: at..at + value.len(),
                    entity: entity.parse().unwrap(),
                    detector: "words".into(),
                    score: 1.0,
                    evidence: vec![],
                    source: None,
                });
            }
            at += word.len();
        }
    }
    findings
}

fn outcomes(tests: &str) -> Result<Vec<Outcome>, Vec<String>> {
    let policy = Policy::parse("p.yaml", POLICY).unwrap();
    run(&policy, "p.test.yaml", tests, &find).map_err(|f| f.iter().map(ToString::to_string).collect())
}

#[test]
fn cases_that_hold_pass() {
    let outcomes = outcomes(
        "
upstreams: {openai: cloud, engine: engine}
tests:
  - name: a secret
    requested: openai
    text: use sk-123456 please
    expect: {action: block, rule: secrets, upstream: openai, absent: [sk-123456]}
  - name: mail of the user, and only of the user
    requested: openai
    segments:
      - {role: user, text: ask jane@x.io today}
      - {role: system, text: you are bot@x.io}
    expect:
      action: redact
      rule: mail
      found: {EMAIL: 2}
      absent: [jane@x.io]
      present: ['ask [EMAIL_', '] today', bot@x.io]
  - name: a number, first
    text: call +4912345
    expect: {action: coach, rule: careful, upstream: engine}
  - name: a number, acknowledged
    text: call +4912345
    acknowledge: [careful]
    expect: {action: alert, rule: careful, present: ['+4912345']}
",
    )
    .unwrap();
    assert_eq!(outcomes.len(), 4);
    for outcome in &outcomes {
        assert!(outcome.passed(), "{outcome:#?}");
    }
    assert_eq!(outcomes[0].line, 4);
}

#[test]
fn every_difference_is_told_with_its_place() {
    let outcomes = outcomes(
        "tests:
  - name: wrong
    text: ask jane@x.io
    expect:
      action: allow
      rule: other
      upstream: cloud
      absent: [ask]
      present: [jane]
      found: {PHONE: 1}
",
    )
    .unwrap();
    let told: Vec<String> = outcomes[0].differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "p.test.yaml:5:15: expected `allow`, and the decision is `redact` under the rule `mail`",
            "p.test.yaml:6:13: expected the rule `other`, and it is `mail`",
            "p.test.yaml:7:17: expected the upstream `cloud`, and it is `engine`",
            "p.test.yaml:10:14: other things were found: {\"EMAIL\": 1}",
            "p.test.yaml:8:16: `ask` goes upstream",
            "p.test.yaml:9:17: `jane` does not go upstream",
        ]
    );
}

#[test]
fn files_that_make_no_sense_are_refused() {
    for (tests, wanted) in [
        ("tests: []\nmore: 1\n", "p.test.yaml:2:1: "),
        (
            "tests:\n  - {name: a, expect: {action: allow}}\n",
            "p.test.yaml:2:5: write either `text` or `segments`",
        ),
        (
            "tests:\n  - {name: a, text: x, requested: gone, expect: {action: allow}}\n",
            "p.test.yaml:2:35: `requested` names no upstream",
        ),
        (
            "tests:\n  - {name: a, text: x, expect: {action: allow}}\n  - {name: a, text: x, expect: {action: allow}}\n",
            "p.test.yaml:3:12: another case has that name",
        ),
    ] {
        let found = outcomes(tests).unwrap_err();
        assert!(found.iter().any(|f| f.starts_with(wanted)), "{tests}: {found:?}");
    }
}

#[test]
fn answers_of_the_model_are_part_of_a_case() {
    let policy = Policy::parse(
        "p.yaml",
        "
questions:
  - {id: results, ask: 'Results?', min_bytes: 5}
routes:
  - {id: all, to: requested}
rules:
  - {id: results-stay, entities: [QUESTION.RESULTS], action: redact}
",
    )
    .unwrap();
    let tests = "
tests:
  - name: yes takes the whole text out
    requested: cloud
    answers: {results: yes}
    segments:
      - {role: user, text: we made 4 billion}
      - {role: system, text: be brief}
    expect: {action: redact, rule: results-stay, absent: [billion], present: [be brief], asked: [results], found: {QUESTION.RESULTS: 1}}
  - name: no is the default
    requested: cloud
    text: we made 4 billion
    expect: {action: allow, asked: [results]}
  - name: nobody could be asked
    requested: cloud
    text: we made 4 billion
    answers: {results: unanswered}
    expect: {action: block, rule: results}
  - name: the engine's own exchanges are not asked about
    text: we made 4 billion
    answers: {results: yes}
    expect: {action: allow, asked: []}
  - name: this one does not hold
    requested: cloud
    text: we made 4 billion
    expect: {action: allow, asked: []}
";
    let outcomes = run(&policy, "p.test.yaml", tests, &find).unwrap_or_else(|f| panic!("{f:#?}"));
    let passed: Vec<bool> = outcomes.iter().map(Outcome::passed).collect();
    assert_eq!(passed, [true, true, true, true, false], "{outcomes:#?}");
    let unknown = "tests:\n  - {name: a, text: b, answers: {other: yes}, expect: {action: allow}}\n";
    assert!(run(&policy, "p.test.yaml", unknown, &find).is_err());
}
