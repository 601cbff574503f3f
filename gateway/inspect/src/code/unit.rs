//! How much one line, or one statement of a longer line, looks like code.
//!
//! Most are told by one look at each byte, or by their form: sentences, comments, rows of data, statements of
//! languages with few signs. The others are walked over ([`Walk`]).

use super::{languages::LANGUAGES, shapes, walk::Walk, words};

/// How often each language was spoken for.
pub(super) type Votes = [u16; LANGUAGES.len()];

/// What a unit seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nothing, or nothing that speaks for either side.
    Neutral,
    /// A comment by itself, if the lines around it are code.
    Comment,
    /// A sentence.
    Prose,
    /// Records, pairs of key and value, rows.
    Data,
    /// Code: 1 may be, 2 is, 3 and more is surely.
    Code(u16),
}

/// A vote of a sole language; shared words are divided among their languages.
pub(super) const VOTE: u32 = 12;

pub(super) const SPACE: u8 = 0;
pub(super) const WORD: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const QUOTE: u8 = 3;
/// What sentences hold as well.
pub(super) const STOP: u8 = 4;
pub(super) const SYMBOL: u8 = 5;

pub(super) const CLASS: [u8; 256] = {
    let mut class = [STOP; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        class[byte] = match b {
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => WORD,
            b'0'..=b'9' => DIGIT,
            b'"' | b'\'' | b'`' => QUOTE,
            b'.' | b',' | b'!' | b'?' | b':' | b'-' => STOP,
            b';' | b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'<' | b'>' | b'=' | b'$' | b'#' | b'&'
            | b'|' | b'*' | b'\\' | b'@' | b'+' | b'^' | b'~' | b'%' | b'/' => SYMBOL,
            _ => STOP,
        };
        byte += 1;
    }
    class
};

/// One for the signs that sentences have as well, 2^16 for those that they hardly have.
const WEIGHT: [u32; 256] = {
    let mut weight = [0; 256];
    let mut at = 0;
    let hard = b";{}[]<>=$#&|*\\@+^~%_";
    while at < hard.len() {
        weight[hard[at] as usize] = 1 << 16;
        at += 1;
    }
    at = 0;
    let soft = b"()/\"`";
    while at < soft.len() {
        weight[soft[at] as usize] = 1;
        at += 1;
    }
    weight
};

/// What fewer than 1,024 bytes are made of, summed up: letters and digits, from bit 10 on spaces, from 20 on shades.
const MADE_OF: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let class = CLASS[at];
        let byte = at as u8;
        table[at] = ((class == WORD || class == DIGIT) && byte != b'_') as u32
            | ((class == SPACE) as u32) << 10
            | (is_shade(byte) as u32) << 20;
        at += 1;
    }
    table
};

/// The signs of at most 2^16 bytes: the hard ones in the upper half, the soft ones in the lower.
fn signs(text: &[u8]) -> usize {
    let mut sum = 0;
    for chunk in text.chunks(32) {
        // Most stretches of sentences are letters and spaces alone, which a few wide instructions tell.
        let plain = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26 || matches!(byte, b' ' | b',' | b'.');
        if chunk.iter().fold(false, |any, byte| any | !plain(*byte)) {
            sum += chunk.iter().map(|byte| WEIGHT[usize::from(*byte)]).sum::<u32>();
        }
    }
    sum as usize
}

/// How many signs a stretch of a line has.
pub(super) fn symbols(text: &[u8]) -> usize {
    let signs = signs(text);
    (signs >> 16) + (signs & 0xffff)
}

