//! Host names as callers write them, brought to one form before anything is compared.
//!
//! `API.OpenAI.com.`, `api.openai.com` and `api.openai.com:443` are the same place. If one of them
//! escaped the list of intercepted hosts, it would be tunnelled unread, so every name that comes
//! from a caller passes [`normal_host`] or [`Target`] before it is looked up.
//!
//! On failure: the name is refused; nothing is guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest DNS name in its written form.
const MAX_NAME: usize = 253;
/// The longest label of a DNS name.
const MAX_LABEL: usize = 63;

/// A host and port that a caller addressed, in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Lower-case DNS name without a trailing dot, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A host or port that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address with a port")]
pub struct InvalidTarget;

impl Target {
    /// Reads `host`, `host:port` or `[v6]:port`. Without a port, `default_port` stands; a CONNECT
    /// must spell its port, so it passes `None`.
    ///
    /// # Errors
    /// When it holds user information, is no host, or lacks a port that it must have.
    pub fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, InvalidTarget> {
        let (host, port) = split_port(authority)?;
        let port = match port {
            // `u16::from_str` takes a plus sign, which no authority may hold.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| InvalidTarget)?
            }
            Some(_) => return Err(InvalidTarget),
            None => default_port.ok_or(InvalidTarget)?,
        };
        if port == 0 {
            return Err(InvalidTarget);
        }
        let host = normal_host(host).ok_or(InvalidTarget)?;
        Ok(Self { host, port })
    }

    /// The address, where the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// Splits the port off, minding the colons of an IPv6 address, which must be in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), InvalidTarget> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(InvalidTarget)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(InvalidTarget),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

/// A host in normal form: lower case, no trailing dot, no brackets. `None` when it is neither a DNS
/// name of letters, digits, `-` and `_` nor an IP address.
///
/// Names whose last label is a number but which are no dotted quad (`127.1`, `0x7f.1`, `2130706433`)
/// are refused: resolvers read them as addresses, and no two of them agree on which.
#[must_use]
pub fn normal_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Some(address.to_string());
    }
    if name.is_empty() || name.len() > MAX_NAME || !name.split('.').all(is_label) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or(&name);
    let number = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    (!number).then_some(name)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether `name` is `parent` or lies under it, as RFC 5280 reads a permitted dNSName. Both normal.
pub(crate) fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_host_is_one() {
        for spelling in [
            "api.openai.com",
            "API.OpenAI.com",
            "api.openai.com.",
            "Api.openai.COM.",
        ] {
            assert_eq!(
                normal_host(spelling).as_deref(),
                Some("api.openai.com"),
                "{spelling}"
            );
        }
        assert_eq!(normal_host("[::1]").as_deref(), Some("::1"));
        assert_eq!(normal_host("0:0:0:0:0:0:0:1").as_deref(), Some("::1"));
        assert_eq!(normal_host("127.0.0.1").as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn what_resolvers_disagree_about_is_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            "-a.com",
            "a-.com",
            "a b",
            "user@host",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "1.2.3.4.5",
            "a.0x7f",
            "é.com",
            "api.openai.com%00",
            "[::1",
            "[1.2.3.4]",
            "::1]",
            "api.openai.com..",
        ] {
            assert_eq!(normal_host(bad), None, "{bad}");
        }
    }

    #[test]
    fn ports_are_digits() {
        let target = Target::parse("API.openai.com:443", None).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("api.openai.com", 443));
        assert_eq!(Target::parse("[::1]:8080", None).unwrap().host, "::1");
        assert_eq!(Target::parse("api.openai.com", Some(443)).unwrap().port, 443);
        for bad in [
            "a:",
            "a:+443",
            "a:0",
            "a:65536",
            "a:b",
            "a",
            "u@a:443",
            "[::1]443",
            "::1:443",
            "a:443:443",
        ] {
            assert!(Target::parse(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn subdomains_lie_within_and_neighbours_do_not() {
        assert!(is_within("api.openai.com", "api.openai.com"));
        assert!(is_within("eu.api.openai.com", "api.openai.com"));
        assert!(!is_within("evilapi.openai.com", "api.openai.com"));
        assert!(!is_within("openai.com", "api.openai.com"));
    }

    proptest! {
        #[test]
        fn normal_form_is_a_fixed_point(host in "\\PC{0,80}") {
            if let Some(normal) = normal_host(&host) {
                let again = normal_host(&normal);
                prop_assert_eq!(again.as_ref(), Some(&normal));
            }
        }

        #[test]
        fn targets_never_panic(authority in "[\\[\\]:.a-z0-9@%-]{0,40}") {
            let _ = Target::parse(&authority, Some(443));
        }
    }
}
