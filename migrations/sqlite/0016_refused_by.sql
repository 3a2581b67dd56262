-- Why a request was refused, as JSON: the limit it ran into, whose it is, how it stood, what the client was told, and how many more
-- were refused like it without a record of their own.
ALTER TABLE usage_records ADD COLUMN refused_by TEXT;
