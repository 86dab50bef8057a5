//! The entries on a disk: which blocks each has, and which block is given away next. One user at a time;
//! it waits for nothing and knows nothing of reservations.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::disk::Disk;
use super::layout::{BLOCK, Layout, MARK, PAYLOAD, Piece, blocks_for, decode, encode};
use crate::ports::journal::{EntryId, Listed, Standing};

/// Blocks that are read at once when the journal is opened.
const SCAN: usize = 256;

pub struct Blocks {
    disk: Box<dyn Disk>,
    layout: Layout,
    entries: BTreeMap<u64, Held>,
    /// Blocks to give away: first those that hold nothing, then those of settled entries as they were settled.
    free: VecDeque<u32>,
    /// The entry that each block was last given to.
    owners: Vec<u64>,
    next: u64,
}

#[derive(Default)]
struct Held {
    blocks: Vec<u32>,
    size: usize,
    settled: bool,
}

/// An entry's pieces, as they are met.
#[derive(Default)]
struct Met {
    of: u32,
    blocks: BTreeMap<u32, u32>,
    size: usize,
}

impl Blocks {
    /// Finds what a disk of this layout holds.
    pub fn open(disk: Box<dyn Disk>, layout: Layout) -> io::Result<Self> {
        let marks = marks(disk.as_ref(), layout)?;
        let met = scan(disk.as_ref(), layout)?;
        let last = met.keys().chain(&marks).max().copied().unwrap_or(0);
        let owners = vec![0; layout.blocks as usize];
        let mut blocks = Self { disk, layout, entries: BTreeMap::new(), free: VecDeque::new(), owners, next: last + 1 };
        let mut settled = VecDeque::new();
        for (entry, met) in met.into_iter().filter(|(_, met)| met.blocks.len() == met.of as usize) {
            let held: Vec<u32> = met.blocks.into_values().collect();
            blocks.own(entry, &held);
            let is_settled = held.first().and_then(|first| marks.get(*first as usize)) == Some(&entry);
            if is_settled {
                settled.extend(&held);
            }
            blocks.entries.insert(entry, Held { blocks: held, size: met.size, settled: is_settled });
        }
        let owned = |block: &u32| blocks.owners.get(*block as usize).is_some_and(|owner| *owner != 0);
        blocks.free = (0..layout.blocks).filter(|block| !owned(block)).chain(settled).collect();
        Ok(blocks)
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The number for the next entry: above all that can still be read.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn list(&self) -> Vec<Listed> {
        let standing = |held: &Held| if held.settled { Standing::Settled } else { Standing::Pending };
        let listed = self.entries.iter();
        listed.map(|(entry, held)| Listed { id: EntryId(*entry), size: held.size, standing: standing(held) }).collect()
    }

    /// How many entries wait for the store, and how many blocks they have.
    pub fn pending(&self) -> (u64, u64) {
        let pending = self.entries.values().filter(|held| !held.settled);
        pending.fold((0, 0), |(entries, blocks), held| (entries + 1, blocks + held.blocks.len() as u64))
    }

    /// Writes an entry; durable after the next [`Blocks::sync`]. Answers how many blocks it took.
    pub fn place(&mut self, entry: u64, bytes: &[u8]) -> io::Result<u64> {
        let of = blocks_for(bytes.len());
        if self.free.len() < of as usize {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken: Vec<u32> = self.free.drain(..of as usize).collect();
        for block in &taken {
            let before = self.owners.get(*block as usize).copied().unwrap_or(0);
            self.entries.remove(&before);
        }
        self.own(entry, &taken);
        let pieces = (0..of).map(|index| bytes.chunks(PAYLOAD).nth(index as usize).unwrap_or_default());
        for ((block, index), payload) in taken.iter().zip(0..of).zip(pieces) {
            let piece = Piece { entry, index, of, length: payload.len() };
            self.disk.write(&encode(piece, payload), self.layout.offset(*block))?;
        }
        self.entries.insert(entry, Held { blocks: taken, size: bytes.len(), settled: false });
        self.next = self.next.max(entry + 1);
        Ok(u64::from(of))
    }

    /// Gives an entry's blocks free; it can be read until they are needed. Answers how many they are, or
    /// `None` when it was not pending.
    pub fn settle(&mut self, entry: u64) -> io::Result<Option<u64>> {
        let Some(held) = self.entries.get_mut(&entry).filter(|held| !held.settled) else { return Ok(None) };
        held.settled = true;
        self.free.extend(&held.blocks);
        let (first, freed) = (held.blocks.first().copied(), held.blocks.len() as u64);
        let mark = first.map(|first| self.layout.mark(first));
        mark.map_or(Ok(()), |mark| self.disk.write(&entry.to_be_bytes(), mark))?;
        Ok(Some(freed))
    }

    /// An entry's bytes; `None` when there is no such entry any more.
    pub fn read(&self, entry: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(held) = self.entries.get(&entry) else { return Ok(None) };
        let mut whole = Vec::with_capacity(held.size);
        let mut block = [0; BLOCK];
        for (index, number) in (0..).zip(&held.blocks) {
            self.disk.read(&mut block, self.layout.offset(*number))?;
            let piece = decode(&block).filter(|(piece, _)| (piece.entry, piece.index) == (entry, index));
            let (_, payload) = piece.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a block has changed"))?;
            whole.extend_from_slice(payload);
        }
        Ok(Some(whole))
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()
    }

    fn own(&mut self, entry: u64, blocks: &[u32]) {
        for block in blocks {
            if let Some(owner) = self.owners.get_mut(*block as usize) {
                *owner = entry;
            }
        }
    }
}

/// The table: which entry was settled in each block.
fn marks(disk: &dyn Disk, layout: Layout) -> io::Result<Vec<u64>> {
    let mut table = vec![0; layout.table()];
    disk.read(&mut table, layout.mark(0))?;
    Ok(table.chunks_exact(MARK).map(|mark| mark.first_chunk().map_or(0, |mark| u64::from_be_bytes(*mark))).collect())
}

/// Every good block, by the entry it belongs to.
fn scan(disk: &dyn Disk, layout: Layout) -> io::Result<BTreeMap<u64, Met>> {
    let mut met: BTreeMap<u64, Met> = BTreeMap::new();
    let mut buffer = vec![0; SCAN * BLOCK];
    for first in (0..layout.blocks).step_by(SCAN) {
        let count = (layout.blocks - first).min(SCAN as u32);
        let chunk = &mut buffer[..count as usize * BLOCK];
        disk.read(chunk, layout.offset(first))?;
        for (block, number) in chunk.chunks_exact(BLOCK).zip(first..) {
            if let Some((piece, payload)) = decode(block) {
                let entry = met.entry(piece.entry).or_default();
                entry.of = piece.of;
                entry.size += payload.len();
                entry.blocks.insert(piece.index, number);
            }
        }
    }
    Ok(met)
}
