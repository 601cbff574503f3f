//! Files as office programs, cameras and mailers write them, made on the spot.

use std::io::{Cursor, Write};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A ZIP archive.
#[must_use]
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .expect("a file can be added to an archive in memory");
        writer.write_all(content).expect("memory takes bytes");
    }
    writer.finish().expect("memory takes bytes").into_inner()
}

/// A ZIP archive that says of its one file that it is encrypted.
#[must_use]
pub fn locked_zip(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = zip(&[(name, content)]);
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = archive
            .windows(mark.len())
            .position(|window| window == mark)
            .expect("an archive has headers");
        archive[at + flags] |= 1;
    }
    archive
}

/// A file under gzip.
#[must_use]
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(content).expect("memory takes bytes");
    writer.finish().expect("memory takes bytes")
}

/// A tape archive of one file.
#[must_use]
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// A Word document of one paragraph.
#[must_use]
pub fn docx(text: &str) -> Vec<u8> {
    let document = format!(
        r#"<?xml version="1.0"?><w:document xmlns:w="w"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"#
    );
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", document.as_bytes()),
    ])
}

/// The same, with a picture in it.
#[must_use]
pub fn docx_with_picture(text: &str, picture: &[u8]) -> Vec<u8> {
    let document = format!("<w:document xmlns:w=\"w\"><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:document>");
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", document.as_bytes()),
        ("word/media/image1.png", picture),
    ])
}

/// A workbook of one cell.
#[must_use]
pub fn xlsx(text: &str) -> Vec<u8> {
    let sheet = format!(
        r#"<worksheet><sheetData><row><c t="inlineStr"><is><t>{text}</t></is></c></row></sheetData></worksheet>"#
    );
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        (
            "xl/workbook.xml",
            br#"<workbook><sheets><sheet name="One" sheetId="1"/></sheets></workbook>"#,
        ),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}

/// A presentation of one slide.
#[must_use]
pub fn pptx(text: &str) -> Vec<u8> {
    let slide = format!(
        r#"<p:sld xmlns:p="p" xmlns:a="a"><p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sld>"#
    );
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("ppt/slides/slide1.xml", slide.as_bytes()),
    ])
}

/// An OpenDocument text.
#[must_use]
pub fn odt(text: &str) -> Vec<u8> {
    let content = format!(
        r#"<office:document-content xmlns:office="o" xmlns:text="t"><office:body><text:p>{text}</text:p></office:body></office:document-content>"#
    );
    zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", content.as_bytes()),
    ])
}

/// A PDF file of one page.
#[must_use]
pub fn pdf(text: &str) -> Vec<u8> {
    let page = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let table = file.len();
    file.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1));
    for place in places {
        file.push_str(&format!("{place:010} 00000 n \n"));
    }
    file.push_str(&format!(
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
        objects.len() + 1
    ));
    file.into_bytes()
}

/// A mail with an attachment.
#[must_use]
pub fn mail(text: &str) -> Vec<u8> {
    format!(
        "Subject: figures\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n\
         --b\r\nContent-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\n{text}\r\n--b--\r\n"
    )
    .into_bytes()
}

/// Dots of the letters that pictures here are written in, a row of five bits each.
const LETTERS: [(char, [u8; 7]); 11] = [
    (
        '0',
        [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    ),
    (
        '1',
        [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    ),
    (
        '4',
        [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    ),
    (
        'A',
        [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
    ),
    (
        'C',
        [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110],
    ),
    (
        'D',
        [0b11100, 0b10010, 0b10001, 0b10001, 0b10001, 0b10010, 0b11100],
    ),
    (
        'L',
        [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
    ),
    (
        'N',
        [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001],
    ),
    (
        'O',
        [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
    ),
    (
        'P',
        [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
    ),
    (
        'R',
        [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
    ),
];

/// Pixels across one dot of a letter: so large a screen shows text.
const DOT: usize = 3;

/// A PNG picture of one line of text; letters that are not drawn here are spaces.
#[must_use]
pub fn picture(text: &str) -> Vec<u8> {
    let (width, height) = ((text.chars().count() * 6 + 4) * DOT, 13 * DOT);
    let mut rows = Vec::with_capacity((width + 1) * height);
    for y in 0..height {
        rows.push(0);
        let mut row = vec![255; width];
        if let Some(line) = (y / DOT).checked_sub(3).filter(|line| *line < 7) {
            for (index, letter) in text.chars().enumerate() {
                let dots = LETTERS.iter().find(|(drawn, _)| *drawn == letter);
                let bits = dots.map_or(0, |(_, rows)| rows[line]);
                for dot in (0..5).filter(|dot| bits >> (4 - dot) & 1 == 1) {
                    let x = (2 + index * 6 + dot) * DOT;
                    row[x..x + DOT].fill(0);
                }
            }
        }
        rows.extend(row);
    }
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::default());
    pixels.write_all(&rows).expect("memory takes bytes");
    let pixels = pixels.finish().expect("memory takes bytes");
    png(
        u32::try_from(width).expect("a line is short"),
        u32::try_from(height).expect("a line is low"),
        &pixels,
    )
}

/// A PNG file that says that it is so large, whatever its pixels are.
#[must_use]
pub fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1A\n".to_vec();
    for (name, content) in [(b"IHDR", header.as_slice()), (b"IDAT", pixels), (b"IEND", &[])] {
        file.extend(
            u32::try_from(content.len())
                .expect("a small picture")
                .to_be_bytes(),
        );
        let mut sum = flate2::Crc::new();
        sum.update(name);
        sum.update(content);
        file.extend(name);
        file.extend(content);
        file.extend(sum.sum().to_be_bytes());
    }
    file
}
