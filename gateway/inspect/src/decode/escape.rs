//! Escapes: characters written as codes behind a mark.
//!
//! The walk looks at each byte once and stops only at marks. Escapes that plain text also holds by chance
//! (`\n`, `=40`) are read only where another one is near.

use std::ops::Range;

use super::{Says, Stretch, hex_value, is_text, list, spoken, word};

/// How near another escape must be for one that may be chance.
const NEAR: usize = 48;
/// How near for quoted-printable, whose lines have at most 76 characters.
const LINE: usize = 80;
/// The longest MIME encoded word; the standard says 75, mailers say more.
const MAX_ENCODED_WORD: usize = 1024;
/// The longest stretch of Ascii85.
const MAX_ASCII85: usize = 64 << 10;

/// Bytes at which something may begin.
static MARK: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"\\%&=<[({@0123456789";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Finds what begins in a range of the text. The places of `@`, and of the first digit of each row, are
/// handed on, as this walk passes them anyway.
pub(super) fn find(text: &str, range: Range<usize>, found: &mut Vec<Stretch>, mut other: impl FnMut(usize)) {
    let bytes = text.as_bytes();
    let mut walk = Walk {
        text,
        bytes,
        last_simple: None,
        last_printable: None,
    };
    let mut at = range.start;
    // Where the last list of numbers that said nothing ended.
    let mut list_end = 0;
    while at < range.end {
        while let Some(&[a, b, c, d]) = bytes.get(at..at + 4)
            && !(MARK[usize::from(a)] | MARK[usize::from(b)] | MARK[usize::from(c)] | MARK[usize::from(d)])
        {
            at += 4;
        }
        while at < range.end && !MARK[usize::from(bytes[at])] {
            at += 1;
        }
        if at >= range.end {
            break;
        }
        let byte = bytes[at];
        let stretch = match byte {
            b'\\' => walk.backslash(at),
            b'%' => percent(text, at),
            b'&' => reference(text, at),
            b'=' => walk.equals(at),
            b'<' => ascii85(text, at).or_else(|| spoken::mark(text, at)),
            b'[' | b'(' | b'{' => spoken::mark(text, at),
            b'@' => {
                other(at);
                None
            }
            _ => {
                other(at);
                let mut stretch = None;
                if at == 0 || !bytes[at - 1].is_ascii_alphanumeric() {
                    (stretch, list_end) = list::at(text, at);
                }
                stretch
            }
        };
        match stretch {
            Some(stretch) => {
                at = stretch.source.end.max(at + 1);
                found.push(stretch);
            }
            // The digits of a number are passed together.
            None if byte.is_ascii_digit() => {
                at = list_end.max(at + 1);
                while at < range.end && bytes[at].is_ascii_digit() {
                    at += 1;
                }
            }
            None => at += 1,
        }
    }
}

struct Walk<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// Where the last `\n` or the like ended.
    last_simple: Option<usize>,
    /// Where the last `=40` ended.
    last_printable: Option<usize>,
}

