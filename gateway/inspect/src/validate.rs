//! Validators: what a value must satisfy beyond its pattern. Detector files name them.
//!
//! A validator says `Right` when a checksum or a structure speaks for the value, `Wrong` when it speaks
//! against, `Unknown` when it cannot tell. None of them keeps or reports the value.

mod americas;
mod asia;
mod europe;
mod finance;
mod network;
mod secret;

pub(crate) use secret::{entropy, is_stand_in};

/// What a validator says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    Unknown,
}

impl From<bool> for Verdict {
    fn from(right: bool) -> Self {
        if right { Self::Right } else { Self::Wrong }
    }
}

/// A validator by its name.
#[derive(Clone, Copy)]
pub(crate) struct Validator(fn(&str) -> Verdict);

impl Validator {
    pub(crate) fn judge(self, value: &str) -> Verdict {
        (self.0)(value)
    }
}

/// The validator of that name.
pub(crate) fn by_name(name: &str) -> Option<Validator> {
    ALL.iter()
        .find(|(own, _)| *own == name)
        .map(|(_, judge)| Validator(*judge))
}

/// Whether a validator that says [`Verdict::Right`] has seen more than the look of a value: these others
/// only tell what is surely wrong.
pub(crate) fn is_checksum(name: &str) -> bool {
    !matches!(
        name,
        "code_word"
            | "date"
            | "email"
            | "in_pan"
            | "ip"
            | "mac"
            | "name"
            | "password_value"
            | "phone"
            | "secret_value"
            | "us_itin"
            | "us_ssn"
    )
}

/// All names, for a message.
pub(crate) fn names() -> String {
    ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

type Judge = fn(&str) -> Verdict;

const ALL: &[(&str, Judge)] = &[
    ("aba", finance::aba),
    ("ar_cuit", americas::ar_cuit),
    ("au_abn", asia::au_abn),
    ("au_acn", asia::au_acn),
    ("au_medicare", asia::au_medicare),
    ("au_tfn", asia::au_tfn),
    ("be_national", europe::be_national),
    ("aws_key", secret::aws_key),
    ("base58_check", secret::base58_check),
    ("base64_json", secret::base64_json),
    ("basic_auth", secret::basic_auth),
    ("bip39", secret::bip39),
    ("bitcoin", finance::bitcoin),
    ("br_cnpj", americas::br_cnpj),
    ("br_cpf", americas::br_cpf),
    ("ca_sin", americas::ca_sin),
    ("card", finance::card),
    ("ch_ahv", europe::ch_ahv),
    ("cl_rut", americas::cl_rut),
    ("cn_resident", asia::cn_resident),
    ("code_word", secret::code_word),
    ("crc32_base62", secret::crc32_base62),
    ("cz_birth", europe::cz_birth),
    ("date", finance::date),
    ("de_id_card", europe::de_id_card),
    ("de_pension", europe::de_pension),
    ("de_tax", europe::de_tax),
    ("discord", secret::discord),
    ("dk_cpr", europe::dk_cpr),
    ("email", network::email),
    ("es_nif", europe::es_nif),
    ("fi_hetu", europe::fi_hetu),
    ("fr_nir", europe::fr_nir),
    ("iban", finance::iban),
    ("il_id", asia::il_id),
    ("in_aadhaar", asia::in_aadhaar),
    ("in_gstin", asia::in_gstin),
    ("in_pan", asia::in_pan),
    ("ip", network::ip),
    ("it_fiscal", europe::it_fiscal),
    ("it_vat", europe::it_vat),
    ("jp_my_number", asia::jp_my_number),
    ("jwt", secret::jwt),
    ("kr_frn", asia::kr_frn),
    ("kr_rrn", asia::kr_rrn),
    ("luhn", finance::luhn_digits),
    ("mac", network::mac),
    ("mx_curp", americas::mx_curp),
    ("name", |value| (!crate::names::is_no_name(value)).into()),
    ("nl_bsn", europe::nl_bsn),
    ("no_fnr", europe::no_fnr),
    ("pem", secret::pem),
    ("phone", network::phone),
    ("pl_pesel", europe::pl_pesel),
    ("pt_nif", europe::pt_nif),
    ("ro_cnp", europe::ro_cnp),
    ("se_organisation", europe::se_organisation),
    ("se_personal", europe::se_personal),
    ("secret_value", secret::secret_value),
    ("pair_password", secret::pair_password),
    ("password_value", secret::password_value),
    ("sg_nric", asia::sg_nric),
    ("th_tnin", asia::th_tnin),
    ("tr_tckn", europe::tr_tckn),
    ("tw_id", asia::tw_id),
    ("uk_nhs", europe::uk_nhs),
    ("user_pair", secret::user_pair),
    ("us_itin", americas::us_itin),
    ("us_npi", americas::us_npi),
    ("us_ssn", americas::us_ssn),
    ("vin", finance::vin),
    ("za_id", asia::za_id),
];

/// The digits of a value, separators left out.
fn digits(value: &str) -> Vec<u32> {
    value.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// Letters and digits of a value, upper-case.
fn code(value: &str) -> Vec<u8> {
    value
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|b| b.to_ascii_uppercase())
        .collect()
}

/// Sum of products with weights; the shorter of the two ends it.
fn weigh(digits: &[u32], weights: &[u32]) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| digit * weight)
        .sum()
}

