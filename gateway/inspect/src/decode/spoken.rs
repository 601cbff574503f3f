//! Text as people write it for other people: `name [at] host dot com`, `four one one one`, `4 1 1 1`.
//!
//! All three are found by looking at few bytes: brackets are marks of the walk in `escape`; characters
//! with one separator between them show in any eight bytes that are compared at once; a row of words for
//! digits is hit by looking at one word in every [`STRIDE`] bytes.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::packed;

use super::{Says, Stretch};

/// A row of words for [`LEAST_DIGITS`] digits is longer.
const STRIDE: usize = 32;
/// The fewest digits in a row that are read: fewer are prose.
const LEAST_DIGITS: usize = 7;
/// The fewest characters with separators between them.
const LEAST_SPACED: usize = 8;
/// The most characters of one such row.
const MOST: usize = 4096;

/// Finds what begins in a range of the text. What is in `strong` is a value by its format only.
pub(super) fn find(text: &str, range: Range<usize>, found: &mut Vec<Stretch>, strong: &mut Vec<Stretch>) {
    spaced_out(text, range.clone(), found, strong);
    digit_words(text, range.clone(), found);
    addresses(text, range.clone(), found);
    // All of those characters begin with a byte from here on; taking the maximum is quick.
    let most = text.as_bytes()[range.clone()]
        .iter()
        .fold(0, |most, byte| most.max(*byte));
    if most >= 0xE3 {
        numerals(text, range, found);
    }
}

/// ` [at] `, `(dot)`, `[.]` and the like.
pub(super) fn mark(text: &str, at: usize) -> Option<Stretch> {
    let bytes = text.as_bytes();
    let close = match bytes[at] {
        b'[' => b']',
        b'(' => b')',
        b'{' => b'}',
        _ => b'>',
    };
    // What may be in such brackets begins with few letters; other brackets are many in code.
    let first = bytes.get(at + 1).map(u8::to_ascii_lowercase)?;
    if !matches!(
        first,
        b' ' | b'.'
            | b'@'
            | b'-'
            | b'a'
            | b'b'
            | b'c'
            | b'd'
            | b'g'
            | b'h'
            | b'k'
            | b'm'
            | b'p'
            | b's'
            | b't'
            | b'u'
            | 0x80..
    ) {
        return None;
    }
    let length = bytes[at + 1..].iter().take(14).position(|b| *b == close)?;
    let inner = text.get(at + 1..at + 1 + length)?.trim();
    if inner.is_empty() || !(inner.len() == 1 || inner.bytes().all(|b| is_letter(b) || b == b'0')) {
        return None;
    }
    let after = at + length + 2;
    let blank = |at: Option<usize>| at.and_then(|at| bytes.get(at)) == Some(&b' ');
    let start = if blank(at.checked_sub(1)) { at - 1 } else { at };
    let end = if blank(Some(after)) { after + 1 } else { after };
    // It stands for a sign within a word: something must be on either side.
    let amid = start > 0
        && !bytes[start - 1].is_ascii_whitespace()
        && bytes.get(end).is_some_and(|b| !b.is_ascii_whitespace());
    // One letter or one sign in brackets is more often a list item or code.
    let short = inner.len() == 1 && (start != at || end != after);
    if !amid || short {
        return None;
    }
    let c = match inner {
        "." => '.',
        "@" => '@',
        "-" => '-',
        _ => sign(inner)?,
    };
    Some(Stretch {
        source: start..end,
        says: Says::Char(c),
    })
}

/// The sign that a word names.
fn sign(word: &str) -> Option<char> {
    let lower = word.to_lowercase();
    Some(match lower.as_str() {
        "at" | "ät" | "arroba" | "arobase" | "chiocciola" | "klammeraffe" | "a" | "골뱅이" | "アット" => {
            '@'
        }
        "dot" | "d0t" | "punkt" | "punto" | "point" | "ponto" | "점" | "ドット" => '.',
        "dash" | "hyphen" | "minus" | "bindestrich" | "strich" | "tiret" | "guion" | "guión" | "trattino" => {
            '-'
        }
        "underscore" | "unterstrich" => '_',
        "plus" => '+',
        _ => return None,
    })
}

