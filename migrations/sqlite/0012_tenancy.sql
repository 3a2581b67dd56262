-- A project bounds what is done for one purpose of a tenant. Keys name theirs by its name, which is theirs alone in the tenant.
ALTER TABLE projects ADD COLUMN status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived'));
ALTER TABLE projects ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE projects ADD COLUMN tokens_per_minute INTEGER;
ALTER TABLE projects ADD COLUMN concurrency INTEGER;
ALTER TABLE projects ADD COLUMN allowed_models TEXT;
ALTER TABLE projects ADD COLUMN managed_by TEXT NOT NULL DEFAULT 'api' CHECK (managed_by IN ('api', 'file'));
-- What was a mere label of keys until now.
INSERT INTO projects (id, tenant_id, name, version, created_at, updated_at)
    SELECT randomblob(16), tenant_id, project, 1, unixepoch() * 1000000, unixepoch() * 1000000
    FROM (SELECT DISTINCT tenant_id, project FROM api_keys WHERE project IS NOT NULL) AS labels
    WHERE true ON CONFLICT DO NOTHING;

-- Bounds that hold for one model of a tenant ({name: limits}), and for each of its end users.
ALTER TABLE tenants ADD COLUMN model_limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN end_user_limits TEXT NOT NULL DEFAULT '{}';

-- What a key may be used for and from where; NULL is everything. For the overlap of a rotation the text before it is good, too.
ALTER TABLE api_keys ADD COLUMN allowed_endpoints TEXT;
ALTER TABLE api_keys ADD COLUMN allowed_networks TEXT;
ALTER TABLE api_keys ADD COLUMN previous_digest BLOB;
ALTER TABLE api_keys ADD COLUMN previous_expires_at INTEGER;
CREATE UNIQUE INDEX api_keys_previous_digest ON api_keys (previous_digest);

-- How much may be spent by a tenant, a project, a key, on a model, or for an end user (each of them, where `subject` is NULL) in a
-- period. A tenant's own budget stands in its row.
CREATE TABLE budgets (
    id          BLOB PRIMARY KEY,
    tenant_id   BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    scope       TEXT NOT NULL CHECK (scope IN ('tenant', 'project', 'key', 'model', 'end_user')),
    project_id  BLOB REFERENCES projects (id) ON DELETE CASCADE,
    key_id      BLOB REFERENCES api_keys (id) ON DELETE CASCADE,
    subject     TEXT,
    period      TEXT NOT NULL CHECK (period IN ('day', 'month', 'total')),
    amount      TEXT NOT NULL,
    currency    TEXT NOT NULL,
    mode        TEXT NOT NULL CHECK (mode IN ('hard', 'soft')),
    alerts      TEXT NOT NULL,
    managed_by  TEXT NOT NULL CHECK (managed_by IN ('api', 'file')),
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CHECK ((scope = 'project') = (project_id IS NOT NULL) AND (scope = 'key') = (key_id IS NOT NULL)),
    CHECK (scope <> 'model' OR subject IS NOT NULL)
) STRICT;
CREATE INDEX budgets_tenant ON budgets (tenant_id, id);
