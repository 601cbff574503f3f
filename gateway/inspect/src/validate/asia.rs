//! National numbers of Asia, Australia and Africa.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, number, weigh};

/// Korean resident registration: a birth date, a century digit, and the check digit, which numbers
/// issued since October 2020 no longer carry.
pub(super) fn kr_rrn(value: &str) -> Verdict {
    korean(value, &[1, 2, 3, 4, 9, 0], 0)
}

/// Korean foreigner registration: likewise, with its own century digits and check rule.
pub(super) fn kr_frn(value: &str) -> Verdict {
    korean(value, &[5, 6, 7, 8], 2)
}

fn korean(value: &str, centuries: &[u32], shift: u32) -> Verdict {
    let digits = digits(value);
    if digits.len() != 13
        || !is_day(number(&digits[2..4]), number(&digits[4..6]))
        || !centuries.contains(&digits[6])
    {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let check = (11 - sum % 11 + shift) % 10;
    if check == digits[12] {
        return Verdict::Right;
    }
    // Numbers issued since October 2020 are random behind the century digit. They are given at birth
    // and on request, so any birth date may carry one; the date's structure has to do.
    Verdict::Unknown
}

/// Chinese residents: date and ISO 7064 mod 11-2.
pub(super) fn cn_resident(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 18 || !code[..17].iter().all(u8::is_ascii_digit) {
        return Verdict::Wrong;
    }
    let digits: Vec<u32> = code[..17].iter().map(|byte| u32::from(byte - b'0')).collect();
    if !(1850..=2100).contains(&number(&digits[6..10]))
        || !is_day(number(&digits[10..12]), number(&digits[12..14]))
    {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    (b"10X98765432"[(sum % 11) as usize] == code[17]).into()
}

/// Taiwanese national and new resident numbers.
pub(super) fn tw_id(value: &str) -> Verdict {
    const PLACES: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let code = code(value);
    let Some(place) = code
        .first()
        .and_then(|first| PLACES.iter().position(|own| own == first))
    else {
        return Verdict::Wrong;
    };
    let rest = digits(value);
    if code.len() != 10 || rest.len() != 9 || !matches!(rest[0], 1 | 2 | 8 | 9) {
        return Verdict::Wrong;
    }
    let place = place as u32 + 10;
    let sum = place / 10 + place % 10 * 9 + weigh(&rest, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    sum.is_multiple_of(10).into()
}

/// Japanese My Number.
pub(super) fn jp_my_number(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    ((if rest <= 1 { 0 } else { 11 - rest }) == digits[11]).into()
}

/// Singaporean and foreign identity numbers.
pub(super) fn sg_nric(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    if code.len() != 9 || digits.len() != 7 {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (shift, letters): (u32, &[u8; 11]) = match code[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => {
            return (b"KLJNPQRTUWX"[(10 - (sum + 3) % 11) as usize] == code[8]).into();
        }
        _ => return Verdict::Wrong,
    };
    (letters[((sum + shift) % 11) as usize] == code[8]).into()
}

/// Thai nationals: the second and third digit are a province.
pub(super) fn th_tnin(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 13 || !(1..=8).contains(&digits[0]) || !(10..=96).contains(&number(&digits[1..3])) {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits[..12], &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    ((11 - sum % 11) % 10 == digits[12]).into()
}

/// Indian residents: Verhoeff's dihedral check.
pub(super) fn in_aadhaar(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12 || digits[0] < 2 || is_monotone(&digits) || digits.iter().eq(digits.iter().rev()) {
        return Verdict::Wrong;
    }
    verhoeff(&digits).into()
}

fn verhoeff(digits: &[u32]) -> bool {
    const STEP: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: usize, b: usize| match (a / 5, b / 5) {
        (0, 0) => (a + b) % 5,
        (0, _) => 5 + (a + b) % 5,
        (_, 0) => 5 + (a - b) % 5,
        _ => (5 + a - b) % 5,
    };
    let mut check = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let mut permuted = *digit as usize;
        for _ in 0..place % 8 {
            permuted = STEP[permuted];
        }
        check = product(check, permuted);
    }
    check == 0
}

/// Indian taxpayers: the fourth letter says what kind of holder it is.
pub(super) fn in_pan(value: &str) -> Verdict {
    let code = code(value);
    if code.get(3).is_some_and(|kind| b"ABCFGHJLPTK".contains(kind)) {
        Verdict::Unknown
    } else {
        Verdict::Wrong
    }
}

/// Indian goods and services tax: a state, a PAN, and a mod 36 check character.
pub(super) fn in_gstin(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 15 {
        return Verdict::Wrong;
    }
    let worth = |byte: u8| {
        if byte.is_ascii_digit() {
            u32::from(byte - b'0')
        } else {
            u32::from(byte - b'A') + 10
        }
    };
    let sum: u32 = code[..14]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let product = worth(*byte) * (1 + place as u32 % 2);
            product / 36 + product % 36
        })
        .sum();
    ((36 - sum % 36) % 36 == worth(code[14])).into()
}

/// Israeli residents: Luhn over nine digits.
pub(super) fn il_id(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9 && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Australian tax file numbers.
pub(super) fn au_tfn(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && weigh(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11))
    .into()
}

/// Australian businesses: mod 89.
pub(super) fn au_abn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || digits[0] == 0 {
        return Verdict::Wrong;
    }
    (weigh(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) - 10)
        .is_multiple_of(89)
        .into()
}

/// Australian companies.
pub(super) fn au_acn(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && (10 - weigh(&digits[..8], &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == digits[8])
        .into()
}

/// Australian health cards.
pub(super) fn au_medicare(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() >= 10
        && (2..=6).contains(&digits[0])
        && weigh(&digits[..8], &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == digits[8])
        .into()
}

/// South African residents: a birth date, citizenship, and Luhn.
pub(super) fn za_id(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 13
        && is_day(number(&digits[2..4]), number(&digits[4..6]))
        && digits[10] <= 2
        && luhn(&digits))
    .into()
}
