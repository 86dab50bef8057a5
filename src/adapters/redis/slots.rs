//! Redis Cluster's key space: which slot a partition lives in, and which server owns which slots.

use std::ops::RangeInclusive;

use redis::{FromRedisValue, Value};

const SLOTS: u16 = 16_384;

pub type Ranges = Vec<RangeInclusive<u16>>;

/// Of a server that is no cluster.
pub fn all() -> Ranges {
    vec![0..=SLOTS - 1]
}

/// The slot of all keys with this hash tag (Redis Cluster specification, "Keys distribution model").
pub fn slot_of(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// A tag whose keys live in this slot; among some hundred thousand numbers each slot is met.
pub fn tag_in(slot: u16) -> String {
    (0..u32::MAX).map(|number| number.to_string()).find(|tag| slot_of(tag) == slot).unwrap_or_default()
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let crc = crc ^ (u16::from(byte) << 8);
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

/// A primary as `CLUSTER SLOTS` names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    /// `None`: the host that was asked.
    pub host: Option<String>,
    pub port: u16,
    pub slots: Ranges,
}

/// The answer to `CLUSTER SLOTS`: the first server of each range is its primary.
pub fn read(answer: Value) -> Option<Vec<Owner>> {
    let mut owners: Vec<Owner> = Vec::new();
    for range in Vec::<Value>::from_redis_value(answer).ok()? {
        let mut parts = Vec::<Value>::from_redis_value(range).ok()?.into_iter();
        let mut number = || u16::from_redis_value(parts.next()?).ok();
        let slots = number()?..=number()?;
        let mut server = Vec::<Value>::from_redis_value(parts.next()?).ok()?.into_iter();
        let host = Option::<String>::from_redis_value(server.next()?).ok()?.filter(|host| !host.is_empty());
        let port = u16::from_redis_value(server.next()?).ok()?;
        match owners.iter_mut().find(|owner| owner.host == host && owner.port == port) {
            Some(owner) => owner.slots.push(slots),
            None => owners.push(Owner { host, port, slots: vec![slots] }),
        }
    }
    Some(owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!([slot_of("foo"), slot_of("user1000")], [12182, 3443]);
        for slot in [0, 1, 5461, SLOTS - 1] {
            assert_eq!(slot_of(&tag_in(slot)), slot);
        }
    }

    #[test]
    fn the_first_server_of_a_range_owns_it() {
        let text = |text: &str| Value::BulkString(text.into());
        let server = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |from, to, servers: Vec<Value>| Value::Array([vec![Value::Int(from), Value::Int(to)], servers].concat());
        let answer = Value::Array(vec![
            range(0, 9, vec![server(text("a"), 1), server(text("b"), 2)]),
            range(10, 19, vec![server(Value::Nil, 3)]),
            range(20, 29, vec![server(text("a"), 1)]),
        ]);
        let owner = |host: Option<&str>, port, slots| Owner { host: host.map(str::to_owned), port, slots };
        assert_eq!(read(answer), Some(vec![owner(Some("a"), 1, vec![0..=9, 20..=29]), owner(None, 3, vec![10..=19])]));
        assert_eq!(read(Value::Array(vec![range(0, 9, vec![])])), None);
    }
}
