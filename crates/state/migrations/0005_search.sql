-- The index over what people look for. All of it is made of other tables and is made anew when
-- its own version is another than the program's.

CREATE TABLE search_entry (
  number INTEGER NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  model TEXT NOT NULL,
  what TEXT NOT NULL,
  UNIQUE (kind, id)
) STRICT;

-- Whole texts and their words, in lower case, letters and digits alone.
CREATE TABLE search_term (
  term TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (term, number)
) STRICT, WITHOUT ROWID;

-- The same texts by every three characters in a row; rowid is the number.
CREATE VIRTUAL TABLE search_text USING fts5 (
  text, content = '', contentless_delete = 1, tokenize = 'trigram'
);

CREATE TABLE search_version (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL
) STRICT;
INSERT INTO search_version VALUES (1, 0);
