//! The words of a PDF content stream, which maps of characters are written in as well.
//!
//! Limits: one pass, nothing is nested; a string is as long as it is in the stream.
//!
//! On failure: bytes that fit nowhere are passed over, as viewers do it.

use memchr::memmem;

#[derive(Debug, PartialEq)]
pub(super) enum Word<'b> {
    Number(f64),
    Name(&'b [u8]),
    String(Vec<u8>),
    /// `[`, `]`, `<<` or `>>`.
    Bracket(u8),
    Operator(&'b [u8]),
}

pub(super) struct Lexer<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Lexer<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn regular(&mut self) -> &'b [u8] {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || *byte == 0 || b"()<>[]{}/%".contains(byte))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A string in parentheses, whose opening one has been read.
    fn literal(&mut self) -> Vec<u8> {
        let mut string = Vec::new();
        let mut depth = 1_usize;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    self.escape(&mut string);
                    continue;
                }
                _ => {}
            }
            string.push(byte);
        }
        string
    }

    fn escape(&mut self, string: &mut Vec<u8>) {
        let Some(byte) = self.peek() else { return };
        self.at += 1;
        match byte {
            b'n' => string.push(b'\n'),
            b'r' => string.push(b'\r'),
            b't' => string.push(b'\t'),
            b'b' => string.push(8),
            b'f' => string.push(12),
            b'\r' => self.at += usize::from(self.peek() == Some(b'\n')),
            b'\n' => {}
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else {
                        break;
                    };
                    value = value * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                string.push(value as u8);
            }
            _ => string.push(byte),
        }
    }

    fn hex(&mut self) -> Vec<u8> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr(b'>', rest).unwrap_or(rest.len());
        self.at += (end + 1).min(rest.len());
        let mut digits: Vec<u8> = rest[..end]
            .iter()
            .filter_map(|byte| char::from(*byte).to_digit(16).map(|digit| digit as u8))
            .collect();
        if !digits.len().is_multiple_of(2) {
            digits.push(0);
        }
        let pairs = digits.as_chunks::<2>().0.iter();
        pairs.map(|[high, low]| high << 4 | low).collect()
    }

    /// Passes over an inline picture, whose `ID` has been read.
    pub(super) fn skip_picture(&mut self) {
        let mut from = self.at;
        // The picture's bytes may hold the mark of its end by chance, but hardly with white space around it.
        while let Some(found) = memmem::find(&self.bytes[from..], b"EI") {
            let at = from + found;
            let is_apart =
                |byte: Option<&u8>| byte.is_none_or(|byte| byte.is_ascii_whitespace() || *byte == 0);
            if is_apart(self.bytes.get(at.wrapping_sub(1))) && is_apart(self.bytes.get(at + 2)) {
                self.at = at + 2;
                return;
            }
            from = at + 2;
        }
        self.at = self.bytes.len();
    }
}

impl<'b> Iterator for Lexer<'b> {
    type Item = Word<'b>;

    fn next(&mut self) -> Option<Word<'b>> {
        loop {
            let byte = self.peek()?;
            self.at += 1;
            return Some(match byte {
                b'%' => {
                    let rest = &self.bytes[self.at..];
                    self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    continue;
                }
                b'/' => Word::Name(self.regular()),
                b'(' => Word::String(self.literal()),
                b'<' if self.peek() == Some(b'<') => {
                    self.at += 1;
                    Word::Bracket(b'<')
                }
                b'<' => Word::String(self.hex()),
                b'>' if self.peek() == Some(b'>') => {
                    self.at += 1;
                    Word::Bracket(b'>')
                }
                b'[' | b']' => Word::Bracket(byte),
                b')' | b'>' | b'{' | b'}' | 0 => continue,
                _ if byte.is_ascii_whitespace() => continue,
                _ => {
                    self.at -= 1;
                    let word = self.regular();
                    match number(word) {
                        Some(number) => Word::Number(number),
                        None => Word::Operator(word),
                    }
                }
            });
        }
    }
}

fn number(word: &[u8]) -> Option<f64> {
    // Not `inf` or `nan`, which Rust would take.
    if !word
        .iter()
        .all(|byte| byte.is_ascii_digit() || b"+-.".contains(byte))
    {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let words: Vec<Word<'_>> =
            Lexer::new(b"BT /F1 -.5 Tf[(a\\(b(c)\\101) 12<414 2>]TJ % no\n<</A(x)>>inf").collect();
        assert_eq!(
            words,
            [
                Word::Operator(b"BT"),
                Word::Name(b"F1"),
                Word::Number(-0.5),
                Word::Operator(b"Tf"),
                Word::Bracket(b'['),
                Word::String(b"a(b(c)A".to_vec()),
                Word::Number(12.0),
                Word::String(b"AB".to_vec()),
                Word::Bracket(b']'),
                Word::Operator(b"TJ"),
                Word::Bracket(b'<'),
                Word::Name(b"A"),
                Word::String(b"x".to_vec()),
                Word::Bracket(b'>'),
                Word::Operator(b"inf"),
            ]
        );
    }

    #[test]
    fn pictures_are_passed_over() {
        let mut lexer = Lexer::new(b"ID \x00EI\x01 (x) EI Q");
        assert_eq!(lexer.next(), Some(Word::Operator(b"ID")));
        lexer.skip_picture();
        assert_eq!(lexer.next(), Some(Word::Operator(b"Q")));
    }
}
