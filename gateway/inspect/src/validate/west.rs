//! National and tax numbers of Northern, Western and Southern Europe beyond those in `europe.rs`, firms' among them.

use super::{Verdict, code, digits, is_day, is_monotone, luhn, number, weigh};

/// British taxpayers (UTR): the first digit checks the other nine, mod 11.
pub(super) fn uk_utr(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 10 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let rest = weigh(&digits[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    ([2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1][rest as usize] == digits[0]).into()
}

/// British VAT: mod 97, since 2010 also with 55 added.
pub(super) fn uk_vat(value: &str) -> Verdict {
    let digits = digits(value);
    if !matches!(digits.len(), 9 | 12) {
        return Verdict::Wrong;
    }
    let sum = weigh(&digits[..9], &[8, 7, 6, 5, 4, 3, 2, 10, 1]) % 97;
    matches!(sum, 0 | 42).into()
}

/// German VAT: ISO 7064 mod 11,10.
pub(super) fn de_vat(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9 && digits[0] != 0 && super::mod_11_10(&digits[..8]) == digits[8]).into()
}

/// French firms: Luhn over nine digits.
pub(super) fn fr_siren(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9 && !is_monotone(&digits) && luhn(&digits)).into()
}

/// French places of business: Luhn over fourteen digits; those of the post office add up to a multiple of five.
pub(super) fn fr_siret(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 14 || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let post = digits[..9] == [3, 5, 6, 0, 0, 0, 0, 0, 0] && digits.iter().sum::<u32>().is_multiple_of(5);
    (luhn(&digits) || post).into()
}

/// French taxpayers: the last three digits are the others mod 511.
pub(super) fn fr_spi(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 13 || digits[0] > 3 {
        return Verdict::Wrong;
    }
    let body = digits[..10]
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(*digit));
    (body % 511 == u64::from(number(&digits[10..]))).into()
}

/// French VAT: the two digits before the firm's number follow from it, mod 97.
pub(super) fn fr_vat(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 11 || !luhn(&digits[2..]) {
        return Verdict::Wrong;
    }
    let key = (12 + 3 * (number(&digits[2..]) % 97)) % 97;
    (key == number(&digits[..2])).into()
}

/// Austrian social security: the fourth digit checks the rest, mod 11; then the birth date.
pub(super) fn at_svnr(value: &str) -> Verdict {
    let digits = digits(value);
    // Months 13 to 15 are given when the days of a birth date are used up.
    (digits.len() == 10
        && digits[0] != 0
        && (1..=15).contains(&number(&digits[6..8]))
        && weigh(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == digits[3])
        .into()
}

/// Austrian VAT: Luhn-like digit sum, shifted by four.
pub(super) fn at_vat(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 8 {
        return Verdict::Wrong;
    }
    let sum: u32 = digits[..7]
        .iter()
        .zip([1, 2, 1, 2, 1, 2, 1])
        .map(|(digit, weight)| digit * weight / 10 + digit * weight % 10)
        .sum();
    ((10 - (sum + 4) % 10) % 10 == digits[7]).into()
}

/// Swiss firms (UID): mod 11.
pub(super) fn ch_uid(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && (11 - weigh(&digits[..8], &[5, 4, 3, 2, 7, 6, 5, 4]) % 11) % 11 == digits[8])
        .into()
}

/// Irish persons (PPS): the letter is the weighted sum mod 23, a second letter weighs nine.
pub(super) fn ie_pps(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    if digits.len() != 7 || !matches!(code.len(), 8 | 9) || !code[7..].iter().all(u8::is_ascii_uppercase) {
        return Verdict::Wrong;
    }
    let second = match code.get(8) {
        None | Some(b'W') => 0,
        Some(letter) => u32::from(letter - b'A') + 1,
    };
    let rest = (weigh(&digits, &[8, 7, 6, 5, 4, 3, 2]) + second * 9) % 23;
    (b"WABCDEFGHIJKLMNOPQRSTUV"[rest as usize] == code[7]).into()
}

