//! The statements on the rows, each one step inside whoever's transaction it is.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use crate::ports::kv::{AttemptId, Key, Precondition, SETTLE_WINDOW, Versioned, Write, ttl_millis};

/// Most rows of each kind that one sweep collects.
const SWEEP: u32 = 64;

pub fn versioned(version: i64, value: Vec<u8>) -> Versioned {
    Versioned { version: version.cast_unsigned(), value: Bytes::from(value) }
}

/// A value that is there and not past its time.
pub fn get(connection: &Connection, key: &Key, now: i64) -> rusqlite::Result<Option<Versioned>> {
    let sql = "SELECT version, value FROM entries
               WHERE partition = ?1 AND name = ?2 AND (ends_at IS NULL OR ends_at > ?3)";
    let mut get = connection.prepare_cached(sql)?;
    get.query_row(params![key.partition.as_str(), key.name, now], |row| Ok(versioned(row.get(0)?, row.get(1)?))).optional()
}

pub fn holds(connection: &Connection, precondition: &Precondition, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT version FROM entries WHERE partition = ?1 AND name = ?2 AND (ends_at IS NULL OR ends_at > ?3)";
    let key = precondition.key();
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![key.partition.as_str(), key.name, now])?;
    let found = rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()?;
    Ok(match precondition {
        Precondition::Absent(_) => found.is_none(),
        Precondition::Version(_, version) => found == Some(version.cast_signed()),
    })
}

pub fn write(connection: &Connection, write: &Write, now: i64) -> rusqlite::Result<()> {
    match write {
        Write::Put { key, version, value, ttl } => {
            let sql = "INSERT INTO entries (partition, name, version, value, ends_at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (partition, name) DO UPDATE
                       SET version = excluded.version, value = excluded.value, ends_at = excluded.ends_at";
            let end = ttl.map(|ttl| now.saturating_add(ttl_millis(ttl)));
            let row = params![key.partition.as_str(), key.name, version.cast_signed(), &value[..], end];
            connection.prepare_cached(sql)?.execute(row).map(drop)
        }
        Write::Delete { key } => delete(connection, key),
    }
}

fn delete(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    let sql = "DELETE FROM entries WHERE partition = ?1 AND name = ?2";
    connection.prepare_cached(sql)?.execute(params![key.partition.as_str(), key.name]).map(drop)
}

pub fn take(connection: &Connection, key: &Key, now: i64) -> rusqlite::Result<Option<Versioned>> {
    let found = get(connection, key, now)?;
    if found.is_some() {
        delete(connection, key)?;
    }
    Ok(found)
}

/// Collects a bounded number of rows past their time; says whether there may be more.
pub fn sweep(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    let entries = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE ends_at <= ?1 LIMIT ?2)";
    let swept = connection.prepare_cached(entries)?.execute(params![now, SWEEP])?;
    // From the oldest on, so that no more rows are looked at than may go.
    let groups = "DELETE FROM groups WHERE id IN
                  (SELECT id FROM (SELECT id, at FROM groups ORDER BY id LIMIT ?2) WHERE at <= ?1)";
    let old = now.saturating_sub(ttl_millis(SETTLE_WINDOW + Duration::from_secs(1)));
    connection.prepare_cached(groups)?.execute(params![old, SWEEP])?;
    Ok(swept >= SWEEP as usize)
}

/// The row of a transaction: the attempts it applied, one after the other.
pub fn add_group(connection: &Connection, id: i64, now: i64, attempts: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO groups (id, at, attempts) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![id, now, attempts]).map(drop)
}

pub fn last_group(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM groups", [], |row| row.get(0))
}

pub fn has_group(connection: &Connection, id: i64) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM groups WHERE id = ?1)", [id], |row| row.get(0))
}

/// Whether `attempt` is one of `attempts`.
pub fn is_among(attempt: AttemptId, attempts: &[u8]) -> bool {
    attempts.chunks_exact(attempt.0.len()).any(|each| each == attempt.0)
}

/// Whether some transaction of the settle window applied the attempt.
pub fn was_applied(connection: &Connection, attempt: AttemptId) -> rusqlite::Result<bool> {
    let mut groups = connection.prepare_cached("SELECT attempts FROM groups WHERE instr(attempts, ?1) > 0")?;
    let mut found = groups.query(params![attempt.0])?;
    while let Some(row) = found.next()? {
        if is_among(attempt, row.get_ref(0)?.as_blob()?) {
            return Ok(true);
        }
    }
    Ok(false)
}