/// Whether all digits are the same, which no issued number is.
fn is_monotone(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// The Luhn check over all digits.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => *digit,
            _ if digit * 2 > 9 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// A day that exists in some year.
fn is_day(month: u32, day: u32) -> bool {
    let last = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=last).contains(&day)
}

/// The number that a stretch of digits writes; its callers pass nine digits at most.
fn number(digits: &[u32]) -> u32 {
    digits
        .iter()
        .fold(0u32, |sum, digit| sum.wrapping_mul(10).wrapping_add(*digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A value that the validator takes, and one that it refuses.
    const CASES: &[(&str, &str, &str)] = &[
        ("aba", "021000021", "021000022"),
        ("ar_cuit", "20-17254359-7", "20-17254359-8"),
        ("au_abn", "51 824 753 556", "52 824 753 556"),
        ("au_acn", "000 000 019", "000 000 018"),
        ("au_medicare", "2123 45670 1", "2123 45671 1"),
        ("au_tfn", "876 543 210", "876 543 211"),
        ("be_national", "85.07.30-033.28", "85.07.30-033.29"),
        (
            "bitcoin",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        ),
        (
            "bitcoin",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        ),
        ("br_cnpj", "11.222.333/0001-81", "11.222.333/0001-82"),
        ("br_cpf", "529.982.247-25", "529.982.247-26"),
        ("ca_sin", "130 692 544", "130 692 545"),
        ("card", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("ch_ahv", "756.9217.0769.85", "756.9217.0769.84"),
        ("cl_rut", "12.345.678-5", "12.345.678-6"),
        ("cn_resident", "11010519491231002X", "110105194912310021"),
        ("cz_birth", "736028/5163", "736028/5164"),
        ("de_tax", "86095742719", "86095742718"),
        ("dk_cpr", "211062-5629", "311362-5629"),
        ("es_nif", "12345678Z", "12345678A"),
        ("es_nif", "X1234567L", "X1234567M"),
        ("fi_hetu", "131052-308T", "131052-308U"),
        ("fr_nir", "255081416802538", "255081416802539"),
        (
            "iban",
            "DE89 3704 0044 0532 0130 00",
            "DE88 3704 0044 0532 0130 00",
        ),
        ("il_id", "000000018", "000000019"),
        ("in_aadhaar", "2341 2341 2346", "2341 2341 2347"),
        ("in_pan", "ABCPD1234Z", "ABCDD1234Z"),
        ("ip", "203.0.113.9", "203.0.113.999"),
        ("it_fiscal", "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        ("it_vat", "00743110157", "00743110158"),
        ("kr_rrn", "900101-1234568", "901301-1234568"),
        ("mac", "00:1a:2b:3c:4d:5e", "ff:ff:ff:ff:ff:ff"),
        ("nl_bsn", "111222333", "111222334"),
        ("no_fnr", "01010750160", "01010750161"),
        ("pl_pesel", "44051401458", "44051401459"),
        ("pt_nif", "123456789", "123456780"),
        ("ro_cnp", "1800101221144", "1800101221145"),
        ("se_organisation", "212000-0142", "212000-0143"),
        ("se_personal", "811228-9874", "811228-9875"),
        ("sg_nric", "S1234567D", "S1234567E"),
        ("th_tnin", "1101700230708", "1101700230706"),
        ("tr_tckn", "10000000146", "10000000147"),
        ("tw_id", "A123456789", "A123456788"),
        ("uk_nhs", "943 476 5919", "943 476 5918"),
        ("us_itin", "912-70-1234", "912-23-1234"),
        ("us_npi", "1234567893", "1234567890"),
        ("us_ssn", "536-22-8726", "666-22-8726"),
        ("vin", "1HGCM82633A004352", "1HGCM82633A00435I"),
        ("za_id", "8001015009087", "8001015009088"),
        (
            "jwt",
            "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "eyJub3RoaW5nIjoxfQ.e30.c2ln",
        ),
        ("date", "1984-02-29", "1984-13-29"),
    ];

    #[test]
    fn takes_right_values_and_refuses_wrong_ones() {
        for (name, right, wrong) in CASES {
            let validator = by_name(name).unwrap();
            assert_ne!(validator.judge(right), Verdict::Wrong, "{name} {right}");
            assert_eq!(validator.judge(wrong), Verdict::Wrong, "{name} {wrong}");
        }
    }

    proptest! {
        #[test]
        fn none_panics(value in "\\PC{0,40}", number in "[0-9A-Za-z -]{0,40}") {
            for (_, judge) in ALL {
                judge(&value);
                judge(&number);
            }
            is_stand_in(&value);
            prop_assert!(entropy(&value) >= 0.0);
        }
    }
}
