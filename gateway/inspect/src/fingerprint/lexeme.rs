//! Code as a sequence of lexemes in which only what a rewrite keeps is left.
//!
//! Comments, layout, closing brackets and separators are dropped, since formatters and translators change them, and so are
//! lines that name what is imported, which say nothing of what is done. Identifiers are told apart by [`Lexeme::Name`]'s
//! number only, so that a renamed program gives the same sequence. One lexer reads all languages: it need not be right about each, it has to
//! do the same with the excerpt as it did with the file.

use std::{collections::HashMap, ops::Range};

/// One lexeme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// An identifier, numbered in the order of first use.
    Name(u32),
    /// A word that many languages reserve, a number or a string, by its hash.
    Fixed(u32),
    /// A sign.
    Sign(u8),
}

/// Words that are reserved in so many languages that nobody renames them. They are compared in lower case,
/// since SQL, VHDL and others are written either way.
const KEYWORDS: &[&str] = &[
    "abstract",
    "always",
    "and",
    "architecture",
    "as",
    "assert",
    "assign",
    "async",
    "await",
    "begin",
    "bool",
    "boolean",
    "break",
    "by",
    "byte",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "constexpr",
    "continue",
    "create",
    "declare",
    "def",
    "default",
    "defer",
    "del",
    "delete",
    "do",
    "double",
    "elif",
    "else",
    "elsif",
    "end",
    "endmodule",
    "entity",
    "enum",
    "except",
    "export",
    "extends",
    "extern",
    "false",
    "final",
    "finally",
    "float",
    "fn",
    "for",
    "foreach",
    "from",
    "func",
    "function",
    "global",
    "go",
    "goto",
    "group",
    "having",
    "if",
    "impl",
    "implements",
    "import",
    "in",
    "include",
    "inline",
    "input",
    "insert",
    "instanceof",
    "int",
    "interface",
    "into",
    "is",
    "join",
    "lambda",
    "let",
    "local",
    "logic",
    "long",
    "loop",
    "match",
    "module",
    "mut",
    "namespace",
    "negedge",
    "new",
    "nil",
    "none",
    "not",
    "null",
    "operator",
    "or",
    "order",
    "output",
    "override",
    "package",
    "pass",
    "perform",
    "posedge",
    "private",
    "proc",
    "procedure",
    "process",
    "protected",
    "pub",
    "public",
    "raise",
    "reg",
    "register",
    "repeat",
    "require",
    "return",
    "select",
    "set",
    "short",
    "signal",
    "signed",
    "sizeof",
    "static",
    "string",
    "struct",
    "sub",
    "super",
    "switch",
    "table",
    "template",
    "then",
    "this",
    "throw",
    "throws",
    "trait",
    "true",
    "try",
    "type",
    "typedef",
    "typename",
    "undefined",
    "union",
    "unsigned",
    "until",
    "update",
    "use",
    "using",
    "val",
    "values",
    "var",
    "virtual",
    "void",
    "volatile",
    "when",
    "where",
    "while",
    "wire",
    "with",
    "yield",
];

/// What comes after `#` in a line that is no comment.
const DIRECTIVES: &[&str] = &[
    "include", "define", "if", "ifdef", "ifndef", "elif", "else", "endif", "pragma", "undef", "import",
    "error",
];

/// What a line of imports starts with.
const IMPORTS: &[&str] = &[
    "export * ",
    "from ",
    "import ",
    "include ",
    "package ",
    "require ",
    "require_relative ",
    "use ",
    "using ",
];

/// Longest identifier that is compared with the keywords.
const LONGEST_KEYWORD: usize = 12;

