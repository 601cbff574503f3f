//! Identifiers of securities and legal entities, and wallets beyond Bitcoin.

use super::{Verdict, code, digits};

/// Securities (ISO 6166): a country, nine characters, Luhn over the digits that the letters stand for.
pub(super) fn isin(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 12 || !code[..2].iter().all(u8::is_ascii_uppercase) || !code[11].is_ascii_digit() {
        return Verdict::Wrong;
    }
    let mut expanded = Vec::new();
    for byte in &code {
        let worth = char::from(*byte).to_digit(36).unwrap_or_default();
        if worth >= 10 {
            expanded.push(worth / 10);
        }
        expanded.push(worth % 10);
    }
    super::luhn(&expanded).into()
}

/// North American securities: doubled at even places, digit sums, mod 10 (ANSI X9.6).
pub(super) fn cusip(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 9 {
        return Verdict::Wrong;
    }
    let sum: u32 = code[..8]
        .iter()
        .zip([1, 2].iter().cycle())
        .map(|(byte, weight)| {
            let worth = char::from(*byte).to_digit(36).unwrap_or_default() * weight;
            worth / 10 + worth % 10
        })
        .sum();
    (char::from(code[8]).to_digit(10) == Some((10 - sum % 10) % 10)).into()
}

/// British securities: no vowels, weights 1-3-1-7-3-9, mod 10.
pub(super) fn sedol(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 7 || code.iter().any(|byte| b"AEIOU".contains(byte)) {
        return Verdict::Wrong;
    }
    let sum: u32 = code
        .iter()
        .zip([1, 3, 1, 7, 3, 9, 1])
        .map(|(byte, weight)| char::from(*byte).to_digit(36).unwrap_or_default() * weight)
        .sum();
    (code[6].is_ascii_digit() && sum.is_multiple_of(10)).into()
}

/// Legal entities (ISO 17442): twenty characters, ISO 7064 mod 97-10.
pub(super) fn lei(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 20 || digits(value).len() < 4 {
        return Verdict::Wrong;
    }
    let rest = code.iter().fold(0u32, |rest, byte| {
        let worth = char::from(*byte).to_digit(36).unwrap_or_default();
        (rest * if worth < 10 { 10 } else { 100 } + worth) % 97
    });
    (rest == 1).into()
}
