//! Any text: every span of every decoded view leads back to a span of the text, on character boundaries.

#![no_main]

use cordon_inspect::decoded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    decoded(&text, |view| {
        for (at, c) in view.text().char_indices() {
            let source = view.source_span(at..at + c.len_utf8());
            assert!(text.get(source).is_some());
        }
        let whole = view.source_span(0..view.text().len());
        assert!(whole.start <= whole.end && whole.end <= text.len());
    });
});
