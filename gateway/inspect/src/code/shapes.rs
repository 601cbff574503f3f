//! Languages whose statements have few signs: SQL, COBOL, assembly, G-code, netlists, test vectors.
//!
//! Each has a form of its own that a sentence does not take; [`shape`] knows them by the first word and by
//! what follows it.

use super::{
    instructions,
    languages::LANGUAGES,
    unit::{CLASS, DIGIT, Votes, WORD, word_end},
    words,
};

/// The place of a language in the list, by the end of its name; checked when the program is compiled.
const fn place(of: &str) -> usize {
    let mut at = 0;
    while at < LANGUAGES.len() {
        let name = LANGUAGES[at].evidence.as_bytes();
        let of = of.as_bytes();
        if name.len() == 10 + of.len() {
            let mut same = 0;
            while same < of.len() && name[10 + same] == of[same] {
                same += 1;
            }
            if same == of.len() {
                return at;
            }
        }
        at += 1;
    }
    panic!("no such language")
}

const SQL: usize = place("SQL");
const COBOL: usize = place("COBOL");
pub(super) const ASSEMBLY: usize = place("assembly");
const GCODE: usize = place("G-code");
const SPICE: usize = place("SPICE netlist");
const PATTERN: usize = place("STIL, WGL or other test pattern");
const POWERSHELL: usize = place("PowerShell");
const DOCKER: usize = place("Dockerfile");

/// Whether a line without signs is worth a look: its first word is one that statements begin with, in a
/// form that is not that of a sentence's first word.
pub(super) fn may_be_plain_code(bytes: &[u8]) -> bool {
    let end = word_end(bytes, 0);
    let first = bytes[0];
    if end == 0 {
        return matches!(first, b'.' | b'-') && bytes.len() > 2 && bytes[1].is_ascii_alphabetic()
            || first.is_ascii_digit();
    }
    let word = &bytes[..end];
    if word.len() <= 8 && word.iter().any(u8::is_ascii_digit) {
        return true;
    }
    match words::look(word) {
        // `Let`, `When`, `If` begin a sentence; `let`, `when`, `IF` need not.
        Some(found) if found.everyday && bytes.len() > 16 => {
            !(word.len() > 1 && first.is_ascii_uppercase() && word[1].is_ascii_lowercase())
        }
        Some(_) => true,
        None => bytes.get(end) == Some(&b'-') || bytes.last() == Some(&b':') || word.len() <= 2,
    }
}

/// A statement of one of these languages, and how sure that is.
pub(super) fn shape(bytes: &[u8]) -> Option<(usize, u16)> {
    let first = bytes[0];
    if !(first.is_ascii_alphanumeric() || matches!(first, b'.' | b'%' | b'(' | b'>' | b'+')) {
        return None;
    }
    let points = gcode(bytes);
    if points > 0 {
        return Some((GCODE, points));
    }
    if vector(bytes) {
        return Some((PATTERN, 3));
    }
    let end = word_end(bytes, 0);
    let word = &bytes[..end];
    if word.is_empty() || word.len() > 16 {
        return None;
    }
    let of = match words::look(word) {
        Some(known) => known.languages,
        None if first.is_ascii_digit() => 1 << COBOL,
        None => 0,
    };
    let may_be = |language: usize| of >> language & 1 == 1;
    if may_be(SQL) && sql(bytes, word) {
        return Some((SQL, 4));
    }
    if may_be(COBOL) && cobol(bytes, word) {
        return Some((COBOL, 4));
    }
    if (bytes.ends_with(b"DIVISION.") || bytes.ends_with(b"SECTION.")) && cobol(bytes, word) {
        return Some((COBOL, 4));
    }
    if may_be(DOCKER) && docker(bytes, word) {
        return Some((DOCKER, 3));
    }
    if instructions::element(bytes) {
        return Some((SPICE, 3));
    }
    if may_be(ASSEMBLY) && instructions::instruction(bytes, word) || instructions::operands(bytes, word) {
        return Some((ASSEMBLY, 3));
    }
    None
}

/// `G01 X10.5 Y-3 F200`: each field a letter and a number.
fn gcode(bytes: &[u8]) -> u16 {
    let code = bytes
        .split(|b| matches!(b, b';' | b'('))
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let (mut fields, mut commands) = (0, 0);
    let mut at = 0;
    while at < code.len() {
        let letter = code[at];
        if letter == b' ' {
            at += 1;
            continue;
        }
        if !matches!(letter, b'F'..=b'K' | b'M'..=b'O' | b'P'..=b'T' | b'X'..=b'Z' | b'A'..=b'E' | b'L') {
            return 0;
        }
        let start = at + 1;
        at = start;
        if matches!(code.get(at), Some(b'-' | b'+')) {
            at += 1;
        }
        while at < code.len() && (code[at].is_ascii_digit() || code[at] == b'.') {
            at += 1;
        }
        if at == start || !code[start..at].iter().any(u8::is_ascii_digit) {
            return 0;
        }
        fields += 1;
        commands += u16::from(matches!(letter, b'G' | b'M') && at - start <= 4);
    }
    match (fields, commands) {
        (0, _) | (1, 0) => 0,
        (1, _) => 2,
        (4.., 0) if code[0] >= b'X' || code[0] == b'N' => 3,
        (_, 0) => 2 * u16::from(code[0] >= b'X' || code[0] == b'N'),
        _ => 4,
    }
}

