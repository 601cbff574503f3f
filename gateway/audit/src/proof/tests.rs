use cordon_domain::ExchangeId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    note::SigningKey,
    record::{Body, EntryHash, TreeName, samples},
    tree::{Frontier, Plan, complete_root},
};

/// The log's key and the witness's; `tests/proofs/keys.txt` has the keys that verify theirs.
const KEYS: [&str; 2] = [
    "PRIVATE+KEY+cordon/acme+19110904+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
    "PRIVATE+KEY+witness.example/w1+df1c0a35+BAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC",
];
/// Others of the same names.
const OTHER_KEYS: [&str; 2] = [
    "PRIVATE+KEY+cordon/acme+373ce86d+AQQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
    "PRIVATE+KEY+witness.example/w2+bfff2874+BAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD",
];

/// A log with some records, one witness, and a proof for the exchange whose records are leaves 5 and 9.
struct Scene {
    log: SigningKey,
    witness: SigningKey,
    proof: Proof,
}

impl Scene {
    fn new() -> Self {
        Self::with(KEYS)
    }

    fn with(keys: [&str; 2]) -> Self {
        let log = SigningKey::decode(keys[0]).unwrap();
        let witness = SigningKey::decode(keys[1]).unwrap();
        let exchange = |n: u128| ExchangeId::from(Uuid::from_u128(n));
        let entry = |n: u64| {
            let body = match n {
                5 => Body::Intent(samples::intent(exchange(1))),
                9 => Body::Seal(samples::seal(exchange(1))),
                other => Body::Intent(samples::intent(exchange(u128::from(other) + 10))),
            };
            samples::entry(n + 1, EntryHash::GENESIS, body).canonical_bytes()
        };
        let leaves: Vec<Vec<u8>> = (0..13).map(entry).collect();
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let part = |subtree: crate::tree::Subtree| {
            let range = subtree.leaves();
            complete_root(&hashes[range.start as usize..range.end as usize]).ok_or(TreeError::NotAHash)
        };
        let origin = log.verifying().origin(&TreeName::default());
        let note = |size: usize| {
            let root = Frontier::resume([], hashes[..size].iter().copied()).root();
            let mut note = Note::new(Checkpoint::new(origin.clone(), size as u64, root).text()).unwrap();
            note.push(log.sign(note.text(), 0)).unwrap();
            note
        };
        let mut head = note(13);
        head.push(witness.sign(head.text(), 1_700_000_000)).unwrap();
        let older = (note(6), Plan::consistency(6, 13).unwrap().path(part).unwrap());
        let records = [5, 9].map(|index: u64| ProofRecord {
            record: String::from_utf8(leaves[index as usize].clone()).unwrap(),
            origin: origin.clone(),
            index,
            path: Plan::inclusion(index, 13).unwrap().path(part).unwrap(),
        });
        let proof = Proof {
            exchange: exchange(1),
            records: records.into(),
            checkpoints: vec![ProofCheckpoint {
                note: head,
                older: Some(older),
            }],
        };
        Self { log, witness, proof }
    }

    fn believed(&self) -> Believed {
        Believed::new(
            self.log.verifying().clone(),
            vec![self.witness.verifying().clone()],
            1,
        )
        .unwrap()
    }

    fn refused(&self, change: impl FnOnce(&mut Proof)) -> ProofError {
        let mut proof = self.proof.clone();
        change(&mut proof);
        // Also by way of the file.
        let read = Proof::parse(proof.to_json().as_bytes()).unwrap();
        assert_eq!(read, proof);
        proof.verify(&self.believed()).unwrap_err()
    }
}

/// The form is a contract: files that were handed out must hold for as long as somebody keeps them.
#[test]
fn the_file_is_the_one_that_others_verify() {
    let scene = Scene::new();
    assert_eq!(
        scene.proof.to_json(),
        include_str!("../../../../tests/proofs/whole.json")
    );
    let keys = format!("{}\n{}\n", scene.log.verifying(), scene.witness.verifying());
    assert_eq!(keys, include_str!("../../../../tests/proofs/keys.txt"));
}

#[test]
fn a_whole_proof_holds() {
    let scene = Scene::new();
    let proof = Proof::parse(scene.proof.to_json().as_bytes()).unwrap();
    assert_eq!(proof, scene.proof);
    let proven = proof.verify(&scene.believed()).unwrap();
    assert_eq!(proven.records.len(), 2);
    assert!(proven.is_final());
    let checkpoint = &proven.checkpoints[0];
    assert_eq!(checkpoint.origin, "cordon/acme/default/standard");
    assert_eq!(
        checkpoint.cosigned,
        [("witness.example/w1".to_owned(), 1_700_000_000)]
    );
    assert_eq!(checkpoint.continues.unwrap().0, 6);
    let mut open = proof;
    open.records.truncate(1);
    assert!(!open.verify(&scene.believed()).unwrap().is_final());
    assert!(!format!("{open:?} {:?}", open.records).contains("j.kim"));
}

