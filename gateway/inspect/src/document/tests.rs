//! Documents that are built here, whole, damaged and hostile.

mod hostile;
mod mail;
mod pdf;

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

fn read(name: &str, bytes: &[u8]) -> Document {
    extract(name, bytes, &Limits::default())
        .unwrap_or_else(|error| panic!("{name}: {error} at {}", error.path))
}

fn problem(name: &str, bytes: &[u8]) -> Problem {
    extract(name, bytes, &Limits::default()).unwrap_err().problem
}

fn paths(document: &Document) -> Vec<&str> {
    document.parts.iter().map(|part| part.path.as_str()).collect()
}

fn text<'d>(document: &'d Document, path: &str) -> &'d str {
    let part = document.parts.iter().find(|part| part.path == path);
    part.unwrap_or_else(|| panic!("no {path} in {:?}", paths(document)))
        .text
        .as_str()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn docx() -> Vec<u8> {
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", b"<Relationships/>"),
        (
            "word/document.xml",
            br#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body>
                <w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>Card 4111 </w:t></w:r><w:r><w:t>1111 1111</w:t><w:tab/><w:t xml:space="preserve"> 1111 &amp; more</w:t></w:r></w:p>
                <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Name</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Ana</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
                <w:p><w:del w:author="Jo Doe"><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>
                <w:drawing><wp:posOffset>12345</wp:posOffset><wp:docPr descr="Yield by lot"/></w:drawing>
                </w:body></w:document>"#,
        ),
        ("word/footer1.xml", b"<w:ftr><w:p><w:r><w:t>Internal use only</w:t></w:r></w:p></w:ftr>"),
        (
            "word/_rels/document.xml.rels",
            br#"<Relationships><Relationship Target="https://intra.example/plan" TargetMode="External"/><Relationship Target="styles.xml"/></Relationships>"#,
        ),
        ("word/media/image1.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        (
            "docProps/core.xml",
            br#"<cp:coreProperties><dc:title>Plan B</dc:title><dc:creator>Ana Doe</dc:creator><cp:keywords>fab, yield</cp:keywords></cp:coreProperties>"#,
        ),
        (
            "docProps/custom.xml",
            br#"<Properties><property fmtid="{D5}" pid="2" name="MSIP_Label_0aa0_Name"><vt:lpwstr>Confidential</vt:lpwstr></property></Properties>"#,
        ),
        (
            "docMetadata/LabelInfo.xml",
            br#"<clbl:labelList><clbl:label id="{0bb0}" enabled="1" method="Privileged" siteId="{0cc0}"/></clbl:labelList>"#,
        ),
    ])
}

