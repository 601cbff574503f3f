//! Reading files: what a file in a request says, whatever it costs at most.
//!
//! Plain text is read where it is. Everything else is read by a child process of our own
//! ([`child`], `cordon read-file`), so that a defect in a parser of somebody's format, or a file made to find
//! one, ends that child and no connection. Text in pictures is recognised by Tesseract, if it is installed,
//! in a child as well ([`sight`]).
//!
//! A conversation sends its files again with every turn, so what was read is remembered for a while, by a
//! hash of the file.
//!
//! It leaves what an unread file means to the policy. Limits: the configuration's `files`; so many children
//! at once, each with bounds on memory, processor time and output, and a deadline.
//!
//! On failure: a [`Fault`]. A locked file, or one past a limit, is refused whatever the policy says.

mod child;
mod memory;
mod sight;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use bytes::Bytes;
use cordon_domain::Text;
use cordon_inspect::document::{self, DocumentError, Kind, Picture, Problem};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::child::{Report, Request};
use self::memory::Memory;
use crate::{
    config,
    offload::{Work, offload},
};

/// What a file says.
#[derive(Clone, Debug)]
pub struct Said {
    /// What it is.
    pub kind: Kind,
    /// Its texts, each with its way into the file.
    pub texts: Vec<(String, Text)>,
    /// Why parts of it were not read, in words of ours.
    pub unread: Vec<String>,
}

/// A file that was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It wants a password or a key.
    #[error("is encrypted; take its protection off and send it again")]
    Locked,
    /// It is larger, deeper or slower than files may be.
    #[error("passes the limit of {0}")]
    Limit(String),
    /// It is nothing that can be read.
    #[error("cannot be read: {0}")]
    Unread(String),
    /// Too many files are being read.
    #[error("waited too long for others to be read")]
    Busy,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Encrypted => Self::Locked,
            Problem::Limit(limit) => Self::Limit(limit.to_owned()),
            Problem::NotText | Problem::Damaged(_) | Problem::Unsupported(_) => {
                Self::Unread(problem.to_string())
            }
        }
    }
}

/// Reads files.
pub struct Files {
    config: config::Files,
    /// Places for files that are being read.
    readers: Semaphore,
    /// Places for pictures that are being looked at.
    eyes: Semaphore,
    tesseract: Option<PathBuf>,
    memory: Mutex<Memory>,
}

impl Files {
    /// Looks for Tesseract where the configuration does not turn it off.
    pub fn new(config: config::Files) -> Result<Self> {
        let tesseract = match (config.ocr, &config.tesseract) {
            (config::Ocr::Off, _) => None,
            (config::Ocr::Auto, Some(path)) if path.is_file() => Some(path.clone()),
            (config::Ocr::Auto, Some(path)) => {
                bail!("`files.tesseract`: there is no file {}", path.display())
            }
            (config::Ocr::Auto, None) => config::search_path()
                .into_iter()
                .map(|dir| dir.join("tesseract"))
                .find(|path| path.is_file()),
        };
        Ok(Self {
            readers: Semaphore::new(config.at_once),
            eyes: Semaphore::new(config.ocr_at_once),
            memory: Mutex::new(Memory::new(config.remembered_bytes)),
            tesseract,
            config,
        })
    }

    /// Whether text in pictures is recognised.
    pub fn sees(&self) -> bool {
        self.tesseract.is_some()
    }

    /// Bytes of text that the files of one request may hold.
    pub fn text_bytes(&self) -> usize {
        self.config.text_bytes
    }

    /// How long reading the files of one request may take.
    pub fn longest(&self) -> Duration {
        Duration::from_secs(self.config.request_seconds)
    }

    /// How many files of one request are read at the same time.
    pub fn at_once(&self) -> usize {
        self.config.at_once
    }

    /// Reads a file.
    pub async fn read(&self, whose: &str, name: &str, bytes: Bytes) -> Result<Arc<Said>, Fault> {
        if bytes.len() > self.config.bytes {
            return Err(Fault::Limit("bytes in a file".to_owned()));
        }
        let mark = match first(whose, name, &bytes).await? {
            First::Plain(said) => return Ok(Arc::new(said)),
            First::Other(mark) => mark,
        };
        if let Some(known) = self.remembered(&mark) {
            return Ok(known);
        }
        let mut report = {
            let _place = self.place(&self.readers).await?;
            if self.config.isolate {
                child::read(&self.config, self.limits(), name, &bytes).await?
            } else {
                let (name, limits) = (name.to_owned(), self.limits().into());
                tokio::task::spawn_blocking(move || Report::of(document::extract(&name, &bytes, &limits)))
                    .await
                    .map_err(|_| Fault::Unread("its reader gave up".to_owned()))?
            }
        };
        let pictures = std::mem::take(&mut report.pictures);
        let mut said = report.said()?;
        self.look(pictures, &mut said).await?;
        let said = Arc::new(said);
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remember(mark, said.clone());
        Ok(said)
    }

    fn remembered(&self, mark: &memory::Mark) -> Option<Arc<Said>> {
        // A panic between two steps of the memory leaves at worst a file that is read again.
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .known(mark)
    }

