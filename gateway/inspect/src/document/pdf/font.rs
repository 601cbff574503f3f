//! Which characters a PDF font's codes stand for, and how wide they are.
//!
//! A map to Unicode in the font goes first, then the encoding: a table of 256 characters with changes by
//! glyphs' names, or one of the known encodings of East Asia. A font whose codes are numbers of glyphs and
//! that has no map cannot be read; it says so.
//!
//! On failure: a code without a character is U+FFFD, a missing width is guessed.

use std::collections::BTreeMap;

use encoding_rs::Encoding;
use lopdf::{Dictionary, Document, Object};

use super::lexer::{Lexer, Word};

/// Entries of a font's list of changes.
const MOST_CHANGES: usize = 2048;

pub(super) struct Font {
    /// Bytes of a code.
    length: usize,
    to_unicode: CodeMap,
    encoding: Codes,
    widths: BTreeMap<u32, (u32, f64)>,
    usual_width: f64,
    /// Units of width in an em.
    scale: f64,
}

enum Codes {
    Table(Box<[char; 256]>),
    /// Strings are text in this encoding.
    Known(&'static Encoding),
    /// Codes are numbers of glyphs.
    Glyphs,
}

/// Codes to characters: by the first code of a run its last one, and what the first stands for.
#[derive(Default)]
struct CodeMap {
    runs: BTreeMap<u32, (u32, Vec<u16>)>,
    longest: usize,
}

impl Font {
    /// Reads a font; `map` is its unpacked map to Unicode.
    pub(super) fn new(dictionary: &Dictionary, pdf: &Document, map: Option<&[u8]>) -> Self {
        let to_unicode = map.map(CodeMap::of).unwrap_or_default();
        let kind = dictionary
            .get(b"Subtype")
            .and_then(Object::as_name)
            .unwrap_or_default();
        let mut font = if kind == b"Type0" {
            Self::composite(dictionary, pdf)
        } else {
            Self::simple(dictionary, pdf, kind)
        };
        if matches!(font.encoding, Codes::Glyphs) && (1..=4).contains(&to_unicode.longest) {
            font.length = to_unicode.longest;
        }
        font.to_unicode = to_unicode;
        font
    }

    fn simple(dictionary: &Dictionary, pdf: &Document, kind: &[u8]) -> Self {
        let mut widths = BTreeMap::new();
        let first = dictionary
            .get_deref(b"FirstChar", pdf)
            .and_then(Object::as_i64)
            .unwrap_or(0);
        let list = dictionary.get_deref(b"Widths", pdf).and_then(Object::as_array);
        for (code, width) in (first..256).zip(list.into_iter().flatten()) {
            if let (Ok(code), Some(width)) = (u32::try_from(code), float(width, pdf)) {
                widths.insert(code, (code, width));
            }
        }
        let matrix = dictionary
            .get_deref(b"FontMatrix", pdf)
            .and_then(Object::as_array);
        let scale = match matrix {
            Ok(matrix) if kind == b"Type3" => matrix.first().and_then(|first| float(first, pdf)),
            _ => None,
        };
        let name = dictionary
            .get(b"BaseFont")
            .and_then(Object::as_name)
            .unwrap_or_default();
        let is_fixed = name.starts_with(b"Courier");
        Self {
            length: 1,
            to_unicode: CodeMap::default(),
            encoding: Codes::Table(table(dictionary, pdf)),
            usual_width: if is_fixed { 600.0 } else { 0.0 },
            widths,
            scale: scale.unwrap_or(0.001),
        }
    }

