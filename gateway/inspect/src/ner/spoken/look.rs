//! A look at the words of a line: how many there are, how they are written, how they follow each other.

/// What a line holds.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Bytes that are no blanks.
    pub(super) solid: usize,
    /// Bytes in words.
    pub(super) in_words: usize,
    /// Words that stand free: not in an identifier, a path, a host, an id.
    pub(super) words: usize,
    /// Of these, those with a capital and small letters behind it.
    pub(super) capitals: usize,
    /// Of these, those that tables give as a state: `Running`, `True`.
    pub(super) states: usize,
    /// The most words in small letters or with a capital that follow each other over blanks.
    pub(super) longest_run: usize,
    /// The most words with a capital that do.
    pub(super) capitals_in_row: usize,
    /// Signs that sentences hardly have.
    pub(super) signs: usize,
    pub(super) letters_and_digits: usize,
    /// Whether there are letters of a script without capitals.
    pub(super) uncased: bool,
}

/// How a word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Small,
    Capital,
    /// `ISBN`
    Capitals,
    /// An initial or a word of one letter.
    Letter,
    /// An identifier, a hexadecimal number: no word.
    None,
}

/// The longest word of a language that is met in practice.
const LONGEST_WORD: usize = 28;

impl Look {
    pub(super) fn at(line: &str) -> Self {
        let mut look = Self::default();
        for c in line.chars() {
            look.solid += if c.is_whitespace() { 0 } else { c.len_utf8() };
            look.signs += usize::from(is_sign(c));
            look.letters_and_digits += usize::from(c.is_alphanumeric());
            look.uncased |= !c.is_ascii() && c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase();
        }
        let (mut run, mut row) = (0, 0);
        let mut last = 0;
        for chunk in chunks(line) {
            let start = chunk.as_ptr() as usize - line.as_ptr() as usize;
            let follows = run > 0 && follows(&line[last..start]);
            last = start + chunk.len();
            if !follows {
                (run, row) = (0, 0);
            }
            let mut free = false;
            for word in words_of(chunk) {
                let shape = shape(word);
                if shape == Shape::None {
                    (run, row) = (0, 0);
                    continue;
                }
                free = true;
                look.words += 1;
                look.in_words += word.len();
                match shape {
                    Shape::Capital => {
                        run += 1;
                        row += 1;
                        look.capitals += 1;
                        look.states += usize::from(is_state(word));
                    }
                    Shape::Small | Shape::Letter => {
                        run += 1;
                        row = if shape == Shape::Letter { row } else { 0 };
                    }
                    _ => (run, row) = (0, 0),
                }
                look.longest_run = look.longest_run.max(run);
                look.capitals_in_row = look.capitals_in_row.max(row);
            }
            if !free {
                (run, row) = (0, 0);
            }
        }
        look
    }
}

fn is_sign(c: char) -> bool {
    matches!(
        c,
        ';' | '{'
            | '}'
            | '['
            | ']'
            | '<'
            | '>'
            | '='
            | '$'
            | '#'
            | '&'
            | '|'
            | '*'
            | '\\'
            | '+'
            | '^'
            | '~'
            | '%'
            | '_'
    )
}

/// What stands between blanks, brackets, quotes and the like, without punctuation at its ends.
fn chunks(line: &str) -> impl Iterator<Item = &str> {
    let border = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '(' | ')'
                    | '['
                    | ']'
                    | '{'
                    | '}'
                    | '<'
                    | '>'
                    | '"'
                    | '“'
                    | '”'
                    | '„'
                    | '«'
                    | '»'
                    | '`'
                    | ','
                    | ':'
                    | ';'
                    | '='
                    | '|'
                    | '~'
                    | '^'
            )
    };
    line.split(border)
        .map(|chunk| chunk.trim_matches(['.', '!', '?', '\'', '’', '-', '*', '…', '–', '—']))
        .filter(|chunk| !chunk.is_empty())
}

/// Whether words on both sides of this follow each other as in a sentence.
fn follows(between: &str) -> bool {
    between.contains(' ')
        && between.chars().all(|c| {
            c == ' '
                || matches!(
                    c,
                    '.' | '!' | '?' | '\'' | '’' | '-' | ',' | '"' | '“' | '”' | '(' | ')' | ':'
                )
        })
        && between.len() <= 4
}

/// The words of a chunk: `Okonkwo-Reyes`, `he/she`, `end.Then`; none of a path, a host, an address of mail, an id.
fn words_of(chunk: &str) -> impl Iterator<Item = &str> {
    let plain = |c: char| c.is_alphabetic() || matches!(c, '\'' | '’' | '-');
    let stops = |c: char| matches!(c, '.' | '/');
    let slashes = chunk.bytes().filter(|byte| *byte == b'/').count();
    let bytes = chunk.as_bytes();
    // `example.org` and `main.rs` go on in small letters behind the stop.
    let host = bytes
        .windows(2)
        .any(|pair| pair[0] == b'.' && pair[1].is_ascii_lowercase());
    let whole = chunk.chars().all(|c| plain(c) || stops(c)) && slashes <= 1 && !host;
    let words = if whole { chunk } else { "" };
    words.split(['.', '/', '-']).filter(|word| !word.is_empty())
}

