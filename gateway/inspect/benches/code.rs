//! Throughput of the look for code by itself: what every written text pays.

use std::hint::black_box;

use cordon_inspect::blocks_of_code;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PROSE: &str = "The committee met for the third time this quarter and went through the open points. It was agreed that the \
    delivery of the second lot would be moved by one week, as the supplier had asked for more time.\nNobody objected, \
    although some wondered whether the schedule for autumn could still be kept (see the minutes of May).\n\n";

const CODE: &str = "fn merge(left: &[u32], right: &[u32]) -> Vec<u32> {\n    let mut out = Vec::with_capacity(left.len() + right.len());\n    \
    let (mut i, mut j) = (0, 0);\n    while i < left.len() && j < right.len() {\n        if left[i] <= right[j] {\n            \
    out.push(left[i]);\n            i += 1;\n        } else {\n            out.push(right[j]);\n            j += 1;\n        }\n    }\n    out\n}\n";

fn code(c: &mut Criterion) {
    let mut group = c.benchmark_group("code");
    let umlauts = PROSE.replace('a', "ä");
    let wrapped = PROSE.replace(". ", ".\n").replace(" that ", " that\n");
    let joined = CODE.replace('\n', " ");
    for (name, text) in [
        ("prose", PROSE),
        ("wrapped-prose", wrapped.as_str()),
        ("umlauts", umlauts.as_str()),
        ("code", CODE),
        ("code-on-one-line", joined.as_str()),
    ] {
        let text = text.repeat(16384 / text.len() + 1);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| blocks_of_code(black_box(&text))));
    }
    group.finish();
}

criterion_group!(benches, code);
criterion_main!(benches);
