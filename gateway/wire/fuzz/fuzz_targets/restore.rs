//! `properties/restore.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/restore.rs"]
mod restore;

libfuzzer_sys::fuzz_target!(|input: &[u8]| restore::run(input));
