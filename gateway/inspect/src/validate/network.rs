//! Addresses of people and machines: e-mail, telephone, IP, MAC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Verdict, digits, is_monotone, number};

/// E-mail: lengths of RFC 5321, no doubled dots, and a top-level domain that is one and no file ending.
pub(super) fn email(value: &str) -> Verdict {
    let Some((local, host)) = value.rsplit_once('@') else {
        return Verdict::Wrong;
    };
    let labels: Vec<&str> = host.split('.').collect();
    let top = labels.last().copied().unwrap_or_default();
    let sound = local.chars().count() <= 64
        && host.len() <= 253
        && !value.contains("..")
        && !local.starts_with('.')
        && !local.ends_with('.')
        && labels.len() >= 2
        && labels.iter().all(|label| {
            !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        })
        && top.chars().count() >= 2
        && top.chars().all(|c| c.is_alphabetic() || top.starts_with("xn--"));
    // `icon@2x.png`, `pkg@1.2.tar` and the like name files and versions.
    let file = matches!(
        top.to_ascii_lowercase().as_str(),
        "png"
            | "jpg"
            | "jpeg"
            | "gif"
            | "svg"
            | "webp"
            | "js"
            | "ts"
            | "css"
            | "json"
            | "html"
            | "tar"
            | "gz"
            | "zip"
            | "so"
            | "dll"
            | "exe"
            | "py"
            | "java"
            | "cpp"
            | "hpp"
            | "yaml"
            | "yml"
            | "toml"
            | "lock"
            | "local"
            | "localhost"
    ) && !matches!(top, "zip" if labels.len() > 2);
    (sound && !file).into()
}

/// Telephone: as many digits as a number has (E.164 has fifteen at most), not one digit over and over.
pub(super) fn phone(value: &str) -> Verdict {
    // An extension is not part of the number.
    let value = value.split(['x', 'X', 'e', '#']).next().unwrap_or_default();
    let digits = digits(value);
    if !(7..=15).contains(&digits.len()) || is_monotone(&digits) {
        return Verdict::Wrong;
    }
    let mut counts = [0u8; 10];
    digits.iter().for_each(|digit| counts[*digit as usize] += 1);
    if counts.iter().filter(|count| **count > 0).count() < 3 {
        return Verdict::Wrong;
    }
    // North American: areas and exchanges begin with 2 to 9.
    if let Some(rest) = value.strip_prefix("+1") {
        let national = super::digits(rest);
        return if national.len() == 10 && national[0] >= 2 {
            Verdict::Right
        } else {
            Verdict::Wrong
        };
    }
    if value.starts_with('+') && digits[0] == 0 {
        return Verdict::Wrong;
    }
    // A date or an address in digits is no telephone number.
    let parts: Vec<&str> = value
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .collect();
    if let [year, month, day] = parts[..]
        && year.len() == 4
        && month.len() <= 2
        && day.len() <= 2
        && (1900..=2100).contains(&number(&super::digits(year)))
    {
        return Verdict::Wrong;
    }
    if parts.len() == 4 && value.matches('.').count() == 3 && parts.iter().all(|part| part.len() <= 3) {
        return Verdict::Wrong;
    }
    Verdict::Unknown
}

/// IP addresses that could belong to somebody: loopback, unspecified, broadcast, masks and
/// documentation's own examples of versions are left alone.
pub(super) fn ip(value: &str) -> Verdict {
    let bare = value.split(['%', '/']).next().unwrap_or_default();
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => ipv4(v4),
        Ok(IpAddr::V6(v6)) => ipv6(v6, bare),
        Err(_) => Verdict::Wrong,
    }
}

/// The same without the addresses of whole networks (`10.0.0.0`), which browsers' versions look like in each request
/// (`Chrome/140.0.0.0`): what stands around one has to tell.
pub(super) fn ip_host(value: &str) -> Verdict {
    if value.ends_with(".0.0") {
        Verdict::Wrong
    } else {
        ip(value)
    }
}

fn ipv4(address: Ipv4Addr) -> Verdict {
    let octets = address.octets();
    let mask = octets[0] == 255;
    // Four small numbers are a version more often than a host: 1.2.3.4, 4.5.6.0.
    let version = octets[0] < 10 && octets[1] < 20 && octets[2] < 20 && octets[3] < 20;
    if address.is_unspecified() || address.is_loopback() || mask || octets[0] == 0 || version {
        Verdict::Wrong
    } else {
        Verdict::Right
    }
}

fn ipv6(address: Ipv6Addr, written: &str) -> Verdict {
    // `::`, `::1` and what code writes between names (`a::b`) have too little to be an address.
    let digits = written.bytes().filter(u8::is_ascii_hexdigit).count();
    let groups = written.split(':').filter(|group| !group.is_empty()).count();
    let numeric = written.bytes().any(|b| b.is_ascii_digit());
    if address.is_loopback() || address.is_unspecified() || digits < 4 || groups < 2 || !numeric {
        Verdict::Wrong
    } else {
        Verdict::Right
    }
}

/// Hardware addresses; all zeroes and broadcast are nobody's.
pub(super) fn mac(value: &str) -> Verdict {
    let hex: String = value.chars().filter(char::is_ascii_hexdigit).collect();
    (hex.len() == 12 && hex.chars().any(|c| !hex.starts_with(c))).into()
}
