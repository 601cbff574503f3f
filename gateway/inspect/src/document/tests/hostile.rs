//! Documents made to harm: bombs, deep nesting, lies, damage. Whatever comes, `extract` answers within its
//! limits.

use proptest::prelude::*;

use super::*;

/// What every answer keeps to.
fn check(name: &str, bytes: &[u8], limits: &Limits) {
    if let Ok(document) = extract(name, bytes, limits) {
        let total: usize = document.parts.iter().map(|part| part.text.len()).sum();
        assert!(total <= limits.bytes_of_text);
        for part in &document.parts {
            assert!(!part.path.contains(|c: char| c.is_control()));
        }
    }
}

fn small() -> Limits {
    Limits {
        bytes_in: 1 << 20,
        bytes_unpacked: 1 << 20,
        bytes_of_text: 1 << 20,
        entries: 100,
        ..Limits::default()
    }
}

fn limit(name: &str, bytes: &[u8], limits: &Limits) -> Problem {
    extract(name, bytes, limits).unwrap_err().problem
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![b' '; 17 << 20];
    let flat = zip(&[("a.txt", &zeros)]);
    assert!(flat.len() < 50_000);
    assert_eq!(problem("a.zip", &flat), Problem::Limit("bytes unpacked"));
    assert_eq!(problem("a.gz", &gzip(&zeros)), Problem::Limit("bytes unpacked"));
    // Many times a little, each within what one file may hold.
    let little = vec![b' '; 2 << 20];
    let inner = zip(&[("a.txt", &little)]);
    let many: Vec<(String, &[u8])> = (0..9).map(|i| (format!("{i}.zip"), inner.as_slice())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!(problem("a.zip", &zip(&many)), Problem::Limit("bytes unpacked"));
}

#[test]
fn nesting_ends() {
    let mut bytes = b"text".to_vec();
    for _ in 0..4 {
        bytes = zip(&[("a.zip", &bytes)]);
    }
    assert!(extract("a.zip", &bytes, &Limits::default()).is_ok());
    bytes = gzip(&bytes);
    assert_eq!(problem("a.gz", &bytes), Problem::Limit("files within files"));

    let deep = "<a>".repeat(100_000);
    let bytes = zip(&[
        ("[Content_Types].xml", b"<T/>"),
        ("word/document.xml", deep.as_bytes()),
    ]);
    assert_eq!(
        problem("a.docx", &bytes),
        Problem::Limit("XML elements within elements")
    );
}

#[test]
fn counts_sizes_and_time_are_limited() {
    let names: Vec<String> = (0..101).map(|i| format!("{i}.txt")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    assert_eq!(
        limit("a.zip", &zip(&files), &small()),
        Problem::Limit("files in a file")
    );
    assert_eq!(
        limit("a.tar", &tar(&files), &small()),
        Problem::Limit("files in a file")
    );
    assert_eq!(
        limit("a.txt", &[b'x'; (1 << 20) + 1], &small()),
        Problem::Limit("bytes in a file")
    );
    let hurried = Limits {
        time: Duration::ZERO,
        ..Limits::default()
    };
    assert_eq!(
        limit("a.docx", &docx(), &hurried),
        Problem::Limit("time for a document")
    );
    // A thousand cells that point to one long string.
    let strings = format!("<sst><si><t>{}</t></si></sst>", "x".repeat(10_000));
    let cells = "<c t=\"s\"><v>0</v></c>".repeat(1_000);
    let sheet = format!("<worksheet><row>{cells}</row></worksheet>");
    let book = zip(&[
        ("[Content_Types].xml", b"<T/>"),
        ("xl/sharedStrings.xml", strings.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ]);
    assert_eq!(limit("a.xlsx", &book, &small()), Problem::Limit("bytes of text"));
}

#[test]
fn xml_declares_nothing() {
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><w:p><w:t>&b;</w:t></w:p>";
    let bytes = zip(&[
        ("[Content_Types].xml", b"<T/>"),
        ("word/document.xml", laughs.as_bytes()),
    ]);
    assert_eq!(
        problem("a.docx", &bytes),
        Problem::Unsupported("XML that declares its own entities")
    );
    let outside = b"<w:p><w:t>a&file;b</w:t></w:p>";
    let bytes = zip(&[("[Content_Types].xml", b"<T/>"), ("word/document.xml", outside)]);
    assert_eq!(text(&read("a.docx", &bytes), "a.docx!/document"), "a&file;b\n");
}

#[test]
fn archives_that_programs_read_differently_are_refused() {
    let lies = Problem::Damaged("its directory and its content say different things");
    let honest = zip(&[("a.txt", b"harmless"), ("b.txt", b"hidden")]);
    // One archive before another: some programs read the first, some the last.
    let two = [zip(&[("x.txt", b"hidden")]), honest.clone()].concat();
    assert_eq!(problem("a.zip", &two), lies);
    // The name differs between the file's own header and the directory.
    let mut renamed = honest.clone();
    let at = memchr::memmem::find(&renamed, b"b.txt").unwrap();
    renamed[at] = b'c';
    assert_eq!(problem("a.zip", &renamed), lies);
    assert!(extract("a.zip", &honest, &Limits::default()).is_ok());
}

#[test]
fn unclosed_markup_takes_linear_time() {
    let limits = Limits::default();
    for piece in [
        "<a ",
        "<a b='",
        "<!--",
        "<script></",
        "<a b=\"x\" ",
        "&",
        "&#",
        "</td><p>",
    ] {
        check(
            "a.html",
            piece.repeat((1 << 19) / piece.len()).as_bytes(),
            &limits,
        );
    }
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a.docx", docx()),
        ("a.xlsx", xlsx()),
        (
            "a.odt",
            open_document("text", "<o:p>text<s c=\"9\"/></o:p>", "<m/>"),
        ),
        ("a.eml", mail::eml()),
        ("a.msg", mail::msg()),
        ("a.rtf", mail::RTF.to_vec()),
        (
            "a.pdf",
            pdf::one_page(
                b"BT /F 12 Tf (Card) Tj [(a) 3 (b)] TJ ET /X Do",
                b"<</Type/Font/Subtype/Type1/Encoding<</Differences[1/S/e]>>/ToUnicode 6 0 R>>",
                &[b"<</Contents(x)/EF<</F 4 0 R>>>>"],
                "",
            ),
        ),
        ("a.tar", tar(&[("a.txt", b"text"), ("b.html", b"<p>text</p>")])),
        ("a.gz", gzip(b"text text")),
        (
            "a.html",
            b"<p a='b' c=d>text &amp; <!-- x --> <script>y</script>".to_vec(),
        ),
        (
            "a.txt",
            "a \u{FEFF} ü\n"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
    ]
}

proptest! {
    #[test]
    fn damage_is_answered(which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        let samples = samples();
        let (name, bytes) = &samples[which.index(samples.len())];
        let mut bytes = bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(name, &bytes, &small());
        check(name, &bytes[..cut.index(bytes.len() + 1)], &small());
    }

    #[test]
    fn any_bytes_are_answered(name in "[a-z]{1,4}\\.(txt|html|csv|zip|tar|gz|docx|eml|msg|rtf|pdf|mbox)", bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&name, &bytes, &small());
    }
}
