//! Any bytes as a document of any kind: no panic, and what was read keeps to the limits.
//!
//! Documents of all kinds that are at hand are good seeds; without them, zipped kinds are hardly met.

#![no_main]

use std::time::Duration;

use cordon_inspect::document::{Limits, extract};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 8] = [
    "a.txt", "a.html", "a.csv", "a.eml", "a.pdf", "a.zip", "a.docx", "a.tgz",
];

fuzz_target!(|input: &[u8]| {
    let Some((&first, bytes)) = input.split_first() else {
        return;
    };
    let limits = Limits {
        bytes_in: 1 << 20,
        bytes_unpacked: 4 << 20,
        bytes_of_text: 1 << 20,
        entries: 200,
        time: Duration::from_secs(5),
        ..Limits::default()
    };
    let name = NAMES[usize::from(first) % NAMES.len()];
    if let Ok(document) = extract(name, bytes, &limits) {
        let total: usize = document.parts.iter().map(|part| part.text.len()).sum();
        assert!(total <= limits.bytes_of_text);
        for part in &document.parts {
            assert!(part.path.starts_with(name));
            assert!(!part.path.contains(|c: char| c.is_control()));
        }
    }
});
