//! `properties/hello.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/hello.rs"]
mod hello;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hello::run(input));
