-- A rule that decides where requests of a model go, before the model's own targets. Rules are tried by position; the first
-- that matches decides. What it matches and how it chooses are whole values, written and read as one: JSON.
CREATE TABLE routes (
    id          BLOB PRIMARY KEY,
    name        TEXT NOT NULL CONSTRAINT routes_name UNIQUE,
    position    INTEGER NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    matches     TEXT NOT NULL,
    routing     TEXT NOT NULL,
    managed_by  TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX routes_position ON routes (position, id);

-- How a model chooses among its own targets; {} is every default.
ALTER TABLE models ADD COLUMN routing TEXT NOT NULL DEFAULT '{}';

-- A target belongs to a model or to a route. One place may stand in several arms of a split, so the constraint over it goes:
-- targets are replaced as a whole, and the store looks for doubles before it writes. SQLite cannot drop a constraint: the
-- table is made anew.
CREATE TABLE targets_anew (
    id              BLOB PRIMARY KEY,
    model_id        BLOB REFERENCES models (id) ON DELETE CASCADE,
    upstream_id     BLOB NOT NULL REFERENCES upstreams (id),
    upstream_model  TEXT NOT NULL,
    weight          INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    route_id        BLOB REFERENCES routes (id) ON DELETE CASCADE,
    arm             TEXT,
    price_model     TEXT,
    cost            TEXT,
    capabilities    TEXT NOT NULL DEFAULT '{}',
    CONSTRAINT targets_owner CHECK ((model_id IS NULL) <> (route_id IS NULL))
) STRICT;
INSERT INTO targets_anew (id, model_id, upstream_id, upstream_model, weight, priority, position)
    SELECT id, model_id, upstream_id, upstream_model, weight, priority, position FROM targets;
DROP TABLE targets;
ALTER TABLE targets_anew RENAME TO targets;
CREATE INDEX targets_upstream ON targets (upstream_id);
CREATE INDEX targets_model ON targets (model_id, priority, position);
CREATE INDEX targets_route ON targets (route_id, priority, position);

-- `local`: runs on the installation's own machines, the last resort of a model. `proxy` holds one URL or a list of them.
ALTER TABLE upstreams ADD COLUMN local INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upstreams ADD COLUMN credential_strategy TEXT NOT NULL DEFAULT 'weighted';
ALTER TABLE upstreams ADD COLUMN no_proxy TEXT NOT NULL DEFAULT '[]';
ALTER TABLE upstreams ADD COLUMN first_token_timeout_ms INTEGER;

-- What a credential may be asked for, and when its successor takes over.
ALTER TABLE credentials ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE credentials ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE credentials ADD COLUMN tokens_per_minute INTEGER;
ALTER TABLE credentials ADD COLUMN concurrency INTEGER;
ALTER TABLE credentials ADD COLUMN daily_spend TEXT;
ALTER TABLE credentials ADD COLUMN retires_at INTEGER;
CREATE INDEX credentials_retiring ON credentials (retires_at) WHERE retires_at IS NOT NULL;

-- Labels routes match by.
ALTER TABLE api_keys ADD COLUMN project TEXT;
ALTER TABLE api_keys ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
