//! Mails in their several forms, and rich text.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

pub(super) fn eml() -> Vec<u8> {
    let attachment = BASE64_STANDARD.encode(docx());
    format!(
        "Received: from a.example by b.example\r\n\
         From: =?utf-8?q?J=C3=B6rg?= <joerg@a.example>\r\nTo: ana@b.example\r\nSubject: Plan\r\n\
         msip_labels: MSIP_Label_0aa0_Name=Confidential;\r\n MSIP_Label_0aa0_Enabled=true\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n\
         --xx\r\nContent-Type: multipart/alternative; boundary=yy\r\n\r\n\
         --yy\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         M=FCnchen soft=\r\nbreak\r\n\
         --yy\r\nContent-Type: text/html\r\n\r\n<p>Hallo <b>Ana</b></p><a href=\"https://a.example/k\">x</a>\r\n--yy--\r\n\
         --xx\r\nContent-Type: application/octet-stream; name=a.docx\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=a.docx\r\n\r\n{attachment}\r\n\
         --xx\r\nContent-Type: text/csv; name=\"rows.csv\"\r\nContent-Disposition: attachment; filename=\"rows.csv\"\r\n\r\na,b\r\n\
         --xx\r\nContent-Type: message/rfc822\r\n\r\n\
         From: x@a.example\r\nSubject: inner\r\n\r\nInner words\r\n\r\n--xx--\r\n"
    )
    .into_bytes()
}

#[test]
fn mails_are_headers_bodies_and_attachments() {
    // The name says nothing.
    let document = read("mail", &eml());
    assert_eq!(document.kind, Kind::Mail);
    let headers = text(&document, "mail!/headers");
    for line in [
        "From: J\u{f6}rg <joerg@a.example>",
        "Subject: Plan",
        "msip_labels: MSIP_Label_0aa0_Name=Confidential; MSIP_Label_0aa0_Enabled=true",
    ] {
        assert!(headers.lines().any(|one| one == line), "{line} in {headers}");
    }
    assert_eq!(text(&document, "mail!/text 1"), "M\u{fc}nchen softbreak");
    assert_eq!(text(&document, "mail!/text 2"), "Hallo Ana\nx");
    assert_eq!(
        text(&document, "mail!/text 2!/attributes"),
        "href: https://a.example/k\n"
    );
    assert!(text(&document, "mail!/a.docx!/document").starts_with("Card"));
    assert_eq!(text(&document, "mail!/rows.csv"), "a,b");
    let inner = document
        .parts
        .iter()
        .find(|part| part.text.contains("Inner words"));
    assert!(inner.unwrap().path.ends_with("!/text 1"));
    assert!(
        document
            .parts
            .iter()
            .any(|part| part.text.contains("Subject: inner"))
    );
}

#[test]
fn mailboxes_are_mails() {
    let mails = b"From ana@a.example Mon Jan  5 10:00:00 2026\nSubject: one\n\nFirst\nFrom here on\n\n\
        From jo@a.example Tue Jan  6 11:00:00 2026\nSubject: two\n\nSecond\n";
    let document = read("box", mails);
    assert_eq!(document.kind, Kind::Mbox);
    assert!(text(&document, "box!/mail 1.eml!/text 1").starts_with("First\nFrom here on"));
    assert!(text(&document, "box!/mail 2.eml!/text 1").starts_with("Second"));
    assert!(text(&document, "box!/").contains("jo@a.example"));
}

#[test]
fn locked_mails_are_told() {
    for kind in [
        "multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=xx",
        "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
    ] {
        let mail = format!(
            "From: a@a.example\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n--xx\r\n\r\nx\r\n--xx--\r\n"
        );
        assert_eq!(problem("a.eml", mail.as_bytes()), Problem::Encrypted, "{kind}");
    }
}

#[test]
fn mails_within_mails_end() {
    let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(
        problem("a.eml", deep.as_bytes()),
        Problem::Limit("parts of a mail")
    );
    let deep = format!(
        "{}Subject: x\r\n\r\ny",
        "Content-Type: message/rfc822\r\n\r\n".repeat(900)
    );
    assert_eq!(
        problem("a.eml", deep.as_bytes()),
        Problem::Limit("files within files")
    );
    let digest = (0..900).fold(String::new(), |mail, i| {
        format!("{mail}Content-Type: multipart/digest; boundary=b{i}\r\n\r\n--b{i}\r\n\r\n")
    });
    let _ = extract("a.eml", digest.as_bytes(), &Limits::default());
}

