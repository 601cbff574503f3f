//! `properties/socket.rs` on made-up input; `cargo test` runs it, too (`tests/fuzz.rs`).

#![no_main]

#[path = "../properties/same.rs"]
mod same;
#[path = "../properties/socket.rs"]
mod socket;

libfuzzer_sys::fuzz_target!(|input: &[u8]| socket::run(input));
