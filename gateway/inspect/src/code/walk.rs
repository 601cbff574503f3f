//! One walk over the bytes of a unit, which weighs what it meets.
//!
//! Words are looked up, pairs of operators, calls, assignments and the spelling of names count for code, words
//! that follow each other as in a sentence count against it. What is inside quotes counts for neither.

use super::{
    shapes,
    unit::{CLASS, DIGIT, QUOTE, SPACE, STOP, Unit, VOTE, Votes, WORD, string_end, word_end},
    words::{self, Word},
};

#[derive(Default)]
pub(super) struct Walk {
    pub(super) strong: i32,
    pub(super) weak: i32,
    weak_first: bool,
    operators: i32,
    calls: i32,
    names: i32,
    /// Keywords of sentences, written in capitals.
    upper: i32,
    assigned: bool,
    /// No number stands before the assignment.
    named: bool,
    strings: i32,
    numbers: i32,
    /// Words that follow one another as in a sentence: now, and the most of them.
    run: i32,
    longest: i32,
    plain: i32,
    tokens: i32,
    call_ends: bool,
}

impl Walk {
    pub(super) fn over(&mut self, bytes: &[u8], votes: &mut Votes) {
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
                    self.numbers += 1;
                }
                QUOTE => {
                    at = match string_end(bytes, at) {
                        Some(end) => {
                            self.stop();
                            self.tokens += 1;
                            self.strings += 1;
                            end
                        }
                        None => at + 1,
                    };
                    flows = true;
                }
                STOP => {
                    let next = bytes.get(at + 1).copied().unwrap_or(b' ');
                    if let Some(end) = face_end(bytes, at) {
                        at = end;
                        flows = false;
                        continue;
                    }
                    // `a.b` is no end of a sentence; `a. b` is.
                    flows = CLASS[usize::from(next)] == SPACE;
                    if pair(byte, next) && !(next == b':' && is_label(bytes, at)) {
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
            if next == b'(' && !matches!(bytes.get(end + 1), Some(b's')) && bytes.get(end + 2) != Some(&b')')
            {
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
        // `sources.list(5)` is a page of a manual.
        if bytes.get(end) == Some(&b'(') && bytes.get(end + 2) != Some(&b')')
            || bytes[end..].starts_with(b"()")
        {
            self.operators += 1;
        } else if bytes[at - 1] != b'.' && !bytes[at + 1..end].contains(&b'-') {
            // `a.b` might be a host, a file or an abbreviation.
            self.names += i32::from(end > at + 2 && !matches!(bytes.get(end), Some(b'.' | b'/')));
        }
    }

    fn symbol(&mut self, bytes: &[u8], at: usize, votes: &mut Votes, flows: &mut bool) -> usize {
        let byte = bytes[at];
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        if let Some(end) = face_end(bytes, at) {
            *flows = false;
            return end;
        }
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
        // `%name%` and `%1` of batch files.
        if byte == b'%' && next.is_ascii_alphabetic() {
            let end = word_end(bytes, at + 1);
            if bytes.get(end) == Some(&b'%') {
                self.operators += 1;
                self.tokens += 1;
                return end + 1;
            }
        }
        if byte == b')' && self.calls == 0 && matches!(next, b';' | b'.') && bytes[..at].contains(&b'(') {
            // `(see above);` and `(1).` in sentences and lists.
            return at + 1;
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
                self.named |= self.numbers == 0;
            }
        }
        if byte == b')' && at + 1 == bytes.len() && self.calls > 0 {
            self.call_ends = true;
        }
        self.tokens += i32::from(!matches!(byte, b'(' | b')' | b','));
        at + 1
    }

    pub(super) fn judge(self, bytes: &[u8]) -> Unit {
        let last = bytes[bytes.len() - 1];
        let first = bytes[0];
        let keyword = self.weak_first || self.strong > 0;
        let sentence_end = matches!(last, b'.' | b'?' | b'!') || last >= 0x80;
        // `Hardware = granite, diamond` and `A = IPv4` are said by people, too.
        let worded = self.assigned
            && self.strong + self.operators + self.calls + self.strings == 0
            && !self.weak_first
            && !matches!(last, b';' | b'{' | b',');
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
        // What stands between the tags of a page is a sentence, and source nevertheless.
        let tagged =
            first == b'<' && self.strong > 0 && bytes.windows(2).any(|pair| pair == b"</" || pair == b"/>");
        if tagged {
            points = points.max(3);
        } else if bytes.starts_with(b"echo ") || bytes.starts_with(b"echo.") {
            // What a script says is a sentence.
            points = points.max(2);
        } else if run >= 4 && last != b'{' && (self.plain >= 2 || sentence_end) {
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
        if self.numbers >= 6
            && self.numbers * 3 >= self.tokens
            && self.strong + self.calls == 0
            && !(self.assigned && self.named)
        {
            // Rows of a table, of an index, of measurements.
            return Unit::Data;
        }
        if bytes.len() > 60 && !bytes.contains(&b' ') && self.calls == 0 && self.strong == 0 {
            return Unit::Data;
        }
        if worded {
            points = points.min(if self.plain >= 2 { 1 } else { 2 });
        }
        // `import os.path`, `Imports System.Text;`
        if self.tokens == 2 && self.names + self.operators > 0 && is_import(bytes) {
            points = points.max(3);
        }
        // `require "x"`, `echo "x"`; a list that goes on in the next line, as in a Makefile.
        if self.weak_first && self.tokens == 2 && self.strings == 1 {
            points = points.max(2);
        }
        if bytes.ends_with(b" \\") && self.tokens > 1 && self.plain < 4 {
            points = points.max(2);
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

/// The end of the face that begins here: `:)`, `;-P`, `:D`.
fn face_end(bytes: &[u8], at: usize) -> Option<usize> {
    if !matches!(bytes[at], b':' | b';')
        || at > 0 && !matches!(bytes[at - 1], b' ' | b'.' | b'!' | b'?' | b',')
    {
        return None;
    }
    let mouth = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'o' | b'\'')));
    if !matches!(
        bytes.get(mouth),
        Some(
            b')' | b'('
                | b'P'
                | b'p'
                | b'D'
                | b'd'
                | b'/'
                | b'\\'
                | b'>'
                | b'<'
                | b'|'
                | b'*'
                | b'O'
                | b'o'
                | b'S'
                | b'x'
                | b']'
                | b'['
                | b'3'
        )
    ) {
        return None;
    }
    let mut end = mouth + 1;
    while end < bytes.len() && bytes[end] == bytes[mouth] {
        end += 1;
    }
    // `:)` at the end of code is `case (x:)`, which nobody writes with a space before the colon.
    (end == bytes.len() || matches!(bytes[end], b' ' | b'.' | b',' | b'!' | b'?')).then_some(end)
}

/// `key:: value` and `key::`: behind two colons code has a name, and before them a space where it has none.
fn is_label(bytes: &[u8], at: usize) -> bool {
    at > 0
        && bytes[at] == b':'
        && bytes[at - 1] != b' '
        && bytes.get(at + 2).is_none_or(|b| matches!(b, b' ' | b':'))
}

/// Begins with a word that takes another file or module in.
fn is_import(bytes: &[u8]) -> bool {
    let word = &bytes[..word_end(bytes, 0)];
    [
        "import",
        "imports",
        "using",
        "package",
        "from",
        "use",
        "include",
        "require",
        "module",
        "namespace",
        "open",
        "with",
    ]
    .iter()
    .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
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
            | (b']', b';' | b'[' | b'.' | b'(' | b')' | b'=' | b',')
            | (b'}', b')' | b'}' | b';' | b',')
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

#[cfg(test)]
mod tests {
    use super::{
        super::{languages::LANGUAGES, unit::unit},
        *,
    };

    fn of(line: &str) -> Unit {
        unit(line, &mut [0; LANGUAGES.len()])
    }

    #[test]
    fn what_people_write_with_signs_is_no_statement() {
        for line in [
            "Hardware = granite, diamond, eggs",
            "that was late ;) and again :-P",
            "see sources.list(5)",
            "able%3:00:00:: 1 7",
            "YRRRXXVVtt+++ii=:;:::;==",
            "00001740 00 a 01 able 0 005 = 05200169 n 0000 = 05616246 n 0000",
        ] {
            assert!(!matches!(of(line), Unit::Code(2..)), "{line}: {:?}", of(line));
        }
    }

    #[test]
    fn statements_with_few_signs_are_told() {
        for line in [
            "import os.path",
            "require \"rack/auth\"",
            "Include/object.h \\",
            "inputText: `{`,",
            "margin-top: 4px;",
            "%BUILD% -b html %OPTIONS%",
            "AddLanguage ja .ja",
            "val size : Int,",
        ] {
            assert!(matches!(of(line), Unit::Code(2..)), "{line}: {:?}", of(line));
        }
    }
}