/// Says what a unit is, and which languages it speaks for.
pub(super) fn unit(text: &str, votes: &mut Votes) -> Unit {
    let bytes = text.trim_ascii().as_bytes();
    if bytes.is_empty() {
        return Unit::Neutral;
    }
    // Most lines of most texts are told here, by one look at each byte.
    let look = signs(bytes);
    let (hard, soft) = (look >> 16, look & 0xffff);
    if hard == 0 && soft * 20 <= bytes.len() {
        let spaces = bytes.iter().filter(|byte| **byte == b' ').count();
        let wordy = (spaces + 1) * 8 >= bytes.len() || !bytes[0].is_ascii();
        if !shapes::may_be_plain_code(bytes) && (wordy || soft == 0) {
            return if bytes.len() > 24 {
                Unit::Prose
            } else {
                Unit::Neutral
            };
        }
        if soft == 0 && spaces >= 5 && bytes[0].is_ascii_lowercase() && bytes[bytes.len() - 1] != b':' {
            // Most lines of a wrapped paragraph begin with a small letter, some of them with a keyword.
            return match shapes::shape(bytes) {
                Some((language, points)) => {
                    votes[language] = votes[language].saturating_add(VOTE as u16 * 2);
                    Unit::Code(points)
                }
                None => Unit::Prose,
            };
        }
    }
    if is_comment(bytes) {
        return Unit::Comment;
    }
    let sum: u32 = bytes.iter().map(|byte| MADE_OF[usize::from(*byte)]).sum();
    let (letters, spaces, shades) = (
        sum as usize % 1024,
        (sum >> 10) as usize % 1024,
        (sum >> 20) as usize,
    );
    if letters * 3 < bytes.len() - spaces && bytes.len() > 6 {
        // Lines, boxes, pictures made of signs.
        return Unit::Neutral;
    }
    if shades >= LEAST_SHADES && is_picture(bytes) {
        return Unit::Neutral;
    }
    if is_bracket(bytes) || is_quoted(bytes) {
        return Unit::Code(1);
    }
    let last = bytes[bytes.len() - 1];
    if last == b','
        && bytes
            .windows(2)
            .position(|pair| pair == b": ")
            .is_some_and(|at| is_member(&bytes[..at], &bytes[at + 2..]))
    {
        return Unit::Code(2);
    }
    if is_data(bytes) {
        return Unit::Data;
    }
    if let Some((language, points)) = shapes::shape(bytes) {
        votes[language] = votes[language].saturating_add(VOTE as u16 * 2);
        return Unit::Code(points);
    }
    if memchr::memchr(b',', bytes).is_some()
        && memchr::memchr_iter(b'x', bytes)
            .filter(|at| *at > 0 && bytes[at - 1] == b'0')
            .nth(3)
            .is_some()
    {
        // A table of bytes or words.
        return Unit::Code(2);
    }
    if last == b';' && is_declaration(bytes) {
        let mut walk = Walk::default();
        walk.over(bytes, votes);
        return Unit::Code(if walk.weak + walk.strong > 0 { 3 } else { 2 });
    }
    let mut walk = Walk::default();
    walk.over(bytes, votes);
    walk.judge(bytes)
}

/// Marks that begin a comment in one language or another.
fn is_comment(bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 18] = [
        b"//", b"/*", b"*/", b"* ", b"-- ", b"# ", b"## ", b"#' ", b"% ", b"%% ", b"; ", b";; ", b"! ",
        b"\"\"\"", b"'''", b"(*", b"*>", b"<!--",
    ];
    MARKS.iter().any(|mark| bytes.starts_with(mark))
        || matches!(bytes, b"*" | b"#" | b"##" | b"--" | b"%")
        || (bytes.len() > 4 && bytes[..4].eq_ignore_ascii_case(b"rem "))
}

/// Only brackets and what ends them: it goes on with what it is in.
fn is_bracket(bytes: &[u8]) -> bool {
    bytes.len() <= 5 && bytes.iter().all(|b| b"{}[]();,".contains(b))
}

/// Nothing but a string and what may end it: within code it goes on with it.
fn is_quoted(bytes: &[u8]) -> bool {
    bytes.len() > 2
        && CLASS[usize::from(bytes[0])] == QUOTE
        && string_end(bytes, 0).is_some_and(|end| bytes[end..].iter().all(|b| b",;)] ".contains(b)))
}

const fn is_shade(byte: u8) -> bool {
    matches!(byte, b':' | b';' | b',' | b'=' | b'+' | b'\'' | b'`' | b'.')
}

/// So many shades in a row are no punctuation.
const LEAST_SHADES: usize = 4;

/// Letters amid long runs of the signs that pictures are shaded with: `tt=;::::;:`.
fn is_picture(bytes: &[u8]) -> bool {
    let mut run = 0;
    let mut kinds = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if is_shade(*byte) {
            run += 1;
            kinds += usize::from(run > 1 && bytes[at - 1] != *byte);
            if run >= LEAST_SHADES && kinds >= 2 {
                return true;
            }
        } else {
            run = 0;
            kinds = 0;
        }
    }
    false
}

