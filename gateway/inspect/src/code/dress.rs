//! What stands before a line when it is passed on: quoting, diff signs, line numbers, prompts, chat stamps.

use super::words;

/// The most of it that is taken off.
const LAYERS: usize = 3;

/// The line without what was put before it.
pub(super) fn undressed(line: &str) -> &str {
    let mut line = line.trim_ascii();
    for _ in 0..LAYERS {
        // Most lines begin with a letter, and so do statements.
        let Some(first) = line.as_bytes().first() else {
            break;
        };
        let rest = match first {
            b'>' | b'|' => quoted(line),
            b'+' | b'-' => sign(line),
            b'0'..=b'9' => number(line).or_else(|| stamp(line)),
            b'$' | b'%' => prompt(line),
            b'[' => stamp(line).or_else(|| mask(line)),
            b'<' => speaker(line),
            b'I' | b'm' | b'.' => session(line),
            b'A'..=b'S' => month(line).or_else(|| session(line)),
            _ => None,
        };
        match rest {
            Some(rest) => line = rest.trim_ascii_start(),
            None => break,
        }
    }
    line
}

fn quoted(line: &str) -> Option<&str> {
    if line.starts_with('|') {
        return line.strip_prefix("| ").filter(|rest| !rest.ends_with('|'));
    }
    let rest = line.trim_start_matches('>');
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
}

/// `+ added`, `-removed`; the signs of `--x` and `-> y` are their own.
fn sign(line: &str) -> Option<&str> {
    let rest = &line[1..];
    let next = rest.bytes().next()?;
    (!matches!(next, b'+' | b'-' | b'>' | b'=') && !next.is_ascii_digit()).then_some(rest)
}

/// `12: x`, `12 | x`, `12) x`, `12  x`. `05 NAME PIC` is COBOL's own number.
fn number(line: &str) -> Option<&str> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 6 {
        return None;
    }
    let rest = &line[digits..];
    if digits == 2 && (rest.contains(" PIC") || rest.contains(" VALUE") || rest.ends_with('.')) {
        return None;
    }
    let bare = rest.trim_start_matches([':', '|', ')', '.', '\u{2502}', '-', '+']);
    let marked = bare.len() < rest.len()
        || rest.starts_with(['\t'])
        || rest.starts_with("  ")
        || rest.trim_start().starts_with(['|', '\u{2502}']);
    let spaced = rest.starts_with(' ') && digits != 2 && !rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if !(marked && (bare.starts_with([' ', '\t']) || bare.is_empty()))
        && !spaced
        && !rest.trim_start().starts_with(['|', '\u{2502}'])
    {
        return None;
    }
    Some(bare.trim_start().trim_start_matches(['|', '\u{2502}']))
}

/// `$ ls`, `% ls`.
fn prompt(line: &str) -> Option<&str> {
    line[1..]
        .strip_prefix(' ')
        .filter(|rest| line.starts_with('$') || !rest.contains("  "))
}

/// `[10:31] name: x`, `10:31:07 x`.
fn stamp(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[').unwrap_or(line);
    let time = inner
        .bytes()
        .take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'/' | b'-' | b',' | b' ' | b'T'))
        .count();
    let part = &inner[..time];
    if time < 4 || !part.contains(':') || part.bytes().filter(u8::is_ascii_digit).count() < 3 {
        return None;
    }
    let rest = &inner[time..];
    let rest = if inner.len() < line.len() {
        rest.trim_start_matches([' ', 'A', 'P', 'M']).strip_prefix(']')?
    } else {
        rest
    };
    let rest = rest.trim_ascii_start();
    // A name before a colon said it.
    match rest.split_once(": ") {
        Some((name, said))
            if name.len() <= 24
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphabetic() || b >= 0x80 || matches!(b, b' ' | b'.' | b'_')) =>
        {
            Some(said)
        }
        _ => Some(rest),
    }
}

/// `Feb 16 01:16:45 x`, as chats and logs are kept.
fn month(line: &str) -> Option<&str> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let name = line.get(..3)?;
    let place = MONTHS.find(name)?;
    let rest = line[3..].strip_prefix(' ')?.trim_ascii_start();
    let day = rest.bytes().take_while(u8::is_ascii_digit).count();
    let time = rest[day..].strip_prefix(' ')?;
    let digits = time
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b':')
        .count();
    (place % 3 == 0 && (1..=2).contains(&day) && digits == 8).then(|| &time[8..])
}

/// `[nick(name@host)] x`, as relay chats show private messages.
fn mask(line: &str) -> Option<&str> {
    let (name, rest) = line[1..].split_once("] ")?;
    (name.len() <= 80 && name.contains('@') && !name.contains([' ', '=', '"'])).then_some(rest)
}

/// `<nick> x`, as relay chats show who speaks; a tag of a page is none.
fn speaker(line: &str) -> Option<&str> {
    let (name, rest) = line[1..].split_once("> ")?;
    let plain =
        !name.is_empty() && name.len() <= 24 && !name.trim_start().contains([' ', '/', '=', '<', ':', '(']);
    (plain && words::look(&line.as_bytes()[..=name.len()]).is_none()).then_some(rest)
}

/// `In [3]: x`, `PS C:\> x`, `SQL> x`, `mysql> x`, `... x`.
fn session(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("... ") {
        return Some(rest);
    }
    if let Some(rest) = line.strip_prefix("In [") {
        return rest.split_once("]: ").map(|(_, rest)| rest);
    }
    if line.starts_with("PS ") || line.starts_with("SQL>") || line.starts_with("mysql>") {
        return line
            .split_once("> ")
            .filter(|(before, _)| before.len() < 80)
            .map(|(_, rest)| rest);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_before_is_taken_off() {
        for (line, bare) in [
            ("  x = 1;", "x = 1;"),
            (">>> x = 1", "x = 1"),
            ("> > x = 1", "x = 1"),
            ("+    x = 1", "x = 1"),
            ("-x = 1", "x = 1"),
            ("  12: x = 1", "x = 1"),
            ("12 | x = 1", "x = 1"),
            ("7   x = 1", "x = 1"),
            ("$ make all", "make all"),
            ("[10:31] anna: x = 1", "x = 1"),
            ("[10:31] x = 1", "x = 1"),
            ("In [3]: x = 1", "x = 1"),
            ("PS C:\\work> Get-Item x", "Get-Item x"),
            ("... y = 2", "y = 2"),
            ("Feb 16 01:16:45 <bo> x = 1", "x = 1"),
            ("[bo(~bo@host.example)] x = 1", "x = 1"),
        ] {
            assert_eq!(undressed(line), bare, "{line}");
        }
        for own in [
            "->x",
            "--x;",
            "05 TOTAL PIC X.",
            "++i;",
            "| a | b |",
            "March on, 01:16:45 x",
            "[a @ b] x",
            "1.5e3",
            "3",
            "",
        ] {
            assert_eq!(undressed(own), own);
        }
    }
}
