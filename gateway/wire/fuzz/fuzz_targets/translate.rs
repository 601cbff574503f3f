//! `properties/translate.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/translate.rs"]
mod translate;

libfuzzer_sys::fuzz_target!(|input: &[u8]| translate::run(input));
