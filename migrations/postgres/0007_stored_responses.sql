-- Whether the gateway keeps a tenant's responses, for how long after they were last built upon, and how many of them.
ALTER TABLE tenants ADD COLUMN responses_mode TEXT NOT NULL DEFAULT 'stateless'
    CHECK (responses_mode IN ('stateless', 'stored'));
ALTER TABLE tenants ADD COLUMN responses_lifetime_hours BIGINT NOT NULL DEFAULT 720;
ALTER TABLE tenants ADD COLUMN responses_max_bytes BIGINT NOT NULL DEFAULT 268435456;
ALTER TABLE tenants ADD COLUMN responses_max_count BIGINT NOT NULL DEFAULT 10000;

-- A response the gateway keeps for a tenant: what was asked and what was answered, each sealed for this tenant and id. The
-- id is found within its tenant only. A chain of previous_id is a conversation.
CREATE TABLE stored_responses (
    tenant_id        UUID NOT NULL REFERENCES tenants (id),
    id               TEXT NOT NULL,
    previous_id      TEXT,
    sealed_input     BYTEA NOT NULL,
    sealed_response  BYTEA NOT NULL,
    bytes            BIGINT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    expires_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX stored_responses_age ON stored_responses (tenant_id, expires_at, created_at, id, bytes);
CREATE INDEX stored_responses_expiry ON stored_responses (expires_at);

-- Where an upstream keeps something of a tenant's (a response, an item of one), so that later requests that name it go there
-- and nobody else's do. Upstreams and credentials may be gone: no reference.
CREATE TABLE upstream_pins (
    tenant_id      UUID NOT NULL REFERENCES tenants (id),
    id             TEXT NOT NULL,
    upstream_id    UUID NOT NULL,
    credential_id  UUID,
    expires_at     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX upstream_pins_expiry ON upstream_pins (expires_at);
