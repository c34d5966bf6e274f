//! Which addresses are public: pure functions on addresses, so that they can be tested without a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, ErrorCode};
use crate::spec::name::shortened;

/// Why `address` is not one of the public internet, or `None` when it is.
///
/// An IPv6 address that stands for an IPv4 one (mapped, compatible, translated, NAT64, 6to4, Teredo) is judged by
/// the latter. What isn't known to be public isn't.
pub(super) fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => not_public_v4(v4),
        IpAddr::V6(v6) => not_public_v6(v6),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    // The platform service of a large cloud has a public address, which nobody can reach from outside.
    const WIRE_SERVER: [u8; 4] = [168, 63, 129, 16];
    Some(match address.octets() {
        [0, ..] => "an unspecified address (0.0.0.0/8)",
        [10, ..] => "a private address (10.0.0.0/8)",
        [100, 64..=127, ..] => "a shared address (100.64.0.0/10)",
        [127, ..] => "a loopback address (127.0.0.0/8)",
        [169, 254, 169, 254] => "a cloud's metadata address",
        [169, 254, ..] => "a link-local address (169.254.0.0/16)",
        [172, 16..=31, ..] => "a private address (172.16.0.0/12)",
        [192, 0, 0, _] => "a protocol address (192.0.0.0/24)",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [192, 88, 99, _] => "a relay address (192.88.99.0/24)",
        [192, 168, ..] => "a private address (192.168.0.0/16)",
        [198, 18..=19, ..] => "an address for benchmarks (198.18.0.0/15)",
        WIRE_SERVER => "a cloud's metadata address",
        [224..=239, ..] => "a multicast address (224.0.0.0/4)",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address (240.0.0.0/4)",
        _ => return None,
    })
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address (::)");
    }
    if address.is_loopback() {
        return Some("a loopback address (::1)");
    }
    if let Some(embedded) = Embedded::of(address) {
        return embedded.not_public();
    }
    Some(match address.segments() {
        [0xfc00..=0xfdff, ..] => "a unique local address (fc00::/7)",
        [0xfe80..=0xfebf, ..] => "a link-local address (fe80::/10)",
        [0xfec0..=0xfeff, ..] => "a site-local address (fec0::/10)",
        [0xff00..=0xffff, ..] => "a multicast address (ff00::/8)",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "an address for documentation",
        [0x2001, 0x0002, 0, ..] => "an address for benchmarks (2001:2::/48)",
        [0x2001, 0..=0x01ff, ..] => "a protocol address (2001::/23)",
        [0x2000..=0x3fff, ..] => return None,
        _ => "no global unicast address",
    })
}

/// The IPv4 addresses that an IPv6 address may stand for.
struct Embedded {
    candidates: [Ipv4Addr; 4],
}

impl Embedded {
    fn of(address: Ipv6Addr) -> Option<Self> {
        let segments = address.segments();
        let octets = address.octets();
        let at = |first: usize| {
            let mut four = [0; 4];
            for (to, from) in four.iter_mut().zip(octets.iter().skip(first)) {
                *to = *from;
            }
            Ipv4Addr::from(four)
        };
        // As RFC 6052, 2.2 spreads them around the octet 8, which is zero.
        let spread = |first: usize| {
            let mut four = [0; 4];
            let others = octets.iter().enumerate().skip(first).filter(|(at, _)| *at != 8);
            for (to, (_, from)) in four.iter_mut().zip(others) {
                *to = *from;
            }
            Ipv4Addr::from(four)
        };
        let candidates = match segments {
            // Compatible, mapped, translated, and the well-known prefix of NAT64.
            [0, 0, 0, 0, 0, 0, _, _]
            | [0, 0, 0, 0, 0, 0xffff, _, _]
            | [0, 0, 0, 0, 0xffff, 0, _, _]
            | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => [at(12); 4],
            // NAT64 with a prefix of the network's own: how long that is can't be known, so each reading counts.
            [0x64, 0xff9b, 1, ..] => [spread(6), spread(7), spread(9), at(12)],
            // 6to4.
            [0x2002, ..] => [at(2); 4],
            // Teredo: the server, and the client with its bits turned over.
            [0x2001, 0, ..] => {
                let client = Ipv4Addr::from(!u32::from(at(12)));
                [at(4), client, at(4), client]
            }
            _ => return None,
        };
        Some(Self { candidates })
    }

    fn not_public(&self) -> Option<&'static str> {
        // A reading that begins with zero is none: those bits are padding.
        let mut readings = self.candidates.into_iter().filter(|v4| v4.octets() >= [1, 0, 0, 0]).peekable();
        if readings.peek().is_none() {
            return Some("an unspecified address (0.0.0.0/8)");
        }
        readings.find_map(not_public_v4)
    }
}

/// The IPv4 address that `address` stands for, where it can be read in one way only.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [first, second, third, fourth] = Embedded::of(v6)?.candidates;
    (first == second && second == third && third == fourth).then_some(first)
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `10.0.0.0/8`, `fd00::/8`, or one address.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            let text = shortened(text);
            Error::invalid(ErrorCode::Unsupported, format!("`{text}` is no network: {reason}"))
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid("no address stands in front"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| invalid("its prefix length is no number up to 32, or 128 with IPv6"))?,
        };
        Ok(Self { address, prefix })
    }

    /// Whether `address`, or the IPv4 address that it stands for, lies within.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        let holds = |address: IpAddr| match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        };
        holds(address) || embedded_v4(address).is_some_and(|v4| holds(v4.into()))
    }
}
