//! What fingerprints cost: the reading of a prompt with and without sets, and how fast files are read into one.
//!
//! The set has 4,000 made-up files of 10 KiB and a table of 100,000 rows with 5 columns; its size is told before the figures.

use std::{hint::black_box, path::Path, sync::Arc};

use cordon_inspect::{
    Inspector,
    fingerprint::{
        DocumentsWriter, FingerprintKey, Fingerprints, Kind, RecordsOptions, add_records, entity_of, prepare,
    },
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FILES: usize = 4000;
const ROWS: usize = 100_000;

/// Words that look like words and repeat about as often as in prose.
fn prose(seed: usize, bytes: usize) -> String {
    let mut state = seed as u64 * 0x9E37_79B9 + 1;
    let mut text = String::new();
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let rank = (state >> 40) % 1500 * ((state >> 20) % 100) / 50;
        for syllable in 0..=rank % 3 {
            let at = (rank as usize * 7 + syllable as usize * 13) % 80;
            text.push(char::from(b"bcdfghklmnprstvz"[at % 16]));
            text.push(char::from(b"aeiou"[at / 16]));
        }
        text.push(if state >> 60 == 0 { '\n' } else { ' ' });
    }
    text
}

fn make(folder: &Path, key: &FingerprintKey) {
    let entity = entity_of("files").expect("a name");
    let mut writer =
        DocumentsWriter::open(folder, "files", entity, Kind::Documents, key).expect("a fresh set");
    for file in 0..FILES {
        writer
            .add(prepare(
                key,
                &format!("docs/{file}.txt"),
                &[&prose(file, 10 << 10)],
            ))
            .expect("a file is added");
    }
    writer.commit().expect("the set is written");
    let mut table = "number,first,last,town,code\n".to_owned();
    for row in 0..ROWS {
        table.push_str(&format!(
            "{},First{},Last{},Town{},{}\n",
            100_000 + row,
            row % 700,
            row / 20,
            row % 900,
            row * 7919
        ));
    }
    let options = RecordsOptions {
        columns: Vec::new(),
        needed: 2,
        window: 400,
        delimiter: None,
    };
    let entity = entity_of("rows").expect("a name");
    add_records(
        folder,
        "rows",
        entity,
        key,
        &options,
        "rows.csv",
        table.as_bytes(),
    )
    .expect("the table is read");
}

#[expect(clippy::print_stdout, reason = "the size belongs to the figures")]
fn reading(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let key = Arc::new(FingerprintKey::from_bytes(&[1; 32]));
    make(dir.path(), &key);
    let prints = Fingerprints::open(dir.path(), key.clone())
        .expect("what was written opens")
        .expect("two sets");
    for set in prints.summaries() {
        println!(
            "{}: {} entries, {} prints, {} bytes on disk, {} an entry",
            set.name,
            set.entries,
            set.prints,
            set.bytes,
            set.bytes / set.entries as u64
        );
    }
    let without = Inspector::embedded().unwrap_or_else(|_| panic!("the embedded detectors compile"));
    let with = Inspector::embedded()
        .unwrap_or_else(|_| panic!("the embedded detectors compile"))
        .with_fingerprints(Some(Arc::new(prints)));
    let foreign = prose(FILES + 7, 4 << 10);
    let own = prose(17, 4 << 10);
    let mut group = criterion.benchmark_group("fingerprint");
    group.throughput(Throughput::Bytes(4 << 10));
    group.bench_function("foreign prose, no sets", |bencher| {
        bencher.iter(|| without.inspect(black_box(&foreign)))
    });
    group.bench_function("foreign prose, both sets", |bencher| {
        bencher.iter(|| with.inspect(black_box(&foreign)))
    });
    group.bench_function("a passage of a file, both sets", |bencher| {
        bencher.iter(|| with.inspect(black_box(&own)))
    });
    let file = prose(3, 10 << 10);
    group.throughput(Throughput::Bytes(10 << 10));
    group.bench_function("reading a file into a set", |bencher| {
        bencher.iter(|| prepare(&key, "a", &[black_box(&file)]))
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
