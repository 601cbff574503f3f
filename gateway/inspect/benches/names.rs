//! What the token classifier costs on one core: tokens a second on prose, a prompt of 300 words, and a program, most
//! of which the gate before the classifier leaves out. It is left out with a line that says so where the
//! classifier is not installed.
//!
//! A text that was read before is known again, so each one here is read for the first time.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cordon_domain::{Place, Role, Segment, Text};
use cordon_inspect::{Inspector, Ner, NerFiles};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokenizers::Tokenizer;

/// 310 words.
const PROMPT: &str = "Please write a friendly reply to the message below. Keep it short, apologise for the delay, and offer a call next week.\n\n\
    Dear support team,\n\nI am writing about the order that my colleague Thandiwe Okonkwo placed with you on the third of March. The \
    parcel was meant to reach our office at 48 Harbour Street, Leith, but according to the carrier it was left with a neighbour two \
    doors down, who has been on holiday ever since. When I called on Tuesday I spoke with a Mr Castellanos, who was very kind and \
    promised that somebody would look into it before the end of the week. Nobody has called back so far, and we need the samples \
    for a meeting with our customers on Friday morning.\n\nCould you please find out whether the parcel can be collected, or send \
    a second set to our workshop instead? The address there is 12 Quillfeather Bend, Marlowbrook. Somebody is there every day \
    from eight in the morning until six in the evening; just ask for Bjarne or for Mrs Delacroix at the front desk. If neither of \
    them is around, the people from the bakery next door will gladly take it and let us know.\n\nI should add that this is the \
    second time within a few months that a delivery has gone astray, and that my manager has begun to ask whether we should look \
    for another supplier. I would rather not, since the quality of what you make has always been excellent and your advice has \
    helped us more than once. But we cannot plan our work around parcels that may or may not arrive, and I would like to be able \
    to tell her that it will not happen a third time.\n\nMany thanks in advance, and please remember me to everybody in your \
    team.\n\nKind regards,\nMarguerite Ashdown\n";

const CODE: &str = "// Merges two sorted lists, as Thandiwe Okonkwo asked.\nfn merge(left: &[u32], right: &[u32]) -> Vec<u32> {\n    \
    let mut out = Vec::with_capacity(left.len() + right.len());\n    let (mut i, mut j) = (0, 0);\n    while i < left.len() && j < \
    right.len() {\n        if left[i] <= right[j] {\n            out.push(left[i]);\n            i += 1;\n        } else {\n            \
    out.push(right[j]);\n            j += 1;\n        }\n    }\n    out\n}\n";

fn names(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/names");
    if !folder.join("made-by").exists() {
        eprintln!("names: left out, as the token classifier is not installed (scripts/setup names)");
        return;
    }
    let files = NerFiles::in_folder(&folder);
    let ner = Ner::load(&files, 1).expect("the classifier loads");
    let inspector = Inspector::embedded()
        .expect("the embedded detectors compile")
        .with_ner(Some(Arc::new(ner)));
    let tokenizer = Tokenizer::from_file(&files.tokenizer).expect("the tokenizer loads");
    let tokens = |text: &str| {
        let encoding = tokenizer.encode(text, false).expect("any text has tokens");
        encoding.len() as u64
    };
    let mut number = 0u64;
    let mut fresh = |text: &str| {
        number += 1;
        Segment {
            place: Place::new("/messages/0/content"),
            role: Role::User,
            text: Text::from(format!("No. {number}\n{text}")),
        }
    };

    let mut group = c.benchmark_group("names");
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    let prose = PROMPT.repeat(5);
    let code = CODE.repeat(16);
    for (name, text) in [
        ("prose", prose.as_str()),
        ("prompt-of-300-words", PROMPT),
        ("code", code.as_str()),
    ] {
        group.throughput(Throughput::Elements(tokens(text)));
        group.bench_function(name, |b| {
            b.iter_batched(
                || [fresh(text)],
                |segments| inspector.inspect_fully(black_box(&segments), None),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();

    let mut times: Vec<Duration> = (0..60)
        .map(|_| {
            let segments = [fresh(PROMPT)];
            let start = Instant::now();
            black_box(inspector.inspect_fully(&segments, None));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let words = PROMPT.split_whitespace().count();
    let [half, most] = [times.len() / 2, times.len() * 95 / 100].map(|at| times[at].as_secs_f64() * 1e3);
    eprintln!("names: a prompt of {words} words on one core: p50 {half:.1} ms, p95 {most:.1} ms");
}

criterion_group!(benches, names);
criterion_main!(benches);
