//! National and tax numbers of Asia beyond those in `asia.rs`.

use super::{Verdict, code, digits, is_day, is_monotone, number, weigh};

/// Hong Kong residents: one or two letters, six digits, mod 11 with A for ten.
pub(super) fn hk_id(value: &str) -> Verdict {
    let code = code(value);
    let letters = code.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if !matches!((code.len(), letters), (8, 1) | (9, 2))
        || !code[letters..letters + 6].iter().all(u8::is_ascii_digit)
    {
        return Verdict::Wrong;
    }
    // A single letter stands behind a space, which counts 36.
    let worths = code[..code.len() - 1]
        .iter()
        .map(|byte| char::from(*byte).to_digit(36).unwrap_or_default());
    let padded: Vec<u32> = std::iter::repeat_n(36, 2 - letters).chain(worths).collect();
    let rest = (11 - weigh(&padded, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    let check = if rest == 10 { b'A' } else { b'0' + rest as u8 };
    (check == code[code.len() - 1]).into()
}

/// Firms of Singapore: numbers of businesses, of local companies, and of others, each with its own letters.
pub(super) fn sg_uen(value: &str) -> Verdict {
    const OTHERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWX0123456789";
    let code = code(value);
    let Some((check, body)) = code.split_last() else {
        return Verdict::Wrong;
    };
    let digits = digits(value);
    if body.iter().all(u8::is_ascii_digit) && check.is_ascii_uppercase() {
        let (weights, letters): (&[u32], &[u8; 11]) = match body.len() {
            8 => (&[10, 4, 9, 3, 8, 2, 7, 1], b"XMKECAWLJDB"),
            9 => (&[10, 8, 6, 4, 9, 7, 5, 3, 1], b"ZKCMDNERGWH"),
            _ => return Verdict::Wrong,
        };
        return (letters[(weigh(&digits, weights) % 11) as usize] == *check).into();
    }
    if code.len() != 10 || !matches!(code[0], b'R' | b'S' | b'T') {
        return Verdict::Wrong;
    }
    let worths: Option<Vec<u32>> = body
        .iter()
        .map(|byte| {
            OTHERS
                .iter()
                .position(|own| own == byte)
                .map(|place| place as u32)
        })
        .collect();
    let Some(worths) = worths else {
        return Verdict::Wrong;
    };
    let sum = weigh(&worths, &[4, 3, 5, 3, 10, 2, 2, 5, 7]) + 11 - 5;
    (OTHERS[(sum % 11) as usize] == *check).into()
}

/// Chinese firms (GB 32100): mod 31 over digits and letters without I, O, S, V, Z.
pub(super) fn cn_firm(value: &str) -> Verdict {
    const CHARS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let code = code(value);
    if code.len() != 18 {
        return Verdict::Wrong;
    }
    let worths: Option<Vec<u32>> = code
        .iter()
        .map(|byte| CHARS.iter().position(|own| own == byte).map(|place| place as u32))
        .collect();
    let Some(worths) = worths.filter(|worths| !is_monotone(worths)) else {
        return Verdict::Wrong;
    };
    let mut weight = 1;
    let mut sum = 0;
    for worth in &worths[..17] {
        sum += worth * weight;
        weight = weight * 3 % 31;
    }
    ((31 - sum % 31) % 31 == worths[17]).into()
}

/// Taiwanese firms: digit sums of weights 1-2-1-2-1-2-4-1, a multiple of five, with a second try for a seventh 7.
pub(super) fn tw_firm(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 8 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let sum: u32 = digits
        .iter()
        .zip([1, 2, 1, 2, 1, 2, 4, 1])
        .map(|(digit, weight)| digit * weight / 10 + digit * weight % 10)
        .sum();
    (sum.is_multiple_of(5) || (digits[6] == 7 && (sum + 1).is_multiple_of(5))).into()
}

/// Japanese firms: the first digit checks the other twelve, mod 9.
pub(super) fn jp_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 13
        && !is_monotone(&digits)
        && 9 - weigh(&digits[1..], &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]) % 9 == digits[0])
        .into()
}

/// Korean firms: weights 1-3-7-1-3-7-1-3-5, the tens of the last product added.
pub(super) fn kr_firm(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits[..9], &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + digits[8] * 5 / 10;
    ((10 - sum % 10) % 10 == digits[9]).into()
}

/// Malaysian residents: a birth date and a place that exists.
pub(super) fn my_nric(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12
        || !is_day(number(&digits[2..4]), number(&digits[4..6]))
        || !matches!(number(&digits[6..8]), 1..=16 | 21..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99)
    {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// Indonesian residents: a province and a birth date (day +40 for women).
pub(super) fn id_nik(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 16 {
        return Verdict::Wrong;
    }
    let day = number(&digits[6..8]);
    let day = if day > 40 { day - 40 } else { day };
    if !(11..=97).contains(&number(&digits[..2]))
        || !is_day(number(&digits[8..10]), day)
        || number(&digits[12..]) == 0
    {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// Vietnamese citizens: a province, and a digit for century and sex.
pub(super) fn vn_citizen(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12 || !(1..=96).contains(&number(&digits[..3])) || digits[3] > 3 {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// Vietnamese taxpayers: the places weigh primes, mod 11.
pub(super) fn vn_tax(value: &str) -> Verdict {
    let digits = digits(value);
    if !matches!(digits.len(), 10 | 13) || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..9], &[31, 29, 23, 19, 17, 13, 7, 5, 3]) % 11;
    (10u32.checked_sub(rest) == Some(digits[9])).into()
}

/// Sri Lankan residents: year and day of the year (+500 for women), in the old form with a letter.
pub(super) fn lk_nic(value: &str) -> Verdict {
    let digits = digits(value);
    let day = match (digits.len(), code(value).len()) {
        (9, 10) => number(&digits[2..5]),
        (12, 12) if matches!(number(&digits[..2]), 19 | 20) => number(&digits[4..7]),
        _ => return Verdict::Wrong,
    };
    if matches!(day, 1..=366 | 501..=866) {
        Verdict::Unknown
    } else {
        Verdict::Wrong
    }
}

/// Philippine taxpayers: mod 11; an office of three or five digits may follow.
pub(super) fn ph_tin(value: &str) -> Verdict {
    let digits = digits(value);
    (matches!(digits.len(), 9 | 12 | 14)
        && !is_monotone(&digits)
        && weigh(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == digits[8])
        .into()
}
