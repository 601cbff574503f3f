//! Source code inside a text: whole files, fenced blocks, and lines of code amid prose.
//!
//! Each line is scored by how it is built (endings, operators, calls, assignments) and by the keywords it
//! starts with; lines that score form blocks. A block's finding spans its lines. One line of code in a
//! chat is everyday speech among engineers, so short blocks score lower and single lines nothing.
//!
//! It tells code from prose and from data (JSON, CSV, YAML, logs); whose code it is, is for fingerprints.
//!
//! Limits: [`MAX_BYTES`] of a text are read line by line, the first [`LINE_BYTES`] of each line. Linear.

use std::ops::Range;

mod languages;
use languages::{LANGUAGES, STATEMENTS};

/// Text behind this is not looked at for code: by then a block has long been found.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// How much of a line decides about it.
const LINE_BYTES: usize = 240;
/// Lines without code that a block may hold in a row.
const GAP_LINES: usize = 2;
/// The fewest code lines of a block without a fence.
const LEAST_LINES: usize = 3;

/// A block of code.
#[derive(Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) span: Range<usize>,
    pub(crate) score: f32,
    pub(crate) evidence: Vec<&'static str>,
}

/// Finds the blocks of code in a text, in order and disjoint.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut found = Vec::new();
    let mut open: Option<Open> = None;
    let mut fence: Option<Fence> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let span = at..at + line.trim_end().len();
        at += line.len();
        let trimmed = line.trim();
        if let Some(tag) = trimmed
            .strip_prefix("```")
            .or_else(|| trimmed.strip_prefix("~~~"))
        {
            match fence.take() {
                Some(fence) => fence.close(&mut found),
                None => {
                    close(open.take(), &mut found);
                    fence = Some(Fence {
                        tag: known_tag(tag.trim()),
                        open: Open::new(at),
                    });
                }
            }
            continue;
        }
        let score = score(line.get(..line.floor_char_boundary(LINE_BYTES)).unwrap_or(line));
        if let Some(fence) = &mut fence {
            fence.open.add(&span, trimmed, &score, true);
            continue;
        }
        match &mut open {
            Some(block) => {
                let goes_on = block.add(&span, trimmed, &score, false);
                if !goes_on {
                    close(open.take(), &mut found);
                }
            }
            None if score.points >= 2 => {
                let mut block = Open::new(span.start);
                block.add(&span, trimmed, &score, false);
                open = Some(block);
            }
            None => {}
        }
    }
    if let Some(fence) = fence {
        fence.close(&mut found);
    }
    close(open, &mut found);
    found
}

/// A block that may still grow.
struct Open {
    span: Range<usize>,
    /// Lines that are code, and those that are neither code nor blank.
    code: usize,
    other: usize,
    /// Lines since the last one that is code.
    gap: usize,
    strong: usize,
    languages: [u16; LANGUAGES.len()],
}

impl Open {
    fn new(start: usize) -> Self {
        Self {
            span: start..start,
            code: 0,
            other: 0,
            gap: 0,
            strong: 0,
            languages: [0; LANGUAGES.len()],
        }
    }

    /// Takes a line in; says no when the block has ended before it.
    fn add(&mut self, span: &Range<usize>, trimmed: &str, score: &LineScore, fenced: bool) -> bool {
        if score.points >= 2 || (score.points == 1 && self.gap == 0) {
            self.code += 1;
            self.strong += usize::from(score.points >= 3);
            self.gap = 0;
            self.span.end = span.end;
            if let Some(language) = score.language {
                self.languages[language] = self.languages[language].saturating_add(1);
            }
            return true;
        }
        if fenced {
            self.other += usize::from(!trimmed.is_empty());
            if !trimmed.is_empty() {
                self.span.end = span.end;
            }
            return true;
        }
        self.gap += 1;
        if !trimmed.is_empty() {
            self.other += 1;
        }
        // A sentence ends a block at once; blank lines and odd ones may be inside.
        self.gap <= GAP_LINES && score.points >= 0
    }

