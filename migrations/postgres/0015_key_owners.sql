-- The person of the tenant who made a key: a member of a tenant has the keys they made, and what was done with them. NULL: it was
-- made by the platform's staff, a program or the configuration file.
ALTER TABLE api_keys ADD COLUMN created_by UUID REFERENCES users (id) ON DELETE SET NULL;
CREATE INDEX api_keys_created_by ON api_keys (created_by) WHERE created_by IS NOT NULL;
