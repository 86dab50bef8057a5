//! Reading. A small value is read where it is asked for: from the page cache that took 13 µs of one
//! core, and 25 µs at the largest size, less than the way to another thread and back. Large values
//! and pages go to threads that may block, on connections of their own, so that they hold up no
//! small read.

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::rows::versioned;
use super::{file, rows};
use crate::ports::kv::{Entries, Entry, Key, KvError, PAGE_BYTES, Partition, Versioned, name_range};

/// Largest value that is read on the caller's thread.
const SMALL: i64 = 32 * 1024;
const QUICK: usize = 4;
const SLOW: usize = 2;

pub struct Readers {
    quick: Pool,
    slow: Pool,
}

struct Pool {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Pool {
    fn open(path: &Path, size: usize) -> Result<Self, KvError> {
        let connections = (0..size).map(|_| file::open_reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { connections, next: AtomicUsize::new(0) })
    }

    /// A free connection, or the turn on a busy one.
    fn lend(&self) -> MutexGuard<'_, Connection> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let size = self.connections.len();
        let free = (0..size).find_map(|step| self.connections[start.wrapping_add(step) % size].try_lock().ok());
        free.unwrap_or_else(|| self.connections[start % size].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Readers {
    pub fn open(path: &Path) -> Result<Self, KvError> {
        Ok(Self { quick: Pool::open(path, QUICK)?, slow: Pool::open(path, SLOW)? })
    }

    /// The answer, unless the value is too large to read here (`None`).
    pub fn get_small(&self, key: &Key, now: i64) -> Result<Option<Option<Versioned>>, KvError> {
        // SQLite knows a value's length without reading the value.
        let sql = "SELECT version, CASE WHEN length(value) <= ?4 THEN value END FROM entries
                   WHERE partition = ?1 AND name = ?2 AND (ends_at IS NULL OR ends_at > ?3)";
        let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
        let connection = self.quick.lend();
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut get| get.query_row(params![key.partition.as_str(), key.name, now, SMALL], row).optional())
            .map_err(unread)?;
        Ok(match found {
            None => Some(None),
            Some((_, None)) => None,
            Some((version, Some(value))) => Some(Some(versioned(version, value))),
        })
    }

    /// The same for any size; may block.
    pub fn get_any(&self, key: &Key, now: i64) -> Result<Option<Versioned>, KvError> {
        rows::get(&self.slow.lend(), key, now).map_err(unread)
    }

    pub fn list(
        &self,
        partition: &Partition,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        now: i64,
    ) -> Result<Entries, KvError> {
        page(&self.slow.lend(), partition, name_range(prefix, after), limit, now).map_err(unread)
    }
}

fn page(
    connection: &Connection,
    partition: &Partition,
    (lower, upper): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    limit: usize,
    now: i64,
) -> rusqlite::Result<Entries> {
    let mut sql = "SELECT name, version, value FROM entries WHERE partition = ? AND (ends_at IS NULL OR ends_at > ?)".to_owned();
    let mut values = vec![Value::from(partition.as_str().to_owned()), Value::from(now)];
    for (bound, open, closed) in [(lower, ">", ">="), (upper, "<", "<=")] {
        let (name, operator) = match bound {
            Bound::Unbounded => continue,
            Bound::Excluded(name) => (name, open),
            Bound::Included(name) => (name, closed),
        };
        sql.push_str(&format!(" AND name {operator} ?"));
        values.push(Value::from(name));
    }
    sql.push_str(" ORDER BY name");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut page = Entries { entries: Vec::new(), next: None };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if page.entries.len() == limit || bytes >= PAGE_BYTES {
            page.next = page.entries.last().map(|last| last.name.clone());
            break;
        }
        let Versioned { version, value } = versioned(row.get(1)?, row.get(2)?);
        bytes += value.len();
        page.entries.push(Entry { name: row.get(0)?, version, value });
    }
    Ok(page)
}

fn unread(error: rusqlite::Error) -> KvError {
    file::fault(format!("a read failed: {error}"), &error)
}
