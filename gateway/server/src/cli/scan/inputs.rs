//! What a scan reads: files, folders walked by the rules of `.gitignore` and `.cordonignore`, standard input.
//!
//! Office files, PDF files, mails and archives are read part by part; see [`document`]. Web pages are read as the
//! source that they are, and beside it as the text that a reader sees.
//! In folders, binary files and files over the size limit are passed over and counted; a file that was
//! named is read whatever it holds, and is an error when it is too large. Hidden files are read, as
//! `.env` is where secrets live; links are not followed.
//!
//! On failure: a file that cannot be read is told, the rest is read, and the scan counts as incomplete.

use std::{
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cordon_inspect::document::{self, Document, Kind, Limits, Problem};
use ignore::WalkBuilder;

use super::git::Change;

/// Rules in the form of `.gitignore` for scans alone: what lies in the repository and need not be read, such as
/// made-up data of tests. They come before those of `.gitignore`, so `!name` reads what git leaves out.
const OWN_RULES: &str = ".cordonignore";

/// So many bytes at a file's start tell whether it is binary, as git does it.
const LOOKED_AT: usize = 8000;

/// Whose rules leave out files that are met in folders.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Rules {
    /// All files are read.
    Nobody,
    /// Those of `.gitignore`.
    Git,
    /// Those of `.gitignore` and `.cordonignore`.
    GitAndScan,
}

/// Something to scan.
pub(in crate::cli) enum Input {
    Stdin,
    /// A file that was named.
    Named(PathBuf),
    /// A file that was met in a folder.
    Met(PathBuf),
    /// What a commit, or the index, adds to a file.
    Change(Change),
}

impl Input {
    /// The inputs that arguments name, in order.
    pub(in crate::cli) fn all(arguments: &[PathBuf], rules: Rules) -> Result<Vec<Self>> {
        if arguments.is_empty() {
            return Ok(vec![Self::Stdin]);
        }
        let mut inputs = Vec::new();
        for path in arguments {
            if path.as_os_str() == "-" {
                inputs.push(Self::Stdin);
            } else if path.is_dir() {
                walk(path, rules, &mut inputs)?;
            } else {
                inputs.push(Self::Named(path.clone()));
            }
        }
        Ok(inputs)
    }

    /// What the output calls it.
    pub(in crate::cli) fn path(&self) -> &Path {
        match self {
            Self::Stdin => Path::new("-"),
            Self::Named(path) | Self::Met(path) => path,
            Self::Change(change) => &change.path,
        }
    }

    /// Its text, or why it is passed over.
    pub(in crate::cli) fn read(self, largest: u64) -> Result<Content> {
        let path = self.path().to_owned();
        let cannot = || format!("cannot read {}", path.display());
        let met = matches!(self, Self::Met(_));
        let bytes = match self {
            Self::Change(change) => return Ok(Content::Text(change.text)),
            Self::Stdin => limited(stdin().lock(), largest).with_context(cannot)?,
            Self::Named(ref path) | Self::Met(ref path) => {
                limited(File::open(path).with_context(cannot)?, largest).with_context(cannot)?
            }
        };
        if bytes.len() as u64 > largest {
            if met {
                return Ok(Content::TooLarge);
            }
            bail!("{} is larger than {} MiB", path.display(), largest >> 20);
        }
        content(&path, bytes, met, largest)
    }
}

/// What reading an input gave.
pub(in crate::cli) enum Content {
    Text(String),
    /// A web page: its source, and what a reader sees of it.
    Page(String, Document),
    Document(Document),
    Binary,
    TooLarge,
}

fn walk(folder: &Path, rules: Rules, inputs: &mut Vec<Input>) -> Result<()> {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(rules != Rules::Nobody)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Ord::cmp);
    if rules == Rules::GitAndScan {
        walk.add_custom_ignore_filename(OWN_RULES);
    }
    for entry in walk.build() {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            inputs.push(Input::Met(entry.into_path()));
        }
    }
    Ok(())
}