    fn composite(dictionary: &Dictionary, pdf: &Document) -> Self {
        let name = dictionary
            .get_deref(b"Encoding", pdf)
            .and_then(Object::as_name)
            .unwrap_or_default();
        let descendant = dictionary
            .get_deref(b"DescendantFonts", pdf)
            .and_then(Object::as_array)
            .ok()
            .and_then(|fonts| fonts.first())
            .and_then(|font| pdf.dereference(font).ok()?.1.as_dict().ok());
        let usual = descendant.and_then(|font| float(font.get(b"DW").ok()?, pdf));
        let list = descendant.and_then(|font| font.get_deref(b"W", pdf).and_then(Object::as_array).ok());
        let encoding = known(name).map_or(Codes::Glyphs, Codes::Known);
        Self {
            length: 2,
            to_unicode: CodeMap::default(),
            // The codes of known encodings are not the numbers that widths are listed by.
            widths: match encoding {
                Codes::Glyphs => list.map_or_else(BTreeMap::new, |list| widths(list, pdf)),
                _ => BTreeMap::new(),
            },
            encoding,
            usual_width: usual.unwrap_or(1000.0),
            scale: 0.001,
        }
    }

    /// Whether codes can be told to be characters.
    pub(super) fn is_readable(&self) -> bool {
        !matches!(self.encoding, Codes::Glyphs) || !self.to_unicode.runs.is_empty()
    }

    /// Takes a string apart: adds its text, and returns its width in ems, how many characters it has, and how
    /// many of them are single-byte spaces, which word spacing is for.
    /// Stops when the text passes `most` bytes, as one byte may stand for many.
    pub(super) fn show(&self, bytes: &[u8], into: &mut String, most: usize) -> (f64, usize, usize) {
        if let (Codes::Known(encoding), true) = (&self.encoding, self.to_unicode.runs.is_empty()) {
            let text = encoding.decode_without_bom_handling(bytes).0;
            into.push_str(&text);
            let many = text.chars().count();
            return (many as f64 * self.usual_width * self.scale, many, 0);
        }
        let (mut width, mut many, mut spaces) = (0.0, 0, 0);
        for code in bytes.chunks(self.length) {
            let number = code.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let start = into.len();
            if start > most {
                break;
            }
            if !self.to_unicode.say(number, into) {
                into.push(match &self.encoding {
                    Codes::Table(table) => table[(number & 0xFF) as usize],
                    _ => char::REPLACEMENT_CHARACTER,
                });
            }
            many += 1;
            spaces += usize::from(self.length == 1 && number == 32);
            width += match self.widths.range(..=number).next_back() {
                Some((_, (last, width))) if number <= *last => *width,
                _ if self.usual_width > 0.0 => self.usual_width,
                _ => guessed(into[start..].chars().next().unwrap_or('n')),
            };
        }
        (width * self.scale, many, spaces)
    }
}

/// About how wide a character is in thousandths of an em, as in Helvetica and Times.
fn guessed(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' => 222.0,
        ' ' | 'f' | 't' | 'I' | '.' | ',' | ':' | ';' | '!' | '/' => 278.0,
        'r' | '-' | '(' | ')' => 333.0,
        'm' | 'w' | 'M' | 'W' | '@' => 833.0,
        'A'..='Z' => 690.0,
        _ => 540.0,
    }
}

fn float(object: &Object, pdf: &Document) -> Option<f64> {
    let float = pdf.dereference(object).ok()?.1.as_float().ok()?;
    float.is_finite().then_some(f64::from(float))
}

/// Widths by number of glyph: `first [width ...]`, or `first last width`.
fn widths(list: &[Object], pdf: &Document) -> BTreeMap<u32, (u32, f64)> {
    let mut widths = BTreeMap::new();
    let mut numbers: Vec<f64> = Vec::new();
    for object in list {
        let Ok((_, object)) = pdf.dereference(object) else {
            continue;
        };
        if let (Object::Array(each), Some(first)) = (object, numbers.pop()) {
            for (code, width) in (first as u32..=0xFFFF).zip(each) {
                if let Some(width) = float(width, pdf) {
                    widths.insert(code, (code, width));
                }
            }
            numbers.clear();
        } else if let Ok(number) = object.as_float() {
            numbers.push(f64::from(number));
            if let [first, last, width] = numbers[..] {
                widths.insert(first as u32, (last as u32, width));
                numbers.clear();
            }
        }
    }
    widths
}