    fn language(&self) -> Option<usize> {
        let (best, count) = self
            .languages
            .iter()
            .enumerate()
            .max_by_key(|(_, count)| **count)?;
        (*count > 0).then_some(best)
    }
}

struct Fence {
    tag: Tag,
    open: Open,
}

impl Fence {
    fn close(self, found: &mut Vec<Block>) {
        let Open { code, other, .. } = self.open;
        match self.tag {
            Tag::Code if code + other > 0 => {
                let score: f32 = if code + other >= LEAST_LINES { 0.85 } else { 0.45 };
                push(&self.open, score.max(worth(&self.open)), found);
            }
            Tag::Unknown if code >= LEAST_LINES && code >= other => {
                push(&self.open, worth(&self.open).max(0.6), found)
            }
            _ => {}
        }
    }
}

fn close(open: Option<Open>, found: &mut Vec<Block>) {
    if let Some(open) = open
        && open.code >= LEAST_LINES
        && open.strong > 0
        && open.code > open.other
    {
        push(&open, worth(&open), found);
    }
}

/// More lines, strong lines and a language that is sure of itself are worth more.
fn worth(open: &Open) -> f32 {
    let lines: f32 = match open.code {
        0..=2 => 0.4,
        3..=4 => 0.5,
        5..=9 => 0.7,
        10..=19 => 0.85,
        _ => 0.95,
    };
    if open.language().is_some() {
        lines
    } else {
        (lines - 0.15).max(0.4)
    }
}

fn push(open: &Open, score: f32, found: &mut Vec<Block>) {
    if open.span.is_empty() {
        return;
    }
    let mut evidence = vec!["lines built like code"];
    evidence.extend(open.language().map(|language| LANGUAGES[language].0));
    found.push(Block {
        span: open.span.clone(),
        score,
        evidence,
    });
}

enum Tag {
    Code,
    Data,
    Unknown,
}

fn known_tag(tag: &str) -> Tag {
    let name = tag
        .split([' ', '{', ','])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    match name.as_str() {
        "json" | "jsonl" | "yaml" | "yml" | "toml" | "csv" | "text" | "txt" | "xml" | "md" | "markdown"
        | "log" | "ini" | "diff" | "console" | "output" | "http" | "env" | "dotenv" => Tag::Data,
        "" => Tag::Unknown,
        "c" | "h" | "cpp" | "c++" | "cc" | "hpp" | "py" | "python" | "python3" | "java" | "js" | "jsx"
        | "javascript" | "ts" | "tsx" | "typescript" | "go" | "golang" | "rust" | "rs" | "cs" | "csharp"
        | "c#" | "sql" | "plsql" | "verilog" | "systemverilog" | "sv" | "vhdl" | "sh" | "bash" | "shell"
        | "zsh" | "powershell" | "matlab" | "octave" | "ruby" | "rb" | "php" | "swift" | "kotlin"
        | "scala" | "r" | "lua" | "perl" | "haskell" | "dart" | "asm" | "cobol" | "fortran" | "cuda"
        | "html" | "css" | "vue" => Tag::Code,
        _ => Tag::Unknown,
    }
}

struct LineScore {
    /// Three and more is surely code, two is code, one may be, below zero is prose.
    points: i32,
    language: Option<usize>,
}

