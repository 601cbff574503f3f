//! How many connections each address has open, so that one machine cannot take every place.
//!
//! Addresses of IPv6 count by their /64: a machine has all of one to itself. What is kept is one number
//! for each address with a connection open, so it is bounded by the connections.
//!
//! On failure: no place, and the connection is turned away.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place; it is free again when dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    addresses: Arc<Addresses>,
    from: IpAddr,
}

impl Addresses {
    /// A place for one more connection from an address, if it has fewer than `most`.
    pub(crate) fn place(self: &Arc<Self>, from: IpAddr, most: usize) -> Option<AddressPlace> {
        let from = counted_as(from);
        // A number is whole whenever a holder panics.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&from).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        open.insert(from, count + 1);
        Some(AddressPlace {
            addresses: Arc::clone(self),
            from,
        })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut open = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.from)),
        }
    }
}

fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = !(u64::MAX as u128);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Arc::<Addresses>::default();
        let place = |from: &str| addresses.place(from.parse().unwrap(), 2);
        let (first, _second) = (place("10.0.0.1"), place("::ffff:10.0.0.1"));
        assert!(first.is_some() && place("10.0.0.1").is_none());
        assert!(place("10.0.0.2").is_some(), "others are not kept out");
        drop(first);
        assert!(place("10.0.0.1").is_some());
        let _held = (place("2001:db8::1"), place("2001:db8::ffff:2"));
        assert!(place("2001:db8::3").is_none() && place("2001:db8:0:1::3").is_some());
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let addresses = Arc::<Addresses>::default();
        let held: Vec<_> = (0..3).map(|_| addresses.place([10, 0, 0, 1].into(), 9)).collect();
        drop(held);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
