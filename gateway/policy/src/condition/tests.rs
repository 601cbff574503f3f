use super::*;

fn faults(source: &str, allowed: Scope) -> Vec<String> {
    Condition::compile(source, allowed)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|f| format!("{}:{} {}", f.line, f.column, f.message))
        .collect()
}

fn holds(source: &str) -> Result<bool, ConditionFailed> {
    let actor = Actor {
        user: "j.kim".into(),
        groups: BTreeSet::from(["cloud-users".to_owned(), "fab".to_owned()]),
        identity: Identity::AnonymousLoopback,
    };
    let cloud = Upstream {
        name: "openai".into(),
        kind: UpstreamKind::Cloud,
    };
    let found = |entity: &str| Finding {
        segment: 0,
        span: 0..1,
        entity: entity.parse().unwrap(),
        detector: "d".into(),
        score: 0.75,
        evidence: vec![],
        source: None,
    };
    let findings = [
        found("SECRET.JWT"),
        found("SECRET.AWS_ACCESS_KEY"),
        found("EMAIL"),
    ];
    let counts = Counts::of(&findings);
    let facts = Facts {
        actor: &actor,
        dialect: Dialect::AnthropicMessages,
        door: Door::Proxy,
        host: None,
        method: "POST",
        path: "/v1/messages",
        model: Some("claude-x"),
        requested: Some(&cloud),
        upstreams: &[],
        roles: &[],
        unanswered: &[],
        files: Files {
            count: 2,
            unread: 1,
            kinds: &["pdf", "picture"],
        },
        acknowledged: None,
    };
    Condition::compile(source, Scope::Finding)
        .unwrap_or_else(|f| panic!("{source}: {f:?}"))
        .holds(&Seen {
            facts: &facts,
            counts: &counts,
            upstream: Some(&cloud),
            finding: Some(&findings[0]),
        })
}

#[test]
fn answers_about_every_name() {
    for source in [
        r#"actor.user == "j.kim""#,
        r#""cloud-users" in actor.groups && !("x" in actor.groups)"#,
        r#"actor.groups.exists(g, g.startsWith("cloud"))"#,
        r#"dialect == "anthropic-messages" && door == "proxy" && host == """#,
        r#"method == "POST" && path.startsWith("/v1/")"#,
        r#"model.matches("^claude-")"#,
        r#"requested.name == "openai" && requested.kind == "cloud""#,
        r#"upstream.name == "openai" && upstream.kind in ["cloud", "cluster"]"#,
        r#"finding.entity == "SECRET.JWT" && finding.family == "SECRET""#,
        r#"finding.score > 0.7 && finding.detector == "d""#,
        "counts.SECRET == 2 && counts.EMAIL == 1 && counts.IBAN == 0",
        r#"counts["SECRET.JWT"] == 1 && counts["SECRET.PEM"] == 0"#,
        "size(counts) == 3",
        r#"files.count == 2 && files.unread > 0 && "pdf" in files.kinds"#,
        r#"files.kinds.all(k, k != "zip")"#,
        r#"requested.kind != "" && finding.score < 1"#,
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn run_time_errors_are_errors() {
    assert_eq!(holds("actor.groups[5] == \"x\""), Err(ConditionFailed));
    assert_eq!(holds("1 / counts.IBAN == 1"), Err(ConditionFailed));
}

#[test]
fn refuses_what_cannot_work() {
    for (source, allowed, wanted) in [
        ("", Scope::Finding, "0:0 the condition is empty"),
        ("actor.usr == 'x'", Scope::Finding, "no name `actor.usr`"),
        (
            "actor == 'x'",
            Scope::Finding,
            "there is actor.user, actor.groups",
        ),
        (
            "actor.user.name == 'x'",
            Scope::Finding,
            "no name `actor.user.name`",
        ),
        (
            "finding.score > 0.5",
            Scope::Upstream,
            "only in a rule with `entities`",
        ),
        ("upstream.kind == 'x'", Scope::Exchange, "requested.kind"),
        ("actor.user", Scope::Finding, "gives a value of type string"),
        ("actor.user > 5", Scope::Finding, "cannot be evaluated"),
        (
            "door == 'proxy' && shout(actor.user)",
            Scope::Finding,
            "0:19 no function `shout`",
        ),
        (
            "actor.groups == 'x'",
            Scope::Finding,
            "0:0 `actor.groups` can never equal this; it is a list",
        ),
        (
            "'5' == counts.EMAIL",
            Scope::Finding,
            "can never equal this; it is a number",
        ),
        ("model == 5", Scope::Finding, "can never equal this; it is a text"),
        (
            "upstream.kind == 'clud'",
            Scope::Upstream,
            "0:17 `upstream.kind` is never `clud`; it is one of engine, cluster, cloud",
        ),
        (
            "door in ['proxy', 'window']",
            Scope::Finding,
            "`door` is never `window`",
        ),
        ("requested.kind != 'x'", Scope::Exchange, "is never `x`"),
        ("counts.SECRET.JWT > 0", Scope::Finding, "counts[\"SECRET.JWT\"]"),
        ("counts[model] > 0", Scope::Finding, "in quotes"),
        ("counts.email > 0", Scope::Finding, "is no entity type"),
        ("has(actor.user)", Scope::Finding, "not needed"),
        (
            "actor.groups.all(a, actor.groups.all(b, actor.groups.all(c, a == b)))",
            Scope::Finding,
            "loops may nest 2 deep",
        ),
        ("model.matches('(')", Scope::Finding, "cannot be evaluated"),
    ] {
        let found = faults(source, allowed);
        assert!(found.iter().any(|f| f.contains(wanted)), "{source}: {found:?}");
    }
    let long = format!("model == '{}'", "x".repeat(MAX_BYTES));
    assert!(faults(&long, Scope::Finding)[0].contains("more than"));
}

#[test]
fn names_the_place_of_a_fault() {
    assert_eq!(
        faults("door == \"proxy\" &&\n  actor.usr == 'x'", Scope::Finding)
            .iter()
            .map(|f| f.split(' ').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>(),
        ["1:2"]
    );
    let found = faults("door == == 1", Scope::Finding);
    assert!(found[0].starts_with("0:8 condition: "), "{found:?}");
}

#[test]
fn deep_and_long_sources_end_in_an_answer() {
    for source in [
        "(".repeat(MAX_BYTES),
        "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH),
        "(".repeat(MAX_DEPTH) + "true" + &")".repeat(MAX_DEPTH),
        "!".repeat(MAX_BYTES - 10) + "true",
        "-".repeat(MAX_BYTES - 10) + "1",
        format!("{}1 == 1", "1+".repeat(1000)),
        format!("{}true", "true&&".repeat(300)),
        format!("{}true", "true?".repeat(300)),
        format!("model{}", ".a".repeat(1000)),
        "\"".repeat(MAX_BYTES),
        "\u{0}\u{fffd}é\\".repeat(50),
    ] {
        if let Ok(condition) = Condition::compile(&source, Scope::Finding) {
            let _ = condition.trial();
        }
    }
    assert!(faults(&format!("{}1 == 1", "1+".repeat(1000)), Scope::Finding)[0].contains("too many"));
}
