//! Cards, accounts, wallets, vehicles, dates.

use sha2::{Digest, Sha256};
use sha3::Keccak256;

use super::{Verdict, code, digits, is_day, is_monotone, luhn, number, weigh};

/// Length and issuer range of a payment card, and the Luhn digit.
pub(super) fn card(value: &str) -> Verdict {
    let digits = digits(value);
    let lengths: &[usize] = match (
        digits.first(),
        number(digits.get(..2).unwrap_or_default()),
        number(digits.get(..4).unwrap_or_default()),
    ) {
        (Some(4), ..) => &[13, 16, 19],
        (_, 34 | 37, _) => &[15],
        (_, 51..=55, _) | (_, _, 2221..=2720) => &[16],
        (_, 36 | 38 | 39, _) | (_, _, 3000..=3059 | 3095) => &[14, 16, 19],
        (_, _, 3528..=3589) => &[16, 17, 18, 19],
        (_, _, 2131 | 1800) => &[15, 16],
        (_, 64 | 65, _) | (_, _, 6011) => &[16, 19],
        (_, 62 | 81, _) => &[16, 17, 18, 19],
        (_, _, 2200..=2204) => &[16, 17, 18, 19],
        (_, 50 | 56..=58 | 60 | 61 | 63 | 66..=69, _) => &[12, 13, 14, 15, 16, 17, 18, 19],
        (_, _, 1220) => &[15],
        _ => &[],
    };
    (lengths.contains(&digits.len()) && !is_monotone(&digits) && luhn(&digits)).into()
}

/// The verification number of a card; one digit over and over, or counting up, stands for one.
pub(super) fn verification(value: &str) -> Verdict {
    let digits = digits(value);
    let counts = digits.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    if counts || is_monotone(&digits) {
        Verdict::Wrong
    } else {
        Verdict::Unknown
    }
}

/// The Luhn digit alone.
pub(super) fn luhn_digits(value: &str) -> Verdict {
    let digits = digits(value);
    (!is_monotone(&digits) && luhn(&digits)).into()
}

/// Lengths of the IBAN register, by country.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// Length by country, and mod 97 (ISO 13616).
pub(super) fn iban(value: &str) -> Verdict {
    let code = code(value);
    let Some(country) = code.first_chunk::<2>() else {
        return Verdict::Wrong;
    };
    let known = IBAN_LENGTHS.iter().find(|(name, _)| *name == country);
    if known.is_none_or(|(_, length)| *length != code.len()) || !code[2..4].iter().all(u8::is_ascii_digit) {
        return Verdict::Wrong;
    }
    let rest = code[4..]
        .iter()
        .chain(&code[..4])
        .fold(0u32, |rest, byte| match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
        });
    (rest == 1).into()
}

/// US routing numbers: Federal Reserve district and weighted check digit.
pub(super) fn aba(value: &str) -> Verdict {
    let digits = digits(value);
    let district = number(digits.get(..2).unwrap_or_default());
    let known = matches!(district, 1..=12 | 21..=32 | 61..=72 | 80);
    (digits.len() == 9 && known && weigh(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)).into()
}

