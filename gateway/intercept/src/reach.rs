//! Which addresses a tunnel may reach.
//!
//! A forward proxy that dials whatever a caller names is a door into the building: cloud metadata
//! services, the admin listener on loopback, the printer's web page. Reserved addresses are
//! therefore refused unless configured, on the address that was resolved and is then dialled, so
//! that a name which resolves differently the second time gains nothing.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A block of addresses, written `10.0.0.0/8` or as a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Text that is not a block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: write `10.0.0.0/8`, `fd00::/8` or one address")]
pub struct InvalidNetwork(String);

impl Network {
    /// `127.0.0.0/8`.
    pub const V4_LOOPBACK: Self = Self::v4([127, 0, 0, 0], 8);
    /// Every IPv4 address.
    pub const V4_ALL: Self = Self::v4([0, 0, 0, 0], 0);
    /// Every IPv6 address.
    pub const V6_ALL: Self = Self::v6([0; 8], 0);

    const fn v4(octets: [u8; 4], prefix: u8) -> Self {
        let [a, b, c, d] = octets;
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(words: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = words;
        Self {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            prefix,
        }
    }

    /// The block of that one address.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// The address that the block was written with.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address lies in the block. The two families never match each other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }

    /// The address and mask of an iPAddress name constraint. `None` when the mask has holes.
    pub(crate) fn from_constraint(bytes: &[u8]) -> Option<Self> {
        let (address, mask) = bytes.split_at_checked(bytes.len() / 2)?;
        let (address, ones, zeros) = if let Ok(address) = <[u8; 4]>::try_from(address) {
            let mask = u32::from_be_bytes(mask.try_into().ok()?);
            (IpAddr::from(address), mask.leading_ones(), mask.trailing_zeros())
        } else {
            let address = <[u8; 16]>::try_from(address).ok()?;
            let mask = u128::from_be_bytes(mask.try_into().ok()?);
            (IpAddr::from(address), mask.leading_ones(), mask.trailing_zeros())
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        (ones + zeros == width).then_some(Self {
            address,
            prefix: u8::try_from(ones).ok()?,
        })
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetwork(text.chars().take(64).collect());
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::single).map_err(|_| invalid());
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        if prefix > most {
            return Err(invalid());
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Blocks that are not the public internet (IANA special-purpose registries, multicast, and the
/// cloud metadata addresses, which all lie in one of them).
const RESERVED: &[Network] = &[
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([100, 64, 0, 0], 10),
    Network::V4_LOOPBACK,
    Network::v4([169, 254, 0, 0], 16),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([192, 0, 2, 0], 24),
    Network::v4([192, 168, 0, 0], 16),
    Network::v4([198, 18, 0, 0], 15),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    Network::v4([224, 0, 0, 0], 3),
    // `::`, `::1` and the deprecated IPv4-compatible block around them.
    Network::v6([0; 8], 96),
    Network::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    Network::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    Network::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    Network::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Whether an address is not the public internet: loopback, private, link-local, metadata,
/// multicast, documentation, or an IPv6 form that carries such an IPv4 address.
#[must_use]
pub fn is_reserved(address: IpAddr) -> bool {
    let address = unmapped(address);
    RESERVED.iter().any(|network| network.contains(address)) || carried(address).is_some_and(is_reserved)
}

/// An IPv4-mapped address as the IPv4 address that the kernel will dial.
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address inside a NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let words = address.segments();
    let (high, low) = match words {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(IpAddr::V4(Ipv4Addr::from_bits(
        (u32::from(high) << 16) | u32::from(low),
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn inside_addresses_are_reserved_in_every_form() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(is_reserved(inside.parse().unwrap()), "{inside}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "8.8.8.8",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(!is_reserved(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn networks_parse_print_and_contain() {
        let ten: Network = "10.0.0.0/8".parse().unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()) && !ten.contains("11.0.0.1".parse().unwrap()));
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        assert_eq!(
            "::1".parse::<Network>().unwrap(),
            Network::single("::1".parse().unwrap())
        );
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "ten/8", "10.0.0/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_judged_as_their_ipv4(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_reserved(IpAddr::V4(v4)), is_reserved(IpAddr::V6(v4.to_ipv6_mapped())));
        }

        #[test]
        fn constraints_read_back_as_their_network(bits in any::<u32>(), prefix in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let bytes = [bits.to_be_bytes(), mask.to_be_bytes()].concat();
            let network = Network::from_constraint(&bytes).unwrap();
            prop_assert_eq!(network.prefix(), prefix);
            prop_assert!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(bits))));
        }

        #[test]
        fn any_constraint_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Network::from_constraint(&bytes);
        }
    }
}
