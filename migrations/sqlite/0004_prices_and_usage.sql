-- Rows that are history carry no foreign key: they outlive the configuration they name, and taking them in must never fail.

-- A dated price of a model: per usage class, money per million tokens as decimal text. Never changed, only followed by a
-- later one.
CREATE TABLE price_versions (
    id          BLOB PRIMARY KEY,
    model_id    BLOB NOT NULL,
    currency    TEXT NOT NULL,
    valid_from  INTEGER NOT NULL,
    prices      TEXT NOT NULL,
    source      TEXT,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    CONSTRAINT price_versions_start UNIQUE (model_id, valid_from)
) STRICT;

-- One row a charged or refused request (attempt 0 is the request itself). Money is pico-units in 64 bits: ±9.2 million
-- major units a request. `raw_usage` is the provider's own text, byte for byte. What is past its retention is deleted in
-- chunks.
CREATE TABLE usage_records (
    request_id            BLOB NOT NULL,
    attempt               INTEGER NOT NULL,
    accepted_at           INTEGER NOT NULL,
    first_byte_at         INTEGER,
    finished_at           INTEGER NOT NULL,
    tenant_id             BLOB NOT NULL,
    project_id            BLOB,
    key_id                BLOB NOT NULL,
    end_user              TEXT,
    endpoint              TEXT NOT NULL,
    client_dialect        TEXT NOT NULL,
    upstream_dialect      TEXT,
    model_id              BLOB,
    model                 TEXT NOT NULL,
    upstream_model        TEXT,
    returned_model        TEXT,
    upstream_id           BLOB,
    upstream              TEXT,
    credential_id         BLOB,
    attempts              TEXT NOT NULL,
    stream                INTEGER NOT NULL,
    outcome               TEXT NOT NULL,
    status                INTEGER NOT NULL,
    error_code            TEXT,
    finish_reason         TEXT,
    input_uncached        INTEGER NOT NULL DEFAULT 0,
    input_cache_read      INTEGER NOT NULL DEFAULT 0,
    input_cache_write_5m  INTEGER NOT NULL DEFAULT 0,
    input_cache_write_1h  INTEGER NOT NULL DEFAULT 0,
    input_audio           INTEGER NOT NULL DEFAULT 0,
    input_audio_cached    INTEGER NOT NULL DEFAULT 0,
    input_image           INTEGER NOT NULL DEFAULT 0,
    input_video           INTEGER NOT NULL DEFAULT 0,
    output_text           INTEGER NOT NULL DEFAULT 0,
    output_reasoning      INTEGER NOT NULL DEFAULT 0,
    output_audio          INTEGER NOT NULL DEFAULT 0,
    output_image          INTEGER NOT NULL DEFAULT 0,
    usage_source          TEXT NOT NULL,
    estimator             TEXT,
    raw_usage             TEXT,
    price_version_id      BLOB,
    prices                TEXT,
    charge                INTEGER NOT NULL DEFAULT 0,
    currency              TEXT,
    reserved              INTEGER NOT NULL DEFAULT 0,
    upstream_request_id   TEXT,
    loss                  TEXT,
    overhead_us           INTEGER NOT NULL DEFAULT 0,
    bytes_in              INTEGER NOT NULL DEFAULT 0,
    bytes_out             INTEGER NOT NULL DEFAULT 0,
    trace_id              TEXT,
    batch_id              BLOB,
    PRIMARY KEY (request_id, attempt, accepted_at)
) STRICT;
CREATE INDEX usage_records_time ON usage_records (accepted_at DESC, request_id DESC);
CREATE INDEX usage_records_tenant ON usage_records (tenant_id, accepted_at DESC, request_id DESC);

-- Sums of the records by hour, kept by the shipper in the transaction that inserts them. A dimension that does not apply
-- is the nil UUID or the empty text, since a primary key holds no NULL. The charge is units * 10^12 + pico with
-- 0 <= pico < 10^12: two INTEGERs with a carry add up exactly on both engines at any size, where one INTEGER of pico would
-- overflow at 9.2 million units (an hour of a busy tenant, in a currency like VND), and SQLite has no NUMERIC.
CREATE TABLE usage_rollups_hourly (
    hour                  INTEGER NOT NULL,
    tenant_id             BLOB NOT NULL,
    key_id                BLOB NOT NULL,
    model_id              BLOB NOT NULL,
    model                 TEXT NOT NULL,
    upstream_id           BLOB NOT NULL,
    upstream              TEXT NOT NULL,
    outcome               TEXT NOT NULL,
    price_version_id      BLOB NOT NULL,
    currency              TEXT NOT NULL,
    requests              INTEGER NOT NULL DEFAULT 0,
    errors                INTEGER NOT NULL DEFAULT 0,
    input_uncached        INTEGER NOT NULL DEFAULT 0,
    input_cache_read      INTEGER NOT NULL DEFAULT 0,
    input_cache_write_5m  INTEGER NOT NULL DEFAULT 0,
    input_cache_write_1h  INTEGER NOT NULL DEFAULT 0,
    input_audio           INTEGER NOT NULL DEFAULT 0,
    input_audio_cached    INTEGER NOT NULL DEFAULT 0,
    input_image           INTEGER NOT NULL DEFAULT 0,
    input_video           INTEGER NOT NULL DEFAULT 0,
    output_text           INTEGER NOT NULL DEFAULT 0,
    output_reasoning      INTEGER NOT NULL DEFAULT 0,
    output_audio          INTEGER NOT NULL DEFAULT 0,
    output_image          INTEGER NOT NULL DEFAULT 0,
    charge_units          INTEGER NOT NULL DEFAULT 0,
    charge_pico           INTEGER NOT NULL DEFAULT 0 CHECK (charge_pico >= 0 AND charge_pico < 1000000000000),
    duration_us           INTEGER NOT NULL DEFAULT 0,
    first_byte_us         INTEGER NOT NULL DEFAULT 0,
    first_byte_count      INTEGER NOT NULL DEFAULT 0,
    overhead_us           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour, key_id, model_id, model, upstream_id, upstream, outcome, price_version_id, currency)
) STRICT;
CREATE INDEX usage_rollups_hourly_hour ON usage_rollups_hourly (hour);

-- What the shipper of each node has copied: one row a batch, and how far its journal is known to be here.
CREATE TABLE usage_batches (
    id          BLOB PRIMARY KEY,
    node        TEXT NOT NULL,
    segment     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    records     INTEGER NOT NULL,
    inserted    INTEGER NOT NULL,
    shipped_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_batches_time ON usage_batches (shipped_at);
CREATE TABLE shipper_watermarks (
    node        TEXT PRIMARY KEY,
    segment     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TRIGGER price_versions_append_only_update BEFORE UPDATE ON price_versions
BEGIN
    SELECT RAISE(ABORT, 'price_versions is append-only');
END;
CREATE TRIGGER price_versions_append_only_delete BEFORE DELETE ON price_versions
BEGIN
    SELECT RAISE(ABORT, 'price_versions is append-only');
END;
