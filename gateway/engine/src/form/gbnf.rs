//! GBNF, llama.cpp's own notation for grammars, in llguidance's Lark.
//!
//! The whole notation is read: rules, literals with escapes, character classes, `.`, groups, `|`, `*`, `+`, `?`, `{m,n}`, comments. Source: `grammars/README.md` of
//! llama.cpp. Token references (`<[1000]>`) are not.
//!
//! Limits: [`DEPTH`] groups in one another, repetitions up to [`REPETITIONS`].
//!
//! On failure: [`NoGrammar`], which says the line and quotes nothing.

use std::fmt::Write as _;

const DEPTH: usize = 64;
const REPETITIONS: u32 = 10_000;

/// It is no grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the grammar is not understood")]
pub(crate) struct NoGrammar {
    pub(crate) line: usize,
}

/// The same grammar in Lark.
pub(crate) fn to_lark(source: &str) -> Result<String, NoGrammar> {
    let mut reader = Reader {
        source: source.as_bytes(),
        text: source,
        at: 0,
        lark: String::new(),
    };
    reader.blanks(true);
    while reader.at < reader.source.len() {
        reader.rule()?;
        reader.blanks(true);
    }
    if reader.lark.is_empty() {
        return Err(reader.fault());
    }
    Ok(format!("start: r_root\n{}", reader.lark))
}

struct Reader<'s> {
    source: &'s [u8],
    text: &'s str,
    at: usize,
    lark: String,
}

impl Reader<'_> {
    fn fault(&self) -> NoGrammar {
        let read = &self.source[..self.at.min(self.source.len())];
        NoGrammar {
            line: 1 + read.iter().filter(|&&byte| byte == b'\n').count(),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let there = self.source[self.at..].starts_with(wanted.as_bytes());
        if there {
            self.at += wanted.len();
        }
        there
    }

    /// Skips blanks and comments, and ends of lines where they mean nothing.
    fn blanks(&mut self, lines: bool) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' if lines => self.at += 1,
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => break,
            }
        }
    }

    /// A rule's name, as Lark may have it.
    fn name(&mut self) -> Result<String, NoGrammar> {
        let from = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        {
            self.at += 1;
        }
        if from == self.at {
            return Err(self.fault());
        }
        // Lark takes capitals for another kind of rule, and knows no hyphen: each is written so that no two names become one.
        let mut name = "r_".to_owned();
        for letter in self.text[from..self.at].chars() {
            match letter {
                '-' => name.push_str("_h"),
                '_' => name.push_str("_u"),
                letter if letter.is_ascii_uppercase() => {
                    name.push_str("_c");
                    name.push(letter.to_ascii_lowercase());
                }
                letter => name.push(letter),
            }
        }
        Ok(name)
    }

    fn rule(&mut self) -> Result<(), NoGrammar> {
        let name = self.name()?;
        self.blanks(false);
        if !self.take("::=") {
            return Err(self.fault());
        }
        self.blanks(true);
        let alternatives = self.alternatives(0)?;
        self.blanks(false);
        if self.peek().is_some_and(|byte| byte != b'\n' && byte != b'\r') {
            return Err(self.fault());
        }
        let _ = writeln!(self.lark, "{name}: {alternatives}");
        Ok(())
    }

    fn alternatives(&mut self, depth: usize) -> Result<String, NoGrammar> {
        if depth > DEPTH {
            return Err(self.fault());
        }
        let mut written = self.sequence(depth)?;
        loop {
            // An alternative may go on in the next line.
            let before = self.at;
            self.blanks(true);
            if !self.take("|") {
                // Blanks between rules are not ours.
                if depth == 0 {
                    self.at = before;
                }
                return Ok(written);
            }
            self.blanks(true);
            written.push_str(" | ");
            written.push_str(&self.sequence(depth)?);
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<String, NoGrammar> {
        let mut parts = Vec::new();
        while let Some(byte) = self.peek() {
            let part = match byte {
                b'"' => self.literal()?,
                b'[' => self.class()?,
                b'.' => {
                    self.at += 1;
                    "/(?s:.)/".to_owned()
                }
                b'(' => {
                    self.at += 1;
                    self.blanks(true);
                    let inner = self.alternatives(depth + 1)?;
                    self.blanks(true);
                    if !self.take(")") {
                        return Err(self.fault());
                    }
                    format!("({inner})")
                }
                byte if byte.is_ascii_alphanumeric() => self.name()?,
                _ => break,
            };
            parts.push(self.repeated(part)?);
            self.blanks(depth > 0);
        }
        Ok(if parts.is_empty() {
            "\"\"".to_owned()
        } else {
            parts.join(" ")
        })
    }

    fn repeated(&mut self, part: String) -> Result<String, NoGrammar> {
        match self.peek() {
            Some(sign @ (b'*' | b'+' | b'?')) => {
                self.at += 1;
                Ok(format!("{part}{}", char::from(sign)))
            }
            Some(b'{') => {
                self.at += 1;
                let least = self.number()?;
                let most = if self.take(",") {
                    if self.peek() == Some(b'}') {
                        None
                    } else {
                        Some(self.number()?)
                    }
                } else {
                    Some(least)
                };
                if !self.take("}") || most.is_some_and(|most| most < least) {
                    return Err(self.fault());
                }
                Ok(match most {
                    Some(most) => format!("{part}{{{least},{most}}}"),
                    None => format!("{part}{{{least},}}"),
                })
            }
            _ => Ok(part),
        }
    }

    fn number(&mut self) -> Result<u32, NoGrammar> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text[from..self.at]
            .parse()
            .ok()
            .filter(|number| *number <= REPETITIONS)
            .ok_or_else(|| self.fault())
    }

    /// One character, escapes read.
    fn letter(&mut self) -> Result<char, NoGrammar> {
        let letter = self.text[self.at..].chars().next().ok_or_else(|| self.fault())?;
        self.at += letter.len_utf8();
        if letter != '\\' {
            return if letter == '\n' {
                Err(self.fault())
            } else {
                Ok(letter)
            };
        }
        let escape = self.text[self.at..].chars().next().ok_or_else(|| self.fault())?;
        self.at += escape.len_utf8();
        let digits = match escape {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            '"' | '\\' | '[' | ']' | '-' | '^' => return Ok(escape),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(self.fault()),
        };
        let hex = self
            .text
            .get(self.at..self.at + digits)
            .ok_or_else(|| self.fault())?;
        let letter = u32::from_str_radix(hex, 16)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| self.fault())?;
        self.at += digits;
        Ok(letter)
    }

    fn literal(&mut self) -> Result<String, NoGrammar> {
        self.at += 1;
        let mut literal = String::new();
        while !self.take("\"") {
            literal.push(self.letter()?);
        }
        // JSON's way of writing text is also Lark's.
        serde_json::to_string(&literal).map_err(|_| self.fault())
    }

    fn class(&mut self) -> Result<String, NoGrammar> {
        self.at += 1;
        let mut class = "/[".to_owned();
        if self.take("^") {
            class.push('^');
        }
        let mut is_empty = true;
        while !self.take("]") {
            let first = self.letter()?;
            push(&mut class, first);
            let is_range =
                self.peek() == Some(b'-') && self.source.get(self.at + 1).is_some_and(|&next| next != b']');
            if is_range {
                self.at += 1;
                let last = self.letter()?;
                if last < first {
                    return Err(self.fault());
                }
                class.push('-');
                push(&mut class, last);
            }
            is_empty = false;
        }
        if is_empty {
            return Err(self.fault());
        }
        class.push_str("]/");
        Ok(class)
    }
}