/// A run of drive and compare characters, as testers take them: `> tset1 01HLXX01;`, `ALL = 0011HHLL;`.
fn vector(bytes: &[u8]) -> bool {
    let ends = bytes.ends_with(b";") || bytes.ends_with(b"}");
    if !ends && !bytes.starts_with(b"vector(") {
        return false;
    }
    let mut run = 0;
    let mut compares = 0;
    let mut single = 0;
    for field in bytes.split(|b| matches!(b, b' ' | b'=' | b';' | b'[' | b']' | b'\t')) {
        let all = !field.is_empty() && field.iter().all(|b| b"01XHLZNTUDPM.-".contains(b));
        if !all {
            continue;
        }
        if field.len() == 1 {
            single += 1;
        }
        if field.len() >= 4 {
            run = run.max(field.len());
            compares += field.iter().filter(|b| b"XHLZ".contains(b)).count();
        } else {
            compares += field.iter().filter(|b| b"XHL".contains(b)).count();
        }
    }
    (run >= 4 || single >= 4) && compares >= 1
}

/// The word at the head of a text, and what is behind it.
pub(super) fn head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = bytes.trim_ascii_start();
    let end = word_end(bytes, 0);
    (&bytes[..end], &bytes[end..])
}

pub(super) fn is_any(word: &[u8], of: &[&str]) -> bool {
    of.iter().any(|other| word.eq_ignore_ascii_case(other.as_bytes()))
}

/// Two words that begin a clause, or `SELECT` and `FROM` and the like in capitals.
fn sql(bytes: &[u8], word: &[u8]) -> bool {
    if word.len() > 8 {
        return false;
    }
    let (second, rest) = head(&bytes[word.len()..]);
    let clause = match word.to_ascii_lowercase().as_slice() {
        b"insert" => is_any(second, &["into"]),
        b"delete" => is_any(second, &["from"]) && rest.len() < 120,
        b"create" | b"alter" | b"drop" => {
            is_any(
                second,
                &[
                    "table",
                    "view",
                    "index",
                    "trigger",
                    "sequence",
                    "procedure",
                    "function",
                    "package",
                    "database",
                    "schema",
                    "temporary",
                    "temp",
                    "unique",
                ],
            ) || (is_any(second, &["or"]) && is_any(head(rest).0, &["replace"]))
        }
        b"group" | b"order" | b"partition" => is_any(second, &["by"]) && !rest.is_empty(),
        b"left" | b"right" | b"inner" | b"outer" | b"full" | b"cross" => {
            is_any(second, &["join"]) || (is_any(second, &["outer"]) && is_any(head(rest).0, &["join"]))
        }
        b"select" => {
            let listed = rest.iter().any(|b| matches!(b, b',' | b'*' | b'(' | b'_')) || bytes.contains(&b'*');
            has_word(bytes, b"from") && (listed || !bytes.ends_with(b".")) && few_articles(bytes)
                || (bytes.ends_with(b",") && listed && few_articles(bytes))
                || bytes[6..].trim_ascii() == b"*"
        }
        b"update" => {
            has_word(bytes, b"set") && bytes.contains(&b'=')
                || word == b"UPDATE" && bytes.len() < 60 && rest.is_empty()
        }
        b"with" => is_any(head(rest).0, &["as"]) && bytes.ends_with(b"("),
        b"where" | b"and" | b"or" | b"on" | b"having" | b"when" | b"set" => {
            (bytes.iter().any(|b| matches!(b, b'=' | b'<' | b'>'))
                || has_word(bytes, b"is") && has_word(bytes, b"null")
                || has_word(bytes, b"in") && bytes.contains(&b'('))
                && bytes.len() < 160
                && few_articles(bytes)
                && (word[0].is_ascii_uppercase() && word[1].is_ascii_uppercase()
                    || (rest.starts_with(b".") || bytes.contains(&b'=')))
        }
        b"from" | b"join" => {
            // A table and perhaps its short name.
            let (third, fourth) = head(rest.strip_prefix(b".").map_or(rest, |after| head(after).1));
            let named = !second.is_empty()
                && (third.is_empty()
                    || third.len() <= 3 && fourth.trim_ascii().len() <= 1
                    || is_any(third, &["as", "where", "on", "join", "group", "order"]));
            named
                && (word[1].is_ascii_uppercase()
                    || second.contains(&b'_')
                    || bytes.ends_with(b";")
                    || has_word(bytes, b"on") && bytes.contains(&b'='))
        }
        b"values" => bytes.contains(&b'('),
        _ => false,
    };
    clause && !bytes.ends_with(b"?")
}