fn shape(word: &str) -> Shape {
    let word = word.trim_start_matches(|c: char| !c.is_alphabetic());
    let Some(first) = word.chars().next() else {
        return Shape::None;
    };
    let rest = &word[first.len_utf8()..];
    if !rest.contains(char::is_alphabetic) {
        return Shape::Letter;
    }
    if word.len() > LONGEST_WORD {
        return Shape::None;
    }
    let big = |text: &str| text.chars().filter(|c| c.is_uppercase()).count();
    let capitals = big(rest);
    if !first.is_uppercase() {
        let spoken = !word.is_ascii() || is_spoken(word.as_bytes());
        return if capitals == 0 && spoken {
            Shape::Small
        } else {
            Shape::None
        };
    }
    if capitals == 0 {
        return Shape::Capital;
    }
    if rest.chars().all(|c| c.is_uppercase() || !c.is_alphabetic()) {
        return Shape::Capitals;
    }
    // `McDonald`, `DiCaprio`, `O'Brien`, not `CrashLoopBackOff`.
    let second = word
        .char_indices()
        .skip(1)
        .find(|(_, c)| c.is_uppercase())
        .map_or(0, |(at, _)| at);
    if capitals == 1 && second <= 4 && !word.ends_with(char::is_uppercase) {
        Shape::Capital
    } else {
        Shape::None
    }
}

/// Whether small letters can be said as a word: they have a vowel, and are no hexadecimal number.
fn is_spoken(word: &[u8]) -> bool {
    let vowel = |byte: &u8| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let hexadecimal = word.len() >= 6 && word.iter().all(u8::is_ascii_hexdigit);
    !hexadecimal && (word.len() <= 3 || word.iter().any(vowel))
}

/// Words with a capital that tables and logs give as a state or a day.
fn is_state(word: &str) -> bool {
    const STATES: &[&str] = &[
        "Active",
        "Apr",
        "Aug",
        "Completed",
        "Created",
        "Debug",
        "Dec",
        "Done",
        "Error",
        "Exited",
        "Failed",
        "False",
        "Feb",
        "Fri",
        "Healthy",
        "Info",
        "Jan",
        "Jul",
        "Jun",
        "Mar",
        "May",
        "Mon",
        "None",
        "Nov",
        "Null",
        "Oct",
        "Ok",
        "Pending",
        "Ready",
        "Running",
        "Sat",
        "Sep",
        "Succeeded",
        "Sun",
        "Terminating",
        "Thu",
        "True",
        "Tue",
        "Unknown",
        "Up",
        "Warn",
        "Warning",
        "Wed",
        "Yes",
        "No",
    ];
    STATES.contains(&word)
}

/// The quotations and comments of a line of code, and what stands between tags.
pub(super) fn quotations(line: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    let bytes = line.as_bytes();
    let mut first = true;
    std::iter::from_fn(move || {
        if std::mem::take(&mut first)
            && let Some(comment) = comment(line)
        {
            at = line.len();
            return Some(comment);
        }
        while at < bytes.len() {
            let here = at;
            at += 1;
            match bytes[here] {
                quote @ (b'"' | b'\'' | b'`') => {
                    let length = closing(&bytes[at..], quote);
                    let quotation = at..at + length;
                    at = (quotation.end + 1).min(bytes.len());
                    if !quotation.is_empty() {
                        return line.get(quotation);
                    }
                }
                b'>' => {
                    if let Some(length) = memchr::memchr(b'<', &bytes[at..]) {
                        let between = at..at + length;
                        at = between.end;
                        if !between.is_empty() {
                            return line.get(between);
                        }
                    }
                }
                b'/' if matches!(bytes.get(at), Some(b'/' | b'*'))
                    && (here == 0 || bytes[here - 1] != b':') =>
                {
                    at = bytes.len();
                    return line.get(here + 2..);
                }
                b'#' | b'-'
                    if here > 0
                        && bytes[here - 1] == b' '
                        && (bytes[here] == b'#' || bytes.get(at) == Some(&b'-'))
                        && bytes.get(at + usize::from(bytes[here] == b'-')) == Some(&b' ') =>
                {
                    let start = at + 1;
                    at = bytes.len();
                    return line.get(start..);
                }
                _ => {}
            }
        }
        None
    })
}

/// The line as a comment, when its first sign makes it one.
fn comment(line: &str) -> Option<&str> {
    const MARKS: [&str; 9] = ["//", "/*", "* ", "# ", "-- ", "; ", "% ", "<!--", "\"\"\""];
    let line = line.trim_start();
    MARKS.iter().find_map(|mark| line.strip_prefix(mark))
}

/// Where a quotation ends.
fn closing(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += 1 + usize::from(rest[at] == b'\\');
    }
    at.min(rest.len())
}