fn score(line: &str) -> LineScore {
    let trimmed = line.trim();
    let none = |points| LineScore {
        points,
        language: None,
    };
    if trimmed.is_empty() {
        return none(0);
    }
    if matches!(trimmed, "{" | "}" | "[" | "]" | "}," | "],") {
        // Either code or data: it goes on with what it is in.
        return none(1);
    }
    if is_data(trimmed) {
        return none(0);
    }
    let bytes = trimmed.as_bytes();
    let last = bytes[bytes.len() - 1];
    let words = trimmed.split_ascii_whitespace().count();
    let comment = ["//", "/*", "*/", "* ", "--", "% ", "\"\"\""]
        .iter()
        .any(|mark| trimmed.starts_with(mark));
    let indented = line.starts_with("    ") || line.starts_with('\t') || line.starts_with("  ");
    let mut points = 0;
    let ends = match last {
        b';' => 2,
        b'{' | b'}' => 2,
        b')' if bytes.contains(&b'(') && words <= 8 => 1,
        b':' | b',' | b'(' | b'[' | b']' | b'\\' if indented || words <= 6 => i32::from(last != b','),
        _ => 0,
    };
    points += ends;
    let operators = [
        "==", "!=", "=>", "->", "::", ":=", "+=", "&&", "||", "<=", ">=", "++", "!==", "</", "/>", "()",
        "[]", "<<", ">>", "${",
    ]
    .iter()
    .filter(|operator| trimmed.contains(**operator))
    .count();
    points += (operators as i32).min(2);
    points +=
        i32::from(is_assignment(trimmed)) + i32::from(has_call(trimmed)) + i32::from(indented && ends > 0);
    let language = LANGUAGES
        .iter()
        .position(|(_, starts)| starts.iter().any(|start| trimmed.starts_with(start)));
    let short_keyword = matches!(
        trimmed,
        "end"
            | "fi"
            | "done"
            | "begin"
            | "then"
            | "else"
            | "BEGIN"
            | "else:"
            | "try:"
            | "endmodule"
            | "});"
            | "},"
            | ")"
    );
    let statement = STATEMENTS.iter().any(|start| trimmed.starts_with(start));
    if short_keyword || statement {
        points += 2;
    }
    // A keyword counts where the line is not a sentence.
    let sentence = is_sentence(trimmed, words) && !(statement && indented);
    if language.is_some() && !sentence {
        points += 2;
    }
    if comment && points == 0 {
        points = 1;
    }
    if sentence && points < 3 {
        points = -1;
    }
    LineScore {
        points,
        language: language.filter(|_| points >= 2),
    }
}

/// JSON members, CSV rows, YAML pairs, log lines and list items hold data.
fn is_data(line: &str) -> bool {
    let json = line.starts_with('"') && line.contains("\":");
    let pair = line.split_once(": ").is_some_and(|(key, value)| {
        key.trim_start_matches("- ")
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' '))
            && !value.ends_with([';', '{', '('])
            && !key.starts_with("def ")
    });
    let csv = line.matches(',').count() >= 3 && !line.contains(['(', ';', '=', '{']);
    let log = line.len() > 10 && line.as_bytes()[..4].iter().all(u8::is_ascii_digit) && line.contains(':');
    json || pair || csv || log
}

/// `name = value`, `name: type = value`, `*p->x = y`, but not `x == y`.
fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(left, right)| {
        !right.starts_with('=')
            && !left.ends_with(['=', '!', '<', '>'])
            && !left.trim().is_empty()
            && left.split_ascii_whitespace().count() <= 4
            && left
                .chars()
                .all(|c| c.is_alphanumeric() || " _.$*&[]<>:,-+|@'\"/".contains(c))
            && !right.trim().is_empty()
    })
}

/// A name with an opening bracket right behind it.
fn has_call(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes
        .windows(2)
        .any(|pair| pair[1] == b'(' && (pair[0].is_ascii_alphanumeric() || pair[0] == b'_'))
}

