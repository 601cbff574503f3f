//! What a scan reads: files, folders walked by the rules of `.gitignore`, standard input.
//!
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
use ignore::WalkBuilder;

use super::git::Change;

/// So many bytes at a file's start tell whether it is binary, as git does it.
const LOOKED_AT: usize = 8000;

/// Something to scan.
pub(super) enum Input {
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
    pub(super) fn all(arguments: &[PathBuf], all_files: bool) -> Result<Vec<Self>> {
        if arguments.is_empty() {
            return Ok(vec![Self::Stdin]);
        }
        let mut inputs = Vec::new();
        for path in arguments {
            if path.as_os_str() == "-" {
                inputs.push(Self::Stdin);
            } else if path.is_dir() {
                walk(path, all_files, &mut inputs)?;
            } else {
                inputs.push(Self::Named(path.clone()));
            }
        }
        Ok(inputs)
    }

    /// What the output calls it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Stdin => Path::new("-"),
            Self::Named(path) | Self::Met(path) => path,
            Self::Change(change) => &change.path,
        }
    }

    /// Its text, or why it is passed over.
    pub(super) fn read(self, largest: u64) -> Result<Content> {
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
        Ok(text(bytes, met))
    }
}

/// What reading an input gave.
pub(super) enum Content {
    Text(String),
    Binary,
    TooLarge,
}

fn walk(folder: &Path, all_files: bool, inputs: &mut Vec<Input>) -> Result<()> {
    let walk = WalkBuilder::new(folder)
        .standard_filters(!all_files)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Ord::cmp)
        .build();
    for entry in walk {
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

fn text(bytes: Vec<u8>, may_skip: bool) -> Content {
    let units = |of: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes[2..]
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| of(*pair))
            .collect()
    };
    match bytes.get(..2) {
        Some([0xFF, 0xFE]) => return Content::Text(String::from_utf16_lossy(&units(u16::from_le_bytes))),
        Some([0xFE, 0xFF]) => return Content::Text(String::from_utf16_lossy(&units(u16::from_be_bytes))),
        _ => {}
    }
    if may_skip && bytes[..bytes.len().min(LOOKED_AT)].contains(&0) {
        return Content::Binary;
    }
    Content::Text(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(broken) => String::from_utf8_lossy(broken.as_bytes()).into_owned(),
    })
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
        let names = |all_files| -> Vec<String> {
            Input::all(&[dir.path().to_owned()], all_files)
                .unwrap()
                .iter()
                .map(|input| {
                    let path = input.path().strip_prefix(dir.path()).unwrap();
                    path.display().to_string()
                })
                .collect()
        };
        assert_eq!(names(false), [".env", ".gitignore", "a/b.txt"]);
        assert_eq!(names(true), [".env", ".gitignore", "a/b.txt", "out/made.txt"]);
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
    fn sizes_are_limited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert!(matches!(Input::Met(path.clone()).read(4), Ok(Content::TooLarge)));
        assert!(matches!(Input::Met(path.clone()).read(5), Ok(Content::Text(_))));
        assert!(Input::Named(path).read(4).is_err());
    }
}
