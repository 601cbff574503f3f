//! Any bytes as what comes from outside about checkpoints: a proof's file, a signed note, a request to a witness, a key. No panic; what
//! reads is written again as the same; and nothing is proven without the keys.

use cordon_audit::{
    note::{Checkpoint, Note, Signature, VerifyingKey},
    proof::{Believed, Proof},
    witness::AddCheckpoint,
};

const LOG: &str = "cordon/acme+19110904+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";

pub(crate) fn run(input: &[u8]) {
    let log: VerifyingKey = LOG.parse().expect("it is a key");
    if let Ok(proof) = Proof::parse(input) {
        let again = Proof::parse(proof.to_json().as_bytes()).expect("what was read can be read again");
        assert_eq!(again, proof);
        let believed = Believed::new(log.clone(), Vec::new(), 0).expect("a log's key");
        let _ = proof.verify(&believed);
    }
    if let Ok(note) = Note::parse(input) {
        let again = Note::parse(note.to_string().as_bytes()).expect("what was read can be read again");
        assert_eq!(again, note);
        assert!(note.vouched_by(&log).is_err(), "a signature was made up");
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.text(), note.text());
        }
    }
    if let Some(request) = AddCheckpoint::parse(input) {
        assert_eq!(
            AddCheckpoint::parse(request.to_string().as_bytes()),
            Some(request)
        );
    }
    if let Ok(text) = std::str::from_utf8(input) {
        if let Ok(key) = text.parse::<VerifyingKey>() {
            assert_eq!(key.to_string(), text);
        }
        let _ = Signature::parse_lines(text);
    }
}
