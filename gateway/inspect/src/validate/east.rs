//! National and tax numbers of Central and Eastern Europe, the Baltic states and the countries around the Black Sea.
//!
//! The rules are those that the registries publish; where a registry publishes none, the name of the text that
//! describes its rule stands with the function.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, mod_11_10, number, weigh};

/// Polish tax number: weighted sum mod 11 (ordinance on the NIP of 1995).
pub(super) fn pl_nip(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10
        && !is_monotone(&digits)
        && weigh(&digits[..9], &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == digits[9])
        .into()
}

/// Polish statistical number of nine or fourteen digits: mod 11 (Statistics Poland, REGON).
pub(super) fn pl_regon(value: &str) -> Verdict {
    let digits = digits(value);
    let short = |digits: &[u32]| weigh(&digits[..8], &[8, 9, 2, 3, 4, 5, 6, 7]) % 11 % 10 == digits[8];
    match digits.len() {
        _ if is_monotone(&digits) => Verdict::Wrong,
        9 => short(&digits).into(),
        14 => {
            let sum = weigh(&digits[..13], &[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8]);
            (short(&digits) && sum % 11 % 10 == digits[13]).into()
        }
        _ => Verdict::Wrong,
    }
}

/// Polish identity card: three letters, check digit, five digits; weights 7-3-1 (ICAO 9303 order of weights).
pub(super) fn pl_id_card(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 9 || !code[..3].iter().all(u8::is_ascii_uppercase) {
        return Verdict::Wrong;
    }
    let worths: Vec<u32> = code
        .iter()
        .map(|byte| char::from(*byte).to_digit(36).unwrap_or_default())
        .collect();
    let body = [
        worths[0], worths[1], worths[2], worths[4], worths[5], worths[6], worths[7], worths[8],
    ];
    (weigh(&body, &[7, 3, 1, 7, 3, 1, 7, 3]) % 10 == worths[3]).into()
}

/// Czech company number: mod 11 (Czech Statistical Office, IČO).
pub(super) fn cz_ico(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 8
        && !is_monotone(&digits)
        && (11 - weigh(&digits[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11) % 10 == digits[7])
        .into()
}

/// Hungarian tax number of firms: eight digits with a mod 10 check, kind of tax, and office.
pub(super) fn hu_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (matches!(digits.len(), 8 | 11)
        && !is_monotone(&digits)
        && weigh(&digits[..8], &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10))
    .into()
}

/// Hungarian tax number of persons: begins with 8, places weigh 1 to 9, mod 11 (act on taxation, annex).
pub(super) fn hu_person(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10
        && digits[0] == 8
        && weigh(&digits[..9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11 == digits[9])
        .into()
}

/// Hungarian social security (TAJ): weights 3 and 7, mod 10.
pub(super) fn hu_taj(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && weigh(&digits[..8], &[3, 7, 3, 7, 3, 7, 3, 7]) % 10 == digits[8])
        .into()
}

/// Bulgarian citizens: birth date (months +20 or +40 tell the century) and mod 11 (ordinance on the EGN).
pub(super) fn bg_egn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 {
        return Verdict::Wrong;
    }
    let (month, day) = (number(&digits[2..4]), number(&digits[4..6]));
    (month <= 52
        && is_day(month % 20, day)
        && weigh(&digits[..9], &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == digits[9])
        .into()
}

/// Greek taxpayers: the places weigh powers of two, mod 11.
pub(super) fn gr_afm(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && weigh(&digits[..8], &[256, 128, 64, 32, 16, 8, 4, 2]) % 11 % 10 == digits[8])
        .into()
}

/// Greek social security: birth date and Luhn.
pub(super) fn gr_amka(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11 && is_day(number(&digits[2..4]), number(&digits[..2])) && luhn(&digits)).into()
}

/// Croatian persons and firms: ISO 7064 mod 11,10.
pub(super) fn hr_oib(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11 && !is_monotone(&digits) && mod_11_10(&digits[..10]) == digits[10]).into()
}

/// The number of the former Yugoslavia, used in its successors still: birth date, region, mod 11.
pub(super) fn jmbg(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 13 || !is_day(number(&digits[2..4]), number(&digits[..2])) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..12], &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    ((11 - rest) % 11 % 10 == digits[12] && rest != 1).into()
}

