//! Text out of PDF files: each page a part, with form fields, comments, links, bookmarks, properties and
//! attached files.
//!
//! The structure of the file (objects, cross-references, decryption with the empty password, filters) is
//! read by `lopdf`; text is put together from the pages' own operators in [`page`], and characters by
//! [`font`]. Pictures and text in fonts that do not say which characters they show are noted as unread.
//! Layers that are switched off are read like any other; earlier revisions of a file are not, nor are
//! objects that no page leads to, except for the texts that [`SPEAKING`] names.
//!
//! Limits: objects take many times their size in memory, so the file outside of streams may hold
//! [`MOST_STRUCTURE`] bytes, and all streams of objects together [`MOST_OBJECTS`].
//!
//! On failure: a password is an error, and so is a file that cannot be opened; a broken page is noted.

mod font;
mod lexer;
mod page;

use std::fmt::Write;

use lopdf::{Dictionary, LoadOptions, Object, Stream, decode_text_string, xref::XrefEntry};
use memchr::memmem;

use self::page::{Drawing, Seen};
use super::{
    Problem,
    extraction::{Extraction, Outcome, inside, isolated},
    office, plain,
};

/// Bytes of the file outside of streams.
const MOST_STRUCTURE: usize = 16 << 20;
/// Bytes of all streams of objects together.
const MOST_OBJECTS: usize = 128 << 20;
/// Steps up from a page to what it inherits, and into objects within objects.
const MOST_STEPS: usize = 64;

/// Keys of dictionaries whose strings people wrote.
const SPEAKING: [&[u8]; 22] = [
    b"AC",
    b"ActualText",
    b"Alt",
    b"CA",
    b"Contact",
    b"ContactInfo",
    b"Contents",
    b"DV",
    b"Desc",
    b"E",
    b"JS",
    b"Location",
    b"Opt",
    b"RC",
    b"Reason",
    b"Subj",
    b"T",
    b"TU",
    b"Title",
    b"URI",
    b"V",
    b"XFA",
];

/// Those of them whose value may be a stream: rich text, scripts, forms in XML. The contents of a page are
/// one, too, and no text.
const LONG: [&[u8]; 4] = [b"JS", b"RC", b"V", b"XFA"];

pub(super) fn read(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    isolated(|| whole(run, path, bytes))
}

fn whole(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    if structure(bytes) > MOST_STRUCTURE {
        return Err(Problem::Limit("structure of a PDF file").into());
    }
    let options = LoadOptions {
        max_decompressed_size: Some(MOST_OBJECTS / object_streams(bytes).max(1)),
        ..LoadOptions::default()
    };
    let pdf = lopdf::Document::load_mem_with_options(bytes, options).map_err(|error| problem(&error))?;
    if pdf.is_encrypted() {
        return Err(Problem::Encrypted.into());
    }
    run.in_time()?;
    // Streams of objects that are broken or too large are passed over without a word by the reader.
    let is_missing = pdf.reference_table.entries.iter().any(|(number, entry)| {
        matches!(entry, XrefEntry::Compressed { .. }) && !pdf.objects.contains_key(&(*number, 0))
    });
    if is_missing {
        run.skip_or(Problem::Damaged("objects are missing"), inside(path, "objects"))?;
    }
    let mut pages = 0;
    for id in pdf.page_iter() {
        run.entry()?;
        pages += 1;
        let path = inside(path, &format!("page {pages}"));
        let mut drawing = Drawing::new(&pdf, run.text_left());
        drawing.page(run, pdf.get_dictionary(id).map_err(|error| problem(&error))?)?;
        let Seen {
            text,
            pictures,
            unreadable,
            broken,
        } = drawing.done();
        run.say(path.clone(), text)?;
        if broken {
            run.skip_or(
                Problem::Damaged("a part of the page cannot be read"),
                path.clone(),
            )?;
        }
        if unreadable {
            let what = Problem::Unsupported("text in a font that does not say its characters");
            run.skip_or(what, path.clone())?;
        }
        if pictures {
            run.skip_or(Problem::NotText, inside(&path, "picture"))?;
        }
    }
    if pages == 0 {
        return Err(Problem::Damaged("it has no pages").into());
    }
    properties(run, path, &pdf)?;
    sweep(run, path, &pdf)
}

