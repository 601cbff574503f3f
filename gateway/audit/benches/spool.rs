//! Entries made durable per second, with 1, 16 and 64 callers at once, into a spool on this machine's disk.
//!
//! The store is an SQLite file beside it and takes the records meanwhile, as in `cordon up`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cordon_audit::{AuditConfig, Intent, Outcome, Seal, StoreUrl};
use cordon_domain::{Action, Actor, Dialect, Door, ExchangeId, Identity, SystemClock, UpstreamKind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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
        entities: BTreeMap::from([("EMAIL".parse().expect("a name"), 2)]),
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

fn spool(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let config = AuditConfig::new(dir.path().join("spool"), StoreUrl::embedded(dir.path()), "bench");
    let (recorder, shipping) = runtime
        .block_on(cordon_audit::open(config, Arc::new(SystemClock)))
        .expect("an open spool");
    let mut group = criterion.benchmark_group("exchange (intent and seal)");
    group.throughput(Throughput::Elements(2));
    for callers in [1u64, 16, 64] {
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.iter_custom(|rounds| {
                let each = rounds.div_ceil(callers);
                let started = std::time::Instant::now();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..callers)
                        .map(|_| {
                            let recorder = recorder.clone();
                            tokio::spawn(async move {
                                for _ in 0..each {
                                    let exchange = ExchangeId::new();
                                    recorder.intent(intent(exchange)).await.expect("durable");
                                    let seal = Seal::new(exchange, Outcome::Completed, 200);
                                    recorder.seal(seal).await.expect("durable");
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await.expect("a task");
                    }
                });
                // More rounds than asked for were run when they do not divide evenly.
                started.elapsed().mul_f64(rounds as f64 / (each * callers) as f64)
            });
        });
    }
    group.finish();
    let metrics = recorder.metrics();
    eprintln!("{} entries, {} syncs", metrics.recorded, metrics.syncs);
    drop(recorder);
    runtime.block_on(shipping.shutdown(Duration::from_secs(60)));
}

criterion_group!(benches, spool);
criterion_main!(benches);
