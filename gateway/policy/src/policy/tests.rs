use super::*;

fn faults(yaml: &str) -> Vec<String> {
    Policy::parse("p.yaml", yaml)
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// A policy of one rule, whose keys besides `id` are given.
fn rule(keys: &str) -> String {
    format!("rules:\n  - id: one\n    {}\n", keys.replace('\n', "\n    "))
}

#[test]
fn the_embedded_policy_parses() {
    let (name, yaml) = Policy::embedded_default();
    let policy = Policy::parse(name, yaml).unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(policy.unknown(), Unknown::Block);
    assert!(!policy.fail_open());
    assert_eq!(policy.upstream_names().count(), 0);
    assert_eq!(policy.hash().len(), 64);
    assert_eq!(policy.file(), "policies/default.yaml");
}

#[test]
fn every_fault_has_its_place() {
    let yaml = "\
unknown: pass
routes:
  - id: one
    when: actor.usr == \"x\"
    to: openai
  - id: One
    to: \"\"
rules:
  - id: one
    action: allow
  - id: two
    entities: [EMAIL, e-mail]
    min_score: 1.5
    action: redact
  - id: three
    when: |
      door == \"proxy\" &&
        finding.score > 0.5
    action: block
  - id: default
    action: redact
";
    let found = faults(yaml);
    for wanted in [
        "p.yaml:4:11: no name `actor.usr`",
        "p.yaml:6:9: an id is",
        "p.yaml:7:9: `to` is empty",
        "p.yaml:9:9: the id `one` is taken already, in line 3 column 9",
        "p.yaml:12:23: `e-mail` is no entity type",
        "p.yaml:13:16: `min_score` must be",
        "p.yaml:15:5: a rule that refuses (`block`) needs `advice`",
        "p.yaml:18:9: `finding.score` is known only",
        "p.yaml:20:9: the id `default` is used by Cordon",
        "p.yaml:21:13: `redact` needs `entities`",
    ] {
        assert!(
            found.iter().any(|f| f.starts_with(wanted)),
            "{wanted}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 10, "{found:#?}");
}

#[test]
fn conditions_in_quotes_and_folded_have_their_place() {
    let quoted = faults(&rule("when: \"host == 'x' && actor.usr == 'x'\"\naction: allow"));
    assert!(quoted[0].starts_with("p.yaml:3:27: no name"), "{quoted:?}");
    let folded = faults(&rule(
        "when: >-\n  host == 'x' &&\n  actor.usr == 'x'\naction: allow",
    ));
    assert!(
        folded[0].contains("(line 1 column 16 of the condition)"),
        "{folded:?}"
    );
}

#[test]
fn the_shape_is_kept() {
    for (yaml, wanted) in [
        ("", "p.yaml:1:1: "),
        ("rules: []\nruls: []\n", "p.yaml:2:1: "),
        ("rules: []\nrules: []\n", "p.yaml:2:1: "),
        ("rules:\n  - id: one\n    action: explode\n", "p.yaml:3:13: "),
        ("rules:\n  - id: one\n", "p.yaml:2:5: missing field `action`"),
        ("rules: []\nunknown: maybe\n", "p.yaml:2:10: "),
        ("rules: [\n", "p.yaml:"),
        (
            "rules: []\nlimits: {max_findings: 0}\n",
            "p.yaml:2:24: `max_findings`",
        ),
        ("rules: []\nlimits: {max_finding: 1}\n", "p.yaml:2:10: "),
        (
            &rule("entities: []\naction: allow"),
            "p.yaml:3:15: `entities` is empty",
        ),
        (
            &rule("roles: [user]\naction: allow"),
            "p.yaml:3:12: `roles` needs",
        ),
        (
            &rule("entities: [\"*\"]\nroles: []\naction: allow"),
            "p.yaml:4:12: `roles` is empty",
        ),
        (
            &rule("entities: [\"*\"]\nroles: [boss]\naction: allow"),
            "p.yaml:4:13: ",
        ),
        (
            &rule("min_score: 0.5\naction: allow"),
            "p.yaml:3:16: `min_score` needs",
        ),
        (
            &rule("action: coach"),
            "p.yaml:2:5: a rule that refuses (`coach`)",
        ),
    ] {
        let found = faults(yaml);
        assert!(
            found.iter().any(|f| f.starts_with(wanted)),
            "{yaml}\nwanted {wanted}\n{found:#?}"
        );
    }
}

#[test]
fn limits_are_kept() {
    let many: String = (0..=MAX_ENTRIES)
        .map(|n| format!("  - {{id: r{n}, action: allow}}\n"))
        .collect();
    assert!(faults(&format!("rules:\n{many}"))[0].contains("more than the 1000 allowed"));
    assert!(faults(&"#".repeat(MAX_FILE + 1))[0].contains("more than the 1048576 allowed"));
    let long = rule(&format!("action: block\nadvice: {}", "x".repeat(MAX_ADVICE + 1)));
    assert!(faults(&long)[0].contains("1000 bytes at most"));
}

#[test]
fn types_that_nobody_finds_are_reported() {
    let yaml = rule(
        "entities: [SECRET, SECRET.JWT, SECRET.JVT, EMIAL, \"*\"]\nwhen: counts.PHONES > 3\naction: allow",
    );
    let policy = Policy::parse("p.yaml", &yaml).unwrap();
    let known = ["SECRET.JWT", "SECRET.PEM", "EMAIL"]
        .iter()
        .map(|name| name.parse().unwrap())
        .collect();
    let found: Vec<String> = policy
        .check_entities(&known)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "p.yaml:3:36: no detector finds `SECRET.JVT`; found are SECRET.JWT, SECRET.PEM",
            "p.yaml:3:48: no detector finds `EMIAL`",
            "p.yaml:4:11: no detector finds `PHONES`",
        ]
    );
}

#[test]
fn routes_say_which_upstreams_they_need() {
    let yaml =
        "routes:\n  - {id: a, to: openai}\n  - {id: b, to: engine}\n  - {id: c, to: requested}\nrules: []\n";
    let policy = Policy::parse("p.yaml", yaml).unwrap();
    let named: Vec<String> = policy.upstream_names().map(|n| n.absent.to_string()).collect();
    assert_eq!(named, ["p.yaml:2:17: no upstream `openai` in the configuration"]);
}

proptest::proptest! {
    #[test]
    fn any_text_ends_in_an_answer(yaml in "(rules|routes|when|id|to|action|entities|[-:\\[\\]{}\"'|>&*!#,] ?|\n| |[a-z]){0,40}") {
        let _ = Policy::parse("p.yaml", &yaml);
    }
}

#[test]
fn a_question_has_defaults_and_finds_its_own_type() {
    let policy = Policy::parse(
        "p.yaml",
        "questions:\n  - {id: unreleased-results, ask: ' Results? ', reasons: [a figure, a forecast]}\nrules:\n  - {id: r, entities: [QUESTION.UNRELEASED_RESULTS], action: alert}\n",
    )
    .unwrap_or_else(|f| panic!("{f:#?}"));
    let question = policy.question("unreleased-results").unwrap();
    assert_eq!(question.entity().as_str(), "QUESTION.UNRELEASED_RESULTS");
    assert_eq!(question.ask(), "Results?");
    assert_eq!(question.reasons().len(), 2);
    assert!(question.concerns(Role::User, 40) && question.concerns(Role::ToolResult, 4000));
    assert!(!question.concerns(Role::User, 39) && !question.concerns(Role::System, 4000));
    assert!(policy.check_entities(&BTreeSet::new()).is_empty());
}

#[test]
fn faults_of_questions_have_their_places() {
    let yaml = "\
questions:
  - id: 9lives
    ask: Cats?
  - id: results
    ask: \"\"
    reasons: [a, a]
    roles: []
    min_score: 0
    when: finding.score > 0.5
  - id: results
    ask: \"two\\nlines\"
  - id: wrong
    ask: x
    unanswered: redact
rules:
  - {id: wrong, entities: [QUESTION.REZULTS], action: alert}
";
    let found = faults(yaml);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("p.yaml:14:17:"), "{found:#?}");
    let found = faults(&yaml.replace("redact", "alert"));
    for wanted in [
        "p.yaml:2:9: a question's id",
        "p.yaml:5:10: `ask` has 1 to 1000 bytes",
        "p.yaml:6:18: this reason is listed already",
        "p.yaml:7:12: `roles` is empty",
        "p.yaml:8:16: `min_score` must be",
        "p.yaml:9:11: `finding.score`",
        "p.yaml:10:9: the id `results` is taken already",
        "p.yaml:16:10: the id `wrong` is taken already",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(wanted)),
            "{wanted} in {found:#?}"
        );
    }
    let policy = Policy::parse(
        "p.yaml",
        "questions:\n  - {id: results, ask: x}\nrules:\n  - {id: r, entities: [QUESTION.REZULTS], action: alert}\n",
    )
    .unwrap();
    let unknown = policy.check_entities(&BTreeSet::new());
    assert_eq!(
        unknown[0].to_string(),
        "p.yaml:4:24: no detector finds `QUESTION.REZULTS`; found are QUESTION.RESULTS"
    );
}