    /// Recognises the text in pictures.
    async fn look(&self, pictures: Vec<Picture>, said: &mut Said) -> Result<(), Fault> {
        for (index, picture) in pictures.into_iter().enumerate() {
            let Some(tesseract) = &self.tesseract else {
                said.unread.push("text in pictures is not recognised".to_owned());
                continue;
            };
            if index >= self.config.pictures {
                said.unread
                    .push("it holds more pictures than are looked at".to_owned());
                break;
            }
            if !sight::is_worth_it(&picture.bytes, self.config.pixels)? {
                continue;
            }
            let _place = self.place(&self.eyes).await?;
            match sight::look(&self.config, tesseract, &picture.bytes).await {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => said
                    .texts
                    .push((format!("{}!/text in the picture", picture.path), Text::from(text))),
                Err(Fault::Unread(why)) => said.unread.push(why),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn place<'s>(&self, places: &'s Semaphore) -> Result<SemaphorePermit<'s>, Fault> {
        // Whoever is before us has a deadline, too.
        let longest = Duration::from_secs(self.config.seconds.saturating_mul(2));
        match tokio::time::timeout(longest, places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Fault::Busy),
        }
    }

    fn limits(&self) -> child::Limits {
        child::Limits {
            bytes_in: self.config.bytes,
            bytes_unpacked: self.config.unpacked_bytes,
            bytes_of_text: self.config.text_bytes,
            depth: self.config.depth,
            entries: self.config.entries,
            pictures: self.config.bytes,
            seconds: self.config.seconds,
        }
    }
}

/// What a first look at a file tells.
enum First {
    /// It is a plain text, and reading that costs next to nothing.
    Plain(Said),
    /// It is something else.
    Other(memory::Mark),
}

/// Looks at a file, a large one off the asynchronous threads.
async fn first(whose: &str, name: &str, bytes: &Bytes) -> Result<First, Fault> {
    let (whose, name, bytes) = (whose.to_owned(), name.to_owned(), bytes.clone());
    // A plain text is read at once, whatever else it is is only recognised.
    offload(Work::Read(bytes.len()), move || look_at(&whose, &name, &bytes))
        .await
        .unwrap_or_else(|_| Err(Fault::Unread("its reader gave up".to_owned())))
}

fn look_at(whose: &str, name: &str, bytes: &[u8]) -> Result<First, Fault> {
    if document::kind(name, bytes).is_ok_and(Kind::is_plain) {
        match document::extract(name, bytes, &document::Limits::default()) {
            // A picture, say, which is for the child.
            Err(error) if error.problem == Problem::NotText => {}
            read => return Report::of(read).said().map(First::Plain),
        }
    }
    Ok(First::Other(memory::mark(whose, name, bytes)))
}

impl Report {
    /// What came of reading a document.
    pub fn of(document: Result<document::Document, DocumentError>) -> Self {
        match document {
            Ok(document) => Self {
                kind: Some(document.kind.name().to_owned()),
                texts: document
                    .parts
                    .into_iter()
                    .map(|part| (part.path, part.text.into_string()))
                    .collect(),
                pictures: document.pictures,
                unread: document
                    .unread
                    .iter()
                    .map(|error| error.problem.to_string())
                    .collect(),
                locked: false,
                limit: None,
            },
            Err(DocumentError { problem, .. }) => {
                let mut report = Self::default();
                match problem.into() {
                    Fault::Locked => report.locked = true,
                    Fault::Limit(limit) => report.limit = Some(limit),
                    Fault::Unread(why) => report.unread.push(why),
                    Fault::Busy => {}
                }
                report
            }
        }
    }

    /// The texts, or why there are none.
    fn said(self) -> Result<Said, Fault> {
        if self.locked {
            return Err(Fault::Locked);
        }
        if let Some(limit) = self.limit {
            return Err(Fault::Limit(limit));
        }
        match self.kind.as_deref().and_then(Kind::named) {
            Some(kind) => Ok(Said {
                kind,
                texts: self
                    .texts
                    .into_iter()
                    .map(|(path, text)| (path, Text::from(text)))
                    .collect(),
                unread: self.unread,
            }),
            None => Err(Fault::Unread(
                self.unread
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| "its reader gave up".to_owned()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(change: impl FnOnce(&mut config::Files)) -> Files {
        let mut config = config::Files {
            // A test's own program has no such command.
            isolate: false,
            ocr: config::Ocr::Off,
            ..config::Files::default()
        };
        change(&mut config);
        Files::new(config).unwrap()
    }

    #[tokio::test]
    async fn plain_text_and_what_is_none() {
        let files = files(|_| {});
        let said = files.read("ann", "a.csv", "name,mail\n".into()).await.unwrap();
        assert_eq!(said.kind, Kind::Csv);
        assert_eq!(said.texts[0].0, "a.csv");
        let noise: Vec<u8> = (0..4096_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert!(matches!(
            files.read("ann", "a.bin", noise.into()).await,
            Err(Fault::Unread(_))
        ));
        let said = files
            .read("ann", "a.txt", b"\x89PNG\r\n\x1A\n".as_slice().into())
            .await
            .unwrap();
        assert_eq!((said.kind, said.unread.len()), (Kind::Picture, 1));
    }

    #[tokio::test]
    async fn a_larger_file_than_the_limit_is_refused() {
        let files = files(|config| config.bytes = 4);
        let refused = files.read("ann", "a.txt", "12345".into()).await.unwrap_err();
        assert_eq!(refused.to_string(), "passes the limit of bytes in a file");
    }

    #[test]
    fn a_tesseract_that_is_configured_must_be_there() {
        let config = config::Files {
            tesseract: Some("/nowhere/tesseract".into()),
            ..config::Files::default()
        };
        assert!(Files::new(config).is_err());
    }
}