/// `4 1 1 1`, `4-1-1-1`, and characters one below the other.
fn spaced_out(text: &str, range: Range<usize>, found: &mut Vec<Stretch>, strong: &mut Vec<Stretch>) {
    const LANES: u64 = 0x00FF_00FF_00FF_00FF;
    const ONES: u64 = 0x0001_0001_0001_0001;
    let bytes = text.as_bytes();
    let mut done = range.start;
    for (index, chunk) in bytes[range.clone()].chunks_exact(8).enumerate() {
        let eight = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let (even, odd) = (eight & LANES, eight >> 8 & LANES);
        // All of one parity the same, and the others not all that too.
        if (odd != (odd & 0xFF) * ONES && even != (even & 0xFF) * ONES) || even == odd {
            continue;
        }
        let at = range.start + index * 8;
        if at < done {
            continue;
        }
        let first = if odd == (odd & 0xFF) * ONES { at } else { at + 1 };
        let separator = bytes[first + 1];
        if !matches!(separator, b' ' | b'\t' | b'\n' | b'!'..=b'/' | b':'..=b'@' | b'[' | b'\\' | b']'..=b'`' | b'{'..=b'~')
        {
            continue;
        }
        let (stretch, end) = spaced(bytes, first, separator, done);
        // Also a row that says nothing is not walked again.
        done = end.max(at + 1);
        if let Some(stretch) = stretch {
            // Rows of one-digit cells are common; a number that they make is one only if its checksum says so.
            if matches!(separator, b' ' | b'-' | b'_' | b'*' | b'~') {
                found.push(stretch);
            } else {
                strong.push(stretch);
            }
        }
    }
}

/// The row of single characters that goes through one at `at`, back to `least`. Three separators stand for
/// one that was there before. Also gives where the row ends.
fn spaced(bytes: &[u8], at: usize, separator: u8, least: usize) -> (Option<Stretch>, usize) {
    let single = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|b| b.is_ascii_graphic() && *b != separator)
    };
    let between = |at: usize| bytes.get(at) == Some(&separator);
    if !single(at) {
        return (None, at);
    }
    let mut start = at;
    loop {
        let step = if start >= least + 2 && between(start - 1) && single(start - 2) {
            2
        } else if start >= least + 4 && (1..=3).all(|back| between(start - back)) && single(start - 4) {
            4
        } else {
            break;
        };
        let before = start - step;
        // The last letter of a longer word is no character by itself.
        if before > 0 && bytes[before - 1].is_ascii_alphanumeric() {
            break;
        }
        start = before;
    }
    if start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        start += 2;
    }
    let mut says = String::new();
    let mut end = start;
    let mut next = start;
    while single(next) && says.len() < MOST {
        // A longer word behind the last separator is not part of it, but for what closes a sentence or a string.
        let alone = next == start || !bytes.get(next + 1).is_some_and(u8::is_ascii_alphanumeric);
        if !alone {
            break;
        }
        says.push(char::from(bytes[next]));
        end = next + 1;
        if !between(next + 1) {
            break;
        }
        next += 2;
        if between(next) && between(next + 1) && single(next + 2) {
            says.push(if separator == b' ' {
                ' '
            } else {
                char::from(separator)
            });
            next += 2;
        }
    }
    let said = says.trim_end();
    let end = end - (says.len() - said.len());
    let written = said.len() >= LEAST_SPACED && said.bytes().any(|b| b.is_ascii_alphanumeric());
    (written.then(|| Stretch::text(start..end, said.to_owned())), end)
}

