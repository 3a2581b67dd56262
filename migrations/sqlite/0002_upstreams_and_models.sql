-- A provider endpoint. Timeouts that are NULL take the gateway's defaults.
CREATE TABLE upstreams (
    id                       BLOB PRIMARY KEY,
    name                     TEXT NOT NULL CONSTRAINT upstreams_name UNIQUE,
    dialect                  TEXT NOT NULL,
    base_url                 TEXT NOT NULL,
    proxy                    TEXT,
    status                   TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    connect_timeout_ms       INTEGER,
    first_byte_timeout_ms    INTEGER,
    stream_idle_timeout_ms   INTEGER,
    total_timeout_ms         INTEGER,
    managed_by               TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version                  INTEGER NOT NULL,
    created_at               INTEGER NOT NULL,
    updated_at               INTEGER NOT NULL
) STRICT;

-- One secret of an upstream, sealed to this very row (see store::seal). The fingerprint tells two secrets apart without
-- telling either.
CREATE TABLE credentials (
    id             BLOB PRIMARY KEY,
    upstream_id    BLOB NOT NULL REFERENCES upstreams (id),
    name           TEXT NOT NULL,
    sealed_secret  BLOB NOT NULL,
    fingerprint    TEXT NOT NULL,
    last4          TEXT NOT NULL,
    proxy          TEXT,
    status         TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    managed_by     TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    CONSTRAINT credentials_name UNIQUE (upstream_id, name)
) STRICT;

-- A model as tenants name it.
CREATE TABLE models (
    id          BLOB PRIMARY KEY,
    name        TEXT NOT NULL CONSTRAINT models_name UNIQUE,
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    strict      INTEGER NOT NULL,
    managed_by  TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

-- Where a model is served from. Targets are replaced as a whole; `position` keeps the order they were written in.
CREATE TABLE targets (
    id              BLOB PRIMARY KEY,
    model_id        BLOB NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    upstream_id     BLOB NOT NULL REFERENCES upstreams (id),
    upstream_model  TEXT NOT NULL,
    weight          INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    CONSTRAINT targets_place UNIQUE (model_id, upstream_id, upstream_model)
) STRICT;
CREATE INDEX targets_upstream ON targets (upstream_id);
