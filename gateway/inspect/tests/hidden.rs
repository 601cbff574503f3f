//! Values hidden in every way that the normaliser knows: found as what they are, where they lie.

use std::sync::LazyLock;

use cordon_inspect::Inspector;

static INSPECTOR: LazyLock<Inspector> =
    LazyLock::new(|| Inspector::embedded().expect("the embedded files compile"));

/// Entity type and value; `¦` breaks a token up, as in the detector files. All are made up.
const VALUES: &[(&str, &str)] = &[
    ("CREDIT_CARD", "4539 1488 0343 6467"),
    ("EMAIL", "martina.kowalska@example.org"),
    ("IBAN", "DE89 3704 0044 0532 0130 00"),
    ("SECRET.AWS_ACCESS_KEY", "AK¦IA4Q7XW2LM6ZT5KD3R"),
];

fn each_char(text: &str, written: impl Fn(char) -> String) -> String {
    text.chars().map(written).collect()
}

fn base64(octets: &[u8]) -> String {
    const CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut word = String::new();
    for chunk in octets.chunks(3) {
        let mut bits = 0u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(*chunk.get(place).unwrap_or(&0));
        }
        for place in 0..4 {
            word.push(if place <= chunk.len() {
                char::from(CHARS[(bits >> (18 - 6 * place) & 63) as usize])
            } else {
                '='
            });
        }
    }
    word
}

fn shifted(c: char, first: u32) -> char {
    char::from_u32(u32::from(c) + first - 0x21).unwrap_or(c)
}

type Hide = fn(&str) -> String;

