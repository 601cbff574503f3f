//! Throughput of a whole inspection: prose, code, and a chat prompt of 4 KiB.

use std::hint::black_box;

use cordon_inspect::{Inspector, decoded, normalise};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "texts/prompts.rs"]
mod texts;

use texts::{CODE, PROSE};

fn inspect(c: &mut Criterion) {
    let inspector = Inspector::embedded().expect("the embedded detectors compile");
    let mut group = c.benchmark_group("inspect");
    for (name, text) in texts::all() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| inspector.inspect(black_box(&text))));
    }
    group.finish();
}

/// What the views cost by themselves: on text with nothing to normalise or decode, and on encoded text.
fn views(c: &mut Criterion) {
    let mut group = c.benchmark_group("views");
    let umlauts = PROSE.replace('a', "ä");
    let percent: String = PROSE.bytes().map(|b| format!("%{b:02X}")).collect();
    for (name, text) in [
        ("prose", PROSE),
        ("code", CODE),
        ("umlauts", umlauts.as_str()),
        ("percent", percent.as_str()),
    ] {
        let text = text.repeat(4096 / text.len() + 1);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let view = normalise(black_box(&text));
                let mut bytes = 0;
                decoded(view.text(), |view| bytes += view.text().len());
                bytes
            });
        });
    }
    group.finish();
}

criterion_group!(benches, views, inspect);
criterion_main!(benches);
