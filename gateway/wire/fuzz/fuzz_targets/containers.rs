//! `properties/containers.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/containers.rs"]
mod containers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| containers::run(input));