/// Ways of hiding that every value is found in.
const ANY: &[(&str, Hide)] = &[
    ("full width", |v| {
        each_char(v, |c| {
            if c == ' ' { '\u{3000}' } else { shifted(c, 0xFF01) }.into()
        })
    }),
    ("zero width", |v| {
        each_char(v, |c| format!("{c}\u{200B}"))
            .trim_end_matches('\u{200B}')
            .to_owned()
    }),
    ("word joiner", |v| {
        each_char(v, |c| format!("{c}\u{2060}"))
            .trim_end_matches('\u{2060}')
            .to_owned()
    }),
    ("variation selectors", |v| {
        each_char(v, |c| format!("{c}\u{FE0F}"))
    }),
    ("tag characters", |v| {
        each_char(v, |c| char::from_u32(0xE0000 + u32::from(c)).unwrap_or(c).into())
    }),
    ("struck through", |v| each_char(v, |c| format!("{c}\u{336}"))),
    ("mathematical", |v| {
        each_char(v, |c| match c {
            '0'..='9' => char::from_u32(0x1D7CE + u32::from(c) - 0x30).unwrap_or(c).into(),
            'a'..='z' => char::from_u32(0x1D41A + u32::from(c) - 0x61).unwrap_or(c).into(),
            'A'..='Z' => char::from_u32(0x1D400 + u32::from(c) - 0x41).unwrap_or(c).into(),
            c => c.into(),
        })
    }),
    ("Cyrillic letters", |v| {
        each_char(v, |c| {
            match c {
                'a' => 'а',
                'e' => 'е',
                'o' => 'о',
                'p' => 'р',
                'c' => 'с',
                'x' => 'х',
                'A' => 'А',
                'E' => 'Е',
                'K' => 'К',
                'M' => 'М',
                'T' => 'Т',
                c => c,
            }
            .into()
        })
    }),
    ("percent", |v| v.bytes().map(|b| format!("%{b:02X}")).collect()),
    ("percent, twice", |v| {
        v.bytes().map(|b| format!("%25{b:02x}")).collect()
    }),
    ("entities", |v| each_char(v, |c| format!("&#{};", u32::from(c)))),
    ("entities in hexadecimal", |v| {
        each_char(v, |c| format!("&#x{:x};", u32::from(c)))
    }),
    ("entities twice", |v| {
        each_char(v, |c| format!("&amp;#{};", u32::from(c)))
    }),
    ("\\u", |v| each_char(v, |c| format!("\\u{:04x}", u32::from(c)))),
    ("\\u{}", |v| {
        each_char(v, |c| format!("\\u{{{:x}}}", u32::from(c)))
    }),
    ("\\x", |v| v.bytes().map(|b| format!("\\x{b:02x}")).collect()),
    ("octal", |v| v.bytes().map(|b| format!("\\{b:03o}")).collect()),
    ("quoted-printable", |v| {
        v.bytes().map(|b| format!("={b:02X}")).collect()
    }),
    ("quoted-printable, broken", |v| {
        format!("{}=\r\n{}", &v[..v.len() / 2], &v[v.len() / 2..])
    }),
    ("base64", |v| base64(v.as_bytes())),
    ("base64url", |v| {
        base64(v.as_bytes())
            .replace('+', "-")
            .replace('/', "_")
            .replace('=', "")
    }),
    ("base64 in a data URI", |v| {
        format!("data:text/plain;base64,{}", base64(v.as_bytes()))
    }),
    ("base64 three times", |v| {
        base64(base64(base64(v.as_bytes()).as_bytes()).as_bytes())
    }),
    ("base64 of UTF-16", |v| {
        base64(&v.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
    }),
    ("a MIME word", |v| format!("=?utf-8?B?{}?=", base64(v.as_bytes()))),
    ("hexadecimal", |v| v.bytes().map(|b| format!("{b:02x}")).collect()),
    ("hexadecimal with spaces", |v| {
        v.bytes()
            .map(|b| format!("{b:02x}"))
            .collect::<Vec<_>>()
            .join(" ")
    }),
    ("hexadecimal with prefixes", |v| {
        v.bytes()
            .map(|b| format!("0x{b:02x}"))
            .collect::<Vec<_>>()
            .join(", ")
    }),
    ("decimal codes", |v| {
        v.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(" ")
    }),
    ("binary digits", |v| {
        v.bytes()
            .map(|b| format!("{b:08b}"))
            .collect::<Vec<_>>()
            .join(" ")
    }),
    ("binary digits together", |v| {
        v.bytes().map(|b| format!("{b:08b}")).collect()
    }),
    ("spaced out", |v| {
        each_char(v, |c| format!("{c} ")).trim_end().to_owned()
    }),
    ("spaced by underscores", |v| {
        each_char(&v.replace(' ', ""), |c| format!("{c}_"))
            .trim_end_matches('_')
            .to_owned()
    }),
    ("one below the other", |v| {
        each_char(&v.replace(' ', ""), |c| format!("{c}\n"))
            .trim_end()
            .to_owned()
    }),
    ("backwards", |v| v.chars().rev().collect()),
    ("shown backwards", |v| {
        format!("\u{202E}{}\u{202C}", v.chars().rev().collect::<String>())
    }),
];

#[test]
fn every_value_is_found_in_every_disguise() {
    let mut missed = Vec::new();
    for (entity, value) in VALUES {
        let value = value.replace('¦', "");
        for (way, hide) in ANY {
            let hidden = hide(&value);
            for text in [
                format!("Please look at {hidden} and tell me"),
                format!("value={hidden}\nnote=from the export"),
                format!("{{\"field\": \"{hidden}\"}}"),
                hidden.clone(),
            ] {
                let at = text.find(&hidden).unwrap_or_default();
                let covered = INSPECTOR.inspect(&text).into_iter().any(|finding| {
                    finding.entity.as_str() == *entity
                        && finding.span.start < at + hidden.len()
                        && finding.span.end > at
                        && 10 * finding.span.len()
                            >= 8 * hidden.trim_end_matches(['\u{202C}', '=']).len()
                                - if way.contains("data URI") { 8 * 23 } else { 0 }
                });
                if !covered {
                    missed.push(format!("{entity}, {way}: {text:?}"));
                }
            }
        }
    }
    assert!(
        missed.is_empty(),
        "{} missed:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

#[test]
fn some_disguises_are_for_some_values() {
    for (text, entity, hidden) in [
        (
            "it is 4539 l488 O343 6467 ok",
            "CREDIT_CARD",
            "4539 l488 O343 6467",
        ),
        (
            "it is DE89 37O4 0044 O532 O130 00 ok",
            "IBAN",
            "DE89 37O4 0044 O532 O130 00",
        ),
        (
            "four five three nine, one four eight eight, zero three four three, six four six seven",
            "CREDIT_CARD",
            "four five three nine, one four eight eight, zero three four three, six four six seven",
        ),
        (
            "vier fünf drei neun eins vier acht acht null drei vier drei sechs vier sechs sieben",
            "CREDIT_CARD",
            "vier fünf drei neun eins vier acht acht null drei vier drei sechs vier sechs sieben",
        ),
        (
            "martina dot kowalska at example dot org now",
            "EMAIL",
            "martina dot kowalska at example dot org",
        ),
        (
            "write to martina(at)example(dot)org now",
            "EMAIL",
            "martina(at)example(dot)org",
        ),
        (
            "write to martina@example[.]org now",
            "EMAIL",
            "martina@example[.]org",
        ),
        (
            "the key NXVN4D7KJ2YZ6MG5XQ3E is old",
            "SECRET.AWS_ACCESS_KEY",
            "NXVN4D7KJ2YZ6MG5XQ3E",
        ),
        (
            "４５３９ 1488 ٠٣٤٣ ⑥④⑥⑦ ok",
            "CREDIT_CARD",
            "４５３９ 1488 ٠٣٤٣ ⑥④⑥⑦",
        ),
        (
            "전화는 공일공-이삼사오-육칠팔구 입니다",
            "PHONE",
            "공일공-이삼사오-육칠팔구",
        ),
    ] {
        let findings = INSPECTOR.inspect(text);
        let seen: Vec<(&str, &str)> = findings
            .iter()
            .map(|finding| (finding.entity.as_str(), &text[finding.span.clone()]))
            .collect();
        assert!(seen.contains(&(entity, hidden)), "{text}: {seen:?}");
    }
}