fn problem(error: &lopdf::Error) -> Problem {
    match error {
        lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => {
            Problem::Limit("bytes unpacked")
        }
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => Problem::Encrypted,
        _ => Problem::Damaged("the PDF file's structure cannot be read"),
    }
}

/// Unpacks a stream within what may still be unpacked.
fn unpacked(run: &mut Extraction<'_>, stream: &Stream) -> Result<Vec<u8>, Problem> {
    let bytes = match stream.get_plain_content_with_limit(run.unpacked_left()) {
        Ok(bytes) => bytes,
        Err(error) => return Err(problem(&error)),
    };
    // Empty streams cost time, too.
    run.unpacked(bytes.len().max(64))?;
    run.in_time()?;
    Ok(bytes)
}

/// How many bytes lie outside of streams.
fn structure(bytes: &[u8]) -> usize {
    let (mut outside, mut rest) = (0, bytes);
    while let Some(start) = memmem::find(rest, b"stream") {
        outside += start;
        rest = &rest[start..];
        let end = memmem::find(rest, b"endstream").map_or(rest.len(), |end| end + b"endstream".len());
        rest = &rest[end..];
    }
    outside + rest.len()
}

/// How many streams of objects there may be. Names may be written with escapes.
fn object_streams(bytes: &[u8]) -> usize {
    const NAME: &[u8] = b"ObjStm";
    memchr::memchr_iter(b'/', bytes)
        .filter(|at| {
            let mut rest = &bytes[at + 1..];
            NAME.iter().all(|wanted| {
                let (byte, length) = match rest {
                    [b'#', high, low, ..] => {
                        let digit = |byte: &u8| char::from(*byte).to_digit(16);
                        let byte = digit(high)
                            .zip(digit(low))
                            .map(|(high, low)| (high << 4 | low) as u8);
                        (byte, 3)
                    }
                    [byte, ..] => (Some(*byte), 1),
                    [] => (None, 0),
                };
                rest = &rest[length..];
                byte == Some(*wanted)
            })
        })
        .count()
}

/// Properties: the information dictionary, and metadata in XML, which sensitivity labels are kept in.
fn properties(run: &mut Extraction<'_>, path: &str, pdf: &lopdf::Document) -> Outcome {
    let mut text = String::new();
    let info = pdf.trailer.get_deref(b"Info", pdf).and_then(Object::as_dict);
    for (name, value) in info.into_iter().flatten() {
        if let Ok((_, value)) = pdf.dereference(value)
            && let Ok(value) = decode_text_string(value)
        {
            let _ = writeln!(text, "{}: {value}", String::from_utf8_lossy(name));
        }
        if text.len() > run.text_left() {
            return Err(Problem::Limit("bytes of text").into());
        }
    }
    for object in pdf.objects.values() {
        if let Ok(stream) = object.as_stream()
            && stream.dict.has_type(b"Metadata")
        {
            let bytes = unpacked(run, stream)?;
            let mut lines = String::new();
            if office::properties(&bytes, run.limits, &mut lines).is_ok() {
                text.push_str(&lines);
            } else {
                // Broken XML is text still.
                text.push_str(&plain::decode(&bytes).unwrap_or_default());
            }
        }
    }
    run.say(inside(path, "properties"), text)
}

