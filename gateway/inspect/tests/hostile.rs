//! Texts made to hurt: the answers stay bounded, sorted, disjoint, on character boundaries, and come back.

use std::sync::LazyLock;

use cordon_domain::{Finding, Place, Role, Segment, Text};
use cordon_inspect::{Inspector, MAX_FINDINGS};
use proptest::prelude::*;

static INSPECTOR: LazyLock<Inspector> =
    LazyLock::new(|| Inspector::embedded().expect("the embedded files compile"));

fn check(text: &str) -> Vec<Finding> {
    let findings = INSPECTOR.inspect(text);
    assert!(findings.len() <= MAX_FINDINGS);
    let mut last = 0;
    for finding in &findings {
        assert!(finding.span.start >= last && finding.span.start < finding.span.end);
        assert!(text.get(finding.span.clone()).is_some(), "{}", finding.detector);
        assert!((0.0..=1.0).contains(&finding.score));
        last = finding.span.end;
    }
    findings
}

#[test]
fn a_megabyte_of_one_thing_comes_back() {
    const BYTES: usize = 1 << 20;
    for unit in [
        "@",
        "1",
        "a",
        " ",
        "1 ",
        "a@",
        "-",
        ":",
        "%41",
        "&#49;",
        "\\u0031",
        "é",
        "\u{200B}",
        "0x",
        "key=",
        "-----BEGIN ",
        "1.",
        "Mr A",
        "```\n",
    ] {
        check(&unit.repeat(BYTES / unit.len()));
    }
}

#[test]
fn many_findings_are_bounded_and_all_is_covered() {
    let text = "a.b@example.com 4111111111111111 ".repeat(30_000);
    let findings = check(&text);
    assert_eq!(findings.len(), MAX_FINDINGS);
    assert!(findings.last().unwrap().span.end >= text.trim_end().len());
}

#[test]
fn hidden_values_are_found_where_they_lie() {
    for (text, hidden) in [
        (
            "no ４１１１１１１１１１１１１１１１ ok",
            "４１１１１１１１１１１１１１１１",
        ),
        (
            "to j\u{200B}oe@exam\u{AD}ple.com.",
            "j\u{200B}oe@exam\u{AD}ple.com",
        ),
        ("mail &#106;oe&#64;example.com now", "&#106;oe&#64;example.com"),
        (
            "see am9lLmJsYWNrQGV4YW1wbGUub3Jn here",
            "am9lLmJsYWNrQGV4YW1wbGUub3Jn",
        ),
        ("x \\u0034111 1111 1111 1111 y", "\\u0034111 1111 1111 1111"),
        ("q joe%40example.com q", "joe%40example.com"),
        (
            "w DE89\u{A0}3704\u{A0}0044\u{A0}0532\u{A0}0130\u{A0}00 w",
            "DE89\u{A0}3704\u{A0}0044\u{A0}0532\u{A0}0130\u{A0}00",
        ),
    ] {
        let seen: Vec<&str> = check(text)
            .into_iter()
            .map(|finding| &text[finding.span])
            .collect();
        assert_eq!(seen, [hidden], "{text}");
    }
}

#[test]
fn segments_keep_their_index_and_role() {
    let segment = |role, text: &str| Segment {
        place: Place::new("/x"),
        role,
        text: Text::from(text),
    };
    let code = "fn add(a: u32) -> u32 {\n    let b = a + 1;\n    let c = scale(b);\n    c * 2\n}\n";
    let findings = INSPECTOR.inspect_all(&[
        segment(Role::ToolDefinition, code),
        segment(Role::User, code),
        segment(Role::Other, "joe@example.org"),
    ]);
    let seen: Vec<(usize, &str)> = findings.iter().map(|f| (f.segment, f.entity.as_str())).collect();
    assert_eq!(seen, [(1, "SOURCE_CODE"), (2, "EMAIL")]);
}

#[test]
fn images_are_not_read_as_text() {
    let text = format!(
        "data:image/png;base64,iVBORw0KGgo{}",
        "QUtJQTEyMzQ1Njc4OTAxMjM0NTY3ODkw4111111111111111".repeat(400)
    );
    assert!(check(&text).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn text_made_of_pieces_that_matter_is_answered(pieces in prop::collection::vec(prop::sample::select(vec![
        "4111 1111 1111 1111", "joe@example.com", "password=", "hT7&kq2!", "\u{200B}", "é", "김민수 과장", "Mr. ", "DE89", "+49 ", "3704",
        "-----BEGIN PRIVATE KEY-----", "\\u00e9", "%C3%A9", "&#x1F600;", "```", "\n", " ", "eyJ", ".", "@", "AKIA", "\u{301}", "١٢٣", "0x",
        "postgres://a:b", "[at]", "＠", "主任", "名前: ", "{", ";", "\u{E0041}", "1 2 3 4 5 6 7 8 9", "ghp_", "aGVsbG8gd29ybGQh",
    ]), 0..40)) {
        check(&pieces.concat());
    }
}
