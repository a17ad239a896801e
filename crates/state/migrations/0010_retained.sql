-- Retained messages, wills, and publishes at QoS 2 that were not released; see
-- docs/formats/state.md.

CREATE TABLE retained_message (
  topic TEXT NOT NULL PRIMARY KEY,
  log_offset INTEGER NOT NULL,
  qos INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  publisher TEXT NOT NULL,
  content_type TEXT NOT NULL,
  properties BLOB NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE TABLE client_will (
  session INTEGER NOT NULL PRIMARY KEY REFERENCES client_session (number) ON DELETE CASCADE,
  connected_at INTEGER NOT NULL,
  delay_seconds INTEGER NOT NULL,
  topic TEXT NOT NULL,
  content_type TEXT NOT NULL,
  properties BLOB NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  is_retained INTEGER NOT NULL
) STRICT;
CREATE TABLE client_received (
  session INTEGER NOT NULL REFERENCES client_session (number) ON DELETE CASCADE,
  packet_id INTEGER NOT NULL,
  log_offset INTEGER NOT NULL,
  PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;
ALTER TABLE client_subscription ADD COLUMN retained_after TEXT;
-- Until now the position moved for sessions alone; from now on it is where a start looks for
-- retained messages from.
UPDATE client_routing SET through = max(through, (SELECT coalesce(max(position), 0) FROM projection))
WHERE NOT EXISTS (SELECT 1 FROM client_session);
