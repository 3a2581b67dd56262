-- What the installation knows about itself. `config_version` moves with every committed change the data plane must see;
-- the checks hold fingerprints of the key pepper and of the sealing key, so that a start with other secrets is refused.
CREATE TABLE installation (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
INSERT INTO installation (key, value, updated_at) VALUES ('config_version', '1', CAST(unixepoch() AS INTEGER) * 1000000);

-- A customer. Limits that are NULL do not limit. The budget is text in major units ("100.00"): it is compared in Rust,
-- never summed here, and text holds any currency exactly.
CREATE TABLE tenants (
    id                   BLOB PRIMARY KEY,
    name                 TEXT NOT NULL CONSTRAINT tenants_name UNIQUE,
    status               TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    suspended_message    TEXT,
    time_zone            TEXT NOT NULL,
    requests_per_minute  INTEGER,
    tokens_per_minute    INTEGER,
    concurrency          INTEGER,
    budget_amount        TEXT,
    budget_currency      TEXT,
    budget_period        TEXT,
    allowed_models       TEXT,
    managed_by           TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version              INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    CHECK ((budget_amount IS NULL) = (budget_currency IS NULL) AND (budget_amount IS NULL) = (budget_period IS NULL))
) STRICT;

-- A cost centre of a tenant.
CREATE TABLE projects (
    id          BLOB PRIMARY KEY,
    tenant_id   BLOB NOT NULL REFERENCES tenants (id),
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CONSTRAINT projects_name UNIQUE (tenant_id, name)
) STRICT;

-- A key issued to a tenant. Only the HMAC of the key is kept; the prefix and the last four characters are for people.
CREATE TABLE api_keys (
    id                   BLOB PRIMARY KEY,
    tenant_id            BLOB NOT NULL REFERENCES tenants (id),
    project_id           BLOB REFERENCES projects (id),
    name                 TEXT NOT NULL,
    digest               BLOB NOT NULL CONSTRAINT api_keys_digest UNIQUE,
    prefix               TEXT NOT NULL,
    last4                TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
    expires_at           INTEGER,
    requests_per_minute  INTEGER,
    tokens_per_minute    INTEGER,
    concurrency          INTEGER,
    allowed_models       TEXT,
    last_used_at         INTEGER,
    managed_by           TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version              INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL
) STRICT;
-- A revoked key gives its name back.
CREATE UNIQUE INDEX api_keys_name ON api_keys (tenant_id, name) WHERE status = 'active';
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);
