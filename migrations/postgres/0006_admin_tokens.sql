-- A token with which a program uses the admin API. Only the HMAC of the token is kept; every token expires.
CREATE TABLE admin_tokens (
    id          UUID PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    digest      BYTEA NOT NULL CONSTRAINT admin_tokens_digest UNIQUE,
    last4       TEXT NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL,
    revoked_at  TIMESTAMPTZ,
    created_by  TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL
);
