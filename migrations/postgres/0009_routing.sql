-- A rule that decides where requests of a model go, before the model's own targets. Rules are tried by position; the first
-- that matches decides. What it matches and how it chooses are whole values, written and read as one: JSON.
CREATE TABLE routes (
    id          UUID PRIMARY KEY,
    name        TEXT NOT NULL CONSTRAINT routes_name UNIQUE,
    position    BIGINT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    matches     JSONB NOT NULL,
    routing     JSONB NOT NULL,
    managed_by  TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version     BIGINT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX routes_position ON routes (position, id);

-- How a model chooses among its own targets; {} is every default.
ALTER TABLE models ADD COLUMN routing JSONB NOT NULL DEFAULT '{}';

-- A target belongs to a model or to a route. One place may stand in several arms of a split, so the constraint over it goes:
-- targets are replaced as a whole, and the store looks for doubles before it writes.
ALTER TABLE targets ALTER COLUMN model_id DROP NOT NULL;
ALTER TABLE targets DROP CONSTRAINT targets_place;
ALTER TABLE targets ADD COLUMN route_id UUID REFERENCES routes (id) ON DELETE CASCADE;
ALTER TABLE targets ADD COLUMN arm TEXT;
ALTER TABLE targets ADD COLUMN price_model TEXT;
ALTER TABLE targets ADD COLUMN cost JSONB;
ALTER TABLE targets ADD COLUMN capabilities JSONB NOT NULL DEFAULT '{}';
ALTER TABLE targets ADD CONSTRAINT targets_owner CHECK ((model_id IS NULL) <> (route_id IS NULL));
CREATE INDEX targets_model ON targets (model_id, priority, position);
CREATE INDEX targets_route ON targets (route_id, priority, position);

-- `local`: runs on the installation's own machines, the last resort of a model. `proxy` holds one URL or a list of them.
ALTER TABLE upstreams ADD COLUMN local BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE upstreams ADD COLUMN credential_strategy TEXT NOT NULL DEFAULT 'weighted';
ALTER TABLE upstreams ADD COLUMN no_proxy JSONB NOT NULL DEFAULT '[]';
ALTER TABLE upstreams ADD COLUMN first_token_timeout_ms BIGINT;

-- What a credential may be asked for, and when its successor takes over.
ALTER TABLE credentials ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
ALTER TABLE credentials ADD COLUMN requests_per_minute BIGINT;
ALTER TABLE credentials ADD COLUMN tokens_per_minute BIGINT;
ALTER TABLE credentials ADD COLUMN concurrency BIGINT;
ALTER TABLE credentials ADD COLUMN daily_spend TEXT;
ALTER TABLE credentials ADD COLUMN retires_at TIMESTAMPTZ;
CREATE INDEX credentials_retiring ON credentials (retires_at) WHERE retires_at IS NOT NULL;

-- Labels routes match by.
ALTER TABLE api_keys ADD COLUMN project TEXT;
ALTER TABLE api_keys ADD COLUMN tags JSONB NOT NULL DEFAULT '[]';