fn has_word(bytes: &[u8], word: &[u8]) -> bool {
    bytes
        .split(|b| !b.is_ascii_alphanumeric())
        .any(|part| part.eq_ignore_ascii_case(word))
}

/// A sentence has articles; a statement has not.
fn few_articles(bytes: &[u8]) -> bool {
    !bytes.split(|b| !b.is_ascii_alphabetic()).any(|part| {
        is_any(
            part,
            &[
                "the", "a", "an", "your", "our", "their", "this", "these", "which", "you", "we", "they",
            ],
        )
    })
}

/// `MOVE A TO WS-B.`, `05 NAME PIC X(10).`, `WORKING-STORAGE SECTION.`
fn cobol(bytes: &[u8], word: &[u8]) -> bool {
    let hyphened = bytes
        .split(|b| matches!(b, b' ' | b'(' | b')' | b'.' | b','))
        .any(|field| {
            field.contains(&b'-')
                && field.len() > 3
                && field[0].is_ascii_uppercase()
                && field
                    .iter()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-')
        });
    if word.iter().all(u8::is_ascii_digit) {
        let (name, rest) = head(&bytes[word.len()..]);
        return word.len() == 2
            && !name.is_empty()
            && (has_word(rest, b"pic")
                || has_word(rest, b"picture")
                || has_word(rest, b"value")
                || has_word(rest, b"occurs")
                || hyphened && bytes.ends_with(b"."));
    }
    let ends = bytes.ends_with(b".");
    if (has_word(bytes, b"division") || has_word(bytes, b"section"))
        && ends
        && hyphened | word.iter().all(u8::is_ascii_uppercase)
        && bytes.len() < 50
    {
        return true;
    }
    let verb = is_any(
        word,
        &[
            "move",
            "perform",
            "display",
            "add",
            "compute",
            "subtract",
            "multiply",
            "divide",
            "accept",
            "read",
            "write",
            "open",
            "close",
            "evaluate",
            "when",
            "if",
            "else",
            "stop",
            "set",
            "initialize",
            "call",
            "string",
            "select",
            "until",
            "varying",
            "end",
        ],
    );
    if !verb
        || !bytes
            .iter()
            .all(|b| !b.is_ascii_lowercase() || bytes.contains(&b'"'))
    {
        return false;
    }
    let upper = bytes.iter().filter(|b| b.is_ascii_uppercase()).count();
    hyphened
        || (ends
            && upper > 8
            && is_any(
                word,
                &[
                    "move", "perform", "display", "compute", "subtract", "stop", "accept", "evaluate",
                ],
            ))
        || (word == b"MOVE" && has_word(bytes, b"TO"))
        || (word == b"STOP" && has_word(bytes, b"RUN"))
}

/// `FROM image:tag`, `RUN apt-get ...`: a word in capitals, then something that is not.
fn docker(bytes: &[u8], word: &[u8]) -> bool {
    let known = is_any(
        word,
        &[
            "from",
            "run",
            "copy",
            "add",
            "workdir",
            "env",
            "expose",
            "entrypoint",
            "cmd",
            "arg",
            "user",
            "volume",
            "healthcheck",
        ],
    );
    if !known || !word.iter().all(u8::is_ascii_uppercase) || bytes.get(word.len()) != Some(&b' ') {
        return false;
    }
    let rest = bytes[word.len()..].trim_ascii();
    let lower = rest.iter().any(u8::is_ascii_lowercase) || word == b"EXPOSE" || word == b"WORKDIR";
    lower
        && (rest
            .iter()
            .any(|b| matches!(b, b':' | b'/' | b'[' | b'=' | b'\\'))
            || matches!(word, b"EXPOSE" | b"WORKDIR" | b"RUN" | b"USER"))
}

/// `Get-ChildItem`: a known verb and a noun, as in PowerShell.
pub(super) fn is_verb_and_noun(verb: &[u8], noun: &[u8]) -> bool {
    const VERBS: [&str; 22] = [
        "Get",
        "Set",
        "New",
        "Remove",
        "Add",
        "Write",
        "Out",
        "Select",
        "Where",
        "ForEach",
        "Import",
        "Export",
        "Invoke",
        "Start",
        "Stop",
        "Test",
        "ConvertTo",
        "ConvertFrom",
        "Copy",
        "Move",
        "Enable",
        "Disable",
    ];
    VERBS.iter().any(|known| known.as_bytes() == verb)
        && noun.len() > 2
        && noun[0].is_ascii_uppercase()
        && noun[1..]
            .iter()
            .all(|b| matches!(CLASS[usize::from(*b)], WORD | DIGIT))
}

pub(super) fn vote_for_verb(votes: &mut Votes) {
    votes[POWERSHELL] = votes[POWERSHELL].saturating_add(12);
}
