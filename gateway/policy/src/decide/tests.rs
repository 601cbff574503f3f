use std::collections::BTreeSet;

use cordon_domain::{Actor, Dialect, Door, Identity};

use super::*;

struct Asked {
    actor: Actor,
    upstreams: Vec<Upstream>,
    requested: Option<usize>,
    roles: Vec<Role>,
    unanswered: Vec<Arc<str>>,
    acknowledged: Option<&'static str>,
}

impl Asked {
    fn by(groups: &[&str]) -> Self {
        let upstream = |name: &str, kind| Upstream {
            name: name.into(),
            kind,
        };
        Self {
            actor: Actor {
                user: "j.kim".into(),
                groups: groups.iter().map(|g| (*g).to_owned()).collect::<BTreeSet<_>>(),
                identity: Identity::AnonymousLoopback,
            },
            upstreams: vec![
                upstream("openai", UpstreamKind::Cloud),
                upstream("onprem", UpstreamKind::Engine),
                upstream("vllm", UpstreamKind::Cluster),
            ],
            requested: Some(0),
            roles: vec![Role::User, Role::System],
            unanswered: Vec::new(),
            acknowledged: None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            actor: &self.actor,
            dialect: Dialect::OpenaiChat,
            door: Door::Gateway,
            host: None,
            method: "POST",
            path: "/v1/chat/completions",
            model: None,
            requested: self.requested.map(|at| &self.upstreams[at]),
            upstreams: &self.upstreams,
            roles: &self.roles,
            unanswered: &self.unanswered,
            files: crate::Files::default(),
            acknowledged: self.acknowledged,
        }
    }

    fn decide(&self, policy: &str, findings: &[Finding]) -> Decision {
        parse(policy).decide(&self.facts(), findings)
    }

    /// Ids of the questions to ask.
    fn questions(&self, policy: &str, findings: &[Finding]) -> Vec<String> {
        parse(policy)
            .questions_for(&self.facts(), findings)
            .iter()
            .map(|question| question.id().to_string())
            .collect()
    }
}

#[test]
fn the_first_record_that_matches_says_how_much_is_kept() {
    let asked = Asked::by(&[]);
    let level = |records: &str, findings: &[Finding]| {
        parse(&format!("{records}rules: []\n"))
            .keep(&asked.facts(), findings)
            .level
    };
    assert_eq!(level("", &[]), AuditLevel::Metadata);
    let records = "records:\n- { when: 'counts.EMAIL > 0', level: redacted }\n- { when: 'door == \"proxy\"', level: none }\n- { level: full }\n";
    assert_eq!(level(records, &[]), AuditLevel::Full);
    assert_eq!(level(records, &[found("EMAIL")]), AuditLevel::Redacted);
    assert!(Policy::parse("p.yaml", "records: [{ level: most }]\nrules: []\n").is_err());
    let policy = parse("records: [{ class: ten-years }]\nrules: []\n");
    let facts = asked.facts();
    let keep = policy.keep(&facts, &[]);
    assert_eq!(
        (keep.level, keep.class),
        (AuditLevel::Metadata, Some("ten-years"))
    );
    let named: Vec<_> = policy.retention_classes().collect();
    assert_eq!((named.len(), named[0].absent.line), (1, 1));
}

fn parse(policy: &str) -> Policy {
    Policy::parse("p.yaml", policy).unwrap_or_else(|f| panic!("{f:#?}"))
}

fn found(entity: &str) -> Finding {
    scored(entity, 0.9)
}

fn scored(entity: &str, score: f32) -> Finding {
    Finding {
        segment: 0,
        span: 0..1,
        entity: entity.parse().unwrap(),
        detector: "d".into(),
        score,
        evidence: vec![],
        source: None,
    }
}

/// `action rule@upstream`.
fn short(decision: &Decision) -> String {
    format!("{} {}@{}", decision.action, decision.rule, decision.upstream)
}

const TO_REQUESTED: &str = "routes:\n  - {id: all, to: requested}\n";

