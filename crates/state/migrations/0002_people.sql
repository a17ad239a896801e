-- Version 2: people, what they sign in with, and their sessions.

CREATE TABLE user (
  name TEXT NOT NULL PRIMARY KEY,
  display_name TEXT NOT NULL,
  display_name_folded TEXT NOT NULL,
  role TEXT NOT NULL,
  devices TEXT NOT NULL,
  handle BLOB NOT NULL UNIQUE,
  password TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  disabled_at INTEGER,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE passkey (
  id BLOB NOT NULL PRIMARY KEY,
  user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
  public_key BLOB NOT NULL,
  sign_count INTEGER NOT NULL,
  label TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_by_user ON passkey (user, created_at);

-- Without a user: of an administrator who came by a one-time link.
CREATE TABLE session (
  hash BLOB NOT NULL PRIMARY KEY,
  user TEXT REFERENCES user (name) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_user ON session (user, last_used_at);
CREATE INDEX session_by_age ON session (created_at);

CREATE TABLE invitation (
  user TEXT NOT NULL PRIMARY KEY REFERENCES user (name) ON DELETE CASCADE,
  hash BLOB NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
