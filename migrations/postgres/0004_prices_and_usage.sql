-- Rows that are history carry no foreign key: they outlive the configuration they name, and taking them in must never fail.

-- A dated price of a model: per usage class, money per million tokens as decimal text. Never changed, only followed by a
-- later one.
CREATE TABLE price_versions (
    id          UUID PRIMARY KEY,
    model_id    UUID NOT NULL,
    currency    TEXT NOT NULL,
    valid_from  TIMESTAMPTZ NOT NULL,
    prices      JSONB NOT NULL,
    source      TEXT,
    created_by  TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT price_versions_start UNIQUE (model_id, valid_from)
);

-- One row a charged or refused request (attempt 0 is the request itself). Money is BIGINT pico-units: ±9.2 million major
-- units a request. `raw_usage` is the provider's own text, byte for byte, so it is not JSONB. Partitioned by day, so that
-- what is past its retention is dropped, not deleted; DEFAULT takes what no partition was made for.
CREATE TABLE usage_records (
    request_id            UUID NOT NULL,
    attempt               BIGINT NOT NULL,
    accepted_at           TIMESTAMPTZ NOT NULL,
    first_byte_at         TIMESTAMPTZ,
    finished_at           TIMESTAMPTZ NOT NULL,
    tenant_id             UUID NOT NULL,
    project_id            UUID,
    key_id                UUID NOT NULL,
    end_user              TEXT,
    endpoint              TEXT NOT NULL,
    client_dialect        TEXT NOT NULL,
    upstream_dialect      TEXT,
    model_id              UUID,
    model                 TEXT NOT NULL,
    upstream_model        TEXT,
    returned_model        TEXT,
    upstream_id           UUID,
    upstream              TEXT,
    credential_id         UUID,
    attempts              JSONB NOT NULL,
    stream                BOOLEAN NOT NULL,
    outcome               TEXT NOT NULL,
    status                BIGINT NOT NULL,
    error_code            TEXT,
    finish_reason         TEXT,
    input_uncached        BIGINT NOT NULL DEFAULT 0,
    input_cache_read      BIGINT NOT NULL DEFAULT 0,
    input_cache_write_5m  BIGINT NOT NULL DEFAULT 0,
    input_cache_write_1h  BIGINT NOT NULL DEFAULT 0,
    input_audio           BIGINT NOT NULL DEFAULT 0,
    input_audio_cached    BIGINT NOT NULL DEFAULT 0,
    input_image           BIGINT NOT NULL DEFAULT 0,
    input_video           BIGINT NOT NULL DEFAULT 0,
    output_text           BIGINT NOT NULL DEFAULT 0,
    output_reasoning      BIGINT NOT NULL DEFAULT 0,
    output_audio          BIGINT NOT NULL DEFAULT 0,
    output_image          BIGINT NOT NULL DEFAULT 0,
    usage_source          TEXT NOT NULL,
    estimator             TEXT,
    raw_usage             TEXT,
    price_version_id      UUID,
    prices                JSONB,
    charge                BIGINT NOT NULL DEFAULT 0,
    currency              TEXT,
    reserved              BIGINT NOT NULL DEFAULT 0,
    upstream_request_id   TEXT,
    loss                  TEXT,
    overhead_us           BIGINT NOT NULL DEFAULT 0,
    bytes_in              BIGINT NOT NULL DEFAULT 0,
    bytes_out             BIGINT NOT NULL DEFAULT 0,
    trace_id              TEXT,
    batch_id              UUID,
    PRIMARY KEY (request_id, attempt, accepted_at)
) PARTITION BY RANGE (accepted_at);
CREATE TABLE usage_records_default PARTITION OF usage_records DEFAULT;
CREATE INDEX usage_records_time ON usage_records (accepted_at DESC, request_id DESC);
CREATE INDEX usage_records_tenant ON usage_records (tenant_id, accepted_at DESC, request_id DESC);

-- Sums of the records by hour, kept by the shipper in the transaction that inserts them. A dimension that does not apply
-- is the nil UUID or the empty text, since a primary key holds no NULL. The charge is units * 10^12 + pico with
-- 0 <= pico < 10^12: two BIGINTs with a carry add up exactly on both engines at any size, where one BIGINT of pico would
-- overflow at 9.2 million units (an hour of a busy tenant, in a currency like VND), and SQLite has no NUMERIC.
CREATE TABLE usage_rollups_hourly (
    hour                  TIMESTAMPTZ NOT NULL,
    tenant_id             UUID NOT NULL,
    key_id                UUID NOT NULL,
    model_id              UUID NOT NULL,
    model                 TEXT NOT NULL,
    upstream_id           UUID NOT NULL,
    upstream              TEXT NOT NULL,
    outcome               TEXT NOT NULL,
    price_version_id      UUID NOT NULL,
    currency              TEXT NOT NULL,
    requests              BIGINT NOT NULL DEFAULT 0,
    errors                BIGINT NOT NULL DEFAULT 0,
    input_uncached        BIGINT NOT NULL DEFAULT 0,
    input_cache_read      BIGINT NOT NULL DEFAULT 0,
    input_cache_write_5m  BIGINT NOT NULL DEFAULT 0,
    input_cache_write_1h  BIGINT NOT NULL DEFAULT 0,
    input_audio           BIGINT NOT NULL DEFAULT 0,
    input_audio_cached    BIGINT NOT NULL DEFAULT 0,
    input_image           BIGINT NOT NULL DEFAULT 0,
    input_video           BIGINT NOT NULL DEFAULT 0,
    output_text           BIGINT NOT NULL DEFAULT 0,
    output_reasoning      BIGINT NOT NULL DEFAULT 0,
    output_audio          BIGINT NOT NULL DEFAULT 0,
    output_image          BIGINT NOT NULL DEFAULT 0,
    charge_units          BIGINT NOT NULL DEFAULT 0,
    charge_pico           BIGINT NOT NULL DEFAULT 0 CHECK (charge_pico >= 0 AND charge_pico < 1000000000000),
    duration_us           BIGINT NOT NULL DEFAULT 0,
    first_byte_us         BIGINT NOT NULL DEFAULT 0,
    first_byte_count      BIGINT NOT NULL DEFAULT 0,
    overhead_us           BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour, key_id, model_id, model, upstream_id, upstream, outcome, price_version_id, currency)
);
CREATE INDEX usage_rollups_hourly_hour ON usage_rollups_hourly (hour);

-- What the shipper of each node has copied: one row a batch, and how far its journal is known to be here.
CREATE TABLE usage_batches (
    id          UUID PRIMARY KEY,
    node        TEXT NOT NULL,
    segment     BIGINT NOT NULL,
    position    BIGINT NOT NULL,
    records     BIGINT NOT NULL,
    inserted    BIGINT NOT NULL,
    shipped_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX usage_batches_time ON usage_batches (shipped_at);
CREATE TABLE shipper_watermarks (
    node        TEXT PRIMARY KEY,
    segment     BIGINT NOT NULL,
    position    BIGINT NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER price_versions_append_only BEFORE UPDATE OR DELETE ON price_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
