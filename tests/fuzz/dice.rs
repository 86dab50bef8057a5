//! Chance with a memory: the same number gives the same throws, on every machine.

/// SplitMix64.
pub struct Dice(u64);

/// What breaks readers: brackets, escapes, odd numbers, odd letters, words that mean something.
const SHARDS: &[&str] = &[
    "{",
    "}",
    "{{",
    "}}",
    "{a}",
    "{code}",
    "{client_secret}",
    "{base64(a)}",
    "{join(a, ':', code)}",
    "{urlencode(lower(a))}",
    "{hmac_sha256(a, b.c)}",
    "{sha256(",
    ")",
    "('",
    "{callback.realm}",
    "[",
    "]",
    "[[",
    "]]",
    "\"",
    "\"\"\"",
    "'",
    "'''",
    "\\",
    "\\u",
    "\\ud800",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\u{feff}",
    "\u{202e}",
    "é",
    "💥",
    "%",
    "%00",
    "%zz",
    "%2e%2e",
    "&",
    "=",
    "+",
    ";",
    "#",
    "?",
    "/",
    "//",
    "..",
    ".",
    "@",
    ":",
    ",",
    "<",
    "null",
    "true",
    "-",
    "-1",
    "0",
    "1e400",
    "-1E999",
    "3600",
    "1.5",
    "9223372036854775808",
    "00000000000000000000",
    "2026-11-21T12:00:00Z",
    "1979-05-27",
    "access_token",
    "error",
    "code",
    "state",
    "iss",
    "https://",
    "http://127.0.0.1",
    "localhost",
    "[test]",
    "[params.p]",
    "~1",
    "id_token:/sub",
    "inf",
    "nan",
    "0x",
    "_",
];

impl Dice {
    pub fn of(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 where there is nothing to choose.
    pub fn below(&mut self, end: usize) -> usize {
        self.throw() as usize % end.max(1)
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub fn shard(&mut self) -> &'static str {
        self.pick(SHARDS)
    }

    /// A few shards in a row.
    pub fn shards(&mut self, most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.shard()).collect()
    }

    /// The bytes, damaged here and there; now and then not at all.
    pub fn damaged(&mut self, bytes: impl Into<Vec<u8>>) -> Vec<u8> {
        let mut bytes = bytes.into();
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len() + 1);
            let end = bytes.len().min(at + self.below(40));
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] = self.throw() as u8,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let part = bytes[at..end].repeat(1 + self.below(8));
                    bytes.splice(at..at, part);
                }
                3 if self.one_in(4) => bytes.truncate(at),
                _ => drop(bytes.splice(at..at, self.shard().bytes())),
            }
        }
        bytes
    }

    pub fn damaged_text(&mut self, text: &str) -> String {
        String::from_utf8_lossy(&self.damaged(text)).into_owned()
    }
}
