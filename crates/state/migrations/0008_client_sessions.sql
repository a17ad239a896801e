-- MQTT sessions that outlive their connection, and what waits for them; see docs/formats/state.md.

CREATE TABLE client_session (
  number INTEGER NOT NULL PRIMARY KEY,
  client_id TEXT NOT NULL,
  owner TEXT NOT NULL,
  expiry_seconds INTEGER NOT NULL,
  left_at INTEGER,
  sent_through INTEGER NOT NULL
) STRICT;
CREATE TABLE client_subscription (
  session INTEGER NOT NULL REFERENCES client_session (number) ON DELETE CASCADE,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  identifier INTEGER NOT NULL,
  is_no_local INTEGER NOT NULL,
  is_retain_as_published INTEGER NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;
CREATE TABLE client_queue (
  session INTEGER NOT NULL REFERENCES client_session (number) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  log_offset INTEGER NOT NULL,
  qos INTEGER NOT NULL,
  is_retained INTEGER NOT NULL,
  is_released INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  identifiers BLOB,
  PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX client_queue_by_offset ON client_queue (log_offset);
CREATE TABLE client_routing (
  only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
  through INTEGER NOT NULL
) STRICT;
INSERT INTO client_routing VALUES (1, 0);
