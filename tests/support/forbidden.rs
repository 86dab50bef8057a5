//! Addresses that must not be called, in every spelling that a resolver, a C library or a URL parser
//! takes for them; and a listener that notices whoever calls this machine all the same.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A host as it may stand in a URL, and the address that the URL standard reads in it (`None`: a name,
/// or nothing at all).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    pub host: String,
    pub means: Option<IpAddr>,
}

/// One address or more of each IPv4 block that is not the public internet.
const V4: [[u8; 4]; 20] = [
    [0, 0, 0, 0],
    [10, 0, 0, 1],
    [100, 64, 0, 1],
    [100, 100, 100, 200],
    [127, 0, 0, 1],
    [127, 9, 9, 9],
    [168, 63, 129, 16],
    [169, 254, 169, 254],
    [172, 16, 0, 1],
    [192, 0, 0, 192],
    [192, 0, 2, 2],
    [192, 88, 99, 1],
    [192, 168, 0, 1],
    [198, 18, 0, 1],
    [198, 51, 100, 1],
    [203, 0, 113, 1],
    [224, 0, 0, 1],
    [239, 255, 255, 250],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

/// IPv6 addresses that carry no other.
const V6: [&str; 26] = [
    "::",
    "0:0:0:0:0:0:0:0",
    "::1",
    "0:0:0:0:0:0:0:1",
    "0000:0000:0000:0000:0000:0000:0000:0001",
    "0::0:1",
    "fe80::1",
    "FE80::1",
    "febf:ffff::1",
    "fec0::1",
    "fc00::1",
    "fd00::2",
    "fd00:ec2::254",
    "FDFF:FFFF::1",
    "ff01::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "100:0:0:1::1",
    "2001:db8::1",
    "2001:DB8:ffff::1",
    "2001:2::1",
    "2001:20::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
];

/// Names of this machine, addresses that no URL may hold, and names that look like more than they are.
const OTHERS: [&str; 40] = [
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "a.localhost.",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "l%6fcalhost",
    "%6C%6F%63%61%6C%68%6F%73%74",
    "local\u{ad}host",
    "localhost%00.example",
    "localhost%2eexample",
    "localhost.localdomain",
    "ip6-localhost",
    "evil.example",
    "evil.example.",
    "127.0.0.1.evil.example",
    "1.0.0.127.in-addr.arpa",
    "xn--lcalhost-x6a",
    "xn--127-0-0-1",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[fe80::1%251]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::ffff:127.0.0.1%25lo]",
    "[127.0.0.1]",
    "[::ffff:127.1]",
    "[::ffff:0x7f.0.0.1]",
    "::1",
    "127.0.0.1..",
    "127..0.0.1",
    ".127.0.0.1",
    "127.0.0.0.1",
    "256.0.0.1",
    "127.0.0.256",
    "4294967296",
    "0x100000000",
    "127.0.0.1%00",
];

/// All of them, each once.
pub fn spellings() -> Vec<Spelling> {
    let mut all = BTreeMap::new();
    for octets in V4 {
        let address = Ipv4Addr::from(octets);
        all.extend(v4_forms(octets).into_iter().map(|host| (host, Some(IpAddr::from(address)))));
        all.extend(carriers(address).into_iter().map(|(host, carrier)| (host, Some(IpAddr::from(carrier)))));
    }
    all.extend(V6.map(|text| (format!("[{text}]"), Some(text.parse().unwrap()))));
    all.extend(OTHERS.map(|name| (name.to_owned(), None)));
    all.into_iter().map(|(host, means)| Spelling { host, means }).collect()
}

/// Every way to write an IPv4 address: its parts in several radices, fewer parts, other digits and dots.
fn v4_forms([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let whole = u32::from_be_bytes([a, b, c, d]);
    let (three, two) = (whole & 0xff_ffff, whole & 0xffff);
    let plain = format!("{a}.{b}.{c}.{d}");
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let digits = |zero: u32, text: &str| {
        let other = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(zero + digit)).unwrap_or(c);
        text.chars().map(other).collect::<String>()
    };
    vec![
        format!("{plain}."),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0X{a:02X}.0X{b:02X}.0X{c:02X}.0X{d:02X}"),
        format!("0x{a:x}.0{b:o}.{c}.{d}"),
        format!("0{a:o}.{b}.0x{c:x}.{d}"),
        format!("{a}.{b}.{two}"),
        format!("{a}.{three}"),
        format!("0x{a:x}.0x{three:x}"),
        format!("0{a:o}.0{three:o}"),
        format!("{whole}"),
        format!("{whole}."),
        format!("0x{whole:x}"),
        format!("0X{whole:08X}"),
        format!("0x0000{whole:08x}"),
        format!("0{whole:o}"),
        format!("0000{whole:o}"),
        digits(0xff10, &plain),
        digits(0x1d7ce, &plain),
        digits(0xff10, &whole.to_string()),
        plain.replace('.', "\u{3002}"),
        plain.replace('.', "\u{ff0e}"),
        plain.replace('.', "\u{ff61}"),
        plain.replace('.', "%2e"),
        plain.replace('.', "%E3%80%82"),
        encoded(&plain),
        encoded(&whole.to_string()),
        plain.replacen('.', "\u{ad}.", 1),
        plain,
    ]
}