#[test]
fn what_does_not_hold_is_named() {
    let scene = Scene::new();
    let fault = |number, fault| ProofError::Record { number, fault };
    let origin = "cordon/acme/default/standard".to_owned();
    assert_eq!(
        scene.refused(|proof| proof.records[1].record = proof.records[1].record.replace("512", "513")),
        fault(2, RecordFault::NotIncluded(TreeError::WrongRoot))
    );
    assert_eq!(
        scene.refused(|proof| proof.records[0].record.insert(1, ' ')),
        fault(1, RecordFault::NotCanonical)
    );
    assert_eq!(
        scene
            .refused(|proof| proof.records[0].record = proof.records[0].record.replacen('{', "{\"a\":1,", 1)),
        fault(1, RecordFault::NotCanonical)
    );
    assert_eq!(
        scene.refused(|proof| proof.records[0].record = "{}".to_owned()),
        fault(1, RecordFault::NotARecord)
    );
    assert_eq!(
        scene.refused(|proof| proof.records[0].index = 9),
        fault(1, RecordFault::NotIncluded(TreeError::WrongRoot))
    );
    assert_eq!(
        scene.refused(|proof| {
            proof.records[0].path.pop();
        }),
        fault(1, RecordFault::NotIncluded(TreeError::PathLength(3)))
    );
    assert_eq!(
        scene.refused(|proof| proof.records[1] = proof.records[0].clone()),
        fault(2, RecordFault::Twice)
    );
    assert_eq!(
        scene.refused(|proof| proof.exchange = ExchangeId::from(Uuid::from_u128(2))),
        fault(1, RecordFault::OtherExchange)
    );
    assert_eq!(
        scene.refused(|proof| proof.records[0].origin = "cordon/acme/default/short".to_owned()),
        fault(1, RecordFault::OtherTree)
    );
    assert_eq!(
        scene.refused(|proof| proof.checkpoints.clear()),
        fault(1, RecordFault::NoCheckpoint)
    );
    assert_eq!(
        scene.refused(|proof| proof.records.clear()),
        ProofError::NoRecords
    );
    assert_eq!(
        scene.refused(|proof| proof.checkpoints.push(proof.checkpoints[0].clone())),
        ProofError::SameTree(origin.clone())
    );
    assert_eq!(
        scene.refused(|proof| proof.checkpoints[0].older.as_mut().unwrap().1.clear()),
        ProofError::NotContinued {
            origin: origin.clone(),
            size: 6,
            source: TreeError::PathLength(0)
        }
    );
    // The log alone, without its witness.
    assert_eq!(
        scene.refused(
            |proof| proof.checkpoints[0].note = proof.checkpoints[0].older.as_ref().unwrap().0.clone()
        ),
        ProofError::TooFewWitnesses {
            origin,
            found: 0,
            needed: 1
        }
    );
}

#[test]
fn nobody_else_is_believed() {
    let scene = Scene::new();
    let other = Scene::with(OTHER_KEYS);
    // Of the same name, and another key.
    let believed = other.believed();
    assert!(matches!(
        scene.proof.verify(&believed),
        Err(ProofError::Note {
            source: NoteError::NotSigned(_),
            ..
        })
    ));
    let (log, witness) = (scene.log.verifying(), scene.witness.verifying());
    let new = |log: &VerifyingKey, witnesses: &[&VerifyingKey], needed| {
        Believed::new(
            log.clone(),
            witnesses.iter().map(|key| (*key).clone()).collect(),
            needed,
        )
        .map(|_| ())
    };
    assert!(matches!(new(witness, &[], 0), Err(BelievedError::NotALog(_))));
    assert!(matches!(new(log, &[log], 0), Err(BelievedError::NotAWitness(_))));
    assert!(matches!(
        new(log, &[witness, witness], 1),
        Err(BelievedError::Twice(_))
    ));
    assert!(matches!(
        new(log, &[witness], 2),
        Err(BelievedError::TooFew { .. })
    ));
    assert!(new(log, &[witness], 1).is_ok());
    for (origin, vouches) in [
        ("cordon/acme/default/standard", true),
        ("cordon/acme", false),
        ("cordon/acme/", false),
        ("cordon/acmes/default/standard", false),
        ("other", false),
    ] {
        assert_eq!(log.vouches_for(origin), vouches, "{origin}");
    }
}

#[test]
fn what_is_no_proof_is_refused() {
    let scene = Scene::new();
    let good = scene.proof.to_json();
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Proof::parse(good.replacen(from, to, 1).as_bytes())
    };
    for (from, to) in [
        ("proof/v1", "proof/v2"),
        ("\"index\"", "\"more\": 1, \"index\""),
        ("\"format\"", "\"format\": \"a\", \"format\""),
        (
            "\"exchange\": \"00000000-0000-0000-0000-000000000001\"",
            "\"exchange\": \"00000000000000000000000000000001\"",
        ),
        ("\"index\": 5", "\"index\": -5"),
        ("\"index\": 5", "\"index\": 5.0"),
        ("\u{2014} cordon", "- cordon"),
        ("=\"", "\""),
    ] {
        assert!(matches!(with(from, to), Err(ProofError::Malformed(_))), "{from}");
    }
    assert!(Proof::parse(&vec![b' '; MAX_PROOF_BYTES + 1]).is_err());
    let mut long = scene.proof.clone();
    long.records[0].path = vec![leaf_hash(b""); 55];
    assert!(Proof::parse(long.to_json().as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_change_of_a_file_is_taken_for_the_same_proof(
        at in any::<prop::sample::Index>(),
        kind in 0..4,
        byte in any::<u8>(),
        length in 1usize..200,
    ) {
        let scene = Scene::new();
        let mut bytes = scene.proof.to_json().into_bytes();
        let at = at.index(bytes.len());
        let end = (at + length).min(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
        // Only what says the same in another spelling of JSON, such as white space, may still hold, and names the same
        // records. The one thing whose loss is no lie is that an older checkpoint was named.
        if let Ok(proof) = Proof::parse(&bytes)
            && let Ok(proven) = proof.verify(&scene.believed())
        {
            let whole = scene.proof.verify(&scene.believed()).unwrap();
            prop_assert_eq!(proven.records, whole.records);
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Proof::parse(&bytes).is_err());
    }
}
