//! `kill -9` in the middle of recording, torn last writes, and system calls that fail: what was acknowledged is in the store after the next
//! start, once.
//!
//! `CORDON_CAMPAIGN=1000` makes it a thousand rounds; otherwise it is a short slice.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use cordon_audit::{Body, Entry, Outcome, Recording, Seal};
use cordon_domain::ExchangeId;
use tokio::time::sleep;

use crate::databases::{Kind, Place, finish, intent_by, verify};

/// Tells the test program that it is the one to be killed, where to record, and which store to ship to.
const CHILD: &str = "CORDON_AUDIT_TEST_CHILD";
const STORE: &str = "CORDON_AUDIT_TEST_STORE";

/// Rounds of a campaign, or of the slice that every test run takes.
pub(crate) fn rounds(slice: usize, share: usize) -> usize {
    let campaign = env::var("CORDON_CAMPAIGN")
        .ok()
        .and_then(|n| n.parse::<usize>().ok());
    campaign.map_or(slice, |rounds| (rounds / share).max(slice))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_to_be_killed() {
    let (Ok(dir), Ok(store)) = (env::var(CHILD), env::var(STORE)) else {
        return;
    };
    let mut config =
        cordon_audit::AuditConfig::new(Path::new(&dir).join("a"), store.parse().unwrap(), "killed");
    config.spool.segment_bytes = 64 << 10;
    let Ok((recorder, _shipping)) =
        cordon_audit::open(config, std::sync::Arc::new(cordon_domain::SystemClock)).await
    else {
        // As when the very calls that open it fail.
        return;
    };
    say(&format!("pid {}", std::process::id()));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                let mut heard = true;
                while heard {
                    let id = ExchangeId::new();
                    let intent = Recording::of(Body::Intent(intent_by("j.kim", id)));
                    // Some have something to carry.
                    let intent = if id.as_uuid().as_bytes()[15] < 32 {
                        intent.attach(id.as_uuid().as_bytes().repeat(200))
                    } else {
                        intent
                    };
                    if recorder.record(intent).await.is_err() {
                        sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                    heard = say(&format!("intent {id}"));
                    let sealed = recorder.seal(Seal::new(id, Outcome::Completed, 200)).await;
                    if sealed.is_ok() {
                        heard = say(&format!("seal {id}"));
                    }
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

/// What was acknowledged to the processes that were killed.
#[derive(Default)]
struct Acknowledged {
    opened: BTreeSet<String>,
    sealed: BTreeSet<String>,
}

impl Acknowledged {
    fn take(&mut self, line: &str) -> bool {
        match line.split_once(' ') {
            // The last line of a process that was killed may be cut short.
            Some(("intent", id)) if id.len() == 36 => self.opened.insert(id.to_owned()),
            Some(("seal", id)) if id.len() == 36 => self.sealed.insert(id.to_owned()),
            _ => false,
        }
    }

    /// Runs a process that records until it has said so often that something is durable, kills it, and takes what it
    /// had said. False when it ended by itself before.
    fn run(&mut self, place: &Place, under: &[&str], lines: usize) -> bool {
        let program = env::current_exe().unwrap();
        let mut command = match under {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        let mut child = command
            .args(["--exact", "killing::the_one_to_be_killed", "--nocapture"])
            .env(CHILD, place.dir.path())
            .env(STORE, place.url_text())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut taken, mut pid) = (0, None);
        while taken < lines {
            let Some(Ok(line)) = said.next() else {
                child.wait().unwrap();
                return false;
            };
            if let Some(said) = line.strip_prefix("pid ") {
                pid = Some(said.to_owned());
            }
            taken += usize::from(self.take(&line));
        }
        // Under strace the child is strace, which ends with what it traces.
        let killed = Command::new("kill").arg("-9").arg(pid.unwrap()).status();
        assert!(killed.unwrap().success());
        for line in said.map_while(Result::ok) {
            self.take(&line);
        }
        child.wait().unwrap();
        true
    }

    /// Opens the spool once more, ships all of it, and compares.
    async fn compare(&self, place: &Place) {
        let (_, shipping) = place.open("a").await;
        finish(shipping).await;
        let verified = verify(place, Some(&place.spool("a"))).await.unwrap();
        assert_eq!(verified.unsealed, 0);
        let mut states: BTreeMap<String, Vec<Body>> = BTreeMap::new();
        for (_, _, body) in &place.bodies().await {
            let body = Entry::parse(body.as_bytes()).unwrap().body;
            if let Some(exchange) = body.exchange() {
                states.entry(exchange.to_string()).or_default().push(body);
            }
        }
        for (id, bodies) in &states {
            assert!(
                matches!(bodies.as_slice(), [Body::Intent(_), Body::Seal(_)]),
                "{id}"
            );
        }
        assert!(self.sealed.is_subset(&self.opened));
        let lost: Vec<_> = self
            .opened
            .iter()
            .filter(|id| !states.contains_key(*id))
            .collect();
        assert!(lost.is_empty(), "{} intents are lost: {lost:?}", lost.len());
        for id in &self.sealed {
            assert!(
                matches!(&states[id][1], Body::Seal(seal) if seal.outcome == Outcome::Completed),
                "{id}"
            );
        }
        let acknowledged = self.opened.len() + self.sealed.len();
        eprintln!(
            "{acknowledged} records acknowledged, {} in the store, 0 lost, 0 doubled",
            verified.records
        );
    }
}

/// What the disk may hold behind the last write when power fails during the next one: parts of it. Nothing there was acknowledged.
fn tear(spool: &Path, round: usize) {
    let files = fs::read_dir(spool).unwrap().map(|file| file.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|e| e == "seg"));
    let newest: PathBuf = segments.max().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let Some(last) = bytes.iter().rposition(|b| *b != 0) else {
        return;
    };
    let room = bytes.len() - last - 1;
    let length = (round * 977 % 5000).min(room.saturating_sub(16));
    // Bytes that stood elsewhere, so they look like frames and are none.
    let start = round * 331 % (last + 1);
    let torn: Vec<u8> = bytes[start..].iter().copied().take(length).collect();
    let file = fs::OpenOptions::new().write(true).open(&newest).unwrap();
    file.write_all_at(&torn, last as u64 + 1 + (round % 8) as u64)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9_and_torn_writes() {
    let place = Place::new(Kind::Sqlite).await;
    let mut acknowledged = Acknowledged::default();
    let rounds = rounds(6, 1);
    for round in 1..=rounds {
        assert!(acknowledged.run(&place, &[], 20 + round * 149 % 700), "{round}");
        if round % 3 == 0 {
            tear(&place.spool("a"), round);
        }
        if round % 250 == 0 {
            acknowledged.compare(&place).await;
        }
    }
    eprint!("{rounds} kills: ");
    acknowledged.compare(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_system_calls_that_fail() {
    let trial = Command::new("strace")
        .args(["-f", "-e", "trace=none", "true"])
        .output();
    if !trial.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!(
            "not run: strace is not installed, or nobody may trace here, so no system call was made to fail"
        );
        return;
    }
    // PostgreSQL is reached by a socket, so all of these fail in the spool.
    let place = Place::new(Kind::Postgres).await;
    let mut acknowledged = Acknowledged::default();
    let (rounds, mut killed) = (rounds(5, 10), 0);
    for round in 1..=rounds {
        let often = 7 + round * 13 % 40;
        let inject = [
            format!("inject=fdatasync:error=EIO:when={often}+{often}"),
            format!("inject=pwrite64:error=ENOSPC:when={often}+{often}"),
            format!("inject=fdatasync,pwrite64:error=EIO:when={often}+{}", 3 * often),
            format!("inject=fsync:error=EIO:when=7+{}", 2 + round % 5),
            format!("inject=pwrite64:error=ENOSPC:when={}..{}", 4 * often, 5 * often),
            format!("inject=rename,ftruncate,statx:error=EIO:when={often}+{often}"),
        ];
        let inject = inject[round % inject.len()].as_str();
        let under = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject];
        killed += usize::from(acknowledged.run(&place, &under, 20 + round * 61 % 300));
    }
    assert!(
        killed * 2 > rounds,
        "{killed} of {rounds} came to record anything"
    );
    eprint!("{rounds} runs with failing calls: ");
    acknowledged.compare(&place).await;
}