/// A compound file of these streams.
fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (path, content) in streams {
        let parent = std::path::Path::new(path).parent().unwrap();
        file.create_storage_all(parent).unwrap();
        file.create_stream(path).unwrap().write_all(content).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(super) fn msg() -> Vec<u8> {
    compound(&[
        ("/__properties_version1.0", b"\0"),
        ("/__substg1.0_0037001F", &wide("Plan f\u{fc}r B")),
        ("/__substg1.0_1000001F", &wide("Body of the mail\r\n")),
        ("/__substg1.0_10130102", b"<p>Body in <b>HTML</b></p>"),
        (
            "/__substg1.0_007D001E",
            b"msip_labels: MSIP_Label_0aa0_Name=Secret\0",
        ),
        (
            "/__recip_version1.0_#00000000/__substg1.0_3001001F",
            &wide("Ana Doe"),
        ),
        (
            "/__attach_version1.0_#00000000/__substg1.0_3707001F",
            &wide("a.docx"),
        ),
        ("/__attach_version1.0_#00000000/__substg1.0_37010102", &docx()),
    ])
}

#[test]
fn outlook_mails_are_read() {
    let document = read("a.msg", &msg());
    assert_eq!(document.kind, Kind::Msg);
    let texts = text(&document, "a.msg");
    for line in [
        "Plan f\u{fc}r B",
        "Body of the mail",
        "Ana Doe",
        "msip_labels: MSIP_Label_0aa0_Name=Secret",
    ] {
        assert!(texts.lines().any(|one| one == line), "{line} in {texts}");
    }
    assert_eq!(text(&document, "a.msg!/body.html"), "Body in HTML\n");
    let attached = "a.msg!/__attach_version1.0_#00000000!/a.docx!/document";
    assert!(text(&document, attached).starts_with("Card"));
}

#[test]
fn other_compound_files_are_told_apart() {
    assert_eq!(
        problem(
            "a.docx",
            &compound(&[("/EncryptedPackage", b"x"), ("/EncryptionInfo", b"x")])
        ),
        Problem::Encrypted
    );
    assert_eq!(
        problem("a.doc", &compound(&[("/WordDocument", b"x")])),
        Problem::Unsupported("a Word file from before 2007")
    );
    assert_eq!(
        problem("a.msg", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and no more"),
        Problem::Damaged("the compound file cannot be opened")
    );
}

pub(super) const RTF: &[u8] =
    br#"{\rtf1\ansi\ansicpg1252\uc1{\fonttbl{\f0 Arial;}}{\info{\title Plan B}{\author Ana}}
{\*\userprops{\propname MSIP_Label_0aa0_Name}\proptype30{\staticval Confidential}}
{\*\unknown hidden words}{\header Internal use only\par}
Card 4111 1111\~1111\b  1111\b0\par M\'fcnchen \u8364? \u-10179?\u-8704?\{x\}\tab y\line
{\field{\*\fldinst HYPERLINK "https://a.example"}{\fldrslt link}}{\pict\pngblip 89504e47}{\bin3 }}}z}"#;

#[test]
fn rich_text_is_read() {
    let document = read("a.doc", RTF);
    assert_eq!(document.kind, Kind::Rtf);
    let body = text(&document, "a.doc");
    assert!(body.contains("Card 4111 1111 1111 1111\n"), "{body}");
    assert!(body.contains("M\u{fc}nchen \u{20ac} \u{1f600}{x}\ty\n"), "{body}");
    assert!(
        body.contains("Internal use only") && body.contains("https://a.example") && body.contains("link")
    );
    assert!(!body.contains("Arial") && !body.contains("89504e47"));
    let properties = text(&document, "a.doc!/properties");
    for line in [
        "title: Plan B",
        "author: Ana",
        "MSIP_Label_0aa0_Name: Confidential",
    ] {
        assert!(
            properties.lines().any(|one| one == line),
            "{line} in {properties}"
        );
    }
    assert_eq!(text(&document, "a.doc!/hidden").trim(), "hidden words");
    assert_eq!(document.unread.len(), 1);
    assert_eq!(
        problem("a.rtf", format!("{{\\rtf1 {}", "{".repeat(5000)).as_bytes()),
        Problem::Limit("groups within groups")
    );
}
