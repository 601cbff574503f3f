//! What tells a credential from a word, a placeholder or a reference to one.

mod formats;
mod letters;

pub(super) use formats::{
    aws_key, base58_check, base64_json, basic_auth, bip39, crc32_base62, discord, jwt, pem,
};

use super::Verdict;

/// Shannon entropy in bits a character.
pub(crate) fn entropy(value: &str) -> f32 {
    let mut counts = [0u32; 256];
    let mut others = 0u32;
    for c in value.chars() {
        match usize::try_from(u32::from(c))
            .ok()
            .and_then(|code| counts.get_mut(code))
        {
            Some(count) => *count += 1,
            None => others += 1,
        }
    }
    let total = (counts.iter().sum::<u32>() + others) as f32;
    counts
        .iter()
        .chain([&others])
        .filter(|count| **count > 0)
        .map(|count| {
            let share = *count as f32 / total;
            -share * share.log2()
        })
        .sum::<f32>()
        .max(0.0)
}

/// Words that people write where a secret goes.
const STAND_INS: &[&str] = &[
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "replace",
    "redacted",
    "dummy",
    "insert",
    "your_",
    "your-",
    "yourpass",
    "yoursecret",
    "yourtoken",
    "yourkey",
    "yourapi",
    "mysecret",
    "mypassword",
    "my_secret",
    "my-secret",
    "todo",
    "fixme",
    "xxxx",
    "****",
    "....",
    "____",
    "----",
    "<your",
    "sample",
    "undefined",
    "<redacted",
    "not-a-real",
    "notarealkey",
    "fake",
    "lorem",
];

/// Whether a value stands for one: `${VAR}`, `<your-key>`, `xxxx`, `CHANGE_ME`.
pub(crate) fn is_stand_in(value: &str) -> bool {
    let value = value.trim();
    let refers = value.contains("${")
        || value.contains("{{")
        || value.contains("$(")
        || value.contains("%(")
        || value.contains("#{")
        || value.starts_with('$')
        || (value.starts_with('<') && value.ends_with('>'))
        || (value.starts_with('[') && value.ends_with(']'))
        || (value.starts_with('{') && value.ends_with('}'))
        || (value.starts_with('%') && value.ends_with('%'));
    if refers {
        return true;
    }
    let lower = value.to_lowercase();
    if lower.ends_with("...")
        || matches!(
            lower.as_str(),
            "token" | "password" | "secret" | "pass" | "passwd" | "apikey" | "key"
        )
    {
        return true;
    }
    if STAND_INS.iter().any(|word| lower.contains(word)) {
        return true;
    }
    let mut bytes: Vec<u8> = lower.bytes().collect();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len() <= 3 || is_sequence(&lower)
}

/// Whether the value counts up the alphabet or the digits: all of it in one or two runs, or ten
/// characters on end, which chance never gives.
fn is_sequence(value: &str) -> bool {
    let (mut breaks, mut run) = (0, 0);
    let mut longest = 0;
    for pair in value.as_bytes().windows(2) {
        let counts = pair[1] == pair[0].wrapping_add(1);
        run = if counts { run + 1 } else { 0 };
        longest = longest.max(run);
        breaks += usize::from(!counts && pair[1] != pair[0]);
    }
    longest >= 9 || (value.len() >= 6 && breaks <= 2 && breaks * 5 < value.len())
}

