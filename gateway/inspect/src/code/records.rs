//! Lines that machines write: stack traces, logs, and settings in sections or nested keys.

use super::unit::word_end;

/// What a line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A frame, or the head that names the error: the evidence says whose.
    Trace(&'static str),
    Log,
}

/// Tells by the first bytes whether a line is one of these. The line is without space around it.
pub(super) fn record(line: &str) -> Option<Record> {
    let bytes = line.as_bytes();
    if bytes.len() < 8 {
        return None;
    }
    match bytes[0] {
        b'a' | b'C' | b'.' | b'E' | b'T' | b'F' | b'#' | b'g' | b'p' | b't' | b'f' | b'm' | b'/' | b'R' => {
            trace(line).map(Record::Trace)
        }
        b'0'..=b'9' => backtrace(line).map(Record::Trace).or_else(|| log(line)),
        b'[' | b'<' => log(line),
        _ => None,
    }
    .or_else(|| {
        (bytes[0].is_ascii_uppercase() && (bytes[1].is_ascii_uppercase() || bytes[3] == b' '))
            .then(|| log(line))
            .flatten()
    })
}

fn trace(line: &str) -> Option<&'static str> {
    const JAVA: &str = "stack trace: Java";
    const PYTHON: &str = "stack trace: Python";
    const NET: &str = "stack trace: .NET";
    const NODE: &str = "stack trace: JavaScript";
    const GO: &str = "stack trace: Go";
    const RUST: &str = "stack trace: Rust";
    const GDB: &str = "stack trace: native code";
    if let Some(rest) = line.strip_prefix("at ") {
        let frame = |rest: &str| -> Option<&'static str> {
            let end = rest.as_bytes();
            if rest.ends_with(')') && rest.contains('(') {
                let inside = &rest[rest.rfind('(')? + 1..rest.len() - 1];
                if inside.contains(".java")
                    || inside.contains(".kt")
                    || inside.contains(".scala")
                    || matches!(inside, "Native Method" | "Unknown Source")
                {
                    return Some(JAVA);
                }
                if has_place(inside) || inside == "native" || inside == "<anonymous>" {
                    return Some(NODE);
                }
                return (rest.matches('.').count() >= 1 && !rest.split('(').next()?.trim_end().contains(' '))
                    .then_some(NET);
            }
            if rest.contains(") in ") && rest.contains(":line ") {
                return Some(NET);
            }
            if rest.starts_with("./") || rest.starts_with("/rustc/") {
                return Some(RUST);
            }
            (end.last().is_some_and(u8::is_ascii_digit) && has_place(rest) && !rest.contains(' '))
                .then_some(NODE)
        };
        return frame(rest);
    }
    if line.starts_with("Traceback (most recent call last)") {
        return Some(PYTHON);
    }
    if line.starts_with("File \"") && line.contains("\", line ") {
        return Some(PYTHON);
    }
    if line.starts_with("Caused by: ")
        || line.starts_with("Exception in thread \"")
        || (line.starts_with("... ") && line.ends_with(" more"))
    {
        return Some(JAVA);
    }
    if line.starts_with("goroutine ") && line.ends_with(':') && line.contains('[') {
        return Some(GO);
    }
    if line.starts_with("panic: ")
        || (line.starts_with('/')
            && line.contains(".go:")
            && (line.contains(" +0x") || line.ends_with(|c: char| c.is_ascii_digit())))
    {
        return Some(GO);
    }
    if line.starts_with("thread '") && line.contains(" panicked at ") {
        return Some(RUST);
    }
    if let Some(frame) = line.strip_prefix('#') {
        let number = frame.bytes().take_while(u8::is_ascii_digit).count();
        let rest = frame[number..].trim_start();
        if number > 0
            && number <= 3
            && (rest.starts_with("0x")
                || rest.contains(" at ") && rest.contains('(') && has_place(rest)
                || rest.starts_with('/') && rest.contains(".php("))
        {
            return Some(GDB);
        }
    }
    if line.starts_with("from /") && line.contains(".rb:") {
        return Some("stack trace: Ruby");
    }
    None
}

/// `  4: std::rt::begin`, as Rust numbers its frames.
fn backtrace(line: &str) -> Option<&'static str> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line[digits..].strip_prefix(": ")?.trim_start();
    (digits <= 3 && !rest.contains(' ') && rest.contains("::")
        || rest.starts_with("0x") && rest.contains(" - "))
    .then_some("stack trace: Rust")
}

