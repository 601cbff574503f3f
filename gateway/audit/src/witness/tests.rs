use std::sync::Barrier;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tree::{Frontier, Plan, complete_root};

const ORIGIN: &str = "cordon/acme/default/standard";

/// A witness in a folder of its own, and the log that it knows.
struct Scene {
    dir: TempDir,
    log: SigningKey,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = SigningKey::load_or_create(&dir.path().join("log.key"), "cordon/acme", Algorithm::Ed25519);
        Self {
            log: log.unwrap(),
            dir,
        }
    }

    fn open(&self) -> Result<Witness, WitnessError> {
        let path = self.dir.path().join("witness.key");
        let key = SigningKey::load_or_create(&path, "witness.example/w1", Algorithm::Cosignature).unwrap();
        Witness::open(self.dir.path(), key, vec![self.log.verifying().clone()])
    }

    /// The request to go from one size to another. Trees of another `kind` have other leaves from the sixth on.
    fn request(&self, kind: u8, old: u64, size: u64) -> AddCheckpoint {
        let leaf = |n: u64| leaf_hash(&[if n < 5 { 0 } else { kind }, n as u8]);
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let plan = Plan::consistency(old.min(size), size).unwrap();
        let path = plan
            .path(|subtree| {
                let range = subtree.leaves();
                complete_root(&leaves[range.start as usize..range.end as usize]).ok_or(TreeError::NotAHash)
            })
            .unwrap();
        let root = Frontier::resume([], leaves.iter().copied()).root();
        let mut note = Note::new(Checkpoint::new(ORIGIN, size, root).text()).unwrap();
        note.push(self.log.sign(note.text(), 0)).unwrap();
        AddCheckpoint { old, path, note }
    }

    fn ask(&self, witness: &Witness, kind: u8, old: u64, size: u64) -> Result<(), Refusal> {
        let request = self.request(kind, old, size);
        let signature = witness.add_checkpoint(request.to_string().as_bytes(), 1_700_000_000)?;
        let mut note = request.note;
        note.push(signature).unwrap();
        assert_eq!(note.vouched_by(witness.key()).unwrap().at, Some(1_700_000_000));
        Ok(())
    }
}

#[test]
fn it_cosigns_what_continues_and_nothing_else() {
    let scene = Scene::new();
    let witness = scene.open().unwrap();
    scene.ask(&witness, 0, 0, 3).unwrap();
    scene.ask(&witness, 0, 3, 8).unwrap();
    // Once more, as a log asks whose answer was lost.
    scene.ask(&witness, 0, 8, 8).unwrap();
    for (kind, old, size) in [(0, 0, 9), (0, 3, 8), (0, 3, 9), (0, 9, 9), (1, 8, 8)] {
        let refused = scene.ask(&witness, kind, old, size);
        assert!(
            matches!(refused, Err(Refusal::Conflict(8))),
            "{kind} {old} {size}: {refused:?}"
        );
    }
    // Another tree that had the same first leaves.
    assert!(matches!(
        scene.ask(&witness, 1, 8, 12),
        Err(Refusal::Inconsistent(_))
    ));
    assert!(matches!(scene.ask(&witness, 0, 9, 8), Err(Refusal::Malformed)));
    scene.ask(&witness, 0, 8, 12).unwrap();
}

#[test]
fn it_remembers_over_restarts_and_by_one_process_at_a_time() {
    let scene = Scene::new();
    let witness = scene.open().unwrap();
    scene.ask(&witness, 0, 0, 7).unwrap();
    assert!(matches!(scene.open(), Err(WitnessError::InUse(_))));
    drop(witness);
    let witness = scene.open().unwrap();
    assert!(matches!(scene.ask(&witness, 1, 0, 7), Err(Refusal::Conflict(7))));
    scene.ask(&witness, 0, 7, 9).unwrap();
    // A file that was damaged is not a tree that was never seen.
    let file = fs::read_dir(&witness.trees)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for damaged in [b"".as_slice(), b"text\n"] {
        fs::write(&file, damaged).unwrap();
        assert!(matches!(scene.ask(&witness, 0, 9, 10), Err(Refusal::Disk(_))));
        assert!(matches!(scene.ask(&witness, 1, 0, 10), Err(Refusal::Disk(_))));
    }
}

