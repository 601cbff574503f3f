//! What an auditor's machine does for one record: the leaf's hash, its path to the root of a tree of a billion leaves, and
//! the signature under that root. At most a millisecond is asked of it.

use cordon_audit::{
    note::{Algorithm, Checkpoint, Note, SigningKey},
    tree::{Plan, Subtree, TreeError, leaf_hash, node_hash, verify_inclusion},
};
use criterion::{Criterion, criterion_group, criterion_main};

const SIZE: u64 = 1_000_000_007;
const INDEX: u64 = 123_456_789;

fn proof(criterion: &mut Criterion) {
    // As large as an entry is at most.
    let entry = vec![b'a'; cordon_audit::MAX_ENTRY_BYTES];
    let leaf = leaf_hash(&entry);
    // The hashes of the other subtrees are anything; the root is what they and the leaf lead to.
    let any = |subtree: Subtree| Ok::<_, TreeError>(leaf_hash(&subtree.index.to_le_bytes()));
    let path = Plan::inclusion(INDEX, SIZE)
        .and_then(|plan| plan.path(any))
        .expect("a leaf of the tree");
    // A leaf that is never on the right edge has a sibling on each level, on the side that its index's bits say.
    let root = path
        .iter()
        .enumerate()
        .fold(leaf, |hash, (level, sibling)| match INDEX >> level & 1 {
            1 => node_hash(*sibling, hash),
            _ => node_hash(hash, *sibling),
        });
    let dir = tempfile::tempdir().expect("a directory");
    let key = SigningKey::load_or_create(&dir.path().join("key"), "cordon/bench", Algorithm::Ed25519)
        .expect("a key");
    let checkpoint = Checkpoint::new("cordon/bench/default/standard", SIZE, root);
    let mut note = Note::new(checkpoint.text()).expect("a text");
    note.push(key.sign(note.text(), 0)).expect("room for a signature");
    let note = note.to_string();

    let mut group = criterion.benchmark_group("one proof");
    group.bench_function("leaf, path and root", |bencher| {
        bencher.iter(|| {
            verify_inclusion(leaf_hash(&entry), INDEX, SIZE, &path, root).expect("it is in the tree")
        });
    });
    group.bench_function("signed checkpoint", |bencher| {
        bencher.iter(|| {
            let note = Note::parse(note.as_bytes()).expect("a note");
            note.vouched_by(key.verifying()).expect("a signed note");
            Checkpoint::parse(note.text()).expect("a checkpoint")
        });
    });
    group.finish();
}

criterion_group!(benches, proof);
criterion_main!(benches);