#[test]
fn routes_pick_the_first_that_matches() {
    let policy = "
routes:
  - {id: fab, when: '\"fab\" in actor.groups', to: vllm}
  - {id: cloud, when: '\"cloud-users\" in actor.groups', to: requested}
rules: []
";
    let upstream = |asked: Asked| asked.decide(policy, &[]).upstream.to_string();
    assert_eq!(upstream(Asked::by(&["fab", "cloud-users"])), "vllm");
    assert_eq!(upstream(Asked::by(&["cloud-users"])), "openai");
    assert_eq!(upstream(Asked::by(&[])), "onprem");
    let mut asked = Asked::by(&["cloud-users"]);
    asked.requested = None;
    assert_eq!(upstream(asked), "onprem");
}

#[test]
fn a_route_that_leads_nowhere_blocks() {
    let asked = Asked::by(&[]);
    let lost = asked.decide("routes:\n  - {id: a, to: gone}\nrules: []\n", &[found("EMAIL")]);
    assert_eq!(short(&lost), "block a@openai");
    assert_eq!(lost.verdicts[0].action, Action::Block);
    let broken = asked.decide(
        "routes:\n  - {id: a, when: 'actor.groups[0] == \"x\"', to: engine}\nrules: []\n",
        &[],
    );
    assert_eq!(short(&broken), "block a@openai");
    let mut no_engine = Asked::by(&[]);
    no_engine.upstreams.remove(1);
    assert_eq!(
        short(&no_engine.decide("rules: []\n", &[])),
        "block default@openai"
    );
}

#[test]
fn the_first_rule_counts_and_the_strictest_stands() {
    let policy = format!(
        "{TO_REQUESTED}rules:
  - {{id: known, entities: [EMAIL], when: 'finding.score < 0.5', action: allow}}
  - {{id: mail, entities: [EMAIL], action: redact}}
  - {{id: secrets, entities: [SECRET], action: block, advice: no}}
  - {{id: rest, entities: ['*'], action: alert}}
"
    );
    let asked = Asked::by(&[]);
    let decide = |findings: &[Finding]| asked.decide(&policy, findings);
    assert_eq!(short(&decide(&[])), "allow default@openai");
    assert_eq!(short(&decide(&[scored("EMAIL", 0.4)])), "allow known@openai");
    assert_eq!(
        short(&decide(&[found("EMAIL"), found("IBAN")])),
        "redact mail@openai"
    );
    let all = decide(&[
        found("IBAN"),
        found("SECRET.JWT"),
        found("EMAIL"),
        scored("EMAIL", 0.1),
    ]);
    assert_eq!(short(&all), "block secrets@openai");
    let rules: Vec<&str> = all.verdicts.iter().map(|v| v.rule.as_ref()).collect();
    assert_eq!(rules, ["rest", "secrets", "mail", "known"]);
    assert_eq!(all.advice.as_deref(), Some("no"));
}

#[test]
fn ties_go_to_the_earlier_rule_whatever_the_order_of_findings() {
    let policy = "rules:
  - {id: a, entities: [A], action: redact}
  - {id: b, entities: [B], action: redact}
";
    let asked = Asked::by(&[]);
    for findings in [[found("A"), found("B")], [found("B"), found("A")]] {
        assert_eq!(short(&asked.decide(policy, &findings)), "redact a@onprem");
    }
}

#[test]
fn scores_and_roles_narrow_a_rule() {
    let policy = "rules:
  - {id: sure, entities: [A], min_score: 0.8, action: block, advice: no}
  - {id: system, entities: [A], roles: [system], action: alert}
";
    let mut asked = Asked::by(&[]);
    assert_eq!(
        short(&asked.decide(policy, &[scored("A", 0.8)])),
        "block sure@onprem"
    );
    assert_eq!(
        short(&asked.decide(policy, &[scored("A", f32::NAN)])),
        "block sure@onprem"
    );
    assert_eq!(
        short(&asked.decide(policy, &[scored("A", 0.7)])),
        "allow default@onprem"
    );
    let mut in_system = scored("A", 0.7);
    in_system.segment = 1;
    assert_eq!(
        short(&asked.decide(policy, std::slice::from_ref(&in_system))),
        "alert system@onprem"
    );
    // Whose words they are is not known: the rule cannot be asked, so nothing goes.
    asked.roles.clear();
    assert_eq!(short(&asked.decide(policy, &[in_system])), "block system@onprem");
}

