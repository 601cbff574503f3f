//! What records keep, who can read it and how it is forgotten: names, texts and values that were sent are found nowhere but through a reveal.

use std::{fs, path::Path, process::Command};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};

/// Sent as traffic, and to be found in no file of ours.
const USER: &str = "canary.person";
const CARD: &str = "4111 1111 1111 1111";
const WORDS: &str = "the heron canary sleeps at noon";
const ANSWER: &str = "a wren canary answered";
const CANARIES: [&str; 5] = [USER, CARD, "4111111111111111", "heron canary", "wren canary"];

/// Records that keep texts, whole of those in the group `open` and redacted of others.
fn policy() -> String {
    format!(
        "records:\n  - {{ when: '\"open\" in actor.groups', level: full }}\n  - {{ level: redacted }}\n{POLICY_REQUESTED}"
    )
}

fn printed(home: &Home, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&home.run(arguments).stdout)
        .trim()
        .to_owned()
}

/// What a command says that answers no.
fn refused(home: &Home, arguments: &[&str]) -> String {
    let output = home.try_run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes an approver's key, and gives its public half.
fn approver(home: &Home, name: &str) -> String {
    let key = home.path().join(format!("{name}.key"));
    let made = Command::new(Places::cordon())
        .args(["audit", "approver", "create", name, "--key"])
        .arg(key)
        .output()
        .expect("the binary can be run");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

/// Canaries in files of the audit.
fn found_under(path: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).expect("the folder is there") {
        let path = entry.expect("the folder reads").path();
        if path.is_dir() {
            found_under(&path, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let name = path.display();
        let here = |canary: &&&str| {
            bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes())
        };
        found.extend(
            CANARIES
                .iter()
                .filter(here)
                .map(|canary| format!("{canary} in {name}")),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_shown_after_two_agreed_until_it_is_erased() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, ANSWER, Deltas::Whole));
    let home = Home::new(&Plan {
        policy: Some(policy()),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let approvers = [approver(&home, "ann"), approver(&home, "bob")];
    let config = fs::read_to_string(home.path().join("cordon.yaml")).expect("it is there");
    home.write(
        "cordon.yaml",
        &format!(
            "{config}audit: {{ approvers: ['{}', '{}'], keys: {{ store: keys.db }} }}\n",
            approvers[0], approvers[1]
        ),
    );
    let (open, closed) = (home.key(USER, "open"), home.key("other.person", "staff"));
    let cordon = home.serve().await;
    let said = format!("{WORDS}, and my card is {CARD}");
    let mut exchanges = Vec::new();
    for key in [&open, &closed] {
        for stream in [false, true] {
            let caller = Caller::new(&cordon, Door::Proxy, key);
            let reply = caller
                .post(Talk::Chat, &Talk::Chat.request(&said, stream))
                .await
                .expect("Cordon answers");
            assert_eq!(reply.status, 200, "{}", reply.text());
            exchanges.push(reply.exchange().to_owned());
        }
    }
    let metrics = cordon.admin_get("/metrics").await.text();
    for exchange in &exchanges {
        let record = home.record(exchange).await;
        let level = &record["opening"]["body"]["payload"]["level"];
        assert!(level == "full" || level == "redacted", "{record:#}");
        // Where it came from, and not from which machine.
        assert_eq!(record["opening"]["body"]["peer"], "127.0.0.0:0", "{record:#}");
        assert_eq!(
            &record["closing"]["body"]["payload"]["level"], level,
            "{record:#}"
        );
    }
    let exchange = exchanges[0].as_str();
    let reference = home.reference(USER);

    // Who sent the card, by the value and whatever its spelling.
    let by_value = home.search(&["--entity", "CREDIT_CARD", "--value", "4111-1111-1111-1111"]);
    assert_eq!(by_value.len(), 4, "{by_value:#?}");
    assert!(
        home.search(&["--entity", "CREDIT_CARD", "--value", "4111111111111129"])
            .is_empty()
    );
    let small = home.try_run(&[
        "audit",
        "search",
        "--entity",
        "DATE_OF_BIRTH",
        "--value",
        "1970-01-01",
    ]);
    assert_eq!(small.status.code(), Some(2), "{small:?}");

    // Nothing is shown before two others agreed.
    let ask = |more: &[&str]| {
        let all = [
            &["audit", "reveal", "request", "--reason", "case 12", "--as", "cat"],
            more,
        ]
        .concat();
        printed(&home, &all)
    };
    let request = ask(&["--exchange", exchange]);
    let opened = |id: &str| {
        let output = home.try_run(&["audit", "reveal", "open", id, "--as", "cat"]);
        // Told where a test fails.
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let approve = |id: &str, name: &str| {
        let key = home.path().join(format!("{name}.key")).display().to_string();
        home.try_run(&["audit", "reveal", "approve", id, "--key", &key, "--as", name])
    };
    assert_eq!(opened(&request).status.code(), Some(1));
    // Who asked, by another's key; and one approver by both.
    let by = |key: &str, name: &str| {
        let key = home.path().join(format!("{key}.key")).display().to_string();
        let approve = [
            "audit", "reveal", "approve", &request, "--key", &key, "--as", name,
        ];
        refused(&home, &approve)
    };
    let own = by("ann", "cat");
    assert!(own.contains("cat asked for it"), "{own}");
    assert!(approve(&request, "ann").status.success());
    let both = by("bob", "ann");
    assert!(both.contains("ann approved it already"), "{both}");
    assert!(approve(&request, "ann").status.success());
    assert_eq!(opened(&request).status.code(), Some(1), "one approver twice");
    assert!(approve(&request, "bob").status.success());
    let others = refused(&home, &["audit", "reveal", "open", &request, "--as", "dan"]);
    assert!(others.contains("cat"), "{others}");
    let text = String::from_utf8_lossy(&opened(&request).stdout).into_owned();
    assert!(text.contains(WORDS) && text.contains(CARD), "{text}");
    // As it left: the placeholder in the card's place.
    let redacted = ask(&["--exchange", &exchanges[3]]);
    // And the reply, and the name.
    let reply = ask(&["--exchange", &exchanges[1], "--part", "reply"]);
    let name = ask(&["--subject", &reference]);
    for id in [&redacted, &reply, &name] {
        for approver in ["ann", "bob"] {
            assert!(approve(id, approver).status.success());
        }
    }
    let text = String::from_utf8_lossy(&opened(&redacted).stdout).into_owned();
    assert!(
        text.contains(WORDS) && !text.contains(CARD) && text.contains("[CREDIT_CARD_"),
        "{text}"
    );
    let text = String::from_utf8_lossy(&opened(&reply).stdout).into_owned();
    assert!(text.contains("wren"), "{text}");
    assert_eq!(String::from_utf8_lossy(&opened(&name).stdout).trim(), USER);

    // A hold stands against erasing, and that is on record; released, it does not.
    let hold = printed(
        &home,
        &["audit", "hold", "add", "--subject", USER, "--reason", "case 12"],
    );
    let against = refused(
        &home,
        &["audit", "erase", "--subject", USER, "--reason", "asked for"],
    );
    assert!(against.contains(&hold), "{against}");
    assert!(printed(&home, &["audit", "hold", "list"]).contains(&reference));
    home.run(&["audit", "hold", "release", &hold, "--reason", "closed"]);
    assert!(printed(&home, &["audit", "hold", "list"]).is_empty());
    let erased = printed(
        &home,
        &["audit", "erase", "--subject", USER, "--reason", "asked for"],
    );
    assert!(erased.contains("1 keys shredded"), "{erased}");
    let again = printed(
        &home,
        &["audit", "erase", "--subject", USER, "--reason", "asked again"],
    );
    assert!(again.contains("no key of theirs is left"), "{again}");
    for id in [&request, &reply, &name] {
        let output = opened(id);
        assert!(
            output.status.code() == Some(1) && output.stdout.is_empty(),
            "{output:?}"
        );
    }
    // Of others nothing is gone, and every proof stays valid.
    assert!(!opened(&redacted).stdout.is_empty());
    let verified = printed(&home, &["audit", "verify"]);
    assert!(verified.starts_with("ok "), "{verified}");

    // All of it is on record.
    let told = printed(
        &home,
        &["audit", "search", "--events", "--searches", "--limit", "1000"],
    );
    for kind in [
        "searched",
        "reveal_requested",
        "reveal_approved",
        "revealed",
        "hold_placed",
        "hold_released",
        "erase_refused",
        "erased",
    ] {
        assert!(told.contains(&format!(" {kind} ")), "{kind}: {told}");
    }

    // And what was sent is nowhere.
    assert_eq!(cordon.terminate().await, Some(0));
    let state = home.path().join("state");
    let mut found = Vec::new();
    for folder in ["spool", "spool-cli"] {
        found_under(&state.join(folder), &mut found);
    }
    // Persons' keys lie apart from the records, as the configuration says.
    let keys = home.path().join("keys.db");
    assert!(holds(&keys, &reference));
    for file in [state.join("audit.db"), state.join("audit.db-wal"), keys] {
        let bytes = fs::read(&file).unwrap_or_default();
        let file = file.display();
        let here = |canary: &&&str| {
            bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes())
        };
        found.extend(
            CANARIES
                .iter()
                .filter(here)
                .map(|canary| format!("{canary} in {file}")),
        );
    }
    let exported = home
        .search(&[])
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    for (place, text) in [
        ("metrics", metrics),
        ("log", home.log()),
        ("search", exported),
        ("events", told),
    ] {
        found.extend(
            CANARIES
                .iter()
                .filter(|canary| text.contains(**canary))
                .map(|canary| format!("{canary} in {place}")),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether a file holds a text.
fn holds(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Of whom nothing is kept, there is no key either, as its row would tell that they were there, and when.
#[tokio::test(flavor = "multi_thread")]
async fn of_whom_nothing_is_kept_there_is_no_key() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, ANSWER, Deltas::Whole));
    let home = Home::new(&Plan {
        policy: Some(format!(
            "records:\n  - {{ when: '\"silent\" in actor.groups', level: none }}\n{POLICY_REQUESTED}"
        )),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let keys = [
        home.key("silent.person", "silent"),
        home.key("other.person", "staff"),
    ];
    let cordon = home.serve().await;
    for key in &keys {
        for stream in [false, true] {
            let caller = Caller::new(&cordon, Door::Proxy, key);
            let reply = caller
                .post(Talk::Chat, &Talk::Chat.request(WORDS, stream))
                .await
                .expect("Cordon answers");
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    assert_eq!(cordon.terminate().await, Some(0));
    let state = home.path().join("state");
    let is_known = |user: &str| {
        let reference = home.reference(user);
        ["audit.db", "audit.db-wal"]
            .iter()
            .any(|file| holds(&state.join(file), &reference))
    };
    assert!(
        is_known("other.person"),
        "what is looked for is found where it is"
    );
    assert!(!is_known("silent.person"));
}

/// By the hour, and by the user of the operating system: another name does not give more.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_up_twenty_values_an_hour() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let cordon = home.serve().await;
    let look_up = |name: &str| {
        let search = [
            "audit",
            "search",
            "--entity",
            "CREDIT_CARD",
            "--value",
            CARD,
            "--as",
            name,
        ];
        home.try_run(&search)
    };
    for number in 0..20 {
        let found = look_up(&format!("name-{number}"));
        assert!(found.status.success(), "{number}: {found:?}");
    }
    let one_more = look_up("another-name");
    assert_eq!(one_more.status.code(), Some(1), "{one_more:?}");
    let told = String::from_utf8_lossy(&one_more.stderr).into_owned();
    assert!(told.contains("20 values an hour"), "{told}");
    // What is no look-up goes on.
    home.run(&["audit", "search", "--entity", "CREDIT_CARD"]);
    assert_eq!(cordon.terminate().await, Some(0));
}
