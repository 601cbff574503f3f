//! Text out of RTF.
//!
//! Body, notes and comments are the text; `!/properties` has the properties, custom ones with sensitivity
//! labels among them; `!/hidden` has text of destinations that programs skip when they do not know them, as
//! it is in the file all the same. Tables of fonts, colours and styles are dropped. Embedded objects are
//! read as files of their own, and pictures noted as unread.
//!
//! Limits: one pass; [`MOST_GROUPS`] groups within groups.
//!
//! On failure: there is no broken RTF short of that limit; what never ends ends with the file.

use encoding_rs::Encoding;

use super::{
    Problem,
    extraction::{Extraction, Outcome, inside},
};

/// Groups within groups.
const MOST_GROUPS: usize = 1000;

/// Destinations without anything that people wrote.
const DROPPED: [&str; 24] = [
    "blipuid",
    "colorschememapping",
    "colortbl",
    "datastore",
    "falt",
    "filetbl",
    "fonttbl",
    "generator",
    "latentstyles",
    "listoverridetable",
    "listtable",
    "mmathpr",
    "panose",
    "pgptbl",
    "pnseclvl",
    "protusertbl",
    "revtbl",
    "rsidtbl",
    "stylesheet",
    "themedata",
    "wgrffmtfilter",
    "xmlnstbl",
    "passwordhash",
    "listpicture",
];

/// Properties, each a group of its own.
const PROPERTIES: [&str; 12] = [
    "title",
    "subject",
    "author",
    "manager",
    "company",
    "operator",
    "category",
    "keywords",
    "comment",
    "doccomm",
    "hlinkbase",
    "docvar",
];

