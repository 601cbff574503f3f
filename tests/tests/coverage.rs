//! What of each dialect is inspected, as a table that is measured: `docs/coverage.md`.
//!
//! `tests/coverage/*.json` has a body of each dialect with a mark in each position. In each cell one mark gives way
//! to personal data of somebody else, then to a secret; all others to a harmless word. The upstream behind TLS must
//! have seen neither in any form, and what it repeats must come back as it was. A cell that leaks fails the test
//! whatever the page says. When the page differs, the new one is written to the test's temporary folder, whose path
//! the failure names.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    coverage::{Bench, Outcome, POSITIONS, SPOKEN, Subject},
    upstream::Upstream,
};

/// The parts of the page: a title, an introduction, and the rows.
const PARTS: [(&str, &str, &str); 4] = [
    (
        "Dialects",
        "At the provider whose dialect it is.",
        include_str!("../coverage/dialects.json"),
    ),
    (
        "Other hosts",
        "Providers that speak another's dialect, with paths and fields of their own: `host: dialect`.",
        include_str!("../coverage/hosts.json"),
    ),
    (
        "WebSockets",
        "A message that is refused is told as an error event, and those around it are sent on. A header is one of the \
         handshake's.",
        include_str!("../coverage/sockets.json"),
    ),
    (
        "Web applications",
        "The shapes that `policies/dialects` describes ([web applications](web-apps.md)).",
        include_str!("../coverage/web.json"),
    ),
];

/// A picture can show a card number only, so there is somebody for whom that is what a secret is for others.
const STRICT: &str = "rules:
  - { id: no-cards, when: '\"strict\" in actor.groups', entities: [CREDIT_CARD], action: block, advice: Take it out. }
";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_what_of_each_dialect_is_inspected() {
    let mut all: Vec<Subject> = Vec::new();
    let mut parts = Vec::new();
    for (title, introduction, rows) in PARTS {
        let rows = Subject::read(rows, &all);
        all.extend(rows.iter().cloned());
        parts.push((title, introduction, rows));
    }
    let mut hosts: Vec<&str> = all.iter().map(|subject| subject.text("host")).collect();
    hosts.sort_unstable();
    hosts.dedup();
    // Those two are in every installation of these tests.
    hosts.retain(|host| !["api.openai.com", "api.anthropic.com"].contains(host));
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let home = Home::new(&Plan {
        apps: &hosts,
        policy: Some(POLICY_REQUESTED.replace("rules:\n", STRICT)),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let (key, strict) = (home.key("ann", "staff"), home.key("ben", "strict"));
    let cordon = home.serve().await;
    let caller = |key: &str| Caller::new(&cordon, Door::Proxy, key);
    let mut bench = Bench::new(cloud, caller(&key), caller(&strict));
    let mut tally = BTreeMap::new();
    let mut tables = String::new();
    for (title, introduction, rows) in &parts {
        let _ = write!(tables, "\n## {title}\n\n{introduction}\n");
        tables.push_str(&measured(&mut bench, rows, &mut tally).await);
    }
    assert!(bench.wrong.is_empty(), "{}", bench.wrong.join("\n"));
    assert!(
        on_prem.asked().is_empty(),
        "the engine was asked in the provider's place"
    );
    compare(&page(&tables, &tally));
}

/// The two tables of a part.
async fn measured(bench: &mut Bench, rows: &[Subject], tally: &mut BTreeMap<Outcome, usize>) -> String {
    let (mut requests, mut replies) = (String::new(), String::new());
    for subject in rows {
        let forms = subject.forms();
        let form = match forms {
            [false] => "plain",
            [true] => "streamed",
            _ => "plain / streamed",
        };
        let name = subject.name();
        for &streamed in forms {
            bench.harmless(subject, streamed).await;
        }
        let _ = write!(requests, "| {name} | {form} |");
        for position in POSITIONS {
            let mut outcomes = vec![];
            for &streamed in forms.iter().filter(|_| subject.has(position)) {
                outcomes.push(bench.request(subject, position, streamed).await);
            }
            let _ = write!(requests, " {} |", counted(&outcomes, tally));
        }
        requests.push('\n');
        if SPOKEN[..4]
            .iter()
            .all(|(_, mark)| !forms.iter().any(|form| subject.speaks(mark, *form)))
        {
            continue;
        }
        let _ = write!(replies, "| {name} | {form} |");
        for (_, mark) in SPOKEN {
            let mut outcomes = vec![];
            for &streamed in forms {
                outcomes.push(bench.reply(subject, mark, streamed).await);
            }
            let _ = write!(replies, " {} |", counted(&outcomes, tally));
        }
        replies.push('\n');
    }
    let head = |what: &str, columns: &[&str]| {
        let ruled = "|---".repeat(columns.len() + 2);
        format!(
            "\n### {what}\n\n| dialect | form | {} |\n{ruled}|\n",
            columns.join(" | ")
        )
    };
    let spoken: Vec<&str> = SPOKEN.iter().map(|(name, _)| *name).collect();
    format!(
        "{}{requests}{}{replies}",
        head("Requests", &POSITIONS),
        head("Replies", &spoken)
    )
}

/// The outcomes of a cell's forms in words, once where they are the same.
fn counted(outcomes: &[Outcome], tally: &mut BTreeMap<Outcome, usize>) -> String {
    for outcome in outcomes {
        *tally.entry(*outcome).or_default() += 1;
    }
    let mut kept = outcomes.to_vec();
    kept.dedup();
    if kept.is_empty() {
        kept.push(Outcome::Absent);
    }
    let words: Vec<&str> = kept.into_iter().map(Outcome::word).collect();
    words.join(" / ")
}

fn page(tables: &str, tally: &BTreeMap<Outcome, usize>) -> String {
    let count = |outcome: Outcome| tally.get(&outcome).copied().unwrap_or_default();
    format!(
        "{}\n{} cells restored, {} redacted, {} refused, {} with the placeholder kept.\n{tables}",
        include_str!("../coverage/head.md"),
        count(Outcome::Restored),
        count(Outcome::Redacted),
        count(Outcome::Refused),
        count(Outcome::Kept),
    )
}

fn compare(found: &str) {
    let path = Places::top().join("docs/coverage.md");
    if fs::read_to_string(path).unwrap_or_default() != found {
        let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coverage.md");
        fs::write(&written, found).expect("the temporary folder takes files");
        panic!(
            "docs/coverage.md tells something else; as measured: {}",
            written.display()
        );
    }
}
