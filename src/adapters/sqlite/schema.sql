-- Schema 1. `ends_at` and `at` are milliseconds since the epoch; versions are unsigned, kept in SQLite's signed integers.
CREATE TABLE entries (
    partition TEXT NOT NULL,
    name BLOB NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    ends_at INTEGER,
    UNIQUE (partition, name)
) STRICT;
CREATE INDEX entries_by_end ON entries (ends_at) WHERE ends_at IS NOT NULL;

-- One row per transaction of the writer: the attempts it applied, 16 bytes each. Much cheaper than a row per attempt,
-- and asked only when the outcome of a transaction is in doubt.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    attempts BLOB NOT NULL
) STRICT;
