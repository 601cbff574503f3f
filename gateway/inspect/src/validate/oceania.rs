//! National, tax and health numbers of New Zealand, and Australia's health identifiers.

use super::{Verdict, code, digits, luhn, number, weigh};

/// New Zealand taxpayers: mod 11 with a second round of weights (Inland Revenue, IRD number validation).
pub(super) fn nz_ird(value: &str) -> Verdict {
    let mut digits = digits(value);
    if digits.len() == 8 {
        digits.insert(0, 0);
    }
    if digits.len() != 9 || !(10_000_000..150_000_000).contains(&number(&digits)) {
        return Verdict::Wrong;
    }
    let check = |weights: &[u32]| (11 - weigh(&digits[..8], weights) % 11) % 11;
    let first = check(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let right = if first == 10 {
        check(&[7, 4, 3, 2, 5, 2, 7, 6])
    } else {
        first
    };
    (right == digits[8]).into()
}

/// New Zealand patients: three letters, three digits and a check digit mod 11, or since 2022 two digits and two
/// letters, the last of them a check mod 23 (HISO 10046).
pub(super) fn nz_nhi(value: &str) -> Verdict {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
    let code = code(value);
    if code.len() != 7 {
        return Verdict::Wrong;
    }
    let worth = |byte: &u8| {
        if byte.is_ascii_digit() {
            Some(u32::from(byte - b'0'))
        } else {
            LETTERS
                .iter()
                .position(|own| own == byte)
                .map(|place| place as u32 + 1)
        }
    };
    let Some(worths) = code.iter().map(worth).collect::<Option<Vec<u32>>>() else {
        return Verdict::Wrong;
    };
    let sum = weigh(&worths[..6], &[7, 6, 5, 4, 3, 2]);
    if code[6].is_ascii_digit() {
        let rest = sum % 11;
        (rest != 0 && (11 - rest) % 10 == worths[6]).into()
    } else {
        (23 - sum % 23 == worths[6]).into()
    }
}

/// Australian health identifiers: 800360, then Luhn over sixteen digits.
pub(super) fn au_ihi(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 16 && matches!(number(&digits[..6]), 800_360..=800_362) && luhn(&digits)).into()
}
