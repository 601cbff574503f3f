//! The property of the fuzz target (`fuzz/properties`), on bytes at random and on pieces that mean something.

use proptest::prelude::*;

#[path = "../fuzz/properties/testimony.rs"]
mod testimony;

/// A proof's file whose signatures are nobody's.
const PROOF: &str = r#"{"format":"cordon-audit-proof/v1","exchange":"00000000-0000-0000-0000-000000000001","records":[{"record":"{}","origin":"cordon/acme/default/standard","index":5,"path":["n8xK97hd3VLE7fo0qImC39qhXXBvGSmaiekjnWvXNpE="]}],"checkpoints":[{"note":"cordon/acme/default/standard\n13\neFXj1re9J631Ap2xFHibjCfc81O5kRvnsy9WhBTDcyI=\n\n— cordon/acme GREJBAAA\n"}]}"#;

/// Pieces of notes, requests and keys.
const PIECES: &[&str] = &[
    "old 3\n",
    "old 0\n",
    "cordon/acme/default/standard\n",
    "13\n",
    "eFXj1re9J631Ap2xFHibjCfc81O5kRvnsy9WhBTDcyI=\n",
    "\n",
    "\u{2014} cordon/acme GREJBAAA\n",
    "\u{2014} witness.example/w1 AAAAAAA=\n",
    "\u{2014} ",
    "cordon/acme+19110904+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
    "+",
    "\0",
];

proptest! {
    #[test]
    fn bytes(input in prop::collection::vec(any::<u8>(), 0..200)) {
        testimony::run(&input);
    }

    #[test]
    fn pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        testimony::run(pieces.concat().as_bytes());
    }

    #[test]
    fn a_proof_with_a_change(at in any::<prop::sample::Index>(), cut in 0usize..30, new in prop::collection::vec(any::<u8>(), 0..6)) {
        let mut input = PROOF.as_bytes().to_vec();
        let from = at.index(input.len());
        input.splice(from..(from + cut).min(PROOF.len()), new);
        testimony::run(&input);
    }
}
