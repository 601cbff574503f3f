//! How much one line, or one statement of a longer line, looks like code.
//!
//! [`points`] walks over the bytes once: words are looked up, pairs of operators, calls, assignments and the
//! spelling of names count for code, words that follow each other as in a sentence count against it.
//! What is inside quotes counts for neither.

use super::{
    languages::LANGUAGES,
    shapes,
    words::{self, Word},
};

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
const VOTE: u32 = 12;

pub(super) const SPACE: u8 = 0;
pub(super) const WORD: u8 = 1;
pub(super) const DIGIT: u8 = 2;
const QUOTE: u8 = 3;
/// What sentences hold as well.
const STOP: u8 = 4;
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

/// The signs of at most 2^16 bytes: the hard ones in the upper half, the soft ones in the lower.
fn signs(text: &[u8]) -> usize {
    let sum: u32 = text.iter().map(|byte| WEIGHT[usize::from(*byte)]).sum();
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
    let (mut letters, mut spaces) = (0, 0);
    for byte in bytes {
        let class = CLASS[usize::from(*byte)];
        letters += usize::from((class == WORD || class == DIGIT) && *byte != b'_');
        spaces += usize::from(class == SPACE);
    }
    if letters * 3 < bytes.len() - spaces && bytes.len() > 6 {
        // Lines, boxes, pictures made of signs.
        return Unit::Neutral;
    }
    if is_bracket(bytes) {
        return Unit::Code(1);
    }
    if is_data(bytes) {
        return Unit::Data;
    }
    if let Some((language, points)) = shapes::shape(bytes) {
        votes[language] = votes[language].saturating_add(VOTE as u16 * 2);
        return Unit::Code(points);
    }
    let mut walk = Walk::default();
    walk.over(bytes, votes);
    walk.judge(bytes)
}

/// Marks that begin a comment in one language or another.
fn is_comment(bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 16] = [
        b"//", b"/*", b"*/", b"* ", b"-- ", b"# ", b"% ", b"%% ", b"; ", b";; ", b"! ", b"\"\"\"", b"'''",
        b"(*", b"*>", b"<!--",
    ];
    MARKS.iter().any(|mark| bytes.starts_with(mark))
        || bytes == b"*"
        || bytes == b"#"
        || bytes == b"--"
        || (bytes.len() > 4 && bytes[..4].eq_ignore_ascii_case(b"rem "))
}

/// Only brackets and what ends them: it goes on with what it is in.
fn is_bracket(bytes: &[u8]) -> bool {
    bytes.len() <= 5 && bytes.iter().all(|b| b"{}[]();,".contains(b))
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
        let first = bytes
            .iter()
            .position(|b| !matches!(CLASS[usize::from(*b)], WORD))
            .unwrap_or(0);
        return words::look(&bytes[..first]).is_none_or(|word| word.everyday && count(b' ') < count(b','));
    }
    // `key: value`, but not `name: type = value` or `case x:`.
    if let Some(at) = bytes.windows(2).position(|pair| pair == b": ") {
        let key = bytes[..at].trim_ascii_start();
        let key = key.strip_prefix(b"- ").unwrap_or(key);
        let value = &bytes[at + 2..];
        let plain = key.iter().all(|b| {
            b.is_ascii_alphanumeric() || *b >= 0x80 || matches!(b, b'_' | b'-' | b'.' | b' ' | b'*' | b'/')
        });
        let codelike =
            value.contains(&b'=') || value.contains(&b'(') && value.contains(&b')') && !value.contains(&b' ');
        return plain
            && !matches!(last, b';' | b'{' | b'(')
            && !codelike
            && !key.starts_with(b"default")
            && !key.starts_with(b"else");
    }
    false
}

#[derive(Default)]
struct Walk {
    strong: i32,
    weak: i32,
    weak_first: bool,
    operators: i32,
    calls: i32,
    names: i32,
    /// Keywords of sentences, written in capitals.
    upper: i32,
    assigned: bool,
    /// Words that follow one another as in a sentence: now, and the most of them.
    run: i32,
    longest: i32,
    plain: i32,
    tokens: i32,
    call_ends: bool,
}

