-- Programs that follow the log with a position of their own.

CREATE TABLE consumer (
    name       TEXT PRIMARY KEY,
    position   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    moved_at   INTEGER NOT NULL,
    lost_at    INTEGER
) STRICT, WITHOUT ROWID;
