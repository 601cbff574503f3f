//! Decoding a request and putting edits back, for a short chat and for an agent's long one.

use std::hint::black_box;

use bytes::Bytes;
use cordon_domain::{Dialect, Edit, Splice};
use cordon_wire::{Endpoint, Limits, Operation, decode};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CHAT: Endpoint = Endpoint::new(Dialect::OpenaiChat, Operation::Generate);

/// A chat of about `size` bytes, with the newlines, quotes and tool calls of a real one.
fn chat(size: usize) -> Bytes {
    let turn = serde_json::json!([
        {"role": "user", "content": "Please answer j.kim@example.com:\n\n> \"Where is order 4711?\"\n\nKeep it short."},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {
            "name": "find_order", "arguments": "{\"order\":\"4711\",\"mail\":\"j.kim@example.com\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "shipped, due on Friday"},
    ]);
    let turn = turn.as_array().expect("an array was written").clone();
    let turns = (size / 500).max(1);
    let messages: Vec<_> = std::iter::repeat_n(turn, turns).flatten().collect();
    let body = serde_json::json!({"model": "gpt-5", "stream": true, "messages": messages});
    body.to_string().into()
}

fn decode_and_splice(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode_and_splice");
    let limits = Limits::default();
    for size in [2 << 10, 64 << 10] {
        let body = chat(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(body.len()), &body, |b, body| {
            b.iter(|| {
                let decoded = decode(CHAT, body.clone(), &limits).expect("the body is well formed");
                let edits: Vec<Edit> = decoded
                    .segments()
                    .iter()
                    .enumerate()
                    .filter_map(|(segment, s)| {
                        let start = s.text.find("j.kim@example.com")?;
                        Some(Edit {
                            segment,
                            span: start..start + 17,
                            replacement: "[EMAIL_K7QX]".into(),
                        })
                    })
                    .collect();
                black_box(decoded.splice(&edits).expect("the edits fit"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode_and_splice);
criterion_main!(benches);