/// JSON members, rows with separators, pairs of key and value.
fn is_data(bytes: &[u8]) -> bool {
    let last = bytes[bytes.len() - 1];
    if bytes[0] == b'"' && !matches!(last, b';' | b')' | b'(') {
        let key = bytes[1..].iter().position(|b| *b == b'"').map(|at| at + 2);
        if key.is_some_and(|at| bytes[at..].trim_ascii_start().starts_with(b":")) {
            return true;
        }
    }
    if matches!(bytes[0], b'{' | b'[')
        && !bytes.contains(&b';')
        && !bytes.contains(&b'=')
        && bytes.windows(2).any(|pair| pair == b"\":")
    {
        return true;
    }
    // A table of Markdown, or one drawn with lines.
    if bytes[0] == b'|' && last == b'|' && bytes.len() > 2 {
        return true;
    }
    let count = |byte: u8| bytes.iter().filter(|b| **b == byte).count();
    let built = bytes
        .iter()
        .any(|b| matches!(b, b'(' | b';' | b'=' | b'{' | b'\\'));
    if !built && (count(b',') >= 3 || count(b'\t') >= 2) {
        return words::look(&bytes[..word_end(bytes, 0)])
            .is_none_or(|word| word.everyday && count(b' ') < count(b','));
    }
    // `key: value`, but not `name: type = value` or `case x:`.
    if let Some(at) = bytes.windows(2).position(|pair| pair == b": ") {
        let key = bytes[..at].trim_ascii_start();
        let key = key.strip_prefix(b"- ").unwrap_or(key);
        let value = &bytes[at + 2..];
        let plain = key.iter().all(|b| {
            b.is_ascii_alphanumeric() || *b >= 0x80 || matches!(b, b'_' | b'-' | b'.' | b' ' | b'*' | b'/')
        });
        let codelike = value.contains(&b'=')
            || value.contains(&b';')
            || value.contains(&b'(') && value.contains(&b')') && !value.contains(&b' ');
        // `val name: Type,`, `pub name: Type,`
        let declared = key.iter().position(|b| *b == b' ').is_some_and(|end| {
            matches!(
                &key[..end],
                b"val"
                    | b"var"
                    | b"let"
                    | b"pub"
                    | b"const"
                    | b"def"
                    | b"readonly"
                    | b"private"
                    | b"public"
                    | b"protected"
            )
        });
        return plain
            && !matches!(last, b';' | b'{' | b'(')
            && !codelike
            && !declared
            && !key.starts_with(b"default")
            && !key.starts_with(b"else");
    }
    false
}

/// `name: "x",` and `Name: &other{},` as literals of objects are written; JSON has its keys in quotes, and
/// nobody else ends a value with a comma.
fn is_member(key: &[u8], value: &[u8]) -> bool {
    let named = !key.is_empty()
        && key.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && !key[0].is_ascii_digit();
    let Some(given) = value.trim_ascii().strip_suffix(b",") else {
        return false;
    };
    let given = given.trim_ascii();
    named
        && match given.first() {
            Some(b'"' | b'\'' | b'`' | b'[' | b'{' | b'&' | b'*' | b'$') => true,
            Some(_) => {
                matches!(
                    given,
                    b"true" | b"false" | b"null" | b"nil" | b"None" | b"undefined" | b"True" | b"False"
                ) || given.ends_with(b")")
                    || given.contains(&b'.') && !given.contains(&b' ') && given[0].is_ascii_alphabetic()
            }
            None => false,
        }
}

/// `margin: 0 auto;`, as style sheets declare.
fn is_declaration(bytes: &[u8]) -> bool {
    let Some(at) = bytes.iter().position(|b| *b == b':') else {
        return false;
    };
    let (key, value) = (&bytes[..at], &bytes[at + 1..]);
    let words = value
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty())
        .count();
    key.len() > 1
        && key.iter().all(|b| b.is_ascii_lowercase() || *b == b'-')
        && value.starts_with(b" ")
        && value.ends_with(b";")
        && words > 0
        && (words <= 3
            || value
                .iter()
                .any(|b| b.is_ascii_digit() || matches!(b, b'(' | b'#' | b'$')))
}

/// Where the word that begins here ends. Letters, digits, underscores.
pub(super) fn word_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < bytes.len() && matches!(CLASS[usize::from(bytes[end])], WORD | DIGIT) {
        end += 1;
    }
    // The apostrophe of `don't` belongs to its word.
    if end > start
        && end + 1 < bytes.len()
        && bytes[end] == b'\''
        && bytes[end + 1].is_ascii_alphabetic()
        && bytes.get(end + 2) != Some(&b'\'')
    {
        return word_end(bytes, end + 1);
    }
    end
}

/// The end of the string that begins here, if it ends within the unit.
pub(super) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == quote => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}