/// Several words, mostly letters, little that only code has.
fn is_sentence(line: &str, words: usize) -> bool {
    let symbols = line
        .bytes()
        .filter(|b| b"{}[]();=<>_$#&|*\\@`".contains(b))
        .count();
    let letters = line.chars().filter(|c| c.is_alphabetic() || *c == ' ').count();
    let all = line.chars().count();
    words >= 4 && symbols * 20 <= all && letters * 10 >= all * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, &'static str)> {
        blocks(text)
            .into_iter()
            .map(|block| (&text[block.span.clone()], block.evidence.last().copied().unwrap()))
            .collect()
    }

    const SAMPLES: &[(&str, &str)] = &[
        (
            "C or C++",
            "#include <stdio.h>\nint main(void) {\n    for (int i = 0; i < 3; i++) {\n        printf(\"%d\\n\", i);\n    }\n    return 0;\n}",
        ),
        (
            "Python",
            "def area(r):\n    if r < 0:\n        raise ValueError(\"negative\")\n    return 3.14 * r ** 2\n\nprint(area(2))",
        ),
        (
            "Java",
            "public class Lot {\n    private final int wafers;\n    public Lot(int wafers) {\n        this.wafers = wafers;\n    }\n}",
        ),
        (
            "JavaScript",
            "const total = items.reduce((sum, item) => sum + item.price, 0);\nif (total > limit) {\n  console.log('over');\n}",
        ),
        (
            "Go",
            "func Add(a, b int) int {\n\tif a == 0 {\n\t\treturn b\n\t}\n\treturn a + b\n}",
        ),
        (
            "Rust",
            "pub fn add(a: u32, b: u32) -> u32 {\n    let mut sum = a;\n    sum += b;\n    sum\n}",
        ),
        (
            "SQL",
            "SELECT lot_id, AVG(thickness) AS t\nFROM measurements\nWHERE tool = 'ETCH-04'\nGROUP BY lot_id;",
        ),
        (
            "Verilog",
            "module counter(input clk, output reg [7:0] q);\n  always @(posedge clk) begin\n    q <= q + 1;\n  end\nendmodule",
        ),
        (
            "VHDL",
            "entity adder is\n  port (a, b : in std_logic_vector(7 downto 0);\n        s : out std_logic_vector(7 downto 0));\nend entity;\narchitecture rtl of adder is\nbegin\n  s <= a + b;\nend architecture;",
        ),
        (
            "shell",
            "#!/bin/bash\nset -e\nfor f in *.log; do\n  grep -c ERROR \"$f\" >> out.txt\ndone",
        ),
        (
            "MATLAB",
            "x = linspace(0, 1, 100);\ny = zeros(1, 100);\nfor i = 1:100\n  y(i) = sin(x(i)) * gain;\nend\nplot(x, y);",
        ),
        (
            "C#",
            "using System;\nnamespace Fab {\n  public class Lot {\n    public int Id { get; set; }\n  }\n}",
        ),
    ];

    #[test]
    fn code_of_each_language_is_found_amid_prose() {
        for (language, code) in SAMPLES {
            let text = format!(
                "Can you tell me why this is slow in our line?\n\n{code}\n\nThanks a lot for having a look at it today.\n"
            );
            let blocks = found(&text);
            assert!(!blocks.is_empty(), "{language}");
            let covered: usize = blocks.iter().map(|(block, _)| block.len()).sum();
            assert!(covered * 10 >= code.len() * 8, "{language}: {blocks:?}");
            assert!(
                !blocks
                    .iter()
                    .any(|(block, _)| block.contains("Thanks") || block.contains("Can you")),
                "{language}: {blocks:?}"
            );
        }
    }

    #[test]
    fn fences_are_taken_at_their_word() {
        let text = "see\n```python\nx = 1\ny = compute(x)\nz = y\n```\nok";
        assert_eq!(found(text)[0].0, "x = 1\ny = compute(x)\nz = y");
        assert!(found("```json\n{\n\"a\": 1\n}\n```").is_empty());
    }

    #[test]
    fn prose_and_data_are_no_code() {
        for text in [
            "Dear all,\nplease find the minutes below.\nWe agreed to let the vendor decide.\nFrom now on we meet on Monday.\nRegards",
            "name,email,phone,city\nA,b@c.de,1,X\nB,c@d.de,2,Y\nC,d@e.de,3,Z",
            "{\n  \"a\": 1,\n  \"b\": [1, 2],\n  \"c\": \"x\"\n}",
            "server:\n  port: 80\n  host: a\n  log: info\n",
            "2024-01-01 10:00:00 INFO started\n2024-01-01 10:00:01 WARN slow\n2024-01-01 10:00:02 INFO done",
            "What does `x = f(y);` do?",
        ] {
            assert!(found(text).is_empty(), "{:?}", found(text));
        }
    }
}