#[test]
fn reroute_decides_again_for_the_engine() {
    let policy = format!(
        "{TO_REQUESTED}rules:
  - {{id: code, entities: [SOURCE_CODE], action: reroute, advice: stays here}}
  - {{id: cloud, entities: [SECRET], when: 'upstream.kind == \"cloud\"', action: redact}}
  - {{id: inside, entities: [SECRET], when: 'upstream.kind == \"engine\"', action: redact}}
  - {{id: keys, entities: [KEY], when: 'upstream.kind == \"engine\"', action: block, advice: no}}
"
    );
    let asked = Asked::by(&[]);
    let rerouted = asked.decide(&policy, &[found("SOURCE_CODE"), found("SECRET.JWT")]);
    assert_eq!(short(&rerouted), "reroute code@onprem");
    assert_eq!(rerouted.advice.as_deref(), Some("stays here"));
    let verdicts: Vec<String> = rerouted
        .verdicts
        .iter()
        .map(|v| format!("{} {}", v.action, v.rule))
        .collect();
    assert_eq!(verdicts, ["allow default", "redact inside"]);
    // What is too strict for the engine stands there too.
    let refused = asked.decide(&policy, &[found("SOURCE_CODE"), found("KEY")]);
    assert_eq!(short(&refused), "block keys@onprem");
    // Where the engine answers anyway there is nothing to reroute.
    let mut inside = Asked::by(&[]);
    inside.requested = Some(1);
    assert_eq!(
        short(&inside.decide(&policy, &[found("SOURCE_CODE")])),
        "allow default@onprem"
    );
    let mut no_engine = Asked::by(&[]);
    no_engine.upstreams.remove(1);
    assert_eq!(
        short(&no_engine.decide(&policy, &[found("SOURCE_CODE")])),
        "block code@openai"
    );
}

#[test]
fn exchange_rules_need_no_findings() {
    let policy = format!(
        "{TO_REQUESTED}rules:
  - {{id: night, when: 'actor.user == \"j.kim\" && upstream.kind == \"cloud\"', action: alert}}
  - {{id: bulk, when: 'counts.PERSON >= 2', action: block, advice: too many}}
"
    );
    let asked = Asked::by(&[]);
    assert_eq!(short(&asked.decide(&policy, &[])), "alert night@openai");
    let mut inside = Asked::by(&[]);
    inside.requested = Some(1);
    assert_eq!(
        short(&inside.decide(&policy, &[found("PERSON"), found("PERSON")])),
        "block bulk@onprem"
    );
}

#[test]
fn a_condition_that_fails_blocks() {
    let asked = Asked::by(&[]);
    let exchange = asked.decide(
        "rules:\n  - {id: odd, when: 'actor.groups[0] == \"x\"', action: allow}\n",
        &[],
    );
    assert_eq!(short(&exchange), "block odd@onprem");
    assert!(exchange.advice.is_some_and(|a| a.contains("administrator")));
    let finding = asked.decide(
        "rules:\n  - {id: odd, entities: [A], when: '1 / counts.B > 0', action: allow}\n",
        &[found("A")],
    );
    assert_eq!(short(&finding), "block odd@onprem");
    assert_eq!(finding.verdicts[0].action, Action::Block);
}

#[test]
fn coach_refuses_until_acknowledged_and_opens_nothing_else() {
    let policy = "rules:
  - {id: think, entities: ['*'], action: coach, advice: think}
  - {id: twice, entities: [PHONE], action: coach, advice: twice}
  - {id: secrets, entities: [SECRET], action: block, advice: no}
  - {id: mail, entities: [EMAIL], action: redact}
";
    let mut asked = Asked::by(&[]);
    assert_eq!(
        short(&asked.decide(policy, &[found("IBAN")])),
        "coach think@onprem"
    );
    asked.acknowledged = Some("other, think");
    assert_eq!(
        short(&asked.decide(policy, &[found("IBAN")])),
        "alert think@onprem"
    );
    assert_eq!(
        short(&asked.decide(policy, &[found("EMAIL")])),
        "redact mail@onprem"
    );
    assert_eq!(
        short(&asked.decide(policy, &[found("SECRET.JWT")])),
        "block secrets@onprem"
    );
    assert_eq!(
        short(&asked.decide(policy, &[found("PHONE")])),
        "coach twice@onprem"
    );
    asked.acknowledged = Some("think,twice");
    assert_eq!(
        short(&asked.decide(policy, &[found("PHONE")])),
        "alert think@onprem"
    );
    for not_it in ["thin", "THINK", "think;", "", "*"] {
        asked.acknowledged = Some(not_it);
        assert_eq!(
            short(&asked.decide(policy, &[found("IBAN")])),
            "coach think@onprem",
            "{not_it}"
        );
    }
}

