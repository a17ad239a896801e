-- The agent's file, version 1.
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
-- One row a boot of this computer: times of different boots do not compare.
CREATE TABLE boot (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT;
-- Values that the server has not acknowledged. A sequence is never used twice.
CREATE TABLE sample (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  stream TEXT NOT NULL,
  boot INTEGER NOT NULL,
  since_boot INTEGER NOT NULL, -- microseconds
  time INTEGER,                -- microseconds since 1970; none: the clock was not set
  is_own INTEGER NOT NULL,     -- 1: the value brought its time along
  body TEXT NOT NULL           -- JSON object
) STRICT;
-- A message that was composed, and perhaps sent: which samples, and by which clock.
CREATE TABLE batch (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  form INTEGER NOT NULL,       -- 0 own times, 1 stamped, 2 without a time
  boot INTEGER NOT NULL,
  boot_at INTEGER              -- when that boot was, by the clock that was right at last
) STRICT;
-- Answers and events, whole.
CREATE TABLE letter (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  payload TEXT NOT NULL
) STRICT;
-- Commands, kept longer than their deadline, so that none is executed twice.
CREATE TABLE command (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  payload TEXT NOT NULL,
  deadline INTEGER NOT NULL,
  is_dry_run INTEGER NOT NULL,
  state INTEGER NOT NULL,      -- 0 waits, 1 was started, 2 has ended
  reply TEXT
) STRICT;
-- How far a file was read, in the same transaction as what was read.
CREATE TABLE position (
  path TEXT PRIMARY KEY,
  device INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  byte_offset INTEGER NOT NULL,
  head BLOB NOT NULL           -- the first bytes, to know the file again
) STRICT, WITHOUT ROWID;
