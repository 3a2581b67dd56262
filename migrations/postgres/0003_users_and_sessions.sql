-- A person who signs in to the dashboard. The e-mail address is kept in lower case. Raising `session_epoch` ends every
-- session of the user at once.
CREATE TABLE users (
    id             UUID PRIMARY KEY,
    email          TEXT NOT NULL CONSTRAINT users_email UNIQUE,
    name           TEXT NOT NULL,
    role           TEXT NOT NULL,
    tenant_id      UUID REFERENCES tenants (id),
    status         TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    password_hash  TEXT NOT NULL,
    session_epoch  BIGINT NOT NULL,
    last_login_at  TIMESTAMPTZ,
    version        BIGINT NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL
);

-- A dashboard session. Only the hash of its current refresh token is kept; any other token that names this session is an
-- old one, and its use ends the session. `previous_hash` covers two tabs that refresh at the same moment.
CREATE TABLE sessions (
    id               UUID PRIMARY KEY,
    user_id          UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_epoch    BIGINT NOT NULL,
    refresh_hash     BYTEA NOT NULL,
    previous_hash    BYTEA,
    ip               TEXT,
    user_agent       TEXT,
    created_at       TIMESTAMPTZ NOT NULL,
    refreshed_at     TIMESTAMPTZ NOT NULL,
    idle_expires_at  TIMESTAMPTZ NOT NULL,
    expires_at       TIMESTAMPTZ NOT NULL,
    revoked_at       TIMESTAMPTZ,
    revoked_reason   TEXT
);
CREATE INDEX sessions_user ON sessions (user_id, id);

-- The one-time token that lets the first owner in.
CREATE TABLE setup_tokens (
    id          UUID PRIMARY KEY,
    token_hash  BYTEA NOT NULL CONSTRAINT setup_tokens_hash UNIQUE,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL,
    used_at     TIMESTAMPTZ
);

-- Failed sign-ins, by account and by address, so that a restart forgets none.
CREATE TABLE login_throttle (
    subject         TEXT PRIMARY KEY,
    failures        BIGINT NOT NULL,
    last_failed_at  TIMESTAMPTZ NOT NULL,
    blocked_until   TIMESTAMPTZ
);