/// Icelandic persons and firms: birth date (day +40 for firms), mod 11.
pub(super) fn is_kennitala(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10
        && is_day(number(&digits[2..4]), number(&digits[..2]) % 40)
        && matches!(digits[9], 0 | 8 | 9)
        && weigh(&digits, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
    .into()
}

/// Norwegian firms: mod 11.
pub(super) fn no_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 9
        && !is_monotone(&digits)
        && weigh(&digits, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
    .into()
}

/// Danish firms: mod 11.
pub(super) fn dk_cvr(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 8 && digits[0] != 0 && weigh(&digits, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
        .into()
}

/// Finnish firms: mod 11.
pub(super) fn fi_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 8
        && !is_monotone(&digits)
        && weigh(&digits, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11))
    .into()
}

/// Belgian firms: mod 97.
pub(super) fn be_firm(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 10 && digits[0] <= 1 && 97 - number(&digits[..8]) % 97 == number(&digits[8..])).into()
}

/// Dutch VAT: the number in it passes the eleven test (firms), or the whole is mod 97 (sole traders since 2020).
pub(super) fn nl_vat(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(value);
    if code.len() != 14 || digits.len() != 11 {
        return Verdict::Wrong;
    }
    let rest = code.iter().fold(0u32, |rest, byte| {
        let worth = char::from(*byte).to_digit(36).unwrap_or_default();
        (rest * if worth < 10 { 10 } else { 100 } + worth) % 97
    });
    (weigh(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 == digits[8] || rest == 1).into()
}

/// Spanish firms (CIF): a digit or letter by a Luhn-like sum.
pub(super) fn es_cif(value: &str) -> Verdict {
    let code = code(value);
    let digits = digits(&value[value.ceil_char_boundary(1.min(value.len()))..]);
    if code.len() != 9 || digits.len() < 7 || !b"ABCDEFGHJNPQRSUVW".contains(&code[0]) {
        return Verdict::Wrong;
    }
    let sum: u32 = digits[..7]
        .iter()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit * 2 / 10 + digit * 2 % 10,
            _ => *digit,
        })
        .sum();
    let check = (10 - sum % 10) % 10;
    (code[8] == b'0' + check as u8 || code[8] == b"JABCDEFGHI"[check as usize]).into()
}

/// Spanish social security: the last two digits are the others mod 97.
pub(super) fn es_social(value: &str) -> Verdict {
    let digits = digits(value);
    if digits.len() != 12 {
        return Verdict::Wrong;
    }
    let fold = |digits: &[u32]| {
        digits
            .iter()
            .fold(0u64, |sum, digit| sum * 10 + u64::from(*digit))
    };
    let (province, person) = (fold(&digits[..2]), fold(&digits[2..10]));
    // Numbers below ten million are joined to their province without the leading zero.
    let body = if person < 10_000_000 {
        person + province * 10_000_000
    } else {
        province * 100_000_000 + person
    };
    (body % 97 == u64::from(number(&digits[10..]))).into()
}

/// Portuguese social security: weights are primes, mod 10.
pub(super) fn pt_social(value: &str) -> Verdict {
    let digits = digits(value);
    (digits.len() == 11
        && matches!(digits[0], 1 | 2)
        && 9 - weigh(&digits[..10], &[29, 23, 19, 17, 13, 11, 7, 5, 3, 2]) % 10 == digits[10])
        .into()
}

/// Portuguese citizens' card: Luhn over digits and letters.
pub(super) fn pt_card(value: &str) -> Verdict {
    let code = code(value);
    if code.len() != 12 {
        return Verdict::Wrong;
    }
    let sum: u32 = code
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let worth = char::from(*byte).to_digit(36).unwrap_or_default();
            match place % 2 {
                1 => worth,
                _ if worth * 2 > 9 => worth * 2 - 9,
                _ => worth * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10).into()
}
