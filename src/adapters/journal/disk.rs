//! Where blocks lie: a file, or memory for a store that is in memory too. Tests bring disks that tear,
//! fill up and fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub trait Disk: Send {
    /// Fills `bytes`; what lies beyond the end reads as zeros.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written so far survives a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64) {
                Ok(0) => {
                    rest.fill(0);
                    return Ok(());
                }
                Ok(read) => done += read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The size is fixed beforehand, so that no metadata has to follow.
        self.sync_data()
    }
}

/// Lost with the process, as the store beside it.
pub struct Memory(Vec<u8>);

impl Memory {
    pub fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }
}

impl Disk for Memory {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        bytes.copy_from_slice(self.0.get(span(offset, bytes.len())).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.get_mut(span(offset, bytes.len())).ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn span(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    start..start.saturating_add(length)
}
