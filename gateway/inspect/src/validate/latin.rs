//! National and tax numbers of Latin America beyond those in `americas.rs`, and Canada's firms and health cards.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, number, weigh};

/// Brazilian workers (PIS, PASEP, NIS, NIT): mod 11.
pub(super) fn br_pis(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..10], &[3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    ((if rest < 2 { 0 } else { 11 - rest }) == digits[10]).into()
}

/// Brazilian driving licence: two digits mod 11, the second shifted when the first overflowed.
pub(super) fn br_cnh(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let first = weigh(&digits[..9], &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 11;
    let second = weigh(&digits[..9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11;
    let shifted = if first == 10 { (second + 9) % 11 } else { second };
    (first % 10 == digits[9] && shifted % 10 == digits[10]).into()
}

/// Brazilian health card: fifteen digits, the places weigh fifteen to one, mod 11.
pub(super) fn br_cns(value: &str) -> Verdict {
    let digits = digits(value);
    let sum: u32 = digits
        .iter()
        .zip((1..=15).rev())
        .map(|(digit, weight)| digit * weight)
        .sum();
    (digits.len() == 15 && matches!(digits[0], 1 | 2 | 7..=9) && sum.is_multiple_of(11)).into()
}

/// Mexican taxpayers: letters of the name, a date, and three characters of which the last checks the rest.
pub(super) fn mx_rfc(value: &str) -> Verdict {
    const CHARS: &[u8] = b"0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ ";
    let code: Vec<u8> = value
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'&')
        .map(|byte| byte.to_ascii_uppercase())
        .collect();
    let letters = match code.len() {
        12 => 3,
        13 => 4,
        _ => return Verdict::Wrong,
    };
    let day: Vec<u32> = code[letters..letters + 6]
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(10))
        .collect();
    if day.len() != 6 || !is_day(number(&day[2..4]), number(&day[4..])) {
        return Verdict::Wrong;
    }
    let padded = std::iter::repeat_n(b' ', 13 - code.len()).chain(code[..code.len() - 1].iter().copied());
    let sum: u32 = padded
        .zip((2..=13).rev())
        .map(|(byte, weight)| CHARS.iter().position(|own| *own == byte).unwrap_or_default() as u32 * weight)
        .sum();
    let check = match (11 - sum % 11) % 11 {
        10 => b'A',
        digit => b'0' + digit as u8,
    };
    if check == code[code.len() - 1] {
        Verdict::Right
    } else {
        // Older numbers carry no check character that follows the rule.
        Verdict::Unknown
    }
}

/// Mexican social security: Luhn over eleven digits.
pub(super) fn mx_nss(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11 && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Mexican bank accounts (CLABE): weights 3-7-1, each product mod 10.
pub(super) fn mx_clabe(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 18 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let sum: u32 = digits[..17]
        .iter()
        .zip([3, 7, 1].iter().cycle())
        .map(|(digit, weight)| digit * weight % 10)
        .sum();
    ((10 - sum % 10) % 10 == digits[17]).into()
}

/// Colombian taxpayers: the places weigh primes, mod 11.
pub(super) fn co_nit(value: &str) -> Verdict {
    const WEIGHTS: [u32; 15] = [3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71];
    let digits = digits(value);
    let Some((check, body)) = digits
        .split_last()
        .filter(|(_, body)| (8..=15).contains(&body.len()))
    else {
        return Verdict::Wrong;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip(WEIGHTS)
        .map(|(digit, weight)| digit * weight)
        .sum();
    ([0, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1][(sum % 11) as usize] == *check).into()
}

/// Peruvian taxpayers: mod 11.
pub(super) fn pe_ruc(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11
        && matches!(number(&digits[..2]), 10 | 15 | 16 | 17 | 20)
        && (11 - weigh(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 10 == digits[10])
        .into()
}

/// Ecuadorian persons, and their tax number with a branch behind it: province, Luhn-like sum.
pub(super) fn ec_ci(value: &str) -> Verdict {
    let digits = digits(value);
    let province = number(digits.get(..2).unwrap_or_default());
    if !matches!(digits.len(), 10 | 13) || !matches!(province, 1..=24 | 30 | 50) || digits[2] > 5 {
        return Verdict::Wrong;
    }
    let branch = digits.len() == 10 || number(&digits[10..]) > 0;
    (branch && luhn(&digits[..10])).into()
}

/// Uruguayan persons: mod 10 with weights 2-9-8-7-6-3-4.
pub(super) fn uy_ci(value: &str) -> Verdict {
    let digits = digits(value);
    if !matches!(digits.len(), 7 | 8) || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let weights = &[2, 9, 8, 7, 6, 3, 4][8 - digits.len()..];
    let (check, body) = (digits[digits.len() - 1], &digits[..digits.len() - 1]);
    ((10 - weigh(body, weights) % 10) % 10 == check).into()
}

/// Dominican persons: Luhn over eleven digits.
pub(super) fn do_cedula(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11 && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Venezuelan taxpayers: the letter counts as a digit times four, mod 11.
pub(super) fn ve_rif(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    if code.len() != 10 || digits.len() != 9 {
        return Verdict::Wrong;
    }
    let letter = match code[0] {
        b'V' => 4,
        b'E' => 8,
        b'J' => 12,
        b'P' => 16,
        b'G' => 20,
        _ => return Verdict::Wrong,
    };
    let sum = letter + weigh(&digits[..8], &[3, 2, 7, 6, 5, 4, 3, 2]);
    ([0, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1][(sum % 11) as usize] == digits[8]).into()
}

/// Guatemalan taxpayers: mod 11, with K for ten.
pub(super) fn gt_nit(value: &str) -> Verdict {
    let code = code(value);
    let Some((check, body)) = code
        .split_last()
        .filter(|(_, body)| (4..=11).contains(&body.len()) && body.iter().all(u8::is_ascii_digit))
    else {
        return Verdict::Wrong;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip(2..)
        .map(|(byte, weight)| u32::from(byte - b'0') * weight)
        .sum();
    let right = match (11 - sum % 11) % 11 {
        10 => b'K',
        digit => b'0' + digit as u8,
    };
    (right == *check).into()
}

/// Paraguayan taxpayers: mod 11.
pub(super) fn py_ruc(value: &str) -> Verdict {
    let digits = digits(value);
    let Some((check, body)) = digits
        .split_last()
        .filter(|(_, body)| (4..=8).contains(&body.len()))
    else {
        return Verdict::Wrong;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip(2..)
        .map(|(digit, weight)| digit * weight)
        .sum();
    ((11 - sum % 11) % 11 % 10 == *check && sum % 11 != 1 || (sum % 11 == 1 && *check == 0)).into()
}

/// Canadian firms: Luhn over nine digits, a programme and an account behind them.
pub(super) fn ca_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (matches!(digits.len(), 9 | 13) && !is_monotone(&digits[..9]) && luhn(&digits[..9])).into()
}

/// Health cards of British Columbia: nine in front, mod 11.
pub(super) fn ca_bc_health(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10
        && digits[0] == 9
        && (11 - weigh(&digits[1..9], &[2, 4, 8, 5, 10, 9, 7, 3]) % 11) % 11 == digits[9])
        .into()
}

/// Health cards of Ontario: Luhn over ten digits.
pub(super) fn ca_on_health(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10 && digits[0] != 0 && !is_monotone(&digits) && luhn(&digits)).into()
}