/// IPv6 addresses that carry an IPv4 address: mapped, compatible, translated (RFC 2765, 6052, 8215),
/// 6to4, Teredo, ISATAP.
fn carriers(v4: Ipv4Addr) -> Vec<(String, Ipv6Addr)> {
    let bits = v4.to_bits();
    let (high, low) = ((bits >> 16) as u16, bits as u16);
    let texts = vec![
        format!("::ffff:{v4}"),
        format!("::FFFF:{high:X}:{low:X}"),
        format!("::ffff:{high:04x}:{low:04x}"),
        format!("0:0:0:0:0:ffff:{v4}"),
        format!("0000:0000:0000:0000:0000:ffff:{high:x}:{low:x}"),
        format!("::{v4}"),
        format!("::ffff:0:{v4}"),
        format!("64:ff9b::{v4}"),
        format!("64:ff9b::{high:x}:{low:x}"),
        format!("64:ff9b:1::{high:x}:{low:x}"),
        format!("64:ff9b:1:ffff::{v4}"),
        format!("2002:{high:x}:{low:x}::"),
        format!("2002:{high:x}:{low:x}:1::1"),
        format!("2001:0:{high:x}:{low:x}::{:x}:{:x}", !high, !low),
        format!("2001:0:5ef5:79fb:0:0:{:x}:{:x}", !high, !low),
        format!("fe80::5efe:{v4}"),
        format!("fe80::200:5efe:{v4}"),
    ];
    texts.into_iter().map(|text| (format!("[{text}]"), text.parse().unwrap())).collect()
}

/// A listener on every address of this machine at once (IPv6 too, where there is any): loopback,
/// link-local and all others. It closes what comes and remembers which address was dialled.
pub struct Canary {
    pub port: u16,
    arrivals: Arc<(Mutex<Vec<Arrival>>, Condvar)>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    dialled: IpAddr,
    caller: SocketAddr,
}

impl Canary {
    /// Proves first that it notices a call to each address it is trusted to watch.
    pub fn start() -> Self {
        let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).expect("a free port");
        let here = listener.local_addr().expect("an address");
        let canary = Self { port: here.port(), arrivals: Arc::default() };
        let arrivals = canary.arrivals.clone();
        std::thread::spawn(move || {
            // A caller that has hung up meanwhile has called all the same.
            while let Ok((stream, caller)) = listener.accept() {
                let dialled = stream.local_addr().expect("an address").ip().to_canonical();
                arrivals.0.lock().unwrap().push(Arrival { dialled, caller });
                arrivals.1.notify_all();
            }
        });
        let mut watched = vec![SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 9, 9, 9], 0))];
        if here.is_ipv6() {
            watched.push((Ipv6Addr::LOCALHOST, 0).into());
            watched.extend(link_local());
        }
        for mut address in watched {
            address.set_port(canary.port);
            canary.fence(address);
        }
        assert_eq!(canary.dialled(), Vec::<IpAddr>::new());
        canary
    }

    /// The addresses that were dialled so far, by others than this itself.
    pub fn dialled(&self) -> Vec<IpAddr> {
        // Calls are noticed in their order: when this one is, so are all before it.
        self.fence(SocketAddr::from(([127, 0, 0, 1], self.port)));
        self.arrivals.0.lock().unwrap().iter().map(|arrival| arrival.dialled).collect()
    }

    /// Calls and waits until the call is noticed; it does not count.
    fn fence(&self, address: SocketAddr) {
        let call = TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap_or_else(|why| panic!("{address}: {why}"));
        let mine = call.local_addr().expect("an address");
        // Both ends: a caller's port may serve again for another address.
        let same = |arrival: &Arrival| {
            let caller = (arrival.caller.ip().to_canonical(), arrival.caller.port());
            arrival.dialled == address.ip() && caller == (mine.ip().to_canonical(), mine.port())
        };
        let (arrivals, news) = (&self.arrivals.0, &self.arrivals.1);
        let waited = news.wait_timeout_while(arrivals.lock().unwrap(), Duration::from_secs(10), |all| !all.iter().any(same));
        let (mut all, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "a call to {address} was not noticed");
        all.retain(|arrival| !same(arrival));
    }
}

/// This machine's link-local addresses with their interfaces, as Linux lists them.
fn link_local() -> Vec<SocketAddr> {
    let listed = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let lines = listed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = Ipv6Addr::from_bits(u128::from_str_radix(words.next()?, 16).ok()?);
        let interface = u32::from_str_radix(words.next()?, 16).ok()?;
        Some((address, interface))
    });
    let local = lines.filter(|(address, _)| address.is_unicast_link_local());
    local.map(|(address, interface)| SocketAddrV6::new(address, 0, 0, interface).into()).collect()
}
