//! Validators: what a value must satisfy beyond its pattern. Detector files name them.
//!
//! A validator says `Right` when a checksum or a structure speaks for the value, `Wrong` when it speaks
//! against, `Unknown` when it cannot tell. None of them keeps or reports the value.

mod africa;
mod americas;
mod asia;
#[cfg(test)]
mod cases;
mod east;
mod europe;
mod finance;
mod health;
mod latin;
mod network;
mod oceania;
mod pacific;
mod secret;
mod securities;
mod west;

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
            | "id_nik"
            | "in_pan"
            | "ip"
            | "ip_host"
            | "lk_nic"
            | "mac"
            | "my_nric"
            | "name"
            | "password_value"
            | "phone"
            | "secret_value"
            | "us_itin"
            | "us_ssn"
            | "verification"
            | "vn_citizen"
    )
}

/// All names, for a message.
pub(crate) fn names() -> String {
    ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

type Judge = fn(&str) -> Verdict;

const ALL: &[(&str, Judge)] = &[
    ("aba", finance::aba),
    ("ae_id", africa::ae_id),
    ("ar_cuit", americas::ar_cuit),
    ("at_svnr", west::at_svnr),
    ("at_vat", west::at_vat),
    ("au_abn", asia::au_abn),
    ("au_acn", asia::au_acn),
    ("au_ihi", oceania::au_ihi),
    ("au_medicare", asia::au_medicare),
    ("au_tfn", asia::au_tfn),
    ("aws_key", secret::aws_key),
    ("baltic", east::baltic),
    ("base58_check", secret::base58_check),
    ("base64_json", secret::base64_json),
    ("basic_auth", secret::basic_auth),
    ("be_firm", west::be_firm),
    ("be_national", europe::be_national),
    ("bg_egn", east::bg_egn),
    ("bip39", secret::bip39),
    ("bitcoin", finance::bitcoin),
    ("br_cnh", latin::br_cnh),
    ("br_cnpj", americas::br_cnpj),
    ("br_cns", latin::br_cns),
    ("br_cpf", americas::br_cpf),
    ("br_pis", latin::br_pis),
    ("ca_bc_health", latin::ca_bc_health),
    ("ca_firm", latin::ca_firm),
    ("ca_on_health", latin::ca_on_health),
    ("ca_sin", americas::ca_sin),
    ("card", finance::card),
    ("ch_ahv", europe::ch_ahv),
    ("ch_uid", west::ch_uid),
    ("cl_rut", americas::cl_rut),
    ("cn_firm", pacific::cn_firm),
    ("cn_resident", asia::cn_resident),
    ("co_nit", latin::co_nit),
    ("code_word", secret::code_word),
    ("crc32_base62", secret::crc32_base62),
    ("cusip", securities::cusip),
    ("cz_birth", europe::cz_birth),
    ("cz_ico", east::cz_ico),
    ("date", finance::date),
    ("de_id_card", europe::de_id_card),
    ("de_kvnr", health::de_kvnr),
    ("de_lanr", health::de_lanr),
    ("de_pension", europe::de_pension),
    ("de_tax", europe::de_tax),
    ("de_vat", west::de_vat),
    ("discord", secret::discord),
    ("dk_cpr", europe::dk_cpr),
    ("dk_cvr", west::dk_cvr),
    ("do_cedula", latin::do_cedula),
    ("ec_ci", latin::ec_ci),
    ("eg_id", africa::eg_id),
    ("email", network::email),
    ("es_cif", west::es_cif),
    ("es_nif", europe::es_nif),
    ("es_social", west::es_social),
    ("ethereum", finance::ethereum),
    ("fi_firm", west::fi_firm),
    ("fi_hetu", europe::fi_hetu),
    ("fr_nir", europe::fr_nir),
    ("fr_siren", west::fr_siren),
    ("fr_siret", west::fr_siret),
    ("fr_spi", west::fr_spi),
    ("fr_vat", west::fr_vat),
    ("gr_afm", east::gr_afm),
    ("gr_amka", east::gr_amka),
    ("gt_nit", latin::gt_nit),
    ("hk_id", pacific::hk_id),
    ("hr_oib", east::hr_oib),
    ("hu_firm", east::hu_firm),
    ("hu_person", east::hu_person),
    ("hu_taj", east::hu_taj),
    ("iban", finance::iban),
    ("id_nik", pacific::id_nik),
    ("ie_pps", west::ie_pps),
    ("il_id", asia::il_id),
    ("in_aadhaar", asia::in_aadhaar),
    ("in_gstin", asia::in_gstin),
    ("in_pan", asia::in_pan),
    ("ip", network::ip),
    ("ip_host", network::ip_host),
    ("ir_melli", africa::ir_melli),
    ("is_kennitala", west::is_kennitala),
    ("isin", securities::isin),
    ("it_fiscal", europe::it_fiscal),
    ("it_vat", europe::it_vat),
    ("jmbg", east::jmbg),
    ("jp_firm", pacific::jp_firm),
    ("jp_my_number", asia::jp_my_number),
    ("jwt", secret::jwt),
    ("kr_firm", pacific::kr_firm),
    ("kr_frn", asia::kr_frn),
    ("kr_rrn", asia::kr_rrn),
    ("kw_civil", africa::kw_civil),
    ("kz_iin", east::kz_iin),
    ("lei", securities::lei),
    ("lk_nic", pacific::lk_nic),
    ("luhn", finance::luhn_digits),
    ("lv_person", east::lv_person),
    ("mac", network::mac),
    ("md_idno", east::md_idno),
    ("mx_clabe", latin::mx_clabe),
    ("mx_curp", americas::mx_curp),
    ("mx_nss", latin::mx_nss),
    ("mx_rfc", latin::mx_rfc),
    ("my_nric", pacific::my_nric),
    ("name", |value| (!crate::names::is_no_name(value)).into()),
    ("nl_bsn", europe::nl_bsn),
    ("nl_vat", west::nl_vat),
    ("no_firm", west::no_firm),
    ("no_fnr", europe::no_fnr),
    ("nz_ird", oceania::nz_ird),
    ("nz_nhi", oceania::nz_nhi),
    ("pair_password", secret::pair_password),
    ("password_value", secret::password_value),
    ("pe_ruc", latin::pe_ruc),
    ("pem", secret::pem),
    ("phone", network::phone),
    ("ph_tin", pacific::ph_tin),
    ("pl_id_card", east::pl_id_card),
    ("pl_nip", east::pl_nip),
    ("pl_pesel", europe::pl_pesel),
    ("pl_regon", east::pl_regon),
    ("pt_card", west::pt_card),
    ("pt_nif", europe::pt_nif),
    ("pt_social", west::pt_social),
    ("py_ruc", latin::py_ruc),
    ("ro_cnp", europe::ro_cnp),
    ("ro_firm", east::ro_firm),
    ("ru_inn", east::ru_inn),
    ("ru_ogrn", east::ru_ogrn),
    ("ru_snils", east::ru_snils),
    ("sa_id", africa::sa_id),
    ("se_organisation", europe::se_organisation),
    ("se_personal", europe::se_personal),
    ("secret_value", secret::secret_value),
    ("sedol", securities::sedol),
    ("sg_nric", asia::sg_nric),
    ("sg_uen", pacific::sg_uen),
    ("si_tax", east::si_tax),
    ("th_tnin", asia::th_tnin),
    ("tr_tckn", europe::tr_tckn),
    ("tr_vkn", east::tr_vkn),
    ("tw_firm", pacific::tw_firm),
    ("tw_id", asia::tw_id),
    ("ua_tax", east::ua_tax),
    ("uk_nhs", europe::uk_nhs),
    ("uk_utr", west::uk_utr),
    ("uk_vat", west::uk_vat),
    ("us_dea", health::us_dea),
    ("us_itin", americas::us_itin),
    ("us_npi", americas::us_npi),
    ("us_ssn", americas::us_ssn),
    ("user_pair", secret::user_pair),
    ("uy_ci", latin::uy_ci),
    ("ve_rif", latin::ve_rif),
    ("verification", finance::verification),
    ("vin", finance::vin),
    ("vn_citizen", pacific::vn_citizen),
    ("vn_tax", pacific::vn_tax),
    ("za_id", asia::za_id),
    ("za_tax", africa::za_tax),
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

/// ISO 7064 mod 11,10: the check digit.
fn mod_11_10(digits: &[u32]) -> u32 {
    let product = digits.iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10
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
        ("ip_host", "203.0.113.9", "203.0.0.0"),
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
        let mut failed = Vec::new();
        for (name, right, wrong) in CASES.iter().chain(cases::CASES) {
            let validator = by_name(name).unwrap();
            if validator.judge(right) == Verdict::Wrong {
                failed.push(format!("{name} refuses {right}"));
            }
            if validator.judge(wrong) != Verdict::Wrong {
                failed.push(format!("{name} takes {wrong}"));
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn every_rule_of_a_country_has_a_case() {
        let tested = |name: &str| CASES.iter().chain(cases::CASES).any(|(own, ..)| *own == name);
        let missing: Vec<&str> = ALL
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| name.as_bytes().get(2) == Some(&b'_') && !tested(name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
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