#[test]
fn too_many_findings_block() {
    let policy = "limits: {max_findings: 2}\nrules: []\n";
    let asked = Asked::by(&[]);
    let few = [found("A"), found("A")];
    let many = [found("A"), found("A"), found("A")];
    assert_eq!(short(&asked.decide(policy, &few)), "allow default@onprem");
    let blocked = asked.decide(policy, &many);
    assert_eq!(short(&blocked), "block too-many-findings@openai");
    assert_eq!(blocked.verdicts.len(), 3);
}

const QUESTIONS: &str = "
questions:
  - {id: results, ask: 'Results?'}
  - {id: people, ask: 'People?', when: '\"hr\" in actor.groups', unanswered: reroute}
  - {id: tone, ask: 'Rude?', when: 'upstream.kind != \"engine\" && counts.EMAIL > 0', unanswered: alert}
routes:
  - {id: safe, when: 'counts[\"QUESTION.PEOPLE\"] > 0', to: engine}
  - {id: all, to: requested}
rules:
  - {id: secrets, entities: [SECRET], action: block, advice: no}
  - {id: cards, entities: [CREDIT_CARD], action: reroute}
  - {id: asked, entities: [QUESTION], action: block, advice: no}
";

#[test]
fn questions_are_asked_where_they_could_change_something() {
    let asked = Asked::by(&[]);
    let questions = |findings: &[Finding]| asked.questions(QUESTIONS, findings);
    assert_eq!(questions(&[]), ["results"]);
    assert_eq!(questions(&[found("EMAIL")]), ["results", "tone"]);
    // It is blocked already, or answered in the building.
    assert!(questions(&[found("SECRET.JWT")]).is_empty());
    assert!(questions(&[found("CREDIT_CARD")]).is_empty());
    // An answer that changes who answers changes what is asked.
    assert!(questions(&[found("QUESTION.PEOPLE")]).is_empty());
    assert_eq!(
        Asked::by(&["hr"]).questions(QUESTIONS, &[found("CREDIT_CARD")]),
        ["people"]
    );
    let mut inside = Asked::by(&[]);
    inside.requested = Some(2);
    assert!(inside.questions(QUESTIONS, &[]).is_empty());
}

#[test]
fn a_yes_is_a_finding_like_any_other() {
    let policy = parse(QUESTIONS);
    let yes = policy.question("results").unwrap().finding(0, 9, 0.75);
    assert_eq!((yes.entity.as_str(), &yes.span), ("QUESTION.RESULTS", &(0..9)));
    assert_eq!(
        short(&Asked::by(&[]).decide(QUESTIONS, &[yes])),
        "block asked@openai"
    );
}

#[test]
fn what_nobody_could_be_asked_is_decided_by_the_question() {
    let with = |groups: &[&str], unanswered: &[&str], findings: &[Finding]| {
        let mut asked = Asked::by(groups);
        asked.unanswered = unanswered.iter().map(|&id| id.into()).collect();
        short(&asked.decide(QUESTIONS, findings))
    };
    assert_eq!(with(&[], &[], &[]), "allow default@openai");
    assert_eq!(with(&[], &["results"], &[]), "block results@openai");
    assert_eq!(with(&["hr"], &["people"], &[]), "reroute people@onprem");
    assert_eq!(with(&["hr"], &["people", "results"], &[]), "block results@openai");
    assert_eq!(with(&[], &["tone"], &[found("EMAIL")]), "alert tone@openai");
    // It is not wanted, or a rule is as strict.
    assert_eq!(with(&[], &["tone"], &[]), "allow default@openai");
    assert_eq!(
        with(&[], &["results"], &[found("SECRET.JWT")]),
        "block secrets@openai"
    );
    // Answered in the building the first question is not wanted, and the second has nowhere to send it.
    assert_eq!(
        with(&["hr"], &["results", "people"], &[found("QUESTION.PEOPLE")]),
        "block asked@onprem"
    );
}