/// A value of a generic assignment: random enough to be a key, and no name, path, call or number.
pub(super) fn secret_value(value: &str) -> Verdict {
    if value.len() < 8
        || is_stand_in(value)
        || is_code(value)
        || is_dated_name(value)
        || is_plain(value)
        || is_name(value)
    {
        return Verdict::Wrong;
    }
    // The beginning of a form, as documents write it: `sk-ant-api03-`.
    if value.len() < 24 && value.ends_with(['-', '_']) {
        return Verdict::Wrong;
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let alphabetic = value.bytes().filter(u8::is_ascii_alphabetic).count();
    if alphabetic == 0 && value.len() < 12 {
        return Verdict::Wrong;
    }
    let hex = value.bytes().all(|b| b.is_ascii_hexdigit());
    if entropy(value) < if hex { 2.6 } else { 3.0 } {
        return Verdict::Wrong;
    }
    if digits == 0 {
        // Without a digit the letters themselves must look random, and there must be enough to tell.
        let (bits, judged) = letters::cost(value);
        let random = value.len() >= 15 && judged * 2 >= value.len() && bits >= RANDOM_BITS;
        return if random { Verdict::Unknown } else { Verdict::Wrong };
    }
    // Identifiers and prose have digits too, but most of them is words.
    let share = if digits <= 2 { 3 } else { 2 };
    if letters::in_words(value) * share >= value.len() && !hex {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// What the letters of random text cost at least, in bits: one in twenty of random texts of 20 letters
/// costs less, and one in a thousand identifiers costs more.
const RANDOM_BITS: f32 = 5.1;

/// Whether a value is a date, a time, a version, an address or an amount: digits and marks, with a few
/// letters at most.
fn is_plain(value: &str) -> bool {
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let marks = value
        .bytes()
        .filter(|b| matches!(b, b'.' | b'-' | b':' | b'/' | b'+' | b','))
        .count();
    letters <= 2 && marks >= 2 && value.len() <= 32
}

/// Whether a value is words with a date behind them, which names a version or a feature
/// (`token-count-2026-05-13`): agents send lists of those in headers.
fn is_dated_name(value: &str) -> bool {
    let words = value.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let date = value[words.len()..].bytes().filter(u8::is_ascii_digit).count();
    date == 8
        && words
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
}

/// Whether a value is a name that programs give: `aes_cfb128_cipher`, `EVP_PKEY_X25519`, `nis-04c0c0fbca737c404`,
/// `worker-0675e4fef-qzhkk`. Its parts are short and of one case, which those of random values are not.
fn is_name(value: &str) -> bool {
    let short = |part: &str| {
        let upper = part.bytes().any(|b| b.is_ascii_uppercase());
        let lower = part.bytes().any(|b| b.is_ascii_lowercase());
        let switches = part
            .as_bytes()
            .windows(2)
            .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
            .count();
        part.len() <= 10
            && !(upper && lower)
            && switches <= 2
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let worded = value
        .split('_')
        .any(|part| part.len() >= 3 && part.bytes().all(|b| b.is_ascii_alphabetic()));
    if value.matches('_').count() >= 2 && worded && value.split('_').all(short) {
        return true;
    }
    let Some((kind, rest)) = value.split_once('-') else {
        return false;
    };
    let number = rest.split('-').next().unwrap_or_default();
    let hex = number
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    let tail = rest[number.len()..].len();
    (2..=16).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase())
        && hex
        && ((tail == 0 && matches!(number.len(), 8 | 17)) || (tail == 6 && (8..=10).contains(&number.len())))
}

/// A value of a password field: people's passwords are words with something in between.
pub(super) fn password_value(value: &str) -> Verdict {
    let length = value.chars().count();
    if !(6..=200).contains(&length) || is_stand_in(value) || is_code(value) {
        return Verdict::Wrong;
    }
    let digit = value.chars().any(|c| c.is_ascii_digit());
    let upper = value.chars().any(char::is_uppercase);
    let lower = value.chars().any(char::is_lowercase);
    let mark = value
        .chars()
        .any(|c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
    // `ov::pass::Matcher`, `Password Filename:`, `password_encryption = scram-sha-256`.
    if value.starts_with(':') || value.ends_with(':') || value.contains("sha-256") {
        return Verdict::Wrong;
    }
    // `#add-password` and `.password` select elements of a page.
    if value.starts_with(['#', '.'])
        && value[1..]
            .bytes()
            .all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_'))
    {
        return Verdict::Wrong;
    }
    let kinds = [digit, upper, lower, mark].into_iter().filter(|has| *has).count();
    // One kind of character alone is a word, a number or a type, not a password that matters.
    if kinds < 2 || (kinds == 2 && upper && lower) || (kinds == 2 && !digit && length < 14) {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// A value of a password field beside the name of a user: with a user named, a plain word is a password too.
pub(super) fn pair_password(value: &str) -> Verdict {
    const LABELS: &[&str] = &[
        "string", "text", "none", "null", "true", "false", "required", "optional", "invalid", "hidden",
        "input", "user", "username", "default", "value", "test", "prompt", "stdin", "passwort", "env",
        "login", "email", "name", "char", "varchar", "bytes", "object", "number", "boolean",
    ];
    let length = value.chars().count();
    let lower = value.trim().to_lowercase();
    let wrong = !(5..=100).contains(&length)
        || is_stand_in(value)
        || is_code(value)
        || LABELS.contains(&lower.as_str())
        || lower.contains("password")
        || !value.chars().any(char::is_alphanumeric);
    if wrong { Verdict::Wrong } else { Verdict::Unknown }
}

/// `user:password` of a command line: the password is judged.
pub(super) fn user_pair(value: &str) -> Verdict {
    let Some((_, password)) = value.split_once(':') else {
        return Verdict::Wrong;
    };
    let password = password.trim_matches(['"', '\'']);
    let wrong = password.chars().count() < 3 || is_stand_in(password) || password.starts_with("//");
    if wrong { Verdict::Wrong } else { Verdict::Unknown }
}

/// A word of letters and digits that is no identifier of code: `a1b2c3d4`, not `utf8` or `base64`.
pub(super) fn code_word(value: &str) -> Verdict {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    (digits >= 3 && !is_stand_in(value)).into()
}

/// Whether a value is an expression, a path, an address or a date rather than a literal secret.
fn is_code(value: &str) -> bool {
    let path = value.starts_with('/')
        && value.matches('/').count() >= 2
        && !value.contains('+')
        && !value.ends_with('=');
    let call = value.contains('(') && (value.ends_with(')') || value.ends_with('('));
    let member = value.contains('.')
        && value.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'[' | b']' | b'(' | b')'))
                && (part.bytes().filter(u8::is_ascii_digit).count() <= 2 || has_words(value))
        });
    let typed = value.contains('.')
        && value.split('.').all(|part| {
            part.len() <= 24
                && part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
        && value
            .split('.')
            .any(|part| part.len() >= 6 && letters::in_words(part) * 2 >= part.len());
    let names = value.contains("::");
    let host = value.matches('.').count() >= 2
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        && value
            .rsplit('.')
            .next()
            .is_some_and(|top| (2..=6).contains(&top.len()) && top.bytes().all(|b| b.is_ascii_lowercase()));
    let index = value.contains('[') && value.ends_with(']');
    let scheme = [
        "http://",
        "https://",
        "file:",
        "arn:",
        "vault:",
        "ssm:",
        "op://",
        "env:",
        "secret://",
        "!",
    ]
    .iter()
    .any(|start| value.starts_with(start));
    let uuid = value.len() == 36
        && value.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    let integrity = ["sha256-", "sha384-", "sha512-", "sha1-", "sha256:", "md5-"]
        .iter()
        .any(|start| value.starts_with(start));
    path || names
        || host
        || call
        || member
        || typed
        || index
        || scheme
        || uuid && value.bytes().all(|b| b == b'0' || b == b'-')
        || integrity
}

/// Whether the value looks made of words.
fn has_words(value: &str) -> bool {
    letters::in_words(value) * 3 >= value.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_told_from_values() {
        for stand_in in [
            "${DB_PASSWORD}",
            "<your-key>",
            "xxxxxxxx",
            "CHANGE_ME",
            "{{ token }}",
            "abcdefgh",
            "12345678",
            "process.env",
        ] {
            assert!(is_stand_in(stand_in) || is_code(stand_in), "{stand_in}");
        }
        for value in ["hT7&kq2!Zp", "a8f5f167f44f4964e6c998dee827110c"] {
            assert!(!is_stand_in(value), "{value}");
        }
    }

    #[test]
    fn identifiers_are_no_secrets() {
        for name in [
            "user_password_field",
            "getSecretValue",
            "os.environ",
            "config.token",
            "/etc/ssl/private",
            "ed25519.Ed25519PrivateKey",
        ] {
            assert_eq!(secret_value(name), Verdict::Wrong, "{name}");
        }
        assert_eq!(secret_value("q8Zr2LmX0vTn5KdW"), Verdict::Unknown);
    }

    #[test]
    fn names_of_programs_are_no_secrets() {
        for name in [
            "aes_cfb128_cipher",
            "EVP_PKEY_X25519",
            "hvx_vec_add_f32_f32",
            "nis-04c0c0fbca737c404",
            "worker-0675e4fef-qzhkk",
        ] {
            assert!(is_name(name), "{name}");
        }
        for value in [
            "q8_Zr2LmX0_vTn5KdW",
            "x7k2m9_p4q8z1_v6w3t5",
            "live-0c1becd1907de5de32491a14461cdac0",
        ] {
            assert!(!is_name(value), "{value}");
        }
    }

    #[test]
    fn names_with_a_date_are_no_secrets() {
        assert!(is_dated_name("count-2026-05-13") && is_dated_name("tool-use-20251120"));
        assert!(
            !is_dated_name("q8Zr2LmX-2026-05-13")
                && !is_dated_name("2026-05-13")
                && !is_dated_name("abc-2026")
        );
    }

    #[test]
    fn entropy_counts_bits() {
        assert!(entropy("aaaa") < 0.001);
        assert!((entropy("ab") - 1.0).abs() < 0.001);
    }
}