fn limited(source: impl Read, largest: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(largest.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn content(path: &Path, bytes: Vec<u8>, met: bool, largest: u64) -> Result<Content> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let limits = Limits {
        bytes_in: usize::try_from(largest).unwrap_or(usize::MAX),
        ..Limits::default()
    };
    match document::kind(&name, &bytes) {
        // Lines are those of the source, so that is what is read first.
        Ok(Kind::Html) => {
            return match (
                text(bytes.clone(), met),
                document::extract(&name, &bytes, &limits),
            ) {
                (Content::Text(source), Ok(document)) => Ok(Content::Page(source, document)),
                (other, _) => Ok(other),
            };
        }
        Ok(kind) if kind.is_plain() => return Ok(text(bytes, met)),
        _ => {}
    }
    match document::extract(&name, &bytes, &limits) {
        Ok(document) => Ok(Content::Document(document)),
        Err(error) if met && matches!(error.problem, Problem::Unsupported(_)) => Ok(Content::Binary),
        Err(error) => bail!("cannot read {}{}: {error}", path.display(), inside(&error.path)),
    }
}

/// The steps into a document, of a path that starts with the document's name.
pub(in crate::cli) fn inside(path: &str) -> &str {
    path.find("!/").map_or("", |at| &path[at..])
}

fn text(bytes: Vec<u8>, may_skip: bool) -> Content {
    let is_binary = bytes[..bytes.len().min(LOOKED_AT)].contains(&0);
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if !is_binary => return Content::Text(text),
        Ok(text) => text.into_bytes(),
        Err(broken) => broken.into_bytes(),
    };
    // UTF-16 has zeros, and so do other files that are text.
    match document::plain_text(&bytes) {
        Some(text) => Content::Text(text.into_string()),
        None if may_skip && is_binary => Content::Binary,
        None => Content::Text(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_by_their_rules() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write(".gitignore", b"out/\n");
        write(".env", b"A=1");
        write("out/made.txt", b"made");
        write("a/b.txt", b"text");
        write(".git/config", b"[a]");
        write("logs/.gitignore", b"*.log\n");
        write("logs/a.log", b"text");
        write("logs/b.log", b"text");
        write("logs/.cordonignore", b"!b.log\n");
        write(".cordonignore", b"# made up\nfixtures/**\n!fixtures/real.txt\n");
        write("fixtures/made.txt", b"made");
        write("fixtures/real.txt", b"real");
        let names = |rules| -> Vec<String> {
            Input::all(&[dir.path().to_owned()], rules)
                .unwrap()
                .iter()
                .map(|input| {
                    let path = input.path().strip_prefix(dir.path()).unwrap();
                    path.display().to_string()
                })
                .collect()
        };
        let always = |name: &str| !matches!(name, "out/made.txt" | "fixtures/made.txt" | "logs/a.log");
        let all = names(Rules::Nobody);
        assert_eq!(all.len(), 11, "{all:?}");
        let kept: Vec<String> = all.into_iter().filter(|name| always(name)).collect();
        assert_eq!(names(Rules::GitAndScan), kept);
        let git = names(Rules::Git);
        assert!(git.contains(&"fixtures/made.txt".to_owned()), "{git:?}");
        assert!(!git.contains(&"logs/b.log".to_owned()), "{git:?}");
        // A file that is named is read whatever the rules say.
        let named = dir.path().join("fixtures/made.txt");
        assert!(matches!(
            &Input::all(&[named], Rules::GitAndScan).unwrap()[..],
            [Input::Named(_)]
        ));
    }

    #[test]
    fn binary_files_are_passed_over_unless_named() {
        assert!(matches!(text(b"a\0b".to_vec(), true), Content::Binary));
        assert!(matches!(text(b"a\0b".to_vec(), false), Content::Text(_)));
        let wide: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain("né".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert!(matches!(text(wide, true), Content::Text(text) if text == "né"));
    }

    #[test]
    fn documents_are_read_and_locked_ones_told() {
        let rtf = b"{\\rtf1 Card}".to_vec();
        let read = |name: &str, bytes: &[u8], met| content(Path::new(name), bytes.to_vec(), met, 1 << 20);
        // The ending says nothing.
        let Ok(Content::Document(document)) = read("a/b.txt", &rtf, true) else {
            panic!("rich text is a document");
        };
        assert_eq!(document.parts[0].text.as_str(), "Card");
        let Ok(Content::Page(source, page)) = read("a.html", b"<p><b>x</b>y", true) else {
            panic!("a page is one");
        };
        assert_eq!(
            (source.as_str(), page.parts[0].text.as_str()),
            ("<p><b>x</b>y", "xy")
        );
        let packed = b"7z\xBC\xAF\x27\x1C\0";
        assert!(matches!(read("a.7z", packed, true), Ok(Content::Binary)));
        let told = read("a.7z", packed, false).err().unwrap().to_string();
        assert_eq!(told, "cannot read a.7z: a 7z archive cannot be read");
        assert!(read("a.zip", b"PK\x03\x04 and no more", true).is_err());
        assert_eq!(inside("b.zip!/a.docx!/document"), "!/a.docx!/document");
        assert_eq!(inside("b.txt"), "");
    }

    #[test]
    fn sizes_are_limited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert!(matches!(Input::Met(path.clone()).read(4), Ok(Content::TooLarge)));
        assert!(matches!(Input::Met(path.clone()).read(5), Ok(Content::Text(_))));
        assert!(Input::Named(path).read(4).is_err());
    }
}