impl Walk {
    fn over(&mut self, bytes: &[u8], votes: &mut Votes) {
        let mut at = 0;
        // Whether a word here would go on with the sentence before it.
        let mut flows = true;
        while at < bytes.len() {
            let byte = bytes[at];
            match CLASS[usize::from(byte)] {
                SPACE => {
                    at += 1;
                }
                WORD => {
                    let end = word_end(bytes, at);
                    if bytes[end..].starts_with(b"://") {
                        // An address on the web says nothing, whatever is in it.
                        at = end
                            + bytes[end..]
                                .iter()
                                .position(|b| matches!(b, b' ' | b'"' | b'\'' | b'>' | b')' | b'`'))
                                .unwrap_or(bytes.len() - end);
                        self.stop();
                        self.tokens += 1;
                        continue;
                    }
                    self.word(bytes, at, end, flows, votes);
                    flows = true;
                    at = end;
                }
                DIGIT => {
                    at += 1;
                    while at < bytes.len()
                        && (bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_' | b'\''))
                    {
                        at += 1;
                    }
                    self.tokens += 1;
                }
                QUOTE => {
                    at = match string_end(bytes, at) {
                        Some(end) => {
                            self.stop();
                            self.tokens += 1;
                            end
                        }
                        None => at + 1,
                    };
                    flows = true;
                }
                STOP => {
                    let next = bytes.get(at + 1).copied().unwrap_or(b' ');
                    // `a.b` is no end of a sentence; `a. b` is.
                    flows = CLASS[usize::from(next)] == SPACE;
                    if pair(byte, next) {
                        self.operators += 1;
                        self.stop();
                        at += 2;
                        continue;
                    }
                    if byte == b'.'
                        && next.is_ascii_alphabetic()
                        && at > 0
                        && !bytes[at - 1].is_ascii_whitespace()
                    {
                        self.stop();
                        self.dotted(bytes, at);
                    } else if byte == b'.' || byte == b'-' {
                        let end = word_end(bytes, at + 1);
                        if end > at + 1 && (at == 0 || bytes[at - 1] == b' ') {
                            self.known(&bytes[at..end], votes);
                        }
                    }
                    at += 1;
                }
                _ => at = self.symbol(bytes, at, votes, &mut flows),
            }
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.longest = self.longest.max(self.run);
        self.run = 0;
    }