/// Texts anywhere in the file beside its pages, and files that are attached.
fn sweep(run: &mut Extraction<'_>, path: &str, pdf: &lopdf::Document) -> Outcome {
    let mut found = Found {
        most: run.text_left(),
        ..Found::default()
    };
    for object in pdf.objects.values() {
        run.in_time()?;
        found.object(object, pdf, MOST_STEPS);
        if found.text.len() > found.most {
            return Err(Problem::Limit("bytes of text").into());
        }
    }
    let Found {
        mut text,
        scripts,
        files,
        ..
    } = found;
    for stream in scripts {
        let bytes = unpacked(run, stream)?;
        text.push_str(&plain::decode(&bytes).unwrap_or_default());
        text.push('\n');
    }
    run.say(inside(path, "annotations"), text)?;
    for (index, (name, stream)) in files.into_iter().enumerate() {
        run.entry()?;
        let name = name.unwrap_or_else(|| format!("attachment {}", index + 1));
        match unpacked(run, stream) {
            Ok(bytes) => run.nested(path, &name, &bytes)?,
            Err(problem) => run.skip_or(problem, inside(path, &name))?,
        }
    }
    Ok(())
}

#[derive(Default)]
struct Found<'p> {
    text: String,
    /// Bytes of text after which nothing is added, as many places may lead to one long string.
    most: usize,
    /// Streams that hold text: scripts, and forms in XML.
    scripts: Vec<&'p Stream>,
    files: Vec<(Option<String>, &'p Stream)>,
}

impl<'p> Found<'p> {
    fn object(&mut self, object: &'p Object, pdf: &'p lopdf::Document, steps: usize) {
        let Some(steps) = steps.checked_sub(1) else {
            return;
        };
        match object {
            Object::Dictionary(dictionary) => self.dictionary(dictionary, pdf, steps),
            Object::Stream(stream) => self.dictionary(&stream.dict, pdf, steps),
            Object::Array(objects) => objects.iter().for_each(|object| self.object(object, pdf, steps)),
            _ => {}
        }
    }

    fn dictionary(&mut self, dictionary: &'p Dictionary, pdf: &'p lopdf::Document, steps: usize) {
        // A signature's contents are bytes.
        let is_signature = dictionary.has(b"ByteRange");
        for (name, value) in dictionary {
            self.object(value, pdf, steps);
            if SPEAKING.contains(&name.as_slice()) && !is_signature {
                self.value(name, value, pdf);
            }
        }
        if let Ok(files) = dictionary.get_deref(b"EF", pdf).and_then(Object::as_dict) {
            let name = [&b"UF"[..], b"F"].iter().find_map(|key| {
                let name = dictionary.get_deref(key, pdf).ok()?;
                decode_text_string(name).ok()
            });
            // The same file under several names for several systems.
            let mut streams: Vec<_> = files
                .iter()
                .filter_map(|(_, file)| {
                    Some((
                        file.as_reference().ok()?,
                        pdf.dereference(file).ok()?.1.as_stream().ok()?,
                    ))
                })
                .collect();
            streams.sort_by_key(|(id, _)| *id);
            streams.dedup_by_key(|(id, _)| *id);
            self.files
                .extend(streams.into_iter().map(|(_, stream)| (name.clone(), stream)));
        }
    }

    /// Takes what a key says. Arrays hold texts, and none of them another array: following those could take
    /// exponential time.
    fn value(&mut self, name: &[u8], value: &'p Object, pdf: &'p lopdf::Document) {
        match pdf.dereference(value) {
            Ok((_, Object::Array(values))) => {
                for value in values {
                    if let Ok((_, value)) = pdf.dereference(value) {
                        self.one(name, value);
                    }
                }
            }
            Ok((_, value)) => self.one(name, value),
            Err(_) => {}
        }
    }

    fn one(&mut self, name: &[u8], value: &'p Object) {
        match value {
            Object::String(..) if self.text.len() <= self.most => {
                if let Ok(text) = decode_text_string(value) {
                    let _ = writeln!(self.text, "{text}");
                }
            }
            Object::Stream(stream) if LONG.contains(&name) => self.scripts.push(stream),
            _ => {}
        }
    }
}