/// Destinations that programs may skip, and whose text is to be read nevertheless.
const SHOWN: [&str; 12] = [
    "annotation",
    "atnauthor",
    "fldinst",
    "shptxt",
    "shpinst",
    "shppict",
    "footnote",
    "bkmkstart",
    "listtext",
    "pntext",
    "ud",
    "upr",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sink {
    Body,
    Properties,
    Hidden,
    Dropped,
    Picture,
    Object,
}

#[derive(Clone, Copy)]
struct Group {
    sink: Sink,
    /// Characters that stand after each `\u` for programs that do not know it.
    stand_ins: usize,
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    encoding: &'static Encoding,
    group: Group,
    around: Vec<Group>,
    /// Whether `\*` has just been read.
    optional: bool,
    /// Stand-ins that are still to be skipped.
    skip: usize,
    /// Bytes in the document's encoding, or half a character, that wait for what follows.
    pending: Vec<u8>,
    high: Option<u16>,
    body: String,
    properties: String,
    hidden: String,
    object: String,
    objects: Vec<Vec<u8>>,
    pictures: usize,
}

pub(super) fn read(run: &mut Extraction<'_>, path: &str, bytes: &[u8]) -> Outcome {
    let mut reader = Reader {
        bytes,
        at: 0,
        encoding: encoding_rs::WINDOWS_1252,
        group: Group {
            sink: Sink::Body,
            stand_ins: 1,
        },
        around: Vec::new(),
        optional: false,
        skip: 0,
        pending: Vec::new(),
        high: None,
        body: String::new(),
        properties: String::new(),
        hidden: String::new(),
        object: String::new(),
        objects: Vec::new(),
        pictures: 0,
    };
    reader.all()?;
    run.say(path.to_owned(), reader.body)?;
    run.say(inside(path, "properties"), reader.properties)?;
    run.say(inside(path, "hidden"), reader.hidden)?;
    for (index, object) in reader.objects.iter().enumerate() {
        run.entry()?;
        run.nested(path, &format!("object {}", index + 1), object)?;
    }
    if reader.pictures > 0 {
        run.skip_or(Problem::NotText, inside(path, "picture"))?;
    }
    Ok(())
}

impl Reader<'_> {
    fn all(&mut self) -> Result<(), Problem> {
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'{' => {
                    self.settle();
                    self.skip = 0;
                    self.optional = false;
                    if self.around.len() == MOST_GROUPS {
                        return Err(Problem::Limit("groups within groups"));
                    }
                    self.around.push(self.group);
                }
                b'}' => self.close(),
                b'\\' => self.control(),
                b'\r' | b'\n' => {}
                _ if self.skip > 0 => self.skip -= 1,
                _ => self.byte(byte),
            }
        }
        self.settle();
        Ok(())
    }

    fn close(&mut self) {
        self.settle();
        self.skip = 0;
        let left = self.group.sink;
        if let Some(group) = self.around.pop() {
            self.group = group;
        }
        if left == Sink::Object && self.group.sink != Sink::Object {
            let digits: Vec<u8> = std::mem::take(&mut self.object)
                .bytes()
                .filter_map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
                .collect();
            let bytes = digits.as_chunks::<2>().0.iter();
            self.objects
                .push(bytes.map(|[high, low]| high << 4 | low).collect());
        }
    }

    fn control(&mut self) {
        let Some(&first) = self.bytes.get(self.at) else {
            return;
        };
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            match first {
                b'\'' => {
                    let digits = self.bytes.get(self.at..self.at + 2);
                    let byte = digits
                        .and_then(|digits| std::str::from_utf8(digits).ok())
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    if let Some(byte) = byte {
                        self.at += 2;
                        if self.skip > 0 {
                            self.skip -= 1;
                        } else {
                            self.byte(byte);
                        }
                    }
                }
                b'*' => self.optional = true,
                b'~' => self.say(" "),
                b'_' => self.say("-"),
                b'\r' | b'\n' => self.say("\n"),
                b'\\' | b'{' | b'}' if self.skip > 0 => self.skip -= 1,
                b'\\' | b'{' | b'}' => self.byte(first),
                _ => {}
            }
            return;
        }
        let start = self.at;
        let length = |from: &[u8], is: fn(&u8) -> bool| from.iter().take_while(|byte| is(byte)).count();
        self.at += length(&self.bytes[self.at..], u8::is_ascii_alphabetic);
        let word = &self.bytes[start..self.at];
        let number = self.at;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        self.at += length(&self.bytes[self.at..], u8::is_ascii_digit);
        let number = std::str::from_utf8(&self.bytes[number..self.at])
            .ok()
            .and_then(|digits| digits.parse::<i64>().ok());
        self.at += usize::from(self.bytes.get(self.at) == Some(&b' '));
        // Longer words are none that is known.
        let mut name = [0; 32];
        if word.len() <= name.len() {
            let name = &mut name[..word.len()];
            name.copy_from_slice(word);
            name.make_ascii_lowercase();
            let name = std::str::from_utf8(name).unwrap_or_default();
            self.word(name, number);
        }
        self.optional = false;
    }

    fn word(&mut self, word: &str, number: Option<i64>) {
        match word {
            "bin" => {
                let many = number.and_then(|many| usize::try_from(many).ok()).unwrap_or(0);
                self.at = self.at.saturating_add(many).min(self.bytes.len());
            }
            "u" => self.unit(number.unwrap_or(0)),
            "uc" => {
                let many = number.and_then(|many| usize::try_from(many).ok());
                self.group.stand_ins = many.unwrap_or(1).min(16);
            }
            "ansicpg" => self.encoding = encoding(number.unwrap_or(0)),
            "mac" => self.encoding = encoding_rs::MACINTOSH,
            "par" | "line" | "sect" | "page" | "row" | "column" => self.say("\n"),
            "tab" | "cell" | "nestcell" => self.say("\t"),
            "emdash" => self.say("—"),
            "endash" => self.say("–"),
            "lquote" => self.say("‘"),
            "rquote" => self.say("’"),
            "ldblquote" => self.say("“"),
            "rdblquote" => self.say("”"),
            "bullet" => self.say("•"),
            "emspace" | "enspace" | "qmspace" => self.say(" "),
            "pict" => {
                self.pictures += 1;
                self.group.sink = Sink::Picture;
            }
            "objdata" => self.group.sink = Sink::Object,
            "propname" => {
                self.group.sink = Sink::Properties;
                self.say("\n");
            }
            "staticval" => {
                self.group.sink = Sink::Properties;
                self.say(": ");
            }
            _ if DROPPED.contains(&word) => self.group.sink = Sink::Dropped,
            _ if PROPERTIES.contains(&word) && self.group.sink != Sink::Dropped => {
                self.group.sink = Sink::Properties;
                self.say(&format!("\n{word}: "));
            }
            _ if self.optional && !SHOWN.contains(&word) && self.group.sink == Sink::Body => {
                self.group.sink = Sink::Hidden;
                self.say("\n");
            }
            _ => {}
        }
    }

    /// A UTF-16 unit, written as a signed number.
    fn unit(&mut self, number: i64) {
        self.flush();
        let unit = (number & 0xFFFF) as u16;
        match (self.high.take(), unit) {
            (_, 0xD800..=0xDBFF) => self.high = Some(unit),
            (Some(high), 0xDC00..=0xDFFF) => {
                let text = String::from_utf16_lossy(&[high, unit]);
                self.say(&text);
            }
            _ => {
                let text = String::from_utf16_lossy(&[unit]);
                self.say(&text);
            }
        }
        self.skip = self.group.stand_ins;
    }

    fn byte(&mut self, byte: u8) {
        self.optional = false;
        self.high = None;
        self.pending.push(byte);
    }

    fn settle(&mut self) {
        self.flush();
        self.high = None;
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let bytes = std::mem::take(&mut self.pending);
            let text = self.encoding.decode_without_bom_handling(&bytes).0;
            self.put(&text);
        }
    }

    fn say(&mut self, text: &str) {
        self.flush();
        self.put(text);
    }

    fn put(&mut self, text: &str) {
        match self.group.sink {
            Sink::Body => self.body.push_str(text),
            Sink::Properties => self.properties.push_str(text),
            Sink::Hidden => self.hidden.push_str(text),
            Sink::Object => self.object.push_str(text),
            Sink::Dropped | Sink::Picture => {}
        }
    }
}

/// The encoding that Windows gives this number.
pub(super) fn encoding(code_page: i64) -> &'static Encoding {
    match code_page {
        932 => encoding_rs::SHIFT_JIS,
        936 => encoding_rs::GBK,
        949 => encoding_rs::EUC_KR,
        950 => encoding_rs::BIG5,
        874 => encoding_rs::WINDOWS_874,
        1250 => encoding_rs::WINDOWS_1250,
        1251 => encoding_rs::WINDOWS_1251,
        1253 => encoding_rs::WINDOWS_1253,
        1254 => encoding_rs::WINDOWS_1254,
        1255 => encoding_rs::WINDOWS_1255,
        1256 => encoding_rs::WINDOWS_1256,
        1257 => encoding_rs::WINDOWS_1257,
        1258 => encoding_rs::WINDOWS_1258,
        10000 => encoding_rs::MACINTOSH,
        65001 => encoding_rs::UTF_8,
        _ => encoding_rs::WINDOWS_1252,
    }
}
