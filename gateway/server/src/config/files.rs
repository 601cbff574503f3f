//! How files in requests are read: the `files` of the configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// How files in requests are read: what that may cost, and whether text in pictures is recognised.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Bytes of one file.
    pub bytes: usize,
    /// Bytes that one file may unpack to, everything inside it counted.
    pub unpacked_bytes: usize,
    /// Bytes of text that the files of one request may hold.
    pub text_bytes: usize,
    /// Files within files.
    pub depth: usize,
    /// Files, mails, attachments and pages in one file.
    pub entries: usize,
    /// Seconds that reading one file may take.
    pub seconds: u64,
    /// Seconds that reading all files of a request may take.
    pub request_seconds: u64,
    /// Files that are read at the same time.
    pub at_once: usize,
    /// Whether all files but plain texts are read by a child process with bounds of its own.
    pub isolate: bool,
    /// Bytes of address space of such a child.
    pub memory_bytes: u64,
    /// Bytes of text of files that are remembered, so that a conversation's files are not read with every turn.
    pub remembered_bytes: usize,
    /// Whether text in pictures is recognised: `auto`, if Tesseract is there, or `off`.
    pub ocr: Ocr,
    /// Tesseract's program; `tesseract` on `PATH` when absent.
    pub tesseract: Option<PathBuf>,
    /// Languages of text in pictures, by the names of Tesseract's data.
    pub languages: Vec<String>,
    /// Seconds that recognising the text of one picture may take.
    pub ocr_seconds: u64,
    /// Pictures that are looked at at the same time.
    pub ocr_at_once: usize,
    /// Pixels of one picture; one with more is refused.
    pub pixels: u64,
    /// Pictures in one file that are looked at.
    pub pictures: usize,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            unpacked_bytes: 256 << 20,
            text_bytes: 16 << 20,
            depth: 4,
            entries: 5000,
            seconds: 20,
            request_seconds: 60,
            at_once: 2,
            isolate: true,
            memory_bytes: 2 << 30,
            remembered_bytes: 32 << 20,
            ocr: Ocr::Auto,
            tesseract: None,
            languages: vec!["eng".to_owned()],
            ocr_seconds: 20,
            ocr_at_once: 1,
            pixels: 40_000_000,
            pictures: 20,
        }
    }
}

impl Files {
    /// What must be at least one, each by its key and whether it is.
    pub(super) fn at_least_one(&self) -> [(&'static str, bool); 5] {
        [
            ("at_once", self.at_once > 0),
            ("ocr_at_once", self.ocr_at_once > 0),
            ("seconds", self.seconds > 0),
            ("request_seconds", self.request_seconds > 0),
            ("ocr_seconds", self.ocr_seconds > 0),
        ]
    }

    /// Whether the languages can be part of a command line.
    pub(super) fn languages_are_names(&self) -> bool {
        let is_name = |name: &String| {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/');
            !name.is_empty() && name.bytes().all(letter)
        };
        !self.languages.is_empty() && self.languages.iter().all(is_name)
    }
}

/// Whether text in pictures is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ocr {
    /// If Tesseract is there.
    Auto,
    /// Never; pictures are unread.
    Off,
}