#[test]
fn it_knows_its_logs_by_their_keys() {
    let scene = Scene::new();
    let witness = scene.open().unwrap();
    let other = Scene::new();
    let stranger = other.request(0, 0, 3).to_string();
    assert!(matches!(
        witness.add_checkpoint(stranger.as_bytes(), 0),
        Err(Refusal::NotSigned)
    ));
    let mut request = scene.request(0, 0, 3);
    let text = request.note.text().replace("cordon/acme/", "cordon/other/");
    request.note = Note::new(text).unwrap();
    request.note.push(scene.log.sign(request.note.text(), 0)).unwrap();
    let refused = witness.add_checkpoint(request.to_string().as_bytes(), 0);
    assert!(matches!(refused, Err(Refusal::UnknownTree)));
    let key =
        |name, algorithm| SigningKey::load_or_create(&scene.dir.path().join(name), name, algorithm).unwrap();
    let (log, cosigner) = (key("a", Algorithm::Ed25519), key("b", Algorithm::Cosignature));
    let cosigns = vec![cosigner.verifying().clone()];
    let opened = Witness::open(other.dir.path(), log, Vec::new());
    assert!(matches!(opened, Err(WitnessError::NotAWitness(_))));
    let opened = Witness::open(other.dir.path(), cosigner, cosigns);
    assert!(matches!(opened, Err(WitnessError::NotALog(_))));
}

/// Of requests that come at once, each to another tree of the same size, one is cosigned.
#[test]
fn of_forks_at_once_it_cosigns_one() {
    let scene = Scene::new();
    let witness = scene.open().unwrap();
    scene.ask(&witness, 0, 0, 5).unwrap();
    let start = Barrier::new(8);
    let cosigned: usize = std::thread::scope(|scope| {
        let (scene, witness, start) = (&scene, &witness, &start);
        let asking: Vec<_> = (0..8)
            .map(|kind| {
                scope.spawn(move || {
                    start.wait();
                    usize::from(scene.ask(witness, kind, 5, 9).is_ok())
                })
            })
            .collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).sum()
    });
    assert_eq!(cosigned, 1);
}

#[test]
fn what_is_no_request_is_refused() {
    let scene = Scene::new();
    let good = scene.request(0, 3, 8);
    assert_eq!(
        AddCheckpoint::parse(good.to_string().as_bytes()),
        Some(good.clone())
    );
    let text = good.to_string();
    for wrong in [
        String::new(),
        text.replacen("old 3", "old 03", 1),
        text.replacen("old 3", "old -3", 1),
        text.replacen("old 3", "3", 1),
        text.replacen("=\n", "\n", 1),
        text.replacen("\n\n", "\n", 1),
        text.trim_end().to_owned(),
        format!("old 3\n{}\n{}", "A".repeat(44), good.note),
    ] {
        assert_eq!(AddCheckpoint::parse(wrong.as_bytes()), None, "{wrong}");
    }
    let long = AddCheckpoint {
        path: vec![leaf_hash(b""); crate::tree::MAX_PATH + 1],
        ..good
    };
    assert_eq!(AddCheckpoint::parse(long.to_string().as_bytes()), None);
    assert_eq!(AddCheckpoint::parse(&vec![b'a'; MAX_REQUEST_BYTES + 1]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// However a log that forks asks, all that is cosigned is of one tree.
    #[test]
    fn what_is_cosigned_never_forks(asked in prop::collection::vec((0u8..3, 0u64..20, 1u64..20), 1..40)) {
        let scene = Scene::new();
        let mut witness = scene.open().unwrap();
        let mut cosigned: Vec<(u8, u64)> = Vec::new();
        for (n, (kind, old, size)) in asked.into_iter().enumerate() {
            // Mostly what the witness knows, as a log that lies would be careful.
            let old = match cosigned.last() {
                Some((_, last)) if old > 4 => *last,
                _ => old,
            };
            if scene.ask(&witness, kind, old, size).is_ok() {
                if let Some((_, last)) = cosigned.last() {
                    prop_assert!(size >= *last);
                }
                cosigned.push((kind, size));
            }
            if n % 5 == 4 {
                drop(witness);
                witness = scene.open().unwrap();
            }
        }
        // Trees differ from the sixth leaf on.
        let kinds: std::collections::BTreeSet<u8> =
            cosigned.iter().filter(|(_, size)| *size > 5).map(|(kind, _)| *kind).collect();
        prop_assert!(kinds.len() <= 1);
    }

    #[test]
    fn no_bytes_make_reading_panic(text in "(old [0-9]{1,3}\n)?([A-Za-z=+/\n\u{2014} ]{0,80})") {
        if let Some(request) = AddCheckpoint::parse(text.as_bytes()) {
            prop_assert_eq!(request.to_string(), text);
        }
    }
}
