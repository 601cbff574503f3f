//! The audit's figures: what an acknowledgement costs, how fast the store gets records, what memory a store that is away costs,
//! in what memory a store that has grown is verified, and how fast and in what memory all records are exported.
//!
//! `make figures`, or `PG_DURABLE=1 scripts/with-postgres cargo bench --locked -p cordon-audit --bench figures [-- acks|shipping|away|verifying|growing|export ...]`
//!
//! With `DATABASE_URL` records are shipped to that PostgreSQL, otherwise to an SQLite file; `shipping` needs the first. All files
//! lie in the system's temporary directory, so `TMPDIR` chooses the disk.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cordon_audit::{
    AuditConfig, Evidence, Intent, Outcome, Recorder, Seal, Sequencing, Shipping, Store, StoreUrl, TreeName,
    export::{self, Format, Selection},
    note::{Algorithm, Checkpoint, Note, SigningKey},
    tree::{Frontier, Hash},
};
use cordon_domain::{Action, Actor, Dialect, Door, ExchangeId, Identity, SystemClock, UpstreamKind};
use sqlx::Connection as _;
use tokio::{task::JoinSet, time::sleep};

/// Exchanges under way at once.
const CONCURRENT: usize = 64;
/// How long acknowledgements are measured.
const ACKS_FOR: Duration = Duration::from_secs(10);
/// Exchanges that wait for the store before `shipping` is measured.
const WAITING: u64 = 150_000;
/// New exchanges a second meanwhile.
const MEANWHILE: u64 = 500;
/// Exchanges of the store that is verified.
const VERIFIED: u64 = 150_000;
/// Checkpoints, and keys of subjects, of the stores whose verifying is compared in memory; the last have a checkpoint for every leaf.
const GROWN: [u64; 2] = [2_000, 200_000];
/// 100 a second for an hour.
const HOUR: u64 = 360_000;
/// Exchanges that are exported, before and after more came in.
const EXPORTED: [u64; 2] = [20_000, 100_000];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // Cargo adds an argument of its own.
    let asked: BTreeSet<String> = env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.contains(name);
    if wanted("acks") {
        for pause in [Duration::from_millis(100), Duration::ZERO] {
            runtime.block_on(acks(pause));
        }
    }
    if wanted("away") {
        runtime.block_on(away());
    }
    if wanted("shipping") {
        runtime.block_on(shipping());
    }
    if wanted("verifying") {
        runtime.block_on(verifying());
    }
    if wanted("growing") {
        for grown in GROWN {
            runtime.block_on(growing(grown));
        }
    }
    if wanted("export") {
        runtime.block_on(exporting());
    }
}

