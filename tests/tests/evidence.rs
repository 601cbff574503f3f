//! What the audit can show to whoever does not believe it: the whole store is verified, one exchange is proven offline, and what a superuser of the
//! database changes is found and named.

use std::{path::Path, time::Duration};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Home, OnPrem, Plan},
    program::Program,
    replies::{Deltas, Talk, echo_divided},
    upstream::Upstream,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_verifies_the_store_and_one_exchange_in_sqlite() {
    audited(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_verifies_the_store_and_one_exchange_in_postgresql() {
    let server =
        std::env::var("DATABASE_URL").expect("run it by scripts/with-postgres, which sets DATABASE_URL");
    let name = format!("cordon_evidence_{}", std::process::id());
    superuser(Some(&server), Path::new(""), &format!("create database {name}")).await;
    let (base, _) = server.rsplit_once('/').expect("a database URL names a database");
    audited(Some(format!("{base}/{name}"))).await;
    let drop = format!("drop database {name} with (force)");
    superuser(Some(&server), Path::new(""), &drop).await;
}

async fn audited(database: Option<String>) {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| echo_divided(seen, Deltas::Of(2)).in_pieces_of(50));
    let home = Home::new(&Plan {
        database: database.clone(),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let config = std::fs::read_to_string(home.path().join("cordon.yaml")).expect("a configuration");
    home.write(
        "cordon.yaml",
        &format!("{config}audit: {{ checkpoint_seconds: 1, tenants: {{ emea: {{ groups: [emea] }} }} }}\n"),
    );
    let keys = [home.key("ann", "staff"), home.key("eva", "emea")];
    let cordon = home.serve().await;
    let mut ids = Vec::new();
    for key in &keys {
        let caller = Caller::new(&cordon, Door::Proxy, key);
        for _ in 0..3 {
            let request = Talk::ALL[0].request("Write to person.test@hanbit-semi.com", false);
            let reply = caller.post(Talk::ALL[0], &request).await.expect("a reply");
            assert_eq!(reply.status, 200, "{}", reply.text());
            ids.push(reply.exchange().to_owned());
        }
    }

    // While it runs: a proof is there a moment after the exchange, and two programs say that it holds.
    let key = said(&home, 0, &["audit", "key"]);
    let file = home.path().join("proof.json");
    let file = file.to_str().expect("a plain path");
    let proof = prove(&home, &ids[4], file).await;
    assert!(proof.contains("/emea/standard"), "{proof}");
    let holds = offline(file, key.trim()).await;
    assert!(
        holds.contains(&format!("ok 2 records of exchange {}", ids[4])),
        "{holds}"
    );
    let altered = proof.replacen(r#"\"status\":200"#, r#"\"status\":201"#, 1);
    assert_ne!(altered, proof);
    std::fs::write(file, altered).expect("a file");
    let told = check(file, key.trim(), 1);
    assert!(told.contains("does not lead to the root"), "{told}");
    assert_eq!(theirs(file, key.trim()).await, 1);
    let unknown = said(
        &home,
        1,
        &["audit", "proof", "01a2232a-21b9-744e-a491-d7f40a9854c9"],
    );
    assert!(unknown.contains("holds no record"), "{unknown}");

    let verified = said(&home, 0, &["audit", "verify"]);
    assert!(verified.starts_with("ok "), "{verified}");
    assert!(verified.contains("tree default/standard ") && verified.contains("tree emea/standard "));
    assert!(!verified.contains("note: no key"), "{verified}");
    assert_eq!(cordon.terminate().await, Some(0));

    // What a superuser does to a store that nothing is writing to.
    let path = home.path().join("state/audit.db");
    let record = "SELECT exchange FROM audit_record WHERE kind = 'seal' ORDER BY writer, sequence LIMIT 1";
    superuser(
        database.as_deref(),
        &path,
        "CREATE TABLE kept AS SELECT * FROM audit_record",
    )
    .await;
    for (change, what) in [
        (
            format!(
                "UPDATE audit_record SET body = replace(body, '\"status\":200', '\"status\":400') WHERE exchange = ({record})"
            ),
            "is altered",
        ),
        (
            format!(
                "UPDATE audit_record SET outcome = 'refused' WHERE kind = 'seal' AND exchange = ({record})"
            ),
            "is altered: column outcome",
        ),
        (
            format!("DELETE FROM audit_record WHERE kind = 'seal' AND exchange = ({record})"),
            "is missing",
        ),
    ] {
        superuser(database.as_deref(), &path, &change).await;
        let told = said(&home, 1, &["audit", "verify"]);
        assert!(
            told.starts_with("record ") && told.contains(what),
            "{change}\n{told}"
        );
        superuser(
            database.as_deref(),
            &path,
            "DELETE FROM audit_record; INSERT INTO audit_record SELECT * FROM kept",
        )
        .await;
    }
    let verified = said(&home, 0, &["audit", "verify"]);
    assert!(!verified.contains("behind the last checkpoint"), "{verified}");
}

/// Asks for the proof until a checkpoint covers the exchange.
async fn prove(home: &Home, exchange: &str, file: &str) -> String {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let ran = home.try_run(&["audit", "proof", exchange, "--out", file]);
        match ran.status.code() {
            Some(0) => return std::fs::read_to_string(file).expect("a proof"),
            Some(1) => assert!(
                tokio::time::Instant::now() < deadline,
                "{}",
                String::from_utf8_lossy(&ran.stdout)
            ),
            other => panic!("{other:?} {}", String::from_utf8_lossy(&ran.stderr)),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What both programs say of a proof that holds, without the installation.
async fn offline(file: &str, key: &str) -> String {
    assert_eq!(theirs(file, key).await, 0);
    check(file, key, 0)
}

fn check(file: &str, key: &str, code: i32) -> String {
    let ran = std::process::Command::new(Places::cordon())
        .args(["audit", "verify", "--proof", file, "--key", key])
        .env_clear()
        .output()
        .expect("the binary can be run");
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(
        ran.status.code(),
        Some(code),
        "{told}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    told
}

async fn theirs(file: &str, key: &str) -> i32 {
    Program::python("verify_proof.py", &[file, key]).run().await.code
}

/// What a command prints that ends so.
fn said(home: &Home, code: i32, arguments: &[&str]) -> String {
    let ran = home.try_run(arguments);
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(
        ran.status.code(),
        Some(code),
        "{arguments:?} {told}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    told
}

/// Does something to a database as its owner.
async fn superuser(database: Option<&str>, sqlite: &Path, statements: &str) {
    let mut command = match database {
        Some(url) => {
            let mut command = tokio::process::Command::new("psql");
            command.args([url, "-v", "ON_ERROR_STOP=1", "-qc", statements]);
            command
        }
        None => {
            let mut command = tokio::process::Command::new(Places::python());
            let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
            command.args(["-c", script]).arg(sqlite).arg(statements);
            command
        }
    };
    let ran = command.output().await.expect("it can be run");
    assert!(
        ran.status.success(),
        "{statements}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
