-- Master data: models of devices, components, where they sit and sat, and what plants say of them.

ALTER TABLE device ADD COLUMN model TEXT NOT NULL DEFAULT '';
CREATE INDEX device_by_kind ON device (kind);

CREATE TABLE component (
  serial TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  model TEXT NOT NULL,
  produced_at INTEGER,
  status TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX component_by_kind ON component (kind, serial);
CREATE INDEX component_by_status ON component (status, serial);

-- No two rows of one serial overlap in time; an end is not part of the installation.
CREATE TABLE installation (
  serial TEXT NOT NULL REFERENCES component (serial),
  start INTEGER NOT NULL,
  device TEXT NOT NULL REFERENCES device (id),
  end INTEGER,
  PRIMARY KEY (serial, start)
) STRICT, WITHOUT ROWID;
CREATE INDEX installation_by_device ON installation (device, start);

CREATE TABLE feed_batch (
  number INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  plant TEXT NOT NULL,
  key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  sent_by TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  unchanged INTEGER NOT NULL,
  review TEXT NOT NULL,
  UNIQUE (plant, key)
) STRICT;
CREATE INDEX feed_batch_by_plant ON feed_batch (plant, number);
CREATE INDEX feed_batch_by_age ON feed_batch (received_at);

CREATE TABLE review (
  number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  plant TEXT NOT NULL,
  batch TEXT NOT NULL,
  item_index INTEGER NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL,
  record TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  status TEXT NOT NULL,
  decided_by TEXT,
  decided_at INTEGER,
  note TEXT
) STRICT;
CREATE UNIQUE INDEX review_waiting ON review (plant, record) WHERE status = 'waiting';
CREATE INDEX review_by_plant ON review (plant, status, number);
CREATE INDEX review_by_status ON review (status, number);
