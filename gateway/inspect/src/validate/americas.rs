//! National numbers of the Americas.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, number, weigh};

/// US social security: areas, groups and serials that were never issued, and the famous samples.
pub(super) fn us_ssn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 9 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
    let sample = matches!(
        number(&digits),
        123_456_789 | 987_654_321 | 78_051_120 | 219_099_999
    );
    if area == 0 || area == 666 || area >= 900 || group == 0 || serial == 0 || sample {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// US taxpayer numbers for people without social security.
pub(super) fn us_itin(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 9 || digits[0] != 9 {
        return Verdict::Wrong;
    }
    match number(&digits[3..5]) {
        50..=65 | 70..=88 | 90..=92 | 94..=99 => Verdict::Unknown,
        _ => Verdict::Wrong,
    }
}

/// US health providers: Luhn with the prefix 80840.
pub(super) fn us_npi(value: &str) -> Verdict {
    let digits = digits(value);
    let prefixed: Vec<u32> = [8, 0, 8, 4, 0].iter().chain(&digits).copied().collect();
    (digits.len() == 10 && matches!(digits[0], 1 | 2) && luhn(&prefixed)).into()
}

/// Canadian social insurance: Luhn; no number starts with 0 or 8.
pub(super) fn ca_sin(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9 && !matches!(digits[0], 0 | 8) && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Brazilian persons: two digits mod 11.
pub(super) fn br_cpf(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let check = |count: usize| {
        let sum: u32 = digits[..count]
            .iter()
            .zip((2..=count as u32 + 1).rev())
            .map(|(d, w)| d * w)
            .sum();
        sum * 10 % 11 % 10
    };
    (check(9) == digits[9] && check(10) == digits[10]).into()
}

/// Brazilian companies: two digits mod 11.
pub(super) fn br_cnpj(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 14 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    (check(weigh(&digits[..12], &weights[1..])) == digits[12]
        && check(weigh(&digits[..13], &weights)) == digits[13])
        .into()
}

/// Argentine persons and companies.
pub(super) fn ar_cuit(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || !matches!(number(&digits[..2]), 20 | 23 | 24 | 27 | 30 | 33 | 34) {
        return Verdict::Wrong;
    }
    let rest = (11 - weigh(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    (rest == digits[10] || (rest == 10 && digits[10] == 9)).into()
}

/// Chilean persons and companies.
pub(super) fn cl_rut(value: &str) -> Verdict {
    let code = code(value);
    let Some((check, body)) = code
        .split_last()
        .filter(|(_, body)| body.iter().all(u8::is_ascii_digit))
    else {
        return Verdict::Wrong;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip((2..=7).cycle())
        .map(|(byte, weight)| u32::from(byte - b'0') * weight)
        .sum();
    let right = match 11 - sum % 11 {
        11 => b'0',
        10 => b'K',
        digit => b'0' + digit as u8,
    };
    ((7..=9).contains(&code.len()) && right == *check).into()
}

/// Mexican population registry: a date, a state and a check digit.
pub(super) fn mx_curp(value: &str) -> Verdict {
    const CHARS: &str = "0123456789ABCDEFGHIJKLMN?OPQRSTUVWXYZ";
    let code = code(value);
    if code.len() != 18 {
        return Verdict::Wrong;
    }
    let day: Vec<u32> = code[4..10]
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(10))
        .collect();
    if day.len() != 6 || !is_day(number(&day[2..4]), number(&day[4..])) {
        return Verdict::Wrong;
    }
    let sum: u32 = (2..=18)
        .rev()
        .zip(&code[..17])
        .map(|(weight, byte)| {
            // The alphabet is Spanish: the letter behind N has a place of its own.
            let place = CHARS.bytes().position(|own| own == *byte).unwrap_or_default() as u32;
            place * weight
        })
        .sum();
    ((10 - sum % 10) % 10 == u32::from(code[17].wrapping_sub(b'0'))).into()
}