    fn word(&mut self, bytes: &[u8], start: usize, end: usize, flows: bool, votes: &mut Votes) {
        self.tokens += 1;
        let word = &bytes[start..end];
        let next = bytes.get(end).copied().unwrap_or(b' ');
        // `WS-TOTAL`, `Get-Item`, `font-size`: known as a whole.
        if next == b'-' && bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic) {
            let mut whole = end;
            while bytes.get(whole) == Some(&b'-')
                && bytes.get(whole + 1).is_some_and(u8::is_ascii_alphanumeric)
            {
                whole = word_end(bytes, whole + 1);
            }
            if self.known(&bytes[start..whole], votes) {
                return;
            }
            if shapes::is_verb_and_noun(word, &bytes[end + 1..whole]) {
                self.strong += 1;
                shapes::vote_for_verb(votes);
                return;
            }
        }
        let before = start.checked_sub(1).map(|at| bytes[at]);
        if let Some(found) = words::look(word) {
            vote(found, votes);
            if found.everyday {
                self.weak += 1;
                self.weak_first |= self.tokens == 1;
                self.upper += i32::from(word.len() > 1 && word.iter().all(u8::is_ascii_uppercase));
            } else {
                self.strong += 1;
                self.stop();
            }
            if next == b'(' && !matches!(bytes.get(end + 1), Some(b's')) {
                self.calls += 1;
            }
            // `SELECT`, `MOVE`, `IF` in capitals are no part of a sentence.
            if found.everyday && flows && !(word.len() > 1 && word.iter().all(u8::is_ascii_uppercase)) {
                self.run += 1;
            }
            return;
        }
        if is_coined(word) {
            self.names += 1;
            self.stop();
        } else if flows
            && word.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80)
            && !matches!(next, b'_' | b'=')
            && before.is_none_or(|b| !matches!(b, b'.' | b'$' | b'@' | b'#' | b'/' | b'\\' | b'&'))
        {
            self.run += 1;
            self.plain += 1;
        }
        // `word(s)` and the manual's `name(8)` are no calls.
        if next == b'(' && bytes.get(end + 2) != Some(&b')') || bytes[end..].starts_with(b"()") {
            self.calls += 1;
            self.stop();
        }
    }

    /// A word with the sign before it, as `#include`, `@Override`, `.subckt`.
    fn known(&mut self, word: &[u8], votes: &mut Votes) -> bool {
        let Some(found) = words::look(word) else {
            return false;
        };
        vote(found, votes);
        if found.everyday {
            self.weak += 1;
        } else {
            self.strong += 1;
        }
        true
    }

    fn dotted(&mut self, bytes: &[u8], at: usize) {
        let end = word_end(bytes, at + 1);
        if bytes.get(end) == Some(&b'(') {
            self.operators += 1;
        } else if bytes[at - 1] != b'.' && !bytes[at + 1..end].contains(&b'-') {
            // `a.b` might be a host, a file or an abbreviation.
            self.names += i32::from(end > at + 2 && !matches!(bytes.get(end), Some(b'.' | b'/')));
        }
    }

    fn symbol(&mut self, bytes: &[u8], at: usize, votes: &mut Votes, flows: &mut bool) -> usize {
        let byte = bytes[at];
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        let open = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        *flows = matches!(byte, b'(' | b')');
        // A comment behind code ends the walk: it may well be a sentence.
        if self.tokens > 0
            && at > 0
            && bytes[at - 1] != b':'
            && ((byte == b'/' && next == b'/') || (byte == b'#' && next == b' '))
        {
            self.stop();
            return bytes.len();
        }
        if !matches!(byte, b'/' | b'(' | b')' | b'*' | b'&' | b'+' | b'%') {
            self.stop();
        }
        if matches!(byte, b'#' | b'@' | b'$' | b'<' | b'%' | b'[') && open {
            let from = at
                + 1
                + usize::from(byte == b'<' && matches!(next, b'/' | b'!' | b'?'))
                + usize::from(byte == b'#' && next == b'[');
            let end = word_end(bytes, from.min(bytes.len()));
            if end > from {
                if self.known(&bytes[at..end], votes) {
                    self.tokens += 1;
                    return end;
                }
                if byte == b'$' || (byte == b'@' && at == 0 && from < end && !bytes[end..].contains(&b'@')) {
                    self.names += 1;
                    self.tokens += 1;
                    return end;
                }
            }
        }
        if pair(byte, next) {
            self.operators += 1;
            self.tokens += 1;
            // What is left of it may be an assignment, as in `x += 1` and `x := 1`.
            self.assigned |= next == b'=' && matches!(byte, b'+' | b'*' | b'|' | b'&' | b'/');
            return at + 2;
        }
        if byte == b'=' && at > 0 && self.tokens <= 6 {
            let left = bytes[..at].trim_ascii_end().last().copied().unwrap_or(b' ');
            let right = bytes[at + 1..]
                .trim_ascii_start()
                .first()
                .copied()
                .unwrap_or(b' ');
            if (left.is_ascii_alphanumeric()
                || matches!(left, b'_' | b']' | b')' | b'>' | b'*' | b'"' | b'}' | b'?'))
                && !matches!(right, b'=' | b' ')
            {
                self.assigned = true;
            }
        }
        if byte == b')' && at + 1 == bytes.len() && self.calls > 0 {
            self.call_ends = true;
        }
        self.tokens += i32::from(!matches!(byte, b'(' | b')' | b','));
        at + 1
    }

    fn judge(self, bytes: &[u8]) -> Unit {
        let last = bytes[bytes.len() - 1];
        let first = bytes[0];
        let keyword = self.weak_first || self.strong > 0;
        let sentence_end = matches!(last, b'.' | b'?' | b'!') || last >= 0x80;
        // What only code has; names that are put together are in chats and tables, too.
        let hard = self.strong + self.operators + self.calls + i32::from(self.assigned);
        let mut points =
            self.strong.min(3) * 2 + self.operators.min(3) + self.calls.min(2) + self.names.min(2);
        points += 2 * i32::from(self.assigned);
        // Capitals amid small letters, or amid names with hyphens, are meant as keywords.
        if self.upper > 0 && bytes.iter().any(|b| b.is_ascii_lowercase() || *b == b'-') {
            points += self.upper.min(3);
        }
        points += i32::from(self.weak_first && self.longest <= 3)
            + i32::from(self.weak >= 2 && self.plain <= self.weak && !sentence_end);
        points += match last {
            b';' if hard > 0 || bytes.len() < 3 => 2,
            b';' => 1,
            b'{' => 2,
            b'}' => 1,
            b':' if keyword => 2,
            b'(' | b'[' | b'\\' => 1,
            b',' if self.names + self.calls + self.operators > 0 => 1,
            b')' if self.call_ends => 1,
            _ => 0,
        };
        points += i32::from(matches!(first, b'}' | b')' | b'<'));
        // Sentences: their words follow one another, and little else is between them.
        let run = self.longest;
        if run >= 4 && last != b'{' && (self.plain >= 2 || sentence_end) {
            let share = self.plain * 2 >= self.tokens;
            points -= run - 2 + i32::from(share) + i32::from(sentence_end);
            if points < 2 {
                return Unit::Prose;
            }
        } else if run == 3 && self.plain >= 3 {
            points -= 1;
        }
        if sentence_end && self.plain >= 2 && self.operators + self.calls + self.strong == 0 {
            points -= 1;
        }
        if hard + self.upper == 0 && !self.weak_first && !matches!(last, b';' | b'{' | b'}') {
            points = points.min(1);
        }
        if first == b'<' && last == b'>' && self.strong == 0 {
            // Elements of a document that is not a page: data.
            return Unit::Data;
        }
        if bytes.len() > 60 && !bytes.contains(&b' ') && self.calls == 0 && self.strong == 0 {
            return Unit::Data;
        }
        match points {
            ..=0 if self.plain >= 4 => Unit::Prose,
            ..=0 => Unit::Neutral,
            points => Unit::Code(points.min(12) as u16),
        }
    }
}

