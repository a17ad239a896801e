-- For which devices a claim may ask: {"devices":PATTERN,"kind":TEXT,"left":COUNT}; NULL for a
-- backend application.

ALTER TABLE application ADD COLUMN claim TEXT;
