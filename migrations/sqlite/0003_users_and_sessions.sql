-- A person who signs in to the dashboard. The e-mail address is kept in lower case. Raising `session_epoch` ends every
-- session of the user at once.
CREATE TABLE users (
    id             BLOB PRIMARY KEY,
    email          TEXT NOT NULL CONSTRAINT users_email UNIQUE,
    name           TEXT NOT NULL,
    role           TEXT NOT NULL,
    tenant_id      BLOB REFERENCES tenants (id),
    status         TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    password_hash  TEXT NOT NULL,
    session_epoch  INTEGER NOT NULL,
    last_login_at  INTEGER,
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

-- A dashboard session. Only the hash of its current refresh token is kept; any other token that names this session is an
-- old one, and its use ends the session. `previous_hash` covers two tabs that refresh at the same moment.
CREATE TABLE sessions (
    id               BLOB PRIMARY KEY,
    user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_epoch    INTEGER NOT NULL,
    refresh_hash     BLOB NOT NULL,
    previous_hash    BLOB,
    ip               TEXT,
    user_agent       TEXT,
    created_at       INTEGER NOT NULL,
    refreshed_at     INTEGER NOT NULL,
    idle_expires_at  INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    revoked_at       INTEGER,
    revoked_reason   TEXT
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, id);

-- The one-time token that lets the first owner in.
CREATE TABLE setup_tokens (
    id          BLOB PRIMARY KEY,
    token_hash  BLOB NOT NULL CONSTRAINT setup_tokens_hash UNIQUE,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT;

-- Failed sign-ins, by account and by address, so that a restart forgets none.
CREATE TABLE login_throttle (
    subject         TEXT PRIMARY KEY,
    failures        INTEGER NOT NULL,
    last_failed_at  INTEGER NOT NULL,
    blocked_until   INTEGER
) STRICT;
