//! Numbers of patients, insured and those who treat them.

use super::{Verdict, code, digits, is_monotone, weigh};

/// US prescribers (DEA): a kind, a letter of the name, and a digit sum.
pub(super) fn us_dea(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    let digits = match (digits.len(), code.get(1)) {
        (7, _) => &digits[..],
        // Firms have a 9 for the letter of the name.
        (8, Some(b'9')) => &digits[1..],
        _ => return Verdict::Wrong,
    };
    if code.len() != 9 || is_monotone(digits) || !b"ABCDEFGHJKLMPRSTUX".contains(&code[0]) {
        return Verdict::Wrong;
    }
    (weigh(&digits[..6], &[1, 2, 1, 2, 1, 2]) % 10 == digits[6]).into()
}

/// German insured persons: the letter as two digits, weights 1 and 2, digit sum mod 10 (GKV-Spitzenverband).
pub(super) fn de_kvnr(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    if code.len() != 10 || digits.len() != 9 || !code[0].is_ascii_uppercase() {
        return Verdict::Wrong;
    }
    let letter = u32::from(code[0] - b'A') + 1;
    let sum: u32 = [letter / 10, letter % 10]
        .iter()
        .chain(&digits[..8])
        .zip([1, 2].iter().cycle())
        .map(|(digit, weight)| digit * weight / 10 + digit * weight % 10)
        .sum();
    (sum % 10 == digits[8]).into()
}

/// German physicians: weights 4 and 9, mod 10 (guideline of the KBV); two digits of a speciality follow.
pub(super) fn de_lanr(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && (10 - weigh(&digits[..6], &[4, 9, 4, 9, 4, 9]) % 10) % 10 == digits[6])
        .into()
}
