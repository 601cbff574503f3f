//! One run of [`extract`](super::extract): the limits that are left, and what was read so far.
//!
//! Every reader of a format takes text and files to this place, so that limits are counted once, over all
//! levels. It leaves formats to their own modules.
//!
//! On failure: the first limit that is passed ends the run.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use cordon_domain::Text;

use super::{
    Document, DocumentError, Kind, Limits, Part, Picture, Problem, archive, html, kind, mail, outlook, pdf,
    picture, plain, rtf,
};

/// So many bytes may be unpacked before the ratio counts.
const RATIO_FREE: usize = 16 << 20;
/// A step of a path is cut after so many characters.
const LONGEST_STEP: usize = 200;
/// Bytes that are unpacked between two looks at the clock.
const STRIDE: u64 = 1 << 20;

pub(super) type Outcome<T = ()> = Result<T, DocumentError>;

pub(super) struct Extraction<'l> {
    pub(super) limits: &'l Limits,
    pub(super) deadline: Option<Instant>,
    unpacked_left: usize,
    text_left: usize,
    entries_left: usize,
    depth: usize,
    pictures_left: usize,
    parts: Vec<Part>,
    pictures: Vec<Picture>,
    unread: Vec<DocumentError>,
}

impl<'l> Extraction<'l> {
    pub(super) fn new(limits: &'l Limits, size: usize) -> Self {
        Self {
            limits,
            deadline: Instant::now().checked_add(limits.time),
            unpacked_left: limits
                .bytes_unpacked
                .min(size.saturating_mul(limits.ratio).max(RATIO_FREE)),
            text_left: limits.bytes_of_text,
            entries_left: limits.entries,
            depth: 0,
            pictures_left: limits.pictures,
            parts: Vec::new(),
            pictures: Vec::new(),
            unread: Vec::new(),
        }
    }

    pub(super) fn run(mut self, name: &str, bytes: &[u8]) -> Outcome<Document> {
        let path = step(name);
        let kind = if bytes.len() > self.limits.bytes_in {
            Err(Problem::Limit("bytes in a file").into())
        } else {
            self.read(&path, name, bytes)
        }
        .map_err(|error| placed(error, &path))?;
        Ok(Document {
            kind,
            parts: self.parts,
            pictures: self.pictures,
            unread: self.unread,
        })
    }