/// The encoding of strings by the name of a map that programs know by heart.
fn known(name: &[u8]) -> Option<&'static Encoding> {
    let name = std::str::from_utf8(name).ok()?;
    let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if name.starts_with("Uni") && any(&["UCS2", "UTF16"]) {
        Some(encoding_rs::UTF_16BE)
    } else if name.starts_with("Uni") && any(&["UTF8"]) {
        Some(encoding_rs::UTF_8)
    } else if any(&["GBK", "GB-EUC", "GBpc"]) {
        Some(encoding_rs::GBK)
    } else if any(&["RKSJ", "83pv"]) {
        Some(encoding_rs::SHIFT_JIS)
    } else if any(&["KSC"]) {
        Some(encoding_rs::EUC_KR)
    } else if any(&["ETen", "B5pc", "HKscs"]) {
        Some(encoding_rs::BIG5)
    } else if name.starts_with("EUC") {
        Some(encoding_rs::EUC_JP)
    } else {
        None
    }
}

/// The characters of a font with single-byte codes.
fn table(dictionary: &Dictionary, pdf: &Document) -> Box<[char; 256]> {
    let encoding = dictionary.get_deref(b"Encoding", pdf).ok();
    let changes = encoding.and_then(|encoding| encoding.as_dict().ok());
    let base = match (encoding, changes) {
        (Some(Object::Name(name)), _) => Some(name.as_slice()),
        (_, Some(changes)) => changes
            .get_deref(b"BaseEncoding", pdf)
            .and_then(Object::as_name)
            .ok(),
        _ => None,
    };
    let base = match base {
        Some(b"MacRomanEncoding") => encoding_rs::MACINTOSH,
        // The standard encoding differs in quotes and little else that is text.
        _ => encoding_rs::WINDOWS_1252,
    };
    let mut table = Box::new([char::REPLACEMENT_CHARACTER; 256]);
    for (code, c) in (0..=255_u8).zip(table.iter_mut()) {
        *c = base
            .decode_without_bom_handling(&[code])
            .0
            .chars()
            .next()
            .unwrap_or(*c);
    }
    let list = changes.and_then(|changes| {
        changes
            .get_deref(b"Differences", pdf)
            .and_then(Object::as_array)
            .ok()
    });
    let mut code = 0;
    // A code may be changed again and again.
    for object in list.into_iter().flatten().take(MOST_CHANGES) {
        match object {
            Object::Integer(number) => code = usize::try_from(*number).unwrap_or(usize::MAX),
            Object::Name(name) => {
                if let Some(place) = table.get_mut(code) {
                    *place = glyph(name).unwrap_or(char::REPLACEMENT_CHARACTER);
                }
                code = code.saturating_add(1);
            }
            _ => {}
        }
    }
    table
}

/// The character that a glyph of this name shows.
fn glyph(name: &[u8]) -> Option<char> {
    // A variant of a glyph is called by it: `a.small`.
    let base = name.split(|byte| *byte == b'.').next()?;
    let text = std::str::from_utf8(base).ok()?;
    let mut letters = text.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        return Some(letter);
    }
    let digits = text.strip_prefix("uni").or_else(|| text.strip_prefix('u'));
    if let Some(digits) = digits.filter(|digits| (4..=6).contains(&digits.len()))
        && let Ok(code) = u32::from_str_radix(digits, 16)
    {
        return char::from_u32(code);
    }
    // The list of glyphs is the PDF reader's, which asks for a font around the name.
    let mut encoding = Dictionary::new();
    encoding.set(
        "Differences",
        vec![Object::Integer(1), Object::Name(base.to_vec())],
    );
    let mut font = Dictionary::new();
    font.set("Type", Object::Name(b"Font".to_vec()));
    font.set("Encoding", encoding);
    let none = Document::new();
    let lopdf::Encoding::Differences(_) = font.get_font_encoding(&none).ok()? else {
        return None;
    };
    let shown = font.get_font_encoding(&none).ok()?.bytes_to_string(&[1]).ok()?;
    shown.chars().next()
}

