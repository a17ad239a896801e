-- Quarantined items by their code: to count them, and to list those of one code.

CREATE INDEX quarantine_by_code ON quarantine (code, state, log_offset, item_index);
