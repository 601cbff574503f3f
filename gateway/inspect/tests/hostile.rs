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
fn a_long_text_of_one_thing_comes_back() {
    const BYTES: usize = if cfg!(debug_assertions) { 1 << 16 } else { 1 << 20 };
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
        "=40",
        "=\n",
        "=?",
        "<~",
        "[at] ",
        "\\n",
        "\\ud800",
        "ff ",
        "65 ",
        "4-",
        "one ",
        "a dot ",
        "a at b dot com ",
        "H4sIAAAAAAAA ",
        "eJwDAAAAAAE= ",
        "QUJDREVGR0hJSktM\n",
        "moc.a@b ",
        "\u{202E}a",
        "e\u{301}",
        "4\u{336}",
        "일",
        "1O",
    ] {
        check(&unit.repeat(BYTES / unit.len()));
    }
}

/// Eight times the text may take some eight times as long, not sixty-four times.
#[test]
fn time_is_linear_in_the_text() {
    for unit in [
        "%2541",
        "QUJDREVGR0hJSktM\n",
        "c2 80 ",
        "4 ",
        "=\n",
        "H4sIAAAAAAAA\n",
        "a at b dot c ",
        "\\n",
        "=?a",
        "1O ",
    ] {
        let took = |bytes: usize| {
            let text = unit.repeat(bytes / unit.len());
            (0..3)
                .map(|_| {
                    let started = std::time::Instant::now();
                    check(&text);
                    started.elapsed()
                })
                .min()
                .unwrap_or_default()
        };
        let (short, long) = (took(32 << 10), took(256 << 10));
        assert!(
            long < short * 30 + std::time::Duration::from_millis(50),
            "{unit:?}: {short:?}, {long:?}"
        );
    }
}

/// In a release build a hundred megabytes: `cargo test --release -p cordon-inspect --test hostile`.
#[test]
fn a_very_long_text_of_one_thing_comes_back() {
    let bytes = if cfg!(debug_assertions) {
        1 << 17
    } else {
        100 << 20
    };
    for unit in ["a", "1", "１", "%2541"] {
        check(&unit.repeat(bytes / unit.len()));
    }
}

#[test]
fn a_million_values_are_answered() {
    let count = if cfg!(debug_assertions) { 30_000 } else { 1_000_000 };
    let text = "j@example.com ".repeat(count);
    let findings = check(&text);
    assert_eq!(findings.len(), MAX_FINDINGS);
    assert_eq!(
        findings.last().map(|last| last.span.end),
        Some(text.trim_end().len())
    );
}

#[test]
fn what_is_no_character_is_left_as_it_is() {
    // Halves of surrogate pairs, bytes that are no UTF-8 in every encoding of bytes, and codes past the last.
    for text in [
        r"\ud800 \udc00 \ud800\u0041 \ud83d",
        "%ff%fe%80 %c3",
        r"\xff\xfe\x80 \xc3",
        "=FF=FE=80 =C3",
        "&#55296; &#x110000; &#99999999;",
        r"\u{110000} \u{d800} \U00110000",
        "//79/A== gICAgICAgICAgICA",
        "ff fe 80 81 82 83 84 85",
    ] {
        assert!(check(text).is_empty(), "{text}");
    }
    let beside = check(r"\ud800 4111 1111 1111 1111 \udc00");
    assert_eq!(beside.len(), 1);
}

#[test]
fn thousands_of_segments_are_joined_in_bounded_time() {
    let segments: Vec<Segment> = (0..20_000)
        .map(|index| Segment {
            place: Place::new(format!("/messages/{index}/content")),
            role: if index % 2 == 0 {
                Role::User
            } else {
                Role::Assistant
            },
            text: Text::from("1234567890"),
        })
        .collect();
    let findings = INSPECTOR.inspect_all(&segments);
    assert!(findings.len() <= segments.len() * 2);
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

fn told(texts: &[(Role, &str)]) -> Vec<(usize, String, String)> {
    let segments: Vec<Segment> = texts
        .iter()
        .map(|(role, text)| Segment {
            place: Place::new("/x"),
            role: *role,
            text: Text::from(*text),
        })
        .collect();
    INSPECTOR
        .inspect_all(&segments)
        .into_iter()
        .map(|f| {
            (
                f.segment,
                f.entity.to_string(),
                texts[f.segment].1[f.span].to_owned(),
            )
        })
        .collect()
}

#[test]
fn values_that_are_cut_by_a_border_are_found_on_both_sides() {
    let both = |entity: &str, left: &str, right: &str| {
        vec![
            (0, entity.to_owned(), left.to_owned()),
            (1, entity.to_owned(), right.to_owned()),
        ]
    };
    for (left, right, entity, first, second) in [
        (
            "mail it to joe.black@exam",
            "ple.org please",
            "EMAIL",
            "joe.black@exam",
            "ple.org",
        ),
        (
            "pay by 4111 1111 ",
            "1111 1111 now",
            "CREDIT_CARD",
            "4111 1111",
            "1111 1111",
        ),
        (
            "pay by 41111111",
            "11111111 now",
            "CREDIT_CARD",
            "41111111",
            "11111111",
        ),
        (
            "the address is am9lLmJsYWNr",
            "QGV4YW1wbGUub3Jn",
            "EMAIL",
            "am9lLmJsYWNr",
            "QGV4YW1wbGUub3Jn",
        ),
    ] {
        for second_role in [Role::User, Role::ToolResult] {
            let seen = told(&[(Role::User, left), (second_role, right)]);
            assert_eq!(seen, both(entity, first, second), "{left} | {right}");
        }
    }
    let seen = told(&[
        (Role::User, "it begins with 4111"),
        (Role::Assistant, "I see."),
        (Role::User, "1111"),
        (Role::Assistant, "And then?"),
        (Role::User, "1111"),
        (Role::User, "1111 is the end"),
    ]);
    let segments: Vec<usize> = seen.iter().map(|(segment, ..)| *segment).collect();
    assert_eq!(segments, [0, 2, 4, 5]);
}

#[test]
fn borders_make_no_values_of_their_own() {
    // An address that is whole stays what it is, and fields are not texts.
    let seen = told(&[
        (Role::User, "write to joe@example.com"),
        (Role::User, "Thanks for that"),
    ]);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].2, "joe@example.com");
    assert!(
        told(&[
            (Role::ToolArguments, "41111111"),
            (Role::ToolArguments, "11111111")
        ])
        .is_empty()
    );
    assert!(
        told(&[
            (Role::User, "41111111."),
            (Role::User, "What is it?"),
            (Role::User, "11111111")
        ])
        .is_empty()
    );
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
