//! What a file is: by its first bytes, and by its name where those cannot tell.
//!
//! On failure: a known format that is not read is named; unknown bytes are left to
//! [`plain`](super::plain), which takes text only.

use super::{Problem, mail};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Plain text, source code, Markdown, JSON, XML, ...
    Text,
    /// Values separated by commas, semicolons or tabs.
    Csv,
    /// A web page.
    Html,
    /// Rich text.
    Rtf,
    /// A PDF file.
    Pdf,
    /// A mail.
    Mail,
    /// Mails, one after another.
    Mbox,
    /// An Outlook mail.
    Msg,
    /// Word.
    Docx,
    /// Excel.
    Xlsx,
    /// PowerPoint.
    Pptx,
    /// OpenDocument text.
    Odt,
    /// OpenDocument spreadsheet.
    Ods,
    /// OpenDocument presentation.
    Odp,
    /// A ZIP archive.
    Zip,
    /// A tape archive.
    Tar,
    /// One file, compressed by gzip.
    Gzip,
    /// A picture, where pictures are handed out.
    Picture,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Text,
        Self::Csv,
        Self::Html,
        Self::Rtf,
        Self::Pdf,
        Self::Mail,
        Self::Mbox,
        Self::Msg,
        Self::Docx,
        Self::Xlsx,
        Self::Pptx,
        Self::Odt,
        Self::Ods,
        Self::Odp,
        Self::Zip,
        Self::Tar,
        Self::Gzip,
        Self::Picture,
    ];

    /// The kind that a word stands for.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Rtf => "rtf",
            Self::Pdf => "pdf",
            Self::Mail => "mail",
            Self::Mbox => "mbox",
            Self::Msg => "msg",
            Self::Docx => "docx",
            Self::Xlsx => "xlsx",
            Self::Pptx => "pptx",
            Self::Odt => "odt",
            Self::Ods => "ods",
            Self::Odp => "odp",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Picture => "picture",
        }
    }

    /// Whether the one part is the file itself, so that lines and columns in it are those of the file.
    #[must_use]
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Text | Self::Csv)
    }

    /// Whether it holds files or mails that have nothing to do with each other.
    #[must_use]
    pub fn holds_files(self) -> bool {
        matches!(self, Self::Zip | Self::Tar | Self::Mbox)
    }
}

/// First bytes of formats that are known and not read.
const OTHERS: [(&[u8], &str); 10] = [
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
    (b"Rar!\x1A\x07", "a RAR archive"),
    (b"BZh", "a file compressed by bzip2"),
    (b"\xFD7zXZ\0", "a file compressed by xz"),
    (b"\x28\xB5\x2F\xFD", "a file compressed by Zstandard"),
    (b"\x04\x22\x4D\x18", "a file compressed by LZ4"),
    (b"LZIP", "a file compressed by lzip"),
    (b"MSCF", "a cabinet archive"),
    (b"!BDN", "an Outlook folder file"),
    (b"SQLite format 3\0", "a database file"),
];

/// So many bytes at the start are looked at for the marks of text formats.
const LOOKED_AT: usize = 1024;

/// What these bytes are under this name. Text is what nothing else is.
pub(super) fn of(name: &str, bytes: &[u8]) -> Result<Kind, Problem> {
    if [&b"PK\x03\x04"[..], b"PK\x05\x06", b"PK\x07\x08"]
        .iter()
        .any(|mark| bytes.starts_with(mark))
    {
        return Ok(Kind::Zip);
    }
    if bytes.starts_with(&[0x1F, 0x8B]) {
        return Ok(Kind::Gzip);
    }
    if is_tar(bytes) {
        return Ok(Kind::Tar);
    }
    if bytes.starts_with(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") {
        return Ok(Kind::Msg);
    }
    for (mark, what) in OTHERS {
        // Letters could start a text, too; what follows in these formats could not.
        if bytes.starts_with(mark) && (!mark.is_ascii() || bytes[..bytes.len().min(64)].contains(&0)) {
            return Err(Problem::Unsupported(what));
        }
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(LOOKED_AT)]).to_ascii_lowercase();
    let start = start.trim_start_matches('\u{FEFF}').trim_start();
    let ends = |endings: &[&str]| {
        name.rsplit_once('.')
            .is_some_and(|(_, ending)| endings.iter().any(|one| ending.eq_ignore_ascii_case(one)))
    };
    // Viewers open a PDF file whose header comes late. Text about such headers is no PDF file.
    let is_pdf =
        start.starts_with("%pdf-") || (start.contains("%pdf-") && (ends(&["pdf"]) || bytes.contains(&0)));
    Ok(if is_pdf {
        Kind::Pdf
    } else if start.starts_with("{\\rtf") {
        Kind::Rtf
    } else if mail::is_envelope(bytes) {
        Kind::Mbox
    } else if ends(&["eml"]) || mail::is_mail(start) {
        Kind::Mail
    } else if start.starts_with("<!doctype html")
        || start.starts_with("<html")
        || ends(&["html", "htm", "xhtml", "shtml"])
    {
        Kind::Html
    } else if ends(&["csv", "tsv", "tab"]) {
        Kind::Csv
    } else {
        Kind::Text
    })
}

/// Whether a tape archive's first header has the checksum that it says.
fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..512) else {
        return false;
    };
    let said = std::str::from_utf8(&header[148..156])
        .ok()
        .and_then(|digits| u32::from_str_radix(digits.trim_matches([' ', '\0']), 8).ok());
    // The checksum's own field counts as spaces. Old programs added up signed bytes.
    let counted = |at: usize| {
        if (148..156).contains(&at) {
            b' '
        } else {
            header[at]
        }
    };
    let unsigned: u32 = (0..512).map(|at| u32::from(counted(at))).sum();
    let signed: i32 = (0..512).map(|at| i32::from(counted(at).cast_signed())).sum();
    header[0] != 0 && (said == Some(unsigned) || said.map(i64::from) == Some(i64::from(signed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_before_names() {
        for (name, bytes, kind) in [
            ("a.txt", &b"PK\x03\x04rest"[..], Kind::Zip),
            ("a.zip", b"just text", Kind::Text),
            ("a.txt", b"\xEF\xBB\xBF <!DOCTYPE HTML><p>", Kind::Html),
            ("a.HTM", b"<p>text", Kind::Html),
            ("a.csv", b"a,b", Kind::Csv),
            ("MSCF.md", b"MSCF is the mark of a cabinet", Kind::Text),
            ("none", b"", Kind::Text),
        ] {
            assert_eq!(of(name, bytes), Ok(kind), "{name}");
        }
        assert_eq!(
            of("a.txt", b"7z\xBC\xAF\x27\x1Crest"),
            Err(Problem::Unsupported("a 7z archive"))
        );
    }
}
