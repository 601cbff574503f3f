use proptest::prelude::*;

use super::*;

fn originals(pairs: &[(&str, &str)]) -> Originals {
    let mut originals = Originals::default();
    for (placeholder, original) in pairs {
        originals.insert((*placeholder).to_owned(), original);
    }
    originals
}

fn sample() -> Reidentifier {
    Reidentifier::new(originals(&[
        ("[EMAIL_K7QX]", "jane@example.com"),
        ("[EMAIL_K7QXA]", "joe@example.com"),
        ("[AWS_ACCESS_KEY_7Q2M]", "AKIA\"\\\n\u{1}é"),
        ("[PERSON_ABCD]", "jane"),
    ]))
}

/// Pushes the pieces and says what came out of each, the end's remainder last.
fn pieces(pieces: &[&str], arguments: bool) -> Vec<String> {
    let mut reidentifier = sample();
    let mut out: Vec<String> = pieces
        .iter()
        .map(|piece| reidentifier.push("c", piece, arguments))
        .collect();
    out.push(reidentifier.finish("c"));
    assert!(!reidentifier.holds("c"));
    out
}

#[test]
fn whole_texts_get_their_originals() {
    let mut r = sample();
    for (text, wanted) in [
        ("Dear [EMAIL_K7QX], hi", "Dear jane@example.com, hi"),
        ("[EMAIL_K7QX][EMAIL_K7QXA]", "jane@example.comjoe@example.com"),
        ("[[EMAIL_K7QX]]", "[jane@example.com]"),
        ("[EMAIL_[EMAIL_K7QX]", "[EMAIL_jane@example.com"),
        // Invented by the model, or typed by the caller.
        (
            "[EMAIL_ZZZZ] [EMAIL_K7Q] [EMAIL_K7QXAB]",
            "[EMAIL_ZZZZ] [EMAIL_K7Q] [EMAIL_K7QXAB]",
        ),
        ("[EMAIL_K7QX", "[EMAIL_K7QX"),
        ("no brackets", "no brackets"),
        ("", ""),
    ] {
        assert_eq!(r.whole(text, false), wanted, "{text}");
    }
}

#[test]
fn markdown_escapes_are_seen_through() {
    let mut r = sample();
    for (text, wanted) in [
        (r"\[EMAIL\_K7QX\]", "jane@example.com"),
        (r"\[EMAIL_K7QX\]", "jane@example.com"),
        (r"[EMAIL\_K7QX]", "jane@example.com"),
        (r"[AWS\_ACCESS\_KEY\_7Q2M]", "AKIA\"\\\n\u{1}é"),
        // A path, whose backslash is no escape.
        (r"C:\Users\[PERSON_ABCD]\x", r"C:\Users\jane\x"),
        (r"C:\[PERSON_ABCD]", r"C:\jane"),
        (r"\\[PERSON_ABCD\]", r"\jane"),
        (r"[PERSON_ABCD\]", r"[PERSON_ABCD\]"),
        (r"\[PERSON\_ABCD", r"\[PERSON\_ABCD"),
        (r"\[EMAIL\K7QX\]", r"\[EMAIL\K7QX\]"),
    ] {
        assert_eq!(r.whole(text, false), wanted, "{text}");
    }
    assert_eq!(
        r.whole(
            r#"{"a":"\\[EMAIL\\_K7QX\\] \"[PERSON_ABCD]\" C:\\[PERSON_ABCD]"}"#,
            true
        ),
        r#"{"a":"jane@example.com \"jane\" C:\\jane"}"#
    );
}

