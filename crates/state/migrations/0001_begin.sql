-- Version 1. Times are microseconds since 1970, see docs/formats/state.md.

CREATE TABLE device (
  id TEXT NOT NULL PRIMARY KEY,
  status TEXT NOT NULL,
  name TEXT NOT NULL,
  name_folded TEXT NOT NULL,
  kind TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE certificate (
  fingerprint BLOB NOT NULL PRIMARY KEY,
  device TEXT NOT NULL REFERENCES device (id),
  not_before INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX certificate_by_device ON certificate (device, fingerprint);

CREATE TABLE token (
  id TEXT NOT NULL PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE command (
  number INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  device TEXT NOT NULL,
  name TEXT NOT NULL,
  payload TEXT NOT NULL,
  is_dry_run INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  status TEXT NOT NULL,
  is_open INTEGER NOT NULL,
  history TEXT NOT NULL,
  result TEXT
) STRICT;
CREATE INDEX command_by_device ON command (device, number);
CREATE INDEX command_open_by_device ON command (device, number) WHERE is_open = 1;
CREATE INDEX command_open_by_deadline ON command (deadline) WHERE is_open = 1;

CREATE TABLE projection (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  position INTEGER NOT NULL,
  stored INTEGER NOT NULL,
  quarantined INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  shed INTEGER NOT NULL
) STRICT;
INSERT INTO projection VALUES (1, 0, 0, 0, 0, 0);

-- Short numbers for the two long names in the key of latest.
CREATE TABLE device_key (
  key INTEGER NOT NULL PRIMARY KEY,
  device TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE field_key (
  key INTEGER NOT NULL PRIMARY KEY,
  field TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE last_seen (
  device INTEGER NOT NULL PRIMARY KEY REFERENCES device_key (key),
  time INTEGER NOT NULL
) STRICT;

-- The storage class of value is its type: REAL a number, INTEGER a truth, TEXT a text.
CREATE TABLE latest (
  device INTEGER NOT NULL REFERENCES device_key (key),
  field INTEGER NOT NULL REFERENCES field_key (key),
  time INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  value ANY NOT NULL,
  PRIMARY KEY (device, field)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
  number INTEGER NOT NULL PRIMARY KEY,
  log_offset INTEGER NOT NULL,
  item_index INTEGER NOT NULL,
  device TEXT NOT NULL,
  topic TEXT NOT NULL,
  stream TEXT NOT NULL,
  content_type TEXT NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL,
  payload BLOB NOT NULL,
  received_at INTEGER NOT NULL,
  sent_at INTEGER,
  state TEXT NOT NULL,
  UNIQUE (log_offset, item_index)
) STRICT;
CREATE INDEX quarantine_by_device ON quarantine (device, log_offset, item_index);

CREATE TABLE receipt (
  number INTEGER NOT NULL PRIMARY KEY,
  token TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  upload TEXT NOT NULL,
  answer TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  UNIQUE (token, key)
) STRICT;
CREATE INDEX receipt_by_age ON receipt (received_at);
