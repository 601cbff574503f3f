//! National and tax numbers of Africa and the Middle East.

use super::{Verdict, digits, is_day, is_monotone, luhn, number, weigh};

/// South African income tax: Luhn over ten digits.
pub(super) fn za_tax(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10 && matches!(digits[0], 0..=4 | 9) && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Egyptian citizens: century, birth date, governorate, mod 11.
pub(super) fn eg_id(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 14
        || !matches!(digits[0], 2 | 3)
        || !is_day(number(&digits[3..5]), number(&digits[5..7]))
        || !matches!(number(&digits[7..9]), 1..=35 | 88)
    {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits[..13], &[2, 7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    ((11 - sum % 11) % 10 == digits[13]).into()
}

/// Emirates identity card: 784, a birth year, Luhn over fifteen digits.
pub(super) fn ae_id(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 15
        && number(&digits[..3]) == 784
        && (1900..=2100).contains(&number(&digits[3..7]))
        && luhn(&digits))
    .into()
}

/// Saudi citizens (1) and residents (2): Luhn over ten digits.
pub(super) fn sa_id(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10 && matches!(digits[0], 1 | 2) && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Kuwaiti residents: century, birth date, mod 11.
pub(super) fn kw_civil(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 12
        && (1..=4).contains(&digits[0])
        && is_day(number(&digits[3..5]), number(&digits[5..7]))
        && 11 - weigh(&digits[..11], &[2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11 == digits[11])
        .into()
}

/// Iranian citizens: mod 11.
pub(super) fn ir_melli(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    ((if rest < 2 { rest } else { 11 - rest }) == digits[9]).into()
}
