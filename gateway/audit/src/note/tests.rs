//! Notes against the examples of their specifications and of Go's implementation.

use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;

use super::*;
use crate::tree::{Hash, leaf_hash};

/// Key and note of the tests of golang.org/x/mod/sumdb/note.
const NEUMANN: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_PRIVATE: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const NEUMANN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// A checkpoint with a log's signature and a witness's cosignature, by keys that are made for these tests.
fn cosigned() -> (Note, SigningKey, SigningKey) {
    let dir = tempfile::tempdir().unwrap();
    let log = SigningKey::load_or_create(&dir.path().join("log"), "cordon/acme", Algorithm::Ed25519).unwrap();
    let witness = SigningKey::load_or_create(
        &dir.path().join("witness"),
        "witness.example/w1",
        Algorithm::Cosignature,
    )
    .unwrap();
    let checkpoint = Checkpoint::new("cordon/acme/default/standard", 20_852_163, leaf_hash(b""));
    let mut note = Note::new(checkpoint.text()).unwrap();
    note.push(log.sign(note.text(), 5)).unwrap();
    note.push(witness.sign(note.text(), 1_679_315_147)).unwrap();
    (note, log, witness)
}

#[test]
fn the_note_of_gos_tests_is_made_and_verified_the_same() {
    let key: VerifyingKey = NEUMANN.parse().unwrap();
    let note = Note::parse(NEUMANN_NOTE.as_bytes()).unwrap();
    assert_eq!(note.vouched_by(&key), Ok(Vouched { at: None }));
    assert_eq!(note.to_string(), NEUMANN_NOTE);
    assert_eq!(key.to_string(), NEUMANN);
    let private = SigningKey::decode(NEUMANN_PRIVATE).unwrap();
    assert_eq!(*private.verifying(), key);
    let mut made = Note::new(note.text()).unwrap();
    made.push(private.sign(made.text(), 0)).unwrap();
    assert_eq!(made, note);
}

#[test]
fn a_cosignature_is_over_the_text_that_its_specification_gives() {
    let (note, log, witness) = cosigned();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.vouched_by(log.verifying()), Ok(Vouched { at: None }));
    let at = Some(1_679_315_147);
    assert_eq!(read.vouched_by(witness.verifying()), Ok(Vouched { at }));
    // The bytes: a key id, a time, and Ed25519 over two lines more than the text.
    let line = read.signatures()[1].to_string();
    let bytes = STANDARD.decode(line.rsplit_once(' ').unwrap().1).unwrap();
    assert_eq!(bytes.len(), 4 + 8 + 64);
    let message = format!("cosignature/v1\ntime 1679315147\n{}", note.text());
    let vkey = witness.verifying().to_string();
    // The last part may hold a plus of its own.
    let public = STANDARD.decode(vkey.splitn(3, '+').nth(2).unwrap()).unwrap();
    assert_eq!(public[0], 4);
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &public[1..])
        .verify(message.as_bytes(), &bytes[12..])
        .unwrap();
}

#[test]
fn lines_of_unknown_keys_are_kept_and_count_for_nothing() {
    let (note, log, witness) = cosigned();
    let other: VerifyingKey = NEUMANN.parse().unwrap();
    let not_signed = NoteError::NotSigned("PeterNeumann".to_owned());
    assert_eq!(note.vouched_by(&other), Err(not_signed));
    // Of an algorithm that nobody here knows, under names that are known.
    let strange = STANDARD.encode([1, 2, 3, 4, 5, 6]);
    let text = format!("{note}\u{2014} cordon/acme {strange}\n\u{2014} witness.example/w1 {strange}\n");
    let read = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(read.signatures().len(), 4);
    assert!(read.vouched_by(log.verifying()).is_ok());
    assert!(read.vouched_by(witness.verifying()).is_ok());
    assert_eq!(read.to_string(), text);
}

#[test]
fn a_wrong_line_of_a_known_key_spoils_the_note() {
    let (note, log, _) = cosigned();
    let other = log.sign("another text\n", 0);
    let mut spoilt = note.clone();
    spoilt.push(other).unwrap();
    let wrong = NoteError::WrongSignature("cordon/acme".to_owned());
    assert_eq!(spoilt.vouched_by(log.verifying()), Err(wrong));
    // The same cosignature with another time.
    let (note, _, witness) = cosigned();
    let line = note.signatures()[1].to_string();
    let (start, encoded) = line.rsplit_once(' ').unwrap();
    for (byte, value) in [(11, 1), (4, 0x80)] {
        let mut bytes = STANDARD.decode(encoded).unwrap();
        bytes[byte] ^= value;
        let mut forged = Note::new(note.text()).unwrap();
        let line = format!("{start} {}\n", STANDARD.encode(bytes));
        forged
            .push(Signature::parse_lines(&line).unwrap().remove(0))
            .unwrap();
        assert!(forged.vouched_by(witness.verifying()).is_err());
    }
}

