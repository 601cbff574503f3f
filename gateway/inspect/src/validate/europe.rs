//! National numbers of Europe.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, mod_11_10, number, weigh};

/// British health service: mod 11.
pub(super) fn uk_nhs(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let check = 11 - weigh(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    (check != 10 && check % 11 == digits[9]).into()
}

/// German tax number: one digit of the ten occurs twice or thrice, and ISO 7064 mod 11,10.
pub(super) fn de_tax(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || digits[0] == 0 {
        return Verdict::Wrong;
    }
    let mut counts = [0u8; 10];
    digits[..10].iter().for_each(|digit| counts[*digit as usize] += 1);
    let repeats = counts.iter().filter(|count| **count > 1).count();
    let most = counts.iter().max().copied().unwrap_or_default();
    if repeats != 1 || most > 3 {
        return Verdict::Wrong;
    }
    (mod_11_10(&digits[..10]) == digits[10]).into()
}

/// German identity cards and passports: check digit 7-3-1.
pub(super) fn de_id_card(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 10 {
        return Verdict::Unknown;
    }
    let worth = |byte: u8| {
        if byte.is_ascii_digit() {
            u32::from(byte - b'0')
        } else {
            u32::from(byte - b'A') + 10
        }
    };
    let sum: u32 = code[..9]
        .iter()
        .zip([7, 3, 1].iter().cycle())
        .map(|(byte, weight)| worth(*byte) * weight)
        .sum();
    (sum % 10 == worth(code[9])).into()
}

/// German pension insurance: area, birth date, a letter, and a digit sum.
pub(super) fn de_pension(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 12 || !code[8].is_ascii_uppercase() {
        return Verdict::Wrong;
    }
    let letter = u32::from(code[8] - b'A') + 1;
    let mut all: Vec<u32> = code[..8]
        .iter()
        .map(|byte| u32::from(byte.wrapping_sub(b'0')))
        .collect();
    all.extend([letter / 10, letter % 10]);
    all.extend(code[9..11].iter().map(|byte| u32::from(byte.wrapping_sub(b'0'))));
    if all.iter().any(|digit| *digit > 9) || !is_day(number(&all[4..6]), number(&all[2..4])) {
        return Verdict::Wrong;
    }
    let sum: u32 = all
        .iter()
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(digit, weight)| digit * weight / 10 + digit * weight % 10)
        .sum();
    (sum % 10 == u32::from(code[11].wrapping_sub(b'0'))).into()
}

/// French social security: mod 97, Corsica's letters read as digits.
pub(super) fn fr_nir(value: &str) -> Verdict {
    let code = String::from_utf8_lossy(&code(value))
        .replace("2A", "19")
        .replace("2B", "18");
    let Some((body, key)) = code.split_at_checked(13).filter(|_| code.len() == 15) else {
        return Verdict::Wrong;
    };
    let (Ok(body), Ok(key)) = (body.parse::<u64>(), key.parse::<u64>()) else {
        return Verdict::Wrong;
    };
    let month = body / 100_000_000 % 100;
    ((1..=42).contains(&month) && 97 - body % 97 == key).into()
}

/// Spanish persons, citizens or foreigners: mod 23 letter.
pub(super) fn es_nif(value: &str) -> Verdict {
    let mut code = code(value);
    let Some(first) = code.first_mut() else {
        return Verdict::Wrong;
    };
    match *first {
        b'X' | b'K' | b'L' | b'M' => *first = b'0',
        b'Y' => *first = b'1',
        b'Z' => *first = b'2',
        _ => {}
    }
    let Some((letter, body)) = code.split_last() else {
        return Verdict::Wrong;
    };
    let body: Option<Vec<u32>> = body.iter().map(|byte| char::from(*byte).to_digit(10)).collect();
    let Some(body) = body.filter(|body| (7..=8).contains(&body.len())) else {
        return Verdict::Wrong;
    };
    (b"TRWAGMYFPDXBNJZSQVHLCKE"[(number(&body) % 23) as usize] == *letter).into()
}

/// Italian persons: the letter over odd and even places.
pub(super) fn it_fiscal(value: &str) -> Verdict {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
    ];
    let code = code(value);
    if code.len() != 16 {
        return Verdict::Wrong;
    }
    let sum: u32 = code[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let worth = if byte.is_ascii_digit() {
                byte - b'0'
            } else {
                byte - b'A'
            };
            if place % 2 == 0 {
                ODD[usize::from(worth)]
            } else {
                u32::from(worth)
            }
        })
        .sum();
    (b'A' + (sum % 26) as u8 == code[15]).into()
}

