-- Who changed what, when. Written in the transaction of the change itself: no audit row, no change. `seq` orders the
-- trail; the hashes chain it.
CREATE TABLE audit_events (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB NOT NULL CONSTRAINT audit_events_id UNIQUE,
    at             INTEGER NOT NULL,
    actor_kind     TEXT NOT NULL,
    actor_id       TEXT,
    actor_name     TEXT,
    actor_role     TEXT,
    action         TEXT NOT NULL,
    target_kind    TEXT NOT NULL,
    target_id      TEXT,
    target_name    TEXT,
    tenant_id      BLOB,
    before         TEXT,
    after          TEXT,
    request_id     TEXT,
    ip             TEXT,
    user_agent     TEXT,
    reason         TEXT,
    previous_hash  BLOB,
    hash           BLOB
) STRICT;
CREATE INDEX audit_events_tenant ON audit_events (tenant_id, seq DESC);
CREATE INDEX audit_events_target ON audit_events (target_kind, target_id, seq DESC);
CREATE TRIGGER audit_events_append_only_update BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only');
END;
CREATE TRIGGER audit_events_append_only_delete BEFORE DELETE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit_events is append-only');
END;