/// `file.js:10:5` or `main.c:12`.
fn has_place(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b':'
            && at > 2
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
            && bytes[..at].iter().rev().take(12).any(|b| *b == b'.')
    })
}

/// A time to the second or a level, and then what only programs write.
fn log(line: &str) -> Option<Record> {
    let bytes = line.as_bytes();
    let head = &bytes[..bytes.len().min(120)];
    let start = stamp_end(head);
    if start == 0 {
        // `[ERROR] text`, `WARN  a.b.C - text`, `<34>1 2003-...`.
        let open = usize::from(head[0] == b'[');
        let end = word_end(head, open);
        let level = is_level(&head[open..end]) && head[open..end].iter().all(u8::is_ascii_uppercase);
        let marked = head.get(end).is_some_and(|b| {
            if open > 0 {
                *b == b']'
            } else {
                matches!(b, b':' | b'|')
            }
        });
        let spaced = open == 0 && head.get(end..end + 2) == Some(b"  ");
        let syslog = head[0] == b'<'
            && head[1].is_ascii_digit()
            && head[1..]
                .iter()
                .position(|b| *b == b'>')
                .is_some_and(|at| at <= 3);
        return ((level && (marked || spaced)) || syslog).then_some(Record::Log);
    }
    let rest = &head[start..];
    let mut words = 0;
    let mut at = 0;
    // A level, a source in brackets, or a process with its number, near the front.
    while at < rest.len() && words < 6 {
        let end = word_end(rest, at);
        if end == at {
            if rest[at] == b'[' && rest[at..].iter().take(40).any(|b| *b == b']') && at <= 24 {
                return Some(Record::Log);
            }
            at += 1;
            continue;
        }
        let next = rest.get(end).copied().unwrap_or(b' ');
        if is_level(&rest[at..end]) && matches!(next, b' ' | b']' | b':' | b'|' | b'\t' | b'>' | b'-' | b'/')
            || next == b'='
            || next == b'[' && rest.get(end + 1).is_some_and(u8::is_ascii_digit)
        {
            return Some(Record::Log);
        }
        words += 1;
        at = end;
    }
    // `host kernel: text`, an access log's `"GET / HTTP/1.1" 200`.
    let access = head
        .windows(7)
        .any(|part| part == b"\" HTTP/" || part == b" HTTP/1" || part == b" HTTP/2");
    let syslog = bytes[0].is_ascii_alphabetic()
        && rest
            .split(|b| *b == b' ')
            .filter(|part| !part.is_empty())
            .nth(1)
            .is_some_and(|part| part.ends_with(b":") && part.len() > 2);
    (access || syslog).then_some(Record::Log)
}

/// Where a time to the second at the head ends; zero when there is none.
fn stamp_end(head: &[u8]) -> usize {
    let mut at = usize::from(head[0] == b'[');
    if head[at..].first().is_some_and(u8::is_ascii_alphabetic) {
        // `Mar  3 12:00:01`
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        if head.len() < at + 15
            || !MONTHS.chunks(3).any(|month| head[at..].starts_with(month))
            || head[at + 3] != b' '
        {
            return 0;
        }
        at += 4;
    } else if head[at].is_ascii_digit() && head.iter().take(20).filter(|b| **b == b'.').count() == 3 {
        // An access log: an address, then the time in brackets.
        let Some(open) = head.iter().position(|b| *b == b'[') else {
            return 0;
        };
        let time = &head[open + 1..];
        return if time.len() > 20 && time[..2].iter().all(u8::is_ascii_digit) && time[2] == b'/' {
            open + 1
        } else {
            0
        };
    }
    let mut colons = 0;
    let mut digits = 0;
    let start = at;
    while at < head.len() && at - start < 36 {
        match head[at] {
            b'0'..=b'9' => digits += 1,
            b':' => colons += 1,
            b'-' | b'/' | b'.' | b',' | b'T' | b'Z' | b'+' | b' ' => {}
            _ => break,
        }
        at += 1;
    }
    if colons >= 2 && digits >= 6 { at } else { 0 }
}

fn is_level(word: &[u8]) -> bool {
    const LEVELS: [&str; 16] = [
        "TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "ERR", "FATAL", "CRITICAL", "CRIT",
        "SEVERE", "PANIC", "ALERT", "EMERG", "VERBOSE",
    ];
    LEVELS
        .iter()
        .any(|level| word.eq_ignore_ascii_case(level.as_bytes()))
}

