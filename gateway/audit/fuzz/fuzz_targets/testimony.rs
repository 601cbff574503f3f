//! `properties/testimony.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/testimony.rs"]
mod testimony;

libfuzzer_sys::fuzz_target!(|input: &[u8]| testimony::run(input));