impl Walk<'_> {
    /// `\u0041`, `\uD83D\uDE00`, `\u{41}`, `\U00000041`, `\x41`, `\101`, `\n`.
    fn backslash(&mut self, at: usize) -> Option<Stretch> {
        let bytes = &self.bytes[at..];
        match bytes.get(1)? {
            b'x' | b'X' if bytes.get(2) == Some(&b'{') => braced(bytes, at),
            b'x' | b'X' => self.octets(at, 4, |four| {
                (four[0] == b'\\' && matches!(four[1], b'x' | b'X'))
                    .then(|| hex_value(&four[2..]))
                    .flatten()
            }),
            b'0'..=b'3' => self.octets(at, 4, |four| {
                let octal = |b: u8| (b'0'..=b'7').contains(&b);
                (four[0] == b'\\' && four[1..].iter().all(|b| octal(*b))).then(|| {
                    four[1..]
                        .iter()
                        .fold(0, |value, b| value * 8 + u32::from(b - b'0'))
                })
            }),
            b'u' if bytes.get(2) == Some(&b'{') => braced(bytes, at),
            b'u' => {
                let first = hex_value(bytes.get(2..6)?)?;
                if !(0xD800..0xDC00).contains(&first) {
                    // A low surrogate by itself is no character, and stays as it is written.
                    return Stretch::one(at..at + 6, char::from_u32(first)?);
                }
                if bytes.get(6..8)? != b"\\u" {
                    return None;
                }
                let second = hex_value(bytes.get(8..12)?)?;
                let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                Stretch::one(
                    at..at + 12,
                    char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)?,
                )
            }
            b'U' => Stretch::one(at..at + 10, char::from_u32(hex_value(bytes.get(2..10)?)?)?),
            simple => {
                let c = simple_escape(*simple)?;
                // A text without JSON in it has backslashes too: paths, formulas, single line breaks.
                let near = self.last_simple.is_some_and(|end| at.saturating_sub(end) < NEAR)
                    || bytes[2..]
                        .iter()
                        .take(NEAR)
                        .zip(bytes.iter().skip(3))
                        .any(|(mark, next)| *mark == b'\\' && simple_escape(*next).is_some());
                self.last_simple = Some(at + 2);
                near.then(|| Stretch::one(at..at + 2, c)).flatten()
            }
        }
    }

    /// One character of octets that are escaped one by one: ASCII, or UTF-8 of up to four.
    fn octets(&self, at: usize, width: usize, value: impl Fn(&[u8]) -> Option<u32>) -> Option<Stretch> {
        let mut octets = Vec::with_capacity(4);
        let mut end = at;
        while octets.len() < 4 {
            let octet = self.bytes.get(end..end + width).and_then(&value)?;
            octets.push(u8::try_from(octet).ok()?);
            end += width;
            if let Ok(says) = std::str::from_utf8(&octets) {
                return Stretch::one(at..end, says.chars().next()?);
            }
        }
        None
    }

    /// Quoted-printable, its soft line breaks, and `=?utf-8?B?...?=`.
    fn equals(&mut self, at: usize) -> Option<Stretch> {
        let bytes = self.bytes;
        match bytes.get(at + 1)? {
            b'?' => encoded_word(self.text, at),
            b'\n' | b'\r' => {
                let broken = bytes[at + 1..]
                    .iter()
                    .take_while(|b| matches!(b, b'\r' | b'\n'))
                    .count();
                let end = at + 1 + broken;
                // Exactly one line break, amid text.
                let one = broken == 1 || (broken == 2 && bytes[at + 1] == b'\r' && bytes[at + 2] == b'\n');
                let amid = at > 0
                    && bytes[at - 1].is_ascii_graphic()
                    && bytes[at - 1] != b'='
                    && bytes.get(end).is_some_and(|b| *b == b' ' || b.is_ascii_graphic());
                (one && amid).then_some(Stretch {
                    source: at..end,
                    says: Says::Nothing,
                })
            }
            _ => {
                let stretch = self.octets(at, 3, printable)?;
                let end = stretch.source.end;
                let near = self
                    .last_printable
                    .is_some_and(|last| at.saturating_sub(last) < LINE)
                    || end > at + 3
                    || (end..bytes.len().min(end + LINE)).any(|next| {
                        bytes[next] == b'=' && bytes.get(next..next + 3).and_then(printable).is_some()
                    });
                // One by itself: `name=40host`.
                let sign = matches!(stretch.says, Says::Char('@'))
                    && at > 0
                    && bytes[at - 1].is_ascii_alphanumeric()
                    && bytes.get(end).is_some_and(u8::is_ascii_alphabetic);
                if near {
                    self.last_printable = Some(end);
                }
                (near || sign).then_some(stretch)
            }
        }
    }
}

/// `=40`, in capitals as the standard wants it, and only what is written so: no control characters.
fn printable(three: &[u8]) -> Option<u32> {
    if three[0] != b'=' || three[1..].iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    hex_value(&three[1..]).filter(|value| *value >= 0x20 && *value != 0x7F || matches!(value, 9 | 10 | 13))
}

fn simple_escape(letter: u8) -> Option<char> {
    Some(match letter {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'"' => '"',
        b'\'' => '\'',
        b'/' => '/',
        b'\\' => '\\',
        _ => return None,
    })
}

/// `\u{41}`, `\x{41}`.
fn braced(bytes: &[u8], at: usize) -> Option<Stretch> {
    let close = bytes.iter().take(12).position(|b| *b == b'}')?;
    Stretch::one(
        at..at + close + 1,
        char::from_u32(hex_value(bytes.get(3..close)?)?)?,
    )
}

/// `%41`, runs of them that are UTF-8 together, and `%u0041`.
fn percent(text: &str, at: usize) -> Option<Stretch> {
    let bytes = text.as_bytes();
    if matches!(bytes.get(at + 1), Some(b'u' | b'U')) {
        let code = hex_value(bytes.get(at + 2..at + 6)?)?;
        return Stretch::one(at..at + 6, char::from_u32(code)?);
    }
    let mut octets = Vec::new();
    let mut end = at;
    while bytes.get(end) == Some(&b'%') && octets.len() < 4 {
        octets.push(u8::try_from(hex_value(bytes.get(end + 1..end + 3)?)?).ok()?);
        end += 3;
        if let Ok(says) = std::str::from_utf8(&octets) {
            return Stretch::one(at..end, says.chars().next()?);
        }
    }
    None
}

