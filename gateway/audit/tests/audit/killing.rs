//! `kill -9` in the middle of recording: what was acknowledged is in the store after the next start, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use cordon_audit::{Body, Entry, Outcome, Seal};
use cordon_domain::ExchangeId;

use crate::databases::{Kind, Place, finish, intent_by, open, verify};

/// Tells the test program that it is the one to be killed, and where to record.
const CHILD: &str = "CORDON_AUDIT_TEST_CHILD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_to_be_killed() {
    let Ok(dir) = env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let mut config =
        cordon_audit::AuditConfig::new(dir.join("a"), cordon_audit::StoreUrl::embedded(dir), "killed");
    config.spool.segment_bytes = 64 << 10;
    let (recorder, _shipping) = open(config).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                let mut heard = true;
                while heard {
                    let id = ExchangeId::new();
                    recorder.intent(intent_by("j.kim", id)).await.unwrap();
                    say(&format!("intent {id}"));
                    recorder
                        .seal(Seal::new(id, Outcome::Completed, 200))
                        .await
                        .unwrap();
                    heard = say(&format!("seal {id}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// One line straight to standard output, past the test harness. False when nobody reads it any more.
fn say(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9() {
    let place = Place::new(Kind::Sqlite).await;
    let (mut opened, mut sealed) = (BTreeSet::new(), BTreeSet::new());
    for round in 1..=6 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killing::the_one_to_be_killed", "--nocapture"])
            .env(CHILD, place.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| match line.split_once(' ') {
            Some(("intent", id)) => opened.insert(id.to_owned()),
            Some(("seal", id)) => sealed.insert(id.to_owned()),
            _ => false,
        };
        let mut taken = 0;
        while taken < 150 * round {
            taken += usize::from(take(lines.next().unwrap().unwrap()));
        }
        child.kill().unwrap();
        // What it had acknowledged and said before it died counts too; the last line may be cut short.
        for line in lines
            .map_while(Result::ok)
            .filter(|line| line.split_once(' ').is_some_and(|(_, id)| id.len() == 36))
        {
            take(line);
        }
        child.wait().unwrap();
    }
    let (_, shipping) = place.open("a").await;
    finish(shipping).await;
    let verified = verify(&place, Some(&place.spool("a"))).await.unwrap();
    assert_eq!(verified.unsealed, 0);
    let bodies = place.bodies().await;
    let mut states: BTreeMap<String, Vec<Body>> = BTreeMap::new();
    for (_, _, body) in &bodies {
        let body = Entry::parse(body.as_bytes()).unwrap().body;
        states
            .entry(body.exchange().unwrap().to_string())
            .or_default()
            .push(body);
    }
    for (id, bodies) in &states {
        assert!(
            matches!(bodies.as_slice(), [Body::Intent(_), Body::Seal(_)]),
            "{id}"
        );
    }
    assert!(sealed.is_subset(&opened));
    assert!(opened.iter().all(|id| states.contains_key(id)));
    for id in &sealed {
        assert!(
            matches!(&states[id][1], Body::Seal(seal) if seal.outcome == Outcome::Completed),
            "{id}"
        );
    }
}