/// The lexemes of a text and where each stands.
pub(super) fn lexemes(text: &str) -> Vec<(Lexeme, Range<usize>)> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        names: HashMap::new(),
        open_until: [0; 3],
        comments_end: true,
    };
    let mut all = Vec::with_capacity(text.len() / 5);
    while let Some(next) = reader.next() {
        all.push(next);
    }
    all
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    names: HashMap<&'a str, u32>,
    /// For each kind of quote, up to where it is known that none that opens is closed. Without it, text that is full of
    /// escaped quotes would be read again to its end from each of them.
    open_until: [usize; 3],
    /// Whether a `*/` may still come.
    comments_end: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(Lexeme, Range<usize>)> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            let start = self.at;
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if let Some(end) = self.comment(byte).or_else(|| self.import()) {
                self.at = end;
            } else if matches!(byte, b'"' | b'\'' | b'`') {
                match self.string(byte) {
                    Some(end) => {
                        self.at = end;
                        return Some((Lexeme::Fixed(digest(&self.bytes[start..end])), start..end));
                    }
                    None => self.at += 1,
                }
            } else if byte.is_ascii_digit() {
                let end = self.number();
                self.at = end;
                return Some((Lexeme::Fixed(digest(&self.bytes[start..end])), start..end));
            } else if byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$') || byte >= 0x80 {
                let end = self.word();
                self.at = end;
                return Some((self.named(start..end), start..end));
            } else {
                self.at += 1;
                if !matches!(byte, b';' | b',' | b'{' | b'}' | b')' | b']' | b'\\')
                    && !byte.is_ascii_control()
                {
                    return Some((Lexeme::Sign(byte), start..self.at));
                }
            }
        }
    }

    fn named(&mut self, span: Range<usize>) -> Lexeme {
        let word = &self.text[span];
        if word.len() <= LONGEST_KEYWORD {
            let lower = word.to_ascii_lowercase();
            if KEYWORDS.binary_search(&lower.as_str()).is_ok() {
                return Lexeme::Fixed(digest(lower.as_bytes()));
            }
        }
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        Lexeme::Name(*self.names.entry(word).or_insert(next))
    }

    fn word(&self) -> usize {
        let rest = &self.bytes[self.at..];
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || *byte >= 0x80;
        self.at + rest.iter().take_while(|byte| inside(byte)).count()
    }

    fn number(&self) -> usize {
        let mut at = self.at;
        while let Some(byte) = self.bytes.get(at) {
            let point = *byte == b'.' && self.bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
            if !byte.is_ascii_alphanumeric() && *byte != b'_' && !point {
                break;
            }
            at += 1;
        }
        at
    }

    /// Where a comment that starts here ends.
    fn comment(&mut self, byte: u8) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let before = self.at.checked_sub(1).map(|at| self.bytes[at]);
        let apart = before.is_none_or(|byte| byte.is_ascii_whitespace());
        let next = rest.get(1).copied().unwrap_or(b'\n');
        let line = match byte {
            b'/' if next == b'*' => {
                let close = self.comments_end.then(|| memchr::memmem::find(&rest[2..], b"*/"));
                let close = close.flatten();
                self.comments_end = close.is_some();
                return Some(self.at + close.map_or(2, |close| close + 4));
            }
            b'/' => next == b'/' && before != Some(b':'),
            b'#' => apart && !self.is_directive(&rest[1..]),
            b'-' => {
                apart
                    && next == b'-'
                    && rest
                        .get(2)
                        .is_none_or(|byte| byte.is_ascii_whitespace() || *byte == b'-')
            }
            b'%' | b';' | b'!' => self.starts_line() && !matches!(next, b'=' | b'(' | b'['),
            b'*' => next == b'>' && apart,
            _ => false,
        };
        line.then(|| self.at + memchr::memchr(b'\n', rest).unwrap_or(rest.len()))
    }

    /// Where a line of imports that starts here ends.
    fn import(&self) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let begins = rest.first().is_some_and(u8::is_ascii_lowercase) && self.starts_line();
        let imports = begins && IMPORTS.iter().any(|word| rest.starts_with(word.as_bytes()));
        imports.then(|| self.at + memchr::memchr(b'\n', rest).unwrap_or(rest.len()))
    }

    /// `#include` is code, and so is Rust's `#[derive]`; `# a note` is not.
    fn is_directive(&self, after: &[u8]) -> bool {
        if matches!(after.first(), Some(b'[' | b'!')) {
            return true;
        }
        let after = after.trim_ascii_start();
        let word = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        self.starts_line() && DIRECTIVES.iter().any(|known| known.as_bytes() == &after[..word])
    }

    fn starts_line(&self) -> bool {
        let before = self.bytes[..self.at].iter().rev();
        let mut blanks = before.skip_while(|byte| matches!(byte, b' ' | b'\t'));
        blanks.next().is_none_or(|byte| *byte == b'\n')
    }

    /// Where a string that starts here ends. A quote that is never closed in its line is none: an excerpt can
    /// begin within a string, and prose has apostrophes.
    fn string(&mut self, quote: u8) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        if quote != b'`' && rest.len() >= 3 && rest[1] == quote && rest[2] == quote {
            let end = memchr::memmem::find(&rest[3..], &rest[..3])?;
            return Some(self.at + end + 6);
        }
        if quote == b'\'' && self.at > 0 && self.bytes[self.at - 1].is_ascii_alphanumeric() {
            return None;
        }
        let kind = match quote {
            b'"' => 0,
            b'\'' => 1,
            _ => 2,
        };
        // All quotes in a string that was found to stay open are escaped, so what opens at one of them stays open, too.
        if self.at < self.open_until[kind] {
            return None;
        }
        let mut at = 1;
        loop {
            match rest.get(at) {
                None | Some(b'\n') => {
                    self.open_until[kind] = self.at + at;
                    return None;
                }
                Some(b'\\') => at += 2,
                Some(byte) if *byte == quote => return Some(self.at + at + 1),
                Some(_) => at += 1,
            }
        }
    }
}