fn xlsx() -> Vec<u8> {
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.xml", br#"<workbook><sheets><sheet name="Payroll" sheetId="1"/></sheets></workbook>"#),
        (
            "xl/worksheets/sheet1.xml",
            br#"<worksheet><sheetData>
                <row><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>
                <row><c t="inlineStr"><is><t>Ana</t></is></c><c><f>A1*2&amp;"key"</f><v>4.111111111111111E15</v></c><c><v>0.5</v></c></row>
                </sheetData><headerFooter><oddHeader>Secret sheet</oddHeader></headerFooter></worksheet>"#,
        ),
        ("xl/worksheets/sheet10.xml", br#"<worksheet><sheetData><row><c><v>10</v></c></row></sheetData></worksheet>"#),
        ("xl/worksheets/sheet2.xml", br#"<worksheet><sheetData><row><c><v>2</v></c></row></sheetData></worksheet>"#),
        (
            "xl/sharedStrings.xml",
            "<sst><si><r><t>Na</t></r><r><t>me</t></r><rPh><t>x</t></rPh></si><si><t>Account</t></si></sst>".as_bytes(),
        ),
        ("xl/pivotCache/pivotCacheRecords1.xml", br#"<pivotCacheRecords><r><s v="Old row"/></r></pivotCacheRecords>"#),
    ])
}

#[test]
fn plain_files_are_one_part() {
    for (name, kind) in [("a.rs", Kind::Text), ("a.csv", Kind::Csv)] {
        let document = read(name, b"a,b\n1,2\n");
        assert_eq!(document.kind, kind);
        assert!(kind.is_plain());
        assert_eq!(text(&document, name), "a,b\n1,2\n");
        assert_eq!(document.parts.len(), 1);
    }
    assert_eq!(
        problem("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        Problem::NotText
    );
    assert!(read("empty", b"").parts.is_empty());
}

#[test]
fn word_files_are_read_whole() {
    let document = read("a.docx", &docx());
    assert_eq!(document.kind, Kind::Docx);
    assert_eq!(
        text(&document, "a.docx!/document"),
        "Card 4111 1111 1111\t 1111 & more\nName\tAna\ngone\n"
    );
    assert_eq!(text(&document, "a.docx!/footer1"), "Internal use only\n");
    let attributes = text(&document, "a.docx!/attributes");
    assert_eq!(
        attributes,
        "link: https://intra.example/plan\nauthor: Jo Doe\ndescr: Yield by lot\n"
    );
    let properties = text(&document, "a.docx!/properties");
    for line in [
        "title: Plan B",
        "creator: Ana Doe",
        "keywords: fab, yield",
        "MSIP_Label_0aa0_Name: Confidential",
        "MSIP_Label_0bb0_Enabled: 1",
        "MSIP_Label_0bb0_SiteId: {0cc0}",
    ] {
        assert!(
            properties.lines().any(|one| one == line),
            "{line} in {properties}"
        );
    }
    assert_eq!(document.unread.len(), 1);
    assert_eq!(document.unread[0].path, "a.docx!/word/media/image1.png");
    assert_eq!(document.unread[0].problem, Problem::NotText);
}

#[test]
fn sheets_are_rows_in_order() {
    let document = read("a.xlsx", &xlsx());
    assert_eq!(document.kind, Kind::Xlsx);
    assert_eq!(
        text(&document, "a.xlsx!/sheet 1"),
        "Name\tAccount\nAna\t4111111111111111\t0.5\nSecret sheet\n"
    );
    let sheets: Vec<&str> = paths(&document)
        .into_iter()
        .filter(|path| path.contains("/sheet "))
        .collect();
    assert_eq!(sheets, ["a.xlsx!/sheet 1", "a.xlsx!/sheet 2", "a.xlsx!/sheet 10"]);
    assert_eq!(text(&document, "a.xlsx!/formulas"), "=A1*2&\"key\"\n");
    assert_eq!(
        text(&document, "a.xlsx!/attributes"),
        "v: Old row\nname: Payroll\n"
    );
}

#[test]
fn slides_and_their_notes_are_parts() {
    let slide = |said: &str| format!("<p:sld><a:p><a:r><a:t>{said}</a:t></a:r></a:p></p:sld>").into_bytes();
    let deck = zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("ppt/presentation.xml", b"<p:presentation/>"),
        ("ppt/slides/slide2.xml", &slide("second")),
        ("ppt/slides/slide1.xml", &slide("first")),
        ("ppt/notesSlides/notesSlide1.xml", &slide("say this")),
    ]);
    let document = read("a.pptx", &deck);
    assert_eq!(document.kind, Kind::Pptx);
    assert_eq!(
        paths(&document),
        ["a.pptx!/notes of slide 1", "a.pptx!/slide 1", "a.pptx!/slide 2"]
    );
    assert_eq!(text(&document, "a.pptx!/slide 2"), "second\n");
}

fn open_document(kind: &str, content: &str, manifest: &str) -> Vec<u8> {
    zip(&[
        ("mimetype", format!("application/vnd.oasis.opendocument.{kind}").as_bytes()),
        ("content.xml", content.as_bytes()),
        ("META-INF/manifest.xml", manifest.as_bytes()),
        (
            "meta.xml",
            br#"<office:meta><dc:title>Budget</dc:title><meta:user-defined meta:name="MSIP_Label_1_Name">Secret</meta:user-defined></office:meta>"#,
        ),
    ])
}

#[test]
fn open_documents_are_read() {
    let document = read(
        "a.odt",
        &open_document(
            "text",
            r#"<o:body><text:h>Head</text:h><text:p>4111<text:span>1111</text:span><text:s text:c="2"/>x<text:tab/>y</text:p></o:body>"#,
            "<m/>",
        ),
    );
    assert_eq!(document.kind, Kind::Odt);
    assert_eq!(text(&document, "a.odt!/content"), "Head\n41111111  x\ty\n");
    assert_eq!(
        text(&document, "a.odt!/properties"),
        "title: Budget\nMSIP_Label_1_Name: Secret\n"
    );

    let cell = |said: &str| format!("<table:table-cell><text:p>{said}</text:p></table:table-cell>");
    let sheet = format!(
        "<o:body><table:table table:name=\"Pay\"><table:table-row>{}{}</table:table-row></table:table></o:body>",
        cell("Ana"),
        cell("5")
    );
    let document = read("a.ods", &open_document("spreadsheet", &sheet, "<m/>"));
    assert_eq!(document.kind, Kind::Ods);
    assert_eq!(text(&document, "a.ods!/sheet 1"), "Ana\t5\n");
    assert_eq!(text(&document, "a.ods!/attributes"), "name: Pay\n");

    let slides = "<o:body><draw:page><text:p>one</text:p></draw:page><draw:page><text:p>two</text:p></draw:page></o:body>";
    let document = read("a.odp", &open_document("presentation", slides, "<m/>"));
    assert_eq!(text(&document, "a.odp!/slide 2"), "two\n");
}

