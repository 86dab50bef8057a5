//! The container of a backup: a plain tar (POSIX ustar), so that anybody can look into it. Files only;
//! sizes beyond 8 GiB are written in the binary form that GNU tar and others read.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;
const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const OWNER: std::ops::Range<usize> = 108..116;
const GROUP: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
const SUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;
/// The largest size that eleven octal digits hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

pub struct Archive<W: Write>(pub W);

impl<W: Write> Archive<W> {
    /// Appends a file of exactly `size` bytes.
    pub fn append(&mut self, name: &str, size: u64, content: &mut impl Read) -> io::Result<()> {
        self.0.write_all(&header(name, size)?)?;
        let written = io::copy(&mut content.take(size), &mut self.0)?;
        if written != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} has become shorter")));
        }
        self.0.write_all(&[0; BLOCK][..padding(size)])
    }

    /// Two empty blocks are the end.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        Ok(self.0)
    }
}

/// The next file's name and size; its content, padded, follows. `None` at the end.
pub fn next(from: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if number(&block[SUM]) != Some(sum(&block)) || !block[MAGIC].starts_with(b"ustar") || block[KIND] != b'0' {
        return Err(broken("is no backup, or is damaged"));
    }
    let name = block[NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).map_err(|_| broken("has a name that is no text"))?;
    let size = size_of(&block[SIZE]).ok_or_else(|| broken("has a size that is no number"))?;
    Ok(Some((name.to_owned(), size)))
}

/// Bytes after a content of this size, up to the next block.
pub fn padding(size: u64) -> usize {
    usize::try_from(size % BLOCK as u64).map_or(0, |rest| (BLOCK - rest) % BLOCK)
}

fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    if name.len() >= NAME.len() {
        return Err(broken("would have too long a name"));
    }
    block[..name.len()].copy_from_slice(name.as_bytes());
    octal(&mut block[MODE], 0o600);
    octal(&mut block[OWNER], 0);
    octal(&mut block[GROUP], 0);
    if size <= OCTAL_MAX {
        octal(&mut block[SIZE], size);
    } else {
        block[SIZE.start] = 0x80;
        block[SIZE.end - 8..SIZE.end].copy_from_slice(&size.to_be_bytes());
    }
    octal(&mut block[TIME], 0);
    block[KIND] = b'0';
    block[MAGIC].copy_from_slice(b"ustar\x0000");
    let sum = sum(&block);
    octal(&mut block[SUM], sum);
    Ok(block)
}

/// Digits, and a zero byte at the end.
fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

fn size_of(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => rest.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        octal => number(octal),
    }
}

/// Of all bytes, those of the sum itself counted as spaces.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let counted = block.iter().enumerate().map(|(at, byte)| if SUM.contains(&at) { b' ' } else { *byte });
    counted.map(u64::from).sum()
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut archive = Archive(Vec::new());
        for (name, content) in files {
            archive.append(name, content.len() as u64, &mut content.as_slice()).unwrap();
        }
        archive.finish().unwrap()
    }

    #[test]
    fn what_goes_in_comes_out_for_every_length_about_a_block() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let bytes = archive(&[("one", vec![7; length]), ("two", vec![8; 3])]);
            assert_eq!(bytes.len() % BLOCK, 0);
            let mut from = bytes.as_slice();
            for (name, byte, length) in [("one", 7, length), ("two", 8, 3)] {
                assert_eq!(next(&mut from).unwrap(), Some((name.to_owned(), length as u64)));
                assert!(from[..length].iter().all(|found| *found == byte));
                from = &from[length + padding(length as u64)..];
            }
            assert_eq!(next(&mut from).unwrap(), None);
        }
    }

    #[test]
    fn sizes_beyond_the_octal_ones_are_kept() {
        for size in [0, 1, OCTAL_MAX, OCTAL_MAX + 1, u64::MAX] {
            assert_eq!(next(&mut header("x", size).unwrap().as_slice()).unwrap(), Some(("x".to_owned(), size)));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = header("store.sqlite", 12345).unwrap();
        for bit in 0..BLOCK * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            // A digit of the sum itself may become a space, which means the same.
            let found = next(&mut bad.as_slice());
            let same = matches!(&found, Ok(Some((name, 12345))) if name == "store.sqlite");
            assert!(found.is_err() || (same && SUM.contains(&(bit / 8))), "bit {bit}: {found:?}");
        }
        assert!(next(&mut &good[..BLOCK - 1]).is_err(), "a file that was cut off");
    }

    #[test]
    fn tar_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        std::fs::write(&file, archive(&[("a", vec![1; 700]), ("b", Vec::new())])).unwrap();
        let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "a\nb\n");
    }
}
