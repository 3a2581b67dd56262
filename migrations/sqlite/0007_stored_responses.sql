-- Whether the gateway keeps a tenant's responses, for how long after they were last built upon, and how many of them.
ALTER TABLE tenants ADD COLUMN responses_mode TEXT NOT NULL DEFAULT 'stateless'
    CHECK (responses_mode IN ('stateless', 'stored'));
ALTER TABLE tenants ADD COLUMN responses_lifetime_hours INTEGER NOT NULL DEFAULT 720;
ALTER TABLE tenants ADD COLUMN responses_max_bytes INTEGER NOT NULL DEFAULT 268435456;
ALTER TABLE tenants ADD COLUMN responses_max_count INTEGER NOT NULL DEFAULT 10000;

-- A response the gateway keeps for a tenant: what was asked and what was answered, each sealed for this tenant and id. The
-- id is found within its tenant only. A chain of previous_id is a conversation.
CREATE TABLE stored_responses (
    tenant_id        BLOB NOT NULL REFERENCES tenants (id),
    id               TEXT NOT NULL,
    previous_id      TEXT,
    sealed_input     BLOB NOT NULL,
    sealed_response  BLOB NOT NULL,
    bytes            INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX stored_responses_age ON stored_responses (tenant_id, expires_at, created_at, id, bytes);
CREATE INDEX stored_responses_expiry ON stored_responses (expires_at);

-- Where an upstream keeps something of a tenant's (a response, an item of one), so that later requests that name it go there
-- and nobody else's do. Upstreams and credentials may be gone: no reference.
CREATE TABLE upstream_pins (
    tenant_id      BLOB NOT NULL REFERENCES tenants (id),
    id             TEXT NOT NULL,
    upstream_id    BLOB NOT NULL,
    credential_id  BLOB,
    expires_at     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX upstream_pins_expiry ON upstream_pins (expires_at);
