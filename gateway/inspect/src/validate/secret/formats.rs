//! Checksums and structures of credentials, as their makers publish them.
//!
//! Where a checksum fails the answer is mostly `Unknown`, not `Wrong`: makers change their forms, and a
//! key with a typing error still shows most of a key. Only where the form alone is common is it `Wrong`.

use std::{collections::HashMap, sync::LazyLock};

use sha2::{Digest, Sha256};

use super::super::Verdict;
use crate::decode::base64_bytes;

/// The longest value that is decoded.
const MAX_BYTES: usize = 16 << 10;

fn right_or_unknown(right: bool) -> Verdict {
    if right { Verdict::Right } else { Verdict::Unknown }
}

/// Tokens of GitHub and npm: 30 random characters, and their CRC32 as six digits to the base 62
/// (GitHub's blog, "Behind GitHub's new authentication token formats", April 2021).
pub(crate) fn crc32_base62(value: &str) -> Verdict {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, rest)) = value.rsplit_once('_') else {
        return Verdict::Unknown;
    };
    let Some((payload, check)) = rest.len().checked_sub(6).and_then(|at| rest.split_at_checked(at)) else {
        return Verdict::Unknown;
    };
    let mut left = crc32fast::hash(payload.as_bytes());
    let right = check.bytes().rev().all(|own| {
        let digit = DIGITS[(left % 62) as usize];
        left /= 62;
        own == digit
    });
    right_or_unknown(right && left == 0)
}

/// An access key of AWS holds the number of its account in base 32: 40 bits behind the four letters and
/// one bit (A. Sulaiman and T. Bremer, 2023). Ids made up at random fail one time in ten.
pub(crate) fn aws_key(value: &str) -> Verdict {
    if value.ends_with("EXAMPLE") {
        return Verdict::Wrong;
    }
    let Some(code) = value.get(4..) else {
        return Verdict::Wrong;
    };
    let mut bits = 0u64;
    for b in code.bytes().take(10) {
        let digit = match b {
            b'A'..=b'Z' => b - b'A',
            b'2'..=b'7' => b - b'2' + 26,
            _ => return Verdict::Unknown,
        };
        bits = bits << 5 | u64::from(digit);
    }
    // Ten digits are 50 bits; the first 48 are the first six bytes, of which bit 47 is not of the number.
    let account = (bits >> 2 & 0x7fff_ffff_ff80) >> 7;
    right_or_unknown(account > 0 && account < 1_000_000_000_000)
}

/// A JSON web token: its header is a JSON object that names an algorithm.
pub(crate) fn jwt(value: &str) -> Verdict {
    let header = value.split('.').next().unwrap_or_default();
    let Some(header) = base64_bytes(header, 4096) else {
        return Verdict::Wrong;
    };
    let object = header.trim_ascii_start().starts_with(b"{");
    (object && holds(&header, b"\"alg\"")).into()
}

/// `user:password` in base64, as HTTP and Docker send it.
pub(crate) fn basic_auth(value: &str) -> Verdict {
    let Some(bytes) = base64_bytes(value, MAX_BYTES) else {
        return Verdict::Wrong;
    };
    let Ok(pair) = String::from_utf8(bytes) else {
        return Verdict::Wrong;
    };
    let readable = !pair.chars().any(char::is_control);
    match pair.split_once(':') {
        Some((user, password)) if readable => (!user.is_empty() || !password.is_empty()).into(),
        _ => Verdict::Wrong,
    }
}

/// A private key between its lines: DER, or OpenSSH's own form. Encrypted ones begin with headers, and
/// PGP's are packets, so what is not known is not refused.
pub(crate) fn pem(value: &str) -> Verdict {
    let mut lines = value.split("-----");
    let body = lines.nth(2).unwrap_or_default();
    let mut start = String::with_capacity(64);
    let letters = body.replace("\\n", "\n").replace("\\r", "");
    for line in letters.lines().map(str::trim).filter(|line| !line.contains(':')) {
        start.extend(
            line.chars()
                .filter(|c| c.is_ascii_alphanumeric() || "+/".contains(*c)),
        );
        if start.len() >= 32 {
            break;
        }
    }
    start.truncate(start.len() / 4 * 4);
    let bytes = base64_bytes(&start, MAX_BYTES).unwrap_or_default();
    let der = bytes.first() == Some(&0x30);
    right_or_unknown(der || bytes.starts_with(b"openssh-key-v1"))
}

/// The words of BIP-39, English, in their order (`policies/detectors/words/bip39-english.txt`).
static BIP39: LazyLock<HashMap<&'static str, u16>> = LazyLock::new(|| {
    include_str!("../../../../../policies/detectors/words/bip39-english.txt")
        .lines()
        .zip(0..)
        .collect()
});