#[test]
fn archives_are_read_through() {
    let inner = zip(&[("deck/a.docx", &docx()), ("readme.md", b"# Read me")]);
    let packed = gzip(&tar(&[("in/inner.zip", &inner), ("notes.txt", b"plain")]));
    let document = read("all.tgz", &packed);
    assert_eq!(document.kind, Kind::Gzip);
    let at = "all.tgz!/all.tar!/in/inner.zip";
    assert_eq!(text(&document, &format!("{at}!/readme.md")), "# Read me");
    assert_eq!(text(&document, &format!("{at}!/")), "deck/a.docx\nreadme.md\n\n");
    assert!(text(&document, &format!("{at}!/deck/a.docx!/document")).starts_with("Card"));
    assert_eq!(text(&document, "all.tgz!/all.tar!/notes.txt"), "plain");
}

#[test]
fn wrong_endings_hide_nothing() {
    let document = read("picture.png", &docx());
    assert_eq!(document.kind, Kind::Docx);
    let document = read("a.docx", b"only text");
    assert_eq!(document.kind, Kind::Text);
}

#[test]
fn encryption_is_told() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("a.txt", SimpleFileOptions::default()).unwrap();
    writer.write_all(b"text").unwrap();
    let mut locked = writer.finish().unwrap().into_inner();
    // The flag of encryption, in the file's own header and in the directory.
    let directory = memchr::memmem::find(&locked, b"PK\x01\x02").unwrap();
    locked[6] |= 1;
    locked[directory + 8] |= 1;
    assert_eq!(problem("a.zip", &locked), Problem::Encrypted);
    let outer = zip(&[("fine.txt", b"fine"), ("locked.zip", &locked)]);
    let error = extract("b.zip", &outer, &Limits::default()).unwrap_err();
    assert_eq!(error.problem, Problem::Encrypted);
    assert_eq!(error.path, "b.zip!/locked.zip");

    let manifest = "<m:manifest><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>";
    assert_eq!(
        problem("a.odt", &open_document("text", "<o/>", manifest)),
        Problem::Encrypted
    );
}

#[test]
fn what_is_said_of_documents_shows_no_text() {
    let document = read("secret-name.txt", b"secret words");
    let shown = format!("{document:?}");
    assert!(!shown.contains("secret"), "{shown}");
    let error = extract("secret-name.png", &[0; 64], &Limits::default()).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"));
    assert_eq!(error.path, "secret-name.png");
}

#[test]
fn pictures_are_handed_out_where_somebody_wants_them() {
    let limits = Limits {
        pictures: 1000,
        ..Limits::default()
    };
    let document = extract("a.docx", &docx(), &limits).unwrap();
    let paths: Vec<&str> = document
        .pictures
        .iter()
        .map(|picture| picture.path.as_str())
        .collect();
    assert_eq!(paths, ["a.docx!/word/media/image1.png"]);
    assert!(document.unread.is_empty());
    let picture = [b"\x89PNG\r\n\x1A\n".as_slice(), &[0; 100]].concat();
    let document = extract("a.txt", &picture, &limits).unwrap();
    assert_eq!((document.kind, document.pictures.len()), (Kind::Picture, 1));
    let many = zip(&[
        ("1.png", &[picture.as_slice(), &[0; 500]].concat()),
        ("2.png", &[picture.as_slice(), &[1; 500]].concat()),
    ]);
    let document = extract("a.zip", &many, &limits).unwrap();
    assert_eq!((document.pictures.len(), document.unread.len()), (1, 1));
    assert_eq!(problem("a.png", &picture), Problem::NotText);
}

#[test]
fn the_words_of_printer_settings_are_read() {
    let wide: Vec<u8> = "Printer of J. Doe"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let settings = [wide.as_slice(), &[0, 0, 1, 4, 0xFF, 0xFE, 3, 0x80, 0x81]].concat();
    let file = zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.xml", b"<workbook/>"),
        ("xl/printerSettings/printerSettings1.bin", &settings),
    ]);
    let document = read("a.xlsx", &file);
    assert!(document.unread.is_empty());
    assert!(text(&document, "a.xlsx!/xl/printerSettings/printerSettings1.bin").contains("Printer of J. Doe"));
}