/// A line of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// `[section]`
    Section,
    /// `key = value`
    Pair,
    /// `key:` with nothing behind it
    Parent,
    /// `key: value`, `- value`
    Child,
}

/// What a line is in a file of settings. The line is without space around it.
pub(super) fn setting(line: &str) -> Option<Setting> {
    let bytes = line.as_bytes();
    if bytes.len() > 200 || bytes.is_empty() {
        return None;
    }
    if bytes[0] == b'[' {
        let name = line.strip_prefix('[')?.strip_suffix(']')?;
        return (name.bytes().any(|b| b.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b" _-.:/\"[".contains(&b))
            && name.split(' ').count() <= 3)
            .then_some(Setting::Section);
    }
    if let Some(item) = line.strip_prefix("- ") {
        return match setting(item.trim_start()) {
            Some(Setting::Parent | Setting::Child) => Some(Setting::Child),
            _ => (!item.contains(' ') || item.starts_with('"')).then_some(Setting::Child),
        };
    }
    let end = bytes
        .iter()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/')))?;
    if end == 0
        || end > 48
        || !(bytes[0].is_ascii_lowercase()
            || bytes[0] == b'_'
            || bytes[..end].iter().all(|b| !b.is_ascii_lowercase())
            || bytes[1..end].iter().any(u8::is_ascii_uppercase))
    {
        return None;
    }
    match bytes[end] {
        b':' if end + 1 == bytes.len() => Some(Setting::Parent),
        b':' if bytes[end + 1] == b' ' => Some(Setting::Child),
        b'=' | b' ' => {
            let (key, value) = line.split_once('=')?;
            let plain = key.trim_end().len() == end
                && !value.ends_with([';', '{', '(', ','])
                && !value.starts_with('=')
                && !value.contains('(');
            plain.then_some(Setting::Pair)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_told_by_their_frames() {
        for line in [
            "at com.acme.Lot.load(Lot.java:41)",
            "Caused by: java.io.IOException: gone",
            "File \"/srv/app.py\", line 3, in load",
            "at Acme.Fab.Load(String name) in C:\\src\\Fab.cs:line 12",
            "at load (/srv/app.js:10:5)",
            "at /srv/app.js:10:5",
            "goroutine 1 [running]:",
            "/srv/main.go:12 +0x1d",
            "thread 'main' panicked at src/main.rs:2:5:",
            "4: std::rt::lang_start",
            "#0  0x00005555 in load (n=3) at main.c:12",
            "#1  load (n=3) at main.c:12",
        ] {
            assert!(matches!(record(line), Some(Record::Trace(_))), "{line}");
        }
        for line in [
            "at the station (Platform 3)",
            "at noon we meet",
            "#1 is the best",
            "panic is no help",
            "File the report",
            "4: see below",
        ] {
            assert_eq!(record(line), None, "{line}");
        }
    }

    #[test]
    fn logs_are_told_by_time_and_level() {
        for line in [
            "2024-03-01T10:00:00Z INFO started",
            "2024-03-01 10:00:00,123 [main] ERROR a.b.C - gone",
            "[2024-03-01 10:00:00] app.WARNING: slow",
            "Mar  3 12:00:01 host sshd[123]: closed",
            "Mar  3 12:00:01 host kernel: oops",
            "[ERROR] cannot open",
            "WARN: low on space",
            "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 2326",
            "10:00:00.123 DEBUG loaded",
        ] {
            assert_eq!(record(line), Some(Record::Log), "{line}");
        }
        for line in [
            "2024-03-01 we met in Oslo",
            "[12.03.24, 10:31:22] Anna: see you",
            "10:30 Anna: hello",
            "[1] a footnote",
            "Mar 3 was a Monday",
            "12:30:00 lunch with Bo",
        ] {
            assert_eq!(record(line), None, "{line}");
        }
    }

    #[test]
    fn settings_are_told_by_their_keys() {
        assert_eq!(setting("[server.main]"), Some(Setting::Section));
        assert_eq!(setting("port = 80"), Some(Setting::Pair));
        assert_eq!(setting("spec:"), Some(Setting::Parent));
        assert_eq!(setting("- name: web"), Some(Setting::Child));
        for line in ["Dear Anna:", "[see the note]x", "x = f(y);", "Name: Bo"] {
            assert_eq!(setting(line), None, "{line}");
        }
    }
}
