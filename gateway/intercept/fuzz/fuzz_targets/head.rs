//! `properties/head.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/head.rs"]
mod head;

libfuzzer_sys::fuzz_target!(|input: &[u8]| head::run(input));
