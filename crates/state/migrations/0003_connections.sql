-- The last connection events, bounded; see docs/formats/state.md.

CREATE TABLE connection_event (
  number INTEGER NOT NULL PRIMARY KEY,
  first_at INTEGER NOT NULL,
  at INTEGER NOT NULL,
  count INTEGER NOT NULL,
  device TEXT,
  is_proved INTEGER NOT NULL,
  fingerprint BLOB,
  address TEXT NOT NULL,
  protocol TEXT,
  client_id TEXT NOT NULL,
  outcome TEXT NOT NULL,
  stage TEXT,
  lasted INTEGER,
  received INTEGER,
  sent INTEGER,
  code TEXT NOT NULL,
  reason TEXT NOT NULL,
  next_step TEXT NOT NULL
) STRICT;
CREATE INDEX connection_event_by_time ON connection_event (is_proved, at);
CREATE INDEX connection_event_by_device ON connection_event (is_proved, device, at);
CREATE INDEX connection_event_by_address ON connection_event (is_proved, address, at);
CREATE INDEX connection_event_by_fingerprint ON connection_event (is_proved, fingerprint, at)
  WHERE fingerprint IS NOT NULL;