/// How long callers wait for `intent` and `seal`, when the reply between them takes `pause`.
async fn acks(pause: Duration) {
    let dir = tempfile::tempdir().expect("a directory");
    let (recorder, shipping) = open(dir.path(), store(dir.path())).await;
    let end = Instant::now() + ACKS_FOR;
    let mut callers = JoinSet::new();
    for number in 0..CONCURRENT {
        let recorder = recorder.clone();
        callers.spawn(async move {
            // Not all at the same moment.
            sleep(pause.mul_f64(number as f64 / CONCURRENT as f64)).await;
            let mut waits = Vec::new();
            while Instant::now() < end {
                let exchange = ExchangeId::new();
                let asked = Instant::now();
                recorder.intent(intent(exchange)).await.expect("durable");
                waits.push(asked.elapsed());
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                let asked = Instant::now();
                recorder
                    .seal(Seal::new(exchange, Outcome::Completed, 200))
                    .await
                    .expect("durable");
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "acks: {CONCURRENT} exchanges at once, {} ms between intent and seal: {:.0} records/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms, {:.1} records a sync",
        pause.as_millis(),
        waits.len() as f64 / ACKS_FOR.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        waits.len() as f64 / recorder.metrics().syncs as f64,
    );
    shipping.shutdown(Duration::from_secs(60)).await;
}

/// How fast a store that was away gets what waits for it, while more comes in.
async fn shipping() {
    let Ok(url) = env::var("DATABASE_URL") else {
        println!("shipping: not measured, as DATABASE_URL is not set");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (recorder, shipping) = open(dir.path(), nowhere()).await;
    record(&recorder, WAITING).await;
    drop(recorder);
    shipping.shutdown(Duration::ZERO).await;
    let (recorder, shipping) = open(dir.path(), url.parse().expect("a URL of PostgreSQL")).await;
    let before = recorder.depth();
    let started = Instant::now();
    let drained = Arc::new(AtomicBool::new(false));
    let meanwhile = {
        let (recorder, drained) = (recorder.clone(), Arc::clone(&drained));
        tokio::spawn(async move {
            while !drained.load(Relaxed) {
                let second = Instant::now();
                record(&recorder, MEANWHILE / 10).await;
                sleep(Duration::from_millis(100).saturating_sub(second.elapsed())).await;
            }
        })
    };
    while recorder.depth() > MEANWHILE {
        sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed().as_secs_f64();
    drained.store(true, Relaxed);
    meanwhile.await.expect("a task");
    let shipped = before + recorder.metrics().recorded - recorder.depth();
    println!(
        "shipping: {before} records waited, {MEANWHILE} exchanges/s came in: {:.0} records/s, drained after {took:.1} s",
        shipped as f64 / took,
    );
    shipping.shutdown(Duration::from_secs(60)).await;
}

/// How fast a store is verified whose records are all in trees and signed for, and what a record takes in it.
async fn verifying() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = store(dir.path());
    let key =
        Arc::new(SigningKey::from_seed("cordon/figures", Algorithm::Ed25519, &[7; 32]).expect("a name"));
    let config = AuditConfig {
        sequencing: Some(Sequencing {
            key: Arc::clone(&key),
            every: Duration::from_secs(2),
            memory: dir.path().join("signed"),
            published: tokio::sync::broadcast::Sender::new(8),
        }),
        ..AuditConfig::new(dir.path().join("spool"), url.clone(), "figures")
    };
    let (recorder, shipping) = cordon_audit::open(config, Arc::new(SystemClock))
        .await
        .expect("an open spool");
    record(&recorder, VERIFIED).await;
    shipping.shutdown(Duration::from_secs(120)).await;
    let open = Store::open(&url).await.expect("a store");
    let evidence = Evidence {
        key: Some(key.verifying()),
        ..Evidence::default()
    };
    let mut rates = Vec::new();
    let mut records = 0;
    for _ in 0..5 {
        let started = Instant::now();
        let verified = cordon_audit::verify(&open, &evidence)
            .await
            .expect("an untouched store");
        assert_eq!(verified.behind, 0);
        records = verified.records;
        rates.push(records as f64 / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "verifying: {records} records, all in signed trees: {:.0} records/s (median of 5)",
        rates[2]
    );
    if env::var("DATABASE_URL").is_ok() {
        let bytes = bytes_on_disk(&url_text()).await as f64;
        println!(
            "size: {:.0} bytes a record in PostgreSQL, indexes, leaves and checkpoints included ({:.0} an exchange)",
            bytes / records as f64,
            2.0 * bytes / records as f64,
        );
    }
}

/// What memory verifying takes where there are many checkpoints and keys, in an SQLite file.
async fn growing(grown: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let key =
        Arc::new(SigningKey::from_seed("cordon/figures", Algorithm::Ed25519, &[7; 32]).expect("a name"));
    let config = AuditConfig {
        sequencing: Some(Sequencing {
            key: Arc::clone(&key),
            every: Duration::from_secs(600),
            memory: dir.path().join("signed"),
            published: tokio::sync::broadcast::Sender::new(8),
        }),
        ..AuditConfig::new(
            dir.path().join("spool"),
            StoreUrl::embedded(dir.path()),
            "figures",
        )
    };
    let (recorder, shipping) = cordon_audit::open(config, Arc::new(SystemClock))
        .await
        .expect("an open spool");
    record(&recorder, grown / 2).await;
    drop(recorder);
    shipping.shutdown(Duration::from_secs(120)).await;
    grow(&dir.path().join("audit.db"), &key, grown).await;
    let open = Store::open(&StoreUrl::embedded(dir.path()))
        .await
        .expect("a store");
    let evidence = Evidence {
        key: Some(key.verifying()),
        ..Evidence::default()
    };
    // Making the store took more memory than verifying it does, so its mark is put back.
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own mark");
    let before = memory_mib("VmHWM:");
    let started = Instant::now();
    let verified = cordon_audit::verify(&open, &evidence)
        .await
        .expect("an untouched store");
    println!(
        "growing: {} records, {} checkpoints, {grown} keys verified in {:.1} s, {:.1} MiB of memory more than before",
        verified.records,
        verified.trees.iter().map(|tree| tree.checkpoints).sum::<u64>(),
        started.elapsed().as_secs_f64(),
        memory_mib("VmHWM:") - before,
    );
    open.close().await;
}

/// Adds a checkpoint of every leaf, and as many keys.
async fn grow(path: &Path, key: &SigningKey, keys: u64) {
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("a connection");
    let mut transaction = connection.begin().await.expect("a transaction");
    let extents: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT tenant, class, hashes FROM audit_extent ORDER BY tenant, class, first_index")
            .fetch_all(&mut *transaction)
            .await
            .expect("leaves");
    let mut trees: BTreeMap<TreeName, Frontier> = BTreeMap::new();
    for (tenant, class, hashes) in extents {
        let tree = TreeName::new(&tenant, &class).expect("a name");
        let origin = key.verifying().origin(&tree);
        let frontier = trees.entry(tree).or_default();
        for hash in hashes.as_chunks::<32>().0 {
            frontier.append(Hash::from_bytes(*hash));
            let checkpoint = Checkpoint::new(origin.clone(), frontier.size(), frontier.root());
            let mut note = Note::new(checkpoint.text()).expect("a text");
            let signature = key.sign(note.text(), 0);
            note.push(signature).expect("one signature");
            sqlx::query("INSERT INTO audit_checkpoint VALUES ($1, $2, $3, 0, $4) ON CONFLICT DO NOTHING")
                .bind(&tenant)
                .bind(&class)
                .bind(i64::try_from(frontier.size()).expect("a small tree"))
                .bind(note.to_string())
                .execute(&mut *transaction)
                .await
                .expect("a checkpoint");
        }
    }
    for number in 0..keys {
        sqlx::query("INSERT INTO audit_key VALUES ($1, 'default', $2, 0, $3, $3, NULL)")
            .bind(uuid::Uuid::from_u128(number.into()).to_string())
            .bind(format!("p-{number:032x}"))
            .bind(vec![7; 60])
            .execute(&mut *transaction)
            .await
            .expect("a key");
    }
    transaction.commit().await.expect("a commit");
}

fn url_text() -> String {
    env::var("DATABASE_URL").unwrap_or_default()
}

/// What all tables of the audit take, with their indexes.
async fn bytes_on_disk(url: &str) -> i64 {
    let mut connection = sqlx::PgConnection::connect(url).await.expect("a connection");
    let sum = "SELECT CAST(SUM(pg_total_relation_size(oid)) AS bigint) FROM pg_class \
               WHERE relname LIKE 'audit\\_%' AND relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    sqlx::query_scalar(sum)
        .fetch_one(&mut connection)
        .await
        .expect("a sum")
}

/// What memory the process has while an hour's records wait.
async fn away() {
    let dir = tempfile::tempdir().expect("a directory");
    let (recorder, shipping) = open(dir.path(), nowhere()).await;
    let mut seen = Vec::new();
    let started = Instant::now();
    for _ in 0..10 {
        record(&recorder, HOUR / 10).await;
        seen.push(format!("{:.1}", memory_mib("VmRSS:")));
    }
    let metrics = recorder.metrics();
    println!(
        "away: {HOUR} exchanges while the store is away, in {:.0} s: {} records wait on {} MiB of disk; resident MiB after each tenth: {}",
        started.elapsed().as_secs_f64(),
        metrics.depth,
        metrics.spool_bytes >> 20,
        seen.join(" "),
    );
    shipping.shutdown(Duration::ZERO).await;
}

/// How fast all records are exported in each format, and the most memory that the process had until then.
async fn exporting() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = store(dir.path());
    let mut there = 0;
    for exchanges in EXPORTED {
        let (recorder, shipping) = open(dir.path(), url.clone()).await;
        record(&recorder, exchanges - there).await;
        there = exchanges;
        drop(recorder);
        assert_eq!(
            shipping.shutdown(Duration::from_secs(300)).await,
            0,
            "all is shipped"
        );
        let opened = Store::open(&url).await.expect("a store");
        for format in [Format::Jsonl, Format::Csv, Format::Parquet, Format::Ocsf] {
            let started = Instant::now();
            // Recording takes more memory than exporting, so its mark is put back.
            std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own mark");
            let before = memory_mib("VmHWM:");
            let file = std::fs::File::create(dir.path().join("export")).expect("a file");
            let file = std::io::BufWriter::new(file);
            let contents = export::export(&opened, &Selection::default(), format, file)
                .await
                .expect("an export");
            println!(
                "export: {} records of {exchanges} exchanges as {format}: {:.0} records/s, {:.1} MiB, {:.1} MiB of memory more than before",
                contents.records,
                contents.records as f64 / started.elapsed().as_secs_f64(),
                contents.bytes as f64 / f64::from(1 << 20),
                memory_mib("VmHWM:") - before,
            );
        }
        opened.close().await;
    }
}

async fn record(recorder: &Recorder, exchanges: u64) {
    let mut callers = JoinSet::new();
    let each = exchanges / CONCURRENT as u64;
    for caller in 0..CONCURRENT as u64 {
        let rest = u64::from(caller < exchanges % CONCURRENT as u64);
        let recorder = recorder.clone();
        callers.spawn(async move {
            for _ in 0..each + rest {
                let exchange = ExchangeId::new();
                recorder.intent(intent(exchange)).await.expect("durable");
                let seal = Seal::new(exchange, Outcome::Completed, 200);
                recorder.seal(seal).await.expect("durable");
            }
        });
    }
    callers.join_all().await;
}

async fn open(dir: &Path, store: StoreUrl) -> (Recorder, Shipping) {
    let config = AuditConfig::new(dir.join("spool"), store, "figures");
    cordon_audit::open(config, Arc::new(SystemClock))
        .await
        .expect("an open spool")
}

fn store(dir: &Path) -> StoreUrl {
    match env::var("DATABASE_URL") {
        Ok(url) => url.parse().expect("a URL of PostgreSQL"),
        Err(_) => StoreUrl::embedded(dir),
    }
}

/// A store that is away: nothing listens on that port.
fn nowhere() -> StoreUrl {
    "postgres://postgres@127.0.0.1:1/none".parse().expect("a URL")
}

/// A line of what the kernel says of this process's memory.
fn memory_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn intent(exchange: ExchangeId) -> Intent {
    Intent {
        exchange,
        connection: None,
        actor: Actor {
            user: "j.kim".into(),
            groups: BTreeSet::from(["engineering".to_owned()]),
            identity: Identity::ApiKey { key: "k1".into() },
        },
        peer: ([127, 0, 0, 1], 50123).into(),
        door: Door::Gateway,
        dialect: Dialect::OpenaiChat,
        method: "POST".into(),
        host: None,
        path: "/v1/chat/completions".into(),
        action: Action::Redact,
        rule: "pii".into(),
        policy_hash: "a".repeat(64),
        entities: BTreeMap::from([
            ("EMAIL".parse().expect("a name"), 2),
            ("PHONE".parse().expect("a name"), 1),
            ("SECRET.JWT".parse().expect("a name"), 1),
        ]),
        sources: Vec::new(),
        upstream: Some("engine".into()),
        upstream_kind: Some(UpstreamKind::Engine),
        model: Some("smollm2".into()),
        stream: true,
        questions: Vec::new(),
        request_bytes: 2048,
        request_commitment: Some("b".repeat(64)),
        claims: None,
        payload: None,
    }
}
