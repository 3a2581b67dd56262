-- A provider endpoint. Timeouts that are NULL take the gateway's defaults.
CREATE TABLE upstreams (
    id                       UUID PRIMARY KEY,
    name                     TEXT NOT NULL CONSTRAINT upstreams_name UNIQUE,
    dialect                  TEXT NOT NULL,
    base_url                 TEXT NOT NULL,
    proxy                    TEXT,
    status                   TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    connect_timeout_ms       BIGINT,
    first_byte_timeout_ms    BIGINT,
    stream_idle_timeout_ms   BIGINT,
    total_timeout_ms         BIGINT,
    managed_by               TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version                  BIGINT NOT NULL,
    created_at               TIMESTAMPTZ NOT NULL,
    updated_at               TIMESTAMPTZ NOT NULL
);

-- One secret of an upstream, sealed to this very row (see store::seal). The fingerprint tells two secrets apart without
-- telling either.
CREATE TABLE credentials (
    id             UUID PRIMARY KEY,
    upstream_id    UUID NOT NULL REFERENCES upstreams (id),
    name           TEXT NOT NULL,
    sealed_secret  BYTEA NOT NULL,
    fingerprint    TEXT NOT NULL,
    last4          TEXT NOT NULL,
    proxy          TEXT,
    status         TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    managed_by     TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version        BIGINT NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    CONSTRAINT credentials_name UNIQUE (upstream_id, name)
);

-- A model as tenants name it.
CREATE TABLE models (
    id          UUID PRIMARY KEY,
    name        TEXT NOT NULL CONSTRAINT models_name UNIQUE,
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    strict      BOOLEAN NOT NULL,
    managed_by  TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version     BIGINT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);

-- Where a model is served from. Targets are replaced as a whole; `position` keeps the order they were written in.
CREATE TABLE targets (
    id              UUID PRIMARY KEY,
    model_id        UUID NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    upstream_id     UUID NOT NULL REFERENCES upstreams (id),
    upstream_model  TEXT NOT NULL,
    weight          BIGINT NOT NULL,
    priority        BIGINT NOT NULL,
    position        BIGINT NOT NULL,
    CONSTRAINT targets_place UNIQUE (model_id, upstream_id, upstream_model)
);
CREATE INDEX targets_upstream ON targets (upstream_id);