    /// Reads a file that lies inside another one. What is wrong with it alone is noted, not raised.
    pub(super) fn nested(&mut self, around: &str, name: &str, bytes: &[u8]) -> Outcome {
        let path = inside(around, name);
        if self.depth == self.limits.depth {
            return Err(placed(Problem::Limit("files within files").into(), &path));
        }
        self.depth += 1;
        let outcome = self
            .read(&path, name, bytes)
            .map_err(|error| placed(error, &path));
        self.depth -= 1;
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => {
                let DocumentError { path, problem } = error;
                self.skip_or(problem, path)
            }
        }
    }

    /// Goes one level down.
    pub(super) fn deeper<T>(&mut self, path: &str, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth == self.limits.depth {
            return Err(placed(Problem::Limit("files within files").into(), path));
        }
        self.depth += 1;
        let outcome = work(self).map_err(|error| placed(error, path));
        self.depth -= 1;
        outcome
    }

    /// Notes what could not be read, or raises it where it must not be stepped over.
    pub(super) fn skip_or(&mut self, problem: Problem, path: String) -> Outcome {
        let error = DocumentError { path, problem };
        if error.problem.is_fatal() {
            return Err(error);
        }
        self.unread.push(error);
        Ok(())
    }

    fn read(&mut self, path: &str, name: &str, bytes: &[u8]) -> Outcome<Kind> {
        self.in_time()?;
        if self.limits.pictures > 0 && picture::format(bytes).is_some() {
            self.picture(path, bytes)?;
            return Ok(Kind::Picture);
        }
        let kind = kind::of(name, bytes)?;
        match kind {
            Kind::Zip => return archive::zip(self, path, bytes),
            Kind::Tar => archive::tar(self, path, bytes)?,
            Kind::Gzip => archive::gzip(self, path, name, bytes)?,
            Kind::Pdf => pdf::read(self, path, bytes)?,
            Kind::Rtf => rtf::read(self, path, bytes)?,
            Kind::Mail => mail::read(self, path, bytes)?,
            Kind::Mbox => mail::mailbox(self, path, bytes)?,
            Kind::Msg => outlook::read(self, path, bytes)?,
            Kind::Html => html::read(self, path, &plain::decode(bytes).ok_or(Problem::NotText)?)?,
            _ => self.say(path.to_owned(), plain::decode(bytes).ok_or(Problem::NotText)?)?,
        }
        Ok(kind)
    }

    /// Takes a picture, to be handed out.
    fn picture(&mut self, path: &str, bytes: &[u8]) -> Outcome {
        let said = picture::letters(bytes)?;
        self.say(inside(path, "properties"), said)?;
        let left = self.pictures_left.checked_sub(bytes.len());
        self.pictures_left = left.ok_or(Problem::Unsupported("more pictures than the limit"))?;
        self.pictures.push(Picture {
            path: path.to_owned(),
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    /// Takes a text. One without anything to read is dropped.
    pub(super) fn say(&mut self, path: String, text: String) -> Outcome {
        if text.trim().is_empty() {
            return Ok(());
        }
        let left = self.text_left.checked_sub(text.len());
        self.text_left = left.ok_or(Problem::Limit("bytes of text"))?;
        self.parts.push(Part {
            path,
            text: Text::from(text),
        });
        Ok(())
    }

    /// How much text may still come; for readers of formats that can say the same text many times.
    pub(super) fn text_left(&self) -> usize {
        self.text_left
    }

    /// Counts one more file, mail or page.
    pub(super) fn entry(&mut self) -> Result<(), Problem> {
        let left = self.entries_left.checked_sub(1);
        self.entries_left = left.ok_or(Problem::Limit("files in a file"))?;
        self.in_time()
    }

    /// How many more entries may come.
    pub(super) fn entries_left(&self) -> usize {
        self.entries_left
    }

    pub(super) fn in_time(&self) -> Result<(), Problem> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Problem::Limit("time for a document")),
            _ => Ok(()),
        }
    }

    /// Reads a stream to its end.
    pub(super) fn unpack(&mut self, source: impl Read, damaged: &'static str) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        let mut source = source.take(self.unpacked_left as u64 + 1);
        loop {
            let read =
                source.by_ref().take(STRIDE).read_to_end(&mut bytes).map_err(
                    |error: io::Error| match error.kind() {
                        io::ErrorKind::OutOfMemory => Problem::Limit("memory"),
                        _ => Problem::Damaged(damaged),
                    },
                )?;
            self.in_time()?;
            if read == 0 {
                break;
            }
        }
        self.unpacked(bytes.len())?;
        Ok(bytes)
    }

    /// How many bytes may still be unpacked.
    pub(super) fn unpacked_left(&self) -> usize {
        self.unpacked_left
    }

    /// Counts bytes that were unpacked elsewhere.
    pub(super) fn unpacked(&mut self, many: usize) -> Result<(), Problem> {
        let left = self.unpacked_left.checked_sub(many);
        self.unpacked_left = left.ok_or(Problem::Limit("bytes unpacked"))?;
        Ok(())
    }
}

/// Runs foreign code over hostile input. A panic there is the input's fault as far as callers can tell.
pub(super) fn isolated<T, E: From<Problem>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Problem::Damaged("its reader gave up").into()))
}

/// The path of a step into what lies at another path.
pub(super) fn inside(around: &str, name: &str) -> String {
    format!("{around}!/{}", step(name))
}

/// A file's name as a part of a path: bounded, and safe to print.
fn step(name: &str) -> String {
    name.chars()
        .take(LONGEST_STEP)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn placed(mut error: DocumentError, path: &str) -> DocumentError {
    if error.path.is_empty() {
        error.path = path.to_owned();
    }
    error
}
