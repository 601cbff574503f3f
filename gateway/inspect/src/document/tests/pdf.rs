//! PDF files written by hand.

use std::fmt::Write as _;

use lopdf::{EncryptionState, EncryptionVersion, Permissions};

use super::*;

/// A file of these objects, numbered from 1; the first is the catalog.
pub(super) fn pdf(objects: &[&[u8]], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", file.len()).unwrap();
        file.extend_from_slice(format!("{} 0 obj\n", index + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    let size = objects.len() + 1;
    write!(
        table,
        "trailer\n<</Size {size}/Root 1 0 R {trailer}>>\nstartxref\n{start}\n%%EOF\n"
    )
    .unwrap();
    file.extend_from_slice(table.as_bytes());
    file
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("<<{dictionary}/Length {}>>\nstream\n", content.len());
    [head.as_bytes(), content, b"\nendstream"].concat()
}

const CATALOG: &[u8] = b"<</Type/Catalog/Pages 2 0 R>>";
const PAGES: &[u8] =
    b"<</Type/Pages/Count 1/Kids[3 0 R]/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>";
const PAGE: &[u8] = b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>";
const FONT: &[u8] = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";

/// One page that draws this, with more objects from number 6.
pub(super) fn one_page(content: &[u8], font: &[u8], more: &[&[u8]], trailer: &str) -> Vec<u8> {
    let content = stream("", content);
    let mut objects: Vec<&[u8]> = vec![CATALOG, PAGES, PAGE, &content, font];
    objects.extend_from_slice(more);
    pdf(&objects, trailer)
}

const LINES: &[u8] =
    b"BT /F 12 Tf 72 700 Td (Card 4111 ) Tj [(11)-20(11 1111) -500 (1111)] TJ 0 -14 Td (next l) Tj (ine) Tj \
    T* ET q 1 0 0 1 0 -50 cm BT /F 12 Tf 1 0 0 1 72 700 Tm (\\374ber) ' ET Q";

#[test]
fn text_is_put_together_from_where_it_is_drawn() {
    let document = read("a.pdf", &one_page(LINES, FONT, &[], ""));
    assert_eq!(document.kind, Kind::Pdf);
    assert_eq!(
        text(&document, "a.pdf!/page 1"),
        "Card 4111 1111 1111 1111\nnext line\nüber"
    );
    assert!(document.unread.is_empty(), "{:?}", document.unread);
}

#[test]
fn words_that_are_placed_one_by_one_are_apart() {
    let font = b"<</Type/Font/Subtype/TrueType/FirstChar 97/Widths[500 500 500]/Encoding/WinAnsiEncoding>>";
    let content = b"BT /F 10 Tf 1 0 0 1 0 0 Tm (ab) Tj 1 0 0 1 10 0 Tm (c) Tj 1 0 0 1 18 0 Tm (a) Tj 1 0 0 1 80 0 Tm (b) Tj ET";
    let document = read("a.pdf", &one_page(content, font, &[], ""));
    assert_eq!(text(&document, "a.pdf!/page 1"), "abc a\tb");
}

#[test]
fn fonts_say_what_their_codes_stand_for() {
    let font = b"<</Type/Font/Subtype/Type0/Encoding/Identity-H/DescendantFonts[<</W[1[600 600]]>>]/ToUnicode 6 0 R>>";
    let map = stream(
        "",
        b"1 begincodespacerange <0000> <FFFF> endcodespacerange 1 beginbfrange <0001> <0009> <0041> endbfrange",
    );
    let content = b"BT /F 12 Tf <000100020003> Tj ET";
    let document = read("a.pdf", &one_page(content, font, &[&map], ""));
    assert_eq!(text(&document, "a.pdf!/page 1"), "ABC");

    let mute = b"<</Type/Font/Subtype/Type0/Encoding/Identity-H/DescendantFonts[<</DW 500>>]>>";
    let document = read("a.pdf", &one_page(content, mute, &[], ""));
    assert_eq!(
        document.unread[0].problem,
        Problem::Unsupported("text in a font that does not say its characters")
    );

    let named = b"<</Type/Font/Subtype/Type1/Encoding<</Differences[1/S/e/c/r/eacute/t]>>>>";
    let document = read(
        "a.pdf",
        &one_page(b"BT /F 1 Tf <010203040506> Tj ET", named, &[], ""),
    );
    assert_eq!(text(&document, "a.pdf!/page 1"), "Secr\u{e9}t");

    let chinese = b"<</Type/Font/Subtype/Type0/Encoding/UniGB-UCS2-H/DescendantFonts[<</DW 1000>>]>>";
    let document = read(
        "a.pdf",
        &one_page(b"BT /F 1 Tf <673A5BC6> Tj ET", chinese, &[], ""),
    );
    assert_eq!(text(&document, "a.pdf!/page 1"), "机密");
}

#[test]
fn what_surrounds_the_pages_is_read() {
    let form = stream(
        "/Subtype/Form/Matrix[1 0 0 1 0 0]",
        b"BT /F 9 Tf (CONFIDENTIAL) Tj ET",
    );
    let metadata = stream(
        "/Type/Metadata/Subtype/XML",
        br#"<x:xmpmeta xmlns:x="x"><rdf:RDF xmlns:rdf="r"><rdf:Description pdfx:MSIP_Label_0aa0_Name="Secret"><dc:creator>Ana</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"#,
    );
    let attached = stream("/Type/EmbeddedFile", &docx());
    let file = one_page(
        b"/X Do",
        FONT,
        &[
            &form,
            b"<</Title(Plan)/MSIP_Label_0bb0_SetDate(2026)/Author<FEFF00C40042>>>",
            &metadata,
            b"<</Type/Filespec/F(a.docx)/UF(plan.docx)/EF<</F 10 0 R/UF 10 0 R>>>>",
            &attached,
            b"<</Type/Annot/Subtype/Link/Contents(a note)/A<</S/URI/URI(https://a.example/?q=1)>>>>",
            b"<</FT/Tx/T(iban)/V(DE02 1203)>>",
            b"<</S/JavaScript/JS 14 0 R>>",
            &stream("", b"app.alert('key')"),
            b"<</XFA[(datasets)16 0 R]>>",
            &stream("", b"<data>filled in</data>"),
        ],
        "/Info 7 0 R",
    );
    let document = read("a.pdf", &file);
    assert_eq!(text(&document, "a.pdf!/page 1"), "CONFIDENTIAL");
    let properties = text(&document, "a.pdf!/properties");
    for line in [
        "Title: Plan",
        "MSIP_Label_0bb0_SetDate: 2026",
        "Author: \u{c4}B",
        "MSIP_Label_0aa0_Name: Secret",
        "creator: Ana",
    ] {
        assert!(
            properties.lines().any(|one| one == line),
            "{line} in {properties}"
        );
    }
    let beside = text(&document, "a.pdf!/annotations");
    for line in [
        "a note",
        "https://a.example/?q=1",
        "iban",
        "DE02 1203",
        "app.alert('key')",
    ] {
        assert!(beside.lines().any(|one| one == line), "{line} in {beside}");
    }
    assert!(!beside.contains("/X Do"), "the page's own program in {beside}");
    assert!(text(&document, "a.pdf!/plan.docx!/document").starts_with("Card"));
    let attached = paths(&document)
        .into_iter()
        .filter(|path| path.ends_with("!/document"));
    assert_eq!(attached.count(), 1);
}

#[test]
fn pictures_and_what_is_missing_are_noted() {
    let picture = stream("/Subtype/Image/Width 1/Height 1", b"\x00");
    let document = read("a.pdf", &one_page(b"/X Do", FONT, &[&picture], ""));
    assert_eq!(document.unread[0].path, "a.pdf!/page 1!/picture");
    let document = read("a.pdf", &one_page(b"/Gone Do", FONT, &[], ""));
    assert_eq!(
        document.unread[0].problem,
        Problem::Damaged("a part of the page cannot be read")
    );
}

fn locked(password: &str) -> Vec<u8> {
    let file = one_page(
        LINES,
        FONT,
        &[],
        "/ID[<00112233445566778899AABBCCDDEEFF><00112233445566778899AABBCCDDEEFF>]",
    );
    let mut document = lopdf::Document::load_mem(&file).unwrap();
    let version = EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password: password,
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).unwrap();
    document.encrypt(&state).unwrap();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn passwords_are_told_and_empty_ones_used() {
    assert_eq!(problem("a.pdf", &locked("user")), Problem::Encrypted);
    let document = read("a.pdf", &locked(""));
    assert!(text(&document, "a.pdf!/page 1").starts_with("Card 4111"));
}

#[test]
fn bombs_in_pages_do_not_go_off() {
    let zlib = |content: &[u8]| {
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    };
    let spaces = zlib(&vec![b' '; 17 << 20]);
    let content = stream("/Filter/FlateDecode", &spaces);
    let flat = pdf(&[CATALOG, PAGES, PAGE, &content, FONT], "");
    assert_eq!(problem("a.pdf", &flat), Problem::Limit("bytes unpacked"));

    // Each form draws the next one many times.
    let draws = b"/X Do ".repeat(100);
    let forms: Vec<Vec<u8>> = (7..17)
        .map(|next| {
            let resources = format!("/Subtype/Form/Resources<</XObject<</X {next} 0 R>>>>");
            stream(&resources, &draws)
        })
        .collect();
    let forms: Vec<&[u8]> = forms.iter().map(Vec::as_slice).collect();
    assert_eq!(
        problem("a.pdf", &one_page(b"/X Do", FONT, &forms, "")),
        Problem::Limit("bytes unpacked")
    );

    // A byte that stands for many characters, and an array that leads to one string many times.
    let map = stream(
        "",
        format!("1 beginbfchar <41> <{}> endbfchar", "0058".repeat(60)).as_bytes(),
    );
    let font = b"<</Type/Font/Subtype/Type1/ToUnicode 6 0 R>>";
    let little = Limits {
        bytes_of_text: 1 << 20,
        ..Limits::default()
    };
    let limit = |file: &[u8]| extract("a.pdf", file, &little).unwrap_err().problem;
    let shown = format!("BT /F 1 Tf ({}) Tj ET", "A".repeat(1 << 16));
    assert_eq!(
        limit(&one_page(shown.as_bytes(), font, &[&map], "")),
        Problem::Limit("bytes of text")
    );
    let long = format!("({})", "x".repeat(1 << 16));
    let many = format!("<</Opt[{}]>>", "6 0 R ".repeat(1000));
    assert_eq!(
        limit(&one_page(b"", FONT, &[long.as_bytes(), many.as_bytes()], "")),
        Problem::Limit("bytes of text")
    );

    // A form that draws itself ends.
    let own = stream("/Subtype/Form", b"BT /F 1 Tf (again) Tj ET /X Do");
    let document = read("a.pdf", &one_page(b"/X Do", FONT, &[&own], ""));
    assert!(text(&document, "a.pdf!/page 1").starts_with("again"));

    let deep = [b"<</A ".to_vec(), b"[".repeat(100_000), b">>".to_vec()].concat();
    let _ = extract("a.pdf", &one_page(LINES, FONT, &[&deep], ""), &Limits::default());
}
