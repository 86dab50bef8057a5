//! The file and its connections: how they are opened, the schema and its number.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::ports::kv::KvError;

/// "CLAV": tells our file from another program's.
const APPLICATION: i32 = 0x434c_4156;
const SCHEMA: i32 = 1;
/// Other connections of this process hold locks for moments only (a checkpoint, a recovery).
const BUSY: Duration = Duration::from_secs(5);
/// The log is cut back to this after a checkpoint, so that a burst does not keep the disk.
const LOG_KEPT: i64 = 64 * 1024 * 1024;

/// The connection that writes. It never makes the file: one that vanished under a running server must
/// not come back empty.
pub fn open_writer(path: &Path) -> Result<Connection, KvError> {
    prepare(path).map_err(|error| explain(path, &error))?
}

fn prepare(path: &Path) -> rusqlite::Result<Result<Connection, KvError>> {
    let mut connection = connect(path)?;
    if let Some(refusal) = foreign(&connection, path)?.or_else(|| keep_private(path)) {
        return Ok(Err(refusal));
    }
    // WAL with FULL: a commit is on the disk when it is answered.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("{}: this file system cannot hold a write-ahead log; put store.url on a local disk", path.display());
        return Ok(Err(KvError::Refused(why)));
    }
    connection.pragma_update(None, "synchronous", "full")?;
    // What is deleted or replaced is overwritten with zeros: most of it was a secret, if sealed.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    migrate(&mut connection)?;
    Ok(Ok(connection))
}

/// A connection that reads, on a file that the writer has opened before.
pub fn open_reader(path: &Path) -> Result<Connection, KvError> {
    let open = || {
        let connection = connect(path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    open().map_err(|error| explain(path, &error))
}

/// Copies one state of the file, without what was deleted, into the empty file `to`.
pub fn snapshot(path: &Path, to: &Path) -> Result<(), KvError> {
    let copied = connect(path).and_then(|connection| {
        let target = to.to_string_lossy();
        connection.execute("VACUUM INTO ?1", [target.as_ref()]).map(drop)
    });
    copied.map_err(|error| explain(to, &error))?;
    let synced = OpenOptions::new().write(true).open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| KvError::Unavailable(format!("{}: {error}", to.display())))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // The one thread that uses a connection at a time is seen to by us. URIs are off: a path is a path.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(connection)
}

/// Makes the file where there is none, for its owner alone.
pub fn make(path: &Path) -> Result<(), KvError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop).map_err(|error| KvError::Unavailable(format!("{}: {error}", path.display())))
}

/// SQLite gives its log and its index the file's own mode, so it is enough to see to the file.
fn keep_private(path: &Path) -> Option<KvError> {
    let kept = std::fs::set_permissions(path, Permissions::from_mode(0o600));
    kept.err().map(|error| KvError::Unavailable(format!("{}: its mode cannot be set to 0600: {error}", path.display())))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Says why a file is not ours to touch; `None` for our own and for an empty one.
fn foreign(connection: &Connection, path: &Path) -> rusqlite::Result<Option<KvError>> {
    let (application, schema) = (pragma(connection, "application_id")?, pragma(connection, "user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let path = path.display();
    let why = if application == 0 && schema == 0 && tables == 0 {
        return Ok(None);
    } else if application != APPLICATION {
        format!("{path} belongs to another program; give store.url a path of its own")
    } else if schema > SCHEMA {
        format!(
            "{path} was written by a newer Claviger (schema {schema}, this one knows {SCHEMA}); run that version or a newer one"
        )
    } else {
        return Ok(None);
    };
    Ok(Some(KvError::Refused(why)))
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    if pragma(&transaction, "user_version")? < SCHEMA {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}

fn explain(path: &Path, error: &rusqlite::Error) -> KvError {
    let text = format!("{}: {error}", path.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => KvError::Refused(format!("{text}; give store.url a path of its own")),
        _ => fault(text, error),
    }
}

/// What an error of SQLite means to the caller of the store.
pub fn fault(text: String, error: &rusqlite::Error) -> KvError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => KvError::Corrupt(text),
        _ => KvError::Unavailable(text),
    }
}