/// Slovenian taxpayers: mod 11.
pub(super) fn si_tax(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 8 || digits[0] == 0 {
        return Verdict::Wrong;
    }
    let check = 11 - weigh(&digits[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11;
    (check % 10 == digits[7] && check != 11).into()
}

/// Estonian and Lithuanian persons: century, birth date, mod 11 with a second round of weights.
pub(super) fn baltic(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11
        || !(1..=8).contains(&digits[0])
        || !is_day(number(&digits[3..5]), number(&digits[5..7]))
    {
        return Verdict::Wrong;
    }
    let rest = match weigh(&digits[..10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
        10 => weigh(&digits[..10], &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
        rest => rest,
    };
    (rest == digits[10]).into()
}

/// Latvian persons: a birth date with mod 11, or the dateless numbers from 32 on that are given since 2017.
pub(super) fn lv_person(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 {
        return Verdict::Wrong;
    }
    if digits[0] == 3 && digits[1] >= 2 {
        return Verdict::Unknown;
    }
    let sum = 1 + weigh(&digits[..10], &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
    (is_day(number(&digits[2..4]), number(&digits[..2])) && sum % 11 % 10 == digits[10]).into()
}

/// Romanian firms: weighted sum times ten, mod 11; leading zeroes are left out when it is written.
pub(super) fn ro_firm(value: &str) -> Verdict {
    let digits = digits(value);
    if !(4..=10).contains(&digits.len()) || digits[0] == 0 {
        return Verdict::Wrong;
    }
    let mut padded = vec![0; 10 - digits.len()];
    padded.extend(digits);
    (weigh(&padded[..9], &[7, 5, 3, 2, 1, 7, 5, 3, 2]) * 10 % 11 % 10 == padded[9]).into()
}

/// Ukrainian taxpayers: mod 11; the first weight is -1, which is 10 here.
pub(super) fn ua_tax(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10
        && !is_monotone(&digits)
        && weigh(&digits[..9], &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10 == digits[9])
        .into()
}

/// Russian taxpayers, ten digits for firms and twelve for persons: mod 11 (order of the tax service on the INN).
pub(super) fn ru_inn(value: &str) -> Verdict {
    const WEIGHTS: [u32; 11] = [3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    let digits = digits(value);
    let check = |count: usize| weigh(&digits[..count], &WEIGHTS[11 - count..]) % 11 % 10 == digits[count];
    match digits.len() {
        _ if is_monotone(&digits) => Verdict::Wrong,
        10 => check(9).into(),
        12 => (check(10) && check(11)).into(),
        _ => Verdict::Wrong,
    }
}

/// Russian pension insurance: sum of places mod 101.
pub(super) fn ru_snils(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11
        && !is_monotone(&digits)
        && weigh(&digits[..9], &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100 == number(&digits[9..]))
    .into()
}

/// Russian firms, thirteen digits mod 11, and sole traders, fifteen mod 13; the last digit of the rest.
pub(super) fn ru_ogrn(value: &str) -> Verdict {
    let digits = digits(value);
    let modulus = match digits.len() {
        13 => 11,
        15 => 13,
        _ => return Verdict::Wrong,
    };
    let (check, body) = (digits[digits.len() - 1], &digits[..digits.len() - 1]);
    let rest = body.iter().fold(0, |rest, digit| (rest * 10 + digit) % modulus);
    (digits[0] != 0 && rest % 10 == check).into()
}

/// Kazakh persons and firms: mod 11 with a second round of weights.
pub(super) fn kz_iin(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = match weigh(&digits[..11], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) % 11 {
        10 => weigh(&digits[..11], &[3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]) % 11,
        rest => rest,
    };
    (rest == digits[11]).into()
}

/// Moldovan persons and firms: weights 7-3-1, mod 10.
pub(super) fn md_idno(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 13
        && !is_monotone(&digits)
        && weigh(&digits[..12], &[7, 3, 1, 7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10 == digits[12])
        .into()
}

/// Turkish taxpayers: each place doubles less often than the one before, mod 9 and mod 10.
pub(super) fn tr_vkn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let sum: u32 = (1..=9u32)
        .zip(digits[..9].iter().rev())
        .map(|(place, digit)| match (digit + place) % 10 {
            0 => 0,
            shifted => match shifted * 2u32.pow(place) % 9 {
                0 => 9,
                rest => rest,
            },
        })
        .sum();
    ((10 - sum % 10) % 10 == digits[9]).into()
}
