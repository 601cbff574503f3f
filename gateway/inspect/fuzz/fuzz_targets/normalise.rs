//! Any text: every span of its normalised view leads back to a span of the text, on character boundaries, and
//! what the view did not change is there.

#![no_main]

use cordon_inspect::normalise;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let view = normalise(&text);
    let mut last: Option<(usize, std::ops::Range<usize>)> = None;
    for (at, c) in view.text().char_indices() {
        let end = at + c.len_utf8();
        let source = view.source_span(at..end);
        assert!(source.start < source.end, "nothing comes of nothing");
        let own = text.get(source.clone()).expect("a span lies on character boundaries");
        if !view.is_derived(at..end) {
            assert_eq!(&view.text()[at..end], own);
        }
        // Two neighbours together lead to all that either leads to.
        if let Some((before, earlier)) = last {
            let both = view.source_span(before..end);
            assert_eq!(both.start, earlier.start.min(source.start));
            assert_eq!(both.end, earlier.end.max(source.end));
        }
        last = Some((at, source));
    }
});
