//! Any texts as the segments of a body: findings are sorted and disjoint within each, on character boundaries.

#![no_main]

use std::sync::LazyLock;

use cordon_domain::{Place, Role, Segment, Text};
use cordon_inspect::Inspector;
use libfuzzer_sys::fuzz_target;

static INSPECTOR: LazyLock<Inspector> =
    LazyLock::new(|| Inspector::embedded().expect("the embedded files compile"));

fuzz_target!(|input: &[u8]| {
    let roles = [Role::User, Role::Assistant, Role::ToolResult, Role::ToolArguments, Role::Other];
    let segments: Vec<Segment> = input
        .split(|octet| *octet == 0)
        .enumerate()
        .map(|(index, text)| Segment {
            place: Place::new(format!("/messages/{index}/content")),
            role: roles[text.len() % roles.len()],
            text: Text::from(String::from_utf8_lossy(text).as_ref()),
        })
        .collect();
    let mut last = (0, 0);
    for finding in INSPECTOR.inspect_all(&segments) {
        assert!((finding.segment, finding.span.start) >= last);
        assert!(finding.span.start < finding.span.end);
        let text = segments[finding.segment].text.as_str();
        assert!(text.get(finding.span.clone()).is_some());
        last = (finding.segment, finding.span.end);
    }
});