#[test]
fn what_is_no_note_is_refused() {
    for wrong in [
        "",
        "\n",
        "text\n",
        "text\n\n",
        "text\n\nno signature\n",
        "text\n\n\u{2014} name\n",
        "text\n\n\u{2014} name AAAAAA==\n",
        "text\n\n\u{2014} name AAAAAAA=",
        "text\n\n\u{2014} na+me AAAAAAA=\n",
        "text\n\n\u{2014}  AAAAAAA=\n",
        "text\n\n\u{2014} name AAAAAAA=\n\n",
        "te\txt\n\n\u{2014} name AAAAAAA=\n",
    ] {
        assert_eq!(
            Note::parse(wrong.as_bytes()),
            Err(NoteError::Malformed),
            "{wrong:?}"
        );
    }
    assert!(Note::parse("text\n\n\u{2014} name AAAAAAA=\n".as_bytes()).is_ok());
    let lines: String = (0..=MAX_SIGNATURES)
        .map(|n| format!("\u{2014} name{n} AAAAAAA=\n"))
        .collect();
    assert_eq!(
        Note::parse(format!("text\n\n{lines}").as_bytes()),
        Err(NoteError::TooLarge)
    );
    assert_eq!(
        Note::parse(&vec![b'a'; MAX_NOTE_BYTES + 1]),
        Err(NoteError::TooLarge)
    );
}

#[test]
fn keys_are_read_in_one_spelling() {
    for wrong in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy",
        " +c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(wrong.parse::<VerifyingKey>().is_err(), "{wrong}");
        assert!(SigningKey::decode(&format!("PRIVATE+KEY+{wrong}")).is_err());
    }
    let unknown = "PeterNeumann+c74f20a3+CRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert!(matches!(
        unknown.parse::<VerifyingKey>(),
        Err(KeyError::UnknownAlgorithm(9))
    ));
}

#[test]
fn a_key_is_made_once_and_for_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.key");
    let made = SigningKey::load_or_create(&path, "cordon/acme", Algorithm::Ed25519).unwrap();
    let found = SigningKey::load_or_create(&path, "cordon/acme", Algorithm::Ed25519).unwrap();
    assert_eq!(made.verifying(), found.verifying());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(format!("{made:?}"), "SigningKey(cordon/acme)");
    for (name, algorithm) in [
        ("cordon/other", Algorithm::Ed25519),
        ("cordon/acme", Algorithm::Cosignature),
    ] {
        let other = SigningKey::load_or_create(&path, name, algorithm);
        assert!(matches!(other, Err(KeyError::OtherKey { .. })));
    }
    let wrong = SigningKey::load_or_create(&dir.path().join("b"), "a b", Algorithm::Ed25519);
    assert!(matches!(wrong, Err(KeyError::NotAName)));
    fs::write(&path, "hello").unwrap();
    let none = SigningKey::load_or_create(&path, "cordon/acme", Algorithm::Ed25519);
    assert!(matches!(none, Err(KeyError::NotAKey)));
}

#[test]
fn checkpoints_agree_with_another_implementation() {
    let root = leaf_hash(b"x");
    let checkpoint = Checkpoint {
        extensions: vec!["more".to_owned()],
        ..Checkpoint::new("cordon/acme/default/standard", 12, root)
    };
    let theirs = tlog_tiles::Checkpoint::from_bytes(checkpoint.text().as_bytes()).unwrap();
    assert_eq!(
        (theirs.origin(), theirs.size(), theirs.hash().0),
        ("cordon/acme/default/standard", 12, *root.as_bytes())
    );
    assert_eq!(theirs.to_bytes(), checkpoint.text().into_bytes());
    assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = Hash::from_bytes([0; 32]).to_base64();
    for wrong in [
        String::new(),
        "origin\n1\n".to_owned(),
        format!("\n1\n{root}\n"),
        format!("origin\n01\n{root}\n"),
        format!("origin\n+1\n{root}\n"),
        format!("origin\n-1\n{root}\n"),
        format!("origin\n9007199254740992\n{root}\n"),
        format!("origin\n1\n{root}"),
        format!("origin\n1\n{root}\n\n"),
        format!("origin\n1\n {root}\n"),
        format!("{}\n1\n{root}\n", "o".repeat(600)),
    ] {
        assert_eq!(Checkpoint::parse(&wrong), Err(CheckpointError), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "(\u{2014}|[ \n+a=]|\\PC){0,40}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            if let Ok(note) = Note::parse(input) {
                prop_assert_eq!(Note::parse(note.to_string().as_bytes()).unwrap(), note);
            }
        }
        let _ = text.parse::<VerifyingKey>();
        let _ = Checkpoint::parse(&text);
    }

    #[test]
    fn no_single_bit_of_a_signed_checkpoint_can_change(bit in any::<prop::sample::Index>()) {
        let (note, log, witness) = cosigned();
        let mut bytes = note.to_string().into_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        // What does not read, or is no longer vouched for by both: nothing changes unseen.
        if let Ok(changed) = Note::parse(&bytes) {
            prop_assert!(changed.vouched_by(log.verifying()).is_err() || changed.vouched_by(witness.verifying()).is_err());
        }
    }
}
