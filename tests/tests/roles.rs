//! The audit with a role of PostgreSQL for each purpose: which command works by which, and what those are told whose role does not do.

use std::{fs, process::Command, time::Duration};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    database::Database,
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};

const USER: &str = "ann";

/// What a command prints that ends so.
fn said(home: &Home, code: i32, arguments: &[&str]) -> String {
    let ran = home.try_run(arguments);
    let told = [ran.stdout, ran.stderr].concat();
    let told = String::from_utf8_lossy(&told).trim().to_owned();
    assert_eq!(ran.status.code(), Some(code), "{arguments:?}\n{told}");
    told
}

fn approver(home: &Home, name: &str) -> String {
    let made = Command::new(Places::cordon())
        .args(["audit", "approver", "create", name, "--key"])
        .arg(home.path().join(format!("{name}.key")))
        .output()
        .expect("the binary can be run");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

async fn ask(cordon: &Cordon, key: &str) -> String {
    let caller = Caller::new(cordon, Door::Proxy, key);
    let request = Talk::Chat.request("Write to person.test@hanbit-semi.com", false);
    let reply = caller.post(Talk::Chat, &request).await.expect("Cordon answers");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.exchange().to_owned()
}

/// Everything that is asked of the audit by people who may do anything but remove: each of these is a record.
async fn looked_at(home: &Home, exchange: &str, round: &str) {
    home.record(exchange).await;
    assert!(said(home, 0, &["audit", "verify"]).starts_with("ok "));
    let path = |name: &str| home.path().join(format!("{name}-{round}")).display().to_string();
    let proof = path("proof");
    let proven = async {
        while !home
            .try_run(&["audit", "proof", exchange, "--out", &proof])
            .status
            .success()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), proven)
        .await
        .expect("a checkpoint is signed every second");
    let exported = said(home, 0, &["audit", "export", "--out", &path("export")]);
    assert!(exported.contains("records of default/standard"), "{exported}");
    let hold = said(
        home,
        0,
        &["audit", "hold", "add", "--subject", USER, "--reason", "case 12"],
    );
    assert!(said(home, 0, &["audit", "hold", "list"]).contains(&hold));
    let held = said(
        home,
        1,
        &["audit", "erase", "--subject", USER, "--reason", "asked for"],
    );
    assert!(held.contains(&hold), "{held}");
    said(
        home,
        0,
        &["audit", "hold", "release", &hold, "--reason", "closed"],
    );
    let reveal = [
        "audit",
        "reveal",
        "request",
        "--exchange",
        exchange,
        "--reason",
        "case 12",
    ];
    let reveal = said(home, 0, &reveal);
    for name in ["bob", "cat"] {
        let key = home.path().join(format!("{name}.key")).display().to_string();
        said(
            home,
            0,
            &["audit", "reveal", "approve", &reveal, "--key", &key, "--as", name],
        );
    }
    let shown = said(home, 0, &["audit", "reveal", "open", &reveal]);
    assert!(shown.contains("Write to"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_by_the_role_that_it_needs() {
    let database = Database::with_roles(&["owner", "writer", "sequencer", "reader", "nobody"]);
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "noted", Deltas::Whole));
    let home = Home::new(&Plan {
        policy: Some(format!("records: [{{ level: full }}]\n{POLICY_REQUESTED}")),
        database: Some(database.url_as("owner")),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key(USER, "staff");
    let plain = fs::read_to_string(home.path().join("cordon.yaml")).expect("it is there");
    let approvers = format!(
        "approvers: ['{}', '{}']",
        approver(&home, "bob"),
        approver(&home, "cat")
    );
    // Who runs the commands: the role of `store`, and what `audit` says besides.
    let by = |store: &str, roles: &str| {
        home.write("database-url", &database.url_as(store));
        home.write(
            "cordon.yaml",
            &format!("{plain}audit: {{ checkpoint_seconds: 1, {approvers}{roles} }}\n"),
        );
    };

    // The owner's first start makes the tables; then roles can be given rights in them.
    let cordon = home.serve().await;
    home.record(&ask(&cordon, &key).await).await;
    assert_eq!(cordon.terminate().await, Some(0));
    for (role, purpose) in [
        ("writer", "writer"),
        ("sequencer", "sequencer"),
        ("reader", "reader"),
    ] {
        let _ = database.ask(&format!(
            "SET ROLE {}; SELECT audit_grant('{}', '{purpose}')",
            database.role("owner"),
            database.role(role)
        ));
    }
    let writer = format!(", writer: '{}'", database.url_as("writer"));
    let owner = format!(", owner: '{}'", database.url_as("owner"));

    // A gateway reads and sequences, ships by another role, and prunes by a third.
    by("sequencer", &format!("{writer}{owner}"));
    let cordon = home.serve().await;
    let exchange = ask(&cordon, &key).await;
    looked_at(&home, &exchange, "gateway").await;

    // An auditor reads, and what they do is recorded by the writer. They have a folder of their own and the keys.
    let elsewhere = plain.replace("dir: state", "dir: auditor")
        + "identity: { installation_key: state/installation.key }\n";
    home.write("database-url", &database.url_as("reader"));
    home.write(
        "cordon.yaml",
        &format!("{elsewhere}audit: {{ {approvers}{writer}, keys: {{ dir: state/tenant-keys }} }}\n"),
    );
    looked_at(&home, &exchange, "auditor").await;
    let events = || said(&home, 0, &["audit", "search", "--events", "--limit", "1000"]);
    let may_not = said(
        &home,
        2,
        &["audit", "erase", "--subject", USER, "--reason", "asked for"],
    );
    assert!(may_not.contains("audit.owner"), "{may_not}");
    assert!(
        !events().contains(" erased "),
        "what was not tried is on record: {}",
        events()
    );

    // Who can record nothing can do nothing but verify.
    by("reader", "");
    assert!(said(&home, 0, &["audit", "verify"]).starts_with("ok "));
    for command in [&["audit", "search"][..], &["audit", "hold", "list"]] {
        let told = said(&home, 2, command);
        assert!(told.contains("audit.writer"), "{told}");
    }
    // Who can read nothing can do nothing.
    by("nobody", &writer);
    for command in [&["audit", "search"][..], &["audit", "verify"]] {
        let told = said(&home, 2, command);
        assert!(
            told.contains("may not read") && told.contains("'reader'"),
            "{told}"
        );
    }

    // Removing takes the owner, by whom the tables are changed and nothing else is done.
    by("sequencer", &format!("{writer}{owner}"));
    said(&home, 0, &["audit", "prune"]);
    let erased = said(
        &home,
        0,
        &["audit", "erase", "--subject", USER, "--reason", "asked for"],
    );
    assert!(erased.contains(" keys shredded"), "{erased}");
    assert!(events().contains(" erased "), "{}", events());
    assert!(said(&home, 0, &["audit", "verify"]).starts_with("ok "));
    assert_eq!(cordon.terminate().await, Some(0));
    let log = home.log();
    assert!(!log.contains("permission denied"), "{log}");
}
