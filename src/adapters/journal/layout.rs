//! How the file is laid out, as pure functions over bytes.
//!
//! | blocks of 4 KiB | what |
//! |---|---|
//! | 1 | head: magic, format, number of entry blocks, digest; written once |
//! | table | 8 bytes for each entry block: the number of the entry that was settled in it |
//! | the rest | entry blocks |
//!
//! An entry is cut over as many blocks as it needs, which need not be neighbours, so that entries are
//! freed in any order and nothing is ever moved. Each block names its entry, its place in it and how many
//! there are, under a digest: an entry is there when all its blocks are, and a torn write is simply not.
//! Settling writes into the table and never touches an entry.

use sha2::{Digest as _, Sha256};

pub const BLOCK: usize = 4096;
/// Bytes of an entry in one block.
pub const PAYLOAD: usize = BLOCK - HEADER;

const MAGIC: [u8; 8] = *b"CLVJRNL\n";
const BLOCK_MAGIC: [u8; 8] = *b"CLVENTRY";
const FORMAT: u32 = 1;
const FIELDS: usize = 32;
const DIGEST: usize = 16;
const HEADER: usize = FIELDS + DIGEST;
/// An entry of the table.
pub const MARK: usize = 8;

/// Where things lie in a file with so many entry blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub blocks: u32,
}

/// What one block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub entry: u64,
    pub index: u32,
    pub of: u32,
    pub length: usize,
}

/// Why a head is not ours to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    Damaged,
    Newer(u32),
}

impl Layout {
    /// The layout that fits into so many bytes.
    pub fn within(bytes: u64) -> Self {
        let all = bytes / BLOCK as u64;
        let table = (all * MARK as u64).div_ceil(BLOCK as u64);
        Self { blocks: u32::try_from(all.saturating_sub(1 + table)).unwrap_or(u32::MAX) }
    }

    /// Bytes of the whole file.
    pub fn size(self) -> u64 {
        self.offset(self.blocks)
    }

    /// Where an entry block begins.
    pub fn offset(self, block: u32) -> u64 {
        (1 + self.table_blocks() + u64::from(block)) * BLOCK as u64
    }

    /// Where an entry block's mark stands in the table.
    pub fn mark(self, block: u32) -> u64 {
        BLOCK as u64 + u64::from(block) * MARK as u64
    }

    /// Bytes of the table.
    pub fn table(self) -> usize {
        self.blocks as usize * MARK
    }

    fn table_blocks(self) -> u64 {
        (u64::from(self.blocks) * MARK as u64).div_ceil(BLOCK as u64)
    }

    pub fn head(self) -> [u8; BLOCK] {
        let mut head = [0; BLOCK];
        put(&mut head, 0, &MAGIC);
        put(&mut head, 8, &FORMAT.to_be_bytes());
        put(&mut head, 12, &self.blocks.to_be_bytes());
        let digest = digest(&[&head[..FIELDS]]);
        put(&mut head, FIELDS, &digest);
        head
    }

    pub fn from_head(head: &[u8; BLOCK]) -> Result<Self, BadHead> {
        let (fields, rest) = head.split_at(FIELDS);
        if !fields.starts_with(&MAGIC) || !rest.starts_with(&digest(&[fields])) {
            return Err(BadHead::Damaged);
        }
        match number(fields, 8) {
            FORMAT => Ok(Self { blocks: number(fields, 12) }),
            other => Err(BadHead::Newer(other)),
        }
    }
}

/// How many blocks an entry of so many bytes takes.
pub fn blocks_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PAYLOAD).max(1)).unwrap_or(u32::MAX)
}

/// A block that holds this piece of an entry.
pub fn encode(piece: Piece, payload: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, &BLOCK_MAGIC);
    put(&mut block, 8, &piece.entry.to_be_bytes());
    put(&mut block, 16, &piece.index.to_be_bytes());
    put(&mut block, 20, &piece.of.to_be_bytes());
    put(&mut block, 24, &u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    put(&mut block, HEADER, payload);
    let digest = digest(&[&block[..FIELDS], payload]);
    put(&mut block, FIELDS, &digest);
    block
}

/// What a block holds; `None` when it is empty, torn or damaged.
pub fn decode(block: &[u8]) -> Option<(Piece, &[u8])> {
    let (fields, rest) = block.split_at_checked(FIELDS)?;
    if !fields.starts_with(&BLOCK_MAGIC) {
        return None;
    }
    let (stored, payload) = rest.split_at_checked(DIGEST)?;
    let payload = payload.get(..number(fields, 24) as usize)?;
    if digest(&[fields, payload]) != stored {
        return None;
    }
    let entry = u64::from_be_bytes(*fields.get(8..)?.first_chunk()?);
    let (index, of) = (number(fields, 16), number(fields, 20));
    (index < of).then_some((Piece { entry, index, of, length: payload.len() }, payload))
}

fn digest(parts: &[&[u8]]) -> [u8; DIGEST] {
    let whole = parts.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part)).finalize();
    let mut short = [0; DIGEST];
    short.iter_mut().zip(whole).for_each(|(short, byte)| *short = byte);
    short
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    block.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
}

fn number(fields: &[u8], at: usize) -> u32 {
    fields.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_fills_its_file_and_overlaps_nowhere() {
        for bytes in [4 << 20, (4 << 20) + 4095, 128 << 20, 1 << 32] {
            let layout = Layout::within(bytes);
            assert!(layout.size() <= bytes && layout.size() + 8 * BLOCK as u64 > bytes, "{bytes}");
            assert!(layout.mark(layout.blocks - 1) + MARK as u64 <= layout.offset(0));
            assert_eq!(Layout::from_head(&layout.head()), Ok(layout));
        }
    }

    #[test]
    fn a_head_of_another_format_is_told_from_a_damaged_one() {
        let mut head = Layout { blocks: 9 }.head();
        head[15] ^= 1;
        assert_eq!(Layout::from_head(&head), Err(BadHead::Damaged));
        head = Layout { blocks: 9 }.head();
        head[11] = 2;
        let again = digest(&[&head[..FIELDS]]);
        put(&mut head, FIELDS, &again);
        assert_eq!(Layout::from_head(&head), Err(BadHead::Newer(2)));
        assert_eq!(Layout::from_head(&[0; BLOCK]), Err(BadHead::Damaged));
    }

    /// Every bit counts, so that half of a write is never taken for an entry.
    #[test]
    fn a_block_with_one_wrong_bit_is_no_block() {
        let piece = Piece { entry: 7, index: 1, of: 3, length: 100 };
        let block = encode(piece, &[5; 100]);
        assert_eq!(decode(&block), Some((piece, [5; 100].as_slice())));
        for at in 0..HEADER + 100 {
            for bit in 0..8 {
                let mut other = block;
                other[at] ^= 1 << bit;
                assert_eq!(decode(&other), None, "byte {at} bit {bit}");
            }
        }
        assert_eq!(decode(&[0; BLOCK]), None);
        assert_eq!(decode(&[]), None);
    }
}
