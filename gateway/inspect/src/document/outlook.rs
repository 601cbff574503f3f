//! Outlook's mails (MSG), and other compound files.
//!
//! A mail's properties with text are read whatever they are called, so that subject, sender, recipients,
//! headers and body are found as well as what Outlook keeps beside them. The body in RTF and in HTML is read
//! as such a file, attachments are read as files of their own, mails within mails with the rest.
//!
//! Old Word, Excel and PowerPoint files are compound files, too, and are not read; nor are other kinds.
//! An Office file with a password is one that holds an encrypted package.
//!
//! On failure: a compound file that cannot be opened is damaged.

use std::{collections::BTreeMap, fmt::Write, io::Cursor, path::Path};

use cfb::CompoundFile;

use super::{
    Problem,
    extraction::{Extraction, Outcome, inside, isolated},
    plain,
};

/// Names that tell what a compound file is.
const ENCRYPTED: [&str; 3] = ["EncryptedPackage", "EncryptionInfo", "DRMEncryptedDataSpace"];
const OLD: [(&str, &str); 5] = [
    ("WordDocument", "a Word file from before 2007"),
    ("Workbook", "an Excel file from before 2007"),
    ("Book", "an Excel file from before 1997"),
    ("PowerPoint Document", "a PowerPoint file from before 2007"),
    ("VisioDocument", "a Visio file from before 2013"),
];

/// What streams with a property's text or bytes are called, before its number and type.
const PROPERTY: &str = "__substg1.0_";

pub(super) fn read(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    let (names, mut file) = isolated(|| {
        let file = CompoundFile::open(Cursor::new(bytes))
            .map_err(|_| Problem::Damaged("the compound file cannot be opened"))?;
        let mut names = Vec::new();
        for entry in file.walk() {
            run.entry()?;
            names.push((entry.path().to_owned(), entry.is_stream()));
        }
        Ok::<_, Problem>((names, file))
    })?;
    let has = |name: &str| names.iter().any(|(path, _)| path == &Path::new("/").join(name));
    if ENCRYPTED.iter().any(|name| has(name)) {
        return Err(Problem::Encrypted.into());
    }
    if let Some((_, what)) = OLD.iter().find(|(name, _)| has(name)) {
        return Err(Problem::Unsupported(what).into());
    }
    if !has("__properties_version1.0") {
        return Err(Problem::Unsupported("a compound file that is no mail").into());
    }
    // By the storage that they lie in: the mail itself, a recipient, an attachment.
    let mut storages: BTreeMap<String, Vec<(String, Vec<u8>)>> = BTreeMap::new();
    for (name, is_stream) in names {
        let (Some(storage), Some(stream)) = (name.parent(), name.file_name()) else {
            continue;
        };
        let stream = stream.to_string_lossy();
        if !is_stream || !stream.starts_with(PROPERTY) {
            continue;
        }
        let content = isolated(|| {
            let stream = file
                .open_stream(&name)
                .map_err(|_| Problem::Damaged("a stream of the compound file cannot be opened"))?;
            run.unpack(stream, "a stream of the compound file is cut short")
        })?;
        storages
            .entry(storage.to_string_lossy().into_owned())
            .or_default()
            .push((stream[PROPERTY.len()..].to_ascii_uppercase(), content));
    }
    let mut texts = String::new();
    for (storage, streams) in storages {
        for (property, content) in streams_in_order(streams) {
            one(run, path, &storage, &property, &content, &mut texts)?;
        }
    }
    run.say(path.to_owned(), texts)
}

/// A stream that holds an attachment's file comes with the name that another one says.
fn streams_in_order(streams: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let said = |wanted: &str| {
        streams.iter().find_map(|(property, content)| {
            let text = text(property, content)?;
            (property.starts_with(wanted) && !text.is_empty()).then_some(text)
        })
    };
    let name = said("3707").or_else(|| said("3704")).or_else(|| said("3001"));
    streams
        .into_iter()
        .map(
            |(property, content)| match (property.starts_with("37010102"), &name) {
                (true, Some(name)) => (format!("37010102{name}"), content),
                _ => (property, content),
            },
        )
        .collect()
}

