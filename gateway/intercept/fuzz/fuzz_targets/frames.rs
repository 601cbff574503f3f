//! `properties/frames.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frames::run(input));
