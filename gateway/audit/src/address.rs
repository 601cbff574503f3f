//! How much of a caller's network address stands in records.
//!
//! A reference names nobody, and an address beside it would: at many companies a machine is a person. So the recorder cuts it before an entry reaches the
//! spool; what else looks at addresses (identity by network, limits) has the whole of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How much of a caller's address is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// All of it, and the port.
    Full,
    /// The network it is in: the first 24 bits of IPv4, the first 48 of IPv6, and port 0.
    #[default]
    Network,
    /// Nothing: `0.0.0.0:0`.
    None,
}

impl Addresses {
    /// What of an address stands in records.
    #[must_use]
    pub fn recorded(self, address: SocketAddr) -> SocketAddr {
        match self {
            Self::Full => address,
            Self::Network => match address.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    let [a, b, c, _] = ip.octets();
                    (Ipv4Addr::new(a, b, c, 0), 0).into()
                }
                IpAddr::V6(ip) => {
                    let [a, b, c, ..] = ip.segments();
                    (Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), 0).into()
                }
            },
            Self::None => (Ipv4Addr::UNSPECIFIED, 0).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_all_that_is_left_of_an_address() {
        for (address, network) in [
            ("10.20.30.40:51000", "10.20.30.0:0"),
            ("[::ffff:10.20.30.40]:51000", "10.20.30.0:0"),
            ("[2001:db8:1:2:3:4:5:6]:51000", "[2001:db8:1::]:0"),
            // A link's own address says nothing but the interface.
            ("[fe80::1%7]:51000", "[fe80::]:0"),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Addresses::Network.recorded(address).to_string(), network);
            assert_eq!(Addresses::None.recorded(address).to_string(), "0.0.0.0:0");
            assert_eq!(Addresses::Full.recorded(address), address);
        }
    }
}