/// Italian companies: Luhn.
pub(super) fn it_vat(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11 && !is_monotone(&digits) && luhn(&digits)).into()
}

/// Dutch residents: the eleven test.
pub(super) fn nl_bsn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 9 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    (weigh(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == digits[8]).into()
}

/// Belgian residents: birth date and mod 97, with a 2 before the number for births since 2000.
pub(super) fn be_national(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || !is_day(number(&digits[2..4]) % 20, number(&digits[4..6])) {
        return Verdict::Wrong;
    }
    let body = u64::from(number(&digits[..9]));
    let key = u64::from(number(&digits[9..]));
    (97 - body % 97 == key || 97 - (2_000_000_000 + body) % 97 == key).into()
}

/// Polish residents: birth date and weighted digit.
pub(super) fn pl_pesel(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || !is_day(number(&digits[2..4]) % 20, number(&digits[4..6])) {
        return Verdict::Wrong;
    }
    ((10 - weigh(&digits[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10 == digits[10]).into()
}

/// Portuguese taxpayers: mod 11.
pub(super) fn pt_nif(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 9 || digits[0] == 0 {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    ((if rest < 2 { 0 } else { 11 - rest }) == digits[8]).into()
}

/// Romanian residents: birth date and mod 11.
pub(super) fn ro_cnp(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 13 || digits[0] == 0 || !is_day(number(&digits[3..5]), number(&digits[5..7])) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[..12], &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    ((if rest == 10 { 1 } else { rest }) == digits[12]).into()
}

/// Swedish persons: birth date (or coordination number) and Luhn over ten digits.
pub(super) fn se_personal(value: &str) -> Verdict {
    let digits = digits(value);
    let ten = match digits.len() {
        10 => &digits[..],
        12 if matches!(number(&digits[..2]), 18..=20) => &digits[2..],
        _ => return Verdict::Wrong,
    };
    let day = number(&ten[4..6]);
    (is_day(number(&ten[2..4]), if day > 60 { day - 60 } else { day }) && luhn(ten)).into()
}

/// Swedish organisations: the middle pair is 20 or more, and Luhn.
pub(super) fn se_organisation(value: &str) -> Verdict {
    let digits = digits(value);
    let ten = match digits.len() {
        10 => &digits[..],
        12 if number(&digits[..2]) == 16 => &digits[2..],
        _ => return Verdict::Wrong,
    };
    (matches!(ten[0], 1..=3 | 5..=9) && number(&ten[2..4]) >= 20 && luhn(ten)).into()
}

/// Finnish persons: birth date and mod 31 character.
pub(super) fn fi_hetu(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    // The mark between date and number is a dash, a plus or a letter.
    if digits.len() < 9 || !is_day(number(&digits[2..4]), number(&digits[..2])) {
        return Verdict::Wrong;
    }
    let rest = number(&digits[..9]) % 31;
    (code.last() == Some(&b"0123456789ABCDEFHJKLMNPRSTUVWXY"[rest as usize])).into()
}

/// Danish persons: a birth date; the check digit was given up in 2007.
pub(super) fn dk_cpr(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || !is_day(number(&digits[2..4]), number(&digits[..2])) {
        return Verdict::Wrong;
    }
    if weigh(&digits, &[4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11) {
        Verdict::Right
    } else {
        Verdict::Unknown
    }
}

/// Norwegian persons: birth date and two check digits.
pub(super) fn no_fnr(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || !is_day(number(&digits[2..4]) % 40, number(&digits[..2]) % 40) {
        return Verdict::Wrong;
    }
    (weigh(&digits[..10], &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weigh(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
    .into()
}

/// Czech and Slovak persons: birth date (women's months from 51) and mod 11.
pub(super) fn cz_birth(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || !is_day(number(&digits[2..4]) % 50 % 20, number(&digits[4..6])) {
        return Verdict::Wrong;
    }
    let value = digits
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(*digit));
    value.is_multiple_of(11).into()
}

/// Swiss social security: EAN-13.
pub(super) fn ch_ahv(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 13
        && number(&digits[..3]) == 756
        && weigh(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10))
    .into()
}

/// Turkish citizens: two check digits.
pub(super) fn tr_tckn(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || digits[0] == 0 {
        return Verdict::Wrong;
    }
    let odd: u32 = digits[..9].iter().step_by(2).sum();
    let even: u32 = digits[1..8].iter().step_by(2).sum();
    let tenth = (odd * 7 + 100 - even) % 10;
    let eleventh = digits[..10].iter().sum::<u32>() % 10;
    (tenth == digits[9] && eleventh == digits[10]).into()
}