/// FNV-1a over 32 bits, in lower case and without the `_` that numbers may have. It need not be strong: what
/// is made of it is keyed before it is written anywhere.
fn digest(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .filter(|byte| **byte != b'_')
        .fold(0x811C_9DC5, |hash: u32, byte| {
            (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(text: &str) -> Vec<Lexeme> {
        lexemes(text).into_iter().map(|(lexeme, _)| lexeme).collect()
    }

    #[test]
    fn keywords_are_sorted_and_short() {
        assert!(KEYWORDS.is_sorted());
        assert!(KEYWORDS.iter().all(|word| word.len() <= LONGEST_KEYWORD));
    }

    #[test]
    fn a_rewrite_gives_the_same_sequence() {
        let before = "// sum of squares\nint sum(int *a, int n) {\n    int s = 0; /* begins at 0 */\n    for (int i = 0; i < n; i++) { s += a[i] * a[i]; }\n    return s;\n}\n";
        let after = "int quersumme(int *feld,\n              int anzahl)\n{\n    // fängt bei null an\n    int q = 0;\n    for (int k = 0; k < anzahl; k++)\n        q += feld[k] * feld[k];\n    return q;\n}\n";
        assert_eq!(sequence(before), sequence(after));
        let other = before.replace("a[i] * a[i]", "a[i] + n");
        assert_ne!(sequence(before), sequence(&other));
    }

    #[test]
    fn strings_and_comments_of_many_languages() {
        let text = |quoted: &str| Lexeme::Fixed(digest(quoted.as_bytes()));
        assert_eq!(
            sequence("'a' # x\n\"b\\\"c\" -- y\n% z\n; w\n"),
            [text("'a'"), text("\"b\\\"c\"")]
        );
        assert_eq!(
            sequence("from a.b import c\n  import d\nimported"),
            [Lexeme::Name(0)]
        );
        assert_eq!(sequence("\"\"\"doc\nstring\"\"\"").len(), 1);
        assert_eq!(
            sequence("#include x"),
            [
                Lexeme::Sign(b'#'),
                Lexeme::Fixed(digest(b"include")),
                Lexeme::Name(0)
            ]
        );
        assert_eq!(sequence("don't"), [Lexeme::Name(0), Lexeme::Name(1)]);
        assert_eq!(sequence("0x_FF 0XFF"), [Lexeme::Fixed(digest(b"0xff")); 2]);
        assert!(sequence("/* never closed").len() == 2);
        // Spans are on character boundaries, whatever there is.
        for (_, span) in lexemes("ü = 'é' + \"日本\" \\é 'x") {
            assert!(!span.is_empty());
        }
    }

    #[test]
    fn what_never_closes_is_read_once() {
        let started = std::time::Instant::now();
        for text in ["\\\"", "/* ", "x\\' ", "`\\", "# ", " % ", "\"\"\" ' "] {
            lexemes(&text.repeat((1 << 20) / text.len()));
        }
        // Reading again from each quote takes minutes.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        // Within a line alone, and only for the quote that stays open.
        let string = |quoted: &str| Lexeme::Fixed(digest(quoted.as_bytes()));
        assert_eq!(sequence("\\\" 'a' \\\"\n\"b\""), [string("'a'"), string("\"b\"")]);
    }
}