/// Vehicle numbers: allowed letters; the check digit is used in North America only.
pub(super) fn vin(value: &str) -> Verdict {
    let code = code(value);
    let worth = |byte: u8| -> Option<u32> {
        Some(match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'H' => u32::from(byte - b'A') + 1,
            b'J'..=b'N' => u32::from(byte - b'J') + 1,
            b'P' => 7,
            b'R' => 9,
            b'S'..=b'Z' => u32::from(byte - b'S') + 2,
            _ => return None,
        })
    };
    let worths: Option<Vec<u32>> = code.iter().map(|byte| worth(*byte)).collect();
    let Some(worths) = worths.filter(|worths| worths.len() == 17) else {
        return Verdict::Wrong;
    };
    let letters = code.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if !(3..=14).contains(&letters) {
        return Verdict::Wrong;
    }
    let sum = weigh(&worths, &[8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if sum == 10 { b'X' } else { b'0' + sum as u8 };
    if check == code[8] {
        Verdict::Right
    } else {
        Verdict::Unknown
    }
}

/// What a Bech32 address may begin with: Bitcoin, its test network, and chains that use the same form (BIP-173).
const BECH32_PREFIXES: &[&str] = &[
    "bc", "tb", "ltc", "addr", "stake", "cosmos", "osmo", "inj", "terra", "celestia", "sei", "akash", "juno",
    "dydx", "kava", "axelar",
];

/// A Bitcoin address, or one of another chain in the same form: Base58Check or Bech32.
pub(super) fn bitcoin(value: &str) -> Verdict {
    let lower = value.to_ascii_lowercase();
    if let Some((prefix, data)) = lower.split_once('1')
        && BECH32_PREFIXES.contains(&prefix)
    {
        return bech32(prefix, data).into();
    }
    base58_check(value).into()
}

/// An Ethereum address, whose capitals are a checksum (EIP-55): a letter is one where the Keccak-256 of the small
/// letters has a nibble of eight or more at its place. Capitals that are wrong are a typing error, or hexadecimal
/// digits of something else, and letters of one case say nothing: both are left to what stands around them.
pub(super) fn ethereum(value: &str) -> Verdict {
    let Some(digits) = value.strip_prefix("0x").filter(|digits| digits.len() == 40) else {
        return Verdict::Wrong;
    };
    let has = |case: fn(&u8) -> bool| digits.bytes().any(|byte| case(&byte));
    if !(has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)) {
        return Verdict::Unknown;
    }
    let hash = Keccak256::digest(digits.to_ascii_lowercase());
    let right = digits.bytes().enumerate().all(|(at, byte)| {
        let nibble = hash[at / 2] >> (4 * ((at + 1) % 2)) & 0xf;
        !byte.is_ascii_alphabetic() || byte.is_ascii_uppercase() == (nibble >= 8)
    });
    if right { Verdict::Right } else { Verdict::Unknown }
}

fn bech32(prefix: &str, data: &str) -> bool {
    const CHARS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let step = |check: u32, value: u32| {
        const TAPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let top = check >> 25;
        let shifted = ((check & 0x01ff_ffff) << 5) ^ value;
        (0..5)
            .filter(|bit| top >> bit & 1 == 1)
            .fold(shifted, |check, bit| check ^ TAPS[bit as usize])
    };
    let mut check = 1;
    for byte in prefix.bytes() {
        check = step(check, u32::from(byte >> 5));
    }
    check = step(check, 0);
    for byte in prefix.bytes() {
        check = step(check, u32::from(byte & 31));
    }
    for byte in data.bytes() {
        let Some(value) = CHARS.iter().position(|c| *c == byte) else {
            return false;
        };
        check = step(check, value as u32);
    }
    matches!(check, 1 | 0x2bc8_30a3)
}

fn base58_check(value: &str) -> bool {
    const CHARS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0u8; 25];
    if value.len() > 40 {
        return false;
    }
    for c in value.bytes() {
        let Some(digit) = CHARS.iter().position(|own| *own == c) else {
            return false;
        };
        let mut carry = digit as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (data, check) = bytes.split_at(21);
    Sha256::digest(Sha256::digest(data)).starts_with(check)
}

/// A date that exists, in any of the usual orders.
pub(super) fn date(value: &str) -> Verdict {
    let parts: Vec<u32> = value
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty() && part.len() <= 8)
        .filter_map(|part| part.parse().ok())
        .collect();
    match parts[..] {
        [packed] if packed >= 10_000_000 => is_day(packed / 100 % 100, packed % 100).into(),
        [a, b, c] => {
            let year_first = (1900..=2100).contains(&a) && is_day(b, c);
            let year_last = (c < 100 || (1900..=2100).contains(&c)) && (is_day(a, b) || is_day(b, a));
            (year_first || year_last || (a < 100 && is_day(b, c))).into()
        }
        // With the month as a word there is nothing more to check.
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_of_an_ethereum_address_are_its_checksum() {
        // The examples of EIP-55.
        for address in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert_eq!(ethereum(address), Verdict::Right, "{address}");
            assert_eq!(ethereum(&address.to_ascii_lowercase()), Verdict::Unknown);
            let turned = address.replace('b', "B");
            assert_eq!(ethereum(&turned), Verdict::Unknown, "{turned}");
        }
        // All of their letters are capitals by the checksum, which looks like no checksum.
        assert_eq!(
            ethereum("0x52908400098527886E0F7030069857D2E4169EE7"),
            Verdict::Unknown
        );
        assert_eq!(ethereum("0x5290"), Verdict::Wrong);
    }
}
