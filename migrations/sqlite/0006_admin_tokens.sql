-- A token with which a program uses the admin API. Only the HMAC of the token is kept; every token expires.
CREATE TABLE admin_tokens (
    id          BLOB PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    digest      BLOB NOT NULL CONSTRAINT admin_tokens_digest UNIQUE,
    last4       TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