/// A character of a class, by its number: so none of them means anything in the expression.
fn push(class: &mut String, letter: char) {
    if letter.is_ascii_alphanumeric() {
        class.push(letter);
    } else {
        let _ = write!(class, "\\u{{{:x}}}", u32::from(letter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_lark_has_them() {
        let lark =
            to_lark("# A list.\nroot ::= item+ # one or more\nitem ::= \"- \" [^\\n\"-]{1,3} \"\\n\"\n")
                .unwrap();
        assert_eq!(
            lark,
            "start: r_root\nr_root: r_item+\nr_item: \"- \" /[^\\u{a}\\u{22}\\u{2d}]/{1,3} \"\\n\"\n"
        );
        let lark = to_lark("root ::= (a-B | \"x\")? |\n  a_b\na-B ::= [a-z] .\na_b ::= \"\"").unwrap();
        assert!(lark.contains("r_root: (r_a_h_cb | \"x\")? | r_a_ub\n"), "{lark}");
        assert!(lark.contains("r_a_h_cb: /[a-z]/ /(?s:.)/\n"), "{lark}");
    }

    #[test]
    fn what_is_no_grammar_is_refused_by_its_line() {
        for (source, line) in [
            ("", 1),
            ("root", 1),
            ("root ::= \"a\"\nb ::= (\"x\"", 2),
            ("root ::= [z-a]", 1),
            ("root ::= \"\\q\"", 1),
            ("root ::= \"a\"{3,1}", 1),
            ("root ::= \"a\"{99999}", 1),
            ("root ::= \"open", 1),
            ("root ::= []", 1),
        ] {
            assert_eq!(to_lark(source), Err(NoGrammar { line }), "{source}");
        }
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(100), ")".repeat(100));
        assert!(to_lark(&deep).is_err());
    }
}