pub(super) fn vote(word: Word, votes: &mut Votes) {
    let sure = if word.everyday { 1 } else { 2 };
    let worth = sure * VOTE / word.languages.count_ones().max(1) + 1;
    let mut languages = word.languages;
    while languages != 0 {
        let place = languages.trailing_zeros() as usize;
        votes[place] = votes[place].saturating_add(worth as u16);
        languages &= languages - 1;
    }
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
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
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

/// Two signs that make an operator or a thing of their own in code.
fn pair(first: u8, second: u8) -> bool {
    matches!(
        (first, second),
        (b'=', b'=' | b'>' | b'~')
            | (b'!', b'=' | b'!' | b'(' | b'[')
            | (b'-', b'>' | b'=')
            | (b':', b':' | b'=')
            | (b'+', b'=' | b'+')
            | (b'*', b'=' | b'(')
            | (b'&', b'&' | b'=' | b'^')
            | (b'|', b'|' | b'>' | b'=')
            | (b'<', b'=' | b'<' | b'-' | b'/' | b'?' | b'%')
            | (b'>', b'=' | b'>' | b'(' | b'{')
            | (b'/', b'>' | b'=')
            | (
                b'(',
                b')' | b'*' | b'&' | b'"' | b'\'' | b'{' | b'[' | b'!' | b'('
            )
            | (b'[', b']' | b':' | b'\'' | b'"' | b'[')
            | (b'{', b'}' | b'{' | b'"' | b'\'' | b'%')
            | (b')', b';' | b'{' | b'.' | b'[' | b'(' | b')')
            | (b']', b';' | b'[' | b'.' | b'(' | b')' | b'=')
            | (b'}', b')' | b'}' | b';')
            | (b'$', b'{' | b'(')
            | (b'#', b'{' | b'[')
            | (b'?', b'.' | b'-' | b':' | b'>')
            | (b'@', b'(' | b'{')
            | (b'.', b'*' | b'=')
            | (b'\\', b'n' | b't')
            | (b';', b';')
    )
}

/// `snake_case`, `camelCase`, `name2x`: words that are put together as no language puts them.
fn is_coined(word: &[u8]) -> bool {
    if !word.is_ascii() {
        return false;
    }
    let mut before = b' ';
    for (at, byte) in word.iter().enumerate() {
        if (*byte == b'_' && word.len() > 1)
            || (at > 0 && byte.is_ascii_uppercase() && before.is_ascii_lowercase())
        {
            return true;
        }
        if byte.is_ascii_digit() && at > 0 && before.is_ascii_lowercase() {
            return true;
        }
        before = *byte;
    }
    // A single letter is a name in code; `a` and `I` are words.
    word.len() == 1 && !matches!(word[0], b'a' | b'A' | b'I')
}