impl CodeMap {
    fn of(bytes: &[u8]) -> Self {
        let mut map = Self::default();
        let mut strings: Vec<Vec<u8>> = Vec::new();
        // Where in the strings an array starts, and how many of them are before it.
        let mut array: Option<usize> = None;
        let mut section: &[u8] = b"";
        for word in Lexer::new(bytes) {
            match word {
                Word::Operator(operator) => {
                    section = match operator {
                        b"beginbfchar" | b"beginbfrange" | b"begincodespacerange" => operator,
                        _ => b"",
                    };
                    strings.clear();
                    array = None;
                }
                Word::Bracket(b'[') => array = Some(strings.len()),
                Word::Bracket(b']') => {
                    if let (Some(2), [first, ..]) = (array, strings.as_slice()) {
                        for (code, target) in (number(first)..).zip(&strings[2..]) {
                            map.runs.insert(code, (code, units(target)));
                        }
                    }
                    strings.clear();
                    array = None;
                }
                Word::String(string) => {
                    strings.push(string);
                    match (section, strings.as_slice()) {
                        (b"begincodespacerange", [low, _]) => {
                            map.longest = map.longest.max(low.len());
                            strings.clear();
                        }
                        (b"beginbfchar", [code, target]) => {
                            map.longest = map.longest.max(code.len());
                            map.runs.insert(number(code), (number(code), units(target)));
                            strings.clear();
                        }
                        (b"beginbfrange", [first, last, target]) if array.is_none() => {
                            map.longest = map.longest.max(first.len());
                            map.runs.insert(number(first), (number(last), units(target)));
                            strings.clear();
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        map
    }

    /// Adds what a code stands for; false when it stands for nothing.
    fn say(&self, code: u32, into: &mut String) -> bool {
        let Some((first, (last, target))) = self.runs.range(..=code).next_back() else {
            return false;
        };
        if code > *last || target.is_empty() {
            return false;
        }
        let mut units = target.clone();
        if let Some(unit) = units.last_mut() {
            *unit = unit.wrapping_add((code - first) as u16);
        }
        into.push_str(&String::from_utf16_lossy(&units));
        true
    }
}

fn number(code: &[u8]) -> u32 {
    code.iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn units(target: &[u8]) -> Vec<u16> {
    // Nothing stands for more than a ligature's few letters; a longer target is made to fill memory.
    let pairs = target.as_chunks::<2>().0.iter().take(64);
    match target {
        [single] => vec![u16::from(*single)],
        _ => pairs.map(|pair| u16::from_be_bytes(*pair)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_characters_are_read() {
        let map = CodeMap::of(
            b"1 begincodespacerange <0000> <FFFF> endcodespacerange 2 beginbfchar <0003> <0020> <0005> <00660069> \
              endbfchar 2 beginbfrange <0010> <0012> <0041> <0020> <0021> [<0061> <D83DDE00>] endbfrange",
        );
        let mut text = String::new();
        for code in [0x10, 0x12, 3, 5, 0x20, 0x21] {
            assert!(map.say(code, &mut text));
        }
        assert_eq!(text, "AC fia😀");
        assert!(!map.say(0x13, &mut text) && !map.say(0, &mut text));
        assert_eq!(map.longest, 2);
    }

    #[test]
    fn glyphs_are_called_by_names() {
        for (name, c) in [
            (&b"a"[..], Some('a')),
            (b"eacute", Some('é')),
            (b"uni20AC", Some('€')),
            (b"one.small", Some('1')),
            (b"g17", None),
        ] {
            assert_eq!(glyph(name), c, "{}", String::from_utf8_lossy(name));
        }
    }
}
