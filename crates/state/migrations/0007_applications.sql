-- Version 7: backend applications and claims.

CREATE TABLE application (
  name TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  publish TEXT NOT NULL,
  subscribe TEXT NOT NULL,
  token BLOB UNIQUE,
  certificates TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