/// Words for digits, and for what stands between them, in English, German, French, Spanish and Italian.
const WORDS: &[(&str, &str)] = &[
    ("zero", "0"),
    ("oh", "0"),
    ("nought", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("niner", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("null", "0"),
    ("eins", "1"),
    ("zwei", "2"),
    ("zwo", "2"),
    ("drei", "3"),
    ("vier", "4"),
    ("fünf", "5"),
    ("fuenf", "5"),
    ("sechs", "6"),
    ("sieben", "7"),
    ("acht", "8"),
    ("neun", "9"),
    ("zéro", "0"),
    ("un", "1"),
    ("une", "1"),
    ("deux", "2"),
    ("trois", "3"),
    ("quatre", "4"),
    ("cinq", "5"),
    ("sept", "7"),
    ("huit", "8"),
    ("neuf", "9"),
    ("cero", "0"),
    ("uno", "1"),
    ("una", "1"),
    ("dos", "2"),
    ("tres", "3"),
    ("cuatro", "4"),
    ("cinco", "5"),
    ("seis", "6"),
    ("siete", "7"),
    ("ocho", "8"),
    ("nueve", "9"),
    ("due", "2"),
    ("tre", "3"),
    ("quattro", "4"),
    ("cinque", "5"),
    ("sei", "6"),
    ("sette", "7"),
    ("otto", "8"),
    ("nove", "9"),
    ("double", "=2"),
    ("triple", "=3"),
    ("dash", "-"),
    ("hyphen", "-"),
    ("minus", "-"),
    ("strich", "-"),
    ("tiret", "-"),
    ("guion", "-"),
    ("guión", "-"),
    ("space", " "),
    ("plus", "+"),
];

/// Slots of the table of words, many more than words, so that most look-ups are one.
const SLOTS: usize = 512;

/// The words as numbers, each in the first free slot from its own.
static DIGIT_WORDS: LazyLock<[(u64, &str); SLOTS]> = LazyLock::new(|| {
    let mut slots = [(0, ""); SLOTS];
    for (word, says) in WORDS {
        let Some(packed) = packed_word(word.as_bytes()) else {
            continue;
        };
        let mut at = slot(packed);
        while slots[at].0 != 0 {
            at = (at + 1) % SLOTS;
        }
        slots[at] = (packed, *says);
    }
    slots
});

fn slot(packed: u64) -> usize {
    (packed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize
}

/// A word of two to eight bytes, in small letters, as a number.
fn packed_word(word: &[u8]) -> Option<u64> {
    (2..=8).contains(&word.len()).then(|| {
        word.iter().fold(0, |packed, byte| {
            packed << 8 | u64::from(if byte.is_ascii() { byte | 0x20 } else { *byte })
        })
    })
}

fn digit_word(word: &[u8]) -> Option<&'static str> {
    let packed = packed_word(word)?;
    let mut at = slot(packed);
    while DIGIT_WORDS[at].0 != 0 {
        if DIGIT_WORDS[at].0 == packed {
            return Some(DIGIT_WORDS[at].1);
        }
        at = (at + 1) % SLOTS;
    }
    None
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

/// `four one one one`, with spaces, commas, dashes or line breaks between.
fn digit_words(text: &str, range: Range<usize>, found: &mut Vec<Stretch>) {
    let bytes = text.as_bytes();
    // From a byte within a word, the word; none when it is longer than any that is looked for.
    let around = |at: usize| {
        let start = at
            - bytes[..at]
                .iter()
                .rev()
                .take(8)
                .take_while(|b| is_letter(**b))
                .count();
        let end = at + bytes[at..].iter().take(9).take_while(|b| is_letter(**b)).count();
        start..end
    };
    let gap = |byte: u8| matches!(byte, b' ' | b',' | b'-' | b'.' | b'\n' | b'\r' | b'\t');
    let mut done = range.start;
    let mut at = range.start;
    while at < range.end {
        let probe = at + bytes[at..].iter().take(3).take_while(|b| !is_letter(**b)).count();
        at += STRIDE;
        if probe >= bytes.len() || !is_letter(bytes[probe]) || probe < done {
            continue;
        }
        let word = around(probe);
        if digit_word(&bytes[word.clone()]).is_none() {
            continue;
        }
        let mut start = word.start;
        loop {
            let gaps = bytes[done..start]
                .iter()
                .rev()
                .take(3)
                .take_while(|b| gap(**b))
                .count();
            if gaps == 0 || start - gaps <= done {
                break;
            }
            let before = around(start - gaps - 1);
            if before.start < done || digit_word(&bytes[before.start..start - gaps]).is_none() {
                break;
            }
            start = before.start;
        }
        let mut says = String::new();
        let mut digits = 0;
        let mut end = start;
        let mut next = start;
        let mut times = 1;
        while next < bytes.len() && digits < MOST {
            let word = around(next);
            let Some(said) = (word.start == next)
                .then(|| digit_word(&bytes[word.clone()]))
                .flatten()
            else {
                break;
            };
            if let Some(repeated) = said.strip_prefix('=') {
                times = if repeated == "2" { 2 } else { 3 };
            } else {
                for _ in 0..std::mem::replace(&mut times, 1) {
                    says.push_str(said);
                    digits += said.bytes().filter(u8::is_ascii_digit).count();
                }
                end = word.end;
            }
            let gaps = bytes[word.end..].iter().take(3).take_while(|b| gap(**b)).count();
            if gaps == 0 {
                break;
            }
            next = word.end + gaps;
        }
        done = end.max(probe + 1);
        let says = says.trim();
        if digits >= LEAST_DIGITS {
            found.push(Stretch::text(start..end, says.to_owned()));
        }
    }
}

/// Names of domains that end an address which is spelled without brackets; any ending would make addresses of prose.
const ENDINGS: &[&str] = &[
    "com", "org", "net", "edu", "gov", "io", "info", "biz", "co", "uk", "de", "fr", "es", "it", "eu", "nl",
    "ch", "at", "pl", "pt", "se", "kr", "jp", "cn", "ca", "au", "br", "us", "dev", "app", "ai", "example",
    "test",
];

/// `john at example dot com`.
fn addresses(text: &str, range: Range<usize>, found: &mut Vec<Stretch>) {
    static DOTS: LazyLock<Option<packed::Searcher>> = LazyLock::new(|| {
        packed::Searcher::new([
            " dot ", " DOT ", " Dot ", " punkt ", " Punkt ", " punto ", " point ", "_dot_", "-dot-",
        ])
    });
    let Some(dots) = DOTS.as_ref() else { return };
    let end = text.len().min(range.end + 16);
    let mut done = range.start;
    for dot in dots.find_iter(&text.as_bytes()[range.start..end]) {
        let at = range.start + dot.start();
        if at >= done
            && let Some(stretch) = address(text, at, done)
        {
            done = stretch.source.end;
            found.push(stretch);
        }
    }
}

/// The address around its first spelled dot.
fn address(text: &str, dot: usize, least: usize) -> Option<Stretch> {
    let from = text.ceil_char_boundary(dot.saturating_sub(120).max(least));
    let to = text.floor_char_boundary((dot + 80).min(text.len()));
    let parts = |c: char| c.is_whitespace() || c == '_';
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '+');
    // Backwards: the host's first label, a word for `@`, the name, which may hold spelled signs itself.
    let mut start = dot;
    let mut next = dot;
    let mut words: Vec<&str> = Vec::new();
    let mut at_sign = None;
    for word in text[from..dot].rsplit(parts).take(9) {
        if word.is_empty() || !word.chars().all(in_word) {
            break;
        }
        if at_sign.is_some_and(|at: usize| words.len() > at + 1) {
            // Behind the name: only a spelled sign joins more to it.
            let joined = words
                .last()
                .is_some_and(|last| matches!(sign(last), Some('.' | '-' | '_')));
            if !joined && !matches!(sign(word), Some('.' | '-' | '_')) {
                break;
            }
        }
        if word != "a" && sign(word) == Some('@') && at_sign.is_none() && !words.is_empty() {
            at_sign = Some(words.len());
        }
        words.push(word);
        start = next - word.len();
        next = start.saturating_sub(1);
        if at_sign.is_none() && words.len() > 3 {
            return None;
        }
    }
    let at_sign = at_sign?;
    // A sign in front of the name joins it to nothing.
    let name = words.len() - 1;
    if name <= at_sign || sign(words[name]).is_some() {
        return None;
    }
    let plain = [
        "the", "a", "an", "this", "that", "our", "my", "your", "its", "one", "each",
    ];
    if words[..at_sign].iter().any(|word| plain.contains(word)) {
        return None;
    }
    let mut says = String::new();
    for (place, word) in words.iter().enumerate().rev() {
        match sign(word) {
            Some(c) if place == at_sign || c != '@' => says.push(c),
            _ => says.push_str(word),
        }
    }
    // Forwards: `dot` and a label, once or more.
    let mut end = dot;
    let mut last = "";
    let mut rest = text[dot..to].trim_start_matches(parts);
    while let Some((word, behind)) = rest.split_once(parts)
        && sign(word) == Some('.')
    {
        let behind = behind.trim_start_matches(parts);
        let label = behind
            .split(|c: char| !c.is_alphanumeric() && c != '-')
            .next()
            .unwrap_or_default();
        if label.is_empty() {
            break;
        }
        says.push('.');
        says.push_str(label);
        last = label;
        end = to - behind.len() + label.len();
        rest = behind[label.len()..].trim_start_matches(parts);
    }
    ENDINGS
        .contains(&last.to_ascii_lowercase().as_str())
        .then(|| Stretch::text(start..end, says))
}

/// Numbers in Chinese and Korean words for digits: `공일공-일이삼사-오육칠팔`.
fn numerals(text: &str, range: Range<usize>, found: &mut Vec<Stretch>) {
    let mut says = String::new();
    let mut row = 0..0;
    let mut finish = |says: &mut String, row: &Range<usize>| {
        let digits = says.bytes().filter(u8::is_ascii_digit).count();
        if digits >= LEAST_DIGITS {
            found.push(Stretch::text(
                row.clone(),
                says.trim_end_matches(['-', ' ']).to_owned(),
            ));
        }
        says.clear();
    };
    for (at, c) in text[range.clone()].char_indices() {
        let at = range.start + at;
        match numeral(c) {
            Some(digit) => {
                if says.is_empty() {
                    row.start = at;
                }
                says.push(digit);
                row.end = at + c.len_utf8();
            }
            None if matches!(c, '-' | ' ') && says.ends_with(|last: char| last.is_ascii_digit()) => {
                says.push(c)
            }
            None if !says.is_empty() => finish(&mut says, &row),
            None => {}
        }
    }
    finish(&mut says, &row);
}

fn numeral(c: char) -> Option<char> {
    Some(match c {
        '〇' | '零' | '공' | '영' => '0',
        '一' | '壹' | '일' => '1',
        '二' | '贰' | '이' => '2',
        '三' | '叁' | '삼' => '3',
        '四' | '肆' | '사' => '4',
        '五' | '伍' | '오' => '5',
        '六' | '陆' | '육' => '6',
        '七' | '柒' | '칠' => '7',
        '八' | '捌' | '팔' => '8',
        '九' | '玖' | '구' => '9',
        _ => return None,
    })
}
