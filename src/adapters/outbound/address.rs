//! Which addresses are on the public internet: a pure judgement over an address, knowing nothing
//! of names, ports or policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks that are not the public internet (the special-purpose registry of RFC 6890 and what
/// was added since). Everything else is.
const SPECIAL_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network; 0.0.0.0 reaches loopback
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // carrier-grade NAT; some clouds' metadata
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // public in form, yet a cloud's host agent answers there
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local; clouds' metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments; a cloud's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24),  // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24),  // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 3),      // multicast, reserved, broadcast
];

/// The one IPv6 block given out for the public internet (RFC 4291 §2.4). Loopback, link-local,
/// unique-local, multicast, mapped and NAT64 addresses all lie outside it.
const PUBLIC_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks inside [`PUBLIC_V6`] that are not the public internet.
const SPECIAL_V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: carries any IPv4 address
    (Ipv6Addr::new(0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether `address` is on the public internet, in its own form: an IPv6 address that carries an
/// IPv4 address (mapped, NAT64, 6to4, Teredo) is not, whatever it carries.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|&(net, length)| within_v4(v4, net, length)),
        IpAddr::V6(v6) => {
            let within = |&(net, length): &(Ipv6Addr, u8)| within_v6(v6, net, length);
            within(&PUBLIC_V6) && !SPECIAL_V6.iter().any(within)
        }
    }
}

fn within_v4(address: Ipv4Addr, net: Ipv4Addr, length: u8) -> bool {
    (address.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(length)
}

fn within_v6(address: Ipv6Addr, net: Ipv6Addr, length: u8) -> bool {
    (address.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn each_special_block_ends_where_it_should() {
        // First and last address of a block, then its public neighbours where there are any.
        let blocks = [
            ("0.0.0.0", "0.255.255.255", &["1.0.0.0"][..]),
            ("10.0.0.0", "10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
            ("100.64.0.0", "100.127.255.255", &["100.63.255.255", "100.128.0.0"]),
            ("127.0.0.0", "127.255.255.255", &["126.255.255.255", "128.0.0.0"]),
            ("168.63.129.16", "168.63.129.16", &["168.63.129.15", "168.63.129.17"]),
            ("169.254.0.0", "169.254.255.255", &["169.253.255.255", "169.255.0.0"]),
            ("172.16.0.0", "172.31.255.255", &["172.15.255.255", "172.32.0.0"]),
            ("192.0.0.0", "192.0.0.255", &["191.255.255.255", "192.0.1.0"]),
            ("192.0.2.0", "192.0.2.255", &["192.0.1.255", "192.0.3.0"]),
            ("192.31.196.0", "192.31.196.255", &["192.31.195.255", "192.31.197.0"]),
            ("192.52.193.0", "192.52.193.255", &["192.52.192.255", "192.52.194.0"]),
            ("192.88.99.0", "192.88.99.255", &["192.88.98.255", "192.88.100.0"]),
            ("192.168.0.0", "192.168.255.255", &["192.167.255.255", "192.169.0.0"]),
            ("198.18.0.0", "198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
            ("198.51.100.0", "198.51.100.255", &["198.51.99.255", "198.51.101.0"]),
            ("203.0.113.0", "203.0.113.255", &["203.0.112.255", "203.0.114.0"]),
            ("224.0.0.0", "255.255.255.255", &["223.255.255.255"]),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", &["2001:200::"]),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", &["2001:db7:ffff::", "2001:db9::"]),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["2003::"]),
            ("2620:4f:8000::", "2620:4f:8000:ffff::", &["2620:4f:7fff::", "2620:4f:8001::"]),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", &["3ffe:ffff::", "3fff:1000::"]),
            ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
            ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
        ];
        for (first, last, neighbours) in blocks {
            assert!(!public(first), "{first}");
            assert!(!public(last), "{last}");
            for neighbour in neighbours {
                assert!(public(neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn an_address_that_carries_another_is_judged_by_its_own_form() {
        for carried in ["127.0.0.1", "10.0.0.1", "8.8.8.8"] {
            let v4: Ipv4Addr = carried.parse().unwrap();
            let [a, b] = [(v4.to_bits() >> 16) as u16, v4.to_bits() as u16];
            let carriers = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::from_bits(u128::from(v4.to_bits())),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, a, b, 0, 0, !a, !b),
            ];
            for carrier in carriers {
                assert!(!is_public(carrier.into()), "{carrier}");
            }
        }
    }

    #[test]
    fn well_known_public_addresses_are_public() {
        for address in ["1.1.1.1", "8.8.8.8", "140.82.121.4", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"] {
            assert!(public(address), "{address}");
        }
    }
}
