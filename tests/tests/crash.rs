//! SIGKILL under load, again and again; then every answer that a caller completed has its record,
//! exactly once, and the chain of records verifies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Home, OnPrem, Plan},
    replies::{Deltas, Talk, echo_divided},
    upstream::Upstream,
};
use tokio::sync::Notify;

/// Callers at work when the process is killed.
const CALLERS: usize = 8;
/// Answers to wait for between two kills, different each time so that kills fall at other moments.
const ROUNDS: [usize; 4] = [25, 40, 10, 33];

/// As many kills as a fiftieth of `CORDON_CAMPAIGN`, which a start of the whole program allows; four otherwise.
fn rounds() -> impl Iterator<Item = usize> {
    let campaign = std::env::var("CORDON_CAMPAIGN").ok();
    let rounds = campaign.and_then(|rounds| rounds.parse::<usize>().ok());
    let rounds = rounds.map_or(0, |rounds| rounds / 50).max(ROUNDS.len());
    ROUNDS.into_iter().cycle().take(rounds)
}

#[tokio::test(flavor = "multi_thread")]
async fn completed_answers_survive_kills_in_sqlite() {
    survive(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completed_answers_survive_kills_in_postgresql() {
    let server =
        std::env::var("DATABASE_URL").expect("run it by scripts/with-postgres, which sets DATABASE_URL");
    let name = format!("cordon_crash_{}", std::process::id());
    psql(&server, &format!("create database {name}")).await;
    let (base, _) = server.rsplit_once('/').expect("a database URL names a database");
    survive(Some(format!("{base}/{name}"))).await;
    psql(&server, &format!("drop database {name} with (force)")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_somebody_removes_is_put_back_and_told() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| echo_divided(seen, Deltas::Of(2)).in_pieces_of(50));
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let key = home.key("ann", "staff");
    let config = std::fs::read_to_string(home.path().join("cordon.yaml")).expect("a configuration");
    home.write(
        "cordon.yaml",
        &format!("{config}audit: {{ heartbeat_seconds: 1 }}\n"),
    );
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let request = Talk::ALL[0].request("Write to person.test@hanbit-semi.com", false);
    let mut ids = Vec::new();
    for removed in [false, true] {
        if removed {
            let files = std::fs::read_dir(home.path().join("state/spool")).expect("a spool");
            for path in files.map(|file| file.expect("a file").path()) {
                if path.extension().is_some_and(|e| e == "seg") {
                    std::fs::remove_file(path).expect("a segment can be removed");
                }
            }
        }
        let reply = caller.post(Talk::ALL[0], &request).await.expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.text());
        ids.push(reply.exchange().to_owned());
    }
    let tampered = "cordon_spool_failures_total{what=\"tampered\"} 1";
    cordon
        .admin_until("/metrics", |reply| reply.text().contains(tampered))
        .await;
    cordon.kill().await;

    let cordon = home.serve().await;
    home.searched_until(&[], |found| holds_all(found, &ids)).await;
    let events = |arguments: &[&str]| {
        let told = home.run(&[&["audit", "search", "--events"], arguments].concat());
        String::from_utf8_lossy(&told.stdout).into_owned()
    };
    let told = events(&[]);
    assert!(
        told.contains("spool_tampered segment_removed with records") && told.contains(", put back"),
        "{told}"
    );
    assert!(!told.contains("heartbeat"), "{told}");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !events(&["--heartbeats"]).contains("heartbeat every 1 s") {
        assert!(tokio::time::Instant::now() < deadline, "no heartbeat comes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cordon.terminate().await, Some(0));
    let verified = home.run(&["audit", "verify"]);
    assert!(String::from_utf8_lossy(&verified.stdout).starts_with("ok "));
}

async fn psql(server: &str, statement: &str) {
    let output = tokio::process::Command::new("psql")
        .args([server, "-qc", statement])
        .output()
        .await;
    let output = output.expect("psql can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What callers have seen: ids of answers that came to their proper end.
#[derive(Default)]
struct Completed {
    ids: Mutex<Vec<String>>,
    more: Notify,
}

impl Completed {
    fn add(&self, id: &str) {
        self.ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id.to_owned());
        self.more.notify_waiters();
    }

    fn all(&self) -> Vec<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn reach(&self, count: usize) {
        let enough = async {
            loop {
                let more = self.more.notified();
                if self.all().len() >= count {
                    return;
                }
                more.await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(60), enough).await;
        assert!(
            outcome.is_ok(),
            "only {} of {count} answers were completed",
            self.all().len()
        );
    }
}

async fn survive(database: Option<String>) {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| echo_divided(seen, Deltas::Of(2)).in_pieces_of(50));
    let home = Home::new(&Plan {
        database,
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let completed = Arc::new(Completed::default());
    let mut expected = 0;
    for count in rounds() {
        let cordon = home.serve().await;
        let mut callers = tokio::task::JoinSet::new();
        for number in 0..CALLERS {
            let caller = Caller::new(&cordon, Door::Proxy, &key);
            callers.spawn(call_until_it_breaks(caller, number, Arc::clone(&completed)));
        }
        expected += count;
        completed.reach(expected).await;
        cordon.kill().await;
        // They stop by themselves: nobody answers any more.
        callers.join_all().await;
        expected = completed.all().len();
    }

    let cordon = home.serve().await;
    let ids = completed.all();
    let records = home.searched_until(&[], |found| holds_all(found, &ids)).await;
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &records {
        *count
            .entry(record["exchange"].as_str().unwrap_or_default())
            .or_default() += 1;
    }
    for id in &ids {
        assert_eq!(
            count.get(id.as_str()),
            Some(&1),
            "a completed answer without one record: {id}"
        );
    }
    let outcome_of = |id: &str| {
        let record = records.iter().find(|record| record["exchange"] == id);
        record
            .map(|record| record["closing"]["body"]["outcome"].clone())
            .unwrap_or_default()
    };
    for id in &ids {
        assert_eq!(
            outcome_of(id),
            "completed",
            "the record of a completed answer says otherwise: {id}"
        );
    }
    // What was under way at a kill was opened, and is closed now: nobody knows how it ended.
    for record in &records {
        assert!(
            record["closing"].is_object(),
            "an exchange is open for ever: {record:#}"
        );
    }
    assert_eq!(cordon.terminate().await, Some(0));
    let verified = home.run(&["audit", "verify"]);
    let verified = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.starts_with("ok "), "{verified}");
    eprintln!(
        "{} kills of the whole program: {} answers completed, each with its one record",
        rounds().count(),
        ids.len()
    );
}

fn holds_all(found: &[serde_json::Value], ids: &[String]) -> bool {
    let known: std::collections::BTreeSet<&str> = found
        .iter()
        .filter(|record| record["closing"].is_object())
        .filter_map(|record| record["exchange"].as_str())
        .collect();
    ids.iter().all(|id| known.contains(id.as_str()))
}

/// Asks, plain and streamed and in each dialect in turn, until the connection is gone.
async fn call_until_it_breaks(caller: Caller, number: usize, completed: Arc<Completed>) {
    for turn in number.. {
        let talk = Talk::ALL[turn % Talk::ALL.len()];
        let request = talk.request(
            &format!("Write to person{turn}.test@hanbit-semi.com"),
            turn % 2 == 0,
        );
        let Ok(reply) = caller.post(talk, &request).await else {
            return;
        };
        let said = reply.said(talk);
        if !(reply.complete && said.complete) {
            return;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(said.text.contains("@hanbit-semi.com"), "{said:?}");
        completed.add(reply.exchange());
    }
}