/// `&#65;`, `&#x41`, and the named ones that stand in values. Browsers read the numbers without their `;` too.
fn reference(text: &str, at: usize) -> Option<Stretch> {
    let bytes = &text.as_bytes()[at..];
    if bytes.get(1) == Some(&b'#') {
        let hex = matches!(bytes.get(2), Some(b'x' | b'X'));
        let start = if hex { 3 } else { 2 };
        let digits = bytes[start.min(bytes.len())..]
            .iter()
            .take(8)
            .take_while(|b| {
                if hex {
                    b.is_ascii_hexdigit()
                } else {
                    b.is_ascii_digit()
                }
            })
            .count();
        let end = start + digits;
        let number = text
            .get(at + start..at + end)
            .filter(|number| !number.is_empty())?;
        let code = u32::from_str_radix(number, if hex { 16 } else { 10 }).ok()?;
        let end = end + usize::from(bytes.get(end) == Some(&b';'));
        return Stretch::one(at..at + end, char::from_u32(code)?);
    }
    if !bytes.get(1)?.is_ascii_alphabetic() {
        return None;
    }
    let name = bytes[1..]
        .iter()
        .take(24)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    let close = 1 + name;
    if bytes.get(close) != Some(&b';') {
        return None;
    }
    let source = at..at + close + 1;
    let c = match text.get(at + 1..at + close)? {
        "amp" | "AMP" => '&',
        "commat" => '@',
        "period" => '.',
        "hyphen" | "dash" | "ndash" | "mdash" | "minus" => '-',
        "plus" => '+',
        "colon" => ':',
        "semi" => ';',
        "comma" => ',',
        "sol" => '/',
        "bsol" => '\\',
        "equals" => '=',
        "lowbar" | "UnderBar" => '_',
        "num" => '#',
        "dollar" => '$',
        "percnt" => '%',
        "excl" => '!',
        "quest" => '?',
        "ast" | "midast" => '*',
        "Hat" => '^',
        "grave" => '`',
        "vert" | "verbar" | "VerticalLine" => '|',
        "lpar" => '(',
        "rpar" => ')',
        "lsqb" | "lbrack" => '[',
        "rsqb" | "rbrack" => ']',
        "lcub" | "lbrace" => '{',
        "rcub" | "rbrace" => '}',
        "lt" | "LT" => '<',
        "gt" | "GT" => '>',
        "nbsp" | "Tab" | "ensp" | "emsp" | "thinsp" | "NonBreakingSpace" => ' ',
        "NewLine" => '\n',
        "quot" | "QUOT" => '"',
        "apos" => '\'',
        "shy" | "ZeroWidthSpace" | "zwnj" | "zwj" | "NoBreak" | "lrm" | "rlm" => {
            return Some(Stretch {
                source,
                says: Says::Nothing,
            });
        }
        _ => return None,
    };
    Stretch::one(source, c)
}

/// `=?utf-8?B?...?=` and `=?iso-8859-1?Q?...?=`.
fn encoded_word(text: &str, at: usize) -> Option<Stretch> {
    let end = text.floor_char_boundary((at + MAX_ENCODED_WORD).min(text.len()));
    let mut parts = text.get(at + 2..end)?.splitn(4, '?');
    let (charset, encoding, body) = (parts.next()?, parts.next()?, parts.next()?);
    if charset.len() > 40
        || !charset
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
    {
        return None;
    }
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + body.len() + 2;
    if text.get(at + length - 2..at + length)? != "?=" {
        return None;
    }
    let octets = match encoding {
        "B" | "b" => word::base64_bytes(body, MAX_ENCODED_WORD)?,
        "Q" | "q" => {
            let body = body.as_bytes();
            let mut octets = Vec::with_capacity(body.len());
            let mut next = 0;
            while let Some(byte) = body.get(next) {
                let escaped = (*byte == b'=')
                    .then(|| hex_value(body.get(next + 1..next + 3)?))
                    .flatten();
                octets.push(match (escaped, byte) {
                    (Some(value), _) => value as u8,
                    (None, b'_') => b' ',
                    (None, byte) => *byte,
                });
                next += if escaped.is_some() { 3 } else { 1 };
            }
            octets
        }
        _ => return None,
    };
    // What is no UTF-8 is most likely Latin-1, which has each byte for its own character.
    let says = String::from_utf8(octets)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|b| char::from(*b)).collect());
    Some(Stretch::text(at..at + length, says))
}

/// `<~87cURDZ~>`.
fn ascii85(text: &str, at: usize) -> Option<Stretch> {
    let bytes = &text.as_bytes()[at..];
    if bytes.get(1) != Some(&b'~') {
        return None;
    }
    let mut octets = Vec::new();
    let mut group = 0u32;
    let mut count = 0;
    for (place, byte) in bytes.iter().enumerate().take(MAX_ASCII85).skip(2) {
        match byte {
            b'~' => {
                if count == 1 || bytes.get(place + 1) != Some(&b'>') {
                    return None;
                }
                if count > 1 {
                    for _ in count..5 {
                        group = group.wrapping_mul(85).wrapping_add(84);
                    }
                    octets.extend_from_slice(&group.to_be_bytes()[..count - 1]);
                }
                let says = String::from_utf8(octets).ok().filter(|says| is_text(says))?;
                return Some(Stretch::text(at..at + place + 2, says));
            }
            b'z' if count == 0 => octets.extend_from_slice(&[0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                count += 1;
                if count == 5 {
                    octets.extend_from_slice(&group.to_be_bytes());
                    (group, count) = (0, 0);
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => return None,
        }
    }
    None
}