fn one(
    run: &mut Extraction<'_>,
    path: &str,
    storage: &str,
    property: &str,
    content: &[u8],
    texts: &mut String,
) -> Outcome {
    if let Some(text) = text(property, content) {
        // The body, the subject and the rest, each on lines of its own.
        let _ = writeln!(texts, "{}", text.trim_end());
        return Ok(());
    }
    let storage = storage.trim_start_matches('/').replace('/', " ");
    let path = if storage.is_empty() {
        path.to_owned()
    } else {
        inside(path, &storage)
    };
    if property.starts_with("10130102") {
        run.nested(&path, "body.html", content)
    } else if property.starts_with("10090102") {
        let rtf = unpacked_rtf(content).ok_or(Problem::Damaged("the body in RTF cannot be unpacked"))?;
        run.unpacked(rtf.len())?;
        run.nested(&path, "body.rtf", &rtf)
    } else if let Some(name) = property.strip_prefix("37010102") {
        run.nested(&path, if name.is_empty() { "attachment" } else { name }, content)
    } else {
        // Identifiers, times and other values in binary.
        Ok(())
    }
}

/// A property's text, when it is one with text.
fn text(property: &str, content: &[u8]) -> Option<String> {
    match property.get(4..8)? {
        "001F" => {
            let text = encoding_rs::UTF_16LE.decode_without_bom_handling(content).0;
            Some(text.trim_end_matches('\0').to_owned())
        }
        "001E" => plain::decode(content.trim_ascii_end().strip_suffix(b"\0").unwrap_or(content)),
        _ => None,
    }
}

/// Undoes the packing of RTF in mails (MS-OXRTFCP): pieces of text, and references to the last 4 KiB.
fn unpacked_rtf(bytes: &[u8]) -> Option<Vec<u8>> {
    // What the 4 KiB hold at the start, so that short mails pack well; from the specification.
    const START: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";
    const SIZE: usize = 4096;
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let size = number(4)? as usize;
    let packed = bytes.get(16..)?;
    match number(8)? {
        0x414C_454D => return packed.get(..size.min(packed.len())).map(<[u8]>::to_vec),
        0x7546_5A4C => {}
        _ => return None,
    }
    let mut window = [0; SIZE];
    window[..START.len()].copy_from_slice(START);
    let mut write = START.len();
    let mut out = Vec::new();
    let mut input = packed.iter().copied();
    'all: while let Some(control) = input.next() {
        for bit in 0..8 {
            if control & 1 << bit == 0 {
                let Some(byte) = input.next() else { break 'all };
                out.push(byte);
                window[write % SIZE] = byte;
                write += 1;
                continue;
            }
            let (Some(high), Some(low)) = (input.next(), input.next()) else {
                break 'all;
            };
            let reference = usize::from(u16::from_be_bytes([high, low]));
            let (from, length) = (reference >> 4, (reference & 15) + 2);
            if from == write % SIZE {
                break 'all;
            }
            for step in 0..length {
                let byte = window[(from + step) % SIZE];
                out.push(byte);
                window[write % SIZE] = byte;
                write += 1;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rtf_is_unpacked() {
        // The first example of the specification.
        let packed = [
            0x2d, 0, 0, 0, 0x2b, 0, 0, 0, 0x4c, 0x5a, 0x46, 0x75, 0xf1, 0xc5, 0xc7, 0xa7, 0x03, 0, 0x0a, 0,
            0x72, 0x63, 0x70, 0x67, 0x31, 0x32, 0x35, 0x42, 0x32, 0x0a, 0xf3, 0x20, 0x68, 0x65, 0x6c, 0x09,
            0, 0x20, 0x62, 0x77, 0x05, 0xb0, 0x6c, 0x64, 0x7d, 0x0a, 0x80, 0x0f, 0xa0,
        ];
        let text = unpacked_rtf(&packed).unwrap();
        assert_eq!(text, b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
    }
}
