//! Archives: ZIP, TAR and GZIP, each file inside read as a document of its own.
//!
//! A ZIP archive may be an office document ([`office`], [`open_document`]). Its directory and the headers
//! before each file have to say the same, without files that only one of them knows, that overlap, or that
//! share a name: programs differ in which they believe, and so could show people what was not inspected.
//! The names of files are a text, too, at the archive's path with an empty step behind it (`a.zip!/`).
//!
//! Bytes that no file covers are not read, nor are compression methods other than deflate.
//!
//! On failure: encrypted files fail the whole document; the archive's own damage is an error, that of one
//! file inside is noted as unread.

use std::{fmt::Write, io::Cursor};

use flate2::read::MultiGzDecoder;
use memchr::memmem;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::{
    Kind, Problem,
    extraction::{Extraction, Outcome, inside, isolated},
    office, open_document,
};

/// An opened ZIP archive.
pub(super) struct Package<'b> {
    zip: ZipArchive<Cursor<&'b [u8]>>,
    pub(super) names: Vec<String>,
}

impl<'b> Package<'b> {
    fn open(run: &Extraction<'_>, bytes: &'b [u8]) -> Result<Self, Problem> {
        // Before memory is spent on the directory: each of its entries starts with this.
        if memmem::find_iter(bytes, b"PK\x01\x02")
            .take(run.entries_left() + 1)
            .count()
            > run.entries_left()
        {
            return Err(Problem::Limit("files in a file"));
        }
        isolated(|| {
            let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(problem)?;
            let mut names = Vec::with_capacity(zip.len());
            for index in 0..zip.len() {
                let entry = zip.by_index_data(index).map_err(problem)?;
                if entry.encrypted() {
                    return Err(Problem::Encrypted);
                }
                names.push(match entry.name() {
                    Ok(name) => name.into_owned(),
                    Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
                });
            }
            if zip.offset() != 0 || zip.validate_header_consistency().is_err() {
                return Err(Problem::Damaged(
                    "its directory and its content say different things",
                ));
            }
            Ok(Self { zip, names })
        })
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// What the package is, by the files that it holds.
    fn kind(&mut self, run: &mut Extraction<'_>) -> Result<Kind, Problem> {
        if self.has("[Content_Types].xml") {
            let any = |folder: &str| self.names.iter().any(|name| name.starts_with(folder));
            return Ok(if any("word/") {
                Kind::Docx
            } else if any("xl/") {
                Kind::Xlsx
            } else if any("ppt/") {
                Kind::Pptx
            } else {
                Kind::Zip
            });
        }
        if self.has("content.xml")
            && let Some(index) = self.names.iter().position(|name| name == "mimetype")
        {
            let mimetype = self.content(run, index)?;
            let mimetype = String::from_utf8_lossy(&mimetype);
            for (start, kind) in [
                ("application/vnd.oasis.opendocument.text", Kind::Odt),
                ("application/vnd.oasis.opendocument.spreadsheet", Kind::Ods),
                ("application/vnd.oasis.opendocument.presentation", Kind::Odp),
                // Drawings are pages with text on them, as slides are.
                ("application/vnd.oasis.opendocument.graphics", Kind::Odp),
            ] {
                if mimetype.starts_with(start) {
                    return Ok(kind);
                }
            }
        }
        Ok(Kind::Zip)
    }

    /// Whether there is nothing to read behind a name.
    pub(super) fn is_folder(&self, index: usize) -> bool {
        self.zip
            .by_index_data(index)
            .is_ok_and(|entry| entry.is_dir() && entry.compressed_size() == 0)
    }

    /// Unpacks one file.
    pub(super) fn content(&mut self, run: &mut Extraction<'_>, index: usize) -> Result<Vec<u8>, Problem> {
        isolated(|| {
            let entry = self.zip.by_index(index).map_err(problem)?;
            if !matches!(
                entry.compression(),
                CompressionMethod::Stored | CompressionMethod::Deflated
            ) {
                return Err(Problem::Unsupported(
                    "a ZIP archive's file that is not compressed by deflate",
                ));
            }
            run.unpack(entry, "a file of the archive cannot be unpacked")
        })
    }
}

fn problem(error: ZipError) -> Problem {
    match error {
        ZipError::UnsupportedArchive(what) if what == ZipError::PASSWORD_REQUIRED => Problem::Encrypted,
        ZipError::InvalidPassword => Problem::Encrypted,
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            Problem::Unsupported("a ZIP archive's file that is not compressed by deflate")
        }
        _ => Problem::Damaged("the archive's directory cannot be read"),
    }
}

pub(super) fn zip(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome<Kind> {
    let mut package = Package::open(run, bytes)?;
    let kind = package.kind(run)?;
    match kind {
        Kind::Docx | Kind::Xlsx | Kind::Pptx => office::read(run, path, package, kind)?,
        Kind::Odt | Kind::Ods | Kind::Odp => open_document::read(run, path, package, kind)?,
        _ => {
            let comment = String::from_utf8_lossy(package.zip.comment()).into_owned();
            say_names(
                run,
                path,
                package.names.iter().map(String::as_str).chain([comment.as_str()]),
            )?;
            for index in 0..package.names.len() {
                run.entry()?;
                if package.is_folder(index) {
                    continue;
                }
                let name = package.names[index].clone();
                match package.content(run, index) {
                    Ok(content) => run.nested(path, &name, &content)?,
                    Err(problem) => run.skip_or(problem, inside(path, &name))?,
                }
            }
        }
    }
    Ok(kind)
}

pub(super) fn tar(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    const BROKEN: Problem = Problem::Damaged("the tape archive's headers cannot be read");
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    // What follows an archive's end may be another one.
    archive.set_ignore_zeros(true);
    let mut names = String::new();
    for entry in archive.entries().map_err(|_| BROKEN)? {
        run.entry()?;
        let entry = entry.map_err(|_| BROKEN)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let _ = writeln!(names, "{name}");
        if let Some(target) = entry.link_name_bytes() {
            let _ = writeln!(names, "{}", String::from_utf8_lossy(&target));
        }
        let content = run.unpack(entry, "a file of the archive is cut short")?;
        if !content.is_empty() {
            run.nested(path, &name, &content)?;
        }
    }
    run.say(inside(path, ""), names)
}

pub(super) fn gzip(run: &mut Extraction<'_>, path: &str, name: &str, bytes: &[u8]) -> Outcome {
    run.entry()?;
    let content = run.unpack(MultiGzDecoder::new(bytes), "its compressed data is broken")?;
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let inner = match file.rsplit_once('.') {
        Some((stem, ending)) if ending.eq_ignore_ascii_case("tgz") => format!("{stem}.tar"),
        Some((stem, ending)) if ending.eq_ignore_ascii_case("gz") => stem.to_owned(),
        _ => file.to_owned(),
    };
    run.nested(path, &inner, &content)
}

fn say_names<'n>(run: &mut Extraction<'_>, path: &str, names: impl Iterator<Item = &'n str>) -> Outcome {
    let mut text = String::new();
    for name in names {
        text.push_str(name);
        text.push('\n');
    }
    run.say(inside(path, ""), text)
}