/// The words that a wallet is restored from: 12, 15, 18, 21 or 24 of the list, the last of which holds
/// a checksum (BIP-39).
pub(crate) fn bip39(value: &str) -> Verdict {
    let mut bits: Vec<bool> = Vec::with_capacity(24 * 11);
    for word in value
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
    {
        let Some(index) = BIP39.get(word.to_ascii_lowercase().as_str()) else {
            return Verdict::Wrong;
        };
        if bits.len() == 24 * 11 {
            return Verdict::Wrong;
        }
        bits.extend((0..11).rev().map(|bit| index >> bit & 1 == 1));
    }
    let words = bits.len() / 11;
    if words < 12 || !words.is_multiple_of(3) {
        return Verdict::Wrong;
    }
    let (entropy, check) = bits.split_at(words * 32 / 3);
    let bytes: Vec<u8> = entropy
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
        .collect();
    let hash = Sha256::digest(&bytes);
    let holds = check
        .iter()
        .zip(0..)
        .all(|(bit, place)| *bit == (hash[0] >> (7 - place) & 1 == 1));
    right_or_unknown(holds)
}

/// Base 58 with four bytes of checksum: private keys of wallets and extended keys.
pub(crate) fn base58_check(value: &str) -> Verdict {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    if value.len() > 120 {
        return Verdict::Wrong;
    }
    // Least significant byte first.
    let mut bytes: Vec<u8> = Vec::with_capacity(96);
    for b in value.bytes() {
        let Some(digit) = DIGITS.iter().position(|own| *own == b) else {
            return Verdict::Wrong;
        };
        let mut carry = digit as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    let Some((body, check)) = bytes.len().checked_sub(4).map(|at| bytes.split_at(at)) else {
        return Verdict::Wrong;
    };
    let hash = Sha256::digest(Sha256::digest(body));
    (hash[..4] == *check).into()
}

/// A token of Discord: its first part is the number of the account in base64.
pub(crate) fn discord(value: &str) -> Verdict {
    let first = value.split('.').next().unwrap_or_default();
    let id = base64_bytes(first, 64).unwrap_or_default();
    (id.len() >= 15 && id.iter().all(u8::is_ascii_digit)).into()
}

/// A PASETO, a macaroon, a service account and others whose base64 begins with JSON.
pub(crate) fn base64_json(value: &str) -> Verdict {
    let value = value.get(..value.len().min(4096) / 4 * 4).unwrap_or_default();
    let bytes = base64_bytes(value, MAX_BYTES).unwrap_or_default();
    bytes.starts_with(b"{").into()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_base62_follows_the_published_form() {
        let payload = "0123456789abcdefghijABCDEFGHIJ";
        let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut left = crc32fast::hash(payload.as_bytes());
        let mut check = [b'0'; 6];
        for place in check.iter_mut().rev() {
            *place = digits[(left % 62) as usize];
            left /= 62;
        }
        let check = std::str::from_utf8(&check).unwrap();
        assert_eq!(crc32_base62(&format!("npm_{payload}{check}")), Verdict::Right);
        assert_eq!(crc32_base62(&format!("npm_{payload}zzzzzz")), Verdict::Unknown);
        assert_eq!(crc32_base62("npm_abc"), Verdict::Unknown);
    }

    #[test]
    fn access_keys_hold_an_account() {
        assert_eq!(aws_key("AKIAIOSFODNN7EXAMPLE"), Verdict::Wrong);
        // Published with its account, 029608264753, in the description of the form.
        assert_eq!(aws_key("ASIAQNZGKIQY56JQ7WML"), Verdict::Right);
        // No account has as many digits as the largest number of 40 bits.
        assert_eq!(aws_key("AKIA7777777777777777"), Verdict::Unknown);
    }

    #[test]
    fn mnemonics_hold_a_checksum() {
        let first = ["abandon"; 11].join(" ");
        assert_eq!(bip39(&format!("{first} about")), Verdict::Right);
        assert_eq!(bip39(&format!("{first} zoo")), Verdict::Unknown);
        assert_eq!(bip39(&format!("{first} elephantine")), Verdict::Wrong);
        assert_eq!(bip39(&first), Verdict::Wrong);
        assert_eq!(BIP39.len(), 2048);
    }

    #[test]
    fn wallet_keys_hold_a_checksum() {
        // The example of Bitcoin's own description of the form.
        let key = "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ";
        assert_eq!(base58_check(key), Verdict::Right);
        assert_eq!(base58_check(&key.replace("5Hue", "5Huf")), Verdict::Wrong);
    }

    #[test]
    fn basic_auth_is_a_pair() {
        assert_eq!(basic_auth("Ym9iOng3S3EybVB6UTE="), Verdict::Right);
        assert_eq!(basic_auth("bm90aGluZyBoZXJl"), Verdict::Wrong);
        assert_eq!(basic_auth("realm"), Verdict::Wrong);
    }

    #[test]
    fn private_keys_are_der_or_openssh() {
        let der = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD9\n-----END RSA PRIVATE KEY-----";
        assert_eq!(pem(der), Verdict::Right);
        assert_eq!(pem("-----BEGIN PRIVATE KEY-----"), Verdict::Unknown);
    }
}