#[test]
fn arguments_get_json_escaped_originals() {
    let mut r = sample();
    let source = r.whole(r#"{"key":"[AWS_ACCESS_KEY_7Q2M]"}"#, true);
    let parsed: serde_json::Value = serde_json::from_str(&source).unwrap();
    assert_eq!(parsed["key"], "AKIA\"\\\n\u{1}é");
}

#[test]
fn only_what_may_become_a_placeholder_waits() {
    assert_eq!(
        pieces(&["Hi [EM", "AIL_K7", "QX", "], bye"], false),
        ["Hi ", "", "", "jane@example.com, bye", ""]
    );
    // `[X` starts nothing of ours, so it does not wait.
    assert_eq!(pieces(&["a [X", "]"], false), ["a [X", "]", ""]);
    assert_eq!(pieces(&["[EMAIL_Z", "]"], false), ["[EMAIL_Z", "]", ""]);
    // A bracket that closes nothing lets all go, at once.
    assert_eq!(pieces(&["[EMAIL_K7Q", "]!"], false), ["", "[EMAIL_K7Q]!", ""]);
    // What never got its end comes at the end.
    assert_eq!(pieces(&["[EMAIL_K7QX"], false), ["", "[EMAIL_K7QX"]);
    // In plain text an escape starts with one backslash, in JSON source with two.
    assert_eq!(pieces(&["a\\", "n"], false), ["a", "\\n", ""]);
    assert_eq!(pieces(&["a\\n", "b"], true), ["a\\n", "b", ""]);
}

#[test]
fn channels_do_not_mix() {
    let mut r = sample();
    assert_eq!(r.push("one", "[EMAIL_", false), "");
    assert_eq!(r.push("two", "K7QX]", false), "K7QX]");
    assert!(r.holds("one") && !r.holds("two"));
    assert_eq!(r.push("one", "K7QX]", false), "jane@example.com");
    assert!(!r.holds("one"));
    assert_eq!(r.finish("two"), "");
}

#[test]
fn an_exchange_without_originals_passes_everything_at_once() {
    let mut r = Reidentifier::new(Originals::default());
    assert_eq!(r.push("c", "[EMAIL_", false), "[EMAIL_");
    assert_eq!(r.whole("\\[", true), "\\[");
    assert!(!r.holds("c"));
}

#[test]
fn an_upstream_cannot_make_a_flood_of_a_few_bytes() {
    let long = "x".repeat(MAX_RESTORED / 4);
    let mut r = Reidentifier::new(originals(&[("[CODE_ABCD]", &long)]));
    let shown = r.whole(&"[CODE_ABCD]".repeat(100), false);
    assert_eq!(shown.len(), MAX_RESTORED + 96 * "[CODE_ABCD]".len());
    assert!(shown.ends_with("[CODE_ABCD]"));
}

#[test]
fn debug_shows_counts_only() {
    let mut r = sample();
    let _ = r.push("c", "[EMAIL_", false);
    assert_eq!(
        format!("{r:?}"),
        "Reidentifier { originals: 4, channels_held: 1 }"
    );
}

/// Texts made mostly of the pieces that matter.
fn replies() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("[EMAIL_K7QX]".to_owned()),
        Just("[EMAIL_K7QXA]".to_owned()),
        Just(r"\[EMAIL\_K7QX\]".to_owned()),
        Just(r"\\[PERSON\\_ABCD\\]".to_owned()),
        Just("[PERSON_ABCD]".to_owned()),
        Just("[EMAIL_ZZZZ]".to_owned()),
        Just("[EMAIL_".to_owned()),
        Just("K7QX".to_owned()),
        Just("]".to_owned()),
        Just("\\".to_owned()),
        Just("_".to_owned()),
        "[a-zé\\[\\]\\\\ ]{0,6}",
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn the_split_does_not_matter(text in replies(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8), arguments: bool) {
        let mut cuts: Vec<usize> = cuts
            .iter()
            .map(|cut| cut.index(text.len() + 1))
            .filter(|&cut| text.is_char_boundary(cut))
            .collect();
        cuts.sort_unstable();
        let mut r = sample();
        let wanted = r.whole(&text, arguments);
        let mut got = String::new();
        let mut done = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            got += &r.push("c", &text[done..cut], arguments);
            done = cut;
        }
        got += &r.finish("c");
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn one_character_at_a_time_is_the_same(text in replies(), arguments: bool) {
        let mut r = sample();
        let wanted = r.whole(&text, arguments);
        let mut got = String::new();
        for (at, c) in text.char_indices() {
            got += &r.push("c", &text[at..at + c.len_utf8()], arguments);
        }
        got += &r.finish("c");
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn what_waits_may_become_a_placeholder(text in replies()) {
        let mut r = sample();
        let _ = r.push("c", &text, false);
        if let Some(tail) = r.tails.get("c") {
            // Take the Markdown away: what is left must start one of the placeholders.
            let plain = tail.text.replace('\\', "");
            let may_become = r.known.iter().any(|known| {
                let placeholder = format!("[{}]", known.name);
                placeholder.starts_with(&plain) && plain.len() < placeholder.len()
            });
            prop_assert!(may_become);
        }
    }

    #[test]
    fn escaped_texts_parse_back(original in any::<String>()) {
        let source = format!("\"{}\"", json_escaped(&original));
        prop_assert_eq!(serde_json::from_str::<String>(&source).unwrap(), original);
    }
}
