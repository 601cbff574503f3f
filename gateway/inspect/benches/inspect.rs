//! Throughput of a whole inspection: prose, code, and a chat prompt of 4 KiB.

use std::hint::black_box;

use cordon_inspect::{Inspector, decoded, normalise};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PROSE: &str = "The committee met for the third time this quarter and went through the open points. It was agreed that the \
    delivery of the second lot would be moved by one week, as the supplier had asked for more time. Nobody objected, \
    although some wondered whether the schedule for autumn could still be kept.\n";

const CODE: &str = "fn merge(left: &[u32], right: &[u32]) -> Vec<u32> {\n    let mut out = Vec::with_capacity(left.len() + right.len());\n    \
    let (mut i, mut j) = (0, 0);\n    while i < left.len() && j < right.len() {\n        if left[i] <= right[j] {\n            \
    out.push(left[i]);\n            i += 1;\n        } else {\n            out.push(right[j]);\n            j += 1;\n        }\n    }\n    out\n}\n";

const CHAT: &str = "Hi, could you write a reply to Martina Kowalska (martina.kowalska@example.org, +49 30 901820)? She asks why her card \
    4111 1111 1111 1111 was charged twice on 3 May. Please be brief and polite.\n\nDB_PASSWORD=hT7kq2ZpWm9\n";

fn inspect(c: &mut Criterion) {
    let inspector = Inspector::embedded().expect("the embedded detectors compile");
    let mut group = c.benchmark_group("inspect");
    let chat = format!("{CHAT}{PROSE}{CODE}");
    let umlauts = PROSE.replace('a', "ä");
    for (name, text) in [
        ("prose", PROSE),
        ("code", CODE),
        ("chat", chat.as_str()),
        ("umlauts", umlauts.as_str()),
    ] {
        let text = text.repeat(4096 / text.len() + 1);
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
